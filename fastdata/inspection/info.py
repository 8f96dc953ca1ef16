"""Contents of a pack, for people and for programs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..images import ENCODINGS
from ..store import Access, PackReader
from .histogram import COLUMNS, Histogram, Tally
from .text import columns_of, padded, printable, shortened, side_by_side

_ROWS = 1 << 16  # as many as a processor's cache holds, so that each is fetched once
_SOME = 1 << 16
_LISTED = 5
_LARGE = 10_000_000
_MOST = np.uint64(2**62)  # what a damaged table's numbers are cut to, so as to stay below 2**63


@dataclass(frozen=True, slots=True)
class PackInfo:
    """A summary of a pack; sizes in bytes, heights and widths in pixels.

    Attributes:
        class_counts: the number of samples of each class, in the order of ``classes``.
        unlabelled: samples without a class.
        sliceable: samples whose image is decoded in part.
        verbatim: samples whose image is the source's own bytes, because of the encoding "keep" or
            because it cannot be made sliceable.
        orientations: the number of samples by EXIF orientation, of which 1 is upright.
        histograms: of "width", "height", "pixels" and "bytes" (of the whole record).
    """

    path: str
    version: int
    samples: int
    classes: list[str]
    class_counts: list[int]
    rejected: int
    storage: str
    encoding: dict[str, Any]
    source: str
    fields: dict[str, str]
    shards: int
    record_bytes: int
    total_bytes: int
    mean_height: float
    mean_width: float
    unlabelled: int
    sliceable: int
    verbatim: int
    orientations: dict[int, int]
    histograms: dict[str, Histogram]

    def __str__(self) -> str:
        return self.text()

    def text(self, all_classes: bool = False) -> str:
        """Lines of at most 80 columns, apart from long names.

        Args:
            all_classes: list each class with its number of samples, not only the largest and the
                smallest ones.
        """
        lines = [*self._summary(), *self._classes(all_classes), *self._charts()]
        return "\n".join(lines)

    def _summary(self) -> list[str]:
        settings = ", ".join(f"{k} {v}" for k, v in self.encoding.items() if k != "name")
        names = ", ".join(self.classes[:8]) + (", …" if len(self.classes) > 8 else "")
        counts = sorted(self.class_counts)
        turned = [f"{n} of {many}" for n, many in self.orientations.items() if n != 1]
        return [
            f"{self.path} (format {self.version})",
            f"samples   {self.samples} ({self.rejected} rejected when packed)",
            f"classes   {len(self.classes)}{': ' + shortened(names, 60) if names else ''}",
            *([f"per class {counts[0]} to {counts[-1]} samples"] if counts else []),
            *([f"unlabelled {self.unlabelled}"] if self.unlabelled else []),
            f"fields    {', '.join(f'{name}: {kind}' for name, kind in self.fields.items())}",
            f"encoding  {self.encoding['name']}{' (' + settings + ')' if settings else ''}",
            f"storage   {self.storage}, {self.shards} shard{'s' * (self.shards != 1)}",
            f"size      {self.record_bytes / 1e6:.1f} MB of records, "
            f"{self.total_bytes / 1e6:.1f} MB on disk",
            f"images    {self.mean_width:.0f}x{self.mean_height:.0f} pixels and "
            f"{self.record_bytes / max(self.samples, 1) / 1e3:.1f} kB on average",
            f"decoding  {self.sliceable} sliceable, {self.samples - self.sliceable} decoded whole, "
            f"{self.verbatim} stored verbatim",
            *([f"turned    EXIF orientation {', '.join(turned)}"] if turned else []),
        ]

    def _classes(self, everything: bool) -> list[str]:
        rows = list(zip(self.class_counts, map(printable, self.classes), strict=True))
        if everything:
            return ["", "samples by class", *_class_rows(rows, 80)]
        rows.sort(key=lambda row: -row[0])
        if len(rows) < 2:
            return []
        if len(rows) <= 2 * _LISTED:
            return ["", "samples by class", *_class_rows(rows, 80)]
        largest = ["largest classes", *_class_rows(rows[:_LISTED], COLUMNS)]
        smallest = ["smallest classes", *_class_rows(rows[-_LISTED:], COLUMNS)]
        return ["", *side_by_side(largest, smallest, COLUMNS + 4)]

    def _charts(self) -> list[str]:
        if not self.samples:
            return []
        found = self.histograms
        width, height = (found[name].bars(name, "px") for name in ("width", "height"))
        pixels = found["pixels"].bars("area", "MP", 1_000_000)
        large = found["bytes"].mean >= _LARGE
        size = found["bytes"].bars("size", *(("MB", 1_000_000) if large else ("kB", 1_000)))
        pairs = (side_by_side(*pair, COLUMNS + 4) for pair in ((width, height), (pixels, size)))
        return [line for pair in pairs for line in ("", *pair)]


def pack_info(
    path: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> PackInfo:
    """Summarise a pack from its manifest and table.

    Args:
        path: the pack's directory, or its URL, of which no shard is read.
        cache_dir, cache_limit, storage_options: as for ``PackedImageFolder``.

    Raises:
        PackNotFoundError: there is no pack at ``path``.
        PackFormatError: it is damaged.
        RemoteError, CacheError: as for ``PackedImageFolder``.
    """
    reader = PackReader(path, access=Access(cache_dir, cache_limit, storage_options))
    manifest, table = reader.manifest, reader.table
    tallies, orientations, sliceable = _counted(table)
    encoding = ENCODINGS.get(manifest.encoding["name"])
    counts = _class_counts(reader.targets, len(manifest.classes))
    return PackInfo(
        path=os.fspath(reader.path),
        version=manifest.version,
        samples=manifest.samples,
        classes=manifest.classes,
        class_counts=counts,
        rejected=manifest.rejected,
        storage=manifest.storage,
        encoding=manifest.encoding,
        source=manifest.source,
        fields=manifest.fields,
        shards=len(manifest.shards),
        record_bytes=tallies["bytes"].total,
        total_bytes=sum(entry.bytes for entry in manifest.entries),
        mean_height=tallies["height"].total / max(len(table), 1),
        mean_width=tallies["width"].total / max(len(table), 1),
        unlabelled=int((reader.targets < 0).sum()),
        sliceable=sliceable,
        verbatim=manifest.samples - sliceable if encoding and encoding.keeps_bytes else 0,
        orientations=orientations,
        histograms={name: tally.histogram() for name, tally in tallies.items()},
    )


def _class_counts(targets: NDArray[np.int64], classes: int) -> list[int]:
    known = targets[(targets >= 0) & (targets < classes)]
    counts: list[int] = np.bincount(known, minlength=classes).tolist()
    return counts


def _counted(table: NDArray[np.void]) -> tuple[dict[str, Tally], dict[int, int], int]:
    """Histograms, the number of samples by orientation, and of those that are sliceable."""
    some = _quantities(table[:: len(table) // _SOME + 1])
    tallies = {name: Tally(numbers) for name, numbers in some.items()}
    orientations, sliceable = np.zeros(256, np.int64), 0
    for first in range(0, len(table), _ROWS):
        rows = table[first : first + _ROWS]
        for name, numbers in _quantities(rows).items():
            tallies[name].add(numbers)
        orientations += np.bincount(rows["orientation"], minlength=256)
        sliceable += int(np.count_nonzero(rows["slice_index"]))
    return tallies, {int(n): int(orientations[n]) for n in np.flatnonzero(orientations)}, sliceable


def _quantities(rows: NDArray[np.void]) -> dict[str, NDArray[np.int64]]:
    width, height = rows["width"], rows["height"]
    pixels = np.minimum(
        np.multiply(width, height, dtype=np.uint64), _MOST
    )  # a table may be damaged
    columns = {"width": width, "height": height, "pixels": pixels, "bytes": rows["bytes"]}
    return {name: numbers.astype(np.int64) for name, numbers in columns.items()}


def _class_rows(rows: Iterable[tuple[int, str]], columns: int) -> list[str]:
    rows = list(rows)
    digits = max((len(f"{count:,}") for count, _ in rows), default=1)
    widest = max((columns_of(name) for _, name in rows), default=1)
    room = min(widest, columns - digits - 2)
    return [f"{padded(name, room)}  {count:>{digits},}" for count, name in rows]
