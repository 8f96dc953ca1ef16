"""Decoders beside OpenCV: the same pixels where they promise them, the same refusals everywhere."""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.images import write_tree
from helpers.jpegs import SAMPLINGS, by_opencv, by_pillow, picture, synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fastdata
from benchmarks.single.decoders import report
from fastdata import DataLoaderX, MissingDependencyError, OptionError, PackedDataset, SampleError
from fastdata import transforms as T
from fastdata.errors import DecodeError
from fastdata.images.decode import decode_image, decode_whole
from fastdata.images.decoders import DECODERS, choose_decoder
from fastdata.images.jpeg import Transcoded, transcode
from fastdata.images.opencv import quiet_opencv
from fastdata.images.plan import Box, Plan
from fastdata.images.stored import EncodedImage

pytest.importorskip("simplejpeg", reason="extra turbo")

RGB = picture(67, 93)


def cmyk() -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).convert("CMYK").save(file, "JPEG")
    return file.getvalue()


JPEGS = {
    **{f"4{n[1]}{n[2]}": by_opencv(RGB, SAMPLING_FACTOR=value) for n, value in SAMPLINGS.items()},
    "progressive": by_opencv(RGB, PROGRESSIVE=1),
    "restart markers": by_opencv(RGB, RST_INTERVAL=3),
    "grey": by_pillow(picture(67, 93, 1), "L"),
    "RGB without transform": by_pillow(RGB, keep_rgb=True),
    "CMYK": cmyk(),
    "odd factors": synthetic(45, 70, ((2, 1), (1, 1), (1, 1))),
    "vertical factors": synthetic(45, 70, ((1, 2), (1, 1), (1, 1))),
    "one pixel": by_opencv(RGB[:1, :1]),
    "bytes behind the end": by_opencv(RGB) + b"behind",
}


def outcome(data: bytes, decoder: str) -> Any:
    """Pixels as nested lists, or the message of the refusal."""
    try:
        with quiet_opencv():
            return decode_whole(data, decoder=decoder).tolist()
    except DecodeError as error:
        return str(error)


@pytest.mark.parametrize("kind", JPEGS)
def test_turbo_gives_the_pixels_of_opencv(kind: str) -> None:
    found = decode_whole(JPEGS[kind], decoder="turbo")
    np.testing.assert_array_equal(found, decode_whole(JPEGS[kind]))
    assert found.flags.writeable
    assert found.flags.c_contiguous


@pytest.mark.parametrize("kind", [k for k in JPEGS if k != "CMYK"])
def test_turbo_decodes_them_itself(kind: str) -> None:
    assert DECODERS["turbo"](JPEGS[kind]) is not None


@settings(max_examples=50)
@given(st.data())
def test_slices_have_the_same_pixels(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(16, 200)), data.draw(st.integers(16, 200))
    sampling = SAMPLINGS[data.draw(st.sampled_from(sorted(SAMPLINGS)))]
    pixels = picture(height, width)
    made = transcode(by_opencv(pixels, SAMPLING_FACTOR=sampling))
    assert isinstance(made, Transcoded)
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    box = Box(top, left, min(rows, height - top), min(columns, width - left))
    image = EncodedImage(made.record, height, width, slice_index=made.index_offset)
    plan = Plan.whole(height, width).crop(box)
    expected = decode_whole(made.record)[top : top + box.height, left : left + box.width]
    np.testing.assert_array_equal(decode_image(image, plan, decoder="turbo"), expected)


@settings(max_examples=50)
@given(st.sampled_from(sorted(JPEGS)), st.data())
def test_damage_is_accepted_or_refused_as_by_opencv(kind: str, draw: st.DataObject) -> None:
    data = bytearray(JPEGS[kind])
    for _ in range(draw.draw(st.integers(0, 3))):
        data[draw.draw(st.integers(2, len(data) - 1))] = draw.draw(st.integers(0, 255))
    cut = bytes(data[: draw.draw(st.integers(3, len(data)))])
    assert outcome(cut, "turbo") == outcome(cut, "opencv")


def test_turbo_fast_is_near(tmp_path: Path) -> None:
    """A fast inverse DCT is off by little; repeated chroma shows at the edges of colours only."""
    for kind in ("444", "420"):
        exact = decode_whole(JPEGS[kind]).astype(int)
        fast = decode_whole(JPEGS[kind], decoder="turbo-fast")
        assert fast.shape == exact.shape
        assert np.abs(exact - fast).mean() < (2 if kind == "444" else 12)
        assert (exact != fast).any()


class TestChoice:
    def test_names(self) -> None:
        assert [choose_decoder(name, decode_whole) for name in DECODERS] == list(DECODERS)
        with pytest.raises(OptionError, match="one of opencv, turbo, turbo-fast, auto; got 'pil'"):
            choose_decoder("pil", decode_whole)

    def test_auto_is_turbo_where_pixels_agree(self) -> None:
        assert choose_decoder("auto", decode_whole) == "turbo"

    def test_auto_is_opencv_where_any_pixel_differs(self) -> None:
        def other(data: bytes | memoryview) -> Any:
            pixels = decode_whole(data)
            pixels[-1, -1, -1] ^= 1
            return pixels

        assert choose_decoder("auto", other) == "opencv"

    def test_without_simplejpeg(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tree = write_tree(tmp_path / "src", 1, 1)
        monkeypatch.setitem(sys.modules, "simplejpeg", None)
        assert fastdata.ImageFolder(tree, decoder="auto").decoder == "opencv"
        with pytest.raises(MissingDependencyError, match="'turbo' needs simplejpeg: pip install"):
            fastdata.ImageFolder(tree, decoder="turbo")


class TestDatasets:
    @pytest.fixture(params=["folder", "sliceable", "keep", "jpeg", "png"])
    def path(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        tree = write_tree(tmp_path / "src", 2, 4, sizes=((140, 160), (300, 90)))
        if request.param == "folder":
            return tree
        pack = tmp_path / "a.pack"
        fastdata.pack_image_folder(tree, pack, encoding=request.param, quiet=True)
        return pack

    def opened(self, path: Path, **options: Any) -> Any:
        packed = (path / "pack.json").exists()
        kind: Any = fastdata.PackedImageFolder if packed else fastdata.ImageFolder
        return kind(path, **options)

    @pytest.mark.parametrize("transform", [None, T.RandomResizedCrop(32)], ids=["whole", "crop"])
    def test_the_same_pixels(self, path: Path, transform: Any) -> None:
        exact = self.opened(path, transform=transform, seed=1)
        turbo = self.opened(path, transform=transform, seed=1, decoder="turbo")
        for (one, _), (other, _) in zip(exact, turbo, strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))

    def test_workers_inherit_it(self, path: Path) -> None:
        fast = self.opened(path, transform=T.Resize((64, 64)), decoder="turbo-fast")
        assert pickle.loads(pickle.dumps(fast)).decoder == "turbo-fast"
        (images, _), *_ = DataLoaderX(fast, 8, num_workers=1)
        for image, (expected, _) in zip(images, fast, strict=True):
            np.testing.assert_array_equal(image, expected)


def test_other_images_go_to_opencv(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "src", 1, 3, formats=(".png", ".webp", ".bmp"))
    exact, turbo = fastdata.ImageFolder(tree), fastdata.ImageFolder(tree, decoder="turbo-fast")
    for (one, _), (other, _) in zip(exact, turbo, strict=True):
        np.testing.assert_array_equal(one, other)


def test_fields_and_damage(tmp_path: Path) -> None:
    samples = [{"image": JPEGS["420"], "target": 0}, {"image": JPEGS["444"], "target": 0}]
    path = tmp_path / "a.pack"
    fastdata.pack(samples, path, fields={"image": "image", "target": "int"}, quiet=True)
    found = PackedDataset(path, decoder="auto", verify="never")
    assert found.decoder == "turbo"
    np.testing.assert_array_equal(found[0]["image"], decode_whole(JPEGS["420"]))
    offset, size = (found.pack.table[name].item(1) for name in ("offset", "bytes"))
    found.pack.close()
    with (path / "shard-00000.lmdb").open("r+b") as file:
        file.seek(offset + size // 2)
        file.write(bytes(size - size // 2))
    with quiet_opencv():
        for decoder in ("opencv", "turbo"):
            damaged = PackedDataset(path, decoder=decoder, verify="never")
            with pytest.raises(SampleError, match="damaged, cut off"):
                damaged[1]


def test_the_benchmark_compares_all() -> None:
    files = [JPEGS["420"], by_opencv(picture(200, 300))]
    rows = [line.strip("| ").split(" | ") for line in report(files, 1).splitlines()]
    assert [row[0] for row in rows[2:]] == list(DECODERS)
    assert rows[3][5:] == ["0", "0.000", "0.0%"]  # turbo
    assert int(rows[4][5]) > 0
