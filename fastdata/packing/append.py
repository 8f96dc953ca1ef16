"""Appending samples to a pack: new shards beside the old ones, and a new pack.json at the end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from typing_extensions import Unpack

from ..core import hexdigest, parse_size
from ..errors import OptionError, PackExistsError
from ..images import EncodeSettings
from ..sources import Findings, Source, merged_classes, samples_of
from ..store import (
    REJECTIONS,
    Manifest,
    PackReader,
    PartInfo,
    Rejection,
    ShardPart,
    SideFiles,
    shard_entries,
    shard_number,
)
from .options import (
    ENCODING_OPTIONS,
    PackOptions,
    PackSettings,
    access_of,
    check_executor,
    check_on_error,
    checked_workers,
    encoding_options,
)
from .report import PackReport
from .run import PackRun
from .workspace import Destination, destination_of

_FIXED = {"storage", *ENCODING_OPTIONS, "overwrite"}


def append(
    path: str | os.PathLike[str],
    samples: Source | Iterable[Any] | str | os.PathLike[str],
    **options: Unpack[PackOptions],
) -> PackReport:
    """Append samples to a pack, with the settings that it was made with.

    Shards are immutable: the new samples go into new ones. The new pack.json appears in one step,
    when everything else is there; who has the pack open keeps what it had. Classes are matched by
    name, and new ones get the numbers behind the old. Stopped at any moment, the pack is what it
    was, and the same call goes on.

    Args:
        path: the pack.
        samples: as for ``pack``; they must have the pack's fields, and tuples their order.
        options: as for ``pack``, less storage, encoding and overwrite, which the pack determines.

    Returns:
        a report of the samples appended.

    Raises:
        OptionError: the samples have other fields, or an option does not apply.
        FastdataError: as ``pack``.

    Example:
        >>> report = fastdata.append("photos.pack", [("photos/dog/1.jpg", 1)], quiet=True)
        >>> report.images, len(fastdata.PackedImageFolder("photos.pack"))
        (1, 9)
    """
    fixed = sorted(name for name in _FIXED & options.keys() if options.get(name))
    if fixed:
        raise OptionError(f"{fixed[0]} is determined by the pack that is appended to")
    access = access_of(options)
    reader = PackReader(path, access=access)
    manifest = reader.manifest
    check_on_error(options.get("on_error", "quarantine"))
    known = None if isinstance(samples, (str, os.PathLike)) else manifest.fields
    source = samples_of(samples, known)
    check_executor(source, options.get("executor"))
    if {name: str(field) for name, field in source.fields.items()} != manifest.fields:
        found = {name: str(field) for name, field in source.fields.items()}
        raise OptionError(f"{path} has the fields {manifest.fields}, the samples have {found}")
    encode = EncodeSettings(
        **encoding_options(manifest.encoding), check=options.get("check", "decode")
    )
    settings = PackSettings(
        reader.fields, encode, manifest.storage, options.get("on_error") == "fail"
    )
    run = _AppendRun(
        source.with_classes(merged_classes([manifest.classes, source.classes])),
        destination_of(path, access),
        settings,
        parse_size(options.get("shard_size", "1GiB")),
        first=_next_number(manifest),
        reader=reader,
    )
    return run.run(
        checked_workers(options.get("workers")),
        options.get("executor"),
        options.get("restart", False),
        options.get("quiet", False),
    )


def _next_number(manifest: Manifest) -> int:
    numbers = [shard_number(shard.file) for shard in manifest.shards]
    return max((number for number in numbers if number is not None), default=-1) + 1


@dataclass
class _AppendRun(PackRun):
    """A packing run that ends in a pack that exists."""

    reader: PackReader | None = None

    @property
    def _old(self) -> PackReader:
        assert self.reader is not None
        return self.reader

    @property
    def bytes_kept(self) -> int:
        """Size of the old shards."""
        return sum(shard.bytes for shard in self._old.manifest.shards)

    @property
    def findings(self) -> Findings:
        """Those of the source, and what was there before."""
        before = f"appended to the {len(self._old)} samples that were there"
        found = super().findings
        return replace(found, notes=[*found.notes, before])

    def clear_up(self) -> None:
        """Remove the side files that were replaced, too."""
        self.destination.clear_up(self._old.manifest)

    def check_destination(self) -> None:
        """The pack exists, and is to; but nobody else may have appended to it meanwhile."""
        if self.destination.manifest() != self._old.manifest:
            raise PackExistsError(f"{self.destination} has been changed meanwhile: run this again")
        if any(self.destination.place.is_at(root) for root in self.source.roots):
            raise OptionError(
                f"{self.destination} cannot be appended to itself: merge it into a copy"
            )

    def job(self) -> dict[str, Any]:
        """See ``PackRun``; it is about this state of the pack alone."""
        return {**super().job(), "appends_to": hexdigest([self._old.manifest.to_bytes()])}

    def write_pack(
        self, work: Destination, parts: Iterator[ShardPart], rejected: list[Rejection]
    ) -> Manifest:
        """Write side files for old and new samples in the workspace, and the manifest there."""
        old, infos = self._old, list[PartInfo]()
        generation = old.manifest.generation + 1
        with SideFiles(work.pack, self.settings.fields, generation) as side:
            side.add_rows(old.table, old.keys.offsets, old.keys.blob, old.columns)
            side.copy_rejected(old.files.map(old.manifest.files[REJECTIONS]))
            side.reject(rejected)
            for part in parts:
                side.add(part)
                infos.append(part.info)
            files = side.finish()
        manifest = Manifest(
            samples=side.samples,
            storage=old.manifest.storage,
            encoding=old.manifest.encoding,
            source=old.manifest.source,
            classes=self.source.classes,
            fields=old.manifest.fields,
            rejected=side.rejected,
            files=files,
            shards=[*old.manifest.shards, *shard_entries(infos, len(old))],
            generation=generation,
        )
        manifest.write(work.pack)
        return manifest

    def publish(self, work: Destination) -> None:
        """Let the new pack take the place of the old one."""
        work.publish_over(self._old.manifest)
