"""Pieces of Markdown that the reports share."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table whose first ``left`` columns are text, the others numbers."""
    rule = ["---"] * left + ["---:"] * (len(headings) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [headings, rule, *rows])


def ratio(runs: dict[str, Any], over: str, under: str, figure: str) -> float | None:
    """Median over the rounds of one entry's figure divided by the other's; None if one is absent.

    Both runs of a round stand close together in time, so the ratio keeps less of what slows the
    machine for a while than the figures do.
    """
    if over not in runs or under not in runs:
        return None
    pairs = zip(runs[over]["rounds"], runs[under]["rounds"], strict=True)
    return median(a[figure] / b[figure] for a, b in pairs)


def machine_note(machine: dict[str, Any]) -> str:
    """On what it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"Machine: {machine['cpu']}, {machine['usable_cores']} of {machine['cores']} cores, "
        f"{machine['platform']}, Python {machine['python']}, {versions}."
    )


def bullets(notes: Sequence[str]) -> str:
    """One bullet a note."""
    return "\n".join(f"- {note}" for note in notes)


def command(words: str) -> str:
    """The command that repeats it."""
    return f"```\n{words}\n```"
