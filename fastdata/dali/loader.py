"""``DALILoader``: DataLoaderX whose batches NVIDIA DALI decodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils.data import Sampler

from ..core import as_device, available_cores
from ..datasets import ImageDataset, PackedDataset, PackedImageFolder, Transform
from ..errors import OptionError
from ..images import Plan
from ..loader import CUDAPrefetcher, DataLoaderX, Progress
from ..transforms import ELEMENTWISE, SplitTransform, sample_generator
from .graph import Graph
from .installed import dali
from .runner import Settings
from .supply import DALIWorkers

_TRIAL = 4096  # pixels a side, of the image that a transform is tried on


class DALILoader(DataLoaderX[Any]):
    """Iterates as ``DataLoaderX`` does, over the same batches, with NVIDIA DALI as the decoder.

    Batches are ``[images, targets]``: uint8 N×3×H×W in channels_last memory (after ``ToTensor`` or
    ``Normalize``, float32) and int64 N. Each epoch has each sample of the sampler once, the last
    batch is as short as it is, and nothing has to be reset. Crops, sizes and flips are those that
    every other loader of the same seed and epoch has, since plans are made by the dataset;
    ``state_dict`` is DataLoaderX's, and either class goes on from the other's.

    The pixels are those of DataLoaderX, bit for bit, where nothing is resized. A resize differs:
    "bilinear" by 1 level at most, but for the outermost pixels, where DALI repeats the crop's edge
    and Pillow's filter ends there (up to some 30 levels, in an average photograph's crop to
    224×224 in 0.2 % of the values); "bicubic" by some levels at sharp edges, as DALI does not clip
    between the two directions; "nearest" takes the other of two pixels that are equally near. CMYK
    and 16-bit images differ by 1 level.

    On a GPU, JPEGs are decoded there (by nvJPEG, which rounds differently) and resized there.
    Sliceable JPEGs are cut first, on either device. On a GPU the images are ready in the stream
    that is current when the batch is asked for, in memory of torch's own; on the CPU in memory that
    DALI gives away with the batch. A batch that is kept is never written to again.

    Transforms are geometric ones, your own included, then ``ToTensor`` and ``Normalize``. Other
    callables cannot run inside DALI: put them into ``batch_transform``.

    DALI decodes JPEG, PNG, WebP, BMP and PNM; TIFF, GIF and AVIF are decoded as in the other
    loaders, and handed to it. A sample that cannot be decoded is a ``SampleError`` when its batch's
    turn comes; the next batch can be asked for.

    The pipeline and its idle threads stay until the loader is dropped, for the next iteration.

    Args:
        dataset: a ``PackedImageFolder`` or an ``ImageFolder``; or a pack's path or URL.
        batch_size, shuffle, sampler, batch_sampler, drop_last, generator: as in ``DataLoaderX``.
        transform, seed: of the ``PackedImageFolder`` that is made of a path; a dataset has its own.
        device: "cpu", "cuda" or "cuda:1"; each rank gives its own.
        num_threads: DALI's threads; None: the cores that this process may use, shared among the
            processes that torchrun has started on this machine.
        prefetch_batches: how many batches DALI makes ahead, and as many more are read ahead; 0
            makes each when it is asked for.
        batch_transform: callable on a whole batch, on its device.

    Raises:
        MissingDependencyError: DALI is not installed.
        OptionError: an option is out of its range, or DALI cannot do what the transform asks for.
        SampleError: (on iterating) a sample cannot be read or decoded.

    Example:
        >>> from fastdata.dali import DALILoader
        >>> dataset = fastdata.PackedImageFolder("photos.pack", T.RandomResizedCrop(32))
        >>> for images, targets in DALILoader(dataset, batch_size=4, shuffle=True, device="cpu"):
        ...     print(images.shape, images.dtype, targets.shape)
        torch.Size([4, 3, 32, 32]) torch.uint8 torch.Size([4])
        torch.Size([4, 3, 32, 32]) torch.uint8 torch.Size([4])
    """

    def __init__(
        self,
        dataset: ImageDataset | str | os.PathLike[str],
        batch_size: int = 1,
        transform: Transform | None = None,
        *,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        drop_last: bool = False,
        generator: torch.Generator | None = None,
        device: torch.device | str | int = "cpu",
        num_threads: int | None = None,
        prefetch_batches: int = 2,
        batch_transform: Callable[[Any], Any] | None = None,
        seed: int | None = None,
    ) -> None:
        dali()
        dataset = _as_dataset(dataset, transform, seed)
        _check_transform(dataset)
        if batch_size is None:
            raise OptionError("DALI works on batches: batch_size must be a number, got None")
        if num_threads is not None and num_threads < 1:
            raise OptionError(f"num_threads must be >= 1, got {num_threads}")
        self.num_threads = num_threads or _cores_of_process()
        super().__init__(
            dataset,
            batch_size,
            shuffle,
            sampler,
            batch_sampler,
            drop_last=drop_last,
            generator=generator,
            pin_memory=False,
            device=_checked_device(device),
            prefetch_batches=prefetch_batches,
            batch_transform=batch_transform,
        )

    def _prepare(self) -> None:
        super()._prepare()
        dataset: Any = self.dataset
        ahead, orient = self.prefetch_batches, dataset.apply_exif_orientation
        settings = Settings(self.device or torch.device("cpu"), self.num_threads, ahead, orient)
        self._workers = DALIWorkers(self._tasks, settings)

    def _begin(self) -> Progress:
        _check_transform(self.dataset)  # it may have been replaced
        return super()._begin()


def _as_dataset(given: Any, transform: Transform | None, seed: int | None) -> ImageDataset:
    if isinstance(given, (str, os.PathLike)):
        return PackedImageFolder(given, transform, seed=seed)
    if not isinstance(given, ImageDataset) or isinstance(given, PackedDataset):
        raise OptionError(
            f"expected a PackedImageFolder, an ImageFolder or a pack's path, got {given!r}; for "
            "some of a dataset's samples, give it whole, with sampler=SubsetRandomSampler(indices)"
        )
    if transform is not None or seed is not None:
        raise OptionError(
            "transform and seed are for a pack's path; a dataset has its own, so give them to "
            f"{type(given).__name__}"
        )
    return given


def _check_transform(dataset: Any) -> None:
    """OptionError for what DALI cannot do, so far as the transform alone tells."""
    split: SplitTransform = dataset.sample_reader().split
    for step in split.rest:
        if type(step) not in ELEMENTWISE:
            raise OptionError(
                f"DALI cannot run {step!r}: only geometric transforms at the head, then ToTensor "
                "and Normalize. Give it whole batches as batch_transform, or use DataLoaderX"
            )
    if dataset.decode_scale is not None:
        raise OptionError("DALI decodes at full size only: use decode_scale=None, or DataLoaderX")
    try:
        plan = split.plan(_TRIAL, _TRIAL, sample_generator(0, 0, 0))
    except ValueError:  # of an image that does not suit it
        return
    Graph.of(plan or Plan.whole(1, 1))


def _checked_device(device: torch.device | str | int) -> torch.device:
    found = as_device(device)
    if found.type not in ("cpu", "cuda"):
        raise OptionError(f"DALI has no device {str(found)!r}: use 'cpu' or 'cuda'")
    return CUDAPrefetcher((), found).device  # checks that it is there, and which one it is


def _cores_of_process() -> int:
    given = os.environ.get("LOCAL_WORLD_SIZE", "")  # set by torchrun
    processes = int(given) if given.isdecimal() else 1
    return max(1, available_cores() // max(1, processes))
