"""The rounds: every contender once a round, each run in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from ..contenders.contenders import CONTENDERS, Contender, Job, choose
from . import data, machine
from .errors import BenchmarkError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """What one benchmark measures; written into its result."""

    images: int = 2000
    batch: int = 64
    workers: int = 2
    size: int = 224
    rounds: int = 5
    warmup: int = 1
    epochs: int = 2
    antialias: bool = False


def run(
    settings: Settings, source: Path | None, work: Path, only: list[str] | None
) -> dict[str, Any]:
    """Prepare images and packs, run all rounds, and return the result as JSON types.

    Args:
        source: folder of images; None makes some, which stay in ``work``.
        work: folder for the images and packs; those of this run are removed at its end.
        only: names of contenders; None takes all that are installed.
    """
    contenders = choose(only)
    for absent in [c for c in CONTENDERS.values() if only is None and c.missing()]:
        say(f"without {absent.name}, which needs {', '.join(absent.missing())}")
    if settings.images < settings.batch:
        raise BenchmarkError(f"{settings.images} images give no batch of {settings.batch}")
    if source is not None and not source.is_dir():
        raise BenchmarkError(f"no folder {source}")
    folder = source or data.generated_images(work, settings.images)
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=work) as temporary:
        result = header(settings, source, contenders)
        result["data"] |= data.lay_out(folder, settings.images, Path(temporary, "images"))
        result["packs"] = make_packs(contenders, Path(temporary))
        data.read_all([Path(temporary)])
        result["contenders"] = run_rounds(settings, contenders, Path(temporary))
    return result


def header(settings: Settings, source: Path | None, contenders: list[Contender]) -> dict[str, Any]:
    """The result without its figures."""
    modules = {name for contender in contenders for name in contender.needs}
    return {
        "format": FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command(settings, source, contenders),
        "machine": machine.describe(modules),
        "settings": asdict(settings),
        "data": {"source": source.resolve().name if source else "tools/make_images"},
    }


def command(settings: Settings, source: Path | None, contenders: list[Contender]) -> str:
    """The command that repeats this benchmark; of the folder only the last part is told."""
    words = ["python -m benchmarks run"]
    words += [f"--data {source.resolve().name}"] if source else []
    numbers = asdict(settings)
    antialias = numbers.pop("antialias")
    words += [f"--{name} {value}" for name, value in numbers.items()]
    words += ["--antialias" if antialias else "--no-antialias"]
    words += ["--only", *(contender.name for contender in contenders)]
    return " ".join(words)


def make_packs(contenders: list[Contender], folder: Path) -> dict[str, Any]:
    """Make each kind of pack that a contender reads, once."""
    specs = dict.fromkeys(c.pack for c in contenders if c.pack is not None)
    reports = {}
    for spec in specs:
        reports[spec.name] = data.make_pack(folder / "images", spec, folder / spec.name)
        say(f"packed {spec.name} in {reports[spec.name]['seconds']:.1f} s")
    return reports


def run_rounds(
    settings: Settings, contenders: list[Contender], folder: Path
) -> dict[str, dict[str, Any]]:
    """All rounds, the uncounted ones first; another contender starts each round."""
    results = {c.name: describe(c, settings.antialias) for c in contenders}
    for number in range(-settings.warmup, settings.rounds):
        start = number % len(contenders)
        for position, contender in enumerate(contenders[start:] + contenders[:start]):
            figures = run_once(job_of(contender, settings, folder, number)) | {"order": position}
            say(progress(number, settings.rounds, contender.name, figures))
            if number >= 0:
                results[contender.name]["rounds"].append(figures)
    for result in results.values():
        result["median"] = medians(result["rounds"])
    return results


def describe(contender: Contender, antialias: bool) -> dict[str, Any]:
    """A contender's entry in the result, before its first round."""
    return {
        "title": contender.title,
        "decoder": contender.decoder,
        "resize": contender.resize_with(antialias),
        "pack": contender.pack.name if contender.pack else None,
        "rounds": [],
    }


def job_of(contender: Contender, settings: Settings, folder: Path, number: int) -> Job:
    """The job of one contender in one round; all contenders of a round share the seed."""
    return Job(
        contender=contender.name,
        images=str(folder / "images"),
        pack=str(folder / contender.pack.name) if contender.pack else None,
        batch=settings.batch,
        workers=settings.workers,
        size=settings.size,
        epochs=settings.epochs,
        antialias=settings.antialias,
        seed=settings.warmup + number,
    )


def run_once(job: Job) -> dict[str, Any]:
    """Measure one job in a fresh process.

    Raises:
        BenchmarkError: that process failed; the message ends with what it said.
    """
    command = [sys.executable, "-m", "benchmarks.common.process", json.dumps(asdict(job))]
    done = subprocess.run(command, cwd=data.ROOT, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkError(f"the run of {job.contender} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure over the rounds; None where a round has none."""
    columns = {name: [figures[name] for figures in rounds] for name in rounds[0]}
    del columns["order"]
    return {name: None if None in found else median(found) for name, found in columns.items()}


def progress(number: int, rounds: int, name: str, figures: dict[str, Any]) -> str:
    """One line for the terminal."""
    where = f"round {number + 1}/{rounds}" if number >= 0 else "warm-up"
    rate, cpu = figures["images_per_s"], figures["cpu_s_per_1000"]
    return f"{where:>10}  {name:10} {rate:7.0f} images/s  {cpu:6.3f} CPU s per 1,000"


def say(line: str) -> None:
    """Tell the person who waits."""
    print(line, file=sys.stderr, flush=True)
