"""The image folders that all contenders of ``python -m benchmarks rivals`` start from."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..common import data
from ..common.errors import BenchmarkError
from ..common.machine import usable_cores

LONGEST, QUALITY = 512, 90
SQUARE = 256
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


class Images:
    """Lays out the photographs, and makes smaller ones of them, when they are first asked for."""

    def __init__(self, source: Path | None, count: int, work: Path, folder: Path) -> None:
        self.source, self.count, self.work, self.folder = source, count, work, folder
        self.told: dict[str, Any] = {}

    def get(self, name: str) -> Path:
        """The folder of "original", "512" or "256" images."""
        target = self.folder / f"images-{name}"
        if name not in self.told:
            self.told[name] = self.original(target) if name == "original" else self.made(name)
        return target

    def original(self, target: Path) -> dict[str, Any]:
        """JPEGs alone, as not every contender reads anything else."""
        found = self.source or data.generated_images(self.work, self.count)
        jpegs = self.folder / "jpegs"
        for path in found.rglob("*"):
            if path.suffix.lower() in (".jpg", ".jpeg") and path.is_file():
                data.place(data.File(path, "", 0, 0), jpegs / path.relative_to(found))
        if not jpegs.exists():
            raise BenchmarkError(f"no JPEG in {found}")
        told = self.source.resolve().name if self.source else "tools/make_images"
        # Not links: a file that is linked ten times is read from a cold disk once.
        return {"source": told} | data.lay_out(jpegs, self.count, target, link=False)

    def made(self, name: str) -> dict[str, Any]:
        """Smaller JPEGs of the original ones."""
        shrink = shrunk if name == "512" else squared
        original, target = self.get("original"), self.folder / f"images-{name}"
        files = [path for path in original.rglob("*") if path.is_file()]

        def make(file: Path) -> int:
            path = target / file.relative_to(original).with_suffix(".jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
            _, encoded = cv2.imencode(".jpg", shrink(pixels), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            return path.write_bytes(encoded.tobytes())

        with ThreadPoolExecutor(usable_cores()) as pool:
            total = sum(pool.map(make, files))
        return {"images": len(files), "bytes": total, "mean_bytes": total / len(files)}


def shrunk(pixels: Any) -> Any:
    """No side longer than LONGEST."""
    height, width = pixels.shape[:2]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def squared(pixels: Any) -> Any:
    """The middle square, SQUARE pixels high and wide."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    return cv2.resize(square, (SQUARE, SQUARE), interpolation=cv2.INTER_AREA)


def forget(paths: list[Path]) -> str:
    """Empty the page cache: all of it where that is permitted, else these files; says which."""
    os.sync()  # dirty pages would stay
    try:
        DROP_CACHES.write_text("3")
    except OSError:
        for path in paths:
            forget_file(path)
        return "posix_fadvise"
    return "drop_caches"


def forget_file(path: Path) -> None:
    """Have the system drop a file, or all files below a folder, from its page cache."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
