"""Many processes share one cache: each shard once, within the limit, whoever is killed."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import FileServer
from helpers.waiting import wait_until

from fastdata.store.remote import Place, Retry, ShardCache, open_place

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

SIZE = 300_000
SHARDS = {f"shard-{i}": bytes([i]) * SIZE for i in range(8)}
FORK = multiprocessing.get_context("fork")


def arguments(place: Place, name: str) -> tuple[Place, str, int, str]:
    return place, name, SIZE, hashlib.sha256(SHARDS[name]).hexdigest()


def partials(cache: ShardCache) -> list[Path]:
    return list(cache.directory.glob("*.partial"))


def disk_bytes(cache: ShardCache) -> int:
    """What shards and downloads really have, as far as they are there while one looks."""
    total = 0
    for path in cache.directory.iterdir():
        try:
            total += path.stat().st_size if path.suffix in (".shard", ".partial") else 0
        except FileNotFoundError:
            continue
    return total


def read_all(cache: ShardCache, place: Place, names: list[str]) -> None:
    """Ends with status 0 if the bytes of all shards are right."""
    for name in names:
        with cache.open(*arguments(place, name)) as path:
            right = path.read_bytes() == SHARDS[name]
        if not right:
            os._exit(3)
    os._exit(0)


def start(count: int, target: Callable[..., None], *args: Any) -> list[BaseProcess]:
    processes = [FORK.Process(target=target, args=args) for _ in range(count)]
    for process in processes:
        process.start()
    return processes


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer(dict(SHARDS)) as server:
        yield server


@pytest.fixture
def place(server: FileServer) -> Place:
    return open_place(server.url, retry=Retry(attempts=3, wait=0.01))


def test_all_want_the_same_shard(server: FileServer, place: Place, tmp_path: Path) -> None:
    server.pause = 0.05
    cache = ShardCache(tmp_path / "cache", 2 * SIZE)
    processes = start(6, read_all, cache, place, ["shard-0", "shard-1"])
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    assert sorted(server.downloads()) == ["shard-0", "shard-1"]


def test_one_is_killed_while_all_download_under_a_limit(
    server: FileServer, place: Place, tmp_path: Path
) -> None:
    server.pause = 0.01
    cache = ShardCache(tmp_path / "cache", 3 * SIZE)
    sizes = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            sizes.append(disk_bytes(cache))

    watcher = threading.Thread(target=watch)
    watcher.start()
    server.files["slow"] = b"s" * SIZE
    victim = FORK.Process(target=cache.fetch, args=(place, "slow", SIZE, slow_sha256()))
    server.pause = 1.0
    victim.start()
    wait_until(lambda: partials(cache))
    server.pause = 0.01
    names = list(SHARDS)
    others = [start(1, read_all, cache, place, names[i:] + names[:i])[0] for i in range(5)]
    os.kill(victim.pid or 0, signal.SIGKILL)
    for process in [victim, *others]:
        process.join()
    done.set()
    watcher.join()
    assert victim.exitcode == -signal.SIGKILL
    assert [process.exitcode for process in others] == [0] * 5
    assert partials(cache) == []
    assert max(sizes) <= cache.limit_bytes
    assert cache.used_bytes == disk_bytes(cache) <= cache.limit_bytes


def slow_sha256() -> str:
    return hashlib.sha256(b"s" * SIZE).hexdigest()


def test_what_a_killed_download_left_gives_its_room_back(
    server: FileServer, place: Place, tmp_path: Path
) -> None:
    cache = ShardCache(tmp_path / "cache", SIZE)
    server.pause = 1.0
    victim = FORK.Process(target=cache.fetch, args=arguments(place, "shard-0"))
    victim.start()
    wait_until(lambda: partials(cache) and partials(cache)[0].stat().st_size)
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join()
    server.pause = 0.0
    assert len(partials(cache)) == 1
    cache.fetch(*arguments(place, "shard-1"))
    assert partials(cache) == []
    assert cache.fetch(*arguments(place, "shard-0")).read_bytes() == SHARDS["shard-0"]


def test_a_shard_that_another_process_has_open_stays(place: Place, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "cache", 2 * SIZE)
    opened, leave = FORK.Event(), FORK.Event()

    def keep_open() -> None:
        with cache.open(*arguments(place, "shard-0")):
            opened.set()
            leave.wait()
        os._exit(0)

    child = start(1, keep_open)[0]
    assert opened.wait(20)
    for name in list(SHARDS)[1:]:
        cache.fetch(*arguments(place, name))
    path = cache.fetch(*arguments(place, "shard-0"))
    assert path.read_bytes() == SHARDS["shard-0"]
    os.kill(child.pid or 0, signal.SIGKILL)  # and whoever dies keeps nothing
    child.join()
    for name in list(SHARDS)[1:3]:
        cache.fetch(*arguments(place, name))
    assert not path.exists()


def test_the_end_of_a_forked_child_does_not_unpin(place: Place, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "cache", 2 * SIZE)
    pin = cache.hold(*arguments(place, "shard-0"))

    def let_go() -> None:
        pin.close()
        os._exit(0)

    for process in start(2, let_go):
        process.join()
        assert process.exitcode == 0
    for name in list(SHARDS)[1:]:
        cache.fetch(*arguments(place, name))
    assert pin.path.exists()
    pin.close()
    for name in list(SHARDS)[1:3]:
        cache.fetch(*arguments(place, name))
    assert not pin.path.exists()


def test_a_child_may_be_forked_in_mid_download(
    server: FileServer, place: Place, tmp_path: Path
) -> None:
    cache = ShardCache(tmp_path / "cache", 4 * SIZE)
    server.pause = 0.05
    thread = threading.Thread(target=cache.fetch, args=arguments(place, "shard-0"))
    thread.start()
    wait_until(lambda: partials(cache))
    children = start(2, read_all, cache, place, ["shard-1", "shard-0"])
    for child in children:
        child.join()
        assert child.exitcode == 0
    thread.join()
    assert sorted(server.downloads()) == ["shard-0", "shard-1"]
