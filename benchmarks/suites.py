"""The suites' commands: their options, and from a result to files."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .accuracy import suite as accuracy
from .cases import report as case_report
from .cases import rounds as case_rounds
from .common import machine
from .common.data import ROOT, default_work_folder
from .gpu import suite as gpu
from .memory import suite as memory
from .packing import suite as packing
from .rivals import command as rivals_command
from .scaling import suite as scaling
from .startup import suite as startup

COMMANDS = ("cases", "scaling", "startup", "memory", "packing", "accuracy", "gpu", "rivals")


def add_parsers(commands: Any, number: Any) -> None:
    """Add the commands; ``number(least)`` is a converter of numbers from ``least`` on."""
    add_cases(commands.add_parser("cases", help="large, small and ordinary images"), number)
    add_scaling(commands.add_parser("scaling", help="workers, rows, batch sizes, the GIL"), number)
    starting = commands.add_parser("startup", help="imports, compilation and first batches")
    starting.add_argument("--rounds", type=number(1), default=3, help="(%(default)s)")
    starting.add_argument("--only", nargs="+", metavar="PART", choices=startup.PARTS)
    add_common(starting)
    add_memory(commands.add_parser("memory", help="growth from epoch to epoch"), number)
    add_packing(commands.add_parser("packing", help="packing next to cp and bare loops"), number)
    add_accuracy(
        commands.add_parser("accuracy", help="the same training, loaded in each way"), number
    )
    add_gpu(commands.add_parser("gpu", help="step time, copies and a timeline on a GPU"), number)
    rivals_command.add_options(commands.add_parser("rivals", help="other libraries"), number)


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


def add_memory(parser: argparse.ArgumentParser, number: Any) -> None:
    """The options of ``memory``."""
    default, add = memory.Settings(), parser.add_argument
    add("--rows", type=number(1), default=default.rows, help="rows of the pack (%(default)s)")
    add("--epochs", type=number(2), default=default.epochs, help="(%(default)s)")
    add("--workers", type=number(1), nargs="+", default=default.workers, help="worker processes")
    add("--batch", type=number(1), default=default.batch, help="images in a batch (%(default)s)")
    text = "random rows in an epoch; 0 reads each row once (%(default)s)"
    add("--samples", type=number(0), default=default.samples, help=text)
    add_common(parser)


def add_packing(parser: argparse.ArgumentParser, number: Any) -> None:
    """The options of ``packing``."""
    default, add = packing.Settings(), parser.add_argument
    add("--data", type=Path, metavar="DIR", help="photographs; without it, images are made")
    add("--images", type=number(1), default=default.images, help="images in all (%(default)s)")
    add("--rounds", type=number(1), default=default.rounds, help="(%(default)s)")
    add("--shard-size", default=default.shard_size, metavar="SIZE", help="(%(default)s)")
    add("--only", nargs="+", metavar="WAY", choices=packing.WAYS, help=", ".join(packing.WAYS))
    add_common(parser)


def add_accuracy(parser: argparse.ArgumentParser, number: Any) -> None:
    """The options of ``accuracy``."""
    default, add = accuracy.Settings(), parser.add_argument
    add("--data", type=Path, metavar="DIR", help="a folder of classes; without it, images are made")
    add("--images", type=number(1), default=default.images, help="images to make (%(default)s)")
    add("--epochs", type=number(1), default=default.epochs, help="(%(default)s)")
    add(
        "--seeds", type=number(1), default=default.seeds, help="trainings of each way (%(default)s)"
    )
    add("--batch", type=number(1), default=default.batch, help="images in a batch (%(default)s)")
    add("--size", type=number(16), default=default.size, help="pixels of a crop (%(default)s)")
    add("--workers", type=number(0), default=default.workers, help="(%(default)s)")
    add("--lr", type=float, default=default.lr, help="highest learning rate (%(default)s)")
    add("--only", nargs="+", metavar="WAY", choices=accuracy.WAYS, help=", ".join(accuracy.WAYS))
    add_common(parser)


def add_gpu(parser: argparse.ArgumentParser, number: Any) -> None:
    """The options of ``gpu``."""
    default, add = gpu.Settings(), parser.add_argument
    add("--data", type=Path, metavar="DIR", help="photographs; without it, images are made")
    helps = {
        "rounds": "rounds",
        "steps": "timed steps in a run",
        "warmup": "steps before these",
        "images": "photographs",
        "batch": "images in a batch",
        "size": "height and width in pixels",
    }
    for name, text in helps.items():
        value = getattr(default, name)
        add(f"--{name}", type=number(1), default=value, help=f"{text} (%(default)s)")
    add("--workers", type=number(0), default=0, help="worker threads; 0 for one a core")
    add_common(parser)


def add_common(parser: argparse.ArgumentParser) -> None:
    """The options of all."""
    add = parser.add_argument
    add("--work", type=Path, default=default_work_folder(), help="working folder (%(default)s)")
    add("--output", type=Path, metavar="FILE.json", help="result (in benchmarks/results)")


def run_command(options: argparse.Namespace) -> None:
    """Measure, write the result and print its report."""
    name = options.command
    if name == "rivals":
        rivals_command.run_command(options)
        return
    output = options.output or ROOT / f"benchmarks/results/{name}-{machine.short_name()}.json"
    if name == "cases":
        settings = settings_of(case_rounds.Settings, options)
        result = case_rounds.run(settings, options.data, options.work, options.only)
        text = case_report.report(result)
    elif name == "scaling":
        wanted = settings_of(scaling.Settings, options)
        result = scaling.run(wanted, options.data, options.work, options.only)
        text = scaling.report(result)
    elif name == "memory":
        result = memory.run(settings_of(memory.Settings, options), options.work)
        text = memory.report(result)
    elif name == "packing":
        asked = settings_of(packing.Settings, options)
        result = packing.run(asked, options.data, options.work, options.only)
        text = packing.report(result)
    elif name == "accuracy":
        trained = settings_of(accuracy.Settings, options)
        result = accuracy.run(trained, options.data, options.work, options.only)
        text = accuracy.report(result)
    elif name == "gpu":
        result = gpu.run(settings_of(gpu.Settings, options), options.data, options.work)
        gpu.save_picture(result, output.with_suffix(".png"))
        text = gpu.report(result)
    else:
        result = startup.run(options.rounds, options.work, options.only)
        text = startup.report(result)
    save(result, output)
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
