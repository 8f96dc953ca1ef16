"""Trying loaders out: which dataset, with which settings, how many images a second.

Shared by ``bench`` and ``tune``.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch.utils.data import RandomSampler

from .. import transforms as T
from ..datasets import ImageDataset, ImageFolder, PackedImageFolder
from ..errors import EmptySourceError, OptionError, SourceNotFoundError
from ..loader import CUDAPrefetcher, DataLoaderX
from ..store import MANIFEST, is_url

Transform = Literal["train", "val"] | Callable[[Any], Any]

_ENDLESS = 10**12  # samples of an epoch that is never over
#: Options of ``ImageFolder``, the next where the one before finds no class, or no image in one.
_LENIENT: tuple[dict[str, Any], ...] = ({}, {"allow_empty": True}, {"flat": True})


class Subject(NamedTuple):
    """Dataset to be measured, its name, and the Python that makes it ("" if unknown)."""

    dataset: Any
    name: str
    code: str


def open_images(
    path: str | os.PathLike[str], transform: Transform, size: int, **pack_options: Any
) -> Subject:
    """The images of a pack, its URL, or an image folder, with the transform.

    Args:
        path: what has a pack.json is a pack, and so is each URL; anything else is a folder, with
            or without classes.
        transform: "train" (RandomResizedCrop and flip), "val" (Resize and CenterCrop), a callable.
        size: height and width of "train" and "val", in pixels.
        pack_options: ``cache_dir``, ``cache_limit``, ``storage_options`` of ``PackedImageFolder``.

    Raises:
        EmptySourceError: there is no sample to be measured.
        OptionError: the transform or its size is wrong.
        SourceNotFoundError: there is nothing at ``path``.
        PackError, RemoteError, SourceError: as ``PackedImageFolder`` and ``ImageFolder``.
    """
    steps, code = _standard_transform(transform, size)
    given = {name: value for name, value in pack_options.items() if value is not None}
    name = os.fspath(path)
    if not is_url(path) and not Path(path).exists():
        raise SourceNotFoundError(f"there is neither a pack nor an image folder at {name}")
    packed = is_url(path) or (Path(path) / MANIFEST).exists() or Path(path).is_file()
    dataset: ImageDataset
    if packed:
        dataset = PackedImageFolder(path, steps, **given)
    else:
        dataset, given = _open_folder(path, steps)
    if len(dataset) == 0:
        raise EmptySourceError(f"{name} has no samples, so there is nothing to measure")
    options = "".join(f", {key}={value!r}" for key, value in given.items())
    made = f"fastdata.{type(dataset).__name__}({name!r}, {code}{options})"
    return Subject(dataset, dataset.root, made if "storage_options" not in given else "")


def _open_folder(
    path: str | os.PathLike[str], transform: Callable[[Any], Any]
) -> tuple[ImageFolder, dict[str, Any]]:
    """An image folder, with whatever classes it has, and the options that it needed."""
    for options in _LENIENT[:-1]:
        with suppress(EmptySourceError):
            return ImageFolder(path, transform, **options), dict(options)
    return ImageFolder(path, transform, **_LENIENT[-1]), dict(_LENIENT[-1])


def _standard_transform(transform: Transform, size: int) -> tuple[Callable[[Any], Any], str]:
    """The transform, and the expression for it, where T is ``fastdata.transforms``."""
    if callable(transform):
        return transform, "transform"
    if size < 1:
        raise OptionError(f"size must be >= 1 pixel, got {size}")
    if transform == "train":
        code = f"T.Compose([T.RandomResizedCrop({size}), T.RandomHorizontalFlip()])"
        return T.Compose([T.RandomResizedCrop(size), T.RandomHorizontalFlip()]), code
    if transform == "val":
        short = round(size * 256 / 224)  # the margin that ImageNet is evaluated with
        code = f"T.Compose([T.Resize({short}), T.CenterCrop({size})])"
        return T.Compose([T.Resize(short), T.CenterCrop(size)]), code
    raise OptionError(f"transform must be 'train', 'val' or a callable, got {transform!r}")


@dataclass(frozen=True, slots=True)
class Setting:
    """Settings of a ``DataLoaderX`` about its workers; the defaults are its own."""

    num_workers: int = 0
    worker_type: Literal["process", "thread"] = "process"
    prefetch_factor: int = 2
    prefetch_batches: int = 2

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of ``DataLoaderX`` that are not its defaults."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        return {f.name: told[f.name] for f in fields(self) if told[f.name] != f.default}

    @property
    def code(self) -> str:
        """These arguments as they are written in Python, each behind a comma."""
        quoted = {k: f'"{v}"' if isinstance(v, str) else v for k, v in self.options.items()}
        return "".join(f", {name}={value}" for name, value in quoted.items())

    @property
    def simplicity(self) -> tuple[int, int, bool]:
        """Sorts what needs less before what needs more: workers, memory, then shared memory."""
        ahead = self.prefetch_factor + self.prefetch_batches
        return self.num_workers, ahead, self.worker_type == "process"

    def __str__(self) -> str:
        kind = {"process": "processes", "thread": "threads"}[self.worker_type]
        kind = self.worker_type if self.num_workers == 1 else kind
        workers = f"{self.num_workers} {kind}" if self.num_workers else "no workers"
        more = {k: v for k, v in self.options.items() if k.startswith("prefetch")}
        return ", ".join([workers, *(f"{name}={value}" for name, value in more.items())])


@dataclass(frozen=True, slots=True)
class Trial:
    """One measurement: images a second once it runs, and seconds until the first batch came."""

    images_per_s: float
    first_batch_s: float


@dataclass
class Trials:
    """Loaders over one dataset, tried out one after the other; nothing of them is left behind.

    Samples are drawn with replacement, in an epoch without end: what is measured is the rate that
    lasts, without the start of workers, which ``Trial.first_batch_s`` tells.

    Args:
        dataset: map-style.
        batch_size: samples in a batch.
        device: as in ``DataLoaderX``.
        seed: of the samples' order.
        more: further arguments of ``DataLoaderX``.
    """

    dataset: Any
    batch_size: int
    device: torch.device | None
    seed: int
    more: Mapping[str, Any]

    def rate(self, setting: Setting, seconds: float) -> Trial:
        """Take batches for about ``seconds``, at least two from each worker."""
        start = time.perf_counter()
        with self._running(setting) as (batches, first):
            count, begin, now = 0, time.perf_counter(), 0.0
            while count == 0 or now < start + seconds:
                # Workers that began together end together: only their whole rounds are compared.
                for _ in range(max(1, setting.num_workers)):
                    next(batches)
                    count += 1
                synchronize(self.device)
                now = time.perf_counter()
            return Trial(count * self.batch_size / (now - begin), first - start)

    def waits(self, setting: Setting, step: float, seconds: float) -> list[float]:
        """Seconds waited for each batch by a loop that sleeps ``step`` seconds behind each."""
        found: list[float] = []
        with self._running(setting) as (batches, _):
            deadline = time.perf_counter() + seconds
            while len(found) < _FEWEST_STEPS or time.perf_counter() < deadline:
                time.sleep(step)
                start = time.perf_counter()
                next(batches)
                found.append(time.perf_counter() - start)
        return found

    @contextmanager
    def _running(self, setting: Setting) -> Iterator[tuple[Iterator[Any], float]]:
        """A loader's batches behind its workers' first ones, and when the very first one came."""
        generator = torch.Generator().manual_seed(self.seed)
        sampler = RandomSampler(
            self.dataset, replacement=True, num_samples=_ENDLESS, generator=generator
        )
        with warnings.catch_warnings():  # more workers than cores are tried on purpose
            warnings.filterwarnings("ignore", "This DataLoader will create")
            loader = DataLoaderX(
                self.dataset,
                self.batch_size,
                sampler=sampler,
                device=self.device,
                **setting.options,
                **self.more,
            )
            batches: Any = iter(loader)
        try:
            next(batches)
            first = time.perf_counter()
            for _ in range(setting.num_workers - 1):
                next(batches)
            synchronize(self.device)
            yield batches, first
        finally:
            batches.close()


_FEWEST_STEPS = 5


def usable_device(device: torch.device | str | int | None) -> torch.device | None:
    """The device with its index; OptionError if torch cannot use it here."""
    if device is None:
        return None
    try:
        found = CUDAPrefetcher((), device).device
        torch.empty(1, device=found)
    except OptionError:
        raise
    except Exception as error:  # of whatever kind the device's backend has
        told = str(error).partition("\n")[0]
        raise OptionError(f"torch cannot use device {str(device)!r} here: {told}") from error
    return found


def synchronize(device: torch.device | None) -> None:
    """Wait for what is queued on the device, if that has queues."""
    wait = getattr(getattr(torch, device.type, None), "synchronize", None) if device else None
    if wait is not None and device is not None and device.type != "cpu":
        wait(device)
