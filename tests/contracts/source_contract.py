"""What everything that can be packed has to do, as classes of tests to inherit from."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.samples import content, contents, size_of

from fastdata.core.fields import parse_fields
from fastdata.sources import Blob, FileBlob, Samples, Source, Trace


def parts_of(samples: Samples, *counts: int) -> list[tuple[int, str]]:
    """What a packing run notes of shards with so many samples each."""
    tasks, parts = samples.tasks(), []
    for count in counts:
        trace = Trace()
        for _ in range(count):
            trace.add(next(tasks))
        parts.append((count, trace.hexdigest()))
    return parts


class SamplesContract:
    """Samples of any origin.

    Subclasses say how an input with at least three samples is made, given and changed.
    """

    #: Values that are to be stored as files.
    file_types: tuple[type, ...] = (Blob,)

    def write(self, root: Path) -> None:
        """Make the input in an empty directory."""
        raise NotImplementedError

    def listing(self, root: Path) -> Samples:
        """The samples of the input."""
        raise NotImplementedError

    def change(self, root: Path) -> None:
        """Change the input in something besides keys and images."""
        raise NotImplementedError

    @pytest.fixture
    def made(self, tmp_path: Path) -> Path:
        root = tmp_path / "made"
        root.mkdir()
        self.write(root)
        return root

    def test_fields_can_be_packed_and_are_those_of_the_items(self, made: Path) -> None:
        samples = self.listing(made)
        assert parse_fields(samples.fields) == samples.fields
        for task in samples.tasks():
            assert task().values.keys() == samples.fields.keys()

    def test_values_are_of_their_kinds(self, made: Path) -> None:
        samples = self.listing(made)
        files = self.file_types
        types = {"int": int, "float": float, "str": str, "image": files, "mask": files}
        for task in samples.tasks():
            for name, value in task().values.items():
                field = samples.fields[name]
                if field.kind in ("array", "boxes"):
                    assert value.flags.writeable
                    assert value.dtype == (field.numpy if field.kind == "array" else np.float32)
                else:
                    assert isinstance(value, types.get(field.kind, object))

    def test_a_length_is_that_of_the_tasks(self, made: Path) -> None:
        samples = self.listing(made)
        count = sum(1 for _ in samples.tasks())
        assert count >= 3
        assert samples.length in (count, None)

    def test_two_listings_are_the_same(self, made: Path) -> None:
        one, other = self.listing(made), self.listing(made)
        assert contents(other) == contents(one)
        assert other.digest() == one.digest()
        assert other.classes == one.classes
        assert other.sizes.tolist() == one.sizes.tolist()

    def test_what_a_run_has_packed_is_known_again(self, made: Path) -> None:
        count = len(contents(self.listing(made)))
        parts = parts_of(self.listing(made), 2, count - 2)
        assert self.listing(made).has_parts(parts)

    def test_targets_keep_their_names_among_other_classes(self, made: Path) -> None:
        before, other = self.listing(made), self.listing(made)
        names = ["another", *before.classes[::-1], "and one more"]
        after = other.with_classes(names)
        assert after.classes == names
        assert self._named(after) == self._named(before)

    @staticmethod
    def _named(samples: Samples) -> list[tuple[str, dict[str, Any]]]:
        """The items with names for targets that have one."""
        found = contents(samples)
        for _, values in found:
            target = values.get("target", -1)
            if samples.classes[:1] == ["another"] and len(samples.classes) == 2:
                continue  # there were none before
            if 0 <= target < len(samples.classes):
                values["target"] = samples.classes[target]
        return found


class SourceContract(SamplesContract):
    """Samples that are listed."""

    keys_are_unique = True
    sizes_are_those_of_files = True  # or more is read for a sample than its blobs

    def listing(self, root: Path) -> Source:
        """List the input."""
        raise NotImplementedError

    def touch(self, root: Path, value: Any) -> bool:
        """Change what an image or mask is read from; False for other values."""
        if isinstance(value, FileBlob):
            Path(value.path).write_bytes(b"another file")
        elif isinstance(value, Blob):
            path: str = getattr(value, "path")  # noqa: B009
            os.utime(path, ns=(0, os.stat(path).st_mtime_ns + 1_000_000_000))
        return isinstance(value, Blob)

    @pytest.fixture
    def source(self, made: Path) -> Source:
        return self.listing(made)

    def test_it_is_its_own_listing(self, source: Source) -> None:
        assert source.listing is source
        assert source.length == len(source) == len(source.keys) >= 3
        assert source.key_bytes == sum(len(key.encode()) for key in source.keys)

    def test_keys_are_relative_names(self, source: Source) -> None:
        assert not any(key.startswith("/") or ".." in key.split("/") for key in source.keys)
        if self.keys_are_unique:
            assert len(set(source.keys)) == len(source)

    def test_items_come_in_the_order_of_the_keys(self, source: Source) -> None:
        items = contents(source)
        assert [key for key, _ in items] == list(source.keys)
        assert items == [content(item) for item in source]
        assert items == [content(source.item(index)) for index in range(len(source))]

    def test_items_can_be_had_in_threads(self, source: Source) -> None:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda i: content(source.item(i)), range(len(source))))
        assert found == contents(source)

    def test_it_can_be_sent_to_another_process(self, source: Source) -> None:
        assert contents(pickle.loads(pickle.dumps(source))) == contents(source)

    def test_two_listings_have_the_same_stamps(self, source: Source, made: Path) -> None:
        again = self.listing(made)
        assert list(again.keys) == list(source.keys)
        assert again.stamps.tolist() == source.stamps.tolist()

    def test_sizes_and_stamps_are_one_a_sample(self, source: Source) -> None:
        assert len(source.sizes) == len(source.stamps) == len(source)
        assert source.sizes.dtype == source.stamps.dtype == np.int64
        for item, size in zip(source, source.sizes, strict=True):
            read = sum(map(size_of, item.values.values()))
            assert size == read if self.sizes_are_those_of_files else size >= read

    def test_another_file_gives_another_stamp(self, source: Source, made: Path) -> None:
        touched = 0
        for name, value in source.item(1).values.items():
            before = self.listing(made).stamps
            if self.touch(made, value):
                assert (self.listing(made).stamps != before)[1], name
                touched += 1
        assert touched

    @pytest.mark.parametrize(
        ("first", "stop"), [(0, 2), (1, 3), (1, -1), (-1, None), (2, 2), (0, None)]
    )
    def test_a_part_is_a_slice(self, source: Source, first: int, stop: int | None) -> None:
        first, stop, _ = slice(first, stop).indices(len(source))
        want = [content(source.item(index)) for index in range(first, stop)]
        part = source.part(first, stop)
        small = pickle.dumps(part)
        assert len(small) < len(pickle.dumps(source)) or stop - first == len(source)
        for same in (part, pickle.loads(small)):
            assert isinstance(same, type(source))
            assert len(same) == stop - first
            assert contents(same) == want
            assert same.fields == source.fields
            assert same.classes == source.classes
            assert same.sizes.tolist() == source.sizes[first:stop].tolist()
            assert same.stamps.tolist() == source.stamps[first:stop].tolist()

    def test_a_part_of_a_part(self, source: Source) -> None:
        assert content(source.part(1, 3).part(1, 2).item(0)) == content(source.item(2))

    def test_a_part_among_other_classes(self, source: Source) -> None:
        other = source.with_classes(["another", *source.classes])
        assert contents(other.part(1, 3)) == contents(other)[1:3]

    def test_the_digest_sees_what_changes_besides_the_images(
        self, source: Source, made: Path
    ) -> None:
        self.change(made)
        assert self.listing(made).digest() != source.digest()
