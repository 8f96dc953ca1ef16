"""CUDAPrefetcher where there is no GPU: on the CPU, and on a simulated accelerator.

The simulated accelerator stands in for ``torch.cuda`` on torch's own "meta" device. Its streams run
nothing; they know which work happens before which, and that is what is asserted. The same promises
are tested on hardware in ``tests/cuda``.
"""

from __future__ import annotations

import gc
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fastdata import DataLoaderX
from fastdata.errors import OptionError
from fastdata.loader.prefetch import CUDAPrefetcher
from fastdata.loader.workers.background import BackgroundIterator


class Accelerator:
    """Simulated hardware: each stream has the set of the work that is done before its next work."""

    def __init__(self) -> None:
        self.streams: list[SimulatedStream] = []
        self.unfinished: list[SimulatedEvent] = []
        self.current = self.Stream()
        self.capturing = False

    def Stream(self, device: Any = None) -> SimulatedStream:
        self.streams.append(SimulatedStream())
        return self.streams[-1]

    def Event(self) -> SimulatedEvent:
        return SimulatedEvent(self)

    def current_stream(self, device: Any = None) -> SimulatedStream:
        return self.current

    @contextmanager
    def stream(self, stream: SimulatedStream) -> Iterator[None]:
        outer, self.current = self.current, stream
        yield
        self.current = outer

    def is_available(self) -> bool:
        return True

    def is_current_stream_capturing(self) -> bool:
        return self.capturing

    def current_device(self) -> None:
        return None  # "meta" devices are not counted


class SimulatedStream:
    def __init__(self) -> None:
        self.before: set[object] = set()

    def __reduce__(self) -> str:
        raise TypeError("a stream cannot be pickled")

    def run(self, work: object) -> None:
        self.before.add(work)

    def wait_stream(self, other: SimulatedStream) -> None:
        self.before |= other.before

    def wait_event(self, event: SimulatedEvent) -> None:
        self.before |= event.before


class SimulatedEvent:
    """Never finished until someone waits for it: the slowest device there can be."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.unfinished = accelerator.unfinished

    def record(self, stream: SimulatedStream) -> None:
        self.before = set(stream.before)
        self.stream = stream
        self.unfinished.append(self)

    def query(self) -> bool:
        return self not in self.unfinished

    def synchronize(self) -> None:
        while not self.query():
            self.unfinished.pop(0)  # what the same stream was given before is finished too


class Marked(Tensor):
    """Remembers the streams that use it; the allocator of the simulated device."""

    used_on: list[SimulatedStream]

    def record_stream(self, stream: Any) -> None:
        self.__dict__.setdefault("used_on", []).append(stream)


def marked(value: int) -> Tensor:
    return torch.full((1,), value).as_subclass(Marked)


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Accelerator:
    simulated = Accelerator()
    monkeypatch.setattr(torch, "meta", simulated, raising=False)
    return simulated


@pytest.fixture(params=["cpu", "without streams", "with streams"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "with streams":
        request.getfixturevalue("accelerator")
    return "cpu" if request.param == "cpu" else "meta"


class Loader:
    """Yields batches that know their number, and notes what happens to its iterators."""

    def __init__(self, length: int, error: BaseException | None = None) -> None:
        self.length = length
        self.error = error
        self.started = 0
        self.finished = 0
        self.read = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.started += 1
        self.read = 0
        try:
            for number in range(self.length):
                self.read += 1
                yield {"image": marked(number), "number": number}
            if self.error is not None:
                raise self.error
        finally:
            self.finished += 1


def numbers(batches: Any) -> list[int]:
    return [batch["number"] for batch in batches]


@pytest.mark.parametrize("length", [0, 1, 2, 7])
@pytest.mark.parametrize("prefetch_batches", [1, 2, 10])
def test_every_batch_arrives_in_order(device: str, length: int, prefetch_batches: int) -> None:
    loader = Loader(length)
    prefetcher = CUDAPrefetcher(loader, device, prefetch_batches=prefetch_batches)
    for epoch in range(1, 4):
        assert numbers(prefetcher) == list(range(length))
        assert (loader.started, loader.finished) == (epoch, epoch)
    assert len(prefetcher) == length


def test_batches_are_on_the_device(device: str) -> None:
    for batch in CUDAPrefetcher(Loader(3), device):
        assert batch["image"].device.type == device


def test_len_fails_as_the_loader_does(device: str) -> None:
    prefetcher = CUDAPrefetcher((batch for batch in [1, 2]), device)
    with pytest.raises(TypeError, match="generator"):
        len(prefetcher)
    assert list(prefetcher) == [1, 2]


def test_any_iterable_will_do(device: str) -> None:
    batches = [marked(0), (marked(1), "a"), "text", None]
    first, second, *rest = CUDAPrefetcher(batches, device)
    assert (first.device.type, second[0].device.type, second[1]) == (device, device, "a")
    assert rest == ["text", None]


def test_the_transform_gets_the_batch_on_the_device(device: str) -> None:
    weight = torch.ones(1, device=device, requires_grad=True)
    seen: list[str] = []

    def transform(batch: dict[str, Any]) -> dict[str, Any]:
        seen.append(batch["image"].device.type)
        return {"image": batch["image"] * weight, "number": -batch["number"]}

    batches = list(CUDAPrefetcher(Loader(3), device, transform=transform))
    assert numbers(batches) == [0, -1, -2]
    assert seen == [device] * 3
    assert not any(batch["image"].requires_grad for batch in batches)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("error_type", [ValueError, StopAsyncIteration, OSError])
def test_an_error_of_the_loader_comes_after_its_batches(
    device: str, error_type: type[Exception]
) -> None:
    error = error_type("bad")
    loader = Loader(5, error)
    iterator = iter(CUDAPrefetcher(loader, device))
    assert numbers(next(iterator) for _ in range(5)) == list(range(5))
    with pytest.raises(error_type) as caught:
        next(iterator)
    assert caught.value is error
    assert next(iterator, "end") == "end"
    assert loader.finished == 1


class Bad(Dataset[Tensor]):
    """Items 2 and 3 cannot be read."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Tensor:
        if index in (2, 3):
            raise LookupError(f"item {index}")
        return marked(index)


@pytest.mark.parametrize("prefetch_batches", [0, 1, 3])
def test_behind_an_error_of_the_dataset_the_loader_goes_on(
    device: str, prefetch_batches: int
) -> None:
    """The prefetcher alone ends with an error; a loader that it is part of does not."""
    seen: list[str] = []

    def transform(batch: Tensor) -> Tensor:
        seen.append(batch.device.type)
        return batch

    loader = DataLoaderX(
        Bad(),
        None,
        device=device,
        prefetch_batches=prefetch_batches,
        batch_transform=transform,
        pin_memory=False,
    )
    batches = iter(loader)
    found: list[str] = []
    while True:
        try:
            found.append(next(batches).device.type)
        except LookupError as error:
            found.append(str(error.args[0]))
        except StopIteration:
            break
    assert found == [device, device, "item 2", "item 3", device, device]
    assert seen == [device] * 4


@pytest.mark.parametrize("error_type", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_loader_passes(device: str, error_type: type[BaseException]) -> None:
    loader = Loader(2, error_type())
    iterator = iter(CUDAPrefetcher(loader, device))
    with pytest.raises(error_type):
        numbers(iterator)
    assert next(iterator, "end") == "end"
    assert loader.finished == 1


@pytest.mark.parametrize("error_type", [ValueError, StopIteration])
def test_an_error_of_the_transform_comes_after_the_batches_before_it(
    device: str, error_type: type[Exception]
) -> None:
    def transform(batch: dict[str, Any]) -> dict[str, Any]:
        if batch["number"] == 2:
            raise error_type("bad")
        return batch

    loader = Loader(5)
    iterator = iter(CUDAPrefetcher(loader, device, transform=transform))
    assert numbers([next(iterator), next(iterator)]) == [0, 1]
    expected = RuntimeError if error_type is StopIteration else error_type  # PEP 479
    with pytest.raises(expected):
        next(iterator)
    assert next(iterator, "end") == "end"
    assert loader.finished == 1


@pytest.mark.parametrize("ending", ["break", "close", "drop", "raise"])
def test_an_early_end_closes_the_source(device: str, ending: str) -> None:
    loader = Loader(100)
    iterator = iter(CUDAPrefetcher(loader, device))
    with suppress(ZeroDivisionError):
        for batch in iterator:
            if batch["number"] == 3:
                if ending == "raise":
                    iterator.throw(ZeroDivisionError())
                break
    if ending == "close":
        iterator.close()
    del iterator
    gc.collect()
    assert loader.finished == 1


def test_an_early_end_closes_a_background_thread(device: str) -> None:
    class InBackground:
        def __iter__(self) -> Iterator[dict[str, Any]]:
            return BackgroundIterator(Loader(100))

    threads = threading.active_count()
    for _ in range(20):
        iterator = iter(CUDAPrefetcher(InBackground(), device))
        assert next(iterator)["number"] == 0
        iterator.close()
        assert threading.active_count() == threads


def test_an_iterator_that_ended_by_itself_is_not_closed(device: str) -> None:
    class Reusable:
        closed = False

        def __iter__(self) -> Reusable:
            self.left = 3
            return self

        def __next__(self) -> int:
            if not self.left:
                raise StopIteration
            self.left -= 1
            return self.left

        def close(self) -> None:
            self.closed = True

    loader = Reusable()
    prefetcher = CUDAPrefetcher(loader, device)
    assert [list(prefetcher), list(prefetcher)] == [[2, 1, 0], [2, 1, 0]]
    assert not loader.closed
    next(iter(prefetcher))
    assert loader.closed


def test_several_iterators_at_once(device: str) -> None:
    prefetcher = CUDAPrefetcher(Loader(5), device)
    pairs = zip(prefetcher, prefetcher, strict=True)
    assert [(a["number"], b["number"]) for a, b in pairs] == [(n, n) for n in range(5)]


def test_iterate_reads_another_source_with_the_same_settings(device: str) -> None:
    prefetcher = CUDAPrefetcher([], device, transform=lambda batch: {"number": -batch["number"]})
    loader = Loader(3)
    assert numbers(prefetcher.iterate(iter(loader))) == [0, -1, -2]
    iterator = prefetcher.iterate(iter(loader))
    next(iterator)
    iterator.close()
    assert loader.finished == 2


def test_a_yielded_batch_belongs_to_the_consumer_alone(device: str) -> None:
    iterator = iter(CUDAPrefetcher(Loader(10), device, transform=lambda batch: dict(batch)))
    for _ in range(10):
        image = next(iterator)["image"]
        gone = weakref.ref(image)
        del image
        assert gone() is None


def test_a_raised_error_leaves_no_reference_cycle(device: str) -> None:
    def source() -> Iterator[Tensor]:
        yield marked(0)
        raise ValueError("bad")

    iterator = iter(CUDAPrefetcher(source(), device))
    gone = weakref.ref(iterator)
    gc.disable()
    try:
        with suppress(ValueError):
            list(iterator)
        del iterator
        assert gone() is None
    finally:
        gc.enable()


def test_pickling_a_used_prefetcher(device: str) -> None:
    prefetcher = CUDAPrefetcher([marked(0), marked(1)], device, prefetch_batches=3)
    assert len(list(prefetcher)) == 2
    copied = pickle.loads(pickle.dumps(prefetcher))
    assert (copied.device, copied.prefetch_batches) == (prefetcher.device, 3)
    assert len(list(copied)) == 2


@pytest.mark.parametrize("prefetch_batches", [0, -1])
def test_rejects_nothing_ahead(prefetch_batches: int) -> None:
    with pytest.raises(OptionError, match=f"at least 1, found {prefetch_batches}"):
        CUDAPrefetcher([], "cpu", prefetch_batches=prefetch_batches)


def test_rejects_a_device_that_is_not_there() -> None:
    missing = [kind for kind in ("cuda", "xpu") if not getattr(torch, kind).is_available()]
    for kind in missing:
        with pytest.raises(OptionError, match=rf"torch\.{kind}\.is_available"):
            CUDAPrefetcher([], kind)
    if "cuda" in missing:
        with pytest.raises(OptionError, match="cuda:1"):
            CUDAPrefetcher([], 1)


def test_the_default_device_is_the_gpu_or_the_cpu() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert CUDAPrefetcher([]).device.type == expected


@pytest.mark.skipif(not hasattr(torch, "accelerator"), reason="needs torch 2.6")
@pytest.mark.parametrize("kind", ["meta", None])
def test_the_default_device_is_torchs_accelerator(
    monkeypatch: pytest.MonkeyPatch, kind: str | None
) -> None:
    found = None if kind is None else torch.device(kind)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: found)
    assert CUDAPrefetcher([]).device == torch.device(kind or "cpu")


def test_on_the_cpu_batches_pass_unchanged_and_one_by_one() -> None:
    class Untouchable:
        def to(self, *_: Any, **__: Any) -> None:
            raise AssertionError("moved")

    batches = [[torch.zeros(1)], {"x": Untouchable()}, (1, 2)]
    for new, old in zip(CUDAPrefetcher(batches, "cpu"), batches, strict=True):
        assert new is old
    loader = Loader(10)
    threads = threading.active_count()
    for batch in CUDAPrefetcher(loader, "cpu"):
        assert loader.read == batch["number"] + 1
        assert threading.active_count() == threads


# On the simulated accelerator.


@pytest.mark.parametrize("prefetch_batches", [1, 2, 5])
def test_reads_ahead_by_prefetch_batches(accelerator: Accelerator, prefetch_batches: int) -> None:
    loader = Loader(20)
    iterator = iter(CUDAPrefetcher(loader, "meta", prefetch_batches=prefetch_batches))
    assert loader.read == 0
    for batch in iterator:
        assert loader.read == min(20, batch["number"] + 1 + prefetch_batches)


@pytest.mark.parametrize("batches_before", [0, 2])
def test_refuses_to_become_part_of_a_graph(accelerator: Accelerator, batches_before: int) -> None:
    loader = Loader(8)
    iterator = iter(CUDAPrefetcher(loader, "meta"))
    assert numbers(next(iterator) for _ in range(batches_before)) == list(range(batches_before))
    accelerator.capturing = True
    done = [set(stream.before) for stream in accelerator.streams]
    with pytest.raises(RuntimeError, match="static input outside of the capture"):
        next(iterator)
    assert [stream.before for stream in accelerator.streams[: len(done)]] == done
    assert not accelerator.unfinished
    assert loader.finished == (1 if batches_before else 0)  # a generator not started has no finally


def test_an_interrupt_does_not_wait_for_the_batches_in_flight(accelerator: Accelerator) -> None:
    loader = Loader(2, KeyboardInterrupt())
    iterator = iter(CUDAPrefetcher(loader, "meta", prefetch_batches=3))
    with pytest.raises(KeyboardInterrupt):
        next(iterator)
    assert loader.finished == 1
    assert not accelerator.unfinished


def noting(accelerator: Accelerator, before: dict[int, set[object]]) -> Callable[[Any], Any]:
    """A transform that runs as work on its stream, and notes all the work before it."""

    def transform(batch: Any) -> Any:
        before[batch["number"]] = set(accelerator.current.before)
        accelerator.current.run(("transform", batch["number"]))
        return batch

    return transform


@pytest.mark.parametrize("prefetch_batches", [1, 2, 5])
def test_each_stream_waits_for_the_other(accelerator: Accelerator, prefetch_batches: int) -> None:
    before: dict[int, set[object]] = {}
    prefetcher = CUDAPrefetcher(
        Loader(12),
        "meta",
        prefetch_batches=prefetch_batches,
        transform=noting(accelerator, before),
    )
    consumer = accelerator.current
    for batch in prefetcher:
        number = batch["number"]
        assert ("transform", number) in consumer.before
        assert ("transform", number + 1) not in consumer.before
        consumer.run(("step", number))
    for number in range(12):
        steps = {work for work in before[number] if work[0] == "step"}  # type: ignore[index]
        assert steps == {("step", step) for step in range(number - prefetch_batches)}


def test_the_stream_current_at_next_is_the_one_that_waits(accelerator: Accelerator) -> None:
    iterator = iter(CUDAPrefetcher(Loader(8), "meta", transform=noting(accelerator, {})))
    for number in range(8):
        accelerator.current = consumer = SimulatedStream()
        batch = next(iterator)
        assert ("transform", number) in consumer.before
        assert batch["image"].used_on[-1] is consumer


def test_every_tensor_of_the_result_is_recorded(accelerator: Accelerator) -> None:
    def transform(batch: dict[str, Any]) -> tuple[Any, ...]:
        return batch, [marked(1).to("meta")], {"deep": (marked(2).to("meta"), "text")}

    for batch, (made,), rest in CUDAPrefetcher(Loader(4), "meta", transform=transform):
        used = [tensor.used_on[-1] for tensor in (batch["image"], made, rest["deep"][0])]
        assert used == [accelerator.current] * 3


def test_tensors_of_the_loader_on_the_device_are_recorded_on_the_side_stream(
    accelerator: Accelerator,
) -> None:
    on_device: Any = marked(1).to("meta")
    made_on: list[SimulatedStream] = []

    def transform(batch: Tensor) -> int:
        made_on.append(accelerator.current)
        return 1

    assert list(CUDAPrefetcher([on_device], "meta", transform=transform)) == [1]
    assert on_device.used_on == made_on


def test_host_tensors_in_a_result_are_let_through(accelerator: Accelerator) -> None:
    batch = next(iter(CUDAPrefetcher([1], "meta", transform=lambda _: torch.ones(2))))
    assert batch.device.type == "cpu"


def test_one_side_stream_for_life(accelerator: Accelerator) -> None:
    prefetcher = CUDAPrefetcher(Loader(3), "meta")
    assert len(accelerator.streams) == 1  # the consumer's; the other is made when needed
    for _ in range(5):
        list(prefetcher)
        list(zip(prefetcher, prefetcher, strict=True))
        list(prefetcher.iterate(iter(Loader(3))))
    assert len(accelerator.streams) == 2
    list(CUDAPrefetcher(Loader(3), "meta"))
    assert len(accelerator.streams) == 3


@pytest.mark.parametrize("prefetch_batches", [1, 3])
def test_a_slow_device_holds_the_host_back(accelerator: Accelerator, prefetch_batches: int) -> None:
    hosts: weakref.WeakSet[Tensor] = weakref.WeakSet()

    def source() -> Iterator[Tensor]:
        for number in range(30):
            host = marked(number)
            hosts.add(host)
            yield host
            del host
            assert len(hosts) <= prefetch_batches + 1

    for _ in CUDAPrefetcher(source(), "meta", prefetch_batches=prefetch_batches):
        assert len(accelerator.unfinished) <= prefetch_batches + 1
    assert not hosts


def test_sources_are_kept_until_their_copy_is_done(accelerator: Accelerator) -> None:
    hosts: list[weakref.ref[Tensor]] = []

    def source() -> Iterator[Tensor]:
        for number in range(3):
            host = marked(number)
            hosts.append(weakref.ref(host))
            yield host
            del host

    iterator = iter(CUDAPrefetcher(source(), "meta"))
    next(iterator)
    assert len(accelerator.unfinished) == 3
    assert all(host() is not None for host in hosts)
    iterator.close()
    assert not accelerator.unfinished
    assert all(host() is None for host in hosts)
