"""Objects that give something back at the end of a ``with`` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Closable(ABC):
    """Base of what is closed by hand or by ``with``."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def close_if_possible(thing: object) -> None:
    """Call the ``close`` of a thing that has one, as generators have and other iterators may."""
    close = getattr(thing, "close", None)
    if close is not None:
        close()
