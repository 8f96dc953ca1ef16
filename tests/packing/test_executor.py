"""Packing with executors: the same bytes, whatever happens to tasks and workers."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import (
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.images import contents, write_image, write_tree
from helpers.inputs import INPUTS

import fastdata
from fastdata import OptionError, PackingError, SourceError
from fastdata.images.encode import EncodeSettings
from fastdata.packing.tasks import ShardTask, pack_by_executor, versions
from fastdata.packing.write import PackSettings, plan_shards
from fastdata.sources import Item, Source
from fastdata.sources.detect import open_source
from fastdata.store.parts import PartInfo

SMALL: dict[str, Any] = {"shard_size": 8000, "quiet": True}
TINY: dict[str, Any] = {"shard_size": 3000, "quiet": True}


class Restless(Executor):
    """Runs all tasks twice, in disorder, some of them at the same time as their own copies.

    ``before`` is called with each task, and may return another one.
    """

    def __init__(self, before: Callable[[ShardTask], ShardTask] = lambda task: task) -> None:
        self._before = before
        self._random = random.Random(1)
        self._pool = ThreadPoolExecutor(4)
        self._held: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        task = pickle.loads(pickle.dumps(args[0]))  # as another process would get it
        future: Future[Any] = Future()

        def run() -> None:
            try:
                result = fn(self._before(task))
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                with self._lock:
                    if not future.done():
                        future.set_result(result)

        # Held back and let go in disorder; the last ones by a timer, when nothing more comes.
        self._held += [run, run]
        self._random.shuffle(self._held)
        while len(self._held) > 6:
            self._pool.submit(self._held.pop())
        threading.Timer(0.05, self._release).start()
        return future

    def _release(self) -> None:
        while self._held:
            self._pool.submit(self._held.pop())

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._release()
        self._pool.shutdown(wait)


def processes(count: int = 2) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Two processes that all tests share: starting one takes seconds."""
    with processes() as executor:
        yield executor


def left(dst: Path) -> list[str]:
    return sorted(os.listdir(dst.parent))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "photos", per_class=8)


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    (tmp_path / "packs").mkdir()
    return tmp_path / "packs" / "the.pack"


def local(source: Source, dst: Path, **options: Any) -> dict[str, bytes]:
    """The files of a pack that this process has packed."""
    path = dst.with_name("local.pack")
    report = fastdata.pack(source, path, **{**SMALL, **options})
    found = contents(path)
    assert len(list(path.glob("shard-*"))) >= 3
    assert report.images
    shutil.rmtree(path)
    return found


@pytest.mark.parametrize(
    ("make", "storage"),
    [*((make, "lmdb") for make in INPUTS), (INPUTS[0], "hdf5")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_source_gives_the_bytes_of_a_local_run(
    make: Callable[[Path], Source],
    storage: str,
    pool: ProcessPoolExecutor,
    tmp_path: Path,
    dst: Path,
) -> None:
    (tmp_path / "input").mkdir()
    source = make(tmp_path / "input")
    expected = local(source, dst, storage=storage, **TINY)
    with ThreadPoolExecutor(3) as threads, Restless() as restless:
        for executor in (threads, pool, restless):
            report = fastdata.pack(source, dst, storage=storage, executor=executor, **TINY)
            assert contents(dst) == expected
            assert report.images + report.rejected == len(source)
            assert left(dst) == ["the.pack"]
            shutil.rmtree(dst)


@pytest.mark.parametrize("encoding", ["jpeg", "raw"])
def test_other_encodings(encoding: str, pool: ProcessPoolExecutor, photos: Path, dst: Path) -> None:
    options = {"encoding": encoding, "resize_short": 16}
    expected = local(open_source(photos), dst, **options)
    fastdata.pack(open_source(photos), dst, executor=pool, **options, **SMALL)
    assert contents(dst) == expected


def test_operations_on_packs_take_an_executor(
    pool: ProcessPoolExecutor, photos: Path, dst: Path, tmp_path: Path
) -> None:
    a, b = tmp_path / "a.pack", tmp_path / "b.pack"
    for path in (a, b):
        fastdata.pack_image_folder(photos, path, **SMALL)
    for operation in (fastdata.merge, fastdata.convert, fastdata.subset):
        what: Any = [a, b] if operation is fastdata.merge else a
        here, there = dst.with_name("here"), dst.with_name("there")
        options = {"count": 20} if operation is fastdata.subset else {}
        operation(what, here, **SMALL, **options)
        operation(what, there, executor=pool, **SMALL, **options)
        assert contents(here) == contents(there)
        shutil.rmtree(here)
        shutil.rmtree(there)
    fastdata.append(a, open_source(photos), **SMALL)
    fastdata.append(b, open_source(photos), executor=pool, **SMALL)
    assert contents(a) == contents(b)
    assert sorted(os.listdir(tmp_path)) == ["a.pack", "b.pack", "packs", "photos"]


class TestTasks:
    @pytest.mark.parametrize("make", INPUTS, ids=lambda make: make.__name__)
    def test_a_task_is_as_large_as_its_shard(
        self, make: Callable[[Path], Source], tmp_path: Path
    ) -> None:
        source = make(tmp_path)
        sizes = [self.pickled(source.part(5, stop)) for stop in (6, 8, 10)]
        whole = self.pickled(source)
        assert sizes[0] < sizes[1] < sizes[2] < whole
        # What they have in common is not more for a source that is a hundred times larger.
        assert sizes[0] < 4000

    @staticmethod
    def pickled(source: Source) -> int:
        settings = PackSettings(source.fields, EncodeSettings(), "lmdb", False)
        task = ShardTask("/work", "/work/tmp", 0, source, settings, versions=versions(settings))
        return len(pickle.dumps(task))

    def test_a_task_does_not_grow_with_the_source(self, tmp_path: Path) -> None:
        sizes = []
        for count in (10, 1000):
            root = tmp_path / str(count)
            image = write_image(root / "a" / "0000.jpg")
            for i in range(1, count):
                os.link(image, root / "a" / f"{i:04d}.jpg")
            sizes.append(self.pickled(open_source(root).part(0, 5)))
        assert sizes[1] - sizes[0] < 10

    def test_tasks_in_flight_are_bounded(
        self, photos: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fastdata.packing.tasks._MOST_BYTES", 3000)
        most, now, lock = 0, set[int](), threading.Lock()

        class Counting(ThreadPoolExecutor):
            def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
                nonlocal most
                future = super().submit(fn, *args, **kwargs)
                with lock:
                    size = len(pickle.dumps(args[0], pickle.HIGHEST_PROTOCOL))
                    now.add(size)
                    most = max(most, sum(now))
                future.add_done_callback(lambda _: now.discard(size))
                return future

        expected = local(open_source(photos), dst)
        with Counting(8) as executor:
            fastdata.pack(open_source(photos), dst, executor=executor, **SMALL)
        assert contents(dst) == expected
        assert most <= 3000

    def test_samples_that_cannot_be_pickled(self, photos: Path, dst: Path) -> None:
        source = open_source(photos)
        source.classes = [*source.classes, lambda: None]  # type: ignore[list-item]
        with ThreadPoolExecutor(1) as executor, pytest.raises(OptionError, match="cannot be sent"):
            run_by(executor, source, dst.parent)

    def test_progress_counts_samples_and_bytes(self, photos: Path, dst: Path) -> None:
        (photos / "class_0" / "bad.jpg").write_bytes(b"bad")
        source, seen = open_source(photos), list[tuple[int, int]]()
        with Restless() as executor:
            run_by(executor, source, dst.parent, lambda *pair: seen.append(pair))
        assert sum(samples for samples, _ in seen) == len(source) == 25
        good = source.sizes.sum() - len(b"bad")
        assert sum(size for _, size in seen) == good
        assert len(seen) >= 3


def run_by(
    executor: Executor,
    source: Source,
    work: Path,
    progress: Callable[[int, int], None] = lambda samples, size: None,
) -> None:
    """What a packing run does between listing and assembling, in an empty directory."""
    for name in ("pack", "parts", "scratch"):
        (work / name).mkdir()
    settings = PackSettings(source.fields, EncodeSettings(), "lmdb", False)
    todo = list(enumerate(plan_shards(source.sizes, SMALL["shard_size"])))
    pack_by_executor(executor, work, work / "scratch", source, todo, settings, progress)


class Fatal(Source):
    """Kills the process that reads a sample, or raises there, as long as a file exists."""

    def __init__(self, inner: Source, index: int, flag: Path, error: Exception | None) -> None:
        self.__dict__.update(inner.__dict__)
        self.name = inner.name
        self.inner, self.bad, self.flag, self.error = inner, inner.keys[index], flag, error

    def item(self, index: int) -> Item:
        if self.keys[index] == self.bad and self.flag.exists():
            if self.error is not None:
                raise self.error
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner.item(index)

    def part(self, first: int, stop: int) -> Fatal:
        part: Fatal = object.__new__(Fatal)
        part.__dict__.update(self.__dict__)
        part.inner = self.inner.part(first, stop)
        part.keys, part.sizes, part.stamps = part.inner.keys, part.inner.sizes, part.inner.stamps
        return part

    def digest(self) -> str:
        return self.inner.digest()


class TestFailures:
    @pytest.fixture
    def flag(self, tmp_path: Path) -> Path:
        (tmp_path / "flag").touch()
        return tmp_path / "flag"

    def test_a_lost_worker(
        self, pool: ProcessPoolExecutor, photos: Path, dst: Path, flag: Path
    ) -> None:
        expected = local(open_source(photos), dst)
        source = Fatal(open_source(photos), 15, flag, None)
        with processes(1) as executor:
            with pytest.raises(PackingError) as caught:
                fastdata.pack(source, dst, executor=executor, **SMALL)
            number = next(
                i
                for i, span in enumerate(plan_shards(source.sizes, SMALL["shard_size"]))
                if span.stop > 15
            )
            message = str(caught.value)
            assert f"a worker was lost while it packed shard {number}" in message
            assert f"{number} shards are complete" in message
            assert "run the same again" in message
            assert left(dst) == ["the.pack.partial"]
            assert not list(dst.parent.glob("*/tmp-*"))
            with pytest.raises(PackingError, match="takes no more tasks"):
                fastdata.pack(source, dst, executor=executor, **SMALL)
        flag.unlink()
        report = fastdata.pack(source, dst, executor=pool, **SMALL)
        assert report.resumed == number
        assert contents(dst) == expected
        assert left(dst) == ["the.pack"]

    @pytest.mark.parametrize("kind", [SourceError, PackingError])
    def test_errors_keep_their_type(
        self, kind: type[Exception], pool: ProcessPoolExecutor, photos: Path, dst: Path, flag: Path
    ) -> None:
        expected = local(open_source(photos), dst)
        source = Fatal(open_source(photos), 15, flag, kind("what is wrong"))
        with pytest.raises(kind, match=r"shard \d+, on .+ in process \d+: what is wrong"):
            fastdata.pack(source, dst, executor=pool, **SMALL)
        flag.unlink()
        fastdata.pack(source, dst, **SMALL)  # here, without the executor
        assert contents(dst) == expected

    def test_other_errors_become_packing_errors(
        self, pool: ProcessPoolExecutor, photos: Path, dst: Path, flag: Path
    ) -> None:
        source = Fatal(open_source(photos), 15, flag, ZeroDivisionError("oh"))
        with pytest.raises(PackingError, match=r"shard \d+: ZeroDivisionError: oh; .*again"):
            fastdata.pack(source, dst, executor=pool, **SMALL)

    def test_a_bad_sample_stops_it_if_asked_to(
        self, pool: ProcessPoolExecutor, photos: Path, dst: Path
    ) -> None:
        (photos / "class_1" / "image_003z.jpg").write_bytes(b"no image")
        with pytest.raises(PackingError, match=r"class_1/image_003z\.jpg"):
            fastdata.pack(open_source(photos), dst, executor=pool, on_error="fail", **SMALL)
        report = fastdata.pack(open_source(photos), dst, executor=pool, restart=True, **SMALL)
        assert [key for key, _ in report.rejections] == ["class_1/image_003z.jpg"]

    def test_a_file_that_vanishes(self, pool: ProcessPoolExecutor, photos: Path, dst: Path) -> None:
        source = open_source(photos)
        (photos / source.keys[10]).unlink()
        with pytest.raises(SourceError, match=source.keys[10]):
            fastdata.pack(source, dst, executor=pool, **SMALL)

    @pytest.mark.parametrize("make", INPUTS, ids=lambda make: make.__name__)
    def test_a_source_that_is_gone_is_not_a_lot_of_bad_samples(
        self, make: Callable[[Path], Source], tmp_path: Path, dst: Path
    ) -> None:
        root = tmp_path / "input"
        root.mkdir()
        source = make(root)
        task = stray_task(dst, source)
        if make.__name__ == "packs":
            data = pickle.dumps(task)
            root.rename(tmp_path / "elsewhere")
            with pytest.raises(fastdata.PackNotFoundError):
                pickle.loads(data)
            return
        root.rename(tmp_path / "elsewhere")
        with pytest.raises((SourceError, PackingError), match=r"shard 0, on .*: "):
            task()
        assert os.listdir(task.work + "/parts") == os.listdir(task.scratch) == []
        with pytest.raises((SourceError, PackingError)):
            fastdata.pack(source, dst, **SMALL)
        assert not dst.exists()

    @pytest.mark.parametrize("name", ["fastdata", "OpenCV"])
    def test_another_version_on_a_worker(self, name: str, photos: Path, dst: Path) -> None:
        def older(task: ShardTask) -> ShardTask:
            return replace(task, versions={**task.versions, name: "0.1"})

        here = fastdata.__version__ if name == "fastdata" else ""
        with (
            Restless(older) as executor,
            pytest.raises(PackingError, match=f"{name} is {here}.* here and 0.1 where"),
        ):
            fastdata.pack(open_source(photos), dst, executor=executor, **SMALL)
        assert left(dst) == []

    def test_an_executor_that_does_nothing(self, photos: Path, dst: Path) -> None:
        class Idle(Executor):
            def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
                future: Future[Any] = Future()
                future.set_result(
                    PartInfo(file="", bytes=0, sha256="", count=0, items=0, bytes_in=0)
                )
                return future

        with pytest.raises(PackingError, match=r"shard 0 was said to be complete.*same directory"):
            fastdata.pack(open_source(photos), dst, executor=Idle(), **SMALL)
        assert left(dst) == []

    def test_an_executor_that_cancels(self, photos: Path, dst: Path) -> None:
        class Cancelling(Executor):
            def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
                future: Future[Any] = Future()
                future.cancel()
                future.set_running_or_notify_cancel()
                return future

        with pytest.raises(PackingError, match="shard 0: the executor has cancelled it"):
            fastdata.pack(open_source(photos), dst, executor=Cancelling(), **SMALL)


def stray_task(dst: Path, source: Source, number: int = 0) -> ShardTask:
    """A task of a packing run whose directory is there."""
    work = dst.with_name("work")
    for name in ("pack", "parts", "tmp-scratch"):
        (work / name).mkdir(parents=True, exist_ok=True)
    settings = PackSettings(source.fields, EncodeSettings(), "lmdb", False)
    scratch = str(work / "tmp-scratch")
    return ShardTask(str(work), scratch, number, source, settings, versions=versions(settings))


class TestCopies:
    """Several copies of a task at once, and some that outlive the run."""

    @pytest.mark.parametrize("storage", ["lmdb", "hdf5"])
    def test_many_copies_at_once(self, storage: str, photos: Path, dst: Path) -> None:
        task = stray_task(dst, open_source(photos))
        task = replace(task, settings=replace(task.settings, storage=storage))
        task = replace(task, versions=versions(task.settings))
        parts = Path(task.work, "parts", "00000.npz")
        seen = set[bytes]()
        for _ in range(4):
            parts.unlink(missing_ok=True)
            start = threading.Barrier(8)

            def copy(start: threading.Barrier = start) -> PartInfo:
                start.wait()
                return task()

            with ThreadPoolExecutor(8) as threads:
                infos = [future.result() for future in [threads.submit(copy) for _ in range(8)]]
            assert all(info == infos[0] for info in infos)
            shard = Path(task.work, "pack", infos[0].file)
            seen.add(shard.read_bytes() + parts.read_bytes())
            assert os.listdir(task.scratch) == []
        assert len(seen) == 1

    def test_a_copy_that_comes_late_does_nothing(self, photos: Path, dst: Path) -> None:
        task = stray_task(dst, open_source(photos))
        info = task()
        shard = Path(task.work, "pack", info.file)
        before = shard.stat()
        assert task() == info
        assert shard.stat() == before

    @pytest.mark.parametrize("storage", ["lmdb", "hdf5"])
    @pytest.mark.parametrize("at", [0, 1, 10, 23])
    def test_a_copy_whose_run_is_over_fails_and_leaves_nothing(
        self, at: int, storage: str, photos: Path, dst: Path
    ) -> None:
        source = Leaving(open_source(photos), at, dst.with_name("work"))
        task = stray_task(dst, source)
        task = replace(task, settings=replace(task.settings, storage=storage))
        task = replace(task, versions=versions(task.settings))
        with pytest.raises(PackingError, match="shard 0, on"):
            task()
        assert left(dst) == []
        with pytest.raises(PackingError, match="the packing run is over"):
            task()
        assert left(dst) == []

    def test_a_copy_of_a_run_with_other_settings_cannot_write(
        self, photos: Path, dst: Path
    ) -> None:
        tasks = list[ShardTask]()

        class Collecting(Executor):
            def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
                tasks.append(args[0])
                raise KeyboardInterrupt

        def work_of_another_run(task: ShardTask) -> ShardTask:
            with pytest.raises(PackingError, match="the packing run is over"):
                tasks[0]()
            return task

        with pytest.raises(KeyboardInterrupt):
            fastdata.pack(open_source(photos), dst, executor=Collecting(), **SMALL)
        options = {"encoding": "keep", "restart": True}
        expected = local(open_source(photos), dst, **options)
        with Restless(work_of_another_run) as executor:
            fastdata.pack(open_source(photos), dst, executor=executor, **options, **SMALL)
        assert contents(dst) == expected

    def test_busy_strangers_do_not_stop_the_end(self, photos: Path, dst: Path) -> None:
        stop = threading.Event()
        scratches = set[Path]()

        def litter() -> None:
            while not stop.is_set():
                for scratch in list(scratches):
                    with suppress(OSError):
                        (scratch / f"tmp-{uuid.uuid4().hex}").mkdir()
                stop.wait(0.001)

        def watch(task: ShardTask) -> ShardTask:
            scratches.add(Path(task.scratch))
            return task

        thread = threading.Thread(target=litter)
        thread.start()
        try:
            with Restless(watch) as executor:
                fastdata.pack(open_source(photos), dst, executor=executor, **SMALL)
        finally:
            stop.set()
            thread.join()
        assert left(dst) == ["the.pack"]


class Leaving(Fatal):
    """Removes the directory of the run when a sample is read."""

    def __init__(self, inner: Source, index: int, work: Path) -> None:
        super().__init__(inner, index, work, None)

    def item(self, index: int) -> Item:
        if self.keys[index] == self.bad:
            with suppress(FileNotFoundError):
                self.flag.rename(self.flag.parent.with_name("gone"))
        return self.inner.item(index)


INTERRUPTED = """
import sys, threading, time
from concurrent.futures import Executor, Future
import fastdata

class Stuck(Executor):
    submitted = 0
    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.submitted += 1
        if self.submitted == 1:
            future.set_result(fn(*args))
        else:
            print("waiting", flush=True)
        return future

fastdata.pack_image_folder(*sys.argv[1:], executor=Stuck(), shard_size=8000, quiet=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is POSIX's")
def test_ctrl_c_while_waiting(photos: Path, dst: Path) -> None:
    expected = local(open_source(photos), dst)
    command = [sys.executable, "-c", INTERRUPTED, str(photos), str(dst)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode not in (0, None)
    assert "KeyboardInterrupt: interrupted; 1 shards are complete" in errors
    assert not list(dst.parent.glob("*/tmp-*"))
    report = fastdata.pack(open_source(photos), dst, **SMALL)
    assert report.resumed == 1
    assert contents(dst) == expected
