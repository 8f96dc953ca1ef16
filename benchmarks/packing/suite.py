"""How fast packing is, next to copying the files and to bare loops that decode them."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from ..cases.rounds import header, interleaved
from ..common import data, markdown
from ..common.errors import BenchmarkError
from ..common.report import shown
from ..scaling.suite import child
from .process import QUALITY, SHORT, Job

RATE = 180  # images of a sliceable pack in a CPU second
MEMORY = 600_000_000

#: By name: what is done, and with what it is compared.
WAYS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cp": ("`cp -r`", ()),
    "cp+fsync": ("`cp -r`, then fsync of each copy", ()),
    "keep-header": ("pack, keep, `--check header`", ("cp", "cp+fsync")),
    "cold-cp": ("`cp -r`", ()),
    "cold-cp+fsync": ("`cp -r`, then fsync of each copy", ()),
    "cold-keep-header": ("pack, keep, `--check header`", ("cold-cp", "cold-cp+fsync")),
    "decode-loop": ("bare loop: read, decode", ()),
    "keep": ("pack, keep", ("decode-loop",)),
    "sliceable": ("pack, sliceable", ("decode-loop",)),
    "jpeg-loop": ("bare loop: read, decode, shrink, encode", ()),
    "jpeg": (f"pack, jpeg, `--resize-short {SHORT} --quality {QUALITY}`", ("jpeg-loop",)),
}


class Aim(NamedTuple):
    """One way's least speed, as a share of another's."""

    way: str
    base: str
    least: float


AIMS = [
    Aim("keep-header", "cp", 0.8),
    Aim("keep-header", "cp+fsync", 0.8),
    Aim("cold-keep-header", "cold-cp", 0.8),
    Aim("cold-keep-header", "cold-cp+fsync", 0.8),
    Aim("keep", "decode-loop", 1 / 1.2),
    Aim("jpeg", "jpeg-loop", 1 / 1.2),
]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured. Shards are small, so that completing one runs beside the next, as it does
    in a data set of many gigabytes."""

    images: int = 2000
    rounds: int = 3
    shard_size: str = "64MiB"


def run(
    settings: Settings, source: Path | None, work: Path, only: list[str] | None = None
) -> dict[str, Any]:
    """Copy the images and measure all ways, or those of ``only``; the result as JSON types."""
    if sys.platform == "win32":
        raise BenchmarkError("this benchmark needs cp and posix_fadvise")
    if source is not None and not source.is_dir():
        raise BenchmarkError(f"no folder {source}")
    names = [name for name in WAYS if only is None or name in only]
    result: dict[str, Any] = header("packing", settings, source, only)
    result["command"] = result["command"].replace("shard_size", "shard-size")
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="packing-", dir=work) as temporary:
        images, folder = Path(temporary, "images"), source
        if folder is None:
            folder = data.generated_images(work, settings.images)
        told = source.resolve().name if source else "tools/make_images"
        # Not links: a file that is linked ten times is read from the disk once.
        laid_out = data.lay_out(folder, settings.images, images, link=False)
        result["data"] = {"source": told, **laid_out}

        def once(name: str, number: int) -> dict[str, Any]:
            cold = name.startswith("cold-")
            target = str(Path(temporary, f"{name}-{number}"))
            if not cold:
                data.read_all([images])
            way = name.removeprefix("cold-")
            job = Job(way, str(images), target, settings.shard_size, cold)
            return child("benchmarks.packing.process", json.dumps(asdict(job)))

        result["ways"] = interleaved(names, settings.rounds, once, "packing")
    return result


def ratios(ways: dict[str, Any], way: str, base: str, figure: str) -> list[float]:
    """One way's figure over another's, round by round."""
    pairs = zip(ways[way]["rounds"], ways[base]["rounds"], strict=True)
    return [a[figure] / b[figure] for a, b in pairs]


def report(result: dict[str, Any]) -> str:
    """The table, the verdicts, the notes and the command."""
    parts = [
        table(result["ways"]),
        markdown.bullets([*verdicts(result["ways"]), *notes(result)]),
        markdown.command(result["command"]),
    ]
    return "\n\n".join(parts) + "\n"


def table(ways: dict[str, Any]) -> str:
    """One row a way; ratios are medians over the rounds, with the least and the most."""
    rows = []
    for name, entry in ways.items():
        title, bases = WAYS[name]
        found = entry["median"]
        bases = tuple(base for base in bases if base in ways)
        rows.append(
            [
                f"{title}{', cold' if name.startswith('cold-') else ''}",
                f"{found['images_per_s']:,.0f}",
                f"{found['mb_per_s']:,.0f}",
                "; ".join(spread(ratios(ways, name, base, "images_per_s")) for base in bases),
                f"{found['cpu_s_per_1000']:.2f}",
                "; ".join(spread(ratios(ways, name, base, "cpu_s_per_1000")) for base in bases),
                shown(found["memory_bytes"], lambda size: f"{size / 1e6:,.0f}"),
            ]
        )
    heads = ["Way", "images/s", "MB/s", "speed over bare", "CPU s per 1,000 images"]
    return markdown.table([*heads, "CPU over bare", "Memory, MB"], rows)


def spread(found: list[float]) -> str:
    """The median, the least and the most."""
    return f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def verdicts(ways: dict[str, Any]) -> list[str]:
    """Each aim that was measured: what was found, and whether that meets it."""
    lines = []
    for way, base, least in AIMS:
        if way in ways and base in ways:
            found = median(ratios(ways, way, base, "images_per_s"))
            text = f"`{way}` at {least:.2f} times the speed of `{base}` or more: {found:.2f}"
            lines.append(verdict(text, found >= least))
    if "sliceable" in ways:
        rate = 1000 / ways["sliceable"]["median"]["cpu_s_per_1000"]
        text = f"`sliceable` makes {RATE} images in a CPU second or more: {rate:.0f}"
        lines.append(verdict(text, rate >= RATE))
    most = max((e["median"]["memory_bytes"] or 0 for e in ways.values()), default=0)
    if most:
        text = f"less than {MEMORY / 1e6:.0f} MB of anonymous memory: {most / 1e6:.0f}"
        lines.append(verdict(text, most < MEMORY))
    return lines


def verdict(text: str, met: bool) -> str:
    """An aim with what was found, and whether it is met."""
    return f"Aim: {text}, {'met' if met else 'not met'}."


def notes(result: dict[str, Any]) -> list[str]:
    """How it was measured, and on what."""
    found, settings = result["data"], result["settings"]
    return [
        f"{found['images']:,} images ({found['bytes'] / 1e6:.0f} MB, {found['files']:,} different "
        f"files of {found['source']}, mean {found['mean_width']:.0f}×{found['mean_height']:.0f}, "
        f"{found['mean_bytes'] / 1e3:.0f} kB); shards of {settings['shard_size']}. Medians of "
        f"{settings['rounds']} interleaved rounds in fresh processes; ratios round by round: "
        "median (least to most), for `--check header` over `cp -r`, then over that with fsync.",
        "A pack is durable when it appears: each shard and side file is fsynced, and read again "
        "for its checksums. `cp -r` alone leaves its copies to the page cache. Cold: the files are "
        "dropped from the page cache (posix_fadvise) before. All work in as many threads as there "
        "are cores, but for `cp`. Imports and the loading of kernels are not counted. Memory: the "
        "most anonymous memory of the process.",
        markdown.machine_note(result["machine"]),
    ]
