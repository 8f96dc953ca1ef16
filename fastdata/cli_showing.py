"""The options of ``fastdata show``."""

from __future__ import annotations

import argparse


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
