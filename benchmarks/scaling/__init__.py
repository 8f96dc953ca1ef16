"""Workers, rows, batch sizes, and how long Python's lock is held."""
