"""Packing: what is stored, in which order, what is left out, and what a failure leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.images import contents, encoded, picture, write_image, write_tree
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import fastdata
from fastdata import pack_image_folder
from fastdata.core.sizes import parse_size
from fastdata.errors import (
    EmptySourceError,
    OptionError,
    PackExistsError,
    PackingError,
    SourceError,
)
from fastdata.sources.detect import open_source
from fastdata.store import PackReader


def pack(src: Path, dst: Path, **options: Any) -> fastdata.PackReport:
    return pack_image_folder(src, dst, **{"workers": 2, "quiet": True, **options})


def keep(src: Path, dst: Path, **options: Any) -> fastdata.PackReport:
    """Pack the files' own bytes."""
    return pack(src, dst, encoding="keep", **options)


def records(path: Path) -> dict[str, bytes]:
    reader = PackReader(path)
    try:
        return {key: bytes(reader.read(i)) for i, key in enumerate(reader.keys)}
    finally:
        reader.close()


def rejected(path: Path) -> list[dict[str, str]]:
    lines = (path / "rejected.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def decoded(data: bytes) -> NDArray[np.uint8]:
    """BGR pixels as OpenCV decodes them, without turning them."""
    image = cv2.imdecode(
        np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    )
    assert image is not None
    return image


def raw_pixels(path: Path) -> dict[str, NDArray[np.uint8]]:
    """BGR pixels of the records of a pack with encoding raw."""
    table = PackReader(path).table
    return {
        key: np.frombuffer(data, np.uint8).reshape(row["height"], row["width"], 3)[:, :, ::-1]
        for (key, data), row in zip(records(path).items(), table, strict=True)
    }


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """Three classes with four images each, in four formats and five sizes."""
    return write_tree(tmp_path / "src")


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    """Where the pack goes: alone in a directory, so that leftovers beside it can be seen."""
    (tmp_path / "packs").mkdir()
    return tmp_path / "packs" / "the.pack"


def left(dst: Path) -> list[str]:
    return sorted(os.listdir(dst.parent))


class TestKeep:
    def test_records_are_the_files(self, storage: str, src: Path, dst: Path) -> None:
        keep(src, dst, storage=storage)
        assert records(dst) == contents(src)

    def test_order_classes_and_targets(self, storage: str, src: Path, dst: Path) -> None:
        write_image(src / "class_0" / "z" / "deep.jpg")
        write_image(src / "class_0" / "a.jpg")
        keep(src, dst, storage=storage)
        classes = sorted(path.name for path in src.iterdir())
        expected = [
            (Path(directory, file).relative_to(src).as_posix(), target)
            for target, name in enumerate(classes)
            for directory, _, files in sorted(os.walk(src / name, followlinks=True))
            for file in sorted(files)
        ]
        dataset = fastdata.PackedImageFolder(dst)
        assert dataset.classes == classes
        assert [dataset.samples[i] for i in range(len(dataset))] == expected

    def test_pixels_are_those_of_imdecode(self, storage: str, src: Path, dst: Path) -> None:
        keep(src, dst, storage=storage)
        dataset = fastdata.PackedImageFolder(dst)
        for i in range(len(dataset)):
            image, _ = dataset[i]
            expected = decoded((src / dataset.samples[i][0]).read_bytes())[:, :, ::-1]
            np.testing.assert_array_equal(image, expected)

    def test_links_are_followed(self, storage: str, tmp_path: Path, dst: Path) -> None:
        away = write_image(tmp_path / "away" / "deep" / "1.jpg")
        src = tmp_path / "src"
        kept = write_image(src / "c" / "0.png")
        (src / "c" / "file.jpg").symlink_to(away)
        (src / "c" / "dir").symlink_to(tmp_path / "away")
        (src / "c" / "loop").symlink_to("..")
        report = keep(src, dst, storage=storage)
        assert records(dst) == {
            "c/0.png": kept.read_bytes(),
            "c/file.jpg": away.read_bytes(),
            "c/dir/deep/1.jpg": away.read_bytes(),
        }
        assert re.search("c/loop: a link back", str(report))

    def test_flat(self, storage: str, src: Path, dst: Path) -> None:
        report = keep(src, dst, storage=storage, flat=True)
        assert records(dst) == contents(src)
        dataset = fastdata.PackedImageFolder(dst)
        assert dataset.classes == []
        assert list(dataset.targets) == [-1] * 12
        assert (report.images, report.classes) == (12, 0)

    def test_labels(self, storage: str, src: Path, dst: Path, tmp_path: Path) -> None:
        rows = ["class_2/image_000.jpg,dog", "class_0/image_000.jpg,cat", "class_1/gone.jpg,cat"]
        (tmp_path / "labels.csv").write_text("\n".join(["path,target", *rows]))
        report = keep(src, dst, storage=storage, labels=tmp_path / "labels.csv")
        assert list(records(dst)) == ["class_2/image_000.jpg", "class_0/image_000.jpg"]
        dataset = fastdata.PackedImageFolder(dst)
        assert dataset.classes == ["cat", "dog"]
        assert list(dataset.targets) == [1, 0]
        assert report.rejections == [("class_1/gone.jpg", "cannot be read: no such file")]

    def test_an_empty_class_keeps_its_number(self, src: Path, dst: Path) -> None:
        (src / "class_1b").mkdir()
        with pytest.raises(EmptySourceError, match="class_1b"):
            keep(src, dst)
        assert left(dst) == []
        report = keep(src, dst, allow_empty=True)
        assert report.classes == 4
        assert sorted(set(fastdata.PackedImageFolder(dst).targets)) == [0, 1, 3]

    @pytest.mark.skipif(os.name == "nt", reason="Windows forbids such names")
    def test_names_of_any_length_and_script(self, storage: str, tmp_path: Path, dst: Path) -> None:
        names = [
            "x" * 251 + ".jpg", "/".join(["y" * 200] * 8) + "/z.png", "🎈" * 60 + ".png",
            "日本語.jpg", "e\u0301.jpg", "line\nbreak.jpg", "tab\t.jpg", '"quote".jpg',
            "back\\slash.jpg",
            "-dash.jpg", " space .jpg", "\u202eright to left.jpg", "\u200b.jpg", "%s{}.jpg",
        ]  # fmt: skip
        for number, name in enumerate(names):
            write_image(tmp_path / "src" / "клас" / name, seed=number)
        (tmp_path / "src" / "клас" / "é.jpg").write_bytes(encoded(picture(20, 20)))  # composed
        report = keep(tmp_path / "src", dst, storage=storage)
        assert report.rejections == []
        assert records(dst) == contents(tmp_path / "src")
        assert fastdata.verify_pack(dst, quiet=True).ok


class TestReproducible:
    @pytest.mark.parametrize("encoding", ["sliceable", "png"])
    def test_the_bytes_do_not_depend_on_the_workers(
        self, storage: str, src: Path, tmp_path: Path, encoding: str
    ) -> None:
        (src / "class_0" / "bad.jpg").write_bytes(b"not an image")
        (src / "class_2" / "empty.jpg").touch()
        packs = []
        for run, workers in enumerate([1, 2, 5, 2]):
            path = tmp_path / f"{run}.pack"
            pack(src, path, storage=storage, workers=workers, shard_size=15_000, encoding=encoding)
            packs.append(contents(path))
        assert len(packs[0]) > 6  # several shards
        assert packs[1:] == packs[:1] * 3

    def test_check_and_place_leave_no_trace(self, src: Path, tmp_path: Path) -> None:
        keep(src, tmp_path / "a.pack")
        shutil.copytree(src, tmp_path / "copy", symlinks=True)
        keep(tmp_path / "copy", tmp_path / "b.pack", check="header")
        assert contents(tmp_path / "a.pack") == contents(tmp_path / "b.pack")


class TestShards:
    @pytest.mark.parametrize("size", [1, 7000, "12kB", "1GiB"])
    def test_a_shard_is_full_when_the_next_record_does_not_fit(
        self, storage: str, src: Path, dst: Path, size: int | str
    ) -> None:
        keep(src, dst, storage=storage, shard_size=size)
        reader = PackReader(dst)
        limit, lengths = parse_size(size), reader.table["bytes"].tolist()
        shards = reader.manifest.shards
        for shard, following in zip(shards, [*shards[1:], None], strict=True):
            end = shard.first + shard.count
            total = sum(lengths[shard.first : end])
            assert total <= limit or shard.count == 1
            assert following is None or total + lengths[end] > limit
        assert [shard.file[:11] for shard in shards] == [
            f"shard-{i:05d}" for i in range(len(shards))
        ]
        assert records(dst) == contents(src)

    def test_a_shard_may_be_exactly_full(self, storage: str, src: Path, dst: Path) -> None:
        sizes = [len(data) for _, data in sorted(contents(src).items())]
        keep(src, dst, storage=storage, shard_size=sum(sizes[:5]))
        assert PackReader(dst).manifest.shards[0].count == 5

    @given(st.integers(1, 2**70), st.sampled_from(["", " ", "B", " B"]))
    def test_any_number_of_bytes(self, size: int, unit: str) -> None:
        assert parse_size(f"{size}{unit}") == parse_size(size) == size

    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ("1GiB", 2**30), ("500MB", 500_000_000), ("4096", 4096), (" 1.5 kB ", 1500),
            ("0.5GiB", 2**29), ("1KiB", 1024), ("2TB", 2 * 10**12), ("1TiB", 2**40),
        ],
    )  # fmt: skip
    def test_sizes_as_text(self, text: str, size: int) -> None:
        assert parse_size(text) == size

    @pytest.mark.parametrize(
        "text", ["", "GiB", "1gib", "-1", "1e9", "1 2", "1,5GB", "nan", "0", 0, -5, "0.2", None]
    )
    def test_sizes_that_are_none(self, text: Any, src: Path, dst: Path) -> None:
        with pytest.raises(OptionError, match=re.escape(repr(str(text)))):
            pack(src, dst, shard_size=text)
        assert left(dst) == []


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["png", "raw"])
    def test_png_and_raw_lose_nothing(
        self, storage: str, src: Path, dst: Path, encoding: str
    ) -> None:
        pack(src, dst, storage=storage, encoding=encoding)
        found = raw_pixels(dst) if encoding == "raw" else None
        for key, data in records(dst).items():
            image = found[key] if found is not None else decoded(data)
            np.testing.assert_array_equal(image, decoded((src / key).read_bytes()))
            assert encoding == "raw" or data.startswith(b"\x89PNG")

    def test_jpeg_is_near_and_quality_counts(self, storage: str, src: Path, tmp_path: Path) -> None:
        sizes = {}
        for quality in (30, None, 90, 100):
            path = tmp_path / f"{quality}.pack"
            pack(src, path, storage=storage, encoding="jpeg", quality=quality)
            found = records(path)
            sizes[quality] = sum(map(len, found.values()))
            for key, data in found.items():
                assert data.startswith(b"\xff\xd8\xff")
                original = decoded((src / key).read_bytes())
                image = decoded(data)
                assert image.shape == original.shape
                if quality == 100:
                    error = np.abs(image.astype(int) - original)
                    assert error.mean() < 4
        assert sizes[30] < sizes[90] < sizes[100]
        assert records(tmp_path / "None.pack") == records(tmp_path / "90.pack")

    @pytest.mark.parametrize(
        ("option", "value", "side"), [("resize_short", 24, min), ("max_side", 50, max)]
    )
    def test_resized_as_torchvision_does(
        self, storage: str, src: Path, dst: Path, option: str, value: int, side: Any
    ) -> None:
        pack(src, dst, storage=storage, encoding="raw", **{option: value})
        shrunk = 0
        for key, image in raw_pixels(dst).items():
            original = decoded((src / key).read_bytes())
            height, width = original.shape[:2]
            if side(height, width) <= value:
                expected = original
            else:
                width, height = (int(value * n / side(height, width)) for n in (width, height))
                small = Image.fromarray(original).resize((width, height), Image.Resampling.BILINEAR)
                expected = np.asarray(small)
                assert side(image.shape[:2]) == value
                shrunk += 1
            np.testing.assert_array_equal(image, expected)
        assert 0 < shrunk < 12  # some were larger, some were not

    @pytest.mark.parametrize("encoding", ["jpeg", "png", "raw"])
    def test_the_table_has_the_stored_size(self, src: Path, dst: Path, encoding: str) -> None:
        pack(src, dst, encoding=encoding, max_side=20)
        table = PackReader(dst).table
        assert np.maximum(table["height"], table["width"]).max() <= 20
        if encoding != "raw":
            for data, row in zip(records(dst).values(), table, strict=True):
                assert decoded(data).shape == (row["height"], row["width"], 3)

    def test_an_extreme_shape_keeps_one_pixel(self, tmp_path: Path, dst: Path) -> None:
        write_image(tmp_path / "src" / "c" / "line.png", 3, 1000)
        pack(tmp_path / "src", dst, encoding="raw", max_side=100)
        assert raw_pixels(dst)["c/line.png"].shape == (1, 100, 3)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"encoding": "gif"},
                "encoding must be one of sliceable, keep, jpeg, png, raw; got 'gif'",
            ),
            ({"storage": "zip"}, "storage must be one of lmdb, hdf5; got 'zip'"),
            ({"check": "no"}, "check must be one of decode, header"),
            ({"on_error": "ignore"}, "on_error must be quarantine or fail, got 'ignore'"),
            ({"resize_short": 64}, "'sliceable' keeps every pixel and cannot resize"),
            ({"encoding": "keep", "max_side": 64}, "'keep' keeps every pixel and cannot resize"),
            ({"encoding": "raw", "resize_short": 64, "max_side": 64}, "exclude each other"),
            ({"encoding": "raw", "max_side": 0}, "must be >= 1"),
            ({"quality": 80}, "quality applies to encoding 'jpeg' only"),
            ({"encoding": "png", "quality": 80}, "quality applies to encoding 'jpeg' only"),
            ({"encoding": "jpeg", "quality": 0}, "quality must be 1 to 100, got 0"),
            ({"encoding": "jpeg", "quality": 101}, "quality must be 1 to 100, got 101"),
            ({"encoding": "jpeg", "check": "header"}, "does not decode"),
            ({"check": "header"}, "'sliceable' has to: choose encoding keep"),
            ({"workers": 0}, "workers must be >= 1, got 0"),
            ({"flat": True, "labels": "labels.csv"}, "flat does not apply to .*'table'"),
            ({"labels": "labels.csv", "allow_empty": True}, "but to folder"),
            ({"flat": True, "allow_empty": True}, "allow_empty"),
        ],
    )
    def test_options_that_contradict_each_other(
        self, src: Path, dst: Path, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(OptionError, match=message):
            pack(src, dst, **options)
        assert left(dst) == []


def spoil(root: Path) -> dict[str, str]:
    """Put every kind of bad image into ``root``; return a pattern of the reason for each."""
    whole = encoded(picture(90, 120), ".jpg")
    (root / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "empty.jpg").touch()
    (root / "text.jpg").write_text("this is no photograph")
    (root / "cut.png").write_bytes(encoded(picture(90, 120), ".png")[:-40])
    (root / "zeros.webp").write_bytes(bytes(500))
    (root / "broken link.jpg").symlink_to("nowhere")
    reasons = {
        "cut.jpg": "jpeg data is damaged",
        "empty.jpg": "found 0 bytes",
        "text.jpg": "expected an encoded image, found 21 bytes that begin with 74 68 69",
        "cut.png": "png data is damaged",
        "zeros.webp": "expected an encoded image",
        "broken link.jpg": "cannot be read: a link to nothing",
    }
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "pipe.jpg")
        reasons["pipe.jpg"] = "cannot be read: not a regular file"
    if sys.platform == "linux":
        Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.jpg")).write_bytes(whole)
        reasons["caf\\xe9.jpg"] = "the name is not valid UTF-8"
    return reasons


class TestBadImages:
    def test_all_kinds_are_left_out_with_their_reasons(
        self, storage: str, src: Path, dst: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        good = contents(src)
        reasons = {f"class_1/{key}": text for key, text in spoil(src / "class_1").items()}
        report = keep(src, dst, storage=storage)
        assert records(dst) == good
        assert {key for key, _ in report.rejections} == set(reasons)
        for key, reason in report.rejections:
            assert re.search(re.escape(reasons[key]), reason)
            assert f"rejected {key}: {reason}" in str(report)
        assert [tuple(line.values()) for line in rejected(dst)] == report.rejections
        assert [tuple(line) for line in rejected(dst)] == [("key", "reason")] * len(reasons)
        assert (report.images, report.rejected) == (12, len(reasons))
        assert fastdata.verify_pack(dst, quiet=True).ok
        assert "OpenCV" not in capfd.readouterr().err

    @pytest.mark.parametrize("encoding", ["sliceable", "jpeg", "png", "raw"])
    def test_in_every_encoding(self, src: Path, dst: Path, encoding: str) -> None:
        reasons = spoil(src / "class_1")
        report = pack(src, dst, encoding=encoding)
        assert {key for key, _ in report.rejections} == {f"class_1/{key}" for key in reasons}

    def test_a_directory_named_by_a_label_file(self, src: Path, dst: Path, tmp_path: Path) -> None:
        (src / "dir.jpg").mkdir()
        (tmp_path / "labels.csv").write_text("path,target\ndir.jpg,0\nclass_0/image_000.jpg,1\n")
        report = pack(src, dst, labels=tmp_path / "labels.csv")
        assert report.rejections == [("dir.jpg", "cannot be read: a directory")]

    def test_a_file_that_may_not_be_read(self, src: Path, dst: Path) -> None:
        closed = src / "class_0" / "image_000.jpg"
        closed.chmod(0)
        if os.access(closed, os.R_OK):
            pytest.skip("this user may read everything")
        report = pack(src, dst)
        assert report.rejections == [("class_0/image_000.jpg", "cannot be read: Permission denied")]

    def test_checking_the_header_only(self, src: Path, dst: Path) -> None:
        reasons = spoil(src / "class_1")
        report = keep(src, dst, check="header")
        found = {key.removeprefix("class_1/") for key, _ in report.rejections}
        assert set(reasons) - found == {"cut.jpg"}  # its header is whole
        reader = PackReader(dst)
        row = reader.table[list(reader.keys).index("class_1/cut.jpg")]
        assert (row["height"], row["width"]) == (90, 120)

    @pytest.mark.parametrize("bad", ["class_0/000.jpg", "class_1/image_001x.jpg", "class_2/z.jpg"])
    def test_fail_stops_and_leaving_it_out_goes_on(
        self, storage: str, src: Path, dst: Path, bad: str
    ) -> None:
        (src / bad).write_bytes(b"no image")
        whole = dst.with_name("whole.pack")
        pack(src, whole, storage=storage, shard_size=6000)
        with pytest.raises(
            PackingError, match=rf"{bad}: expected .*; (nothing is left|\d+ shards)"
        ):
            pack(src, dst, storage=storage, on_error="fail", shard_size=6000)
        assert not dst.exists()
        report = pack(src, dst, storage=storage, shard_size=6000)
        assert [key for key, _ in report.rejections] == [bad]
        assert contents(dst) == contents(whole)
        assert left(dst) == ["the.pack", "whole.pack"]

    def test_fail_does_not_mind_a_good_source(self, src: Path, dst: Path) -> None:
        assert pack(src, dst, on_error="fail").images == 12

    @pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode")
    def test_fail_counts_names_that_are_not_utf8(self, src: Path, dst: Path) -> None:
        Path(os.fsdecode(os.fsencode(src) + b"/class_1/\xff.jpg")).touch()
        with pytest.raises(PackingError, match=r"class_1/\\xff\.jpg: the name is not valid UTF-8"):
            pack(src, dst, on_error="fail")

    def test_all_of_them_bad(self, storage: str, tmp_path: Path, dst: Path) -> None:
        (tmp_path / "src" / "c").mkdir(parents=True)
        for i in range(3):
            (tmp_path / "src" / "c" / f"{i}.jpg").write_bytes(b"no image")
        with pytest.raises(PackingError, match=r"none of 3 images is usable: c/0\.jpg: expected"):
            pack(tmp_path / "src", dst, storage=storage)
        assert left(dst) == []

    def test_a_missing_source(self, tmp_path: Path, dst: Path) -> None:
        with pytest.raises(SourceError, match="does not exist"):
            pack(tmp_path / "nowhere", dst)
        assert left(dst) == []


class TestDestination:
    def test_parents_are_made(self, src: Path, tmp_path: Path) -> None:
        keep(src, tmp_path / "a" / "b" / "c.pack")
        assert records(tmp_path / "a" / "b" / "c.pack") == contents(src)

    def test_nothing_is_left_beside_it(self, storage: str, src: Path, dst: Path) -> None:
        pack(src, dst, storage=storage)
        assert left(dst) == ["the.pack"]
        suffix = {"lmdb": "lmdb", "hdf5": "h5"}[storage]
        assert sorted(contents(dst)) == [
            "keys.bin", "keys.npy", "pack.json", "rejected.jsonl", f"shard-00000.{suffix}",
            "table.npy",
        ]  # fmt: skip

    @pytest.mark.parametrize("kind", ["file", "directory", "pack", "link to nothing"])
    def test_a_taken_path_stays_as_it_is(self, src: Path, dst: Path, kind: str) -> None:
        if kind == "file":
            dst.write_text("precious")
        elif kind == "link to nothing":
            dst.symlink_to("nowhere")
        else:
            dst.mkdir()
            (dst / "file").write_text("precious")
        if kind == "pack":
            shutil.rmtree(dst)
            pack(src, dst)
        before = contents(dst.parent)
        with pytest.raises(PackExistsError, match=r"the\.pack exists; choose another path"):
            pack(src, dst)
        if kind != "pack":
            with pytest.raises(PackExistsError, match="not a pack, so it is not overwritten"):
                pack(src, dst, overwrite=True)
        assert contents(dst.parent) == before
        assert dst.is_symlink() == (kind == "link to nothing")

    def test_overwrite_replaces_a_pack(self, storage: str, src: Path, dst: Path) -> None:
        pack(src, dst, storage="hdf5" if storage == "lmdb" else "lmdb")
        write_image(src / "class_0" / "new.jpg")
        keep(src, dst, storage=storage, overwrite=True)
        assert records(dst) == contents(src)
        assert left(dst) == ["the.pack"]

    def test_overwrite_of_nothing(self, src: Path, dst: Path) -> None:
        assert pack(src, dst, overwrite=True).images == 12

    def test_a_failed_overwrite_keeps_the_old_pack(self, src: Path, dst: Path) -> None:
        pack(src, dst)
        before = contents(dst)
        (src / "class_2" / "z.jpg").write_bytes(b"no image")
        with pytest.raises(PackingError):
            pack(src, dst, overwrite=True, on_error="fail")
        assert contents(dst) == before
        assert left(dst) == ["the.pack"]

    def test_overwrite_deletes_no_file_that_is_not_the_packs(self, src: Path, dst: Path) -> None:
        pack(src, dst)
        (dst / "notes.txt").write_text("precious")
        with pytest.raises(PackExistsError, match=r"'notes\.txt' in it is no part of a pack"):
            pack(src, dst, overwrite=True)
        assert (dst / "notes.txt").read_text() == "precious"

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x", "files": {}, "shards": []}'])
    def test_another_programs_pack_json(self, src: Path, dst: Path, text: str) -> None:
        dst.mkdir()
        (dst / "pack.json").write_text(text)
        with pytest.raises(PackExistsError, match="of another program"):
            pack(src, dst, overwrite=True)
        assert (dst / "pack.json").read_text() == text

    def test_overwrite_through_a_link_replaces_what_it_points_to(
        self, src: Path, dst: Path, tmp_path: Path
    ) -> None:
        pack(src, tmp_path / "real.pack")
        dst.symlink_to(tmp_path / "real.pack")
        write_image(src / "class_0" / "new.jpg")
        keep(src, dst, overwrite=True)
        assert dst.is_symlink()
        assert records(tmp_path / "real.pack") == contents(src)
        assert left(dst) == ["the.pack"]

    @pytest.mark.parametrize("inner", [".", "the.pack", "class_0/the.pack"])
    def test_not_inside_of_the_source(self, src: Path, inner: str) -> None:
        before = contents(src)
        for overwrite in (False, True):
            with pytest.raises(OptionError, match="lies inside of"):
                pack(src, src / inner, overwrite=overwrite)
        assert contents(src) == before

    def test_beside_the_table_that_names_the_images(self, src: Path) -> None:
        labels, packed = src / "labels.csv", src / "labels.pack"
        key = next(path for path in contents(src) if path.endswith(".jpg"))
        labels.write_text(f"path,target\n{key},0\n")
        for overwrite in (False, True):
            fastdata.pack(open_source(labels), packed, overwrite=overwrite, quiet=True)
            pack_image_folder(src, packed, labels=labels, overwrite=True, quiet=True)
            assert list(fastdata.PackedImageFolder(packed).keys) == [key]

    def test_not_inside_of_the_source_by_a_link(self, src: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(src)
        with pytest.raises(OptionError, match="lies inside of"):
            pack(src, tmp_path / "link" / "the.pack")

    def test_a_source_inside_of_the_pack_survives(self, src: Path, dst: Path) -> None:
        pack(src, dst)
        inside = shutil.copytree(src, dst / "src")
        with pytest.raises(OptionError, match="overwriting would delete"):
            pack(inside, dst, overwrite=True)
        assert contents(inside) == contents(src)

    def test_a_directory_in_the_way_is_named_and_kept(self, src: Path, dst: Path) -> None:
        pack(src, dst)
        before = contents(dst)
        foreign = dst.with_name(dst.name + ".partial")
        foreign.mkdir()
        (foreign / "file").touch()
        with pytest.raises(PackExistsError, match=r"file is not of a packing run"):
            pack(src, dst, overwrite=True)
        assert contents(dst) == before
        assert left(dst) == ["the.pack", "the.pack.partial"]
        assert "file" in os.listdir(foreign)

    def test_a_source_that_is_a_link_to_itself(self, tmp_path: Path, dst: Path) -> None:
        (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(SourceError, match="loop does not exist"):
            pack(tmp_path / "loop", dst)

    def test_a_parent_that_is_a_file(self, src: Path, dst: Path) -> None:
        dst.write_text("precious")
        with pytest.raises(PackingError, match="cannot write"):
            pack(src, dst / "inner.pack")
        assert dst.read_text() == "precious"

    def test_a_directory_that_may_not_be_written(self, src: Path, dst: Path) -> None:
        dst.parent.chmod(0o500)
        try:
            if os.access(dst.parent, os.W_OK):
                pytest.skip("this user may write everywhere")
            with pytest.raises(PackingError, match=r"cannot write .*the\.pack.*Permission denied"):
                pack(src, dst)
        finally:
            dst.parent.chmod(0o700)

    @pytest.mark.parametrize("encoding", ["sliceable", "keep", "raw"])
    def test_a_disk_that_is_full(self, storage: str, src: Path, dst: Path, encoding: str) -> None:
        """A limit on the size of a file fails a write in the middle, as a full disk does."""
        resource = pytest.importorskip("resource")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        try:
            with pytest.raises(PackingError, match=r"cannot write .*the\.pack"):
                pack(src, dst, storage=storage, encoding=encoding)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert left(dst) == []
        pack(src, dst, storage=storage, encoding=encoding)  # and the process has recovered
        assert fastdata.verify_pack(dst, quiet=True).ok


class TestReport:
    def test_fields(self, storage: str, src: Path, dst: Path) -> None:
        (src / "class_0" / "readme.txt").write_text("hello")
        (src / "class_0" / "empty.jpg").touch()
        report = pack(src, dst, storage=storage)
        images = [data for key, data in contents(src).items() if not key.endswith(".txt")]
        assert report.path == dst
        assert (report.images, report.classes, report.rejected) == (12, 3, 1)
        assert report.bytes_in == sum(map(len, images))
        assert report.bytes_out == sum(map(len, contents(dst).values()))
        assert report.ignored == {".txt": 1}
        assert report.images_per_second == pytest.approx(12 / report.seconds)

    def test_text(self, src: Path, dst: Path) -> None:
        (src / "class_0" / "readme.txt").write_text("hello")
        for i in range(25):
            (src / "class_0" / f"empty{i:02d}.jpg").touch()
        report = pack(src, dst)
        first, second, *rest = str(report).splitlines()
        assert first == f"{dst}: 12 images in 3 classes, 25 rejected"
        megabytes = r"\d+\.\d MB"
        pattern = rf"{megabytes} in, {megabytes} out, \d+\.\d s, \d+ images/s"
        assert re.fullmatch(pattern, second)
        assert len([line for line in rest if line.startswith("rejected class_0/empty")]) == 20
        assert f"… and 5 more, all in {dst / 'rejected.jsonl'}" in rest
        assert "not images, by their extension: 1 .txt" in rest

    def test_the_default_encoding(self, src: Path, dst: Path) -> None:
        report = pack(src, dst)
        manifest = json.loads((dst / "pack.json").read_text("utf-8"))
        assert manifest["encoding"] == {"name": "sliceable"}
        others = sum(not key.endswith(".jpg") for key in contents(src))
        assert report.verbatim == {"not a JPEG file": others}

    def test_the_manifest_says_how(self, storage: str, src: Path, dst: Path) -> None:
        pack(src, dst, storage=storage, encoding="jpeg", quality=80, max_side=30)
        manifest = json.loads((dst / "pack.json").read_text("utf-8"))
        assert manifest["encoding"] == {"name": "jpeg", "quality": 80, "max_side": 30}
        assert (manifest["storage"], manifest["samples"], manifest["source"]) == (
            storage, 12, "folder",
        )  # fmt: skip
