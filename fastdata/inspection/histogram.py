"""Histograms of whole numbers, counted piece by piece, with bins that people can read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .text import padded, shortened

_LABEL, _BAR, _COUNT = 13, 12, 11
COLUMNS = _LABEL + _BAR + _COUNT + 2


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of whole numbers by bin, as ``numpy.histogram`` gives them.

    Bin ``i`` has ``counts[i]`` numbers from ``edges[i]`` to below ``edges[i + 1]``. The first edge
    is the least number, the last one is the largest plus 1. Without numbers both are empty.
    """

    edges: list[int]
    counts: list[int]
    mean: float

    def bars(self, title: str, unit: str, scale: int = 1) -> list[str]:
        """Lines of at most ``COLUMNS``: a heading, then a bar for each bin.

        Args:
            title: what is counted.
            unit: its name after division by ``scale``.
            scale: what the numbers are divided by.
        """
        if not self.counts:
            return [f"{title}: none"]
        told = (self.edges[0], self.edges[-1] - 1, self.mean)
        least, most, mean = (_short(number / scale) for number in told)
        most_counted = max(self.counts)
        lines = [shortened(f"{title} {least} to {most} {unit}, mean {mean}", COLUMNS)]
        for place, count in enumerate(self.counts):
            bar = "#" * math.ceil(_BAR * count / most_counted)
            label = padded(self._label(place, scale), _LABEL)
            lines.append(f"{label} {bar:<{_BAR}} {count:>{_COUNT},}")
        return lines

    def _label(self, place: int, scale: int) -> str:
        first, stop = self.edges[place], self.edges[place + 1]
        if len(self.counts) > 1 and place == 0:
            return f"  < {stop / scale:g}"
        if len(self.counts) > 1 and place == len(self.counts) - 1:
            return f" >= {first / scale:g}"
        if stop - first == 1:
            return f"    {first / scale:g}"
        if scale == 1:
            return f"    {first}-{stop - 1}"
        return f"    {first / scale:g}-{stop / scale:g}"


class Tally:
    """Counts one quantity, piece by piece.

    Args:
        some: a share of the numbers, by which bins are chosen: the middle 98 % get bins of equal
            width, a step of 1, 2 or 5 times a power of ten; what lies outside goes to the ends.
        bins: about how many.
    """

    def __init__(self, some: NDArray[Any], bins: int = 8) -> None:
        low, high = np.quantile(some, (0.01, 0.99), method="nearest") if some.size else (0, 0)
        self._step = _step((int(high) - int(low) + 1) / bins)
        self._first = int(low) // self._step * self._step
        self._counts = np.zeros((int(high) - self._first) // self._step + 1, np.int64)
        self._least, self._most, self._sum, self._number = 0, -1, 0, 0

    def add(self, numbers: NDArray[np.int64]) -> None:
        """Count a piece, which is not empty."""
        least, most = int(numbers.min()), int(numbers.max())
        self._least = min(least, self._least) if self._number else least
        self._most = max(most, self._most)
        self._sum += int(numbers.sum())
        self._number += len(numbers)
        places = np.clip((numbers - self._first) // self._step, 0, len(self._counts) - 1)
        self._counts += np.bincount(places, minlength=len(self._counts))

    @property
    def total(self) -> int:
        """The sum of all numbers."""
        return self._sum

    def histogram(self) -> Histogram:
        """The histogram of all that was counted."""
        if not self._number:
            return Histogram([], [], 0.0)
        inner = [self._first + self._step * i for i in range(1, len(self._counts))]
        edges = [self._least, *inner, self._most + 1]
        return Histogram(edges, self._counts.tolist(), self._sum / self._number)


def _step(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, … that is at least so much."""
    power = int(10 ** math.floor(math.log10(max(least, 1))))
    return min(n * power for n in (1, 2, 5, 10) if n * power >= least)


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"
