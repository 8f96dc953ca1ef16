"""A loader's deliveries, made by DALI."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import default_collate

from ..datasets import ImageDataset
from ..errors import DecodeError, SampleError
from ..images import decode_whole, sniff
from ..loader import BackgroundIterator, Delivery, Indices, Progress
from .feed import Feed, Feeder, Input
from .runner import Feeds, Runner, Settings, merged, suits


class DALISupply:
    """Makes the deliveries of a ``DALILoader``, as ``fastdata.loader.workers`` makes others'.

    Reading and planning is done ahead, in a background thread; DALI's pipeline is asked in the
    consumer's thread, where the consumer's CUDA stream is the current one. The pipeline outlives
    an iteration, as building one takes time.
    """

    def __init__(self, indices: Indices, settings: Settings) -> None:
        self._indices = indices
        self._settings = settings
        self._idle: Runner | None = None
        self._running: Runner | None = None

    def begin(self, loader: Any) -> Iterator[Delivery]:
        """The deliveries of one iteration."""
        # As every iterator of torch's loader draws it, so that the samplers' draws behind it, and
        # with them the order, are those of DataLoaderX.
        torch.empty((), dtype=torch.int64).random_(generator=loader.generator)
        feeds = Feeder(loader.dataset).feeds(iter(self._indices))
        return self._deliveries(loader.dataset, _feeds_ahead(feeds, loader.prefetch_batches))

    def ready(self) -> int:
        """Number of batches that DALI has, or is making, and nobody has asked for yet."""
        return 0 if self._running is None else self._running.ready

    def explainer(
        self, dataset: Any, progress: Progress
    ) -> Callable[[RuntimeError], RuntimeError | None]:
        """There are no worker processes to tell about."""
        return _nothing_to_add

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
            getattr(source, "close", lambda: None)()
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


def _feeds_ahead(feeds: Iterator[Feed], count: int) -> Iterator[Feed]:
    if count == 0:
        yield from feeds
        return
    # The first one is made here: that is when samplers draw from torch's global generator.
    for first in feeds:
        with BackgroundIterator(feeds, count, name="fastdata-dali") as background:
            yield first
            del first
            yield from background


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


def _nothing_to_add(error: RuntimeError) -> None:
    return None
