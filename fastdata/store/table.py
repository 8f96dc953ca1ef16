"""The rows of a pack's table and columns."""

from __future__ import annotations

import numpy as np

#: One row a sample, 40 bytes, little-endian: the class, then the record (its place in the shard's
#: file, size, CRC-32), then the image in it, which comes first. ``orientation`` is EXIF's 1 to 8.
#: ``slice_index`` is the offset of a sliceable JPEG's index, 0 if it is none. The rest is zero.
TABLE_DTYPE = np.dtype(
    [
        ("target", "<i8"),
        ("offset", "<u8"),
        ("bytes", "<u4"),
        ("crc32", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("slice_index", "<u4"),
        ("orientation", "u1"),
        ("flags", "u1"),
        ("reserved", "<u2"),
    ]
)


#: One row a sample for each further image and each mask; ``bytes`` is the size of its part of the
#: record, the rest as in ``TABLE_DTYPE``.
MEDIA_DTYPE = np.dtype(
    [
        ("bytes", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("slice_index", "<u4"),
        ("orientation", "u1"),
        ("flags", "u1"),
        ("reserved", "<u2"),
    ]
)


#: One row a sample for whatever else lies in the record: the size of its part.
SIZE_DTYPE = np.dtype("<u4")
