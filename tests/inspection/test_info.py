"""What ``fastdata info`` counts, and how it shows that."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.command import run
from helpers.images import encoded, picture, write_tree
from helpers.packs import write_pack
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fastdata
from fastdata.inspection.histogram import COLUMNS, Tally
from fastdata.inspection.info import pack_info
from fastdata.inspection.text import columns_of

QUANTITIES = {"width", "height", "pixels", "bytes"}


def packed(path: Path, sizes: list[tuple[int, int]], targets: list[int], classes: int) -> Path:
    """A pack of images of these sizes."""
    samples = [
        {"key": f"{i}.jpg", "image": encoded(picture(*size, seed=i)), "target": target}
        for i, (size, target) in enumerate(zip(sizes, targets, strict=True))
    ]
    names = [f"class {i}" for i in range(classes)]
    kinds = {"image": "image", "target": "int"}
    fastdata.pack(samples, path, fields=kinds, classes=names, quiet=True)
    return path


@settings(max_examples=50)
@given(st.lists(st.integers(0, 2**40) | st.integers(200, 600), min_size=1, max_size=200))
def test_a_tally_counts_as_numpy_does(numbers: list[int]) -> None:
    array = np.array(numbers, np.int64)
    tally = Tally(array)
    for piece in np.array_split(array, 3):
        if len(piece):
            tally.add(piece)
    found = tally.histogram()
    assert found.counts == np.histogram(array, found.edges)[0].tolist()
    assert sum(found.counts) == len(numbers)
    assert (found.edges[0], found.edges[-1]) == (min(numbers), max(numbers) + 1)
    assert found.mean == pytest.approx(array.mean())
    assert len(found.counts) <= 12
    assert all(columns_of(line) <= COLUMNS for line in found.bars("numbers", "of them"))


def test_a_few_outliers_do_not_flatten_the_rest() -> None:
    numbers = np.concatenate([np.arange(300, 600), [90_000]])
    tally = Tally(numbers)
    tally.add(numbers)
    assert sum(count > 10 for count in tally.histogram().counts) >= 5


def test_bars_show_the_bins() -> None:
    numbers = np.array([224] * 4 + [225] * 2)
    tally = Tally(numbers)
    tally.add(numbers)
    lines = tally.histogram().bars("width", "px")
    assert lines[0] == "width 224 to 225 px, mean 224"
    assert re.fullmatch(r" *< 225 +#{12} +4", lines[1])
    assert re.fullmatch(r" *>= 225 +#{6} +2", lines[2])


class TestPackInfo:
    def test_histograms(self, tmp_path: Path) -> None:
        sizes = [(20, 30), (40, 31), (60, 90), (20, 30), (200, 10)]
        path = packed(tmp_path / "a.pack", sizes, [0, 1, 1, -1, 0], 3)
        info = pack_info(path)
        assert set(info.histograms) == QUANTITIES
        heights, widths = np.array(sizes).T
        known = {"height": heights, "width": widths, "pixels": heights * widths}
        for name, values in known.items():
            found = info.histograms[name]
            assert found.counts == np.histogram(values, found.edges)[0].tolist()
            assert found.mean == pytest.approx(values.mean())
        assert info.histograms["bytes"].mean * 5 == pytest.approx(info.record_bytes)
        assert (info.class_counts, info.unlabelled) == ([2, 2, 0], 1)

    def test_how_images_are_stored(self, tmp_path: Path) -> None:
        write_tree(tmp_path / "src", 1, 4, formats=(".jpg", ".png"))
        counts = {}
        for encoding in ("sliceable", "keep", "png"):
            path = tmp_path / f"{encoding}.pack"
            fastdata.pack_image_folder(tmp_path / "src", path, encoding=encoding, quiet=True)
            info = pack_info(path)
            counts[encoding] = (info.sliceable, info.verbatim)
        assert counts == {"sliceable": (2, 2), "keep": (0, 4), "png": (0, 0)}

    def test_orientations(self, tmp_path: Path) -> None:
        (tmp_path / "src" / "a").mkdir(parents=True)
        for number, turn in enumerate((1, 6, 6, 3)):
            exif = Image.Exif()
            exif[0x0112] = turn
            picture_file = tmp_path / "src" / "a" / f"{number}.jpg"
            Image.fromarray(picture(20, 30, number)).save(picture_file, exif=exif)
        fastdata.pack_image_folder(tmp_path / "src", tmp_path / "a.pack", quiet=True)
        info = pack_info(tmp_path / "a.pack")
        assert info.orientations == {1: 1, 3: 1, 6: 2}
        assert "turned    EXIF orientation 3 of 1, 6 of 2\n" in str(info)

    def test_without_samples(self, tmp_path: Path) -> None:
        info = pack_info(write_pack(tmp_path / "none.pack", [], classes=["a", "b"]))
        assert (info.samples, info.class_counts, info.orientations) == (0, [0, 0], {})
        assert info.histograms["width"].counts == []
        assert "samples   0 " in str(info)


class TestText:
    @pytest.fixture
    def many(self, tmp_path: Path) -> Path:
        targets = [0] * 7 + [5] * 3 + list(range(30))
        return packed(tmp_path / "many.pack", [(16, 16)] * len(targets), targets, 30)

    def test_the_largest_and_the_smallest_classes(
        self, many: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("info", many) == 0
        text = capsys.readouterr().out
        assert re.search(r"largest classes +smallest classes\nclass 0 +8 .*\nclass 5 +4 ", text)
        assert len(re.findall(r"^class \d+ +\d+ ", text, re.MULTILINE)) == 5
        assert max(map(columns_of, text.splitlines()[1:])) <= 80

    def test_all_classes(self, many: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("info", many, "--classes") == 0
        text = capsys.readouterr().out
        counts = re.findall(r"^class (\d+) +(\d+)$", text, re.MULTILINE)
        assert counts == [(str(i), {0: "8", 5: "4"}.get(i, "1")) for i in range(30)]

    def test_names_that_do_not_fit(self, tmp_path: Path) -> None:
        samples = [
            {"key": str(i), "image": picture(8, 8, i), "target": i} for i in range(3)
        ]  # fmt: skip
        names = ["犬" * 90, "evil\n\x1b[31mname", "x"]
        kinds = {"image": "image", "target": "int"}
        path = tmp_path / "a.pack"
        fastdata.pack(samples, path, fields=kinds, classes=names, quiet=True)
        text = pack_info(path).text(all_classes=True)
        assert max(map(columns_of, text.splitlines()[1:])) <= 80
        assert "\x1b" not in text
        assert re.search(r"^evil\\n\\x1b\[31mname +1$", text, re.MULTILINE)

    def test_json_has_arrays(self, many: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("info", many, "--json") == 0
        values = json.loads(capsys.readouterr().out)
        assert values["histograms"]["height"] == {"edges": [16, 17], "counts": [40], "mean": 16.0}
        assert values["orientations"] == {"1": 40}
