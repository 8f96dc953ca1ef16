"""Parts of the ``fastdata`` command that several groups of commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

FAILED, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143

#: What a command does with its arguments, as keywords; returns the exit code.
Run = Callable[..., int]


def add_command(
    commands: Any, name: str, run: Run, purpose: str, example: str
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


def add_cache(parser: argparse.ArgumentParser) -> None:
    """The options of the cache for packs behind URLs."""
    parser.add_argument("--cache-dir", metavar="DIR", help="where files of a URL are kept")
    parser.add_argument("--cache-limit", metavar="SIZE", help="the most they may have: 100GB")


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """``--quiet``."""
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Those options that have a value."""
    return {name: value for name, value in options.items() if value is not None}
