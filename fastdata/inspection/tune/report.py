"""Report of ``tune``: the settings that it has tried, and what came of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from .. import charts
from ..trials import Setting

_IDLE = 0.05  # share of the time that a loader may be waited for and still keep up
_SAFE = 1.25  # times the rate that is needed, from which fewer workers are worth mentioning
_START = 0.02  # share of an epoch


@dataclass(frozen=True, slots=True)
class Candidate:
    """A setting and what it did.

    Attributes:
        setting: of the loader.
        round: the last one in which it was tried; 0 if it never was.
        rates: images a second, each time that it was tried in that round; scaled so that the
            candidates of a round together are as fast each time, since a machine is not.
        first_batch_s: seconds until the first batch came, with the start of the workers; None if
            none came.
        error: why it could not be measured.
    """

    setting: Setting
    round: int = 0
    rates: tuple[float, ...] = ()
    first_batch_s: float | None = None
    error: str = ""

    @property
    def images_per_s(self) -> float:
        """The median rate; 0 if there is none."""
        return median(self.rates) if self.rates else 0.0

    def __str__(self) -> str:
        name = f"{self.setting!s:<34}"
        if not self.rates or self.error:
            return f"{name}{self.error or 'not tried'}"
        spread = f"{min(self.rates):,.0f} to {max(self.rates):,.0f}"
        first = f"{self.first_batch_s or 0.0:>13.2f}"
        return f"{name}{self.images_per_s:>10,.0f}{spread:>20}{first}{self.round:>7}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the attributes and the median rate."""
        return {**asdict(self), "images_per_s": self.images_per_s}


_HEAD = f"{'':<34}{'images/s':>10}{'least to most':>20}{'1st batch, s':>13}{'round':>7}"


@dataclass(frozen=True, slots=True)
class StepCheck:
    """Comparison of the chosen loader with a training step.

    Attributes:
        step_ms: how long the step takes.
        needed: images a second that it takes.
        margin: the loader's rate over that.
        steps: how many were simulated, by sleeping.
        wait_ms: what each of them waited for its batch, on average.
    """

    step_ms: float
    needed: float
    margin: float
    steps: int
    wait_ms: float

    @property
    def idle_expected(self) -> float:
        """Share of the time that the device would be idle, by the rates; 0 to 1."""
        return max(0.0, 1 - self.margin)

    @property
    def idle_simulated(self) -> float:
        """Share of the time that the simulated steps waited, 0 to 1."""
        return self.wait_ms / (self.wait_ms + self.step_ms)

    @property
    def keeps_up(self) -> bool:
        """True if the simulated steps waited for no more than a twentieth of the time."""
        return self.idle_simulated <= _IDLE

    def __str__(self) -> str:
        verdict = "it keeps up" if self.keeps_up else "it does NOT keep up"
        return (
            f"a step of {self.step_ms:g} ms: {verdict}; {self.needed:,.0f} images/s are needed, it "
            f"makes {self.margin:.2f} times that, so the GPU would be idle for "
            f"{self.idle_expected:.0%} of the time; {self.steps} simulated steps waited "
            f"{self.wait_ms:.1f} ms each, {self.idle_simulated:.0%} of the time"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the attributes and what follows from them."""
        shares = {name: getattr(self, name) for name in ("idle_expected", "idle_simulated")}
        return {**asdict(self), **shares, "keeps_up": self.keeps_up}


@dataclass(frozen=True, slots=True)
class TuneReport:
    """The settings that were tried, and the one to use.

    Attributes:
        name: of the dataset.
        samples: how many it has.
        batch_size: samples in a batch.
        cores: that this process may use.
        seconds: that it took.
        candidates: all of them; the last round's first, and the faster ones first.
        best: the chosen one: of those as fast as the fastest, within its spread, the one with the
            fewest workers.
        tied: the others that were as fast.
        line: the ``fastdata.DataLoaderX(…)`` of the chosen one, an expression of Python, in which
            ``dataset`` and whatever else was given to ``tune`` stand for themselves.
        code: a script that makes the dataset, where it came from a path, and the loader.
        step: whether it keeps up; None if no step was asked about.
        interrupted: whether it was interrupted, and this is what was found up to then.

    Example:
        >>> report = fastdata.tune(
        ...     "photos.pack", 4, size=32, seconds=1, max_workers=1, worker_types=["thread"],
        ...     quiet=True,
        ... )
        >>> report.samples, report.interrupted, report.best in report.candidates
        (8, False, True)
        >>> print(report.code)
        import fastdata...
    """

    name: str
    samples: int
    batch_size: int
    cores: int
    seconds: float
    candidates: Sequence[Candidate]
    best: Candidate
    tied: Sequence[Candidate]
    line: str
    code: str
    step: StepCheck | None = None
    interrupted: bool = False

    def __str__(self) -> str:
        lines = [self._header, _HEAD, *map(str, self.candidates), f"chosen: {self._choice}"]
        lines += [str(self.step or self._shortest), *self._hints]
        return "\n".join([*lines, "", self.code])

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **{name: getattr(self, name) for name in ("name", "samples", "batch_size", "cores")},
            "seconds": self.seconds,
            "candidates": [candidate.as_dict() for candidate in self.candidates],
            "best": self.best.as_dict(),
            "tied": [candidate.as_dict() for candidate in self.tied],
            "line": self.line,
            "code": self.code,
            "step": self.step and self.step.as_dict(),
            "interrupted": self.interrupted,
        }

    def save_chart(self, path: str | os.PathLike[str]) -> None:
        """Draw the rates of what was tried, in the format that the suffix of ``path`` names.

        Raises:
            MissingDependencyError: matplotlib is not installed.
            OptionError: nothing can be written there, or not in that format.
        """
        tried = [one for one in self.candidates if one.rates or one.error]
        bars = [_bar(one, one.setting == self.best.setting) for one in tried]
        needed = self.step.needed if self.step is not None else None
        mark = f"a step of {self.step.step_ms:g} ms" if self.step is not None else ""
        title = "images per second, medians, with least and most (more is better)"
        charts.save(path, [charts.Panel(title, bars, "{:,.0f}", needed, mark)], self._header)

    @property
    def _header(self) -> str:
        cores = f"{self.cores} core{'s' * (self.cores != 1)}"
        ended = "interrupted after" if self.interrupted else "in"
        return (
            f"{self.name}: {self.samples} samples, batches of {self.batch_size}, {cores}; "
            f"{ended} {self.seconds:.0f} s"
        )

    @property
    def _choice(self) -> str:
        told = f"{self.best.setting}, {self.best.images_per_s:,.0f} images/s"
        others = "; ".join(str(candidate.setting) for candidate in self.tied)
        return f"{told}; as fast, within the spread: {others}" if others else told

    @property
    def _shortest(self) -> str:
        shortest = 1e3 * self.batch_size / self.best.images_per_s
        return f"it keeps up with steps of {shortest:.1f} ms or more"

    @property
    def _hints(self) -> list[str]:
        found = []
        if self.step is not None and self.step.keeps_up:
            enough = [c for c in self.candidates if c.images_per_s >= _SAFE * self.step.needed]
            least = min(enough, key=lambda c: c.setting.simplicity, default=self.best)
            if least.setting.num_workers < self.best.setting.num_workers:
                times = least.images_per_s / self.step.needed
                found.append(f"{least.setting} would do: {times:.2f} times what is needed")
        share = self._start_s * self.best.images_per_s / self.samples
        processes = self.best.setting.num_workers > 0 and self.best.setting.worker_type == "process"
        if processes and share >= _START:
            found.append(
                f"the workers take about {self._start_s:.2f} s to start, {share:.0%} of an epoch: "
                "persistent_workers=True keeps them"
            )
        return found

    @property
    def _start_s(self) -> float:
        """Seconds until the first batch, without those that a worker needs to make it."""
        making = self.best.setting.num_workers * self.batch_size / self.best.images_per_s
        return max(0.0, (self.best.first_batch_s or 0.0) - making)


def _bar(one: Candidate, best: bool) -> charts.ChartBar:
    name = str(one.setting)
    if not one.rates:
        return charts.ChartBar(name, 0.0)
    return charts.ChartBar(name, one.images_per_s, min(one.rates), max(one.rates), best)
