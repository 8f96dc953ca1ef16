"""The ``fastdata`` command: parse, call one function of the library, print."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

from .appender import append
from .cli_arguments import (
    SOURCE_OPTIONS,
    add_append,
    add_pack,
    add_reading,
    add_repacking,
    add_showing,
)
from .cli_measuring import add_measuring
from .errors import FastdataError, OptionError
from .info import pack_info
from .operations import convert, merge, subset
from .pack_plan import plan_pack
from .pack_report import PackReport
from .packer import pack
from .scheduler import scheduled
from .sources.detect import open_source
from .unpacker import unpack
from .verify import verify_pack
from .version import __version__

FAILED, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143


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


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _reported(report: PackReport, quiet: bool) -> int:
    if not quiet:
        print(report)
    elif report.rejected:
        where = report.rejected_file
        print(f"fastdata: {report.rejected} images rejected, see {where}", file=sys.stderr)
    return 0


def _info(path: str, *, classes: bool, as_json: bool, **cache: Any) -> int:
    info = pack_info(path, **cache)
    as_values = json.dumps(asdict(info), ensure_ascii=False, indent=1) if as_json else ""
    print(as_values or info.text(classes))
    return 0


def _show(path: str, **options: Any) -> int:
    from .contact_sheet import show  # with torch, for which nothing else should wait

    sheet = show(path, **_given(options))
    print(sheet)
    return 0 if sheet.ok else FAILED


def _verify(path: str, deep: bool, quiet: bool) -> int:
    report = verify_pack(path, deep=deep, quiet=quiet)
    if not quiet or not report.ok:
        print(report)
    return 0 if report.ok else FAILED


def _unpack(path: str, dst: str, to: str, quiet: bool) -> int:
    count = unpack(path, dst, to=to, quiet=quiet)
    if not quiet:
        print(f"{dst}: {count} images")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastdata", description="Pack image folders so that training does not wait for them."
    )
    parser.add_argument("--version", action="version", version=f"fastdata {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_pack(commands, _pack)
    add_append(commands, _append)
    add_repacking(commands, _merge, _subset, _convert)
    add_reading(commands, _info, _verify, _unpack)
    add_showing(commands, _show)
    add_measuring(commands)
    return parser
