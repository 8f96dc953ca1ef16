"""What the loader costs a GPU: step times, copy rates, and copies hidden under computation."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..cases.rounds import header, interleaved
from ..common import data, machine, markdown
from ..common.errors import BenchmarkError
from ..contenders.contenders import PackSpec
from . import timeline
from .timeline import COMPUTE, COPY, TRANSFORM

ENTRIES = ("resident", "loader", "loader alone")
RATIO_LIMIT = 1.02
PROFILED_STEPS = 4
#: Kernels no further apart than this many milliseconds are one bar of the timeline.
GAP = 0.02


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured; 0 workers are as many as there are usable cores."""

    rounds: int = 3
    steps: int = 60
    warmup: int = 20
    images: int = 2000
    batch: int = 128
    workers: int = 0
    size: int = 224


def run(settings: Settings, source: Path | None, work: Path) -> dict[str, Any]:
    """Measure all; the result as JSON types.

    Raises:
        BenchmarkError: there is no CUDA device.
    """
    from . import process  # only here: with torch it takes a second, which ``list`` need not wait

    gpu = process.describe()
    if source is not None and not source.is_dir():
        raise BenchmarkError(f"no folder {source}")
    settings = with_workers(settings)
    result: dict[str, Any] = header("gpu", settings, source, None) | {"gpu": gpu}
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpu-", dir=work) as temporary:
        result["data"], pack = prepared(settings, source, work, Path(temporary))
        bench = process.Bench(pack, settings)
        result["steps"] = interleaved(
            list(ENTRIES), settings.rounds, lambda name, _: bench.measure(name), "steps"
        )
        lanes = bench.profile(PROFILED_STEPS)
    result["copies"] = process.copy_rates(settings.batch * 3 * settings.size**2)
    result["timeline"] = summary(lanes)
    return result


def with_workers(settings: Settings) -> Settings:
    """The settings with a number of workers."""
    return replace(settings, workers=settings.workers or machine.usable_cores())


def prepared(
    settings: Settings, source: Path | None, work: Path, folder: Path
) -> tuple[dict[str, Any], Path]:
    """What the images are, and a pack of them in ``folder``, read once."""
    images = source or data.generated_images(work, settings.images)
    found = data.lay_out(images, settings.images, folder / "images")
    data.make_pack(folder / "images", PackSpec("lmdb", "sliceable"), folder / "pack")
    data.read_all([folder / "pack"])
    return found, folder / "pack"


def summary(lanes: dict[str, Any]) -> dict[str, Any]:
    """How much of the copying lies under the training step, and the lanes for the picture."""
    under = timeline.covered(lanes[COPY], lanes[COMPUTE])
    bars = {name: timeline.merged(found, GAP) for name, found in lanes.items()}
    rounded = {n: [[round(b, 4), round(e, 4)] for b, e in found] for n, found in bars.items()}
    return {"copies_under_step": under, "lanes_ms": rounded}


def save_picture(result: dict[str, Any], path: Path) -> None:
    """The timeline of a result."""
    s = result["settings"]
    title = (
        f"{result['gpu']['name']}: ResNet-50, batch {s['batch']}, {s['size']} pixels, "
        f"{PROFILED_STEPS} steps"
    )
    timeline.draw(result["timeline"]["lanes_ms"], title, path)


def report(result: dict[str, Any]) -> str:
    """Step times, copy rates, the verdict and the command."""
    parts = [
        steps_table(result),
        copies_table(result["copies"]),
        markdown.bullets([verdict(result["steps"]), overlap(result["timeline"]), *notes(result)]),
        markdown.command(result["command"]),
    ]
    return "\n\n".join(parts) + "\n"


def steps_table(result: dict[str, Any]) -> str:
    """Milliseconds a step, and the ratio to the resident batch."""
    rows, steps, batch = [], result["steps"], result["settings"]["batch"]
    for name in ENTRIES:
        seconds = steps[name]["median"]["step_s"]
        ratio = markdown.ratio(steps, name, "resident", "step_s")
        rows.append([name, f"{1000 * seconds:.2f}", f"{batch / seconds:,.0f}", f"{ratio:.3f}"])
    return markdown.table(["Batches from", "ms a step", "images/s", "of resident"], rows)


def copies_table(copies: dict[str, float]) -> str:
    """Gigabytes a second."""
    rows = [[name, f"{rate / 1e9:.1f}"] for name, rate in copies.items()]
    rows.append(["pinned / pageable", f"{copies['pinned'] / copies['pageable']:.2f}"])
    return markdown.table(["Copy of a batch from", "GB/s"], rows)


def verdict(steps: dict[str, Any]) -> str:
    """Whether the aim is met, or why it does not apply."""
    aim = f"Aim: a step with the loader takes at most {RATIO_LIMIT} of one on a resident batch"
    alone, step = (steps[name]["median"]["step_s"] for name in ("loader alone", "resident"))
    if alone >= step:
        return (
            f"{aim}, where the loader alone is faster than the step. It is not here: "
            f"{1000 * alone:.1f} ms against {1000 * step:.1f} ms a batch."
        )
    found = markdown.ratio(steps, "loader", "resident", "step_s") or 0.0
    return f"{aim}: {found:.3f}, {'met' if found <= RATIO_LIMIT else 'not met'}."


def overlap(found: dict[str, Any]) -> str:
    """How much of the copying was hidden."""
    under = found["copies_under_step"]
    if under is None:
        return "The profiler saw no copy."
    return f"{under:.1%} of the copying time lies under kernels of the training step."


def notes(result: dict[str, Any]) -> Sequence[str]:
    """How it was measured, and on what."""
    s, gpu = result["settings"], result["gpu"]
    method = (
        f"ResNet-50, bfloat16 autocast, SGD, batch {s['batch']}, {s['size']} pixels; "
        f"RandomResizedCrop and flip from a sliceable pack by {s['workers']} worker threads, "
        f"DeviceNormalize on the side stream. Medians of {s['rounds']} interleaved rounds of "
        f"{s['steps']} steps after {s['warmup']}. The resident batch is one of the loader's, used "
        f"again and again. In the picture, {COPY}, {TRANSFORM} and {COMPUTE} are the device's own "
        f"times; kernels less than {1000 * GAP:.0f} µs apart are one bar."
    )
    card = f"GPU: {gpu['name']}, {gpu['memory_bytes'] / 2**30:.0f} GiB, CUDA {gpu['cuda']}."
    return [method, card, markdown.machine_note(result["machine"])]
