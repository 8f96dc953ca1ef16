"""The fields of a sample as files, and as values in a table."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import cv2
from numpy.typing import NDArray

from ...core import TARGET
from ...errors import DecodeError, PackFormatError
from ...images import MEDIA, EncodedImage
from ...store import PackReader

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


def field_file(pack: PackReader, index: int, name: str, record: memoryview) -> FileContent:
    """The file for a value that a table names by its path.

    Raises:
        PackFormatError: the sample is damaged.
    """
    kind, data = pack.kinds[name], pack.read_field(index, name, record)
    if not kind.media:
        return FileContent((f".{kind.suffix}",), bytes(data))
    row, media = pack.media(name)[index], MEDIA[kind.name]
    raw = media.is_color and pack.encoding.is_pixels
    if media.is_color and not raw:
        return FileContent(pack.encoding.suffixes, bytes(data))
    stored = EncodedImage(data, int(row["height"]), int(row["width"]), raw=raw)
    try:
        return FileContent((".png",), _png(media.pixels(stored)))
    except DecodeError as error:
        raise PackFormatError(f"{pack.path}: sample {index}, field {name!r}: {error}") from error


def plain_value(pack: PackReader, index: int, name: str, record: memoryview) -> Any:
    """The value of any other field, in types that JSON has; a class by its name, none as −1."""
    value = pack.value(index, name, record)
    if name != TARGET:
        return pack.kinds[name].to_json(value)
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


def _png(pixels: NDArray[Any]) -> bytes:
    values = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    done, encoded = cv2.imencode(".png", values)
    if not done:
        raise PackFormatError(f"an image of {pixels.shape} cannot be written as PNG")
    return bytes(encoded)
