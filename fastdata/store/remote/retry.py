"""Another attempt for what fails by chance."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ...errors import OptionError

T = TypeVar("T")

_SLICE = 0.05  # seconds after which a wait looks whether it is cancelled
_chance = random.SystemRandom()  # neither seeded by a user nor copied by a fork


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a transient failure is met with another attempt.

    Attributes:
        attempts: how many there are at most, at least 1. An fsspec implementation may have
            attempts of its own below each; s3fs has.
        wait: seconds before the second; each further wait is twice as long, and each is shortened
            by up to a half, at random, so that many clients do not come back at once.
        longest_wait: seconds that no wait exceeds.
    """

    attempts: int = 4
    wait: float = 0.5
    longest_wait: float = 8.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.wait < 0 or self.longest_wait < 0:
            raise OptionError(f"expected at least one attempt and waits from 0 on, found {self}")

    def run(
        self,
        call: Callable[[], T],
        is_transient: Callable[[Exception], bool],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> T:
        """What ``call`` returns, or the error of its last attempt.

        Args:
            call: called up to ``attempts`` times.
            is_transient: whether an error is worth another attempt.
            cancelled: ends a wait, and so the attempts, once it returns True.
        """
        wait = self.wait
        for _ in range(self.attempts - 1):
            try:
                return call()
            except Exception as error:
                if not is_transient(error) or cancelled():
                    raise
            _pause(min(wait, self.longest_wait) * _chance.uniform(0.5, 1), cancelled)
            wait *= 2
        return call()


def _pause(seconds: float, cancelled: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not cancelled():
        time.sleep(min(_SLICE, left))
