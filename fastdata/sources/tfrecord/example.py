"""``tf.train.Example`` messages, read where they lie: large values are stepped over, not read.

Wire format: https://protobuf.dev/programming-guides/encoding; messages: tensorflow/core/example,
example.proto and feature.proto. Any bytes may come in: the result is features or ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

#: Bytes of a file: ``read(at, size)``; fewer where the file ends.
Read = Callable[[int, int], bytes]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10
_MOST_FEATURES = 4096
_MOST_NAME = 256
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_LISTS = {_BYTES_LIST: "bytes_list", _FLOAT_LIST: "float_list", _INT64_LIST: "int64_list"}


class Feature(NamedTuple):
    """One feature's list: its kind, "bytes_list" and so on, and where its message lies."""

    kind: str
    start: int
    stop: int


class _Part(NamedTuple):
    """One field of a message. A varint's value is ``value``; the others' bytes have a place."""

    number: int
    wire: int
    start: int
    stop: int
    value: int


def read_features(read: Read, start: int, stop: int) -> dict[str, Feature]:
    """The features of the Example from byte ``start`` to ``stop``, by name.

    Raises:
        ValueError: it is not a message of this type.
    """
    found: dict[str, Feature] = {}
    for features in _messages(read, start, stop, 1):
        for entry in _messages(read, features.start, features.stop, 1):
            name, feature = _entry(read, entry)
            if feature is not None:
                found[name] = feature  # of equal names the last counts, as in protobuf
            if len(found) > _MOST_FEATURES:
                raise ValueError(f"more than {_MOST_FEATURES} features")
    return found


def one_bytes(read: Read, feature: Feature) -> tuple[int, int]:
    """Offset and size of the one value of a bytes_list; ValueError if it has not exactly one."""
    if feature.kind != "bytes_list":
        raise ValueError(f"expected a bytes_list, found a {feature.kind}")
    values = _at_most_two(_messages(read, feature.start, feature.stop, 1))
    if len(values) != 1:
        raise ValueError(f"expected one value, found {'several' if values else 'none'}")
    return values[0].start, values[0].stop - values[0].start


def one_int(read: Read, feature: Feature) -> int:
    """The one value of an int64_list; ValueError if it has not exactly one."""
    if feature.kind != "int64_list":
        raise ValueError(f"expected an int64_list, found a {feature.kind}")
    values: list[int] = []
    for part in _parts(read, feature.start, feature.stop):
        if part.number == 1 and part.wire == _VARINT:
            values.append(part.value)
        elif part.number == 1 and part.wire == _BYTES:  # packed
            at = part.start
            while at < part.stop and len(values) < 2:
                value, at = _varint(read, at, part.stop)
                values.append(value)
        if len(values) > 1:
            break
    if len(values) != 1:
        raise ValueError(f"expected one value, found {'several' if values else 'none'}")
    return values[0] - (1 << 64) if values[0] >> 63 else values[0]


def _entry(read: Read, entry: _Part) -> tuple[str, Feature | None]:
    """A map's entry: its key, and its value unless that is empty."""
    name, feature = "", None
    for part in _messages(read, entry.start, entry.stop):
        if part.number == 1:
            if part.stop - part.start > _MOST_NAME:
                raise ValueError(f"a feature's name of {part.stop - part.start} bytes")
            name = read(part.start, part.stop - part.start).decode("utf-8")
        elif part.number == 2:
            for value in _messages(read, part.start, part.stop):
                if value.number in _LISTS:
                    feature = Feature(_LISTS[value.number], value.start, value.stop)
    return name, feature


def _messages(read: Read, at: int, stop: int, number: int | None = None) -> Iterator[_Part]:
    """The fields that have a length, of one number or of all."""
    for part in _parts(read, at, stop):
        if part.wire == _BYTES and number in (None, part.number):
            yield part


def _at_most_two(parts: Iterator[_Part]) -> list[_Part]:
    return [part for part, _ in zip(parts, range(2), strict=False)]


def _parts(read: Read, at: int, stop: int) -> Iterator[_Part]:
    while at < stop:
        tag, at = _varint(read, at, stop)
        number, wire = tag >> 3, tag & 7
        value = 0
        if wire == _VARINT:
            value, end = _varint(read, at, stop)
        elif wire == _BYTES:
            length, at = _varint(read, at, stop)
            end = at + length
        elif wire in (_FIXED64, _FIXED32):
            end = at + (8 if wire == _FIXED64 else 4)
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if end > stop:
            raise ValueError(f"a field of {end - at} bytes at byte {at}, in a message up to {stop}")
        yield _Part(number, wire, at, end, value)
        at = end


def _varint(read: Read, at: int, stop: int) -> tuple[int, int]:
    """A variable-length integer, unsigned 64 bits, and where it ends."""
    value = 0
    for i, byte in enumerate(read(at, min(_VARINT_BYTES, stop - at))):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            if value >> 64:
                break
            return value, at + i + 1
    raise ValueError(f"no whole number at byte {at}")
