"""What a pack contains, for people and for programs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .shards import PackReader


@dataclass(frozen=True, slots=True)
class PackInfo:
    """A summary of a pack; sizes in bytes, heights and widths in pixels.

    ``class_counts`` has the number of samples of each class, in the order of ``classes``.
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

    def __str__(self) -> str:
        settings = ", ".join(f"{k} {v}" for k, v in self.encoding.items() if k != "name")
        names = ", ".join(self.classes[:8]) + (", …" if len(self.classes) > 8 else "")
        counts = sorted(self.class_counts)
        lines = [
            f"{self.path} (format {self.version})",
            f"samples   {self.samples} ({self.rejected} rejected when packed)",
            f"classes   {len(self.classes)}{': ' + names if names else ''}",
            *([f"per class {counts[0]} to {counts[-1]} samples"] if counts else []),
            f"fields    {', '.join(f'{name}: {kind}' for name, kind in self.fields.items())}",
            f"encoding  {self.encoding['name']}{' (' + settings + ')' if settings else ''}",
            f"storage   {self.storage}, {self.shards} shard{'s' * (self.shards != 1)}",
            f"size      {self.record_bytes / 1e6:.1f} MB of records, "
            f"{self.total_bytes / 1e6:.1f} MB on disk",
            f"images    {self.mean_width:.0f}x{self.mean_height:.0f} pixels and "
            f"{self.record_bytes / max(self.samples, 1) / 1e3:.1f} kB on average",
        ]
        return "\n".join(lines)


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
    reader = PackReader(
        path, cache_dir=cache_dir, cache_limit=cache_limit, storage_options=storage_options
    )
    manifest, table = reader.manifest, reader.table
    return PackInfo(
        path=os.fspath(reader.path),
        version=manifest.version,
        samples=manifest.samples,
        classes=manifest.classes,
        class_counts=_class_counts(reader.targets, len(manifest.classes)),
        rejected=manifest.rejected,
        storage=manifest.storage,
        encoding=manifest.encoding,
        source=manifest.source,
        fields=manifest.fields,
        shards=len(manifest.shards),
        record_bytes=int(table["bytes"].sum(dtype="i8")),
        total_bytes=sum(entry.bytes for entry in manifest.entries),
        mean_height=float(table["height"].mean()) if len(table) else 0.0,
        mean_width=float(table["width"].mean()) if len(table) else 0.0,
    )


def _class_counts(targets: NDArray[np.int64], classes: int) -> list[int]:
    known = targets[(targets >= 0) & (targets < classes)]
    counts: list[int] = np.bincount(known, minlength=classes).tolist()
    return counts
