"""A map-style dataset of samples with named fields."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from operator import index as as_int
from typing import Any, Literal, SupportsIndex

import numpy as np
import torch

from ..core import Field
from ..errors import DecodeError, OptionError, PackFormatError, SampleError
from ..images import DecoderName, Image, Plan, decode, decode_mask, orient_boxes, transform_boxes
from ..store import Access
from ..transforms import as_chw, sample_generator
from .base import Transform
from .batch import BatchBuffer, FieldBatch, FieldSample
from .clock import clock
from .packed import PackDataset
from .worker import enter_worker, this_worker

_EXTRA = ("key", "index")


class PackedDataset(PackDataset):
    """Samples of a pack as dicts of named fields.

    ============  ==========================================  =====================================
    field         without a geometric transform               with one
    ============  ==========================================  =====================================
    image         HWC uint8 RGB ndarray                       CHW uint8 tensor
    mask          HW uint8 or uint16 ndarray                  HW tensor, uint8 or int32
    boxes         N×4 float32 ndarray, XYXY in pixels         N×4 float32 tensor; outside: no area
    array         ndarray                                     tensor
    others        int, float, str, bytes, or what JSON says   the same
    ============  ==========================================  =====================================

    The geometric transforms at the head of ``transform`` make one plan for a sample: crop, size
    and flip of image, masks and boxes are the same, and only the needed part is decoded. Masks are
    resized by nearest neighbour. Boxes keep their number and order, so that they go with labels;
    one that lies outside of the crop has no area (``fastdata.images.boxes.visible``). Whatever
    stands behind the geometric transforms is applied to images only.

    ``DataLoaderX`` makes of a batch a dict: images N×3×H×W, masks N×H×W, numbers and arrays of
    fixed shape as tensors, everything else as lists. With another loader pass
    ``collate_fn=fastdata.collate``.

    Args:
        path: the pack's directory, or its URL.
        transform: as for ``PackedImageFolder``.
        fields: names of those wanted, to which "key" (the sample's name) and "index" may be added;
            what is not named is neither read nor decoded. None takes all fields.
        seed, apply_exif_orientation, decode_scale, decoder, verify, cache_dir, cache_limit,
            storage_options: as for ``PackedImageFolder``.

    Attributes:
        fields: the kinds of the fields that samples have.

    Raises:
        PackNotFoundError: no pack at ``path``.
        PackFormatError: the pack is damaged.
        OptionError: the pack has no such field.
        RemoteError, CacheError: as for ``PackedImageFolder``.
        SampleError: (on reading) a sample cannot be read or decoded.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        transform: Transform | None = None,
        *,
        fields: Sequence[str] | None = None,
        seed: int | None = None,
        apply_exif_orientation: bool = False,
        decode_scale: Literal["auto"] | None = None,
        decoder: DecoderName = "opencv",
        verify: Literal["never", "first-read", "always"] = "first-read",
        cache_dir: str | os.PathLike[str] | None = None,
        cache_limit: int | str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            path,
            transform,
            None,
            seed,
            apply_exif_orientation,
            decode_scale,
            decoder,
            verify,
            Access(cache_dir, cache_limit, storage_options),
        )
        known = self.pack.fields
        self._names = list(known) if fields is None else list(fields)
        unknown = [name for name in self._names if name not in known and name not in _EXTRA]
        if unknown:
            raise OptionError(f"{self.root} has no field {unknown[0]!r}, but {', '.join(known)}")
        self.fields: dict[str, Field] = {n: known[n] for n in self._names if n in known}

    def __getitem__(self, index: SupportsIndex) -> Any:
        enter_worker()
        i = range(len(self))[as_int(index)]  # negative indices, and IndexError past either end
        return self._read_fields(i)

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> FieldBatch:
        """The samples at ``indices``; images that share a size are rows of one batch."""
        enter_worker()
        everything, fused = range(len(self)), self._fused_image()
        buffer = BatchBuffer(len(indices)) if fused is not None else None
        samples = [
            self._read_fields(everything[as_int(index)], buffer, row)
            for row, index in enumerate(indices)
        ]
        images = None
        if fused is not None and buffer is not None and buffer.full:
            images = self._pipeline.finish_batch(buffer.images())
            for sample, image in zip(samples, images, strict=True):
                sample[fused] = image
        elif fused is not None:
            for sample in samples:
                sample[fused] = self._pipeline.finish_batch(as_chw(sample[fused]))
        return FieldBatch(samples, self.fields, fused, images)

    def _fused_image(self) -> str | None:
        """The image field that is decoded into rows of the batch, if that can be done."""
        pipeline, name = self._pipeline, self.pack.image_name
        fits = pipeline.head and pipeline.elementwise and name in self.fields
        return name if fits else None

    def _read_fields(
        self, index: int, buffer: BatchBuffer | None = None, row: int = 0
    ) -> FieldSample:
        self._shared.reading[this_worker.slot] = index
        start = time.perf_counter()
        try:
            record = self.pack.read(index)
            read = time.perf_counter()
            sample = self._decoded(index, record, buffer, row)
            clock.reading += read - start
            clock.decoding += time.perf_counter() - read
            return sample
        except (DecodeError, PackFormatError, OSError, ValueError) as error:
            raise SampleError(f"{self.root}: {self._describe(index)}: {error}") from error

    def _decoded(
        self, index: int, record: memoryview, buffer: BatchBuffer | None, row: int
    ) -> FieldSample:
        rng = sample_generator(self.seed, self.epoch, index)
        first = self._encoded(index, record)
        plan = self._pipeline.plan(*first.oriented_size, rng)
        sample = FieldSample(self.fields)
        for name in self._names:
            field = self.fields.get(name)
            if field is None:
                sample[name] = self.keys[index] if name == "key" else index
            elif field.kind == "image":
                shared = buffer if name == self.pack.image_name else None
                out = shared.row(row, plan.height, plan.width) if shared and plan else None
                image = self._image_of(index, name, record, plan, out)
                sample[name] = image if shared else self._finished(image, rng)
            elif field.kind == "mask":
                sample[name] = self._mask_of(index, name, record, first.orientation, plan)
            elif field.kind == "boxes":
                boxes = self.pack.value(index, name, record)
                boxes = orient_boxes(boxes, first.orientation, first.height, first.width)
                sample[name] = boxes if plan is None else _tensor(transform_boxes(boxes, plan))
            else:
                value = self.pack.value(index, name, record)
                is_array = field.kind == "array" and plan is not None
                sample[name] = _tensor(value) if is_array else value
        return sample

    def _finished(self, image: Image, rng: Any) -> Any:
        return self._pipeline.finish(as_chw(image) if self._pipeline.head else image, rng)

    def _image_of(
        self, index: int, name: str, record: memoryview, plan: Plan | None, out: Image | None
    ) -> Image:
        encoded = self._encoded(index, record, name)
        if plan is not None and name != self.pack.image_name:
            first = self._encoded(index, record)
            if encoded.oriented_size != first.oriented_size:
                raise DecodeError(
                    f"field {name!r} is {encoded.oriented_size}, its first image "
                    f"{first.oriented_size}: one crop cannot suit both"
                )
        reduce = self.decode_scale is not None
        return decode(encoded, plan, out=out, reduce=reduce, decoder=self.decoder)

    def _mask_of(
        self, index: int, name: str, record: memoryview, orientation: int, plan: Plan | None
    ) -> Any:
        row = self.pack.columns[name][index]
        data = self.pack.read_field(index, name, record)
        mask = decode_mask(data, int(row["height"]), int(row["width"]), orientation, plan)
        return mask if plan is None else _tensor(mask)


def _tensor(array: Any) -> torch.Tensor:
    """A tensor of an ndarray; what torch can hardly compute with becomes the next larger type."""
    wider = {"uint16": np.int32, "uint32": np.int64}.get(np.asarray(array).dtype.name)
    return torch.from_numpy(np.asarray(array, wider, order="C"))
