"""The measured parts of ``gpu``: training steps, copies, and a profile. Imports torch."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils.data import RandomSampler

import fastdata
from fastdata.transforms import Compose, DeviceNormalize, RandomHorizontalFlip, RandomResizedCrop

from ..common.errors import BenchmarkError
from .resnet50 import resnet50
from .timeline import Interval, lanes_of

COPIES = 30


def describe() -> dict[str, Any]:
    """The GPU and its software.

    Raises:
        BenchmarkError: there is none.
    """
    if not torch.cuda.is_available():
        raise BenchmarkError(
            "no CUDA device: torch.cuda.is_available() is False; run this on a machine with an "
            "NVIDIA GPU and a CUDA build of torch"
        )
    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {"name": found.name, "memory_bytes": found.total_memory, "cuda": torch.version.cuda}


class Bench:
    """A model on a device, ResNet-50 unless another is given, and loaders that feed it."""

    def __init__(
        self, pack: Path, settings: Any, device: str = "cuda", model: nn.Module | None = None
    ) -> None:
        self.settings, self.device = settings, torch.device(device)
        crop = Compose([RandomResizedCrop(settings.size), RandomHorizontalFlip()])
        self.dataset = fastdata.PackedImageFolder(pack, crop)
        model = (model or resnet50()).to(self.device)
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        self.resident = next(iter(self.loader(1)))

    def loader(self, batches: int) -> fastdata.DataLoaderX[Any]:
        """Batches of random crops, as many as that, on the device and normalised there."""
        count = batches * self.settings.batch
        return fastdata.DataLoaderX(
            self.dataset,
            batch_size=self.settings.batch,
            sampler=RandomSampler(self.dataset, replacement=True, num_samples=count),
            num_workers=self.settings.workers,
            worker_type="thread",
            device=self.device,
            batch_transform=DeviceNormalize(),
        )

    def step(self, batch: Any) -> None:
        """Forward, backward and update, in bfloat16 where autocast does so."""
        images, targets = batch
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(self.model(images), targets)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def finish(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def measure(self, name: str) -> dict[str, float]:
        """Seconds a step of one entry: "resident", "loader" or "loader alone"."""
        count = self.settings.warmup + self.settings.steps
        batches = repeat(self.resident) if name == "resident" else self.loader(count)
        work = ignore if name == "loader alone" else self.step
        seconds = step_seconds(
            batches, work, self.settings.warmup, self.settings.steps, self.finish
        )
        return {"step_s": seconds}

    def profile(self, steps: int) -> dict[str, list[Interval]]:
        """The lanes of some steps with the loader, after the warm-up."""
        batches = iter(self.loader(self.settings.warmup + steps + 3))
        for batch in islice(batches, self.settings.warmup):
            self.step(batch)
        self.finish()
        with torch.profiler.profile() as profiler:
            for batch in islice(batches, steps):
                self.step(batch)
            self.finish()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "trace.json")
            profiler.export_chrome_trace(str(path))
            return lanes_of(json.loads(path.read_text(encoding="utf-8")))


def ignore(batch: Any) -> None:
    """What the loader alone is measured with."""


def step_seconds(
    batches: Iterable[Any],
    work: Callable[[Any], None],
    warmup: int,
    steps: int,
    finish: Callable[[], None],
) -> float:
    """Wall time of one step, after ``warmup`` steps; BenchmarkError if there are too few batches.

    ``finish`` waits for the device, before the clock starts and before it is read.
    """
    iterator = iter(batches)
    run(iterator, work, warmup)
    finish()
    start = time.perf_counter()
    run(iterator, work, steps)
    finish()
    return (time.perf_counter() - start) / steps


def run(batches: Iterator[Any], work: Callable[[Any], None], steps: int) -> None:
    """Work on so many batches."""
    done = 0
    for batch in islice(batches, steps):
        work(batch)
        done += 1
    if done < steps:
        raise BenchmarkError(f"{steps} batches were needed, and the loader gave {done}")


def copy_rates(size: int, device: str = "cuda") -> dict[str, float]:
    """Median bytes a second of copies of ``size`` bytes to the device, by the kind of memory."""
    target = torch.empty(size, dtype=torch.uint8, device=device)
    hosts = {"pageable": torch.ones(size, dtype=torch.uint8)}
    hosts["pinned"] = hosts["pageable"].pin_memory()
    times: dict[str, list[float]] = {name: [] for name in hosts}
    for number in range(COPIES + 3):
        for name, host in hosts.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            target.copy_(host, non_blocking=True)
            torch.cuda.synchronize()
            if number >= 3:  # the first ones warm up
                times[name].append(time.perf_counter() - start)
    return {name: size / median(found) for name, found in times.items()}
