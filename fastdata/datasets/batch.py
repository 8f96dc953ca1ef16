"""One allocation a batch: samples are decoded straight into the rows of one tensor."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import default_collate, get_worker_info

from ..core import Field, kind_of
from ..errors import SharedMemoryError
from ..images import Image, Plan


class SampleBatch(list[Any]):
    """A list of (image, target) whose images are the rows of one tensor, in order.

    It behaves as the plain list that any ``collate_fn`` expects; ``collate`` takes ``images``
    instead of copying its rows together again.

    Attributes:
        images: N×3×H×W tensor in channels_last memory.
    """

    def __init__(self, images: torch.Tensor, targets: list[Any]) -> None:
        super().__init__(zip(images, targets, strict=True))
        self.images = images
        self.targets = targets


class FieldSample(dict[str, Any]):
    """A sample as a dict of named fields, which knows the kinds of those that a pack gave."""

    __slots__ = ("fields",)

    def __init__(self, fields: dict[str, Field]) -> None:
        super().__init__()
        self.fields = fields

    def __reduce__(self) -> Any:
        return FieldSample, (self.fields,), None, None, iter(self.items())


class FieldBatch(list[Any]):
    """A list of samples that are dicts of named fields.

    Attributes:
        fields: the kind of each field that a pack gave.
        fused: the image field whose values are the rows of ``images``, if there is one.
        images: N×3×H×W tensor in channels_last memory, or None.
    """

    def __init__(
        self,
        samples: Sequence[dict[str, Any]],
        fields: dict[str, Field],
        fused: str | None = None,
        images: torch.Tensor | None = None,
    ) -> None:
        super().__init__(samples)
        self.fields = fields
        self.fused = fused if images is not None else None
        self.images = images

    def collated(self) -> dict[str, Any]:
        """One dict: tensors of what has one shape for all samples, lists of everything else."""
        names = self[0] if self else {}
        return {name: self.images if name == self.fused else self._column(name) for name in names}

    def _column(self, name: str) -> Any:
        field, values = self.fields.get(name), [sample[name] for sample in self]
        if field is None:
            return values if name == "key" else torch.tensor(values)
        batching = kind_of(field).batching
        if batching == "stacked if equal":
            shapes = {getattr(value, "shape", None) for value in values}  # None: of foreign classes
            batching = "stacked" if len(shapes) == 1 else "listed"
        return default_collate(values) if batching == "stacked" else values


def collate(samples: list[Any]) -> Any:
    """A batch of samples of fastdata's datasets, or as torch's ``default_collate`` of any others.

    Images that were decoded into one batch are not copied. Of ``PackedDataset``'s samples it makes
    a dict; see there.

    Example:
        >>> dataset = fastdata.PackedImageFolder("photos.pack", T.CenterCrop(32))
        >>> images, targets = fastdata.collate([dataset[0], dataset[7]])
        >>> images.shape, targets
        (torch.Size([2, 3, 32, 32]), tensor([0, 1]))
    """
    if isinstance(samples, FieldBatch):
        return samples.collated()
    if samples and all(isinstance(sample, FieldSample) for sample in samples):
        return FieldBatch(samples, samples[0].fields).collated()  # one by one, by a ConcatDataset
    if not isinstance(samples, SampleBatch):
        return default_collate(samples)
    return [samples.images, default_collate(samples.targets)]


class BatchBuffer:
    """Rows of a uint8 N×H×W×3 batch, made when the first image's size is known.

    In a worker process the batch lies in shared memory, so that it reaches the main process
    without being copied.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._used = 0
        self._pixels: Image | None = None
        self._tensor: torch.Tensor | None = None

    def row(self, index: int, height: int, width: int) -> Image | None:
        """Row ``index`` to write into; None if the batch has rows of another size."""
        if self._pixels is None:
            self._tensor = _empty((self._rows, height, width, 3))
            self._pixels = self._tensor.numpy()
        if self._pixels.shape[1:3] != (height, width):
            return None
        self._used += 1
        row: Image = self._pixels[index]
        return row

    @property
    def full(self) -> bool:
        """True when every row has been handed out, all of one size."""
        return self._used == self._rows

    def images(self) -> torch.Tensor:
        """The batch as an N×3×H×W view in channels_last memory."""
        if self._tensor is None:
            raise ValueError("no row has been asked for yet")
        return self._tensor.permute(0, 3, 1, 2)


def row_for(buffer: BatchBuffer | None, row: int, plan: Plan | None) -> Image | None:
    """The row that the result of a plan can be written into; None where there is none."""
    return buffer.row(row, plan.height, plan.width) if buffer is not None and plan else None


class _Memory(threading.local):
    pinned = False


_memory = _Memory()


@contextmanager
def pinned_batches(pinned: bool) -> Iterator[None]:
    """Within the block, new batches of this thread lie in pinned memory, if ``pinned``."""
    before, _memory.pinned = _memory.pinned, pinned
    try:
        yield
    finally:
        _memory.pinned = before


def _empty(shape: tuple[int, ...]) -> torch.Tensor:
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8, pin_memory=_memory.pinned)
    size = math.prod(shape)
    try:
        # torch's own default_collate allocates shared memory in the same way.
        storage = torch.UntypedStorage._new_shared(size)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise SharedMemoryError(
            f"no room for a batch of {size:,} bytes in shared memory (/dev/shm): {error}. Give it "
            "more (docker run --shm-size), use fewer workers or a smaller prefetch_factor, or "
            "worker_type='thread', which needs none"
        ) from error
    flat = torch.empty(0, dtype=torch.uint8).set_(storage)
    return flat.view(shape)
