"""What a source of samples has to do: list them all first, then give each one by its index."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from ..core import Field, KeyTable, hexdigest, read_file


@runtime_checkable
class Blob(Protocol):
    """Bytes that are read when they are needed, in whichever thread, process or machine."""

    def read(self) -> bytes:
        """All of them.

        Raises:
            OSError: they cannot be read.
        """


@dataclass(frozen=True, slots=True)
class FileBlob:
    """A whole file."""

    path: str

    def read(self) -> bytes:
        """The file's bytes; a named pipe, which would wait for ever, is an OSError instead."""
        return read_file(self.path)


@dataclass(frozen=True, slots=True)
class SpanBlob:
    """A part of a file, such as a member of a tar archive."""

    path: str
    offset: int
    size: int

    def read(self) -> bytes:
        """The part's bytes; OSError where the file ends before them."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) != self.size:
            raise OSError(
                f"{self.path}: expected {self.size} bytes at {self.offset}, found {len(data)}"
            )
        return data


class Item(NamedTuple):
    """One sample on its way into a pack.

    Attributes:
        key: its name: POSIX, relative to the source.
        values: by field. Images and masks are a ``Blob``, encoded bytes, a path, pixels as an
            ndarray (HWC uint8 RGB or HW; masks HW uint8 or uint16) or a PIL image; ``bytes`` may
            be a ``Blob``, too. The rest are plain Python or NumPy values.
    """

    key: str
    values: dict[str, Any]


class Source(ABC):
    """The samples of one kind of input, listed, in an order that is always the same.

    A source holds arrays, not an object for each sample, so that millions are no burden. It can
    be pickled and its items may be read in any thread or process.

    Attributes:
        name: what ``--source`` calls it.
        root: the path it was opened with.
        fields: what its samples consist of.
        classes: class names; the field "target" is an index into them.
        findings: what was met besides samples.
        keys: the samples' names.
        sizes: int64 array, the number of bytes to be read for each sample; about right suffices.
        stamps: int64 array; another number means that the sample may have changed. Modification
            times in nanoseconds, say, of the file itself or of the archive that it lies in.
        walks: whether it finds whatever lies below ``root``, so that no pack may be written there.
    """

    walks = True

    name: str
    root: str
    fields: dict[str, Field]
    classes: list[str]
    findings: Findings
    keys: KeyTable
    sizes: NDArray[np.int64]
    stamps: NDArray[np.int64]

    @property
    def roots(self) -> list[str]:
        """The files and directories that it reads, as far as they are known by name."""
        return [self.root]

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Item]:
        for index in range(len(self)):
            yield self.item(index)

    @abstractmethod
    def item(self, index: int) -> Item:
        """Sample ``index`` (0 ≤ index < len). Bytes of images are not read yet."""

    @abstractmethod
    def part(self, first: int, stop: int) -> Self:
        """The samples ``first`` to ``stop`` − 1 as a source of their own, small when pickled."""

    def has_vanished(self, index: int) -> bool:
        """Whether a file of the sample was there when it was listed, and no longer is."""
        if self.stamps[index] < 0:
            return False
        values = self.item(index).values.values()
        paths = [getattr(value, "path", None) for value in values if isinstance(value, Blob)]
        return any(path is not None and not os.path.lexists(path) for path in paths)

    def digest(self) -> str:
        """SHA-256, in hex, of all that goes into a pack besides the keys and the files' bytes:
        class names, targets, columns, annotations. Two listings with equal digests, keys, sizes
        and stamps give the same pack."""
        fields = [part for name, field in self.fields.items() for part in (name, str(field))]
        return hexdigest([*fields, "classes", *self.classes])


def stat_files(paths: Iterator[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sizes in bytes and modification times in ns; (0, −1) for what cannot be asked: reading it
    will fail, with its reason."""
    sizes, stamps = array("q"), array("q")
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            sizes.append(0)
            stamps.append(-1)
        else:
            sizes.append(status.st_size)
            stamps.append(status.st_mtime_ns)
    return np.array(sizes, np.int64), np.array(stamps, np.int64)


@dataclass
class Findings:
    """What a walk through a folder met besides images.

    Attributes:
        ignored: number of files left out because of their extension, by extension.
        rejected: images that cannot be listed, as (escaped name, reason).
        notes: what else the user should know.
    """

    ignored: Counter[str] = field(default_factory=Counter)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
