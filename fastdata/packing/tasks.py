"""Packing with an executor: each shard is a task, for another process on this or another machine.

A task may be run any number of times, and by several workers at once: each builds the shard in a
directory of its own, the bytes are always the same, and what appears in the end appears by rename.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import cv2

from ..core import __version__
from ..errors import FastdataError, OptionError, PackingError, SourceError
from ..images import jpeg
from ..sources import Source
from ..store import PartInfo, ShardPart, part_name, storage
from .options import PackSettings
from .workspace.lease import Upload
from .write import Progress, ShardSpan, pack_source

# A task holds its samples' names and columns: about 100 bytes a sample, and more with annotations.
# So many tasks keep the workers of a large cluster busy; so many bytes do not fill our memory.
_MOST_TASKS = 1024
_MOST_BYTES = 256 << 20
_POLL = 1.0  # seconds; on Windows, Ctrl-C waits for the end of a wait


@dataclass(frozen=True)
class ShardTask:
    """One shard for a worker process on this or another machine; may be run any number of times.

    Attributes:
        work: directory of the packing run.
        scratch: a directory in it, which the run removes when it is over.
        number: of the shard.
        source: the shard's samples alone.
        settings: how.
        versions: of what has to be the same everywhere; see ``versions``.
    """

    work: str
    scratch: str
    number: int
    source: Source
    settings: PackSettings
    _: KW_ONLY
    versions: dict[str, str]

    def __call__(self) -> PartInfo:
        """Write the shard, in one thread.

        Raises:
            SourceError: the source is not what it was when it was listed.
            PackingError: this worker cannot do it, or a sample is bad and that is to stop all.
        """
        with _with_place(self.number):
            self._check_versions()
            return self._write()

    def _write(self) -> PartInfo:
        self._check_directory()
        self._check_source()
        part = Path(self.work, "parts", part_name(self.number))
        if part.exists():  # a copy of this task has been faster
            return ShardPart.read(part).info
        scratch = Path(self.scratch)
        return self._packed(Path(self.work), scratch, _GoesOn(scratch))

    def _packed(
        self, work: Path, scratch: Path, progress: Progress, upload: Upload | None = None
    ) -> PartInfo:
        todo = [(self.number, ShardSpan(0, len(self.source)))]
        info = pack_source(work, self.source, todo, self.settings, 1, progress, scratch, upload)
        if info is None:
            raise PackingError("it has no samples")
        return info

    def _check_versions(self) -> None:
        here = versions(self.settings)
        for name, wanted in self.versions.items():
            if here.get(name) != wanted:
                raise PackingError(
                    f"{name} is {here.get(name)} here and {wanted} where the packing was started; "
                    "the pack's bytes depend on it, so install the same on all workers"
                )

    def _check_directory(self) -> None:
        scratch = Path(self.scratch)
        for parent in reversed(scratch.parents[:2]):
            # Listing a directory makes a network file system ask its server.
            if parent.is_dir():
                os.listdir(parent)
        if not scratch.is_dir():
            raise PackingError(
                f"{self.scratch} is not here: the packing run is over, or this worker does not "
                f"see {scratch.parents[1]} under this path as the process does that started it"
            )

    def _check_source(self) -> None:
        if self.source.has_vanished(0):
            raise SourceError(
                f"{self.source.keys[0]}: it was there when the source was listed: has it gone, or "
                "does this worker not see it under its path?"
            )


@dataclass(frozen=True)
class UploadTask(ShardTask):
    """A shard that is built in a directory of the worker's machine, and uploaded.

    Attributes:
        upload: takes it; ``work`` and ``scratch`` need not be seen there.
    """

    _: KW_ONLY
    upload: Upload

    def _write(self) -> PartInfo:
        self._check_source()
        with self.upload.directory() as work:
            return self._packed(work, work, _no_progress, self.upload)


def _no_progress(samples: int, size: int) -> None:
    pass


class _GoesOn:
    """Told of each sample; raises PackingError once the packing run is over."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._asked = time.monotonic()

    def __call__(self, samples: int, size: int) -> None:
        if time.monotonic() - self._asked > _POLL:
            if not self._scratch.is_dir():
                raise PackingError("the packing run is over, or was given up")
            self._asked = time.monotonic()


@contextmanager
def _with_place(number: int) -> Iterator[None]:
    """Say with errors where they happened; those of the system become a PackingError."""
    place = f"shard {number}, on {socket.gethostname()} in process {os.getpid()}"
    try:
        yield
    except FastdataError as error:
        raise type(error)(f"{place}: {error}") from error
    except OSError as error:
        raise PackingError(f"{place}: {error}") from error


def versions(settings: PackSettings) -> dict[str, str]:
    """Versions, by name, of all that a shard's bytes depend on besides samples and settings."""
    found = {
        "fastdata": __version__,
        "OpenCV": cv2.__version__,
        "numba (for sliceable JPEGs, and resizing)": "there" if jpeg.available() else "missing",
    }
    return {**found, **storage(settings.storage).versions()}


def pack_by_executor(
    executor: Executor,
    work: Path,
    scratch: Path,
    source: Source,
    todo: list[tuple[int, ShardSpan]],
    settings: PackSettings,
    progress: Progress,
    upload: Upload | None = None,
) -> None:
    """Write the shards in ``todo``, each as one task of ``executor``.

    Args:
        executor: runs the tasks, in whatever order.
        work: directory of the packing run.
        scratch: a directory in it; when it is removed, tasks that still run fail.
        source: the samples.
        todo: number and samples of each shard.
        settings: how.
        progress: told of each shard that is complete.
        upload: takes the shards that are complete; None leaves them in ``work``.

    Raises:
        SourceError, PackingError: a task's own, or a worker was lost; the message has the shard.
        OptionError: the source cannot be pickled.
    """
    here, flight = versions(settings), _TasksInFlight(progress)
    try:
        for number, span in todo:
            part = source.part(*span)
            values = (str(work), str(scratch), number, part, settings)
            task = (
                ShardTask(*values, versions=here)
                if upload is None
                else UploadTask(*values, versions=here, upload=upload)
            )
            size = _pickled_size(task)
            while flight.is_full(size):
                flight.settle()
            flight.add(_submitted(executor, task), number, size)
        while flight.pending:
            flight.settle()
    finally:
        for future in flight.pending:
            future.cancel()


def _run(task: ShardTask) -> PartInfo:
    return task()


def _pickled_size(task: ShardTask) -> int:
    try:
        return len(pickle.dumps(task, pickle.HIGHEST_PROTOCOL))
    except Exception as error:  # whatever __getstate__ and __reduce__ raise
        raise OptionError(f"the samples cannot be sent to another process: {error}") from error


def _submitted(executor: Executor, task: ShardTask) -> Future[PartInfo]:
    try:
        return executor.submit(_run, task)
    except RuntimeError as error:  # BrokenExecutor is one, and being shut down is another
        raise PackingError(f"the executor takes no more tasks: {error}") from error


class _TasksInFlight:
    """The tasks that have been submitted and not been settled."""

    def __init__(self, progress: Progress) -> None:
        self.pending: dict[Future[PartInfo], tuple[int, int]] = {}
        self._progress = progress
        self._bytes = 0

    def is_full(self, size: int) -> bool:
        """True if a task of so many bytes has to wait; a single one never has to."""
        too_large = self._bytes + size > _MOST_BYTES
        return bool(self.pending) and (too_large or len(self.pending) >= _MOST_TASKS)

    def add(self, future: Future[PartInfo], number: int, size: int) -> None:
        """Take note of a task."""
        self.pending[future] = number, size
        self._bytes += size

    def settle(self) -> None:
        """Wait until a task is done, and account for all that are."""
        finished: set[Future[PartInfo]] = set()
        while not finished:
            finished, _ = wait(self.pending, _POLL, FIRST_COMPLETED)
        for future in sorted(finished, key=lambda future: self.pending[future]):
            info = self._result(future)
            self._bytes -= self.pending.pop(future)[1]
            self._progress(info.items, info.bytes_in)

    def _result(self, future: Future[PartInfo]) -> PartInfo:
        number = self.pending[future][0]
        try:
            return future.result()
        except FastdataError:
            raise
        except BrokenExecutor as error:
            raise PackingError(
                f"a worker was lost while it packed {self._broken()}: {error}"
            ) from error
        except CancelledError as error:
            raise PackingError(f"shard {number}: the executor has cancelled it") from error
        except Exception as error:
            raise PackingError(f"shard {number}: {type(error).__name__}: {error}") from error

    def _broken(self) -> str:
        """The shards it may have been; a process pool that lost one worker gives up all tasks."""
        done = ((future, number) for future, (number, _) in self.pending.items() if future.done())
        failed = ((future.cancelled() or future.exception(), number) for future, number in done)
        first, *more = sorted(n for error, n in failed if isinstance(error, BrokenExecutor))
        if len(more) > 1:
            return f"shard {first} or one of the {len(more)} behind it"
        return " or ".join(map(str, [f"shard {first}", *more]))
