"""What ``bench`` measures, and what it concludes from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import encoded, picture, write_tree
from helpers.leftovers import Leftovers
from helpers.packs import record, write_pack

import fastdata
from fastdata import BenchReport, OptionError, bench
from fastdata import transforms as T
from fastdata.inspection.bench.report import Row
from fastdata.inspection.bench.work import BenchFacts, StageWork
from fastdata.inspection.trials import open_images

SMALL: dict[str, Any] = {"size": 8, "batch_size": 5, "seconds": 0.1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("stages") / "src")


@pytest.fixture(scope="module")
def pack(folder: Path) -> Path:
    fastdata.pack_image_folder(folder, folder.with_name("photos.pack"), quiet=True)
    return folder.with_name("photos.pack")


@pytest.fixture(scope="module")
def shown() -> list[str]:
    return []


@pytest.fixture(scope="module")
def report(pack: Path, shown: list[str]) -> BenchReport:
    leftovers = Leftovers()
    report = bench(pack, show=shown.append, **SMALL)
    leftovers.check()
    return report


class TestOfAPack:
    def test_its_rows(self, report: BenchReport) -> None:
        names = [row.name for row in report.rows]
        assert names[:6] == ["read, first time", "one thread", "read", "decode", "transform",
                             "collate"]  # fmt: skip
        assert names[6:8] == ["copy", "no workers"]
        assert [name.split()[1].rstrip("s") for name in names[8:]] == ["thread", "processe"] or (
            report.cores == 1
        )
        measured = [row for row in report.rows if row.name != "copy"]
        assert all(row.images > 0 and row.seconds > 0 for row in measured)
        parts = [row.name for row in report.rows if row.share is not None]
        assert parts == ["read", "decode", "transform", "collate"]

    def test_every_line_was_shown_when_it_was_known(
        self, report: BenchReport, shown: list[str]
    ) -> None:
        assert "\n".join(shown) == str(report)
        assert shown[0].startswith(f"{report.path}: 12 samples, transform train 8, batches of 5")

    def test_reading_counts_the_records_bytes(self, pack: Path, report: BenchReport) -> None:
        mean = fastdata.PackedImageFolder(pack).pack.table["bytes"].mean()
        first = next(row for row in report.rows if row.name == "read, first time")
        assert (first.images, first.bytes) == (12, pytest.approx(mean))

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_without_a_gpu_no_copy_is_measured(self, report: BenchReport) -> None:
        copy = next(row for row in report.rows if row.name == "copy")
        assert (copy.images, copy.note) == (0, "not measured: no GPU")

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
    def test_on_a_gpu_the_copy_is_measured(self, report: BenchReport) -> None:
        copy = next(row for row in report.rows if row.name == "copy")
        assert copy.images > 0
        assert copy.bytes == pytest.approx(8 * 8 * 3 + 8)  # pixels, and an int64 target

    def test_json(self, report: BenchReport) -> None:
        values = json.loads(json.dumps(report.as_dict()))
        assert [row["name"] for row in values["rows"]] == [row.name for row in report.rows]
        assert values["rows"][1]["images_per_s"] == pytest.approx(report.rows[1].images_per_s)
        assert values["limit"] == report.limit
        assert values["encoding"] == "sliceable"

    def test_chart(self, report: BenchReport, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        report.save_chart(tmp_path / "bench.png")
        data = (tmp_path / "bench.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) > 5000


def test_of_a_folder_with_a_transform_of_ones_own(folder: Path) -> None:
    transform = T.Compose([T.Resize((6, 9)), T.ToTensor()])
    report = bench(folder, transform=transform, samples=3, batch_size=2, seconds=0.05)
    assert report.transform == "given"
    assert report.encoding is None
    assert report.rows[0].images == 3


def test_of_a_folder_without_classes(folder: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(folder.rglob("*.*"))):
        (tmp_path / f"{number}{path.suffix}").write_bytes(path.read_bytes())
    report = bench(tmp_path, samples=3, batch_size=2, seconds=0.05, size=8)
    assert report.samples == number + 1
    (tmp_path / "images").mkdir()
    (tmp_path / "no images").mkdir()
    for path in tmp_path.glob("*.*"):
        path.rename(tmp_path / "images" / path.name)
    subject = open_images(tmp_path, "val", 8)
    made = eval(subject.code, {"fastdata": fastdata, "T": T})
    assert made.classes == ["images", "no images"]
    assert made.keys[0] == subject.dataset.keys[0]


class Double:
    """A transform of somebody else's."""

    def __call__(self, image: Any) -> Any:
        return image * 2


@pytest.mark.parametrize(
    "transform",
    [
        T.Compose([T.RandomResizedCrop(16), T.RandomHorizontalFlip()]),
        T.Compose([T.Resize((30, 20)), T.CenterCrop(40), T.ToTensor()]),
        T.Compose([T.RandomCrop(20, pad_if_needed=True), T.Resize(11), Double()]),
        T.Compose([T.Resize((12, 12)), T.RandomCrop(9), T.Resize(7)]),
        Double(),
    ],
    ids=["train", "to tensor", "foreign rest", "three plans", "no plan"],
)
@pytest.mark.parametrize("open_it", [fastdata.ImageFolder, fastdata.PackedImageFolder])
def test_the_stages_together_do_what_the_dataset_does(
    folder: Path, pack: Path, open_it: Callable[..., Any], transform: Any
) -> None:
    path = folder if open_it is fastdata.ImageFolder else pack
    dataset, chunk = open_it(path, transform, seed=5), [3, 11, 0, 7]
    samples = StageWork(dataset).transformed(chunk)
    for (image, target), (expected, label) in zip(
        samples, map(dataset.__getitem__, chunk), strict=True
    ):
        assert target == label
        assert type(image) is type(expected)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


class TestFacts:
    def test_of_sliceable_jpegs(self, tmp_path: Path) -> None:
        for i in range(3):
            path = tmp_path / "src" / "a" / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(picture(200, 300, i)))
        fastdata.pack_image_folder(tmp_path / "src", tmp_path / "p", quiet=True)
        dataset = fastdata.PackedImageFolder(
            tmp_path / "p", T.Compose([T.CenterCrop(100), T.Resize(25)])
        )
        facts = StageWork(dataset).facts([0, 1, 2])
        assert facts == BenchFacts(1.0, 1.0, pytest.approx(1 / 6), pytest.approx(4.0), True)
        folder = fastdata.ImageFolder(tmp_path / "src", T.Resize(100))
        assert StageWork(folder).facts([0]) == BenchFacts(1.0, 0.0, 1.0, pytest.approx(2.0), True)

    def test_of_raw_pixels(self, folder: Path, tmp_path: Path) -> None:
        fastdata.pack_image_folder(folder, tmp_path / "raw", encoding="raw", quiet=True)
        dataset = fastdata.PackedImageFolder(tmp_path / "raw", T.Resize(9))
        assert StageWork(dataset).facts([0, 1])[:2] == (0.0, 0.0)


def written(encoding: str | None, facts: BenchFacts, **changes: Row) -> BenchReport:
    """A report of round numbers, with the rows that are given by name changed."""
    rows = {
        "read, first time": Row("read, first time", 100, 1e-4, 1e5),
        "one thread": Row("one thread", 100, 1e-3),
        "read": Row("read", 100, 1e-5, 1e5, 0.01),
        "decode": Row("decode", 100, 8e-4, share=0.8),
        "transform": Row("transform", 100, 1.5e-4, share=0.15),
        "collate": Row("collate", 100, 1e-6, share=0.001),
        "copy": Row("copy", note="not measured: no GPU"),
        "no workers": Row("no workers", 100, 1e-3, extremes=(900, 1100)),
        "threads": Row("4 threads", 100, 2.5e-4, extremes=(3900, 4100)),
        "processes": Row("4 processes", 100, 2.6e-4, extremes=(3800, 4000)),
    }
    changed = {**rows, **changes}
    return BenchReport("the.pack", 100, "train 224", 64, 4, encoding, list(changed.values()), facts)


CUT = BenchFacts(1.0, 1.0, 0.4, 1.2, True)
WHOLE = BenchFacts(1.0, 0.0, 0.4, 1.2, True)


class TestAdvice:
    def test_the_limit(self) -> None:
        said = written("sliceable", CUT).limit
        assert said.startswith("decode takes 80% of a thread's time")
        assert "4,000 images/s (4 threads), the work of 4.0 threads" in said

    def test_none_without_a_reason(self) -> None:
        assert written("sliceable", CUT).advice == []

    def test_a_folder_that_a_pack_would_cut(self) -> None:
        (advice,) = written(None, WHOLE).advice
        assert "crops need 40% of the pixels, and 100% of the images cannot be cut" in advice
        assert advice.endswith("fastdata pack the.pack DST")

    def test_a_pack_that_could_be_sliceable(self) -> None:
        (advice,) = written("keep", WHOLE).advice
        assert advice.endswith("fastdata convert the.pack DST --encoding sliceable")

    def test_no_slicing_where_images_are_needed_whole_or_are_no_jpegs(self) -> None:
        assert written("keep", WHOLE._replace(needed=0.95)).advice == []
        assert written("keep", WHOLE._replace(jpeg=0.2)).advice == []

    def test_images_that_are_shrunk_much(self) -> None:
        (advice,) = written("sliceable", CUT._replace(shrunk=4.2)).advice
        assert "4.2 times as high and wide" in advice
        assert "changes pixels" in advice

    def test_missing_kernels(self) -> None:
        (advice,) = written("sliceable", CUT._replace(compiled=False)).advice
        assert "pip install numba" in advice

    def test_reading_files(self) -> None:
        slow = Row("read", 100, 4e-4, 1e5, 0.4)
        less = Row("decode", 100, 4e-4, share=0.1)
        (advice,) = written(None, WHOLE, read=slow, decode=less).advice
        assert advice.startswith("a pack opens no file for each image")

    def test_a_disk_that_is_slower_than_the_loader(self) -> None:
        slow = Row("read, first time", 100, 1e-2, 1e5)
        report = written("sliceable", CUT, **{"read, first time": slow})
        assert report.advice == []  # nobody knows whether it was a disk
        (advice,) = replace(report, disk_bytes=10**6).advice
        assert "takes 400 MB/s, and one thread got only 10 MB/s" in advice

    def test_cores_that_did_not_all_work(self) -> None:
        slow = {
            "threads": Row("4 threads", 100, 5e-4, extremes=(1900, 2100)),
            "processes": Row("4 processes", 100, 5e-4, extremes=(1900, 2100)),
        }
        (advice,) = written("sliceable", CUT, **slow).advice
        assert "the work of 2.0 threads on 4 cores" in advice

    def test_threads_or_processes_only_beyond_the_noise(self) -> None:
        slow = Row("4 processes", 100, 3e-4, extremes=(3200, 3800))
        (advice,) = written("sliceable", CUT, processes=slow).advice
        assert advice.startswith("threads are faster here; fastdata tune the.pack")

    def test_a_copy_that_is_slower_than_the_loader(self) -> None:
        (advice,) = written("sliceable", CUT, copy=Row("copy", 100, 1e-3, 1e5)).advice
        assert "the copy to the device moves 1,000 images/s" in advice


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"samples": 0}, "samples must be >= 1, got 0"),
            ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
            ({"seconds": 0.0}, "seconds must be > 0, got 0"),
            ({"transform": "both"}, "'train', 'val' or a callable, got 'both'"),
            ({"size": 0}, "size must be >= 1 pixel"),
            ({"device": "nonsense"}, "cannot use device 'nonsense'"),
        ],
    )
    def test_options(self, pack: Path, options: dict[str, Any], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            bench(pack, **options)

    def test_an_empty_pack(self, tmp_path: Path) -> None:
        with pytest.raises(fastdata.EmptySourceError, match="has no samples"):
            bench(write_pack(tmp_path / "empty.pack", []))

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(
            fastdata.SourceNotFoundError, match="neither a pack nor an image folder"
        ):
            bench(tmp_path / "nowhere")

    def test_a_damaged_sample_is_named(self, tmp_path: Path) -> None:
        bad = write_pack(tmp_path / "bad.pack", [[record("a/0.jpg", b"no image", 0, 9, 9)]])
        with pytest.raises(fastdata.SampleError, match=r"sample 0 \('a/0\.jpg'\): expected an enc"):
            bench(bad, **SMALL)

    def test_a_chart_nobody_can_write(self, report: BenchReport, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        with pytest.raises(OptionError, match=r"no/such/bench\.png: no chart can be written"):
            report.save_chart(tmp_path / "no" / "such" / "bench.png")
        with pytest.raises(OptionError, match=r"told by its suffix, one of .*png"):
            report.save_chart(tmp_path / "bench")
