"""Opt-in decoding at a fraction of a JPEG's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.images import write_image

import fastdata
from fastdata import transforms as T
from fastdata.images.decode import decode_image, decode_whole
from fastdata.images.plan import Box, Plan
from fastdata.images.stored import EncodedImage


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("large")
    for number, (height, width) in enumerate([(601, 803), (803, 601), (64, 64), (250, 999)]):
        write_image(root / "a" / f"{number}.jpg", height, width, seed=number)
        write_image(root / "a" / f"{number}.png", height, width, seed=number)
    return root


@pytest.fixture(scope="module", params=["folder", "keep", "sliceable"])
def path(
    request: pytest.FixtureRequest, tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    if request.param == "folder":
        return tree
    pack = tmp_path_factory.mktemp("packs") / str(request.param)
    fastdata.pack_image_folder(tree, pack, encoding=request.param, quiet=True)
    return pack


def opened(path: Path, transform: object, scale: str | None) -> fastdata.PackedImageFolder:
    packed = (path / "pack.json").exists()
    kind = fastdata.PackedImageFolder if packed else fastdata.ImageFolder
    return kind(path, transform, seed=1, decode_scale=scale)  # type: ignore[operator, return-value]


@pytest.mark.parametrize(
    "transform",
    [
        T.RandomResizedCrop(32, scale=(0.05, 1.0)),
        T.Compose([T.Resize(40), T.CenterCrop(32)]),
        T.Compose([T.RandomCrop(60, pad_if_needed=True), T.Resize((9, 13))]),
    ],
    ids=["crop", "validation", "small"],
)
def test_nearly_the_same_picture(path: Path, transform: object) -> None:
    exact, scaled = opened(path, transform, None), opened(path, transform, "auto")
    changed = 0
    for i in range(len(exact)):
        one, other = exact[i][0].int(), scaled[i][0].int()
        assert one.shape == other.shape
        # The box is rounded to the reduced grid: a shift of half a result pixel at most.
        assert (one - other).abs().float().mean() < 10
        changed += not torch.equal(one, other)
        if exact.keys[i].endswith(".png"):
            assert torch.equal(one, other)
    assert changed > 0  # the mode was really used


def test_never_below_the_size_that_is_asked_for(tree: Path) -> None:
    data = (tree / "a" / "0.jpg").read_bytes()
    image = EncodedImage(data, 601, 803)
    whole = decode_whole(data)
    for size, same in (((301, 402), True), ((300, 401), False), ((601, 803), True)):
        plan = Plan.whole(601, 803).resize(*size)
        found = decode_image(image, plan, reduce=True)
        assert found.shape[:2] == size
        assert np.array_equal(found, decode_image(image, plan)) == same
    plan = Plan.whole(601, 803).crop(Box(100, 200, 50, 60))
    np.testing.assert_array_equal(decode_image(image, plan, reduce=True), whole[100:150, 200:260])


def test_the_whole_image_is_used_to_its_edges(tree: Path) -> None:
    data = (tree / "a" / "0.jpg").read_bytes()
    for by in (2, 4, 8):
        assert decode_whole(data, by).shape == (-(-601 // by), -(-803 // by), 3)
    plan = Plan.whole(601, 803).crop(Box(600 - 599, 0, 600, 803)).resize(75, 100)
    assert decode_image(EncodedImage(data, 601, 803), plan, reduce=True).shape == (75, 100, 3)


def test_another_value_is_refused(tree: Path) -> None:
    with pytest.raises(fastdata.OptionError, match="'half'"):
        opened(tree, None, "half")
