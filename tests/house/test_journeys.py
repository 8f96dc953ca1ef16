"""How many rooms a reader enters who follows one journey through the code."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from helpers.images import write_tree

import fastdata
from fastdata import DataLoaderX, PackedImageFolder
from fastdata import transforms as T
from fastdata.cli import main

ROOT = Path(fastdata.__file__).parent


@contextmanager
def rooms_entered() -> Iterator[set[str]]:
    """The rooms whose functions are called in the block, in any thread of this process.

    Rooms are entries at the top of the package. Errors' classes and what only imports runs are not
    counted.
    """
    entered: set[str] = set()
    prefix = f"{ROOT}/"

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(prefix) and code.co_name != "<module>":
            entered.add(code.co_filename.removeprefix(prefix).split("/")[0].removesuffix(".py"))

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield entered
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    entered -= {"__init__", "errors"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("journeys") / "photos", classes=1, per_class=8)


@pytest.fixture(scope="module")
def dataset(photos: Path) -> PackedImageFolder:
    fastdata.pack_image_folder(photos, photos.parent / "warm.pack", quiet=True)
    transform = T.Compose([T.RandomResizedCrop(16), T.RandomHorizontalFlip()])
    dataset = PackedImageFolder(photos.parent / "warm.pack", transform)
    dataset.__getitems__([0, 1])  # kernels are loaded, shards are open
    return dataset


def pack(photos: Path, dataset: PackedImageFolder) -> None:
    assert main(["pack", str(photos), str(photos.parent / "new.pack"), "--quiet"]) == 0


def read(photos: Path, dataset: PackedImageFolder) -> None:
    assert len(dataset.__getitems__([2])) > 0


def load(photos: Path, dataset: PackedImageFolder) -> None:
    loader = DataLoaderX(dataset, 2, num_workers=1, device="cpu")
    iterator = iter(loader)
    next(iterator)
    loader.state_dict()
    for _ in iterator:
        pass


@pytest.mark.parametrize(
    ("journey", "rooms"),
    [
        (pack, {"cli", "core", "images", "packing", "sources", "store"}),
        (read, {"core", "datasets", "images", "store", "transforms"}),
        (load, {"core", "datasets", "images", "loader", "store"}),
    ],
)
def test_a_journey_enters_few_rooms(
    journey: Callable[[Path, PackedImageFolder], None],
    rooms: set[str],
    photos: Path,
    dataset: PackedImageFolder,
) -> None:
    with rooms_entered() as entered:
        journey(photos, dataset)
    assert entered <= rooms
