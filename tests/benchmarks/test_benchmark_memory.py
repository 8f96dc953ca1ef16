"""The benchmark of memory's growth, end to end on a few rows; the figures are not judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psutil")
pytest.importorskip("PIL")

import fastdata
from benchmarks.memory import suite as memory

ROOT = Path(__file__).resolve().parents[2]


def benchmarks(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_command_tells_memory_of_each_epoch(tmp_path: Path) -> None:
    file = tmp_path / "memory.json"
    done = benchmarks(
        *("memory", "--rows", 200, "--epochs", 2, "--workers", 1, "--batch", 4),
        *("--work", tmp_path, "--output", file),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text())
    assert list(result["runs"]) == ["1 persistent workers", "1 new workers"]
    for run in result["runs"].values():
        assert len(run["epochs"]) == 2
        for epoch in run["epochs"]:
            assert 1e6 < epoch["memory_bytes"] < 1e9
            assert 1e6 < epoch["uss_bytes"] < 1e9
    assert str(tmp_path) not in file.read_text()
    assert result["command"] in done.stdout
    assert f"{memory.growth(result['runs']['1 new workers']):+.2%} |" in done.stdout
    assert list(tmp_path.iterdir()) == [file]


def test_pack_holds_so_many_different_images(tmp_path: Path) -> None:
    dataset = fastdata.PackedImageFolder(memory.make_pack(tmp_path / "pack", 300))
    assert len({image.tobytes() for image, _ in dataset}) == len(set(dataset.keys)) == 300
    assert fastdata.verify_pack(tmp_path / "pack").ok


def run_of(*sizes: int) -> dict[str, Any]:
    return {"epochs": [{"memory_bytes": size} for size in sizes]}


@pytest.mark.parametrize(
    ("runs", "word"),
    [
        ([run_of(100, 101, 101)], "met"),
        ([run_of(100, 90, 80)], "met"),
        ([run_of(100, 103, 100)], "not met"),
        ([run_of(100, 100), run_of(100, 120)], "not met"),
    ],
)
def test_verdict(runs: list[dict[str, Any]], word: str) -> None:
    assert memory.verdict(dict(enumerate(runs))).endswith(f": {word}.")


def test_one_epoch_is_too_few(tmp_path: Path) -> None:
    done = benchmarks("memory", "--rows", 1, "--epochs", 1, "--work", tmp_path)
    assert done.returncode == 2
    assert "expected a number from 2 on" in done.stderr
