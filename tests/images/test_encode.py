"""encode: what a pack stores of an image, and the options that exclude each other."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from helpers.images import encoded, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fastdata.errors import DecodeError, OptionError
from fastdata.images.decode import decode_image, decode_whole
from fastdata.images.encode import EncodeSettings, encode_image
from fastdata.images.header import orientation_of
from fastdata.images.stored import EncodedImage, StoredMedia


def encode(data: bytes, chosen: EncodeSettings) -> StoredMedia:
    return encode_image(data, chosen).media


def with_orientation(orientation: int, height: int = 40, width: int = 60) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(picture(height, width)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def read(record: StoredMedia, encoding: str, upright: bool = False) -> Any:
    orientation = record.orientation if upright else 1
    size = record.height, record.width
    return decode_image(EncodedImage(record.data, *size, orientation, encoding == "raw"))


class TestSettings:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"encoding": "gif"}, "be one of sliceable, keep, jpeg, png, raw; got 'gif'"),
            ({"check": "none"}, "check must be one of decode, header; got 'none'"),
            ({"encoding": "raw", "resize_short": 9, "max_side": 9}, "exclude each other"),
            ({"encoding": "raw", "resize_short": 0}, ">= 1"),
            ({"encoding": "raw", "max_side": -5}, ">= 1"),
            ({"resize_short": 9}, "'sliceable'.*cannot resize.*jpeg, png or raw"),
            ({"max_side": 9}, "'sliceable'.*cannot resize"),
            ({"encoding": "keep", "resize_short": 9}, "'keep'.*cannot resize.*jpeg, png or raw"),
            ({"encoding": "keep", "max_side": 9}, "'keep'.*cannot resize"),
            ({"quality": 90}, "quality applies to encoding 'jpeg' only, not to 'sliceable'"),
            ({"encoding": "keep", "quality": 90}, "not to 'keep'"),
            ({"encoding": "png", "quality": 90}, "not to 'png'"),
            ({"encoding": "jpeg", "quality": 0}, "1 to 100, got 0"),
            ({"encoding": "jpeg", "quality": 101}, "1 to 100, got 101"),
            ({"encoding": "jpeg", "check": "header"}, "'header' does not decode.*'jpeg' has to"),
            ({"encoding": "raw", "check": "header"}, "'raw' has to"),
            ({"check": "header"}, "'header' .*'sliceable' has to: choose encoding keep"),
        ],
    )
    def test_contradictions(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            EncodeSettings(**options)

    @pytest.mark.parametrize(
        ("options", "described"),
        [
            ({}, {"name": "sliceable"}),
            ({"encoding": "keep"}, {"name": "keep"}),
            ({"encoding": "keep", "check": "header"}, {"name": "keep"}),
            ({"encoding": "jpeg"}, {"name": "jpeg", "quality": 90}),
            ({"encoding": "jpeg", "quality": 1}, {"name": "jpeg", "quality": 1}),
            ({"encoding": "png", "max_side": 1}, {"name": "png", "max_side": 1}),
            ({"encoding": "raw", "resize_short": 256}, {"name": "raw", "resize_short": 256}),
        ],
    )
    def test_description(self, options: dict[str, Any], described: dict[str, Any]) -> None:
        assert EncodeSettings(**options).describe() == described


class TestKeep:
    @pytest.mark.parametrize("check", ["decode", "header"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_the_bytes_and_what_the_header_says(self, orientation: int, check: str) -> None:
        data = with_orientation(orientation)
        record = encode(data, EncodeSettings("keep", check=check))
        assert record == StoredMedia(data, 40, 60, orientation)

    def test_only_decoding_finds_missing_pixels(self) -> None:
        data = encoded(picture(90, 90))[:-900]
        assert encode(data, EncodeSettings("keep", check="header")).height == 90
        with pytest.raises(DecodeError, match="jpeg"):
            encode(data, EncodeSettings("keep", check="decode"))

    @pytest.mark.parametrize("check", ["decode", "header"])
    def test_no_image(self, check: str) -> None:
        for data in (b"", b"text"):
            with pytest.raises(DecodeError):
                encode(data, EncodeSettings("keep", check=check))


class TestReencoding:
    @pytest.mark.parametrize("encoding", ["png", "raw"])
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
    def test_without_loss(self, suffix: str, encoding: str) -> None:
        data = encoded(picture(41, 61), suffix)
        record = encode(data, EncodeSettings(encoding=encoding))
        np.testing.assert_array_equal(read(record, encoding), decode_whole(data))
        assert (record.height, record.width) == (41, 61)

    def test_jpeg_keeps_colours_and_obeys_quality(self) -> None:
        pixels = picture(120, 160)
        data = encoded(pixels, ".png")
        error, size = [], []
        for quality in (20, None, 100):
            record = encode(data, EncodeSettings(encoding="jpeg", quality=quality))
            error.append(np.abs(read(record, "jpeg").astype(int) - pixels).mean())
            size.append(len(record.data))
        assert error[0] > error[1] > error[2]
        assert size[0] < size[1] < size[2]
        assert error[1] < 3

    @pytest.mark.parametrize("encoding", ["jpeg", "png", "raw"])
    def test_same_input_same_bytes(self, encoding: str) -> None:
        data, chosen = encoded(picture(50, 70)), EncodeSettings(encoding=encoding, max_side=40)
        assert encode(data, chosen) == encode(data, chosen)

    @pytest.mark.parametrize("encoding", ["png", "raw"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_the_orientation_stays_to_be_applied(self, orientation: int, encoding: str) -> None:
        data = with_orientation(orientation)
        record = encode(data, EncodeSettings(encoding=encoding))
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(read(record, encoding, upright=True), np.asarray(upright))

    @pytest.mark.parametrize("encoding", ["sliceable", "keep", "png", "raw"])
    def test_pixels_are_kept_exactly(self, encoding: str) -> None:
        pixels = picture(31, 47)
        result = encode_image(pixels, EncodeSettings(encoding))
        np.testing.assert_array_equal(read(result.media, encoding), pixels)

    def test_the_size_before_shrinking_is_told(self) -> None:
        result = encode_image(picture(60, 90), EncodeSettings("png", resize_short=20))
        assert (result.size, result.media.height, result.media.width) == ((60, 90), 20, 30)

    def test_jpeg_has_a_largest_side(self) -> None:
        data = encoded(np.zeros((1, 70000, 3), np.uint8), ".png")
        with pytest.raises(DecodeError, match=r"\.jpg"):
            encode(data, EncodeSettings(encoding="jpeg"))


class TestShrinking:
    @settings(max_examples=150)
    @given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 250), st.booleans())
    def test_the_named_side_is_exact_and_nothing_grows(
        self, height: int, width: int, limit: int, short: bool
    ) -> None:
        name = "resize_short" if short else "max_side"
        record = encode(
            encoded(picture(height, width), ".bmp"), EncodeSettings("raw", **{name: limit})
        )
        named, other = (min, max) if short else (max, min)
        before, after = (height, width), (record.height, record.width)
        assert named(after) == min(limit, named(before))
        exact = other(before) * named(after) / named(before)
        assert -1 < other(after) - exact <= 0 or other(after) == 1
        assert (height - width) * (record.height - record.width) >= 0

    @pytest.mark.parametrize(("height", "width"), [(60, 90), (91, 60), (64, 200), (401, 53)])
    def test_it_is_what_resize_makes(self, height: int, width: int) -> None:
        pixels = picture(height, width)
        record = encode(encoded(pixels, ".png"), EncodeSettings("raw", resize_short=20))
        short = min(height, width)
        size = int(20 * width / short), int(20 * height / short)
        expected = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(read(record, "raw"), np.asarray(expected))

    def test_an_image_that_is_small_enough_is_not_touched(self) -> None:
        pixels = picture(20, 30)
        for options in ({"resize_short": 20}, {"max_side": 30}, {"max_side": 999}):
            record = encode(encoded(pixels, ".png"), EncodeSettings("raw", **options))
            np.testing.assert_array_equal(read(record, "raw"), pixels)


def test_orientation_of_what_has_no_header() -> None:
    assert [orientation_of(data) for data in (b"", b"text", encoded(picture(9, 9)))] == [1, 1, 1]
    assert orientation_of(with_orientation(6)) == 6


@pytest.mark.parametrize("encoding", ["jpeg", "png", "raw"])
@pytest.mark.parametrize("short", [None, 20, 500])
def test_pixels_that_were_given_are_left_as_they_are(encoding: str, short: int | None) -> None:
    pixels = picture(40, 60)
    before = pixels.copy()
    encode_image(pixels, EncodeSettings(encoding, short))
    assert np.array_equal(pixels, before)


def test_a_shrunk_jpeg_has_the_colours_of_a_shrunk_png() -> None:
    data = encoded(picture(80, 120), ".png")
    shrunk = [read(encode(data, EncodeSettings(name, 40)), name) for name in ("jpeg", "png")]
    assert np.abs(shrunk[0].astype(int) - shrunk[1]).mean() < 5
