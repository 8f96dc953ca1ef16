"""Samples that cannot be read: raised, left out or replaced, never silently."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.images import write_tree
from torch.utils.data import Dataset, IterableDataset, Subset

import fastdata
from fastdata import DataLoaderX, ImageFolder, OptionError, RankSampler, SampleError
from fastdata import transforms as T

KINDS = [
    pytest.param({"num_workers": 0}, id="no workers"),
    pytest.param({"num_workers": 2}, id="workers"),
    pytest.param({"num_workers": 2, "worker_type": "thread"}, id="threads"),
]
kinds = pytest.mark.parametrize("kind", KINDS)


class Numbers(Dataset[int]):
    def __init__(self, count: int, bad: set[int]) -> None:
        self.count = count
        self.bad = bad

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        if index in self.bad:
            raise KeyError(f"item {index}")
        return index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images of two classes, of which the third and the last are damaged."""
    write_tree(tmp_path / "photos", classes=2, per_class=6)
    for path in damaged(tmp_path / "photos"):
        path.write_bytes(path.read_bytes()[:40])
    return tmp_path / "photos"


def damaged(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [files[2], files[11]]


def numbers(loader: DataLoaderX[Any]) -> list[list[int]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [batch.tolist() for batch in loader]


@kinds
def test_skip_leaves_bad_samples_out(kind: dict[str, Any]) -> None:
    dataset = Numbers(12, {1, 4, 5, 6, 7})
    loader = DataLoaderX(dataset, 4, on_error="skip", max_errors=5, **kind)
    assert numbers(loader) == [[0, 2, 3], [8, 9, 10, 11]]
    assert sorted(failure.index for failure in loader.errors) == [1, 4, 5, 6, 7]
    assert loader.errors[0].reason == "KeyError: 'item 1'"
    assert loader.errors[0].source == "Numbers"


@kinds
def test_substitute_keeps_every_batch_whole(kind: dict[str, Any]) -> None:
    dataset = Numbers(10, {1, 4, 5, 9})
    loader = DataLoaderX(dataset, 4, on_error="substitute", max_errors=4, **kind)
    expected = [[0, 2, 2, 3], [6, 6, 6, 7], [8, 0]]
    assert numbers(loader) == expected
    assert numbers(loader) == expected
    assert [(f.index, f.times) for f in loader.errors] == [(1, 2), (4, 2), (5, 2), (9, 2)]


@kinds
def test_single_samples(kind: dict[str, Any]) -> None:
    for policy, expected in (("skip", [0, 2]), ("substitute", [0, 2, 2])):
        loader = DataLoaderX(
            Numbers(3, {1}), batch_size=None, on_error=policy, max_errors=1, **kind
        )
        with pytest.warns(UserWarning, match="'item 1'"):
            assert list(loader) == expected


@kinds
def test_images_are_named_and_batched_as_ever(kind: dict[str, Any], folder: Path) -> None:
    dataset = ImageFolder(folder, T.RandomResizedCrop(16), seed=1)
    loader = DataLoaderX(dataset, 4, on_error="substitute", max_errors=0.5, **kind)
    with pytest.warns(UserWarning, match="replaced by another"):
        batches = [images for images, _ in loader]
    assert all(b.is_contiguous(memory_format=torch.channels_last) for b in batches)
    images = torch.cat(batches)
    names = {failure.key for failure in loader.errors}
    assert names == {repr(path.relative_to(folder).as_posix()) for path in damaged(folder)}
    assert {failure.source for failure in loader.errors} == {str(folder)}
    dataset.set_epoch(0)
    expected = [3 if i == 2 else 0 if i == 11 else i for i in range(12)]
    assert images.shape == (12, 3, 16, 16)
    assert torch.equal(images, torch.stack([dataset[i][0] for i in expected]))


def test_raise_is_the_default(folder: Path) -> None:
    with pytest.raises(SampleError, match="sample 2"):
        list(DataLoaderX(ImageFolder(folder, T.CenterCrop(8)), 4))


@kinds
@pytest.mark.parametrize("limit", [2, 0.2])
def test_too_many_errors_raise(kind: dict[str, Any], limit: float) -> None:
    dataset = Numbers(10, {1, 6, 9})
    loader = DataLoaderX(dataset, 1, on_error="skip", max_errors=limit, **kind)
    found = []
    with warnings.catch_warnings(), pytest.raises(SampleError, match=r"'item 9'.*loader\.errors"):
        warnings.simplefilter("ignore")
        for batch in loader:
            found.append(batch.item())
    assert found == [0, 2, 3, 4, 5, 7, 8]
    assert len(loader.errors) == 3


def test_the_budget_is_for_one_epoch() -> None:
    loader = DataLoaderX(Numbers(10, {1}), 4, on_error="skip", max_errors=1)
    for _ in range(3):
        assert sum(map(len, numbers(loader))) == 9
    assert [failure.times for failure in loader.errors] == [3]
    assert loader.stats().errors == 1


def test_wrapped_datasets_are_looked_through(folder: Path) -> None:
    dataset = Subset(ImageFolder(folder, T.CenterCrop(8)), [5, 2, 0])
    loader = DataLoaderX(dataset, 3, on_error="skip", max_errors=1)
    with pytest.warns(UserWarning, match="left out"):
        ((images, _),) = loader
    assert len(images) == 2
    (failure,) = loader.errors
    assert failure.index == 1
    assert failure.key == repr(damaged(folder)[0].relative_to(folder).as_posix())


def test_ranks_keep_equal_lengths() -> None:
    dataset = Numbers(11, {0, 3, 4})
    lengths = set()
    for rank in range(3):
        sampler = RankSampler(dataset, rank=rank, num_replicas=3)
        loader = DataLoaderX(dataset, 2, sampler=sampler, on_error="substitute", max_errors=5)
        lengths.add(tuple(map(len, numbers(loader))))
    assert lengths == {(2, 2)}


def test_a_bad_batch_does_not_move_the_place_in_the_epoch() -> None:
    def loader() -> DataLoaderX[Any]:
        return DataLoaderX(Numbers(12, {4, 5, 6, 7}), 4, on_error="skip", max_errors=4)

    first = loader()
    batches = iter(first)
    next(batches)
    with pytest.warns(UserWarning, match="left out"):
        second = next(batches)
    assert second.tolist() == [8, 9, 10, 11]
    resumed = loader()
    resumed.load_state_dict(first.state_dict())
    assert list(resumed) == []


def test_errors_that_are_no_samples_are_raised() -> None:
    def collate(samples: list[int]) -> Any:
        raise ZeroDivisionError("collate")

    loader = DataLoaderX(Numbers(4, set()), 2, collate_fn=collate, on_error="skip")
    with pytest.raises(ZeroDivisionError):
        list(loader)

    class Whole(Numbers):
        def __getitems__(self, indices: list[int]) -> list[int]:
            raise ZeroDivisionError("only as a batch")

    with pytest.raises(ZeroDivisionError):
        list(DataLoaderX(Whole(4, set()), 2, on_error="skip"))


def test_nothing_readable_at_all() -> None:
    loader = DataLoaderX(Numbers(50, set(range(50))), 2, on_error="substitute", max_errors=99)
    with pytest.raises(SampleError, match="cannot be read"):
        list(loader)
    loader = DataLoaderX(Numbers(5, set(range(5))), 2, on_error="skip", max_errors=5)
    assert numbers(loader) == []


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (Numbers(3, set()), {"on_error": "ignore"}, "raise, skip, substitute, got 'ignore'"),
        (Numbers(3, set()), {"max_errors": -1}, "max_errors"),
        (Numbers(3, set()), {"max_errors": 1.5}, "max_errors"),
        (Numbers(3, set()), {"max_errors": float("nan")}, "max_errors"),
        (Stream(), {"on_error": "skip"}, "map-style"),
    ],
)
def test_wrong_options(dataset: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        DataLoaderX(dataset, **options)


def test_damage_after_packing(tmp_path: Path) -> None:
    write_tree(tmp_path / "photos", classes=1, per_class=4)
    fastdata.pack_image_folder(
        tmp_path / "photos", tmp_path / "pack", storage="hdf5", encoding="keep", quiet=True
    )
    dataset = fastdata.PackedImageFolder(tmp_path / "pack", T.CenterCrop(8))
    shard = next((tmp_path / "pack").glob("shard-*"))
    record = bytes(dataset.pack.read(1))
    data = shard.read_bytes()
    dataset.pack.close()
    shard.write_bytes(data.replace(record, bytes(len(record))))
    dataset = fastdata.PackedImageFolder(tmp_path / "pack", T.CenterCrop(8))
    loader = DataLoaderX(dataset, 4, on_error="skip", max_errors=1)
    with pytest.warns(UserWarning, match="left out"):
        ((images, _),) = loader
    assert len(images) == 3
    assert [failure.index for failure in loader.errors] == [1]
