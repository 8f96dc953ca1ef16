"""Python iterables and torch datasets as what is packed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from ..checksum import crc32
from ..errors import EmptySourceError, FastdataError, OptionError, SourceError
from ..fields import TARGET, Field, parse_fields
from ..folder import Listing
from ..header import sniff
from ..sample import KeyTable
from .base import Blob, Item
from .image_folder import FolderSource

_IMAGE_NAMES = {"image", "img", "jpg", "jpeg", "png", "webp", "lq", "gt", "x"}
_MASK_NAMES = {"mask", "masks", "segmentation", "seg", "semantic", "label_map"}
_TARGET_NAMES = {"target", "label", "class", "cls", "y"}


class Stream:
    """Samples that come one after the other, from whatever can be iterated or indexed.

    A sample is a dict of named values, optionally with its name as ``"key"``; a tuple in the order
    of the fields, or (image, target); or an image alone. Names are numbers if it has none.

    Args:
        samples: a torch ``Dataset`` or another sequence, which is indexed in worker threads, or an
            iterable, which is read once, by one thread.
        fields: by name, their kinds; if None, they are inferred from the first sample.
        classes: class names, by which a target may then be given; default: ``samples.classes``.

    Attributes:
        length: number of samples, or None if only iterating tells.

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
        self.use_classes([str(name) for name in classes or getattr(samples, "classes", None) or ()])
        found: Any = samples
        self._samples = found
        self._indexed = hasattr(found, "__getitem__") and hasattr(found, "__len__")
        self.length: int | None = len(found) if self._indexed else None
        first = self._peek()
        if fields is None:
            self.fields = parse_fields(infer_fields(first))
            self._order = list(infer_fields(first))
        else:
            self.fields, self._order = parse_fields(fields), list(fields)

    def use_classes(self, classes: Sequence[str]) -> None:
        """Have other class names, by which targets may be given."""
        self.classes = list(classes)
        self._class_index = {name: i for i, name in enumerate(self.classes)}

    def tasks(self) -> Iterator[Callable[[], Item]]:
        """For each sample a function that gives it, to be called in any thread."""
        if self._indexed:
            for index in range(len(self._samples)):
                yield _Indexed(self, index)
            return
        for index, sample in enumerate(_read(self._samples)):
            yield _Ready(self.as_item(index, sample))

    def has_parts(self, parts: Iterable[tuple[int, str]]) -> bool:
        """Whether the samples, which this reads, are those of earlier shards.

        Args:
            parts: for each shard the number of its samples and their ``Trace``.
        """
        tasks = self.tasks()
        for count, digest in parts:
            trace = Trace()
            for task in islice(tasks, count):
                trace.add(task)
            if trace.hexdigest() != digest:
                return False
        return next(tasks, None) is None

    def sample(self, index: int) -> Item:
        """Sample ``index`` of what can be indexed."""
        return self.as_item(index, self._samples[index])

    def as_item(self, index: int, sample: Any) -> Item:
        """A sample in whichever form it came."""
        values = self._named(index, sample)
        key = values.pop("key", None)
        target = values.get(TARGET)
        if isinstance(target, str):
            if target not in self._class_index:
                raise SourceError(
                    f"sample {index}: target {target!r} is not one of {len(self.classes)} classes; "
                    "give their names as classes="
                )
            values[TARGET] = self._class_index[target]
        return Item(f"{index:08d}" if key is None else str(key), values)

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


def _read(samples: Iterable[Any]) -> Iterator[Any]:
    """``samples``; an OSError in reading them is to be told from one in writing the pack."""
    try:
        yield from samples
    except OSError as error:
        if isinstance(error, FastdataError):
            raise
        raise SourceError(f"the samples cannot be read: {error}") from error


class _Indexed:
    """A sample that is fetched when the task is called."""

    def __init__(self, stream: Stream, index: int) -> None:
        self.stream, self.index = stream, index

    def __call__(self) -> Item:
        return self.stream.sample(self.index)


class _Ready:
    """A sample that an iterable has given."""

    def __init__(self, item: Item) -> None:
        self.item = item

    def __call__(self) -> Item:
        return self.item


class Trace:
    """A digest of the samples that tasks stand for, to tell later whether they are the same."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, task: Callable[[], Item]) -> None:
        """Take note of one; a sample that has not been fetched counts by its number alone."""
        if isinstance(task, _Ready):
            self._digest.update(repr(_summary(task.item)).encode("utf-8", "surrogateescape"))
        elif isinstance(task, _Indexed):
            self._digest.update(b"%d," % task.index)

    def hexdigest(self) -> str:
        """Of all since the beginning."""
        return self._digest.hexdigest()


def _summary(value: Any) -> Any:
    if isinstance(value, Item):
        return value.key, {name: _summary(part) for name, part in value.values.items()}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return len(value), crc32(value)
    if hasattr(value, "__array__"):
        array = np.ascontiguousarray(np.asarray(value))
        return array.shape, str(array.dtype), crc32(array.view(np.uint8).ravel())
    return value


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
    if len(sample) == 2 and _kind(TARGET, sample[1]) in ("int", "str"):
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


def samples_of(
    samples: Any,
    fields: Mapping[str, str | Field] | None = None,
    classes: Sequence[str] | None = None,
) -> FolderSource | Stream:
    """What ``samples`` is: torchvision's folder datasets are their files, everything else a stream.

    Files are packed as they are; a dataset's samples would be pixels that were decoded already.
    """
    listed: Any = getattr(samples, "samples", None)
    root = getattr(samples, "root", None)
    files = isinstance(listed, list) and bool(listed) and hasattr(samples, "loader")
    if fields is not None or not files or root is None:
        return Stream(samples, fields, classes)
    base = os.path.abspath(os.fspath(root))
    keys = (Path(os.path.relpath(path, base)).as_posix() for path, _ in listed)
    table = KeyTable.from_strings(keys)
    targets = np.array([target for _, target in listed], np.int64)
    names = [str(name) for name in classes or getattr(samples, "classes", None) or ()]
    return FolderSource(Listing(Path(base), "samples", table, targets, names))
