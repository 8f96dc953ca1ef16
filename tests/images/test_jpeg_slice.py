"""Slicing: the pixels of a slice are those of the whole image, bit for bit."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from helpers import jpegs
from helpers.jpegs import FACTORS, transcoded
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastdata.errors import DecodeError
from fastdata.images.jpeg import Slicer, Transcoded, _slicer

Box = tuple[int, int, int, int]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut also where it does not pay."""
    monkeypatch.setattr(_slicer, "_LEAST", -1)


@st.composite
def spans(draw: st.DrawFn, size: int) -> tuple[int, int]:
    start = draw(st.integers(0, size - 1))
    return start, draw(st.integers(1, size - start))


def check(record: Transcoded, box: Box, whole: NDArray[np.uint8]) -> None:
    part = Slicer().slice(record.record, record.index_offset, box)
    assert part is not None
    pixels = jpegs.opencv_pixels(part.data)
    assert pixels is not None
    top, left, height, width = box
    found = pixels[part.top : part.top + height, part.left : part.left + width]
    assert np.array_equal(found, whole[top : top + height, left : left + width])
    again = jpegs.pillow_pixels(part.data.tobytes())
    assert again is not None
    assert again.shape[:2] == pixels.shape[:2]


@pytest.mark.usefixtures("always")
@settings(max_examples=200)
@given(data=st.data(), factors=FACTORS, target=st.integers(1, 9), seed=st.integers(0, 99))
def test_random_scans(data: st.DataObject, factors: jpegs.Factors, target: int, seed: int) -> None:
    height, width = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 200))
    record = transcoded(jpegs.synthetic(height, width, factors, seed=seed, dense=8), target)
    whole = jpegs.opencv_pixels(record.record)
    if whole is None:
        return  # libjpeg knows no upsampling by fractions
    for _ in range(3):
        (top, rows), (left, columns) = data.draw(spans(height)), data.draw(spans(width))
        check(record, (top, left, rows, columns), whole)


@pytest.mark.usefixtures("always")
@settings(max_examples=150)
@given(
    data=st.data(),
    sampling=st.sampled_from(sorted(jpegs.SAMPLINGS)),
    quality=st.integers(1, 100),
    target=st.integers(1, 9),
)
def test_opencv_files(data: st.DataObject, sampling: str, quality: int, target: int) -> None:
    height, width = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 250))
    pixels = jpegs.picture(height, width)
    file = jpegs.by_opencv(pixels, QUALITY=quality, SAMPLING_FACTOR=jpegs.SAMPLINGS[sampling])
    record = transcoded(file, target)
    whole = jpegs.opencv_pixels(record.record)
    assert whole is not None
    for _ in range(3):
        (top, rows), (left, columns) = data.draw(spans(height)), data.draw(spans(width))
        check(record, (top, left, rows, columns), whole)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("sampling", sorted(jpegs.SAMPLINGS))
def test_every_small_box(sampling: str) -> None:
    """Each edge, with its neighbours: where upsampling looks over it."""
    file = jpegs.by_opencv(jpegs.picture(50, 145), SAMPLING_FACTOR=jpegs.SAMPLINGS[sampling])
    record = transcoded(file, 4)
    whole = jpegs.opencv_pixels(record.record)
    assert whole is not None
    for top in range(0, 49, 3):
        check(record, (top, 30, 2, 3), whole)
    for left in range(143):
        check(record, (20, left, 1, 2), whole)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("keep_rgb", [False, True])
def test_colour_meaning_is_kept(mode: str, keep_rgb: bool) -> None:
    pixels = jpegs.picture(80, 160, 4 if mode == "CMYK" else 3)
    record = transcoded(jpegs.by_pillow(pixels, mode, quality=90, keep_rgb=keep_rgb))
    whole = jpegs.opencv_pixels(record.record)
    assert whole is not None
    check(record, (33, 70, 20, 30), whole)


def sample() -> Transcoded:
    return transcoded(jpegs.by_opencv(jpegs.picture(400, 500), QUALITY=95))


def test_a_slice_is_small() -> None:
    record = sample()
    part = Slicer().slice(record.record, record.index_offset, (100, 100, 80, 80))
    assert part is not None
    assert part.data.size < len(record.record) / 4


def test_nearly_everything_is_not_cut() -> None:
    record = sample()
    assert Slicer().slice(record.record, record.index_offset, (0, 0, 400, 500)) is None
    assert Slicer().slice(record.record, record.index_offset, (1, 1, 395, 495)) is None


def test_records_in_any_memory() -> None:
    record = sample()
    box = (10, 20, 50, 60)
    slicer = Slicer()
    first = slicer.slice(record.record, record.index_offset, box)
    assert first is not None
    expected = first.data.tobytes()
    array = np.frombuffer(record.record, np.uint8)
    for memory in (bytearray(record.record), memoryview(record.record), array, array.copy()):
        part = slicer.slice(memory, record.index_offset, box)
        assert part is not None
        assert (part.data.tobytes(), part.top, part.left) == (expected, first.top, first.left)


@pytest.mark.parametrize(
    "box",
    [
        (-1, 0, 10, 10), (0, -1, 10, 10), (0, 0, 0, 10), (0, 0, 10, 0), (391, 0, 10, 10),
        (0, 491, 10, 10), (0, 0, 401, 10), (0, 0, 10, 501), (2**62, 0, 2**62, 10), (0, 0, -5, 10),
    ],
)  # fmt: skip
def test_a_box_outside_the_image_is_named(box: Box) -> None:
    record = sample()
    with pytest.raises(DecodeError, match="box"):
        Slicer().slice(record.record, record.index_offset, box)


def test_threads_with_a_slicer_each() -> None:
    record = sample()
    boxes = [(i, 2 * i, 60, 50 + i) for i in range(100)]

    def cut(results: list[bytes]) -> None:
        slicer = Slicer()
        for box in boxes:
            part = slicer.slice(record.record, record.index_offset, box)
            assert part is not None
            results.append(part.data.tobytes())

    lists: list[list[bytes]] = [[], [], []]
    threads = [threading.Thread(target=cut, args=(results,)) for results in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lists[0]) == 100
    assert lists[0] == lists[1] == lists[2]
