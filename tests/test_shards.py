"""One contract for both storage formats."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastdata.errors import OptionError, PackFormatError
from fastdata.shards import STORAGES, ShardReader
from fastdata.shards import storage as named


def write(path: Path, name: str, records: list[bytes]) -> Path:
    with named(name).writer(path) as writer:
        for record in records:
            writer.add(record)
    return path


def some_records(count: int, seed: int = 0) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [rng.bytes(int(size)) for size in rng.integers(0, 9000, count)]


def contents(reader: ShardReader) -> list[bytes]:
    return [bytes(reader.read(i)) for i in range(len(reader))]


class TestShardContract:
    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(records=st.lists(st.binary(max_size=6000), min_size=1, max_size=30))
    def test_what_goes_in_comes_out(
        self, storage: str, tmp_path_factory: pytest.TempPathFactory, records: list[bytes]
    ) -> None:
        path = write(tmp_path_factory.mktemp("s") / "shard", storage, records)
        with named(storage).reader(path) as reader:
            assert len(reader) == len(records)
            assert contents(reader) == records

    def test_same_records_give_the_same_bytes(self, storage: str, tmp_path: Path) -> None:
        records = some_records(500)
        first = write(tmp_path / "a", storage, records).read_bytes()
        assert first == write(tmp_path / "b", storage, records).read_bytes()

    def test_more_than_the_first_memory_map_and_one_commit(
        self, storage: str, tmp_path: Path
    ) -> None:
        block = np.random.default_rng(1).bytes(3 << 20)
        records = [block[i:] for i in range(40)]  # 120 MiB
        path = write(tmp_path / "large", storage, records)
        with named(storage).reader(path) as reader:
            assert contents(reader) == records

    def test_nothing_but_the_shard_is_left(self, storage: str, tmp_path: Path) -> None:
        write(tmp_path / "shard", storage, some_records(5))
        assert os.listdir(tmp_path) == ["shard"]

    def test_views_are_read_only_and_outlive_other_reads(
        self, storage: str, tmp_path: Path
    ) -> None:
        records = some_records(300)
        with named(storage).reader(write(tmp_path / "s", storage, records)) as reader:
            views = [reader.read(i) for i in range(len(reader))]
            assert all(view.readonly for view in views)
            assert [bytes(view) for view in views] == records

    @pytest.mark.parametrize("index", [3, 10**6, 2**40])
    def test_a_missing_record_is_an_error(self, storage: str, tmp_path: Path, index: int) -> None:
        with (
            named(storage).reader(write(tmp_path / "s", storage, [b"a", b"b", b"c"])) as reader,
            pytest.raises(PackFormatError, match=rf"record {index} is missing.* 3 records"),
        ):
            reader.read(index)

    def test_close_twice(self, storage: str, tmp_path: Path) -> None:
        path = write(tmp_path / "s", storage, [b"a"])
        writer = named(storage).writer(tmp_path / "t")
        writer.close()
        writer.close()
        reader = named(storage).reader(path)
        reader.close()
        reader.close()

    def test_two_readers_of_one_file_close_independently(
        self, storage: str, tmp_path: Path
    ) -> None:
        records = some_records(20)
        path = write(tmp_path / "s", storage, records)
        link = tmp_path / "link"
        link.symlink_to(path)
        first, second = named(storage).reader(path), named(storage).reader(link)
        view = second.read(3)
        first.close()
        assert bytes(view) == records[3]
        assert contents(second) == records
        second.close()

    def test_many_threads(self, storage: str, tmp_path: Path) -> None:
        records = some_records(200)
        failures: list[BaseException] = []

        def read_all(start: int) -> None:
            try:
                for i in range(len(records)):
                    j = (i * 7 + start) % len(records)
                    assert bytes(reader.read(j)) == records[j]
            except BaseException as error:
                failures.append(error)

        with named(storage).reader(write(tmp_path / "s", storage, records)) as reader:
            threads = [threading.Thread(target=read_all, args=(k,)) for k in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert failures == []

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_reads_and_the_parent_goes_on(
        self, storage: str, tmp_path: Path
    ) -> None:
        records = some_records(50)
        with named(storage).reader(write(tmp_path / "s", storage, records)) as reader:
            assert bytes(reader.read(0)) == records[0]
            context = multiprocessing.get_context("fork")
            answer = context.SimpleQueue()
            child = context.Process(target=lambda: answer.put(contents(reader) == records))
            child.start()
            child.join()
            assert child.exitcode == 0
            assert answer.get()
            assert contents(reader) == records

    @pytest.mark.parametrize("kept", [0, 10, 5000])
    def test_a_cut_file_is_refused(self, storage: str, tmp_path: Path, kept: int) -> None:
        path = write(tmp_path / "s", storage, [bytes(40_000)] * 4)
        with path.open("r+b") as file:
            file.truncate(kept)
        with pytest.raises(PackFormatError, match="s: "):
            named(storage).reader(path)

    def test_a_foreign_file_is_refused(self, storage: str, tmp_path: Path) -> None:
        (tmp_path / "s").write_bytes(b"no shard" * 5000)
        with pytest.raises(PackFormatError, match="shard"):
            named(storage).reader(tmp_path / "s")


def test_an_unknown_storage_is_named() -> None:
    with pytest.raises(OptionError, match=r"lmdb, hdf5.*'zip'"):
        named("zip")


def test_storages_pickle_by_value() -> None:
    assert pickle.loads(pickle.dumps(STORAGES)) == STORAGES
