"""The GPU benchmark's logic, where there is no GPU; nothing here is timed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

pytest.importorskip("psutil")
pytest.importorskip("matplotlib")
pytest.importorskip("PIL")

from benchmarks.common.errors import BenchmarkError
from benchmarks.gpu import process as _gpu
from benchmarks.gpu import suite as gpu
from benchmarks.gpu import timeline
from benchmarks.gpu.resnet50 import resnet50
from benchmarks.gpu.timeline import COMPUTE, COPY, TRANSFORM

ROOT = Path(__file__).resolve().parents[2]

spans = st.tuples(st.integers(0, 30), st.integers(0, 9)).map(lambda s: (s[0], s[0] + s[1]))
intervals = st.lists(spans, max_size=6)


def units(found: Any) -> set[int]:
    """The whole units of time that intervals of whole numbers cover."""
    return {unit for begin, end in found for unit in range(begin, end)}


@given(intervals, st.integers(0, 3))
def test_merged_is_the_union_in_order(found: list[Any], gap: int) -> None:
    union = timeline.merged(found)
    assert units(union) == units(found)
    joined = timeline.merged(found, gap)
    pauses = [after[0] - before[1] for before, after in pairwise(joined)]
    assert all(pause > gap for pause in pauses)
    assert units(found) <= units(joined)


@given(intervals, intervals)
def test_covered_is_the_share_within_the_others(found: list[Any], by: list[Any]) -> None:
    own, others = units(found), units(by)
    share = timeline.covered(found, by)
    assert share == (pytest.approx(len(own & others) / len(own)) if own else None)


def event(category: str, name: str, start: float, length: float, stream: int) -> dict[str, Any]:
    args = {"stream": stream}
    return {"ph": "X", "cat": category, "name": name, "ts": start, "dur": length, "args": args}


TRACE = {
    "traceEvents": [
        {"ph": "M", "name": "process_name"},
        event("cpu_op", "aten::copy_", 0, 5, 0),
        event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 2000, 500, 20),
        event("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 2100, 5, 7),
        event("gpu_memset", "Memset (Device)", 2100, 5, 7),
        event("kernel", "addcmul", 2500, 100, 20),
        event("kernel", "convolution", 2100, 1000, 7),
        event("kernel", "relu", 1000, 300, 7),
    ]
}


def test_a_trace_becomes_lanes() -> None:
    lanes = timeline.lanes_of(TRACE)
    assert lanes == {
        COPY: [(1.0, 1.5)],
        TRANSFORM: [(1.5, 1.6)],
        COMPUTE: [(0.0, 0.3), (1.1, 2.1)],
    }
    assert timeline.covered(lanes[COPY], lanes[COMPUTE]) == pytest.approx(0.8)
    assert timeline.lanes_of({"traceEvents": []}) == {COPY: [], TRANSFORM: [], COMPUTE: []}


def pixels(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_the_picture_shows_each_lane_where_it_was_busy(tmp_path: Path) -> None:
    path = tmp_path / "made" / "timeline.png"
    timeline.draw({COPY: [(0, 1)], TRANSFORM: [], COMPUTE: [(1, 4)]}, "A title", path)
    drawn = pixels(path)

    def columns(lane: str) -> Any:
        colour = timeline.COLOURS[lane]
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return np.flatnonzero((np.abs(drawn - wanted).max(2) < 8).any(0))

    copy, compute = columns(COPY), columns(COMPUTE)
    assert columns(TRANSFORM).size == 0
    assert copy.max() <= compute.min() + 2
    assert np.ptp(compute) == pytest.approx(3 * np.ptp(copy), rel=0.03)


def test_a_step_is_timed_between_two_waits() -> None:
    log: list[str] = []
    seconds = _gpu.step_seconds(
        iter(range(10)), lambda batch: log.append(str(batch)), 2, 3, lambda: log.append("wait")
    )
    assert log == ["0", "1", "wait", "2", "3", "4", "wait"]
    assert seconds > 0


@pytest.mark.parametrize("batches", [0, 1, 4])
def test_too_few_batches_are_an_error(batches: int) -> None:
    with pytest.raises(BenchmarkError, match="batches were needed"):
        _gpu.step_seconds(range(batches), _gpu.ignore, 2, 3, lambda: None)


def test_the_model_is_resnet_50() -> None:
    with torch.device("meta"):
        model = resnet50()
        assert model(torch.empty(2, 3, 224, 224)).shape == (2, 1000)
    # The number that the paper's architecture has, as counted by others.
    assert sum(parameter.numel() for parameter in model.parameters()) == 25_557_032


SMALL = gpu.Settings(rounds=1, steps=2, warmup=1, images=4, batch=2, workers=1, size=32)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> _gpu.Bench:
    """The benchmark on the CPU, over a pack of four images, with a small model."""
    folder = tmp_path_factory.mktemp("bench")
    make_tree(folder / "images")
    data, pack = gpu.prepared(SMALL, folder / "images", folder, folder)
    assert data["images"] == 4
    small = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1000))
    return _gpu.Bench(pack, SMALL, "cpu", small)


def make_tree(folder: Path) -> None:
    import cv2

    rng = np.random.default_rng(0)
    for i in range(2):
        (folder / f"class{i}").mkdir(parents=True)
        cv2.imwrite(str(folder / f"class{i}/a.jpg"), rng.integers(0, 256, (40, 48, 3), np.uint8))


def test_the_loader_gives_normalised_batches(bench: _gpu.Bench) -> None:
    batches = list(bench.loader(3))
    assert len(batches) == 3
    for images, targets in [*batches, bench.resident]:
        assert (images.shape, images.dtype) == ((2, 3, 32, 32), torch.float32)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert targets.shape == (2,)


@pytest.mark.parametrize("name", gpu.ENTRIES)
def test_each_entry_is_measured(bench: _gpu.Bench, name: str) -> None:
    before = [parameter.clone() for parameter in bench.model.parameters()]
    assert bench.measure(name)["step_s"] > 0
    same = all(map(torch.equal, before, bench.model.parameters()))
    assert same == (name == "loader alone")


@pytest.mark.filterwarnings("ignore")  # the profiler's own
def test_without_a_gpu_a_profile_has_empty_lanes(bench: _gpu.Bench) -> None:
    assert bench.profile(1) == {COPY: [], TRANSFORM: [], COMPUTE: []}


def result(resident: list[float], loader: list[float], alone: list[float]) -> dict[str, Any]:
    steps = {}
    for name, found in zip(gpu.ENTRIES, (resident, loader, alone), strict=True):
        rounds = [{"step_s": seconds} for seconds in found]
        steps[name] = {"rounds": rounds, "median": {"step_s": sorted(found)[len(found) // 2]}}
    lanes = {COPY: [(1.0, 1.5)], TRANSFORM: [(1.5, 1.6)], COMPUTE: [(0.0, 0.3), (1.1, 2.1)]}
    return {
        "settings": {"batch": 128, "size": 224, "workers": 8, "rounds": 3, "steps": 5, "warmup": 1},
        "machine": {
            **{"packages": {"torch": "2.7"}, "cpu": "A", "usable_cores": 8, "cores": 8},
            **{"platform": "Linux", "python": "3.12"},
        },
        "gpu": {"name": "A GPU", "memory_bytes": 80 * 2**30, "cuda": "12.8"},
        "command": "python -m benchmarks gpu",
        "steps": steps,
        "copies": {"pageable": 6e9, "pinned": 24e9},
        "timeline": gpu.summary(lanes),
    }


def test_the_ratio_is_taken_round_by_round() -> None:
    # The machine became twice as slow; each round's own ratio is 1.01.
    found = result([0.1, 0.2, 0.2], [0.101, 0.202, 0.202], [0.05] * 3)
    assert gpu.verdict(found["steps"]).endswith("1.010, met.")
    assert "| loader | 202.00 | 634 | 1.010 |" in gpu.report(found)


@pytest.mark.parametrize(
    ("loader", "alone", "words"),
    [
        (0.102, 0.09, "1.020, met."),
        (0.103, 0.09, "1.030, not met."),
        (0.2, 0.15, "It is not here: 150.0 ms against 100.0 ms a batch."),
    ],
)
def test_the_verdict(loader: float, alone: float, words: str) -> None:
    assert gpu.verdict(result([0.1], [loader], [alone])["steps"]).endswith(words)


def test_the_report_tells_all() -> None:
    text = gpu.report(result([0.1], [0.101], [0.05]))
    for words in (
        "| pageable | 6.0 |",
        "| pinned | 24.0 |",
        "| pinned / pageable | 4.00 |",
        "80.0% of the copying time lies under kernels",
        "GPU: A GPU, 80 GiB, CUDA 12.8.",
    ):
        assert words in text
    assert "The profiler saw no copy." in gpu.overlap(gpu.summary({COPY: [], COMPUTE: []}))


def test_the_picture_of_a_result(tmp_path: Path) -> None:
    gpu.save_picture(result([0.1], [0.1], [0.1]), tmp_path / "gpu.png")
    assert pixels(tmp_path / "gpu.png").shape[1] > 800


def test_workers_are_as_many_as_cores_unless_told() -> None:
    assert gpu.with_workers(replace(SMALL, workers=3)).workers == 3
    assert gpu.with_workers(replace(SMALL, workers=0)).workers >= 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "gpu", "--work", str(tmp_path / "work")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "no CUDA device" in line
    assert not (tmp_path / "work").exists()
