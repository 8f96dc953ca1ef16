"""Planning a packing run without writing anything: what is behind ``pack --dry-run``."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from ...core import Field, available_cores, parse_size
from ...errors import PackExistsError
from ...sources import Item, Samples, Source, samples_of
from ...store import DEFAULT_STORAGE, TABLE_DTYPE, column_types, is_url
from ...store import storage as known_storage
from ..options import PackOptions, PackSettings, checked_workers, encode_settings, usable
from ..run import PackRun
from ..workspace import LocalDestination
from ..write import ShardSpan, expansion, plan_shards
from .advice import advise
from .looks import Estimate, SampleFacts, candidates, look_at, total
from .report import PackPlan

_BUDGET = 3.0  # seconds for looking at samples
_DOUBT = 2.0  # threads, caches and disks make this much difference to the time
_MANIFEST_SHARD, _MANIFEST = 200, 2000  # bytes of pack.json


def plan_pack(
    samples: Source | Iterable[Any] | str | os.PathLike[str],
    dst: str | os.PathLike[str] | None = None,
    *,
    fields: Mapping[str, str | Field] | None = None,
    classes: Sequence[str] | None = None,
    **options: Unpack[PackOptions],
) -> PackPlan:
    """Say what ``pack`` would do with the same arguments; nothing is written.

    Up to 64 samples, the same each time, are read and encoded; it takes a few seconds. How samples
    are cut into shards is exact for a source that can be listed; sizes are estimates with bounds.

    Args:
        samples: as for ``pack``, but no iterator or generator, whose samples would be lost.
        dst: path of the new pack; None, or a URL, leaves out what depends on it.
        fields, classes, options: as for ``pack``.

    Raises:
        OptionError: options contradict each other, or the samples can be had only once.
        SourceError: the source cannot be listed, or has no samples.

    Example:
        >>> plan = fastdata.plan_pack("photos", "new.pack")
        >>> plan.samples, plan.classes, plan.fields, len(plan.shards)
        (8, 2, {'image': 'image', 'target': 'int'}, 1)
    """
    source = samples_of(samples, fields, classes, again=True)
    known = dst is not None and not is_url(dst)
    return _Planner(source, Path(dst if dst is not None and known else "pack"), options).plan(known)


class _Planner:
    """Makes a plan; arguments as for ``plan_pack``."""

    def __init__(self, source: Samples, path: Path, options: PackOptions) -> None:
        encode = usable(encode_settings(options))
        self.storage = known_storage(options.get("storage", DEFAULT_STORAGE))
        self.source, self.path = source, path
        self.settings = PackSettings(source.fields, encode, self.storage.name, False)
        self.shard_size = parse_size(options.get("shard_size", "1GiB"))
        self.workers = checked_workers(options.get("workers"))
        self.overwrite = options.get("overwrite", False)
        self.restart = options.get("restart", False)
        self.destination = LocalDestination(path)
        self.run = PackRun(
            source, self.destination, self.settings, self.shard_size, overwrite=self.overwrite
        )
        self.listing, self.count = source.listing, source.length or 0
        self.sizes = source.sizes
        self.bytes_in = int(self.sizes.sum())

    def plan(self, with_path: bool) -> PackPlan:
        looks = look_at(self.count, self._item, self.settings, _BUDGET)
        records = self._total(looks, [look.record for look in looks])
        shards = self._shards(records)
        stored = self._total(looks, [self._stored(look.record) for look in looks])
        side = self._side_bytes() + _MANIFEST
        side += (self.storage.empty_bytes + _MANIFEST_SHARD) * len(shards)
        out = Estimate(*(getattr(stored, name) + side for name in ("value", "low", "high")))
        findings = self.run.findings
        known = [look for look in looks if look.sizes]
        return PackPlan(
            path=self.path if with_path else None,
            source=self.source.name,
            samples=self.count,
            classes=len(self.source.classes),
            fields={name: str(kind) for name, kind in self.settings.fields.items()},
            bytes_in=self.bytes_in,
            rejected=list(findings.rejected),
            ignored=dict(findings.ignored),
            notes=[*findings.notes, *(self._obstacles() if with_path else [])],
            storage=self.storage.name,
            encoding=self.settings.encode.describe(),
            shards=shards,
            shards_are_exact=self.listing is not None,
            looks=looks,
            bytes_out=out,
            seconds=self._seconds(looks),
            workers=self.workers,
            sizes={n: self._total(known, [k.sizes[n] for k in known]) for n in candidates()},
            advice=advise(looks),
            **(self._room(out, shards) if with_path else {}),
        )

    def _item(self, index: int) -> tuple[Item, int]:
        return self.source.item(index), self.sizes.item(index)

    def _total(self, looks: list[SampleFacts], values: Sequence[float]) -> Estimate:
        return total(values, [look.bytes_in for look in looks], self.count, self.bytes_in)

    def _shards(self, records: Estimate) -> list[tuple[int, int]]:
        if self.listing is None:
            number = max(math.ceil(records.value / self.shard_size), 1)
            return [(self.count // number, round(records.value / number))] * number
        spans = plan_shards(self.sizes, self.shard_size, expansion(self.listing, self.settings))
        return [(span.stop - span.first, self._share(span, records)) for span in spans]

    def _stored(self, record: int) -> int:
        """About the bytes that a record takes in a shard; a sample that is left out has none."""
        return self.storage.bytes_of(record) if record else 0

    def _share(self, span: ShardSpan, records: Estimate) -> int:
        if not self.bytes_in:
            return round(records.value * (span.stop - span.first) / self.count)
        return round(records.value * int(self.sizes[slice(*span)].sum()) / self.bytes_in)

    def _side_bytes(self) -> int:
        """Of the table, the keys and the columns."""
        columns = column_types(self.settings.fields).values()
        row = sum(dtype.itemsize * math.prod(shape) for dtype, shape in columns)
        return self.source.key_bytes + self.count * (row + TABLE_DTYPE.itemsize + 8)

    def _seconds(self, looks: list[SampleFacts]) -> Estimate:
        alone = self._total(looks, [look.seconds for look in looks])
        seconds = alone.scaled(1 / min(self.workers, available_cores()))
        return Estimate(seconds.value, seconds.low / _DOUBT, seconds.high * _DOUBT)

    def _obstacles(self) -> list[str]:
        try:
            self.run.check_destination()
        except PackExistsError as error:
            return [str(error)]
        return []

    def _room(self, out: Estimate, shards: list[tuple[int, int]]) -> dict[str, Any]:
        place = Path(os.path.realpath(self.path))
        while not place.exists():
            place = place.parent
        largest = max((size for _, size in shards), default=0)
        # While it packs, side files are kept by shard, too.
        needed = round(out.high) + self.storage.spare * largest + self._side_bytes()
        left = None if self.restart else self.destination.left_behind(self.run.job(), self.listing)
        done, differences = left or (None, [])
        free = shutil.disk_usage(place).free
        return {
            "bytes_free": free,
            "bytes_needed": needed,
            "done": done,
            "differences": differences,
        }
