"""The benchmarks of packing and of checksums, end to end on a few images; nothing is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psutil")
pytest.importorskip("PIL")

from helpers.images import write_tree

import fastdata
from benchmarks.packing import suite as packing
from benchmarks.single import verify_cost

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs cp and posix_fadvise")

ROOT = Path(__file__).resolve().parents[2]
ONLY = ["cp+fsync", "keep-header", "cold-cp", "cold-keep-header", "jpeg-loop"]
FIGURES = {
    "images",
    "wall_s",
    "cpu_s",
    "images_per_s",
    "mb_per_s",
    "cpu_s_per_1000",
    "memory_bytes",
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str, Path]:
    work = tmp_path_factory.mktemp("work")
    photos = write_tree(work / "photos", classes=2, per_class=2, formats=(".jpg",))
    file = work / "result.json"
    words = ["packing", "--data", photos, "--images", 6, "--rounds", 1, "--shard-size", "4kB"]
    words += ["--work", work / "here", "--output", file, "--only", *ONLY]
    command = [sys.executable, "-m", "benchmarks", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text()), done.stdout, work


def test_every_way_has_its_figures(measured: tuple[Any, str, Path]) -> None:
    result, _, _ = measured
    assert set(result["ways"]) == set(ONLY)
    for entry in result["ways"].values():
        [figures] = entry["rounds"]
        assert set(figures) == {*FIGURES, "order"}
        assert figures["images"] == 6
        assert figures["images_per_s"] == pytest.approx(6 / figures["wall_s"])
    assert result["data"]["files"] == 4


def test_report_has_ratios_verdicts_and_the_command(measured: tuple[Any, str, Path]) -> None:
    result, text, work = measured
    assert "| pack, keep, `--check header`, cold |" in text
    for way, base in (("keep-header", "cp+fsync"), ("cold-keep-header", "cold-cp")):
        [ratio] = packing.ratios(result["ways"], way, base, "images_per_s")
        assert f"of `{base}` or more: {ratio:.2f}" in text
    assert "python -m benchmarks packing --data photos --images 6 --rounds 1" in text
    assert str(work) not in text + json.dumps(result)


def test_nothing_is_left(measured: tuple[Any, str, Path]) -> None:
    assert list((measured[2] / "here").iterdir()) == []


def ways_of(**rates: float) -> dict[str, Any]:
    figures = {
        name: {"images_per_s": rate, "cpu_s_per_1000": 1000 / rate, "memory_bytes": 10**6 * rate}
        for name, rate in rates.items()
    }
    return {name: {"rounds": [found], "median": found} for name, found in figures.items()}


@pytest.mark.parametrize(
    ("ways", "words"),
    [
        (ways_of(keep=90, **{"decode-loop": 100}), ["decode-loop` or more: 0.90, met", "100, met"]),
        (ways_of(keep=80, **{"decode-loop": 100}), ["decode-loop` or more: 0.80, not met"]),
        (ways_of(sliceable=700), ["CPU second or more: 700, met", "memory: 700, not met"]),
        (ways_of(sliceable=170), ["CPU second or more: 170, not met"]),
    ],
)
def test_verdicts(ways: dict[str, Any], words: list[str]) -> None:
    text = "\n".join(packing.verdicts(ways))
    for word in words:
        assert word in text


def test_checksums_cost_is_told_of_each_way(tmp_path: Path) -> None:
    photos = write_tree(tmp_path / "photos", classes=1, per_class=2, formats=(".jpg",))
    fastdata.pack_image_folder(photos, tmp_path / "pack", quiet=True)
    table = verify_cost.measure(tmp_path / "pack", 1).splitlines()
    assert [line.split()[1] for line in table[2:]] == ["`never`", "`first-read`", "`always`"]
    assert "| +0.0 % (+0.0 to +0.0) |" in table[2]
