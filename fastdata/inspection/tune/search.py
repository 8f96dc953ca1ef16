"""The search behind ``tune``: settings tried in rounds, the slower ones left out."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import geometric_mean
from typing import Any, Literal

from ...core import available_cores
from ...errors import CacheError, OptionError, PackError, RemoteError, SampleError
from ..trials import Setting, Subject, Trials
from .report import Candidate, StepCheck, TuneReport

WorkerType = Literal["process", "thread"]

_DATA_ERRORS = (SampleError, PackError, RemoteError, CacheError)
#: When each round is over, as shares of the time: warming up, then four rounds.
_WARM, _ALL, _HALF, _PREFETCH, _LAST, _ALL_BUT_STEP = 0.05, 0.3, 0.5, 0.65, 1.0, 0.9
_LEAST_SECONDS = 0.05  # of a trial
_FINALISTS = 4
_NEAR = 0.9  # of the fastest's rate, to be a finalist
_LEAST_SPREAD, _MOST_SPREAD = 0.02, 0.1


def first_settings(types: Sequence[WorkerType], max_workers: int | None) -> list[Setting]:
    """Settings of the first round, the most workers first.

    Raises:
        OptionError: there is no such worker type.
    """
    for kind in types:
        if kind not in ("process", "thread"):
            raise OptionError(f"a worker type is 'process' or 'thread', got {kind!r}")
    most = available_cores() if max_workers is None else max_workers
    counts = {1, most // 4, most // 2, most} if most else set()
    found = [Setting(n, kind) for n in counts - {0} for kind in types]
    return [*sorted(found, key=lambda setting: setting.simplicity, reverse=True), Setting()]


class Search:
    """Tries settings out, round by round.

    Args:
        trials: runs the loaders.
        settings: of the first round.
        seconds: for everything.
        step_ms: as for ``tune``.
    """

    def __init__(
        self, trials: Trials, settings: list[Setting], seconds: float, step_ms: float | None
    ) -> None:
        self._trials = trials
        self._found = {setting: Candidate(setting) for setting in settings}
        self._seconds, self._step_ms = seconds, step_ms
        self._round = self._complete = 0
        self._score: dict[Setting, float] = {}  # rates, all as of the first round
        self._step: StepCheck | None = None
        self._failure: Exception | None = None
        self._began = time.perf_counter()
        self.bar: Any = None

    def run(self) -> None:
        """All rounds; what comes of them is in ``report``."""
        settings = list(self._found)
        self._try(Setting(), self._left(_WARM, 1))  # fills caches, loads kernels; not counted
        order = self._compare(settings, 2, _ALL)
        order = self._compare(order[: max(2, (len(order) + 1) // 2)], 2, _HALF)
        order = self._compare([order[0], *self._variants(order[0]), *order[1:2]], 2, _PREFETCH)
        last = _LAST if self._step_ms is None else _ALL_BUT_STEP
        self._compare(self._finalists(), 4, last)
        if self._step_ms is not None:
            self._check_step(self._step_ms / 1e3)

    @property
    def measured(self) -> list[Candidate]:
        """The candidates with a rate; those of the last round first, the faster ones first."""
        found = [candidate for candidate in self._found.values() if candidate.rates]
        return sorted(found, key=lambda one: (-one.round, -one.images_per_s))

    def report(self, subject: Subject, words: str, interrupted: bool = False) -> TuneReport:
        """Report of what was found; ``words`` are further arguments of the loader, as Python."""
        best, tied = self._choice()
        size = self._trials.batch_size
        line = f"fastdata.DataLoaderX(dataset, {size}, shuffle=True{best.setting.code}{words})"
        code = [f"loader = {line}"]
        if subject.code:
            head = ["import fastdata", "from fastdata import transforms as T", ""]
            code = [*head, f"dataset = {subject.code}", *code]
        measured = self.measured
        return TuneReport(
            name=subject.name,
            samples=len(subject.dataset),
            batch_size=size,
            cores=available_cores(),
            seconds=time.perf_counter() - self._began,
            candidates=[*measured, *(one for one in self._found.values() if not one.rates)],
            best=best,
            tied=tied,
            line=line,
            code="\n".join(code),
            step=self._step,
            interrupted=interrupted,
        )

    def _compare(self, settings: Sequence[Setting], passes: int, until: float) -> list[Setting]:
        """One round: try the settings in turn; those that could be, the faster ones first.

        When the time is over no other round begins, and one that has begun ends as soon as each
        setting was tried once; the first round ends at once.
        """
        if self._round and self._over:
            return [one.setting for one in self.measured]
        self._round += 1
        runs: list[dict[Setting, float]] = [{} for _ in range(passes)]
        visits = [(s, run) for i, run in enumerate(runs) for s in (settings, settings[::-1])[i % 2]]
        for done, (setting, run) in enumerate(visits):
            if self._over and self.measured and (self._round == 1 or done >= len(settings)):
                break
            if not self._found.setdefault(setting, Candidate(setting)).error:
                self._visit(setting, self._left(until, len(visits) - done), run)
        self._complete = self._round
        self._judge(runs)
        if not self.measured:
            raise self._failure or OptionError("there was no setting to try")
        tried = [one.setting for one in self.measured if one.round == self._round]
        return tried or [one.setting for one in self.measured]  # all of them may have failed

    def _visit(self, setting: Setting, seconds: float, run: dict[Setting, float]) -> None:
        """Try a setting, and put down what it did."""
        candidate = self._found[setting]
        before = candidate.rates if candidate.round == self._round else ()
        trial = self._try(setting, seconds)
        if trial is not None:
            run[setting] = trial.images_per_s
            first = min(trial.first_batch_s, candidate.first_batch_s or trial.first_batch_s)
            self._found[setting] = replace(
                candidate,
                round=self._round,
                rates=(*before, trial.images_per_s),
                first_batch_s=first,
            )

    def _judge(self, runs: list[dict[Setting, float]]) -> None:
        """Level a round's rates, and make them comparable with those of the rounds before."""
        good = [s for s in runs[0] if not self._found[s].error]
        whole = [run for run in runs if good and all(setting in run for setting in good)]
        for setting, rates in _leveled(good, whole).items():
            self._found[setting] = replace(self._found[setting], rates=rates)
        now = {s: self._found[s].images_per_s for s in good}
        slower = [self._score[s] / now[s] for s in good if s in self._score]
        factor = geometric_mean(slower) if slower else 1.0
        self._score.update({setting: factor * rate for setting, rate in now.items()})

    def _try(self, setting: Setting, seconds: float) -> Any:
        """A trial; None if the loader failed, which is noted."""
        best = self.measured[:1]
        told = (
            f"; up to now {best[0].setting}: {best[0].images_per_s:,.0f} images/s" if best else ""
        )
        self.bar.set_description_str(f"{setting}{told}", refresh=False)
        self.bar.update(min(self._spent(), self.bar.total) - self.bar.n)
        self.bar.refresh()
        try:
            return self._trials.rate(setting, seconds)
        except _DATA_ERRORS as error:  # no setting's fault
            raise type(error)(_in_one_line(error)) from error
        except Exception as error:
            self._failure = self._failure or error
            told = f"failed: {type(error).__name__}: {_in_one_line(error)}"
            self._found[setting] = replace(self._found[setting], rates=(), error=told)
            return None

    def _variants(self, setting: Setting) -> list[Setting]:
        """The setting with longer queues."""
        found = []
        if setting.num_workers:
            found.append(replace(setting, prefetch_factor=4))
        if setting.worker_type == "process" or self._trials.device is not None:
            found.append(replace(setting, prefetch_batches=4))
        return found

    def _finalists(self) -> list[Setting]:
        """The two fastest, and of those near them the ones that need the least."""
        ranked = sorted(self._score, key=lambda setting: -self._score[setting])
        ranked = [setting for setting in ranked if not self._found[setting].error]
        near = [s for s in ranked if self._score[s] >= _NEAR * self._score[ranked[0]]]
        near.sort(key=lambda setting: setting.simplicity)
        return list(dict.fromkeys([*ranked[:2], *near]))[:_FINALISTS]

    def _choice(self) -> tuple[Candidate, list[Candidate]]:
        """The simplest of the last round's fastest ones, and the others of them."""
        found = [one for one in self.measured if one.round >= self._complete] or self.measured
        found.sort(key=lambda one: -one.images_per_s)
        best = found[0]
        spread = (max(best.rates) - min(best.rates)) / 2 / best.images_per_s
        spread = min(max(spread, _LEAST_SPREAD), _MOST_SPREAD)
        tied = [one for one in found if one.images_per_s >= (1 - spread) * best.images_per_s]
        chosen = min(tied, key=lambda one: one.setting.simplicity)
        return chosen, [one for one in tied if one is not chosen]

    def _check_step(self, step: float) -> None:
        best, size = self._choice()[0], self._trials.batch_size
        waits = self._trials.waits(best.setting, step, self._left(_LAST, 1))
        needed = size / step
        self._step = StepCheck(
            step_ms=1e3 * step,
            needed=needed,
            margin=best.images_per_s / needed,
            steps=len(waits),
            wait_ms=1e3 * sum(waits) / len(waits),
        )

    @property
    def _over(self) -> bool:
        return self._spent() >= self._seconds

    def _spent(self) -> float:
        return time.perf_counter() - self._began

    def _left(self, until: float, trials: int) -> float:
        """Seconds for each of so many trials, up to a share of the whole time."""
        return max(_LEAST_SECONDS, (until * self._seconds - self._spent()) / trials)


def _leveled(
    settings: list[Setting], runs: list[dict[Setting, float]]
) -> dict[Setting, tuple[float, ...]]:
    """Rates by setting, without what all had in common: how fast the machine was in each run."""
    levels = [geometric_mean(run[setting] for setting in settings) for run in runs]
    common = geometric_mean(levels) if levels else 1.0
    scaled = list(zip(runs, (common / level for level in levels), strict=True))
    return {s: tuple(run[s] * factor for run, factor in scaled) for s in settings if runs}


def _in_one_line(error: Exception) -> str:
    """The first line of an error's message; torch puts a worker's traceback before it."""
    name = re.escape(type(error).__name__)
    told = re.findall(rf"^(?:[\w.]+\.)?{name}: (.*)$", str(error), re.MULTILINE)
    return told[-1] if told else str(error).partition("\n")[0]
