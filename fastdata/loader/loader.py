"""``DataLoaderX``: torch's DataLoader, with batches made ahead and delivered on the device.

An iteration is a chain: ``tasks`` (of a sampler) → ``workers`` → ``Deliveries`` → ``Arrivals``
(their batches) → the device → ``Epoch``, which the user has. ``progress`` and ``resume`` know the
place in the epoch; ``failures`` and ``stats`` keep the books.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any, Literal, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from ..core import as_device
from ..datasets import image_datasets
from ..errors import OptionError
from .delivery import SampleFailure
from .epoch import Arrivals, Epoch
from .failures import FailureLog, check_policy
from .order.samplers import ShuffleSampler
from .prefetch import CUDAPrefetcher, delivered
from .progress import Progress
from .read_ahead import read_ahead
from .resume import restored, saved
from .stats import LoaderStats, Meter
from .tasks import Tasks
from .workers.supply import Workers

T_co = TypeVar("T_co", covariant=True)

_IN_ORDER_KNOWN = "in_order" in inspect.signature(DataLoader.__init__).parameters


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
    * ``state_dict`` and ``load_state_dict`` stop and go on in the middle of an epoch.
    * Of a pack behind a URL the next shards are downloaded while the current ones are read, where
      the order of the shards is known: without ``shuffle``, or with a ``ShardShuffleSampler``.
    * ``on_error`` deals with samples that cannot be read, ``stats`` tells where the time went.

    With ``shuffle=True`` fastdata's datasets are shuffled by a ``ShuffleSampler``, which needs no
    memory and goes on anywhere; other datasets get torch's ``RandomSampler`` and its order.

    Early ``break``, exceptions and repeated iteration leave no thread and no process behind, except
    workers that were asked to persist. Several iterators may be alive at once, except over workers
    that persist; ``state_dict``, ``stats`` and the epoch are those of the one begun last.

    Args:
        dataset to in_order: as in torch; ``pin_memory=None`` means: where ``device`` is a GPU.
        device: where batches are to arrive; None leaves them where the workers made them.
        prefetch_batches: how many batches are made ahead; 0 makes each when it is asked for. With
            worker processes the thread that does so also asks the sampler: one that draws from the
            global generator while the epoch runs (torch's do so at its beginning) needs 0 here,
            where its draws are to fall between the same draws of the training in each run.
        batch_transform: callable on a whole batch, such as normalising or mixup.
        worker_type: "process", as in torch, or "thread": then ``num_workers`` threads of this
            process make whole batches, without pickling and shared memory, in pinned memory if
            ``pin_memory`` is set. No more than ``num_workers * prefetch_factor`` batches wait.
            It pays where the work lets go of Python's lock, as fastdata's own datasets do; any
            map-style dataset that several threads may use works. ``get_worker_info`` is None
            there, and all threads share the global random generators.
        on_error: what to do with a sample of a map-style dataset that raises an ``Exception``.
            "raise" is torch's way. "skip" leaves it out: its batch is smaller, or missing if
            nothing is left of it. "substitute" takes the next sample of the dataset that can be
            read, so that batches keep their sizes and ranks their lengths. Each sample that fails
            is named in a warning and kept in ``errors``. Errors in ``collate_fn`` and samplers
            are always raised.
        max_errors: how many samples may fail in an epoch before ``SampleError`` is raised: a
            count (an int), or a share of the epoch's samples (a float).

    Raises:
        OptionError: an argument of fastdata's is out of its range, or does not suit the dataset.
        WorkerError: (on iterating) a worker process died; the message names the sample it had.
        SampleError: (on iterating) more than ``max_errors`` samples failed.

    Example:
        >>> dataset = fastdata.PackedImageFolder("photos.pack", T.RandomResizedCrop(32))
        >>> loader = fastdata.DataLoaderX(
        ...     dataset, 4, shuffle=True, num_workers=1, worker_type="thread",
        ...     device="cpu", batch_transform=T.DeviceNormalize(),
        ... )
        >>> for images, targets in loader:
        ...     print(images.shape, images.dtype, targets.shape)
        torch.Size([4, 3, 32, 32]) torch.float32 torch.Size([4])
        torch.Size([4, 3, 32, 32]) torch.float32 torch.Size([4])
    """

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool | None = None,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: torch.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        device: torch.device | str | int | None = None,
        prefetch_batches: int = 2,
        batch_transform: Callable[[Any], Any] | None = None,
        worker_type: Literal["process", "thread"] = "process",
        on_error: Literal["raise", "skip", "substitute"] = "raise",
        max_errors: float = 0.01,
    ) -> None:
        self.device = None if device is None else as_device(device)
        self.prefetch_batches = prefetch_batches
        self.batch_transform = batch_transform
        self.worker_type = worker_type
        self.on_error = on_error
        self.max_errors = max_errors
        self._check_options(dataset, in_order)
        if shuffle and sampler is None and batch_sampler is None and any(image_datasets(dataset)):
            sized: Any = dataset
            shuffle, sampler = None, ShuffleSampler(sized, generator=generator)
        if pin_memory is None:
            pin_memory = self.device is not None and self.device.type in ("cuda", "xpu")
        more = {"in_order": in_order} if _IN_ORDER_KNOWN else {}
        super().__init__(
            dataset,
            batch_size,
            shuffle,
            sampler,
            batch_sampler,
            num_workers,
            collate_fn,
            pin_memory,
            drop_last,
            timeout,
            worker_init_fn,
            multiprocessing_context,
            generator,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            pin_memory_device=pin_memory_device,
            **more,
        )
        self._prepare()

    def _prepare(self) -> None:
        """Make what belongs to this loader's own iterations."""
        self._failures = FailureLog(self.on_error, self.max_errors)
        self._tasks = Tasks(self.sampler if self.batch_sampler is None else self.batch_sampler)
        self._tasks.watcher = partial(read_ahead, self.dataset, self._tasks.sampler)
        self._workers: Any = Workers(self._tasks)
        self._begun = False
        self._meter = Meter()

    def __getstate__(self) -> dict[str, Any]:
        own = ("_failures", "_tasks", "_workers", "_begun", "_meter", "_prefetcher")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        progress = self._begin()
        deliveries = self._workers.begin(self)
        self._meter = meter = Meter()
        arrivals = Arrivals(meter.inner(deliveries), progress, self._failures)
        return Epoch(self, self._on_device(arrivals), deliveries, progress, meter)

    @property
    def errors(self) -> list[SampleFailure]:
        """The samples that could not be read since the loader was made.

        Example:
            >>> from pathlib import Path
            >>> size = Path("photos/dog/1.jpg").write_bytes(b"no image")
            >>> dataset = fastdata.ImageFolder("photos", T.Resize((24, 32)))
            >>> loader = fastdata.DataLoaderX(dataset, 8, on_error="skip", max_errors=1)
            >>> import warnings
            >>> with warnings.catch_warnings():
            ...     warnings.simplefilter("ignore")  # one names the sample
            ...     batches = list(loader)
            >>> [failure.index for failure in loader.errors]
            [4]
        """
        return self._failures.failures

    def stats(self) -> LoaderStats:
        """Seconds of the last epoch, or of the one that is running, by what took them.

        Example:
            >>> dataset = fastdata.PackedImageFolder("photos.pack", T.CenterCrop(32))
            >>> loader = fastdata.DataLoaderX(dataset, batch_size=4)
            >>> for images, targets in loader:
            ...     pass
            >>> stats = loader.stats()
            >>> stats.batches, stats.total > stats.waiting > 0
            (2, True)
        """
        return self._meter.stats()

    def state_dict(self) -> dict[str, Any]:
        """The place in the epoch after the batch that was yielded last, to be saved as JSON.

        A loader that reads the same dataset goes on from there, after ``load_state_dict``, with
        the very batches that are missing: also with other workers, and with another number of
        ranks if the batches of all ranks together stay as large. Crops and flips of fastdata's
        datasets stay the same, too; what foreign code draws at random does not.

        After a whole epoch it is the beginning of the next one. Batches read ahead do not count.

        Example:
            >>> dataset = fastdata.PackedImageFolder("photos.pack", T.CenterCrop(32), seed=0)
            >>> loader = fastdata.DataLoaderX(dataset, batch_size=2, shuffle=True)
            >>> batches = iter(loader)
            >>> first = next(batches)
            >>> state = loader.state_dict()  # torch.save it beside the model's
            >>> others = [targets.tolist() for images, targets in batches]
            >>> loader = fastdata.DataLoaderX(dataset, batch_size=2, shuffle=True)
            >>> loader.load_state_dict(state)
            >>> [targets.tolist() for images, targets in loader] == others
            True
        """
        return saved(self._tasks, list(image_datasets(self.dataset)), self._samples())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration be the rest of the epoch that ``state`` was saved in.

        It begins at once with fastdata's and torch's sequential samplers. Others are asked for all
        indices from the epoch's first on, and so is an iterable dataset for its samples: the same
        number of workers is needed there.

        Raises:
            OptionError: the state is of another dataset, batch size or version.

        Example:
            >>> dataset = fastdata.PackedImageFolder("photos.pack", T.CenterCrop(32), seed=0)
            >>> loader = fastdata.DataLoaderX(dataset, batch_size=2, shuffle=True)
            >>> first, second, *others = (targets.tolist() for images, targets in loader)
            >>> for number, batch in enumerate(loader):
            ...     if number == 1:  # of the second epoch
            ...         break
            >>> state = loader.state_dict()
            >>> loader.load_state_dict(state)
            >>> len(list(loader))  # the two batches that are missing
            2
        """
        datasets = list(image_datasets(self.dataset))
        self._tasks.progress = restored(state, self._tasks, datasets, self._samples())
        self._begun = False

    def _begin(self) -> Progress:
        """Go to the next epoch, or to the place that was loaded."""
        if self._begun:
            self._tasks.progress = Progress()
        self._begun = True
        epoch = 0
        for dataset in image_datasets(self.dataset):
            dataset.begin_epoch()
            epoch = dataset.epoch
        self._failures.begin(epoch, self.sampler)
        return self._tasks.progress

    def _on_device(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches as the user wants them; they go on behind an error as ``batches`` do."""
        if self.device is None and self.batch_transform is None:
            return batches
        if self.prefetch_batches == 0:
            return map(partial(delivered, self.device, self.batch_transform), batches)
        return self._prefetcher.ahead(batches)

    @cached_property
    def _prefetcher(self) -> CUDAPrefetcher:
        # One for the loader's life, since it owns the side stream.
        return CUDAPrefetcher(
            (),
            self.device or "cpu",
            prefetch_batches=max(self.prefetch_batches, 1),
            transform=self.batch_transform,
        )

    def _samples(self) -> int | None:
        dataset: Any = self.dataset
        known = not isinstance(dataset, IterableDataset) and hasattr(dataset, "__len__")
        return len(dataset) if known else None

    def _check_options(self, dataset: Any, in_order: bool) -> None:
        check_policy(self.on_error, self.max_errors)
        if self.prefetch_batches < 0:
            raise OptionError(f"prefetch_batches must be >= 0, got {self.prefetch_batches}")
        if self.worker_type not in ("process", "thread"):
            raise OptionError(f"worker_type must be process or thread, got {self.worker_type!r}")
        if not in_order and not _IN_ORDER_KNOWN:
            raise OptionError(f"in_order=False needs a newer torch than {torch.__version__}")
        if not isinstance(dataset, IterableDataset):
            return
        if self.worker_type == "thread":
            raise OptionError(
                "an IterableDataset cannot be shared by threads: they would all read one iterator; "
                "use worker_type='process'"
            )
        if self.on_error != "raise":
            raise OptionError(
                f"on_error={self.on_error!r} needs a map-style dataset: an iterator that raised "
                "cannot go on; use on_error='raise'"
            )
