"""The commands that write packs, and ``unpack``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import OptionError
from ..images import CHECKS, DEFAULT_ENCODING, ENCODINGS
from ..packing import (
    FORMATS,
    PackReport,
    append,
    convert,
    merge,
    pack,
    plan_pack,
    scheduled,
    subset,
    unpack,
)
from ..sources import SOURCES, Source, SourceOption, open_source
from ..store import DEFAULT_STORAGE, STORAGES
from .options import add_command, add_quiet, given


def add_pack(commands: Any) -> None:
    """``fastdata pack``."""
    example = "pack photos photos.pack --storage hdf5 --encoding jpeg --resize-short 256"
    parser = add_command(
        commands, "pack", _pack, "pack images from a folder, or from anywhere", example
    )
    parser.add_argument(
        "src", metavar="SRC", help="folder with one directory for each class, table, archive …"
    )
    parser.add_argument("dst", metavar="DST", help="the new pack: a directory or a URL")
    _add_source(parser)
    _add_storage(parser, DEFAULT_STORAGE, DEFAULT_ENCODING)
    _add_writing(parser)
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="a Dask scheduler, which packs one shard a task"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and write nothing"
    )


def _pack(
    *,
    src: str,
    dst: str,
    source: str | None,
    scheduler: str | None,
    dry_run: bool,
    quiet: bool,
    **options: Any,
) -> int:
    listed = _listed(src, source, options)
    if dry_run:
        print(plan_pack(listed, dst, **options))
        return 0
    with scheduled(scheduler) as executor:
        return _reported(pack(listed, dst, executor=executor, quiet=quiet, **options), quiet)


def add_append(commands: Any) -> None:
    """``fastdata append``."""
    purpose = "add samples to a pack, in new shards"
    parser = add_command(commands, "append", _append, purpose, "append photos.pack more")
    parser.add_argument("path", metavar="PACK")
    parser.add_argument("src", metavar="SRC", help="as for pack")
    _add_source(parser)
    _add_writing(parser, overwrite=False)


def _append(*, path: str, src: str, source: str | None, quiet: bool, **options: Any) -> int:
    listed = _listed(src, source, options)
    return _reported(append(path, listed, quiet=quiet, **options), quiet)


def add_merge(commands: Any) -> None:
    """``fastdata merge``."""
    parser = add_command(
        commands, "merge", _merge, "put packs together", "merge a.pack b.pack all.pack"
    )
    parser.add_argument("paths", metavar="PACK", nargs="+")
    parser.add_argument("dst", metavar="DST", help="the new pack")
    _add_storage(parser, None, None)
    _add_writing(parser)


def _merge(*, paths: list[str], dst: str, quiet: bool, **options: Any) -> int:
    return _reported(merge(paths, dst, quiet=quiet, **given(options)), quiet)


def add_subset(commands: Any) -> None:
    """``fastdata subset``."""
    example = "subset a.pack b.pack --per-class 100"
    parser = add_command(commands, "subset", _subset, "take some samples of a pack", example)
    parser.add_argument("path", metavar="PACK")
    parser.add_argument("dst", metavar="DST", help="the new pack")
    parser.add_argument("--classes", metavar="A,B", help="these classes only")
    parser.add_argument("--indices", metavar="FILE", help="an index or a key a line, or .npy")
    parser.add_argument("--count", type=int, metavar="N", help="so many, drawn at random")
    parser.add_argument("--per-class", type=int, metavar="N", help="at most so many of each class")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw (0)")
    _add_storage(parser, None, None)
    _add_writing(parser)


def _subset(*, path: str, dst: str, quiet: bool, classes: str | None, **options: Any) -> int:
    names = None if classes is None else [name for name in classes.split(",") if name]
    return _reported(subset(path, dst, classes=names, quiet=quiet, **given(options)), quiet)


def add_convert(commands: Any) -> None:
    """``fastdata convert``."""
    purpose = "write a pack anew with another storage or encoding"
    example = "convert a.pack b.pack --storage hdf5"
    parser = add_command(commands, "convert", _convert, purpose, example)
    parser.add_argument("path", metavar="PACK")
    parser.add_argument("dst", metavar="DST", help="the new pack")
    _add_storage(parser, None, None)
    _add_writing(parser)


def _convert(*, path: str, dst: str, quiet: bool, **options: Any) -> int:
    return _reported(convert(path, dst, quiet=quiet, **given(options)), quiet)


def add_unpack(commands: Any) -> None:
    """``fastdata unpack``."""
    parser = add_command(
        commands, "unpack", _unpack, "write a pack's images to files", "unpack photos.pack out"
    )
    parser.add_argument("path", metavar="PACK")
    parser.add_argument("dst", metavar="DST")
    parser.add_argument("--to", choices=FORMATS, default="folder", help="default: folder")
    add_quiet(parser)


def _unpack(path: str, dst: str, to: str, quiet: bool) -> int:
    count = unpack(path, dst, to=to, quiet=quiet)
    if not quiet:
        print(f"{dst}: {count} images")
    return 0


def _reported(report: PackReport, quiet: bool) -> int:
    if not quiet:
        print(report)
    elif report.rejected:
        where = report.rejected_file
        print(f"fastdata: {report.rejected} images rejected, see {where}", file=sys.stderr)
    return 0


def _listed(path: str, kind: str | None, options: dict[str, Any]) -> Source:
    """The source at a path; takes the options for it out of all that were given."""
    own = {option.name: options.pop(option.name) for option, _ in _source_options()}
    return open_source(path, kind, **own)


def _source_options() -> Iterator[tuple[SourceOption, list[str]]]:
    """The options of all kinds of sources, each once, with the kinds that take it."""
    takers: dict[str, list[str]] = {}
    for kind in SOURCES.values():
        for option in kind.options:
            takers.setdefault(option.name, []).append(kind.name)
    known = {option.name: option for kind in SOURCES.values() for option in kind.options}
    return ((known[name], kinds) for name, kinds in takers.items())


def _add_source(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the source")
    group.add_argument("--source", choices=SOURCES, help="default: found out from what is there")
    for option, kinds in _source_options():
        text = f"{', '.join(kinds)}: {option.help}"
        if option.metavar:
            parse, metavar = _parsing(option), option.metavar
            group.add_argument(option.flag, type=parse, metavar=metavar, help=text)
        else:
            group.add_argument(option.flag, action="store_true", help=text)


def _parsing(option: SourceOption) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return option.parse(text)
        except OptionError as error:  # argparse would not show its message
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def _add_storage(
    parser: argparse.ArgumentParser, storage: str | None, encoding: str | None
) -> None:
    default = "default: %s"
    parser.add_argument(
        "--storage", choices=STORAGES, default=storage, help=default % (storage or "as it is")
    )
    parser.add_argument(
        "--encoding",
        choices=ENCODINGS,
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
    add_quiet(parser)
