"""Packing on an existing cluster: Dask distributed as an executor (extra ``dask``)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from .errors import MissingDependencyError, PackingError

_RETRIES = 3
_TIMEOUT = "10s"


@contextmanager
def scheduled(address: str | None) -> Iterator[Executor | None]:
    """An executor on the Dask scheduler at ``address``; None for None.

    A shard whose worker is lost is given to another one, up to three times. The workers have to
    see the images and the pack under the same paths as this process.

    Raises:
        MissingDependencyError: Dask distributed is not installed.
        PackingError: the scheduler cannot be reached.
    """
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingDependencyError(
            f"--scheduler needs Dask distributed: pip install 'fastdata[dask]' ({error})"
        ) from error
    try:
        client = Client(  # type: ignore[no-untyped-call]
            address, timeout=_TIMEOUT, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise PackingError(f"no Dask scheduler can be reached at {address}: {error}") from error
    with client:
        yield client.get_executor(retries=_RETRIES, pure=False)  # type: ignore[no-untyped-call]
