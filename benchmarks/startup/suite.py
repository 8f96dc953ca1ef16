"""What a fresh process pays before its first batch: imports and compilation."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cases.rounds import header, interleaved
from ..common import data, markdown
from ..common.errors import BenchmarkError
from ..common.rounds import say
from ..contenders.contenders import PackSpec

IMPORT_LIMIT, FIRST_BATCH_LIMIT = 0.3, 1.0
IMAGES, BATCH = 64, 16


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured."""

    rounds: int = 3


#: Each part is one process of ``_startup``: (its words, whether numba's cache is empty).
PARTS = {
    "imports": (["imports"], False),
    "no worker": (["batch", "process", "0"], False),
    "2 threads": (["batch", "thread", "2"], False),
    "2 forked workers": (["batch", "fork", "2"], False),
    "2 spawned workers": (["batch", "spawn", "2"], False),
    "2 spawned workers of torch's DataLoader": (["batch", "torch-spawn", "2"], False),
    "2 threads, empty cache": (["batch", "thread", "2"], True),
    "2 spawned workers, empty cache": (["batch", "spawn", "2"], True),
}


#: Judged by FIRST_BATCH_LIMIT. Spawned workers import torch, which takes longer than that.
JUDGED = ("no worker", "2 threads", "2 forked workers")


def run(rounds: int, work: Path, only: list[str] | None = None) -> dict[str, Any]:
    """Measure all parts, or those of ``only``, in fresh processes; the result as JSON types."""
    names = [name for name in PARTS if only is None or name in only]
    quoted = [shlex.quote(name) for name in only] if only else None
    result: dict[str, Any] = header("startup", Settings(rounds), None, quoted)
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="startup-", dir=work) as temporary:
        folder, cache = Path(temporary), Path(temporary, "cache")
        images = data.generated_images(work, IMAGES)
        result["data"] = data.lay_out(images, IMAGES, folder / "images")
        data.make_pack(folder / "images", PackSpec("lmdb", "sliceable"), folder / "pack")
        if names != ["imports"]:
            measure(folder, ["batch", "process", "0"], cache)  # the first call: it fills the cache
            say("filled numba's cache")
        result["parts"] = interleaved(
            names, rounds, lambda name, i: part(folder, cache, name, i), "startup"
        )
    return result


def part(folder: Path, cache: Path, name: str, number: int) -> dict[str, Any]:
    """One part in one round."""
    words, empty = PARTS[name]
    return measure(folder, words, folder / f"{name}-{number}" if empty else cache)


def measure(folder: Path, words: list[str], cache: Path) -> dict[str, Any]:
    """Run ``process`` with this cache; its figures, and what it compiled.

    Raises:
        BenchmarkError: the process failed.
    """
    with tempfile.TemporaryDirectory(dir=folder) as log:
        command = [sys.executable, "-m", "benchmarks.startup.process", *words]
        command += [str(folder / "pack"), log]
        environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
        before = files(cache)
        done = subprocess.run(
            command, cwd=data.ROOT, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise BenchmarkError(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
        lines = map(str.split, done.stdout.splitlines())
        figures: dict[str, Any] = {name: float(value) for name, value in lines}
        if words[0] == "batch":
            figures["compiled_by_workers"] = compiled(Path(log))
            figures["cache_files_written"] = len(files(cache) - before)
    return figures


def files(folder: Path) -> set[tuple[str, int, int]]:
    """Name, size and time of every file."""
    found = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
    return {(str(path), s.st_size, s.st_mtime_ns) for path, s in found}


def compiled(log: Path) -> int:
    """Functions that workers compiled."""
    return sum(len(path.read_text().splitlines()) for path in log.iterdir())


def report(result: dict[str, Any]) -> str:
    """Imports, first batches, the verdicts and the command."""
    parts = [
        imports_table(result["parts"]),
        batches_table(result["parts"]),
        markdown.bullets([*verdicts(result["parts"]), *notes(result)]),
        markdown.command(result["command"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def imports_table(parts: dict[str, Any]) -> str:
    """Time of the imports."""
    if "imports" not in parts:
        return ""
    found = parts["imports"]["median"]
    numba = "yes" if found["numba_imported"] else "no"
    rows = [
        ["`import torch`", f"{found['torch_s']:.2f}", "no"],
        ["what training imports of fastdata, behind it", f"{found['fastdata_s']:.2f}", numba],
    ]
    return markdown.table(["Import", "Seconds", "numba imported"], rows)


def batches_table(parts: dict[str, Any]) -> str:
    """Time to the first batch, and who compiled."""
    rows: list[list[str]] = []
    for name, entry in parts.items():
        if name != "imports":
            found = entry["median"]
            counts = [found["cache_files_written"], found["compiled_by_workers"]]
            rows.append([name, f"{found['first_batch_s']:.2f}", *(f"{c:.0f}" for c in counts)])
    heads = ["Loader", "First batch, s", "Cache files written", "Compiled by workers"]
    return markdown.table(heads, rows) if rows else ""


def verdicts(parts: dict[str, Any]) -> list[str]:
    """Each aim whose part was measured: what was found, and whether that meets it."""
    middle = {name: entry["median"] for name, entry in parts.items()}
    lines = []
    if found := middle.get("imports"):
        added, numba = found["fastdata_s"], found["numba_imported"]
        lines.append(
            verdict(
                f"importing fastdata adds less than {IMPORT_LIMIT} s", added < IMPORT_LIMIT, added
            )
        )
        lines.append(verdict("importing fastdata does not import numba", not numba))
    if found := middle.get("2 spawned workers"):
        quiet = not found["cache_files_written"] and not found["compiled_by_workers"]
        lines.append(verdict("spawned workers compile nothing once cached", quiet))
    if found := middle.get("2 spawned workers, empty cache"):
        quiet = not found["compiled_by_workers"]
        lines.append(verdict("no worker compiles for itself, even with an empty cache", quiet))
    for name in filter(middle.__contains__, JUDGED):
        first = middle[name]["first_batch_s"]
        text = f"first batch in less than {FIRST_BATCH_LIMIT:.0f} s once cached, {name}"
        lines.append(verdict(text, first < FIRST_BATCH_LIMIT, first))
    cold, warm = middle.get("2 threads, empty cache"), middle.get("2 threads")
    if cold and warm:
        cost = cold["first_batch_s"] - warm["first_batch_s"]
        lines.append(f"Compiling with an empty cache takes {cost:.1f} s (2 threads).")
    return lines


def verdict(text: str, met: bool, seconds: float | None = None) -> str:
    """An aim, the figure, and whether it is met."""
    found = "" if seconds is None else f" {seconds:.2f} s,"
    return f"Aim: {text}:{found} {'met' if met else 'not met'}."


def notes(result: dict[str, Any]) -> list[str]:
    """How it was measured, and on what."""
    rounds = result["settings"]["rounds"]
    method = (
        f"Medians of {rounds} interleaved rounds in fresh processes. First batch: from the "
        f"construction of dataset and `DataLoaderX` until its batch of {BATCH} arrives, imports "
        "over; RandomResizedCrop(224) from a sliceable pack. Compiled by workers: counted by "
        "numba's own events in each worker process. Cache files written: by all processes, one at "
        "least for each compiled kernel; the rows with an empty cache show what is seen then."
    )
    return [method, markdown.machine_note(result["machine"])]
