"""One packing run: write the shards that are missing, put them together, publish."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from typing import Any

import cv2
from tqdm import tqdm

from ..core import __version__
from ..errors import FastdataError, PackingError, RemoteError, SourceError
from ..images import resample
from ..sources import Findings, Samples
from ..store import Contents, Manifest, Rejection, ShardPart, assemble
from .job import job_identity
from .options import PackSettings
from .report import PackReport, make_report
from .tasks import pack_by_executor
from .workspace.base import Destination, write_errors
from .write import expansion, pack_source, pack_stream, plan_shards


@dataclass
class PackRun:
    """One packing run: what it reads, what it writes, and how."""

    source: Samples
    destination: Destination
    settings: PackSettings
    shard_size: int
    _: KW_ONLY
    overwrite: bool = False
    first: int = 0  # number of the first shard

    def run(
        self, workers: int, executor: Executor | None, restart: bool, quiet: bool
    ) -> PackReport:
        started = time.perf_counter()
        with write_errors(self.destination):
            if self._was_done(restart):
                return self._nothing_to_do()
            self.check_destination()
            with (
                self.destination.hold(self.job(), self.source.listing, restart) as work,
                _resumable(work),
            ):
                self.check_destination()  # now that no other process can change it
                resumed = len(work.done())
                self._write_shards(work, workers, executor, quiet)
                report = self._assemble(work, started, resumed)
                self.publish(work)
        return report

    def _was_done(self, restart: bool) -> bool:
        """True if an earlier run was stopped when nothing was left to do but to clear up.

        That is done now, also if it was the run of another job, which this one then follows.
        """
        commit = self.destination.published()
        if commit is None:
            return False
        self.clear_up()
        if restart or commit.job != job_identity(self.job(), self.source.listing):
            return False
        if self.source.has_parts(commit.parts):
            return True
        if self.source.length is not None:
            return False
        raise SourceError(
            f"an earlier run with other samples had completed {self.destination}, and was stopped "
            "when it cleared up; that is done now, so run this again"
        )

    def clear_up(self) -> None:
        """Remove what the earlier run has left."""
        self.destination.clear_up()

    def _nothing_to_do(self) -> PackReport:
        note = "an earlier run had completed it, and was stopped when it cleared up"
        return PackReport(
            path=self.destination.place.path,
            images=0,
            classes=len(self.source.classes),
            rejections=[],
            bytes_in=0,
            bytes_out=0,
            seconds=0.0,
            notes=[note],
        )

    def check_destination(self) -> None:
        """Raise OptionError or PackExistsError if the pack may not be written."""
        self.destination.check_new(self.source.roots, self.overwrite, not self.source.walks)

    def job(self) -> dict[str, Any]:
        """All that the pack's bytes depend on, besides the samples' own bytes."""
        encode, source = self.settings.encode, self.source
        # What resizes; not asked for in vain, as importing numba takes half a second.
        numba = {"numba": resample.available()} if encode.shrinks else {}
        return {
            **numba,
            "fastdata": __version__,
            "opencv": cv2.__version__,
            "source": source.name,
            "fields": {name: str(kind) for name, kind in self.settings.fields.items()},
            "classes": len(source.classes),
            "storage": self.settings.storage,
            "encoding": encode.describe(),
            "check": encode.check,
            "shard_size": self.shard_size,
            "digest": source.digest(),
        }

    def _write_shards(
        self, work: Destination, workers: int, executor: Executor | None, quiet: bool
    ) -> None:
        source, settings = self.source.listing, self.settings
        self._reject_listed()
        with tqdm(total=self.source.length, unit="img", disable=True if quiet else None) as bar:
            progress = _SpeedBar(bar)
            if source is None:
                samples, size, first = self.source, self.shard_size, self.first
                pack_stream(work, samples, size, settings, workers, progress, first)
                return
            spans = plan_shards(source.sizes, self.shard_size, expansion(source, settings))
            done = work.done()
            todo = [plan for plan in enumerate(spans, self.first) if plan[0] not in done]
            bar.update(len(source) - sum(span.stop - span.first for _, span in todo))
            if executor is None:
                path, upload = work.path, work.upload
                pack_source(path, source, todo, settings, workers, progress, upload=upload)
                return
            with work.scratch() as scratch:
                pack_by_executor(
                    executor, work.path, scratch, source, todo, settings, progress, work.upload
                )
            work.expect(number for number, _ in todo)

    def _reject_listed(self) -> None:
        if self.findings.rejected and self.settings.fail:
            key, reason = self.findings.rejected[0]
            raise PackingError(f"{key}: {reason}")

    def _assemble(self, work: Destination, started: float, resumed: int) -> PackReport:
        """Put the parts together, each read once; then all is there but pack.json's appearance."""
        findings = self.findings
        rejections = [Rejection(*pair) for pair in findings.rejected]
        listed, infos = len(rejections), []

        def parts() -> Iterator[ShardPart]:
            for number in sorted(work.done()):
                part = work.part(number)
                rejections.extend(part.rejections)
                infos.append(part.info)
                yield part

        manifest = self.write_pack(work, parts(), rejections[:listed])
        if not any(info.count for info in infos):
            work.discard()
            key, reason = rejections[0]
            raise PackingError(f"none of {len(rejections)} images is usable: {key}: {reason}")
        work.announce(manifest, infos)
        return make_report(
            self.destination.place.path,
            (sum(info.count for info in infos), len(manifest.classes)),
            rejections,
            infos,
            findings,
            sum(entry.bytes for entry in manifest.entries)
            + len(manifest.to_bytes())
            - self.bytes_kept,
            time.perf_counter() - started,
            resumed,
        )

    def write_pack(
        self, work: Destination, parts: Iterator[ShardPart], rejected: list[Rejection]
    ) -> Manifest:
        """Put the parts together in the workspace."""
        return assemble(work.pack, self.contents(), parts, rejected)

    def publish(self, work: Destination) -> None:
        """Let the pack appear."""
        work.publish(self.overwrite)

    @property
    def bytes_kept(self) -> int:
        """Size of those files of the pack that were there before."""
        return 0

    @property
    def findings(self) -> Findings:
        """Findings besides samples when they were listed."""
        return self.source.findings

    def contents(self) -> Contents:
        """Those values of the manifest that source and settings determine."""
        settings, source = self.settings, self.source
        encoding = settings.encode.describe()
        return Contents(settings.fields, settings.storage, encoding, source.name, source.classes)


class _SpeedBar:
    """Moves a progress bar, and shows the speed of reading behind it."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._bytes = 0

    def __call__(self, samples: int, size: int) -> None:
        self._bar.update(samples)
        self._bytes += size
        if not self._bar.disable:
            rate = self._bytes / 1e6 / max(time.time() - self._bar.start_t, 1e-9)
            self._bar.set_postfix_str(f"{rate:.1f} MB/s", refresh=False)


@contextmanager
def _resumable(work: Destination) -> Iterator[None]:
    """Say with whatever stops the packing how to go on."""
    try:
        yield
    except PackingError as error:
        raise PackingError(f"{error}; {_way_on(work)}") from error
    except RemoteError as error:
        raise RemoteError(f"{error}; {_way_on(work)}") from error
    except FastdataError:
        raise
    except OSError as error:
        raise PackingError(f"cannot write {work.where}: {error}; {_way_on(work)}") from error
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"interrupted; {_way_on(work)}") from error


def _way_on(work: Destination) -> str:
    again = "run the same again to go on with them"
    try:
        done = len(work.done())
    except FastdataError:  # the store that has just failed
        return f"shards that are complete stay in {work.where}: {again}"
    if not done:
        return "nothing is left of it"
    return f"{done} shards are complete in {work.where}: {again}"
