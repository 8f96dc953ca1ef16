"""From packs to other packs: merging, taking a part, converting."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

from ..core import read_npy
from ..errors import DecodeError, EmptySourceError, OptionError, SourceError
from ..sources import PackSource
from ..store import PackReader
from .options import PackOptions, access_of, asked_encoding, encoding_options
from .pack import pack
from .report import PackReport

#: Of a line in an index file; one with zeros in front is rather a key, such as 00000012.
_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")


def merge(
    paths: Sequence[str | os.PathLike[str]],
    dst: str | os.PathLike[str],
    **options: Unpack[PackOptions],
) -> PackReport:
    """Put packs together, one after the other, into a new one.

    Records are copied as they are if all packs have one encoding and no other is asked for. Classes
    are matched by name.

    Args:
        paths: the packs; they must have the same fields.
        dst: path of the new pack.
        options: as for ``pack``; storage and encoding are by default those of the packs.

    Raises:
        OptionError: the packs' fields differ, or their encodings, and none is asked for.
        FastdataError: as ``pack``; PackFormatError for a damaged record, and nothing is published.

    Example:
        >>> report = fastdata.pack("photos", "others.pack", quiet=True)
        >>> fastdata.merge(["photos.pack", "others.pack"], "all.pack", quiet=True).images
        16
    """
    if not paths:
        raise OptionError("expected one or more packs to merge, found none")
    readers = [_opened(path, options) for path in paths]
    for reader in readers[1:]:
        different = reader.manifest.encoding != readers[0].manifest.encoding
        if different and not asked_encoding(options):
            raise OptionError(
                f"{readers[0].path} has the encoding {readers[0].manifest.encoding}, "
                f"{reader.path} has {reader.manifest.encoding}: say which one the new pack is to "
                "have (--encoding)"
            )
    return _repack(readers, dst, None, None, options)


def subset(
    path: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    indices: Iterable[int] | str | os.PathLike[str] | None = None,
    count: int | None = None,
    per_class: int | None = None,
    seed: int = 0,
    **options: Unpack[PackOptions],
) -> PackReport:
    """Take some samples of a pack into a new one; all that is asked for has to hold.

    Args:
        path: the pack.
        dst: path of the new pack.
        classes: names; the new pack has these classes only, in the old order.
        indices: of samples, in the order that is wanted, or a file: .npy with integers, or text
            with an index or a key on each line (a number with zeros in front is a key).
        count: so many, drawn without repetition, in the old order.
        per_class: at most so many of each class, drawn in the same way.
        seed: of the draws.
        options: as for ``pack``; storage and encoding are by default those of the pack.

    Raises:
        OptionError: there is no such class, index or number of samples.
        SourceError: the index file is wrong; the message has the line.
        FastdataError: as ``pack``.

    Example:
        >>> fastdata.subset("photos.pack", "dogs.pack", classes=["dog"], quiet=True).images
        4
        >>> fastdata.subset("photos.pack", "few.pack", per_class=1, quiet=True).images
        2
    """
    reader = _opened(path, options)
    chosen = _read_indices(reader, indices)
    names = _known_classes(reader, classes)
    if classes is not None:
        wanted = [reader.manifest.classes.index(name) for name in names]
        chosen = chosen[np.isin(reader.targets[chosen], wanted)]
    rng = np.random.default_rng(seed)
    if per_class is not None:
        chosen = _some_of_each(chosen, reader.targets[chosen], per_class, rng)
    if count is not None:
        if not 0 < count <= len(chosen):
            raise OptionError(f"count must be 1 to {len(chosen)}, got {count}")
        chosen = chosen[np.sort(rng.choice(len(chosen), count, replace=False))]
    if not len(chosen):
        raise EmptySourceError(f"{path}: no sample is left")
    return _repack([reader], dst, [chosen], names, options)


def convert(
    path: str | os.PathLike[str], dst: str | os.PathLike[str], **options: Unpack[PackOptions]
) -> PackReport:
    """Write a pack anew with another storage, encoding or shard size.

    Args:
        path: the pack.
        dst: path of the new pack.
        options: as for ``pack``; what is not given stays as it is. Images are decoded from the
            stored form, so a JPEG that becomes a smaller JPEG is compressed twice. Masks and boxes
            follow where images are shrunk.

    Raises:
        FastdataError: as ``pack``.

    Example:
        >>> fastdata.convert("photos.pack", "raw.pack", encoding="raw", quiet=True).images
        8
    """
    return _repack([_opened(path, options)], dst, None, None, options)


def _repack(
    readers: list[PackReader],
    dst: str | os.PathLike[str],
    indices: list[NDArray[np.int64]] | None,
    classes: list[str] | None,
    options: PackOptions,
) -> PackReport:
    manifest = readers[0].manifest
    wanted: dict[str, Any] = {"storage": manifest.storage, **options}
    again = not asked_encoding(options)
    wanted |= _encoding(manifest.encoding, options)
    try:
        return pack(PackSource(readers, indices, again, classes), dst, **wanted)
    finally:
        for reader in readers:
            reader.close()


def _opened(path: str | os.PathLike[str], options: PackOptions) -> PackReader:
    return PackReader(path, "first-read", access_of(options))


def _encoding(before: dict[str, Any], options: PackOptions) -> dict[str, Any]:
    """The encoding to have: as before, but for what is asked for."""
    asked = asked_encoding(options)
    known = encoding_options(before)
    if asked.get("encoding", known["encoding"]) != known["encoding"]:
        return asked
    sides = {"resize_short", "max_side"}
    kept = {n: v for n, v in known.items() if not (n in sides and sides & asked.keys())}
    return {**kept, **asked}


def _known_classes(reader: PackReader, classes: Sequence[str] | None) -> list[str]:
    known = reader.manifest.classes
    if classes is None:
        return known
    unknown = sorted(set(classes) - set(known))
    if unknown:
        raise OptionError(f"{reader.path} has no class {unknown[0]!r} (fastdata info lists them)")
    return [name for name in known if name in set(classes)]


def _some_of_each(
    chosen: NDArray[np.int64], targets: NDArray[np.int64], most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    if most < 1:
        raise OptionError(f"per_class must be >= 1, got {most}")
    keep = np.zeros(len(chosen), np.bool_)
    for target in np.unique(targets):
        own = np.flatnonzero(targets == target)
        keep[own if len(own) <= most else rng.choice(own, most, replace=False)] = True
    return np.compress(keep, chosen)


def _read_indices(
    reader: PackReader, indices: Iterable[int] | str | os.PathLike[str] | None
) -> NDArray[np.int64]:
    if indices is None:
        return np.arange(len(reader))
    where = "indices"
    if isinstance(indices, (str, os.PathLike)):
        where = os.fspath(indices)
        indices = _index_file(reader, Path(indices))
    found: NDArray[Any] = np.asarray(list(indices))
    if found.size == 0:
        return np.zeros(0, np.int64)
    _indices_of(found, where)
    outside = found[(found < 0) | (found >= len(reader))]
    if len(outside):
        raise OptionError(f"{where}: {outside[0]} is not one of {len(reader)} samples")
    return np.asarray(found.astype(np.int64))


def _index_file(reader: PackReader, path: Path) -> Iterable[int]:
    try:
        if path.suffix == ".npy":
            return _indices_of(read_npy(path.read_bytes()), str(path))
        # Not splitlines: a key may have other characters that end a line in Unicode.
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    except DecodeError as error:
        raise SourceError(f"{path}: {error}") from error
    places: dict[str, int] = {}
    found = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if _INDEX.fullmatch(text):
            found.append(int(text))
        elif text:
            places = places or {key: index for index, key in enumerate(reader.keys)}
            place = places.get(line.rstrip("\r"), places.get(text))
            if place is None:
                raise SourceError(f"{path}, line {number}: {text!r} is neither an index nor a key")
            found.append(place)
    return found


def _indices_of(array: NDArray[Any], where: str) -> NDArray[Any]:
    if array.size and (array.dtype.kind not in "iu" or array.ndim != 1):
        raise SourceError(f"{where}: expected integers, found {array.dtype} of {array.shape}")
    return array
