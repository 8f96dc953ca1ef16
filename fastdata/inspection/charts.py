"""Charts of what was measured: horizontal bars, by matplotlib, which is optional."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import MissingDependencyError, OptionError

_GREY, _BLUE, _RED, _DARK = "#9a9a9a", "#2f6db3", "#b3402f", "#333333"


class ChartBar(NamedTuple):
    """One bar: its label, its value, the least and the most that were measured, and its rank."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    best: bool = False


class Panel(NamedTuple):
    """Bars of one kind; ``form`` formats a value, ``mark`` is a value to draw a line at."""

    title: str
    bars: Sequence[ChartBar]
    form: str
    mark: float | None = None
    mark_label: str = ""


def check(path: str | os.PathLike[str]) -> None:
    """Find out whether a chart can be saved there, before anything is measured for it.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OptionError: no file can be written there, or not in the format that its suffix names.
    """
    figure, target = _figure(1.0), Path(path)
    known = sorted(figure.canvas.get_supported_filetypes())
    if target.suffix[1:].lower() not in known:
        raise OptionError(
            f"{target}: a chart's format is told by its suffix, one of {', '.join(known)}"
        )
    there = target.exists()
    try:
        target.open("ab").close()
    except OSError as error:
        raise OptionError(f"{target}: no chart can be written there: {error.strerror}") from error
    if not there:
        with suppress(OSError):
            target.unlink()


def save(path: str | os.PathLike[str], panels: Sequence[Panel], title: str) -> None:
    """Draw panels below each other, and write them; needs no display.

    Raises:
        MissingDependencyError, OptionError: as ``check``.
    """
    check(path)
    heights = [len(panel.bars) + 1.5 for panel in panels]
    figure = _figure(1.0 + 0.32 * sum(heights))
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
    for axes, panel in zip(grid[:, 0], panels, strict=True):
        _draw(axes, panel)
    figure.suptitle(title, fontsize=9, wrap=True)
    figure.savefig(path, dpi=150)


def load_figure(purpose: str) -> Any:
    """matplotlib's ``Figure``, which needs no display.

    Raises:
        MissingDependencyError: matplotlib is not installed; the message begins with ``purpose``.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs matplotlib: pip install matplotlib ({error})"
        ) from error
    return Figure


def _figure(height: float) -> Any:
    return load_figure("a chart")(figsize=(9, height), layout="constrained")


def _draw(axes: Any, panel: Panel) -> None:
    bars = panel.bars
    values = [bar.value for bar in bars]
    below = [bar.value - (bar.value if bar.low is None else bar.low) for bar in bars]
    above = [(bar.value if bar.high is None else bar.high) - bar.value for bar in bars]
    colours = [_BLUE if bar.best or not any(b.best for b in bars) else _GREY for bar in bars]
    axes.barh(range(len(bars)), values, color=colours, xerr=[below, above], ecolor=_DARK)
    for place, bar in enumerate(bars):
        told = panel.form.format(bar.value) if bar.value else "failed"
        axes.annotate(
            told, (bar.value if bar.high is None else bar.high, place), (4, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    if panel.mark is not None:
        axes.axvline(panel.mark, color=_RED, linewidth=1)
        axes.annotate(
            panel.mark_label, (panel.mark, 1), (3, 2), xycoords=("data", "axes fraction"),
            textcoords="offset points", color=_RED, fontsize=8,
        )  # fmt: skip
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title(panel.title, fontsize=9, loc="left", pad=14 if panel.mark is not None else 6)
    axes.spines[["top", "right"]].set_visible(False)
