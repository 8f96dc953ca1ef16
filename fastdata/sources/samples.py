"""Whatever the user gives, as samples to be packed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core import TARGET, Field, KeyTable, parse_fields
from ..errors import OptionError
from .base import Samples
from .detect import open_source
from .folder.source import FolderSource
from .iterables.stream import Stream

_OF_FILES = {"image": Field("image"), TARGET: Field("int")}


def samples_of(
    samples: Any,
    fields: Mapping[str, str | Field] | None = None,
    classes: Sequence[str] | None = None,
    *,
    again: bool = False,
) -> Samples:
    """Samples of anything: ``Samples`` themselves; of a path, or a pattern of archives, the source
    that ``open_source`` finds there; of torchvision's folder datasets their files; else a stream.

    Files are packed as they are; a dataset's samples would be pixels that were decoded already.
    Where other fields than image and target are asked for, they are a stream, too.

    Args:
        samples: see ``fastdata.pack``.
        fields: by name, the kinds of the samples' values; None finds them out.
        classes: class names; None finds them out.
        again: the samples will be read more than once.

    Raises:
        OptionError: something is given that is found out; or the samples, such as those of a
            generator, could not be read again.
    """
    if isinstance(samples, Samples):
        return samples
    if isinstance(samples, (str, os.PathLike)):
        if classes is not None:
            raise OptionError(f"the classes of {os.fspath(samples)} are found out: give no classes")
        return open_source(samples, fields=fields)
    if again and not (hasattr(samples, "__getitem__") and hasattr(samples, "__len__")):
        raise OptionError("a plan needs samples that can be read again: a sequence, or a source")
    if fields is None or parse_fields(fields) == _OF_FILES:
        files = _files_of(samples, classes)
        if files is not None:
            return files
    return Stream(samples, fields, classes)


def _files_of(dataset: Any, classes: Sequence[str] | None) -> FolderSource | None:
    """The files of one of torchvision's folder datasets; None for anything else."""
    listed, root = getattr(dataset, "samples", None), getattr(dataset, "root", None)
    if not (isinstance(listed, list) and listed and hasattr(dataset, "loader")) or root is None:
        return None
    base = os.path.abspath(os.fspath(root))
    keys = (Path(os.path.relpath(path, base)).as_posix() for path, _ in listed)
    table = KeyTable.from_strings(keys)
    targets = np.array([target for _, target in listed], np.int64)
    names = [str(name) for name in classes or getattr(dataset, "classes", None) or ()]
    source = FolderSource(base, table, targets, names, name="samples")
    source.ask_files()
    return source
