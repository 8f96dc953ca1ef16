"""From a result to the table that people read."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

from ..contenders.contenders import BASELINE

#: The most CPU time per image, as a share of the baseline's, that the packs may need.
LIMIT = 0.65
JUDGED = ("lmdb", "hdf5")

HEADINGS = [
    "Contender",
    "images/s",
    "CPU s per 1,000 images",
    f"CPU, share of {BASELINE}",
    f"images/s, multiple of {BASELINE}",
    "First batch, s",
    "Memory, MB",
    "Decoder",
    "Resize",
]


class Ratio(NamedTuple):
    """A figure divided by the baseline's of the same round: over all rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(result: dict[str, Any], name: str, figure: str) -> Ratio | None:
    """The ratios of one contender to the baseline; None if the baseline did not take part.

    Both runs of a pair stand close together in time, so what slows the machine for a while slows
    both, and the ratio keeps less of it than the figures do.
    """
    runs = result["contenders"]
    if BASELINE not in runs:
        return None
    pairs = zip(runs[name]["rounds"], runs[BASELINE]["rounds"], strict=True)
    ratios = [own[figure] / base[figure] for own, base in pairs]
    return Ratio(median(ratios), min(ratios), max(ratios))


def markdown(result: dict[str, Any], chart: str | None = None) -> str:
    """The whole report; ``chart`` is the address of a picture to show."""
    picture = [f"![CPU seconds and images per second]({chart})"] if chart else []
    parts = [table(result), verdict(result), notes(result), *picture, commands(result)]
    return "\n\n".join(parts) + "\n"


def table(result: dict[str, Any]) -> str:
    """One row a contender, medians over the rounds."""
    rows = [row(result, name) for name in result["contenders"]]
    rule = ["---"] + ["---:"] * 6 + ["---"] * 2
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [HEADINGS, rule, *rows])


def row(result: dict[str, Any], name: str) -> list[str]:
    """The cells of one contender."""
    entry = result["contenders"][name]
    middle = entry["median"]
    return [
        f"`{name}`: {entry['title']}",
        f"{middle['images_per_s']:,.0f}",
        f"{middle['cpu_s_per_1000']:.2f}",
        shown(ratio(result, name, "cpu_s_per_1000"), str),
        shown(ratio(result, name, "images_per_s"), str),
        f"{middle['first_batch_s']:.2f}",
        shown(middle["memory_bytes"], lambda size: f"{size / 1e6:,.0f}"),
        entry["decoder"],
        entry["resize"],
    ]


def shown(value: Any, form: Callable[[Any], str]) -> str:
    """The formatted value, or "n/a" for None."""
    return "n/a" if value is None else form(value)


def verdict(result: dict[str, Any]) -> str:
    """Whether the packs meet the limit on CPU time."""
    goal = (
        f"Goal: a pack needs at most {LIMIT} of the CPU time of `{BASELINE}`, without antialiasing"
    )
    if result["settings"]["antialias"]:
        return f"{goal}; not judged here, as this run resized with antialiasing."
    found = [judge(result, name) for name in JUDGED if name in result["contenders"]]
    if BASELINE not in result["contenders"] or not found:
        return f"{goal}; not judged here, as the contenders for it did not take part."
    return f"{goal}. {', '.join(found)}."


def judge(result: dict[str, Any], name: str) -> str:
    """One contender's ratio, and whether it meets the limit."""
    found = ratio(result, name, "cpu_s_per_1000")
    return f"`{name}`: {found}, {'met' if found and found.median <= LIMIT else 'not met'}"


def notes(result: dict[str, Any]) -> str:
    """Data, packs, method and machine, one bullet each."""
    return "\n".join(
        f"- {note}" for note in [data_note(result), *pack_notes(result), *method_notes(result)]
    )


def data_note(result: dict[str, Any]) -> str:
    """The images."""
    data = result["data"]
    repeated = f" (from {data['files']:,} files)" if data["files"] != data["images"] else ""
    return (
        f"Images: {data['images']:,}{repeated} of {data['source']}, {data['classes']} classes, "
        f"{data['bytes'] / 1e6:,.0f} MB, on average {data['mean_bytes'] / 1e3:.0f} kB and "
        f"{data['mean_width']:.0f}×{data['mean_height']:.0f} pixels (width×height)."
    )


def pack_notes(result: dict[str, Any]) -> list[str]:
    """What each pack took."""
    return [
        f"Pack {name}: {pack['seconds']:.1f} s ({pack['images'] / pack['seconds']:,.0f} images/s), "
        f"{pack['bytes_out'] / 1e6:,.0f} MB."
        for name, pack in result["packs"].items()
    ]


def method_notes(result: dict[str, Any]) -> list[str]:
    """How it was measured, and on what."""
    s, machine = result["settings"], result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    antialias = "with" if s["antialias"] else "without"
    return [
        f"Batches of {s['batch']}, {s['workers']} workers, random resized crop to {s['size']} "
        f"pixels and horizontal flip, uint8, {antialias} antialiasing where there is a choice; "
        "files in the page cache.",
        f"Medians of {s['rounds']} interleaved rounds, each run in a fresh process with one "
        f"untimed and {s['epochs']} timed epochs; ratios are taken round by round: median (least "
        "to most). CPU time is user and system, workers included. Memory is anonymous and shared "
        "memory of all processes while loading, each page counted once.",
        f"Machine: {machine['cpu']}, {machine['usable_cores']} of {machine['cores']} cores, "
        f"{machine['platform']}, Python {machine['python']}, {versions}.",
    ]


def commands(result: dict[str, Any]) -> str:
    """The command that repeats the benchmark."""
    return f"```\n{result['command']}\n```"
