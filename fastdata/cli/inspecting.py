"""The options of ``fastdata show``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from ..inspection import pack_info, verify_pack
from ..packing import FORMATS
from .options import FAILED, _add_quiet, _given, _Run, add_cache, add_command


def add_show_options(parser: argparse.ArgumentParser) -> None:
    """Which samples are drawn, how, and where to."""
    parser.add_argument(
        "--out", metavar="FILE", help="the PNG file, replaced if it exists (./PACKNAME.png)"
    )
    _add_choice(parser)
    _add_look(parser)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which samples")
    group.add_argument("--count", type=int, metavar="N", help="so many, drawn at random (24)")
    group.add_argument("--seed", type=int, metavar="N", help="of the draw, and of the crops (0)")
    group.add_argument("--indices", type=_numbers, metavar="I,J", help="these samples")
    group.add_argument(
        "--key", action="append", dest="keys", metavar="KEY", help="this sample; may be repeated"
    )
    group.add_argument("--classes", type=_names, metavar="A,B", help="of these classes only")


def _add_look(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to draw")
    flag = argparse.BooleanOptionalAction
    group.add_argument(
        "--grid", action="store_true", help="restart intervals, where images have them"
    )
    group.add_argument(
        "--crops",
        type=int,
        metavar="N",
        help="what RandomResizedCrop(224) takes in N epochs: red, yellow, green, pink, orange …",
    )
    group.add_argument("--masks", action=flag, help="masks, if there are any (default)")
    group.add_argument("--boxes", action=flag, help="boxes, if there are any (default)")
    group.add_argument(
        "--exif",
        action="store_true",
        dest="apply_exif_orientation",
        help="turn images upright; the datasets' default, and so this one, is as stored",
    )
    group.add_argument("--columns", type=int, metavar="N", help="tiles to a row")
    group.add_argument("--thumb", type=int, metavar="N", help="pixels of a longer side (200)")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in _names(text)]


def _info(path: str, *, classes: bool, as_json: bool, **cache: Any) -> int:
    info = pack_info(path, **cache)
    as_values = json.dumps(asdict(info), ensure_ascii=False, indent=1) if as_json else ""
    print(as_values or info.text(classes))
    return 0


def _show(path: str, **options: Any) -> int:
    from ..inspection import show

    sheet = show(path, **_given(options))
    print(sheet)
    return 0 if sheet.ok else FAILED


def _verify(path: str, deep: bool, quiet: bool) -> int:
    report = verify_pack(path, deep=deep, quiet=quiet)
    if not quiet or not report.ok:
        print(report)
    return 0 if report.ok else FAILED


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
