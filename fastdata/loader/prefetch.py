"""Copy the next batches to the device while the current one computes."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import (
    Closable,
    as_device,
    close_if_possible,
    move_to_device,
    rebuild,
    record_use,
    upload_leaf,
)
from ..errors import OptionError

__all__ = ["CUDAPrefetcher", "move_to_device"]

_END: Any = object()
_STREAM_API = ("Stream", "Event", "stream", "current_stream")


class CUDAPrefetcher:
    """Iterates over the batches of a loader, on the device, copied ahead of their use.

    While the consumer works on a batch, the copies of the next ``prefetch_batches`` batches, and
    ``transform`` on them, are queued on one side stream, which belongs to this object for its whole
    life. There is no thread: everything is queued inside ``next()``. A loader's batches must be
    structures that ``move_to_device`` knows, and so must the results of ``transform``.

    Streams. Before each copy the side stream waits for the consumer's stream, the one current on
    ``device`` when ``next()`` is called: ``transform`` may read what the consumer computed before.
    The batch that ``next()`` returns is ready on that same stream, which waits on the device, never
    on the host. To use a batch on yet another stream, synchronise and ``record_stream`` yourself.

    Memory. A yielded batch belongs to the consumer; nothing here refers to it any more. Its memory
    comes from the side stream's pool, so if the consumer drops it while kernels that read it are
    still queued, the caching allocator could hand that memory to the next copy. Therefore every
    yielded tensor on the device, whether copied or made by ``transform``, is given to
    ``record_stream`` with the consumer's stream: it is not reused before the work queued there by
    then is done. That alone would let a fast host pile up batches, so the host waits as soon as
    ``prefetch_batches + 1`` copies are unfinished: at most about ``2 * prefetch_batches + 3``
    batches are on the device.

    Pinned memory. Sources in host memory are kept until their copy is done, so a loader may reuse
    pinned memory as soon as nothing refers to it. Host tensors that are not pinned are pinned
    first: that costs a copy on the host, while a copy from pageable memory makes the host wait for
    the side stream, and so for the consumer's queue. What cannot be pinned (sparse tensors, for
    example) is copied synchronously. There is no ring of buffers, since torch's allocator of pinned
    memory is one: it keeps freed blocks, and hands each out again once the work queued on the side
    stream when it was freed is done (Note [HostAllocator design] in CachingHostAllocator.h). So
    the blocks never become more than what is alive at once: for each tensor of a batch, no more
    than the batches that the loader has made ahead (``num_workers * prefetch_factor`` with worker
    threads) plus ``2 * prefetch_batches + 4``, of which up to ``prefetch_batches + 2`` are being
    copied and as many freed a moment ago. Each is rounded up to a power of two bytes.

    CUDA graphs. A captured step reads fixed addresses: copy each batch into the graph's static
    input, outside of the capture, and replay. ``next()`` while the current stream captures raises
    ``RuntimeError``, as the copies would become part of the graph. A loader whose threads pin
    memory must not run during a capture either, unless that has
    ``capture_error_mode="thread_local"``: capture before the first ``next()``.

    Order. Batches come in the loader's order. If the loader or ``transform`` raises an
    ``Exception``, the batches before it are yielded first; other ``BaseException`` end at once.
    When the consumer stops early (``break``, ``close()`` of the iterator) or an exception ends the
    iteration, the loader's iterator is closed if it has a ``close`` method. Each ``iter()`` calls
    ``iter(loader)``, and reads it from the first ``next()`` on; several may be alive at once.

    On a CPU the batches pass through one by one, unread ahead and uncopied; ``transform`` applies.
    On a device without streams they are moved one by one.

    Args:
        loader: any iterable of batches; ``len()`` works if it works on the loader.
        device: where batches go; an integer is the index of a CUDA device, and None means torch's
            current accelerator (before torch 2.6, CUDA), or the CPU if there is none. Fixed here,
            in the constructor.
        prefetch_batches: how many batches are queued ahead of the consumer, at least 1.
        transform: called with each batch on the device. It runs ahead of the consumer, when the
            parameters it might train are some steps old, and so under ``torch.no_grad()``.

    Raises:
        OptionError: ``prefetch_batches`` is below 1, or torch cannot use that kind of device here.

    Example:
        >>> batches = [torch.zeros(4, 3, 32, 32), torch.ones(4, 3, 32, 32)]
        >>> device = "cuda" if torch.cuda.is_available() else "cpu"
        >>> for batch in fastdata.CUDAPrefetcher(batches, device, transform=lambda x: x * 2):
        ...     print(batch.mean().item())
        0.0
        2.0
    """

    def __init__(
        self,
        loader: Iterable[Any],
        device: torch.device | str | int | None = None,
        *,
        prefetch_batches: int = 2,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        if prefetch_batches < 1:
            raise OptionError(
                f"prefetch_batches must be at least 1, found {prefetch_batches}; "
                "to copy nothing ahead, use move_to_device on each batch"
            )
        self.loader = loader
        self.device = _resolve(device)
        self.prefetch_batches = prefetch_batches
        self.transform = transform
        self._stream: Any = None

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def __iter__(self) -> Generator[Any, None, None]:
        return self.iterate(iter(self.loader))

    def iterate(self, source: Iterator[Any]) -> Generator[Any, None, None]:
        """Iterate over the batches of ``source`` instead of the loader's, on the same stream."""
        batches = self.ahead(source)
        try:
            yield from batches
        except BaseException:
            close_if_possible(batches)  # first: it waits for copies of the source's memory
            close_if_possible(source)
            raise

    def ahead(self, source: Iterator[Any]) -> Iterator[Any]:
        """Iterate as ``iterate`` does, but leave it to the caller to close both, also at an error.

        An ``Exception`` of the source or of ``transform`` is raised in its turn, and does not end
        this: the source is read on when the next batch is asked for.
        """
        if _stream_api(self.device) is None:
            device = None if self.device.type == "cpu" else self.device
            return map(partial(delivered, device, self.transform), source)
        return _InFlight(self, self._side_stream(), source)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stream": None}  # a stream means nothing in another process

    def _side_stream(self) -> Any:
        if self._stream is None:
            self._stream = _stream_api(self.device).Stream(device=self.device)
        return self._stream


class _Moving(NamedTuple):
    batch: Any
    ready: Any  # event after the batch's copy and transform


class _Copy(NamedTuple):
    done: Any  # event after the copy
    hosts: list[Tensor]


class _InFlight(Closable, Iterator[Any]):
    """The batches of one iteration, between the loader and the consumer."""

    def __init__(self, owner: CUDAPrefetcher, stream: Any, source: Iterator[Any]) -> None:
        self._api = _stream_api(owner.device)
        self._device = owner.device
        self._depth = owner.prefetch_batches
        self._transform = owner.transform
        self._stream = stream
        self._source = source
        self._ended = False
        self._errors: list[Exception] = []
        self._flights: deque[_Moving] = deque()
        self._copies: deque[_Copy] = deque()

    def __next__(self) -> Any:
        self._refuse_capture()
        self._fill(1)
        if self._flights:
            return self._land()  # no local name: it would keep the batch from the consumer
        if self._errors:
            raise self._errors.pop()  # a local name would be a cycle through the traceback
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Wait for the copies, and drop what the consumer has not got."""
        self._ended = True
        # At interpreter exit the driver may be gone already, and so are the copies.
        if self._copies and not sys.is_finalizing():
            self._copies[-1].done.synchronize()
        self._copies.clear()
        self._flights.clear()
        self._errors.clear()

    def _fill(self, flights: int) -> None:
        # An error waits for its turn, when all before it have landed; the source waits, too.
        while len(self._flights) < flights and not self._ended and not self._errors:
            try:
                self._launch()
            except Exception as error:
                self._errors.append(error)

    def _launch(self) -> None:
        batch = next(self._source, _END)
        if batch is _END:
            self._ended = True
            return
        self._limit_copies()
        self._flights.append(self._stage(batch))

    def _stage(self, batch: Any) -> _Moving:
        """Queue the copy and the transform of a batch on the side stream."""
        # After the loader's next(), which may itself have queued work on the consumer's stream.
        self._stream.wait_stream(self._api.current_stream(self._device))
        hosts: list[Tensor] = []
        with self._api.stream(self._stream):
            moved = rebuild(partial(upload_leaf, device=self._device, hosts=hosts), batch)
            ready = self._record()
            self._copies.append(_Copy(ready, hosts))
            if self._transform is not None:
                # Tensors that the loader put on the device itself belong to another stream.
                record_use(moved, self._stream)
                moved = transformed(self._transform, moved)
                ready = self._record()
        return _Moving(moved, ready)

    def _land(self) -> Any:
        """Queue the next copies, then hand the oldest batch to the consumer's stream."""
        flight = self._flights.popleft()
        self._fill(self._depth)
        consumer = self._api.current_stream(self._device)
        consumer.wait_event(flight.ready)
        # Instead, this object could retain the last batches in a ring, which frees memory sooner
        # than the allocator does. But a ring must know when the consumer's work on a batch is done,
        # and with any fixed length it does not: a consumer may keep a batch for as long as it
        # likes, and use it in work that it queues later. Here its own reference says so, and what
        # the allocator keeps longer is bounded by ``_limit_copies``.
        record_use(flight.batch, consumer)
        return flight.batch

    def _refuse_capture(self) -> None:
        # The side stream, waiting for a stream that captures, would be captured with it.
        if getattr(self._api, "is_current_stream_capturing", bool)():
            raise RuntimeError(
                "the next batch was asked for while the current stream captures a graph, and its "
                "copy would become part of that; take the batch before, and copy it into the "
                "graph's static input outside of the capture"
            )

    def _record(self) -> Any:
        # A blocking event lets the waiting host thread sleep; others spin beside the decoders.
        options = {"blocking": True} if self._device.type == "cuda" else {}
        event = self._api.Event(**options)
        event.record(self._stream)
        return event

    def _limit_copies(self) -> None:
        copies = self._copies
        while copies and (len(copies) > self._depth or copies[0].done.query()):
            copies.popleft().done.synchronize()


def delivered(
    device: torch.device | None, transform: Callable[[Any], Any] | None, batch: Any
) -> Any:
    """The batch moved to a device at once, if one is given, and transformed."""
    moved = batch if device is None else move_to_device(batch, device)
    return transformed(transform, moved)


def transformed(transform: Callable[[Any], Any] | None, batch: Any) -> Any:
    """The batch as the training gets it.

    Without gradients, since the transform runs ahead, when the parameters it might train are some
    steps old. Its ``StopIteration`` is an error, and not the end of the loader.
    """
    if transform is None:
        return batch
    try:
        with torch.no_grad():
            return transform(batch)
    except StopIteration as error:
        raise RuntimeError("the transform of a batch raised StopIteration") from error


def _stream_api(device: torch.device) -> Any:
    """``torch.cuda`` or its like for another accelerator; None for a device without streams."""
    # Not ``torch.accelerator``: it serves one kind of device a process, cannot tell whether a
    # stream captures, and does not exist before torch 2.6.
    api = getattr(torch, device.type, None)
    has_streams = device.type != "cpu" and all(hasattr(api, name) for name in _STREAM_API)
    return api if has_streams else None


def _resolve(device: torch.device | str | int | None) -> torch.device:
    resolved = as_device(_default_device() if device is None else device)
    api = _stream_api(resolved)
    if api is None:
        return resolved
    if not api.is_available():
        raise OptionError(
            f"device {str(resolved)!r} was asked for, but torch.{resolved.type}.is_available() is "
            "False here; use a machine and a torch build that have it, or device='cpu'"
        )
    index = api.current_device() if resolved.index is None else resolved.index
    return torch.device(resolved.type, index)


def _default_device() -> torch.device:
    generic = getattr(torch, "accelerator", None)  # since torch 2.6
    if generic is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = generic.current_accelerator() if generic.is_available() else None
    return torch.device("cpu") if found is None else found
