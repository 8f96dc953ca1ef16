"""One training: ``python -m benchmarks.accuracy.process JSON`` prints its figures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..cases.loaders import pil_centre
from ..common import usage
from ..common.machine import usable_cores
from ..contenders import pil
from .suite import WAYS, Run, Settings, Way, packed

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)  # of ImageNet, as torchvision's models
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

Batches = Iterable[tuple[Tensor, Tensor]]


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


if __name__ == "__main__":
    print(json.dumps(train(Run(**json.loads(sys.argv[1])))))
