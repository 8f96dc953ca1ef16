"""Packing on an existing cluster: Dask distributed as an executor (extra ``dask``)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, InvalidStateError
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from ..errors import MissingDependencyError, PackingError

R = TypeVar("R")

_CONNECTING = "10s"
_CLOSING = 2.0  # seconds
_PERIOD = 1.0
_LOST = "the connection to the Dask scheduler was lost"
_LARGE_TASK = "1GiB"  # Dask warns of 10 MB; a shard of a million tiny images has such names


@contextmanager
def scheduled(address: str | None, patience: float = 60.0) -> Iterator[Executor | None]:
    """An executor on the Dask scheduler at ``address``; None for None.

    The workers have to see the images and the pack under the same paths as this process, and to
    have the same versions of fastdata and what it writes with. Dask reads tasks on the scheduler,
    too, so that fastdata has to be installed there as well.

    Args:
        address: such as "tcp://10.0.0.1:8786".
        patience: seconds to wait for a first worker, or for others when all are lost.

    Raises:
        MissingDependencyError: Dask distributed is not installed.
        PackingError: the scheduler cannot be reached.
    """
    if address is None:
        yield None
        return
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        raise MissingDependencyError(
            f"--scheduler needs Dask distributed: pip install distributed ({error})"
        ) from error
    try:
        client: Any = Client(address, timeout=_CONNECTING, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise PackingError(f"no Dask scheduler can be reached at {address}: {error}") from error
    try:
        with (
            dask.config.set({"distributed.admin.large-graph-warning-threshold": _LARGE_TASK}),
            DaskExecutor(client, patience) as executor,
        ):
            yield executor
    finally:
        with suppress(Exception):  # a scheduler that hangs must not keep us
            client.close(timeout=_CLOSING)


class DaskExecutor(Executor):
    """The workers of a Dask cluster, as an executor that never waits for ever.

    A task whose worker is lost runs again on another one, as often as the scheduler allows
    (``distributed.scheduler.allowed-failures``: three times). What a task raises is raised at
    once: a damaged source is damaged everywhere. Tasks start in the order in which they come.
    When no worker is left, or the scheduler is lost, all futures fail with ``BrokenExecutor``.

    Args:
        client: a ``distributed.Client``, which stays open.
        patience: seconds that there may be no worker, or no answer from the scheduler.
    """

    def __init__(self, client: Any, patience: float = 60.0) -> None:
        self._client = client
        self._patience = patience
        self._pending: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        # A daemon: asking a scheduler that hangs must not keep the interpreter from ending.
        threading.Thread(target=self._watch, name="fastdata-dask", daemon=True).start()

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Run a function on the cluster.

        Raises:
            RuntimeError: it has been shut down.
            BrokenExecutor: the scheduler is lost.
        """
        if self._ended.is_set():
            raise RuntimeError("cannot schedule new futures after shutdown")
        try:
            remote = self._client.submit(fn, *args, **kwargs, pure=False, retries=0)
        except Exception as error:  # a client that has closed itself raises bare ones
            raise BrokenExecutor(f"Dask: {error}") from error
        future: Future[R] = Future()
        with self._lock:
            self._pending.add(future)
        future.add_done_callback(self._forget)
        self._client.loop.add_callback(self._hand_on, remote, future)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks. Those that run are not waited for, whatever ``wait`` says."""
        self._ended.set()

    async def _hand_on(self, remote: Any, future: Future[Any]) -> None:
        # Dask's own ClientExecutor leaves its future pending for ever if gathering is cancelled.
        result, error = None, None
        try:
            result = await self._client.gather(remote, asynchronous=True)
        except BaseException as caught:
            error = caught
        with suppress(InvalidStateError):  # it was cancelled, or failed by the watch
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(_translated(error))

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._pending.discard(future)

    def _watch(self) -> None:
        well = time.monotonic()
        while not self._ended.wait(_PERIOD):
            problem = self._problem()
            if self._client.status == "closed":
                self._fail(_LOST)
            elif not problem or not self._pending:
                well = time.monotonic()
            elif time.monotonic() - well > self._patience:
                self._fail(f"{problem} for {self._patience:.0f} seconds")

    def _problem(self) -> str:
        """The fault of the cluster; "" if it has none."""

        async def workers() -> int:
            return len(await self._client.scheduler.ncores())

        try:
            count = self._client.sync(workers, callback_timeout=self._patience)
        except Exception as error:  # of Dask's, tornado's, asyncio's
            return f"the scheduler has not answered ({type(error).__name__} {error})"
        return "" if count else "the scheduler has had no worker"

    def _fail(self, problem: str) -> None:
        with self._lock:
            pending = list(self._pending)
        for future in pending:
            with suppress(InvalidStateError):
                future.set_exception(BrokenExecutor(problem))


def _translated(error: BaseException) -> BaseException:
    """Dask's errors about workers and scheduler as those of executors."""
    from distributed import KilledWorker

    if isinstance(error, (CancelledError, asyncio.CancelledError)):
        return BrokenExecutor(_LOST)
    if not isinstance(error, KilledWorker):
        return error
    died = f"{error.allowed_failures + 1} workers died, one after the other, at this task"
    address = getattr(error.last_worker, "address", "unknown")
    return BrokenExecutor(f"{died}; the last was {address}. Its log says why; often it is memory")
