"""Packs as a source, for merging and the like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contracts.source_contract import SourceContract
from helpers.images import write_image, write_tree

import fastdata
from fastdata.sources import Source
from fastdata.sources.packs import PackSource, Stored
from fastdata.store import PackReader


class TestContract(SourceContract):
    """Two packs, with different classes and some equal keys, one after the other."""

    keys_are_unique = False
    file_types = (Stored,)
    again = True

    def write(self, root: Path) -> None:
        write_tree(root / "photos0", classes=2, per_class=2)
        write_tree(root / "photos1", classes=3, per_class=1, seed=1)
        self.pack(root)

    def pack(self, root: Path) -> None:
        for name in ("0", "1"):
            path = root / f"{name}.pack"
            fastdata.pack_image_folder(root / f"photos{name}", path, quiet=True, overwrite=True)

    def listing(self, root: Path) -> Source:
        readers = [PackReader(root / f"{i}.pack", verify="first-read") for i in range(2)]
        return PackSource(readers, again=self.again)

    def touch(self, root: Path, value: Any) -> bool:
        if not isinstance(value, Stored):
            return False
        write_image(root / "photos0" / value.pack.keys[value.index], seed=99)
        self.pack(root)
        return True

    def change(self, root: Path) -> None:
        (root / "photos1" / "class_2").rename(root / "photos1" / "class_3")
        self.pack(root)


class TestDecodedContract(TestContract):
    """To be encoded anew."""

    again = False
