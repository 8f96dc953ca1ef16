"""Base of the map-style datasets of images, wherever these come from."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from operator import index as as_int
from typing import Any, SupportsIndex, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ..core import KeyTable
from ..errors import OptionError, PackFormatError, SampleError
from ..images import EncodedImage, choose_decoder, decode_whole, resample
from ..transforms import SplitTransform
from .batch import BatchBuffer
from .reading import Reading, SampleReader
from .worker import EPOCH, SEED, SharedNumbers, enter_worker

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
    """Transforms, randomness, epochs and batches of a dataset of images.

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
        reading: Reading,
    ) -> None:
        self.root = os.fspath(root)
        self.target_transform = target_transform
        self.transform = transform
        self.apply_exif_orientation = reading.apply_exif_orientation
        self.decode_scale = reading.decode_scale
        self.decoder = choose_decoder(reading.decoder, decode_whole)
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
    def encoded_image(self, index: int) -> EncodedImage:
        """The undecoded image of sample ``index``, which is not negative."""

    def _prepare(self) -> None:
        """Load what workers should not have to load, or even to compile, each for itself."""
        steps = self._split.head
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
        self._split = SplitTransform.of(transform)

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
        """True if another thread may read as well: no foreign code, no global RNG."""
        return self._split.own and self.target_transform is None

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: SupportsIndex) -> tuple[Any, Any]:
        i = range(len(self))[index]  # negative indices, and IndexError past either end
        reader = self.sample_reader()
        return reader.finish(*reader.load(i)), self.target_of(i)

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[tuple[Any, Any]]:
        """The samples at ``indices``; where images share a size, as a ``SampleBatch``."""
        if not self._split.head:
            return [self[i] for i in indices]
        reader, buffer = self.sample_reader(), BatchBuffer(len(indices))
        everything, by_batch = range(len(self)), reader.split.by_batch
        images: list[Any] = []
        targets = []
        for row, i in enumerate(everything[index] for index in indices):
            pixels, generator = reader.load(i, buffer, row)
            images.append(pixels if by_batch else reader.finish(pixels, generator))
            targets.append(self.target_of(i))
        return reader.samples(images, targets, buffer)

    def sample_reader(self) -> SampleReader:
        """Reads samples step by step, with the transform, seed and epoch of this moment."""
        enter_worker()
        return SampleReader(self, self._split, self._shared.reading)

    def reading(self, worker: int) -> int:
        """The sample that process ``worker`` began to read last, −1 before the first."""
        return int(self._shared.reading[worker])

    def target_of(self, index: int) -> Any:
        """The target of sample ``index``, as ``target_transform`` makes it."""
        target = int(self.targets[index])
        return target if self.target_transform is None else self.target_transform(target)

    def key_of(self, index: SupportsIndex) -> str:
        """The name of a sample, for messages, also where the pack's names are damaged."""
        try:
            return repr(self.keys[as_int(index)])
        except PackFormatError:
            return "its key is damaged"

    def sample_error(self, index: int, reason: object) -> SampleError:
        """The error that says why a sample cannot be had, and which one it is."""
        return SampleError(f"{self.root}: sample {index} ({self.key_of(index)}): {reason}")

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
