"""The stages of loading, timed one by one, and then whole loaders."""
