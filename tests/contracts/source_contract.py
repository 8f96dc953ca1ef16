"""What every source has to do, as a class of tests to inherit from."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdata.core.fields import parse_fields
from fastdata.sources import Blob, FileBlob, Item, Source


def plain(value: Any) -> Any:
    """A value that ``==`` compares: what a blob reads, and what an array consists of."""
    if isinstance(value, Blob):
        return value.read()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tolist()
    return value


def plain_item(item: Item) -> tuple[str, dict[str, Any]]:
    """An item that ``==`` compares."""
    return item.key, {name: plain(value) for name, value in item.values.items()}


class SourceContract:
    """Subclasses say how an input with at least three samples is made, listed and changed."""

    keys_are_unique = True

    def write(self, root: Path) -> None:
        """Make the input in an empty directory."""
        raise NotImplementedError

    def listing(self, root: Path) -> Source:
        """List the input."""
        raise NotImplementedError

    def change(self, root: Path) -> None:
        """Change the input in something besides keys and images."""
        raise NotImplementedError

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        self.write(tmp_path)
        return self.listing(tmp_path)

    def test_keys_are_relative_names(self, source: Source) -> None:
        assert len(source) == len(source.keys) >= 3
        assert not any(key.startswith("/") or ".." in key.split("/") for key in source.keys)
        if self.keys_are_unique:
            assert len(set(source.keys)) == len(source)

    def test_fields_can_be_packed_and_are_those_of_the_items(self, source: Source) -> None:
        assert parse_fields(source.fields) == source.fields
        for item in source:
            assert item.values.keys() == source.fields.keys()

    def test_values_are_of_their_kinds(self, source: Source) -> None:
        types = {"int": int, "float": float, "str": str, "image": Blob, "mask": Blob}
        for item in source:
            for name, field in source.fields.items():
                value = item.values[name]
                if field.kind in ("array", "boxes"):
                    assert value.flags.writeable
                    assert value.dtype == (field.numpy if field.kind == "array" else np.float32)
                else:
                    assert isinstance(value, types.get(field.kind, object))

    def test_items_come_in_the_order_of_the_keys(self, source: Source) -> None:
        items = [plain_item(item) for item in source]
        assert [key for key, _ in items] == list(source.keys)
        assert items == [plain_item(source.item(index)) for index in range(len(source))]

    def test_two_listings_are_the_same(self, source: Source, tmp_path: Path) -> None:
        again = self.listing(tmp_path)
        assert list(map(plain_item, again)) == list(map(plain_item, source))
        assert again.digest() == source.digest()
        assert again.sizes.tolist() == source.sizes.tolist()
        assert again.stamps.tolist() == source.stamps.tolist()

    def test_sizes_and_stamps_are_one_a_sample(self, source: Source) -> None:
        assert len(source.sizes) == len(source.stamps) == len(source)
        assert source.sizes.dtype == source.stamps.dtype == np.int64
        for item, size in zip(source, source.sizes, strict=True):
            blobs = [value for value in item.values.values() if isinstance(value, Blob)]
            assert size == sum(len(blob.read()) for blob in blobs)

    def test_another_file_gives_another_stamp(self, source: Source, tmp_path: Path) -> None:
        for name, value in source.item(1).values.items():
            if not isinstance(value, FileBlob):
                continue
            before = self.listing(tmp_path).stamps
            Path(value.path).write_bytes(b"another file")
            changed = self.listing(tmp_path).stamps != before
            assert changed[1], name

    @pytest.mark.parametrize(("first", "stop"), [(0, 2), (1, 3), (2, 2), (0, None)])
    def test_a_part_is_a_slice(self, source: Source, first: int, stop: int | None) -> None:
        stop = len(source) if stop is None else stop
        want = [plain_item(source.item(index)) for index in range(first, stop)]
        part = source.part(first, stop)
        for same in (part, pickle.loads(pickle.dumps(part))):
            assert isinstance(same, type(source))
            assert list(map(plain_item, same)) == want
            assert same.fields == source.fields
            assert same.classes == source.classes
            assert same.sizes.tolist() == source.sizes[first:stop].tolist()
            assert same.stamps.tolist() == source.stamps[first:stop].tolist()

    def test_a_part_of_a_part(self, source: Source) -> None:
        assert plain_item(source.part(1, 3).part(1, 2).item(0)) == plain_item(source.item(2))

    def test_the_digest_sees_what_changes_besides_the_images(
        self, source: Source, tmp_path: Path
    ) -> None:
        self.change(tmp_path)
        assert self.listing(tmp_path).digest() != source.digest()
