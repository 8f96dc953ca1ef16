"""The work of a batch taken apart, so that each stage of it can be timed alone."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ...datasets import BatchBuffer, ImageDataset, SampleBatch, collate
from ...errors import DecodeError, PackFormatError, SampleError
from ...images import Box, EncodedImage, Image, Plan, decode, execute, load_kernels, sniff
from ...transforms import Pipeline, as_chw, sample_generator

_PAGE = 4096
_DISK_BLOCK = 512  # bytes, of getrusage(2)


class Facts(NamedTuple):
    """What samples are like, as far as it tells what would make them faster.

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
    """A sample read, and the plan that cuts out what its transform needs (None: all of it)."""

    number: int
    image: EncodedImage
    cut: Plan | None


class StageWork:
    """Does to samples of a dataset what its own ``__getitems__`` does, stage by stage."""

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset
        self._pipeline = Pipeline.of(dataset.transform)

    def everything(self, chunk: Sequence[int]) -> Any:
        """A batch, as a loader without workers makes it."""
        return collate(self._dataset.__getitems__(chunk))

    def read(self, chunk: Sequence[int]) -> list[int]:
        """Have each page of the samples' bytes in memory; their sizes."""
        sizes = []
        for encoded in self._encoded(chunk):
            data = np.frombuffer(encoded.data, np.uint8)
            data[::_PAGE].max(initial=0)
            sizes.append(data.size)
        return sizes

    def fetch(self, chunk: Sequence[int]) -> list[Fetched]:
        """What ``decode`` begins with."""
        found = zip(chunk, self._encoded(chunk), strict=True)
        return [Fetched(i, encoded, self._plans(i, encoded)[0]) for i, encoded in found]

    def decode(self, fetched: Sequence[Fetched]) -> list[tuple[Fetched, Image]]:
        """The pixels that the transform needs."""
        found = []
        for one in fetched:
            with self._naming(one.number):
                found.append((one, decode(one.image, one.cut)))
        return found

    def transform(self, decoded: Sequence[tuple[Fetched, Image]]) -> Any:
        """Plan, resize, flip and what follows; the samples as ``collate`` takes them."""
        pipeline, buffer = self._pipeline, BatchBuffer(len(decoded))
        images, targets = [], []
        for row, (one, pixels) in enumerate(decoded):
            images.append(self._transformed(one, pixels, buffer, row))
            targets.append(self._dataset._target(one.number))
        if pipeline.head and pipeline.elementwise and buffer.full:
            return SampleBatch(pipeline.finish_batch(buffer.images()), targets)
        if pipeline.head and pipeline.elementwise:
            images = [pipeline.finish_batch(image) for image in images]
        return list(zip(images, targets, strict=True))

    def decoded(self, chunk: Sequence[int]) -> list[tuple[Fetched, Image]]:
        """What ``transform`` begins with."""
        return self.decode(self.fetch(chunk))

    def transformed(self, chunk: Sequence[int]) -> Any:
        """What ``collate`` begins with."""
        return self.transform(self.decoded(chunk))

    def collate(self, samples: Any) -> Any:
        """The batch."""
        return collate(samples)

    def facts(self, chunk: Sequence[int]) -> Facts:
        """What these samples are like."""
        encoded = list(self._encoded(chunk))
        jpegs = sum(sniff(image.data) == "jpeg" for image in encoded if not image.raw)
        plans = [self._plans(i, image) for i, image in zip(chunk, encoded, strict=True)]
        known = [(cut, rest) for cut, rest in plans if cut and rest]
        whole = sum(image.height * image.width for image in encoded)
        taken = sum(cut.height * cut.width for cut, _ in known)
        made = sum(rest.first.size[0] * rest.first.size[1] for _, rest in known)
        return Facts(
            jpeg=jpegs / len(encoded),
            sliceable=sum(image.slice_index > 0 for image in encoded) / len(encoded),
            needed=taken / whole if known else 1.0,
            shrunk=math.sqrt(taken / made) if known else 1.0,
            compiled=load_kernels(),
        )

    def _encoded(self, chunk: Sequence[int]) -> Iterator[EncodedImage]:
        for i in chunk:
            with self._naming(i):
                yield self._dataset._encoded(i)

    def _plans(self, index: int, image: EncodedImage) -> tuple[Plan | None, Plan | None]:
        """The sample's plan in two: what is to be decoded, and what becomes of that."""
        if not (image.height and self._pipeline.head):
            return None, None
        height, width = image.oriented_size
        plan = self._pipeline.plan(height, width, self._random(index))
        assert plan is not None  # there is a head
        box = plan.first.box
        cut = Plan.whole(height, width).crop(box)
        return cut, plan.from_box(Box(0, 0, box.height, box.width))

    def _transformed(self, one: Fetched, pixels: Image, buffer: BatchBuffer, row: int) -> Any:
        pipeline, rng = self._pipeline, self._random(one.number)
        if not pipeline.head:
            return pipeline.finish(pixels, rng)
        plan = self._plans(one.number, one.image)[1]
        plan = plan or pipeline.plan(pixels.shape[0], pixels.shape[1], rng)
        assert plan is not None  # there is a head
        image = as_chw(execute(pixels, plan, out=buffer.row(row, plan.height, plan.width)))
        return image if pipeline.elementwise else pipeline.finish(image, rng)

    def _random(self, index: int) -> Any:
        return sample_generator(self._dataset.seed, self._dataset.epoch, index)

    @contextmanager
    def _naming(self, index: int) -> Iterator[None]:
        try:
            yield
        except (DecodeError, PackFormatError, OSError, ValueError) as error:
            key, root = self._dataset.key_of(index), self._dataset.root
            raise SampleError(f"{root}: sample {index} ({key}): {error}") from error


def disk_bytes() -> int | None:
    """What this process has had read from disks up to now; None where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_inblock * _DISK_BLOCK
