"""Places of images and masks in segmentation data sets, and how the names of the two correspond.

Known layouts: Cityscapes (``leftImg8bit``, ``gtFine``), Pascal VOC (``JPEGImages``,
``SegmentationClass``), and ``images`` beside ``masks``, ``annotations`` (ADE20K's
SceneParsing), ``labels`` or ``gt``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..folder.walk import EXTENSIONS

#: Without loss: a mask's pixels are labels.
MASK_EXTENSIONS = (".bmp", ".png", ".tif", ".tiff")


class Suffixes(NamedTuple):
    """Ends of the names of an image and its mask behind their common part, less the extension."""

    image: str
    mask: str


#: Of most data sets, Cityscapes, many, DeepGlobe and CamVid.
KNOWN_SUFFIXES = (
    Suffixes("", ""),
    Suffixes("_leftImg8bit", "_gtFine_labelIds"),
    Suffixes("", "_mask"),
    Suffixes("_sat", "_mask"),
    Suffixes("", "_L"),
)


class PairLayout(NamedTuple):
    """The directories of images and masks; of Pascal VOC also that of the lists of splits."""

    images: Path
    masks: Path
    splits: Path | None = None


def layouts(root: Path) -> Iterator[PairLayout]:
    """The known layouts whose two directories a folder has, with masks in the one for masks."""
    voc = PairLayout(
        root / "JPEGImages", root / "SegmentationClass", root / "ImageSets" / "Segmentation"
    )
    plain = ("masks", "annotations", "labels", "gt")
    known = [PairLayout(root / "leftImg8bit", root / "gtFine"), voc]
    known += [PairLayout(root / "images", root / name) for name in plain]
    for layout in known:
        if layout.images.is_dir() and some_masks(layout.masks):
            yield layout


def detect_pairs(root: str | os.PathLike[str]) -> bool:
    """True if a folder has one of the known layouts, with an image for at least one mask.

    A few files are looked at, so that the answer takes no time. The directory ``labels`` alone
    proves nothing: in YOLO's layout it holds text files.
    """
    return any(has_pair(layout) for layout in layouts(Path(root)))


def has_pair(layout: PairLayout) -> bool:
    """True if one of the first masks has an image, by one of the known suffixes."""
    return any(
        stem.endswith(suffixes.mask) and _image_exists(layout.images, stem, suffixes)
        for stem in some_masks(layout.masks)
        for suffixes in KNOWN_SUFFIXES
    )


def some_masks(directory: Path) -> list[str]:
    """Up to 100 masks among a directory's first 10,000 files, relative, without extension."""
    files = (
        (os.path.join(folder, name) for name in sorted(names))
        for folder, _, names in os.walk(directory)
    )
    first = islice((path for folder in files for path in folder), 10_000)
    masks = (path for path in first if path.lower().endswith(MASK_EXTENSIONS))
    return [stem_of(os.path.relpath(path, directory)) for path in islice(masks, 100)]


def stem_of(name: str) -> str:
    """A relative name without its extension, if it has one."""
    return os.path.splitext(name)[0]


def _image_exists(images: Path, mask: str, suffixes: Suffixes) -> bool:
    stem = mask[: len(mask) - len(suffixes.mask)] + suffixes.image
    return any(
        os.path.exists(images / f"{stem}{extension}")
        for lower in EXTENSIONS
        for extension in (lower, lower.upper())
    )


def best_suffixes(images: list[str], masks: list[str], *, together: bool) -> Suffixes:
    """The known suffixes by which the most of these stems correspond.

    Args:
        images, masks: the stems.
        together: both lie in one directory, so that an image must not be its own mask.
    """
    known = KNOWN_SUFFIXES[1:] if together else KNOWN_SUFFIXES

    def matches(suffixes: Suffixes) -> int:
        end = len(suffixes.mask)
        named = {mask[: len(mask) - end] for mask in masks if mask.endswith(suffixes.mask)}
        end = len(suffixes.image)
        ours = (image for image in images if image.endswith(suffixes.image))
        return sum(image[: len(image) - end] in named for image in ours)

    return max(known, key=matches)
