"""Input of a pipeline: encoded images, or parts of them, and their plans."""

from __future__ import annotations

import time
from collections.abc import Iterator
from operator import index as as_int
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..datasets import ImageDataset, SampleReader
from ..errors import OptionError
from ..images import Box, EncodedImage, Plan, check_size, cut_slice, decode_image, probe, sniff
from ..loader import Task
from .graph import Graph

Bytes = NDArray[np.uint8]

# Formats that DALI does not read, and TIFF, whose orientation OpenCV undoes in any case.
_OURS = ("avif", "gif", "tiff")


class Input(NamedTuple):
    """One sample: a file or HWC pixels, and the plan for it."""

    sample: int
    data: Bytes
    plan: Plan


class Feed(NamedTuple):
    """One batch: its number in the epoch, its samples, the graph that they need.

    ``error`` is to be raised instead where a sample could not be read. ``seconds`` is what reading
    and planning took.
    """

    number: int
    inputs: list[Input]
    graph: Graph
    seconds: float = 0.0
    error: Exception | None = None


class Feeder:
    """Makes feeds from a dataset, for one iteration, in one thread at a time."""

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset

    def feeds(self, tasks: Iterator[Task]) -> Iterator[Feed]:
        """A feed for each batch of indices."""
        for task in tasks:
            start = time.perf_counter()
            try:
                feed = self._feed(task)
            except Exception as error:
                feed = Feed(task.number, [], Graph(False, ()), error=error)
            yield feed._replace(seconds=time.perf_counter() - start)
            del feed

    def _feed(self, task: Task) -> Feed:
        inputs, graph = [], None
        reader, everything = self._dataset.sample_reader(), range(len(self._dataset))
        for i in task.indices:
            one, pixels = _input(reader, everything[as_int(i)])
            own = Graph.of(one.plan, pixels)
            graph = own if graph is None or graph == own else graph.merged(own)
            inputs.append(one)
        if graph is None:
            raise OptionError("the batch sampler gave a batch without a sample")
        _check_sizes(inputs)
        return Feed(task.number, inputs, graph)


def _input(reader: SampleReader, index: int) -> tuple[Input, bool]:
    """A sample, and whether it is pixels, not a file."""
    with reader.naming(index):
        image = _with_size(reader.read(index))
        plan = reader.plan(index, image)[0]
        if plan is None:
            plan = Plan.whole(*image.oriented_size)
        return Input(index, *_needed_part(image, plan)), image.raw


def _needed_part(image: EncodedImage, plan: Plan) -> tuple[Bytes, Plan]:
    """The bytes that a plan needs, and the plan for these."""
    box = plan.first.box
    if image.raw:
        cut = decode_image(image, Plan.whole(*image.oriented_size).crop(box))
        return cut, plan.from_box(Box(0, 0, box.height, box.width))
    sliced = cut_slice(image, plan) if image.orientation == 1 else None
    if sliced is not None:
        return sliced[0].copy(), sliced[1]
    if sniff(image.data) in _OURS:
        cut = decode_image(image, Plan.whole(*image.oriented_size).crop(box))
        return _as_ppm(cut), plan.from_box(Box(0, 0, box.height, box.width))
    check_size(image.data, image.height, image.width)
    return np.frombuffer(image.data, np.uint8), plan


def _with_size(image: EncodedImage) -> EncodedImage:
    """The image with its size, which DALI's graph needs before anything is decoded."""
    if image.height:
        return image
    header = probe(image.data)
    return image._replace(height=header.height, width=header.width)


def _as_ppm(pixels: Bytes) -> Bytes:
    """HWC pixels as a file, for a batch in which the others are files, too."""
    header = b"P6 %d %d 255\n" % (pixels.shape[1], pixels.shape[0])
    return np.concatenate([np.frombuffer(header, np.uint8), pixels.ravel()])


def _check_sizes(inputs: list[Input]) -> None:
    sizes = {(one.plan.height, one.plan.width) for one in inputs}
    if len(sizes) > 1:
        found = " and ".join(f"{h}x{w}" for h, w in sorted(sizes)[:2])
        raise OptionError(
            f"the images of a batch must have one size, found {found}: end the transform with one "
            "that gives them a fixed size, such as CenterCrop"
        )
