"""What a map-style dataset of images does, wherever its images come from."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from operator import index as as_int
from typing import Any, SupportsIndex, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ..core import KeyTable
from ..errors import DecodeError, OptionError, PackFormatError, SampleError
from ..images import (
    EncodedImage,
    Image,
    Plan,
    choose_decoder,
    decode,
    decode_whole,
    execute,
    resample,
)
from ..transforms import Generator, Pipeline, as_chw, sample_generator
from .batch import BatchBuffer, SampleBatch
from .clock import clock
from .worker import EPOCH, SEED, SharedNumbers, enter_worker, this_worker

Transform = Callable[[Any], Any]


class SampleList(Sequence[tuple[str, int]]):
    """``(key, target)`` by index, made when asked for, whatever the number of samples."""

    def __init__(self, keys: KeyTable, targets: NDArray[np.int64]) -> None:
        self._keys = keys
        self._targets = targets

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: SupportsIndex) -> tuple[str, int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[str, int]]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> tuple[str, int] | list[tuple[str, int]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._keys[index], int(self._targets[index])

    def __repr__(self) -> str:
        return f"<{len(self)} samples (key, target)>"


class ImageDataset(Dataset[tuple[Any, Any]], ABC):
    """What both datasets share: transforms, randomness, epochs and batches.

    ``ds[i]`` is ``(image, target)``. Without a transform the image is an HWC uint8 RGB ndarray in
    memory of its own; with a geometric transform it is a CHW uint8 tensor, cropped and resized
    while decoding. Orientation tags are ignored, as torchvision's ImageFolder does, unless
    ``apply_exif_orientation`` is set.

    A transform's randomness depends on (seed, epoch, index) alone. ``DataLoaderX`` counts epochs
    by itself; with another loader call ``set_epoch`` before each epoch, or every epoch sees the
    same crops. Workers that persist see the new epoch, too.

    May be used by several threads at once, in forked and spawned processes, and pickled.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Transform | None,
        target_transform: Transform | None,
        seed: int | None,
        apply_exif_orientation: bool,
        decode_scale: str | None,
        decoder: str,
    ) -> None:
        self.root = os.fspath(root)
        self.target_transform = target_transform
        self.transform = transform
        self.apply_exif_orientation = apply_exif_orientation
        if decode_scale not in (None, "auto"):
            raise OptionError(f"decode_scale must be None or 'auto', got {decode_scale!r}")
        self.decode_scale = decode_scale
        self.decoder = choose_decoder(decoder, decode_whole)
        self._shared = SharedNumbers()
        self.seed = int(torch.randint(2**63 - 1, ()).item()) if seed is None else int(seed)
        self._epoch_is_new = True

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """Class names; a target is an index into them."""

    @property
    @abstractmethod
    def keys(self) -> KeyTable:
        """The samples' names by index: POSIX paths relative to the folder."""

    @property
    @abstractmethod
    def targets(self) -> NDArray[np.int64]:
        """The samples' classes by index, read-only; −1 where there is none."""

    @abstractmethod
    def _encoded(self, index: int) -> EncodedImage:
        """The undecoded image of sample ``index``."""

    def _prepare(self) -> None:
        """Load what workers should not have to load, or even to compile, each for itself."""
        steps = self._pipeline.head
        if any(getattr(step, "interpolation", "nearest") != "nearest" for step in steps):
            resample.available()

    @property
    def samples(self) -> SampleList:
        """``(key, target)`` by index."""
        return SampleList(self.keys, self.targets)

    @property
    def imgs(self) -> SampleList:
        """torchvision's other name for ``samples``."""
        return self.samples

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The target of each class name."""
        return {name: i for i, name in enumerate(self.classes)}

    @property
    def transform(self) -> Transform | None:
        """The transform of images; may be replaced at any time before workers start."""
        return self._transform

    @transform.setter
    def transform(self, transform: Transform | None) -> None:
        self._transform = transform
        self._pipeline = Pipeline.of(transform)

    @property
    def seed(self) -> int:
        """The seed of the transforms' randomness; a new one reaches running workers, too."""
        return int(self._shared.numbers[SEED])

    @seed.setter
    def seed(self, seed: int) -> None:
        if not 0 <= seed < 2**64:
            raise OptionError(f"seed must be a 64-bit number >= 0, got {seed}")
        self._shared.numbers[SEED] = seed

    @property
    def epoch(self) -> int:
        """The epoch that the transforms' randomness belongs to."""
        return int(self._shared.numbers[EPOCH])

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (≥ 0), also for workers that are already running."""
        if epoch < 0:
            raise OptionError(f"an epoch is a number >= 0, got {epoch}")
        self._shared.numbers[EPOCH] = epoch
        self._epoch_is_new = True

    def begin_epoch(self) -> None:
        """Go to the next epoch, unless ``set_epoch`` has just chosen one; a loader calls this."""
        if not self._epoch_is_new:
            self._shared.numbers[EPOCH] += np.uint64(1)
        self._epoch_is_new = False
        self._prepare()

    @property
    def background_safe(self) -> bool:
        """Whether reading in another thread changes nothing: no foreign code, no global RNG."""
        return self._pipeline.own and self.target_transform is None

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: SupportsIndex) -> tuple[Any, Any]:
        enter_worker()
        i = range(len(self))[index]  # negative indices, and IndexError past either end
        rng = sample_generator(self.seed, self.epoch, i)
        image: Any = self._read(i, rng)
        if self._pipeline.head:
            image = as_chw(image)
        return self._pipeline.finish(image, rng), self._target(i)

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[tuple[Any, Any]]:
        """The samples at ``indices``; where images share a size, as a ``SampleBatch``."""
        pipeline = self._pipeline
        if not pipeline.head:
            return [self[i] for i in indices]
        enter_worker()
        everything, elementwise = range(len(self)), pipeline.elementwise
        seed, epoch = self.seed, self.epoch
        buffer = BatchBuffer(len(indices))
        images: list[Any] = []
        targets = []
        for row, i in enumerate(everything[index] for index in indices):
            rng = sample_generator(seed, epoch, i)
            image = self._read(i, rng, buffer, row)
            images.append(image if elementwise else pipeline.finish(as_chw(image), rng))
            targets.append(self._target(i))
        if elementwise and buffer.full:
            return SampleBatch(pipeline.finish_batch(buffer.images()), targets)
        if elementwise:
            images = [pipeline.finish_batch(as_chw(image)) for image in images]
        return list(zip(images, targets, strict=True))

    def _read(
        self, index: int, rng: Generator, buffer: BatchBuffer | None = None, row: int = 0
    ) -> Image:
        self._shared.reading[this_worker.slot] = index
        start = time.perf_counter()
        try:
            encoded = self._encoded(index)
            read = time.perf_counter()
            image = self._rendered(encoded, rng, buffer, row)
            clock.reading += read - start
            clock.decoding += time.perf_counter() - read
            return image
        except (DecodeError, PackFormatError, OSError, ValueError) as error:
            raise SampleError(f"{self.root}: {self._describe(index)}: {error}") from error

    def _rendered(
        self, encoded: EncodedImage, rng: Generator, buffer: BatchBuffer | None, row: int
    ) -> Image:
        if encoded.height:
            plan = self._pipeline.plan(*encoded.oriented_size, rng)
            out, reduce = _row(buffer, row, plan), self.decode_scale is not None
            return decode(encoded, plan, out=out, reduce=reduce, decoder=self.decoder)
        pixels = decode(encoded, decoder=self.decoder)  # only decoding tells the size
        plan = self._pipeline.plan(pixels.shape[0], pixels.shape[1], rng)
        return execute(pixels, plan, out=_row(buffer, row, plan))

    def reading(self, worker: int) -> int:
        """The sample that process ``worker`` began to read last, −1 before the first."""
        return int(self._shared.reading[worker])

    def _target(self, index: int) -> Any:
        target = int(self.targets[index])
        return target if self.target_transform is None else self.target_transform(target)

    def key_of(self, index: SupportsIndex) -> str:
        """The name of a sample, for messages, also where the pack's names are damaged."""
        try:
            return repr(self.keys[as_int(index)])
        except PackFormatError:
            return "its key is damaged"

    def _describe(self, index: int) -> str:
        return f"sample {index} ({self.key_of(index)})"

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.root!r}, {len(self)} samples, "
            f"{len(self.classes)} classes, transform={self.transform!r})"
        )


def image_datasets(dataset: Any) -> Iterator[ImageDataset]:
    """fastdata's datasets in ``dataset``, through wrappers such as ``Subset``, each once."""
    yield from {id(found): found for found in _image_datasets(dataset)}.values()


def _image_datasets(dataset: Any) -> Iterator[ImageDataset]:
    if isinstance(dataset, ImageDataset):
        yield dataset
        return
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    for part in inner if isinstance(inner, (list, tuple)) else ():
        if part is not None and part is not dataset:
            yield from _image_datasets(part)


def _row(buffer: BatchBuffer | None, row: int, plan: Plan | None) -> Image | None:
    return buffer.row(row, plan.height, plan.width) if buffer is not None and plan else None
