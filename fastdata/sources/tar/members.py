"""The members of tar archives, from their headers alone (POSIX.1-2017 pax, "ustar" and GNU)."""

from __future__ import annotations

import os
import tarfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...core import KeyTable
from ...errors import SourceError
from ..archives.base import relative_key, rows
from ..archives.paths import open_archive
from ..base import Findings

_MOST_HEADER = 1 << 24  # bytes, with long names and pax records
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


@dataclass(frozen=True)
class Members:
    """Regular members of all archives, in their order.

    Attributes:
        names: normalised: relative, POSIX, without ``./``.
        archives, offsets, sizes: int64 arrays: index of the archive, and where the data lie.
        unusable: why a member cannot be read, by its index: links and sparse files.
    """

    names: KeyTable
    archives: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    unusable: dict[int, str] = field(default_factory=dict)


def read_members(paths: list[str], findings: Findings) -> Members:
    """List all members but directories; what has no usable name is rejected in ``findings``.

    Raises:
        SourceError: a file is not a tar archive, compressed, damaged or cut off; the message has
            the file and the byte.
    """
    places = array("q")
    unusable: dict[int, str] = {}

    def names() -> Iterator[str]:
        for archive, path in enumerate(paths):
            for member in tar_headers(path, findings):
                name = _usable_name(member, findings)
                if name is None:
                    continue
                reason = _unusable(member)
                if reason:
                    unusable[len(places) // 3] = reason
                # What a sparse member says of its size may be beyond 64 bits.
                places.extend((archive, member.offset_data, 0 if reason else member.size))
                yield name

    table = KeyTable.from_strings(names())
    archives, offsets, sizes = np.ascontiguousarray(rows(places, 3).T)
    return Members(table, archives, offsets, sizes, unusable)


def tar_headers(path: str, findings: Findings) -> Iterator[tarfile.TarInfo]:
    """Each member's header; data are stepped over, but have to be there."""
    with open_archive(path) as file:
        _check_not_compressed(path, file)
        end = os.fstat(file.fileno()).st_size
        headers = _Headers(path, file)
        while (member := headers.next()) is not None:
            stored = 0 if member.issparse() else member.size  # the holes count in a sparse one's
            if stored < 0 or max(headers.offset, member.offset_data + stored) > end:
                raise SourceError(
                    f"{path}: cut off: the data of {member.name!r}, {member.size} bytes from byte "
                    f"{member.offset_data}, go beyond the file's end at byte {end}"
                )
            yield member
        _check_end(path, file, headers.offset, findings)


class _Headers:
    """tarfile's reading of headers, kept from going back, reading without bound, and giving up
    silently where an archive is damaged."""

    def __init__(self, path: str, file: BinaryIO) -> None:
        self._path = path
        self._file = _BoundedFile(file)
        self._tar: Any = None
        self.offset = 0

    def next(self) -> tarfile.TarInfo | None:
        """The next member, or None where there is no further header."""
        self._file.left = _MOST_HEADER
        try:
            member, offset = self._next()
        except Exception as error:  # damaged headers make tarfile raise nearly anything
            raise SourceError(
                f"{self._path}: not a tar archive, or damaged, at byte {self.offset}: {error}"
            ) from error
        if member is not None and not self.offset < offset:
            raise SourceError(f"{self._path}: the header at byte {self.offset} points backwards")
        self.offset = offset
        return member

    def _next(self) -> tuple[tarfile.TarInfo | None, int]:
        if self._tar is None:
            file: Any = self._file
            self._tar = tarfile.TarFile(fileobj=file, encoding="utf-8", errors="surrogateescape")
        member = self._tar.next()
        self._tar.members.clear()  # it would keep an object for each member
        return member, self._tar.offset


class _BoundedFile:
    """A file of which a limited number of bytes can be read, until the limit is renewed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.left = _MOST_HEADER
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        self.left -= size
        if size < 0 or self.left < 0:
            raise OSError(f"a header of more than {_MOST_HEADER} bytes")
        return self._file.read(size)


def _check_not_compressed(path: str, file: BinaryIO) -> None:
    start = file.read(8)
    file.seek(0)
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise SourceError(
                f"{path}: compressed by {name}, so that members cannot be read by their offset; "
                "decompress it first"
            )


def _check_end(path: str, file: BinaryIO, offset: int, findings: Findings) -> None:
    """tarfile ends silently at damage, too; only a block of zeros is an end."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        found = "something else" if block else "the end of the file"
        raise SourceError(
            f"{path}: cut off or damaged: expected a header, or the zeros that end an archive, at "
            f"byte {offset}, found {found}"
        )
    if any(file.read(1 << 20)):
        findings.notes.append(
            f"{path}: left out what follows the archive's end at byte {offset} (archives that were "
            "concatenated?)"
        )


def _usable_name(member: tarfile.TarInfo, findings: Findings) -> str | None:
    if member.isdir():
        return None
    name = relative_key(member.name)
    if name is None:
        shown = member.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        findings.rejected.append((shown, "the name is not UTF-8, or no relative path"))
    return name


def _unusable(member: tarfile.TarInfo) -> str:
    if member.islnk() or member.issym():
        return "a link within a tar archive; write the archive with --dereference"
    if member.issparse():
        return "a sparse file within a tar archive; write the archive without --sparse"
    return "" if member.isreg() else "neither a file nor a directory"
