"""Kinds of sources: how each is recognised and listed, and the options that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .base import Source


@dataclass(frozen=True)
class SourceOption:
    """An option of a kind of source, for Python and for the command.

    Attributes:
        name: the keyword of what lists the kind; the command has hyphens for underscores.
        help: what it means, in half a line.
        metavar: what the command's help calls its value; "" for a flag, which has none.
        parse: the value from the command's text; OptionError if it is none.
        implies: whether it says which kind of source there is, so that nothing is found out.
    """

    name: str
    help: str
    metavar: str = ""
    parse: Callable[[str], Any] = str
    implies: bool = False

    @property
    def flag(self) -> str:
        """Its name for the command."""
        return f"--{self.name.replace('_', '-')}"

    def __str__(self) -> str:
        return f"{self.name} ({self.flag})"


@dataclass(frozen=True)
class SourceKind:
    """One kind of source.

    Attributes:
        name: what ``--source`` calls it.
        list: lists what is at a path; takes the options by keyword. See ``open_source``.
        detect: whether a path looks like it, found out by names and first bytes; any path, also
            one that does not exist. None if only its name or an option says so.
        options: what it takes besides the path.
    """

    name: str
    list: Callable[..., Source]
    detect: Callable[[str], bool] | None = None
    options: tuple[SourceOption, ...] = ()
