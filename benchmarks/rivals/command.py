"""``python -m benchmarks rivals``: its options, and from a result to JSON, pictures and a page."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..common import machine
from ..common.data import ROOT, default_work_folder
from ..common.errors import BenchmarkError
from . import report as rivals_report
from . import run as rivals_run
from .environment.cases import CASES
from .environment.contenders import CONTENDERS
from .environment.places import default_folder
from .run import Settings

QUICK: dict[str, Any] = {"images": 256, "rounds": 1, "seconds": 0.0}
EPILOG = """benchmarks/setup makes the environments first; what is missing is told in the report.

examples:
  benchmarks/setup
  python -m benchmarks rivals --data photos
  python -m benchmarks rivals --quick --only pil ffcv fastdata --cases crop validation
"""


def add_options(parser: argparse.ArgumentParser, number: Any) -> None:
    """The options; ``number(least)`` is a converter of numbers from ``least`` on."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    default, add = Settings(), parser.add_argument
    add("--data", type=Path, metavar="DIR", help="photographs; without it, images are made")
    helps = {
        "images": "JPEGs in all: chosen evenly, or repeated",
        "rounds": "rounds",
        "batch": "images in a batch",
        "size": "height and width of the output in pixels",
        "timeout": "seconds after which a run has failed",
    }
    for name, words in helps.items():
        value = getattr(default, name)
        add(f"--{name}", type=number(1), help=f"{words} ({value})")
    add("--seconds", type=float, help=f"least timed seconds of a run ({default.seconds})")
    counts = " ".join(map(str, default.workers))
    text = f"worker processes or threads; all for the first case, else the most ({counts})"
    add("--workers", type=number(1), nargs="+", metavar="N", help=text)
    add("--cases", nargs="+", metavar="CASE", help=f"of {', '.join(CASES)} (all)")
    add("--only", nargs="+", metavar="NAME", help=f"of {', '.join(CONTENDERS)} (all)")
    quick = ", ".join(f"{value} {name}" for name, value in QUICK.items())
    add("--quick", action="store_true", help=f"to see that all of it runs: {quick}")
    text = "where benchmarks/setup has made the environments (%(default)s)"
    add("--envs", type=Path, default=default_folder(), help=text)
    text = "measure nothing; write picture and page of this result again"
    add("--result", type=Path, metavar="FILE.json", help=text)
    add("--work", type=Path, default=default_work_folder(), help="working folder (%(default)s)")
    text = "result; picture and page lie beside it (in benchmarks/results)"
    add("--output", type=Path, metavar="FILE.json", help=text)


def run_command(options: argparse.Namespace) -> None:
    """Measure, or read a result; write JSON, picture and page; print the tables."""
    default = ROOT / f"benchmarks/results/rivals-{machine.short_name()}.json"
    output = options.output or options.result or default
    if options.result:
        result = load(options.result)
    else:
        result = rivals_run.run(settings_of(options), options.data, options.work, options.envs)
    save(result, output)
    print(rivals_report.report(result))


def settings_of(options: argparse.Namespace) -> Settings:
    """What was asked for; the rest are the defaults, or those of ``--quick``."""
    given = {name: getattr(options, name) for name in Settings.__dataclass_fields__}
    values = {
        name: tuple(dict.fromkeys(value)) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }
    return Settings(**((QUICK if options.quick else {}) | values))


def load(path: Path) -> dict[str, Any]:
    """Read a result.

    Raises:
        BenchmarkError: it cannot be read, or is none of this command's.
    """
    try:
        result: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"cannot read the result {path}: {error}") from error
    kind = (result.get("format"), result.get("kind")) if isinstance(result, dict) else None
    if kind != (rivals_run.FORMAT, "rivals"):
        raise BenchmarkError(f"{path} is not a result of `python -m benchmarks rivals`")
    return dict(result)


def save(result: dict[str, Any], output: Path) -> None:
    """JSON, and beside it the picture and the page."""
    from . import chart as rivals_chart  # only here: matplotlib takes a second to import
    from . import html as rivals_html

    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    rivals_chart.save(result, output.with_suffix(".png"))
    output.with_suffix(".html").write_text(rivals_html.page(result), encoding="utf-8")
    kinds = ", ".join(str(output.with_suffix(suffix)) for suffix in (".json", ".png", ".html"))
    print(f"written to {kinds}", file=sys.stderr)
