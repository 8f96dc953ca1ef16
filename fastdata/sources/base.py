"""Samples to be packed: what they have to tell of themselves, and how each of them is had.

``Source`` is the usual kind: it lists all samples first, then gives each one by its index. Samples
that come one after the other, as an iterable gives them, are ``Samples``, too (see ``iterables``).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from ..core import Field, KeyTable, hexdigest, read_file
from .classes import ClassMap


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


@dataclass
class Findings:
    """Notes and rejections of a listing: what was met besides samples.

    Attributes:
        ignored: number of files left out because of their extension, by extension.
        rejected: images that cannot be listed, as (escaped name, reason).
        notes: what else the user should know.
    """

    ignored: Counter[str] = field(default_factory=Counter)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class SampleTask(Protocol):
    """A sample that can be fetched, in whichever thread."""

    def __call__(self) -> Item:
        """Fetch it."""

    def trace(self) -> bytes:
        """Bytes that tell it from other samples, as far as that can be told without fetching."""


class IndexedTask:
    """Sample ``index`` of some samples; without fetching, nothing but its number is known."""

    __slots__ = ("index", "samples")

    def __init__(self, samples: Samples, index: int) -> None:
        self.samples, self.index = samples, index

    def __call__(self) -> Item:
        return self.samples.item(self.index)

    def trace(self) -> bytes:
        """The number."""
        return b"%d," % self.index


class Samples(ABC):
    """Interface of all that can be packed.

    Attributes:
        name: what ``--source`` calls their kind.
        fields: what a sample consists of.
        classes: class names; the field "target" is an index into them.
        findings: what was met besides samples.
        sizes: int64 array, the number of bytes to be read for each sample; about right suffices,
            and 0 stands for one that is not known.
        walks: whether whatever lies below ``roots`` is found, so that no pack may be written there.
    """

    walks = False

    name: str
    fields: dict[str, Field]
    classes: list[str]
    findings: Findings
    sizes: NDArray[np.int64]

    @property
    def listing(self) -> Source | None:
        """The samples, if each of them is known beforehand by name, size and time, so that shards
        can be planned, and written by any process in any order; None if they have to be packed one
        after the other."""
        return None

    @property
    @abstractmethod
    def length(self) -> int | None:
        """Number of samples, or None if only iterating tells."""

    @property
    def key_bytes(self) -> int:
        """Bytes of all names; about right suffices."""
        return 0

    @property
    def roots(self) -> list[str]:
        """The files and directories that they are read from, as far as these are known by name."""
        return []

    @abstractmethod
    def item(self, index: int) -> Item:
        """Sample ``index`` (0 ≤ index < length). Bytes of images are not read yet."""

    @abstractmethod
    def tasks(self) -> Iterator[SampleTask]:
        """A task for each sample, in order; iterators and generators give them only once."""

    @abstractmethod
    def digest(self) -> str:
        """SHA-256, in hex, of all that goes into a pack besides the samples themselves."""

    @abstractmethod
    def has_parts(self, parts: Iterable[tuple[int, str]]) -> bool:
        """True if the samples, which may be read for it, are those of earlier shards.

        Args:
            parts: for each shard the number of its samples and the ``Trace`` of their tasks.
        """

    @abstractmethod
    def with_classes(self, classes: Sequence[str]) -> Samples:
        """The same samples with these class names, among them all that there were: a target keeps
        its name. They take the place of these, which are not to be used any more."""


class Source(Samples):
    """The samples of one kind of input, listed, in an order that is always the same.

    A source holds arrays, not an object for each sample, so that millions are no burden. It can
    be pickled and its items may be read in any thread or process.

    Attributes:
        root: the path it was opened with.
        keys: the samples' names.
        stamps: int64 array; another number means that the sample may have changed. Modification
            times in nanoseconds, say, of the file itself or of the archive that it lies in.
        The rest: see ``Samples``.
    """

    walks = True

    root: str
    keys: KeyTable
    stamps: NDArray[np.int64]

    @property
    def listing(self) -> Source:
        """Itself."""
        return self

    @property
    def length(self) -> int:
        """Number of samples."""
        return len(self)

    @property
    def key_bytes(self) -> int:
        """Bytes of all names."""
        return len(self.keys.blob)

    @property
    def roots(self) -> list[str]:
        """The path it was opened with."""
        return [self.root]

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Item]:
        for index in range(len(self)):
            yield self.item(index)

    def tasks(self) -> Iterator[SampleTask]:
        """A task for each sample."""
        return (IndexedTask(self, index) for index in range(len(self)))

    @abstractmethod
    def part(self, first: int, stop: int) -> Self:
        """The samples ``first`` to ``stop`` − 1 as a source of their own, small when pickled."""

    def has_vanished(self, index: int) -> bool:
        """True if a file of the sample was there when it was listed, and no longer is."""
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

    def has_parts(self, parts: Iterable[tuple[int, str]]) -> bool:
        """True: keys, sizes, stamps and digest, which tell whether the pack is another one, are
        compared before."""
        return True

    def with_classes(self, classes: Sequence[str]) -> Source:
        """See ``Samples``."""
        return self if list(classes) == self.classes else RenumberedSource(self, classes)


class RenumberedSource(Source):
    """A source whose targets are indices into other class names."""

    def __init__(self, inner: Source, classes: Sequence[str]) -> None:
        self.inner = inner
        self.classes = list(classes)
        self.name, self.root, self.findings = inner.name, inner.root, inner.findings
        self.fields, self.walks = inner.fields, inner.walks
        self.keys, self.sizes, self.stamps = inner.keys, inner.sizes, inner.stamps
        self._map = ClassMap(inner.classes, self.classes)

    @property
    def roots(self) -> list[str]:
        """Those of the source."""
        return self.inner.roots

    def item(self, index: int) -> Item:
        """Sample ``index``."""
        item = self.inner.item(index)
        return item._replace(values=self._map.renumbered(item.values))

    def part(self, first: int, stop: int) -> Self:
        """The samples from ``first`` to ``stop`` − 1."""
        part: Self = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part.inner = self.inner.part(first, stop)
        part.keys, part.sizes, part.stamps = part.inner.keys, part.inner.sizes, part.inner.stamps
        return part

    def digest(self) -> str:
        """See ``Source``."""
        return hexdigest([self.inner.digest(), *self.classes])


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
