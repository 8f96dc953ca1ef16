"""How far an epoch has come: the batches that its consumer has had."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from .order.replay import Randomness


class Progress:
    """Count of the batches of an epoch that the consumer has had.

    ``done`` batches from the first on, without a gap, and those numbered in ``ahead``, which
    exist only with ``in_order=False``. It began with batch ``first``. ``issued`` holds the indices
    of the batches that workers have, or have made, and ``random`` the state that the sampler's
    random draws began with.
    """

    def __init__(self, done: int = 0, ahead: Iterable[int] = ()) -> None:
        self.first = done
        self.done = done
        self.ahead = set(ahead)
        self.finished = False
        self.issued: dict[int, Any] = {}
        self.random: Randomness | None = None
        # Between the workers and the consumer batches have no number, only their order.
        self._arrived: deque[int] = deque()

    def arrived(self, number: int) -> None:
        """Batch ``number`` has left the workers and will be given to the consumer."""
        self.issued.pop(number, None)
        self._arrived.append(number)

    def given(self) -> None:
        """The consumer has the batch that arrived first."""
        self.without(self._arrived.popleft())

    def without(self, number: int) -> None:
        """Batch ``number`` is over and done with."""
        self.issued.pop(number, None)
        self.ahead.add(number)
        while self.done in self.ahead:
            self.ahead.remove(self.done)
            self.done += 1
