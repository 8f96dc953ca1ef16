"""What the ``fastdata`` command takes; each command's arguments are those of one function."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

from .cli_showing import add_show_options
from .encode import CHECKS, DEFAULT_ENCODING, ENCODERS
from .shards import STORAGES
from .sources.detect import SOURCES
from .unpacker import FORMATS

#: Arguments that go to the source instead of to the packer.
SOURCE_OPTIONS = ("allow_empty", "masks", "images", "split", "allow_missing", "fields")

_Run = Callable[..., int]


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
    _add_storage(pack, "lmdb", DEFAULT_ENCODING)
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


def add_reading(commands: Any, info: _Run, verify: _Run, unpack: _Run) -> None:
    """``fastdata info``, ``verify`` and ``unpack``."""
    telling = add_command(
        commands, "info", info, "say what a pack contains", "info photos.pack --json"
    )
    telling.add_argument("path", metavar="PACK", help="a directory or a URL")
    add_cache(telling)
    telling.add_argument("--classes", action="store_true", help="list every class, not only ten")
    telling.add_argument("--json", action="store_true", dest="as_json", help="machine-readable")
    checking = add_command(
        commands, "verify", verify, "check every byte of a pack", "verify photos.pack"
    )
    checking.add_argument("path", metavar="PACK", help="a directory or a URL")
    checking.add_argument("--deep", action="store_true", help="decode every image, too")
    _add_quiet(checking)
    back = add_command(
        commands, "unpack", unpack, "write a pack's images to files", "unpack photos.pack out"
    )
    back.add_argument("path", metavar="PACK")
    back.add_argument("dst", metavar="DST")
    back.add_argument("--to", choices=FORMATS, default="folder", help="default: folder")
    _add_quiet(back)


def add_showing(commands: Any, show: _Run) -> None:
    """``fastdata show``."""
    showing = add_command(
        commands,
        "show",
        show,
        "draw samples of a pack into a PNG file",
        "show photos.pack --count 12 --grid --crops 3",
    )
    showing.add_argument("path", metavar="PACK", help="a directory or a URL")
    add_show_options(showing)
    add_cache(showing)


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


def add_cache(parser: argparse.ArgumentParser) -> None:
    """The options of the cache for packs behind URLs."""
    parser.add_argument("--cache-dir", metavar="DIR", help="where files of a URL are kept")
    parser.add_argument("--cache-limit", metavar="SIZE", help="the most they may have: 100GB")


def _add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def add_command(
    commands: Any, name: str, run: _Run, purpose: str, example: str
) -> argparse.ArgumentParser:
    """A command that says what it is for, with an example."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=purpose,
        epilog=f"example:\n  fastdata {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command
