"""What the benchmarks raise on purpose."""

from __future__ import annotations


class BenchmarkError(Exception):
    """The benchmark cannot go on; the message says why, and the way out."""
