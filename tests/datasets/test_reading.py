"""A sample's way step by step: the same as the dataset's own, and every error with its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import write_tree

import fastdata
from fastdata import transforms as T
from fastdata.datasets.base import ImageDataset
from fastdata.transforms.randomness import sample_generator

Opener = Callable[..., ImageDataset]


def noisy(image: Any) -> Any:
    return image + 1


TRANSFORMS = {
    "none": None,
    "crop and flip": T.Compose([T.RandomResizedCrop(16), T.RandomHorizontalFlip()]),
    "a rest by batch": T.Compose([T.RandomResizedCrop(16), T.ToTensor()]),
    "a foreign rest": T.Compose([T.Resize((9, 11)), noisy, T.RandomHorizontalFlip()]),
    "no plan": T.Compose([noisy, T.RandomCrop(5)]),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("tree") / "photos", classes=2, per_class=4)


@pytest.fixture(scope="module")
def packs(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("packs")
    for encoding in ("sliceable", "raw"):
        fastdata.pack_image_folder(tree, base / encoding, encoding=encoding, quiet=True)
    return {path.name: path for path in base.iterdir()}


@pytest.fixture(params=["folder", "sliceable", "raw"])
def open_dataset(request: pytest.FixtureRequest, tree: Path, packs: dict[str, Path]) -> Opener:
    if request.param == "folder":
        return lambda *a, **k: fastdata.ImageFolder(tree, *a, **k)
    return lambda *a, **k: fastdata.PackedImageFolder(packs[request.param], *a, **k)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_steps_lead_where_the_dataset_leads(open_dataset: Opener, name: str) -> None:
    dataset = open_dataset(TRANSFORMS[name], seed=3)
    dataset.set_epoch(2)
    reader = dataset.sample_reader()
    for i in range(len(dataset)):
        image = reader.sized(reader.read(i))
        plan, generator = reader.plan(i, image)
        found = reader.finish(reader.pixels(image, plan), generator)
        expected, target = dataset[i]
        assert type(found) is type(expected)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
        assert dataset.target_of(i) == target


def test_one_image_read_once_has_a_plan_for_each_generator(open_dataset: Opener) -> None:
    dataset = open_dataset(TRANSFORMS["crop and flip"], seed=3)
    reader = dataset.sample_reader()
    image = reader.sized(reader.read(1))
    for epoch in range(3):
        generator = sample_generator(3, epoch, 1)
        plan, same = reader.plan(1, image, generator)
        assert same is generator
        dataset.set_epoch(epoch)
        view = torch.from_numpy(reader.pixels(image, plan)).permute(2, 0, 1)
        assert torch.equal(view, dataset[1][0])


def test_a_reader_keeps_the_epoch_and_the_transform_that_it_began_with(tree: Path) -> None:
    dataset = fastdata.ImageFolder(tree, T.RandomResizedCrop(8), seed=0)
    reader = dataset.sample_reader()
    before = reader.load(0)[0]
    dataset.set_epoch(1)
    dataset.transform = T.CenterCrop(20)
    np.testing.assert_array_equal(reader.load(0)[0], before)
    assert dataset.sample_reader().load(0)[0].shape == (20, 20, 3)


def test_a_subclass_says_where_images_come_from(packs: dict[str, Path]) -> None:
    class Backwards(fastdata.PackedImageFolder):
        def encoded_image(self, index: int, *rest: Any) -> Any:
            return super().encoded_image(len(self) - 1 - index, *rest)

    plain, backwards = (
        kind(packs["sliceable"], T.Resize((8, 8)), seed=0)
        for kind in (fastdata.PackedImageFolder, Backwards)
    )
    for i in range(len(plain)):
        assert torch.equal(backwards[i][0], plain[-1 - i][0])
    first = backwards.sample_reader().load(0)[0]
    np.testing.assert_array_equal(first, plain.sample_reader().load(len(plain) - 1)[0])


class TestNaming:
    @pytest.mark.parametrize("kind", [OSError, ValueError, fastdata.PackFormatError])
    def test_what_is_wrong_with_a_sample_bears_its_name_once(
        self, tree: Path, kind: type[Exception]
    ) -> None:
        dataset = fastdata.ImageFolder(tree)
        reader, reason = dataset.sample_reader(), kind("no luck")
        with (
            pytest.raises(fastdata.SampleError) as caught,
            reader.naming(4),
            reader.naming(4),
        ):
            raise reason
        assert str(caught.value) == f"{tree}: sample 4 ({dataset.keys[4]!r}): no luck"
        assert caught.value.__cause__ is reason

    def test_other_errors_stay_as_they_are(self, tree: Path) -> None:
        reader, bug = fastdata.ImageFolder(tree).sample_reader(), TypeError("a bug")
        with pytest.raises(TypeError) as caught, reader.naming(4):
            raise bug
        assert caught.value is bug

    def test_the_sample_begun_last_is_known(self, tree: Path) -> None:
        dataset = fastdata.ImageFolder(tree)
        dataset.sample_reader().load(5)
        assert dataset.reading(-1) == 5
