"""The record of samples that could not be read, and how many of them are too many."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..errors import OptionError, SampleError
from .delivery import SampleFailure

POLICIES = ("raise", "skip", "substitute")


def check_policy(on_error: str, max_errors: float) -> None:
    """OptionError, unless the two are as ``FailureLog`` takes them."""
    if on_error not in POLICIES:
        raise OptionError(f"on_error must be one of {', '.join(POLICIES)}, got {on_error!r}")
    share = isinstance(max_errors, float)
    if max_errors < 0 or (share and max_errors > 1) or max_errors != max_errors:
        raise OptionError(
            f"max_errors must be a count >= 0 or a share from 0.0 to 1.0, got {max_errors!r}"
        )


class FailureLog:
    """Record of the samples that a loader could not read, over its life.

    Args:
        on_error: "raise", "skip" or "substitute".
        max_errors: how many samples of one epoch may fail: a count, or a share of the epoch's
            samples (a float from 0 to 1), rounded up.
    """

    def __init__(self, on_error: str, max_errors: float) -> None:
        self._on_error = on_error
        self._max_errors = max_errors
        self._known: dict[tuple[str, str, int], SampleFailure] = {}
        self._epoch = 0
        self._in_epoch = 0
        self._allowed: float = 0

    @property
    def failures(self) -> list[SampleFailure]:
        """The samples that failed, in the order in which they were met first."""
        return list(self._known.values())

    def begin(self, epoch: int, sampler: Any) -> None:
        """Count anew, for an epoch of the samples of ``sampler``."""
        self._allowed = self._max_errors
        if self._on_error != "raise" and isinstance(self._max_errors, float):
            self._allowed = math.ceil(self._max_errors * len(sampler))
        self._epoch = epoch
        self._in_epoch = 0

    def add(self, failures: Iterable[SampleFailure]) -> None:
        """Record failures of this epoch; SampleError when there are more than allowed."""
        for failure in failures:
            self._in_epoch += 1
            self._record(failure)
            if self._in_epoch > self._allowed:
                raise SampleError(
                    f"{self._in_epoch} samples of this epoch could not be read, and max_errors="
                    f"{self._max_errors!r} allows {self._allowed}; the last one was {failure.key} "
                    f"of {failure.source}: {failure.reason} (loader.errors lists them all)"
                )

    def _record(self, failure: SampleFailure) -> None:
        name = (failure.source, failure.key, failure.index)
        known = self._known.get(name)
        if known is not None:
            self._known[name] = replace(known, times=known.times + 1)
            return
        self._known[name] = replace(failure, epoch=self._epoch)
        done = "left out" if self._on_error == "skip" else "replaced by another"
        warnings.warn(
            f"sample {failure.key} of {failure.source} is {done}: {failure.reason}", stacklevel=2
        )
