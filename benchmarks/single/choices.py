"""The figures behind the choices of interval length and resizing kernel.

    python -m benchmarks.single.choices FOLDER

FOLDER holds JPEGs, at any depth; ``tools/make_images`` makes some. One core, best of three rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from fastdata.images import resample
from fastdata.images.decode import decode_whole
from fastdata.images.jpeg import Slicer, Transcoded, transcode
from fastdata.images.plan import Box
from fastdata.transforms import RandomResizedCrop

BOXES = 5  # of each image


def best(work: Callable[[], object], count: int) -> float:
    """Seconds for one of ``count`` parts of the work, in the best of three rounds."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds) / count


def draw_boxes(files: list[bytes]) -> list[list[Box]]:
    """Boxes of RandomResizedCrop for each image."""
    crop, rng = RandomResizedCrop(224), np.random.default_rng(0)
    sizes = [decode_whole(data).shape[:2] for data in files]
    return [[crop.draw_box(height, width, rng) for _ in range(BOXES)] for height, width in sizes]


def intervals(files: list[bytes], boxes: list[list[Box]], target: int) -> str:
    """One line about an interval length: decoding a box, cutting it out, size, transcoding."""
    made: list[Transcoded] = []
    start = time.perf_counter()
    results = [transcode(data, target) for data in files]
    transcoding = (time.perf_counter() - start) / len(files)
    made = [result for result in results if isinstance(result, Transcoded)]
    if len(made) < len(files):
        raise SystemExit("FOLDER should hold baseline JPEGs only")
    slicer = Slicer()

    def cut(decode: bool) -> None:
        for record, drawn in zip(made, boxes, strict=True):
            for box in drawn:
                part = slicer.slice(record.record, record.index_offset, box)
                if decode:
                    decode_whole(record.record if part is None else part.data.data)

    count = BOXES * len(made)
    cutting, decoding = best(lambda: cut(False), count), best(lambda: cut(True), count)
    grown = sum(len(record.record) for record in made) / sum(map(len, files)) - 1
    return (
        f"| {target} | {decoding * 1e3:.3f} | {cutting * 1e6:.1f} | {grown:+.2%} "
        f"| {transcoding * 1e3:.2f} |"
    )


def resizers() -> dict[str, Callable[[np.ndarray], object]]:
    """Ways to 224×224."""
    size = (224, 224)

    def by_torch(crop: np.ndarray) -> object:
        pixels = torch.from_numpy(crop).permute(2, 0, 1).unsqueeze(0)
        return torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)

    return {
        "Pillow, bilinear": lambda c: Image.fromarray(c).resize(size, Image.Resampling.BILINEAR),
        "cv2, INTER_AREA": lambda c: cv2.resize(c, size, interpolation=cv2.INTER_AREA),
        "torch, antialiased": by_torch,
        "cv2, INTER_LINEAR (aliases)": lambda c: cv2.resize(c, size),
        "fastdata, Pillow's pixels": lambda c: resample.resize_bilinear(c, *size),
        "fastdata, torch's pixels (aliases)": lambda c: resample.resize_bilinear(
            c, *size, antialias=False
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    paths = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in (".jpg", ".jpeg")][:200]
    files = [path.read_bytes() for path in paths]
    boxes = draw_boxes(files)
    whole = best(lambda: [decode_whole(data) for data in files], len(files))
    print(f"{len(files)} images; decoding one whole: {whole * 1e3:.3f} ms\n")
    print("| MCUs to an interval | decode a crop, ms | of it cutting, µs | size | transcode, ms |")
    print("|---:|---:|---:|---:|---:|")
    intervals(files[:2], boxes[:2], 8)  # loads the kernels
    for target in (4, 6, 8, 16, 1000):
        print(intervals(files, boxes, target))
    print("\n| resize a crop to 224×224 | µs |\n|---|---:|")
    crops = [
        decode_whole(data)[t : t + h, left : left + w]
        for data, drawn in zip(files, boxes, strict=True)
        for t, left, h, w in drawn[:1]
    ]
    for name, resize in resizers().items():
        resize(crops[0])
        seconds = best(lambda way=resize: [way(crop) for crop in crops], len(crops))
        print(f"| {name} | {seconds * 1e6:.0f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
