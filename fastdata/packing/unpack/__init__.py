"""A pack as files again: a folder, a table, or WebDataset shards."""
