"""Whether speed costs accuracy: one training, its images loaded in several ways, several seeds.

A small CNN learns the classes of an image folder from two thirds of it, and is judged by the rest.
Everything is the same for all ways but how batches are made, and the type that is computed in.
"""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from ..cases.rounds import header, interleaved
from ..common import data, markdown
from ..common.errors import BenchmarkError
from ..scaling.suite import child

CLASSES = 20  # of made images


@dataclass(frozen=True, slots=True)
class Settings:
    """What is trained."""

    images: int = 2100
    epochs: int = 10
    seeds: int = 3
    batch: int = 64
    size: int = 64
    workers: int = 2
    lr: float = 0.004


class Way(NamedTuple):
    """How batches come: from which loader, with antialiased resizing or without, and the type that
    the network computes in."""

    title: str
    loader: str
    antialias: bool = True
    dtype: str = "float32"


#: By name; the first one is what the others are compared with.
WAYS = {
    "pil": Way("PIL ImageFolder + torch DataLoader, normalised in the workers", "pil"),
    "exact": Way("sliceable pack + DataLoaderX, normalised on the device", "packed"),
    "fast": Way("the same, `antialias=False`, worker threads", "threads", antialias=False),
    "half": Way("the same, computed in bfloat16", "threads", antialias=False, dtype="bfloat16"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One training; travels as JSON to its process. ``train`` and ``val`` are folders; the pack
    made from each lies beside it."""

    way: str
    train: str
    val: str
    settings: dict[str, Any]
    seed: int


def run(
    settings: Settings, source: Path | None, work: Path, only: list[str] | None = None
) -> dict[str, Any]:
    """Split the images, pack them, train in each way with each seed; the result as JSON types."""
    import fastdata

    if source is not None and not source.is_dir():
        raise BenchmarkError(f"no folder {source}")
    names = [name for name in WAYS if only is None or name in only]
    result: dict[str, Any] = header("accuracy", settings, source, only)
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="accuracy-", dir=work) as temporary:
        folder = source or data.generated_images(work, settings.images, classes=CLASSES)
        train, val = (Path(temporary, name) for name in ("train", "val"))
        result["data"] = {"source": source.resolve().name if source else "tools/make_images"}
        result["data"] |= split(folder, train, val)
        for part in (train, val):
            fastdata.pack_image_folder(part, packed(part), quiet=True)

        def once(name: str, seed: int) -> dict[str, Any]:
            job = Run(name, str(train), str(val), asdict(settings), seed)
            return child("benchmarks.accuracy.process", json.dumps(asdict(job)))

        result["ways"] = interleaved(names, settings.seeds, once, "accuracy")
    return result


def split(folder: Path, train: Path, val: Path) -> dict[str, Any]:
    """Put every third image of each class into ``val``, the others into ``train``.

    Classes with fewer than three images are left out.
    """
    counts = {"train": 0, "val": 0, "classes": 0}
    for directory in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(
            path for path in directory.rglob("*") if path.suffix.lower() in data.SUFFIXES
        )
        if len(files) < 3:
            continue
        counts["classes"] += 1
        for number, path in enumerate(files):
            part, name = (val, "val") if number % 3 == 2 else (train, "train")
            target = part / directory.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path.resolve())
            counts[name] += 1
    if counts["classes"] < 2:
        raise BenchmarkError(f"expected two classes of at least three images in {folder}")
    return counts


def packed(folder: Path | str) -> Path:
    """The pack of a folder."""
    return Path(f"{folder}.pack")


def report(result: dict[str, Any]) -> str:
    """The table, the notes and the command."""
    settings, found = result["settings"], result["data"]
    notes = [
        f"{found['train']:,} images of {found['source']} in {found['classes']} classes to train "
        f"with, {found['val']:,} others to judge by; {settings['epochs']} epochs at "
        f"{settings['size']} pixels, {settings['seeds']} seeds. The network and its optimiser are "
        "the same everywhere.",
        "± is the standard deviation over the seeds. A difference is within noise where its 95 % "
        "interval (Student's t) contains 0.",
        markdown.machine_note(result["machine"]),
    ]
    parts = [table(result["ways"]), markdown.bullets(notes), markdown.command(result["command"])]
    return "\n\n".join(parts) + "\n"


def table(ways: dict[str, Any]) -> str:
    """One row a way."""
    accuracies = {name: [r["accuracy"] for r in entry["rounds"]] for name, entry in ways.items()}
    base = accuracies.get("pil")
    rows = []
    for name, values in accuracies.items():
        rows.append(
            [
                f"`{name}`: {WAYS[name].title}",
                f"{100 * mean(values):.1f} ± {100 * spread(values):.1f}",
                ", ".join(f"{100 * value:.1f}" for value in values),
                difference(values, base) if base and name != "pil" else "",
                f"{mean(r['cpu_s'] for r in ways[name]['rounds']):.0f}",
            ]
        )
    heads = ["Way", "accuracy, %", "of each seed", "minus `pil` (95 % interval)", "CPU s"]
    return markdown.table(heads, rows)


def spread(values: list[float]) -> float:
    """Standard deviation; 0 of a single value."""
    return stdev(values) if len(values) > 1 else 0.0


def difference(values: list[float], base: list[float]) -> str:
    """Of the means, in percentage points, with its 95 % interval for independent seeds."""
    gap = 100 * (mean(values) - mean(base))
    if len(values) < 2:
        return f"{gap:+.1f}"
    error = 100 * math.sqrt((spread(values) ** 2 + spread(base) ** 2) / len(values))
    bound = student(2 * len(values) - 2) * error
    return f"{gap:+.1f} ({gap - bound:+.1f} to {gap + bound:+.1f})"


def student(freedom: int) -> float:
    """97.5 % quantile of Student's t (Abramowitz and Stegun, 26.7.5), good to 1 % from 4 on."""
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom ** (k + 1) for k, term in enumerate(terms))
