"""Imports, compilation, and the first batch of a fresh process."""
