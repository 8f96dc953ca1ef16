"""Packing: list the source, encode in parallel, write in order, publish at once."""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from . import jpeg
from .encode import DEFAULT_ENCODING, EncodeSettings, encode
from .errors import DecodeError, OptionError, PackingError
from .folder import Listing, read_file
from .labels import list_source
from .opencv import quiet_opencv, single_threaded_opencv
from .parallel import available_cores, ordered_map
from .publish import check_destination, publishing, storage_errors
from .sample import Record, Sample
from .shards import PackWriter
from .shards import storage as known_storage

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{p}B": 1000 ** (i + 1) for i, p in enumerate("kMGT")}
_UNITS |= {f"{p}iB": 1024 ** (i + 1) for i, p in enumerate("KMGT")}


@dataclass(frozen=True, slots=True)
class PackReport:
    """What packing did.

    Attributes:
        path: the pack.
        images: samples stored.
        classes: number of classes.
        rejections: (key, reason) of each image that was left out.
        bytes_in, bytes_out: size of the files read, and of the whole pack.
        seconds: wall time.
        verbatim: number of images that encoding "sliceable" stores as they are, by reason.
        ignored: number of files that do not have an image's extension, by extension.
        notes: what else was noticed in the source.
    """

    path: Path
    images: int
    classes: int
    rejections: list[tuple[str, str]]
    bytes_in: int
    bytes_out: int
    seconds: float
    verbatim: dict[str, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """How many images were left out."""
        return len(self.rejections)

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
            lines.append(f"… and {self.rejected - 20} more, all in {self.path / 'rejected.jsonl'}")
        if self.verbatim:
            kept = ", ".join(f"{count} ({why})" for why, count in sorted(self.verbatim.items()))
            lines.append(f"not sliceable, so decoded whole: {kept}")
        if self.ignored:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(self.ignored.items()))
            lines.append(f"not images, by their extension: {kinds}")
        return "\n".join([*lines, *self.notes])


def pack_image_folder(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    flat: bool = False,
    labels: str | os.PathLike[str] | None = None,
    allow_empty: bool = False,
    storage: str = "lmdb",
    encoding: str = DEFAULT_ENCODING,
    resize_short: int | None = None,
    max_side: int | None = None,
    quality: int | None = None,
    check: str = "decode",
    shard_size: int | str = "1GiB",
    workers: int | None = None,
    overwrite: bool = False,
    on_error: Literal["quarantine", "fail"] = "quarantine",
    quiet: bool = False,
) -> PackReport:
    """Pack a folder of images.

    The pack's bytes depend on the source and the settings, not on ``workers``. It appears at
    ``dst`` when it is complete; until then it grows in ``dst`` + ".partial", which goes on error.

    Args:
        src: a folder in torchvision's ``ImageFolder`` layout, unless ``flat`` or ``labels`` is set.
        dst: path of the new pack; its parent directories are made.
        flat: the folder has no classes; every target is −1.
        labels: CSV file with the columns path (relative to ``src``) and target (integer or name).
        allow_empty: accept class directories without an image.
        storage: "lmdb" or "hdf5".
        encoding: "sliceable" (default: JPEGs rewritten without loss, so that a part of one can be
            decoded; other files as they are), "keep", "jpeg", "png" or "raw".
        resize_short, max_side: shrink to this many pixels (INTER_AREA), never enlarge.
        quality: JPEG quality, 1 to 100, default 90.
        check: "decode" each image before it is stored, or read its "header" only.
        shard_size: bytes of records in a shard, as a number or as "512MiB".
        workers: threads that read and encode; default: the cores this process may use.
        overwrite: replace a pack at ``dst``, and nothing else, once the new one is complete.
        on_error: "quarantine" leaves a bad image out and lists it in rejected.jsonl; "fail" stops.
        quiet: no progress bar, which otherwise shows where standard error is a terminal.

    Raises:
        OptionError: options contradict each other.
        SourceError: the source cannot be listed, or has no images.
        PackExistsError: ``dst`` is taken.
        PackingError: an image failed and ``on_error`` is "fail", or all of them did, or the pack
            cannot be written.
    """
    started = time.perf_counter()
    settings = _usable(EncodeSettings(encoding, resize_short, max_side, quality, check))
    known_storage(storage)
    size = parse_size(shard_size)
    workers = available_cores() if workers is None else workers
    if workers < 1:
        raise OptionError(f"workers must be >= 1, got {workers}")
    if on_error not in ("quarantine", "fail"):
        raise OptionError(f"on_error must be quarantine or fail, got {on_error!r}")
    target = Path(dst)
    check_destination(Path(src), target, overwrite)
    listing = list_source(src, flat=flat, labels=labels, allow_empty=allow_empty)
    with publishing(target, overwrite) as partial, quiet_opencv(), single_threaded_opencv:
        job = _Job(listing, partial, PackWriter(partial, storage, size), settings, on_error)
        try:
            job.run(workers, quiet)
        except BaseException:
            job.writer.abort()
            raise
        bytes_out = sum(entry.stat().st_size for entry in partial.iterdir())
    return PackReport(
        path=target,
        images=job.writer.samples,
        classes=len(listing.classes),
        rejections=job.rejections,
        bytes_in=job.bytes_in,
        bytes_out=bytes_out,
        seconds=time.perf_counter() - started,
        verbatim=dict(job.verbatim),
        ignored=dict(listing.findings.ignored),
        notes=listing.findings.notes,
    )


def _usable(settings: EncodeSettings) -> EncodeSettings:
    if settings.encoding != "sliceable" or jpeg.available():
        return settings
    warnings.warn(
        "numba cannot be imported, so files are packed as they are, with encoding 'keep'; "
        "for sliceable ones: pip install numba",
        stacklevel=3,
    )
    return replace(settings, encoding="keep")


@dataclass
class _Job:
    """One packing run: where it reads from, where it writes to, and what it has rejected."""

    listing: Listing
    partial: Path
    writer: PackWriter
    settings: EncodeSettings
    on_error: str
    rejections: list[tuple[str, str]] = field(default_factory=list)
    verbatim: Counter[str] = field(default_factory=Counter)
    bytes_in: int = 0

    def run(self, workers: int, quiet: bool) -> None:
        for key, reason in self.listing.findings.rejected:
            self._reject(key, reason)
        bar = tqdm(total=len(self.listing), unit="img", disable=True if quiet else None)
        with (
            bar,
            ThreadPoolExecutor(workers, "fastdata-pack") as pool,
            closing(ordered_map(pool, self._encode, self.listing, 4 * workers)) as results,
        ):
            for sample, result in results:
                self._store(sample, result)
                bar.update()
                if not bar.disable:
                    rate = self.bytes_in / 1e6 / max(time.time() - bar.start_t, 1e-9)
                    bar.set_postfix_str(f"{rate:.1f} MB/s", refresh=False)
        if not self.writer.samples:
            key, reason = self.rejections[0]
            raise PackingError(f"none of {len(self.rejections)} images is usable: {key}: {reason}")
        self._finish()

    def _finish(self) -> None:
        with storage_errors(self.partial):
            self.writer.finish(
                encoding=self.settings.describe(),
                source=self.listing.source,
                classes=self.listing.classes,
                rejected=(
                    json.dumps({"key": key, "reason": reason}, ensure_ascii=False)
                    for key, reason in self.rejections
                ),
            )

    def _encode(self, sample: Sample) -> tuple[int, Record | str]:
        """Read and encode one image (in a worker thread); a string is why it cannot be used."""
        size = 0
        try:
            data = read_file(self.listing.root / sample.key)
            size = len(data)
            return size, encode(data, self.settings)
        except OSError as error:
            return size, f"cannot be read: {error.strerror or error}"
        except DecodeError as error:
            return size, str(error)

    def _store(self, sample: Sample, result: tuple[int, Record | str]) -> None:
        size, record = result
        self.bytes_in += size
        if isinstance(record, str):
            self._reject(sample.key, record)
        else:
            with storage_errors(self.partial):
                self.writer.add(sample.key, sample.target, record)
            if record.verbatim:
                self.verbatim[record.verbatim] += 1

    def _reject(self, key: str, reason: str) -> None:
        if self.on_error == "fail":
            raise PackingError(f"{key}: {reason}; nothing was packed")
        self.rejections.append((key, reason))


def parse_size(size: int | str) -> int:
    """Bytes from a number or from text such as "1GiB", "500 MB" or "4096"; else OptionError."""
    text = str(size)
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2] not in _UNITS:
        units = " ".join(filter(None, _UNITS))
        raise OptionError(f"a size is a number of bytes, or one with {units}; got {text!r}")
    value = int(Fraction(match[1]) * _UNITS[match[2]])
    if value < 1:
        raise OptionError(f"a shard's size must be >= 1 byte, got {text!r}")
    return value
