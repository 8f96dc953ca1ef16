"""Sequences, torch datasets and generators: samples made by the user's own Python."""
