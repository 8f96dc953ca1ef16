"""What workers cannot send, and what is too small for them."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from helpers.images import write_tree
from torch.utils.data import Dataset

import fastdata
from fastdata import DataLoaderX, SharedMemoryError
from fastdata import transforms as T
from fastdata.loader.torch_private import iterators


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("limits")
    write_tree(base / "photos", classes=2, per_class=4)
    fastdata.pack_image_folder(base / "photos", base / "pack", quiet=True)
    return base / "pack"


@pytest.mark.parametrize("persistent", [False, True])
def test_without_pipes_of_our_own(
    persistent: bool, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows: torch's workers, its queue, and its errors."""
    monkeypatch.setattr(iterators, "OWN_PIPES", False)
    dataset = fastdata.PackedImageFolder(pack, T.CenterCrop(8))
    expected = [images for images, _ in DataLoaderX(dataset, 3)]
    loader = DataLoaderX(dataset, 3, num_workers=2, persistent_workers=persistent)
    for _ in range(2):
        found = [images.clone() for images, _ in loader]
        assert all(map(torch.equal, found, expected))
    for _ in loader:
        break
    bad = DataLoaderX(Mixed(), 2, num_workers=2, persistent_workers=persistent, collate_fn=list)
    with pytest.raises(BlockingIOError):
        list(bad)


class Unpicklable:
    def __reduce__(self) -> Any:
        raise BlockingIOError("not to be sent")


class Mixed(Dataset[Any]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return Unpicklable() if index == 5 else index


@pytest.mark.parametrize("persistent", [False, True])
def test_a_batch_that_cannot_be_sent_raises(persistent: bool) -> None:
    loader = DataLoaderX(Mixed(), 2, num_workers=2, collate_fn=list, persistent_workers=persistent)
    batches = iter(loader)
    assert [next(batches), next(batches)] == [[0, 1], [2, 3]]
    with pytest.raises(BlockingIOError, match="not to be sent"):
        next(batches)
    assert list(batches) == [[6, 7]]


def limit_shared_memory(worker: int) -> None:
    # A file in /dev/shm is a file to this limit, too; Python ignores its signal.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_full_shared_memory_is_told(pack: Path) -> None:
    dataset = fastdata.PackedImageFolder(pack, T.CenterCrop(64))
    loader = DataLoaderX(dataset, 4, num_workers=1, worker_init_fn=limit_shared_memory)
    with pytest.raises(SharedMemoryError, match=r"49,152 bytes.*--shm-size.*thread"):
        list(loader)


def test_threads_need_no_shared_memory(pack: Path) -> None:
    dataset = fastdata.PackedImageFolder(pack, T.CenterCrop(64))
    for worker_type, needed in (("process", True), ("thread", False)):
        before = mapped()
        loader = DataLoaderX(dataset, 4, num_workers=1, worker_type=worker_type)
        batch = next(iter(loader))
        assert isinstance(batch[0], torch.Tensor)
        assert bool(mapped() - before) == needed


def mapped() -> set[str]:
    """The shared memory of torch that this process maps."""
    maps = psutil.Process().memory_maps(grouped=False)
    return {entry.path for entry in maps if "/torch_" in entry.path}
