"""DataLoaderX: torch's loader to its user, with batches ahead of time."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from helpers.images import write_tree
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    get_worker_info,
)

import fastdata
from fastdata import transforms as T
from fastdata.loader.loader import DataLoaderX
from fastdata.loader.order.samplers import ShuffleSampler


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("loader")
    write_tree(base / "photos", classes=2, per_class=10)
    fastdata.pack_image_folder(base / "photos", base / "pack", quiet=True)
    return base / "pack"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After each test there is no thread and no process more than before."""
    threads, children = _running()
    yield
    gc.collect()
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        left = [now - before for now, before in zip(_running(), (threads, children), strict=True)]
        if not any(left):
            return
        time.sleep(0.02)
    pytest.fail(f"left behind: {left}")


def _running() -> tuple[set[Any], set[Any]]:
    # multiprocessing's resource tracker is started once and lives as long as the interpreter.
    children = psutil.Process().children(recursive=True)
    return (
        {t for t in threading.enumerate() if t.name != "QueueFeederThread"},
        {child for child in children if "resource_tracker" not in _command(child)},
    )


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return "resource_tracker"


class Numbers(Dataset[int]):
    """Item i is i; it may fail, or tell which worker made it."""

    def __init__(self, count: int, bad: int = -1) -> None:
        self.count = count
        self.bad = bad

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        if index == self.bad:
            raise KeyError(f"item {index}")
        return index


WORKERS = [
    pytest.param({"num_workers": 0}, id="no workers"),
    pytest.param({"num_workers": 2}, id="workers"),
    pytest.param({"num_workers": 2, "persistent_workers": True}, id="persistent"),
    pytest.param({"num_workers": 2, "worker_type": "thread"}, id="threads"),
]
workers = pytest.mark.parametrize("kind", WORKERS)
ahead = pytest.mark.parametrize("prefetch", [0, 1, 3])
DEVICES = pytest.mark.parametrize("device", [None, "cpu"])


@workers
@ahead
@DEVICES
def test_the_same_batches_as_torch(kind: dict[str, Any], prefetch: int, device: str | None) -> None:
    for options in ({"batch_size": 3}, {"batch_size": 4, "drop_last": True}, {"batch_size": None}):
        torch.manual_seed(3)
        expected = [list(DataLoader(Numbers(10), shuffle=True, **options)) for _ in range(2)]
        torch.manual_seed(3)
        loaders = [
            DataLoaderX(
                Numbers(10),
                shuffle=True,
                prefetch_batches=prefetch,
                device=device,
                **options,
                **kind,
            )
            for _ in range(2)
        ]
        found = [list(loader) for loader in loaders]
        assert str(found) == str(expected)
        assert len(loaders[0]) == len(expected[0])


@workers
@ahead
def test_every_epoch_is_whole_after_early_breaks(kind: dict[str, Any], prefetch: int) -> None:
    loader = DataLoaderX(Numbers(40), 4, prefetch_batches=prefetch, **kind)
    for stop in (0, 1, 3, 0):
        for number, batch in enumerate(loader):
            assert batch.tolist() == list(range(4 * number, 4 * number + 4))
            if number == stop:
                break
        assert torch.cat(list(loader)).tolist() == list(range(40))


def test_fifty_early_breaks_leave_nothing() -> None:
    def fifty() -> None:
        loader = DataLoaderX(Numbers(40), 4, num_workers=1, persistent_workers=True)
        for _ in range(50):
            assert next(iter(loader)).tolist() == [0, 1, 2, 3]

    fifty()
    descriptors = psutil.Process().num_fds()
    for _ in range(3):
        fifty()
        gc.collect()
        assert psutil.Process().num_fds() <= descriptors
        assert not [t for t in threading.enumerate() if t.name.startswith("fastdata")]


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("count", [0, 2])
def test_an_exception_arrives_after_the_batches_before_it(count: int, device: str | None) -> None:
    loader = DataLoaderX(Numbers(12, bad=9), 2, num_workers=count, device=device)
    found: list[int] = []
    with pytest.raises(KeyError, match="item 9"):
        for batch in loader:
            found += batch.tolist()
    assert found == list(range(8))


@workers
def test_an_exception_in_the_loop(kind: dict[str, Any]) -> None:
    loader = DataLoaderX(Numbers(12), 2, **kind)
    with pytest.raises(ZeroDivisionError):
        for _ in loader:
            1 / 0  # noqa: B018
    assert torch.cat(list(loader)).tolist() == list(range(12))


def test_foreign_datasets_stay_in_the_callers_thread_without_workers() -> None:
    class Where(Numbers):
        def __getitem__(self, index: int) -> int:
            return threading.get_ident()

    found = {int(i) for batch in DataLoaderX(Where(6), 2) for i in batch}
    assert found == {threading.get_ident()}


def test_random_numbers_are_drawn_as_under_torch() -> None:
    class Random(Numbers):
        def __getitem__(self, index: int) -> float:
            return float(torch.rand(()))

    def run(loader_class: type[DataLoader[Any]]) -> list[float]:
        torch.manual_seed(5)
        drawn = []
        for batch in loader_class(Random(8), 2, shuffle=True):
            drawn += [*batch.tolist(), float(torch.rand(()))]
        return drawn

    assert run(DataLoaderX) == run(DataLoader)


def packed(pack: Path, seed: int = 3) -> fastdata.PackedImageFolder:
    transform = T.Compose([T.RandomResizedCrop(24, antialias=False), T.RandomHorizontalFlip()])
    return fastdata.PackedImageFolder(pack, transform, seed=seed)


@workers
@ahead
def test_crops_do_not_depend_on_workers(kind: dict[str, Any], prefetch: int, pack: Path) -> None:
    ds = packed(pack)
    expected = []
    for epoch in range(3):
        ds.set_epoch(epoch)
        expected.append(torch.stack([ds[i][0] for i in range(20)]))
    assert not torch.equal(expected[0], expected[1])
    loader = DataLoaderX(packed(pack), 6, prefetch_batches=prefetch, **kind)
    for epoch in range(3):
        batches = list(loader)
        assert torch.equal(torch.cat([images for images, _ in batches]), expected[epoch])
        for images, targets in batches:
            assert images.is_contiguous(memory_format=torch.channels_last)
            assert images.dtype == torch.uint8
            assert targets.dtype == torch.int64


@workers
def test_set_epoch_is_respected(kind: dict[str, Any], pack: Path) -> None:
    ds = packed(pack)
    loader = DataLoaderX(ds, 20, **kind)
    first = [next(iter(loader))[0] for _ in range(3)]
    ds.set_epoch(1)
    assert torch.equal(next(iter(loader))[0], first[1])
    assert torch.equal(next(iter(loader))[0], first[2])


@pytest.mark.parametrize("wrap", [lambda d: Subset(d, range(20)), lambda d: ConcatDataset([d])])
def test_epochs_advance_inside_of_wrappers(wrap: Any, pack: Path) -> None:
    loader = DataLoaderX(wrap(packed(pack)), 20)
    first, second = (next(iter(loader))[0] for _ in range(2))
    assert not torch.equal(first, second)


def test_shuffling_with_the_background_thread_is_reproducible(pack: Path) -> None:
    def run(make: Callable[[Any], DataLoader[Any]]) -> list[Any]:
        torch.manual_seed(5)
        found = []
        for _, targets in make(packed(pack)):
            found.append((targets.tolist(), float(torch.rand(()))))
        return found

    ours = run(lambda dataset: DataLoaderX(dataset, 4, shuffle=True))
    assert ours == run(lambda dataset: DataLoader(dataset, 4, sampler=ShuffleSampler(dataset)))


@workers
@ahead
def test_batch_transform(kind: dict[str, Any], prefetch: int, pack: Path) -> None:
    def to_float(batch: Any) -> Any:
        images, targets = batch
        return images.float() / 255, targets, get_worker_info() is None

    loader = DataLoaderX(
        packed(pack), 8, prefetch_batches=prefetch, batch_transform=to_float, **kind
    )
    plain = list(DataLoaderX(packed(pack), 8))
    for (images, targets, in_main), (expected, labels) in zip(loader, plain, strict=True):
        assert torch.equal(images, expected.float() / 255)
        assert torch.equal(targets, labels)
        assert in_main


def test_batches_arrive_on_another_device(pack: Path) -> None:
    images, targets = next(iter(DataLoaderX(packed(pack), 8, device="meta")))
    assert (images.device.type, targets.device.type) == ("meta", "meta")
    assert images.shape == (8, 3, 24, 24)


def test_workers_hand_over_shared_memory(pack: Path) -> None:
    images, _ = next(iter(DataLoaderX(packed(pack), 8, num_workers=1)))
    assert images.is_shared()


def test_own_collate_gets_a_list_of_samples(pack: Path) -> None:
    def by_hand(samples: list[Any]) -> Any:
        assert isinstance(samples, list)
        return [target for _, target in samples], torch.stack([image for image, _ in samples])

    targets, images = next(iter(DataLoaderX(packed(pack), 20, collate_fn=by_hand)))
    expected, labels = next(iter(DataLoaderX(packed(pack), 20)))
    assert torch.equal(images, expected)
    assert targets == labels.tolist()


def test_iterable_datasets(pack: Path) -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            info = get_worker_info()
            yield from range(info.id if info else 0, 10, info.num_workers if info else 1)

    for count in (0, 2):
        found = torch.cat(list(DataLoaderX(Stream(), 2, num_workers=count)))
        assert sorted(found.tolist()) == list(range(10))


def test_two_iterators_at_once(pack: Path) -> None:
    for count in (0, 1):
        loader = DataLoaderX(Numbers(9), 3, num_workers=count)
        pairs = [(a.tolist(), b.tolist()) for a, b in zip(loader, loader, strict=True)]
        assert pairs == [([i, i + 1, i + 2],) * 2 for i in (0, 3, 6)]


def test_empty_and_single_batch() -> None:
    for count in (0, 1):
        assert list(DataLoaderX(Numbers(0), 3, num_workers=count)) == []
        assert [b.tolist() for b in DataLoaderX(Numbers(2), 3, num_workers=count)] == [[0, 1]]


def test_arguments_of_torch_are_checked_by_torch() -> None:
    for wrong in ({"num_workers": -1}, {"batch_size": 0}, {"timeout": -1}, {"prefetch_factor": 2}):
        with pytest.raises(ValueError) as expected:
            DataLoader(Numbers(3), **wrong)
        with pytest.raises(ValueError) as found:
            DataLoaderX(Numbers(3), **wrong)
        assert str(found.value) == str(expected.value)
    with pytest.raises(fastdata.OptionError, match="prefetch_batches"):
        DataLoaderX(Numbers(3), prefetch_batches=-1)


def test_tensors_pass_through_unchanged() -> None:
    data = TensorDataset(torch.arange(12.0).view(6, 2), torch.arange(6))
    for x, y in DataLoaderX(data, 2, num_workers=1):
        assert torch.equal(x[:, 0] / 2, y.float())


def test_a_pil_style_dataset(tmp_path: Path) -> None:
    class Arrays(Dataset[Any]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            return {"image": np.full((2, 2), index, np.uint8), "name": f"n{index}"}

    (batch,) = DataLoaderX(Arrays(), 4, num_workers=1)
    assert batch["image"].shape == (4, 2, 2)
    assert batch["name"] == ["n0", "n1", "n2", "n3"]
