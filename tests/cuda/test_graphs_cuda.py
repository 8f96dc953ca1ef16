"""A consumer that captures its step into a CUDA graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.gpu import BRIEF, GPU, SIZE, churn, numbered, sleep

from fastdata.loader.prefetch import CUDAPrefetcher
from fastdata.loader.workers.background import BackgroundIterator

pytestmark = GPU


class CapturedStep:
    """Counts the wrong elements of its static input, whose number rises with each replay."""

    def __init__(self, **options: Any) -> None:
        self.input = torch.zeros(SIZE, dtype=torch.int32, device="cuda")
        self.number = torch.zeros((), dtype=torch.int32, device="cuda")
        self.wrong = torch.zeros((), dtype=torch.int64, device="cuda")
        self.warm_up()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, **options):
            self.run()

    def run(self) -> None:
        self.wrong += (self.input != self.number).sum()
        self.number += 1

    def warm_up(self) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.run()
        torch.cuda.current_stream().wait_stream(stream)
        self.number.zero_()
        self.wrong.zero_()

    def feed(self, batch: torch.Tensor) -> None:
        self.input.copy_(batch)
        self.graph.replay()

    def counts(self) -> tuple[int, int]:
        return int(self.number), int(self.wrong)


@pytest.mark.parametrize("prefetch_batches", [1, 3])
@pytest.mark.parametrize("own_stream", [False, True])
def test_a_captured_step_is_fed_through_its_static_input(
    prefetch_batches: int, own_stream: bool
) -> None:
    step = CapturedStep()
    stream = torch.cuda.Stream() if own_stream else torch.cuda.current_stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for batch in CUDAPrefetcher(numbered(20), prefetch_batches=prefetch_batches):
            sleep(BRIEF)
            step.feed(batch)
            del batch
            churn()
    torch.cuda.synchronize()
    assert step.counts() == (20, 0)


def test_a_step_is_captured_while_batches_are_in_flight() -> None:
    iterator = iter(CUDAPrefetcher(numbered(12), prefetch_batches=3))
    first = next(iterator)
    step = CapturedStep()
    step.feed(first)
    for batch in iterator:
        step.feed(batch)
    torch.cuda.synchronize()
    assert step.counts() == (12, 0)


def test_a_step_is_captured_while_another_thread_pins() -> None:
    with BackgroundIterator(numbered(12), max_prefetch=2) as source:
        iterator = iter(CUDAPrefetcher(source))
        first = next(iterator)
        step = CapturedStep(capture_error_mode="thread_local")
        step.feed(first)
        for batch in iterator:
            step.feed(batch)
    torch.cuda.synchronize()
    assert step.counts() == (12, 0)


def test_asking_for_a_batch_within_the_capture_is_refused_and_spoils_nothing() -> None:
    prefetcher = CUDAPrefetcher(list(numbered(3)))
    assert len(list(prefetcher)) == 3  # makes the side stream, which a capture might forbid
    torch.cuda.synchronize()
    count = torch.zeros((), dtype=torch.int32, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        count += 1
        with pytest.raises(RuntimeError, match="captures a graph"):
            next(iter(prefetcher))
    for _ in range(3):
        graph.replay()
    torch.cuda.synchronize()
    assert int(count) == 3
    assert len(list(prefetcher)) == 3
