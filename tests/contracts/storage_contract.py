"""The contract of storage formats: what is written lies in the file, where it says."""

from __future__ import annotations

import os
import pickle
import zlib
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastdata.errors import PackFormatError
from fastdata.store.storages.base import Storage


def checksums(records: list[bytes]) -> np.ndarray:
    return np.array([zlib.crc32(record) for record in records], np.uint32)


def some_records(count: int, seed: int = 0) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [rng.bytes(int(size)) for size in rng.integers(0, 9000, count)]


def sliced(path: Path, places: list[int], records: list[bytes]) -> list[bytes]:
    data = path.read_bytes()
    return [data[p : p + len(r)] for p, r in zip(places, records, strict=True)]


class StorageContract(ABC):
    """What each storage does; a subclass says which one it is."""

    kind: Storage

    @abstractmethod
    def read_by_library(self, path: Path, sizes: list[int]) -> list[bytes]:
        """What a program that knows the storage, but not fastdata, finds in a shard; ``sizes`` of
        its records are for storages that do not tell them."""

    def write(self, path: Path, records: list[bytes]) -> list[int]:
        """Write a shard; returns the records' places."""
        with self.kind.writer(path) as writer:
            for record in records:
                writer.add(record)
        places: list[int] = writer.locate(checksums(records)).tolist()
        return places

    @settings(
        max_examples=25,
        # Each subclass runs it, with files of its own.
        suppress_health_check=[HealthCheck.differing_executors],
    )
    @given(records=st.lists(st.binary(max_size=6000), min_size=1, max_size=30))
    def test_what_goes_in_comes_out(
        self, tmp_path_factory: pytest.TempPathFactory, records: list[bytes]
    ) -> None:
        path = tmp_path_factory.mktemp("s") / "shard"
        places = self.write(path, records)
        assert sliced(path, places, records) == records
        assert self.read_by_library(path, list(map(len, records))) == records

    @pytest.mark.parametrize("size", [1, 100, 3000, 70_000])
    def test_equal_records_are_found_too(self, tmp_path: Path, size: int) -> None:
        records = [b"\1" * size] * 50
        assert sliced(tmp_path / "s", self.write(tmp_path / "s", records), records) == records

    def test_no_records_and_empty_ones(self, tmp_path: Path) -> None:
        assert self.write(tmp_path / "none", []) == []
        assert self.write(tmp_path / "empty", [b"", b""]) == [0, 0]

    def test_same_records_give_the_same_bytes(self, tmp_path: Path) -> None:
        records = some_records(500)
        assert self.write(tmp_path / "a", records) == self.write(tmp_path / "b", records)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_more_than_the_first_memory_map_and_one_commit(self, tmp_path: Path) -> None:
        block = np.random.default_rng(1).bytes(3 << 20)
        records = [block[i:] for i in range(40)]  # 120 MiB
        path = tmp_path / "large"
        places = self.write(path, records)
        assert sliced(path, places, records) == records

    def test_other_records_are_not_located(self, tmp_path: Path) -> None:
        records = [b"one", b"two"]
        with self.kind.writer(tmp_path / "s") as writer:
            for record in records:
                writer.add(record)
        with pytest.raises(PackFormatError, match="as they were given"):
            writer.locate(checksums([b"one", b"six"]))

    def test_nothing_but_the_shard_is_left(self, tmp_path: Path) -> None:
        self.write(tmp_path / "shard", some_records(5))
        assert os.listdir(tmp_path) == ["shard"]

    def test_close_twice(self, tmp_path: Path) -> None:
        writer = self.kind.writer(tmp_path / "t")
        writer.close()
        writer.close()

    def test_abort_in_the_middle_and_afterwards(self, tmp_path: Path) -> None:
        writer = self.kind.writer(tmp_path / "t")
        writer.add(b"some bytes")
        writer.abort()
        writer.abort()
        writer.close()

    @pytest.mark.parametrize("size", [1, 500, 1500, 5000, 110_000])
    def test_the_size_of_a_shard_is_about_known(self, tmp_path: Path, size: int) -> None:
        """Within a tenth, or the pages that a file's size is rounded to."""
        count = 300
        self.write(tmp_path / "s", [bytes(size)] * count)
        expected = self.kind.empty_bytes + count * self.kind.bytes_of(size)
        assert (tmp_path / "s").stat().st_size == pytest.approx(expected, rel=0.1, abs=8192)

    def test_versions_are_texts_by_name(self) -> None:
        versions = self.kind.versions()
        assert versions
        assert all(isinstance(text, str) and text for pair in versions.items() for text in pair)

    def test_it_pickles_by_value(self) -> None:
        assert pickle.loads(pickle.dumps(self.kind)) == self.kind
