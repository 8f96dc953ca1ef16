"""The same training, loaded in each way."""
