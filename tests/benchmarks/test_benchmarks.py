"""The benchmark command, end to end on a handful of small images; nothing here is timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("psutil")
pytest.importorskip("matplotlib")
pytest.importorskip("PIL")

from benchmarks.common import data, report, usage
from benchmarks.contenders import contenders
from benchmarks.contenders.pil import crop_box

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["pil", "cv2-loop", "folder", "lmdb", "hdf5"]
FIGURES = {
    "images",
    "wall_s",
    "cpu_s",
    "images_per_s",
    "cpu_s_per_1000",
    "first_batch_s",
    "memory_bytes",
    "children_living_s",
    "children_ended_s",
}


def benchmarks(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small images in two classes, and a file that is none."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(6):
        folder = root / f"class{i % 2}"
        folder.mkdir(exist_ok=True)
        pixels = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64 + 8 * i, 48))
        cv2.imwrite(str(folder / f"{i}.jpg"), pixels)
    (root / "class0" / "broken.jpg").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def result_file(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("work")
    file = work / "result.json"
    settings = "--images 12 --batch 4 --workers 1 --size 32 --rounds 1 --warmup 0 --epochs 1"
    done = benchmarks(
        *("run", "--data", photos, "--work", work, "--output", file, *settings.split()),
        *("--only", *NAMES),
    )
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture
def result(result_file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(result_file.read_text())
    return loaded


def test_result_has_every_figure_of_every_contender(result: dict[str, Any]) -> None:
    assert list(result["contenders"]) == NAMES
    for entry in result["contenders"].values():
        assert {"title", "decoder", "resize", "pack", "rounds", "median"} <= set(entry)
        [figures] = entry["rounds"]
        assert set(figures) == {*FIGURES, "order"}
        assert set(entry["median"]) == FIGURES
        assert figures["images"] == 12
        assert figures["images_per_s"] == pytest.approx(figures["images"] / figures["wall_s"])
        assert figures["cpu_s_per_1000"] == pytest.approx(1000 * figures["cpu_s"] / 12)


def test_result_tells_machine_settings_data_and_packs(result: dict[str, Any]) -> None:
    assert {"cpu", "cores", "usable_cores", "platform", "python", "packages"} <= set(
        result["machine"]
    )
    assert {"torch", "numpy", "pillow"} <= {name.lower() for name in result["machine"]["packages"]}
    assert result["settings"]["batch"] == 4
    assert result["settings"]["antialias"] is False
    assert set(result["packs"]) == {"lmdb-keep", "hdf5-keep"}
    for pack in result["packs"].values():
        assert pack["images"] == 12
        assert pack["bytes_in"] == result["data"]["bytes"]


def test_data_statistics_are_those_of_the_images(result: dict[str, Any], photos: Path) -> None:
    found = result["data"]
    sizes = [path.stat().st_size for path in photos.rglob("[0-9].jpg")]
    assert (found["files"], found["unreadable"], found["images"]) == (6, 1, 12)
    assert found["bytes"] == 2 * sum(sizes)
    assert found["mean_bytes"] == pytest.approx(sum(sizes) / 6)
    assert (found["mean_width"], found["mean_height"]) == (64 + 8 * 2.5, 48)


def test_result_keeps_local_paths_to_itself(result_file: Path, photos: Path) -> None:
    text = result_file.read_text()
    assert str(photos.parent) not in text
    assert str(result_file.parent) not in text


def test_working_files_are_removed(result_file: Path) -> None:
    assert list(result_file.parent.iterdir()) == [result_file]


def test_report_names_everyone_and_saves_a_chart(result_file: Path, tmp_path: Path) -> None:
    chart, markdown = tmp_path / "bars.png", tmp_path / "report.md"
    done = benchmarks("report", result_file, "--chart", chart, "--markdown", markdown)
    assert done.returncode == 0, done.stderr
    text = markdown.read_text(encoding="utf-8")
    assert done.stdout.strip() == text.strip()
    for name in NAMES:
        assert f"| `{name}`: " in text
    assert "python -m benchmarks run --data photos" in text
    assert "![" in text
    picture = cv2.imread(str(chart))
    assert picture is not None
    assert picture.std() > 10  # something is drawn


def with_rounds(costs: dict[str, list[float]], antialias: bool = False) -> dict[str, Any]:
    runs = {
        name: {"rounds": [{"cpu_s_per_1000": c, "images_per_s": 100 / c} for c in found]}
        for name, found in costs.items()
    }
    return {"contenders": runs, "settings": {"antialias": antialias}}


def test_ratios_are_taken_round_by_round() -> None:
    result = with_rounds({"pil": [1.0, 2.0, 4.0], "lmdb": [0.9, 1.0, 1.2]})
    found = report.ratio(result, "lmdb", "cpu_s_per_1000")
    assert found == pytest.approx((0.5, 0.3, 0.9))  # 0.9/1, 1/2, 1.2/4; of the medians: 0.5
    rates = report.ratio(result, "lmdb", "images_per_s")
    assert rates == pytest.approx((2.0, 1 / 0.9, 4 / 1.2))


def test_printed_ratios_are_those_of_the_raw_rounds(result: dict[str, Any]) -> None:
    base = result["contenders"]["pil"]["rounds"]
    table = report.table(result).splitlines()
    for name in NAMES:
        [line] = [line for line in table if line.startswith(f"| `{name}`:")]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rounds = result["contenders"][name]["rounds"]
        for column, figure in ((3, "cpu_s_per_1000"), (4, "images_per_s")):
            ratios = [a[figure] / b[figure] for a, b in zip(rounds, base, strict=True)]
            expected = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            assert cells[column] == expected


@pytest.mark.parametrize(
    ("costs", "antialias", "words"),
    [
        ({"pil": [2.0], "lmdb": [1.3], "hdf5": [1.31]}, False, ["(0.65 to 0.65), met", "not met"]),
        ({"pil": [2.0], "lmdb": [1.0]}, True, ["not judged"]),
        ({"lmdb": [1.0], "hdf5": [1.0]}, False, ["not judged"]),
        ({"pil": [1.0], "folder": [1.0]}, False, ["not judged"]),
    ],
)
def test_verdict(costs: dict[str, list[float]], antialias: bool, words: list[str]) -> None:
    text = report.verdict(with_rounds(costs, antialias))
    for word in words:
        assert word in text


def test_list_names_every_contender() -> None:
    done = benchmarks("list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(contenders.CONTENDERS)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--only", "pil", "nobody"], 1, "unknown contender nobody"),
        (["--images", "10", "--batch", "64"], 1, "10 images give no batch of 64"),
        (["--data", "no/such/folder"], 1, "no folder"),
        (["--rounds", "0"], 2, "expected a number from 1 on"),
        (["report", "no/such/file.json"], 1, "cannot read the result"),
        (["report", "pyproject.toml"], 1, "cannot read the result"),
    ],
)
def test_wrong_arguments_are_explained(words: list[str], code: int, message: str) -> None:
    done = benchmarks(*words)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_larger_folder_gives_an_even_choice(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for i in range(10):
        (tmp_path / "source" / f"{i}.jpg").write_bytes((photos / "class0" / "0.jpg").read_bytes())
    found = data.lay_out(tmp_path / "source", 5, tmp_path / "chosen")
    assert (found["files"], found["images"], found["classes"]) == (5, 5, 1)
    assert len(list((tmp_path / "chosen").rglob("*.jpg"))) == 5


@pytest.mark.parametrize("size", [(500, 375), (30, 400), (400, 30), (1, 1)])
def test_crop_boxes_of_the_baseline_lie_inside(size: tuple[int, int]) -> None:
    for _ in range(200):
        left, top, right, bottom = crop_box(*size)
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell what ended children used")
def test_a_child_counts_the_same_before_and_after_its_end() -> None:
    code = (
        "import time\n"
        "while time.process_time() < 0.5: pass\n"
        "print(time.process_time(), flush=True)\n"
        "input()"
    )
    pipe = subprocess.PIPE
    # Children of other tests may be alive beside ours (a server, a pool), so gains are compared.
    total, alive, gone = (
        usage.cpu_seconds(),
        usage.living_children_seconds(),
        usage.ended_children_seconds(),
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True
    ) as child:
        assert child.stdout is not None
        used = float(child.stdout.readline())
        assert usage.living_children_seconds() - alive >= used - 0.2
        assert usage.cpu_seconds() - total >= used - 0.2
        child.communicate("\n")
    assert usage.ended_children_seconds() - gone >= used - 0.2
