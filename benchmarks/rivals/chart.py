"""Bars next to other libraries: images a second and CPU time, one panel a table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..common.chart import BLUE, GREY, PANELS
from .environment.contenders import BASELINE, OURS
from .report import title

OTHERS = "#c98a4b"
DPI = 110


def png(table: dict[str, Any]) -> bytes:
    """A picture of one table: speed on the left, CPU time on the right."""
    names = ordered(table)
    figure = Figure(figsize=(10, 1.2 + 0.3 * len(names)), layout="constrained")
    for axes, panel in zip(figure.subplots(1, 2, squeeze=False)[0], reversed(PANELS), strict=True):
        draw(axes, table, names, panel)
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=DPI, metadata={"Software": None})
    return memory.getvalue()


def save(result: dict[str, Any], path: Path) -> None:
    """One picture of all tables' speeds."""
    tables = [table for table in result["tables"] if table["runs"]]
    if not tables:
        return
    most = max(len(table["runs"]) for table in tables)
    lines = (len(tables) + 1) // 2
    figure = Figure(figsize=(14, lines * (1.0 + 0.28 * most)), layout="constrained")
    places = figure.subplots(lines, 2, squeeze=False).flat
    for axes in list(places)[len(tables) :]:
        axes.set_visible(False)
    for axes, table in zip(figure.axes, tables, strict=False):
        draw(axes, table, ordered(table), PANELS[1])
        axes.set_title(title(table), fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)


def ordered(table: dict[str, Any]) -> list[str]:
    """The fastest first."""
    return sorted(table["runs"], key=lambda n: -table["runs"][n]["median"]["images_per_s"])


def draw(axes: Axes, table: dict[str, Any], names: list[str], panel: tuple[str, str, str]) -> None:
    """One bar a contender: the median, with a line from the least to the most."""
    key, words, form = panel
    entries = [table["runs"][name] for name in names]
    values = [entry["median"][key] for entry in entries]
    least = [min(figures[key] for figures in entry["rounds"]) for entry in entries]
    most = [max(figures[key] for figures in entry["rounds"]) for entry in entries]
    spread = [
        [value - low for value, low in zip(values, least, strict=True)],
        [high - value for value, high in zip(values, most, strict=True)],
    ]
    colours = [colour(name) for name in names]
    axes.barh(range(len(names)), values, color=colours, xerr=spread, ecolor="#333333")
    for place, (value, high) in enumerate(zip(values, most, strict=True)):
        axes.text(high, place, f" {form.format(value)}", va="center", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title(words, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def colour(name: str) -> str:
    """One for the baseline, one for fastdata, one for all others."""
    if name == BASELINE:
        return GREY
    return BLUE if name.startswith(OURS) else OTHERS
