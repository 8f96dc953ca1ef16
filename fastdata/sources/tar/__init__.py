"""WebDataset shards, and tars of class directories."""
