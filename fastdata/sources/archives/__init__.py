"""What archives have in common: samples grouped by name, their paths, their spans of a file."""
