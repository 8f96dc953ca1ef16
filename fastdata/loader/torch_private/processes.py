"""torch's iterator over worker processes, made to end soon and to say what killed a worker."""

from __future__ import annotations

import errno
import os
import queue
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch.multiprocessing
from torch._C import _remove_worker_pids
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader, _utils
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from ...errors import WorkerError
from .channels import Ended, WorkerContext

_SHARED_MEMORY = Path("/dev/shm")
_JOIN_SECONDS = 0.002
_POLL_SECONDS = 0.1
_QUIET_SECONDS = 1.0
_SECONDS_TO_END = 2.0
_SECONDS_TO_BE_KILLED = 0.5


class ProcessIterator(_MultiProcessingDataLoaderIter):
    """torch's iterator over worker processes.

    The workers have pipes of their own, so a dead one is noticed by whoever reads, after what it
    sent before. torch's way, a signal handler, raises in the main thread wherever that is; so
    these workers are not known to it. Ending them takes about two seconds, however many they are
    and whatever they do.

    Attributes:
        lost: after ``end``, the workers that died, and which tasks each of them had to do.
        stop: call it, from any thread, to let the current iteration end soon.
    """

    def __init__(self, loader: DataLoader[Any], context: WorkerContext) -> None:
        self.lost: list[tuple[int, list[int]]] = []
        self._context = context
        self._process = os.getpid()
        self._began = time.time()  # as the file system tells it
        self._ending = threading.RLock()  # a signal may come, or memory be collected, in the midst
        self._all_ended = False
        self._gone: set[int] = set()  # workers whose pipe has ended
        # torch's constructor sets these, too, if nothing goes wrong before. ``end`` needs them.
        self._workers: list[Any] = []
        self._index_queues: list[Any] = []
        self._workers_status = [True] * loader.num_workers
        self._task_info: dict[int, Any] = {}
        self._shutdown = self._worker_pids_set = False
        try:
            super().__init__(loader)
            context.settle()
        except BaseException as error:
            # torch's destructor would end the workers that have started, but not until nobody has
            # the error's traceback any more.
            self.end(persistent=False)
            if isinstance(error, RuntimeError) and self.lost:
                raise WorkerError(f"{error} (worker {self.lost[0][0]} was starting)") from error
            raise

    @property
    def broken(self) -> bool:
        """True if this iteration cannot go on."""
        return bool(self._dead()) or not self.usable

    @property
    def usable(self) -> bool:
        """True if ``restart`` can be called."""
        return not self._shutdown and not self._context.results.broken

    def restart(self, loader: DataLoader[Any]) -> None:
        """Begin another iteration with workers that persist."""
        try:
            self._reset(loader)
        except BaseException:
            self.end(persistent=False)
            raise

    def end(self, persistent: bool) -> None:
        """End the workers, unless they are to persist and can; note what dead ones had to do."""
        self.lost = [(worker, self._tasks_of(worker)) for worker in self._dead()] or self.lost
        if self.lost or not persistent or not self.usable:
            self._shutdown_workers()

    def _reset(self, loader: DataLoader[Any], first_iter: bool = False) -> None:
        _forget_pids(self)
        self.stop = Stop()  # a new one: whoever has the last iteration's may still call it
        super()._reset(loader, first_iter)
        self._IterableDataset_len_called = None  # ``Epoch`` checks, batch by batch

    def _try_get_data(self, timeout: float = _QUIET_SECONDS) -> Any:
        # torch calls it again and again until it gives ``(True, message)``; with the loader's
        # timeout, once. It has to look around meanwhile: an order to stop wakes no pipe.
        deadline = time.monotonic() + timeout
        while True:
            if self.stop.asked:
                raise IterationStopped("this iteration was asked to stop")
            left = deadline - time.monotonic()
            with suppress(queue.Empty):
                message = self._data_queue.get(timeout=max(0.0, min(left, _POLL_SECONDS)))
                if not isinstance(message[1], Ended):
                    return True, message
                self._note_end(message[1])
                continue
            if left <= 0:
                break
        # All is quiet. A process that a worker has forked may keep the worker's pipe open, so that
        # the worker's end is seen by its exit code only.
        dead = self._dead()
        if dead:
            raise RuntimeError(death_of(self._workers[dead[0]]))
        return False, None

    def _process_data(self, data: Any, *worker: int) -> Any:
        # torch's hands out the next task, too; that has to be done also where there is an error.
        if not isinstance(data, ExceptionWrapper):
            return super()._process_data(data, *worker)  # type: ignore[no-untyped-call]
        super()._process_data(None, *worker)  # type: ignore[no-untyped-call]
        try:
            data.reraise()  # type: ignore[no-untyped-call]
        except Exception as error:
            # torch's frame there refers to the error: a cycle, in which the workers would persist.
            raise error.with_traceback(None)  # noqa: B904

    def _note_end(self, ended: Ended) -> None:
        """A worker's pipe has ended: RuntimeError, unless the worker was told to end."""
        if self._shutdown:
            raise IterationStopped("the workers of this iteration were ended")
        worker = self._workers[ended.worker]
        join([worker], _SECONDS_TO_BE_KILLED)  # its pipe ends a moment before the process
        if ended.error is not None and worker.is_alive():
            raise clearer(ended.error)
        # From here on it counts as dead though it may live a little longer: nothing comes from it.
        self._gone.add(ended.worker)
        if ended.worker in self._dead():
            raise RuntimeError(death_of(worker)) from ended.error

    def _dead(self) -> list[int]:
        """The numbers of the workers that have ended, though nobody told them to."""
        if self._shutdown:  # all were told
            return []
        return [i for i, worker in enumerate(self._workers) if self._has_died(i, worker.exitcode)]

    def _has_died(self, worker: int, code: int | None) -> bool:
        # One that has read its share of an iterable dataset was told to end, and does so with 0.
        expected = not self._workers_status[worker] and not code
        return (code is not None or worker in self._gone) and not expected

    def _tasks_of(self, worker: int) -> list[int]:
        """The tasks handed out, counted from 0, that ``worker`` has to do, in order."""
        # torch adds the batch to a task's tuple when it arrives before its turn.
        return sorted(task for task, info in self._task_info.items() if info == (worker,))

    def _shutdown_workers(self) -> None:
        # A forked process has this object, but neither these workers nor the right to end them.
        if os.getpid() != self._process or _interpreter_exits():
            return
        with self._ending:
            if self._all_ended:
                return
            # Interrupted in the midst, it is called again, by the destructor at the latest: then
            # what is asked for was asked, and the rest is done.
            asked, self._shutdown = self._shutdown, True
            try:
                if not asked:
                    self._ask_to_end()
            finally:
                self._make_end()

    def _ask_to_end(self) -> None:
        _forget_pids(self)  # else torch's signal handler would raise when they end
        # Both: a worker looks at the flag when it has a message, and waits for one until then.
        self._context.flag.set()
        for indices in self._index_queues:
            indices.put(None)
        join(self._workers, _SECONDS_TO_END)

    def _make_end(self) -> None:
        started = [process for process in self._context.processes if process.pid is not None]
        for kill in ("terminate", "kill"):
            for process in started:
                if process.is_alive():
                    getattr(process, kill)()
            join(started, _SECONDS_TO_BE_KILLED)
        self._end_pinning()  # first: it reads from what the next line closes
        self._context.close()
        self._task_info.clear()  # batches, which a traceback that somebody keeps would keep, too
        remove_shared_memory([process.pid for process in started], self._began)
        for process in started:
            self._context.processes.remove(process)
            with suppress(ValueError):  # it is in a system call that cannot be interrupted
                process.close()
        self._all_ended = True

    def _end_pinning(self) -> None:
        thread = getattr(self, "_pin_memory_thread", None)
        if thread is not None:
            self._pin_memory_thread_done_event.set()
            thread.join(_SECONDS_TO_END)


class Stop:
    """The order to end an iteration; safe to give from any thread, signal or destructor."""

    asked = False

    def __call__(self) -> None:
        self.asked = True


class IterationStopped(Exception):
    """Ends an iteration that nobody reads any more; ``owned`` does not let it out."""


def join(processes: Iterable[Any], seconds: float) -> None:
    """Wait until all have ended, or so many seconds in total."""
    # Not ``Process.join``: that waits for the end of a pipe, which a process that the worker has
    # forked keeps open.
    deadline = time.monotonic() + seconds
    for process in processes:
        while process.exitcode is None and time.monotonic() < deadline:
            time.sleep(_JOIN_SECONDS)


def death_of(worker: Any) -> str:
    """How a worker died, in the words by which users of torch look for it."""
    name, code = f"DataLoader worker (pid {worker.pid})", worker.exitcode
    if code is None or code >= 0:
        # Ctrl-C reaches the loader's process, too, but Python drops it in the middle of a fork.
        hint = ", as it does at Ctrl-C" if code == 0 else ""
        return f"{name} exited unexpectedly with exit code {code}{hint}"
    hints = {
        signal.SIGKILL: ", as the system does when memory runs out",
        signal.SIGBUS: ", as happens when shared memory (/dev/shm) is full",
    }
    hint = hints.get(-code, "")
    return f"{name} is killed by signal: {signal.strsignal(-code)}{hint}"


def clearer(error: Exception) -> Exception:
    """The error of a message that cannot be read though its worker lives; advice, if there is."""
    if getattr(error, "errno", None) != errno.EMFILE and "ancdata" not in str(error):
        return error
    return RuntimeError(
        "too many open files: tensors of workers need a file descriptor each for as long as they "
        "live; raise the limit with `ulimit -n`, or call "
        "torch.multiprocessing.set_sharing_strategy('file_system') first"
    )


def remove_shared_memory(pids: Iterable[int], began: float) -> None:
    """Remove what workers killed in the middle of making shared memory have left.

    torch gives it a name for a moment only, unless told to share by name: then it is left to torch.
    """
    strategy = torch.multiprocessing.get_sharing_strategy()  # type: ignore[no-untyped-call]
    if strategy != "file_descriptor":
        return
    for pid in pids:
        for path in _SHARED_MEMORY.glob(f"torch_{pid}_*"):
            with suppress(OSError):  # not ours, or gone
                if path.stat().st_ctime >= began:
                    path.unlink()


def _forget_pids(iterator: Any) -> None:
    """Let torch's handler of SIGCHLD not raise for these workers."""
    if iterator._worker_pids_set:
        iterator._worker_pids_set = False
        _remove_worker_pids(id(iterator))


def _interpreter_exits() -> bool:
    # Then torch and multiprocessing end the workers.
    return _utils is None or _utils.python_exit_status is not False
