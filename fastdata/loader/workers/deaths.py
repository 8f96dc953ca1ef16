"""Telling what worker processes were doing when they died."""

from __future__ import annotations

from typing import Any

from ...datasets import image_datasets
from ...errors import WorkerError
from ..progress import Progress
from .batch_maker import describe, name_of


def explained(
    error: RuntimeError, lost: list[tuple[int, list[int]]], dataset: Any, progress: Progress
) -> WorkerError | None:
    """A better error than the one about the death of workers; None if none has died.

    Args:
        error: what was raised.
        lost: the number of each dead worker, and the tasks that it had, counted from the first one
            of its iteration.
        dataset: the loader's.
        progress: of that iteration; it knows the samples of each task.
    """
    if not lost:
        return None
    parts = []
    for worker, tasks in lost:
        batches = [progress.issued.get(progress.first + task) for task in tasks]
        parts.append(f"worker {worker} was {_doing(dataset, worker, batches)}")
    return WorkerError(f"{error} ({'; '.join(parts)})")


def _doing(dataset: Any, worker: int, batches: list[Any]) -> str:
    """Words for the work of a dead worker; the first of its batches may be made and not sent."""
    if not batches or batches[0] is None:
        return "waiting for work"
    listed = [i for b in batches for i in (b if isinstance(b, (list, tuple)) else [b])]
    for inner in image_datasets(dataset):
        # What fastdata's datasets note may be of an earlier worker with that number, or of another
        # loader over the same dataset: it counts if it is among this worker's samples.
        index = inner.reading(worker)
        now = (inner.root, inner.key_of(index)) if index >= 0 else None
        if now and any(name_of(dataset, i) == now for i in listed):
            return f"reading sample {index} ({now[1]} of {now[0]})"
    return f"making the batch of {describe(dataset, batches[0])}"
