"""Large, small and ordinary images."""
