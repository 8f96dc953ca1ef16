"""The demonstration behind ``tools/demo``: pack, verify, train, compare."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn
from torch.utils.data import RandomSampler

import fastdata
from fastdata.transforms import Compose, Normalize, RandomHorizontalFlip, RandomResizedCrop

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".demo"

IMAGES, CLASSES = 1200, 8
EPOCHS, BATCH, SIZE, WORKERS = 2, 32, 96, 2
FEWEST, MOST = 1200, 4800  # samples in an epoch: fewer show no falling loss, more take long
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


def main() -> None:
    """Run every part; exit with 1 and a message if one fails."""
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="images, one directory a class")
    folder = parser.parse_args().folder
    start = time.perf_counter()
    images = given(folder) if folder else made_images()
    packs = {storage: pack(images, storage) for storage in ("lmdb", "hdf5")}
    train(packs["lmdb"])
    compare(images)
    print(f"\nDone in {time.perf_counter() - start:.0f} s; everything is in {WORK}")


def given(folder: Path) -> Path:
    """The user's folder, whatever the current directory is later."""
    if not folder.is_dir():
        fail(f"{folder} is not a folder")
    return folder.resolve()


def made_images() -> Path:
    """Seeded photograph-like images, kept for the next time."""
    title(f"{IMAGES} images in {CLASSES} classes")
    folder, partial = WORK / "images", WORK / "images.partial"
    if folder.exists():
        print(f"{short(folder)} is there already")
        return folder
    shutil.rmtree(partial, ignore_errors=True)
    options = ["--count", str(IMAGES), "--classes", str(CLASSES)]
    command("tools/make_images", short(partial), *options)
    partial.rename(folder)
    return folder


def pack(images: Path, storage: str) -> Path:
    """Pack, verify and describe the images, by the command that a user would type."""
    title(f"Pack into {storage.upper()}")
    path = WORK / f"{storage}.pack"
    options = ["--storage", storage, "--overwrite"]
    command("-m", "fastdata", "pack", short(images), short(path), *options)
    command("-m", "fastdata", "verify", short(path))
    command("-m", "fastdata", "info", short(path))
    return path


def train(path: Path) -> None:
    """Train a small network for two epochs; exit with 1 if its loss does not fall."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    title(f"Train a small CNN from {path.name} on {device.type}")
    torch.manual_seed(0)
    # torch's threads wait for each other by spinning, and would take the cores from the workers.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) - WORKERS))
    loader, classes = training_loader(path, device)
    if classes < 2:
        fail(f"training needs images of two classes or more, found {classes}")
    model = network(classes).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses: list[float] = []
    for epoch in range(1, EPOCHS + 1):
        start = time.perf_counter()
        steps = list(train_epoch(model, optimizer, loader))
        seconds, count = time.perf_counter() - start, len(steps)
        losses += [loss for loss, _ in steps]
        loss, accuracy = (sum(figures) / count for figures in zip(*steps, strict=True))
        rate = count * BATCH / seconds
        print(f"epoch {epoch}: loss {loss:.3f}, accuracy {accuracy:.1%}, {rate:.0f} images/s")
    check_falling(losses)


def training_loader(path: Path, device: torch.device) -> tuple[Any, int]:
    """uint8 crops from the pack, normalised on the device; and the number of classes."""
    crop = RandomResizedCrop(SIZE, scale=(0.35, 1.0))
    dataset = fastdata.PackedImageFolder(path, Compose([crop, RandomHorizontalFlip()]), seed=0)
    length = min(max(len(dataset), FEWEST), MOST)
    loader = fastdata.DataLoaderX(
        dataset,
        batch_size=BATCH,
        sampler=RandomSampler(dataset, replacement=len(dataset) < length, num_samples=length),
        num_workers=WORKERS,
        persistent_workers=True,
        drop_last=True,
        device=device,
        batch_transform=normalise,
    )
    return loader, len(dataset.classes)


def normalise(batch: Any) -> Any:
    """N×3×H×W uint8 to float32, on the device."""
    images, targets = batch
    return Normalize(MEAN, STD)(images), targets


def network(classes: int) -> nn.Module:
    """Four convolution blocks and a linear classifier."""
    widths = [3, 32, 64, 128, 128]
    blocks: list[nn.Module] = []
    for before, after in pairwise(widths):
        convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        blocks += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes)]
    return nn.Sequential(*blocks, *head)


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, loader: Any
) -> Iterator[tuple[float, float]]:
    """One step a batch; yields its loss and the share of its images classified correctly."""
    model.train()
    for images, targets in loader:
        output = model(images)
        loss = nn.functional.cross_entropy(output, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield loss.item(), (output.argmax(1) == targets).float().mean().item()


def check_falling(losses: list[float]) -> None:
    """Compare the last quarter of all batches with the first."""
    quarter = max(1, len(losses) // 4)
    first, last = sum(losses[:quarter]) / quarter, sum(losses[-quarter:]) / quarter
    print(f"loss of the first quarter of batches {first:.3f}, of the last {last:.3f}")
    if not last < first:
        fail("the loss did not fall: the images or the labels that arrive are not right")


def compare(images: Path) -> None:
    """Run the benchmark, print its short table and save its chart."""
    title("Compare with a PIL ImageFolder and torch's DataLoader")
    result, chart = WORK / "benchmark.json", WORK / "throughput.png"
    options = f"--images {IMAGES} --rounds 3 --epochs 2 --workers {WORKERS}"
    names = "--only pil folder lmdb hdf5"
    where = ["--data", short(images), "--work", short(WORK / "work"), "--output", short(result)]
    command("-m", "benchmarks", "run", *where, *options.split(), *names.split(), quiet=True)
    report = WORK / "benchmark.md"
    saving = ["--chart", short(chart), "--markdown", short(report)]
    command("-m", "benchmarks", "report", short(result), *saving, quiet=True)
    print_table(json.loads(result.read_text(encoding="utf-8")))
    print(f"\nchart: {chart}\nwhole report: {report}")


def print_table(result: dict[str, Any]) -> None:
    """Images per second and CPU seconds per 1,000 images, one line a contender."""
    print(f"\n{'':36}{'images/s':>10}{'CPU s per 1,000 images':>26}")
    for entry in result["contenders"].values():
        rate, cpu = (entry["median"][key] for key in ("images_per_s", "cpu_s_per_1000"))
        print(f"{entry['title']:36}{rate:10,.0f}{cpu:26.2f}")


def command(*words: str, quiet: bool = False) -> None:
    """Run Python with these arguments in the repository; exit with 1 if it fails."""
    print("$ python", shlex.join(words), flush=True)
    output = subprocess.DEVNULL if quiet else None
    if subprocess.run([sys.executable, *words], cwd=ROOT, stdout=output).returncode:
        fail(f"this failed: python {shlex.join(words)}")


def short(path: Path) -> str:
    """The path as one types it in the repository."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def title(text: str) -> None:
    """Start a part."""
    print(f"\n== {text}", flush=True)


def fail(message: str) -> NoReturn:
    """End with exit code 1."""
    sys.exit(f"tools/demo: {message}")


if __name__ == "__main__":
    main()
