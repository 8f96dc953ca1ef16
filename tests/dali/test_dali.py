"""DALILoader on the CPU: the batches of DataLoaderX, decoded by the real DALI."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import FORMATS, encoded, picture, write_image, write_tree
from helpers.packs import write_pack
from PIL import Image
from torch.utils.data import Subset

import fastdata
from benchmarks.single import dali_slices
from fastdata import transforms as T
from fastdata.dali import DALILoader
from fastdata.errors import MissingDependencyError, OptionError, SampleError
from fastdata.images.plan import Plan

pytest.importorskip("nvidia.dali", reason="needs DALI: pip install nvidia-dali-cuda130")

SIZES = ((200, 300), (261, 233), (240, 240), (150, 310), (290, 205))
COUNT = 13  # no multiple of any batch size here


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of JPEGs that are large enough to be cut."""
    root = tmp_path_factory.mktemp("dali") / "photos"
    for i in range(COUNT):
        write_image(root / f"class_{i % 3}" / f"{i:02d}.jpg", *SIZES[i % len(SIZES)], seed=i)
    return root


@pytest.fixture(scope="module")
def packs(photos: Path) -> Callable[..., Path]:
    """The pack of an encoding and a storage, made when it is first asked for."""

    def pack(encoding: str = "sliceable", storage: str = "lmdb") -> Path:
        path = photos.parent / f"{encoding}-{storage}.pack"
        if not path.exists():
            options: dict[str, Any] = {"encoding": encoding, "storage": storage}
            fastdata.pack_image_folder(photos, path, **options, workers=1, quiet=True)
        return path

    return pack


def both(
    make: Callable[[], Any], batch_size: int = 5, epochs: int = 1, **options: Any
) -> Iterator[tuple[Any, Any]]:
    """DALI's batches beside those of DataLoaderX, of datasets that are equal."""
    torch.manual_seed(1)
    theirs = DALILoader(make(), batch_size, num_threads=2, **options)
    ours = fastdata.DataLoaderX(make(), batch_size, **options)
    for epoch in range(epochs):
        batches = []
        for loader in (theirs, ours):
            torch.manual_seed(epoch)
            batches.append(list(loader))
        yield from zip(*batches, strict=True)


def assert_alike(theirs: Any, ours: Any) -> None:
    """All but the values of the images is the same."""
    (images, targets), (expected, expected_targets) = theirs, ours
    assert torch.equal(targets, expected_targets)
    assert (images.shape, images.dtype) == (expected.shape, expected.dtype)
    assert images.stride() == expected.stride()


def assert_same(theirs: Any, ours: Any) -> None:
    assert_alike(theirs, ours)
    assert torch.equal(theirs[0], ours[0])


def assert_near(theirs: Any, ours: Any) -> None:
    """Bilinear's tolerance: one level, but for the outermost pixels."""
    assert_alike(theirs, ours)
    difference = (theirs[0].float() - ours[0].float()).abs()
    assert difference[:, :, 1:-1, 1:-1].max() <= 1
    assert difference.mean() < 0.6


CROPS = {
    "crop, flips": [T.RandomCrop(128), T.RandomHorizontalFlip(), T.RandomVerticalFlip()],
    "padding": [T.RandomCrop(200, padding=(9, 4), pad_if_needed=True, fill=(9, 80, 200))],
    "edge": [T.RandomCrop(160, padding=30, padding_mode="edge", pad_if_needed=True)],
    "reflect": [T.RandomCrop(160, padding=30, padding_mode="reflect", pad_if_needed=True)],
    "symmetric": [
        T.RandomHorizontalFlip(),
        T.RandomCrop(160, padding=30, padding_mode="symmetric", pad_if_needed=True),
    ],
    "padding twice": [T.CenterCrop(270), T.RandomVerticalFlip(), T.RandomCrop(280, padding=40)],
}
RESIZES = {
    "random resized crop": [T.RandomResizedCrop(64), T.RandomHorizontalFlip()],
    "plainly resized crop": [T.RandomResizedCrop(64, antialias=False), T.RandomVerticalFlip()],
    "resize, centre": [T.Resize(96), T.CenterCrop(80)],
    "enlarged": [T.RandomResizedCrop((400, 350))],
    "nothing to resize in some": [T.Resize((240, 240)), T.RandomHorizontalFlip()],
}


@pytest.mark.parametrize("steps", CROPS.values(), ids=CROPS)
def test_pixels_are_the_same_where_nothing_is_resized(packs: Any, steps: list[Any]) -> None:
    def make() -> Any:
        return fastdata.PackedImageFolder(packs(), T.Compose(steps), seed=5)

    for theirs, ours in both(make, shuffle=True, epochs=2):
        assert_same(theirs, ours)


@pytest.mark.parametrize("steps", RESIZES.values(), ids=RESIZES)
def test_resized_pixels_are_near(packs: Any, steps: list[Any]) -> None:
    def make() -> Any:
        return fastdata.PackedImageFolder(packs(), T.Compose(steps), seed=5)

    for theirs, ours in both(make, shuffle=True, epochs=2):
        assert_near(theirs, ours)


OTHERS = {
    "bicubic": [T.RandomResizedCrop(61, interpolation="bicubic")],
    "nearest": [T.RandomResizedCrop(61, interpolation="nearest")],
    "twice": [T.Resize((240, 240)), T.RandomCrop(128), T.RandomResizedCrop((40, 56))],
}


@pytest.mark.parametrize("steps", OTHERS.values(), ids=OTHERS)
def test_other_filters_are_near_on_average(packs: Any, steps: list[Any]) -> None:
    def make() -> Any:
        return fastdata.PackedImageFolder(packs(), T.Compose(steps), seed=6)

    for theirs, ours in both(make):
        assert_alike(theirs, ours)
        assert (theirs[0].float() - ours[0].float()).abs().mean() < 1


@pytest.mark.parametrize("encoding", ["sliceable", "keep", "jpeg", "png", "raw", "folder"])
def test_every_encoding_gives_the_same_crops(photos: Path, packs: Any, encoding: str) -> None:
    transform = T.Compose([T.RandomCrop(100), T.RandomHorizontalFlip()])

    def make() -> Any:
        if encoding == "folder":
            return fastdata.ImageFolder(photos, transform, seed=2)
        return fastdata.PackedImageFolder(packs(encoding), transform, seed=2)

    for theirs, ours in both(make):
        assert_same(theirs, ours)


def test_both_storages(packs: Any, storage: str) -> None:
    def make() -> Any:
        return fastdata.PackedImageFolder(packs("sliceable", storage), T.RandomCrop(90), seed=2)

    for theirs, ours in both(make):
        assert_same(theirs, ours)


def test_other_formats_in_one_batch(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "mixed", formats=(*FORMATS, ".tiff", ".avif"))
    Image.fromarray(picture(40, 60)).save(root / "class_0" / "gif.png", "GIF")
    for theirs, ours in both(lambda: fastdata.ImageFolder(root, T.RandomCrop(16), seed=0), 13):
        assert_same(theirs, ours)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("encoding", ["keep", "raw"])
def test_orientations_are_undone_before_the_crop(
    tmp_path: Path, suffix: str, encoding: str
) -> None:
    (tmp_path / "photos" / "a").mkdir(parents=True)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        image = Image.fromarray(picture(60, 90, orientation))
        image.save(tmp_path / f"photos/a/{orientation}.{suffix.lower()}", suffix, exif=exif)
    pack = tmp_path / "pack"
    options: dict[str, Any] = {"encoding": encoding, "workers": 1, "quiet": True}
    fastdata.pack_image_folder(tmp_path / "photos", pack, **options)
    for apply in (True, False):

        def make(apply: bool = apply) -> Any:
            options: dict[str, Any] = {"apply_exif_orientation": apply, "seed": 0}
            return fastdata.PackedImageFolder(pack, T.RandomCrop((40, 50)), **options)

        for theirs, ours in both(make, 8):
            assert_same(theirs, ours)


def test_what_stands_behind_the_geometry(packs: Any) -> None:
    steps = [T.RandomCrop(90), T.ToTensor(), T.Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.2])]

    def make() -> Any:
        return fastdata.PackedImageFolder(packs(), T.Compose(steps), lambda t: t + 7, seed=2)

    for theirs, ours in both(make, batch_transform=lambda batch: [batch[0] * 2, batch[1]]):
        assert theirs[1].min() >= 7
        assert_same(theirs, ours)


def test_without_a_transform_images_stay_whole(tmp_path: Path) -> None:
    write_tree(tmp_path / "same", sizes=((30, 40),))
    for theirs, ours in both(lambda: fastdata.ImageFolder(tmp_path / "same"), 4):
        assert_same(theirs, ours)


class Flop(T.GeometricTransform):
    """A geometric transform of the user's own."""

    def extend(self, plan: Plan, rng: Any) -> Plan:
        return plan.flip_vertical() if rng.random() < 0.2 else plan


def test_geometry_of_ones_own(packs: Any) -> None:
    def make() -> Any:
        return fastdata.PackedImageFolder(packs(), T.Compose([T.CenterCrop(99), Flop()]), seed=8)

    # Batches without any flip come before and after such with one: the pipeline has to change.
    for theirs, ours in both(make, 2, epochs=3):
        assert_same(theirs, ours)


@pytest.mark.parametrize("batch_size", [1, 4, 13, 20])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_epochs_are_exact(packs: Any, batch_size: int, drop_last: bool, ahead: int) -> None:
    dataset = fastdata.PackedImageFolder(packs("raw"), T.CenterCrop(20), lambda _: 0)
    loader = DALILoader(dataset, batch_size, drop_last=drop_last, prefetch_batches=ahead)
    full, rest = divmod(COUNT, batch_size)
    expected = [batch_size] * full + [rest] * (rest > 0 and not drop_last)
    assert len(loader) == len(expected)
    for _ in range(2):
        assert [len(targets) for _, targets in loader] == expected


class Numbered(fastdata.PackedImageFolder):
    """A pack whose targets are the samples' numbers."""

    @property
    def targets(self) -> Any:
        return np.arange(COUNT)


def numbered(packs: Any, seed: int = 0) -> Numbered:
    transform = T.Compose([T.RandomCrop(24), T.RandomHorizontalFlip()])
    return Numbered(packs("raw"), transform, seed=seed)


def order(loader: Any) -> list[int]:
    return [int(target) for _, targets in loader for target in targets]


def test_each_epoch_is_shuffled_anew_and_has_each_sample_once(packs: Any) -> None:
    loader = DALILoader(numbered(packs), 4, shuffle=True)
    orders = [order(loader) for _ in range(3)]
    assert all(sorted(found) == list(range(COUNT)) for found in orders)
    assert orders[0] != orders[1] != orders[2]


def test_crops_belong_to_the_epoch(packs: Any) -> None:
    dataset = numbered(packs)
    loader = DALILoader(dataset, COUNT)
    first, second = (next(iter(loader))[0] for _ in range(2))
    assert not torch.equal(first, second)
    dataset.set_epoch(0)
    assert torch.equal(next(iter(loader))[0], first)


@pytest.mark.parametrize(
    "classes", list(itertools.product([DALILoader, fastdata.DataLoaderX], repeat=2))
)
@pytest.mark.parametrize("kind", ["shuffle", "rank"])
def test_goes_on_in_mid_epoch_in_either_loader(packs: Any, classes: Any, kind: str) -> None:
    def make(loader_class: Any) -> Any:
        dataset = numbered(packs, seed=4)
        if kind == "shuffle":
            return loader_class(dataset, 3, shuffle=True)
        sampler = fastdata.RankSampler(dataset, rank=1, num_replicas=2, seed=3)
        return loader_class(dataset, 3, sampler=sampler)

    before = make(classes[0])
    list(before)
    batches = iter(before)
    next(batches)
    state = before.state_dict()
    expected = list(batches)
    after = make(classes[1])
    after.load_state_dict(state)
    rest = list(after)
    assert len(rest) == len(expected) > 0
    for theirs, ours in zip(rest, expected, strict=True):
        assert_same(theirs, ours)


def test_ranks_share_an_epoch(packs: Any) -> None:
    orders = []
    for rank in range(2):
        dataset = numbered(packs)
        options: dict[str, Any] = {"rank": rank, "num_replicas": 2, "cover": "exact"}
        orders.append(
            order(DALILoader(dataset, 4, sampler=fastdata.RankSampler(dataset, **options)))
        )
    assert sorted(orders[0] + orders[1]) == list(range(COUNT))


def test_batches_of_a_batch_sampler(packs: Any) -> None:
    batches = [[1, 2], [-1], [3, 4, 5, 6], [0]]
    loader = DALILoader(numbered(packs), batch_sampler=batches)
    assert [targets.tolist() for _, targets in loader] == [[1, 2], [12], [3, 4, 5, 6], [0]]


def test_an_error_of_the_sampler_comes_after_the_batches_before_it(packs: Any) -> None:
    def batches() -> Iterator[list[int]]:
        yield from ([0, 1], [2, 3], [4, 5])
        raise LookupError("no more")

    found = []
    with pytest.raises(LookupError, match="no more"):
        for _, targets in DALILoader(numbered(packs), batch_sampler=batches()):
            found += targets.tolist()
    assert found == [0, 1, 2, 3, 4, 5]


def test_batches_that_are_kept_stay_as_they_are(packs: Any) -> None:
    loader = DALILoader(numbered(packs), 2)
    kept, copies = [], []
    for images, _ in itertools.chain(loader, loader, loader):
        kept.append(images)
        copies.append(images.clone())
    del loader
    gc.collect()
    assert all(map(torch.equal, kept, copies))


def test_stopping_early_and_several_iterators(packs: Any) -> None:
    loader = DALILoader(numbered(packs), 2)
    for _ in loader:
        break
    assert not [t for t in threading.enumerate() if t.name == "fastdata-dali"]
    one, other = iter(loader), iter(loader)
    assert len(list(one)) == len(list(other)) == len(loader)
    assert order(loader) == list(range(COUNT))


def test_a_path_and_its_transform(packs: Any) -> None:
    path, transform = packs(), T.RandomCrop(30)
    loader = DALILoader(path, 4, transform, seed=3)
    expected = fastdata.DataLoaderX(fastdata.PackedImageFolder(path, transform, seed=3), 4)
    for theirs, ours in zip(loader, expected, strict=True):
        assert_same(theirs, ours)


def test_statistics_count_batches(packs: Any) -> None:
    loader = DALILoader(numbered(packs), 5)
    list(loader)
    stats = loader.stats()
    assert (stats.batches, stats.errors) == (3, 0)
    assert stats.reading > 0


def test_an_empty_pack_has_no_batches(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "empty.pack", [[]], classes=["a"])
    loader = DALILoader(pack, 4, T.CenterCrop(8))
    assert [list(loader), list(loader)] == [[], []]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_can_drop_the_loader(packs: Any) -> None:
    loader = DALILoader(numbered(packs), 2)
    batches = iter(loader)
    next(batches)
    child = os.fork()
    if child == 0:  # without DALI's threads; to wait for them would never end
        signal.alarm(20)
        del batches, loader
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(list(batches)) == len(loader) - 1


def test_threads_are_shared_among_the_processes_of_a_machine(
    packs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    alone = DALILoader(numbered(packs)).num_threads
    assert alone >= 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(alone))
    assert DALILoader(numbered(packs)).num_threads == 1
    assert DALILoader(numbered(packs), num_threads=3).num_threads == 3


def test_the_benchmark_compares_the_same_crops(packs: Any) -> None:
    loaders = [dali_slices.loader_of(way, packs(), antialias=True) for way in dali_slices.WAYS]
    for cut, uncut, ours in zip(*loaders, strict=True):
        assert_same(cut, uncut)
        assert_near(cut, ours)


def folder_with(tmp_path: Path, name: str, data: bytes) -> Any:
    """Six images, of which number 3 is ``data``."""
    for i in range(6):
        write_image(tmp_path / "a" / f"{i}.jpg", 100, 80, i)
    (tmp_path / "a" / "3.jpg").unlink()
    (tmp_path / "a" / name).write_bytes(data)
    return fastdata.ImageFolder(tmp_path, T.CenterCrop((100, 80)))


BAD = {
    "cut off": ("3.jpg", encoded(picture(100, 80))[:2000]),
    "nothing": ("3.jpg", b""),
    "not an image": ("3.jpg", b"hello" * 100),
}


@pytest.mark.parametrize(("name", "data"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("ahead", [0, 2])
def test_a_bad_sample_is_named_in_its_turn(
    tmp_path: Path, name: str, data: bytes, ahead: int
) -> None:
    loader = DALILoader(folder_with(tmp_path, name, data), 2, prefetch_batches=ahead)
    batches = iter(loader)
    assert len(next(batches)[1]) == 2
    with pytest.raises(SampleError, match=rf"sample 3 \('a/{name}'\)"):
        next(batches)
    assert len(next(batches)[1]) == 2
    assert next(batches, None) is None
    with pytest.raises(SampleError):
        list(loader)


def test_a_damaged_record_is_told_before_it_is_decoded(tmp_path: Path, photos: Path) -> None:
    pack = tmp_path / "pack"
    fastdata.pack_image_folder(photos, pack, workers=1, quiet=True)
    shard = pack / "shard-00000.lmdb"
    record = bytes(fastdata.PackedImageFolder(pack).pack.read(5))
    shard.write_bytes(shard.read_bytes().replace(record[-900:], bytes(900)))
    with pytest.raises(SampleError, match=r"sample 5 \('class_"):
        list(DALILoader(fastdata.PackedImageFolder(pack, T.CenterCrop(50)), 4))


def test_what_dali_cannot_do_is_told_at_once(packs: Any, photos: Path) -> None:
    def loader(transform: Any = None, **options: Any) -> DALILoader:
        return DALILoader(fastdata.PackedImageFolder(packs(), transform, **options), 4)

    def brighter(image: Any) -> Any:
        return image

    with pytest.raises(OptionError, match="brighter"):
        loader(T.Compose([T.CenterCrop(8), brighter]))
    with pytest.raises(OptionError, match="CutMix"):
        loader(T.Compose([T.CenterCrop(8), T.CutMix(1.0, 3)]))
    with pytest.raises(OptionError, match="bicubic"):
        loader(T.Resize(20, interpolation="bicubic", antialias=False))
    with pytest.raises(OptionError, match="decode_scale"):
        loader(T.CenterCrop(8), decode_scale="auto")
    with pytest.raises(OptionError, match="SubsetRandomSampler"):
        DALILoader(Subset(fastdata.ImageFolder(photos), [1]), 4)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="PackedImageFolder"):
        DALILoader(fastdata.PackedDataset(packs()), 4)


def test_a_transform_that_was_replaced_is_checked(packs: Any) -> None:
    dataset = fastdata.PackedImageFolder(packs(), T.CenterCrop(8))
    loader = DALILoader(dataset, 4)
    dataset.transform = repr
    with pytest.raises(OptionError, match="repr"):
        iter(loader)


def test_images_of_other_sizes_do_not_make_a_batch(packs: Any) -> None:
    with pytest.raises(OptionError, match="CenterCrop"):
        list(DALILoader(fastdata.PackedImageFolder(packs(), T.Resize(50)), 4))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_threads": 0}, "num_threads"),
        ({"prefetch_batches": -1}, "prefetch_batches"),
        ({"batch_size": None}, "batch_size"),
        ({"device": "mps"}, "mps"),
        ({"seed": 3}, "seed"),
        ({"transform": T.CenterCrop(8)}, "transform"),
    ],
)
def test_wrong_options(packs: Any, options: dict[str, Any], told: str) -> None:
    dataset = fastdata.PackedImageFolder(packs(), T.CenterCrop(8))
    with pytest.raises(OptionError, match=told):
        DALILoader(dataset, **{"batch_size": 4, **options})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(packs: Any) -> None:
    with pytest.raises(OptionError, match="cuda"):
        DALILoader(fastdata.PackedImageFolder(packs()), 4, device="cuda")


def test_without_dali(packs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(MissingDependencyError, match="pip install nvidia-dali-cuda130"):
        DALILoader(fastdata.PackedImageFolder(packs()), 4)
