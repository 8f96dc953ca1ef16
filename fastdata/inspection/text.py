"""Text in columns: names of any length and script, on a terminal or on a picture."""

from __future__ import annotations

import unicodedata
from itertools import zip_longest

_ELLIPSIS = "…"


def columns_of(text: str) -> int:
    """Number of a terminal's columns that a text takes: East Asian wide characters take two."""
    return sum(_width(character) for character in text)


def printable(text: str) -> str:
    """The text with what moves a cursor, or cannot be seen, as escapes: "a\\nb" is ``a\\nb``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shortened(text: str, columns: int, *, keep_end: bool = False) -> str:
    """``printable`` text of at most ``columns`` (≥ 1); what is cut off leaves an ellipsis.

    Args:
        text: any.
        columns: as ``columns_of`` counts them.
        keep_end: cut at the beginning instead, as suits paths.
    """
    text = printable(text)
    if columns_of(text) <= columns:
        return text
    kept, room = [], columns - 1
    for character in reversed(text) if keep_end else text:
        room -= _width(character)
        if room < 0:
            break
        kept.append(character)
    return _ELLIPSIS + "".join(reversed(kept)) if keep_end else "".join(kept) + _ELLIPSIS


def padded(text: str, columns: int) -> str:
    """``shortened``, and filled with spaces to exactly so many columns."""
    text = shortened(text, columns)
    return text + " " * (columns - columns_of(text))


def side_by_side(left: list[str], right: list[str], columns: int) -> list[str]:
    """Two blocks of lines next to each other, the left one ``columns`` wide."""
    pairs = zip_longest(left, right, fillvalue="")
    return [f"{padded(one, columns)}{other}".rstrip() for one, other in pairs]


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
