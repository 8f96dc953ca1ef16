"""Shards ahead of their reader: bounded, in nobody's way, and gone when they should be."""

from __future__ import annotations

import gc
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers.servers import FileServer
from helpers.waiting import wait_until

import fastdata
from fastdata.errors import OptionError, PackFormatError
from fastdata.store.remote import Place, Prefetcher, Retry, ShardCache, open_place

SIZE = 100_000


class Entry(NamedTuple):
    file: str
    bytes: int
    sha256: str


SHARDS = {f"shard-{i}": bytes([i]) * SIZE for i in range(8)}
ENTRIES = [Entry(name, SIZE, hashlib.sha256(data).hexdigest()) for name, data in SHARDS.items()]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not shard_threads()


def shard_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fastdata-shards"]


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer(dict(SHARDS)) as server:
        yield server


@pytest.fixture
def place(server: FileServer) -> Place:
    return open_place(server.url, retry=Retry(attempts=2, wait=0.01))


@pytest.fixture
def cache(tmp_path: Path) -> ShardCache:
    return ShardCache(tmp_path / "cache", 100 * SIZE, patience=0.3)


def kept(cache: ShardCache) -> list[int]:
    return sorted(path.read_bytes()[0] for path in cache.directory.glob("*.shard"))


def content(shards: Prefetcher, number: int) -> int:
    with shards.open(number) as path:
        data = path.read_bytes()
    assert data == SHARDS[f"shard-{number}"]
    return data[0]


def test_every_shard_in_order_and_once(cache: ShardCache, place: Place, server: FileServer) -> None:
    order = [3, 1, 4, 0, 5]
    with Prefetcher(cache, place, ENTRIES, order, ahead=3) as shards:
        assert [content(shards, number) for number in order] == order
    assert sorted(server.downloads()) == sorted(f"shard-{number}" for number in order)


def test_no_more_ahead_than_asked_for(cache: ShardCache, place: Place) -> None:
    read = []
    order = (read.append(number) or number for number in range(8))  # type: ignore[func-returns-value]
    with Prefetcher(cache, place, ENTRIES, order, ahead=2) as shards:
        wait_until(lambda: kept(cache) == [0, 1])
        assert read == [0, 1]
        content(shards, 0)
        wait_until(lambda: kept(cache) == [0, 1, 2])
        assert read == [0, 1, 2]
    time.sleep(0.02)
    assert kept(cache) == [0, 1, 2]


def test_nothing_ahead(cache: ShardCache, place: Place, server: FileServer) -> None:
    with Prefetcher(cache, place, ENTRIES, range(8), ahead=0) as shards:
        assert content(shards, 4) == 4
        assert not shard_threads()
    assert server.downloads() == ["shard-4"]


def test_what_is_ahead_is_not_evicted(place: Place, server: FileServer, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "small", 4 * SIZE, patience=0.3)
    with Prefetcher(cache, place, ENTRIES, [0, 1], ahead=2) as shards:
        wait_until(lambda: kept(cache) == [0, 1])
        other = ShardCache(cache.directory, cache.limit_bytes)
        for entry in ENTRIES[2:]:
            other.fetch(place, *entry)
        assert content(shards, 0) == 0
        assert content(shards, 1) == 1
    assert server.downloads().count("shard-0") == server.downloads().count("shard-1") == 1


def test_half_of_the_cache_is_left_to_others(
    place: Place, server: FileServer, tmp_path: Path
) -> None:
    cache = ShardCache(tmp_path / "small", 4 * SIZE, patience=0.3)
    with (
        Prefetcher(cache, place, ENTRIES, range(8), ahead=4) as first,
        Prefetcher(cache, place, ENTRIES, range(7, -1, -1), ahead=4) as second,
    ):
        for number in range(8):
            assert content(first, number) == number
            assert content(second, 7 - number) == 7 - number
            assert cache.used_bytes <= cache.limit_bytes
        with cache.open(place, *ENTRIES[3]), cache.open(place, *ENTRIES[4]):
            pass


def test_a_cache_for_one_shard(place: Place, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "tiny", SIZE, patience=0.3)
    with Prefetcher(cache, place, ENTRIES, range(8), ahead=3) as shards:
        assert [content(shards, number) for number in range(8)] == list(range(8))


def test_an_error_comes_with_its_shard_and_not_before(
    cache: ShardCache, place: Place, server: FileServer
) -> None:
    server.files["shard-1"] = bytes(SIZE)
    with Prefetcher(cache, place, ENTRIES, [0, 1, 2], ahead=3) as shards:
        wait_until(lambda: kept(cache) == [0, 2] and "shard-1" in server.downloads())
        assert content(shards, 0) == 0
        with pytest.raises(PackFormatError, match="shard-1: expected SHA-256"), shards.open(1):
            pass
        server.files["shard-1"] = SHARDS["shard-1"]
        assert content(shards, 1) == 1
        assert content(shards, 2) == 2


def test_another_order_than_announced(cache: ShardCache, place: Place) -> None:
    with Prefetcher(cache, place, ENTRIES, [0, 1, 2, 0, 1, 2], ahead=2) as shards:
        assert [content(shards, n) for n in (7, 2, 1, 0, 0, 6, 2)] == [7, 2, 1, 0, 0, 6, 2]


def test_several_threads_open(cache: ShardCache, place: Place) -> None:
    found: list[int] = []
    with Prefetcher(cache, place, ENTRIES, range(8), ahead=3) as shards:
        readers = [
            threading.Thread(target=lambda i=i: found.append(content(shards, i))) for i in range(8)
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    assert sorted(found) == list(range(8))


def test_close_ends_a_download_in_the_middle(
    cache: ShardCache, place: Place, server: FileServer
) -> None:
    server.pause = 0.05
    server.files = {name: data * 50 for name, data in SHARDS.items()}
    entries = [
        Entry(name, len(data), hashlib.sha256(data).hexdigest())
        for name, data in server.files.items()
    ]
    cache = ShardCache(cache.directory, 500 * SIZE)
    shards = Prefetcher(cache, place, entries, range(8), ahead=2)
    wait_until(lambda: len(server.downloads()) == 2)
    shards.close()
    shards.close()
    assert not shard_threads()
    assert list(cache.directory.glob("*.partial")) == []
    server.pause = 0.0
    with shards.open(5) as path:  # nothing is done ahead any more, but it still opens
        assert path.read_bytes() == server.files["shard-5"]


def test_closed_with_shards_ahead_they_may_be_evicted(place: Place, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "small", 4 * SIZE)
    with Prefetcher(cache, place, ENTRIES, [0, 1], ahead=2):
        wait_until(lambda: kept(cache) == [0, 1])
    for entry in ENTRIES[2:6]:
        cache.fetch(place, *entry)
    assert kept(cache) == [2, 3, 4, 5]


def test_dropped_without_close(cache: ShardCache, place: Place) -> None:
    shards = Prefetcher(cache, place, ENTRIES, range(8), ahead=2)
    content(shards, 0)
    del shards
    gc.collect()
    wait_until(lambda: not shard_threads())


def test_the_exit_of_the_interpreter_is_not_held_up(server: FileServer, tmp_path: Path) -> None:
    server.pause = 0.05
    server.files["shard-0"] = bytes(100 << 20)
    # The package's __init__ imports torch, which takes seconds: this child does without.
    code = (
        "import sys, time, types\n"
        "sys.modules['fastdata'] = package = types.ModuleType('fastdata')\n"
        f"package.__path__ = {list(fastdata.__path__)}\n"
        "from fastdata.store.remote import *\n"
        "from collections import namedtuple\n"
        "entry = namedtuple('Entry', 'file bytes sha256')('shard-0', 100 << 20, '0' * 64)\n"
        f"cache = ShardCache({str(tmp_path / 'cache')!r}, 200 << 20)\n"
        f"shards = Prefetcher(cache, open_place({server.url!r}), [entry], [0])\n"
        "while not list(cache.directory.glob('*.partial')): time.sleep(0.01)\n"
        "time.sleep(0.2)\n"
        "print('end')"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert (child.stdout, child.stderr) == ("end\n", "")
    assert list((tmp_path / "cache").glob("*.partial")) == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_is_told(cache: ShardCache, place: Place) -> None:
    with Prefetcher(cache, place, ENTRIES, range(8)) as shards:
        child = os.fork()
        if child == 0:
            try:
                shards.open(0).__enter__()
            except RuntimeError:
                shards.close()
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert content(shards, 0) == 0


def test_a_local_place_costs_nothing(cache: ShardCache, tmp_path: Path) -> None:
    for name, data in SHARDS.items():
        (tmp_path / name).write_bytes(data)
    with Prefetcher(cache, open_place(tmp_path), ENTRIES, range(8)) as shards:
        assert [content(shards, number) for number in range(8)] == list(range(8))
    assert cache.used_bytes == 0


def test_numbers_out_of_range(cache: ShardCache, place: Place) -> None:
    with pytest.raises(OptionError, match="no shard 8: expected 0 to 7"):
        Prefetcher(cache, place, ENTRIES, [8])
    with (
        Prefetcher(cache, place, ENTRIES, []) as shards,
        pytest.raises(OptionError, match="no shard -1"),
        shards.open(-1),
    ):
        pass
    for options in ({"ahead": -1}, {"threads": 0}):
        with pytest.raises(OptionError, match="expected ahead"):
            Prefetcher(cache, place, ENTRIES, [], **options)
