"""Writing a pack's shards: planned beforehand, each by itself, here or in other processes.

Which samples a shard gets depends on the source and the settings alone. So it does not matter who
packs which shard, when, or how often, and packing can go on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
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
from .parallel import ordered_map
from .records import encode_item
from .sample import Record
from .shards.parts import PartInfo, Rejection, ShardPartWriter
from .sources import Item, Source
from .sources.samples import Stream, Trace
from .workspace import Workspace, storage_errors

Progress = Callable[[int, int], None]  # samples done, bytes read

_PIXELS_BY_BYTE = 12  # of a photograph's JPEG, decoded; what is in flight is bounded by it
_MOST_IN_FLIGHT = 320_000_000
_MOST_TASKS = 64
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

    Args:
        sizes: bytes of each sample as it comes.
        shard_size: bytes of records in a shard.
        ratio: size of a record over that of what it is made of.
    """
    ends = np.cumsum(np.maximum(sizes * ratio, 1.0))
    spans, first, base = [], 0, 0.0
    while first < len(sizes):
        stop = max(int(np.searchsorted(ends, base + shard_size, "right")), first + 1)
        spans.append(Span(first, stop))
        first, base = stop, float(ends[stop - 1])
    return spans


def expansion(source: Source, settings: PackSettings) -> float:
    """About how much larger records are than what they are made of, from a few samples."""
    if settings.encode.encoding in ("keep", "sliceable"):
        return 1.0
    read = written = 0
    for index in np.unique(np.linspace(0, len(source) - 1, _ESTIMATE_FROM).astype(int)).tolist():
        result = encoded(source.item(index), settings)
        if isinstance(result, Record):
            read += int(source.sizes[index])
            written += len(result.data)
    # Two digits, so that nothing depends on the last bit of a sum.
    return float(f"{written / read:.1e}") if read and written else 1.0


def encoded(item: Item, settings: PackSettings) -> Record | Bad:
    """Read and encode one sample, in whichever thread.

    Raises:
        SourceError: the source is not what it said it was.
        PackingError: the sample is bad, and that is to stop everything.
    """
    try:
        return encode_item(item, settings.fields, settings.encode)
    except FileNotFoundError as error:
        reason = f"cannot be read: {error}"
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    except DecodeError as error:
        reason = str(error)
    if settings.fail:
        raise PackingError(f"{item.key}: {reason}")
    return Bad(Rejection(item.key, reason))


@contextmanager
def reading_errors(what: str) -> Iterator[None]:
    """An OSError in giving a sample is the source's; those in writing are told in another way."""
    try:
        yield
    except FastdataError:
        raise
    except OSError as error:
        raise SourceError(f"{what} cannot be read: {error}") from error


class ShardStream:
    """Writes shards one after the other; each is completed in the background by another thread.

    Args:
        work: directory of the packing run.
        settings: how.
    """

    def __init__(self, work: Path, settings: PackSettings) -> None:
        self._work = work
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
                    self._work, number, settings.storage, settings.fields
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
            self._closing = writer, self._pool.submit(writer.commit, digest)

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
) -> PartInfo | None:
    """Write the shards in ``todo``, in threads of this process.

    Args:
        work: directory of the packing run.
        source: the samples.
        todo: number and samples of each shard.
        settings: how.
        workers: threads that read and encode.
        progress: told of each sample.

    Returns:
        what is known of the last shard.

    Raises:
        SourceError: a file that was listed has vanished.
        PackingError: see ``encoded``.
    """

    def encode_at(place: tuple[int, int]) -> Record | Bad:
        with reading_errors(source.keys[place[1]]):
            item = source.item(place[1])
        result = encoded(item, settings)
        if isinstance(result, Bad) and source.has_vanished(place[1]):
            raise SourceError(
                f"{result.rejection.key}: it was there when the source was listed, and is gone"
            )
        return result

    places = ((number, i) for number, span in todo for i in range(span.first, span.stop))
    sizes = source.sizes

    def weight(place: tuple[int, int]) -> int:
        return sizes.item(place[1]) * _PIXELS_BY_BYTE

    shards = ShardStream(work, settings)
    with (
        _encoding(shards, workers) as pool,
        closing(
            ordered_map(pool, encode_at, places, 4 * workers, weight, _MOST_IN_FLIGHT)
        ) as results,
    ):
        for (number, index), result in results:
            shards.store(number, result)
            progress(1, sizes.item(index))
        return shards.finish()


@contextmanager
def _encoding(shards: ShardStream, workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that encode. If anything goes wrong, no image that takes long is waited for: Ctrl-C
    is to end in a moment."""
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
    work: Workspace,
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
        with reading_errors("a sample"):
            item = task()
        return encoded(item, settings)

    shards = ShardStream(work.path, settings)
    size = 0
    with (
        _encoding(shards, workers) as pool,
        closing(ordered_map(pool, run, tasks, 4 * workers)) as results,
    ):
        for task, result in results:
            added = len(result.data) if isinstance(result, Record) else 0
            if size and size + added > shard_size:
                shards.end(trace.hexdigest())
                number, size, trace = number + 1, 0, Trace()
            shards.store(number, result)
            trace.add(task)
            size += added
            progress(1, added)
        shards.end(trace.hexdigest())
        shards.finish()


def _pass_over(
    work: Workspace, tasks: Iterator[Callable[[], Item]], progress: Progress, number: int
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


@dataclass(frozen=True)
class ShardTask:
    """One shard for a worker process on this or another machine; may be run any number of times."""

    work: str
    number: int
    source: Source
    settings: PackSettings

    def __call__(self) -> PartInfo:
        """Write the shard, in one thread."""
        todo = [(self.number, Span(0, len(self.source)))]
        info = pack_source(Path(self.work), self.source, todo, self.settings, 1, _no_progress)
        assert info is not None
        return info


def _no_progress(samples: int, size: int) -> None:
    pass


def pack_by_executor(
    executor: Executor,
    work: Path,
    source: Source,
    todo: list[tuple[int, Span]],
    settings: PackSettings,
    progress: Progress,
) -> None:
    """Write the shards in ``todo``, each as one task of ``executor``; arguments as above.

    Raises:
        PackingError: a worker of the executor was lost.
    """
    pending: set[Future[PartInfo]] = set()
    try:
        for number, span in todo:
            if len(pending) >= _MOST_TASKS:
                pending = _settled(pending, progress)
            task = ShardTask(str(work), number, source.part(*span), settings)
            pending.add(executor.submit(_run, task))
        while pending:
            pending = _settled(pending, progress)
    except BrokenExecutor as error:
        raise PackingError(f"a worker process was lost: {error}") from error
    finally:
        for future in pending:
            future.cancel()


def _run(task: ShardTask) -> PartInfo:
    return task()


def _settled(pending: set[Future[PartInfo]], progress: Progress) -> set[Future[PartInfo]]:
    finished, rest = wait(pending, return_when=FIRST_COMPLETED)
    for future in finished:
        info = future.result()
        progress(info.items, info.bytes_in)
    return rest
