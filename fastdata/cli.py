"""The ``fastdata`` command: parse, call one function of the library, print."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

import fastdata

from .encode import CHECKS, DEFAULT_ENCODING, ENCODERS
from .errors import FastdataError, OptionError
from .info import pack_info
from .pack import pack_image_folder
from .shards import STORAGES
from .shards.manifest import REJECTED
from .unpack import unpack
from .verify import verify_pack

FAILED, USAGE, INTERRUPTED = 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line each, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 (failed), 2 (usage) or 130 (interrupted).

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
    except KeyboardInterrupt:
        print("fastdata: interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED


def _pack(*, quiet: bool, **options: Any) -> int:
    report = pack_image_folder(quiet=quiet, **options)
    if not quiet:
        print(report)
    elif report.rejected:
        where = report.path / REJECTED
        print(f"fastdata: {report.rejected} images rejected, see {where}", file=sys.stderr)
    return 0


def _info(path: str, as_json: bool) -> int:
    info = pack_info(path)
    print(json.dumps(asdict(info), ensure_ascii=False, indent=1) if as_json else info)
    return 0


def _verify(path: str, quiet: bool) -> int:
    report = verify_pack(path, quiet=quiet)
    if not quiet or not report.ok:
        print(report)
    return 0 if report.ok else FAILED


def _unpack(path: str, dst: str, quiet: bool) -> int:
    count = unpack(path, dst, quiet=quiet)
    if not quiet:
        print(f"{dst}: {count} images")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastdata", description="Pack image folders so that training does not wait for them."
    )
    parser.add_argument("--version", action="version", version=f"fastdata {fastdata.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_pack(commands)
    info = _command(commands, "info", _info, "say what a pack contains", "info photos.pack --json")
    info.add_argument("path", metavar="PACK")
    info.add_argument("--json", action="store_true", dest="as_json", help="machine-readable")
    verify = _command(
        commands, "verify", _verify, "check every byte of a pack", "verify photos.pack"
    )
    verify.add_argument("path", metavar="PACK")
    _add_quiet(verify)
    back = _command(
        commands, "unpack", _unpack, "write a pack's images to a folder", "unpack photos.pack out"
    )
    back.add_argument("path", metavar="PACK")
    back.add_argument("dst", metavar="DST")
    _add_quiet(back)
    return parser


def _add_pack(commands: Any) -> None:
    example = "pack photos photos.pack --storage hdf5 --encoding jpeg --resize-short 256"
    pack = _command(commands, "pack", _pack, "pack a folder of images", example)
    pack.add_argument("src", metavar="SRC", help="folder with one directory for each class")
    pack.add_argument("dst", metavar="DST", help="the new pack")
    source = pack.add_mutually_exclusive_group()
    source.add_argument("--flat", action="store_true", help="the folder has no classes (target -1)")
    source.add_argument(
        "--labels", metavar="FILE.csv", help="columns path,target instead of class directories"
    )
    pack.add_argument("--allow-empty", action="store_true", help="accept classes without images")
    pack.add_argument("--storage", choices=STORAGES, default="lmdb", help="default: lmdb")
    pack.add_argument(
        "--encoding",
        choices=ENCODERS,
        default=DEFAULT_ENCODING,
        help="default: sliceable; keep stores the files' own bytes",
    )
    size = pack.add_mutually_exclusive_group()
    size.add_argument(
        "--resize-short", type=int, metavar="N", help="shrink the shorter side to N pixels"
    )
    size.add_argument("--max-side", type=int, metavar="N", help="shrink to N pixels at most")
    pack.add_argument("--quality", type=int, metavar="1..100", help="of --encoding jpeg (90)")
    pack.add_argument(
        "--check", choices=CHECKS, default="decode", help="default: decode every image"
    )
    pack.add_argument(
        "--shard-size", default="1GiB", metavar="SIZE", help="such as 500MB (default: 1GiB)"
    )
    pack.add_argument("--workers", type=int, metavar="N", help="default: the cores")
    pack.add_argument("--overwrite", action="store_true", help="replace a pack at DST")
    pack.add_argument(
        "--on-error",
        choices=("quarantine", "fail"),
        default="quarantine",
        help="leave a bad image out (default), or stop",
    )
    _add_quiet(pack)


def _add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def _command(
    commands: Any, name: str, run: Callable[..., int], purpose: str, example: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=purpose,
        epilog=f"example:\n  fastdata {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command
