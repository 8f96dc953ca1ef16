"""The commands that look at packs: ``info``, ``verify`` and ``show``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from ..inspection import pack_info, verify_pack
from .options import FAILED, add_cache, add_command, add_quiet, given


def add_info(commands: Any) -> None:
    """``fastdata info``."""
    example = "info photos.pack --json"
    parser = add_command(commands, "info", _info, "say what a pack contains", example)
    parser.add_argument("path", metavar="PACK", help="a directory or a URL")
    add_cache(parser)
    parser.add_argument("--classes", action="store_true", help="list every class, not only ten")
    parser.add_argument("--json", action="store_true", dest="as_json", help="machine-readable")


def _info(path: str, *, classes: bool, as_json: bool, **cache: Any) -> int:
    info = pack_info(path, **cache)
    as_values = json.dumps(asdict(info), ensure_ascii=False, indent=1) if as_json else ""
    print(as_values or info.text(classes))
    return 0


def add_verify(commands: Any) -> None:
    """``fastdata verify``."""
    parser = add_command(
        commands, "verify", _verify, "check every byte of a pack", "verify photos.pack"
    )
    parser.add_argument("path", metavar="PACK", help="a directory or a URL")
    parser.add_argument("--deep", action="store_true", help="decode every image, too")
    add_quiet(parser)


def _verify(path: str, deep: bool, quiet: bool) -> int:
    report = verify_pack(path, deep=deep, quiet=quiet)
    if not quiet or not report.ok:
        print(report)
    return 0 if report.ok else FAILED


def add_show(commands: Any) -> None:
    """``fastdata show``."""
    example = "show photos.pack --count 12 --grid --crops 3"
    purpose = "draw samples of a pack into a PNG file"
    parser = add_command(commands, "show", _show, purpose, example)
    parser.add_argument("path", metavar="PACK", help="a directory or a URL")
    parser.add_argument(
        "--out", metavar="FILE", help="the PNG file, replaced if it exists (./PACKNAME.png)"
    )
    _add_choice(parser)
    _add_look(parser)
    add_cache(parser)


def _show(path: str, **options: Any) -> int:
    from ..inspection import show

    sheet = show(path, **given(options))
    print(sheet)
    return 0 if sheet.ok else FAILED


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
