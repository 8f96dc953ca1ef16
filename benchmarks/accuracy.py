"""Whether speed costs accuracy: one training, its images loaded in several ways, several seeds.

A small CNN learns the classes of an image folder from two thirds of it, and is judged by the rest.
Everything is the same for all ways but how batches are made, and the type that is computed in.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from . import data, markdown, pil, usage
from .case_loaders import pil_centre
from .case_rounds import header, interleaved
from .errors import BenchmarkError
from .machine import usable_cores
from .scaling import child

CLASSES = 20  # of made images

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)  # of ImageNet, as torchvision's models
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

Batches = Iterable[tuple[Tensor, Tensor]]


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
            return child("benchmarks.accuracy", json.dumps(asdict(job)))

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


def train(job: Run) -> dict[str, Any]:
    """One training; accuracy on ``val``, the last loss, and the time that training took."""
    settings, way = Settings(**job.settings), WAYS[job.way]
    torch.set_num_threads(max(1, usable_cores() - settings.workers))  # the others load
    torch.manual_seed(job.seed)  # weights, order of samples, crops and flips
    training, judging, classes = loaders(job, settings, way)
    model = small_cnn(classes).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=0.05)
    steps = settings.epochs * len(training)  # type: ignore[arg-type]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps)
    cpu, start, loss = usage.cpu_seconds(), time.perf_counter(), 0.0
    for _ in range(settings.epochs):
        loss = train_epoch(model, optimizer, schedule, training, getattr(torch, way.dtype))
    wall, cpu = time.perf_counter() - start, usage.cpu_seconds() - cpu
    accuracy = judge(model, judging, getattr(torch, way.dtype))
    return {"accuracy": accuracy, "loss": loss, "wall_s": wall, "cpu_s": cpu}


def train_epoch(
    model: nn.Module, optimizer: Any, schedule: Any, batches: Batches, dtype: torch.dtype
) -> float:
    """Mean loss."""
    model.train()
    losses = []
    for images, targets in batches:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = nn.functional.cross_entropy(model(images).float(), targets, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


@torch.inference_mode()
def judge(model: nn.Module, batches: Batches, dtype: torch.dtype) -> float:
    """The share of images whose class was found."""
    model.eval()
    correct = total = 0
    for images, targets in batches:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            correct += int((model(images).argmax(1) == targets).sum())
        total += len(targets)
    return correct / total


def small_cnn(classes: int) -> nn.Module:
    """Four convolution blocks, each of half the height and width of the one before."""
    layers: list[nn.Module] = []
    for before, after in [(3, 16), (16, 32), (32, 64), (64, 128)]:
        convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))


def loaders(job: Run, settings: Settings, way: Way) -> tuple[Batches, Batches, int]:
    """Batches to train with, batches to judge with, and the number of classes."""
    if way.loader == "pil":
        return pil_loaders(job, settings)
    import fastdata
    from fastdata import transforms as T

    size = settings.size
    crops = T.Compose(
        [T.RandomResizedCrop(size, antialias=way.antialias), T.RandomHorizontalFlip()]
    )
    centre = T.Compose([T.Resize(size * 8 // 7, antialias=way.antialias), T.CenterCrop(size)])
    training = fastdata.PackedImageFolder(packed(job.train), crops)
    common: dict[str, Any] = {
        "batch_size": settings.batch,
        "num_workers": settings.workers,
        "worker_type": "thread" if way.loader == "threads" else "process",
        "batch_transform": T.DeviceNormalize(dtype=getattr(torch, way.dtype)),
    }
    return (
        fastdata.DataLoaderX(training, shuffle=True, drop_last=True, **common),
        fastdata.DataLoaderX(fastdata.PackedImageFolder(packed(job.val), centre), **common),
        len(training.classes),
    )


def pil_loaders(job: Run, settings: Settings) -> tuple[Batches, Batches, int]:
    """The same by Pillow and torch."""
    common: dict[str, Any] = {"batch_size": settings.batch, "num_workers": settings.workers}
    training, judging = Normalised(job.train, settings.size), Judged(job.val, settings.size)
    return (
        torch.utils.data.DataLoader(training, shuffle=True, drop_last=True, **common),
        torch.utils.data.DataLoader(judging, **common),
        1 + max(target for _, target in training.samples),
    )


class Normalised(pil.PilImageFolder):
    """Random crops as torchvision's ToTensor and Normalize give them."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels, target = self.pixels(index)
        return (pixels.float() / 255 - MEAN) / STD, target

    def pixels(self, index: int) -> tuple[Tensor, int]:
        """CHW uint8 RGB."""
        return super().__getitem__(index)


class Judged(Normalised):
    """The centre of the image, shrunk."""

    def pixels(self, index: int) -> tuple[Tensor, int]:
        """CHW uint8 RGB."""
        path, target = self.samples[index]
        image = pil_centre(path, self.size)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1), target


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


if __name__ == "__main__":
    print(json.dumps(train(Run(**json.loads(sys.argv[1])))))
