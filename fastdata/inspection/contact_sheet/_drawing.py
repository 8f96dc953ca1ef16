"""From tiles to a PNG file, with matplotlib's objects alone: no display, no global state."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...images import Image
from ..charts import load_figure
from ..text import printable, shortened
from ._layout import LINE, SheetLayout
from ._tiles import Tile

_DPI = 128  # a power of two: inches and pixels then convert without a rest
_PAPER, _EMPTY, _BROKEN = 255, 238, (255, 214, 214)
_FONT_PIXELS = 10
_LETTER = 6.1  # pixels to a letter of the caption: 0.602 of its height in DejaVu Sans Mono
_GRID, _INK, _ALARM = (0.0, 1.0, 1.0, 0.4), (0.1, 0.1, 0.1), (0.65, 0.0, 0.0)
_CROPS = ("#ff2d2d", "#ffd400", "#2dff4d", "#ff5cf4", "#ff9500", "#ffffff", "#5c8dff", "#b4ff00")
#: matplotlib brings the first two; the others have the scripts of East Asia, where installed.
_FONTS = (
    "DejaVu Sans Mono", "DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR",
    "Source Han Sans", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Hiragino Sans", "PingFang SC",
    "Apple SD Gothic Neo", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic",
)  # fmt: skip


def draw(tiles: Sequence[Tile], layout: SheetLayout) -> bytes:
    """A PNG file with the tiles in their cells.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure_class = load_figure("a contact sheet")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    width, height = layout.size
    figure = figure_class(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    figure.figimage(_pasted(tiles, layout), origin="upper", zorder=-1)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    sheet = _Sheet(axes, layout)
    for place, tile in enumerate(tiles):
        sheet.add(place, tile)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    return file.getvalue()


def _pasted(tiles: Sequence[Tile], layout: SheetLayout) -> Image:
    """All images on one sheet, each pixel of them a pixel of the sheet."""
    width, height = layout.size
    sheet = np.full((height, width, 3), _PAPER, np.uint8)
    for place, tile in enumerate(tiles):
        left, top = layout.corner(place)
        sheet[top : top + layout.thumb, left : left + layout.thumb] = _EMPTY
        if tile.failure:
            sheet[top : top + layout.thumb, left : left + layout.thumb] = _BROKEN
        if tile.pixels is not None:
            left, top = _image_corner(layout, place, tile.pixels)
            rows, columns = tile.pixels.shape[:2]
            sheet[top : top + rows, left : left + columns] = tile.pixels
    return sheet


def _image_corner(layout: SheetLayout, place: int, pixels: Image) -> tuple[int, int]:
    left, top = layout.corner(place)
    rows, columns = pixels.shape[:2]
    return left + (layout.thumb - columns) // 2, top + (layout.thumb - rows) // 2


class _Sheet:
    """Lines, boxes and words over the images."""

    def __init__(self, axes: Any, layout: SheetLayout) -> None:
        self._axes, self._layout = axes, layout
        self._letters = _Letters()
        self._wide = int((layout.cell_width - 4) / _LETTER)

    def add(self, place: int, tile: Tile) -> None:
        left, top = self._layout.corner(place)
        for number, text in enumerate(tile.caption):
            line = shortened(self._letters.drawable(text), self._wide, keep_end=number == 0)
            self._write(line, left, top + self._layout.thumb + 2 + LINE * number, _INK)
        if tile.failure:
            self._explain(tile.failure, left + 4, top + 4)
        if tile.pixels is not None:
            corner = np.array(_image_corner(self._layout, place, tile.pixels) * 2)
            self._outline(tile.grid + corner, [_GRID], 0.8)
            crops = [_CROPS[i % len(_CROPS)] for i in range(len(tile.crops))]
            self._outline(tile.crops + corner, crops, 1.6)
            self._outline(tile.boxes + corner, tile.box_colors, 1.6)
            self._name_boxes(tile, corner, left + self._layout.thumb)

    def _outline(self, boxes: NDArray[Any], edges: Any, pixels: float) -> None:
        from matplotlib.collections import PolyCollection

        if len(boxes):
            around: Any = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
            self._axes.add_collection(
                PolyCollection(
                    around, facecolors="none", edgecolors=edges, linewidths=pixels * 72 / _DPI
                )
            )

    def _name_boxes(self, tile: Tile, corner: NDArray[Any], right: int) -> None:
        for box, name, color in zip(tile.boxes, tile.box_names, tile.box_colors, strict=True):
            left, top = box[:2] + corner[:2] + 1
            left = min(left, right - 3 * _LETTER)
            line = shortened(self._letters.drawable(name), int((right - left) / _LETTER))
            if line:
                paper = {"facecolor": color, "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
                self._write(line, left, top, (0, 0, 0), bbox=paper)

    def _explain(self, reason: str, left: float, top: float) -> None:
        wide, most = int((self._layout.thumb - 8) / _LETTER), (self._layout.thumb - 8) // LINE
        text = self._letters.drawable(printable(reason))
        lines = textwrap.wrap(text, wide, max_lines=max(most, 1), placeholder="…")
        for number, line in enumerate(lines):
            self._write(line, left, top + LINE * number, _ALARM)

    def _write(self, text: str, left: float, top: float, color: Any, **options: Any) -> None:
        font = self._letters.font(text)
        self._axes.text(
            left, top, text, color=color, va="top", fontproperties=font, parse_math=False,
            usetex=False, **options,
        )  # fmt: skip


class _Letters:
    """Fonts for names in any script; a letter that none of them has is written as its escape."""

    def __init__(self) -> None:
        from matplotlib.font_manager import FontProperties

        size = _FONT_PIXELS * 72 / _DPI
        self._plain = FontProperties(family=list(_FONTS[:1]), size=size)
        self._size = size
        self._all: Any = None
        self._known: set[int] = set()

    def drawable(self, text: str) -> str:
        """The text with escapes for the letters that no font has."""
        if text.isascii():
            return text
        if self._all is None:
            self._load()
        return "".join(c if ord(c) in self._known else ascii(c)[1:-1] for c in text)

    def font(self, text: str) -> Any:
        """The font for a text that can be drawn."""
        return self._plain if text.isascii() else self._all or self._load()

    def _load(self) -> Any:
        from matplotlib import font_manager

        installed = set(font_manager.get_font_names())
        families = [name for name in _FONTS if name in installed]
        self._known = set(_letters_of(families))
        self._all = font_manager.FontProperties(family=families, size=self._size)
        return self._all


def _letters_of(families: Iterable[str]) -> Iterable[int]:
    from matplotlib import font_manager

    for family in families:
        path = font_manager.findfont(font_manager.FontProperties(family=[family]))
        yield from font_manager.get_font(path).get_charmap()
