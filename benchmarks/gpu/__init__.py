"""Step time, copies and a timeline on a GPU."""
