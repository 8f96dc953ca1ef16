"""Choice of the samples to show."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index as as_int

import numpy as np
from numpy.typing import NDArray

from ...core import KeyTable
from ...errors import OptionError
from ...store import PackReader
from ..text import printable

_DEFAULT_COUNT = 24


def choose(
    pack: PackReader,
    count: int | None,
    indices: Iterable[int] | None,
    keys: Iterable[str] | None,
    classes: Iterable[str] | None,
    seed: int,
) -> list[int]:
    """Indices of samples; the arguments are those of ``show``."""
    named = indices is not None or keys is not None
    if count is not None and count < 1:
        raise OptionError(f"count must be >= 1, got {count}")
    if named:
        known = [_index(pack, value) for value in indices or ()]
        candidates = np.array(known + [_place(pack, key) for key in keys or ()], np.int64)
    else:
        candidates = np.arange(len(pack))
    if classes is not None:
        wanted = _targets(pack, classes)
        candidates = candidates[np.isin(pack.targets[candidates], wanted)]
    most = (len(candidates) if named else _DEFAULT_COUNT) if count is None else count
    if most < len(candidates):
        drawn = np.random.default_rng(seed).choice(len(candidates), most, False, shuffle=False)
        candidates = candidates[np.sort(drawn)]
    return [int(index) for index in candidates]


def find_key(keys: KeyTable, name: str) -> int | None:
    """The first sample of that name; None if there is none. Looks at 10⁷ names in a moment."""
    wanted = np.frombuffer(name.encode("utf-8", "surrogatepass"), np.uint8)
    places = np.flatnonzero(np.diff(keys.offsets) == len(wanted))
    starts = keys.offsets[places]
    for position in reversed(range(len(wanted))):  # names differ at their ends rather
        same = keys.blob[starts + position] == wanted[position]
        places, starts = places[same], starts[same]
    return int(places[0]) if len(places) else None


def _index(pack: PackReader, value: int) -> int:
    try:
        return range(len(pack))[as_int(value)]
    except TypeError as error:
        raise OptionError(f"indices: expected integers, found {value!r}") from error
    except IndexError as error:
        raise OptionError(f"indices: {value} is not one of {len(pack)} samples") from error


def _place(pack: PackReader, key: str) -> int:
    place = find_key(pack.keys, key)
    if place is None:
        raise OptionError(f"{pack.path} has no sample with the key {printable(key)!r}")
    return place


def _targets(pack: PackReader, classes: Iterable[str]) -> NDArray[np.int64]:
    known = {name: target for target, name in enumerate(pack.manifest.classes)}
    names = list(classes)
    unknown = [name for name in names if name not in known]
    if unknown:
        hint = "fastdata info --classes lists them"
        raise OptionError(f"{pack.path} has no class {printable(unknown[0])!r} ({hint})")
    return np.array([known[name] for name in names], np.int64)
