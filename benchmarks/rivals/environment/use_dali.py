"""NVIDIA DALI, on CPUs alone: ``device_id=None``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nvidia.dali import fn, pipeline_def, types
from nvidia.dali.plugin.base_iterator import LastBatchPolicy
from nvidia.dali.plugin.pytorch import DALIGenericIterator

from benchmarks.contenders.contenders import RATIO, SCALE, Batches, Job

from . import pixels


class Epochs:
    """DALI's iterator as batches of (images, targets); its reset between epochs is its own."""

    def __init__(self, job: Job) -> None:
        pipeline = images_of(
            job,
            batch_size=job.batch,
            num_threads=max(1, job.workers),
            device_id=None,
            seed=job.seed,
            prefetch_queue_depth=2,
        )
        self.batches = DALIGenericIterator(
            pipeline,
            ["images", "targets"],
            reader_name="files",
            last_batch_policy=LastBatchPolicy.DROP,
            auto_reset=True,
        )

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for [batch] in self.batches:
            # Channels stay last in memory, which saves DALI a transposition.
            yield batch["images"].permute(0, 3, 1, 2), batch["targets"].squeeze(1)


@pipeline_def
def images_of(job: Job) -> Any:
    """Files, decoding (for crops only the part that is needed), resizing, mirroring."""
    files, targets = fn.readers.file(
        file_root=job.images, random_shuffle=pixels.is_shuffled(job), name="files"
    )
    if pixels.is_shuffled(job):
        images = fn.decoders.image_random_crop(
            files, device="cpu", random_area=SCALE, random_aspect_ratio=RATIO, num_attempts=10
        )
        images = resized(job, images, resize_x=job.size, resize_y=job.size)
        images = fn.flip(images, horizontal=fn.random.coin_flip())
    else:
        images = fn.decoders.image(files, device="cpu")
        images = resized(job, images, resize_shorter=job.size * 8 // 7)
        images = fn.crop(images, crop=(job.size, job.size))
    return images, targets


def resized(job: Job, images: Any, **size: int) -> Any:
    """Linear, with antialiasing where the job has it."""
    linear = types.DALIInterpType.INTERP_LINEAR
    return fn.resize(images, antialias=job.antialias, interp_type=linear, **size)


def build(job: Job) -> Batches:
    """A pipeline of as many threads as there are workers."""
    return Epochs(job)
