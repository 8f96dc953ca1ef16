"""The one way of a sample: from its record to pixels, under its plan, with its name in errors.

Datasets read through ``SampleReader``; so does everyone who takes the way step by step: ``bench``,
contact sheets, DALI.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DecodeError, OptionError, PackFormatError, SampleError
from ..images import EncodedImage, Image, Plan, apply_plan, decode_image
from ..transforms import Generator, SplitTransform, as_chw, sample_generator
from .batch import BatchBuffer, SampleBatch, row_for
from .clock import clock
from .worker import this_worker

#: Kinds of errors that are about the sample at hand.
_ABOUT_SAMPLES = (DecodeError, PackFormatError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Reading:
    """Options of how records are read and decoded; ``PackedImageFolder`` says what they mean.

    Raises:
        OptionError: ``decode_scale`` is neither None nor "auto".
    """

    apply_exif_orientation: bool = False
    decode_scale: str | None = None
    decoder: str = "opencv"
    verify: str = "first-read"

    def __post_init__(self) -> None:
        if self.decode_scale not in (None, "auto"):
            raise OptionError(f"decode_scale must be None or 'auto', got {self.decode_scale!r}")


class Readable(Protocol):
    """Interface of a dataset towards the readers of its samples."""

    decode_scale: str | None
    decoder: str

    @property
    def seed(self) -> int: ...

    @property
    def epoch(self) -> int: ...

    def encoded_image(self, index: int) -> EncodedImage: ...

    def sample_error(self, index: int, reason: object) -> SampleError: ...


class SampleReader:
    """Reads a dataset's samples, with the transform, the seed and the epoch that it has now.

    It costs next to nothing, and is made anew for each batch. Indices are those of the dataset, not
    negative.

    Args:
        dataset: whose samples.
        split: its transform.
        begun: where each worker process notes the sample that it is reading; the last place is for
            whatever is no worker process.
    """

    __slots__ = ("_begun", "_dataset", "_decoder", "_epoch", "_reduce", "_seed", "split")

    def __init__(self, dataset: Readable, split: SplitTransform, begun: NDArray[np.int64]) -> None:
        self.split = split
        self._dataset = dataset
        self._begun = begun
        self._seed, self._epoch = dataset.seed, dataset.epoch
        self._reduce, self._decoder = dataset.decode_scale is not None, dataset.decoder

    def load(
        self, index: int, buffer: BatchBuffer | None = None, row: int = 0
    ) -> tuple[Image, Generator]:
        """The whole way: a sample's HWC uint8 pixels under its plan, and its generator.

        The pixels are ``row`` of ``buffer`` where they have the size of its rows, otherwise in
        memory of their own. What follows in the transform draws from the generator.

        Raises:
            SampleError: the sample cannot be read, planned or decoded.
        """
        start = time.perf_counter()
        with self.naming(index):
            encoded = self.read(index)
            read = time.perf_counter()
            image = self.sized(encoded)
            plan, generator = self.plan(index, image)
            pixels = self.pixels(image, plan, row_for(buffer, row, plan))
            clock.add(start, read)
        return pixels, generator

    def read(self, index: int) -> EncodedImage:
        """The sample's undecoded image."""
        return self._dataset.encoded_image(index)

    def sized(self, image: EncodedImage) -> EncodedImage | Image:
        """The image, or its pixels where only decoding can tell its size."""
        return image if image.height else self.pixels(image, None)

    def plan(
        self, index: int, image: EncodedImage | Image, generator: Generator | None = None
    ) -> tuple[Plan | None, Generator]:
        """The plan for a sized image, None without a geometric transform; and the generator.

        Args:
            index: of the sample.
            image: as ``sized`` gives it; of pixels, only the size counts.
            generator: to draw from; None: the sample's own.
        """
        if generator is None:
            generator = self.generator(index)
        size = image.oriented_size if isinstance(image, EncodedImage) else image.shape[:2]
        return self.split.plan(size[0], size[1], generator), generator

    def generator(self, index: int) -> Generator:
        """The sample's own generator, at its beginning."""
        return sample_generator(self._seed, self._epoch, index)

    def pixels(
        self, image: EncodedImage | Image, plan: Plan | None, out: Image | None = None
    ) -> Image:
        """HWC uint8 pixels of an image under a plan; in ``out``, if that is given.

        Of an encoded image they are decoded as the dataset was asked to, into memory of their own.
        Of pixels they may be a view, or the very same.
        """
        if isinstance(image, EncodedImage):
            return decode_image(image, plan, out=out, reduce=self._reduce, decoder=self._decoder)
        return apply_plan(image, plan, out=out)

    def finish(self, pixels: Image, generator: Generator) -> Any:
        """One image after what stands behind the geometric transforms."""
        return self.split.finish(as_chw(pixels) if self.split.head else pixels, generator)

    def samples(
        self, images: list[Any], targets: list[Any], buffer: BatchBuffer
    ) -> list[tuple[Any, Any]]:
        """The samples of a batch, as ``collate`` takes them: one ``SampleBatch`` where that can be.

        Args:
            images: finished ones, or pixels, most of them rows of ``buffer``, where the transform
                is finished ``by_batch``.
            targets: one for each.
            buffer: the batch's.
        """
        split = self.split
        if split.by_batch and buffer.full:
            return SampleBatch(split.finish_batch(buffer.images()), targets)
        if split.by_batch:
            images = [split.finish_batch(as_chw(image)) for image in images]
        return list(zip(images, targets, strict=True))

    def naming(self, index: int) -> _Naming:
        """A block that is about one sample: errors in it become a ``SampleError`` with its name.

        A worker process that dies in the block leaves the sample's index behind.
        """
        return _Naming(self._dataset, self._begun, index)


class _Naming:
    """Names a sample in what is raised; as a generator it would take five times as long."""

    __slots__ = ("_begun", "_dataset", "_index")

    def __init__(self, dataset: Readable, begun: NDArray[np.int64], index: int) -> None:
        self._dataset, self._begun, self._index = dataset, begun, index

    def __enter__(self) -> None:
        self._begun[this_worker.slot] = self._index

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and isinstance(error, _ABOUT_SAMPLES):
            raise self._dataset.sample_error(self._index, error) from error
