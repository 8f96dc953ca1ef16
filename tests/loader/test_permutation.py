"""Permutation: an order that is computed wherever it is looked at."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastdata import OptionError, Permutation

LENGTHS = st.integers(0, 3000) | st.integers(2**16 - 2, 2**16 + 300)
HUGE = st.integers(2**31, 2**63 - 1)
SEEDS = st.integers(0, 2**64 - 1)


@settings(max_examples=40)
@given(LENGTHS, SEEDS)
@example(2**16, 0)
def test_each_element_comes_once(length: int, seed: int) -> None:
    order = Permutation(length, seed)[:]
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(length))


@settings(max_examples=40)
@given(HUGE, SEEDS, st.data())
def test_a_part_of_a_huge_order_has_no_element_twice(
    length: int, seed: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, length - 1000))
    part = Permutation(length, seed)[start : start + 1000]
    assert len(set(part.tolist())) == 1000
    assert 0 <= part.min() <= part.max() < length


@settings(max_examples=40)
@given(st.integers(1, 300) | HUGE, SEEDS, st.data())
def test_one_element_is_the_same_however_it_is_asked_for(
    length: int, seed: int, data: st.DataObject
) -> None:
    order = Permutation(length, seed)
    positions = data.draw(st.lists(st.integers(0, length - 1), max_size=20))
    taken = order.take(positions)
    assert taken.tolist() == [order[i] for i in positions]
    assert taken.tolist() == [order[i - length] for i in positions]
    assert np.array_equal(order.take(np.array(positions, np.uint64)), taken)
    assert list(islice(order, 20)) == order[:20].tolist()


@settings(max_examples=40)
@given(st.integers(0, 300), SEEDS, st.slices(300))
def test_slices_are_those_of_the_whole(length: int, seed: int, part: slice) -> None:
    order = Permutation(length, seed)
    assert order[part].tolist() == list(order)[part]


def test_blocks_join_without_a_seam() -> None:
    order = Permutation(50_000, 4)
    everything = order[:]
    assert list(order) == everything.tolist()
    assert np.array_equal(order[12_345:23_456:7], everything[12_345:23_456:7])
    assert np.array_equal(order.take(range(49_999, 8_000, -3)), everything[49_999:8_000:-3])


def test_take_keeps_the_shape() -> None:
    order = Permutation(100, 4)
    positions = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    assert np.array_equal(order.take(positions).ravel(), order[:24])
    assert order.take(positions).shape == (2, 3, 4)


def test_format_promise() -> None:
    """Checkpoints name positions in these orders: no version may change them.

    The numbers come from a second program, written from the class's description with Python's
    integers. If they change, the code is wrong, not the test.
    """
    assert list(Permutation(10, 0)) == [4, 6, 0, 9, 7, 8, 3, 5, 1, 2]
    assert Permutation(1000, 7)[:5].tolist() == [211, 385, 411, 309, 178]
    assert Permutation(2**16, 1)[-3:].tolist() == [32462, 58811, 38501]
    assert Permutation(1_281_167, 42)[:3].tolist() == [1109358, 681181, 134487]
    assert Permutation(10**9, 1)[:3].tolist() == [607138657, 578616306, 382972790]
    assert Permutation(2**63 - 1, 2**64 - 1)[:2].tolist() == [
        6075196536209355194,
        4368215246022560954,
    ]


@pytest.mark.parametrize("length", [10**9, 2**63 - 1])
def test_memory_does_not_grow_with_the_length(length: int) -> None:
    tracemalloc.start()
    order = Permutation(length, 5)
    list(islice(order, 3))
    assert order[length - 1] == order[-1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


@pytest.mark.parametrize("length", [-1, 2**63])
def test_lengths_out_of_range(length: int) -> None:
    with pytest.raises(OptionError, match=str(length)):
        Permutation(length, 0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range(seed: int) -> None:
    with pytest.raises(OptionError, match=str(seed)):
        Permutation(10, seed)


@pytest.mark.parametrize("positions", [[-1], [10], [0, 10], [2.5], [True]])
def test_positions_out_of_range(positions: list[int]) -> None:
    with pytest.raises(IndexError):
        Permutation(10, 0).take(positions)


@pytest.mark.parametrize("position", [10, -11])
def test_an_index_out_of_range(position: int) -> None:
    with pytest.raises(IndexError):
        Permutation(10, 0)[position]


# The statistics below are of fixed seeds, so that they pass always or never.


def excess(counts: NDArray[np.int64], freedom: int) -> float:
    """How far Pearson's χ² of equally likely counts is above its mean, in its own deviations."""
    expected = counts.mean()
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    return (chi2 - freedom) / math.sqrt(2 * freedom)


def test_every_order_of_a_few_elements_is_equally_likely() -> None:
    found = Counter(tuple(Permutation(4, seed)) for seed in range(1200))
    assert len(found) == math.factorial(4)
    assert excess(np.array([*found.values()]), len(found) - 1) < 4


@pytest.mark.parametrize("length", [6, 30, 100])
def test_every_element_is_equally_likely_everywhere(length: int) -> None:
    places = np.zeros((length, length), np.int64)
    steps = np.zeros(length, np.int64)
    for seed in range(600):
        order = Permutation(length, seed)[:]
        places[np.arange(length), order] += 1
        np.add.at(steps, (order[1:] - order[:-1]) % length, 1)
    assert excess(places, (length - 1) ** 2) < 4
    assert excess(steps[1:], length - 2) < 4


@pytest.mark.parametrize("length", [65_000, 2**16, 10**6, 10**9, 2**60])
def test_neighbours_and_neighbouring_seeds_are_unrelated(length: int) -> None:
    count = 60_000
    order = Permutation(length, 11)[:count] / length
    other = Permutation(length, 12)[:count] / length
    for first, second in ((order[1:], order[:-1]), (order, other), (order, np.arange(count))):
        assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(count)
    steps = np.histogram((order[1:] - order[:-1]) % 1, bins=256, range=(0, 1))[0]
    assert excess(steps, 255) < 4
    pairs = np.histogram2d(order[::2], order[1::2], bins=16, range=((0, 1), (0, 1)))[0]
    assert excess(pairs, 255) < 4


def test_seeds_differ() -> None:
    seeds = [*range(100), *range(2**64 - 100, 2**64)]
    assert len({tuple(Permutation(20, seed)) for seed in seeds}) == 200
