"""Masks: every label comes back, and lies on the pixel that it belongs to."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from helpers.images import encoded, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from fastdata.errors import DecodeError, OptionError
from fastdata.images.decode import decode_image
from fastdata.images.masks import decode_mask, encode_mask, labels_of
from fastdata.images.opencv import quiet_opencv
from fastdata.images.plan import Box, Padding, Plan
from fastdata.images.render import apply_orientation
from fastdata.images.stored import EncodedImage

Labels = NDArray[Any]
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)
MASKS = st.sampled_from(["uint8", "uint16"]).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))


def regions(height: int, width: int, dtype: str = "uint8", seed: int = 0) -> Labels:
    """A few rectangles of one label each, some beyond 8 bits if there is room."""
    rng = np.random.default_rng((seed, height, width))
    mask = np.zeros((height, width), dtype)
    for label in rng.integers(1, np.iinfo(dtype).max, 9, endpoint=True):
        top, left = rng.integers(0, height), rng.integers(0, width)
        mask[top : top + height // 3 + 1, left : left + width // 3 + 1] = label
    return mask


def decoded(labels: Labels, plan: Plan | None = None, orientation: int = 1) -> Labels:
    return decode_mask(*encode_mask(labels), orientation, plan)


def saved(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, depth: int, colour: int, rows: list[bytes], *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [chunk(b"IHDR", header), *more, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def draw_box(draw: st.DrawFn, height: int, width: int) -> Box:
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return Box(top, left, draw(st.integers(1, height - top)), draw(st.integers(1, width - left)))


class TestRoundTrip:
    @settings(max_examples=50)
    @given(MASKS)
    def test_any_labels(self, labels: Labels) -> None:
        data, height, width = encode_mask(labels)
        result = decode_mask(data, height, width)
        assert result.dtype == labels.dtype
        np.testing.assert_array_equal(result, labels)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 70_000), (70_000, 1), (700, 900)])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    def test_shapes_of_one_and_of_many_bands(self, shape: tuple[int, int], dtype: str) -> None:
        labels = regions(*shape, dtype)
        result = decoded(labels)
        assert result.dtype == labels.dtype
        np.testing.assert_array_equal(result, labels)

    def test_the_result_is_ones_own(self) -> None:
        result = decoded(regions(20, 30))
        assert result.flags.carray
        assert result.flags.owndata

    def test_labels_take_less_room_than_pixels(self) -> None:
        assert len(encode_mask(regions(400, 500))[0]) < 400 * 500 / 20

    def test_the_same_labels_give_the_same_bytes(self) -> None:
        labels = regions(300, 400, "uint16")
        other_layout = np.asfortranarray(labels.astype(">u2"))
        assert encode_mask(labels) == encode_mask(labels.copy()) == encode_mask(other_layout)

    def test_truth_values_become_0_and_1(self) -> None:
        labels = regions(20, 30) > 100
        result = decoded(labels)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, labels.astype(np.uint8))


class TestGeometry:
    @settings(max_examples=50)
    @given(st.data(), st.sampled_from(["uint8", "uint16"]), st.booleans(), st.booleans())
    def test_a_crop_is_a_crop_of_the_whole(
        self, data: st.DataObject, dtype: str, hflip: bool, vflip: bool
    ) -> None:
        labels = regions(300, 400, dtype)  # of several bands
        box = draw_box(data.draw, *labels.shape)
        top, left, height, width = box
        plan = Plan.whole(*labels.shape).crop(box)
        expected = labels[top : top + height, left : left + width]
        plan = plan.flip_horizontal() if hflip else plan
        plan = plan.flip_vertical() if vflip else plan
        expected = expected[:: -1 if vflip else 1, :: -1 if hflip else 1]
        result = decoded(labels, plan)
        np.testing.assert_array_equal(result, expected)
        assert result.flags.carray
        assert result.dtype == labels.dtype

    @settings(max_examples=50)
    @given(st.data(), st.integers(1, 8))
    def test_each_label_lies_on_its_pixel(self, data: st.DataObject, orientation: int) -> None:
        """The image and the mask name, at each pixel, the place where it came from."""
        height, width = data.draw(st.integers(1, 50)), data.draw(st.integers(1, 50))
        rows, columns = np.mgrid[1 : height + 1, 1 : width + 1]
        image = np.stack([rows, columns, columns], axis=2).astype(np.uint8)
        labels = (rows * 256 + columns).astype(np.uint16)
        stored = EncodedImage(encoded(image, ".png"), height, width, orientation)
        plan = Plan.whole(*stored.oriented_size)
        for _ in range(data.draw(st.integers(0, 5))):
            plan = random_step(data.draw, plan)
        pixels = decode_image(stored, plan)
        result = decoded(labels, plan, orientation)
        np.testing.assert_array_equal(result, pixels[..., 0] * np.uint16(256) + pixels[..., 1])

    @pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
    def test_resizing_takes_pillows_nearest(self, interpolation: Any) -> None:
        labels = regions(61, 83)
        plan = Plan.whole(61, 83).resize(40, 97, interpolation)
        expected = Image.fromarray(labels).resize((97, 40), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(decoded(labels, plan), np.asarray(expected))

    def test_padding_has_a_label_of_its_own(self) -> None:
        labels = regions(20, 30, "uint16")
        plan = Plan.whole(20, 30).pad(Padding(1, 2, 3, 4, (9, 8, 7)))
        for fill in (0, 255, 65535):
            result = decode_mask(*encode_mask(labels), plan=plan, fill=fill)
            expected = np.pad(labels, ((2, 4), (1, 3)), constant_values=fill)
            np.testing.assert_array_equal(result, expected)

    @pytest.mark.parametrize("fill", [-1, 256])
    def test_a_fill_that_is_no_label(self, fill: int) -> None:
        with pytest.raises(OptionError, match="0 to 255"):
            decode_mask(*encode_mask(regions(20, 30)), fill=fill)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, orientation: int) -> None:
        labels = regions(20, 30)
        result = decoded(labels, None, orientation)
        np.testing.assert_array_equal(result, apply_orientation(labels, orientation))

    def test_a_plan_for_a_larger_image(self) -> None:
        for orientation in (1, 3):
            with pytest.raises(DecodeError, match="20x30"):
                decoded(regions(20, 30), Plan.whole(21, 30), orientation)


def random_step(draw: st.DrawFn, plan: Plan) -> Plan:
    kind = draw(st.sampled_from(["crop", "pad", "resize", "hflip", "vflip"]))
    if kind == "crop":
        return plan.crop(draw_box(draw, plan.height, plan.width))
    if kind == "pad":
        modes = st.sampled_from(["constant", "edge", "reflect", "symmetric"])
        sides = draw(st.tuples(*[st.integers(0, 9)] * 4))
        return plan.pad(Padding(*sides, mode=draw(modes)))
    if kind == "resize":
        return plan.resize(draw(st.integers(1, 60)), draw(st.integers(1, 60)), "nearest")
    return plan.flip_horizontal() if kind == "hflip" else plan.flip_vertical()


PALETTE = Image.fromarray(picture(61, 83)).quantize(200)
INDICES = np.asarray(PALETTE)
GREY = Image.fromarray(regions(61, 83))
DEEP = Image.fromarray(regions(61, 83, "uint16"))
BITS = Image.fromarray(regions(61, 83) > 100)


class TestSources:
    @pytest.mark.parametrize("image", [PALETTE, GREY, DEEP, BITS], ids=["P", "L", "I;16", "1"])
    def test_an_image_and_its_png_give_the_labels_that_pillow_sees(
        self, image: Image.Image
    ) -> None:
        expected = np.asarray(image)
        for value in (image, saved(image), memoryview(saved(image))):
            result = labels_of(value)
            assert result.dtype in (np.uint8, np.uint16)
            np.testing.assert_array_equal(result, expected)

    @pytest.mark.parametrize("colours", [2, 3, 4, 9, 16, 200, 256])
    def test_palettes_of_any_depth(self, colours: int) -> None:
        image = Image.fromarray(picture(61, 83)).quantize(colours)
        indices = np.asarray(image)
        for options in ({}, {"transparency": 1}, {"transparency": bytes(range(colours))}):
            np.testing.assert_array_equal(labels_of(saved(image, **options)), indices)

    @pytest.mark.parametrize("depth", [1, 2, 4, 8])
    @pytest.mark.parametrize("colour", [0, 3], ids=["grey", "palette"])
    def test_every_value_of_a_depth(self, depth: int, colour: int) -> None:
        values = np.arange(2**depth, dtype=np.uint8)
        bits = np.unpackbits(values[:, None], axis=1)[:, 8 - depth :]
        palette = chunk(b"PLTE", picture(1, 2**depth).tobytes())
        data = png(2**depth, depth, colour, [np.packbits(bits).tobytes()], palette)
        labels = labels_of(data)[0]
        np.testing.assert_array_equal(labels, np.asarray(Image.open(io.BytesIO(data)))[0])
        if colour == 3 or depth in (1, 8):
            np.testing.assert_array_equal(labels, values)

    @pytest.mark.parametrize("suffix", [".bmp", ".tiff"])
    def test_grey_bmp_and_tiff(self, suffix: str) -> None:
        np.testing.assert_array_equal(labels_of(saved(GREY, suffix[1:])), np.asarray(GREY))

    @pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
    def test_tiff_of_sixteen_bits(self, compression: str | None) -> None:
        data = saved(DEEP, "TIFF", compression=compression)
        np.testing.assert_array_equal(labels_of(data), np.asarray(DEEP))

    @pytest.mark.parametrize("mode", ["RGB", "RGBA"])
    def test_colours_that_are_all_grey(self, mode: str) -> None:
        for format_ in ("PNG", "BMP")[: 1 if mode == "RGBA" else 2]:
            data = saved(GREY.convert(mode), format_)
            np.testing.assert_array_equal(labels_of(data), np.asarray(GREY))

    def test_pillows_32_bits_where_16_are_enough(self) -> None:
        image = Image.fromarray(np.asarray(DEEP).astype(np.int32))
        np.testing.assert_array_equal(labels_of(image), np.asarray(DEEP))


def with_alpha() -> Image.Image:
    image = GREY.convert("RGBA")
    image.putalpha(128)
    return image


class TestRefusals:
    @pytest.mark.parametrize(
        "value",
        [
            saved(Image.fromarray(picture(20, 30))),
            saved(Image.fromarray(picture(20, 30)), "BMP"),
            saved(Image.fromarray(picture(20, 30)), "TIFF"),
            saved(PALETTE, "BMP"),
            saved(PALETTE, "TIFF"),
            saved(BITS, "BMP"),
            Image.fromarray(picture(20, 30)),
            PALETTE.convert("HSV"),
        ],
    )
    def test_colours(self, value: Any) -> None:
        with pytest.raises(DecodeError, match="convert its colours to indices first"):
            encode_mask(value)

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (saved(GREY, "JPEG"), "PNG, BMP or TIFF, which keep labels; found jpeg"),
            (b"", "PNG, BMP or TIFF"),
            (saved(with_alpha()), "without alpha"),
            (saved(GREY)[:-20], "damaged or cut off|found the end"),
            (saved(GREY)[:8], "found the end"),
            (saved(GREY, "BMP")[:40], "at least 54 bytes"),
            (saved(GREY, "TIFF")[:40], "TIFF"),
            (saved(BITS, "TIFF"), "8 or 16 bits"),
            (saved(GREY, "TIFF", big_tiff=True), "BigTIFF"),
            (picture(20, 30), r"uint8 of shape \(20, 30, 3\)"),
            (np.zeros((0, 5), np.uint8), "empty sides"),
            (np.zeros((4, 5), np.int64), "int64"),
            (np.zeros((4, 5), np.float32), "float32"),
            (Image.fromarray(np.full((4, 5), -1, np.int32)), "int32"),
            ("mask.png", "found str"),
            (None, "NoneType"),
        ],
    )
    def test_others(self, value: Any, reason: str) -> None:
        with pytest.raises(DecodeError, match=reason):
            encode_mask(value)


MULTI_BAND = encode_mask(regions(300, 400, "uint16"))
HEADER = 20  # bytes before the table of the bands' ends


def with_field(layout: str, at: int, value: int) -> bytes:
    data = bytearray(MULTI_BAND[0])
    struct.pack_into(layout, data, at, value)
    return bytes(data)


class TestHostileBytes:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "expected a stored mask"),
            (b"FDMK", "expected a stored mask"),
            (saved(GREY), "expected a stored mask"),
            (with_field("B", 4, 2), "version 1, found 2"),
            (with_field("B", 5, 4), "header is damaged"),
            (with_field("B", 6, 1), "header is damaged"),
            (with_field("<I", 8, 2**32 - 1), "300x400, found 4294967295x400"),
            (with_field("<I", 12, 2), "300x400, found 300x2"),
            (with_field("<I", 16, 0), "header is damaged"),
            (with_field("<I", 16, 1), "bytes of a mask's streams"),
            (with_field("<I", 16, 2**32 - 1), "bytes of a mask's streams"),
            (with_field("<I", HEADER, 2**32 - 1), "band 1"),
            (with_field("<I", HEADER, 0), "band 0"),
            (MULTI_BAND[0][: HEADER + 5], "bytes of a mask's header"),
            (MULTI_BAND[0][:-9], "bytes of a mask's streams"),
            (MULTI_BAND[0] + b"!", "bytes of a mask's streams"),
            (MULTI_BAND[0][:-9] + bytes(9), "band 3"),
        ],
    )
    def test_is_refused(self, data: bytes, reason: str) -> None:
        with pytest.raises(DecodeError, match=reason):
            decode_mask(data, 300, 400)

    def test_a_band_that_inflates_to_more_is_not_inflated(self) -> None:
        bomb = zlib.compress(bytes(1 << 24), 9)
        header = struct.pack("<4sBBHIIII", b"FDMK", 1, 1, 0, 4, 5, 4, len(bomb))
        tracemalloc.start()
        with pytest.raises(DecodeError, match="band 0"):
            decode_mask(header + bomb, 4, 5)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20

    def test_a_table_that_announces_too_much(self) -> None:
        header = struct.pack("<4sBBHIII", b"FDMK", 1, 2, 0, 2**31, 2**31, 2**31)
        with pytest.raises(DecodeError, match="at most"):
            decode_mask(header + bytes(9), 2**31, 2**31)

    def test_other_bands_are_not_read(self) -> None:
        plan = Plan.whole(300, 400).crop(Box(0, 0, 10, 10))
        whole = decode_mask(*MULTI_BAND)
        part = decode_mask(MULTI_BAND[0][:-500] + bytes(500), 300, 400, 1, plan)
        np.testing.assert_array_equal(part, whole[:10, :10])

    @settings(max_examples=50)
    @given(st.data())
    def test_any_stored_bytes(self, data: st.DataObject) -> None:
        stored = mutated(data.draw, MULTI_BAND[0])
        plan = Plan.whole(300, 400).crop(draw_box(data.draw, 300, 400)).resize(30, 20)
        for chosen, shape in ((None, (300, 400)), (plan, (30, 20))):
            try:
                result = decode_mask(stored, 300, 400, 1, chosen)
            except DecodeError:
                continue
            assert result.shape == shape
            assert result.dtype in (np.uint8, np.uint16)

    @settings(max_examples=50)
    @given(st.data(), st.sampled_from([(PALETTE, "PNG"), (GREY, "BMP"), (DEEP, "TIFF")]))
    def test_any_file(self, data: st.DataObject, source: tuple[Image.Image, str]) -> None:
        file = mutated(data.draw, saved(*source))
        with quiet_opencv():
            try:
                labels = labels_of(file)
            except DecodeError:
                return
        assert labels.ndim == 2
        assert labels.dtype in (np.uint8, np.uint16)


def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """The bytes with some of them changed, mostly in front, and perhaps cut off."""
    data = bytearray(original)
    for _ in range(draw(st.integers(0, 4))):
        last = draw(st.sampled_from([60, len(data) - 1]))
        data[draw(st.integers(0, last))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.none() | st.integers(0, len(data)))])
