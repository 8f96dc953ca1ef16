"""Small images and folders of them, made from seeds; nothing here is read from outside."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

FORMATS = (".jpg", ".png", ".webp", ".bmp")
PILLOW_13 = int(PIL.__version__.split(".")[0]) >= 13


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth HWC uint8 RGB colours with a little grain, another picture for each seed."""
    rng = np.random.default_rng((seed, height, width))
    y, x = np.mgrid[0:height, 0:width].astype(np.float64) / max(height, width)
    waves = [np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in rng.uniform(-2, 2, size=(3, 3))]
    pixels = 128 + 100 * np.stack(waves, axis=2) + rng.normal(0, 3, (height, width, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def encoded(pixels: NDArray[np.uint8], suffix: str = ".jpg", quality: int = 90) -> bytes:
    """RGB pixels as an image file of the format that ``suffix`` names."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix.lower() in (".jpg", ".jpeg") else []
    done, data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"OpenCV cannot write {suffix}")
    return data.tobytes()


def write_image(path: Path, height: int = 40, width: int = 60, seed: int = 0) -> Path:
    """Write one image, in the format of the path's suffix; parent directories are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(picture(height, width, seed), path.suffix))
    return path


def write_tree(
    root: Path,
    classes: int = 3,
    per_class: int = 4,
    *,
    formats: tuple[str, ...] = FORMATS,
    sizes: tuple[tuple[int, int], ...] = ((40, 60), (61, 33), (48, 48), (17, 90), (70, 25)),
    seed: int = 0,
) -> Path:
    """Write a folder in ``ImageFolder`` layout and return it.

    Class ``i`` is the directory ``class_i``; its image ``j`` is ``image_j`` plus a suffix. Formats
    and sizes (height, width) take turns, so neighbours differ in both.
    """
    number = seed * 1000
    for i in range(classes):
        for j in range(per_class):
            height, width = sizes[number % len(sizes)]
            name = f"image_{j:03d}{formats[number % len(formats)]}"
            write_image(root / f"class_{i}" / name, height, width, number)
            number += 1
    return root


def resized_by_pillow(
    image: NDArray[np.uint8], height: int, width: int, method: Image.Resampling
) -> NDArray[np.uint8]:
    """What Pillow 13 makes of the image, on any Pillow: older ones differ in the passes' order."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    lost = image.shape[0] - height
    if not PILLOW_13 and lost > 0 and lost > 2 * (image.shape[1] - width):
        picture = picture.resize((picture.width, height), method)
    elif not PILLOW_13:
        picture = picture.resize((width, picture.height), method)
    return np.asarray(picture.resize((width, height), method))


def resized_plainly(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Bilinear without antialiasing, as torch's uint8 ``interpolate`` rounds it: columns first."""
    return _between_two(_between_two(image, 1, width), 0, height)


def _between_two(image: NDArray[np.uint8], axis: int, new: int) -> NDArray[np.uint8]:
    old = image.shape[axis]
    place = np.maximum((np.arange(new) + 0.5) * (old / new) - 0.5, 0)
    first = np.minimum(place.astype(int), old - 1)
    second = np.minimum(first + 1, old - 1)
    parts = np.stack([1 - (place - first), place - first])
    bits = 14 if round(parts.max() * 2**15) >= 2**15 else 15
    shape = [1, 1, 1]
    shape[axis] = new
    one, other = np.floor(parts * 2**bits + 0.5).astype(int).reshape(2, *shape)
    total = image.take(first, axis) * one + image.take(second, axis) * other
    return (total + 2 ** (bits - 1) >> bits).astype(np.uint8)


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a directory: relative POSIX name to bytes."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
