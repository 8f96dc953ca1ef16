"""A made photograph that looks like one: mountains behind a lake, from nothing but noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def landscape(height: int = 360, width: int = 480, seed: int = 7) -> NDArray[np.uint8]:
    """An evening at a lake, height × width × 3 uint8 RGB; the same seed gives the same pixels."""
    chance = np.random.default_rng(seed)
    shore = int(height * 0.62)
    image = _sky(height, width, chance)
    for distance in np.linspace(1, 0, 5):
        _mountains(image[:shore], float(distance), chance)
    _boat(image, int(width * 0.42), shore)
    _lake(image, shore, chance)
    _meadow(image, chance)
    image += chance.normal(0, 2.5, image.shape).astype(np.float32)  # of a sensor
    return np.clip(image, 0, 255).astype(np.uint8)


def _noise(shape: tuple[int, int], roughest: int, chance: np.random.Generator) -> Floats:
    """Fractal noise around 0, its features between ``roughest`` pixels and one."""
    total = np.zeros(shape, np.float32)
    size = roughest
    while size >= 1:
        grid = (shape[0] // size + 2, shape[1] // size + 2)
        layer = chance.normal(0, size / roughest, grid).astype(np.float32)
        total += cv2.resize(layer, shape[::-1], interpolation=cv2.INTER_CUBIC)
        size //= 2
    return total


def _sky(height: int, width: int, chance: np.random.Generator) -> Floats:
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    blue, gold = np.float32([92, 140, 196]), np.float32([250, 206, 150])
    sky = blue + (gold - blue) * np.clip(down * 1.9, 0, 1)
    sky = np.repeat(sky, width, 1)
    clouds = np.clip(_noise((height, width), 96, chance) * 0.55 - 0.1, 0, 0.85)[..., None]
    sky += (np.float32([255, 236, 218]) - sky) * clouds
    y, x = np.mgrid[:height, :width]
    sun = np.exp(-((np.hypot(x - 0.7 * width, y - 0.3 * height) / 26) ** 2))[..., None]
    return (sky + (np.float32([255, 250, 225]) - sky) * np.minimum(sun * 1.6, 1)).astype(np.float32)


def _mountains(image: Floats, distance: float, chance: np.random.Generator) -> None:
    """One ridge; the more distant, the higher and the paler."""
    height, width = image.shape[:2]
    ridge = height * (0.88 - 0.36 * distance)
    ridge = ridge + _noise((1, width), 128, chance)[0] * height * (0.05 + 0.07 * distance)
    below = np.arange(height)[:, None] - ridge[None]
    rock = np.float32([52, 66, 58]) + (np.float32([176, 176, 190]) - [52, 66, 58]) * distance**0.7
    light = _noise((height, width), 32, chance)[..., None] * 16 * (1.1 - distance)
    snow = np.clip(1 - below / (height * 0.1), 0, 1)[..., None] * 60 * max(distance - 0.4, 0)
    cover = np.clip(below, 0, 1)[..., None]
    image += (rock + light + snow - image) * cover


def _boat(image: Floats, x: int, shore: int) -> None:
    """Two sails and a hull, at the far shore."""
    for color, points in [
        ((232, 232, 226), [(2, -66), (2, -10), (30, -10)]),
        ((206, 84, 58), [(-2, -54), (-2, -10), (-20, -10)]),
        ((92, 46, 30), [(-26, -8), (32, -8), (22, 1), (-18, 1)]),
    ]:
        moved = np.int32([(x + dx, shore + dy) for dx, dy in points])
        cv2.fillPoly(image, [moved], color, cv2.LINE_AA)


def _lake(image: Floats, shore: int, chance: np.random.Generator) -> None:
    """The water mirrors what stands above it, darker and moved by waves."""
    height, width = image.shape[:2]
    depth = np.arange(height - shore)
    waves = _noise((height - shore, width), 16, chance) * (depth[:, None] * 0.05)
    rows = np.clip(shore - 1 - depth[:, None] * 1.1 + waves * 2, 0, shore - 1).astype(np.float32)
    columns = (np.arange(width)[None] + waves).astype(np.float32)
    mirrored = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    image[shore:] = mirrored * 0.72 + np.float32([10, 24, 34])


def _meadow(image: Floats, chance: np.random.Generator) -> None:
    """Grass and flowers in front."""
    height, width = image.shape[:2]
    edge = height * 0.86 + _noise((1, width), 64, chance)[0] * height * 0.03
    for _ in range(9 * width):
        x = int(chance.integers(width))
        y = int(chance.uniform(edge[x] - 6, height + 12))
        tip = (int(x + chance.normal(0, 5)), int(y - chance.uniform(8, 22)))
        green = np.float32([50, 84, 30]) * chance.uniform(0.5, 1.6)
        cv2.line(image, (x, y), tip, green.tolist(), 1, cv2.LINE_AA)
    flowers = np.float32([[232, 90, 70], [245, 214, 90], [236, 236, 240], [170, 96, 190]])
    for _ in range(width // 5):
        x = int(chance.integers(width))
        y = int(chance.uniform(edge[x], height))
        color = flowers[chance.integers(len(flowers))].tolist()
        cv2.circle(image, (x, y), int(chance.integers(1, 4)), color, -1, cv2.LINE_AA)
