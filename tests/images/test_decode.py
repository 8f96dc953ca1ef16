"""decode: every kind of image gives the pixels that Pillow gives, or a DecodeError."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.images import encoded, picture
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fastdata.errors import DecodeError
from fastdata.images.decode import decode_image, decode_whole, decoded_size
from fastdata.images.opencv import quiet_opencv, single_threaded_opencv
from fastdata.images.plan import Box, Padding, Plan
from fastdata.images.render import apply_orientation, apply_plan
from fastdata.images.stored import EncodedImage

Pixels = NDArray[np.uint8]
HEIGHT, WIDTH = 61, 83  # odd, so that subsampled chroma does not divide

RGB = Image.fromarray(picture(HEIGHT, WIDTH))
GREY = Image.fromarray(picture(HEIGHT, WIDTH, 1)[..., 0])
ALPHA = Image.fromarray(picture(HEIGHT, WIDTH, 2)[..., 1])
PALETTE = RGB.quantize(200)
MODES = {
    "RGB": RGB,
    "L": GREY,
    "1": GREY.convert("1"),
    "P": PALETTE,
    "RGBA": Image.merge("RGBA", [*RGB.split(), ALPHA]),
    "LA": Image.merge("LA", [GREY, ALPHA]),
}
OTHER_FRAMES = {"save_all": True, "append_images": [RGB.rotate(90), RGB.rotate(180)]}
CAN_READ = {suffix: cv2.haveImageWriter(f"x.{suffix}") for suffix in ("gif", "avif")}


def saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def pillow(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def largest_difference(a: Pixels, b: NDArray[Any]) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


def jpegs() -> dict[str, bytes]:
    cases = {}
    for progressive in (False, True):
        kind = "progressive" if progressive else "baseline"
        for name, subsampling in (("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)):
            options = {"subsampling": subsampling, "progressive": progressive}
            cases[f"{kind} {name}"] = saved(RGB, "JPEG", quality=85, **options)
        cases[f"{kind} grey"] = saved(GREY, "JPEG", progressive=progressive)
    cases["restart markers"] = saved(RGB, "JPEG", restart_marker_rows=1)
    cases["quality 5"] = saved(RGB, "JPEG", quality=5)
    cases["RGB, not YCbCr"] = saved(RGB, "JPEG", keep_rgb=True)
    return {f"JPEG {name}": data for name, data in cases.items()}


def pngs() -> dict[str, bytes]:
    cases = {mode: saved(image, "PNG") for mode, image in MODES.items()}
    for colours in (2, 4, 16):
        cases[f"palette of {colours}"] = saved(RGB.quantize(colours), "PNG")
    cases["P tRNS"] = saved(PALETTE, "PNG", transparency=3)
    cases["L tRNS"] = saved(GREY, "PNG", transparency=int(np.asarray(GREY)[5, 5]))
    colour = tuple(int(v) for v in np.asarray(RGB)[5, 5])
    cases["RGB tRNS"] = saved(RGB, "PNG", transparency=colour)
    cases["animation"] = saved(RGB, "PNG", **OTHER_FRAMES)
    return {f"PNG {name}": data for name, data in cases.items()}


def webps_avifs_gifs() -> dict[str, bytes]:
    cases = {}
    for mode in ("RGB", "L", "RGBA", "LA", "P"):
        cases[f"WebP lossy {mode}"] = saved(MODES[mode], "WEBP", quality=80)
        cases[f"WebP lossless {mode}"] = saved(MODES[mode], "WEBP", lossless=True, exact=True)
        cases[f"AVIF {mode}"] = saved(MODES[mode], "AVIF", quality=80)
    for mode in ("L", "P", "1"):
        cases[f"GIF {mode}"] = saved(MODES[mode], "GIF")
    cases["GIF animation"] = saved(PALETTE, "GIF", **OTHER_FRAMES)
    cases["WebP animation"] = saved(RGB, "WEBP", lossless=True, **OTHER_FRAMES)
    cases["AVIF animation"] = saved(RGB, "AVIF", **OTHER_FRAMES)
    return cases


def others() -> dict[str, bytes]:
    cases = {f"BMP {mode}": saved(MODES[mode], "BMP") for mode in ("RGB", "L", "1", "P", "RGBA")}
    cases |= {f"PNM {mode}": saved(MODES[mode], "PPM") for mode in ("RGB", "L", "1")}
    cases["PNM P1"] = b"P1\n4 2\n0 1 1 0\n1 0 0 1\n"
    cases["PNM P2"] = b"P2\n# comment\n3 2\n255\n0 1 2 3 4 255\n"
    cases["PNM P3"] = b"P3 1 2 15 0 1 2 3 4 15\n"
    for compression in (None, "tiff_lzw", "tiff_deflate", "packbits"):
        for mode in ("RGB", "L", "1", "P", "LA"):
            name = f"TIFF {mode} {compression}"
            cases[name] = saved(MODES[mode], "TIFF", compression=compression)
    cases["TIFF JPEG"] = saved(RGB, "TIFF", compression="jpeg")
    cases["TIFF G4"] = saved(MODES["1"], "TIFF", compression="group4")
    return cases


CASES = jpegs() | pngs() | webps_avifs_gifs() | others()
READABLE = {name: d for name, d in CASES.items() if CAN_READ.get(name.split()[0].lower(), True)}


class TestSamePixelsAsPillow:
    @pytest.mark.parametrize("name", CASES)
    def test_in_eight_bits(self, name: str) -> None:
        if name not in READABLE:
            pytest.skip(f"OpenCV {cv2.__version__} does not read it")
        pixels = decode_image(EncodedImage(CASES[name]))
        np.testing.assert_array_equal(pixels, pillow(CASES[name]))
        assert pixels.dtype == np.uint8
        assert pixels.flags.carray

    def test_palette_with_an_alpha_for_each_colour(self) -> None:
        data = saved(PALETTE, "PNG", transparency=bytes(range(200)))
        np.testing.assert_array_equal(decode_whole(data), np.asarray(PALETTE.convert("RGB")))

    def test_adobe_cmyk_within_two_levels(self) -> None:
        cmyk = Image.merge("CMYK", [*RGB.split(), ALPHA])
        for data in (saved(cmyk, "JPEG", quality=95), saved(cmyk, "TIFF")):
            assert largest_difference(decode_whole(data), pillow(data)) <= 2

    def test_sixteen_bits_become_their_high_byte(self) -> None:
        grey = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
        expected = np.repeat((grey >> 8)[..., None], 3, axis=2)
        for format_ in ("PNG", "PPM", "TIFF"):
            data = saved(Image.fromarray(grey), format_)
            np.testing.assert_array_equal(decode_whole(data), expected)

    def test_sixteen_bits_a_channel_become_their_high_byte(self) -> None:
        rgb = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 3), dtype=np.uint16)
        ppm = b"P6 %d %d 65535\n" % (WIDTH, HEIGHT) + rgb.astype(">u2").tobytes()
        np.testing.assert_array_equal(decode_whole(ppm), rgb >> 8)
        np.testing.assert_array_equal(decode_whole(encoded(rgb, ".png")), rgb >> 8)
        assert largest_difference(decode_whole(encoded(rgb, ".tiff")), rgb >> 8) <= 1

    @settings(max_examples=40)
    @given(
        st.integers(1, 70),
        st.integers(1, 70),
        st.integers(1, 100),
        st.integers(0, 2),
        st.booleans(),
    )
    def test_jpeg_of_any_size_and_quality(
        self, height: int, width: int, quality: int, subsampling: int, progressive: bool
    ) -> None:
        options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
        data = saved(Image.fromarray(picture(height, width)), "JPEG", **options)
        np.testing.assert_array_equal(decode_whole(data), pillow(data))

    def test_memoryview_of_a_part(self) -> None:
        data = CASES["JPEG baseline 4:2:0"]
        view = memoryview(bytearray(b"xxx" + data + b"yyy"))[3:-3]
        np.testing.assert_array_equal(decode_image(EncodedImage(view)), pillow(data))

    def test_from_several_threads(self) -> None:
        names = list(READABLE) * 2
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda name: decode_whole(READABLE[name]), names))
        for name, result in zip(names, results, strict=True):
            np.testing.assert_array_equal(result, pillow(READABLE[name]))


class TestPlannedDecoding:
    """A decoder may skip what a plan does not take; nobody may see that it did."""

    @settings(max_examples=150)
    @given(
        st.tuples(st.integers(1, 150), st.integers(1, 60)),
        st.tuples(*[st.floats(0, 1, exclude_max=True)] * 4),
        st.integers(0, 2),
        st.sampled_from(["RGB", "L", "CMYK"]),
        st.sampled_from([{}, {"progressive": True}, {"restart_marker_blocks": 3}]),
        st.sampled_from([1, 1, 2, 3, 6]),
    )
    def test_of_a_jpeg_equals_decoding_all(
        self,
        size: tuple[int, int],
        part: tuple[float, ...],
        subsampling: int,
        mode: str,
        options: dict[str, Any],
        orientation: int,
    ) -> None:
        picture_ = Image.fromarray(picture(*size)).convert(mode)
        if mode != "L":
            options = {"subsampling": subsampling, **options}
        image = EncodedImage(saved(picture_, "JPEG", **options), *size, orientation)
        whole = apply_orientation(decode_whole(image.data), orientation)
        height, width = image.oriented_size
        top, left = int(part[0] * height), int(part[1] * width)
        rows = max(int(part[2] * (height - top)), 1)
        columns = max(int(part[3] * (width - left)), 1)
        crop = Plan.whole(height, width).crop(Box(top, left, rows, columns))
        np.testing.assert_array_equal(
            decode_image(image, crop), whole[top : top + rows, left : left + columns]
        )
        for plan in (crop.resize(9, 7).flip_vertical(), crop.pad(Padding(1, 2, 3, 4)).resize(5, 5)):
            np.testing.assert_array_equal(decode_image(image, plan), apply_plan(whole, plan))

    def test_of_every_format_equals_decoding_all(self) -> None:
        for name, data in READABLE.items():
            whole = decode_whole(data)
            plan = Plan.whole(*whole.shape[:2]).crop(Box(1, 0, 1, 1)).resize(3, 3)
            result = decode_image(EncodedImage(data, *whole.shape[:2]), plan)
            np.testing.assert_array_equal(result, apply_plan(whole, plan), name)


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
    def test_is_undone_as_pillow_does(self, format_: str, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = saved(RGB, format_, exif=exif)
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        image = EncodedImage(data, HEIGHT, WIDTH, orientation)
        assert image.oriented_size == (upright.height, upright.width)
        result = decode_image(image)
        np.testing.assert_array_equal(result, np.asarray(upright))
        assert result.flags.carray
        np.testing.assert_array_equal(decode_image(EncodedImage(data)), pillow(data))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_plans_are_in_upright_coordinates(self, orientation: int) -> None:
        data = CASES["PNG RGB"]
        upright = apply_orientation(np.asarray(RGB), orientation)
        image = EncodedImage(data, HEIGHT, WIDTH, orientation)
        plan = Plan.whole(*image.oriented_size).crop(Box(10, 20, 41, 31))
        np.testing.assert_array_equal(decode_image(image, plan), upright[10:51, 20:51])
        for options in ({"antialias": True}, {"antialias": False}, {"interpolation": "nearest"}):
            small = plan.resize(20, 20, **options)
            part = EncodedImage(upright[10:51, 20:51].tobytes(), 41, 31, raw=True)
            expected = decode_image(part, Plan.whole(41, 31).resize(20, 20, **options))
            np.testing.assert_array_equal(decode_image(image, small), expected)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_of_a_tiff_is_always_applied(self, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = saved(RGB, "TIFF", exif=exif)
        np.testing.assert_array_equal(decode_image(EncodedImage(data)), pillow(data))


PLANS: dict[str, Callable[[Plan], Plan] | None] = {
    "no plan": None,
    "nothing": lambda plan: plan,
    "rows": lambda plan: plan.crop(Box(5, 0, 20, plan.width)),
    "crop": lambda plan: plan.crop(Box(5, 5, 20, 20)),
    "shrink": lambda plan: plan.resize(20, 30),
    "shrink to a column": lambda plan: plan.resize(20, 2),
    "alias": lambda plan: plan.resize(20, 30, antialias=False),
    "nearest": lambda plan: plan.resize(20, 30, "nearest"),
    "cubic": lambda plan: plan.resize(20, 30, "bicubic"),
    "window": lambda plan: plan.resize(20, 30).crop(Box(1, 0, 10, 30)),
    "pad": lambda plan: plan.pad(Padding(1, 2, 3, 4)),
    "flip": lambda plan: plan.flip_horizontal().flip_vertical(),
}


class TestResult:
    @pytest.mark.parametrize("orientation", [1, 3, 6])
    @pytest.mark.parametrize("raw", [False, True])
    @pytest.mark.parametrize("name", PLANS)
    def test_is_contiguous_writable_and_its_own(
        self, name: str, raw: bool, orientation: int
    ) -> None:
        source = bytearray(np.asarray(RGB).tobytes() if raw else CASES["PNG RGB"])
        image = EncodedImage(memoryview(source), HEIGHT, WIDTH, orientation, raw)
        change = PLANS[name]
        plan = change(Plan.whole(*image.oriented_size)) if change else None
        result = decode_image(image, plan)
        assert result.flags.carray
        assert not np.shares_memory(result, np.frombuffer(source, np.uint8))
        before = result.copy()
        result ^= 0xFF
        np.testing.assert_array_equal(decode_image(image, plan), before)

        out = np.full_like(before, 99)
        assert decode_image(image, plan, out=out) is out
        np.testing.assert_array_equal(out, before)

    @pytest.mark.parametrize("name", PLANS)
    def test_of_raw_pixels_is_that_of_the_file(self, name: str) -> None:
        change = PLANS[name]
        plan = change(Plan.whole(HEIGHT, WIDTH)) if change else None
        raw = EncodedImage(np.asarray(RGB).tobytes(), HEIGHT, WIDTH, raw=True)
        expected = decode_image(EncodedImage(CASES["PNG RGB"]), plan)
        np.testing.assert_array_equal(decode_image(raw, plan), expected)

    def test_needs_an_out_that_fits(self) -> None:
        with pytest.raises(ValueError, match=re.escape("(61, 83, 3), found uint8 of shape (9, 9,")):
            decode_image(EncodedImage(CASES["PNG RGB"]), out=np.zeros((9, 9, 3), np.uint8))


def cut(name: str) -> bytes:
    return CASES[name][: len(CASES[name]) * 2 // 3]


def overwritten(name: str, where: float, noise: bytes) -> bytes:
    data = bytearray(READABLE[name])
    at = int(where * len(data))
    data[at : at + len(noise)] = noise
    return bytes(data)


class TestDamage:
    @pytest.mark.parametrize(
        ("data", "found"),
        [
            (b"", "found 0 bytes"),
            (b"\0", "found 1 bytes that begin with 00"),
            (b"hello world", "found 11 bytes that begin with 68 65 6c 6c 6f 20 77 6f$"),
            (b"<html></html>" * 99, "found 1287 bytes that begin with 3c 68"),
            (b"\xff\xd8\xff", "jpeg"),
            (b"\x89PNG\r\n\x1a\n", "png"),
            (cut("JPEG baseline 4:2:0"), "jpeg"),
            (cut("JPEG progressive 4:2:0"), "jpeg"),
            (cut("PNG RGB"), "png"),
            (cut("WebP lossy RGB"), "webp"),
            (cut("WebP lossless RGB"), "webp"),
            (cut("AVIF RGBA"), "avif"),
            (cut("GIF P"), "gif"),
            (cut("BMP RGB"), "bmp"),
            (cut("PNM RGB"), "pnm"),
            (cut("TIFF RGB None"), "tiff"),
            (cut("TIFF RGB tiff_lzw"), "tiff"),
        ],
    )
    def test_says_what_was_found(self, data: bytes, found: str) -> None:
        with pytest.raises(DecodeError, match=found):
            decode_image(EncodedImage(data))

    @pytest.mark.parametrize("name", ["baseline 4:4:4", "progressive 4:2:0", "baseline grey"])
    def test_jpeg_cut_anywhere(self, name: str) -> None:
        data = CASES[f"JPEG {name}"]
        for length in range(1, len(data) - 1, 37):
            with pytest.raises(DecodeError, match=r"jpeg|begin with"):
                decode_image(EncodedImage(data[:length]))

    @settings(max_examples=200)
    @given(st.binary(max_size=200))
    @example(b"GIF89a")
    @example(b"BM" + bytes(60))
    @example(b"P6\n")
    @example(b"II*\0" + bytes(20))
    @example(b"RIFF\x10\0\0\0WEBPVP8 ")
    @example(b"\0\0\0\x18ftypavif" + bytes(40))
    def test_random_bytes(self, data: bytes) -> None:
        with pytest.raises(DecodeError, match=r"found|damaged"):
            decode_image(EncodedImage(data))

    @settings(max_examples=200)
    @given(st.sampled_from(sorted(READABLE)), st.floats(0.4, 1, exclude_max=True), st.binary())
    def test_overwritten_bytes_give_an_image_or_an_error(
        self, name: str, where: float, noise: bytes
    ) -> None:
        try:
            pixels = decode_image(EncodedImage(overwritten(name, where, noise)))
        except DecodeError:  # and nothing else
            return
        assert pixels.flags.carray
        assert pixels.shape[2:] == (3,)

    @pytest.mark.parametrize("name", sorted(READABLE))
    def test_the_size_of_what_can_be_decoded(self, name: str) -> None:
        assert decoded_size(READABLE[name]) == decode_whole(READABLE[name]).shape[:2]

    @settings(max_examples=200)
    @given(st.sampled_from(sorted(READABLE)), st.floats(0, 1, exclude_max=True), st.binary())
    def test_what_cannot_be_decoded_has_no_size(
        self, name: str, where: float, noise: bytes
    ) -> None:
        data = overwritten(name, where, noise)
        try:
            expected = decode_whole(data).shape[:2]
        except DecodeError:
            with pytest.raises(DecodeError):
                decoded_size(data)
        else:
            assert decoded_size(data) == expected

    @pytest.mark.parametrize("raw", [False, True])
    def test_another_size_than_announced(self, raw: bool) -> None:
        data = np.asarray(RGB).tobytes() if raw else CASES["PNG RGB"]
        with pytest.raises(DecodeError, match=r"expected 61x82.*found|expected 61x82.*61x83"):
            decode_image(EncodedImage(data, HEIGHT, WIDTH - 1, raw=raw))

    def test_the_base_is_a_value_error(self) -> None:
        with pytest.raises(ValueError, match="0 bytes"):
            decode_whole(b"")


class TestOpencvSettings:
    @pytest.fixture(autouse=True)
    def three_threads(self) -> Iterator[None]:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(3)
        yield
        cv2.setNumThreads(threads)

    def test_threads_come_back_after_an_error(self) -> None:
        with pytest.raises(KeyError), single_threaded_opencv:
            assert cv2.getNumThreads() == 1
            raise KeyError
        assert cv2.getNumThreads() == 3

    def test_threads_come_back_when_the_last_user_is_done(self) -> None:
        first, second = ExitStack(), ExitStack()
        first.enter_context(single_threaded_opencv)
        second.enter_context(single_threaded_opencv)
        first.close()
        assert cv2.getNumThreads() == 1
        second.close()
        assert cv2.getNumThreads() == 3

    def test_warnings_are_silent_inside_only(self, capfd: pytest.CaptureFixture[str]) -> None:
        damaged = cut("BMP RGB")
        with quiet_opencv(), pytest.raises(DecodeError):
            decode_whole(damaged)
        assert capfd.readouterr().err == ""
        with pytest.raises(DecodeError):
            decode_whole(damaged)
        assert capfd.readouterr().err != ""

    def test_silence_ends_when_the_last_user_is_done(self) -> None:
        logging = cv2 if hasattr(cv2, "getLogLevel") else cv2.utils.logging
        before = logging.getLogLevel()
        first, second = ExitStack(), ExitStack()
        first.enter_context(quiet_opencv())
        second.enter_context(quiet_opencv())
        first.close()
        assert logging.getLogLevel() == 0
        second.close()
        assert logging.getLogLevel() == before > 0
