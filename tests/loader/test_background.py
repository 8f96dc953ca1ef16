from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdata.errors import OptionError
from fastdata.loader.workers.background import BackgroundIterator

PATIENCE = 30  # seconds before a test calls something hung


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"{thread} was left behind"


class Closable:
    """An endless source that counts what is done to it, and where."""

    def __init__(self, stop_at: int | None = None, error: BaseException | None = None) -> None:
        self.made = 0
        self.closed_in: list[threading.Thread] = []
        self.stop_at = stop_at
        self.error = error

    def __iter__(self) -> Closable:
        return self

    def __next__(self) -> int:
        if self.made == self.stop_at:
            raise self.error or StopIteration
        self.made += 1
        return self.made - 1

    def close(self) -> None:
        self.closed_in.append(threading.current_thread())


class Private(BaseException):
    pass


def raising(error: BaseException) -> Iterator[int]:
    yield 0
    yield 1
    raise error


ITEMS = st.one_of(
    st.integers(),
    st.none(),
    st.tuples(st.booleans(), st.integers()),
    st.builds(ValueError),
    st.builds(KeyboardInterrupt),
    st.just(StopIteration),
    st.just((False, StopIteration)),
)


@given(st.lists(ITEMS, max_size=20), st.integers(1, 5))
def test_items_arrive_unchanged_in_order(items: list[object], max_prefetch: int) -> None:
    arrived = list(BackgroundIterator(items, max_prefetch))
    assert len(arrived) == len(items)
    assert all(new is old for new, old in zip(arrived, items, strict=True))


def test_exhausted_for_ever_and_the_thread_is_gone() -> None:
    threads = threading.active_count()
    iterator = BackgroundIterator(range(3))
    assert list(iterator) == [0, 1, 2]
    assert threading.active_count() == threads
    for _ in range(3):
        assert next(iterator, "end") == "end"
    iterator.close()


def test_starts_before_the_first_next() -> None:
    made = threading.Event()

    def source() -> Iterator[int]:
        made.set()
        yield 1

    with BackgroundIterator(source()) as iterator:
        assert made.wait(PATIENCE)
        assert next(iterator) == 1


@pytest.mark.parametrize("max_prefetch", [1, 2, 5])
def test_runs_ahead_by_max_prefetch_items_and_no_more(max_prefetch: int) -> None:
    started: list[int] = []
    full = threading.Event()

    def source() -> Iterator[int]:
        for index in count():
            started.append(index)
            if index == max_prefetch:
                full.set()
            yield index

    with BackgroundIterator(source(), max_prefetch) as iterator:
        next(iterator)
        assert full.wait(PATIENCE)
        time.sleep(0.05)  # an opportunity to go too far
    assert len(started) == 1 + max_prefetch


@pytest.mark.parametrize("max_prefetch", [0, -1])
def test_rejects_nothing_ahead(max_prefetch: int) -> None:
    with pytest.raises(OptionError, match=f"at least 1, found {max_prefetch}"):
        BackgroundIterator([], max_prefetch)


def test_names_its_thread_and_does_not_hold_up_the_exit() -> None:
    before = set(threading.enumerate())
    with BackgroundIterator(count(), name="reader of shard 3") as iterator:
        (thread,) = set(threading.enumerate()) - before
        assert iterator.thread is thread
        assert thread.name == "reader of shard 3"
        assert thread.daemon


def test_what_cannot_be_iterated_fails_in_the_constructor() -> None:
    threads = threading.active_count()
    with pytest.raises(TypeError, match="not iterable"):
        BackgroundIterator(3)  # type: ignore[arg-type]
    assert threading.active_count() == threads


def test_iter_runs_in_the_calling_thread() -> None:
    class Source:
        def __iter__(self) -> Iterator[threading.Thread]:
            return iter([threading.current_thread()])

    assert list(BackgroundIterator(Source())) == [threading.current_thread()]


@pytest.mark.parametrize(
    "error_type",
    [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, StopAsyncIteration, Private],
)
@pytest.mark.parametrize("kind", ["generator", "iterator"])
def test_every_exception_arrives_after_the_items_before_it(
    error_type: type[BaseException], kind: str
) -> None:
    error = error_type("bad")
    source = raising(error) if kind == "generator" else Closable(stop_at=2, error=error)
    threads = threading.active_count()
    iterator = BackgroundIterator(source)
    assert [next(iterator), next(iterator)] == [0, 1]
    with pytest.raises(error_type) as caught:
        next(iterator)
    assert caught.value is error
    where = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert where[-1] == ("raising" if kind == "generator" else "__next__")
    assert threading.active_count() == threads
    for _ in range(3):
        assert next(iterator, "end") == "end"


def test_stop_iteration_inside_a_generator_is_not_the_end() -> None:
    iterator = BackgroundIterator(raising(StopIteration()))
    assert [next(iterator), next(iterator)] == [0, 1]
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        next(iterator)
    assert isinstance(caught.value.__cause__, StopIteration)


def test_a_raised_error_leaves_no_reference_cycle() -> None:
    def source() -> Iterator[int]:
        yield 0
        raise ValueError("bad")

    iterator = BackgroundIterator(source())
    gone = weakref.ref(iterator)
    gc.disable()
    try:
        with suppress(ValueError):
            list(iterator)
        del iterator
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("ending", ["exhausted", "raised", "closed early", "closed at once"])
def test_the_source_is_closed_once_in_the_producing_thread(ending: str) -> None:
    error = ValueError("bad") if ending == "raised" else None
    source = Closable(stop_at=None if ending.startswith("closed") else 3, error=error)
    with BackgroundIterator(source) as iterator:
        if ending == "closed early":
            next(iterator)
        elif ending == "exhausted":
            list(iterator)
        elif ending == "raised":
            with pytest.raises(ValueError, match="bad"):
                list(iterator)
    assert len(source.closed_in) == 1
    assert source.closed_in[0] is not threading.current_thread()


def test_close_is_idempotent_and_final() -> None:
    finished_in: list[threading.Thread] = []

    def source() -> Iterator[int]:
        try:
            yield from count()
        finally:
            finished_in.append(threading.current_thread())

    threads = threading.active_count()
    iterator = BackgroundIterator(source())
    assert next(iterator) == 0
    iterator.close()
    assert threading.active_count() == threads
    assert len(finished_in) == 1
    assert finished_in[0] is not threading.current_thread()
    iterator.close()
    assert next(iterator, "end") == "end"


def test_close_raises_what_the_clean_up_raises_and_only_once() -> None:
    def source() -> Iterator[int]:
        try:
            yield from count()
        finally:
            raise OSError("cannot remove the temporary file")

    iterator = BackgroundIterator(source())
    next(iterator)
    with pytest.raises(OSError, match="temporary"):
        iterator.close()
    iterator.close()
    assert next(iterator, "end") == "end"


def test_close_drops_an_error_that_the_consumer_never_reached() -> None:
    raised = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        yield 1
        raised.set()
        raise ValueError("too far ahead")

    iterator = BackgroundIterator(source(), max_prefetch=3)
    assert next(iterator) == 0
    assert raised.wait(PATIENCE)
    iterator.close()
    assert next(iterator, "end") == "end"


def test_200_early_breaks_leave_no_thread() -> None:
    finished: list[int] = []

    def source(run: int) -> Iterator[int]:
        try:
            yield from count()
        finally:
            finished.append(run)

    threads = threading.active_count()
    for run in range(200):
        with BackgroundIterator(source(run)) as iterator:
            for item in iterator:
                if item == run % 4:
                    break
    assert threading.active_count() == threads
    assert finished == list(range(200))


def test_dropping_the_iterator_ends_its_thread() -> None:
    finished = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from count()
        finally:
            finished.set()

    iterator = BackgroundIterator(source())
    next(iterator)
    del iterator
    gc.collect()
    assert finished.wait(PATIENCE)


def test_a_collection_in_the_producing_thread_ends_it() -> None:
    dropped, finished = threading.Event(), threading.Event()
    collected_in: list[threading.Thread] = []

    def source() -> Iterator[int]:
        try:
            assert dropped.wait(PATIENCE)
            for index in count():
                gc.collect()
                yield index
        finally:
            finished.set()

    gc.disable()  # so that no other thread collects the cycle
    try:
        cycle: list[object] = [BackgroundIterator(source(), max_prefetch=100)]
        cycle.append(cycle)
        weakref.finalize(cycle[0], lambda: collected_in.append(threading.current_thread()))
        del cycle
        dropped.set()
        assert finished.wait(PATIENCE)
    finally:
        gc.enable()
    assert threading.current_thread() not in collected_in
    assert len(collected_in) == 1


def test_the_source_may_close_the_iterator() -> None:
    ready = threading.Event()
    after: list[str] = []

    def source() -> Iterator[int]:
        assert ready.wait(PATIENCE)
        yield 0
        holder[0].close()
        after.append("went on")
        yield 1
        after.append("went on after the item boundary")

    holder = [BackgroundIterator(source())]
    ready.set()
    assert list(holder[0]) in ([], [0])
    holder[0].close()
    assert after == ["went on"]
    holder.clear()


def test_close_in_another_thread_ends_a_waiting_consumer() -> None:
    waiting, release = threading.Event(), threading.Event()
    received: list[object] = []

    def source() -> Iterator[int]:
        waiting.set()
        assert release.wait(PATIENCE)
        yield 0

    iterator = BackgroundIterator(source())
    consumer = threading.Thread(target=lambda: received.extend(iterator))
    consumer.start()
    assert waiting.wait(PATIENCE)
    closer = threading.Thread(target=iterator.close)
    closer.start()
    release.set()
    for thread in (consumer, closer):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert received in ([], [0])


def test_consumers_in_several_threads_share_the_items() -> None:
    iterator = BackgroundIterator(range(500), max_prefetch=3)
    shares: list[list[int]] = [[], [], []]
    consumers = [threading.Thread(target=lambda s=share: s.extend(iterator)) for share in shares]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join(PATIENCE)
        assert not consumer.is_alive()
    assert sorted(item for share in shares for item in share) == list(range(500))


def test_a_delivered_item_belongs_to_the_consumer_alone() -> None:
    class Batch:
        pass

    with BackgroundIterator((Batch() for _ in count()), max_prefetch=1) as iterator:
        for _ in range(20):
            batch = next(iterator)
            gone = weakref.ref(batch)
            del batch
            assert gone() is None


@pytest.mark.skipif(os.name == "nt", reason="a lock cannot be interrupted on Windows")
def test_ctrl_c_while_waiting_leaves_the_iterator_usable() -> None:
    asked, release = threading.Event(), threading.Event()

    def source() -> Iterator[str]:
        assert asked.wait(PATIENCE)
        time.sleep(0.2)  # one that comes right before the wait is noticed when that is over
        os.kill(os.getpid(), signal.SIGINT)
        assert release.wait(PATIENCE)
        yield "late"

    def ask(iterator: Iterator[str]) -> str:
        asked.set()
        return next(iterator)

    with BackgroundIterator(source()) as iterator:
        with pytest.raises(KeyboardInterrupt):
            ask(iterator)
        release.set()
        assert next(iterator) == "late"


def report_from_child(iterator: Iterator[int]) -> str:
    """Fork; in the child, say what next() and close() do."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads, as intended
        child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        try:
            next(iterator)
        except BaseException as error:
            iterator.close()  # type: ignore[attr-defined]
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        report = pipe.read()
    os.waitpid(child, 0)
    return report


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_gets_an_error_and_the_parent_goes_on() -> None:
    with BackgroundIterator(count()) as iterator:
        assert next(iterator) == 0
        report = report_from_child(iterator)
        assert report.startswith("RuntimeError")
        assert str(os.getpid()) in report
        assert next(iterator) == 1


AT_EXIT = """
import itertools
from fastdata.loader.workers.background import BackgroundIterator

def source():
    try:
        yield from itertools.count()
    finally:
        print("cleaned up", flush=True)

iterator = BackgroundIterator(source())
print(next(iterator), flush=True)
"""


def test_interpreter_exit_stops_the_thread_cleanly() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout.split("\n"), done.stderr) == (
        0,
        ["0", "cleaned up", ""],
        "",
    )
