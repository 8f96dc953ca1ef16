"""DALILoader on a GPU: the same crops, in the order of the consumer's stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.gpu import BRIEF, GPU, churn, sleep
from helpers.images import write_image

import fastdata
from fastdata import transforms as T

pytest.importorskip("nvidia.dali", reason="needs DALI: pip install nvidia-dali-cuda130")

from fastdata.dali import DALILoader

pytestmark = GPU

COUNT = 11
FLIPPED_CROP = T.Compose([T.RandomResizedCrop(96), T.RandomHorizontalFlip()])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of JPEGs."""
    root = tmp_path_factory.mktemp("dali") / "photos"
    for i in range(COUNT):
        write_image(root / f"class_{i % 3}" / f"{i:02d}.jpg", 200 + 10 * i, 300 - 5 * i, seed=i)
    return root


@pytest.fixture(scope="module", params=["sliceable", "keep", "raw"])
def pack(request: pytest.FixtureRequest, photos: Path) -> Path:
    """A pack of each kind of record."""
    path = photos.parent / f"{request.param}.pack"
    fastdata.pack_image_folder(photos, path, encoding=request.param, workers=1, quiet=True)
    return path


def dataset(pack: Path, transform: Any = FLIPPED_CROP) -> Any:
    return fastdata.PackedImageFolder(pack, transform, seed=7)


@pytest.mark.parametrize(
    "transform",
    [
        FLIPPED_CROP,
        T.Compose([T.Resize(128), T.CenterCrop(112)]),
        T.Compose([T.RandomCrop(150, padding=20, padding_mode="reflect"), T.RandomVerticalFlip()]),
    ],
    ids=["random resized crop", "resize, centre", "padding"],
)
def test_crops_are_those_of_the_cpu(pack: Path, transform: Any) -> None:
    theirs = DALILoader(dataset(pack, transform), 4, device="cuda")
    ours = fastdata.DataLoaderX(dataset(pack, transform), 4)
    for _ in range(2):
        for (images, targets), (expected, expected_targets) in zip(theirs, ours, strict=True):
            assert images.device == targets.device == torch.device("cuda", 0)
            assert (images.shape, images.dtype) == (expected.shape, torch.uint8)
            assert images.stride() == expected.stride()
            assert targets.tolist() == expected_targets.tolist()
            # A decoder that rounds differently, not another crop: that would be tens of levels.
            assert (images.cpu().float() - expected.float()).abs().mean() < 3


def test_batches_that_are_kept_stay_as_they_are(pack: Path) -> None:
    loader = DALILoader(dataset(pack), 2, device="cuda")
    kept, copies = [], []
    for _ in range(3):
        for images, _targets in loader:
            kept.append(images)
            copies.append(images.cpu())
    churn()
    assert all(torch.equal(a.cpu(), b) for a, b in zip(kept, copies, strict=True))


def test_a_slow_consumer_on_its_own_stream_sees_its_batch(pack: Path) -> None:
    loader = DALILoader(dataset(pack), 2, device="cuda")
    expected = [images.cpu() for images, _ in loader]
    loader.dataset.set_epoch(0)  # type: ignore[attr-defined]
    stream, found = torch.cuda.Stream(), []
    with torch.cuda.stream(stream):
        for images, _ in loader:
            sleep(BRIEF)
            found.append(images.clone())
            del images  # its memory may be handed out again, but not before the clone is done
            churn()
    stream.synchronize()
    assert all(torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))


def test_the_batch_transform_runs_there(pack: Path) -> None:
    options: dict[str, Any] = {"device": "cuda", "batch_transform": T.DeviceNormalize()}
    for images, _ in DALILoader(dataset(pack), 4, **options):
        assert images.is_cuda
        assert images.dtype == torch.float32


def test_state_goes_from_the_gpu_to_the_cpu(pack: Path) -> None:
    before = DALILoader(dataset(pack), 3, shuffle=True, device="cuda")
    batches = iter(before)
    next(batches)
    state = before.state_dict()
    rest = [targets.tolist() for _, targets in batches]
    after = fastdata.DataLoaderX(dataset(pack), 3, shuffle=True)
    after.load_state_dict(state)
    assert [targets.tolist() for _, targets in after] == rest
