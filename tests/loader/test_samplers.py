"""RankSampler and ShuffleSampler: whose share an index is, in which epoch, and how to resume it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler

from fastdata import OptionError, RankSampler, ShuffleSampler

COVERS = st.sampled_from(["pad", "drop", "exact"])
SEEDS = st.integers(0, 2**64 - 1)
BIG = 10**12


@pytest.fixture(autouse=True)
def no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def ranks(length: int, world: int, **options: Any) -> list[RankSampler]:
    """The samplers of all ranks."""
    return [RankSampler(length, rank=r, num_replicas=world, **options) for r in range(world)]


def dealt(samplers: list[RankSampler]) -> list[int]:
    """What the ranks draw in their next epoch, in global order."""
    shares = [list(sampler) for sampler in samplers]
    longest = max(map(len, shares))
    return [share[k] for k in range(longest) for share in shares if k < len(share)]


@settings(max_examples=50)
@given(st.integers(0, 60), st.integers(1, 9), SEEDS, COVERS, st.booleans())
def test_cover(length: int, world: int, seed: int, cover: str, shuffle: bool) -> None:
    samplers = ranks(length, world, seed=seed, cover=cover, shuffle=shuffle)
    shares = [list(sampler) for sampler in samplers]
    assert [len(share) for share in shares] == [len(sampler) for sampler in samplers]
    used = sorted(chain.from_iterable(shares))
    if cover == "exact":
        assert used == list(range(length))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        return
    assert len(set(map(len, shares))) == 1
    if cover == "pad":
        assert set(used) == set(range(length))
        assert len(used) - length < world
    else:
        assert len(used) == len(set(used)) == length - length % world


@settings(max_examples=50)
@given(st.integers(1, 80), st.integers(1, 6), st.integers(1, 4), SEEDS, COVERS)
def test_global_batches_do_not_depend_on_the_number_of_ranks(
    length: int, world: int, size: int, seed: int, cover: str
) -> None:
    def steps(world: int, size: int) -> list[set[int]]:
        samplers = ranks(length, world, seed=seed, cover=cover)
        batches = [list(BatchSampler(s, size, drop_last=True)) for s in samplers]
        return [{i for batch in step for i in batch} for step in zip(*batches, strict=False)]

    whole = length // (world * size)
    assert steps(world, size)[:whole] == steps(1, world * size)[:whole]


def test_without_shuffling_the_order_is_natural() -> None:
    samplers = ranks(7, 2, shuffle=False)
    assert [list(s) for s in samplers] == [[0, 2, 4, 6], [1, 3, 5, 0]]
    assert [list(s) for s in samplers] == [[0, 2, 4, 6], [1, 3, 5, 0]]


def test_epochs_differ_by_themselves_and_ranks_agree() -> None:
    samplers = ranks(100, 3, seed=8, cover="exact")
    epochs = [dealt(samplers) for _ in range(4)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(100))] * 4
    assert len(set(map(tuple, epochs))) == 4
    assert {s.epoch for s in samplers} == {3}


def test_set_epoch_chooses_the_next_and_counting_goes_on_from_there() -> None:
    plain = RankSampler(50)
    epochs = [list(plain) for _ in range(4)]
    chosen = RankSampler(50)
    chosen.set_epoch(2)
    assert chosen.epoch == 2
    assert [list(chosen), list(chosen)] == epochs[2:]
    chosen.set_epoch(0)
    assert list(chosen) == epochs[0]
    chosen.set_epoch(0)
    assert list(chosen) == epochs[0]


def test_seeds_differ() -> None:
    assert len({tuple(RankSampler(50, seed=seed)) for seed in range(100)}) == 100


def test_an_epoch_begins_with_its_first_index() -> None:
    sampler = RankSampler(50)
    iter(sampler)  # torch's loaders ask for some iterators that they do not use
    assert next(iter(sampler)) == next(iter(RankSampler(50)))
    assert sampler.epoch == 0


def test_format_promise() -> None:
    """Checkpoints name positions in these orders: no version may change them.

    As in test_permutation, the numbers come from another program.
    """
    sampler = RankSampler(10, seed=3)
    assert list(sampler) == [5, 3, 0, 2, 9, 1, 8, 7, 4, 6]
    sampler.set_epoch(1000)
    assert list(sampler) == [6, 8, 2, 0, 4, 3, 9, 1, 5, 7]


def test_the_length_is_read_when_an_epoch_begins() -> None:
    data = list(range(5))
    for sampler in (RankSampler(data), ShuffleSampler(data)):
        assert len(list(sampler)) == len(sampler) == len(data)
        data.append(0)
        assert sampler.state_dict()["length"] == len(data) - 1
        assert sorted(sampler) == list(range(len(data)))
        assert len(sampler) == sampler.state_dict()["length"] == len(data)


@pytest.mark.parametrize("make", [RankSampler, lambda n: ShuffleSampler(range(n))])
def test_nothing_is_made_before_it_is_asked_for(make: Callable[[int], Any]) -> None:
    sampler = make(BIG)
    assert len(set(islice(sampler, 10_000))) == 10_000
    sampler.resume(sampler.state_dict(), BIG - 3)
    assert len(set(iter(sampler))) == 3


def test_rank_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = RankSampler(10)
    assert (sampler.rank, sampler.num_replicas, len(sampler)) == (0, 1, 10)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "5")
    assert (sampler.rank, sampler.num_replicas, len(sampler)) == (2, 5, 2)
    assert list(sampler) == list(RankSampler(10, rank=2, num_replicas=5))


@pytest.mark.parametrize(
    "environment",
    [{"RANK": "0"}, {"WORLD_SIZE": "2"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "a"}],
)
def test_a_wrong_environment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OptionError, match=r"RANK=.*WORLD_SIZE="):
        RankSampler(10)
    assert RankSampler(10, rank=0, num_replicas=1).num_replicas == 1


class Endless(IterableDataset[int]):
    """A dataset without a length."""

    def __iter__(self) -> Iterator[int]:
        return iter(())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cover": "some"}, "some"),
        ({"rank": 0}, "both"),
        ({"num_replicas": 2}, "both"),
        ({"rank": 2, "num_replicas": 2}, "got 2 and 2"),
        ({"rank": -1, "num_replicas": 2}, "got -1 and 2"),
        ({"rank": 0, "num_replicas": 0}, "got 0 and 0"),
        ({"seed": -1}, "-1"),
        ({"seed": 2**64}, str(2**64)),
        ({"data_source": -1}, "-1"),
        ({"data_source": Endless()}, "Endless"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        RankSampler(**{"data_source": 10, **arguments})
    with pytest.raises(OptionError, match="-1"):
        RankSampler(10).set_epoch(-1)


# Resuming


@settings(max_examples=50)
@given(st.integers(1, 60), st.data(), SEEDS, COVERS, st.booleans())
def test_resume_goes_on_where_another_number_of_ranks_was(
    length: int, data: st.DataObject, seed: int, cover: str, shuffle: bool
) -> None:
    before, after = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    step = before * after
    position = step * data.draw(st.integers(0, length // step))
    epoch = data.draw(st.integers(0, 5))
    options: dict[str, Any] = {"cover": cover, "shuffle": shuffle}
    first, second = ranks(length, before, seed=seed, **options), ranks(length, after, **options)
    for sampler in first:
        sampler.set_epoch(epoch)
        list(islice(sampler, position // before))
    states = [json.loads(json.dumps(sampler.state_dict())) for sampler in first]
    assert states == [states[0]] * before
    for sampler in second:
        sampler.resume(states[0], position)
        assert sampler.state_dict() == states[0]
    uninterrupted = ranks(length, after, seed=seed, **options)
    for sampler in uninterrupted:
        sampler.set_epoch(epoch)
    lengths = [len(sampler) for sampler in second]
    assert dealt(second) == dealt(uninterrupted)[position:]
    assert dealt(second) == dealt(uninterrupted)
    assert [len(sampler) for sampler in second] == lengths


@settings(max_examples=50)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 5), st.sampled_from(["pad", "drop"]))
def test_at_the_end_nothing_is_left_on_any_number_of_ranks(
    length: int, before: int, after: int, cover: str
) -> None:
    first, second = ranks(length, before, cover=cover), ranks(length, after, cover=cover)
    end = len(dealt(first))
    assume(end >= min(length, len(dealt(second))))  # else the first run has dropped more
    for sampler in second:
        sampler.resume(first[0].state_dict(), end)
    assert dealt(second) == []
    assert {sampler.epoch for sampler in second} == {0}
    whole = ranks(length, after, cover=cover)
    for sampler in whole:
        sampler.set_epoch(1)
    assert dealt(second) == dealt(whole)


def test_load_state_dict_runs_the_whole_epoch_again() -> None:
    sampler, other = RankSampler(30, seed=5), RankSampler(30)
    list(sampler)
    second = list(sampler)
    other.load_state_dict(sampler.state_dict())
    assert list(other) == second
    assert list(other) == list(sampler)


def test_set_epoch_keeps_the_place_in_the_resumed_epoch_only() -> None:
    epochs = [list(s) for s in [RankSampler(30)] * 3]
    sampler = RankSampler(30)
    state = {**sampler.state_dict(), "epoch": 1}
    sampler.resume(state, 10)
    sampler.set_epoch(1)
    assert list(sampler) == epochs[1][10:]
    sampler.resume(state, 10)
    sampler.set_epoch(2)
    assert list(sampler) == epochs[2]


def test_the_state_before_the_first_epoch_is_of_the_one_to_come() -> None:
    sampler, other = RankSampler(30, seed=9), RankSampler(30)
    other.resume(sampler.state_dict(), 12)
    assert list(other) == list(sampler)[12:]
    assert sampler.state_dict()["epoch"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": 31}, "length 31, the sampler 30"),
        ({"shuffle": False}, "shuffle False, the sampler True"),
        ({"cover": "drop"}, "cover 'drop', the sampler 'pad'"),
        ({"epoch": -1}, "-1"),
        ({"seed": -1}, "-1"),
    ],
)
def test_another_state_is_refused_and_changes_nothing(change: dict[str, Any], message: str) -> None:
    sampler = RankSampler(30)
    state = sampler.state_dict()
    with pytest.raises(OptionError, match=message):
        sampler.resume({**state, **change}, 10)
    assert sampler.state_dict() == state
    assert list(sampler) == list(RankSampler(30))


def test_a_state_with_something_missing() -> None:
    for sampler in (RankSampler(30), ShuffleSampler(range(30))):
        with pytest.raises(OptionError, match="seed missing"):
            sampler.resume({"epoch": 0, "length": 30, "shuffle": True, "cover": "pad"}, 0)


@pytest.mark.parametrize("position", [-4, 5, 26])
def test_wrong_positions(position: int) -> None:
    sampler = RankSampler(30, rank=0, num_replicas=4)
    with pytest.raises(OptionError, match=str(position)):
        sampler.resume(sampler.state_dict(), position)


# ShuffleSampler


def test_shuffle_sampler_is_torchs_with_a_permutation() -> None:
    sampler = ShuffleSampler(range(100))
    assert isinstance(sampler, RandomSampler)
    assert sampler.replacement is False
    assert len(sampler) == sampler.num_samples == 100
    epochs = [list(sampler) for _ in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(100))] * 3
    assert len(set(map(tuple, epochs))) == 3


def test_shuffle_sampler_draws_what_torchs_draws_when_torchs_draws() -> None:
    for make in (RandomSampler, ShuffleSampler):
        torch.manual_seed(3)
        indices = iter(make(range(100)))
        untouched = torch.random.get_rng_state()
        next(indices)
        after = torch.random.get_rng_state()
        list(indices)
        assert torch.equal(torch.random.get_rng_state(), after)
        if make is RandomSampler:
            torchs = untouched, after
    assert torch.equal(untouched, torchs[0])
    assert torch.equal(after, torchs[1])


def test_a_generator_decides_alone() -> None:
    sampler = ShuffleSampler(range(100), generator=torch.Generator().manual_seed(5))
    state = torch.random.get_rng_state()
    epochs = [list(sampler), list(sampler)]
    assert torch.equal(torch.random.get_rng_state(), state)
    sampler.generator = torch.Generator().manual_seed(5)  # as Accelerate does
    assert [list(sampler), list(sampler)] == epochs


def test_an_empty_dataset_is_refused_as_by_torch() -> None:
    with pytest.raises(ValueError, match="num_samples"):
        ShuffleSampler([])


@settings(max_examples=50)
@given(st.integers(1, 60), st.data())
def test_shuffle_sampler_resumes(length: int, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, length))
    sampler = ShuffleSampler(range(length), generator=torch.Generator().manual_seed(1))
    epoch = list(sampler)
    state = json.loads(json.dumps(sampler.state_dict()))
    other = ShuffleSampler(range(length), generator=sampler.generator)
    other.resume(state, position)
    assert other.state_dict() == state
    assert list(other) == epoch[position:]
    assert list(other) != epoch or length < 6  # the next epoch draws again
    other.load_state_dict(state)
    assert list(other) == epoch


def test_a_resumed_epoch_draws_nothing() -> None:
    sampler = ShuffleSampler(range(100))
    list(sampler)
    state = torch.random.get_rng_state()
    sampler.resume(sampler.state_dict(), 50)
    list(sampler)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_state_from_before_any_draw() -> None:
    sampler = ShuffleSampler(range(100))
    state = sampler.state_dict()
    assert state == {"seed": None, "length": 100}
    first = list(sampler)
    sampler.resume(state, 0)
    assert sampler.state_dict() == state
    assert list(sampler) != first
    with pytest.raises(OptionError, match="position 3"):
        sampler.resume(state, 3)


def test_shuffle_sampler_refuses_other_states() -> None:
    sampler = ShuffleSampler(range(30))
    list(sampler)
    state = sampler.state_dict()
    for wrong, position in (({"length": 31}, 0), ({"seed": -1}, 0), ({}, -1)):
        with pytest.raises(OptionError):
            sampler.resume({**state, **wrong}, position)
    assert sampler.state_dict() == state


# In torch's own loader


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("size", [4, None])
def test_in_torchs_loader(workers: int, size: int | None) -> None:
    sampler = RankSampler(30, rank=1, num_replicas=2, cover="exact")
    loader = DataLoader(
        np.arange(30),  # type: ignore[arg-type]
        batch_size=size,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    expected = RankSampler(30, rank=1, num_replicas=2, cover="exact")
    for _ in range(3):
        seen = [torch.as_tensor(batch).reshape(-1) for batch in loader]
        assert len(seen) == len(loader)
        assert torch.cat(seen).tolist() == list(expected)
    del loader


@pytest.mark.parametrize("workers", [0, 2])
def test_shuffle_sampler_in_torchs_loader(workers: int) -> None:
    data = np.arange(30)
    sampler = ShuffleSampler(data)
    loader = DataLoader(data, batch_size=4, sampler=sampler, num_workers=workers)  # type: ignore[arg-type, var-annotated]
    seen = torch.cat(list(loader)).tolist()
    again = ShuffleSampler(data)
    again.load_state_dict(sampler.state_dict())
    assert seen == list(again)


def test_pickled_samplers_go_on() -> None:
    sampler = RankSampler(30, seed=5)
    list(sampler)
    copy = pickle.loads(pickle.dumps(sampler))
    assert list(copy) == list(sampler)
