"""What the sources of archives have in common, checked on any of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fastdata.core.fields import parse_fields
from fastdata.sources import Blob, Item, Source


def content(item: Item) -> tuple[str, dict[str, Any]]:
    """An item with its blobs read and its arrays as lists, so that it can be compared."""
    return item.key, {name: _plain(value) for name, value in item.values.items()}


def contents(source: Source) -> list[tuple[str, dict[str, Any]]]:
    return [content(item) for item in source]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tolist()
    return value.read() if isinstance(value, Blob) else value


def check_contract(list_again: Callable[[], Source]) -> None:
    """``list_again`` lists one and the same input, of at least three samples, each time anew."""
    source = list_again()
    count = len(source)
    assert count >= 3
    assert len(source.keys) == len(source.sizes) == len(source.stamps) == count
    assert source.sizes.dtype == source.stamps.dtype == np.int64
    assert len(set(source.keys)) == count
    assert parse_fields(source.fields) == source.fields
    everything = contents(source)
    assert [key for key, _ in everything] == list(source.keys)
    assert all(set(values) == set(source.fields) for _, values in everything)
    assert [content(source.item(i)) for i in range(count)] == everything
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda i: content(source.item(i)), range(count))) == everything
    assert contents(pickle.loads(pickle.dumps(source))) == everything
    for first, stop in ((0, count), (1, count - 1), (count - 1, count), (2, 2)):
        _check_part(source, first, stop, everything[first:stop])
    again = list_again()
    assert again.digest() == source.digest()
    assert list(again.keys) == list(source.keys)
    assert (again.stamps == source.stamps).all()


def _check_part(source: Source, first: int, stop: int, expected: list[Any]) -> None:
    part = source.part(first, stop)
    small = pickle.dumps(part)
    assert len(small) < len(pickle.dumps(source)) or stop - first == len(source)
    for one in (part, pickle.loads(small)):
        assert contents(one) == expected
        assert len(one) == len(one.sizes) == len(one.stamps) == stop - first
        assert (one.sizes == source.sizes[first:stop]).all()
        assert (one.stamps == source.stamps[first:stop]).all()
        assert one.fields == source.fields


def damaged(whole: bytes, data: st.DataObject) -> bytes:
    """Some bytes changed, among the first ones or anywhere, and perhaps the end cut off."""
    changed = bytearray(whole)
    places = st.one_of(st.integers(0, min(len(whole), 600) - 1), st.integers(0, len(whole) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
        changed[place] = value
    return bytes(changed[: data.draw(st.one_of(st.none(), st.integers(0, len(whole))))])
