"""Plans of packing: what they say is what packing then does, and they write nothing."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.images import contents, encoded, picture, write_image, write_tree
from helpers.inputs import INPUTS
from helpers.jpegs import by_pillow

import fastdata
from fastdata import OptionError, PackingError, plan_pack
from fastdata.cli import main
from fastdata.packing.dry_run.advice import advise
from fastdata.packing.dry_run.looks import total
from fastdata.sources import Source
from fastdata.sources.detect import open_source
from fastdata.store import PackReader
from fastdata.store.manifest import Manifest

TOLERANCE = 0.1  # of the size of a pack, as estimated from 64 samples
PAGES = 8192  # a shard's file grows by pages; which ones LMDB fills is known but for two of them


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hundred images of four formats and five sizes."""
    return write_tree(tmp_path_factory.mktemp("plan") / "photos", classes=3, per_class=100)


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    return tmp_path / "packs" / "the.pack"


def size_of(pack: Path) -> int:
    return sum(path.stat().st_size for path in pack.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {"shard_size": 50_000},
        {"shard_size": 50_000, "storage": "hdf5"},
        {"shard_size": 100_000, "encoding": "raw"},
        {"shard_size": 20_000, "encoding": "jpeg", "max_side": 40, "quality": 80},
        {},
    ],
    ids=str,
)
def test_the_numbers_are_those_of_packing(photos: Path, dst: Path, options: dict[str, Any]) -> None:
    source = open_source(photos)
    plan = plan_pack(source, dst, **options)
    report = fastdata.pack(source, dst, quiet=True, **options)
    manifest = Manifest.read(dst)
    assert plan.samples == report.images == 300
    assert plan.classes == report.classes
    assert plan.fields == manifest.fields
    assert plan.bytes_in == report.bytes_in
    assert plan.encoding == manifest.encoding
    assert [count for count, _ in plan.shards] == [shard.count for shard in manifest.shards]
    assert plan.bytes_out.value == pytest.approx(size_of(dst), rel=TOLERANCE)
    assert plan.bytes_out.low <= plan.bytes_out.value <= plan.bytes_out.high <= plan.bytes_needed
    # Where other work stretches some looks, their spread leaves the lower bound at 0.
    assert 0 <= plan.seconds.low < plan.seconds.value < plan.seconds.high


def test_sizes_in_other_encodings(photos: Path, tmp_path: Path) -> None:
    plan = plan_pack(open_source(photos))
    for name in ("keep", "sliceable", "jpeg", "png", "raw"):
        path = tmp_path / name
        fastdata.pack_image_folder(photos, path, encoding=name, quiet=True)
        records = PackReader(path).table["bytes"].sum()
        assert plan.sizes[name].value == pytest.approx(float(records), rel=TOLERANCE)


@pytest.mark.parametrize("make", INPUTS, ids=lambda make: make.__name__)
def test_every_source_can_be_planned_and_nothing_is_written(
    make: Callable[[Path], Source], tmp_path: Path
) -> None:
    (tmp_path / "input").mkdir()
    source = make(tmp_path / "input")
    dst = tmp_path / "the.pack"
    before = contents(tmp_path)
    plan = plan_pack(source, dst, shard_size=4000)
    assert contents(tmp_path) == before
    assert os.listdir(tmp_path) == ["input"]
    report = fastdata.pack(source, dst, shard_size=4000, quiet=True)
    assert len(plan.shards) == len(Manifest.read(dst).shards)
    # All samples have been looked at, so that only what storage adds is estimated.
    assert plan.bytes_out.value == pytest.approx(size_of(dst), abs=PAGES * len(plan.shards))
    assert {key for key, _ in plan.bad} == {key for key, _ in report.rejections}
    assert str(plan.samples) in str(plan)


def test_what_is_listed_and_found(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "photos", classes=1, per_class=4, formats=(".jpg",))
    (root / "class_0" / "notes.txt").write_text("no image")
    (root / "class_0" / "bad.jpg").write_bytes(b"no image at all")
    write_image(root / "class_0" / "png.png", 30, 200)
    progressive = by_pillow(picture(40, 50), progressive=True)
    (root / "class_0" / "progressive.jpg").write_bytes(progressive)
    plan = plan_pack(open_source(root))
    text = str(plan)
    assert plan.ignored == {".txt": 1}
    assert [key for key, _ in plan.bad] == ["class_0/bad.jpg"]
    assert "looked at 7 of them: 5 jpeg, 1 png" in text
    assert "largest 200x30 (class_0/png.png)" in text
    assert "4 of 5 (80 %) of the JPEGs can be; not: 1 progressive JPEG" in text
    assert "class_0/bad.jpg: " in text
    assert "1 of 7 (14 %)" in text
    assert plan.path is None
    assert "room" not in text


def test_exif_rotation_is_counted(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    from PIL import Image

    for turn in (1, 6, 8, 1):
        exif = Image.Exif()
        exif[0x0112] = turn
        path = tmp_path / "photos" / f"{len(os.listdir(tmp_path / 'photos'))}.jpg"
        Image.fromarray(picture(30, 40)).save(path, exif=exif)
    plan = plan_pack(open_source(tmp_path / "photos", "flat"))
    assert "rotated   2 of 4 (50 %)" in str(plan)


def test_an_interrupted_run(photos: Path, dst: Path) -> None:
    root = dst.parent.parent / "photos"
    shutil.copytree(photos, root, copy_function=shutil.copy2)
    assert plan_pack(open_source(root), dst).done is None
    bad = root / "class_2" / "image_050.zz.jpg"
    bad.write_bytes(b"bad")
    with pytest.raises(PackingError, match=r"image_050\.zz"):
        fastdata.pack(open_source(root), dst, shard_size=50_000, on_error="fail", quiet=True)
    before = contents(dst.parent)
    plan = plan_pack(open_source(root), dst, shard_size=50_000)
    assert plan.done is not None
    assert 0 < plan.done < len(plan.shards)
    assert f"{plan.done} of {len(plan.shards)} shards are complete" in str(plan)
    other = plan_pack(open_source(root), dst, shard_size=60_000)
    assert "shard_size was 50000 and is 60000" in str(other)
    assert plan_pack(open_source(root), dst, shard_size=60_000, restart=True).done is None
    assert contents(dst.parent) == before
    report = fastdata.pack(open_source(root), dst, shard_size=50_000, quiet=True)
    assert report.resumed == plan.done


def test_what_stands_in_the_way(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    plan = plan_pack(open_source(photos), tmp_path / "taken")
    assert any("exists" in note for note in plan.notes)
    with pytest.raises(OptionError, match="lies inside"):
        plan_pack(open_source(photos), photos / "class_0" / "the.pack")
    with pytest.raises(OptionError, match="encoding must be"):
        plan_pack(open_source(photos), encoding="gif")
    with pytest.raises(OptionError, match="storage"):
        plan_pack(open_source(photos), storage="zip")


class Samples:
    """Samples that are made when they are asked for."""

    def __len__(self) -> int:
        return 500

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": encoded(picture(20 + index % 7, 30)), "target": index % 3, "x": 0.5}


class TestSequences:
    def test_an_indexed_one(self, dst: Path) -> None:
        plan = plan_pack(Samples(), dst, shard_size=100_000)
        fastdata.pack(Samples(), dst, shard_size=100_000, quiet=True)
        assert not plan.shards_are_exact
        assert "shards    about" in str(plan)
        assert len(plan.shards) == pytest.approx(len(Manifest.read(dst).shards), abs=1)
        assert plan.bytes_out.value == pytest.approx(size_of(dst), rel=TOLERANCE)
        assert plan.fields == {"image": "image", "target": "int", "x": "float"}

    def test_pixels(self) -> None:
        plan = plan_pack([picture(30, 40, i) for i in range(5)], fields={"image": "image"})
        assert "5 pixels" in str(plan)
        assert plan.sizes["raw"].value == 5 * 30 * 40 * 3

    def test_iterators_are_not_used_up(self) -> None:
        def samples() -> Iterator[dict[str, Any]]:
            yield from (Samples()[i] for i in range(5))

        given = samples()
        with pytest.raises(OptionError, match="read again"):
            plan_pack(given)
        assert len(list(given)) == 5


def best(images: list[bytes], tmp_path: Path) -> str:
    for number, data in enumerate(images):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    return str(plan_pack(open_source(tmp_path, "flat")).advice[0])


class TestAdvice:
    def test_tiny_images(self, tmp_path: Path) -> None:
        images = [encoded(picture(32, 32, i), ".png") for i in range(6)]
        assert best(images, tmp_path).startswith("--encoding raw: images of about 32 pixels")

    def test_small_images_without_loss(self, tmp_path: Path) -> None:
        images = [encoded(picture(90, 100, i), ".bmp") for i in range(6)]
        assert best(images, tmp_path).startswith("--encoding png")

    def test_huge_photographs(self, tmp_path: Path) -> None:
        images = [encoded(picture(900, 1200, i)) for i in range(2)]
        assert best(images, tmp_path).startswith("--encoding jpeg --resize-short 256: for training")

    def test_jpegs(self, tmp_path: Path) -> None:
        images = [encoded(picture(300, 400, i)) for i in range(4)]
        assert best(images, tmp_path).startswith("--encoding sliceable: 100 %")

    def test_progressive_jpegs(self, tmp_path: Path) -> None:
        images = [by_pillow(picture(300, 400, i), progressive=True) for i in range(4)]
        assert best(images, tmp_path).startswith("--encoding jpeg: most of the JPEGs")

    def test_large_images_without_loss(self, tmp_path: Path) -> None:
        images = [encoded(picture(300, 400, i), ".bmp") for i in range(4)]
        assert best(images, tmp_path).startswith("--encoding jpeg: most of the images are not")

    def test_keep_is_always_an_answer(self, photos: Path) -> None:
        assert plan_pack(open_source(photos)).advice[-1].encoding == "keep"

    def test_nothing_is_known(self) -> None:
        assert advise([]) == []


class TestEstimates:
    def test_all_samples_leave_no_doubt(self) -> None:
        estimate = total([1, 2, 3], [10, 20, 30], 3, 60)
        assert (estimate.low, estimate.value, estimate.high) == (6, 6, 6)

    def test_no_samples(self) -> None:
        assert total([], [], 5, 100).high == math.inf

    @pytest.mark.parametrize("kind", ["proportional", "independent"])
    def test_the_bounds_hold_as_often_as_they_say(self, kind: str) -> None:
        rng = np.random.default_rng(1)
        sizes = rng.integers(100, 10_000, 2000)
        noise = rng.normal(0, 200, 2000)
        values = sizes * 1.5 + noise if kind == "proportional" else 5000 + noise
        held = 0
        for _ in range(300):
            at = rng.choice(2000, 64, replace=False)
            estimate = total(values[at].tolist(), sizes[at].tolist(), 2000, int(sizes.sum()))
            held += estimate.low <= values.sum() <= estimate.high
        assert held >= 0.9 * 300


class TestCommand:
    def test_prints_and_writes_nothing(
        self, photos: Path, dst: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["pack", str(photos), str(dst), "--dry-run", "--shard-size", "50kB"]
        assert main(command) == 0
        found = capsys.readouterr()
        assert found.err == ""
        assert "a plan; nothing has been written" in found.out
        assert "300 samples in 3 classes" in found.out
        assert not dst.parent.exists()

    def test_usage_is_checked_as_ever(
        self, photos: Path, dst: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["pack", str(photos), str(dst), "--dry-run", "--quality", "80"]
        assert main(command) == 2
        assert "quality applies" in capsys.readouterr().err
