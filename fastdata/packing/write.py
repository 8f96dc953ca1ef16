"""Writing a pack's shards: planned beforehand, each by itself, here or in other processes.

Which samples a shard gets depends on the source and the settings alone. So it does not matter who
packs which shard, when, or how often, and packing can go on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core import keep_freed_memory, ordered_map
from ..errors import SourceError
from ..images import ENCODINGS, quiet_opencv, single_threaded_opencv
from ..sources import Samples, SampleTask, Source, Trace
from ..store import PartInfo, Record
from .options import PackSettings
from .samples import Bad, item_of, record_of
from .sequence import ShardStream
from .workspace.base import Destination
from .workspace.lease import Upload

Progress = Callable[[int, int], None]  # samples done, bytes read

_PIXELS_BY_BYTE = 12  # of a photograph's JPEG, decoded; what is in flight is bounded by it
_MOST_IN_FLIGHT = 320_000_000
MOST_SAMPLES = 1 << 18  # in a shard
_LOT_BYTES, _LOT_SAMPLES = 256_000, 32
_ESTIMATE_FROM = 16


class ShardSpan(NamedTuple):
    """The samples of a shard."""

    first: int
    stop: int


def plan_shards(sizes: NDArray[np.int64], shard_size: int, ratio: float = 1.0) -> list[ShardSpan]:
    """Cut samples into shards of at most ``shard_size`` bytes, or of one sample that is larger.

    A shard has 2^18 samples at most: their rows and names are in memory until it is complete.

    Args:
        sizes: bytes of each sample as it comes.
        shard_size: bytes of records in a shard.
        ratio: size of a record over that of what it is made of.
    """
    ends = np.cumsum(np.maximum(sizes * ratio, 1.0))
    spans, first, base = [], 0, 0.0
    while first < len(sizes):
        stop = int(np.searchsorted(ends, base + shard_size, "right"))
        stop = min(max(stop, first + 1), first + MOST_SAMPLES)
        spans.append(ShardSpan(first, stop))
        first, base = stop, float(ends[stop - 1])
    return spans


def expansion(source: Source, settings: PackSettings) -> float:
    """About how much larger records are than what they are made of, from a few samples."""
    if ENCODINGS[settings.encode.encoding].keeps_bytes:
        return 1.0
    read = written = 0
    for index in np.unique(np.linspace(0, len(source) - 1, _ESTIMATE_FROM).astype(int)).tolist():
        result = record_of(partial(item_of, source, index), settings)
        if isinstance(result, Record):
            read += int(source.sizes[index])
            written += len(result.data)
    # Two digits, so that nothing depends on the last bit of a sum.
    return float(f"{written / read:.1e}") if read and written else 1.0


def pack_source(
    work: Path,
    source: Source,
    todo: list[tuple[int, ShardSpan]],
    settings: PackSettings,
    workers: int,
    progress: Progress,
    scratch: Path | None = None,
    upload: Upload | None = None,
) -> PartInfo | None:
    """Write the shards in ``todo``, in threads of this process.

    Args:
        work: directory of the packing run.
        source: the samples.
        todo: number and samples of each shard.
        settings: how.
        workers: threads that read and encode.
        progress: told of each sample.
        scratch: where shards are built; default: ``work``.
        upload: takes them from ``work`` when they are complete.

    Returns:
        what is known of the last shard.

    Raises:
        SourceError: a file that was listed has vanished.
        PackingError: see ``record_of``.
    """

    def encode_at(index: int) -> Record | Bad:
        result = record_of(partial(item_of, source, index), settings)
        if isinstance(result, Bad) and source.has_vanished(index):
            raise SourceError(
                f"{result.rejection.key}: it was there when the source was listed, and is gone"
            )
        return result

    def encode_lot(lot: Lot) -> list[Record | Bad]:
        return [encode_at(index) for index in range(lot.first, lot.stop)]

    shards = ShardStream(work, settings, scratch, upload)
    lots = _lots(todo, source.sizes)
    with (
        _encoding(shards, workers) as pool,
        closing(
            ordered_map(pool, encode_lot, lots, 4 * workers, Lot.weight, _MOST_IN_FLIGHT)
        ) as results,
    ):
        for lot, records in results:
            for record in records:
                shards.store(lot.number, record)
            progress(len(records), lot.size)
        return shards.finish()


class Lot(NamedTuple):
    """Samples of one shard that a thread encodes in one go, and how many bytes they have."""

    number: int
    first: int
    stop: int
    size: int

    def weight(self) -> int:
        """About the bytes of memory that they need."""
        return self.size * _PIXELS_BY_BYTE


def _lots(todo: list[tuple[int, ShardSpan]], sizes: NDArray[np.int64]) -> Iterator[Lot]:
    """Cut the spans of shards: handing each small image from thread to thread takes longer than
    encoding it."""
    for number, span in todo:
        first, size = span.first, 0
        for index in range(span.first, span.stop):
            size += sizes.item(index)
            if size >= _LOT_BYTES or index + 1 - first == _LOT_SAMPLES or index + 1 == span.stop:
                yield Lot(number, first, index + 1, size)
                first, size = index + 1, 0


@contextmanager
def _encoding(shards: ShardStream, workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that encode. If anything goes wrong, no image that takes long is waited for: Ctrl-C
    is to end in a moment."""
    keep_freed_memory()
    pool = ThreadPoolExecutor(workers, "fastdata-pack")
    with quiet_opencv(), single_threaded_opencv:
        try:
            yield pool
        except BaseException:
            shards.abort()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()


def pack_stream(
    work: Destination,
    samples: Samples,
    shard_size: int,
    settings: PackSettings,
    workers: int,
    progress: Progress,
    first: int = 0,
) -> None:
    """Write shards of samples as they come, from number ``first`` on; pass over the samples of
    those that exist.

    Raises:
        SourceError: the samples passed over are not those of the run before.
    """
    tasks = samples.tasks()
    number, trace = _pass_over(work, tasks, progress, first), Trace()

    def run(task: SampleTask) -> Record | Bad:
        return record_of(task, settings)

    shards = ShardStream(work.path, settings, upload=work.upload)
    size = count = 0
    with (
        _encoding(shards, workers) as pool,
        closing(ordered_map(pool, run, tasks, 4 * workers)) as results,
    ):
        for task, result in results:
            added = len(result.data) if isinstance(result, Record) else 0
            if (size and size + added > shard_size) or count == MOST_SAMPLES:
                shards.end(trace.hexdigest())
                number, size, count, trace = number + 1, 0, 0, Trace()
            shards.store(number, result)
            trace.add(task)
            size += added
            count += 1
            progress(1, added)
        shards.end(trace.hexdigest())
        shards.finish()


def _pass_over(
    work: Destination, tasks: Iterator[SampleTask], progress: Progress, number: int
) -> int:
    """Skip the samples of the shards that are complete; returns the number of the next one."""
    done = work.done()
    while number in done:
        info = work.part(number).info
        trace, count = Trace(), 0
        for task in tasks:
            trace.add(task)
            count += 1
            if count == info.items:
                break
        if count < info.items or trace.hexdigest() != info.digest:
            raise SourceError(
                f"the samples of shard {number} ({info.items} of them) are not those that were "
                "packed before; start anew with restart (--restart)"
            )
        progress(count, 0)
        number += 1
    return number
