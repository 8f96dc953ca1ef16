"""Report of ``bench``: what it has measured, and what follows from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import charts
from .work import BenchFacts

_MUCH = 0.2  # share of a thread's time from which a stage is worth advice
_SHRUNK = 2.0  # times that crops are larger than the result, on each side
_PART = 0.8  # share of an image that crops take, below which cutting pays
_BUSY = 0.6  # of the cores, below which they cannot all have worked for the loader


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a stage of the work, in one thread, or a whole loader.

    Attributes:
        name: of the stage, or the loader's workers.
        images: how many were measured; 0 if nothing was, and ``note`` says why.
        seconds: for one image.
        bytes: of one image that the stage reads or moves; 0 where that says nothing.
        share: of the time that one thread takes for everything, 0 to 1; None where it is no part.
        note: what else is to be known.
        extremes: of a loader, the least and the most images a second; None for a stage.
    """

    name: str
    images: int = 0
    seconds: float = 0.0
    bytes: float = 0.0
    share: float | None = None
    note: str = ""
    extremes: tuple[float, float] | None = None

    @property
    def images_per_s(self) -> float:
        """Images a second; 0 if it was not measured."""
        return 1 / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_s(self) -> float:
        """Bytes a second; 0 where that says nothing."""
        return self.bytes * self.images_per_s

    def __str__(self) -> str:
        name = f"  {self.name}" if self.share is not None else self.name
        if not self.images:
            return f"{name:<18}  {self.note}"
        rates = f"{1e3 * self.seconds:>9.4f}{self.images_per_s:>12,.0f}"
        size = f"{self.bytes_per_s / 1e6:,.0f}" if self.bytes else ""
        share = f"{self.share:.0%}" if self.share is not None else ""
        return f"{name:<18}{rates}{size:>9}{share:>7}  {self.note}".rstrip()

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the attributes and both rates."""
        rates = {"images_per_s": self.images_per_s, "bytes_per_s": self.bytes_per_s}
        return {**asdict(self), **rates}


#: Stands above the rows.
HEAD = f"{'':<18}{'ms/image':>9}{'images/s':>12}{'MB/s':>9}{'share':>7}"


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Speed of this machine with this data, stage by stage and as a whole.

    Attributes:
        path: the pack or folder.
        samples: how many it has.
        transform: its name.
        batch_size: of what was measured by the batch.
        cores: that this process may use.
        encoding: of the pack; None for a folder.
        rows: the stages, then the loaders.
        facts: what the samples are like.
        disk_bytes: what the first reading took from disks; None where the system does not tell.

    Example:
        >>> report = fastdata.bench("photos", size=32, batch_size=4, seconds=0.05)
        >>> report.samples, report.as_dict()["batch_size"]
        (8, 4)
        >>> "of a thread's time" in report.limit
        True
    """

    path: str
    samples: int
    transform: str
    batch_size: int
    cores: int
    encoding: str | None
    rows: list[Row] = field(default_factory=list)
    facts: BenchFacts | None = None
    disk_bytes: int | None = None

    @property
    def header(self) -> str:
        """Subject and conditions, in one line."""
        cores = f"{self.cores} core{'s' * (self.cores != 1)}"
        return (
            f"{self.path}: {self.samples} samples, transform {self.transform}, batches of "
            f"{self.batch_size}, {cores}; stages in one thread"
        )

    @property
    def fastest(self) -> Row | None:
        """The loader that gave the most images a second."""
        return max(self._loaders, key=lambda row: row.images_per_s, default=None)

    @property
    def limit(self) -> str:
        """The stage that takes most of the time, in one sentence."""
        first = max(self._parts, key=lambda row: row.share or 0.0)
        sentence = f"{first.name} takes {first.share:.0%} of a thread's time for an image"
        if self.fastest is None:
            return sentence
        rate = f"{self.fastest.images_per_s:,.0f} images/s ({self.fastest.name})"
        return (
            f"{sentence}; the fastest loader makes {rate}, the work of {self._threads:.1f} threads"
        )

    @property
    def advice(self) -> list[str]:
        """Advice, as far as it follows from the numbers; the weightiest first."""
        rules = {"read": self._reading, "decode": self._decoding, "transform": self._transforming}
        stages = sorted(self._parts, key=lambda row: -(row.share or 0.0))
        weighty = [row.name for row in stages if (row.share or 0.0) >= _MUCH]
        found = [advice for name in weighty if name in rules for advice in rules[name]()]
        return [*found, *self._first_reading(), *self._workers(), *self._copying()]

    def __str__(self) -> str:
        return "\n".join([self.header, HEAD, *map(str, self.rows), *self.verdict])

    @property
    def verdict(self) -> list[str]:
        """The lines below the table."""
        return [f"limit: {self.limit}", *(f"advice: {advice}" for advice in self.advice)]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the attributes, with the rates, the limit and the advice."""
        rows = [row.as_dict() for row in self.rows]
        facts = None if self.facts is None else self.facts._asdict()
        return {
            **asdict(self),
            "rows": rows,
            "facts": facts,
            "limit": self.limit,
            "advice": self.advice,
        }

    def save_chart(self, path: str | os.PathLike[str]) -> None:
        """Draw the stages' times and the loaders' rates, in the format that the suffix names.

        Raises:
            MissingDependencyError: matplotlib is not installed.
            OptionError: nothing can be written there, or not in that format.
        """
        panels = [
            charts.Panel(
                "one thread, ms per image (less is better)",
                [charts.ChartBar(r.name, 1e3 * r.seconds) for r in self._parts],
                "{:.3f}",
            ),
            charts.Panel(
                "whole loader, images per second (more is better)",
                [charts.ChartBar(r.name, r.images_per_s, *r.extremes or ()) for r in self._loaders],
                "{:,.0f}",
            ),
        ]
        charts.save(path, panels, self.header)

    @property
    def _parts(self) -> list[Row]:
        return [row for row in self.rows if row.share is not None]

    @property
    def _loaders(self) -> list[Row]:
        return [row for row in self.rows if row.extremes]

    @property
    def _threads(self) -> float:
        """Number of threads whose work the fastest loader does."""
        rate = self.fastest.images_per_s if self.fastest is not None else 0.0
        return rate * self._row("one thread").seconds

    def _row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def _reading(self) -> Iterator[str]:
        if self.encoding is None:
            yield f"a pack opens no file for each image: fastdata pack {self.path} DST"

    def _decoding(self) -> Iterator[str]:
        facts = self.facts
        if facts is None:
            return
        if not facts.compiled:
            yield "without numba images are decoded whole: pip install numba"
        whole = facts.jpeg - facts.sliceable
        if whole > 0.5 and facts.needed < _PART:
            command = f"pack {self.path} DST"
            if self.encoding is not None:
                command = f"convert {self.path} DST --encoding sliceable"
            yield (
                f"crops need {facts.needed:.0%} of the pixels, and {whole:.0%} of the images "
                f"cannot be cut before they are decoded; a sliceable pack can: fastdata {command}"
            )
        if facts.shrunk >= _SHRUNK:
            yield (
                f"what is decoded is {facts.shrunk:.1f} times as high and wide as what becomes of "
                "it; a pack of images shrunk once (--encoding jpeg --resize-short N), or "
                'decode_scale="auto", spares that, and changes pixels'
            )

    def _transforming(self) -> Iterator[str]:
        if self.facts is not None and not self.facts.compiled:
            yield "without numba images are resized by torch: pip install numba"

    def _first_reading(self) -> Iterator[str]:
        first, fastest = self._row("read, first time"), self.fastest
        if not self.disk_bytes or fastest is None:
            return
        needed = fastest.images_per_s * first.bytes
        if needed > first.bytes_per_s:
            yield (
                f"the loader takes {needed / 1e6:,.0f} MB/s, and one thread got only "
                f"{first.bytes_per_s / 1e6:,.0f} MB/s at the first reading, partly from a disk: "
                "until the data is in memory, that may be the limit"
            )

    def _workers(self) -> Iterator[str]:
        if self.fastest is not None and self._threads < _BUSY * self.cores:
            yield (
                f"the fastest loader does the work of {self._threads:.1f} threads on {self.cores} "
                "cores: they have other work, or time is lost between the stages"
            )
        threads, processes = (self._loader(kind) for kind in ("thread", "process"))
        for one, other in ((threads, processes), (processes, threads)):
            if one is not None and other is not None and one[0] > other[1]:
                kind = "threads" if one is threads else "processes"
                yield f"{kind} are faster here; fastdata tune {self.path} looks closer"

    def _loader(self, kind: str) -> tuple[float, float] | None:
        return next((row.extremes for row in self._loaders if kind in row.name), None)

    def _copying(self) -> Iterator[str]:
        copy, fastest = self._row("copy"), self.fastest
        if copy.images and fastest is not None and copy.seconds > fastest.seconds:
            yield (
                f"the copy to the device moves {copy.images_per_s:,.0f} images/s, less than the "
                "workers make"
            )
