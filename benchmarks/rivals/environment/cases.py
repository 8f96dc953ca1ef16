"""What is asked of the contenders. Needs the standard library alone.

Crops follow torchvision's rule: a share of 8 to 100 % of the area, aspect ratio 3/4 to 4/3, resized
to ``size``; a flip half of the time; another order in each epoch. Validation does not shuffle: the
shorter side becomes 8/7 of ``size``, and the middle is cut out. All batches are full.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of images and of work.

    Attributes:
        images: "original", "512" (longest side at most 512, JPEG quality 90) or "256" (256×256).
        geometry: "crop" or "centre".
        raw: formats that can hold pixels hold them, uncompressed; the others hold JPEGs.
        cold: nothing is in the page cache when an epoch begins, and only that one is measured.
    """

    name: str
    title: str
    images: str = "original"
    geometry: str = "crop"
    raw: bool = False
    cold: bool = False

    @property
    def stored(self) -> str:
        """A name for what contenders prepare; cases of the same name share it."""
        return f"{self.images}-raw" if self.raw else self.images


_ALL = [
    Case("crop", "RandomResizedCrop(224) and flip of the original JPEGs"),
    Case(
        "crop-512",
        "RandomResizedCrop(224) and flip, JPEGs up to 512, quality 90",
        images="512",
    ),
    Case(
        "crop-raw",
        "RandomResizedCrop(224) and flip, 256×256, uncompressed",
        "256",
        raw=True,
    ),
    Case("validation", "Resize(256), CenterCrop(224) of the original JPEGs", geometry="centre"),
    Case("cold", "RandomResizedCrop(224) and flip, first epoch with a cold cache", cold=True),
]

CASES = {case.name: case for case in _ALL}
