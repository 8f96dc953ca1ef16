"""What CUDAPrefetcher promises, on a CUDA device; see ``gpu_helpers`` for how."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from helpers.gpu import (
    BATCH_BYTES,
    BRIEF,
    GPU,
    LONG,
    SIZE,
    assert_none_wrong,
    churn,
    count_wrong,
    numbered,
    sleep,
)
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, TensorDataset

from fastdata.core.nested import map_tensors, tensors_in
from fastdata.loader.prefetch import CUDAPrefetcher
from fastdata.loader.workers.background import BackgroundIterator

pytestmark = GPU


class Pair(NamedTuple):
    image: Any
    target: Any


@dataclasses.dataclass(frozen=True)
class Example:
    image: Any
    name: str


def nested() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=generator)
    shared = torch.rand(5, generator=generator)
    return {
        "image": image.contiguous(memory_format=torch.channels_last),
        "views": [image[:, :, ::2], image.transpose(0, 3), torch.arange(3.0).expand(4, 3)],
        "pair": Pair(shared, (shared, torch.tensor(7))),
        "example": Example(torch.randn(3, 3, generator=generator, dtype=torch.float64), "cat"),
        "types": (
            torch.rand(7, generator=generator).half(),
            torch.rand(7, generator=generator).bfloat16(),
            torch.rand(7, generator=generator).to(torch.complex64),
            torch.tensor([True, False]),
        ),
        "empty": torch.empty(0, 3),
        "others": ["text", 3, None],
    }


def test_nested_structures_arrive_bit_for_bit() -> None:
    for batch in CUDAPrefetcher([nested()] * 4):
        source = nested()
        assert {tensor.device.type for tensor in tensors_in(batch)} == {"cuda"}
        for new, old in zip(tensors_in(batch), tensors_in(source), strict=True):
            assert (new.dtype, new.shape) == (old.dtype, old.shape)
            assert torch.equal(new.cpu(), old)
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)
        assert batch["pair"].image is batch["pair"].target[0]
        assert (type(batch["pair"]), type(batch["example"])) == (Pair, Example)
        assert (batch["others"], batch["example"].name) == (["text", 3, None], "cat")


def test_pinned_structures_arrive_bit_for_bit() -> None:
    source = {"image": torch.rand(3, 5), "target": [torch.arange(4)]}
    pinned = map_tensors(lambda tensor: tensor.pin_memory(), source)
    (batch,) = CUDAPrefetcher([pinned])
    assert torch.equal(batch["image"].cpu(), source["image"])
    assert torch.equal(batch["target"][0].cpu(), source["target"][0])


def test_packed_sequences() -> None:
    packed = pack_sequence([torch.arange(3.0), torch.arange(2.0)])
    (moved,) = CUDAPrefetcher([packed])
    assert type(moved) is type(packed)
    assert moved.data.device.type == "cuda"
    assert moved.data.tolist() == packed.data.tolist()
    assert torch.equal(moved.batch_sizes, packed.batch_sizes)


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_tensors(layout: torch.layout) -> None:
    dense = torch.eye(16) * 3
    for moved in CUDAPrefetcher([dense.to_sparse(layout=layout)] * 3):
        assert (moved.layout, moved.device.type) == (layout, "cuda")
        assert torch.equal(moved.to_dense().cpu(), dense)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors(layout: torch.layout) -> None:
    rows = [torch.arange(3.0), torch.arange(2.0)]
    batches = [torch.nested.nested_tensor(rows, layout=layout) for _ in range(4)]
    for moved in CUDAPrefetcher(batches):
        assert (moved.is_nested, moved.layout, moved.device.type) == (True, layout, "cuda")
        arrived = [row.tolist() for row in moved.unbind()]
        assert arrived == [row.tolist() for row in rows]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_late_consumer_sees_no_stale_nested_tensor(layout: torch.layout) -> None:
    def source() -> Iterator[Tensor]:
        for number in range(12):
            halves = torch.full((SIZE,), number, dtype=torch.int32).chunk(2)
            yield torch.nested.nested_tensor(list(halves), layout=layout)

    wrong = []
    for number, batch in enumerate(CUDAPrefetcher(source())):
        sleep(BRIEF)
        wrong.append(count_wrong(batch.values(), number))
        del batch
        churn()
    assert_none_wrong(wrong)


def test_tensors_on_the_device_already_are_not_copied() -> None:
    batch = torch.ones(3, device="cuda")
    (moved,) = CUDAPrefetcher([batch])
    assert moved is batch


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("prefetch_batches", [1, 2, 4])
def test_a_late_consumer_sees_no_stale_batch(pinned: bool, prefetch_batches: int) -> None:
    wrong = []
    prefetcher = CUDAPrefetcher(numbered(30, pinned), prefetch_batches=prefetch_batches)
    for number, batch in enumerate(prefetcher):
        sleep(BRIEF)
        wrong.append(count_wrong(batch, number))
        del batch
        churn()
    assert_none_wrong(wrong)
    assert len(wrong) == 30


def test_a_loader_may_reuse_its_pageable_buffer() -> None:
    def source() -> Iterator[Tensor]:
        buffer = torch.empty(SIZE, dtype=torch.int32)
        for number in range(12):
            yield buffer.fill_(number)

    wrong = []
    for number, batch in enumerate(CUDAPrefetcher(source())):
        sleep(BRIEF)
        wrong.append(count_wrong(batch, number))
    assert_none_wrong(wrong)


@pytest.mark.parametrize("transformed", [False, True])
def test_memory_in_use_on_a_stream_the_consumer_has_left_is_not_reused(transformed: bool) -> None:
    transform = (lambda batch: batch + 0) if transformed else None
    iterator = iter(CUDAPrefetcher(numbered(20), transform=transform))
    slow, fast = torch.cuda.Stream(), torch.cuda.Stream()
    wrong = []
    with torch.cuda.stream(slow):
        batch = next(iterator)
        sleep(LONG)
        wrong.append(count_wrong(batch, 0))
        del batch
    with torch.cuda.stream(fast):
        for number in range(1, 20):
            wrong.append(count_wrong(next(iterator), number))
    assert_none_wrong(wrong)


def test_a_consumer_on_a_stream_of_its_own() -> None:
    wrong = []
    with torch.cuda.stream(torch.cuda.Stream()):
        for number, batch in enumerate(CUDAPrefetcher(numbered(12))):
            sleep(BRIEF)
            wrong.append(count_wrong(batch, number))
            del batch
            churn()
    assert_none_wrong(wrong)


def test_the_consumer_waits_for_the_transform() -> None:
    def slow(batch: Tensor) -> Tensor:
        sleep(5 * BRIEF)
        return batch + 1000

    wrong = []
    for number, batch in enumerate(CUDAPrefetcher(numbered(8), transform=slow)):
        wrong.append(count_wrong(batch, number + 1000))
    assert_none_wrong(wrong)


@pytest.mark.parametrize("prefetch_batches", [1, 2, 4])
def test_the_transform_sees_what_the_consumer_computed_before(prefetch_batches: int) -> None:
    steps = [torch.zeros(1, dtype=torch.int32, device="cuda")]
    wrong = []
    prefetcher = CUDAPrefetcher(
        numbered(12),
        prefetch_batches=prefetch_batches,
        transform=lambda batch: batch + 1000 * steps[-1],
    )
    for number, batch in enumerate(prefetcher):
        steps_before = max(0, number - prefetch_batches)
        wrong.append(count_wrong(batch, number + 1000 * steps_before))
        sleep(BRIEF)
        steps.append(steps[-1] + 1)
    assert_none_wrong(wrong)


def test_the_transform_builds_no_graph() -> None:
    weight = torch.ones(1, device="cuda", requires_grad=True)
    (batch,) = CUDAPrefetcher([torch.ones(3)], transform=lambda batch: batch * weight)
    assert not batch.requires_grad
    assert torch.is_grad_enabled()


def test_copies_do_not_wait_for_the_computation_on_the_batch_before() -> None:
    consumer = torch.cuda.current_stream()
    staged: list[tuple[torch.cuda.Stream, torch.cuda.Event]] = []

    def note(batch: Tensor) -> Tensor:
        event = torch.cuda.Event()
        event.record()
        staged.append((torch.cuda.current_stream(), event))
        return batch

    iterator = iter(CUDAPrefetcher(numbered(6), prefetch_batches=1, transform=note))
    next(iterator)
    next(iterator)
    sleep(LONG)  # the computation on batch 1
    computed = torch.cuda.Event()
    computed.record()
    stream, copied = staged[2]
    copied.synchronize()
    assert not computed.query()
    assert stream != consumer
    iterator.close()


def test_pinned_sources_are_kept_until_their_copy_is_done() -> None:
    hosts: list[weakref.ref[Tensor]] = []

    def source() -> Iterator[Tensor]:
        for number in range(6):
            host = torch.full((SIZE,), number, dtype=torch.int32).pin_memory()
            hosts.append(weakref.ref(host))
            yield host
            del host

    iterator = iter(CUDAPrefetcher(source(), prefetch_batches=1))
    next(iterator)
    sleep(LONG)
    computed = torch.cuda.Event()
    computed.record()
    next(iterator)  # queues the copy of batch 2, behind the computation
    kept = hosts[2]() is not None
    assert not computed.query()
    assert kept
    torch.cuda.synchronize()
    next(iterator)
    assert hosts[2]() is None


def test_one_side_stream_and_no_growth_over_many_epochs() -> None:
    streams = set()

    def note(batch: Tensor) -> Tensor:
        streams.add(torch.cuda.current_stream().cuda_stream)
        return batch + 1

    prefetcher = CUDAPrefetcher(list(numbered(6)), transform=note)

    def run(epochs: int) -> tuple[int, int]:
        for _ in range(epochs):
            for batch in prefetcher:
                batch.sum()
                del batch
        torch.cuda.synchronize()
        gc.collect()
        return torch.cuda.memory_allocated(), torch.cuda.memory_reserved()

    allocated, reserved = run(5)
    allocated_later, reserved_later = run(50)
    assert allocated_later == allocated
    # The caching allocator may need a few blocks more one time than another; 300 batches ran.
    assert reserved_later - reserved <= 16 * BATCH_BYTES
    assert len(streams) == 1
    assert torch.cuda.current_stream().cuda_stream not in streams


@pytest.mark.parametrize("prefetch_batches", [1, 3])
def test_a_fast_host_does_not_pile_up_batches(prefetch_batches: int) -> None:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_stats()["active_bytes.all.current"]
    host = torch.zeros(SIZE, dtype=torch.int32).pin_memory()
    for batch in CUDAPrefetcher([host] * 60, prefetch_batches=prefetch_batches):
        sleep(BRIEF)
        batch.add_(1)
        del batch
    peak = torch.cuda.memory_stats()["active_bytes.all.peak"] - before
    assert peak <= (2 * prefetch_batches + 4) * BATCH_BYTES


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_short_loaders(length: int) -> None:
    batches = [torch.full((3,), number) for number in range(length)]
    prefetcher = CUDAPrefetcher(batches)
    for _ in range(3):
        assert [int(batch[0]) for batch in prefetcher] == list(range(length))
    assert len(prefetcher) == length


def test_an_early_break_closes_the_source_and_leaves_nothing_on_the_device() -> None:
    finished = []

    def source() -> Iterator[Tensor]:
        try:
            yield from numbered(50)
        finally:
            finished.append(True)

    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for number, batch in enumerate(CUDAPrefetcher(source())):
        sleep(BRIEF)
        del batch
        if number == 3:
            break
    gc.collect()
    assert finished == [True]
    assert torch.cuda.memory_allocated() == before


def test_an_error_comes_after_the_batches_in_flight() -> None:
    def source() -> Iterator[Tensor]:
        yield from numbered(5)
        raise ValueError("bad")

    iterator = iter(CUDAPrefetcher(source(), prefetch_batches=3))
    wrong = [count_wrong(next(iterator), number) for number in range(5)]
    with pytest.raises(ValueError, match="bad"):
        next(iterator)
    assert next(iterator, None) is None
    assert_none_wrong(wrong)


def test_two_prefetchers_and_two_iterators_of_one() -> None:
    streams: list[list[int]] = [[], []]

    def noting(index: int) -> Any:
        def transform(batch: Tensor) -> Tensor:
            streams[index].append(torch.cuda.current_stream().cuda_stream)
            return batch + 1000 * index

        return transform

    first = CUDAPrefetcher(list(numbered(8)), transform=noting(0))
    second = CUDAPrefetcher(list(numbered(8)), transform=noting(1))
    wrong = []
    for number, (a, b, c) in enumerate(zip(first, second, first, strict=True)):
        sleep(BRIEF)
        wrong += [count_wrong(batch, number) for batch in (a, c)]
        wrong.append(count_wrong(b, number + 1000))
        del a, b, c
        churn()
    assert_none_wrong(wrong)
    assert len(wrong) == 24
    assert [len(set(ids)) for ids in streams] == [1, 1]
    assert streams[0][0] != streams[1][0]


def test_batches_from_a_background_thread() -> None:
    wrong = []
    with BackgroundIterator(numbered(20), max_prefetch=3) as source:
        for number, batch in enumerate(CUDAPrefetcher(source)):
            sleep(BRIEF)
            wrong.append(count_wrong(batch, number))
            del batch
    assert_none_wrong(wrong)
    assert len(wrong) == 20


def test_batches_of_a_dataloader_that_pins() -> None:
    dataset = TensorDataset(torch.arange(64.0), torch.arange(64))
    loader = DataLoader(dataset, batch_size=8, pin_memory=True)
    prefetcher = CUDAPrefetcher(loader)
    assert len(prefetcher) == 8
    for _ in range(2):
        images, targets = zip(*prefetcher, strict=True)
        assert torch.cat(images).tolist() == list(range(64))
        assert torch.cat(targets).tolist() == list(range(64))


def test_the_device_is_the_one_current_at_construction() -> None:
    last = torch.cuda.device_count() - 1
    with torch.cuda.device(last):
        prefetcher = CUDAPrefetcher(list(numbered(3)))
    assert prefetcher.device == torch.device("cuda", last)
    assert CUDAPrefetcher([], 0).device == CUDAPrefetcher([], "cuda:0").device
    current = torch.cuda.current_device()
    for number, batch in enumerate(prefetcher):
        assert batch.device == prefetcher.device
        assert torch.cuda.current_device() == current
        with torch.cuda.device(last):
            assert int(count_wrong(batch, number)) == 0
