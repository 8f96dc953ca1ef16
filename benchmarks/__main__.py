"""The command: ``python -m benchmarks [run] ...``, ``report FILE``, ``list``, and the suites."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from . import suites
from .common import machine, report
from .common.data import ROOT, default_work_folder
from .common.errors import BenchmarkError
from .common.rounds import Settings, run
from .contenders.contenders import CONTENDERS

COMMANDS = ("run", "report", "list", *suites.COMMANDS)
EXAMPLE = """examples:
  python -m benchmarks --data photos --batch 64 --workers 2 --size 224
  python -m benchmarks run --only pil lmdb --rounds 3 --output result.json
  python -m benchmarks report result.json --chart result.png
  python -m benchmarks cases --data photos --only imagenet-224 12-megapixel
  python -m benchmarks packing --data photos --images 2000 --rounds 5
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 1 after an error, 2 after a wrong argument."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] not in (*COMMANDS, "-h", "--help"):
        words = ["run", *words]
    options = parser().parse_args(words)
    try:
        own = {"run": run_command, "report": report_command, "list": list_command}
        own.get(options.command, suites.run_command)(options)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare ways of turning image files into batches. Without a command: run.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True)
    add_run_options(commands.add_parser("run", help="measure, write JSON, print the table"))
    reporting = commands.add_parser("report", help="table and chart from a result")
    reporting.add_argument("result", type=Path, metavar="FILE.json")
    reporting.add_argument("--chart", type=Path, metavar="FILE.png", help="save bars here")
    reporting.add_argument("--markdown", type=Path, metavar="FILE.md", help="save the table here")
    commands.add_parser("list", help="name the contenders")
    suites.add_parsers(commands, at_least)
    return top


def add_run_options(running: argparse.ArgumentParser) -> None:
    """The options of ``run``; their defaults are those of ``Settings``."""
    add, default = running.add_argument, Settings()
    add("--data", type=Path, metavar="DIR", help="image folder; without it, images are made")
    helps = {
        "images": "images in all: chosen evenly from DIR, or repeated",
        "batch": "images in a batch",
        "workers": "worker processes",
        "size": "height and width of the output in pixels",
        "rounds": "counted rounds",
        "warmup": "rounds before that, not counted",
        "epochs": "timed epochs in a run, after one that is not timed",
    }
    for name, text in helps.items():
        least = 0 if name in ("workers", "warmup") else 1
        number = getattr(default, name)
        add(f"--{name}", type=at_least(least), default=number, help=f"{text} (%(default)s)")
    text = "resize with antialiasing where a contender has the choice (%(default)s)"
    add("--antialias", action=argparse.BooleanOptionalAction, default=default.antialias, help=text)
    add("--only", nargs="+", metavar="NAME", help="these contenders (all that are installed)")
    add("--work", type=Path, default=default_work_folder(), help="working folder (%(default)s)")
    text = "result (benchmarks/results/<machine>.json)"
    add("--output", type=Path, metavar="FILE.json", help=text)


def at_least(least: int) -> Any:
    """A converter for argparse that takes integers from ``least`` on."""

    def convert(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a number from {least} on, found {text!r}")
        return int(text)

    return convert


def run_command(options: argparse.Namespace) -> None:
    """Measure, write the result and print its report."""
    settings = Settings(**{f.name: getattr(options, f.name) for f in fields(Settings)})
    output = options.output or ROOT / f"benchmarks/results/{machine.short_name()}.json"
    result = run(settings, options.data, options.work, options.only)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(report.markdown(result))
    print(f"written to {output}", file=sys.stderr)


def report_command(options: argparse.Namespace) -> None:
    """Print the report of a result; save it and its chart where asked."""
    result = load(options.result)
    if options.chart:
        from .common import chart  # only here: matplotlib takes a second to import

        chart.save(result, options.chart)
    text = report.markdown(result, options.chart.name if options.chart else None)
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")


def load(path: Path) -> dict[str, Any]:
    """Read a result.

    Raises:
        BenchmarkError: it cannot be read, or is no result of this version.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"cannot read the result {path}: {error}") from error
    if not isinstance(result, dict) or result.get("format") != 1:
        raise BenchmarkError(f"{path} is not a result of `python -m benchmarks run`")
    return result


def list_command(options: argparse.Namespace) -> None:
    """One line a contender."""
    for contender in CONTENDERS.values():
        missing = contender.missing()
        state = f"missing: {', '.join(missing)}" if missing else "ready"
        print(f"{contender.name:10} {contender.title:40} {contender.decoder:24} {state}")


if __name__ == "__main__":
    sys.exit(main())
