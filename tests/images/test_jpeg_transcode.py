"""Transcoding: the same pixels, the same scan bits when undone, and every other byte kept."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from helpers import jpegs
from helpers.jpegs import FACTORS, GREY, transcoded
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastdata.images.jpeg import find_index, index, interval_for, transcode
from fastdata.images.jpeg._header import parse
from fastdata.images.jpeg._transcode import grid, recode


def scan_of(data: bytes) -> bytes:
    """The scan with EOI, of a file with nothing after it."""
    return data[parse(data).scan_start :]


def check(data: bytes, target: int) -> None:
    """All that holds for every file that can be transcoded."""
    record = transcoded(data, target).record
    for decoder in (jpegs.opencv_pixels, jpegs.pillow_pixels):
        assert np.array_equal(decoder(record), decoder(data))
    header = parse(data)
    rows, columns = grid(header)
    back, _, _, _ = recode(record, parse(record), header.interval or rows * columns)
    assert back.tobytes() == scan_of(data)


@settings(max_examples=150)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 150),
    factors=FACTORS,
    interval=st.integers(0, 12),
    target=st.integers(1, 20),
    seed=st.integers(0, 1000),
    dense=st.sampled_from([0, 2, 10]),
    step=st.sampled_from([0, 3, 100]),
)
def test_random_scans(
    height: int,
    width: int,
    factors: jpegs.Factors,
    interval: int,
    target: int,
    seed: int,
    dense: int,
    step: int,
) -> None:
    data = jpegs.synthetic(
        height, width, factors, interval=interval, seed=seed, dense=dense, step=step
    )
    check(data, target)


@settings(max_examples=60)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 200),
    sampling=st.sampled_from(sorted(jpegs.SAMPLINGS)),
    quality=st.integers(1, 100),
    optimize=st.booleans(),
    interval=st.integers(0, 30),
    target=st.integers(1, 16),
)
@example(1, 1, "420", 100, True, 0, 8)
def test_opencv_files(
    height: int,
    width: int,
    sampling: str,
    quality: int,
    optimize: bool,
    interval: int,
    target: int,
) -> None:
    data = jpegs.by_opencv(
        jpegs.picture(height, width),
        QUALITY=quality,
        SAMPLING_FACTOR=jpegs.SAMPLINGS[sampling],
        OPTIMIZE=int(optimize),
        RST_INTERVAL=interval,
    )
    check(data, target)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize(
    "options", [{}, {"optimize": True}, {"restart_marker_rows": 1}, {"keep_rgb": True}]
)
def test_pillow_files(mode: str, subsampling: int, options: dict[str, object]) -> None:
    pixels = jpegs.picture(61, 117, 4 if mode == "CMYK" else 3)
    if mode == "L" or "keep_rgb" in options:
        subsampling = 0
    data = jpegs.by_pillow(pixels, mode, quality=88, subsampling=subsampling, **options)
    check(data, 8)


def test_every_other_byte_is_kept_and_the_index_is_found() -> None:
    kept = [
        jpegs.segment(0xE1, b"Exif\0\0" + bytes(range(256))),
        jpegs.segment(0xE2, b"ICC_PROFILE\0\1\1" + b"x" * 3000),
        jpegs.segment(0xFE, b"a comment"),
        jpegs.segment(0xED, b"Photoshop 3.0\0"),
        jpegs.segment(0xE9, b"someone else's APP9"),
    ]
    data = jpegs.synthetic(60, 90, GREY, extra=b"".join(kept), tail=b"\xff\xd8 trailing \xff\xd9")
    result = transcoded(data)
    assert result.record.startswith(b"\xff\xd8" + b"".join(kept) + b"\xff\xe9")
    assert result.record.endswith(b"\xff\xd9\xff\xd8 trailing \xff\xd9")
    assert result.index_offset == len(b"".join(kept)) + 2 == find_index(result.record)
    assert find_index(data) is None
    assert find_index(b"no JPEG") is None


def test_restart_markers_stand_where_the_header_and_the_index_say() -> None:
    data = jpegs.by_opencv(jpegs.picture(200, 320), SAMPLING_FACTOR=jpegs.SAMPLINGS["444"])
    result = transcoded(data)
    header = parse(result.record)
    assert header.interval == 8  # 40 MCUs in a row
    table = result.record[result.index_offset + 37 :][: 2 * 5 * 25]
    at = header.scan_start
    for k, (length,) in enumerate(struct.iter_unpack(">H", table)):
        at += length
        marker = 0xD0 + k % 8 if k < 124 else 0xD9
        assert result.record[at - 2 : at] == bytes((0xFF, marker))
    assert at == len(result.record)


@pytest.mark.parametrize(
    ("columns", "target", "interval"),
    [
        (63, 8, 9),
        (64, 8, 8),
        (47, 8, 47),
        (46, 8, 23),
        (3, 8, 3),
        (1, 8, 1),
        (44, 4, 4),
        (32, 1, 4),
    ],
)
def test_intervals_divide_a_row(columns: int, target: int, interval: int) -> None:
    data = jpegs.synthetic(8, 8 * columns, GREY)
    assert parse(transcoded(data, target).record).interval == interval


def test_many_intervals_still_fit_the_index() -> None:
    data = jpegs.synthetic(8, 65_500, GREY, dense=0)
    assert parse(transcoded(data, 4).record).interval == 4  # 8,188 MCUs, 2,047 intervals
    data = jpegs.by_opencv(np.zeros((8 * 200, 8 * 400), np.uint8))
    assert parse(transcoded(data, 4).record).interval == 8  # 5 would make 16,000 intervals


def test_long_intervals_take_wider_index_entries() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (8, 8 * 1009), np.uint8)  # a prime: the row is one interval
    data = jpegs.by_opencv(noise, QUALITY=100)
    result = transcoded(data)
    assert len(data) > 70_000
    assert result.record[result.index_offset + 14] & 2
    assert np.array_equal(jpegs.opencv_pixels(result.record), jpegs.opencv_pixels(data))


@settings(max_examples=30)
@given(
    factors=FACTORS, width=st.integers(1, 200), target=st.integers(1, 16), first=st.integers(1, 16)
)
def test_a_record_makes_itself(factors: jpegs.Factors, width: int, target: int, first: int) -> None:
    data = jpegs.synthetic(40, width, factors, step=2)
    record = transcoded(data, target)
    assert transcode(record.record, target) == record
    assert transcoded(transcoded(record.record, first).record, target) == record
    for kind in (bytearray, memoryview):
        assert transcode(kind(data), target) == record


def test_codes_are_added_for_categories_that_only_restarts_need() -> None:
    data = jpegs.synthetic(8, 8 * 64, GREY, step=60)  # differences up to 60, values up to 500
    before, after = parse(data), parse(transcoded(data).record)
    n = int(before.counts[0].sum())
    assert n < 12 == after.counts[0].sum()
    assert np.array_equal(before.symbols[0, :n], after.symbols[0, :n])
    assert len(after.needed) == len(before.needed) + 1
    same = jpegs.synthetic(8, 8 * 64, GREY, step=0)  # 200 everywhere: restarts need nothing new
    assert parse(transcoded(same).record).needed == parse(same).needed


def test_colour_meaning_is_kept() -> None:
    """JFIF, Adobe's marker and component numbers decide whether there is YCbCr or RGB inside."""
    jfif = jpegs.segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    adobe = [jpegs.segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([n])) for n in (0, 1, 2)]
    for factors, parts in itertools.product(
        (((1, 1),) * 3, ((1, 1),) * 4), ([], [jfif], *[[a] for a in adobe], [adobe[0], jfif])
    ):
        check(jpegs.synthetic(30, 70, factors, extra=b"".join(parts)), 8)


@settings(max_examples=50)
@given(height=st.integers(1, 400), width=st.integers(1, 400), quality=st.integers(1, 100))
def test_an_encoder_that_sets_the_interval_writes_the_same_record(
    height: int, width: int, quality: int
) -> None:
    pixels = jpegs.picture(height, width)
    interval = interval_for(height, width)
    marked = jpegs.by_opencv(pixels, QUALITY=quality, RST_INTERVAL=interval)
    assert index(marked) == transcode(jpegs.by_opencv(pixels, QUALITY=quality), 6)


def test_what_has_no_such_interval_is_not_indexed() -> None:
    pixels = jpegs.picture(40, 70)
    marked = jpegs.by_opencv(pixels, RST_INTERVAL=interval_for(40, 70))
    assert index(marked) is not None
    assert index(jpegs.by_opencv(pixels)) is None
    assert index(jpegs.by_opencv(pixels, RST_INTERVAL=2)) is None
    assert index(jpegs.by_opencv(pixels, PROGRESSIVE=1)) is None
    swapped = marked.replace(b"\xff\xd0", b"\xff\xd1", 1)
    for damaged in (b"", marked[:30], marked[:-1], marked[:-2], marked + b"\0", swapped):
        assert index(damaged) is None
