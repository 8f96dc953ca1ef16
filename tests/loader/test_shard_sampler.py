"""ShardShuffleSampler: every sample once, few shards at a time, from anywhere, on any rank."""

from __future__ import annotations

import json
from itertools import accumulate, chain
from typing import Any

import numpy as np
import pytest
from helpers.images import write_tree
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdata
from fastdata import DataLoaderX, PackedImageFolder, RankSampler, ShardShuffleSampler
from fastdata import transforms as T
from fastdata.errors import OptionError

LENGTHS = st.lists(st.integers(0, 12), min_size=0, max_size=12)
FEW = settings(max_examples=50)


def shards_of(indices: list[int], lengths: list[int]) -> list[int]:
    found: list[int] = np.searchsorted(list(accumulate(lengths)), indices, "right").tolist()
    return found


@FEW
@given(LENGTHS, st.integers(1, 5), st.integers(0, 2**64 - 1), st.integers(0, 5))
def test_every_sample_once_and_few_shards_at_a_time(
    lengths: list[int], window: int, seed: int, epoch: int
) -> None:
    sampler = ShardShuffleSampler(lengths, window=window, seed=seed)
    sampler.set_epoch(epoch)
    indices = list(sampler)
    assert sorted(indices) == list(range(sum(lengths)))
    assert len(sampler) == sum(lengths)
    numbers = shards_of(indices, lengths)
    first, last = {}, {}
    for place, number in enumerate(numbers):
        first.setdefault(number, place)
        last[number] = place
    for place in range(len(numbers)):
        assert sum(first[n] <= place <= last[n] for n in first) <= window


@FEW
@given(
    LENGTHS,
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from(["pad", "drop", "exact"]),
    st.integers(0, 99),
)
def test_ranks_share_an_epoch(
    lengths: list[int], window: int, ranks: int, cover: str, seed: int
) -> None:
    total = sum(lengths)
    options: dict[str, Any] = {"seed": seed, "num_replicas": ranks, "cover": cover}
    shares = [
        list(ShardShuffleSampler(lengths, window=window, rank=rank, **options))
        for rank in range(ranks)
    ]
    expected = [len(RankSampler(total, rank=rank, **options)) for rank in range(ranks)]
    assert [len(share) for share in shares] == expected
    counts = np.bincount(np.array(list(chain(*shares)), np.int64), minlength=total)
    repeated, left_out = (counts - 1).clip(0).sum(), (counts == 0).sum()
    assert repeated == (-total % ranks if cover == "pad" and total else 0)
    assert left_out == (total % ranks if cover == "drop" else 0)


@FEW
@given(LENGTHS.filter(sum), st.integers(1, 4), st.integers(1, 3), st.data())
def test_resumed_anywhere(lengths: list[int], window: int, ranks: int, data: st.DataObject) -> None:
    options: dict[str, Any] = {"window": window, "rank": ranks - 1, "num_replicas": ranks}
    whole = ShardShuffleSampler(lengths, seed=7, **options)
    whole.set_epoch(2)
    expected = [list(whole), list(whole)]
    done = data.draw(st.integers(0, len(expected[0])))
    sampler = ShardShuffleSampler(lengths, **options)
    running = ShardShuffleSampler(lengths, seed=7, **options)
    running.set_epoch(2)
    next(iter(running), None)
    sampler.resume(json.loads(json.dumps(running.state_dict())), done * ranks)
    assert list(sampler) == expected[0][done:]
    assert list(sampler) == expected[1]


@FEW
@given(LENGTHS.filter(sum), st.integers(1, 4), st.data())
def test_the_order_of_the_shards_is_known_beforehand(
    lengths: list[int], window: int, data: st.DataObject
) -> None:
    sampler = ShardShuffleSampler(lengths, window=window)
    sampler.resume(sampler.state_dict(), data.draw(st.integers(0, sum(lengths) - 1)))
    iterator = iter(sampler)
    indices = [next(iterator)]
    order = list(sampler.shard_order())
    indices += iterator
    met = list(dict.fromkeys(shards_of(indices, lengths)))
    assert set(met) <= set(order)
    for place, number in enumerate(met):  # within a window, any order
        assert order.index(number) < (place // window + 2) * window
    assert len(order) == len(set(order))


def test_epochs_and_seeds_differ() -> None:
    lengths = [50] * 20
    sampler = ShardShuffleSampler(lengths, window=4)
    first, second = list(sampler), list(sampler)
    assert first != second
    assert sampler.epoch == 1
    assert list(ShardShuffleSampler(lengths, window=4)) == first
    assert list(ShardShuffleSampler(lengths, window=4, seed=1)) != first
    orders = {tuple(dict.fromkeys(shards_of(order, lengths))) for order in (first, second)}
    assert len(orders) == 2


def test_ranks_have_different_shards() -> None:
    lengths = [10] * 40
    sets = [
        set(shards_of(list(ShardShuffleSampler(lengths, rank=r, num_replicas=4)), lengths))
        for r in range(4)
    ]
    assert [len(numbers) for numbers in sets] == [10] * 4
    assert len(set.union(*sets)) == 40


def test_no_memory_for_many_samples() -> None:
    sampler = ShardShuffleSampler([10**6] * 1000, window=10)
    sampler.resume(sampler.state_dict(), 5 * 10**8 + 3)
    assert 0 <= next(iter(sampler)) < 10**9


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ([3], {"window": 0}, "at least 1 shard"),
        (["a"], {}, "shards' lengths, is needed"),
        (7, {}, "shards' lengths, is needed"),
        ([3, -1], {}, "length is >= 0"),
        ([3], {"cover": "some"}, "cover must be"),
    ],
)
def test_wrong_arguments(source: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ShardShuffleSampler(source, **options)


@pytest.mark.parametrize(
    "other",
    [
        ShardShuffleSampler([4, 5], window=3),
        ShardShuffleSampler([5, 4], window=2),
        ShardShuffleSampler([4, 5], window=2, rank=0, num_replicas=3),
    ],
)
def test_a_state_of_another_order_is_refused(other: ShardShuffleSampler) -> None:
    state = ShardShuffleSampler([4, 5], window=2).state_dict()
    with pytest.raises(OptionError, match="the state has"):
        other.resume(state, 0)


def test_with_a_local_pack_and_a_loader_that_resumes(tmp_path: Any) -> None:
    write_tree(tmp_path / "photos", classes=2, per_class=10, formats=(".jpg",))
    fastdata.pack_image_folder(tmp_path / "photos", tmp_path / "p", shard_size="6kB", quiet=True)

    def loader() -> DataLoaderX[Any]:
        dataset = PackedImageFolder(tmp_path / "p", T.CenterCrop(8), seed=0)
        assert len(dataset.shard_lengths) > 3
        return DataLoaderX(dataset, 3, sampler=ShardShuffleSampler(dataset, window=2, seed=4))

    whole = [images.sum().item() for images, _ in loader()]
    first = loader()
    iterator = iter(first)
    begun = [next(iterator)[0].sum().item() for _ in range(2)]
    second = loader()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert begun + [images.sum().item() for images, _ in second] == whole
