"""Packs as a source: for merging, taking a part, and converting."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from ..core import TARGET, Field, KeyTable, hexdigest
from ..errors import OptionError, PackFormatError
from ..images import MEDIA, StoredImage, StoredMedia
from ..store import PackReader
from .base import Findings, Item, Source
from .classes import ClassMap, merged_classes


@dataclass(frozen=True, slots=True)
class Stored:
    """The media of a field of a pack, before they are read; ``again`` says to store them as they
    are."""

    pack: PackReader
    index: int
    name: str
    again: bool

    def value(self) -> StoredMedia | StoredImage:
        """The stored form, or what is to be encoded.

        Raises:
            PackFormatError: the record is damaged.
        """
        pack, index = self.pack, self.index
        data = bytes(pack.read_field(index, self.name))
        row = pack.media(self.name)[index]
        height, width = int(row["height"]), int(row["width"])
        turn = int(row["orientation"])
        if self.again or not MEDIA[pack.kinds[self.name].name].is_color:
            return StoredMedia(data, height, width, turn, int(row["slice_index"]))
        if not pack.encoding.is_pixels:
            return StoredImage(data, turn)
        if len(data) != height * width * 3:
            raise PackFormatError(
                f"{pack.path}: sample {index} has {len(data)} bytes of {self.name!r}, "
                f"{height}x{width} pixels need {height * width * 3}"
            )
        return StoredImage(np.frombuffer(data, np.uint8).reshape(height, width, 3), turn)


class PackSource(Source):
    """Samples of packs, one pack after the other.

    Args:
        packs: with the same fields; open them with ``verify="first-read"``, so that damage is not
            copied.
        indices: which samples of each, in this order; None takes all.
        again: store images as they are stored, which only settings that are equal allow.
        classes: names of the classes to have, in order; None takes those of all packs.

    Raises:
        OptionError: the packs' fields differ.
    """

    name = "packs"

    def __init__(
        self,
        packs: Sequence[PackReader],
        indices: Sequence[NDArray[np.int64] | None] | None = None,
        again: bool = False,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.packs = list(packs)
        self.again = again
        self.root = os.fspath(self.packs[0].path)
        self.fields = _common_fields(self.packs)
        everything = [pack.manifest.classes for pack in self.packs]
        self.classes = merged_classes(everything) if classes is None else list(classes)
        self.findings = Findings()
        chosen = indices or [None] * len(self.packs)
        self._place = np.concatenate(
            [_places(number, pack, chosen[number]) for number, pack in enumerate(self.packs)]
        )
        self._maps = [ClassMap(pack.manifest.classes, self.classes) for pack in self.packs]
        self.keys = KeyTable.from_strings(
            _key(self.packs[number], index) for number, index in self._place.tolist()
        )
        self.sizes = self._column("bytes").astype(np.int64)
        self.stamps = self._column("crc32").astype(np.int64)

    @property
    def roots(self) -> list[str]:
        """The packs' directories."""
        return [os.fspath(pack.path) for pack in self.packs]

    def item(self, index: int) -> Item:
        """Sample ``index``; whatever is small is read now."""
        number, place = self._place[index].tolist()
        pack = self.packs[number]
        values: dict[str, Any] = {}
        for name, kind in pack.kinds.items():
            if name == TARGET:
                values[name] = pack.targets.item(place)
            elif kind.media:
                values[name] = Stored(pack, place, name, self.again)
            else:
                values[name] = pack.value(place, name)
        return Item(self.keys[index], self._maps[number].renumbered(values))

    def part(self, first: int, stop: int) -> Self:
        """The samples from ``first`` to ``stop`` − 1."""
        part: Self = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._place = self._place[first:stop].copy()
        part.keys = self.keys.part(first, stop)
        part.sizes, part.stamps = self.sizes[first:stop].copy(), self.stamps[first:stop].copy()
        return part

    def digest(self) -> str:
        """See ``Source``."""
        places = np.ascontiguousarray(self._place)
        manifests = [pack.manifest.to_bytes() for pack in self.packs]
        return hexdigest([super().digest(), places, *manifests])

    def _column(self, name: str) -> NDArray[Any]:
        values = np.zeros(len(self._place), np.int64)
        for number, pack in enumerate(self.packs):
            rows = self._place[:, 0] == number
            values[rows] = pack.table[name][self._place[rows, 1]]
        return values


def _key(pack: PackReader, index: int) -> str:
    try:
        return pack.keys[index]
    except UnicodeDecodeError as error:
        raise PackFormatError(f"{pack.path}: the key of sample {index} is damaged") from error


def _places(number: int, pack: PackReader, indices: NDArray[np.int64] | None) -> NDArray[np.int64]:
    chosen = np.arange(len(pack)) if indices is None else np.asarray(indices, np.int64)
    return np.stack([np.full(len(chosen), number, np.int64), chosen], axis=1)


def _common_fields(packs: Sequence[PackReader]) -> dict[str, Field]:
    first = packs[0]
    for pack in packs[1:]:
        if pack.manifest.fields != first.manifest.fields:
            raise OptionError(
                f"the packs have different fields: {first.path} has {first.manifest.fields}, "
                f"{pack.path} has {pack.manifest.fields}"
            )
    return first.fields
