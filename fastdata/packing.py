"""Writing a pack's shards: planned beforehand, each by itself, here or in other processes.

Which samples a shard gets depends on the source and the settings alone. So it does not matter who
packs which shard, when, or how often, and packing can go on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .encode import EncodeSettings
from .errors import DecodeError, FastdataError, PackingError, SourceError
from .fields import Field
from .opencv import quiet_opencv, single_threaded_opencv
from .parallel import keep_freed_memory, ordered_map
from .records import encode_item
from .run_workspace import RunWorkspace, storage_errors
from .sample import Record
from .shards.parts import PartInfo, Rejection, ShardPartWriter
from .sources import Item, Source
from .sources.samples import Stream, Trace
from .upload import Upload

Progress = Callable[[int, int], None]  # samples done, bytes read

_PIXELS_BY_BYTE = 12  # of a photograph's JPEG, decoded; what is in flight is bounded by it
_MOST_IN_FLIGHT = 320_000_000
MOST_SAMPLES = 1 << 18  # in a shard
_LOT_BYTES, _LOT_SAMPLES = 256_000, 32
_ESTIMATE_FROM = 16
_PATIENCE = 1.0  # seconds that a shard may take to be completed after Ctrl-C


@dataclass(frozen=True, slots=True)
class PackSettings:
    """How samples become records and shards.

    Attributes:
        fields: the samples' fields, the image first.
        encode: how images are stored.
        storage: "lmdb" or "hdf5".
        fail: whether a sample that cannot be used stops everything, or is left out.
    """

    fields: dict[str, Field]
    encode: EncodeSettings
    storage: str
    fail: bool


class Bad(NamedTuple):
    """A sample that is to be left out; how many bytes were read for it is not known."""

    rejection: Rejection


class Span(NamedTuple):
    """The samples of a shard."""

    first: int
    stop: int


def plan_shards(sizes: NDArray[np.int64], shard_size: int, ratio: float = 1.0) -> list[Span]:
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
        spans.append(Span(first, stop))
        first, base = stop, float(ends[stop - 1])
    return spans


def expansion(source: Source, settings: PackSettings) -> float:
    """About how much larger records are than what they are made of, from a few samples."""
    if settings.encode.encoding in ("keep", "sliceable"):
        return 1.0
    read = written = 0
    for index in np.unique(np.linspace(0, len(source) - 1, _ESTIMATE_FROM).astype(int)).tolist():
        result = encoded(_item(source, index), settings)
        if isinstance(result, Record):
            read += int(source.sizes[index])
            written += len(result.data)
    # Two digits, so that nothing depends on the last bit of a sum.
    return float(f"{written / read:.1e}") if read and written else 1.0


def _item(source: Source, index: int) -> Item:
    """A sample; an OSError of its source must not look like one of the disk written to."""
    try:
        return source.item(index)
    except FastdataError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise SourceError(f"{source.keys[index]}: cannot be read: {reason}") from error


def encoded(item: Item, settings: PackSettings) -> Record | Bad:
    """Read and encode one sample, in whichever thread.

    Raises:
        SourceError: the source is not what it said it was.
        PackingError: the sample is bad, and that is to stop everything.
    """
    try:
        return encode_item(item, settings.fields, settings.encode)
    except DecodeError as error:
        if settings.fail:
            raise PackingError(f"{item.key}: {error}") from error
        return Bad(Rejection(item.key, str(error)))


class ShardStream:
    """Writes shards one after the other; each is completed in the background by another thread.

    Args:
        work: directory of the packing run.
        settings: how.
        scratch: where shards are built; see ``ShardPartWriter``.
        upload: takes them from ``work`` when they are complete; None leaves them there.
    """

    def __init__(
        self,
        work: Path,
        settings: PackSettings,
        scratch: Path | None = None,
        upload: Upload | None = None,
    ) -> None:
        self._work = work
        self._upload = upload
        self._scratch = scratch
        self._settings = settings
        self._number = -1
        self._writer: ShardPartWriter | None = None
        self._closing: tuple[ShardPartWriter, Future[PartInfo]] | None = None
        self._pool = ThreadPoolExecutor(1, "fastdata-shard")

    def store(self, number: int, result: Record | Bad) -> None:
        """Append a sample to shard ``number``, beginning it if it is another one."""
        with storage_errors(self._work):
            if number != self._number:
                self.end()
            if self._writer is None:
                settings = self._settings
                self._number = number
                self._writer = ShardPartWriter(
                    self._work, number, settings.storage, settings.fields, self._scratch
                )
            if isinstance(result, Bad):
                self._writer.reject(result.rejection)
            else:
                self._writer.add(result)

    def end(self, digest: str = "") -> None:
        """Complete the shard that has been begun."""
        if self._writer is not None:
            self._settle()
            writer, self._writer = self._writer, None
            future = self._pool.submit(self._commit, self._number, writer, digest)
            self._closing = writer, future

    def _commit(self, number: int, writer: ShardPartWriter, digest: str) -> PartInfo:
        info = writer.commit(digest)
        if self._upload is not None:
            self._upload(self._work, number, info)
        return info

    def finish(self) -> PartInfo | None:
        """Complete everything; returns what is known of the last shard."""
        with storage_errors(self._work):
            self.end()
            info = self._settle()
        self._pool.shutdown()
        return info

    def abort(self) -> None:
        """Give up what is not complete, without waiting long for it."""
        if self._closing is not None:
            writer, future = self._closing
            if future.cancel():
                writer.abort()
            else:
                wait([future], _PATIENCE)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._writer is not None:
            self._writer.abort()

    def _settle(self) -> PartInfo | None:
        if self._closing is None:
            return None
        (_, future), self._closing = self._closing, None
        return future.result()


def pack_source(
    work: Path,
    source: Source,
    todo: list[tuple[int, Span]],
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
        PackingError: see ``encoded``.
    """

    def encode_at(index: int) -> Record | Bad:
        result = encoded(_item(source, index), settings)
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


def _lots(todo: list[tuple[int, Span]], sizes: NDArray[np.int64]) -> Iterator[Lot]:
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
    work: RunWorkspace,
    stream: Stream,
    shard_size: int,
    settings: PackSettings,
    workers: int,
    progress: Progress,
    first: int = 0,
) -> None:
    """Write a stream's shards from number ``first`` on; pass over the samples of those that exist.

    Raises:
        SourceError: the samples passed over are not those of the run before.
    """
    tasks = stream.tasks()
    number, trace = _pass_over(work, tasks, progress, first), Trace()

    def run(task: Callable[[], Item]) -> Record | Bad:
        return encoded(task(), settings)

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
    work: RunWorkspace, tasks: Iterator[Callable[[], Item]], progress: Progress, number: int
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
