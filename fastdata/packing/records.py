"""From a sample with named fields to the record and the columns that a pack stores."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import index as as_int
from typing import Any, NamedTuple

import numpy as np

from ..core import TARGET, Field, crc32, read_file
from ..errors import DecodeError, SourceError
from ..images import EncodeSettings, Image, Plan, StoredMedia, decode_mask, encode, encode_mask
from ..sources import Item, Stored, StoredImage
from ..store import Record

_MOST_BYTES = 2**32 - 1


class _Context(NamedTuple):
    """How images are stored; height and width of the sample's image as it came, and as stored."""

    settings: EncodeSettings
    before: tuple[int, int]
    after: tuple[int, int]


_Part = tuple[bytes, Any]  # what goes into the record, and the column's row


def encode_item(item: Item, fields: Mapping[str, Field], settings: EncodeSettings) -> Record:
    """Read, check and encode one sample.

    Args:
        item: has a value for each field; a missing target is −1.
        fields: the image first.
        settings: how images are stored. If they are shrunk, masks and boxes follow.

    Raises:
        DecodeError: a value cannot be read, or is not what its field says: this sample is to be
            left out. The message names the field, unless there is only an image.
        SourceError: the sample has no such field, which is no damage but a mistake.
    """
    _check_key(item.key)
    first, *others = (name for name in fields if name != TARGET)
    fetched = {}
    for name, field in fields.items():
        with _naming(name if others or name != first else ""):
            fetched[name] = fetch(name, field, item)
    with _naming(first if others else ""):
        media, before = _image(fetched[first], settings)
    context = _Context(settings, before, (media.height, media.width))
    parts, columns = [media.data], {}
    for name in others:
        with _naming(name):
            field = fields[name]
            part, columns[name] = _ENCODERS[field.kind](fetched[name], field, context)
        parts.append(part)
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    if len(data) > _MOST_BYTES:
        raise DecodeError(f"{len(data)} bytes are more than a record can hold ({_MOST_BYTES})")
    with _naming(TARGET):
        target = _integer(fetched.get(TARGET, -1))
    read = sum(map(_bytes_read, fetched.values()))
    return Record(item.key, target, media, data, crc32(data), columns, read)


def _check_key(key: str) -> None:
    try:
        key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DecodeError(f"its name is not valid Unicode: {error}") from error


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Say with what goes wrong in which field it was, if that is not ""."""
    where = f"field {field!r}: " if field else ""
    try:
        yield
    except OSError as error:
        told = None if isinstance(error, FileNotFoundError) else error.strerror
        raise DecodeError(f"{where}cannot be read: {told or error}") from error
    except DecodeError as error:
        raise DecodeError(f"{where}{error}") from error


def fetch(name: str, field: Field, item: Item) -> Any:
    """What an item has for a field, with all bytes read; raises as ``encode_item``."""
    if name not in item.values:
        found = ", ".join(map(repr, item.values)) or "none"
        raise SourceError(f"{item.key}: expected a field {name!r} ({field}), found {found}")
    value = item.values[name]
    if isinstance(value, Stored):
        return value.value()
    if field.kind not in ("image", "mask", "bytes"):
        return value
    if hasattr(value, "read"):  # a ``Blob``; asking isinstance of a protocol takes 8 µs
        return value.read()
    if isinstance(value, (str, os.PathLike)) and field.kind != "bytes":
        return read_file(value)
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else value


def _bytes_read(value: Any) -> int:
    """How many bytes were read for a value of ``fetch``."""
    if isinstance(value, (StoredMedia, StoredImage)):
        value = value[0]
        return len(value) if isinstance(value, bytes) else int(value.nbytes)
    return len(value) if isinstance(value, bytes) else 0


def _image(value: Any, settings: EncodeSettings) -> tuple[StoredMedia, tuple[int, int]]:
    if isinstance(value, StoredMedia):
        return value, (value.height, value.width)
    if isinstance(value, StoredImage):
        media, size = encode(value.image, settings)
        return media._replace(orientation=value.orientation), size
    return encode(value if isinstance(value, bytes) else pixels(value), settings)


def pixels(value: Any) -> Image:
    """HWC uint8 RGB of an ndarray, a CHW tensor or a PIL image; DecodeError for anything else."""
    if hasattr(value, "convert") and hasattr(value, "mode"):
        value = np.asarray(value.convert("RGB"))
    elif hasattr(value, "permute") and getattr(value, "ndim", 0) == 3:
        value = value.detach().permute(1, 2, 0).cpu().numpy()
    array = np.asarray(value)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise DecodeError(
            "expected an image as encoded bytes, a path, HWC uint8 RGB pixels, a CHW uint8 tensor "
            f"or a PIL image, found {_described(value)}"
        )
    return np.ascontiguousarray(array)


def _further_image(value: Any, field: Field, context: _Context) -> _Part:
    media, _ = _image(value, context.settings)
    return media.data, _media_row(media)


def _mask(value: Any, field: Field, context: _Context) -> _Part:
    if isinstance(value, StoredMedia):
        data, height, width = value.data, value.height, value.width
    else:
        labels = value.cpu().numpy() if hasattr(value, "permute") else value  # of a tensor
        data, height, width = encode_mask(labels)
    if (height, width) != context.before:
        raise DecodeError(
            f"expected a mask of {_size(context.before)} as its image, found "
            f"{_size((height, width))}"
        )
    if context.after != context.before:
        plan = Plan.whole(height, width).resize(*context.after, "nearest")
        data, *_ = encode_mask(decode_mask(data, height, width, 1, plan))
    return data, _media_row(StoredMedia(data, *context.after))


def _media_row(media: StoredMedia) -> tuple[int, ...]:
    size = (len(media.data), media.height, media.width)
    return (*size, media.slice_index, media.orientation, 0, 0)


def _boxes(value: Any, field: Field, context: _Context) -> _Part:
    boxes = _with_rows(_array(value, "<f4"), (4,))
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise DecodeError(f"expected N×4 finite numbers, found {_described(value)}")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise DecodeError(
            "expected boxes as left, top, right, bottom, with right >= left and bottom >= top, "
            f"found {_described(value)}"
        )
    if context.after != context.before:
        vertical, horizontal = (
            new / old for new, old in zip(context.after, context.before, strict=True)
        )
        boxes = boxes * np.array([horizontal, vertical] * 2, "<f4")
    return _sized(boxes.tobytes())


def _varying(value: Any, field: Field, context: _Context) -> _Part:
    array = _with_rows(_array(value, field.numpy), field.row_shape)
    if array.shape[1:] != field.row_shape or array.ndim != len(field.shape):
        raise DecodeError(f"expected {field}, found {_described(value)}")
    return _sized(array.tobytes())


def _with_rows(array: Any, row_shape: tuple[int, ...]) -> Any:
    """An empty list, which cannot tell how long its rows would be, as no rows of that shape."""
    return array.reshape(0, *row_shape) if array.shape == (0,) else array


def _fixed(value: Any, field: Field, context: _Context) -> _Part:
    if field.kind == "array" and None in field.shape:
        return _varying(value, field, context)
    array = _array(value, field.numpy)
    if array.shape != field.row_shape:
        raise DecodeError(f"expected {field}, found {_described(value)}")
    return b"", array


def _array(value: Any, dtype: Any) -> Any:
    """As an array of that type, if every number in it can be told exactly, or nearly for floats."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{array.dtype} is no type of numbers")
        with np.errstate(over="ignore", invalid="ignore"):
            result = np.asarray(array, dtype, order="C")
        if not _kept(array, result):
            raise TypeError(f"a number does not fit into {result.dtype.name}")
        return result
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last is torch's
        message = f"expected numbers of type {np.dtype(dtype).name}, found {_described(value)}"
        raise DecodeError(f"{message}: {error}") from error


def _kept(array: Any, result: Any) -> bool:
    if result.dtype.kind == "f" and array.dtype.kind in "iuf":
        return bool((np.isfinite(result) | ~np.isfinite(array)).all())
    return np.array_equal(result, array)


def _int(value: Any, field: Field, context: _Context) -> _Part:
    return b"", _integer(value)


def _integer(value: Any) -> int:
    try:
        number = as_int(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError) as error:  # the last is torch's
        raise DecodeError(f"expected an integer, found {_described(value)}") from error
    if not -(2**63) <= number < 2**63:
        raise DecodeError(f"{number} does not fit into 64 bits")
    return number


def _float(value: Any, field: Field, context: _Context) -> _Part:
    try:
        if isinstance(value, (str, bytes, bytearray)):
            raise TypeError("text is no number")
        return b"", float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise DecodeError(f"expected a number, found {_described(value)}") from error


def _str(value: Any, field: Field, context: _Context) -> _Part:
    if not isinstance(value, str):
        raise DecodeError(f"expected text, found {_described(value)}")
    try:
        return _sized(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise DecodeError(f"text that is not valid Unicode: {error}") from error


def _json(value: Any, field: Field, context: _Context) -> _Part:
    try:
        return _sized(
            json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
                "utf-8"
            )
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise DecodeError(f"not a JSON value: {error}") from error


def _bytes(value: Any, field: Field, context: _Context) -> _Part:
    if not isinstance(value, bytes):
        raise DecodeError(f"expected bytes, found {_described(value)}")
    return _sized(value)


def _sized(data: bytes) -> tuple[bytes, int]:
    if len(data) > _MOST_BYTES:
        raise DecodeError(f"{len(data)} bytes are more than a record can hold ({_MOST_BYTES})")
    return data, len(data)


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None and not isinstance(value, Sequence):
        return f"{type(value).__name__} of shape {tuple(shape)}, {getattr(value, 'dtype', '')}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


_ENCODERS: dict[str, Callable[[Any, Field, _Context], _Part]] = {
    "image": _further_image,
    "mask": _mask,
    "boxes": _boxes,
    "int": _int,
    "float": _float,
    "str": _str,
    "json": _json,
    "bytes": _bytes,
    "array": _fixed,
}
