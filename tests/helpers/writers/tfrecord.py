"""TFRecord files of ``tf.train.Example``, byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

from helpers.images import encoded, picture

Value = bytes | int | float | list[int] | list[bytes]


def bitwise_crc32c(data: bytes) -> int:
    """The definition: a division of polynomials, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = bitwise_crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(value: Value, packed: bool = True) -> bytes:
    values = value if isinstance(value, list) else [value]
    if values and isinstance(values[0], int):
        ints = [varint(int(one)) for one in values]
        inside = field(1, b"".join(ints)) if packed else b"".join(b"\x08" + one for one in ints)
        return field(3, inside)
    if values and isinstance(values[0], float):
        return field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
    return field(1, b"".join(field(1, one) for one in values if isinstance(one, bytes)))


def example(features: dict[str, Value], packed: bool = True) -> bytes:
    entries = [
        field(1, field(1, name.encode()) + field(2, feature(value, packed)))
        for name, value in features.items()
    ]
    return field(1, b"".join(entries))


def frame(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def write_records(path: Path, records: list[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(frame(record) for record in records))
    return path


def inception(i: int, **changed: Value) -> bytes:
    return example(
        {
            "image/height": 20,
            "image/encoded": encoded(picture(20, 30, i)),
            "image/object/bbox/xmin": 0.25,
            "image/class/label": 1 + i % 3,
            "image/class/text": f"class {1 + i % 3}".encode(),
            "image/filename": f"n{i:04d}.JPEG".encode(),
            **changed,
        },
        packed=i % 2 == 0,
    )
