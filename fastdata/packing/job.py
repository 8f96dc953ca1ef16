"""Notes of a packing run about itself: whether a later one wants the same pack."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import KeyTable, fsync_file, hexdigest
from ..errors import PackExistsError, PackFormatError
from ..sources import Source

#: The settings; the samples' names, sizes and times; and what is noted right before the pack
#: appears.
JOB, SOURCE, COMMIT = "job.json", "source.npz", "commit"


class Commit(NamedTuple):
    """Note of a run right before its pack appears.

    ``manifest`` is the digest of the pack.json, ``job`` that of settings and listing, and ``parts``
    has the number of items and their digest for each shard.
    """

    manifest: str
    job: str
    parts: list[tuple[int, str]]


def job_identity(job: dict[str, Any], source: Source | None) -> str:
    """A digest of settings and samples; two runs that have the same want the same pack."""
    settings = {name: value for name, value in job.items() if name != "appends_to"}
    parts: list[Any] = [json.dumps(settings, sort_keys=True)]
    if source is not None:
        parts += [source.keys.offsets, source.keys.blob, source.sizes, source.stamps]
    return hexdigest(parts)


def check_job(directory: Path, where: str, now: dict[str, Any], source: Source | None) -> None:
    """Compare a run with the one that has left ``job.json`` and ``source.npz`` in a directory.

    Args:
        directory: of the two files.
        where: the unfinished pack, for messages.
        now: the settings.
        source: the samples, if they could be listed.

    Raises:
        PackExistsError: they differ; the message says in what.
        PackFormatError: the files are damaged.
    """
    different = differences(directory, where, now, source)
    if different:
        raise PackExistsError(
            f"{where} holds an unfinished pack that differs: {'; '.join(different)}. Run "
            "it as before to go on, or give up what is done and start anew with restart "
            "(--restart)"
        )


def differences(
    directory: Path, where: str, now: dict[str, Any], source: Source | None
) -> list[str]:
    """Differences between a run and the one that has left its files; arguments as ``check_job``.

    Raises:
        PackFormatError: the files are damaged.
    """
    now = json.loads(json.dumps(now))  # as it will be read again: tuples become lists
    try:
        before = dict(json.loads((directory / JOB).read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise PackFormatError(f"{where}/{JOB}: damaged: start anew with --restart") from error
    different = [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in {**before, **now}
        if before.get(name) != now.get(name) and name != "digest"
    ]
    if source is not None:
        different += _changes(directory / SOURCE, source)
    if not different and before.get("digest") != now.get("digest"):
        different = ["targets, columns or annotations have changed"]
    return different


def write_listing(path: Path, source: Source) -> None:
    """Write ``source.npz``, whole or not at all."""
    arrays = {
        "key_offsets": source.keys.offsets,
        "keys": source.keys.blob,
        "sizes": source.sizes,
        "stamps": source.stamps,
    }
    temporary = path.with_name("tmp-" + path.name)
    np.savez(temporary, **arrays)  # type: ignore[arg-type]
    fsync_file(temporary)
    os.replace(temporary, path)


def _changes(path: Path, source: Source) -> list[str]:
    """The first difference between the samples that were listed and those that are there now."""
    try:
        with np.load(path, allow_pickle=False) as found:
            before = {name: found[name] for name in found.files}
        keys = KeyTable(before["key_offsets"], before["keys"])
    except Exception as error:  # zipfile and NumPy have errors of their own
        raise PackFormatError(f"{path}: damaged ({error}): start anew with --restart") from error
    if len(keys) != len(source) or not np.array_equal(keys.offsets, source.keys.offsets):
        return [_first_new_key(keys, source.keys)]
    if not np.array_equal(keys.blob, source.keys.blob):
        return [_first_new_key(keys, source.keys)]
    for name, meaning in (("sizes", "bytes"), ("stamps", "modification time")):
        rows = np.flatnonzero(before[name] != getattr(source, name))
        if len(rows):
            row = int(rows[0])
            more = f" (and {len(rows) - 1} more files)" if len(rows) > 1 else ""
            old, new = before[name][row], getattr(source, name)[row]
            return [f"{source.keys[row]!r} has changed: {meaning} {old} then, {new} now{more}"]
    return []


def _first_new_key(before: KeyTable, now: KeyTable) -> str:
    for index, (old, new) in enumerate(zip(before, now, strict=False)):
        if old != new:
            where = f"sample {index} was {old!r} and is {new!r}"
            break
    else:
        longer = before if len(before) > len(now) else now
        gone = "no longer there" if longer is before else "new"
        where = f"{longer[min(len(before), len(now))]!r} is {gone}"
    return f"the source had {len(before)} samples and has {len(now)}: {where}"
