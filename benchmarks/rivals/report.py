"""The tables next to other libraries, as Markdown and for the HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..common import markdown
from ..common.report import ratio, shown
from .environment.cases import CASES
from .environment.contenders import BASELINE, CONTENDERS, OURS

HEADINGS = (
    "Contender",
    "images/s",
    f"multiple of `{BASELINE}`",
    "CPU s per 1,000",
    f"share of `{BASELINE}`",
    "First batch, s",
    "Memory, MB",
    "Reads",
    "Decoder",
    "Resize",
)
NUMBERS = slice(1, 7)
PACKING = ("Images", "Format", "seconds", "images/s", "MB", "share of the JPEGs")


class Section(NamedTuple):
    """One case with one number of workers."""

    title: str
    rows: list[list[str]]
    remarks: list[str]
    command: str
    table: dict[str, Any]


def sections(result: dict[str, Any]) -> list[Section]:
    """All tables, every contender that was asked for in each of them."""
    return [
        Section(
            title=title(table),
            rows=rows(result, table),
            remarks=remarks(table),
            command=table["command"],
            table=table,
        )
        for table in result["tables"]
    ]


def title(table: dict[str, Any]) -> str:
    """What was asked, with how many workers."""
    plural = "" if table["workers"] == 1 else "s"
    return f"{table['case']}, {table['workers']} worker{plural}: {table['title']}"


def rows(result: dict[str, Any], table: dict[str, Any]) -> list[list[str]]:
    """The fastest first, then those that failed, then those that are not installed."""
    runs = table["runs"]
    found = sorted(runs, key=lambda name: -runs[name]["median"]["images_per_s"])
    blank = [""] * (len(HEADINGS) - 2)
    lines = [row(table, name) for name in found]
    lines += [[label(name), "failed", *blank] for name in table["failed"]]
    lines += [[label(name), "not installed", *blank] for name in result["absent"]]
    return lines


def label(name: str) -> str:
    """Name and title."""
    return f"`{name}`: {CONTENDERS[name].title}"


def row(table: dict[str, Any], name: str) -> list[str]:
    """The cells of one contender."""
    contender, runs = CONTENDERS[name], {"contenders": table["runs"]}
    middle = table["runs"][name]["median"]
    return [
        label(name),
        f"{middle['images_per_s']:,.0f}",
        shown(ratio(runs, name, "images_per_s"), str),
        f"{middle['cpu_s_per_1000']:.2f}",
        shown(ratio(runs, name, "cpu_s_per_1000"), str),
        f"{middle['first_batch_s']:.2f}",
        shown(middle["memory_bytes"], lambda size: f"{size / 1e6:,.0f}"),
        reads(table["case"], name),
        "none" if CASES[table["case"]].raw and contender.raw else contender.decoder,
        contender.resize,
    ]


def reads(case: str, name: str) -> str:
    """What it reads; in the raw case also whether that is JPEGs after all."""
    contender = CONTENDERS[name]
    if not CASES[case].raw:
        return contender.holds
    return f"{contender.holds}, {'pixels' if contender.raw else 'JPEG'}"


def remarks(table: dict[str, Any]) -> list[str]:
    """Who is faster than fastdata, and why others have no figures."""
    failures = [f"`{name}` failed: {code(why)}" for name, why in table["failed"].items()]
    lines = [verdict(table, OURS), *failures]
    if "dropped_by" in table:
        lines.append(
            f"Before each run the page cache was emptied ({table['dropped_by']}); images/s are "
            "those of the first epoch, from its first batch on."
        )
    return [line for line in lines if line]


def code(text: str) -> str:
    """Several lines in one."""
    return " ⏎ ".join(line.strip() for line in text.splitlines() if line.strip())


def verdict(table: dict[str, Any], ours: str) -> str:
    """The contenders of other libraries that made more images a second, each with its factor."""
    runs = table["runs"]
    if ours not in runs:
        return ""
    factors = {
        name: markdown.ratio(runs, name, ours, "images_per_s") or 0.0
        for name in runs
        if not name.startswith(OURS)
    }
    faster = {name: factor for name, factor in factors.items() if factor > 1}
    if not faster:
        return f"None of the other libraries is faster than `{ours}` here."
    words = (f"`{n}` ({factor:.2f} times)" for n, factor in sorted(faster.items(), key=second))
    return f"Faster than `{ours}` here: {', '.join(words)}."


def second(pair: tuple[str, float]) -> float:
    """Largest factor first."""
    return -pair[1]


def packing_rows(result: dict[str, Any]) -> list[list[str]]:
    """What each format took to make, and how large it is."""
    lines = []
    for stored, formats in result["prepared"].items():
        images = result["images"][stored.removesuffix("-raw")]
        lines.append([stored, "the JPEGs", "", "", f"{images['bytes'] / 1e6:,.1f}", "1.00"])
        for name, made in formats.items():
            lines.append([stored, holds(name), *packing_cells(made, images)])
    return lines


def packing_cells(made: dict[str, Any], images: dict[str, Any]) -> list[str]:
    """Seconds, images/s, size and share."""
    if "failed" in made:
        return ["failed", "", "", ""]
    return [
        f"{made['seconds']:.2f}",
        f"{images['images'] / made['seconds']:,.0f}",
        f"{made['bytes'] / 1e6:,.1f}",
        f"{made['bytes'] / images['bytes']:.2f}",
    ]


def holds(module: str) -> str:
    """What a module's format is called."""
    return next(c.holds for c in CONTENDERS.values() if c.module == module)


def absences(result: dict[str, Any]) -> list[str]:
    """Each contender that is missing, and why."""
    return [f"`{name}`: {code(why)}" for name, why in result["absent"].items()]


def settings_of_contenders(result: dict[str, Any]) -> list[str]:
    """How each was set up, and the versions in each environment."""
    lines = [f"`{name}`: {CONTENDERS[name].settings}." for name in result["settings"]["only"]]
    for environment, found in result["versions"].items():
        versions = ", ".join(f"{what} {version}" for what, version in found.items())
        lines.append(f"Environment {environment}: {versions}.")
    return lines


def method(result: dict[str, Any]) -> list[str]:
    """Images, rules, and how it was measured."""
    s = result["settings"]
    lines = []
    if original := result["images"].get("original"):
        lines.append(
            f"{original['images']:,} JPEGs ({original['files']:,} different files of "
            f"{original['source']}, on average {original['mean_width']:.0f}×"
            f"{original['mean_height']:.0f} pixels, {original['mean_bytes'] / 1e3:.0f} kB)."
        )
    lines += [
        f"Each batch is {s['batch']}×3×{s['size']}×{s['size']}, uint8. Crops of 8 to 100 % of the "
        "area and aspect ratio 3/4 to 4/3, flipped half of the time, shuffled; validation is not. "
        "Short batches are left out. Workers, threads or processes, outlive an epoch.",
        f"Medians of {s['rounds']} interleaved rounds, each run in a fresh process of the "
        f"contender's own interpreter, with an untimed epoch and at least {s['seconds']} s of "
        "timed ones; ratios are taken round by round: median (least to most). CPU time is user "
        "and system, workers included. The first batch is counted from the loader's making, after "
        "imports. Memory is anonymous and shared memory of all processes while loading, each page "
        "counted once. Files are in the page cache, but for the cold case.",
        "A decoder or a resize that leaves work out is faster: those with antialiasing are to be "
        "compared with each other, and those without.",
        markdown.machine_note(result["machine"]),
    ]
    return lines


def report(result: dict[str, Any]) -> str:
    """Everything as Markdown."""
    parts: list[str] = []
    for section in sections(result):
        parts += [f"### {section.title}", table_of(HEADINGS, section.rows)]
        parts += [markdown.bullets(section.remarks), markdown.command(section.command)]
    if packing := packing_rows(result):
        parts += ["### Making the formats", markdown.table(PACKING, packing, left=2)]
    if absent := absences(result):
        parts += ["### Not installed", markdown.bullets(absent)]
    parts += ["### How each was set up", markdown.bullets(settings_of_contenders(result))]
    parts += ["### How it was measured", markdown.bullets(method(result))]
    parts.append(markdown.command(result["command"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def table_of(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table with text at both ends and numbers between."""
    columns = range(len(headings))
    rule = ["---:" if i in columns[NUMBERS] else "---" for i in columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [headings, rule, *lines])
