"""Text in columns."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdata.inspection.text import columns_of, padded, printable, shortened, side_by_side


@pytest.mark.parametrize(
    ("text", "columns", "ends", "expected"),
    [
        ("cat", 3, False, "cat"),
        ("catalogue", 5, False, "cata…"),
        ("photos/cat.jpg", 8, True, "…cat.jpg"),
        ("猫と犬", 6, False, "猫と犬"),
        ("猫と犬", 5, False, "猫と…"),
        ("a\nb\x1b[0m", 20, False, "a\\nb\\x1b[0m"),
        ("é" * 3, 2, False, "é…"),
        ("abc", 1, False, "…"),
    ],
)
def test_shortened(text: str, columns: int, ends: bool, expected: str) -> None:
    assert shortened(text, columns, keep_end=ends) == expected


@settings(max_examples=50)
@given(st.text(max_size=30), st.integers(1, 20), st.booleans())
def test_nothing_is_wider_or_unprintable(text: str, columns: int, ends: bool) -> None:
    found = shortened(text, columns, keep_end=ends)
    assert found.isprintable()
    assert columns_of(found) <= columns
    assert columns_of(padded(text, columns)) == columns
    assert printable(text).isprintable()


def test_side_by_side() -> None:
    assert side_by_side(["a", "bb"], ["1"], 4) == ["a   1", "bb"]
