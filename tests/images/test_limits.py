"""What announces too much is refused before it is inflated."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from helpers.images import encoded, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fastdata.errors import DecodeError
from fastdata.images import limits
from fastdata.images.decode import decode_image, decode_unchanged, decode_whole
from fastdata.images.encode import EncodeSettings, encode_image
from fastdata.images.opencv import quiet_opencv
from fastdata.images.plan import Box, Plan
from fastdata.images.stored import EncodedImage

PIXELS = picture(40, 60)
CROP = Plan.whole(40, 60).crop(Box(3, 4, 30, 40))
SHRUNK = Plan.whole(40, 60).resize(10, 15)


def saved(format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, format_, **options)
    return file.getvalue()


def patched(data: bytes, layout: str, at: int, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, *values)
    return bytes(changed)


def big_png(side: int) -> bytes:
    """A PNG that announces a square, and breaks off after a few of its rows."""
    data = bytearray(patched(encoded(PIXELS, ".png"), ">II", 16, side, side))
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def big_jpeg(side: int, **options: Any) -> bytes:
    data = saved("JPEG", **options)
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return patched(data, ">HH", frame + 5, side, side)


# Whether OpenCV could make anything of these plays no part: it is not asked.
BIG = {
    "png": big_png(16_000),
    "jpeg": big_jpeg(16_000),
    "progressive jpeg": big_jpeg(16_000, progressive=True),
    "gif": patched(saved("GIF"), "<HH", 6, 16_000, 16_000),
    "bmp": patched(saved("BMP"), "<ii", 18, 16_000, 16_000),
    "webp": patched(saved("WEBP"), "<HH", 26, 16_000, 16_000),
    "pnm": b"P6 16000 16000 255\n" + bytes(99),
}


class TestAgainstTheTable:
    @pytest.mark.parametrize("name", BIG)
    @pytest.mark.parametrize("plan", [None, CROP, SHRUNK], ids=["whole", "crop", "shrunk"])
    @pytest.mark.parametrize("reduce", [False, True])
    def test_another_size_is_refused(self, name: str, plan: Plan | None, reduce: bool) -> None:
        for orientation in (1, 3):
            image = EncodedImage(BIG[name], 40, 60, orientation)
            with pytest.raises(DecodeError, match="expected 40x60 pixels, found 16000x16000"):
                decode_image(image, plan, reduce=reduce)

    @pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
    @pytest.mark.parametrize("plan", [None, CROP])
    def test_the_size_of_the_table_is_not(self, format_: str, plan: Plan | None) -> None:
        data = saved(format_)
        result = decode_image(EncodedImage(data, 40, 60), plan)
        whole = decode_whole(data)
        np.testing.assert_array_equal(result, whole if plan is None else whole[3:33, 4:44])


class TestWithoutATable:
    @pytest.mark.parametrize(
        "data",
        [
            big_png(20_000),
            big_jpeg(20_000),
            big_jpeg(20_000, progressive=True),
            patched(saved("BMP"), "<ii", 18, 20_000, 20_000),
            b"P6 20000 20000 255\n" + bytes(99),
        ],
    )
    def test_too_many_pixels(self, data: bytes) -> None:
        calls = [
            lambda: decode_image(EncodedImage(data)),
            lambda: decode_image(EncodedImage(data, 20_000, 20_000)),
            lambda: decode_whole(data),
            lambda: decode_unchanged(data),
            lambda: encode_image(data, EncodeSettings()),
        ]
        for call in calls:
            with pytest.raises(DecodeError, match="at most 268435456 pixels, found 20000x20000"):
                call()

    def test_a_bound_of_ones_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "MOST_PIXELS", 40 * 60)
        assert decode_whole(saved("PNG")).shape == (40, 60, 3)
        monkeypatch.setattr(limits, "MOST_PIXELS", 40 * 60 - 1)
        with pytest.raises(DecodeError, match="at most 2399"):
            decode_whole(saved("PNG"))

    def test_what_only_the_decoder_understands_is_decoded(self) -> None:
        data = saved("TIFF", big_tiff=True)
        assert limits.announced_size(data) is None
        np.testing.assert_array_equal(decode_whole(data), PIXELS)


class TestAnnouncedSize:
    @pytest.mark.parametrize(
        "data",
        [
            saved("JPEG"),
            saved("JPEG", progressive=True),
            saved("JPEG", exif=Image.Exif(), comment=b"\xff\xc0\0\x11\x08\0\1\0\1"),
            saved("JPEG", icc_profile=b"\xff\xc0" * 50_000),
            b"\xff\xd8\xff" + saved("JPEG")[2:],  # fill bytes, which T.81 allows
            saved("PNG"),
            saved("WEBP"),
            saved("TIFF"),
        ],
    )
    def test_is_that_of_the_header(self, data: bytes) -> None:
        assert limits.announced_size(data) == (40, 60)
        assert limits.announced_size(memoryview(data)) == (40, 60)

    @settings(max_examples=50)
    @given(st.data(), st.sampled_from([saved("JPEG"), saved("PNG"), saved("WEBP")]))
    def test_of_any_bytes(self, data: st.DataObject, original: bytes) -> None:
        """Nothing but a size comes out, and never another than the decoder's."""
        changed = bytearray(original)
        for _ in range(data.draw(st.integers(0, 3))):
            changed[data.draw(st.integers(0, 200))] = data.draw(st.integers(0, 255))
        cut = bytes(changed[: data.draw(st.none() | st.integers(0, len(changed)))])
        size = limits.announced_size(cut)
        if size is None or size[0] * size[1] > 1 << 20:
            return
        with quiet_opencv():
            try:
                assert decode_whole(cut).shape[:2] == size
            except DecodeError:
                return
