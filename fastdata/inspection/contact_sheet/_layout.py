"""Places of the tiles of a contact sheet, in pixels."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import OptionError

GAP, LINE, LINES = 10, 13, 3
_SCREEN = 1600
_MOST_PIXELS = 100_000_000


class SheetLayout(NamedTuple):
    """A grid of equal cells; in each a square of ``thumb`` pixels, and a caption below it."""

    columns: int
    rows: int
    thumb: int
    cell_width: int
    cell_height: int

    @classmethod
    def of(cls, count: int, columns: int | None, thumb: int) -> SheetLayout:
        """The layout of so many tiles.

        Raises:
            OptionError: ``columns`` or ``thumb`` is out of its range, or the sheet would have more
                than 10⁸ pixels.
        """
        if not 32 <= thumb <= 2048:
            raise OptionError(f"thumb must be 32 to 2048 pixels, got {thumb}")
        if columns is not None and columns < 1:
            raise OptionError(f"columns must be >= 1, got {columns}")
        cell_width, cell_height = max(thumb, 100) + GAP, thumb + LINES * LINE + GAP
        columns = min(columns or max(_SCREEN // cell_width, 1), count)
        layout = cls(columns, -(-count // columns), thumb, cell_width, cell_height)
        width, height = layout.size
        if width * height > _MOST_PIXELS or max(width, height) >= 2**16:
            raise OptionError(
                f"a sheet of {count} samples would have {width}x{height} pixels: show fewer, or "
                "make thumb smaller"
            )
        return layout

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        return self.columns * self.cell_width + GAP, self.rows * self.cell_height + GAP

    def corner(self, place: int) -> tuple[int, int]:
        """Left and top of a cell."""
        row, column = divmod(place, self.columns)
        return GAP + column * self.cell_width, GAP + row * self.cell_height
