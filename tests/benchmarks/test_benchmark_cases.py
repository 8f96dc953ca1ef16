"""The benchmark's suites, end to end on a handful of small images; nothing here is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("psutil")
pytest.importorskip("PIL")
pytest.importorskip("numba")

import fastdata
from benchmarks.cases import cases
from benchmarks.cases import loaders as case_loaders
from benchmarks.cases import report as case_report
from benchmarks.common import markdown
from benchmarks.scaling import big_pack
from benchmarks.scaling import suite as scaling
from benchmarks.startup import suite as startup

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ("cpu_s_per_1000", "images_per_s")


def benchmarks(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos", numbered=False)
    rng = np.random.default_rng(0)
    for i in range(4):
        folder = root / f"class{i % 2}"
        folder.mkdir(exist_ok=True)
        pixels = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (300 + 20 * i, 280))
        cv2.imwrite(str(folder / f"{i}.jpg"), pixels)
    return root


@pytest.fixture(scope="module")
def measured_cases(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    work = tmp_path_factory.mktemp("work")
    file = work / "cases.json"
    done = benchmarks(
        *("cases", "--data", photos, "--work", work, "--output", file),
        *["--images", "8", "--batch", "4", "--workers", "1", "--seconds", "0", "--rounds", "1"],
        *("--only", "tiny-32", "short-256"),
    )
    assert done.returncode == 0, done.stderr
    assert str(work) not in file.read_text()
    return json.loads(file.read_text()), done.stdout


def test_every_column_of_a_case_has_its_rounds(measured_cases: tuple[Any, str]) -> None:
    result, _ = measured_cases
    assert list(result["cases"]) == ["tiny-32", "short-256"]
    for name, entry in result["cases"].items():
        assert list(entry["columns"]) == list(cases.CASES[name].columns)
        for column in entry["columns"].values():
            [figures] = column["rounds"]
            assert figures["images"] == 8
            assert figures["images_per_s"] == pytest.approx(8 / figures["wall_s"])
            assert figures["cpu_s_per_1000"] == pytest.approx(1000 * figures["cpu_s"] / 8)
    assert result["cases"]["tiny-32"]["pack"]["encoding"] == "raw"
    assert result["cases"]["short-256"]["pack"]["encoding"] == "jpeg"
    assert result["sources"]["photos"]["source"] == "photos"


def test_printed_ratios_are_those_of_the_rounds(measured_cases: tuple[Any, str]) -> None:
    result, text = measured_cases
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(lines) == 4
    for line, figure in zip(lines, [FIGURES[0]] * 2 + [FIGURES[1]] * 2, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        runs = result["cases"][cells[0].strip("`")]["columns"]
        found = {name: entry["rounds"][0][figure] for name, entry in runs.items()}
        assert cells[1].endswith(f" ({found['pil'] / found['full']:.2f})")
        assert cells[3].endswith(f" ({found['fastdata'] / found['full']:.2f})")
        assert cells[-1] == f"{found['fastdata'] / found['pil']:.2f}"
    assert "python -m benchmarks cases --data photos" in text
    assert "Aim for `tiny-32`" in text


def runs_of(**costs: list[float]) -> dict[str, Any]:
    return {
        name: {"rounds": [{"cpu_s_per_1000": c} for c in found]} for name, found in costs.items()
    }


def test_ratios_are_medians_of_the_rounds() -> None:
    runs = runs_of(full=[8.0, 10.0, 40.0], reduced=[1.0, 2.0, 4.0])
    assert markdown.ratio(runs, "full", "reduced", "cpu_s_per_1000") == 8.0
    assert markdown.ratio(runs, "full", "absent", "cpu_s_per_1000") is None


@pytest.mark.parametrize(("cost", "word"), [(1.0, "found 8.0, met"), (1.1, "found 7.3, not met")])
def test_an_aim_is_judged(cost: float, word: str) -> None:
    entry = {"columns": runs_of(full=[8.0], reduced=[cost]), "absent": {}}
    [line] = case_report.aims({"cases": {"12-megapixel": entry}})
    assert word in line


def test_a_skipped_column_is_seen() -> None:
    entry = {"columns": runs_of(full=[8.0]), "absent": {"reduced": "there is no such thing"}}
    assert case_report.cell(entry, "reduced", "cpu_s_per_1000", ".1f") == "skipped"
    assert case_report.absences({"cases": {"12-megapixel": entry}}) == [
        "Skipped `12-megapixel`, `reduced`: there is no such thing."
    ]
    [line] = case_report.aims({"cases": {"12-megapixel": entry}})
    assert line.endswith("not measured.")


def test_validation_pixels_are_those_of_pillow(photos: Path, tmp_path: Path) -> None:
    fastdata.pack_image_folder(photos, tmp_path / "pack", quiet=True)
    dataset = fastdata.PackedImageFolder(
        tmp_path / "pack", case_loaders.transform_of("centre", 224)
    )
    for (image, _), key in zip(dataset, dataset.keys, strict=True):
        expected = case_loaders.pil_centre(str(photos / key), 224)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_both_folder_columns_cut_and_pad_alike(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), pixels)
    for seed in range(20):
        torch.manual_seed(seed)
        by_pillow = case_loaders.pil_pad(str(tmp_path / "image.png"), 32)
        torch.manual_seed(seed)
        assert np.array_equal(case_loaders.cv2_pad(str(tmp_path / "image.png"), 32), by_pillow)


def test_a_long_table_repeats_its_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(big_pack, "RECORDS", 10)
    dataset = fastdata.PackedImageFolder(big_pack.make(tmp_path / "pack", 35))
    assert len(dataset) == 40
    assert len(dataset.pack.manifest.shards) == 4
    for i in range(40):
        image, target = dataset[i]
        first, _ = dataset[i % 10]
        assert np.array_equal(image, first)
        assert (target, dataset.keys[i]) == (i % 10, big_pack.key(i % 10))


def test_scaling_reports_rows_and_the_lock(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "scaling.json"
    done = benchmarks(
        *("scaling", "--data", photos, "--work", tmp_path, "--output", file),
        *[
            "--images",
            "4",
            "--seconds",
            "0",
            "--rounds",
            "1",
            "--rows",
            "50",
            "100",
            "--only",
            "rows",
            "gil",
        ],
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text())
    found = result["gil"]["median"]
    assert 0 < found["held_us_per_image"] < found["cpu_us_per_image"]
    assert found["calls_per_image"] >= 2  # decoding and resizing
    assert list(result["rows"]) == ["50", "100"]
    ratio = (
        result["rows"]["100"]["rounds"][0]["cpu_us_per_image"]
        / result["rows"]["50"]["rounds"][0]["cpu_us_per_image"]
    )
    [line] = [line for line in done.stdout.splitlines() if line.startswith("| 100 |")]
    assert line.endswith(f" {ratio:.2f} |")


@pytest.mark.parametrize(("held", "ceiling"), [(50.0, "20,000"), (5.0, "64,000")])
def test_ceiling_is_the_smaller_bound(held: float, ceiling: str) -> None:
    found = {"cpu_us_per_image": 1000.0, "held_us_per_image": held, "calls_per_image": 3.0}
    assert f"= {ceiling} images/s" in scaling.gil_lines(found)


def test_startup_reports_imports(tmp_path: Path) -> None:
    file = tmp_path / "startup.json"
    done = benchmarks(
        *("startup", "--work", tmp_path, "--output", file, "--rounds", 1, "--only", "imports")
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())["parts"]["imports"]["median"]
    assert figures["numba_imported"] == 0
    assert f"| {figures['fastdata_s']:.2f} |" in done.stdout
    assert "does not import numba: met" in done.stdout


@pytest.mark.parametrize(("count", "word"), [(0, "cached: met"), (3, "cached: not met")])
def test_a_worker_that_compiles_is_told(count: int, word: str) -> None:
    found = {"compiled_by_workers": count, "cache_files_written": 0, "first_batch_s": 0.1}
    assert word in " ".join(startup.verdicts({"2 spawned workers": {"median": found}}))


def test_compilations_are_counted(tmp_path: Path) -> None:
    code = (
        "import sys, numba\n"
        "from benchmarks.startup.process import Counting\n"
        "Counting(sys.argv[1])(0)\n"
        "assert numba.njit(lambda x: x + 1)(1) == 2\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True, timeout=110)
    assert startup.compiled(tmp_path) >= 1
