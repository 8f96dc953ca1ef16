"""Samples made of the members of tar archives: WebDataset's convention, or class directories.

WebDataset: https://github.com/webdataset/webdataset, "The WebDataset Format".
"""

from __future__ import annotations

import itertools
import os
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...core import KINDS, TARGET, KeyTable
from ...errors import EmptySourceError, SourceError
from ..archives.base import rows
from ..base import Findings
from ..folder.walk import EXTENSIONS
from .members import Members

_MASKS = (".seg.png", ".mask.png")
_NAMES = {"txt": "text", "seg.png": "mask", "mask.png": "mask", "cls": TARGET}
_RESERVED = ("image", "key", "mask", TARGET)
_MOST_FIELDS = 64  # each has an array; dots in names could make one of every sample
_META = re.compile(r"__[^/]*__(/|$)")


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Samples, of which nothing is known but where their fields lie.

    Attributes:
        keys: their names.
        archives: int64 array, the archive of each.
        spans: by field, int64[N, 2]: offset and size; −1, −1 for a sample without it.
        kinds: by field, "image", "mask", "str" and so on; "array" for ``.npy``, "int" for ``.cls``.
        classes: class names and
        targets: the index into them, if the directories are classes; else [] and None.
    """

    keys: KeyTable
    archives: NDArray[np.int64]
    spans: dict[str, NDArray[np.int64]]
    kinds: dict[str, str]
    classes: list[str] = field(default_factory=list)
    targets: NDArray[np.int64] | None = None


def is_class_tree(members: Members) -> bool:
    """True if there are images in directories and nothing else, but files outside of them."""
    found = False
    for name in members.names:
        if _split(name) is not None:
            image = name.lower().endswith(EXTENSIONS) and not name.lower().endswith(_MASKS)
            if ("/" in name) != image:
                return False
            found = found or image
    return found


def group_class_tree(members: Members, findings: Findings) -> Groups:
    """Each image is a sample, under its whole name, and its first directory is its class.

    Directories above, which all images have in common, do not count: ``photos`` in
    ``photos/cat/1.jpg`` and ``photos/dog/2.jpg``. Class names are sorted.
    """
    chosen = array("q")

    def names() -> Iterator[str]:
        for i, name in enumerate(members.names):
            if "/" not in name or _split(name) is None:
                _ignore(name, findings)
            elif reason := members.unusable.get(i):
                findings.rejected.append((name, reason))
            else:
                chosen.append(i)
                yield name

    keys, rows_of = KeyTable.from_strings(names()), rows(chosen)
    classes, targets = _directory_classes(keys)
    spans = np.stack([members.offsets[rows_of], members.sizes[rows_of]], axis=1)
    archives = members.archives[rows_of]
    return Groups(
        keys=keys,
        archives=archives,
        spans={"image": spans},
        kinds={"image": "image"},
        classes=classes,
        targets=targets,
    )


def _directory_classes(keys: KeyTable) -> tuple[list[str], NDArray[np.int64]]:
    depth = _class_depth(keys)
    codes: dict[str, int] = {}
    found = (key.split("/", depth + 1)[depth] for key in keys)
    targets = np.fromiter((codes.setdefault(name, len(codes)) for name in found), np.int64)
    classes = sorted(codes)
    renumbered = np.empty(len(codes), np.int64)
    renumbered[[codes[name] for name in classes]] = np.arange(len(codes))
    return classes, renumbered[targets]


def _class_depth(keys: KeyTable) -> int:
    """Number of leading directories common to all, less one if a file lies right in them."""
    parents = (key.split("/")[:-1] for key in keys)
    common = next(parents, [])
    shortest = len(common)
    for parts in parents:
        same = (one == other for one, other in zip(common, parts, strict=False))
        common = common[: sum(itertools.takewhile(bool, same))]
        shortest = min(shortest, len(parts))
    return min(len(common), max(shortest - 1, 0))


def group_webdataset(members: Members, findings: Findings) -> Groups:
    """Neighbours with the same name up to the first dot are one sample; the rest names a field.

    A sample with a member that cannot be read is rejected as a whole.

    Raises:
        SourceError: a field occurs twice in a sample, is missing from one where it may not be, or
            cannot be named after its extension.
        EmptySourceError: no member is an image.
    """
    grouping = _Grouping(members, findings)
    keys = KeyTable.from_strings(grouping.keys())
    if "image" not in grouping.kinds.values():
        met = ", ".join(sorted(grouping.kinds)) or "none"
        raise EmptySourceError(f"no images among the members; fields found: {met}")
    spans = {name: _spans(name, grouping.rows[name], keys) for name in _ordered(grouping.kinds)}
    archives = rows(grouping.archives)
    if grouping.rejected:
        kept = np.ones(len(keys), np.bool_)
        kept[list(grouping.rejected)] = False
        findings.rejected += [(keys[i], reason) for i, reason in grouping.rejected.items()]
        keys = KeyTable.from_strings(keys[i] for i in np.flatnonzero(kept))
        spans, archives = {name: span[kept] for name, span in spans.items()}, archives[kept]
    for name, span in spans.items():
        missing = np.flatnonzero(span[:, 0] < 0)
        if len(missing) and not KINDS[grouping.kinds[name]].may_lack:
            raise SourceError(
                f"sample {keys[missing[0]]!r}: expected field {name!r}, which others have; "
                f"{len(missing)} of {len(keys)} samples lack it"
            )
    kinds = {name: grouping.kinds[name] for name in spans}
    return Groups(keys=keys, archives=archives, spans=spans, kinds=kinds)


class _Grouping:
    """One pass over all members, collecting (sample, offset, size) by field."""

    def __init__(self, members: Members, findings: Findings) -> None:
        self._members, self._findings = members, findings
        self.archives = array("q")
        self.rows: dict[str, array[int]] = {}
        self.kinds: dict[str, str] = {}
        self.rejected: dict[int, str] = {}
        self._kind_of = {end: name for name, kind in KINDS.items() for end in kind.read_from}

    def keys(self) -> Iterator[str]:
        last = None
        for i, name in enumerate(self._members.names):
            split = _split(name)
            if split is None:
                _ignore(name, self._findings)
                continue
            here = int(self._members.archives[i]), split[0]
            if here != last:
                last = here
                self.archives.append(here[0])
                yield split[0]
            self._add(i, name, split[1])

    def _add(self, member: int, name: str, extension: str) -> None:
        sample = len(self.archives) - 1
        field_name, kind = self._field_of(name, extension)
        if reason := self._members.unusable.get(member):
            self.rejected.setdefault(sample, f"{name}: {reason}")
            return
        self.kinds[field_name] = kind
        places = self.rows.setdefault(field_name, array("q"))
        places.extend((sample, self._members.offsets[member], self._members.sizes[member]))
        if len(self.rows) > _MOST_FIELDS:
            raise SourceError(
                f"{name}: more than {_MOST_FIELDS} different extensions; a sample's name ends at "
                "the first dot, so names must have no other dots"
            )

    def _field_of(self, member: str, extension: str) -> tuple[str, str]:
        """Name and kind of the field that an extension stands for; a longer one than is known, such
        as ``left.jpg``, is of the kind that its end says, under its whole name."""
        name, last = _NAMES.get(extension, extension), extension.rpartition(".")[2]
        if f".{extension}".endswith(_MASKS):
            return name, "mask"
        if f".{last}" in EXTENSIONS:
            return "image" if last == extension else extension, "image"
        if extension in _RESERVED:
            raise SourceError(
                f"{member}: a field cannot be named {extension!r}; rename these members"
            )
        return name, "int" if name == TARGET else self._kind_of.get(last, "bytes")


def _ordered(kinds: dict[str, str]) -> list[str]:
    first = ("image", TARGET, "mask", "text", "json")
    return [n for n in first if n in kinds] + sorted(n for n in kinds if n not in first)


def _spans(name: str, places: array[int], keys: KeyTable) -> NDArray[np.int64]:
    table = rows(places, 3)
    twice = np.flatnonzero(np.diff(table[:, 0]) == 0)
    if len(twice):
        key = keys[table[twice[0], 0]]
        raise SourceError(f"sample {key!r} has two members for the field {name!r}")
    spans = np.full((len(keys), 2), -1, np.int64)
    spans[table[:, 0]] = table[:, 1:]
    return spans


def _split(name: str) -> tuple[str, str] | None:
    """Key and lower-case extension; None for what is no part of a sample: ``__meta__`` members,
    and names that start with a dot or have none."""
    directory, slash, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    if not stem or not dot or _META.match(name):
        return None
    return directory + slash + stem, extension.lower()


def _ignore(name: str, findings: Findings) -> None:
    findings.ignored[os.path.splitext(name)[1].lower() or "(none)"] += 1
