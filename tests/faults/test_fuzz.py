"""Mutations of packs and of JPEGs: an error of fastdata's own, or the right pixels; nothing else.

All runs in forked children, so that a crash or a hang is seen, and seeds name what caused it.
``FASTDATA_FUZZ`` is the number of mutations of each kind.
"""

from __future__ import annotations

import io
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import images, jpegs
from helpers.children import MUTATIONS, forked
from helpers.images import contents, picture, write_tree
from helpers.mutations import Files, mutated, sign, table_of, write_files, write_table
from PIL import Image

from fastdata import PackedDataset, PackedImageFolder, merge, unpack, verify_pack
from fastdata import transforms as T
from fastdata.errors import DecodeError, FastdataError
from fastdata.images.decode import decode_image, decode_whole, decoded_size, load_kernels
from fastdata.images.encode import EncodeSettings, encode_image
from fastdata.images.opencv import quiet_opencv
from fastdata.images.plan import Box, Plan
from fastdata.images.stored import EncodedImage
from fastdata.packing.pack import pack

MEMORY = 3 << 30  # what an image of the most pixels takes, and some of it twice
BATCH = 250
pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module", autouse=True)
def _kernels() -> None:
    load_kernels()


def in_children(count: int, attempt: Callable[[random.Random, Counter[str]], None]) -> None:
    """Run ``attempt`` for many seeds; a failure tells the seed."""

    def batch(start: int) -> None:
        tally: Counter[str] = Counter()
        with quiet_opencv():
            for seed in range(start, min(start + BATCH, count)):
                print(f"seed {seed}")
                attempt(random.Random(seed), tally)
        print(f"TALLY {dict(tally)}")

    for start in range(0, count, BATCH):
        ended = forked(lambda start=start: batch(start), memory=MEMORY)
        assert ended.code == 0, ended.text[-3000:]
        print(ended.text[ended.text.index("TALLY") :].strip())


class TestJpegs:
    """Damaged JPEGs become a sliceable record, or something with the same pixels, or an error."""

    SOURCES = (
        *[
            jpegs.by_opencv(picture(37, 45), QUALITY=85, SAMPLING_FACTOR=factor)
            for factor in jpegs.SAMPLINGS.values()
        ],
        jpegs.by_opencv(picture(40, 60), PROGRESSIVE=1),
        jpegs.by_opencv(picture(40, 60), RST_INTERVAL=2),
        jpegs.by_pillow(picture(40, 60), "L"),
        jpegs.synthetic(40, 70, ((2, 2), (1, 1), (1, 1)), dense=10),
        jpegs.synthetic(20, 100, ((1, 1), (1, 1), (1, 1)), interval=5),
    )

    def test_any(self) -> None:
        def attempt(rng: random.Random, tally: Counter[str]) -> None:
            data = mutated(rng.choice(self.SOURCES), rng)
            try:
                whole = decode_whole(data)
            except DecodeError:
                for refusing in (EncodeSettings(), EncodeSettings("keep")):
                    with pytest.raises(DecodeError):
                        encode_image(data, refusing)
                tally["refused"] += 1
                return
            assert decoded_size(data) == whole.shape[:2]
            media = encode_image(data, EncodeSettings()).media
            height, width = whole.shape[:2]
            assert (media.height, media.width) == (height, width)
            tally["sliceable" if media.slice_index else "verbatim"] += 1
            stored = EncodedImage(media.data, height, width, slice_index=media.slice_index)
            assert np.array_equal(decode_image(stored), whole)
            for _ in range(3):
                top, left = rng.randrange(height), rng.randrange(width)
                box = Box(top, left, rng.randint(1, height - top), rng.randint(1, width - left))
                part = decode_image(stored, Plan.whole(height, width).crop(box))
                assert np.array_equal(part, whole[top : top + box.height, left : left + box.width])

        in_children(MUTATIONS * 5, attempt)

    def test_damaged_records(self) -> None:
        """What is damaged after it was packed is still read, or refused, without a crash."""
        stored = [encode_image(data, EncodeSettings()).media for data in self.SOURCES]

        def attempt(rng: random.Random, tally: Counter[str]) -> None:
            media = rng.choice(stored)
            index = rng.choice([media.slice_index, media.slice_index, rng.randrange(2**32)])
            image = EncodedImage(
                mutated(media.data, rng), media.height, media.width, slice_index=index
            )
            box = Box(rng.randrange(10), rng.randrange(20), rng.randint(1, 10), rng.randint(1, 25))
            try:
                part = decode_image(image, Plan.whole(media.height, media.width).crop(box))
            except DecodeError:
                tally["refused"] += 1
            else:
                assert part.shape == (box.height, box.width, 3)
                tally["decoded"] += 1

        in_children(MUTATIONS * 5, attempt)


FORMATS = (".png", ".webp", ".bmp", ".tiff", ".gif", ".avif", ".ppm")


def animated_png() -> bytes:
    """Three frames, the first of which is the still image."""
    frames = [Image.fromarray(picture(37, 45, seed)) for seed in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize("suffix", [*FORMATS, "animated"])
def test_other_formats(suffix: str) -> None:
    """They are decoded, to the same pixels again, or refused."""
    data = animated_png() if suffix == "animated" else images.encoded(picture(37, 45), suffix)

    def attempt(rng: random.Random, tally: Counter[str]) -> None:
        bad = mutated(data, rng)
        try:
            first = decode_whole(bad)
        except DecodeError:
            tally["refused"] += 1
        else:
            assert np.array_equal(decode_whole(bad), first)
            tally["decoded"] += 1

    in_children(MUTATIONS // 2, attempt)


def test_an_animation_is_its_still_image() -> None:
    """Of the many ways to damage its pixels, none is taken for an image."""
    data = animated_png()
    assert np.array_equal(decode_whole(data), picture(37, 45))
    start = data.index(b"IDAT") + 4
    for at in range(start, start + 300, 7):
        bad = data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]
        with pytest.raises(DecodeError):
            decode_whole(bad)


class TestPacks:
    """Mutations of any file of a pack."""

    @pytest.fixture(params=["lmdb", "hdf5", "raw", "fields"])
    def pack(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        kind = str(request.param)
        source = write_tree(tmp_path / "source", 2, 4)
        storage = "hdf5" if kind == "hdf5" else "lmdb"
        encoding = "raw" if kind == "raw" else "sliceable"
        options = {"storage": storage, "encoding": encoding, "shard_size": "10kB", "quiet": True}
        samples = _rich(source) if kind == "fields" else _plain(source)
        pack(samples, tmp_path / "pack", classes=["a", "b"], **options)
        return tmp_path / "pack"

    @pytest.mark.parametrize("signed", ["", "files", "records"])
    def test_reading(self, pack: Path, signed: str) -> None:
        """With no checksum made right again, with those of the files, or also those of records."""
        dataset = PackedImageFolder(pack)
        good = {dataset[index][0].tobytes() for index in range(len(dataset))}
        files = contents(pack)

        with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
            place = Path(name) / "pack"

            def attempt(rng: random.Random, tally: Counter[str]) -> None:
                changed = _mutate(files, place, rng, signed)
                _verify(place, changed or bool(signed), tally)
                _read(place, good if signed != "records" else None, rng, tally)
                if rng.random() < 0.1:
                    _take_out(place, Path(name), rng)

            in_children(MUTATIONS // 3 if MUTATIONS < 10_000 else MUTATIONS // 12, attempt)


def _plain(source: Path) -> list[dict[str, object]]:
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    return [
        {"key": path.name, "image": path.read_bytes(), "target": number % 2}
        for number, path in enumerate(paths)
    ]


def _rich(source: Path) -> list[dict[str, object]]:
    """With a field of each kind."""
    samples = _plain(source)
    for number, sample in enumerate(samples):
        image = decode_whole(sample["image"])  # type: ignore[arg-type]
        sample |= {
            "mask": np.full(image.shape[:2], number, np.uint8),
            "boxes": np.array([[1, 2, 3, 4]] * number, "f4").reshape(-1, 4),
            "note": "ä" * number,
            "more": {"list": [number, [1.5]]},
            "ids": np.arange(number + 1),
            "vector": np.ones(3, "f4"),
            "blob": bytes(number),
            "weight": 0.5,
        }
    return samples


def _mutate(files: Files, place: Path, rng: random.Random, signed: str) -> bool:
    """Write the pack with some files mutated; returns whether it differs from what it was."""
    damaged = dict(files)
    names = [name for name in files if not signed or name != "pack.json"]
    weights = [1 if name != "table.npy" else 3 for name in names]
    for name in rng.choices(names, weights, k=rng.choice([1, 1, 2])):
        damaged[name] = mutated(files[name], rng)
    write_files(place, damaged)
    if signed == "files":
        sign(place)
    elif signed == "records":
        try:
            write_table(place, table_of(place), records=True)
        except Exception:  # NumPy has many for what is no table any more
            sign(place)
    return damaged != files


def _verify(place: Path, bad: bool, tally: Counter[str]) -> None:
    try:
        report = verify_pack(place, deep=True, workers=1, quiet=True)
    except FastdataError:
        tally["refused"] += 1
        return
    tally["sound" if report.ok else "found"] += 1
    if bad and not _is_signed(place):
        assert not report.ok, "what was changed has not been found"


def _is_signed(place: Path) -> bool:
    """Whether all files are as pack.json says, so that verifying may have nothing to find."""
    before = (place / "pack.json").read_bytes()
    sign(place)
    same = (place / "pack.json").read_bytes() == before
    (place / "pack.json").write_bytes(before)
    return same


def _read(place: Path, good: set[bytes] | None, rng: random.Random, tally: Counter[str]) -> None:
    crop = T.Compose([T.RandomResizedCrop(16), T.RandomHorizontalFlip()])
    fields = ["image", "target", "key", "index"]
    for make in (
        lambda: PackedImageFolder(place),
        lambda: PackedImageFolder(place, verify="never"),
        lambda: PackedImageFolder(place, crop, verify=rng.choice(["never", "first-read"])),
        lambda: PackedDataset(place, verify="never"),
        lambda: PackedDataset(place, crop, fields=fields),
    ):
        try:
            dataset = make()
            count = len(dataset)
        except FastdataError:
            tally["not opened"] += 1
            continue
        checked = good if dataset.pack.verify != "never" and dataset.transform is None else None
        for index in range(min(count, 20)):
            try:
                sample = dataset[index]
            except FastdataError:
                tally["bad samples"] += 1
                continue
            tally["samples"] += 1
            if checked is not None and isinstance(sample, tuple):
                assert sample[0].tobytes() in checked
        dataset.pack.close()


def _take_out(place: Path, root: Path, rng: random.Random) -> None:
    out = root / str(rng.random())
    try:
        if rng.random() < 0.5:
            unpack(place, out, to=rng.choice(["folder", "tar"]), quiet=True)
        else:
            merge([place], out, quiet=True)
    except FastdataError:
        pass
    outside = {path.name for path in root.iterdir()} - {"pack"}
    assert all(name.startswith(out.name) for name in outside), outside
    for path in root.glob(out.name + "*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
