"""The result as horizontal bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..contenders.contenders import BASELINE

GREY, BLUE = "#9a9a9a", "#2f6db3"

PANELS = [
    ("cpu_s_per_1000", "CPU seconds per 1,000 images (less is better)", "{:.2f}"),
    ("images_per_s", "images per second (more is better)", "{:,.0f}"),
]


def save(result: dict[str, Any], path: Path) -> None:
    """Write a picture in the format that the suffix of ``path`` names; needs no display."""
    entries = result["contenders"]
    figure = Figure(figsize=(11, 1.6 + 0.5 * len(entries)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, (key, title, form) in zip((left, right), PANELS, strict=True):
        draw(axes, entries, key, form)
        axes.set_title(title, fontsize=10)
    left.set_yticks(range(len(entries)), [entry["title"] for entry in entries.values()])
    left.invert_yaxis()
    figure.supxlabel(caption(result), fontsize=8, color="#555555")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def draw(axes: Axes, entries: dict[str, Any], key: str, form: str) -> None:
    """One bar a contender: the median, with a line from the least to the most."""
    values = [entry["median"][key] for entry in entries.values()]
    rounds = [[figures[key] for figures in entry["rounds"]] for entry in entries.values()]
    below = [value - min(found) for value, found in zip(values, rounds, strict=True)]
    above = [max(found) - value for value, found in zip(values, rounds, strict=True)]
    colours = [GREY if name == BASELINE else BLUE for name in entries]
    axes.barh(range(len(values)), values, color=colours, xerr=[below, above], ecolor="#333333")
    for place, value in enumerate(values):
        axes.text(value * 0.02, place, form.format(value), va="center", color="white")
    axes.spines[["top", "right"]].set_visible(False)


def caption(result: dict[str, Any]) -> str:
    """Machine and settings in one line."""
    s, machine = result["settings"], result["machine"]
    return (
        f"{machine['cpu']}, {machine['usable_cores']} cores, {s['workers']} workers, "
        f"batch {s['batch']}, {s['size']} pixels, median of {s['rounds']} rounds"
    )
