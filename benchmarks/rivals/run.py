"""Measuring fastdata next to other libraries, each in an environment of its own."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..common import data, machine
from ..common.errors import BenchmarkError
from ..common.rounds import medians, say
from ..contenders.contenders import Job
from .environment.cases import CASES, Case
from .environment.contenders import CONTENDERS, Contender
from .environment.places import default_folder
from .images import Images, forget
from .process import RivalError, python_of, run_job
from .process import run as run_runner

FORMAT = 1
MODULES = ("fastdata", "lmdb", "numba")
CHECK_S = 300  # the first import of fastdata on a machine compiles its kernels


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured; ``seconds`` is the least time of a warm run's timed epochs."""

    images: int = 768
    batch: int = 64
    workers: tuple[int, ...] = (1, machine.usable_cores())
    size: int = 224
    rounds: int = 3
    seconds: float = 0.5
    timeout: int = 300
    cases: tuple[str, ...] = tuple(CASES)
    only: tuple[str, ...] = tuple(CONTENDERS)


def run(
    settings: Settings, source: Path | None, work: Path, envs: Path | None = None
) -> dict[str, Any]:
    """Prepare and measure all cases; the result as JSON types.

    Args:
        source: folder of images, of which the JPEGs are used; None makes some.
        work: folder for images and packs; those of this run are removed at its end.
        envs: where ``benchmarks/setup`` has made the environments.
    """
    if sys.platform == "win32":
        raise BenchmarkError("this benchmark needs the process groups of POSIX systems")
    refuse_unknown(settings)
    if source is not None and not source.is_dir():
        raise BenchmarkError(f"no folder {source}")
    result = header(settings, source)
    pythons, result["absent"] = interpreters(settings.only, envs or default_folder(), result)
    if not pythons:
        raise BenchmarkError(f"none of {', '.join(settings.only)} can run: {result['absent']}")
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rivals-", dir=work) as temporary:
        images = Images(source, settings.images, work, Path(temporary))
        bench = Bench(settings, images, Path(temporary), pythons)
        for case, workers in plan(settings):
            again = command(settings, source, cases=(case.name,), workers=(workers,))
            bench.measure(case, workers, again)
        result |= {"images": images.told, "prepared": bench.prepared, "tables": bench.tables}
    return result


def refuse_unknown(settings: Settings) -> None:
    """BenchmarkError for what cannot be measured."""
    for what, asked, known in (
        ("contender", settings.only, CONTENDERS),
        ("case", settings.cases, CASES),
    ):
        if unknown := sorted(set(asked) - set(known)):
            raise BenchmarkError(
                f"unknown {what} {', '.join(unknown)}; there are {', '.join(known)}"
            )
    if settings.images < 2 * settings.batch:
        raise BenchmarkError(
            f"{settings.images} images give less than two batches of {settings.batch}"
        )


def header(settings: Settings, source: Path | None) -> dict[str, Any]:
    """The result without its figures."""
    return {
        "format": FORMAT,
        "kind": "rivals",
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command(settings, source),
        "machine": machine.describe(MODULES),
        "settings": asdict(settings),
        "source": source.resolve().name if source else None,
        "versions": {},
    }


def command(settings: Settings, source: Path | None, **changes: Any) -> str:
    """The command that repeats it, or a part of it; of the folder only the last part is told."""
    words = ["python -m benchmarks rivals"]
    words += [f"--data {source.resolve().name}"] if source else []
    default = asdict(Settings())
    for name, value in (asdict(settings) | changes).items():
        if name in ("rounds", "workers", "images") or value != default[name]:
            words.append(f"--{name} {' '.join(map(str, value)) if is_many(value) else value}")
    return " ".join(words)


def is_many(value: Any) -> bool:
    """Whether an option takes several words."""
    return isinstance(value, tuple | list)


def interpreters(
    names: tuple[str, ...], envs: Path, result: dict[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """The Python of each environment that works, and for each other contender why it is absent."""
    pythons: dict[str, str] = {}
    absent: dict[str, str] = {}
    failed: dict[str, str] = {}
    for name in names:
        environment = CONTENDERS[name].environment
        if environment not in pythons and environment not in failed:
            try:
                python = python_of(environment, envs)
                result["versions"][environment] = run_runner(python, "check", environment, CHECK_S)
                pythons[environment] = python
            except RivalError as error:
                failed[environment] = str(error)
        if environment in failed:
            absent[name] = failed[environment]
            say(f"without {name}: {failed[environment].splitlines()[0]}")
    return pythons, absent


def plan(settings: Settings) -> list[tuple[Case, int]]:
    """Cases with numbers of workers: the first with each number, the others with the largest."""
    most = max(settings.workers)
    found = []
    for i, name in enumerate(name for name in CASES if name in settings.cases):
        numbers = sorted(set(settings.workers)) if i == 0 else [most]
        found += [(CASES[name], workers) for workers in numbers]
    return found


class Bench:
    """The contenders' formats and the tables, one after the other."""

    def __init__(
        self, settings: Settings, images: Images, folder: Path, pythons: dict[str, str]
    ) -> None:
        self.settings, self.images, self.folder, self.pythons = settings, images, folder, pythons
        self.prepared: dict[str, dict[str, Any]] = {}
        self.tables: list[dict[str, Any]] = []

    def measure(self, case: Case, workers: int, again: str) -> None:
        """All rounds of one case with one number of workers; ``again`` is the command for it."""
        self.images.get(case.images)
        table: dict[str, Any] = {"case": case.name, "title": case.title, "workers": workers}
        table |= {"command": again, "failed": {}, "runs": {}}
        self.tables.append(table)
        asked = (CONTENDERS[name] for name in self.settings.only)
        present = [c for c in asked if c.environment in self.pythons]
        ready = [c for c in present if self.tried(table, c, self.prepare, case, c)]
        if not case.cold:
            data.read_all([self.folder])
        self.run_rounds(table, case, ready)
        for name in table["failed"]:
            table["runs"].pop(name, None)
        for entry in table["runs"].values():
            entry["median"] = medians(entry["rounds"])

    def run_rounds(self, table: dict[str, Any], case: Case, ready: list[Contender]) -> None:
        """Another contender starts each round; one that has failed is left out from then on."""
        for number in range(self.settings.rounds):
            start = number % max(1, len(ready))
            for position, contender in enumerate(ready[start:] + ready[:start]):
                if contender.name not in table["failed"]:
                    job = self.job(case, contender, table["workers"], number)
                    self.tried(table, contender, self.once, table, job, position)

    def tried(
        self, table: dict[str, Any], contender: Contender, action: Callable[..., None], *words: Any
    ) -> bool:
        """Whether it went well; else the table has the reason."""
        try:
            action(*words)
        except RivalError as error:
            table["failed"][contender.name] = str(error)
            say(f"{table['case']}: {contender.name} {error}")
            return False
        return True

    def prepare(self, case: Case, contender: Contender) -> None:
        """Make the contender's format, unless a case or contender before has made the same."""
        if not contender.packs:
            return
        made = self.prepared.setdefault(case.stored, {})
        if contender.format in made:
            if "failed" in made[contender.format]:
                raise RivalError(made[contender.format]["failed"])
            return
        job = self.job(case, contender, 1, 0)
        try:
            made[contender.format] = self.call("prepare", contender, job)
        except RivalError as error:
            made[contender.format] = {"failed": str(error)}
            raise
        say(f"{case.stored}: {contender.holds} in {made[contender.format]['seconds']:.2f} s")

    def once(self, table: dict[str, Any], job: Job, position: int) -> None:
        """One run in a fresh process."""
        contender, case = CONTENDERS[job.contender], CASES[job.case]
        if case.cold:
            table["dropped_by"] = forget([Path(p) for p in (job.images, job.pack) if p])
        found = self.call("measure", contender, job) | {"order": position}
        table["runs"].setdefault(contender.name, {"rounds": []})["rounds"].append(found)
        say(
            f"{case.name}, {job.workers} workers, round {job.seed + 1}/{self.settings.rounds}  "
            f"{contender.name:16}{found['images_per_s']:8,.0f} images/s"
        )

    def call(self, what: str, contender: Contender, job: Job) -> dict[str, Any]:
        """Run it by the contender's interpreter."""
        python = self.pythons[contender.environment]
        return run_job(python, what, job, self.settings.timeout)

    def job(self, case: Case, contender: Contender, workers: int, number: int) -> Job:
        """The job of one run; all of a round share the seed."""
        pack = self.folder / f"{contender.format}-{case.stored}"
        return Job(
            contender=contender.name,
            images=str(self.images.get(case.images)),
            pack=str(pack) if contender.packs else None,
            batch=self.settings.batch,
            workers=workers,
            size=self.settings.size,
            epochs=1,
            antialias=contender.antialias,
            seed=number,
            case=case.name,
            seconds=self.settings.seconds,
        )
