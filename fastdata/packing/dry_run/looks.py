"""A few samples of a source, looked at closely: what they are, and what packing makes of them."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from ...errors import DecodeError, FastdataError
from ...images import (
    ENCODINGS,
    EncodedImage,
    EncodeSettings,
    Encoding,
    Image,
    StoredImage,
    StoredMedia,
    decode_image,
    decode_whole,
    encode_image,
    jpeg,
    probe,
    quiet_opencv,
    rgb_of,
    single_threaded_opencv,
)
from ...sources import Item
from ..options import PackSettings
from ..records import fetch
from ..samples import Bad, record_of

_MOST = 64
_FEWEST = 4
_SIDE = 1024  # of the piece of a large image that stands for all of it
_SEED = 0


@dataclass(slots=True)
class SampleFacts:
    """Facts about one sample.

    Attributes:
        key: its name.
        bytes_in: size of what it is made of, as the source says.
        bad: why it would be left out; "" if it would not.
        record: bytes of its record, with the settings that were asked for.
        seconds: that reading and encoding it took, in one thread.
        format: of its image: jpeg, png, …; "pixels" if it is none; "" if that is not known.
        height, width: of its image.
        rotated: whether its EXIF orientation is another than upright.
        unfit: why a JPEG cannot be sliceable; "" if it can, or is none.
        sizes: by the names of ``candidates``, about the bytes of its image.
    """

    key: str
    bytes_in: int = 0
    _: KW_ONLY
    bad: str = ""
    record: int = 0
    seconds: float = 0.0
    format: str = ""
    height: int = 0
    width: int = 0
    rotated: bool = False
    unfit: str = ""
    sizes: dict[str, int] = field(default_factory=dict)


def candidates() -> dict[str, EncodeSettings]:
    """Settings that sizes are estimated for, by name: each encoding as it is, and those that lose
    detail with smaller images, too."""
    found = {}
    for name, encoding in ENCODINGS.items():
        found[name] = EncodeSettings(name)
        if encoding.has_quality and encoding.may_shrink:
            found[f"{name}, resize_short 256"] = EncodeSettings(name, resize_short=256)
    return found


def look_at(
    count: int, item: Callable[[int], tuple[Item, int]], settings: PackSettings, budget: float
) -> list[SampleFacts]:
    """Look at up to 64 of ``count`` samples, the same each time, spread over all of them.

    Args:
        count: of the samples there are.
        item: a sample by its index, and the bytes it is made of.
        settings: how they are to be packed.
        budget: seconds after which no more than four are begun.
    """
    places, deadline = _places(count), time.monotonic() + budget
    looks: list[SampleFacts] = []
    with quiet_opencv(), single_threaded_opencv:
        if places:
            _timed(*item(places[0]), settings)  # what is only slow the first time: imports, caches
        for place in places:
            if len(looks) >= _FEWEST and time.monotonic() > deadline:
                break
            looks.append(_look(*item(place), settings))
    return looks


def _places(count: int) -> list[int]:
    """One place at random in each of 64 equal stretches, in random order."""
    rng = np.random.default_rng(_SEED)
    edges = np.linspace(0, count, min(count, _MOST) + 1).astype(int)
    places = rng.integers(edges[:-1], edges[1:])
    return [int(place) for place in rng.permutation(places)]


def _look(item: Item, size: int, settings: PackSettings) -> SampleFacts:
    look = _timed(item, size, settings)
    if not look.bad:
        name, kind = next(iter(settings.fields.items()))
        with suppress(DecodeError, OSError):  # only its header may have been looked at until now
            stays = ENCODINGS[settings.encode.encoding]
            _describe(look, _plain(fetch(name, kind, item), stays))
    return look


def _timed(item: Item, size: int, settings: PackSettings) -> SampleFacts:
    started = time.perf_counter()
    try:
        result = record_of(lambda: item, settings)
    except FastdataError as error:
        return SampleFacts(item.key, size, bad=str(error))
    seconds = time.perf_counter() - started
    if isinstance(result, Bad):
        return SampleFacts(item.key, size, bad=result.rejection.reason, seconds=seconds)
    return SampleFacts(item.key, size, record=len(result.data), seconds=seconds)


def _describe(look: SampleFacts, data: bytes | Image) -> None:
    if isinstance(data, bytes):
        _describe_file(look, data)
        image = decode_whole(data)
    else:
        image, look.format = data, "pixels"
    look.height, look.width = image.shape[:2]
    look.sizes = {name: _size_as(wanted, data, image) for name, wanted in candidates().items()}


def _plain(value: Any, encoding: Encoding) -> bytes | Image:
    """An image's file, or its pixels; ``encoding`` is that of a pack whose records stay."""
    if isinstance(value, StoredMedia):
        stored = EncodedImage(value.data, value.height, value.width, raw=encoding.is_pixels)
        return decode_image(stored) if encoding.is_pixels else value.data
    value = value.image if isinstance(value, StoredImage) else value
    return value if isinstance(value, bytes) else rgb_of(value)


def _describe_file(look: SampleFacts, data: bytes) -> None:
    try:
        header = probe(data)
    except DecodeError:
        look.format = "other"
        return
    look.format, look.rotated = header.format, header.orientation != 1
    if header.format == "jpeg" and jpeg.available():
        result = jpeg.transcode(data)
        look.unfit = result.value if isinstance(result, jpeg.Reason) else ""


def _size_as(settings: EncodeSettings, data: bytes | Image, image: Image) -> int:
    """Bytes of an image in an encoding; what takes long is measured on a piece of it."""
    encoding = ENCODINGS[settings.encoding]
    if encoding.is_pixels:
        return image.size
    if encoding.file_size is not None and isinstance(data, bytes):
        return encoding.file_size(data)
    if settings.shrinks:
        return len(encode_image(image, settings).media.data)
    top, left = (max(length - _SIDE, 0) // 2 for length in image.shape[:2])
    piece = np.ascontiguousarray(image[top : top + _SIDE, left : left + _SIDE])
    return round(len(encode_image(piece, settings).media.data) * image.size / piece.size)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, and the bounds that it lies between nineteen times of twenty."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Estimate:
        """Times a number."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


def total(values: Iterable[float], sizes: Sequence[int], count: int, size: int) -> Estimate:
    """Estimate a sum over all samples.

    Args:
        values: of the samples looked at.
        sizes: bytes of what they are made of.
        count: of all samples.
        size: bytes of what all are made of; 0 if that is not known.

    The values are taken either as proportional to the sizes, or as independent of them, whichever
    leaves less doubt (ratio and mean estimator, Cochran, Sampling Techniques, chapters 2 and 6).
    """
    y, x = np.array(list(values), float), np.array(sizes, float)
    if not len(y):
        return Estimate(0.0, 0.0, math.inf)
    guesses = [(count * float(y.mean()), y - y.mean())]
    if size and x.sum():
        ratio = float(y.sum() / x.sum())
        guesses.append((size * ratio, y - x * ratio))
    unseen = max(1 - len(y) / count, 0.0)
    spread = [
        count * math.sqrt(unseen * float(rest @ rest) / max(len(y) - 1, 1) / len(y))
        for _, rest in guesses
    ]
    best = int(np.argmin(spread))
    value = guesses[best][0]
    return Estimate(value, max(value - 2 * spread[best], 0.0), value + 2 * spread[best])


def median_size(looks: Iterable[SampleFacts]) -> tuple[int, int]:
    """Median height and width; zeros if no size is known."""
    sizes = [(look.height, look.width) for look in looks if look.height]
    if not sizes:
        return 0, 0
    height, width = np.median(np.array(sizes), axis=0)
    return int(height), int(width)


def counted(values: Iterable[str]) -> dict[str, int]:
    """Number of times each text occurs, the most frequent first; empty ones are not counted."""
    return dict(Counter(filter(None, values)).most_common())
