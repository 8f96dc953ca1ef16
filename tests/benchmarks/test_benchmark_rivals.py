"""The benchmark against other libraries, with none of them installed; nothing here is timed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("psutil")
pytest.importorskip("matplotlib")
pytest.importorskip("PIL")

from helpers.images import write_image, write_tree

import fastdata
from benchmarks import __main__
from benchmarks.contenders.contenders import Job
from benchmarks.rivals import html as rivals_html
from benchmarks.rivals import images as rivals_images
from benchmarks.rivals import process as rivals_process
from benchmarks.rivals import report as rivals_report
from benchmarks.rivals.environment import pixels
from benchmarks.rivals.environment.contenders import CONTENDERS
from benchmarks.rivals.environment.environments import ENVIRONMENTS, HERE
from benchmarks.rivals.environment.places import STATE
from benchmarks.rivals.process import RivalError
from fastdata import transforms as T

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX process groups")

ROOT = Path(__file__).resolve().parents[2]
ONLY = ["pil", "fastdata", "ffcv", "webdataset", "dali", "litdata"]
FIGURES = {"images_per_s", "cpu_s_per_1000", "first_batch_s", "memory_bytes", "wall_s", "order"}

# A stand-in for an environment's interpreter: $3 is what the runner is asked for.
FAILS_TO_PREPARE = """#!/bin/sh
[ "$3" = check ] && echo '{"ffcv": "9.8"}' && exit
echo "the writer is out of ink" >&2
exit 3
"""
FAILS_TO_RUN = """#!/bin/sh
[ "$3" = check ] && echo '{"webdataset": "7.6"}' && exit
[ "$3" = prepare ] && echo '{"seconds": 2.0, "bytes": 4000000}' && exit
echo "the loader is tired" >&2
exit 4
"""


def environment(envs: Path, name: str, script: str = "", error: str = "") -> None:
    """An environment as ``benchmarks/setup`` leaves it, or one that it could not make."""
    python = envs / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    (envs / name / STATE).write_text(json.dumps({"stamp": "", "error": error}))
    if script:
        python.write_text(script)
        python.chmod(0o755)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    work = tmp_path_factory.mktemp("work")
    photos = write_tree(work / "photos", classes=2, per_class=3, formats=(".jpg", ".png"))
    environment(work / "envs", "ffcv", FAILS_TO_PREPARE)
    environment(work / "envs", "webdataset", FAILS_TO_RUN)
    environment(work / "envs", "litdata", error="`pip install litdata` failed:\nno such wheel")
    words = f"rivals --data {photos} --work {work / 'here'} --envs {work / 'envs'}"
    words += f" --output {work / 'result.json'} --cases crop --workers 1 --only {' '.join(ONLY)}"
    words += " --images 8 --batch 4 --size 32 --rounds 1 --seconds 0"
    with redirect_stdout(io.StringIO()) as said:
        assert __main__.main(words.split()) == 0
    return json.loads((work / "result.json").read_text()), said.getvalue(), work


def test_who_is_there_is_measured_whatever_happens_to_others(measured: Any) -> None:
    result, _, _ = measured
    [table] = result["tables"]
    assert set(table["runs"]) == {"pil", "fastdata"}
    for entry in table["runs"].values():
        [figures] = entry["rounds"]
        assert set(figures) >= FIGURES
        assert figures["images"] == 8
    assert result["prepared"]["original"]["use_fastdata"]["bytes"] > 0


def test_only_jpegs_take_part(measured: Any) -> None:
    original = measured[0]["images"]["original"]
    assert (original["files"], original["images"], original["classes"]) == (3, 8, 2)


def test_failures_are_told_with_what_was_said(measured: Any) -> None:
    result, text, _ = measured
    failed = result["tables"][0]["failed"]
    assert "prepare failed with exit code 3" in failed["ffcv"]
    assert "the writer is out of ink" in failed["ffcv"]
    assert "measure failed with exit code 4" in failed["webdataset"]
    for words in ("out of ink", "the loader is tired", "no such wheel", "benchmarks/setup dali"):
        assert words in text


def test_everyone_has_a_row(measured: Any) -> None:
    result, text, _ = measured
    page = rivals_html.page(result)
    for name in ONLY:
        assert f"| `{name}`: {CONTENDERS[name].title} |" in text
        assert f"<td><code>{name}</code>: {CONTENDERS[name].title}</td>" in page
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert sum("| not installed |" in row for row in rows) == 2
    assert sum("| failed |" in row for row in rows) == 2


def test_page_fetches_nothing_and_shows_pictures(measured: Any) -> None:
    result, _, work = measured
    page = (work / "result.html").read_text(encoding="utf-8")
    assert page == rivals_html.page(result)
    assert "://" not in page
    assert "<script" not in page
    assert page.count('src="data:image/png;base64,') == len(result["tables"])
    assert result["tables"][0]["command"] in page.replace("&#x27;", "'")
    picture = cv2.imread(str(work / "result.png"))
    assert picture is not None
    assert picture.std() > 10  # something is drawn


def test_nothing_local_is_told_and_nothing_left(measured: Any) -> None:
    result, text, work = measured
    assert str(work) not in text + json.dumps(result)
    assert "python -m benchmarks rivals --data photos --images 8 --batch 4" in text
    assert list((work / "here").iterdir()) == []


def test_a_result_is_rendered_again(measured: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, text, work = measured
    (work / "result.html").unlink()
    assert __main__.main(["rivals", "--result", str(work / "result.json")]) == 0
    assert capsys.readouterr().out.strip() == text.strip()
    assert (work / "result.html").exists()


def table_of(rates: dict[str, list[float]]) -> dict[str, Any]:
    """A table of rounds with these images/s."""
    runs = {
        name: {
            "rounds": [figures(rate) for rate in found],
            "median": figures(sorted(found)[len(found) // 2]),
        }
        for name, found in rates.items()
    }
    return {"case": "crop", "title": "crops", "workers": 2, "failed": {}, "runs": runs}


def figures(rate: float) -> dict[str, Any]:
    return {
        "images_per_s": rate,
        "cpu_s_per_1000": 1000 / rate,
        "first_batch_s": 0.5,
        "memory_bytes": None,
    }


def test_rows_are_sorted_and_ratios_taken_round_by_round() -> None:
    table = table_of({"pil": [100, 200, 400], "dali": [300, 400, 440], "cv2": [90, 100, 120]})
    rows = rivals_report.rows({"absent": {"spdl": "not installed"}}, table)
    assert [row[0].split("`")[1] for row in rows] == ["dali", "pil", "cv2", "spdl"]
    assert rows[0][1:5] == ["400", "2.00 (1.10 to 3.00)", "2.50", "0.50 (0.33 to 0.91)"]
    assert rows[0][6] == "n/a"


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ({"fastdata": [100], "dali": [150], "ffcv": [120]}, "`dali` (1.50 times), `ffcv` (1.20"),
        ({"fastdata": [100], "fastdata-plain": [150], "pil": [50]}, "None of the other libraries"),
        ({"pil": [50]}, ""),
    ],
)
def test_where_fastdata_loses_is_said(rates: dict[str, list[float]], words: str) -> None:
    assert words in rivals_report.verdict(table_of(rates), "fastdata")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "nobody"], "unknown contender nobody; there are pil"),
        (["--cases", "crop", "nothing"], "unknown case nothing; there are crop"),
        (["--images", "60", "--batch", "64"], "60 images give less than two batches of 64"),
        (["--data", "no/such/folder", "--only", "pil"], "no folder no/such/folder"),
        (["--only", "dali", "--envs", "no/such/envs"], "benchmarks/setup dali"),
        (["--result", "pyproject.toml"], "cannot read the result"),
    ],
)
def test_wrong_arguments_are_explained(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.main(["rivals", "--work", str(tmp_path), *words]) == 1
    assert message in capsys.readouterr().err


def test_what_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {tmp_path}/pid\nwait\n")
    python.chmod(0o755)
    with pytest.raises(RivalError, match="measure took more than 1 s"):
        rivals_process.run(str(python), "measure", "{}", timeout=1)
    assert has_ended(int((tmp_path / "pid").read_text()))


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or dead and waiting for its new parent; within 10 s."""
    import psutil

    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="needs posix_fadvise")
def test_files_are_forgotten_where_the_cache_cannot_be_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals_images, "DROP_CACHES", tmp_path / "not" / "permitted")
    file = write_image(tmp_path / "a" / "0.jpg")
    assert rivals_images.forget([tmp_path / "a", file]) == "posix_fadvise"
    assert cv2.imread(str(file)) is not None


@pytest.mark.parametrize(("height", "width"), [(300, 401), (90, 33), (40, 60)])
def test_smaller_images_have_the_promised_sizes(height: int, width: int) -> None:
    image = np.zeros((10 * height, 10 * width, 3), np.uint8)
    assert max(rivals_images.shrunk(image).shape) == 512
    assert rivals_images.shrunk(image[:99, :50]).shape == (99, 50, 3)
    assert rivals_images.squared(image).shape == (256, 256, 3)


def test_pillow_contenders_give_the_pixels_that_fastdata_gives(tmp_path: Path) -> None:
    file = write_image(tmp_path / "one" / "0.jpg", 61, 83)
    job = Job("pil", str(tmp_path), None, 1, 0, 32, 1, True, 0, "validation")
    transform = T.Compose([T.Resize(36), T.CenterCrop(32)])
    expected, _ = fastdata.ImageFolder(tmp_path, transform)[0]
    assert np.array_equal(pixels.reader(job)(file.read_bytes()), expected)


def test_contenders_have_a_module_and_an_environment() -> None:
    for contender in CONTENDERS.values():
        assert (ROOT / f"benchmarks/rivals/environment/{contender.module}.py").is_file()
        assert contender.environment in {HERE, *ENVIRONMENTS}


def test_setup_lists_what_is_there(tmp_path: Path) -> None:
    environment(tmp_path, "dali")
    environment(tmp_path, "spdl", error="a line\nno such library")
    done = setup("--list", "--envs", str(tmp_path))
    lines = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert set(lines) == set(ENVIRONMENTS)
    assert (lines["dali"], lines["spdl"]) == ("ready", "no such library")
    assert lines["ffcv"] == "not made"


def test_setup_refuses_unknown_names(tmp_path: Path) -> None:
    done = setup("nobody", "--envs", str(tmp_path))
    assert done.returncode == 1
    assert "nobody: unknown; there are torchvision" in done.stdout
    assert "Traceback" not in done.stderr


def setup(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks/setup"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=50)
