"""Errors reach the user of DataLoaderX as from torch's loader, and processes end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers.loaders import Numbers, Stream, both, failure, same, workers
from torch.utils.data import DataLoader


class Odd(Exception):
    """Cannot be made from a message."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first, second)


_ERRORS: dict[str, Callable[[], Exception]] = {
    "key": lambda: KeyError("key"),
    "odd": lambda: Odd(1, 2),
    "missing": lambda: FileNotFoundError(2, "missing", "name"),
}


class Bad(Numbers):
    """Items 2, 3 and 5 cannot be read."""

    def __init__(self, name: str = "key") -> None:
        super().__init__(8)
        self.name = name

    def __getitem__(self, index: int) -> int:
        if index in (2, 3, 5):
            raise _ERRORS[self.name]()
        return index


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("name", _ERRORS)
def test_errors_keep_their_type(count: int, name: str) -> None:
    def observe(loader_class: type[DataLoader[Any]]) -> Any:
        kind, message = failure(lambda: list(loader_class(Bad(name), 2, num_workers=count)))
        return kind, message.splitlines()[:2], "in __getitem__" in message

    assert same(observe)[2] == (count == 1)


class Ends(Numbers):
    def __getitem__(self, index: int) -> int:
        if index == 3:
            raise StopIteration
        return index


@workers
def test_a_dataset_that_raises_stop_iteration(kind: dict[str, Any]) -> None:
    def observe(loader_class: type[DataLoader[Any]]) -> list[Any]:
        iterator = iter(loader_class(Ends(), 2, **kind))
        return [_step(iterator), _step(iterator)]

    assert same(observe) == [[0, 1], StopIteration]


@both
@workers
def test_an_iterator_goes_on_after_errors(
    loader_class: type[DataLoader[Any]], kind: dict[str, Any]
) -> None:
    iterator = iter(loader_class(Bad(), 2, **kind))
    assert [_step(iterator) for _ in range(6)] == [
        [0, 1],
        KeyError,
        KeyError,
        [6, 7],
        StopIteration,
        StopIteration,
    ]


def _step(iterator: Iterator[Any]) -> Any:
    try:
        return next(iterator).tolist()
    except Exception as error:
        error.__traceback__ = None
        return type(error)


@both
def test_the_next_epoch_after_an_error(loader_class: type[DataLoader[Any]]) -> None:
    loader = loader_class(Bad(), 2, num_workers=2, persistent_workers=True)
    for _ in range(2):
        assert failure(lambda: list(loader))[0] is KeyError
        assert next(iter(loader)).tolist() == [0, 1]


def _init(worker: int) -> None:
    raise LookupError(f"worker {worker}")


def _refuse(samples: Any) -> Any:
    raise LookupError("collating")


class BadSampler:
    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[int]:
        yield 0
        raise LookupError("sampler")


class BadStream(Stream):
    def __iter__(self) -> Iterator[int]:
        raise LookupError("stream")


@both
@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (Numbers(), {"collate_fn": _refuse}, "collating"),
        (Numbers(), {"sampler": BadSampler()}, "sampler"),
        (Numbers(), {"worker_init_fn": _init}, "worker 0"),
        (BadStream(), {}, "stream"),
    ],
)
def test_errors_of_other_parts(
    loader_class: type[DataLoader[Any]],
    count: int,
    dataset: Any,
    options: dict[str, Any],
    message: str,
) -> None:
    if count == 0 and "worker_init_fn" in options:
        assert len(list(loader_class(dataset, **options))) == 10
        return
    kind, found = failure(lambda: list(loader_class(dataset, num_workers=count, **options)))
    assert kind is LookupError
    assert message in found


_SCRIPT = """
import multiprocessing, sys
from torch.utils.data import DataLoader
from fastdata import DataLoaderX

class Numbers:
    def __len__(self):
        return 100
    def __getitem__(self, index):
        return index

held = []
for options in ({}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}):
    for taken in (0, 1, 100):
        iterator = iter(globals()[sys.argv[1]](Numbers(), **options))
        for _ in range(taken):
            next(iterator)
        held.append(iterator)
print(*[child.pid for child in multiprocessing.active_children()], flush=True)
if sys.argv[2] == "error":
    raise ZeroDivisionError("the end")
"""


@pytest.mark.parametrize("ending", ["end", "error"])
def test_exit_with_iterators_held(ending: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    command = [sys.executable, str(script), "DataLoaderX", ending]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    children = [int(pid) for pid in done.stdout.split()]
    assert len(children) >= 8
    assert not [pid for pid in children if psutil.pid_exists(pid)]
    if ending == "end":
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 1
        assert done.stderr.count("Traceback") == 1
        assert done.stderr.endswith("ZeroDivisionError: the end\n")
