"""Reports of a packing run, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..sources import Findings
from ..store import REJECTED, PartInfo, Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class PackReport:
    """Report of a packing run.

    Attributes:
        path: the pack's directory, or its URL without a password.
        images: samples stored.
        classes: number of classes.
        rejections: (key, reason) of each image that was left out.
        bytes_in, bytes_out: size of what was read, and of the files written.
        seconds: wall time.
        verbatim: number of images that encoding "sliceable" stores as they are, by reason.
        ignored: number of files that do not have an image's extension, by extension.
        resumed: shards that an earlier, interrupted run had completed.
        notes: what else was noticed in the source.

    Example:
        >>> from pathlib import Path
        >>> size = Path("photos/dog/1.jpg").write_bytes(b"no image")
        >>> report = fastdata.pack("photos", "new.pack", quiet=True)
        >>> report.images, report.rejected, report.rejections[0][0]
        (7, 1, 'dog/1.jpg')
        >>> print(report)
        new.pack: 7 images in 2 classes, 1 rejected...
    """

    path: Path | str
    images: int
    classes: int
    rejections: list[tuple[str, str]]
    bytes_in: int
    bytes_out: int
    seconds: float
    verbatim: dict[str, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    resumed: int = 0

    @property
    def rejected(self) -> int:
        """Number of images that were left out."""
        return len(self.rejections)

    @property
    def rejected_file(self) -> str:
        """The file in which they are listed."""
        return f"{self.path}/{REJECTED}"

    @property
    def images_per_second(self) -> float:
        """Images stored per second of wall time."""
        return self.images / self.seconds if self.seconds else float("inf")

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.images} images in {self.classes} classes, "
            f"{self.rejected} rejected",
            f"{self.bytes_in / 1e6:.1f} MB in, {self.bytes_out / 1e6:.1f} MB out, "
            f"{self.seconds:.1f} s, {self.images_per_second:.0f} images/s",
        ]
        lines += [f"rejected {key}: {reason}" for key, reason in self.rejections[:20]]
        if self.rejected > 20:
            lines.append(f"… and {self.rejected - 20} more, all in {self.rejected_file}")
        if self.verbatim:
            kept = ", ".join(f"{count} ({why})" for why, count in sorted(self.verbatim.items()))
            lines.append(f"not sliceable, so decoded whole: {kept}")
        if self.ignored:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(self.ignored.items()))
            lines.append(f"not images, by their extension: {kinds}")
        if self.resumed:
            lines.append(f"went on with {self.resumed} shards of an interrupted run")
        return "\n".join([*lines, *self.notes])


def make_report(
    path: Path | str,
    counts: tuple[int, int],
    rejections: Iterable[Rejection],
    infos: list[PartInfo],
    findings: Findings,
    bytes_out: int,
    seconds: float,
    resumed: int,
) -> PackReport:
    """A report from what is known of the parts; ``counts`` are those of samples and classes."""
    verbatim: Counter[str] = Counter()
    for info in infos:
        verbatim.update(info.verbatim)
    return PackReport(
        path=path,
        images=counts[0],
        classes=counts[1],
        rejections=[(key, reason) for key, reason in rejections],
        bytes_in=sum(info.bytes_in for info in infos),
        bytes_out=bytes_out,
        seconds=seconds,
        verbatim=dict(verbatim),
        ignored=dict(findings.ignored),
        notes=findings.notes,
        resumed=resumed,
    )
