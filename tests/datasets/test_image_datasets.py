"""Datasets over packs and folders: one contract, in every kind of process."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import random
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import resized_by_pillow, write_tree
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Subset, default_collate

import fastdata
from fastdata import transforms as T
from fastdata.datasets.base import ImageDataset
from fastdata.datasets.batch import SampleBatch, collate
from fastdata.transforms.randomness import sample_generator

Opener = Callable[..., ImageDataset]


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree") / "photos"
    write_tree(root, classes=3, per_class=5)
    deep = root / "class_1" / "deep"
    deep.mkdir()
    for path in sorted((root / "class_1").glob("image_00[12].*")):
        path.rename(deep / path.name)
    return root


@pytest.fixture(scope="session")
def packs(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("packs")
    for storage in ("lmdb", "hdf5"):
        # Small shards, so that every test crosses from one to the next.
        fastdata.pack_image_folder(
            tree, base / storage, storage=storage, shard_size="20kB", quiet=True
        )
    fastdata.pack_image_folder(tree, base / "keep", encoding="keep", shard_size="20kB", quiet=True)
    return {path.name: path for path in base.iterdir()}


@pytest.fixture(params=["folder", "lmdb", "hdf5", "keep"])
def open_dataset(request: pytest.FixtureRequest, tree: Path, packs: dict[str, Path]) -> Opener:
    """Opens the same images as a folder, or as a pack in either storage, or of the very files."""
    if request.param == "folder":
        return lambda *a, **k: fastdata.ImageFolder(tree, *a, **k)
    return lambda *a, **k: fastdata.PackedImageFolder(packs[request.param], *a, **k)


def pil_folder(root: Path) -> list[tuple[str, int]]:
    """(key, target) in torchvision's order."""
    classes = sorted(p.name for p in root.iterdir() if p.is_dir())
    found = []
    for target, name in enumerate(classes):
        for directory, _, files in sorted(os.walk(root / name, followlinks=True)):
            relative = Path(directory).relative_to(root).as_posix()
            found += [(f"{relative}/{file}", target) for file in sorted(files)]
    return found


def crops(seed: int | None = 7, size: int = 32) -> dict[str, Any]:
    transform = T.Compose([T.RandomResizedCrop(size), T.RandomHorizontalFlip()])
    return {"transform": transform, "seed": seed}


def same(a: Any, b: Any) -> bool:
    return bool(torch.equal(torch.as_tensor(a[0]), torch.as_tensor(b[0])) and a[1] == b[1])


class TestImageFolderContract:
    def test_samples_pixels_and_targets(self, open_dataset: Opener, tree: Path) -> None:
        ds = open_dataset()
        expected = pil_folder(tree)
        assert len(ds) == len(expected) == 15
        assert list(ds.samples) == list(ds.imgs) == expected
        assert ds.targets.tolist() == [target for _, target in expected]
        for i, (key, target) in enumerate(expected):
            image, found = ds[i]
            pixels = np.asarray(Image.open(tree / key).convert("RGB"))
            np.testing.assert_array_equal(image, pixels)
            assert (image.dtype, found, type(found)) == (np.uint8, target, int)

    def test_classes(self, open_dataset: Opener, tree: Path) -> None:
        ds = open_dataset()
        assert ds.classes == sorted(p.name for p in tree.iterdir())
        assert ds.class_to_idx == {name: i for i, name in enumerate(ds.classes)}

    def test_indexing(self, open_dataset: Opener) -> None:
        ds = open_dataset()
        assert same(ds[-1], ds[14])
        assert same(ds[np.int64(2)], ds[2])
        assert ds.samples[-15] == ds.samples[0]
        assert ds.samples[1:3] == [ds.samples[1], ds.samples[2]]
        for wrong in (15, -16):
            with pytest.raises(IndexError):
                ds[wrong]
            with pytest.raises(IndexError):
                ds.samples[wrong]
            with pytest.raises(IndexError):
                ds.__getitems__([0, wrong])

    def test_a_sample_is_the_callers_own(self, open_dataset: Opener) -> None:
        ds = open_dataset()
        image, _ = ds[0]
        before = image.copy()
        image[:] = 0
        np.testing.assert_array_equal(ds[0][0], before)

    def test_target_transform(self, open_dataset: Opener) -> None:
        ds = open_dataset(target_transform=lambda t: f"class {t}")
        assert ds[14][1] == "class 2"
        assert [t for _, t in ds.__getitems__([0, 14])] == ["class 0", "class 2"]

    def test_transform_may_be_replaced(self, open_dataset: Opener) -> None:
        ds = open_dataset()
        other = copy.copy(ds)
        other.transform = T.Resize((8, 9))
        assert other[0][0].shape == (3, 8, 9)
        assert ds[0][0].shape[2] == 3

    def test_any_callable(self, open_dataset: Opener) -> None:
        assert open_dataset(lambda image: image.shape)[0][0] == open_dataset()[0][0].shape

    def test_same_seed_same_crops_whoever_reads(self, open_dataset: Opener) -> None:
        ds = open_dataset(**crops())
        order = list(range(15))
        expected = [ds[i] for i in order]
        random.Random(0).shuffle(order)
        again = open_dataset(**crops())
        for i in order:
            assert same(again[i], expected[i])
        batch = again.__getitems__(order)
        assert all(same(sample, expected[i]) for sample, i in zip(batch, order, strict=True))

    def test_seed_epoch_and_index_each_change_the_crops(self, open_dataset: Opener) -> None:
        ds, other = open_dataset(**crops()), open_dataset(**crops(seed=8))
        first = [ds[i][0] for i in range(15)]
        assert not all(torch.equal(a, other[i][0]) for i, a in enumerate(first))
        ds.set_epoch(1)
        assert not all(torch.equal(a, ds[i][0]) for i, a in enumerate(first))
        ds.set_epoch(0)
        assert all(torch.equal(a, ds[i][0]) for i, a in enumerate(first))

    @pytest.mark.skipif(find_spec("numba") is None, reason="torch's pixels are a level or two off")
    @pytest.mark.parametrize("size", [(32, 32), (9, 50), (100, 7)])
    def test_crops_are_those_of_pillow(
        self, open_dataset: Opener, tree: Path, size: tuple[int, int]
    ) -> None:
        crop = T.RandomResizedCrop(size)
        ds = open_dataset(T.Compose([crop, T.RandomHorizontalFlip()]), seed=11)
        for epoch in (0, 1, 5):
            ds.set_epoch(epoch)
            for i, (key, _) in enumerate(ds.samples):
                rng = sample_generator(11, epoch, i)
                pixels = np.asarray(Image.open(tree / key).convert("RGB"))
                top, left, height, width = crop.draw_box(*pixels.shape[:2], rng)
                part = pixels[top : top + height, left : left + width]
                expected = resized_by_pillow(part, *size, Image.Resampling.BILINEAR)
                expected = expected[:, ::-1] if rng.random() < 0.5 else expected
                np.testing.assert_array_equal(ds[i][0].permute(1, 2, 0), expected)

    def test_without_a_seed_torch_decides(self, open_dataset: Opener) -> None:
        seeds = []
        for manual in (1, 1, 2):
            torch.manual_seed(manual)
            seeds.append(open_dataset(**crops(seed=None)).seed)
        assert seeds[0] == seeds[1] != seeds[2]

    def test_a_batch_is_one_channels_last_tensor(self, open_dataset: Opener) -> None:
        ds = open_dataset(**crops())
        images, targets = collate(ds.__getitems__(range(15)))
        assert (images.shape, images.dtype) == ((15, 3, 32, 32), torch.uint8)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert targets.tolist() == ds.targets.tolist()
        assert targets.dtype == torch.int64
        plain, _ = default_collate([ds[i] for i in range(15)])
        assert torch.equal(images, plain)

    def test_normalize_gives_float_batches(self, open_dataset: Opener) -> None:
        chain = [T.Resize((20, 30)), T.ToTensor(), T.Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.4])]
        ds = open_dataset(T.Compose(chain))
        images, _ = collate(ds.__getitems__([0, 5]))
        assert (images.dtype, images.shape) == (torch.float32, (2, 3, 20, 30))
        assert torch.equal(images, torch.stack([ds[0][0], ds[5][0]]))

    def test_images_of_different_sizes_stay_a_list(self, open_dataset: Opener) -> None:
        for chain in ([T.Resize(20)], [T.Resize(20), T.ToTensor()]):
            ds = open_dataset(T.Compose(chain))
            batch = ds.__getitems__(range(15))
            assert not isinstance(batch, SampleBatch)
            assert all(same(sample, ds[i]) for i, sample in enumerate(batch))

    def test_foreign_steps_after_geometry(self, open_dataset: Opener) -> None:
        ds = open_dataset(T.Compose([T.Resize((8, 8)), lambda image: image.float() * 2]))
        batch = ds.__getitems__([0, 1])
        assert all(same(sample, ds[i]) for i, sample in enumerate(batch))
        assert batch[0][0].dtype == torch.float32

    def test_pickle_keeps_everything(self, open_dataset: Opener) -> None:
        ds = open_dataset(**crops())
        ds.set_epoch(3)
        expected = [ds[i] for i in range(15)]
        again = pickle.loads(pickle.dumps(ds))
        assert all(same(again[i], sample) for i, sample in enumerate(expected))
        assert (again.classes, again.epoch) == (ds.classes, 3)

    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_processes_after_use_in_the_parent(self, open_dataset: Opener, method: str) -> None:
        if method not in multiprocessing.get_all_start_methods():
            pytest.skip(f"no {method} here")
        ds, twin = open_dataset(**crops()), open_dataset(**crops())
        expected = [ds[i] for i in range(15)]
        assert same(twin[4], expected[4])
        loader = DataLoader(ds, 4, num_workers=2, multiprocessing_context=method)
        found = torch.cat([images for images, _ in loader])
        assert torch.equal(found, torch.stack([image for image, _ in expected]))
        assert same(ds[4], expected[4])

    def test_many_threads(self, open_dataset: Opener) -> None:
        ds = open_dataset(**crops())
        expected = [ds[i] for i in range(15)]
        wrong: list[Any] = []

        def read_all(start: int) -> None:
            try:
                for i in range(60):
                    j = (i * 4 + start) % 15
                    if not same(ds[j], expected[j]):
                        wrong.append(j)
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=read_all, args=(k,)) for k in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_wrappers_of_torch(self, open_dataset: Opener) -> None:
        ds = open_dataset(**crops())
        subset = Subset(ds, [3, 1])
        images, targets = next(iter(DataLoader(subset, 2)))
        assert torch.equal(images, torch.stack([ds[3][0], ds[1][0]]))
        assert targets.tolist() == [ds[3][1], ds[1][1]]

    def test_a_wrong_epoch_or_seed_is_an_error(self, open_dataset: Opener) -> None:
        with pytest.raises(fastdata.OptionError, match="-1"):
            open_dataset().set_epoch(-1)
        with pytest.raises(fastdata.OptionError, match="64-bit"):
            open_dataset(seed=-1)

    def test_repr_says_what_it_is(self, open_dataset: Opener) -> None:
        assert "15 samples, 3 classes" in repr(open_dataset())


def tagged(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    big = np.repeat(np.repeat(pixels, 8, 0), 8, 1)
    Image.fromarray(big).save(path, exif=exif)


@pytest.mark.parametrize("encoding", ["sliceable", "keep", "png", "raw"])
def test_exif_orientation_is_ignored_unless_asked_for(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "src" / "a").mkdir(parents=True)
    for orientation in range(1, 9):
        tagged(tmp_path / "src" / "a" / f"{orientation}.jpg", orientation)
    fastdata.pack_image_folder(tmp_path / "src", tmp_path / "p", encoding=encoding, quiet=True)
    for opened in (fastdata.PackedImageFolder, fastdata.ImageFolder):
        path = tmp_path / ("p" if opened is fastdata.PackedImageFolder else "src")
        stored, upright = opened(path), opened(path, apply_exif_orientation=True)
        centre = opened(path, T.CenterCrop(40), apply_exif_orientation=True)
        for i in range(8):
            image = Image.open(tmp_path / "src" / stored.keys[i])
            np.testing.assert_array_equal(stored[i][0], np.asarray(image))
            turned = np.asarray(ImageOps.exif_transpose(image))
            np.testing.assert_array_equal(upright[i][0], turned)
            top, left = (turned.shape[0] - 40) // 2, (turned.shape[1] - 40) // 2
            expected = turned[top : top + 40, left : left + 40]
            np.testing.assert_array_equal(centre[i][0].permute(1, 2, 0), expected)


@pytest.mark.parametrize("encoding", ["jpeg", "png", "raw"])
def test_reencoded_packs_read_as_what_they_store(
    tree: Path, tmp_path: Path, storage: str, encoding: str
) -> None:
    fastdata.pack_image_folder(
        tree, tmp_path / "p", storage=storage, encoding=encoding, resize_short=16, quiet=True
    )
    count = fastdata.unpack(tmp_path / "p", tmp_path / "out", quiet=True)
    packed, unpacked = (
        fastdata.PackedImageFolder(tmp_path / "p"),
        fastdata.ImageFolder(tmp_path / "out"),
    )
    assert len(packed) == count == 15
    for i in range(15):
        assert min(packed[i][0].shape[:2]) == 16
        assert same(packed[i], unpacked[i])


def test_bad_bytes_name_pack_key_and_reason(packs: dict[str, Path], tmp_path: Path) -> None:
    ds = fastdata.PackedImageFolder(packs["hdf5"])
    good = ds.encoded_image(4)

    class Damaged(fastdata.PackedImageFolder):
        def encoded_image(self, index: int) -> Any:
            return good._replace(data=bytes(good.data)[:100])

    with pytest.raises(fastdata.SampleError) as caught:
        Damaged(packs["hdf5"])[4]
    for part in (str(packs["hdf5"]), "sample 4", ds.keys[4], "damaged, cut off"):
        assert part in str(caught.value)


def test_a_vanished_or_broken_file_is_named(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(b"text")
    (tmp_path / "a" / "y.jpg").write_bytes(b"text")
    ds = fastdata.ImageFolder(tmp_path)
    (tmp_path / "a" / "y.jpg").unlink()
    with pytest.raises(fastdata.SampleError, match=r"a/x\.jpg.*4 bytes that begin with 74 65"):
        ds[0]
    with pytest.raises(fastdata.SampleError, match=r"a/y\.jpg.*(?i:no such file)"):
        ds[1]
    with pytest.raises(fastdata.SampleError, match=r"a/x\.jpg"):
        list(DataLoader(ds, num_workers=1))


def test_a_crop_larger_than_the_image_names_the_sample(tree: Path) -> None:
    ds = fastdata.ImageFolder(tree, T.RandomCrop(5000))
    with pytest.raises(fastdata.SampleError, match=r"5000x5000.*pad_if_needed"):
        ds[0]


def test_a_flat_folder(tree: Path) -> None:
    dataset = fastdata.ImageFolder(tree, flat=True)
    classes = fastdata.ImageFolder(tree)
    assert list(dataset.keys) == list(classes.keys)
    assert dataset.classes == []
    assert set(dataset.targets.tolist()) == {-1}
    image, target = dataset[1]
    np.testing.assert_array_equal(image, classes[1][0])
    assert target == -1
    with pytest.raises(fastdata.OptionError, match="allow_empty is about classes"):
        fastdata.ImageFolder(tree, flat=True, allow_empty=True)
