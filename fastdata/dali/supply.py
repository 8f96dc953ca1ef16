"""A loader's deliveries, made by DALI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import default_collate

from ..core import close_if_possible
from ..datasets import ImageDataset
from ..errors import DecodeError, SampleError
from ..images import decode_whole, sniff
from ..loader import AheadFromSecond, Deliveries, Delivery, Tasks
from .feed import Feed, Feeder, Input
from .runner import Feeds, Runner, Settings, merged, suits


class DALIWorkers:
    """Makes the deliveries of a ``DALILoader``, as ``fastdata.loader.workers`` makes others'.

    Reading and planning is done ahead, in a background thread; DALI's pipeline is asked in the
    consumer's thread, where the consumer's CUDA stream is the current one. The pipeline outlives
    an iteration, as building one takes time.
    """

    def __init__(self, tasks: Tasks, settings: Settings) -> None:
        self._tasks = tasks
        self._settings = settings
        self._idle: Runner | None = None
        self._running: Runner | None = None

    def begin(self, loader: Any) -> Deliveries:
        """The deliveries of one iteration."""
        # As every iterator of torch's loader draws it, so that the samplers' draws behind it, and
        # with them the order, are those of DataLoaderX.
        torch.empty((), dtype=torch.int64).random_(generator=loader.generator)
        feeds = Feeder(loader.dataset).feeds(iter(self._tasks))
        if loader.prefetch_batches:
            feeds = AheadFromSecond(feeds, loader.prefetch_batches, "fastdata-dali")
        return DALIDeliveries(self._deliveries(loader.dataset, feeds), self)

    @property
    def ready(self) -> int:
        """Number of batches that DALI has, or is making, and nobody has asked for yet."""
        return 0 if self._running is None else self._running.ready

    def _deliveries(self, dataset: ImageDataset, source: Iterator[Feed]) -> Iterator[Delivery]:
        feeds = Feeds(source)
        runner, self._idle = self._idle, None
        try:
            while (feed := feeds.peek()) is not None:
                if feed.error is not None:
                    feeds.take()
                    yield Delivery(None, feed.number, error=feed.error)
                    continue
                runner = self._running = self._suitable_runner(runner, feed)
                del feed  # DALI copies what it is fed
                yield from self._run(runner, feeds, dataset)
            feeds.check()
        finally:
            close_if_possible(source)
            self._idle = _drained_runner(runner)

    def _suitable_runner(self, runner: Runner | None, feed: Feed) -> Runner:
        """The runner, if it can run the feed, or else a new one, for that feed, too."""
        if runner is None or runner.broken:
            return Runner(feed.graph, len(feed.inputs), self._settings)
        if suits(runner.graph, runner.size, feed):
            return runner
        graph = merged(runner.graph, feed.graph) or feed.graph
        return Runner(graph, max(runner.size, len(feed.inputs)), self._settings)

    def _run(self, runner: Runner, feeds: Feeds, dataset: ImageDataset) -> Iterator[Delivery]:
        """Deliveries of the runner, and where it breaks, the reason."""
        try:
            for feed, images in runner.run(feeds):
                yield _delivery(dataset, feed, images)
                del feed, images
            return
        except RuntimeError as error:
            if not runner.broken:
                raise
            failed, *others = runner.flights
            feeds.give_back(others)
            reason = error
        yield Delivery(None, failed.number, error=self._failed_sample(dataset, failed, reason))

    def _failed_sample(self, dataset: ImageDataset, feed: Feed, error: RuntimeError) -> SampleError:
        """The error of the sample for which DALI, as it says, has failed in a batch."""
        settings = self._settings._replace(ahead=0)
        for one in feed.inputs:
            alone = Feed(feed.number, [one], feed.graph)
            try:
                for _ in Runner(feed.graph, 1, settings).run(Feeds(iter([alone]))):
                    pass
            except RuntimeError as own:
                return dataset.sample_error(one.sample, _reason(one, own))
        return SampleError(f"{dataset.root}: DALI failed in batch {feed.number}: {error}")


class DALIDeliveries(Deliveries):
    """Deliveries of one iteration, of which DALI tells how many it has ready."""

    def __init__(self, source: Iterator[Delivery], workers: DALIWorkers) -> None:
        super().__init__(source)
        self._workers = workers

    @property
    def ready(self) -> int:
        """How many batches DALI has, or is making, that the consumer has not asked for yet."""
        return self._workers.ready


def _delivery(dataset: ImageDataset, feed: Feed, images: torch.Tensor) -> Delivery:
    delivery = Delivery(None, feed.number)
    delivery.seconds = {"dataset": feed.seconds, "reading": feed.seconds}
    split = dataset.sample_reader().split
    try:
        if split.head or split.rest:
            images = split.finish_batch(images.permute(0, 3, 1, 2))
        targets = default_collate([dataset.target_of(one.sample) for one in feed.inputs])
        delivery.batch = [images, targets]
    except Exception as error:  # of a target_transform; the batches behind it can still be made
        delivery.error = error
    return delivery


def _drained_runner(runner: Runner | None) -> Runner | None:
    """The runner when nothing runs in it any more, or None if it is broken."""
    if runner is None or runner.broken or sys.is_finalizing():  # DALI has ended its pipelines then
        return None
    try:
        runner.drain()
    except RuntimeError:
        return None
    return runner


def _reason(one: Input, error: RuntimeError) -> str:
    """Our decoder's, which says more, unless it is only DALI that does not take the sample."""
    told = str(error).rpartition("encountered:")[2].partition("Current pipeline object")[0]
    if one.data.ndim != 1:
        return f"DALI failed: {told.strip()}"
    try:
        decode_whole(one.data.data)
    except DecodeError as own:
        return str(own)
    kind = sniff(one.data.data) or "unknown"
    return f"DALI cannot decode this {kind} data ({told.strip()}); DataLoaderX can"
