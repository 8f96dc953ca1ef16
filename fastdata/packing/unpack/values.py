"""What each field of a sample becomes as a file, or as a value in a table."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import cv2
import numpy as np

from ...core import TARGET
from ...errors import PackFormatError
from ...images import Image, decode_mask
from ...store import PackReader

#: By encoding: the extensions that an image's file may have; the first is appended to others.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "sliceable": (),
    "keep": (),
    "jpeg": (".jpg", ".jpeg"),
    "png": (".png",),
    "raw": (".png",),
}

#: The extension of each format that ``fastdata.images.header.sniff`` knows.
SUFFIX_OF = {
    "avif": ".avif",
    "bmp": ".bmp",
    "gif": ".gif",
    "jpeg": ".jpg",
    "png": ".png",
    "pnm": ".ppm",
    "tiff": ".tif",
    "webp": ".webp",
}


class FileContent(NamedTuple):
    """A file that is to be written: the extensions that it may have (none: any), its bytes."""

    suffixes: tuple[str, ...]
    data: bytes


def suffixes_of(pack: PackReader) -> tuple[str, ...]:
    """What a pack's images may be called; PackFormatError for an encoding from the future."""
    name = str(pack.manifest.encoding["name"])
    if name not in SUFFIXES:
        raise PackFormatError(f"{pack.path}: unknown encoding {name!r}; upgrade fastdata")
    return SUFFIXES[name]


def field_file(pack: PackReader, index: int, name: str, record: memoryview) -> FileContent:
    """The file for an image, a mask or bytes.

    Raises:
        PackFormatError: the sample is damaged.
    """
    kind = pack.fields[name].kind
    data = pack.read_field(index, name, record)
    if kind == "bytes":
        return FileContent((".bin",), bytes(data))
    row = pack.media(name)[index]
    height, width = int(row["height"]), int(row["width"])
    if kind == "mask":
        return FileContent((".png",), _png(decode_mask(data, height, width)))
    if pack.manifest.encoding["name"] != "raw":
        return FileContent(suffixes_of(pack), bytes(data))
    if len(data) != height * width * 3:
        raise PackFormatError(
            f"{pack.path}: sample {index} has {len(data)} bytes, {height}x{width} pixels need "
            f"{height * width * 3}"
        )
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, 3)
    return FileContent((".png",), _png(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))))


def plain_value(pack: PackReader, index: int, name: str, record: memoryview) -> Any:
    """The value of any other field, in types that JSON has; a class by its name, none as −1."""
    value = pack.value(index, name, record)
    if name != TARGET:
        return value.tolist() if isinstance(value, np.ndarray) else value
    classes = pack.manifest.classes
    if not classes or value == -1:
        return value
    if not 0 <= value < len(classes):
        key = sample_key(pack, index)
        raise PackFormatError(f"{pack.path}: {key!r} has target {value}, not a class")
    return classes[value]


def sample_key(pack: PackReader, index: int) -> str:
    """A sample's name, as one that may be used below a directory; else PackFormatError."""
    return safe_name(pack, pack.keys[index])


def safe_name(pack: PackReader, name: str) -> str:
    """``name`` itself, if it stays inside of the directory that it is used in."""
    # A Windows path is cut at backslashes, too, and may begin with a drive.
    for path in (PurePosixPath(name), Path(name)):
        if path.is_absolute() or path.drive or ".." in path.parts or not path.parts:
            raise PackFormatError(f"{pack.path}: {name!r} is not a path inside of a folder")
    if "\0" in name:
        raise PackFormatError(f"{pack.path}: {name!r} is not a file name")
    return name


def _png(pixels: Image) -> bytes:
    done, encoded = cv2.imencode(".png", pixels)
    if not done:
        raise PackFormatError(f"an image of {pixels.shape} cannot be written as PNG")
    return bytes(encoded)
