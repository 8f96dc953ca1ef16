"""Ways of turning image files into batches, each measured by the same rules."""
