"""A DALI pipeline that runs, and torch tensors from what it gives."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch

from ..errors import OptionError
from .feed import Feed
from .graph import Graph
from .installed import dali


class Settings(NamedTuple):
    """Options that all pipelines of a loader have in common; ``ahead`` is a number of batches."""

    device: torch.device
    threads: int
    ahead: int
    orient: bool


class Feeds:
    """The feeds of one iteration, with a look at the next one."""

    def __init__(self, source: Iterator[Feed]) -> None:
        self._source = source
        self._head: deque[Feed] = deque()
        self._errors: list[Exception] = []

    def peek(self) -> Feed | None:
        """The next one; None at the end, or where the source has raised."""
        if not self._head and not self._errors:
            try:
                self._head.extend(islice(self._source, 1))
            except Exception as error:  # of a sampler
                self._errors.append(error)
        return self._head[0] if self._head else None

    def check(self) -> None:
        """Raise what the source has raised; in its turn, when all feeds before it are done."""
        if self._errors:
            raise self._errors.pop()

    def take(self) -> Feed:
        """The one that ``peek`` has shown."""
        return self._head.popleft()

    def give_back(self, feeds: list[Feed]) -> None:
        """Put feeds, oldest first, in front of the others."""
        self._head.extendleft(reversed(feeds))


class Runner:
    """One pipeline, for feeds of one graph and up to ``size`` samples."""

    def __init__(self, graph: Graph, size: int, settings: Settings) -> None:
        self.graph = graph
        self.size = size
        self.flights: deque[Feed] = deque()
        self.broken = False
        self._settings = settings
        self._pull = _Pull(graph, size, self.flights)
        self._pipeline = _built_pipeline(graph, size, settings, self._pull)
        _living.add(self)

    @property
    def ready(self) -> int:
        """Number of batches that it has in the making, or made."""
        return len(self.flights)

    def run(self, feeds: Feeds) -> Iterator[tuple[Feed, torch.Tensor]]:
        """The feeds' batches, N×H×W×3 uint8, up to the first feed that another graph is needed for.

        Raises:
            RuntimeError: DALI's, for the oldest of ``flights``; the runner is ``broken`` then.
        """
        self._pull.feeds = feeds
        lazy = self._settings.ahead == 0
        self._pipeline.schedule_run()
        while self.flights:
            self.broken = True  # unless this returns
            batch = self._taken_batch()
            self.broken = False
            feed = self.flights.popleft()
            if not lazy:
                self._pipeline.schedule_run()
            yield feed, batch
            del feed, batch
            if lazy:
                self._pipeline.schedule_run()
        self._pipeline.reset()

    def drain(self) -> None:
        """Wait for what runs, and forget it; ``run`` may then be called again."""
        self._pull.feeds = None
        self._pipeline.schedule_run()  # meets the end
        while not self._pipeline.empty():
            self._pipeline.outputs()
        self.flights.clear()
        self._pipeline.reset()

    def _taken_batch(self) -> torch.Tensor:
        if self._settings.device.type == "cpu":
            # DALI's outputs own their memory (executor "dynamic"): it is not written to again
            # while a tensor refers to it.
            images: torch.Tensor = torch.utils.dlpack.from_dlpack(
                self._pipeline.outputs()[0].as_tensor()
            )
            return images
        with torch.cuda.device(self._settings.device):
            stream = torch.cuda.current_stream()
            outputs = self._pipeline.outputs(stream)  # ready, and freed, in the stream's order
            # A copy belongs to torch's allocator, so that ``record_stream`` works on it.
            return torch.utils.dlpack.from_dlpack(outputs[0].as_tensor()).clone()


def suits(graph: Graph, size: int, feed: Feed) -> bool:
    """True if a pipeline of that graph and size can run a feed."""
    if feed.error is not None or len(feed.inputs) > size or feed.graph.pixels != graph.pixels:
        return False
    return feed.graph == graph or merged(graph, feed.graph) == graph


def merged(one: Graph, other: Graph) -> Graph | None:
    """A graph for both, if there can be one."""
    try:
        return one.merged(other)
    except OptionError:
        return None


class _Pull:
    """Source of the pipeline, called for each batch; it refers to no runner: that were a cycle."""

    def __init__(self, graph: Graph, size: int, flights: deque[Feed]) -> None:
        self._graph = graph
        self._size = size
        self._flights = flights
        self.feeds: Feeds | None = None

    def __call__(self) -> list[Any]:
        feed = None if self.feeds is None else self.feeds.peek()
        if self.feeds is None or feed is None or not suits(self._graph, self._size, feed):
            raise StopIteration
        self._flights.append(self.feeds.take())
        values = self._graph.values([one.plan for one in feed.inputs])
        return [[one.data for one in feed.inputs], *values]


def _built_pipeline(graph: Graph, size: int, settings: Settings, source: Callable[[], Any]) -> Any:
    on_gpu = settings.device.type == "cuda"
    pipeline = dali(".pipeline").Pipeline(
        batch_size=size,
        num_threads=settings.threads,
        device_id=settings.device.index if on_gpu else None,
        prefetch_queue_depth=max(settings.ahead, 1),
        exec_dynamic=True,
    )
    with pipeline:
        pipeline.set_outputs(graph.define(source, on_gpu, settings.orient))
    pipeline.build()
    return pipeline


_living: weakref.WeakSet[Runner] = weakref.WeakSet()
_inherited: list[Any] = []


def _after_fork() -> None:
    """In a forked process no thread of DALI's exists: ending a pipeline would wait for ever."""
    for runner in _living:
        runner.broken = True
        _inherited.append(runner._pipeline)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
