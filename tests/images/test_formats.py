"""The walkers: from part to part of a JPEG, PNG or TIFF, and to no place outside of the data."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from helpers.images import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fastdata.errors import DecodeError
from fastdata.images.formats import jpeg, png, tiff

PIXELS = picture(40, 60)


def saved(format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, format_, **options)
    return file.getvalue()


JPEG, PNG, TIFF = saved("JPEG", comment=b"\xff\xc0"), saved("PNG"), saved("TIFF")
SCAN = JPEG.index(b"\xff\xda")


def up_to_scan(data: bytes, find: Any = None) -> list[tuple[int, bytes]]:
    """Markers and bodies."""
    found = []
    for marker, at, end in jpeg.segments(data, find):
        found.append((marker, data[at + 2 : end]))
        if marker == jpeg.SOS:
            break
    return found


class TestJpeg:
    def test_the_segments_are_the_file(self) -> None:
        found = up_to_scan(JPEG)
        parts = [struct.pack(">BBH", 255, marker, len(body) + 2) + body for marker, body in found]
        assert JPEG.startswith(b"\xff\xd8" + b"".join(parts))
        assert found[0][0] == jpeg.APP0
        assert (jpeg.COM, b"\xff\xc0") in found
        assert [marker for marker, _ in found if marker in jpeg.FRAMES] == [jpeg.SOF0]

    def test_what_may_stand_in_between(self) -> None:
        for find in (None, jpeg.PAST_FILL, jpeg.ANYWHERE):
            assert up_to_scan(JPEG, find) == up_to_scan(JPEG)
        filled = JPEG[:2] + b"\xff\xff" + JPEG[2:SCAN] + b"\xff" + JPEG[SCAN:]
        for find in (jpeg.PAST_FILL, jpeg.ANYWHERE):
            assert up_to_scan(filled, find) == up_to_scan(JPEG)
        stray = JPEG[:SCAN] + b"stray\xff\x00\xff\xd0\xff\x01" + JPEG[SCAN:]
        assert up_to_scan(stray, jpeg.ANYWHERE) == up_to_scan(JPEG)
        assert up_to_scan(stray, jpeg.PAST_FILL) == up_to_scan(stray) == up_to_scan(JPEG)[:-1]

    @given(st.integers(0, SCAN + 20), st.sampled_from([None, jpeg.PAST_FILL, jpeg.ANYWHERE]))
    def test_of_a_file_that_is_cut_off(self, length: int, find: Any) -> None:
        cut = JPEG[:length]
        whole = list(jpeg.segments(JPEG, find))
        for view in (cut, memoryview(cut)):
            found = list(jpeg.segments(view, find))
            assert found == whole[: len(found)]
            assert all(at + 2 <= length for _, at, _ in found)

    @given(st.binary(max_size=200), st.sampled_from([None, jpeg.PAST_FILL, jpeg.ANYWHERE]))
    def test_of_any_bytes_it_goes_forward(self, noise: bytes, find: Any) -> None:
        data = b"\xff\xd8" + noise
        places = [at for _, at, _ in jpeg.segments(data, find)]
        assert places == sorted(set(places))
        assert all(data[at - 2] == 0xFF for at in places)


class TestPng:
    def test_the_chunks_are_the_file(self) -> None:
        found = list(png.chunks(PNG))
        assert found[0][0] == b"IHDR"
        assert found[-1] == (b"IEND", len(PNG) - 12, len(PNG))
        again = (png.chunk(kind, PNG[at + 8 : stop - 4]) for kind, at, stop in found)
        assert png.SIGNATURE + b"".join(again) == PNG

    def test_soundness(self) -> None:
        for _, at, stop in png.chunks(PNG):
            assert png.is_sound(PNG, at, stop)
            assert png.is_sound(memoryview(PNG), at, stop)
            for place in range(at + 4, stop):
                if place < at + 20 or place >= stop - 4:
                    flipped = bytearray(PNG)
                    flipped[place] ^= 1
                    assert not png.is_sound(bytes(flipped), at, stop)
            assert not png.is_sound(PNG[: stop - 1], at, stop)

    @given(st.integers(0, len(PNG)))
    def test_of_a_file_that_is_cut_off(self, length: int) -> None:
        for view in (PNG[:length], memoryview(PNG)[:length]):
            found = list(png.chunks(view))
            assert found == list(png.chunks(PNG))[: len(found)]
            assert all(at + 8 <= length for _, at, _ in found)

    def test_a_still_image_stays_as_it_is(self) -> None:
        for data in (PNG, JPEG, b"", PNG[:20]):
            assert png.without_animation(data) is data

    def test_the_still_image_of_an_animation(self) -> None:
        frames = [Image.fromarray(picture(40, 60, seed)) for seed in range(3)]
        file = io.BytesIO()
        frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
        still = bytes(png.without_animation(file.getvalue()))
        assert {kind for kind, _, _ in png.chunks(still)} == {b"IHDR", b"IDAT", b"IEND"}
        found = Image.open(io.BytesIO(still))
        assert not getattr(found, "is_animated", False)
        np.testing.assert_array_equal(np.asarray(found), picture(40, 60, 0))


class TestTiff:
    def test_the_tags_are_pillows(self) -> None:
        expected = dict(Image.open(io.BytesIO(TIFF)).tag_v2)
        found = {tag: value for tag, _, value in tiff.integers("TIFF", TIFF)}
        assert (found[tiff.HEIGHT], found[tiff.WIDTH]) == (40, 60)
        assert (
            found.items()
            <= {
                tag: value[0] if isinstance(value, tuple) else value
                for tag, value in expected.items()
            }.items()
        )

    @given(
        st.sampled_from("<>"),
        st.lists(
            st.tuples(st.integers(0, 65535), st.sampled_from("BHIbhi"), st.integers(0, 100)),
            max_size=9,
        ),
    )
    def test_every_integer_in_both_orders(
        self, order: str, fields: list[tuple[int, str, int]]
    ) -> None:
        kinds = {"B": 1, "H": 3, "I": 4, "b": 6, "h": 8, "i": 9}
        data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
        data += struct.pack(order + "H", len(fields))
        for tag, layout, value in fields:
            packed = struct.pack(order + layout, value).ljust(4, b"\0")
            data += struct.pack(order + "HHI", tag, kinds[layout], 1) + packed
        expected = [(tag, kinds[layout], value) for tag, layout, value in fields]
        assert list(tiff.integers("TIFF", data)) == expected
        assert list(tiff.integers("TIFF", memoryview(data))) == expected
        if len(data) > 4:
            with pytest.raises(DecodeError, match=f"EXIF: .* the end at byte {len(data) - 1}"):
                list(tiff.integers("EXIF", data[:-1]))

    def test_others_are_refused(self) -> None:
        for data in (b"", b"II+\0" + bytes(20), b"MM*\0" + bytes(20)):
            with pytest.raises(DecodeError, match="TIFF: expected II or MM and 42"):
                list(tiff.integers("TIFF", data))
