"""The commands that write packs, and ``unpack``."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any

from ..errors import OptionError
from ..images import CHECKS, DEFAULT_ENCODING, ENCODERS
from ..packing import PackReport, append, convert, merge, pack, plan_pack, scheduled, subset, unpack
from ..sources import SOURCES, open_source
from ..store import DEFAULT_STORAGE, STORAGES
from .options import _add_quiet, _given, _Run, add_command


def _pack(
    *,
    src: str,
    dst: str,
    flat: bool,
    labels: str | None,
    source: str | None,
    scheduler: str | None,
    dry_run: bool,
    quiet: bool,
    **options: Any,
) -> int:
    given = {name: options.pop(name) for name in SOURCE_OPTIONS}
    if flat and source is not None:
        raise OptionError(f"--flat is about a folder: not with --source {source}")
    if labels is not None:
        if source is not None or given["images"] is not None:
            raise OptionError("--labels says what SRC is: not with --source or --images")
        src, source, given["images"] = labels, "table", src
    listed = open_source(src, "flat" if flat else source, **given)
    if dry_run:
        print(plan_pack(listed, dst, **options))
        return 0
    with scheduled(scheduler) as executor:
        return _reported(pack(listed, dst, executor=executor, quiet=quiet, **options), quiet)


def _append(*, path: str, src: str, source: str | None, quiet: bool, **options: Any) -> int:
    given = {name: options.pop(name) for name in SOURCE_OPTIONS}
    listed = open_source(src, source, **given)
    return _reported(append(path, listed, quiet=quiet, **options), quiet)


def _merge(*, paths: list[str], dst: str, quiet: bool, **options: Any) -> int:
    return _reported(merge(paths, dst, quiet=quiet, **_given(options)), quiet)


def _subset(*, path: str, dst: str, quiet: bool, classes: str | None, **options: Any) -> int:
    names = None if classes is None else [name for name in classes.split(",") if name]
    return _reported(subset(path, dst, classes=names, quiet=quiet, **_given(options)), quiet)


def _convert(*, path: str, dst: str, quiet: bool, **options: Any) -> int:
    return _reported(convert(path, dst, quiet=quiet, **_given(options)), quiet)


def _reported(report: PackReport, quiet: bool) -> int:
    if not quiet:
        print(report)
    elif report.rejected:
        where = report.rejected_file
        print(f"fastdata: {report.rejected} images rejected, see {where}", file=sys.stderr)
    return 0


def _unpack(path: str, dst: str, to: str, quiet: bool) -> int:
    count = unpack(path, dst, to=to, quiet=quiet)
    if not quiet:
        print(f"{dst}: {count} images")
    return 0


#: Arguments that go to the source instead of to the packer.
SOURCE_OPTIONS = ("allow_empty", "masks", "images", "split", "allow_missing", "fields")


def add_pack(commands: Any, run: _Run) -> None:
    """``fastdata pack``."""
    example = "pack photos photos.pack --storage hdf5 --encoding jpeg --resize-short 256"
    pack = add_command(
        commands, "pack", run, "pack images from a folder, or from anywhere", example
    )
    pack.add_argument(
        "src", metavar="SRC", help="folder with one directory for each class, table, archive …"
    )
    pack.add_argument("dst", metavar="DST", help="the new pack: a directory or a URL")
    _add_source(pack)
    source = pack.add_mutually_exclusive_group()
    source.add_argument("--flat", action="store_true", help="the folder has no classes (target -1)")
    source.add_argument(
        "--labels", metavar="FILE", help="table of path,target,… instead of class directories"
    )
    _add_storage(pack, DEFAULT_STORAGE, DEFAULT_ENCODING)
    _add_writing(pack)
    pack.add_argument(
        "--scheduler", metavar="ADDRESS", help="a Dask scheduler, which packs one shard a task"
    )
    pack.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and write nothing"
    )


def add_append(commands: Any, run: _Run) -> None:
    """``fastdata append``."""
    append = add_command(
        commands, "append", run, "add samples to a pack, in new shards", "append photos.pack more"
    )
    append.add_argument("path", metavar="PACK")
    append.add_argument("src", metavar="SRC", help="as for pack")
    _add_source(append)
    _add_writing(append, overwrite=False)


def add_repacking(commands: Any, merge: _Run, subset: _Run, convert: _Run) -> None:
    """``fastdata merge``, ``subset`` and ``convert``."""
    merging = add_command(
        commands, "merge", merge, "put packs together", "merge a.pack b.pack all.pack"
    )
    merging.add_argument("paths", metavar="PACK", nargs="+")
    merging.add_argument("dst", metavar="DST", help="the new pack")
    taking = add_command(
        commands,
        "subset",
        subset,
        "take some samples of a pack",
        "subset a.pack b.pack --per-class 100",
    )
    taking.add_argument("path", metavar="PACK")
    taking.add_argument("dst", metavar="DST", help="the new pack")
    taking.add_argument("--classes", metavar="A,B", help="these classes only")
    taking.add_argument("--indices", metavar="FILE", help="an index or a key a line, or .npy")
    taking.add_argument("--count", type=int, metavar="N", help="so many, drawn at random")
    taking.add_argument("--per-class", type=int, metavar="N", help="at most so many of each class")
    taking.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw (0)")
    converting = add_command(
        commands,
        "convert",
        convert,
        "write a pack anew with another storage or encoding",
        "convert a.pack b.pack --storage hdf5",
    )
    converting.add_argument("path", metavar="PACK")
    converting.add_argument("dst", metavar="DST", help="the new pack")
    for parser in (merging, taking, converting):
        _add_storage(parser, None, None)
        _add_writing(parser)


def _add_source(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the source")
    group.add_argument("--source", choices=SOURCES, help="default: found out from what is there")
    group.add_argument("--allow-empty", action="store_true", help="accept classes without images")
    group.add_argument("--images", metavar="DIR", help="where a table's or COCO's paths begin")
    group.add_argument("--masks", metavar="DIR", help="masks beside the images in SRC")
    group.add_argument("--split", metavar="NAME", help="which part of image and mask pairs")
    group.add_argument(
        "--allow-missing", action="store_true", help="leave out images that have no mask"
    )
    group.add_argument(
        "--fields",
        type=_fields,
        metavar="NAME=KIND,…",
        help="kinds of a table's columns; an empty one leaves the column out",
    )


def _fields(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for part in re.split(r",(?![^\[]*\])", text):  # not those between an array's lengths
        name, equals, kind = part.partition("=")
        if not name or not equals:
            raise argparse.ArgumentTypeError(f"expected NAME=KIND, got {part!r}")
        found[name] = kind or None
    return found


def _add_storage(
    parser: argparse.ArgumentParser, storage: str | None, encoding: str | None
) -> None:
    default = "default: %s"
    parser.add_argument(
        "--storage", choices=STORAGES, default=storage, help=default % (storage or "as it is")
    )
    parser.add_argument(
        "--encoding",
        choices=ENCODERS,
        default=encoding,
        help=f"{default % (encoding or 'as it is')}; keep stores the files' own bytes",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--resize-short",
        type=int,
        metavar="N",
        help="shrink the shorter side to N pixels, as torchvision's Resize(N) does",
    )
    size.add_argument("--max-side", type=int, metavar="N", help="shrink to N pixels at most")
    parser.add_argument("--quality", type=int, metavar="1..100", help="of --encoding jpeg (90)")


def _add_writing(parser: argparse.ArgumentParser, overwrite: bool = True) -> None:
    parser.add_argument(
        "--check", choices=CHECKS, default="decode", help="default: decode every image"
    )
    parser.add_argument(
        "--shard-size", default="1GiB", metavar="SIZE", help="such as 500MB (default: 1GiB)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="default: the cores")
    if overwrite:
        parser.add_argument("--overwrite", action="store_true", help="replace a pack at DST")
    parser.add_argument(
        "--restart", action="store_true", help="discard what an interrupted run has left"
    )
    parser.add_argument(
        "--on-error",
        choices=("quarantine", "fail"),
        default="quarantine",
        help="leave a bad image out (default), or stop",
    )
    _add_quiet(parser)
