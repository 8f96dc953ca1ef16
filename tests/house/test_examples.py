"""The examples in tools/examples, run as a user runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

import fastdata

psutil = pytest.importorskip("psutil")
pytest.importorskip("PIL")

# Starting several processes that import torch may take long where others use the cores, too.
pytestmark = pytest.mark.timeout(150)
LIMIT = 120  # seconds for one command
EXAMPLES = Path(__file__).resolve().parents[2] / "tools/examples"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
CLASSES, PER_CLASS, BATCH, EPOCHS = 3, 32, 8, 3
SAMPLES = CLASSES * PER_CLASS
STEPS = SAMPLES // BATCH  # of an epoch
EVERY = 5  # steps between checkpoints: no divisor of STEPS


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of one strong colour for each class, with grain."""
    root, rng = tmp_path_factory.mktemp("examples") / "photos", np.random.default_rng(0)
    for number in range(SAMPLES):
        pixels = rng.integers(0, 80, (40, 48, 3), np.uint8)
        pixels[:, :, number % CLASSES] += 150
        folder = root / f"class{number % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.jpg"), pixels)
    return root


@pytest.fixture(scope="module")
def pack(photos: Path) -> Path:
    fastdata.pack_image_folder(photos, photos.with_name("pack"), quiet=True)
    return photos.with_name("pack")


def run(script: str, *words: object) -> list[str]:
    """What the script prints, line by line."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, words)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


SMALL = ("--size", 32, "--workers", 1)


def test_train_learns(pack: Path) -> None:
    lines = run("train.py", pack, *SMALL, "--epochs", 2, "--batch", 8, "--lr", 0.01)
    found = [re.fullmatch(r"epoch (\d): loss (.+), accuracy (.+)%", line) for line in lines[::2]]
    (first, loss, _), (second, later_loss, accuracy) = (m.groups() for m in found if m)
    assert (first, second) == ("1", "2")
    assert float(later_loss) < float(loss)
    assert float(accuracy) > 80  # by chance: 33
    assert all(f"{STEPS} batches" in line for line in lines[1::2])


def test_train_amp_learns(pack: Path) -> None:
    lines = run("train_amp.py", pack, *SMALL, "--epochs", 2, "--batch", 8, "--lr", 0.01)
    first, second = (float(line.split()[-1]) for line in lines[:2])
    assert second < min(first, np.log(CLASSES))  # the loss of knowing nothing


def test_one_changed_name_gives_the_same_batches(photos: Path) -> None:
    words = (photos, "--size", 16, "--workers", 2, "--batch", 20)
    before, after = run("one_line.py", *words), run("one_line.py", *words, "--fastdata")
    assert before == after
    checksums = {line.split()[-1] for line in before}
    assert len(checksums) == len(before) == 2  # epochs differ, so they are shuffled and flipped


class Run(NamedTuple):
    """Where one training of several ranks keeps its checkpoint and its trace."""

    folder: Path

    @property
    def steps(self) -> dict[int, list[Any]]:
        """The complete lines of the trace, by step; a step that was repeated has more of them."""
        found = defaultdict(list)
        with suppress(FileNotFoundError):
            for line in (self.folder / "trace").read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    entry = json.loads(line)
                    found[entry["step"]].append(entry)
        return found


@contextmanager
def torchrun(ranks: int, pack: Path, run: Run) -> Iterator[subprocess.Popen[str]]:
    """train_ddp.py on so many ranks; at the end of the block every process of it is killed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(ranks), "--local-addr", "127.0.0.1"]
    words = (pack, *SMALL, "--batch", BATCH, "--epochs", EPOCHS, "--every", EVERY)
    files = ("--checkpoint", run.folder / "run.pt", "--trace", run.folder / "trace")
    with subprocess.Popen(
        [*command, str(EXAMPLES / "train_ddp.py"), *map(str, (*words, *files))],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL for torchrun first, so that it restarts nobody, then for ranks and workers."""
    with suppress(psutil.NoSuchProcess):
        group = psutil.Process(process.pid)
        group.suspend()
        for member in [group, *group.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                member.kill()


def finish(ranks: int, pack: Path, run: Run) -> Run:
    with torchrun(ranks, pack, run) as process:
        output = process.communicate(timeout=LIMIT)[0]
    assert process.returncode == 0, output
    return run


@pytest.fixture(scope="module")
def whole(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training of two ranks that nothing interrupts."""
    return finish(2, pack, Run(tmp_path_factory.mktemp("whole")))


@pytest.fixture(scope="module")
def killed(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training of two ranks that is killed in the midst of its second epoch."""
    run = Run(tmp_path_factory.mktemp("killed"))
    with torchrun(2, pack, run) as process:
        while process.poll() is None and STEPS + 4 not in run.steps:
            time.sleep(0.01)
    assert (run.folder / "run.pt").exists()
    assert STEPS < max(run.steps) < EPOCHS * STEPS
    return run


def samples_by_epoch(run: Run, ranks: int) -> list[list[int]]:
    """Of each epoch all ranks' samples, as the final model has seen them."""
    epochs: list[list[int]] = [[] for _ in range(EPOCHS)]
    for entries in run.steps.values():
        for entry in entries[-ranks:]:
            epochs[entry["epoch"]] += entry["samples"]
    return epochs


def test_ranks_see_each_sample_once_in_an_epoch(whole: Run) -> None:
    epochs = samples_by_epoch(whole, 2)
    assert [sorted(epoch) for epoch in epochs] == [list(range(SAMPLES))] * EPOCHS
    assert len({str(epoch) for epoch in epochs}) == EPOCHS


@pytest.mark.parametrize("ranks", [2, 1])
def test_a_killed_training_goes_on(
    ranks: int, pack: Path, whole: Run, killed: Run, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(killed.folder, tmp_path / "run")))
    before = {step: len(entries) for step, entries in run.steps.items()}
    finish(ranks, pack, run)
    assert sorted(run.steps) == list(range(1, EPOCHS * STEPS + 1))
    resumed = next(
        step for step, entries in run.steps.items() if before.get(step, 0) < len(entries)
    )
    assert 1 < resumed <= max(before) + 1  # it did not begin again
    for step, entries in run.steps.items():
        new = entries[before.get(step, 0) :] or entries
        expected = whole.steps[step]
        assert samples_of(new) == samples_of(expected), step
        assert mean_loss(new) == pytest.approx(mean_loss(expected), rel=1e-4), step


def samples_of(entries: list[Any]) -> list[int]:
    return sorted(chain.from_iterable(entry["samples"] for entry in entries))


def mean_loss(entries: list[Any]) -> float:
    return sum(entry["loss"] for entry in entries) / len(entries)
