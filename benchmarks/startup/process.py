"""One fresh process of ``startup``: lines of a name and a number on stdout.

``python -m benchmarks.startup.process imports PACK LOG`` or ``... batch KIND WORKERS PACK LOG``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Counting:
    """A ``worker_init_fn``: each function that numba compiles becomes a line of a file in ``log``.

    The main process is not watched so, since that would import numba before the clock starts.
    """

    def __init__(self, log: str) -> None:
        self.log = log

    def __call__(self, worker: int) -> None:
        from numba.core import event

        class Listener(event.Listener):
            def on_start(listener, found: Any) -> None:
                with Path(self.log, f"worker{worker}").open("a") as file:
                    file.write("compiled\n")

            def on_end(listener, found: Any) -> None:
                pass

        event.register("numba:compile", Listener())


@contextmanager
def timing(name: str) -> Iterator[None]:
    """Print how long the block took."""
    start = time.perf_counter()
    yield
    print(f"{name}_s", time.perf_counter() - start)


def imports() -> None:
    """Import torch, then fastdata."""
    with timing("torch"):
        import torch  # noqa: F401
    numba = "numba" in sys.modules
    with timing("fastdata"):  # a name's module is imported when it is first used
        from fastdata import DataLoaderX, PackedImageFolder, transforms  # noqa: F401
    print("numba_imported", int("numba" in sys.modules and not numba))


def first_batch(kind: str, workers: int, pack: str, log: str) -> None:
    """Take the first batch of a loader."""
    import torch

    from fastdata import DataLoaderX, PackedImageFolder
    from fastdata.transforms import RandomResizedCrop

    from .suite import BATCH

    options: dict[str, Any] = {"num_workers": workers, "batch_size": BATCH}
    if kind == "torch-spawn":  # what any loader pays for spawned workers
        zeros = torch.utils.data.TensorDataset(torch.zeros(8 * BATCH))
        with timing("first_batch"):
            next(
                iter(torch.utils.data.DataLoader(zeros, **options, multiprocessing_context="spawn"))
            )
        return
    if kind == "thread":
        options["worker_type"] = "thread"
    elif workers:
        options |= {"multiprocessing_context": kind, "worker_init_fn": Counting(log)}
    with timing("first_batch"):
        dataset = PackedImageFolder(pack, RandomResizedCrop(224))
        next(iter(DataLoaderX(dataset, **options)))


if __name__ == "__main__":
    if sys.argv[1] == "imports":
        imports()
    else:
        first_batch(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
