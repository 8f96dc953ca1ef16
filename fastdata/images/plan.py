"""Geometry as data: what to cut out of an image, how to resize it, how to flip it.

A transform does not touch pixels. It extends a ``Plan``, which needs only the image's height and
width; ``decode`` and ``render`` then execute it in the cheapest way they know.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Interpolation = Literal["nearest", "bilinear", "bicubic"]
PaddingMode = Literal["constant", "edge", "reflect", "symmetric"]


class Box(NamedTuple):
    """A rectangle in pixels: rows from ``top``, columns from ``left``."""

    top: int
    left: int
    height: int
    width: int


class Padding(NamedTuple):
    """Pixels to add on each side; ``fill`` is RGB, 0 to 255, and used by mode ``constant``."""

    left: int
    top: int
    right: int
    bottom: int
    fill: tuple[int, int, int] = (0, 0, 0)
    mode: PaddingMode = "constant"


class Plan(NamedTuple):
    """Geometry in normal form; each method returns the plan with one more step.

    The steps run in this order: take ``box`` of the input, resize it to ``size``, add ``padding``,
    keep ``window`` of that, flip. A step that does not fit this order starts a new plan whose
    input is the result of ``before``. ``height`` and ``width`` are those of the result.
    """

    box: Box
    size: tuple[int, int]
    window: Box
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    padding: Padding | None = None
    hflip: bool = False
    vflip: bool = False
    before: Plan | None = None

    @classmethod
    def whole(cls, height: int, width: int, before: Plan | None = None) -> Plan:
        """The plan that changes nothing in an image of that size."""
        whole = Box(0, 0, height, width)
        return cls(whole, (height, width), whole, before=before)

    @property
    def height(self) -> int:
        """Rows of the result."""
        return self.window.height

    @property
    def width(self) -> int:
        """Columns of the result."""
        return self.window.width

    @property
    def first(self) -> Plan:
        """The plan that is executed first, on the image itself."""
        return self if self.before is None else self.before.first

    def from_box(self, box: Box) -> Plan:
        """The same plan for another image, of which it takes ``box`` first."""
        if self.before is not None:
            return self._replace(before=self.before.from_box(box))
        return Plan(box, *self[1:])

    @property
    def resizes(self) -> bool:
        """True if ``box`` and ``size`` differ."""
        return (self.box.height, self.box.width) != self.size

    @property
    def _only_crops(self) -> bool:
        return not self.resizes and self.padding is None

    @property
    def keeps_whole(self) -> bool:
        """True if the result is all of the resized box, and no more."""
        return self.padding is None and self.window == (0, 0, *self.size)

    def crop(self, box: Box) -> Plan:
        """Keep ``box``, given in coordinates of the current result.

        Raises:
            ValueError: the box is empty or reaches outside.
        """
        top, left, height, width = box
        if height < 1 or width < 1 or top < 0 or left < 0:
            raise ValueError(f"a crop needs a non-negative corner and a size >= 1, got {box}")
        if top + height > self.height or left + width > self.width:
            raise ValueError(f"{box} reaches outside of an image of {self.height}x{self.width}")
        if self.vflip:
            top = self.height - top - height
        if self.hflip:
            left = self.width - left - width
        if self._only_crops:
            inner = Box(self.box.top + top, self.box.left + left, height, width)
            return Plan(inner, (height, width), Box(0, 0, height, width), *self[3:])
        window = Box(self.window.top + top, self.window.left + left, height, width)
        return self._replace(window=window)

    def resize(
        self,
        height: int,
        width: int,
        interpolation: Interpolation = "bilinear",
        antialias: bool = True,
    ) -> Plan:
        """Resize the current result to ``height`` x ``width`` pixels (ValueError below 1)."""
        if min(height, width) < 1:
            raise ValueError(f"cannot resize to {height}x{width}: both must be >= 1")
        # Nearest rounds a place between two pixels to one side; mirrored, to the other.
        mirrored = interpolation == "nearest" and (self.hflip or self.vflip)
        if self.resizes or mirrored or not self.keeps_whole:
            return self._then().resize(height, width, interpolation, antialias)
        whole = Box(0, 0, height, width)
        return Plan(self.box, (height, width), whole, interpolation, antialias, *self[5:])

    def pad(self, padding: Padding) -> Plan:
        """Add pixels around the current result (ValueError for a negative number)."""
        left, top, right, bottom, fill, mode = padding
        if min(left, top, right, bottom) < 0:
            raise ValueError(f"cannot add a negative number of pixels: {padding}")
        if not self.keeps_whole:
            return self._then().pad(padding)
        window = Box(0, 0, self.height + top + bottom, self.width + left + right)
        if self.hflip:
            left, right = right, left
        if self.vflip:
            top, bottom = bottom, top
        padding = Padding(left, top, right, bottom, fill, mode)
        return Plan(
            self.box, self.size, window, self.interpolation, self.antialias, padding, *self[6:]
        )

    def flip_horizontal(self) -> Plan:
        """Mirror left and right."""
        return self._replace(hflip=not self.hflip)

    def flip_vertical(self) -> Plan:
        """Mirror top and bottom."""
        return self._replace(vflip=not self.vflip)

    def _then(self) -> Plan:
        return Plan.whole(self.height, self.width, before=self)
