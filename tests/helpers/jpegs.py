"""JPEG files of every kind the transcoder meets: from encoders, and written code by code."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
from helpers import jpegs
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fastdata.images.jpeg import Transcoded, transcode

Factors = tuple[tuple[int, int], ...]
FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION

# cv2 names of chroma subsampling.
SAMPLINGS = {
    "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "440": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "411": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Waves, sharp edges and grain, so that blocks have few coefficients here and many there."""
    rng = np.random.default_rng((seed, height, width))
    y, x = np.mgrid[0:height, 0:width] / 40.0
    waves = [np.sin(a * x + b * y + c) for a, b, c in rng.uniform(-4, 4, (channels, 3))]
    pixels = 128 + 100 * np.stack(waves, axis=2) + rng.normal(0, 6, (height, width, channels))
    pixels[(x * 40 // 23 + y * 40 // 17) % 5 == 0] *= 0.4
    return np.clip(pixels, 0, 255).astype(np.uint8)


def by_opencv(pixels: NDArray[np.uint8], **options: int) -> bytes:
    """Encode with OpenCV; ``QUALITY=90`` is its ``IMWRITE_JPEG_QUALITY``."""
    pairs = [n for k, v in options.items() for n in (getattr(cv2, f"IMWRITE_JPEG_{k}"), v)]
    done, data = cv2.imencode(".jpg", pixels, pairs)
    assert done
    return data.tobytes()


def by_pillow(pixels: NDArray[np.uint8], mode: str = "RGB", **options: object) -> bytes:
    """Encode with Pillow, whose options are passed on."""
    size = pixels.shape[1::-1]
    pixels = pixels[..., 0] if mode == "L" else pixels
    file = io.BytesIO()
    Image.frombytes(mode, size, pixels.tobytes()).save(file, "JPEG", **options)
    return file.getvalue()


def opencv_pixels(data: bytes | NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Decode with OpenCV to RGB; None where it refuses."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), FLAGS)


def pillow_pixels(data: bytes) -> NDArray[np.uint8] | None:
    """Decode with Pillow, in the file's own mode; None where it refuses."""
    try:
        return np.asarray(Image.open(io.BytesIO(data)))
    except OSError:
        return None


def segment(marker: int, payload: bytes) -> bytes:
    """A marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def flat_table(symbols: set[int]) -> tuple[bytes, dict[int, str]]:
    """A Huffman table, as DHT has it, whose codes all have the same length; and the codes."""
    ordered = sorted(symbols)
    length = len(ordered).bit_length()  # leaves the code of only ones free
    counts = bytes(len(ordered) if n == length else 0 for n in range(1, 17))
    codes = {symbol: f"{i:0{length}b}" for i, symbol in enumerate(ordered)}
    return counts + bytes(ordered), codes


def value_bits(value: int) -> tuple[int, str]:
    """Category of a value, and the bits that follow the category's code."""
    size = abs(value).bit_length()
    return size, f"{value if value > 0 else value + (1 << size) - 1:0{size}b}" if size else ""


def stuffed(bits: str, fill: str = "1") -> bytes:
    """Bits as bytes, padded, with a zero byte after each 0xFF."""
    bits += fill * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)).replace(
        b"\xff", b"\xff\0"
    )


def synthetic(
    height: int,
    width: int,
    factors: Factors,
    *,
    interval: int = 0,
    seed: int = 0,
    dense: int = 4,
    step: int = 6,
    extra: bytes = b"",
    frame: int = 0xC0,
    tail: bytes = b"",
) -> bytes:
    """A file of random coefficients, with Huffman tables that have only the symbols in use.

    ``factors`` are (horizontal, vertical) of each component; DC values make steps of at most
    ``step``, so that after a restart a DC category is needed that the table does not have.
    """
    rng = np.random.default_rng((seed, height, width))
    alone = len(factors) == 1
    mcu_width = 8 if alone else 8 * max(h for h, _ in factors)
    mcu_height = 8 if alone else 8 * max(v for _, v in factors)
    mcus = -(-height // mcu_height) * -(-width // mcu_width)
    values = [200 + 40 * c for c in range(len(factors))]
    pieces: list[list[tuple[int, int, str]]] = []  # of each MCU: (table, symbol, bits)
    previous = [0] * len(factors)
    for m in range(mcus):
        if interval and m % interval == 0:
            previous = [0] * len(factors)
        mcu = []
        for c, (h, v) in enumerate(factors):
            for _ in range(1 if alone else h * v):
                values[c] = int(np.clip(values[c] + rng.integers(-step, step + 1), -500, 500))
                size, bits = value_bits(values[c] - previous[c])
                previous[c] = values[c]
                mcu.append((min(c, 1), size, bits))
                mcu += random_ac(rng, 4 + min(c, 1), dense)
        pieces.append(mcu)
    tables = {t: {s for mcu in pieces for u, s, _ in mcu if u == t} for t in (0, 1, 4, 5)}
    made = {t: flat_table(symbols) for t, symbols in tables.items() if symbols}
    scan = b""
    for n, start in enumerate(range(0, mcus, interval or mcus)):
        scan += bytes((0xFF, 0xD0 + (n - 1) % 8)) if n else b""
        part = pieces[start : start + (interval or mcus)]
        scan += stuffed("".join(made[t][1][s] + bits for mcu in part for t, s, bits in mcu))
    n = len(factors)
    sof = struct.pack(">BHHB", 8, height, width, n) + b"".join(
        bytes((c + 1, h << 4 | v, 0)) for c, (h, v) in enumerate(factors)
    )
    sos = bytes([n]) + b"".join(bytes((c + 1, min(c, 1) * 0x11)) for c in range(n)) + b"\0\x3f\0"
    return b"".join(
        [b"\xff\xd8", extra, segment(0xDB, bytes([0]) + bytes([3] * 64)), segment(frame, sof)]
        + [segment(0xC4, bytes([t >> 2 << 4 | t & 1]) + body) for t, (body, _) in made.items()]
        + ([segment(0xDD, struct.pack(">H", interval))] if interval else [])
        + [segment(0xDA, sos), scan, b"\xff\xd9", tail]
    )


def random_ac(rng: np.random.Generator, table: int, dense: int) -> list[tuple[int, int, str]]:
    """The codes of a block's AC coefficients; now and then the last one is coefficient 63."""
    codes = []
    k = 1
    for _ in range(int(rng.integers(0, dense + 1)) if rng.random() < 0.9 else 64):
        run = int(rng.integers(0, 4)) if rng.random() < 0.9 else int(rng.integers(0, 20))
        value = int(rng.integers(1, 30)) * (1 if rng.random() < 0.5 else -1)
        if k + run > 63:
            break
        k += run + 1
        codes += [(table, 0xF0, "")] * (run // 16)
        size, bits = value_bits(value)
        codes.append((table, run % 16 << 4 | size, bits))
    return codes if k == 64 else [*codes, (table, 0, "")]


GREY: jpegs.Factors = ((1, 1),)


FACTORS = st.one_of(
    st.sampled_from(
        [
            GREY,
            ((2, 2),),
            ((1, 1), (1, 1), (1, 1)),
            ((2, 2), (1, 1), (1, 1)),
            ((2, 1), (1, 1), (1, 1)),
            ((1, 2), (1, 1), (1, 1)),
            ((4, 1), (1, 1), (1, 1)),
            ((2, 2), (2, 1), (1, 2)),
            ((1, 1), (2, 2), (1, 1)),
            ((1, 1), (1, 1), (1, 1), (1, 1)),
            ((2, 2), (1, 1), (1, 1), (2, 2)),
        ]
    ),
    st.lists(st.tuples(st.integers(1, 2), st.integers(1, 3)), min_size=3, max_size=3)
    .filter(lambda factors: sum(h * v for h, v in factors) <= 10)
    .map(tuple),
)


def transcoded(data: bytes, target: int = 8) -> Transcoded:
    result = transcode(data, target)
    assert isinstance(result, Transcoded), result
    return result
