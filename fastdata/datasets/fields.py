"""A map-style dataset of samples with named fields."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from operator import index as as_int
from typing import Any, Literal, NamedTuple, SupportsIndex

import numpy as np
import torch

from ..core import Field
from ..errors import DecodeError, OptionError
from ..images import GEOMETRY, MEDIA, DecoderName, EncodedImage, Plan
from ..store import Access
from ..transforms import Generator, as_chw
from .base import Transform
from .batch import BatchBuffer, FieldBatch, FieldSample, row_for
from .clock import clock
from .packed import PackDataset
from .reading import Reading, SampleReader

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

    Example:
        >>> samples = [{"image": "photos/cat/0.jpg", "boxes": [[8, 8, 40, 32]], "labels": [3]}]
        >>> fields = {"image": "image", "boxes": "boxes", "labels": "int64[?]"}
        >>> report = fastdata.pack(samples, "boxes.pack", fields=fields, quiet=True)
        >>> dataset = fastdata.PackedDataset("boxes.pack", T.Resize((24, 32)))
        >>> sample = dataset[0]
        >>> sample["image"].shape, sample["boxes"], sample["labels"]
        (torch.Size([3, 24, 32]), tensor([[ 4.,  4., 20., 16.]]), tensor([3]))
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
            Reading(apply_exif_orientation, decode_scale, decoder, verify),
            access=Access(cache_dir, cache_limit, storage_options),
        )
        known = self.pack.fields
        self._names = list(known) if fields is None else list(fields)
        unknown = [name for name in self._names if name not in known and name not in _EXTRA]
        if unknown:
            raise OptionError(f"{self.root} has no field {unknown[0]!r}, but {', '.join(known)}")
        self.fields: dict[str, Field] = {n: known[n] for n in self._names if n in known}

    def __getitem__(self, index: SupportsIndex) -> Any:
        i = range(len(self))[as_int(index)]  # negative indices, and IndexError past either end
        return self._load_fields(self.sample_reader(), i)

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> FieldBatch:
        """The samples at ``indices``; images that share a size are rows of one batch."""
        reader = self.sample_reader()
        split, everything, fused = reader.split, range(len(self)), self._fused_image()
        buffer = BatchBuffer(len(indices)) if fused is not None else None
        samples = [
            self._load_fields(reader, everything[as_int(index)], buffer, row)
            for row, index in enumerate(indices)
        ]
        images = None
        if fused is not None and buffer is not None and buffer.full:
            images = split.finish_batch(buffer.images())
            for sample, image in zip(samples, images, strict=True):
                sample[fused] = image
        elif fused is not None:
            for sample in samples:
                sample[fused] = split.finish_batch(as_chw(sample[fused]))
        return FieldBatch(samples, self.fields, fused, images)

    def _fused_image(self) -> str | None:
        """The image field that is decoded into rows of the batch, if that can be done."""
        name = self.pack.image_name
        return name if name in self.fields and self._split.by_batch else None

    def _load_fields(
        self, reader: SampleReader, index: int, buffer: BatchBuffer | None = None, row: int = 0
    ) -> FieldSample:
        """A sample; its first image, if there is a ``buffer``, is its ``row`` and not finished."""
        start = time.perf_counter()
        with reader.naming(index):
            record = self.pack.read(index)
            read = time.perf_counter()
            first = self.encoded_image(index, record)
            plan, generator = reader.plan(index, first)
            loaded = _Loaded(index, record, first, plan, generator)
            sample = FieldSample(self.fields)
            for name in self._names:
                shared = buffer if name == self.pack.image_name else None
                sample[name] = self._value(reader, loaded, name, shared, row)
            clock.add(start, read)
        return sample

    def _value(
        self, reader: SampleReader, one: _Loaded, name: str, shared: BatchBuffer | None, row: int
    ) -> Any:
        kind = self.pack.kinds.get(name)
        if kind is None:
            return self.keys[one.number] if name == "key" else one.number
        if kind.media and MEDIA[kind.name].is_color:
            image = reader.pixels(self._image(one, name), one.plan, row_for(shared, row, one.plan))
            return image if shared else reader.finish(image, one.generator)
        value = self._moved(one, name)
        return _tensor(value) if one.plan is not None and isinstance(value, np.ndarray) else value

    def _image(self, one: _Loaded, name: str) -> EncodedImage:
        if name == self.pack.image_name:
            return one.first
        encoded = self.encoded_image(one.number, one.record, name)
        if one.plan is not None and encoded.oriented_size != one.first.oriented_size:
            raise DecodeError(
                f"field {name!r} is {encoded.oriented_size}, its first image "
                f"{one.first.oriented_size}: one crop cannot suit both"
            )
        return encoded

    def _moved(self, one: _Loaded, name: str) -> Any:
        """The value of a field that is no colour image, moved as the pixels of the first image."""
        kind, first = self.pack.kinds[name], one.first
        if kind.media:
            row = self.pack.media(name)[one.number]
            data = self.pack.read_field(one.number, name, one.record)
            size = int(row["height"]), int(row["width"])
            return MEDIA[kind.name].pixels(EncodedImage(data, *size, first.orientation), one.plan)
        value = self.pack.value(one.number, name, one.record)
        if not kind.moves:
            return value
        geometry = GEOMETRY[kind.name]
        value = geometry.orient(value, first.orientation, first.height, first.width)
        return value if one.plan is None else geometry.transform(value, one.plan)


class _Loaded(NamedTuple):
    """A sample's record, its first image, and what all its fields share: a plan, a generator."""

    number: int
    record: memoryview
    first: EncodedImage
    plan: Plan | None
    generator: Generator


def _tensor(array: Any) -> torch.Tensor:
    """A tensor of an ndarray; what torch can hardly compute with becomes the next larger type."""
    wider = {"uint16": np.int32, "uint32": np.int64}.get(np.asarray(array).dtype.name)
    return torch.from_numpy(np.asarray(array, wider, order="C"))
