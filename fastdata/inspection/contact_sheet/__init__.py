"""Contact sheets: a look at some samples of a pack, as training sees them.

``_choice`` says which samples, ``_tiles`` reads what is to be seen of one, ``_crops`` what part of
an image a plan takes, ``_layout`` where everything stands, and ``_drawing`` makes a PNG of it with
matplotlib, in the colours of ``_colors``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import EmptySourceError, OptionError
from ...store import Access, PackReader
from ...transforms import RandomResizedCrop
from ..charts import load_figure
from ..text import printable, shortened
from ._choice import choose
from ._drawing import draw
from ._layout import SheetLayout
from ._tiles import SheetOptions, Tile, TileReader

__all__ = ["ContactSheet", "show"]

_MOST_COLUMNS = 80


@dataclass(frozen=True, slots=True)
class ContactSheet:
    """A contact sheet that was written; may be used as the path of its file.

    Attributes:
        path: the PNG file.
        indices: of the samples on it, row by row.
        failures: one line for each sample that could not be read, and why.

    Example:
        >>> sheet = fastdata.show("photos.pack", keys=["cat/0.jpg"])
        >>> sheet.indices, sheet.path.name
        ([0], 'photos.pack.png')
    """

    path: Path
    indices: list[int]
    failures: list[str]

    @property
    def ok(self) -> bool:
        """True if every sample could be read."""
        return not self.failures

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        count = len(self.indices)
        samples = f"{count} sample{'s' * (count != 1)}"
        if self.ok:
            return f"{self.path}: {samples}"
        lines = [f"{self.path}: {samples}, {len(self.failures)} cannot be read"]
        return "\n".join([*lines, *self.failures])


def show(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    count: int | None = None,
    indices: Iterable[int] | None = None,
    keys: Iterable[str] | None = None,
    classes: Iterable[str] | None = None,
    seed: int = 0,
    grid: bool = False,
    crops: int = 0,
    transform: Callable[[Any], Any] | None = None,
    masks: bool = True,
    boxes: bool = True,
    apply_exif_orientation: bool = False,
    columns: int | None = None,
    thumb: int = 200,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> ContactSheet:
    """Draw samples of a pack, each with its key, index, class and size, into one PNG file.

    A sample that cannot be read becomes a tile with the reason, and the sheet is written
    nevertheless. Images are shown as the datasets give them: as stored, unless
    ``apply_exif_orientation`` is set; the caption names an orientation that is not applied.

    Args:
        path: the pack's directory, or its URL.
        out: the PNG file, which is replaced if it exists; None: the pack's name and ".png", in the
            current directory.
        count: at most so many, drawn without repetition among the others that are asked for, and
            sorted by index. None: 24, or all of ``indices`` and ``keys``.
        indices: of samples, in the order that is wanted; negative ones count from the end.
        keys: names of samples, behind those of ``indices``.
        classes: names; only samples of these are taken.
        seed: of the draw, and of the crops.
        grid: draw the restart intervals of sliceable JPEGs: what is decoded is whole intervals.
        crops: draw what ``transform`` takes in so many epochs: the boxes of
            ``PackedImageFolder(path, transform, seed=seed)`` in epoch 0, 1, …, in red, yellow,
            green, pink, orange, white, blue, lime, and again from red.
        transform: geometric at its head; None: ``RandomResizedCrop(224)``.
        masks: lay masks over images, a colour for each label; 0 stays clear, 255 is white.
        boxes: draw boxes, with their labels' names where a field "labels" or the like has them.
        apply_exif_orientation: rotate as the camera's tag says.
        columns: tiles to a row; None: as makes the sheet about as wide as a screen.
        thumb: pixels of a tile's longer side, 32 to 2048.
        cache_dir, cache_limit, storage_options: as for ``PackedImageFolder``.

    Raises:
        OptionError: there is no such sample, key or class, an option is out of its range, or
            ``out`` cannot be a PNG file.
        EmptySourceError: there is no sample to show.
        MissingDependencyError: matplotlib is not installed.
        FastdataError: the pack cannot be opened, as for ``PackedImageFolder``.

    Example:
        >>> sheet = fastdata.show("photos.pack", "sheet.png", count=4, crops=2)
        >>> sheet.ok, len(sheet.indices)
        (True, 4)
    """
    if crops < 0:
        raise OptionError(f"crops must be >= 0, got {crops}")
    load_figure("a contact sheet")
    cache: dict[str, Any] = {
        "cache_dir": cache_dir, "cache_limit": cache_limit, "storage_options": storage_options,
    }  # fmt: skip
    pack = PackReader(path, access=Access(**cache))
    target = _target(os.fspath(pack.path), out)
    chosen = choose(pack, count, indices, keys, classes, seed)
    if not chosen:
        raise EmptySourceError(f"{pack.path}: there is no sample to show")
    layout = SheetLayout.of(len(chosen), columns, thumb)
    crop = RandomResizedCrop(224) if transform is None else transform
    options = SheetOptions(grid, crops, masks, boxes, thumb)
    cache |= {"seed": seed, "apply_exif_orientation": apply_exif_orientation}
    reader = TileReader(path, crop, options, pack.fields, **cache)
    tiles = [reader.read(index) for index in chosen]
    target.write_bytes(draw(tiles, layout))
    failures = [_failure_line(tile) for tile in tiles if tile.failure]
    return ContactSheet(target, chosen, failures)


def _failure_line(tile: Tile) -> str:
    key = shortened(tile.key, _MOST_COLUMNS, keep_end=True)
    return f"sample {tile.index} ({key}): {printable(tile.failure)}"


def _target(root: str, out: str | os.PathLike[str] | None) -> Path:
    """The file to write, looked at before anything is read."""
    if out is None:
        name = os.path.basename((root if "://" in root else os.path.abspath(root)).rstrip("/\\"))
        return Path(f"{name.partition('?')[0] or 'pack'}.png")
    target = Path(out)
    if target.suffix.lower() not in ("", ".png"):
        raise OptionError(f"{target}: the sheet is a PNG file, not {target.suffix}: name it so")
    if target.is_dir():
        raise OptionError(f"{target} is a directory: expected the name of a PNG file")
    if not target.parent.is_dir():
        raise OptionError(f"{target}: there is no directory {target.parent}: make it first")
    return target
