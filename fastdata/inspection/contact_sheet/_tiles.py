"""Reading what is to be seen of one sample."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...core import TARGET, Field, crc32
from ...datasets import PackedDataset
from ...errors import DecodeError, FastdataError, PackFormatError, SampleError
from ...images import EncodedImage, Image, Plan, interval_size, orient_boxes, transform_boxes
from ...transforms import Generator, GeometricTransform, SplitTransform, sample_generator
from ._colors import colors, overlaid
from ._crops import taken

_LABELS = ("labels", "label", "classes", "class", "categories", "category", "names")
_NOTHING = np.zeros((0, 4), np.float32)


class SheetOptions(NamedTuple):
    """Options of ``show`` about each sample's tile."""

    grid: bool
    crops: int
    masks: bool
    boxes: bool
    thumb: int


@dataclass(slots=True)
class Tile:
    """One sample, as it is drawn.

    Attributes:
        key: its name.
        caption: lines below the image.
        pixels: HWC uint8 RGB, neither side larger than a tile; None if there is none.
        grid, crops, boxes: N×4, left, top, right, bottom in ``pixels``; of ``grid`` one of both
            sides is 0: these are lines.
        box_colors: N×3, 0 to 1.
        box_names: one for each box, or "".
        failure: why there is no image.
    """

    index: int
    key: str
    caption: list[str]
    pixels: Image | None = None
    grid: NDArray[np.float32] = field(default_factory=lambda: _NOTHING)
    crops: NDArray[np.float32] = field(default_factory=lambda: _NOTHING)
    boxes: NDArray[np.float32] = field(default_factory=lambda: _NOTHING)
    box_colors: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    box_names: list[str] = field(default_factory=list)
    failure: str = ""


class Fit(GeometricTransform):
    """Resize to a tile: shrink to it, or magnify a small image by a whole number."""

    def __init__(self, side: int) -> None:
        self.side = side

    def extend(self, plan: Plan, rng: Generator) -> Plan:
        """Plan the resize; nothing is drawn."""
        height, width = plan.height, plan.width
        longest = max(height, width)
        if longest <= self.side:
            times = self.side // longest
            return plan.resize(height * times, width * times, "nearest") if times > 1 else plan
        share = self.side / longest
        return plan.resize(max(round(height * share), 1), max(round(width * share), 1))


class TileReader:
    """Reads tiles through the dataset that training would use.

    Args:
        path: the pack.
        crop: the transform whose crops are shown.
        shown: what to show.
        options: more of the dataset's arguments.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        crop: Any,
        shown: SheetOptions,
        fields: Mapping[str, Field],
        **options: Any,
    ) -> None:
        kinds = {name: field.kind for name, field in fields.items()}
        self._image = next(iter(kinds))
        self._masks = [n for n, kind in kinds.items() if kind == "mask" and shown.masks]
        self._boxes = [n for n, kind in kinds.items() if kind == "boxes" and shown.boxes]
        lists = [n for n, kind in kinds.items() if kind in ("array", "json") and self._boxes]
        self._labels = [name for name in _LABELS if name in lists]
        names = [self._image, *self._masks, *self._boxes, *self._labels]
        self._shown, self._crop = shown, SplitTransform.of(crop)
        self._dataset = PackedDataset(
            path, Fit(shown.thumb), fields=names, decode_scale="auto", **options
        )
        self._pack = self._dataset.pack

    def read(self, index: int) -> Tile:
        """The tile of a sample; one with a ``failure`` where it cannot be read."""
        try:
            key = self._pack.keys[index]
        except PackFormatError:
            key = "(its key is damaged)"
        tile = Tile(index, key, [key, self._class_of(index), self._size_of(index)])
        try:
            self._fill_tile(tile)
        except (FastdataError, ValueError) as error:
            reason = error.__cause__ if isinstance(error, SampleError) else None
            tile.failure = str(reason or error)
        return tile

    def _fill_tile(self, tile: Tile) -> None:
        sample, reader = self._dataset[tile.index], self._dataset.sample_reader()
        image = reader.read(tile.index)
        plan = reader.plan(tile.index, image)[0] or Plan.whole(*image.oriented_size)
        pixels = sample[self._image].permute(1, 2, 0).numpy()
        for name in self._masks:
            pixels = overlaid(pixels, np.asarray(sample[name]))
        if self._shown.grid:
            tile.grid = transform_boxes(_grid(image), plan)
        if self._shown.crops:
            tile.crops = transform_boxes(self._crops(tile.index, image.oriented_size), plan)
        for name in self._boxes:
            self._add_boxes(tile, np.asarray(sample[name]), sample)
        tile.pixels = pixels

    def _add_boxes(self, tile: Tile, boxes: NDArray[np.float32], sample: Any) -> None:
        lists = (_listed(sample[name]) for name in self._labels)
        labels: list[Any] = next((found for found in lists if len(found) == len(boxes)), [])
        tile.boxes = np.concatenate([tile.boxes, np.nan_to_num(boxes)])  # a pack may be damaged
        tile.box_names += [self._name_of(label) for label in labels] or [""] * len(boxes)
        numbers = [_number(label) for label in labels] or list(range(len(boxes)))
        found = colors(np.array(numbers, np.int64))
        tile.box_colors = np.concatenate([tile.box_colors, found])

    def _name_of(self, label: Any) -> str:
        classes = self._pack.manifest.classes
        if isinstance(label, int) and 0 <= label < len(classes):
            return classes[label]
        return str(label) if isinstance(label, (str, int)) else ""

    def _orientation(self, index: int) -> int:
        return self._pack.orientations.item(index) if self._dataset.apply_exif_orientation else 1

    def _shown_size(self, index: int) -> tuple[int, int]:
        height, width = self._pack.heights.item(index), self._pack.widths.item(index)
        return (width, height) if self._orientation(index) >= 5 else (height, width)

    def _class_of(self, index: int) -> str:
        target, classes = self._pack.targets.item(index), self._pack.manifest.classes
        if 0 <= target < len(classes):
            return f"#{index} {classes[target]}"
        known = TARGET in self._pack.fields and target >= 0
        return f"#{index} target {target}" if known else f"#{index}"

    def _size_of(self, index: int) -> str:
        height, width = self._shown_size(index)
        turn, words = self._pack.orientations.item(index), [f"{width}x{height}"]
        if turn != 1:
            words.append("upright" if self._orientation(index) == turn else f"EXIF {turn}")
        if self._shown.grid and not self._pack.slice_indices.item(index):
            words.append("no intervals")
        return " ".join(words)

    def _crops(self, index: int, size: tuple[int, int]) -> NDArray[np.float64]:
        seed, epochs = self._dataset.seed, range(self._shown.crops)
        generators = (sample_generator(seed, epoch, index) for epoch in epochs)
        plans = (self._crop.plan(*size, generator) or Plan.whole(*size) for generator in generators)
        return np.stack([taken(plan) for plan in plans])


def _grid(image: EncodedImage) -> NDArray[np.float32]:
    """The lines between an image's restart intervals, as boxes without a width or a height."""
    if not image.slice_index:
        return _NOTHING
    rows, columns = interval_size(image.data, image.slice_index)
    if not (rows and columns):
        raise DecodeError(f"the record's index says that intervals have {columns}x{rows} pixels")
    lines = [(0, y, image.width, y) for y in range(rows, image.height, rows)]
    lines += [(x, 0, x, image.height) for x in range(columns, image.width, columns)]
    found = np.array(lines, np.float32).reshape(-1, 4)
    return orient_boxes(found, image.orientation, image.height, image.width)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return value.tolist() if value.ndim == 1 else []
    return value if isinstance(value, list) else []


def _number(label: Any) -> int:
    """Number that decides on a label's colour."""
    return label % 2**31 if isinstance(label, int) else crc32(str(label).encode())
