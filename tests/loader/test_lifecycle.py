"""However an iteration ends, soon nothing of it is left: no thread, process, descriptor or file."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.leftovers import PROMISE, Leftovers
from torch.utils.data import Dataset

from fastdata import DataLoaderX

KINDS = {
    "no workers": {"num_workers": 0},
    "workers": {"num_workers": 2},
    "persistent": {"num_workers": 2, "persistent_workers": True},
    "threads": {"num_workers": 2, "worker_type": "thread"},
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
processes = pytest.mark.parametrize("kind", [KINDS["workers"], KINDS["persistent"]])
ahead = pytest.mark.parametrize("prefetch", [0, 2])


@pytest.fixture
def leftovers() -> Leftovers:
    gc.collect()
    return Leftovers()


class Numbers(Dataset[int]):
    """Item i is i; one is bad, and reading may get stuck from one item on."""

    def __init__(self, bad: int = -1, stuck: int = 1000) -> None:
        self.bad = bad
        self.stuck = stuck

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> int:
        if index == self.bad:
            raise KeyError(f"item {index}")
        if index >= self.stuck:
            time.sleep(60)
        return index


class BadSampler:
    """Its fifth batch is an error."""

    def __iter__(self) -> Iterator[list[int]]:
        yield from [[0], [1], [2], [3]]
        raise LookupError("sampler")


def refuse(batch: Any) -> Any:
    if int(batch[0]) == 8:
        raise ArithmeticError("no eights")
    return torch.as_tensor(batch)


def stop_early(loader: DataLoaderX[Any]) -> None:
    for _ in loader:
        break


def fail_in_the_loop(loader: DataLoaderX[Any]) -> None:
    for batch in loader:
        del batch
        raise ZeroDivisionError


def drop_the_iterator(loader: DataLoaderX[Any]) -> None:
    iterator = iter(loader)
    next(iterator)
    del iterator


def never_begin(loader: DataLoaderX[Any]) -> None:
    iter(loader)


def read_all(loader: DataLoaderX[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those on samples left out
        for batch in loader:
            del batch  # a traceback would keep it, and with it a descriptor


def batches(dataset: Any = None, **options: Any) -> dict[str, Any]:
    return {"dataset": dataset or Numbers(), "batch_size": 4, **options}


ENDINGS: dict[str, tuple[Callable[[Any], None], dict[str, Any], type[Exception] | None]] = {
    "last batch": (read_all, batches(), None),
    "break": (stop_early, batches(), None),
    "del": (drop_the_iterator, batches(), None),
    "no next": (never_begin, batches(), None),
    "loop": (fail_in_the_loop, batches(), ZeroDivisionError),
    "dataset": (read_all, batches(Numbers(bad=9)), KeyError),
    "collate": (read_all, batches(collate_fn=refuse), ArithmeticError),
    "sampler": (read_all, {"dataset": Numbers(), "batch_sampler": BadSampler()}, LookupError),
    "transform": (read_all, batches(batch_transform=refuse), ArithmeticError),
    "max_errors": (read_all, batches(Numbers(9), on_error="skip", max_errors=0), RuntimeError),
}


@kinds
@ahead
@pytest.mark.parametrize("name", ENDINGS)
def test_nothing_is_left(
    name: str, kind: dict[str, Any], prefetch: int, leftovers: Leftovers
) -> None:
    run, options, error = ENDINGS[name]
    loader = DataLoaderX(**options, **kind, prefetch_batches=prefetch)
    kept = None
    if error is None:
        run(loader)
    else:
        with pytest.raises(error) as kept:
            run(loader)
    if "persistent_workers" not in kind:
        leftovers.check(but="batches")  # while the error, with its traceback, is kept
    del kept
    del loader
    leftovers.check()


@kinds
@pytest.mark.parametrize("taken", [0, 1])
def test_nothing_runs_when_close_returns(
    kind: dict[str, Any], taken: int, leftovers: Leftovers
) -> None:
    """Also before the first batch, when nothing has been asked for yet."""
    before = threading.active_count()
    loader = DataLoaderX(Numbers(), 4, **kind)
    iterator = iter(loader)
    for _ in range(taken):
        next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    if "persistent_workers" not in kind:
        assert threading.active_count() == before
    assert next(iterator, None) is None
    del iterator, loader
    leftovers.check()


@processes
@ahead
def test_reads_that_are_stuck_do_not_hold_up_the_end(
    kind: dict[str, Any], prefetch: int, leftovers: Leftovers
) -> None:
    loader = DataLoaderX(Numbers(stuck=4), 4, prefetch_batches=prefetch, **kind)
    iterator = iter(loader)
    assert next(iterator).tolist() == [0, 1, 2, 3]
    start = time.monotonic()
    del iterator
    del loader
    leftovers.check()
    assert time.monotonic() - start < PROMISE


def test_a_thread_that_is_stuck_does_not_hold_up_an_error() -> None:
    told = threading.Event()

    class Stuck(Numbers):
        def __getitem__(self, index: int) -> int:
            assert told.wait(PROMISE), "the error waited for the thread"
            return index

    with pytest.raises(RuntimeError, match="timed out"):
        next(iter(DataLoaderX(Stuck(), num_workers=1, worker_type="thread", timeout=0.1)))
    told.set()


@processes
@ahead
def test_an_iterator_in_a_cycle(kind: dict[str, Any], prefetch: int, leftovers: Leftovers) -> None:
    loader = DataLoaderX(Numbers(), 4, prefetch_batches=prefetch, **kind)
    cycle: list[Any] = [iter(loader)]
    cycle.append(cycle)
    next(cycle[0])
    del cycle, loader
    gc.collect()
    leftovers.check()


@processes
def test_stopping_early_keeps_persistent_workers(kind: dict[str, Any]) -> None:
    class Where(Numbers):
        def __getitem__(self, index: int) -> int:
            return os.getpid()

    loader = DataLoaderX(Where(), 4, **kind)
    first, second = ({int(next(iter(loader))[0]) for _ in range(1)} for _ in range(2))
    assert (first == second) == ("persistent_workers" in kind)


@pytest.fixture(scope="module")
def ended() -> dict[str, dict[str, Any]]:
    """What became of processes that ended, or were interrupted, in the midst of an epoch."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parents[1] / "helpers" / "ending_script.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=55,
        check=True,
    )
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def endings(name: str) -> list[str]:
    kinds = KINDS if name in ("exit", "ctrl-c") else ("workers", "persistent")
    return [f"{name}, {kind}" for kind in kinds]


@pytest.mark.parametrize("case", endings("exit"))
def test_the_interpreter_exits_in_mid_epoch(case: str, ended: dict[str, dict[str, Any]]) -> None:
    assert ended[case].pop("seconds") < PROMISE
    assert ended[case] == {"status": 0, "stderr": "", "files": []}


@pytest.mark.parametrize(
    "case",
    [
        *endings("ctrl-c"),
        *endings("ctrl-c for the parent only"),
        *endings("ctrl-c while stuck"),
    ],
)
def test_ctrl_c_ends_all_processes(case: str, ended: dict[str, dict[str, Any]]) -> None:
    result = ended[case]
    assert result["seconds"] < PROMISE
    assert result["status"] == -signal.SIGINT
    assert result["stderr"].rstrip().endswith("KeyboardInterrupt")
    assert "ignored" not in result["stderr"]
    assert result["files"] == []
