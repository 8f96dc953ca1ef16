"""Numbers that a dataset's copies in torch's workers share with the loader's process."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import get_worker_info

#: Places in ``SharedNumbers.numbers``.
EPOCH, SEED = 0, 1

_HEAD = 2
_MOST_WORKERS = 1024


class SharedNumbers:
    """Numbers in shared memory: every copy of a dataset sees them, however workers were started.

    ``numbers`` is uint64: the epoch and the seed. ``reading`` is int64, the sample that each worker
    process began to read last, and in the end a place for whatever is no worker process.
    """

    def __init__(self, tensor: torch.Tensor | None = None) -> None:
        if tensor is None:
            tensor = torch.full((_HEAD + _MOST_WORKERS + 1,), -1, dtype=torch.int64)
            tensor[:_HEAD] = 0
        # What a worker receives is shared already; a copy made otherwise is a dataset of its own.
        self._tensor = tensor.share_memory_()  # type: ignore[no-untyped-call]
        array = tensor.numpy()
        self.numbers = array[:_HEAD].view(np.uint64)
        self.reading = array[_HEAD:]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._tensor,)  # an array would be pickled as a copy


class _ThisWorker:
    """Identity of this worker process: its place in ``SharedNumbers.reading``."""

    def __init__(self) -> None:
        self.pid = -1
        self.slot = -1


this_worker = _ThisWorker()


def enter_worker() -> None:
    """Find out where this runs, once a process; a worker's OpenCV gets no threads of its own.

    It would start one for each core of the machine, in each worker.
    """
    if this_worker.pid == os.getpid():
        return
    info = get_worker_info()
    this_worker.slot = -1 if info is None else min(info.id, _MOST_WORKERS)
    this_worker.pid = os.getpid()
    if info is not None:
        cv2.setNumThreads(0)
