"""Growth of memory from epoch to epoch."""
