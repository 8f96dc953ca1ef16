"""The cases: kinds of images and of work, each done in several ways (its columns).

In every case the images are uint8, N×3×size×size, in full batches. Boxes are drawn alike in all
columns, so the same share of each image is wanted; Pillow's and fastdata's pixels are the same for
the same box, except where a column says otherwise.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import NamedTuple

from ..common.errors import BenchmarkError
from ..contenders.contenders import PackSpec


class Source(NamedTuple):
    """Images of a case: photographs, where ``size`` is None and a folder is given, or made ones.

    ``images`` are laid out in all; ``made`` different ones are made, all of ``size`` if it is set.
    """

    name: str
    images: int
    made: int
    size: str | None = None


class Aim(NamedTuple):
    """At least ``least`` of a ``figure`` for ``column``.

    Figures: images_per_s; images_per_cpu_s (images/s of one busy core); gain_over_full (CPU time of
    column ``full`` divided by this column's).
    """

    column: str
    figure: str
    least: float


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of images and of work.

    Attributes:
        geometry: "crop" (RandomResizedCrop and flip), "centre" (shorter side to 8/7 of ``size``,
            central crop) or "pad" (RandomCrop with padding 4, and flip).
        pack: what fastdata reads.
        columns: names in ``COLUMNS``.
        unpacked: the others read the images of the pack, unpacked, not those of the source.
    """

    name: str
    title: str
    source: Source
    size: int
    batch: int
    geometry: str
    pack: PackSpec
    columns: tuple[str, ...]
    unpacked: bool = False
    aims: tuple[Aim, ...] = ()


COLUMNS = {
    "pil": "Pillow decodes the whole image; torch DataLoader, process workers",
    "full": "OpenCV decodes the whole image; torch DataLoader, process workers; OpenCV linear, "
    "or area where the case is antialiased everywhere",
    "fastdata": "pack and worker threads; antialiased, Pillow's very pixels",
    "processes": "the same with process workers",
    "linear": "as fastdata, resized without antialiasing, as torch does it",
    "reduced": "as fastdata, large images decoded at 1/2, 1/4 or 1/8 (other pixels)",
}

PHOTOS = Source("photos", 512, 512)
BIG = Source("big", 32, 8, "3000x4000")
SMALL = Source("small", 1024, 512, "256x256")
TINY = Source("tiny", 4096, 1024, "32x32")

_SLICEABLE = PackSpec("lmdb", "sliceable")
_RAW = PackSpec("lmdb", "raw")
_BASIC = ("pil", "full", "fastdata")

_ALL = [
    Case(
        "imagenet-224",
        "photographs, RandomResizedCrop(224)",
        *(PHOTOS, 224, 64, "crop", _SLICEABLE),
        columns=(*_BASIC, "processes", "linear"),
    ),
    Case(
        "imagenet-160",
        "photographs, RandomResizedCrop(160)",
        *(PHOTOS, 160, 64, "crop", _SLICEABLE, _BASIC),
    ),
    Case(
        "validation",
        "photographs, Resize(256) and CenterCrop(224), all antialiased",
        *(PHOTOS, 224, 64, "centre", _SLICEABLE, _BASIC),
    ),
    Case(
        "12-megapixel",
        "made images of 3000x4000, RandomResizedCrop(224)",
        *(BIG, 224, 16, "crop", _SLICEABLE),
        columns=(*_BASIC, "reduced"),
        aims=(Aim("reduced", "gain_over_full", 8),),
    ),
    Case(
        "tiny-32",
        "made images of 32x32 (JPEG, or stored raw), RandomCrop(32, padding=4)",
        *(TINY, 32, 128, "pad", _RAW),
        columns=(*_BASIC, "processes"),
        aims=(Aim("fastdata", "images_per_s", 40_000), Aim("processes", "images_per_s", 40_000)),
    ),
    Case(
        "raw-256",
        "made images of 256x256 (JPEG, or stored raw), RandomResizedCrop(224)",
        *(SMALL, 224, 64, "crop", _RAW),
        columns=(*_BASIC, "processes", "linear"),
        aims=(Aim("fastdata", "images_per_cpu_s", 5000), Aim("linear", "images_per_cpu_s", 5000)),
    ),
    Case(
        "short-256",
        "photographs re-encoded with a shorter side of 256, RandomResizedCrop(224)",
        *(PHOTOS, 224, 64, "crop", PackSpec("lmdb", "jpeg", 256), _BASIC),
        unpacked=True,
    ),
]

CASES = {case.name: case for case in _ALL}


def choose(only: list[str] | None) -> list[Case]:
    """The named cases in their order here, or all.

    Raises:
        BenchmarkError: one is unknown.
    """
    unknown = sorted(set(only or ()) - set(CASES))
    if unknown:
        raise BenchmarkError(f"unknown case {', '.join(unknown)}; there are {', '.join(CASES)}")
    return [case for case in CASES.values() if only is None or case.name in only]


def columns(case: Case) -> tuple[list[str], dict[str, str]]:
    """The columns that can be measured here, and for each of the others why it cannot."""
    from fastdata import PackedImageFolder

    known = inspect.signature(PackedImageFolder.__init__).parameters
    if "reduced" not in case.columns or "decode_scale" in known:
        return list(case.columns), {}
    why = "PackedImageFolder has no decode_scale in this version"
    return [name for name in case.columns if name != "reduced"], {"reduced": why}
