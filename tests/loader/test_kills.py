"""Workers killed at any moment: soon the next batch or an error that says who read what."""

from __future__ import annotations

import gc
import itertools
import os
import random
import re
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from helpers.images import write_tree
from helpers.leftovers import PROMISE, Leftovers, workers
from torch.utils.data import Dataset

from fastdata import DataLoaderX, ImageFolder, WorkerError
from fastdata import transforms as T

KILLS = 200
BATCHES = 8
CASES = list(itertools.product([0, 2], [False, True], [None, "cpu"], ["tensor", "list"]))
WHAT = r"DataLoader worker \(pid \d+\) is killed by signal: Killed"
WHO = WHAT + r".*worker [01] was (waiting for|starting|making the batch of sample \d+ \(\d+ of )"


class Numbers(Dataset[Any]):
    """Item i is full of i: as a tensor, or as something large that has to go through a pipe."""

    def __init__(self, form: str) -> None:
        self.form = form

    def __len__(self) -> int:
        return 4 * BATCHES

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.001)
        if self.form == "tensor":
            return torch.full((30_000,), index)
        return [index] * 10_000 + [bytes(40_000)]


def as_it_is(samples: list[Any]) -> list[Any]:
    return samples


class Killer(threading.Thread):
    """Kills one of this process's children, some time after the first was there."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.victim = chance.randrange(2)
        self.delay = chance.choice([0.0, chance.uniform(0, 0.03), chance.uniform(0, 0.1)])
        self.killed = False
        self.over = False

    def run(self) -> None:
        while not self.over and not workers():
            time.sleep(0.0005)
        time.sleep(self.delay)
        children = workers()
        if children:
            kill(children[self.victim % len(children)])
            self.killed = True


def kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)


def read(loader: DataLoaderX[Any], chance: random.Random) -> str:
    """One epoch: what it ended with. Each batch must be the right one, and come in time."""
    start, number = time.monotonic(), 0
    try:
        for batch in loader:
            assert time.monotonic() - start < PROMISE
            assert [int(sample[0]) for sample in batch] == list(range(4 * number, 4 * number + 4))
            time.sleep(chance.choice([0, 0, 0.01]))
            start, number = time.monotonic(), number + 1
            del batch
    except WorkerError as error:
        assert time.monotonic() - start < PROMISE
        return str(error)
    assert number == BATCHES
    return ""


@pytest.mark.parametrize("number", range(len(CASES)), ids=["-".join(map(str, c)) for c in CASES])
def test_killed_at_random_moments(number: int) -> None:
    gc.collect()
    leftovers = Leftovers()
    prefetch, persistent, device, form = CASES[number]
    chance = random.Random(number)
    loader = DataLoaderX(
        Numbers(form),
        4,
        num_workers=2,
        prefetch_batches=prefetch,
        persistent_workers=persistent,
        device=device,
        collate_fn=as_it_is if form == "list" else None,
    )
    kills = 0
    while kills < KILLS / len(CASES):
        killer = Killer(chance)
        killer.start()
        message = read(loader, chance)
        killer.over = True
        killer.join()
        kills += killer.killed
        assert not message or re.match(WHO, message)
        if not persistent:
            leftovers.check()
    del loader
    leftovers.check()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_killed_between_two_epochs(prefetch: int) -> None:
    loader = DataLoaderX(
        Numbers("tensor"), 4, num_workers=2, persistent_workers=True, prefetch_batches=prefetch
    )
    assert len(list(loader)) == BATCHES
    kill(workers()[0])
    with pytest.raises(WorkerError, match="was waiting for work"):
        list(loader)
    assert len(list(loader)) == BATCHES


def test_killed_under_the_first_of_two_iterators() -> None:
    loader = DataLoaderX(Numbers("tensor"), 4, num_workers=1, prefetch_factor=1)
    first = iter(loader)
    next(first)
    (worker,) = workers()
    second = iter(loader)
    kill(worker)
    with pytest.raises(WorkerError, match="worker 0 was"):
        list(first)
    assert len(list(second)) == BATCHES


@pytest.mark.parametrize("persistent", [False, True])
def test_killed_in_the_middle_of_a_message(persistent: bool) -> None:
    class Large(Numbers):
        def __getitem__(self, index: int) -> bytes:
            return bytes(20_000_000)

    leftovers = Leftovers()
    loader = DataLoaderX(
        Large("bytes"), None, num_workers=2, prefetch_batches=0, persistent_workers=persistent
    )
    iterator = iter(loader)
    next(iterator)
    time.sleep(0.2)  # nobody reads, so both are writing
    kill(workers()[0])
    start = time.monotonic()
    with pytest.raises(WorkerError, match=WHO):
        list(iterator)
    assert time.monotonic() - start < PROMISE
    del iterator, loader
    leftovers.check()


def test_killed_while_a_process_of_its_own_keeps_the_pipe(tmp_path: Path) -> None:
    class Forking(Numbers):
        def __getitem__(self, index: int) -> int:
            with subprocess.Popen(["sleep", "300"], close_fds=False) as child:
                (tmp_path / "pid").write_text(str(child.pid))
                os.kill(os.getpid(), signal.SIGKILL)
            return index

    leftovers = Leftovers()
    start = time.monotonic()
    try:
        with pytest.raises(WorkerError, match=WHO):
            next(iter(DataLoaderX(Forking(""), 4, num_workers=1)))
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert time.monotonic() - start < PROMISE
    leftovers.check()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_the_error_names_the_image_that_was_being_read(tmp_path: Path, prefetch: int) -> None:
    write_tree(tmp_path / "photos", classes=2, per_class=4)
    dataset = ImageFolder(tmp_path / "photos", T.Compose([T.Resize(8), T.CenterCrop(8)]))
    key = dataset.key_of(5)

    def die(target: int) -> int:
        if dataset.reading(0) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return target

    dataset.target_transform = die
    loader = DataLoaderX(dataset, 4, num_workers=1, prefetch_batches=prefetch)
    with pytest.raises(WorkerError, match=rf"worker 0 was reading sample 5 \({re.escape(key)} of "):
        list(loader)
