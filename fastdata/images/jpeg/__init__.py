"""Reading less of a JPEG than all of it, without changing one pixel. Knows nothing of packs.

Any sequential JPEG can be cut below the last row that is wanted (``first_rows``). A sliceable one,
losslessly restart-marked when it is packed, can be cut on all four sides.

A baseline JPEG is one stream of Huffman codes: to see its lower right corner, a decoder has to go
through all of it. Restart markers (ITU-T T.81 E.1.4) make intervals that start at a byte and depend
on nothing before them. ``transcode`` puts one every few MCUs, without changing a coefficient, and
an index of them into an APP9 segment; the record is still a JPEG file that every decoder reads,
with the same pixels. ``Slicer`` copies the intervals that a box touches into a smaller JPEG file,
whose decode is, bit for bit, a part of the whole decode.

Reading order:

- ``_rows``: the lower end of any sequential JPEG, left out; needs nothing of what follows.
- ``_header``: what a transcoder has to know of the segments before the scan, and what is refused.
- ``_index``: the index segment, byte by byte, and how long an interval is.
- ``_transcode``: from a JPEG to a record; ``_slicer``: from a record and a box to a smaller JPEG.
- The kernels, which numba compiles when they are first used: ``_bits`` (byte stuffing, copies of
  bits), ``_tables`` (Huffman tables as lookups), ``_walk`` (over all blocks of a scan, noting what
  restarts change), for ``_transcode``; ``_cut``, for ``_slicer``.
"""

from __future__ import annotations

from ._header import Reason
from ._rows import first_rows
from ._slicer import Slice, Slicer, find_index, indexed_size, interval_size
from ._transcode import Transcoded, index, interval_for, transcode

__all__ = [
    "Reason",
    "Slice",
    "Slicer",
    "Transcoded",
    "available",
    "find_index",
    "first_rows",
    "index",
    "indexed_size",
    "interval_for",
    "interval_size",
    "transcode",
]


def available() -> bool:
    """True if numba can be imported; then the kernels are loaded now, and compiled if need be.

    Call it before worker processes start: they then inherit the kernels, or find them in numba's
    cache. Where it is False, ``transcode`` and ``Slicer`` raise ImportError.
    """
    try:
        from . import _cut, _walk  # noqa: F401
    except ImportError:
        return False
    return True
