"""The plan of a packing run, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from .advice import Advice
from .looks import Estimate, SampleFacts, counted, median_size

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PackPlan:
    """Plan of a packing run, and what would come of it; ``print`` it, or read its attributes.

    Attributes:
        path: where the pack would appear, or None.
        source: kind of the source.
        samples, classes: how many the source has.
        fields: by name, their kinds.
        bytes_in: size of the samples, or 0 if only reading them tells.
        rejected: (key, reason) of what was left out when the source was listed.
        ignored: number of files that are no images by their extension, by extension.
        notes: what else was noticed in the source, or stands in the way.
        storage, encoding: how samples would be stored.
        shards: of each shard the number of samples, and about the bytes of their records.
        shards_are_exact: whether they are planned, or only estimated, as for a Python sequence.
        looks: the samples that were looked at.
        bytes_out: estimated size of the whole pack; besides the bounds, 8 kB a shard are not sure.
        seconds: estimated time with ``workers`` threads; the bounds are wide.
        workers: number of threads.
        bytes_free: room where the pack would be written, or −1 if that is not known.
        bytes_needed: room that packing may take there.
        done: shards that an interrupted run has left complete, or None if there is no such run.
        differences: why packing would not go on with that run.
        sizes: estimated size of all images, by encoding.
        advice: encodings that suit the images, the best first, with reasons.

    Example:
        >>> plan = fastdata.plan_pack("photos", encoding="jpeg", resize_short=32)
        >>> plan.source, plan.encoding["name"], plan.fits
        ('folder', 'jpeg', True)
        >>> plan.bytes_out.low <= plan.bytes_out.value <= plan.bytes_out.high
        True
    """

    path: Path | None
    source: str
    samples: int
    classes: int
    fields: dict[str, str]
    bytes_in: int
    rejected: list[tuple[str, str]]
    ignored: dict[str, int]
    notes: list[str]
    storage: str
    encoding: dict[str, Any]
    shards: list[tuple[int, int]]
    shards_are_exact: bool
    looks: list[SampleFacts]
    bytes_out: Estimate
    seconds: Estimate
    workers: int
    bytes_free: int = -1
    bytes_needed: int = 0
    done: int | None = None
    differences: list[str] = field(default_factory=list)
    sizes: dict[str, Estimate] = field(default_factory=dict)
    advice: list[Advice] = field(default_factory=list)

    @property
    def bad(self) -> list[tuple[str, str]]:
        """(key, reason) of the samples looked at that would be left out."""
        return [(look.key, look.bad) for look in self.looks if look.bad]

    @property
    def fits(self) -> bool:
        """True if there is room for the pack, as far as is known."""
        return self.bytes_free < 0 or self.bytes_needed <= self.bytes_free

    def __str__(self) -> str:
        parts = (_source(self), _images(self.looks), _pack(self), _place(self), _encodings(self))
        return "\n".join(["a plan; nothing has been written", *chain(*parts)])


def _source(plan: PackPlan) -> Iterator[str]:
    size = f", {_bytes(plan.bytes_in)}" if plan.bytes_in else ""
    yield f"source    {plan.source}: {plan.samples} samples in {plan.classes} classes{size}"
    yield f"fields    {', '.join(f'{name}: {kind}' for name, kind in plan.fields.items())}"
    for key, reason in plan.rejected[:_SHOWN]:
        yield f"rejected  {key}: {reason}"
    if len(plan.rejected) > _SHOWN:
        yield f"rejected  … and {len(plan.rejected) - _SHOWN} more when it was listed"
    if plan.ignored:
        yield f"ignored   files that are no images by their extension: {_counts(plan.ignored)}"
    for note in plan.notes:
        yield f"note      {note}"


def _images(looks: list[SampleFacts]) -> Iterator[str]:
    good = [look for look in looks if not look.bad]
    yield f"looked at {len(looks)} of them: {_counts(counted(look.format for look in good))}"
    if any(look.height for look in good):
        height, width = median_size(good)
        large = max(good, key=lambda look: look.height * look.width)
        largest = f"{large.width}x{large.height} ({large.key})"
        yield f"sizes     median {width}x{height}, largest {largest}"
    jpegs = [look for look in good if look.format == "jpeg"]
    if jpegs:
        unfit = counted(look.unfit for look in jpegs)
        fit = len(jpegs) - sum(unfit.values())
        why = f"; not: {_counts(unfit)}" if unfit else ""
        yield f"sliceable {_share(fit, len(jpegs))} of the JPEGs can be{why}"
    rotated = sum(look.rotated for look in good)
    if rotated:
        yield f"rotated   {_share(rotated, len(good))} by EXIF; that is kept beside the pixels"
    bad = [look for look in looks if look.bad]
    for look in bad[:_SHOWN]:
        yield f"bad       {look.key}: {look.bad}"
    if bad:
        yield f"bad       {_share(len(bad), len(looks))}; packing leaves such out and lists them"


def _pack(plan: PackPlan) -> Iterator[str]:
    settings = ", ".join(f"{k} {v}" for k, v in plan.encoding.items() if k != "name")
    encoding = f"{plan.encoding['name']}{settings and f' ({settings})'}"
    yield f"encoding  {encoding}, storage {plan.storage}"
    sizes = [size for _, size in plan.shards]
    exact = "" if plan.shards_are_exact else "about "
    if len(sizes) == 1:
        yield f"shards    {exact}1, of about {_bytes(sizes[0])}"
    else:
        between = f"of about {_bytes(min(sizes))} to {_bytes(max(sizes))}"
        yield f"shards    {exact}{len(sizes)}, {between}"
    yield f"pack      about {_bytes(plan.bytes_out.value)} ({_bounds(plan.bytes_out, _bytes)})"
    threads = f"{plan.workers} thread{'s' * (plan.workers != 1)}"
    doubt = _bounds(plan.seconds, _time)
    yield f"time      about {_time(plan.seconds.value)} with {threads} ({doubt}; files in memory)"


def _place(plan: PackPlan) -> Iterator[str]:
    if plan.path is None:
        return
    need, free = _bytes(plan.bytes_needed), _bytes(plan.bytes_free)
    verdict = "" if plan.fits else ": NOT ENOUGH"
    yield f"room      {need} needed at {plan.path}, {free} free{verdict}"
    if plan.differences:
        what = "; ".join(plan.differences)
        yield f"resume    not without --restart: an unfinished pack there differs: {what}"
    elif plan.done is not None:
        yield f"resume    {plan.done} of {len(plan.shards)} shards are complete from an earlier run"


def _encodings(plan: PackPlan) -> Iterator[str]:
    if not plan.advice:
        return
    yield "images in other encodings, about:"
    for name, estimate in plan.sizes.items():
        yield f"  {name:<22} {_bytes(estimate.value):>9}  ({_bounds(estimate, _bytes)})"
    yield "what suits them, the best first:"
    for advice in plan.advice:
        yield f"  {advice}"


def _bounds(estimate: Estimate, form: Callable[[float], str]) -> str:
    return f"{form(estimate.low)} to {form(estimate.high)}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none usable"


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / max(whole, 1):.0f} %)"


def _bytes(size: float) -> str:
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size:.0f} B"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
