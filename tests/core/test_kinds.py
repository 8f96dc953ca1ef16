"""The kinds of fields, each held to the contract, and what all of them together promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from contracts.kind_contract import check_kind
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from fastdata.core import KINDS, kind_of
from fastdata.core.fields import Field
from fastdata.errors import DecodeError, OptionError
from fastdata.images import GEOMETRY, MEDIA

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
finite = st.floats(allow_nan=False, allow_infinity=False)
corners = st.integers(0, 4).flatmap(
    lambda n: st_numpy.arrays("<f4", (n, 2, 2), elements=st.floats(-(2.0**90), 2.0**90, width=32))
)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(),
    "str": texts,
    "json": st.recursive(
        st.none() | st.booleans() | st.integers() | finite | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    ),
    "float32[2,3]": st_numpy.arrays("<f4", (2, 3), elements=st.floats(width=32, allow_nan=False)),
    "int64[?,2]": st.integers(0, 4).flatmap(lambda n: st_numpy.arrays("<i8", (n, 2))),
    "uint64[?]": st.lists(st.integers(0, 2**64 - 1), max_size=4),
    "uint8[]": st.integers(0, 255),
    "bool[2]": st.lists(st.booleans(), min_size=2, max_size=2),
    "boxes": corners.map(lambda pairs: np.sort(pairs, axis=1).reshape(-1, 4)),
}


def test_every_kind_without_pixels_is_held_to_the_contract() -> None:
    held = {Field.parse(text).kind for text in VALUES}
    assert held | {"bytes"} == {name for name, kind in KINDS.items() if not kind.media}


@pytest.mark.parametrize("text", VALUES)
@settings(max_examples=30)
@given(data=st.data())
def test_no_form_of_a_value_loses_anything(text: str, data: st.DataObject) -> None:
    check_kind(text, data.draw(VALUES[text]))


def test_what_needs_pixels_is_in_the_tables_of_images() -> None:
    assert {name for name, kind in KINDS.items() if kind.media} == MEDIA.keys()
    assert {name for name, kind in KINDS.items() if kind.moves} == GEOMETRY.keys()


def test_no_two_kinds_are_read_from_one_extension() -> None:
    extensions = [end for kind in KINDS.values() for end in kind.read_from]
    assert len(extensions) == len(set(extensions))


def test_integers_of_64_bits_are_not_rounded_in_lists() -> None:
    """NumPy makes floats of integers below and above 2^63 in one list."""
    exact = [0, 2**63 + 1, 2**64 - 1]
    kind = kind_of(Field.parse("uint64[3]"))
    assert kind.check(exact).tolist() == exact
    assert kind.check(tuple(exact)).tolist() == exact
    assert kind.from_json(exact).tolist() == exact
    with pytest.raises(DecodeError, match="does not fit into int64"):
        kind_of(Field.parse("int64[3]")).check(exact)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("int", True), ("int", 1.0), ("int", None), ("float", True), ("float", "1"),
        ("str", 1), ("int64[1]", [1.0]), ("int64[1]", [True]), ("float32[1]", [True]),
        ("bool[1]", [1]), ("float32[1]", ["1"]), ("boxes", [[True, True, True, True]]),
    ],
)  # fmt: skip
def test_json_has_to_be_of_the_very_type(text: str, value: object) -> None:
    with pytest.raises(DecodeError):
        kind_of(Field.parse(text)).from_json(value)


@pytest.mark.parametrize("text", ["int", "float", "int64[1]"])
def test_a_number_of_thousands_of_digits_is_refused(text: str) -> None:
    for value in (10**6000, [10**6000]):
        with pytest.raises(DecodeError):
            kind_of(Field.parse(text)).check(value)


def test_there_is_no_kind_of_another_name() -> None:
    with pytest.raises(OptionError, match="got 'photo'"):
        kind_of(Field("photo"))
