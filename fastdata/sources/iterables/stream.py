"""Python iterables and torch datasets as what is packed."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np

from ...core import TARGET, Field, KeyTable, crc32, parse_fields
from ...errors import EmptySourceError, FastdataError, OptionError, SourceError
from ..base import Item, Source
from ..detect import open_source
from ..folder.source import FolderSource
from ..folder.walk import Listing
from .kinds import infer_fields, integer

_OF_FILES = {"image": Field("image"), TARGET: Field("int")}


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
        self.classes: list[str] = []
        self.use_classes([str(name) for name in classes or getattr(samples, "classes", None) or ()])
        found: Any = samples
        self._samples = found
        self._indexed = _is_indexed(found)
        self.length: int | None = len(found) if self._indexed else None
        first = self._peek()
        if fields is None:
            self.fields = parse_fields(infer_fields(first))
            self._order = list(infer_fields(first))
        else:
            self.fields, self._order = parse_fields(fields), list(fields)

    def use_classes(self, classes: Sequence[str]) -> None:
        """Have these class names, among them all that there were: a target keeps its name."""
        self._class_index = {name: i for i, name in enumerate(classes)}
        self._renumbered = [self._class_index[name] for name in self.classes]
        self.classes = list(classes)

    def tasks(self) -> Iterator[Callable[[], Item]]:
        """For each sample a function that gives it, to be called in any thread."""
        if self._indexed:
            for index in range(len(self._samples)):
                yield _Indexed(self, index)
            return
        rest = iter(self._samples)
        for index in count():
            with _fetching(index):
                try:
                    sample = next(rest)
                except StopIteration:
                    return
            yield _Ready(self.as_item(index, sample))

    def has_parts(self, parts: Iterable[tuple[int, str]]) -> bool:
        """Whether the samples, which this reads, are those of earlier shards.

        Args:
            parts: for each shard the number of its samples and their ``Trace``.
        """
        tasks = self.tasks()
        for number, digest in parts:
            trace = Trace()
            for task in islice(tasks, number):
                trace.add(task)
            if trace.hexdigest() != digest:
                return False
        return next(tasks, None) is None

    def sample(self, index: int) -> Item:
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
        return Item(f"{index:08d}" if key is None else str(key), values)

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
    """Whether samples are fetched by their number; OptionError if they are none at all."""
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


def samples_of(
    samples: Any,
    fields: Mapping[str, str | Field] | None = None,
    classes: Sequence[str] | None = None,
) -> Source | Stream:
    """What ``samples`` is: a ``Source`` itself; a path, or a pattern of archives, the source that
    ``open_source`` finds there; torchvision's folder datasets their files; all else a stream.

    Files are packed as they are; a dataset's samples would be pixels that were decoded already.
    Where other fields than image and target are asked for, they are a stream, too.
    """
    if isinstance(samples, Source):
        return samples
    if isinstance(samples, (str, os.PathLike)):
        if classes is not None:
            raise OptionError(f"the classes of {os.fspath(samples)} are found out: give no classes")
        return open_source(samples, fields=fields)
    listed: Any = getattr(samples, "samples", None)
    root = getattr(samples, "root", None)
    files = isinstance(listed, list) and bool(listed) and hasattr(samples, "loader")
    simple = fields is None or parse_fields(fields) == _OF_FILES
    if not simple or not files or root is None:
        return Stream(samples, fields, classes)
    base = os.path.abspath(os.fspath(root))
    keys = (Path(os.path.relpath(path, base)).as_posix() for path, _ in listed)
    table = KeyTable.from_strings(keys)
    targets = np.array([target for _, target in listed], np.int64)
    names = [str(name) for name in classes or getattr(samples, "classes", None) or ()]
    return FolderSource(Listing(Path(base), "samples", table, targets, names))


def _is_iterable_dataset(samples: Any) -> bool:
    # Whoever has one has imported torch; packing needs none of it.
    data = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(samples, data.IterableDataset)
