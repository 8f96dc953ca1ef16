"""A JPEG cut below some row decodes to the same pixels above it."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from helpers.images import picture
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fastdata.images.decode import decode_image, decode_whole
from fastdata.images.jpeg import first_rows
from fastdata.images.plan import Box, Plan
from fastdata.images.stored import EncodedImage

SAMPLINGS = {
    name: getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}")
    for name in ("411", "420", "422", "440", "444")
}


def jpeg(
    height: int, width: int, *, sampling: str = "444", grey: bool = False, **more: int
) -> bytes:
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling]]
    for name, value in more.items():
        options += [getattr(cv2, f"IMWRITE_JPEG_{name.upper()}"), value]
    pixels = picture(height, width, seed=height)
    done, data = cv2.imencode(".jpg", pixels[..., 0] if grey else pixels, options)
    assert done
    return data.tobytes()


@settings(max_examples=150)
@given(
    height=st.integers(1, 120),
    width=st.integers(1, 70),
    rows=st.integers(1, 130),
    sampling=st.sampled_from(sorted(SAMPLINGS)),
    grey=st.booleans(),
    quality=st.integers(5, 100),
    optimize=st.integers(0, 1),
    interval=st.sampled_from([0, 1, 7]),
)
# Hardly anything of the scan is left behind the cut:
@example(9, 1, 1, "411", True, 5, 0, 0)
@example(110, 1, 95, "411", False, 38, 1, 0)
def test_the_rows_asked_for_are_bit_identical(
    height: int,
    width: int,
    rows: int,
    sampling: str,
    grey: bool,
    quality: int,
    optimize: int,
    interval: int,
) -> None:
    data = jpeg(
        height, width, sampling=sampling, grey=grey, quality=quality, optimize=optimize,
        rst_interval=interval,
    )  # fmt: skip
    whole = decode_whole(data)
    crop = Plan.whole(height, width).crop(Box(0, 0, min(rows, height), width))
    upper = decode_image(EncodedImage(data, height, width), crop)
    np.testing.assert_array_equal(upper, whole[:rows])
    shorter = first_rows(data, rows, (height, width))
    if shorter is None:
        assert interval or rows + 2 + 32 > height
        return
    cut = decode_whole(memoryview(shorter))
    assert rows < cut.shape[0] < height
    np.testing.assert_array_equal(cut[:rows], whole[:rows])


def test_it_is_shorter_than_the_image_wherever_possible() -> None:
    data = jpeg(200, 50, sampling="420")
    for rows in (1, 14, 15, 100):
        shorter = first_rows(data, rows, (200, 50))
        assert shorter is not None
        assert decode_whole(memoryview(shorter)).shape == (-(-(rows + 2) // 16) * 16, 50, 3)


def test_colour_markers_and_metadata_are_kept() -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture_cmyk = Image.fromarray(picture(90, 60)).convert("CMYK")
    picture_cmyk.save(out, "JPEG", exif=exif, icc_profile=b"profile" * 1000)
    data = out.getvalue()
    shorter = first_rows(data, 20, (90, 60))
    assert shorter is not None
    np.testing.assert_array_equal(decode_whole(memoryview(shorter))[:20], decode_whole(data)[:20])


def progressive() -> bytes:
    return jpeg(100, 100, progressive=1)


def multi_picture() -> bytes:
    data = jpeg(100, 100)
    extra = b"MPF\0" + bytes(20)
    return data[:2] + b"\xff\xe2" + (len(extra) + 2).to_bytes(2, "big") + extra + data[2:]


@pytest.mark.parametrize(
    "data",
    [
        progressive(),
        multi_picture(),
        jpeg(100, 100)[:-2],
        jpeg(100, 100) + b"trailing",
        b"",
        b"\xff\xd8\xff\xd9",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
    ],
    ids=["progressive", "multi", "no end", "trailing", "empty", "no frame", "png"],
)
def test_what_is_not_one_sequential_scan_is_left_alone(data: bytes) -> None:
    assert first_rows(data, 5, (100, 100)) is None


@given(
    cut=st.integers(0, 700),
    changes=st.lists(st.tuples(st.integers(0, 800), st.integers(0, 255)), max_size=6),
)
def test_damaged_headers_never_raise(cut: int, changes: list[tuple[int, int]]) -> None:
    data = bytearray(jpeg(64, 64, sampling="420"))
    for position, value in changes:
        data[position % len(data)] = value
    first_rows(bytes(data[: len(data) - cut] + b"\xff\xd9"), 5, (64, 64))


@pytest.mark.parametrize("sampling", sorted(SAMPLINGS))
@pytest.mark.parametrize("interval", [0, 5])
def test_decoding_it_is_quiet(
    sampling: str, interval: int, capfd: pytest.CaptureFixture[str]
) -> None:
    shorter = first_rows(jpeg(300, 300, sampling=sampling, rst_interval=interval), 40, (300, 300))
    if shorter is not None:
        decode_whole(shorter.data)
    assert (shorter is None) == (interval > 0)
    assert capfd.readouterr().err == ""


def test_another_size_than_expected_is_left_alone() -> None:
    data = jpeg(100, 90)
    assert first_rows(data, 5, (100, 90)) is not None
    assert first_rows(data, 5, (100, 91)) is None
    assert first_rows(data, 5, (101, 90)) is None
