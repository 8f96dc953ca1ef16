"""Packing on a real Dask scheduler with real worker processes, some of which are killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.images import contents, write_tree

import fastdata
from fastdata import PackingError
from fastdata.packing.dask import scheduled
from fastdata.sources import Item, Source
from fastdata.sources.detect import open_source

pytest.importorskip("distributed")
pytestmark = pytest.mark.timeout(180)  # ten processes import torch

ALLOWED = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
SMALL: dict[str, Any] = {"shard_size": 8000, "quiet": True}
PRELOAD = ["--preload", "fastdata.packing.write"]  # takes seconds, in the scheduler as in workers


class Cluster:
    """A scheduler and single-threaded workers as processes of their own, on ports of the OS's
    choice."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.workers: list[subprocess.Popen[bytes]] = []
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-jupyter"]
        self.scheduler = self._start("scheduler", *options)
        self.address = self._wait_for(r"Scheduler at:\s+(tcp://\S+)")[0]

    def add_workers(self, count: int, *options: str) -> None:
        """Start so many, and wait until they are there."""
        there = len(self._found("Register worker"))
        for _ in range(count):
            where = ["--host", "127.0.0.1", "--local-directory", str(self._directory)]
            flags = ["--nthreads", "1", "--no-nanny", "--no-dashboard", *options]
            self.workers.append(self._start("worker", self.address, *where, *flags))
        while len(self._found("Register worker")) < there + count:
            time.sleep(0.05)

    def leave(self, count: int) -> None:
        """Have just so many workers, whichever tests were run before in this process."""
        living = [worker for worker in self.workers if worker.poll() is None]
        gone = len(self._found("Remove worker"))
        for worker in living[count:]:
            worker.kill()
        while len(self._found("Remove worker")) < gone + len(living[count:]):
            time.sleep(0.05)
        self.add_workers(count - len(living[:count]))

    def _start(self, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        places = [
            Path(__file__).parents[1],
            Path(__file__).parent,
            Path(fastdata.__file__).parents[1],
        ]
        log = self._directory / ("scheduler.log" if command == "scheduler" else "workers.log")
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{command}", *arguments, *PRELOAD],
                env={**os.environ, **ALLOWED, "PYTHONPATH": os.pathsep.join(map(str, places))},
                stdout=file,
                stderr=file,
            )

    def _found(self, pattern: str) -> list[str]:
        return re.findall(pattern, (self._directory / "scheduler.log").read_text())

    def _wait_for(self, pattern: str) -> list[str]:
        while not (found := self._found(pattern)):
            assert self.scheduler.poll() is None
            time.sleep(0.05)
        return found

    def close(self) -> None:
        """Kill all that is left, in whichever state it is."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers; the last test takes it apart."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.add_workers(3)
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "photos", per_class=8)


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    (tmp_path / "packs").mkdir()
    return tmp_path / "packs" / "the.pack"


def local(photos: Path, dst: Path) -> dict[str, bytes]:
    """The files of a pack that this process has packed."""
    path = dst.with_name("local")
    fastdata.pack_image_folder(photos, path, **SMALL)
    found = contents(path)
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    return found


def left(dst: Path) -> list[str]:
    return sorted(os.listdir(dst.parent))


def command(photos: Path, dst: Path, address: str) -> list[str]:
    options = ["--shard-size", "8000", "--scheduler", address]
    return [sys.executable, "-m", "fastdata", "pack", str(photos), str(dst), *options]


class Watched(Source):
    """Notes in a directory which process reads, and calls ``event`` there before each sample."""

    def __init__(self, inner: Source, event: Any) -> None:
        self.__dict__.update(inner.__dict__)
        self.name, self.inner, self.event = inner.name, inner, event

    def item(self, index: int) -> Item:
        self.event(self.keys[index])
        return self.inner.item(index)

    def part(self, first: int, stop: int) -> Watched:
        part: Watched = object.__new__(Watched)
        part.__dict__.update(self.__dict__)
        part.inner = self.inner.part(first, stop)
        part.keys, part.sizes, part.stamps = part.inner.keys, part.inner.sizes, part.inner.stamps
        return part

    def digest(self) -> str:
        return self.inner.digest()


class Kill:
    """Kills the process that comes to a sample, once or always, but never the packing one."""

    def __init__(self, key: str, flag: Path, once: bool) -> None:
        self.key, self.flag, self.once, self.main = key, flag, once, os.getpid()

    def __call__(self, key: str) -> None:
        if key == self.key and os.getpid() != self.main and self.flag.exists():
            if self.once:
                self.flag.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


class Hold:
    """Keeps workers from going on behind a sample as long as a file exists."""

    def __init__(self, key: str, flag: Path) -> None:
        self.key, self.flag, self.main = key, flag, os.getpid()

    def __call__(self, key: str) -> None:
        if key >= self.key and os.getpid() != self.main:
            self.flag.with_suffix(f".{os.getpid()}").touch()
            while self.flag.exists():
                time.sleep(0.02)


def held(flag: Path) -> None:
    """Wait until a worker is held."""
    while not list(flag.parent.glob(flag.name + ".*")):
        time.sleep(0.02)


def test_the_command_gives_the_bytes_of_a_local_run(
    cluster: Cluster, photos: Path, dst: Path
) -> None:
    expected = local(photos, dst)
    done = subprocess.run(
        command(photos, dst, cluster.address), capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert "24 images in 3 classes, 0 rejected" in done.stdout
    assert "Warning" not in done.stderr
    assert contents(dst) == expected
    assert left(dst) == ["the.pack"]


def test_the_workers_errors_are_told(cluster: Cluster, photos: Path, dst: Path) -> None:
    source = open_source(photos)
    photos.rename(photos.with_name("elsewhere"))  # as if the workers did not see it
    with (
        scheduled(cluster.address) as executor,
        pytest.raises(fastdata.SourceError, match=r"shard \d+, on .+ in process \d+: .*under its"),
    ):
        fastdata.pack(source, dst, executor=executor, **SMALL)
    assert left(dst) == []


def test_a_worker_killed_in_the_middle(
    cluster: Cluster, photos: Path, dst: Path, tmp_path: Path
) -> None:
    expected = local(photos, dst)
    (tmp_path / "flag").touch()
    inner = open_source(photos)
    source = Watched(inner, Kill(inner.keys[12], tmp_path / "flag", once=True))
    with scheduled(cluster.address) as executor:
        report = fastdata.pack(source, dst, executor=executor, **SMALL)
    assert sum(worker.poll() is not None for worker in cluster.workers) == 1
    assert report.images == 24
    assert contents(dst) == expected
    assert left(dst) == ["the.pack"]


def test_ctrl_c(cluster: Cluster, photos: Path, dst: Path) -> None:
    process = subprocess.Popen(
        command(photos, dst, cluster.address), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    partial = dst.with_name(dst.name + ".partial")
    while not list(partial.glob("tmp-*/")) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert b"interrupted" in errors
    assert b"Traceback" not in errors
    assert not list(partial.glob("tmp-*"))


def test_all_workers_lost_then_the_scheduler(
    cluster: Cluster, photos: Path, dst: Path, tmp_path: Path
) -> None:
    expected, flag = local(photos, dst), tmp_path / "flag"
    flag.touch()
    inner = open_source(photos)
    deadly = Watched(inner, Kill(inner.keys[12], flag, once=False))
    cluster.leave(2)
    with scheduled(cluster.address, patience=3.0) as executor:
        shard = r"shard \d+( or \d+| or one of the \d+ behind it)?"  # a worker may hold several
        lost = rf"lost while it packed {shard}: 2 workers died"
        with pytest.raises(PackingError, match=lost):
            fastdata.pack(deadly, dst, executor=executor, **SMALL)
        for worker in cluster.workers:  # the scheduler has heard of it before the process is gone
            worker.wait(10)
        with pytest.raises(PackingError, match="no worker for 3 seconds"):
            fastdata.pack(deadly, dst, executor=executor, **SMALL)
    assert not list(dst.parent.glob("*/tmp-*"))

    cluster.add_workers(1)
    holding = Watched(inner, Hold(inner.keys[12], flag))
    with scheduled(cluster.address) as executor:
        killer = on_hold(flag, cluster.scheduler)
        with pytest.raises(PackingError, match=r"scheduler was lost.* are complete in "):
            fastdata.pack(holding, dst, executor=executor, **SMALL)
        killer.join()
    with pytest.raises(PackingError, match="no Dask scheduler can be reached"):
        scheduled(cluster.address).__enter__()

    report = fastdata.pack(inner, dst, **SMALL)
    assert report.resumed >= 1
    assert contents(dst) == expected
    assert left(dst) == ["the.pack"]


def on_hold(flag: Path, process: subprocess.Popen[bytes]) -> threading.Thread:
    """Kill a process once a worker is held, from another thread; returns that."""

    def kill() -> None:
        held(flag)
        process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread
