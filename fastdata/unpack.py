"""From a pack back to a folder of images."""

from __future__ import annotations

import csv
import os
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from tqdm import tqdm

from .errors import PackExistsError, PackFormatError
from .publish import check_destination, publishing
from .shards import PackReader


def unpack(
    path: str | os.PathLike[str], dst: str | os.PathLike[str], *, quiet: bool = False
) -> int:
    """Write every sample of a pack below ``dst``, under its key; return their number.

    A pack made with encoding "keep" gives back the very files, one made with "sliceable" the same
    pixels and metadata in rewritten JPEGs. Otherwise the stored images are written: "jpeg" and
    "png" records as they are, "raw" ones as PNG; where a key has another extension, the right one
    is appended. A pack made from a label file also gives ``labels.csv``.

    Raises:
        PackNotFoundError: there is no pack at ``path``.
        PackExistsError: ``dst`` exists.
        PackFormatError: the pack is damaged, or a key would lie outside of ``dst``.
        PackingError: ``dst`` cannot be written.
    """
    place, target = Path(path), Path(dst)
    reader = PackReader(place)
    if os.path.lexists(target):
        raise PackExistsError(f"{target} exists; unpack to a new path")
    check_destination(place, target)
    try:
        with publishing(target) as partial:
            keys = _write_all(reader, partial, quiet)
            if reader.manifest.source == "labels":
                _write_labels(reader, partial / "labels.csv", keys)
    finally:
        reader.close()
    return len(reader)


def _write_all(reader: PackReader, root: Path, quiet: bool) -> list[str]:
    suffixes, content_of = _FORMS[_form(reader)]
    if reader.manifest.source == "folder":  # a class without images is still a class
        for name in reader.manifest.classes:
            (root / _safe(reader, name)).mkdir(exist_ok=True)
    keys = []
    with tqdm(total=len(reader), unit="img", disable=True if quiet else None) as bar:
        for index in range(len(reader)):
            content = content_of(reader, index)
            keys.append(_write(root, _safe(reader, _key(reader, index)), suffixes, content))
            bar.update()
    return keys


def _write(root: Path, key: str, suffixes: tuple[str, ...], content: bytes) -> str:
    """Write below ``root`` and return the name used: the key, with a suffix where it needs one."""
    if suffixes and PurePosixPath(key).suffix.lower() not in suffixes:
        key += suffixes[0]
    file = root / key
    file.parent.mkdir(parents=True, exist_ok=True)
    while file.exists() and not (file.is_file() and file.read_bytes() == content):
        if not suffixes:
            raise PackFormatError(f"{key!r} would be written twice, with different contents")
        key += suffixes[0]  # the folder had a.jpg, which became a.jpg.png, and a.jpg.png
        file = root / key
    file.write_bytes(content)
    return key


def _form(reader: PackReader) -> str:
    name = str(reader.manifest.encoding["name"])
    if name not in _FORMS:
        raise PackFormatError(f"{reader.path}: unknown encoding {name!r}; upgrade fastdata")
    return name


def _key(reader: PackReader, index: int) -> str:
    try:
        return reader.keys[index]
    except UnicodeDecodeError as error:
        raise PackFormatError(f"{reader.path}: the key of sample {index} is damaged") from error


def _safe(reader: PackReader, name: str) -> str:
    # A Windows path is cut at backslashes, too, and may begin with a drive.
    for path in (PurePosixPath(name), Path(name)):
        if path.is_absolute() or path.drive or ".." in path.parts or not path.parts:
            raise PackFormatError(f"{reader.path}: {name!r} is not a path inside of a folder")
    if "\0" in name:
        raise PackFormatError(f"{reader.path}: {name!r} is not a file name")
    return name


def _record(reader: PackReader, index: int) -> bytes:
    data = bytes(reader.read(index))
    if zlib.crc32(data) != reader.table["crc32"][index]:
        raise PackFormatError(
            f"{reader.path}: the record of sample {index} ({_key(reader, index)!r}) is damaged: "
            "its CRC-32 is wrong (fastdata verify lists all that are)"
        )
    return data


def _raw_as_png(reader: PackReader, index: int) -> bytes:
    height, width = (int(reader.table[name][index]) for name in ("height", "width"))
    pixels = np.frombuffer(_record(reader, index), np.uint8)
    if pixels.size != height * width * 3:
        raise PackFormatError(
            f"{reader.path}: sample {index} has {pixels.size} bytes, {height}x{width} pixels need "
            f"{height * width * 3}"
        )
    image = cv2.cvtColor(pixels.reshape(height, width, 3), cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".png", image)
    if not done:
        raise PackFormatError(f"{reader.path}: sample {index} cannot be written as PNG")
    return bytes(encoded)


def _write_labels(reader: PackReader, path: Path, keys: list[str]) -> None:
    classes = reader.manifest.classes
    with path.open("x", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "target"])
        for key, target in zip(keys, reader.table["target"].tolist(), strict=True):
            if classes and not 0 <= target < len(classes):
                raise PackFormatError(f"{reader.path}: {key!r} has target {target}, not a class")
            rows.writerow([key, classes[target] if classes else target])


#: By encoding: the extensions that a record's file may have (the first is appended), its content.
_FORMS: dict[str, tuple[tuple[str, ...], Callable[[PackReader, int], bytes]]] = {
    "sliceable": ((), _record),
    "keep": ((), _record),
    "jpeg": ((".jpg", ".jpeg"), _record),
    "png": ((".png",), _record),
    "raw": ((".png",), _raw_as_png),
}
