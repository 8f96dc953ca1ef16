"""Python iterables and torch datasets as samples that come one after the other."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import chain, count, islice
from operator import index as as_int
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from ...core import TARGET, Field, crc32, hexdigest, parse_fields
from ...errors import EmptySourceError, FastdataError, OptionError, SourceError
from ...images import sniff
from ..base import Blob, Findings, IndexedTask, Item, Samples, SampleTask

_KEY = "{:08d}"  # of a sample that has no name
_IMAGE_NAMES = {"image", "img", "jpg", "jpeg", "png", "webp", "lq", "gt", "x"}
_MASK_NAMES = {"mask", "masks", "segmentation", "seg", "semantic", "label_map"}


class Stream(Samples):
    """Samples that come one after the other, from whatever can be iterated or indexed.

    A sample is a dict of named values, optionally with its name as ``"key"``; a tuple in the order
    of the fields, or (image, target); or an image alone. Names are numbers if it has none.

    Args:
        samples: a torch ``Dataset`` or another sequence, which is indexed in worker threads, or an
            iterable, which is read once, by one thread.
        fields: by name, their kinds; if None, they are inferred from the first sample.
        classes: class names, by which a target may then be given; default: ``samples.classes``.

    Raises:
        EmptySourceError: there are no samples.
        OptionError: the fields are wrong, or cannot be inferred.
    """

    name = "samples"

    def __init__(
        self,
        samples: Iterable[Any],
        fields: Mapping[str, str | Field] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.classes: list[str] = []
        self._use_classes(classes or getattr(samples, "classes", None) or ())
        self.findings = Findings()
        found: Any = samples
        self._samples = found
        self._indexed = _is_indexed(found)
        first = self._peek()
        if fields is None:
            self.fields = parse_fields(infer_fields(first))
            self._order = list(infer_fields(first))
        else:
            self.fields, self._order = parse_fields(fields), list(fields)

    @property
    def length(self) -> int | None:
        """Number of samples, or None if only iterating tells."""
        return len(self._samples) if self._indexed else None

    @property
    def sizes(self) -> NDArray[np.int64]:  # type: ignore[override]
        """Zeros: nothing is known before a sample is fetched."""
        return np.zeros(self.length or 0, np.int64)

    @property
    def key_bytes(self) -> int:
        """Bytes of all names, if they are numbers."""
        return len(_KEY.format(0)) * (self.length or 0)

    def digest(self) -> str:
        """See ``Samples``; nothing but the class names is known."""
        return hexdigest(self.classes)

    def with_classes(self, classes: Sequence[str]) -> Self:
        """See ``Samples``."""
        renumbered = copy(self)
        renumbered._use_classes(classes)
        return renumbered

    def _use_classes(self, classes: Sequence[str]) -> None:
        names = [str(name) for name in classes]
        self._class_index = {name: i for i, name in enumerate(names)}
        self._renumbered = [self._class_index[name] for name in self.classes]
        self.classes = names

    def tasks(self) -> Iterator[SampleTask]:
        """A task for each sample; one that can only be iterated has been fetched before."""
        if self._indexed:
            for index in range(len(self._samples)):
                yield IndexedTask(self, index)
            return
        rest = iter(self._samples)
        for index in count():
            with _fetching(index):
                try:
                    sample = next(rest)
                except StopIteration:
                    return
            yield _FetchedTask(self.as_item(index, sample))

    def has_parts(self, parts: Iterable[tuple[int, str]]) -> bool:
        """See ``Samples``; reads them."""
        tasks = self.tasks()
        for number, digest in parts:
            trace = Trace()
            for task in islice(tasks, number):
                trace.add(task)
            if trace.hexdigest() != digest:
                return False
        return next(tasks, None) is None

    def item(self, index: int) -> Item:
        """Sample ``index`` of what can be indexed."""
        with _fetching(index):
            sample = self._samples[index]
        return self.as_item(index, sample)

    def as_item(self, index: int, sample: Any) -> Item:
        """A sample in whichever form it came."""
        values = self._named(index, sample)
        key = values.pop("key", None)
        if TARGET in values:
            values[TARGET] = self._target(index, values[TARGET])
        return Item(_KEY.format(index) if key is None else str(key), values)

    def _target(self, index: int, target: Any) -> Any:
        """A class by its number; what is neither name nor number as it is."""
        if isinstance(target, str):
            if target not in self._class_index:
                raise SourceError(
                    f"sample {index}: target {target!r} is not one of {len(self.classes)} classes; "
                    "give their names as classes="
                )
            return self._class_index[target]
        number, known = integer(target), len(self._renumbered or self.classes)
        if number is None or number == -1 or not known:
            return target
        if not 0 <= number < known:
            raise SourceError(f"sample {index}: target {number}, but there are {known} classes")
        return self._renumbered[number] if self._renumbered else number

    def _named(self, index: int, sample: Any) -> dict[str, Any]:
        if isinstance(sample, Item):
            return {"key": sample.key, **sample.values}
        if isinstance(sample, Mapping):
            return dict(sample)
        values = tuple(sample) if isinstance(sample, (tuple, list)) else (sample,)
        if len(values) != len(self._order):
            raise SourceError(
                f"sample {index}: expected {len(self._order)} values ({', '.join(self._order)}), "
                f"found {len(values)}"
            )
        return dict(zip(self._order, values, strict=True))

    def _peek(self) -> Any:
        with _fetching(0):
            if self._indexed:
                if not len(self._samples):
                    raise EmptySourceError("there are no samples")
                return self._samples[0]
            rest = iter(self._samples)
            head = list(islice(rest, 1))
        if not head:
            raise EmptySourceError("there are no samples: the iterable is empty, or used up")
        self._samples = chain(head, rest)
        return head[0]


def _is_indexed(samples: Any) -> bool:
    """True if samples are fetched by their number; OptionError if they are none at all."""
    if isinstance(samples, (bytes, Mapping)) or not (
        hasattr(samples, "__iter__") or hasattr(samples, "__getitem__")
    ):
        raise OptionError(
            "expected a dataset, a sequence or an iterable of samples, found "
            f"{type(samples).__name__}"
        )
    if _is_iterable_dataset(samples):  # its inherited __getitem__ only raises
        return False
    return hasattr(samples, "__getitem__") and hasattr(samples, "__len__")


@contextmanager
def _fetching(index: int) -> Iterator[None]:
    """An OSError of the user's code must not look like one of the disk that is written to."""
    try:
        yield
    except FastdataError:
        raise
    except OSError as error:
        raise SourceError(f"sample {index} cannot be fetched: {error}") from error


class _FetchedTask:
    """A sample that an iterable has given."""

    __slots__ = ("_item",)

    def __init__(self, item: Item) -> None:
        self._item = item

    def __call__(self) -> Item:
        return self._item

    def trace(self) -> bytes:
        """The values, those that are large by their checksums."""
        return repr(_summary(self._item)).encode("utf-8", "surrogateescape")


class Trace:
    """A digest of the samples that tasks stand for, to tell later whether they are the same."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, task: SampleTask) -> None:
        """Take note of one."""
        self._digest.update(task.trace())

    def hexdigest(self) -> str:
        """Of all since the beginning."""
        return self._digest.hexdigest()


def _summary(value: Any) -> Any:
    if isinstance(value, Item):
        return value.key, {name: _summary(part) for name, part in value.values.items()}
    if isinstance(value, Mapping):
        return {name: _summary(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_summary(part) for part in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return len(value), crc32(value)
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):  # Pillow's
        array = np.ascontiguousarray(np.asarray(value))
        if array.dtype.hasobject:
            return array.shape, array.tolist()
        return array.shape, str(array.dtype), crc32(array.view(np.uint8).ravel())
    return value


def _is_iterable_dataset(samples: Any) -> bool:
    # Whoever has one has imported torch; packing needs none of it.
    data = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(samples, data.IterableDataset)


def integer(value: Any) -> int | None:
    """An integer of Python, NumPy or torch; None for anything else."""
    try:
        return as_int(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        return None


def infer_fields(sample: Any) -> dict[str, str]:
    """Kinds of a sample's values, from their types and names.

    Raises:
        OptionError: nothing in it looks like an image, or it is a tuple of unknown meaning.
    """
    if isinstance(sample, Item):
        sample = sample.values
    if isinstance(sample, Mapping):
        return {name: _kind(name, value) for name, value in sample.items() if name != "key"}
    if not isinstance(sample, (tuple, list)):
        return {"image": "image"}
    if len(sample) == 1:
        return {"image": "image"}
    if len(sample) == 2 and (isinstance(sample[1], str) or integer(sample[1]) is not None):
        return {"image": "image", TARGET: "int"}
    raise OptionError(
        f"samples are tuples of {len(sample)}; say what they are, in order, such as "
        "fields={'image': 'image', 'mask': 'mask'}"
    )


def _kind(name: str, value: Any) -> str:
    low = name.lower()
    if name == TARGET:
        return "int"
    if low in _MASK_NAMES:
        return "mask"
    if low in ("boxes", "bboxes"):
        return "boxes"
    if _is_image(low, value):
        return "image"
    if isinstance(value, (bytes, bytearray, memoryview, Blob)):
        return "bytes"
    if isinstance(value, str):
        return "str"
    if isinstance(value, (bool, int, np.integer)):
        return "int"
    if isinstance(value, (float, np.floating)):
        return "float"
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        return f"{array.dtype.name}[{','.join(map(str, array.shape))}]"
    return "json"


def _is_image(name: str, value: Any) -> bool:
    if hasattr(value, "convert") and hasattr(value, "mode"):
        return True
    if isinstance(value, (bytes, bytearray, memoryview)):
        return sniff(bytes(value[:512])) is not None
    if isinstance(value, (str, os.PathLike, Blob)) or hasattr(value, "__array__"):
        return name in _IMAGE_NAMES
    return False
