"""The work of a batch taken apart, so that each stage of it can be timed alone."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...datasets import BatchBuffer, ImageDataset, SampleReader, collate, row_for
from ...images import Box, EncodedImage, Image, Plan, load_kernels, sniff

_PAGE = 4096
_DISK_BLOCK = 512  # bytes, of getrusage(2)


class BenchFacts(NamedTuple):
    """Properties of samples that tell what would make them faster.

    Attributes:
        jpeg: share of them that are JPEGs.
        sliceable: share of them of which a part can be decoded alone.
        needed: share of an image's pixels that the transform takes, on average.
        shrunk: how many times larger, on each side, what it takes is than what it makes of it.
        compiled: whether the compiled kernels are there.
    """

    jpeg: float
    sliceable: float
    needed: float
    shrunk: float
    compiled: bool


class Fetched(NamedTuple):
    """A sample read, its plan, and that which only cuts out what the plan takes.

    Both are None where all is decoded first: without geometric transforms, or where only decoding
    tells the size.
    """

    number: int
    image: EncodedImage
    plan: Plan | None
    cut: Plan | None


class StageWork:
    """Does to samples of a dataset what its own ``__getitems__`` does, stage by stage."""

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset

    def everything(self, chunk: Sequence[int]) -> Any:
        """A batch, as a loader without workers makes it."""
        return collate(self._dataset.__getitems__(chunk))

    def read(self, chunk: Sequence[int]) -> list[int]:
        """Have each page of the samples' bytes in memory; their sizes."""
        reader, sizes = self._dataset.sample_reader(), []
        for i in chunk:
            with reader.naming(i):
                data = np.frombuffer(reader.read(i).data, np.uint8)
                data[::_PAGE].max(initial=0)
            sizes.append(data.size)
        return sizes

    def fetch(self, chunk: Sequence[int]) -> list[Fetched]:
        """Input of ``decode``."""
        reader = self._dataset.sample_reader()
        return [_fetched(reader, i) for i in chunk]

    def decode(self, fetched: Sequence[Fetched]) -> list[tuple[Fetched, Image]]:
        """The pixels that the transform needs."""
        reader = self._dataset.sample_reader()
        found = []
        for one in fetched:
            with reader.naming(one.number):
                found.append((one, reader.pixels(one.image, one.cut)))
        return found

    def transform(self, decoded: Sequence[tuple[Fetched, Image]]) -> Any:
        """Plan, resize, flip and what follows; the samples as ``collate`` takes them."""
        reader, buffer = self._dataset.sample_reader(), BatchBuffer(len(decoded))
        images: list[Any] = []
        targets, by_batch = [], reader.split.by_batch
        for row, (one, pixels) in enumerate(decoded):
            plan, generator = reader.plan(one.number, pixels if one.cut is None else one.image)
            if plan is not None and one.cut is not None:
                plan = plan.from_box(Box(0, 0, one.cut.height, one.cut.width))
            pixels = reader.pixels(pixels, plan, row_for(buffer, row, plan))
            images.append(pixels if by_batch else reader.finish(pixels, generator))
            targets.append(self._dataset.target_of(one.number))
        return reader.samples(images, targets, buffer)

    def decoded(self, chunk: Sequence[int]) -> list[tuple[Fetched, Image]]:
        """Input of ``transform``."""
        return self.decode(self.fetch(chunk))

    def transformed(self, chunk: Sequence[int]) -> Any:
        """Input of ``collate``."""
        return self.transform(self.decoded(chunk))

    def collate(self, samples: Any) -> Any:
        """The batch."""
        return collate(samples)

    def facts(self, chunk: Sequence[int]) -> BenchFacts:
        """The properties of these samples."""
        fetched = self.fetch(chunk)
        images = [one.image for one in fetched]
        jpegs = sum(sniff(image.data) == "jpeg" for image in images if not image.raw)
        firsts = [one.plan.first for one in fetched if one.plan is not None]
        whole = sum(image.height * image.width for image in images)
        taken = sum(first.box.height * first.box.width for first in firsts)
        made = sum(first.size[0] * first.size[1] for first in firsts)
        return BenchFacts(
            jpeg=jpegs / len(images),
            sliceable=sum(image.slice_index > 0 for image in images) / len(images),
            needed=taken / whole if firsts else 1.0,
            shrunk=math.sqrt(taken / made) if firsts else 1.0,
            compiled=load_kernels(),
        )


def _fetched(reader: SampleReader, index: int) -> Fetched:
    with reader.naming(index):
        image = reader.read(index)
        plan = reader.plan(index, image)[0] if image.height else None
    cut = None if plan is None else Plan.whole(*image.oriented_size).crop(plan.first.box)
    return Fetched(index, image, plan, cut)


def disk_bytes() -> int | None:
    """Number of bytes read from disks for this process; None where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_inblock * _DISK_BLOCK
