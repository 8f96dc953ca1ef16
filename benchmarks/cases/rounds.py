"""Measuring the cases: images and packs, then interleaved rounds in fresh processes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..common import data, machine
from ..common.errors import BenchmarkError
from ..common.rounds import medians, run_once, say
from ..contenders.contenders import Job, PackSpec
from . import cases
from .cases import Case, Source

FORMAT = 1
MODULES = ("fastdata", "lmdb", "numba")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured. ``images`` and ``batch`` are limits; 0 is the case's own number."""

    rounds: int = 3
    workers: int = 2
    seconds: float = 1.5
    images: int = 0
    batch: int = 0


def run(
    settings: Settings, source: Path | None, work: Path, only: list[str] | None
) -> dict[str, Any]:
    """Prepare and measure the cases one after the other; the result as JSON types."""
    chosen = cases.choose(only)
    result = header("cases", settings, source, only)
    result["cases"] = {}
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cases-", dir=work) as temporary:
        bench = Workbench(settings, source, work, Path(temporary))
        for case in chosen:
            result["cases"][case.name] = measured(bench, case)
        result["sources"] = bench.sources
    return result


def header(command: str, settings: Any, source: Path | None, only: list[str] | None) -> Any:
    """A result without its figures; of the folder only the last part is told."""
    words = [f"python -m benchmarks {command}"]
    words += [f"--data {source.resolve().name}"] if source else []
    words += [f"--{name} {value}" for name, value in asdict(settings).items()]
    words += ["--only", *only] if only else []
    return {
        "format": FORMAT,
        "kind": command,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(words),
        "machine": machine.describe(MODULES),
        "settings": asdict(settings),
    }


class Workbench:
    """Lays out each source and makes each pack once, when it is first asked for."""

    def __init__(self, settings: Settings, source: Path | None, work: Path, folder: Path) -> None:
        if source is not None and not source.is_dir():
            raise BenchmarkError(f"no folder {source}")
        self.settings, self.source, self.work, self.folder = settings, source, work, folder
        self.sources: dict[str, Any] = {}
        self.packs: dict[Path, Any] = {}

    def images(self, source: Source) -> Path:
        """The folder of a source's images."""
        target = self.folder / source.name
        if source.name not in self.sources:
            count = min(source.images, self.settings.images or source.images)
            given = self.source if source.size is None else None
            made = min(source.made, count)
            found = given or data.generated_images(self.work, made, source.size)
            told = given.resolve().name if given else "tools/make_images"
            self.sources[source.name] = {"source": told, **data.lay_out(found, count, target)}
            data.read_all([target])
        return target

    def pack(self, source: Source, spec: PackSpec) -> Path:
        """The pack of a source."""
        target = self.folder / f"{source.name}-{spec.name}"
        if target not in self.packs:
            self.packs[target] = data.make_pack(self.images(source), spec, target)
            say(f"packed {target.name} in {self.packs[target]['seconds']:.1f} s")
            data.read_all([target])
        return target

    def unpacked(self, pack: Path) -> Path:
        """The images of a pack as files."""
        import fastdata

        target = pack.with_name(pack.name + "-files")
        if not target.exists():
            fastdata.unpack(pack, target, quiet=True)
            data.read_all([target])
        return target

    def job(self, case: Case, column: str, number: int = 0, **changes: Any) -> Job:
        """The job of one column in one round; all of a round share the seed."""
        pack = self.pack(case.source, case.pack)
        images = self.unpacked(pack) if case.unpacked else self.images(case.source)
        values: dict[str, Any] = {
            "contender": column,
            "images": str(images),
            "pack": str(pack),
            "batch": min(case.batch, self.settings.batch or case.batch),
            "workers": self.settings.workers,
            "size": case.size,
            "epochs": 1,
            "antialias": True,
            "seed": number,
            "case": case.name,
            "seconds": self.settings.seconds,
        }
        return Job(**values | changes)


def measured(bench: Workbench, case: Case) -> dict[str, Any]:
    """One case's entry in the result."""
    present, absent = cases.columns(case)
    for name, why in absent.items():
        say(f"{case.name} without {name}: {why}")
    jobs = {name: bench.job(case, name) for name in present}
    entry = {"title": case.title, "absent": absent, "batch": jobs[present[0]].batch}
    entry |= {"source": case.source.name, "pack": bench.packs[Path(str(jobs[present[0]].pack))]}
    entry["columns"] = interleaved(
        present,
        bench.settings.rounds,
        lambda name, i: run_once(bench.job(case, name, i)),
        case.name,
    )
    return entry


def interleaved(
    names: list[str], rounds: int, measure: Callable[[str, int], dict[str, Any]], what: str
) -> dict[str, Any]:
    """``measure(name, round)`` for all names in each round, another first each time; medians."""
    entries: dict[str, Any] = {name: {"rounds": []} for name in names}
    for number in range(rounds):
        start = number % len(names)
        for position, name in enumerate(names[start:] + names[:start]):
            figures = measure(name, number) | {"order": position}
            entries[name]["rounds"].append(figures)
            say(f"{what}  round {number + 1}/{rounds}  {name:12}{told(figures)}")
    for entry in entries.values():
        entry["median"] = medians(entry["rounds"])
    return entries


def told(figures: dict[str, Any]) -> str:
    """The two figures that matter most, where there are such."""
    if "cpu_s_per_1000" not in figures:
        return ""
    rate, cpu = figures["images_per_s"], figures["cpu_s_per_1000"]
    return f"{rate:9,.0f} images/s {cpu:8.3f} CPU s per 1,000"
