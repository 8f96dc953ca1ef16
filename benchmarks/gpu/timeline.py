"""What a device did when: lanes of intervals from a profiler's trace, their overlap, a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

#: Start and end.
Interval = tuple[float, float]

COPY, TRANSFORM, COMPUTE = "copy to the device", "batch transform", "training step"
COLOURS = {COPY: "#c0561f", TRANSFORM: "#d9a441", COMPUTE: "#2f6db3"}


def lanes_of(trace: dict[str, Any]) -> dict[str, list[Interval]]:
    """The lanes of a trace in Chrome's format, as torch.profiler exports it, in milliseconds.

    Host-to-device copies show which stream is the loader's: kernels there are the batch transform,
    and all others the training step. Time starts at the first of all intervals.
    """
    events = [event for event in trace["traceEvents"] if event.get("ph") == "X"]
    copies = [e for e in events if e.get("cat") == "gpu_memcpy" and "HtoD" in e["name"]]
    kernels = [e for e in events if e.get("cat") == "kernel"]
    side = {event["args"].get("stream") for event in copies}
    start = min((event["ts"] for event in copies + kernels), default=0)
    lanes: dict[str, list[Interval]] = {COPY: [], TRANSFORM: [], COMPUTE: []}
    for event in copies:
        lanes[COPY].append(interval(event, start))
    for event in kernels:
        beside = event["args"].get("stream") in side
        lanes[TRANSFORM if beside else COMPUTE].append(interval(event, start))
    return {name: sorted(found) for name, found in lanes.items()}


def interval(event: dict[str, Any], start: float) -> Interval:
    """Milliseconds since ``start``, from microseconds."""
    begin = float(event["ts"]) - start
    return begin / 1000, (begin + float(event["dur"])) / 1000


def merged(intervals: Iterable[Interval], gap: float = 0.0) -> list[Interval]:
    """Their union, sorted; what stands no more than ``gap`` apart becomes one."""
    union: list[Interval] = []
    for begin, end in sorted(intervals):
        if union and begin <= union[-1][1] + gap:
            union[-1] = union[-1][0], max(end, union[-1][1])
        else:
            union.append((begin, end))
    return union


def total(intervals: Iterable[Interval]) -> float:
    """The length of their union."""
    return sum(end - begin for begin, end in merged(intervals))


def covered(intervals: Sequence[Interval], by: Sequence[Interval]) -> float | None:
    """The share of the first ones' length that lies within the second; None of nothing."""
    length = total(intervals)
    both = length + total(by) - total([*intervals, *by])
    return both / length if length else None


def draw(lanes: dict[str, Sequence[Interval]], title: str, path: Path) -> None:
    """One lane a kind of work, time to the right; the suffix of ``path`` names the format."""
    from matplotlib.figure import Figure  # only here: it takes a second to import

    figure = Figure(figsize=(11, 0.9 + 0.55 * len(lanes)), layout="constrained")
    axes = figure.subplots()
    for place, (name, intervals) in enumerate(lanes.items()):
        bars = [(begin, end - begin) for begin, end in intervals]
        axes.broken_barh(bars, (place - 0.36, 0.72), color=COLOURS.get(name))
    axes.set_yticks(range(len(lanes)), list(lanes))
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_xlabel("milliseconds")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
