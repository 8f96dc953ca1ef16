"""What the cost depends on: workers, rows of the table, batch size; and the GIL."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..cases import rounds as case_rounds
from ..cases.cases import CASES, Case
from ..cases.rounds import Workbench, header, interleaved
from ..common import data, machine, markdown
from ..common.errors import BenchmarkError
from ..common.report import shown
from ..common.rounds import run_once, say
from . import big_pack

PARTS = ("workers", "rows", "batches", "gil")
CORES = 64
CASE = "imagenet-224"


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured; ``rows`` and ``batches`` are the sizes to compare."""

    rounds: int = 3
    images: int = 2048
    seconds: float = 1.5
    rows: tuple[int, ...] = (10**3, 10**4, 10**5, 10**6, 10**7)
    batches: tuple[int, ...] = (8, 32, 128, 512)


def run(
    settings: Settings, source: Path | None, work: Path, only: list[str] | None
) -> dict[str, Any]:
    """Measure all parts, or those of ``only``; the result as JSON types."""
    parts = [part for part in PARTS if only is None or part in only]
    if "batches" in parts and max(settings.batches) > settings.images:
        raise BenchmarkError(f"{settings.images} images give no batch of {max(settings.batches)}")
    result: dict[str, Any] = header("scaling", settings, source, only)
    result["command"] = command(settings, source, only)
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scaling-", dir=work) as temporary:
        if set(parts) - {"rows"}:
            shared = case_rounds.Settings(settings.rounds, 2, settings.seconds, settings.images)
            bench = Workbench(shared, source, work, Path(temporary))
            result |= photographs(settings, bench, parts)
        if "rows" in parts:
            result["rows"] = rows(settings, Path(temporary))
    return result


def command(settings: Settings, source: Path | None, only: list[str] | None) -> str:
    """The command that repeats it."""
    words = ["python -m benchmarks scaling"]
    words += [f"--data {source.resolve().name}"] if source else []
    for name, value in asdict(settings).items():
        words.append(f"--{name} {' '.join(map(str, value)) if name in LISTS else value}")
    return " ".join(words + (["--only", *only] if only else []))


LISTS = ("rows", "batches")


def photographs(settings: Settings, bench: Workbench, parts: list[str]) -> dict[str, Any]:
    """The parts that decode: the work of case imagenet-224."""
    case, images = CASES[CASE], settings.images
    case = with_images(case, images)
    found: dict[str, Any] = {}
    if "workers" in parts:
        variants = worker_variants()
        found["workers"] = interleaved(
            list(variants),
            settings.rounds,
            lambda name, i: run_once(bench.job(case, **changes(case, images, i, variants[name]))),
            "workers",
        )
    if "batches" in parts:
        found["batches"] = interleaved(
            [str(size) for size in settings.batches],
            settings.rounds,
            lambda name, i: run_once(bench.job(case, "fastdata", i, batch=int(name))),
            "batches",
        )
    if "gil" in parts:
        job = bench.job(case, "fastdata", workers=1, batch=min(64, images))
        found["gil"] = interleaved(
            ["one thread"],
            settings.rounds,
            lambda _, i: child(
                "benchmarks.scaling.gil_process", json.dumps(asdict(job) | {"seed": i})
            ),
            "gil",
        )["one thread"]
    return found | {"sources": bench.sources}


def with_images(case: Case, images: int) -> Case:
    """The case with another number of photographs."""
    made = min(images, case.source.made)
    return replace(case, source=case.source._replace(images=images, made=made))


def worker_variants() -> dict[str, tuple[str, int]]:
    """Column and number of workers by the row's name: 0, 1, 2 and as many as there are cores."""
    variants = {"no worker": ("fastdata", 0)}
    for count in sorted({1, 2, machine.usable_cores()}):
        words = f"{count} {'thread' if count == 1 else 'threads'}"
        variants[words] = ("fastdata", count)
        variants[f"{count} {'process' if count == 1 else 'processes'}"] = ("processes", count)
    return variants


def changes(case: Case, images: int, number: int, variant: tuple[str, int]) -> dict[str, Any]:
    """How a job differs from the case's."""
    column, workers = variant
    batch = min(case.batch, images)
    return {"column": column, "number": number, "workers": workers, "batch": batch}


def rows(settings: Settings, folder: Path) -> dict[str, Any]:
    """Packs of tiny raw images with more and more rows, read at random."""
    packs = {}
    for count in settings.rows:
        packs[f"{count:,}"] = big_pack.make(folder / f"rows-{count}", count)
        say(f"made a pack of {count:,} rows")
        data.read_all([packs[f"{count:,}"]])
    return interleaved(
        list(packs),
        settings.rounds,
        lambda name, i: child("benchmarks.scaling.rows_process", str(packs[name]), str(i)),
        "rows",
    )


def child(module: str, *words: str) -> dict[str, Any]:
    """The JSON on the last line that a module prints in a fresh process.

    Raises:
        BenchmarkError: that process failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=data.ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise BenchmarkError(f"{module} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def report(result: dict[str, Any]) -> str:
    """A table for each part, the notes and the command."""
    parts = []
    if "workers" in result:
        parts += ["Workers", rates(result["workers"], "Workers", "no worker")]
    if "batches" in result:
        first = next(iter(result["batches"]))
        parts += ["Batch size (2 threads)", rates(result["batches"], "Batch size", first)]
    if "rows" in result:
        parts += ["Rows of the pack's table", rows_table(result["rows"])]
    if "gil" in result:
        parts += ["The GIL", gil_lines(result["gil"]["median"])]
    parts += [markdown.bullets(notes(result)), markdown.command(result["command"])]
    return "\n\n".join(parts) + "\n"


def rates(runs: dict[str, Any], head: str, base: str) -> str:
    """images/s and CPU time, and their ratios to one row, taken round by round."""
    lines = []
    for name, entry in runs.items():
        cells = [name]
        for figure, form in (("images_per_s", ",.0f"), ("cpu_s_per_1000", ".3f")):
            share = markdown.ratio(runs, name, base, figure)
            cells += [format(entry["median"][figure], form), f"{share:.2f}"]
        lines.append(cells)
    over = f"ratio to {base}"
    return markdown.table([head, "images/s", over, "CPU s per 1,000 images", over], lines)


def rows_table(runs: dict[str, Any]) -> str:
    """Opening, memory and reading, by number of rows."""
    base = next(iter(runs))
    lines = []
    for name, entry in runs.items():
        found = entry["median"]
        share = markdown.ratio(runs, name, base, "cpu_us_per_image")
        lines.append(
            [
                name,
                f"{1e3 * found['open_s']:.1f}",
                shown(found["memory_bytes"], lambda size: f"{size / 1e6:.1f}"),
                f"{found['pickled_bytes']:,.0f}",
                f"{found['images_per_s']:,.0f}",
                f"{found['cpu_us_per_image']:.1f}",
                f"{share:.2f}",
            ]
        )
    heads = ["Rows", "Opening, ms", "Memory for it, MB", "Pickled, bytes", "images/s"]
    return markdown.table([*heads, "CPU µs an image", f"ratio to {base}"], lines)


def gil_lines(found: dict[str, Any]) -> str:
    """What one thread spends with and without the lock, and what follows for many cores."""
    total, held = found["cpu_us_per_image"], found["held_us_per_image"]
    cores, lock = CORES * 1e6 / total, 1e6 / held
    return markdown.bullets(
        [
            f"One worker thread: {total:.0f} µs of CPU time an image, of which "
            f"{total - held:.0f} µs in calls that release the GIL ({found['calls_per_image']:.1f} "
            f"calls an image) and {held:.0f} µs outside of them, which is an upper bound of the "
            f"time with the GIL: {100 * held / total:.1f} %.",
            f"Ceiling of threads on {CORES} cores = min({CORES} ÷ {total:.0f} µs, 1 ÷ {held:.0f} "
            f"µs) = min({cores:,.0f}, {lock:,.0f}) = {min(cores, lock):,.0f} images/s, the work of "
            f"{min(CORES, total / held):.0f} threads in one process.",
        ]
    )


def notes(result: dict[str, Any]) -> list[str]:
    """How each part was measured, and on what."""
    s = result["settings"]
    texts = {
        "workers": "Workers and batch sizes: RandomResizedCrop(224) and flip from a sliceable LMDB "
        f"pack of {s['images']} photographs, antialiased, as in case `{CASE}`.",
        "rows": "Rows: packs of 8×8 raw images, the first "
        f"{big_pack.RECORDS:,} of them different records, behind these the same shard again (so "
        "table, keys and number of shards grow as in a real pack, and the records do not). "
        f"{big_pack.READS:,} uniformly random reads after as many that are not timed, batches of "
        "64, no worker; opening is the constructor of `PackedImageFolder`, memory what it adds "
        "(anonymous and shared).",
        "gil": "The GIL: CPU time of a process with one worker thread, less the thread's CPU time "
        "inside of OpenCV and the compiled kernels, which let go of the lock. The bounds are those "
        "of a closed system with one server (Denning and Buzen, Operational Analysis, 1978); they "
        "leave out the cost of handing the lock over and shared caches, and processes have no "
        "second bound.",
    }
    used = [text for part, text in texts.items() if part in result]
    method = (
        f"Medians of {s['rounds']} interleaved rounds in fresh processes; ratios round by round."
    )
    return [*used, method, markdown.machine_note(result["machine"])]
