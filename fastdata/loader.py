"""``DataLoaderX``: torch's DataLoader, with batches made ahead and delivered on the device."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    default_collate,
)

from .background import BackgroundIterator
from .batch import collate, pinned_batches
from .errors import OptionError
from .image_dataset import ImageDataset
from .opencv import single_threaded_opencv
from .prefetch import CUDAPrefetcher
from .structure import as_device, map_tensors, move_to_device
from .threads import ThreadBatches

T_co = TypeVar("T_co", covariant=True)


class DataLoaderX(DataLoader[T_co]):
    """A drop-in for ``torch.utils.data.DataLoader``.

    Every argument of torch's loader is taken and means the same. In addition:

    * Up to ``prefetch_batches`` batches are fetched, and pinned, in a background thread. With
      ``num_workers=0`` that is done only for fastdata's own datasets and transforms; foreign code
      stays in the caller's thread, since it may use global random generators and is to draw from
      them in the same order as under torch's loader.
    * With ``device``, batches arrive there. On CUDA the copy of the next batches runs on a side
      stream while the current one computes; memory is pinned by default.
    * ``batch_transform`` is applied to each batch on its device, after the copy, without gradients.
    * Batches of fastdata's datasets are assembled in place, without a copy for collating.
    * Each iteration is the next epoch of fastdata's datasets, unless ``set_epoch`` chose one.

    Early ``break``, exceptions and repeated iteration leave no thread and no process behind, except
    workers that were asked to persist.

    Args:
        dataset: as in torch.
        *args, **kwargs: as in torch; ``pin_memory`` defaults to whether ``device`` is CUDA.
        device: where batches are to arrive; None leaves them where the workers made them.
        prefetch_batches: how many batches are made ahead; 0 makes each when it is asked for.
        batch_transform: callable on a whole batch, such as normalising or mixup.
        worker_type: "process", as in torch, or "thread": then ``num_workers`` threads of this
            process make whole batches, without pickling and shared memory, in pinned memory if
            ``pin_memory`` is set. No more than ``num_workers * prefetch_factor`` batches wait.
            It pays where the work lets go of Python's lock, as fastdata's own datasets do; any
            map-style dataset that several threads may use works. ``get_worker_info`` is None
            there, and all threads share the global random generators.

    Raises:
        OptionError: ``prefetch_batches`` is negative, or ``worker_type`` does not suit the dataset.
    """

    def __init__(
        self,
        dataset: Dataset[T_co],
        *args: Any,
        device: torch.device | str | int | None = None,
        prefetch_batches: int = 2,
        batch_transform: Callable[[Any], Any] | None = None,
        worker_type: str = "process",
        **kwargs: Any,
    ) -> None:
        if prefetch_batches < 0:
            raise OptionError(f"prefetch_batches must be >= 0, got {prefetch_batches}")
        if worker_type not in ("process", "thread"):
            raise OptionError(f"worker_type must be process or thread, got {worker_type!r}")
        if worker_type == "thread" and isinstance(dataset, IterableDataset):
            raise OptionError(
                "an IterableDataset cannot be shared by threads: they would all read one iterator; "
                "use worker_type='process'"
            )
        self.worker_type = worker_type
        self.device = None if device is None else as_device(device)
        self.prefetch_batches = prefetch_batches
        self.batch_transform = batch_transform
        if self.device is not None and self.device.type == "cuda":
            kwargs.setdefault("pin_memory", True)
        self._background: Callable[[], BackgroundIterator[Any] | None] = _nothing
        self._thread: Callable[[], threading.Thread | None] = _nothing
        super().__init__(dataset, *args, **kwargs)
        if self.collate_fn is default_collate:
            self.collate_fn = collate

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._end_previous()
        for dataset in image_datasets(self.dataset):
            dataset.begin_epoch()
        if self.worker_type == "thread" and self.num_workers > 0:
            source = _closing(self._thread_batches())
        else:
            source = self._ahead(super().__iter__())
        if self.device is None and self.batch_transform is None:
            return source
        if self.prefetch_batches == 0:
            return map(self._delivered, source)
        return self._prefetcher.iterate(source)

    @cached_property
    def _prefetcher(self) -> CUDAPrefetcher:
        # One for the loader's life, since it owns the side stream.
        return CUDAPrefetcher(
            (),
            self.device or "cpu",
            prefetch_batches=max(self.prefetch_batches, 1),
            transform=self.batch_transform,
        )

    def _delivered(self, batch: Any) -> Any:
        if self.device is not None:
            batch = move_to_device(batch, self.device)
        if self.batch_transform is None:
            return batch
        with torch.no_grad():  # as in the prefetcher, where it runs steps ahead of the training
            return self.batch_transform(batch)

    def _thread_batches(self) -> ThreadBatches:
        # torch's iterators draw one number, for the seeds of their workers; the samplers' draws
        # from the same generator come behind it.
        torch.empty((), dtype=torch.int64).random_(generator=self.generator)
        return ThreadBatches(
            self._make_batch,
            iter(self.sampler if self.batch_sampler is None else self.batch_sampler),
            threads=self.num_workers,
            ahead=self.num_workers * (self.prefetch_factor or 2),
            timeout=self.timeout,
            start=self.worker_init_fn,
        )

    def _make_batch(self, index: Any) -> Any:
        """One batch, in a worker thread; in pinned memory if that was asked for."""
        dataset: Any = self.dataset
        pinned = self.pin_memory and torch.cuda.is_available()
        with pinned_batches(pinned), single_threaded_opencv:
            if self.batch_sampler is None:
                batch = self.collate_fn(dataset[index])
            elif getattr(dataset, "__getitems__", None):
                batch = self.collate_fn(dataset.__getitems__(index))
            else:
                batch = self.collate_fn([dataset[i] for i in index])
        return map_tensors(_pin, batch) if pinned else batch

    def _ahead(self, source: Iterator[Any]) -> Iterator[Any]:
        if self.prefetch_batches == 0:
            return source
        if self.num_workers == 0:
            return self._ahead_of_caller(source) if self._background_safe else source
        background = BackgroundIterator(source, self.prefetch_batches)
        self._background = weakref.ref(background)
        self._thread = weakref.ref(background.thread)
        return _closing(background)

    def _ahead_of_caller(self, source: Iterator[Any]) -> Iterator[Any]:
        # The first batch is made here: that is when samplers draw from torch's global generator.
        for first in source:
            with BackgroundIterator(source, self.prefetch_batches) as background:
                yield first
                del first
                yield from background

    @property
    def _background_safe(self) -> bool:
        found = list(image_datasets(self.dataset))
        known = isinstance(self.dataset, (ImageDataset, Subset, ConcatDataset))
        return known and self.collate_fn is collate and all(d.background_safe for d in found)

    def _end_previous(self) -> None:
        """Persistent workers serve one iteration at a time: wait for the thread of the last one."""
        background, self._background = self._background(), _nothing
        thread, self._thread = self._thread(), _nothing
        if self.persistent_workers and background is not None:
            background.close()
        if self.persistent_workers and thread is not None:
            thread.join()


def image_datasets(dataset: Any) -> Iterator[ImageDataset]:
    """fastdata's datasets in ``dataset``, through wrappers such as ``Subset``."""
    if isinstance(dataset, ImageDataset):
        yield dataset
        return
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    for part in inner if isinstance(inner, (list, tuple)) else ():
        if part is not None and part is not dataset:
            yield from image_datasets(part)


def _closing(batches: BackgroundIterator[Any] | ThreadBatches) -> Iterator[Any]:
    """The batches; a consumer that stops early waits until the threads have ended."""
    with batches:
        yield from batches


def _pin(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.is_pinned() else tensor.pin_memory()


def _nothing() -> None:
    return None
