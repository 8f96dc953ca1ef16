"""One contract for both storage formats: what is written lies in the file, where it says."""

from __future__ import annotations

import os
import pickle
import zlib
from itertools import pairwise
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastdata.errors import OptionError
from fastdata.store import STORAGES
from fastdata.store import storage as named


def write(path: Path, name: str, records: list[bytes]) -> list[int]:
    """Write a shard; returns the records' places."""
    with named(name).writer(path) as writer:
        for record in records:
            writer.add(record)
    checksums = np.array([zlib.crc32(record) for record in records], np.uint32)
    places: list[int] = writer.locate(checksums).tolist()
    return places


def some_records(count: int, seed: int = 0) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [rng.bytes(int(size)) for size in rng.integers(0, 9000, count)]


def sliced(path: Path, places: list[int], records: list[bytes]) -> list[bytes]:
    data = path.read_bytes()
    return [data[p : p + len(r)] for p, r in zip(places, records, strict=True)]


def read_by_library(path: Path, name: str) -> list[bytes]:
    """What a program that knows the storage, but not fastdata, finds in a shard."""
    if name == "hdf5":
        with h5py.File(path, "r") as file:
            data, offsets = file["records"][()].tobytes(), file["offsets"][()].tolist()
        return [data[a:b] for a, b in pairwise(offsets)]
    with (
        lmdb.open(os.fspath(path), subdir=False, readonly=True, lock=False) as env,
        env.begin() as transaction,
    ):
        pairs = list(transaction.cursor())
    assert [key for key, _ in pairs] == [i.to_bytes(8, "big") for i in range(len(pairs))]
    return [bytes(value) for _, value in pairs]


class TestShardContract:
    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(records=st.lists(st.binary(max_size=6000), min_size=1, max_size=30))
    def test_what_goes_in_comes_out(
        self, storage: str, tmp_path_factory: pytest.TempPathFactory, records: list[bytes]
    ) -> None:
        path = tmp_path_factory.mktemp("s") / "shard"
        places = write(path, storage, records)
        assert sliced(path, places, records) == records
        assert read_by_library(path, storage) == records

    @pytest.mark.parametrize("size", [1, 100, 3000, 70_000])
    def test_equal_records_are_found_too(self, storage: str, tmp_path: Path, size: int) -> None:
        records = [b"\1" * size] * 50
        assert sliced(tmp_path / "s", write(tmp_path / "s", storage, records), records) == records

    def test_no_records_and_empty_ones(self, storage: str, tmp_path: Path) -> None:
        assert write(tmp_path / "none", storage, []) == []
        assert write(tmp_path / "empty", storage, [b"", b""]) == [0, 0]

    def test_same_records_give_the_same_bytes(self, storage: str, tmp_path: Path) -> None:
        records = some_records(500)
        assert write(tmp_path / "a", storage, records) == write(tmp_path / "b", storage, records)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_more_than_the_first_memory_map_and_one_commit(
        self, storage: str, tmp_path: Path
    ) -> None:
        block = np.random.default_rng(1).bytes(3 << 20)
        records = [block[i:] for i in range(40)]  # 120 MiB
        path = tmp_path / "large"
        places = write(path, storage, records)
        assert sliced(path, places, records) == records

    def test_nothing_but_the_shard_is_left(self, storage: str, tmp_path: Path) -> None:
        write(tmp_path / "shard", storage, some_records(5))
        assert os.listdir(tmp_path) == ["shard"]

    def test_close_twice(self, storage: str, tmp_path: Path) -> None:
        writer = named(storage).writer(tmp_path / "t")
        writer.close()
        writer.close()


def test_an_unknown_storage_is_named() -> None:
    with pytest.raises(OptionError, match=r"lmdb, hdf5.*'zip'"):
        named("zip")


def test_storages_pickle_by_value() -> None:
    assert pickle.loads(pickle.dumps(STORAGES)) == STORAGES
