"""What builds the batches of a case's column; imported in the measuring process only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

from fastdata import DataLoaderX, PackedImageFolder, transforms

from ..contenders.contenders import RATIO, SCALE, Batches, Job
from ..contenders.cv2_loop import FLAGS
from ..contenders.pil import PilImageFolder, crop_box
from .cases import CASES

PADDING = 4


class FolderOf(PilImageFolder):
    """Samples are (3×size×size uint8 RGB tensor, class index), made by ``read(path, size)``."""

    def __init__(self, root: str, size: int, read: Callable[[str, int], Any]) -> None:
        super().__init__(root, size)
        self.read = read

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, target = self.samples[index]
        pixels = self.read(path, self.size)
        return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1), target


def resized_short(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height by torchvision's ``Resize``: the shorter side becomes ``size``."""
    short = min(width, height)
    return int(size * width / short), int(size * height / short)


def middle(width: int, height: int, size: int) -> tuple[int, int]:
    """Left and top by torchvision's ``CenterCrop``."""
    return round((width - size) / 2), round((height - size) / 2)


def anywhere(width: int, height: int, size: int) -> tuple[int, int]:
    """Left and top of a random crop."""
    x, y = torch.rand(2).tolist()
    return int(x * (width - size + 1)), int(y * (height - size + 1))


def flips() -> bool:
    """True half of the time."""
    return torch.rand(()).item() < 0.5


def pil_opened(path: str) -> Image.Image:
    """All pixels, as RGB."""
    with open(path, "rb") as file:
        return Image.open(file).convert("RGB")


def pil_flipped(image: Image.Image) -> Any:
    """The pixels, mirrored half of the time."""
    return np.array(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flips() else image)


def pil_crop(path: str, size: int) -> Any:
    """Random resized crop and flip."""
    image = pil_opened(path)
    image = image.crop(crop_box(*image.size))
    return pil_flipped(image.resize((size, size), Image.Resampling.BILINEAR))


def pil_centre(path: str, size: int) -> Any:
    """Shorter side to 8/7 of ``size``, central crop."""
    image = pil_opened(path)
    image = image.resize(resized_short(*image.size, size * 8 // 7), Image.Resampling.BILINEAR)
    left, top = middle(*image.size, size)
    return np.array(image.crop((left, top, left + size, top + size)))


def pil_pad(path: str, size: int) -> Any:
    """Black borders, random crop and flip."""
    image = ImageOps.expand(pil_opened(path), PADDING)
    left, top = anywhere(*image.size, size)
    return pil_flipped(image.crop((left, top, left + size, top + size)))


def cv2_opened(path: str) -> Any:
    """All pixels, as RGB."""
    with open(path, "rb") as file:
        return cv2.imdecode(np.frombuffer(file.read(), np.uint8), FLAGS)


def cv2_flipped(image: Any) -> Any:
    """The pixels, mirrored half of the time."""
    return cv2.flip(image, 1) if flips() else image


def cv2_crop(path: str, size: int) -> Any:
    """Random resized crop and flip, linear: the cheapest."""
    image = cv2_opened(path)
    left, top, right, bottom = crop_box(image.shape[1], image.shape[0])
    return cv2_flipped(cv2.resize(image[top:bottom, left:right], (size, size)))


def cv2_centre(path: str, size: int) -> Any:
    """Shorter side to 8/7 of ``size``, antialiased, and central crop."""
    image = cv2_opened(path)
    width, height = resized_short(image.shape[1], image.shape[0], size * 8 // 7)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    left, top = middle(width, height, size)
    return image[top : top + size, left : left + size]


def cv2_pad(path: str, size: int) -> Any:
    """Black borders, random crop and flip."""
    image = cv2.copyMakeBorder(cv2_opened(path), *[PADDING] * 4, cv2.BORDER_CONSTANT)
    left, top = anywhere(image.shape[1], image.shape[0], size)
    return cv2_flipped(image[top : top + size, left : left + size])


PIL = {"crop": pil_crop, "centre": pil_centre, "pad": pil_pad}
CV2 = {"crop": cv2_crop, "centre": cv2_centre, "pad": cv2_pad}


def folder(job: Job, readers: dict[str, Callable[[str, int], Any]]) -> Batches:
    """The folder behind torch's own loader, with OpenCV's threads off."""
    cv2.setNumThreads(0)  # forked workers inherit it
    dataset = FolderOf(job.images, job.size, readers[CASES[job.case].geometry])
    return DataLoader(dataset, **options(job), persistent_workers=job.workers > 0)


def packed(
    job: Job, worker_type: str = "thread", antialias: bool = True, **settings: Any
) -> Batches:
    """The pack behind ``DataLoaderX``; without workers, in a background thread of its own."""
    transform = transform_of(CASES[job.case].geometry, job.size, antialias)
    dataset = PackedImageFolder(str(job.pack), transform, **settings)
    if worker_type == "thread" and job.workers:
        return DataLoaderX(dataset, **options(job), worker_type="thread")
    return DataLoaderX(dataset, **options(job), persistent_workers=job.workers > 0)


def transform_of(geometry: str, size: int, antialias: bool = True) -> transforms.Compose:
    """fastdata's transform for a case."""
    if geometry == "centre":
        resize = transforms.Resize(size * 8 // 7, antialias=antialias)
        return transforms.Compose([resize, transforms.CenterCrop(size)])
    crop: Any = transforms.RandomCrop(size, padding=PADDING)
    if geometry == "crop":
        crop = transforms.RandomResizedCrop(size, scale=SCALE, ratio=RATIO, antialias=antialias)
    return transforms.Compose([crop, transforms.RandomHorizontalFlip()])


def options(job: Job) -> dict[str, Any]:
    """What all loaders are told."""
    return {
        "batch_size": job.batch,
        "shuffle": CASES[job.case].geometry != "centre",
        "drop_last": True,
        "num_workers": job.workers,
    }


BUILDERS: dict[str, Callable[[Job], Batches]] = {
    "pil": partial(folder, readers=PIL),
    "full": partial(folder, readers=CV2),
    "fastdata": packed,
    "processes": partial(packed, worker_type="process"),
    "linear": partial(packed, antialias=False),
    "reduced": partial(packed, decode_scale="auto"),
}
