"""A pack as WebDataset shards: tar archives in which a sample's files share a name."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from ...core import KINDS, TARGET
from ...errors import PackFormatError
from ...images import sniff
from ...sources import ARCHIVES, EXTENSIONS, Sidecar, sidecar_path
from ...store import PackReader
from .values import SUFFIX_OF, field_file, sample_key

_SHARD_BYTES = 1 << 30


def write_tars(pack: PackReader, directory: Path, progress: Callable[[int], None]) -> None:
    """Write ``00000.tar`` and so on below ``directory``, passing over those that are there, and the
    class names beside them.

    The archives are the same whenever they are written: members have no owner and no time.

    Args:
        pack: opened so that records are checked.
        directory: an existing one.
        progress: told of each sample.
    """
    for number, (first, stop) in enumerate(_spans(pack)):
        path = directory / f"{number:05d}.tar"
        if path.exists():
            progress(stop - first)
            continue
        temporary = path.with_suffix(".tmp")
        seen: set[str] = set()
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
            for index in range(first, stop):
                name = _member_name(pack, index, seen)
                for suffix, data in _files(pack, index):
                    _add(tar, f"{name}.{suffix}", data)
                progress(1)
        os.replace(temporary, path)
    if TARGET in pack.fields and pack.manifest.classes:
        known = Sidecar(classes=pack.manifest.classes)
        sidecar_path(directory / ARCHIVES).write_text(known.to_json(), "utf-8")


def _spans(pack: PackReader) -> Iterator[tuple[int, int]]:
    ends = np.cumsum(pack.table["bytes"], dtype=np.int64)
    first, base = 0, 0
    while first < len(pack):
        stop = max(int(np.searchsorted(ends, base + _SHARD_BYTES, "right")), first + 1)
        yield first, stop
        first, base = stop, int(ends[stop - 1])


def _member_name(pack: PackReader, index: int, seen: set[str]) -> str:
    """The key without its extension; WebDataset cuts a base name at its first dot."""
    path = PurePosixPath(sample_key(pack, index))
    base = path.name if path.suffix == "" else path.name[: -len(path.suffix)]
    name = str(path.with_name(base.replace(".", "_") or "_"))
    if name in seen:  # a.jpg and a.png
        name = str(path.with_name(path.name.replace(".", "_")))
    if name in seen:
        raise PackFormatError(f"{pack.path}: two samples would be called {name!r} in one archive")
    seen.add(name)
    return name


def _files(pack: PackReader, index: int) -> Iterator[tuple[str, bytes]]:
    """(extension, content) of each of a sample's files."""
    record = pack.read(index)
    for name, kind in pack.kinds.items():
        if name == TARGET:
            yield "cls", b"%d" % pack.targets[index]
            continue
        if kind.is_file:
            data = field_file(pack, index, name, record).data
        else:
            data = kind.to_file(pack.value(index, name, record))
        suffix = kind.suffix or SUFFIX_OF.get(sniff(data) or "", ".jpg")[1:]
        if name in (kind.own_name, pack.image_name):
            yield suffix, data
        elif kind.is_file and not kind.media and _is_free(name):
            yield name, data  # whatever no other kind is read from is read as bytes
        else:
            yield f"{name}.{suffix}", data


def _is_free(name: str) -> bool:
    """True for a name that is an extension of nothing but bytes."""
    taken = {end for kind in KINDS.values() for end in kind.read_from}
    taken |= {"cls", "image", "key", "mask", TARGET}
    end = name.rpartition(".")[2].lower()
    return end not in taken and f".{end}" not in EXTENSIONS


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
