"""The ``fastdata`` command: parse, call one function of the library, print."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ..core import __version__
from ..errors import FastdataError, OptionError
from .inspecting import add_info, add_show, add_verify
from .measuring import add_bench, add_tune
from .options import FAILED, INTERRUPTED, TERMINATED, USAGE
from .packing import add_append, add_convert, add_merge, add_pack, add_subset, add_unpack

#: Each adds one command to the parser, with its action, in the order in which ``--help`` has them.
COMMANDS: tuple[Callable[[Any], None], ...] = (
    add_pack,
    add_append,
    add_merge,
    add_subset,
    add_convert,
    add_info,
    add_verify,
    add_unpack,
    add_show,
    add_bench,
    add_tune,
)


class _Signals:
    """SIGTERM, which a scheduler or ``kill`` sends, is to end things as cleanly as Ctrl-C."""

    terminated = False

    def install(self) -> None:
        if hasattr(signal, "SIGTERM"):
            signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, number: int, frame: object) -> None:
        self.terminated = True
        raise KeyboardInterrupt


_signals = _Signals()


def entry() -> NoReturn:
    """The command itself. Once interrupted, it ends without waiting for what threads still do."""
    _signals.install()
    code = main()
    if code in (INTERRUPTED, TERMINATED):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line each, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 (failed), 2 (usage), 130 (interrupted) or
    143 (terminated).

    Raises:
        SystemExit: the arguments cannot be parsed (code 2), or ask for help or the version (0).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may not fit the terminal's code
            stream.reconfigure(errors="backslashreplace")
    values = vars(_parser().parse_args(arguments))
    run: Callable[..., int] = values.pop("run")
    try:
        code = run(**values)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever reads our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OptionError as error:
        print(f"fastdata: {error}", file=sys.stderr)
        return USAGE
    except (FastdataError, OSError) as error:
        print(f"fastdata: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt as interrupt:
        print(f"fastdata: {interrupt if interrupt.args else 'interrupted'}", file=sys.stderr)
        return TERMINATED if _signals.terminated else INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastdata", description="Pack image folders so that training does not wait for them."
    )
    parser.add_argument("--version", action="version", version=f"fastdata {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return parser
