"""``fastdata bench`` and ``fastdata tune``: what they take, and what they print."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from ..inspection import charts
from .options import add_cache, add_command

if TYPE_CHECKING:
    from ..inspection import BenchReport, TuneReport


def add_bench(commands: Any) -> None:
    """``fastdata bench``."""
    purpose = "say what each stage from file to batch costs on this machine"
    example = "bench photos.pack --samples 500 --chart bench.png"
    parser = add_command(commands, "bench", _bench, purpose, example)
    parser.add_argument("path", metavar="PACK", help="a pack, its URL, or an image folder")
    parser.add_argument("--batch-size", type=int, default=64, metavar="B", help="default: 64")
    parser.add_argument(
        "--samples", type=int, default=1000, metavar="N", help="measured at most (1000)"
    )
    _add_common(parser, 2.0, "for each stage and each loader")


def _bench(*, as_json: bool, chart: str | None, **options: Any) -> int:
    from ..inspection import bench

    if chart is not None:
        charts.check(chart)
    report = bench(**options, show=None if as_json else _print_now)
    if as_json:
        print(json.dumps(report.as_dict(), ensure_ascii=False, indent=1))
    _save_chart(report, chart, as_json)
    return 0


def add_tune(commands: Any) -> None:
    """``fastdata tune``."""
    purpose = "find the fastest settings of DataLoaderX on this machine"
    example = "tune photos.pack --batch-size 64 --step-ms 50"
    parser = add_command(commands, "tune", _tune, purpose, example)
    parser.add_argument("path", metavar="PACK", help="a pack, its URL, or an image folder")
    parser.add_argument("--batch-size", type=int, required=True, metavar="B")
    parser.add_argument(
        "--step-ms", type=float, metavar="T", help="what training needs for a batch, milliseconds"
    )
    parser.add_argument("--max-workers", type=int, metavar="N", help="default: the cores")
    _add_common(parser, 60.0, "for everything")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _tune(*, path: str, as_json: bool, chart: str | None, **options: Any) -> int:
    from ..inspection import tune

    if chart is not None:
        charts.check(chart)
    stopped: KeyboardInterrupt | None = None
    try:
        report = tune(path, **options)
    except KeyboardInterrupt as interrupt:
        if not interrupt.args:
            raise
        report, stopped = interrupt.args[0], interrupt
    _save_chart(report, chart, as_json)  # before the report, which ends in code to be copied
    print(json.dumps(report.as_dict(), ensure_ascii=False, indent=1) if as_json else report)
    if stopped is not None:
        raise KeyboardInterrupt("interrupted: this is what was found up to then")
    return 0


def _add_common(parser: argparse.ArgumentParser, seconds: float, of: str) -> None:
    parser.add_argument("--device", help="where batches go, such as cuda")
    parser.add_argument(
        "--transform",
        choices=("train", "val"),
        default="train",
        help="RandomResizedCrop and flip (default), or Resize and CenterCrop",
    )
    parser.add_argument("--size", type=int, default=224, metavar="N", help="pixels (224)")
    parser.add_argument(
        "--seconds", type=float, default=seconds, metavar="T", help=f"{of} ({seconds:g})"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of samples and crops (0)")
    add_cache(parser)
    parser.add_argument("--chart", metavar="FILE", help="draw it: FILE.png, .svg, .pdf")
    parser.add_argument("--json", action="store_true", dest="as_json", help="machine-readable")


def _save_chart(report: BenchReport | TuneReport, chart: str | None, as_json: bool) -> None:
    if chart is not None:
        report.save_chart(chart)
        if not as_json:
            print(f"drawn in {chart}")


def _print_now(line: str) -> None:
    print(line, flush=True)
