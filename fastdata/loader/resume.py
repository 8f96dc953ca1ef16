"""A loader's place in its epoch as a small JSON-able dict, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..datasets import ImageDataset
from ..errors import OptionError
from .order.replay import Randomness, inner_sampler, is_plain, is_positioned
from .order.samplers import RankSampler, ShuffleSampler
from .progress import Progress
from .tasks import Tasks

VERSION = 1

State = dict[str, Any]


def saved(tasks: Tasks, datasets: list[ImageDataset], length: int | None) -> State:
    """The state of the epoch that ``tasks`` iterates over now, or did last."""
    progress = tasks.progress
    sampler = _of_samples(tasks.sampler)
    return {
        "version": VERSION,
        "batches": progress.done,
        "ahead": sorted(progress.ahead),
        "finished": progress.finished,
        "global_batch": _global_batch(tasks.sampler),
        "samples": length,
        "datasets": [{"seed": d.seed, "epoch": d.epoch} for d in datasets],
        "sampler": _sampler_state(sampler),
        "random": progress.random,
    }


def restored(
    state: Mapping[str, Any], tasks: Tasks, datasets: list[ImageDataset], length: int | None
) -> Progress:
    """Prepare datasets and sampler for the rest of the epoch; the progress that it begins with."""
    _check(state, tasks, datasets, length)
    finished = bool(state["finished"])
    batches = 0 if finished else int(state["batches"])
    _place(_of_samples(tasks.sampler), tasks, state, batches)  # first: it may refuse, too
    for dataset, there in zip(datasets, state["datasets"], strict=True):
        dataset.seed = there["seed"]
        dataset.set_epoch(there["epoch"] + finished)
    progress = Progress() if finished else Progress(batches, state["ahead"])
    random = None if finished else state["random"]
    progress.random = tasks.resumed = None if random is None else Randomness(*random)
    return progress


def _check(
    state: Mapping[str, Any], tasks: Tasks, datasets: list[ImageDataset], length: int | None
) -> None:
    """Refuse a state whose rest of the epoch could not be the rest here."""
    if state.get("version") != VERSION:
        raise OptionError(
            f"expected a DataLoaderX state of version {VERSION}, found {state.get('version')!r}"
        )
    if len(state["datasets"]) != len(datasets):
        raise OptionError(
            f"the state belongs to a loader over {len(state['datasets'])} fastdata datasets; "
            f"this one has {len(datasets)}"
        )
    if state["finished"] or not state["batches"]:
        return
    here = {"samples": length, "global_batch": _global_batch(tasks.sampler)}
    names = {"samples": "samples in the dataset", "global_batch": "samples in a batch of all ranks"}
    for name, value in here.items():
        if state[name] != value:
            raise OptionError(
                f"the state was saved in mid-epoch with {state[name]} {names[name]}, here it is "
                f"{value}: the rest of the epoch would not be the rest. Use the same, or begin "
                "the next epoch"
            )


def _place(sampler: Any, tasks: Tasks, state: Mapping[str, Any], batches: int) -> None:
    """Tell a sampler that knows its place, or its epoch, where to go on."""
    there, finished = state["sampler"], bool(state["finished"])
    if there is None:
        return
    if isinstance(sampler, (RankSampler, ShuffleSampler)) and not finished:
        positioned = is_positioned(tasks.sampler)
        sampler.resume(there, batches * state["global_batch"] if positioned else 0)
        return
    if isinstance(sampler, RankSampler):
        sampler.seed = there["seed"]
    if "epoch" in there:
        sampler.set_epoch(there["epoch"] + finished)


def _of_samples(sampler: Any) -> Any:
    """The sampler of samples, also behind a batch sampler of the user's own."""
    return getattr(sampler, "sampler", sampler)


def _sampler_state(sampler: Any) -> State | None:
    if isinstance(sampler, (RankSampler, ShuffleSampler)):
        return sampler.state_dict()
    if hasattr(sampler, "set_epoch") and isinstance(getattr(sampler, "epoch", None), int):
        return {"epoch": sampler.epoch}
    return None


def _global_batch(sampler: Any) -> int | None:
    """How many samples all ranks take in one step; None where only the batch sampler knows."""
    ranks = int(getattr(inner_sampler(sampler), "num_replicas", 1))
    if is_plain(sampler):
        return int(sampler.batch_size) * ranks
    return None if hasattr(sampler, "batch_size") or hasattr(sampler, "sampler") else ranks
