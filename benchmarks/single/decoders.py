"""How fast each decoder of JPEGs is, and how far its pixels are from OpenCV's.

    python -m benchmarks.single.decoders FOLDER [--count 200] [--rounds 5]

FOLDER holds JPEGs, at any depth; ``tools/make_images`` makes some. One core, CPU time. In each
round the decoders take turns; shown are the median of the rounds, and that of the shares of
OpenCV's time in the same round. A crop is one of RandomResizedCrop(224), cut out of a sliceable
record.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from fastdata.errors import MissingDependencyError
from fastdata.images.decode import decode_image, decode_whole, load_kernels
from fastdata.images.decoders import DECODERS, choose_decoder
from fastdata.images.jpeg import Transcoded, transcode
from fastdata.images.plan import Plan
from fastdata.images.stored import EncodedImage
from fastdata.transforms import RandomResizedCrop

from ..common.errors import BenchmarkError
from ..common.markdown import table

HEADINGS = (
    "decoder", "whole, ms", "of opencv", "crop, ms", "of opencv", "largest difference",
    "mean difference", "pixels that differ",
)  # fmt: skip


def available() -> list[str]:
    """Names of the decoders that are installed, OpenCV first."""
    found = []
    for name in DECODERS:
        try:
            found.append(choose_decoder(name, decode_whole))
        except MissingDependencyError:
            continue
    return found


def milliseconds(
    names: Sequence[str], work: Callable[[str], int], rounds: int
) -> dict[str, tuple[float, float]]:
    """CPU time of one piece of ``work``, which returns their number, and its share of OpenCV's."""
    spent: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names:
            start = time.process_time()
            count = work(name)
            if number:  # the first one warms up
                spent[name].append(1e3 * (time.process_time() - start) / count)
    return {
        name: (median(own), median(a / b for a, b in zip(own, spent["opencv"], strict=True)))
        for name, own in spent.items()
    }


def differences(files: Sequence[bytes], name: str) -> tuple[int, float, float]:
    """Largest and mean difference from OpenCV in levels of 0 to 255, and the share of pixels."""
    largest, mean, share = 0, 0.0, 0.0
    for data in files:
        found = np.abs(decode_whole(data).astype(np.int16) - decode_whole(data, decoder=name))
        largest = max(largest, int(found.max()))
        mean += float(found.mean()) / len(files)
        share += float(found.any(axis=2).mean()) / len(files)
    return largest, mean, share


def drawn_crops(files: Sequence[bytes]) -> list[tuple[EncodedImage, Plan]]:
    """A sliceable record and a random crop for each file that has one."""
    crop, rng, found = RandomResizedCrop(224), np.random.default_rng(0), []
    for data in files:
        made = transcode(data)
        if isinstance(made, Transcoded):
            height, width = decode_whole(made.record).shape[:2]
            image = EncodedImage(made.record, height, width, slice_index=made.index_offset)
            whole = Plan.whole(height, width)
            found.append((image, whole.crop(crop.draw_box(height, width, rng))))
    if not found:
        raise BenchmarkError("expected baseline JPEGs in FOLDER, found none that can be sliced")
    return found


def report(files: Sequence[bytes], rounds: int) -> str:
    """A table with a row for each decoder."""
    names, crops = available(), drawn_crops(files)

    def decode_files(name: str) -> int:
        return len([decode_whole(data, decoder=name) for data in files])

    def decode_crops(name: str) -> int:
        return len([decode_image(image, plan, decoder=name) for image, plan in crops])

    whole = milliseconds(names, decode_files, rounds)
    cropped = milliseconds(names, decode_crops, rounds)
    rows = []
    for name in names:
        largest, mean, share = differences(files, name)
        (time_whole, share_whole), (time_crop, share_crop) = whole[name], cropped[name]
        times = [f"{time_whole:.3f}", f"{share_whole:.2f}", f"{time_crop:.3f}", f"{share_crop:.2f}"]
        rows.append([name, *times, str(largest), f"{mean:.3f}", f"{share:.1%}"])
    return table(HEADINGS, rows)


def main() -> int:
    """Read the files, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200, help="at most so many files (200)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(0)
    load_kernels()
    suffixes = (".jpg", ".jpeg")
    paths = [p for p in sorted(options.folder.rglob("*")) if p.suffix.lower() in suffixes]
    files = [path.read_bytes() for path in paths[: options.count]]
    if not files:
        raise SystemExit(f"{options.folder}: expected JPEGs, found none")
    print(f"{len(files)} images; auto is {choose_decoder('auto', decode_whole)!r} here\n")
    print(report(files, options.rounds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
