"""The benchmark that trains the same network from each loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.images import write_image

pytest.importorskip("psutil")

from benchmarks.accuracy import suite as accuracy
from benchmarks.common.errors import BenchmarkError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven images in each of two classes, and a class that is too small."""
    root = tmp_path / "photos"
    for number in range(14):
        write_image(root / "ab"[number % 2] / f"{number:02d}.jpg", 50, 60, number)
    write_image(root / "c" / "one.jpg")
    return root


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")}


class TestSplit:
    def test_each_image_is_in_one_part(self, photos: Path, tmp_path: Path) -> None:
        train, val = tmp_path / "train", tmp_path / "val"
        found = accuracy.split(photos, train, val)
        assert names(train) | names(val) == names(photos) - {"c/one.jpg"}
        assert not names(train) & names(val)
        assert found == {"train": len(names(train)), "val": len(names(val)), "classes": 2}
        assert {name[0] for name in names(val)} == {"a", "b"}

    def test_too_few_classes(self, tmp_path: Path) -> None:
        write_image(tmp_path / "src/a/one.jpg")
        with pytest.raises(BenchmarkError, match="two classes"):
            accuracy.split(tmp_path / "src", tmp_path / "train", tmp_path / "val")


def test_trainings_are_compared(photos: Path, tmp_path: Path) -> None:
    chosen = accuracy.Settings(epochs=1, seeds=2, batch=4, size=32, workers=0)
    result = accuracy.run(chosen, photos, tmp_path / "work", ["pil", "half"])
    assert list(result["ways"]) == ["pil", "half"]
    for entry in result["ways"].values():
        assert len(entry["rounds"]) == 2
        assert all(0 <= figures["accuracy"] <= 1 for figures in entry["rounds"])
    text = accuracy.report(result)
    assert "python -m benchmarks accuracy --data photos" in text
    assert list((tmp_path / "work").iterdir()) == []


def ways(**accuracies: list[float]) -> dict[str, Any]:
    return {
        name: {"rounds": [{"accuracy": value, "cpu_s": 1.0} for value in values]}
        for name, values in accuracies.items()
    }


def test_a_difference_has_an_interval() -> None:
    """Against a two-sample t-test: means 3 apart, equal variances of 1, three values each."""
    low, high = [0.70, 0.71, 0.72], [0.73, 0.74, 0.75]
    # 3 ± 2.776 × sqrt(2/3)
    assert accuracy.difference(high, low) == "+3.0 (+0.7 to +5.3)"
    assert "+3.0 (+0.7 to +5.3)" in accuracy.table(ways(pil=low, fast=high))


@pytest.mark.parametrize(("freedom", "expected"), [(4, 2.776), (8, 2.306), (30, 2.042)])
def test_students_quantile(freedom: int, expected: float) -> None:
    """Abramowitz and Stegun, table 26.10."""
    assert accuracy.student(freedom) == pytest.approx(expected, rel=0.01)
