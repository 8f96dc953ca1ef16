"""Packing next to ``cp`` and to bare loops."""
