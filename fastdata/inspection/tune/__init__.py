"""A search for the fastest loader of this machine."""
