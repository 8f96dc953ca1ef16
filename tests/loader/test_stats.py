"""Where the time went, as the loader tells it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.images import write_tree
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import Dataset

import fastdata
from fastdata import DataLoaderX, LoaderStats
from fastdata import transforms as T

KINDS: list[dict[str, Any]] = [
    {"num_workers": 0},
    {"num_workers": 2},
    {"num_workers": 2, "worker_type": "thread"},
]
NAPS = 0.02


class Naps(Dataset[int]):
    """Each sample takes a while, asleep."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        time.sleep(self.seconds)
        return index


def slow_collate(samples: list[int]) -> torch.Tensor:
    time.sleep(NAPS)
    return torch.tensor(samples)


@pytest.mark.parametrize("kind", KINDS)
def test_a_slow_dataset_is_the_bottleneck(kind: dict[str, Any]) -> None:
    loader = DataLoaderX(Naps(NAPS), 2, **kind)
    list(loader)
    stats = loader.stats()
    assert stats.batches == 5
    assert stats.dataset >= 10 * NAPS  # of all workers together
    assert stats.waiting >= 4 * NAPS  # two workers share ten naps
    assert stats.loading_is_bottleneck
    assert "is the bottleneck" in str(stats)


def test_a_slow_step_is_not_the_loaders_fault() -> None:
    loader = DataLoaderX(Naps(0), 2, num_workers=1, worker_type="thread")
    for _ in loader:
        time.sleep(0.2)
    stats = loader.stats()
    assert stats.step >= 5 * 0.2
    assert stats.total == pytest.approx(stats.waiting + stats.step)
    assert not stats.loading_is_bottleneck
    assert "not the bottleneck" in str(stats)
    assert stats.batches_ahead > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_slow_start_alone_is_no_bottleneck(kind: dict[str, Any]) -> None:
    class SlowStart(Naps):
        def __getitem__(self, index: int) -> int:
            time.sleep(0.5 if index < 2 else 0)
            return index

    loader = DataLoaderX(SlowStart(0), 2, **kind)
    for _ in loader:
        time.sleep(0.2)
    stats = loader.stats()
    assert 0.5 <= stats.first_batch <= stats.waiting
    assert not stats.loading_is_bottleneck
    assert "not the bottleneck" in str(stats)


def test_collating_and_copying_are_told_apart() -> None:
    def transform(batch: Any) -> Any:
        time.sleep(NAPS)
        return batch

    for prefetch in (0, 2):
        loader = DataLoaderX(
            Naps(0),
            2,
            collate_fn=slow_collate,
            batch_transform=transform,
            prefetch_batches=prefetch,
        )
        list(loader)
        stats = loader.stats()
        assert stats.collating >= 5 * NAPS
        assert stats.copying >= 5 * NAPS
        assert stats.dataset < stats.collating


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_read_and_decoded(kind: dict[str, Any], tmp_path: Path) -> None:
    write_tree(tmp_path / "photos", classes=2, per_class=5)
    fastdata.pack_image_folder(tmp_path / "photos", tmp_path / "pack", quiet=True)
    dataset = fastdata.PackedImageFolder(tmp_path / "pack", T.RandomResizedCrop(16))
    loader = DataLoaderX(dataset, 4, **kind)
    for _ in range(2):
        list(loader)
        stats = loader.stats()
        assert 0 < stats.reading < stats.dataset
        assert 0 < stats.decoding < stats.dataset
        assert stats.reading + stats.decoding <= stats.dataset
        assert stats.batches == 3


def test_before_and_in_an_epoch() -> None:
    loader = DataLoaderX(Naps(0), 2)
    assert loader.stats() == LoaderStats()
    assert loader.stats().waiting_share == 0
    batches = iter(loader)
    next(batches)
    assert loader.stats().batches == 1
    list(loader)
    assert loader.stats().batches == 5  # of the epoch begun last


def test_scalars_are_plain_numbers() -> None:
    loader = DataLoaderX(Naps(0), 2)
    list(loader)
    scalars = loader.stats().scalars("train/")
    assert json.loads(json.dumps(scalars)) == scalars
    assert scalars["train/batches"] == 5
    assert scalars["train/waiting_share"] == loader.stats().waiting_share
    assert all(type(value) is float for value in scalars.values())


def test_the_profiler_shows_the_waiting() -> None:
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        list(DataLoaderX(Naps(0), 2))
    names = {event.key for event in profiler.key_averages()}
    assert "fastdata.wait" in names
