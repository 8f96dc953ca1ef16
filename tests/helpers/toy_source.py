"""A kind of source in one module: a directory of ``.toy`` files, each a number and an image.

A file is the number in decimal digits, a line feed, and the image's own file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from fastdata.core import Field, KeyTable, hexdigest
from fastdata.errors import EmptySourceError, OptionError, SourceError
from fastdata.sources import Findings, Item, Source, SourceKind, SourceOption, SpanBlob


@dataclass
class ToySource(Source):
    """The toys of a directory, in the order of their names; fields ``image`` and ``number``."""

    root: str
    keys: KeyTable
    numbers: NDArray[np.int64]
    sizes: NDArray[np.int64]
    stamps: NDArray[np.int64]
    findings: Findings = field(default_factory=Findings)

    name = "toy"
    classes = []  # noqa: RUF012
    fields = {"image": Field("image"), "number": Field("int")}  # noqa: RUF012

    def item(self, index: int) -> Item:
        path, size = os.path.join(self.root, self.keys[index]), int(self.sizes[index])
        number = int(self.numbers[index])
        image = SpanBlob(path, len(f"{number}\n"), size)
        return Item(self.keys[index], {"image": image, "number": number})

    def part(self, first: int, stop: int) -> Self:
        arrays = {n: getattr(self, n)[first:stop] for n in ("numbers", "sizes", "stamps")}
        return replace(self, keys=self.keys.part(first, stop), findings=Findings(), **arrays)

    def digest(self) -> str:
        return hexdigest([super().digest(), self.numbers])


def list_toys(path: str | os.PathLike[str], *, least: int = 0) -> ToySource:
    """The toys of a directory whose numbers are at least ``least``."""
    found = sorted(toy for file in Path(path).glob("*.toy") if (toy := read_toy(file))[1] >= least)
    if not found:
        raise EmptySourceError(f"{path} has no .toy files, or none of {least} and above")
    names, *numbers = zip(*found, strict=True)
    return ToySource(os.fspath(path), KeyTable.from_strings(names), *np.array(numbers, np.int64))


def read_toy(path: Path) -> tuple[str, int, int, int]:
    """A toy's name and number, the bytes of its image, and its modification time."""
    status = path.stat()
    with path.open("rb") as file:
        line = file.readline(20)
    if not line[:-1].isdigit():
        raise SourceError(f"{path}: expected a line with a number, found {line!r}")
    return path.name, int(line), status.st_size - len(line), status.st_mtime_ns


def detect_toys(path: str) -> bool:
    """Whether a path is a directory with a ``.toy`` in it."""
    return any(Path(path).glob("*.toy"))


def whole(text: str) -> int:
    """The value of ``--least``."""
    if not text.isdigit():
        raise OptionError(f"expected a whole number, got {text!r}")
    return int(text)


TOYS = SourceKind(
    "toy", list_toys, detect_toys, (SourceOption("least", "toys of N and above", "N", whole),)
)


def write_toy(path: Path, number: int, image: bytes) -> Path:
    path.write_bytes(b"%d\n" % number + image)
    return path
