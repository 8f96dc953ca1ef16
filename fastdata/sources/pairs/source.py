"""Pairs for segmentation: images in one directory tree, their masks in another."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import NamedTuple

from ...core import Field, existing_directory, read_file
from ...errors import EmptySourceError, OptionError, SourceError, SourceNotFoundError
from ..base import Findings
from ..columns.column import Column, PackedBuilder
from ..columns.source import ColumnSource
from ..folder.source import list_flat
from ..kinds import SourceOption
from .layouts import (
    MASK_EXTENSIONS,
    PairLayout,
    Suffixes,
    best_suffixes,
    detect_pairs,
    has_pair,
    layouts,
    stem_of,
)

__all__ = ["MASK_EXTENSIONS", "OPTIONS", "PairSource", "detect_pairs", "list_pairs"]

OPTIONS = (
    SourceOption("masks", "where the masks of the images in SRC are", "DIR", implies=True),
    SourceOption("split", "this part alone, such as train", "NAME"),
    SourceOption("allow_missing", "leave out images that have no mask"),
)


class PairSource(ColumnSource):
    """Images and their masks, in the order of the images, or of a Pascal VOC list."""

    name = "pairs"


def list_pairs(
    images: str | os.PathLike[str],
    masks: str | os.PathLike[str] | None = None,
    *,
    split: str | None = None,
    image_suffix: str | None = None,
    mask_suffix: str | None = None,
    allow_missing: bool = False,
) -> PairSource:
    """List images and their masks, which have the same path but for a suffix and the extension.

    Masks are .bmp, .png, .tif or .tiff. Keys are the images' names relative to their directory.

    Args:
        images: directory of images; or, if ``masks`` is None, a folder that holds both: with the
            directories images and one of masks, annotations, labels and gt; or Cityscapes'
            leftImg8bit and gtFine; or Pascal VOC's JPEGImages and SegmentationClass. Of Pascal
            VOC's images only those that have a mask are meant.
        masks: directory of masks. It may be that of the images.
        split: the sub-directory of both to be listed, such as "train"; of Pascal VOC's folder the
            list in ImageSets/Segmentation.
        image_suffix, mask_suffix: what follows the common part of the names, as ``_mask`` in
            a.jpg and a_mask.png. If neither is given, of the known ones those are taken by which
            the most images have a mask: none at all, Cityscapes' _leftImg8bit and
            _gtFine_labelIds, and "" and _mask, _sat and _mask, "" and _L.
        allow_missing: leave out images without a mask and list them in ``findings.rejected``.

    Raises:
        SourceNotFoundError: a directory or list does not exist.
        EmptySourceError: there are no images, no masks, or no image has a mask.
        SourceError: an image has no mask, or there are several of one name.
        OptionError: ``split`` is no name, or one directory lies in the other.
    """
    if split in ("", "..") or (split and (PurePath(split).name != split or "\0" in split)):
        raise OptionError(f"split is the name of a sub-directory or list, got {split!r}")
    layout = _found(Path(images)) if masks is None else _given(Path(images), Path(masks))
    folder = split or "" if layout.splits is None else ""
    listing = list_flat(layout.images / folder)
    together = os.path.samefile(layout.images, layout.masks)
    names = _Names(
        [_joined(folder, name) for name in listing.keys],
        [_joined(folder, name) for name in _masks(layout.masks / folder)],
    )
    suffixes = _chosen(names, image_suffix, mask_suffix, together=together)
    if together:
        names = names.apart(suffixes.mask)
    pairs = _Pairs(layout, names.by_stem(suffixes), listing.findings)
    stems = pairs.voc_stems(split) if layout.splits else list(pairs.images)
    return pairs.source(os.fspath(images), stems, allow_missing=allow_missing)


def _found(root: Path) -> PairLayout:
    known = list(layouts(existing_directory(root)))
    if not known:
        raise SourceError(
            f"{root}: expected the directories images and masks (or annotations, labels, gt), "
            "JPEGImages and SegmentationClass, or leftImg8bit and gtFine, with "
            f"{' '.join(MASK_EXTENSIONS)} in the second; or name both directories"
        )
    return next(filter(has_pair, known), known[0])


def _given(images: Path, masks: Path) -> PairLayout:
    first, second = existing_directory(images).resolve(), existing_directory(masks).resolve()
    if first != second and (first in second.parents or second in first.parents):
        raise OptionError(f"{images} and {masks}: one lies in the other, so masks would be images")
    return PairLayout(images, masks)


def _masks(directory: Path) -> list[str]:
    names = [name for name in list_flat(directory).keys if name.lower().endswith(MASK_EXTENSIONS)]
    if not names:
        raise EmptySourceError(f"{directory} has no masks ({' '.join(MASK_EXTENSIONS)})")
    return names


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _chosen(names: _Names, image: str | None, mask: str | None, *, together: bool) -> Suffixes:
    if image is not None or mask is not None:
        suffixes = Suffixes(image or "", mask or "")
    else:
        stems = [stem_of(name) for name in names.images], [stem_of(name) for name in names.masks]
        suffixes = best_suffixes(*stems, together=together)
    if together and not suffixes.mask:
        raise OptionError("images and masks in one directory differ by a mask_suffix; got none")
    return suffixes


class _Names(NamedTuple):
    """All there is, in order."""

    images: list[str]
    masks: list[str]

    def apart(self, mask_suffix: str) -> _Names:
        """Without the masks among the images of the same directory."""
        images = [name for name in self.images if not stem_of(name).endswith(mask_suffix)]
        return _Names(images, self.masks)

    def by_stem(self, suffixes: Suffixes) -> tuple[dict[str, str], dict[str, str]]:
        """Images and masks by the common part of their names."""
        images = _by_stem(self.images, suffixes.image)
        return images, _by_stem(self.masks, suffixes.mask)


def _by_stem(names: list[str], suffix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        stem = stem_of(name)
        if not stem.endswith(suffix):
            continue
        stem = stem[: len(stem) - len(suffix)]
        if found.setdefault(stem, name) is not name:
            raise SourceError(f"{found[stem]} and {name}: which of them is meant? Remove the other")
    return found


class _Pairs:
    """Images and masks by the common part of their names, and what comes of them."""

    def __init__(
        self, layout: PairLayout, by_stem: tuple[dict[str, str], dict[str, str]], findings: Findings
    ) -> None:
        self.images, self.masks = by_stem
        self._layout = layout
        self._findings = findings

    def voc_stems(self, split: str | None) -> list[str]:
        """The samples of Pascal VOC: those that a list names, or that have a mask."""
        if split is not None and self._layout.splits is not None:
            return read_split(self._layout.splits, split)
        without = len(self.images.keys() - self.masks.keys())
        if without:
            self._findings.notes.append(f"images without a mask, left out: {without}")
        return [stem for stem in self.images if stem in self.masks]

    def source(self, root: str, stems: list[str], *, allow_missing: bool) -> PairSource:
        """The source of these samples."""
        complete = [stem for stem in stems if stem in self.images and stem in self.masks]
        if not complete:
            raise EmptySourceError(self._none())
        self._report(stems, allow_missing)
        images = PackedBuilder(Field("image"), os.fspath(self._layout.images))
        masks = PackedBuilder(Field("mask"), os.fspath(self._layout.masks))
        for stem in complete:
            images.add(self.images[stem])
            masks.add(self.masks[stem])
        columns: dict[str, Column] = {"mask": masks.finish()}
        return PairSource.of(root, images.finish(), columns, findings=self._findings)

    def _report(self, stems: list[str], allow_missing: bool) -> None:
        missing = [
            (self.images.get(stem, stem), "it has no mask" if stem in self.images else "no image")
            for stem in stems
            if stem not in self.images or stem not in self.masks
        ]
        if missing and not allow_missing:
            some = ", ".join(f"{name} ({reason})" for name, reason in missing[:5])
            raise SourceError(
                f"{self._layout.images}: {len(missing)} of {len(stems)} samples lack their image "
                f"or mask: {some}{', …' if len(missing) > 5 else ''}; masks are searched in "
                f"{self._layout.masks}; leave such samples out with allow_missing"
            )
        self._findings.rejected += missing
        unused = len(self.masks.keys() - self.images.keys())
        if unused:
            self._findings.notes.append(f"masks without an image, left out: {unused}")

    def _none(self) -> str:
        image, mask = (
            next(iter(self.images.values()), "none"),
            next(iter(self.masks.values()), "none"),
        )
        return (
            f"no image in {self._layout.images} has a mask in {self._layout.masks}; the first "
            f"image is {image}, the first mask {mask}; tell how the names differ by image_suffix "
            "and mask_suffix"
        )


def read_split(directory: Path, split: str) -> list[str]:
    """The stems in a list of Pascal VOC's, one a line, in its order.

    Raises:
        SourceNotFoundError: there is no such list.
        SourceError: it is not text, or names a stem twice.
    """
    path = directory / f"{split}.txt"
    try:
        lines = read_file(path).decode("utf-8").splitlines()
    except OSError as error:
        known = sorted(other.stem for other in directory.glob("*.txt"))
        raise SourceNotFoundError(f"no list at {path}; there are: {known or 'none'}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not a UTF-8 file: {error}") from error
    stems: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        stem = line.strip()
        if stem in stems:
            raise SourceError(f"{path}, line {number}: {stem!r} is there already")
        if stem:
            stems[stem] = None
    return list(stems)
