"""The table of the cases."""

from __future__ import annotations

from typing import Any

from ..common import markdown
from .cases import CASES, COLUMNS, Aim

LABELS = {
    "images_per_s": "images/s",
    "images_per_cpu_s": "images/s of one busy core",
    "gain_over_full": "times less CPU time than `full`",
}


def report(result: dict[str, Any]) -> str:
    """Both tables, the aims, the notes and the command."""
    heads = [
        name for name in COLUMNS if any(name in e["columns"] for e in result["cases"].values())
    ]
    parts = [
        "CPU seconds per 1,000 images (in brackets: share of `full`)",
        figures(result, heads, "cpu_s_per_1000", ",.3f"),
        "Images/s (in brackets: multiple of `full`)",
        figures(result, heads, "images_per_s", ",.0f"),
        markdown.bullets([*aims(result), *absences(result)]),
        markdown.bullets(notes(result, heads)),
        markdown.command(result["command"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def figures(result: dict[str, Any], heads: list[str], figure: str, form: str) -> str:
    """One row a case, one column a way, and fastdata's ratio to Pillow."""
    rows = []
    for name, entry in result["cases"].items():
        ours = markdown.ratio(entry["columns"], "fastdata", "pil", figure)
        last = "–" if ours is None else f"{ours:.2f}"
        rows.append([f"`{name}`", *(cell(entry, head, figure, form) for head in heads), last])
    return markdown.table(["Case", *(f"`{h}`" for h in heads), "`fastdata` / `pil`"], rows)


def cell(entry: dict[str, Any], column: str, figure: str, form: str) -> str:
    """Median of one column, and its ratio to the full decode."""
    if column in entry["absent"]:
        return "skipped"
    if column not in entry["columns"]:
        return "–"
    middle = format(entry["columns"][column]["median"][figure], form)
    share = markdown.ratio(entry["columns"], column, "full", figure)
    return middle if column == "full" or share is None else f"{middle} ({share:.2f})"


def aims(result: dict[str, Any]) -> list[str]:
    """Each aim, what was found, and whether that meets it."""
    lines = []
    for name, entry in result["cases"].items():
        for aim in CASES[name].aims:
            found = reached(entry["columns"], aim)
            words = f"Aim for `{name}`, `{aim.column}`: at least {aim.least:,.0f} "
            words += LABELS[aim.figure]
            if found is None:
                lines.append(f"{words}; not measured.")
            else:
                met = "met" if found >= aim.least else "not met"
                lines.append(f"{words}; found {found:,.1f}, {met}.")
    return lines


def reached(runs: dict[str, Any], aim: Aim) -> float | None:
    """The aim's figure; None where its column did not take part."""
    if aim.figure == "gain_over_full":
        return markdown.ratio(runs, "full", aim.column, "cpu_s_per_1000")
    if aim.column not in runs:
        return None
    middle = runs[aim.column]["median"]
    if aim.figure == "images_per_cpu_s":
        return float(1000 / middle["cpu_s_per_1000"])
    return float(middle[aim.figure])


def absences(result: dict[str, Any]) -> list[str]:
    """What was skipped, and why."""
    return [
        f"Skipped `{name}`, `{column}`: {why}."
        for name, entry in result["cases"].items()
        for column, why in entry["absent"].items()
    ]


def notes(result: dict[str, Any], heads: list[str]) -> list[str]:
    """Columns, cases, images, method and machine."""
    s = result["settings"]
    columns = [f"`{name}`: {COLUMNS[name]}." for name in heads]
    kinds = []
    for name, e in result["cases"].items():
        images = result["sources"][e["source"]]
        kinds.append(
            f"`{name}`: {e['title']}; {images['images']} images ({images['files']} files of "
            f"{images['source']}, on average {images['mean_width']:.0f}×"
            f"{images['mean_height']:.0f} pixels, {images['mean_bytes'] / 1e3:.0f} kB), batches of "
            f"{e['batch']}; the pack is {e['pack']['encoding']}, "
            f"{e['pack']['bytes_out'] / 1e6:,.0f} MB"
            + (", and the others read its images as files." if CASES[name].unpacked else ".")
        )
    method = (
        f"{s['workers']} workers; medians of {s['rounds']} interleaved rounds, each run in a fresh "
        f"process with an untimed epoch and at least {s['seconds']} s of timed ones; ratios are "
        "taken round by round. CPU time is user and system, workers included; files in the page "
        "cache."
    )
    return [*columns, *kinds, method, markdown.machine_note(result["machine"])]
