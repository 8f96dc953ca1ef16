"""CSV and JSON Lines files with a row for each sample."""
