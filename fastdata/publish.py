"""A directory that appears complete, or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FastdataError, OptionError, PackExistsError, PackingError
from .shards._files import fsync_directory
from .shards.manifest import FORMAT, MANIFEST

_LOW_SPACE = 100_000_000


def check_destination(src: Path, dst: Path, overwrite: bool = False) -> None:
    """Raise OptionError or PackExistsError if ``dst`` may not be written.

    Neither may contain the other. Only a pack is ever overwritten, so that a slip cannot delete
    anything else.
    """
    source, target = (Path(os.path.realpath(path)) for path in (src, dst))
    if target.is_relative_to(source):
        raise OptionError(f"{dst} lies inside of {src}: choose another place")
    if not os.path.lexists(dst):
        return
    if not overwrite:
        raise PackExistsError(f"{dst} exists; choose another path{_or_overwrite(dst)}")
    if source.is_relative_to(target):
        raise OptionError(f"{src} lies inside of {dst}, which overwriting would delete")
    _check_pack(dst)


def _or_overwrite(dst: Path) -> str:
    return ", or replace it with overwrite (--overwrite)" if (dst / MANIFEST).is_file() else ""


def _check_pack(dst: Path) -> None:
    if not (dst / MANIFEST).is_file():
        raise PackExistsError(f"{dst} exists and is not a pack, so it is not overwritten")
    try:
        values = json.loads((dst / MANIFEST).read_text("utf-8"))
        known = values["format"] == FORMAT
        own = {MANIFEST, *values["files"], *(shard["file"] for shard in values["shards"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PackExistsError(
            f"{dst} is not overwritten: its {MANIFEST} is damaged, or of another program; delete "
            "it yourself, or choose another path"
        ) from error
    if not known:
        raise PackExistsError(f"{dst} is not overwritten: its {MANIFEST} is of another program")
    foreign = sorted(set(os.listdir(dst)) - own)
    if foreign:
        raise PackExistsError(
            f"{dst} is not overwritten: {foreign[0]!r} in it is no part of a pack"
        )


@contextmanager
def publishing(dst: Path, overwrite: bool = False) -> Iterator[Path]:
    """A new directory that becomes ``dst`` if the block succeeds and vanishes if it does not.

    If ``dst`` is a link, what it points to is replaced, not the link.

    Raises:
        PackExistsError: another process is writing ``dst``, or has written it meanwhile.
        PackingError: the file system refused, in the block or before or after it.
    """
    target = Path(os.path.realpath(dst))
    partial, old = (target.with_name(target.name + suffix) for suffix in (".partial", ".old"))
    if overwrite and os.path.lexists(old):
        raise PackExistsError(f"{old} exists, left by a run that was killed: look at it, delete it")
    with _clear_errors(dst):
        target.parent.mkdir(parents=True, exist_ok=True)
        _make(partial, dst)
        try:
            yield partial
            if overwrite and target.exists():
                _replace(partial, target, old)
            else:
                _rename(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        fsync_directory(target.parent)


@contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Each storage library has its own errors for a write that failed: all become OSError."""
    try:
        yield
    except (FastdataError, OSError):
        raise
    except Exception as error:
        free = shutil.disk_usage(directory).free
        # LMDB reports a full disk as "Input/output error".
        full = f" ({free / 1e6:.1f} MB are free there)" if free < _LOW_SPACE else ""
        raise OSError(f"{error}{full}") from error


@contextmanager
def _clear_errors(dst: Path) -> Iterator[None]:
    try:
        yield
    except FastdataError:
        raise
    except OSError as error:
        raise PackingError(f"cannot write {dst}: {error}; nothing is left of it") from error


def _make(partial: Path, dst: Path) -> None:
    try:
        partial.mkdir()
    except FileExistsError as error:
        raise PackExistsError(
            f"{partial} exists: another process is writing {dst}, or one was killed; in the "
            "latter case delete it and run again"
        ) from error


def _replace(partial: Path, target: Path, old: Path) -> None:
    try:
        os.rename(target, old)
        _rename(partial, target)
    except BaseException:
        if old.exists() and not target.exists():
            os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _rename(partial: Path, target: Path) -> None:
    try:
        os.rename(partial, target)
    except OSError as error:
        raise PackExistsError(f"{target} has appeared meanwhile: {error}") from error
