"""RecordIO files as MXNet's ``im2rec`` writes them."""

from __future__ import annotations

import struct
from pathlib import Path

MAGIC = struct.pack("<I", 0xCED7230A)


def image_record(label: float | list[float], number: int, image: bytes) -> bytes:
    if isinstance(label, list):
        head = struct.pack("<IfQQ", len(label), 0.0, number, 0)
        return head + struct.pack(f"<{len(label)}f", *label) + image
    return struct.pack("<IfQQ", 0, label, number, 0) + image


def frame(data: bytes) -> bytes:
    """The record in frames: it is cut at each aligned magic number, which is left out."""
    cuts = [at for at in range(0, len(data) - 3, 4) if data[at : at + 4] == MAGIC]
    starts, stops = [0, *(cut + 4 for cut in cuts)], [*cuts, len(data)]
    framed = b""
    for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        flag = 0 if not cuts else 1 if i == 0 else 3 if i == len(cuts) else 2
        part = data[start:stop]
        framed += MAGIC + struct.pack("<I", flag << 29 | len(part)) + part + bytes(-len(part) % 4)
    return framed


def write_rec(path: Path, records: list[bytes], numbers: list[int] | None = None) -> Path:
    """The file; with ``numbers``, also the ``.idx`` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data, index = b"", ""
    for place, record in enumerate(records):
        index += f"{(numbers or [0] * 99)[place]}\t{len(data)}\n"
        data += frame(record)
    path.write_bytes(data)
    if numbers is not None:
        path.with_suffix(".idx").write_text(index)
    return path
