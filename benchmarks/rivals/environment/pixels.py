"""From an image's bytes to pixels for loaders that leave decoding to their user."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contenders.contenders import Job
from benchmarks.contenders.pil import crop_box

from .cases import CASES, Case


def reader(job: Job) -> Callable[[Any], torch.Tensor]:
    """A function from encoded bytes, or from H×W×3 uint8 pixels, to a 3×size×size tensor.

    Pillow where the job is antialiased, OpenCV where it is not.
    """
    kind = Pillow if job.antialias else OpenCV
    return kind(CASES[job.case].geometry, job.size)


class Pillow:
    """Decoded, cropped and resized by Pillow, antialiased; to be pickled for workers."""

    def __init__(self, geometry: str, size: int) -> None:
        self.geometry, self.size = geometry, size

    def __call__(self, data: Any) -> torch.Tensor:
        from PIL import Image

        image = Image.fromarray(data) if isinstance(data, np.ndarray) else opened(data)
        size, bilinear = self.size, Image.Resampling.BILINEAR
        if self.geometry == "centre":
            image = image.resize(shorter_side(*image.size, size * 8 // 7), bilinear)
            left, top = (round((side - size) / 2) for side in image.size)
            image = image.crop((left, top, left + size, top + size))
        else:
            image = image.crop(crop_box(*image.size)).resize((size, size), bilinear)
            if torch.rand(()).item() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def opened(data: bytes) -> Any:
    """A decoded Pillow image, RGB."""
    from PIL import Image

    return Image.open(io.BytesIO(data)).convert("RGB")


class OpenCV:
    """Decoded, cropped and resized by OpenCV: linear, and area for validation."""

    def __init__(self, geometry: str, size: int) -> None:
        self.geometry, self.size = geometry, size

    def __call__(self, data: Any) -> torch.Tensor:
        import cv2

        cv2.setNumThreads(0)  # the workers are the threads
        image = data if isinstance(data, np.ndarray) else decoded(data)
        height, width, size = *image.shape[:2], self.size
        if self.geometry == "centre":
            scaled = shorter_side(width, height, size * 8 // 7)
            image = cv2.resize(image, scaled, interpolation=cv2.INTER_AREA)
            left, top = (round((side - size) / 2) for side in scaled)
            image = image[top : top + size, left : left + size]
        else:
            left, top, right, bottom = crop_box(width, height)
            image = cv2.resize(image[top:bottom, left:right], (size, size))
            image = cv2.flip(image, 1) if torch.rand(()).item() < 0.5 else image
        return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


def decoded(data: bytes) -> Any:
    """H×W×3 uint8, RGB, as it lies in the file."""
    import cv2

    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def shorter_side(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height after torchvision's ``Resize(size)``."""
    short = min(width, height)
    return int(size * width / short), int(size * height / short)


def samples(images: Path) -> list[tuple[Path, int]]:
    """Files and classes of an image folder, as torchvision's ``ImageFolder`` lists them."""
    classes = sorted(path for path in images.iterdir() if path.is_dir())
    return [(file, i) for i, folder in enumerate(classes) for file in sorted(folder.iterdir())]


def stored(file: Path, case: Case) -> Any:
    """What a format is given of one file: its bytes, or its pixels in the raw case."""
    return np.array(opened(file.read_bytes())) if case.raw else file.read_bytes()


def options(job: Job) -> dict[str, Any]:
    """Arguments of torch's ``DataLoader`` that all its users share, but for the order."""
    persistent = {"persistent_workers": True} if job.workers else {}
    return {"batch_size": job.batch, "num_workers": job.workers, "drop_last": True, **persistent}


def is_shuffled(job: Job) -> bool:
    """Whether each epoch has an order of its own."""
    return CASES[job.case].geometry == "crop"
