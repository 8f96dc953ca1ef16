"""Whatever the bytes are: a reason, a DecodeError or a result, and no access out of bounds."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import jpegs

from fastdata.errors import DecodeError
from fastdata.images.jpeg import Reason, Slicer, Transcoded, _bits, _slicer, find_index, transcode
from fastdata.images.jpeg._header import parse

SOURCES = [
    jpegs.synthetic(40, 100, ((1, 1),), interval=3),
    jpegs.synthetic(40, 70, ((2, 2), (1, 1), (1, 1)), dense=10),
    jpegs.synthetic(20, 300, ((1, 1), (1, 1), (1, 1)), interval=7, step=50),
]


def damaged(data: bytes, rng: np.random.Generator, first: int, last: int) -> bytes:
    """Some bytes within [first, last) replaced, bits flipped, or a part cut out or repeated."""
    result = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(first, last))
        kind = rng.integers(0, 10)
        if kind < 4:
            result[min(at, len(result) - 1)] = int(rng.choice([0, 1, 2, 127, 128, 254, 255]))
        elif kind < 8:
            result[min(at, len(result) - 1)] ^= 1 << int(rng.integers(0, 8))
        elif kind == 8:
            del result[at : at + int(rng.integers(1, 20))]
        else:
            result[at:at] = result[at : at + int(rng.integers(1, 20))]
    return bytes(result)


def fuzz_transcode(rounds: int, seed: int) -> None:
    """Damaged files make a record or a reason."""
    rng = np.random.default_rng(seed)
    for i in range(rounds):
        data = SOURCES[i % len(SOURCES)]
        scan = parse(data).scan_start
        first, last = (0, scan) if i % 2 else (scan, len(data))
        result = transcode(damaged(data, rng, first, last), int(rng.integers(1, 12)))
        assert isinstance(result, Transcoded | Reason)


def fuzz_slice(rounds: int, seed: int) -> None:
    """Damaged records make a slice, no larger than the record, or a DecodeError."""
    rng = np.random.default_rng(seed)
    slicer = Slicer()
    for i in range(rounds):
        record = transcode(SOURCES[i % len(SOURCES)], 4)
        assert isinstance(record, Transcoded)
        data, index = record
        header = parse(data)
        first, last = [(index, index + 60), (index, header.scan_start), (0, len(data))][i % 3]
        bad = damaged(data, rng, first, last)
        top, left, height, width = (int(n) for n in rng.integers(0, 40, 4))
        try:
            part = slicer.slice(bad, index, (top, left, height + 1, width + 1))
        except DecodeError:
            continue
        assert part is None or part.data.size <= len(bad) + 20


def test_damaged_files() -> None:
    fuzz_transcode(3000, 1)


def test_damaged_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_slicer, "_LEAST", -1)
    fuzz_slice(6000, 2)


def fuzz_checked() -> None:
    """What the next test runs in a process of its own, where kernels check every index."""
    with pytest.raises(IndexError):
        _bits.load64(np.zeros(7, np.uint8), 0)
    _slicer._LEAST = -1
    fuzz_transcode(1500, 3)
    fuzz_slice(3000, 4)
    for data in SOURCES:
        assert isinstance(transcode(data), Transcoded)


def test_no_access_out_of_bounds(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    code = f"import {__name__} as tests; tests.fuzz_checked()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=110)


@pytest.mark.parametrize("source", range(3))
def test_cut_off_files(source: int) -> None:
    data = SOURCES[source]
    for size in range(len(data)):
        expected = Reason.NOT_JPEG if size < 3 else Reason.DAMAGED
        assert transcode(data[:size]) is expected


def test_cut_off_records() -> None:
    record, index = transcode(SOURCES[1])  # type: ignore[misc]
    slicer = Slicer()
    for size in range(len(record)):
        with pytest.raises(DecodeError):
            slicer.slice(record[:size], index, (0, 0, 8, 8))


def test_an_index_that_is_none() -> None:
    record, index = transcode(SOURCES[1])  # type: ignore[misc]
    for wrong in (-1, 0, 1, index - 1, index + 1, len(record) - 1, len(record), 2**62, -(2**62)):
        with pytest.raises(DecodeError, match="index"):
            Slicer().slice(record, wrong, (0, 0, 8, 8))
    assert find_index(record[: index + 20]) is None


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, 0), (2, 5)])
def test_moved_interval_ends_are_noticed(a: int, b: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their sum stays right, but no marker stands where one should."""
    monkeypatch.setattr(_slicer, "_LEAST", -1)
    record, index = transcode(jpegs.synthetic(20, 320, ((1, 1),)), 4)  # type: ignore[misc]
    bad = bytearray(record)
    for entry, change in ((a, 1), (b, -1)):
        at = index + 37 + 2 * entry
        struct.pack_into(">H", bad, at, struct.unpack_from(">H", bad, at)[0] + change)
    with pytest.raises(DecodeError, match="restart"):
        Slicer().slice(bad, index, (0, 32 * min(a, b) + 4, 4, 8))


def frame_start(data: bytes) -> int:
    return data.index(b"\xff\xc0\0\x11\x08")


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def test_reasons() -> None:
    data = SOURCES[1]
    sof = frame_start(data)
    scan = parse(data).scan_start
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    sos = jpegs.segment(0xDA, b"\1\1\0\0\x3f\0")
    whole = jpegs.segment(0xDA, b"\3\1\0\2\x11\3\x11\0\x3f\0")
    pixels = jpegs.picture(20, 30)
    cases = [
        (b"", Reason.NOT_JPEG),
        (png, Reason.NOT_JPEG),
        (jpegs.by_opencv(pixels, PROGRESSIVE=1), Reason.PROGRESSIVE),
        (changed(data, sof + 1, b"\xc9"), Reason.ARITHMETIC),
        (changed(data, sof + 1, b"\xc3"), Reason.LOSSLESS),
        (changed(data, sof + 1, b"\xc5"), Reason.LOSSLESS),
        (changed(data, sof + 4, b"\x0c"), Reason.PRECISION),
        (changed(data, sof + 5, b"\0\0"), Reason.DNL),
        (changed(data, sof + 7, b"\0\0"), Reason.DAMAGED),
        (changed(data, sof + 5, b"\1\0"), Reason.DAMAGED),
        (jpegs.synthetic(8, 8, ((1, 1), (1, 1))), Reason.COMPONENTS),
        (data.replace(whole, sos), Reason.SCANS),
        (data[:-2] + sos + data[scan:], Reason.SCANS),
        (data[:-2] + b"\0\0\xff\xd9", Reason.DAMAGED),
        (data[:-2] + b"\xff\xdc\0\4\0\x28\xff\xd9", Reason.DNL),
        (data.replace(b"\xff\xc4", b"\xff\xc8"), Reason.DAMAGED),
        (SOURCES[0].replace(b"\xff\xd1", b"\xff\xd2", 1), Reason.DAMAGED),
        (SOURCES[0].replace(b"\xff\xd1", b"", 1), Reason.DAMAGED),
    ]
    assert [transcode(case) for case, _ in cases] == [reason for _, reason in cases]


def test_extended_sequential_frames_are_taken() -> None:
    data = jpegs.synthetic(40, 70, ((2, 2), (1, 1), (1, 1)), frame=0xC1)
    assert isinstance(transcode(data), Transcoded)
