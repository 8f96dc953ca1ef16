"""Encoding "sliceable" from end to end: the very pixels of the files, from a part of the record."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers import jpegs
from helpers.images import contents, resized_by_pillow
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from torch.utils.data import DataLoader

import fastdata
from fastdata import transforms as T
from fastdata.errors import DecodeError
from fastdata.images.decode import decode_whole
from fastdata.store import PackReader
from fastdata.transforms.randomness import sample_generator

pytest.importorskip("numba")

Pixels = NDArray[np.uint8]
ORIENTATION = 0x0112
VERBATIM = {"b/progressive.jpg": "progressive JPEG", "b/rgb.png": "not a JPEG file"}
CUT = "a/420.jpg"  # 399 × 333 pixels: the file that is damaged


def files() -> dict[str, bytes]:
    """Small photographs of every kind, by name."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "maker"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    sampled = {
        f"a/{name}.jpg": jpegs.by_opencv(
            jpegs.picture(height, width), SAMPLING_FACTOR=jpegs.SAMPLINGS[name], QUALITY=92
        )
        for name, height, width in [
            ("444", 301, 397), ("420", 399, 333), ("422", 250, 400), ("440", 311, 280),
            ("411", 223, 391),
        ]
    }  # fmt: skip
    done, png = cv2.imencode(".png", jpegs.picture(180, 231))
    assert done
    return sampled | {
        "a/grey.jpg": jpegs.by_pillow(jpegs.picture(257, 389), "L", quality=90),
        "a/small.jpg": jpegs.by_opencv(jpegs.picture(17, 23)),
        "b/optimised.jpg": jpegs.by_opencv(jpegs.picture(340, 260), OPTIMIZE=1, QUALITY=75),
        "b/progressive.jpg": jpegs.by_opencv(jpegs.picture(211, 301), PROGRESSIVE=1),
        "b/restarts.jpg": jpegs.by_opencv(jpegs.picture(240, 320), RST_INTERVAL=5),
        "b/rgb.png": png.tobytes(),
        "c/turned.jpg": jpegs.by_pillow(
            jpegs.picture(260, 355), quality=93, subsampling=2, exif=exif, icc_profile=icc
        ),
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name, data in files().items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.fixture(scope="module")
def packs(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One pack in each storage, of several shards."""
    base = tmp_path_factory.mktemp("packs")
    for name in ("lmdb", "hdf5"):
        fastdata.pack_image_folder(tree, base / name, storage=name, shard_size="300kB", quiet=True)
        assert len(PackReader(base / name).manifest.shards) > 1
    return {name: base / name for name in ("lmdb", "hdf5")}


@pytest.fixture
def packed(packs: dict[str, Path], storage: str) -> Path:
    return packs[storage]


def place_of(path: Path, key: str) -> int:
    return list(PackReader(path).keys).index(key)


def record_of(path: Path, key: str) -> bytes:
    reader = PackReader(path)
    try:
        return bytes(reader.read(list(reader.keys).index(key)))
    finally:
        reader.close()


def pil_pixels(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def differing(one: Any, other: Any) -> list[str]:
    """Keys of the samples that two datasets disagree about."""
    return [
        key
        for i, (key, _) in enumerate(one.samples)
        if not torch.equal(one[i][0], other[i][0]) or one[i][1] != other[i][1]
    ]


class TestPixels:
    def test_whole_images_are_those_of_the_files(self, packed: Path, tree: Path) -> None:
        ds = fastdata.PackedImageFolder(packed)
        assert {key for key, _ in ds.samples} == set(contents(tree))
        for i, (key, _) in enumerate(ds.samples):
            data = (tree / key).read_bytes()
            np.testing.assert_array_equal(ds[i][0], decode_whole(data))
            np.testing.assert_array_equal(ds[i][0], pil_pixels(data))

    @pytest.mark.parametrize(
        "transform",
        [
            T.RandomResizedCrop(96),
            T.RandomResizedCrop(64, scale=(0.01, 0.1)),
            T.RandomResizedCrop((40, 70), antialias=False),
            T.RandomResizedCrop(48, interpolation="bicubic"),
            T.RandomResizedCrop(48, interpolation="nearest"),
            T.RandomCrop(60, pad_if_needed=True),
            T.RandomCrop((200, 9), padding=5, padding_mode="reflect", pad_if_needed=True),
            T.CenterCrop(80),
            T.CenterCrop((1, 1)),
            T.Resize(50),
            T.Compose([T.Resize(120), T.CenterCrop(100)]),
            T.Compose([T.CenterCrop(90), T.Resize((33, 44)), T.RandomCrop(20)]),
            T.Compose([T.RandomResizedCrop(56), T.RandomHorizontalFlip(), T.RandomVerticalFlip()]),
            T.Compose([T.RandomVerticalFlip(1.0), T.RandomHorizontalFlip(1.0), T.RandomCrop(17)]),
        ],
        ids=repr,
    )
    def test_every_sample_is_that_of_the_folder(
        self, packed: Path, tree: Path, transform: Any
    ) -> None:
        ds = fastdata.PackedImageFolder(packed, transform, seed=5)
        folder = fastdata.ImageFolder(tree, transform, seed=5)
        for epoch in range(4):
            ds.set_epoch(epoch)
            folder.set_epoch(epoch)
            assert differing(ds, folder) == []

    def test_batches_are_those_of_the_folder(self, packed: Path, tree: Path) -> None:
        transform = T.Compose([T.RandomResizedCrop(80), T.RandomHorizontalFlip()])
        loaders = [
            fastdata.DataLoaderX(opened(path, transform, seed=3), 5)
            for opened, path in (
                (fastdata.PackedImageFolder, packed), (fastdata.ImageFolder, tree),
            )
        ]  # fmt: skip
        for _epoch in range(2):
            for (images, targets), (others, wanted) in zip(*loaders, strict=True):
                assert torch.equal(images, others)
                assert torch.equal(targets, wanted)

    def test_random_resized_crops_are_those_of_pillow(self, packed: Path, tree: Path) -> None:
        crop = T.RandomResizedCrop(112)
        ds = fastdata.PackedImageFolder(packed, crop, seed=9)
        for epoch in range(3):
            ds.set_epoch(epoch)
            for i, (key, _) in enumerate(ds.samples):
                pixels = pil_pixels((tree / key).read_bytes())
                rng = sample_generator(9, epoch, i)
                top, left, height, width = crop.draw_box(*pixels.shape[:2], rng)
                part = pixels[top : top + height, left : left + width]
                expected = resized_by_pillow(part, 112, 112, Image.Resampling.BILINEAR)
                np.testing.assert_array_equal(ds[i][0].permute(1, 2, 0), expected)

    def test_orientation_is_applied_when_asked_for(self, packed: Path, tree: Path) -> None:
        key = "c/turned.jpg"
        image = ImageOps.exif_transpose(Image.open(io.BytesIO((tree / key).read_bytes())))
        upright = np.asarray(image)
        assert upright.shape == (355, 260, 3)
        i = place_of(packed, key)
        whole = fastdata.PackedImageFolder(packed, apply_exif_orientation=True)
        np.testing.assert_array_equal(whole[i][0], upright)
        centre = fastdata.PackedImageFolder(packed, T.CenterCrop(55), apply_exif_orientation=True)
        top, left = round((355 - 55) / 2), round((260 - 55) / 2)
        expected = upright[top : top + 55, left : left + 55]
        np.testing.assert_array_equal(centre[i][0].permute(1, 2, 0), expected)
        options: dict[str, Any] = {"seed": 2, "apply_exif_orientation": True}
        crops = fastdata.PackedImageFolder(packed, T.RandomResizedCrop(64), **options)
        folder = fastdata.ImageFolder(tree, T.RandomResizedCrop(64), **options)
        assert differing(crops, folder) == []


class TestRecords:
    def test_the_report_counts_what_is_decoded_whole(
        self, storage: str, tree: Path, tmp_path: Path
    ) -> None:
        src = shutil.copytree(tree, tmp_path / "src")
        shutil.copy(src / "b" / "rgb.png", src / "c" / "again.png")
        report = fastdata.pack_image_folder(src, tmp_path / "p", storage=storage, quiet=True)
        assert report.verbatim == {"progressive JPEG": 1, "not a JPEG file": 2}
        assert (
            "not sliceable, so decoded whole: 2 (not a JPEG file), 1 (progressive JPEG)"
            in str(report).splitlines()
        )

    def test_no_report_line_where_all_are_sliceable(self, tree: Path, tmp_path: Path) -> None:
        shutil.copytree(tree / "a", tmp_path / "src" / "a")
        report = fastdata.pack_image_folder(tmp_path / "src", tmp_path / "p", quiet=True)
        assert report.verbatim == {}
        assert "sliceable" not in str(report)

    def test_the_table_knows_which_they_are(self, packed: Path, tree: Path) -> None:
        reader = PackReader(packed)
        whole = {key for key, at in zip(reader.keys, reader.slice_indices, strict=True) if not at}
        assert whole == set(VERBATIM)
        for key in VERBATIM:
            assert record_of(packed, key) == (tree / key).read_bytes()

    def test_records_are_jpeg_files_of_about_the_same_size(self, packed: Path, tree: Path) -> None:
        for key, source in contents(tree).items():
            record = record_of(packed, key)
            np.testing.assert_array_equal(pil_pixels(record), pil_pixels(source))
            assert len(record) < 1.1 * len(source) + 500

    def test_unpacking_gives_files_with_the_same_pixels(
        self, packed: Path, tree: Path, tmp_path: Path
    ) -> None:
        assert fastdata.unpack(packed, tmp_path / "out", quiet=True) == len(contents(tree))
        found = contents(tmp_path / "out")
        assert set(found) == set(contents(tree))
        for key, data in found.items():
            source = Image.open(io.BytesIO((tree / key).read_bytes()))
            image = Image.open(io.BytesIO(data))
            assert (image.format, image.mode) == (source.format, source.mode)
            np.testing.assert_array_equal(np.asarray(image), np.asarray(source))
        turned = Image.open(io.BytesIO(found["c/turned.jpg"]))
        source = Image.open(io.BytesIO((tree / "c" / "turned.jpg").read_bytes()))
        assert dict(turned.getexif()) == dict(source.getexif())
        assert turned.getexif()[ORIENTATION] == 6
        assert turned.info["icc_profile"] == source.info["icc_profile"]

    def test_packing_what_was_unpacked_gives_the_same_pack(
        self, packed: Path, storage: str, tmp_path: Path
    ) -> None:
        fastdata.unpack(packed, tmp_path / "out", quiet=True)
        again = tmp_path / "again"
        fastdata.pack_image_folder(
            tmp_path / "out", again, storage=storage, shard_size="300kB", quiet=True
        )
        assert contents(again) == contents(packed)

    def test_a_sound_pack_verifies(self, packed: Path) -> None:
        assert fastdata.verify_pack(packed, quiet=True).ok

    @pytest.mark.parametrize("options", [{}, {"quality": 97}, {"resize_short": 200}])
    def test_reencoded_jpegs_are_sliceable_too(
        self, storage: str, tree: Path, tmp_path: Path, options: dict[str, Any]
    ) -> None:
        path = tmp_path / "p"
        report = fastdata.pack_image_folder(
            tree, path, storage=storage, encoding="jpeg", quiet=True, **options
        )
        assert report.verbatim == {}
        reader = PackReader(path)
        assert (reader.slice_indices > 0).all()
        crop = T.RandomCrop(70, pad_if_needed=True)
        ds = fastdata.PackedImageFolder(path, crop, seed=1)
        for i, (key, _) in enumerate(ds.samples):
            whole = decode_whole(record_of(path, key))
            assert whole.shape[:2] == (reader.heights[i], reader.widths[i])
            expected = crop.apply(whole, sample_generator(1, 0, i))
            assert torch.equal(ds[i][0], expected)


def rewritten(packed: Path, copy: Path, change: Any) -> Path:
    """A copy of a pack in which ``change`` was applied to the record of ``CUT``, in place."""
    shutil.copytree(packed, copy)
    record = record_of(packed, CUT)
    damaged = bytearray(record)
    index = int(PackReader(packed).slice_indices[place_of(packed, CUT)])
    change(damaged, index)
    assert len(damaged) == len(record)
    assert damaged != record
    shards = [path for path in copy.glob("shard*") if record in path.read_bytes()]
    assert len(shards) == 1
    shards[0].write_bytes(shards[0].read_bytes().replace(record, damaged))
    assert record_of(copy, CUT) == damaged
    return copy


def number(data: bytes | bytearray, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def scan_of(data: bytes | bytearray, index: int) -> int:
    """Where a record's scan begins."""
    return index + number(data, index + 29, 4)


def restart_markers(data: bytearray, index: int) -> Iterator[int]:
    for at in range(scan_of(data, index), len(data) - 1):
        if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7:
            yield at


def another_marker(data: bytearray, index: int) -> None:
    for at in restart_markers(data, index):
        data[at + 1] ^= 1


def no_marker(data: bytearray, index: int) -> None:
    for at in restart_markers(data, index):
        data[at : at + 2] = b"\xff\0"


def other_signature(data: bytearray, index: int) -> None:
    data[index + 4] ^= 0x20


def other_interval_length(data: bytearray, index: int) -> None:
    data[index + 38] ^= 1


def shifted_lengths(data: bytearray, index: int) -> None:
    """The sum stays right, so that only the markers tell."""
    for at in range(index + 37, index + 2 + number(data, index + 2, 2) - 3, 4):
        data[at + 1] = (data[at + 1] + 1) % 256
        data[at + 3] = (data[at + 3] - 1) % 256


def other_size(data: bytearray, index: int) -> None:
    data[index + 22] ^= 1


def other_frame(data: bytearray, index: int) -> None:
    data[index + number(data, index + 25, 4) + 6] ^= 1


def scan_elsewhere(data: bytearray, index: int) -> None:
    data[index + 29 : index + 33] = b"\xff\xff\xff\xf0"


DAMAGE = [
    another_marker, no_marker, other_signature, other_interval_length, shifted_lengths, other_size,
    other_frame, scan_elsewhere,
]  # fmt: skip


class TestDamage:
    @pytest.mark.parametrize("change", DAMAGE)
    def test_pack_and_key_are_named(self, packed: Path, tmp_path: Path, change: Any) -> None:
        path = rewritten(packed, tmp_path / "p", change)
        ds = fastdata.PackedImageFolder(path, T.CenterCrop(100), verify="never")
        i = place_of(path, CUT)
        with pytest.raises(fastdata.SampleError, match=r"CRC-32"):
            fastdata.PackedImageFolder(path, T.CenterCrop(100))[i]
        with pytest.raises(fastdata.SampleError) as caught:
            ds[i]
        for part in (str(path), f"sample {i} ({CUT!r})", "index"):
            assert part in str(caught.value)
        with pytest.raises(fastdata.SampleError, match="420"):
            ds.__getitems__([0, i])
        sound = fastdata.PackedImageFolder(packed, T.CenterCrop(100))
        others = [key for key in differing_or_failing(ds, sound) if key != CUT]
        assert others == []

    @pytest.mark.parametrize("change", DAMAGE)
    def test_verifying_finds_it(self, packed: Path, tmp_path: Path, change: Any) -> None:
        path = rewritten(packed, tmp_path / "p", change)
        problems = fastdata.verify_pack(path, quiet=True).problems
        assert [line for line in problems if line.startswith("sample ")] == [
            line for line in problems if CUT in line
        ]
        assert len(problems) == 2  # the sample and its shard

    @pytest.mark.parametrize("place", [1, 2, 19, 21, 300, 30_000, 2**31, 2**32 - 1])
    def test_a_wrong_place_of_the_index_in_the_table(
        self, packed: Path, tmp_path: Path, place: int
    ) -> None:
        path = Path(shutil.copytree(packed, tmp_path / "p"))
        table = np.load(path / "table.npy")
        i = place_of(path, CUT)
        assert table["slice_index"][i] == 20  # after the start of the image, and JFIF's segment
        table["slice_index"][i] = place
        np.save(path / "table.npy", table)
        with pytest.raises(fastdata.SampleError, match=r"420\.jpg.*index"):
            fastdata.PackedImageFolder(path, T.CenterCrop(100))[i]

    def test_any_bytes_at_all_give_pixels_or_an_error(self, packed: Path) -> None:
        i = place_of(packed, CUT)
        record = record_of(packed, CUT)
        index = int(PackReader(packed).slice_indices[i])
        rng = np.random.default_rng(0)

        class Damaged(fastdata.PackedImageFolder):
            def encoded_image(self, index: int) -> Any:
                return super().encoded_image(index)._replace(data=self.data)

        ds = Damaged(packed, T.RandomResizedCrop(32), seed=0)
        failed = 0
        for k in range(300):
            data = bytearray(record)
            limit = [index + 80, scan_of(record, index), len(record)][k % 3]
            for at in rng.integers(0, limit, 1 + k % 4):
                data[at] = int(rng.choice([0, 1, 0x7F, 0xD0, 0xFE, 0xFF]))
            ds.data = bytes(data[: len(data) - (k % 7 == 0) * int(rng.integers(1, len(data)))])
            ds.set_epoch(k)
            try:
                assert ds[i][0].shape == (3, 32, 32)
            except fastdata.SampleError as error:
                failed += CUT in str(error)
        assert 0 < failed < 300


def differing_or_failing(one: Any, other: Any) -> list[str]:
    found = []
    for i, (key, _) in enumerate(one.samples):
        try:
            same = torch.equal(one[i][0], other[i][0])
        except fastdata.SampleError:
            same = False
        found += [] if same else [key]
    return found


def garbage_at_the_top(data: bytearray, index: int) -> None:
    """The upper third of the image is gone, and a decoder that reads it meets an end marker."""
    scan = scan_of(data, index)
    stop = scan + (len(data) - scan) // 4
    noise = np.random.default_rng(0).integers(1, 255, stop - scan, np.uint8)
    data[scan:stop] = b"\xff\xd9" + noise[2:].tobytes()
    data[stop - 1], data[stop] = 1, 1  # no marker of the rest is to be cut in two


def test_only_the_part_that_is_needed_is_read(packed: Path, tree: Path, tmp_path: Path) -> None:
    path = rewritten(packed, tmp_path / "p", garbage_at_the_top)
    i = place_of(path, CUT)
    source = pil_pixels((tree / CUT).read_bytes())
    top, left = round((399 - 90) / 2), round((333 - 90) / 2)
    expected = source[top : top + 90, left : left + 90]
    try:
        whole = decode_whole(record_of(path, CUT))[top : top + 90, left : left + 90]
    except DecodeError:
        whole = np.zeros_like(expected)
    assert not np.array_equal(whole, expected)  # so it cannot come from the whole image
    found = fastdata.PackedImageFolder(path, T.CenterCrop(90), verify="never")[i][0]
    np.testing.assert_array_equal(found.permute(1, 2, 0), expected)


class TestWorkers:
    @pytest.mark.parametrize("method", ["fork", "spawn"])
    @pytest.mark.parametrize("used_before", [False, True])
    def test_processes(self, packed: Path, tree: Path, method: str, used_before: bool) -> None:
        if method == "fork" and not hasattr(os, "fork"):
            pytest.skip("no fork here")
        folder = fastdata.ImageFolder(tree, T.RandomResizedCrop(72), seed=4)
        expected = torch.stack([image for image, _ in folder])
        ds = fastdata.PackedImageFolder(packed, T.RandomResizedCrop(72), seed=4)
        if used_before:
            assert torch.equal(ds[0][0], expected[0])
        loader = DataLoader(ds, 4, num_workers=2, multiprocessing_context=method)
        assert torch.equal(torch.cat([images for images, _ in loader]), expected)

    @pytest.mark.parametrize("worker_type", ["process", "thread"])
    def test_our_loader(self, packed: Path, tree: Path, worker_type: str) -> None:
        folder = fastdata.ImageFolder(tree, T.RandomResizedCrop(72), seed=4)
        ds = fastdata.PackedImageFolder(packed, T.RandomResizedCrop(72), seed=4)
        loader = fastdata.DataLoaderX(ds, 3, num_workers=2, worker_type=worker_type)
        for epoch in range(3):
            folder.set_epoch(epoch)
            expected = torch.stack([image for image, _ in folder])
            assert torch.equal(torch.cat([images for images, _ in loader]), expected)


WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None
import numpy as np, torch
import fastdata
from fastdata import transforms as T

tree, packed, made, wanted = sys.argv[1:]

def stacked(ds):
    images = list(ds)
    return torch.stack([image for image, _ in images]).numpy()

print("packing", file=sys.stderr)
report = fastdata.pack_image_folder(tree, made, quiet=True)
print(report.verbatim)
print("reading", file=sys.stderr)
crop = T.RandomCrop(64, pad_if_needed=True)
found = {"crop": stacked(fastdata.PackedImageFolder(packed, crop, seed=6))}
found["resized"] = stacked(fastdata.PackedImageFolder(packed, T.RandomResizedCrop(64), seed=6))
found["plain"] = stacked(
    fastdata.PackedImageFolder(packed, T.RandomResizedCrop(64, antialias=False), seed=6)
)
loaded = fastdata.PackedImageFolder(packed, T.RandomResizedCrop(64), seed=6)
for kind in ("process", "thread"):
    loaded.set_epoch(0)
    loader = fastdata.DataLoaderX(loaded, 4, num_workers=2 * (kind == "thread"), worker_type=kind)
    found[kind] = torch.cat([images for images, _ in loader]).numpy()
np.savez(wanted, **found)
"""


@pytest.fixture(scope="module")
def done(
    tree: Path, packs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, str]:
    """Where a process without numba worked, and what it printed."""
    place = tmp_path_factory.mktemp("without")
    command = [sys.executable, "-c", WITHOUT_NUMBA, tree, packs["lmdb"]]
    done = subprocess.run(
        [*command, place / "made", place / "found.npz"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place, done.stdout, done.stderr


class TestWithoutNumba:
    def test_packing_warns_once_and_keeps_the_files(
        self, done: tuple[Path, str, str], tree: Path
    ) -> None:
        place, out, err = done
        told, _, _ = err.partition("reading")
        assert told.count("numba cannot be imported, so files are packed as they are") == 1
        assert told.count("Warning") == 1
        assert "pip install numba" in told
        assert out == "{}\n"
        reader = PackReader(place / "made")
        assert reader.manifest.encoding == {"name": "keep"}
        assert not reader.slice_indices.any()
        records = {key: bytes(reader.read(i)) for i, key in enumerate(reader.keys)}
        assert records == contents(tree)

    def test_reading_warns_once(self, done: tuple[Path, str, str]) -> None:
        _, _, told = done[2].partition("reading")
        assert told.count("numba cannot be imported, so images are decoded whole") == 1
        assert told.count("Warning") == 1

    def test_the_pixels_are_the_same(self, done: tuple[Path, str, str], tree: Path) -> None:
        found = np.load(done[0] / "found.npz")
        crop = T.RandomCrop(64, pad_if_needed=True)
        plain = T.RandomResizedCrop(64, antialias=False)
        for name, transform in (("crop", crop), ("plain", plain)):
            folder = fastdata.ImageFolder(tree, transform, seed=6)
            expected = torch.stack([image for image, _ in folder]).numpy()
            np.testing.assert_array_equal(found[name], expected)

    def test_antialiased_resizing_stays_within_two_levels(
        self, done: tuple[Path, str, str], tree: Path
    ) -> None:
        found = np.load(done[0] / "found.npz")
        folder = fastdata.ImageFolder(tree, T.RandomResizedCrop(64), seed=6)
        expected = torch.stack([image for image, _ in folder]).numpy()
        for name in ("resized", "process", "thread"):
            assert np.abs(found[name].astype(int) - expected).max() <= 2
