"""SPDL: a pipeline of threads, in which one task decodes one batch (one an image is slower)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import spdl.io
import torch
from spdl.pipeline import PipelineBuilder

from benchmarks.contenders.contenders import Batches, Job
from benchmarks.contenders.pil import crop_box

from . import pixels

Batch = tuple[torch.Tensor, torch.Tensor]
Chosen = list[tuple[str, int]]


class Epochs:
    """Each iteration runs a pipeline over a new order."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.samples = [(str(file), target) for file, target in pixels.samples(Path(job.images))]
        self.random = np.random.default_rng(job.seed)

    def __iter__(self) -> Iterator[Batch]:
        threads = max(1, self.job.workers)
        order = "completion" if pixels.is_shuffled(self.job) else "input"
        pipeline = (
            PipelineBuilder()
            .add_source(self.chosen())
            .pipe(self.decoded, concurrency=threads, output_order=order)
            .add_sink(2 * threads)
            .build(num_threads=threads)
        )
        with pipeline.auto_stop():
            yield from pipeline.get_iterator()

    def chosen(self) -> Iterator[Chosen]:
        """The samples of each full batch."""
        order = np.arange(len(self.samples))
        if pixels.is_shuffled(self.job):
            self.random.shuffle(order)
        for start in range(0, len(order) - self.job.batch + 1, self.job.batch):
            yield [self.samples[i] for i in order[start : start + self.job.batch]]

    def decoded(self, chosen: Chosen) -> Batch:
        """Each image cropped and scaled by FFmpeg's filters, then all in one buffer."""
        frames = [self.frame(file) for file, _ in chosen]
        images = spdl.io.to_torch(spdl.io.convert_frames(frames))
        return images.permute(0, 3, 1, 2), torch.tensor([target for _, target in chosen])

    def frame(self, file: str) -> spdl.io.ImageFrames:
        """One decoded image; the crop is drawn from its height and width."""
        packets = spdl.io.demux_image(file)
        codec = packets.codec
        return spdl.io.decode_packets(packets, filter_desc=self.filters(codec.width, codec.height))

    def filters(self, width: int, height: int) -> str:
        """FFmpeg's description of the work."""
        size = self.job.size
        if not pixels.is_shuffled(self.job):
            w, h = pixels.shorter_side(width, height, size * 8 // 7)
            return f"scale={w}:{h}:flags=bilinear,crop={size}:{size},format=rgb24"
        left, top, right, bottom = crop_box(width, height)
        crop = f"crop={right - left}:{bottom - top}:{left}:{top}:exact=1"
        flip = ",hflip" if torch.rand(()).item() < 0.5 else ""
        return f"{crop},scale={size}:{size}:flags=bilinear{flip},format=rgb24"


def build(job: Job) -> Batches:
    """As many threads as there are workers."""
    return Epochs(job)
