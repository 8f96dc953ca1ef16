"""Single things of torch's loader that others need."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader


def pinned(batch: Any) -> Any:
    """The batch in pinned memory, as torch's loader pins it."""
    from torch.utils.data._utils.pin_memory import pin_memory

    return pin_memory(batch)  # type: ignore[no-untyped-call]


def told_length(loader: DataLoader[Any]) -> int | None:
    """Number of samples that an iterable dataset told when ``len(loader)`` was asked for last."""
    told: int | None = loader._IterableDataset_len_called
    return told
