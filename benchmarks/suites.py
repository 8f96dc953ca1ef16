"""The commands ``cases``, ``scaling`` and ``startup``: options, and from a result to files."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from . import case_report, case_rounds, machine, scaling, startup
from .data import ROOT, default_work_folder

COMMANDS = ("cases", "scaling", "startup")


def add_parsers(commands: Any, number: Any) -> None:
    """Add the three commands; ``number(least)`` is a converter of numbers from ``least`` on."""
    add_cases(commands.add_parser("cases", help="large, small and ordinary images"), number)
    add_scaling(commands.add_parser("scaling", help="workers, rows, batch sizes, the GIL"), number)
    starting = commands.add_parser("startup", help="imports, compilation and first batches")
    starting.add_argument("--rounds", type=number(1), default=3, help="(%(default)s)")
    starting.add_argument("--only", nargs="+", metavar="PART", choices=startup.PARTS)
    add_common(starting)


def add_cases(parser: argparse.ArgumentParser, number: Any) -> None:
    """The options of ``cases``."""
    default, add = case_rounds.Settings(), parser.add_argument
    add("--data", type=Path, metavar="DIR", help="photographs; without it, images are made")
    add("--rounds", type=number(1), default=default.rounds, help="(%(default)s)")
    add("--workers", type=number(0), default=default.workers, help="(%(default)s)")
    text = "least timed seconds of a run (%(default)s)"
    add("--seconds", type=float, default=default.seconds, help=text)
    add("--images", type=number(0), default=0, help="at most so many in a case")
    add("--batch", type=number(0), default=0, help="at most so many images in a batch")
    add("--only", nargs="+", metavar="NAME", help="these cases")
    add_common(parser)


def add_scaling(parser: argparse.ArgumentParser, number: Any) -> None:
    """The options of ``scaling``."""
    default, add = scaling.Settings(), parser.add_argument
    add("--data", type=Path, metavar="DIR", help="photographs; without it, images are made")
    add("--rounds", type=number(1), default=default.rounds, help="(%(default)s)")
    add("--images", type=number(1), default=default.images, help="photographs (%(default)s)")
    text = "least timed seconds of a run (%(default)s)"
    add("--seconds", type=float, default=default.seconds, help=text)
    add("--rows", type=number(1), nargs="+", default=default.rows, help="rows of the tables")
    add("--batches", type=number(1), nargs="+", default=default.batches, help="batch sizes")
    add("--only", nargs="+", metavar="PART", choices=scaling.PARTS, help=", ".join(scaling.PARTS))
    add_common(parser)


def add_common(parser: argparse.ArgumentParser) -> None:
    """The options of all three."""
    add = parser.add_argument
    add("--work", type=Path, default=default_work_folder(), help="working folder (%(default)s)")
    add("--output", type=Path, metavar="FILE.json", help="result (in benchmarks/results)")


def run_command(options: argparse.Namespace) -> None:
    """Measure, write the result and print its report."""
    name = options.command
    if name == "cases":
        settings = settings_of(case_rounds.Settings, options)
        result = case_rounds.run(settings, options.data, options.work, options.only)
        text = case_report.report(result)
    elif name == "scaling":
        wanted = settings_of(scaling.Settings, options)
        result = scaling.run(wanted, options.data, options.work, options.only)
        text = scaling.report(result)
    else:
        result = startup.run(options.rounds, options.work, options.only)
        text = startup.report(result)
    save(result, options.output or ROOT / f"benchmarks/results/{name}-{machine.short_name()}.json")
    print(text)


def settings_of(kind: Any, options: argparse.Namespace) -> Any:
    """An instance of a settings class from the options of the same names."""
    names = kind.__dataclass_fields__
    return kind(**{name: getattr(options, name) for name in names if hasattr(options, name)})


def save(result: dict[str, Any], output: Path) -> None:
    """Write the result as JSON."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"written to {output}", file=sys.stderr)
