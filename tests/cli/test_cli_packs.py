"""The commands that make packs of anything: sources, append, merge, subset, convert, unpack."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.images import contents, encoded, picture, write_image, write_tree

import fastdata
from fastdata import PackedDataset, PackedImageFolder
from fastdata.cli import main
from fastdata.store import PackReader


def run(*arguments: object) -> int:
    """The exit code of ``fastdata`` with these arguments, in this process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return -1 if not isinstance(end.code, int) else end.code


def write_mask(path: Path, label: int, height: int = 40, width: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(np.full((height, width, 3), label, np.uint8), ".png"))
    return path


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "src", 3, 2, formats=(".jpg", ".png"))


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    (tmp_path / "packs").mkdir()
    return tmp_path / "packs" / "the.pack"


@pytest.fixture
def one(src: Path, tmp_path: Path) -> Path:
    fastdata.pack_image_folder(src, tmp_path / "one.pack", encoding="keep", quiet=True)
    return tmp_path / "one.pack"


@pytest.fixture
def rich(tmp_path: Path) -> Path:
    """A pack with masks, boxes and bytes."""
    given = [
        {
            "key": f"k{i}.png", "image": encoded(picture(8, 9, i), ".png"), "target": i % 2,
            "mask": np.full((8, 9), i, np.uint16), "boxes": [[0, 0, i, 5]], "b": b"x" * i,
        }
        for i in range(4)
    ]  # fmt: skip
    kinds = {"image": "image", "target": "int", "mask": "mask", "boxes": "boxes", "b": "bytes"}
    path = tmp_path / "rich.pack"
    fastdata.pack(given, path, fields=kinds, classes=["2", "10"], encoding="keep", quiet=True)
    return path


class TestPack:
    def test_a_table_with_kinds(self, tmp_path: Path, dst: Path) -> None:
        write_image(tmp_path / "t" / "a.png", 8, 9)
        (tmp_path / "t" / "l.jsonl").write_text(
            '{"path": "a.png", "target": "cat", "e": [[1, 2, 3], [4, 5, 6]], "n": 5, "x": 1}\n'
        )
        options = ["--fields", "e=float32[2,3],n=float,x=", "--quiet"]
        assert run("pack", tmp_path / "t" / "l.jsonl", dst, *options) == 0
        found = PackedDataset(dst)
        assert {n: str(k) for n, k in found.fields.items()} == {
            "image": "image", "target": "int", "e": "float32[2,3]", "n": "float",
        }  # fmt: skip
        assert found[0]["e"].tolist() == [[1, 2, 3], [4, 5, 6]]
        assert found[0]["n"] == 5.0
        assert found.classes == ["cat"]

    def test_images_elsewhere(self, tmp_path: Path, dst: Path, src: Path) -> None:
        key = next(iter(contents(src)))
        (tmp_path / "t.csv").write_text(f"path,target\n{key},dog\n")
        assert run("pack", tmp_path / "t.csv", dst, "--images", src, "--quiet") == 0
        again = dst.with_name("again")
        assert run("pack", src, again, "--labels", tmp_path / "t.csv", "--quiet") == 0
        assert contents(again) == contents(dst)
        assert PackedImageFolder(dst).samples[0] == (key, 0)

    def test_labels_with_fields(self, tmp_path: Path, dst: Path, src: Path) -> None:
        key = next(iter(contents(src)))
        (tmp_path / "t.csv").write_text(f"path,target,n\n{key},dog,5\n")
        options = ["--labels", tmp_path / "t.csv", "--fields", "n=str", "--quiet"]
        assert run("pack", src, dst, *options) == 0
        assert PackedDataset(dst)[0]["n"] == "5"

    def test_masks(self, tmp_path: Path, dst: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for i in range(3):
            write_image(tmp_path / "i" / f"{i}.jpg", seed=i)
        for i in range(2):
            write_mask(tmp_path / "m" / f"{i}.png", i)
        assert run("pack", tmp_path / "i", dst, "--masks", tmp_path / "m") == 1
        assert "2.jpg" in capsys.readouterr().err
        options = ["--masks", tmp_path / "m", "--allow-missing", "--quiet"]
        assert run("pack", tmp_path / "i", dst, *options) == 0
        found = PackedDataset(dst)
        assert [int(found[i]["mask"].max()) for i in range(2)] == [0, 1]

    def test_a_source_by_name(self, src: Path, dst: Path) -> None:
        assert run("pack", src, dst, "--source", "flat", "--quiet") == 0
        again = dst.with_name("again")
        assert run("pack", src, again, "--flat", "--quiet") == 0
        assert contents(again) == contents(dst)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("--source zip", "'zip'.*table.*folder.*flat"),
            ("--fields n", "expected NAME=KIND, got 'n'"),
            ("--fields =int", "expected NAME=KIND, got '=int'"),
            ("--fields n=int", "fields does not apply to .*'folder', but to table"),
            ("--split val", "split does not apply to .*'folder', but to pairs"),
            ("--images x", "images does not apply to .*'folder', but to coco, table"),
            ("--flat --source tar", "flat does not apply to .*'tar', but to folder"),
            ("--flat --masks x", "--masks.*'pairs'.*--flat.*'folder': give one of them"),
            ("--labels t.csv --source tar", "labels does not apply to .*'tar', but to table"),
            ("--labels t.csv --flat", "--labels.*'table'.*--flat.*'folder': give one of them"),
            ("--labels t.csv --images x", "the source is the images' directory: not images"),
            ("--labels t.csv --masks x", "--masks.*'pairs'.*--labels.*'table': give one of them"),
        ],
    )
    def test_options_that_do_not_go_together(
        self, src: Path, dst: Path, options: str, message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("pack", src, dst, *options.split()) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(rf"fastdata.*: .*{message}.*\n", err)
        assert os.listdir(dst.parent) == []

    def test_a_pack_as_source(
        self, one: Path, dst: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("pack", one, dst) == 2
        assert "is a pack: convert, merge or subset" in capsys.readouterr().err

    def test_a_scheduler_that_is_not_there(
        self, src: Path, dst: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("pack", src, dst, "--scheduler", "nonsense://x") == 1
        assert re.search(r"no Dask scheduler|pip install", capsys.readouterr().err)
        assert os.listdir(dst.parent) == []


class TestAppend:
    def test_a_folder(
        self, one: Path, src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        more = write_tree(tmp_path / "more", 1, 2, seed=1)
        (more / "class_0").rename(more / "class_2")
        assert run("append", one, more) == 0
        out, err = capsys.readouterr()
        assert re.match(rf"{one}: 2 images in 3 classes, 0 rejected\n", out)
        assert err == ""
        assert PackedImageFolder(one).targets.tolist() == [0, 0, 1, 1, 2, 2, 2, 2]
        assert run("append", one, more, "--quiet", "--source", "folder") == 0
        assert capsys.readouterr() == ("", "")
        assert len(PackReader(one)) == 10

    def test_options_arrive(self, one: Path, src: Path, tmp_path: Path) -> None:
        (src / "class_0" / "bad.jpg").write_bytes(b"no image")
        (src / "empty").mkdir()
        options = "--shard-size 1 --workers 1 --allow-empty --quiet --check header"
        assert run("append", one, src, *options.split(), "--on-error", "fail") == 1
        assert len(PackReader(one)) == 6
        assert run("append", one, src, *options.split(), "--restart") == 0
        assert len(PackReader(one).manifest.shards) == 1 + 6
        assert PackReader(one).manifest.rejected == 1
        assert PackedImageFolder(one).classes[-1] == "empty"

    def test_what_the_pack_determines_is_no_option(
        self, one: Path, src: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for option in ("--storage=hdf5", "--encoding=raw", "--quality=5", "--overwrite"):
            assert run("append", one, src, option) == 2
            assert re.search(r"unrecognized arguments: --", capsys.readouterr().err)

    @pytest.mark.parametrize("swap", [False, True])
    def test_failures(
        self, one: Path, src: Path, swap: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = (src, src) if swap else (one, src.with_name("nowhere"))
        assert run("append", *arguments) == 1
        assert re.fullmatch(r"fastdata: .*(no pack|does not exist).*\n", capsys.readouterr().err)


class TestMerge:
    def test_two_packs(
        self, one: Path, tmp_path: Path, dst: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fastdata.pack_image_folder(
            write_tree(tmp_path / "b", 1, 2, seed=3), tmp_path / "two", encoding="keep", quiet=True
        )
        assert run("merge", one, tmp_path / "two", dst) == 0
        assert capsys.readouterr().out.startswith(f"{dst}: 8 images in 3 classes, 0 rejected\n")
        fastdata.merge([one, tmp_path / "two"], tmp_path / "same", quiet=True)
        assert contents(dst) == contents(tmp_path / "same")

    def test_options_arrive(self, one: Path, dst: Path) -> None:
        options = "--storage hdf5 --encoding jpeg --quality 55 --max-side 30 --shard-size 1 --quiet"
        assert run("merge", one, dst, *options.split()) == 0
        manifest = PackReader(dst).manifest
        assert manifest.storage == "hdf5"
        assert manifest.encoding == {"name": "jpeg", "quality": 55, "max_side": 30}
        assert len(manifest.shards) == 6
        assert run("merge", one, dst, "--quiet") == 1
        assert run("merge", one, dst, "--quiet", "--overwrite") == 0
        assert PackReader(dst).manifest.encoding == {"name": "keep"}

    def test_different_fields(
        self, one: Path, rich: Path, dst: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("merge", one, rich, dst) == 2
        assert "the packs have different fields" in capsys.readouterr().err

    def test_a_destination_is_needed(self, one: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("merge", one) == 2
        assert "DST" in capsys.readouterr().err


class TestSubset:
    @pytest.mark.parametrize(
        ("options", "wanted"),
        [
            (["--classes", "class_2,class_0"], {"classes": ["class_0", "class_2"]}),
            (["--count", "4"], {"count": 4}),
            (["--count", "4", "--seed", "7"], {"count": 4, "seed": 7}),
            (["--per-class", "1"], {"per_class": 1}),
            (["--shard-size", "1", "--storage", "hdf5"], {"shard_size": 1, "storage": "hdf5"}),
        ],
    )
    def test_as_the_function(
        self, one: Path, dst: Path, options: list[str], wanted: dict[str, Any]
    ) -> None:
        assert run("subset", one, dst, *options, "--quiet") == 0
        fastdata.subset(one, dst.with_name("same"), quiet=True, **wanted)
        assert contents(dst) == contents(dst.with_name("same"))

    def test_indices(self, one: Path, dst: Path, tmp_path: Path) -> None:
        keys = list(PackReader(one).keys)
        (tmp_path / "i.txt").write_text(f"5\n{keys[1]}\n")
        assert run("subset", one, dst, "--indices", tmp_path / "i.txt", "--quiet") == 0
        assert list(PackReader(dst).keys) == [keys[5], keys[1]]

    @pytest.mark.parametrize(
        ("options", "code", "message"),
        [
            ("--classes cat", 2, "has no class 'cat' (fastdata info lists them)"),
            ("--count 7", 2, "count must be 1 to 6, got 7"),
            ("--count x", 2, "'x'"),
            ("--per-class 0", 2, "per_class must be >= 1, got 0"),
            ("--indices nowhere.txt", 1, "nowhere.txt: cannot be read"),
        ],
    )
    def test_what_cannot_be(
        self, one: Path, dst: Path, options: str, code: int, message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        assert run("subset", one, dst, *options.split()) == code
        assert message in capsys.readouterr().err
        assert os.listdir(dst.parent) == []


class TestConvert:
    def test_another_storage_and_encoding(
        self, one: Path, dst: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("convert", one, dst, "--storage", "hdf5", "--encoding", "sliceable") == 0
        assert capsys.readouterr().out.startswith(f"{dst}: 6 images in 3 classes")
        old, new = PackedImageFolder(one), PackedImageFolder(dst)
        assert new.pack.manifest.storage == "hdf5"
        for i in range(6):
            np.testing.assert_array_equal(new[i][0], old[i][0])

    def test_smaller_images(self, one: Path, dst: Path) -> None:
        options = ["--encoding", "raw", "--resize-short", "10", "--quiet"]
        assert run("convert", one, dst, *options) == 0
        assert {min(PackedImageFolder(dst)[i][0].shape[:2]) for i in range(6)} == {10}

    def test_only_a_quality(self, one: Path, dst: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("convert", one, dst, "--quality", "50") == 2
        assert "quality applies to encoding 'jpeg' only, not to 'keep'" in capsys.readouterr().err
        assert run("convert", one, dst, "--quality", "50", "--encoding", "jpeg", "--quiet") == 0
        again = dst.with_name("again")
        assert run("convert", dst, again, "--quality", "40", "--quiet") == 0
        assert PackReader(again).manifest.encoding == {"name": "jpeg", "quality": 40}

    def test_a_damaged_pack(self, one: Path, dst: Path, capsys: pytest.CaptureFixture[str]) -> None:
        record = bytes(PackReader(one).read(2))
        shard = next(one.glob("shard*"))
        shard.write_bytes(shard.read_bytes().replace(record, bytes(len(record))))
        assert run("convert", one, dst, "--storage", "hdf5") == 1
        assert "record of sample 2 is damaged" in capsys.readouterr().err
        assert os.listdir(dst.parent) == []


class TestUnpack:
    @pytest.mark.parametrize("to", ["folder", "csv", "tar"])
    def test_to_any_format_and_back(
        self, rich: Path, tmp_path: Path, dst: Path, to: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "out"
        assert run("unpack", rich, out, "--to", to) == 0
        assert capsys.readouterr() == (f"{out}: 4 images\n", "")
        source = {"folder": out / "manifest.jsonl", "csv": out / "labels.csv", "tar": out}[to]
        assert run("pack", source, dst, "--encoding", "keep", "--quiet") == 0
        old, new = PackReader(rich), PackReader(dst)
        assert len(new) == 4
        for i in range(4):
            assert new.read_field(i, "image") == old.read_field(i, "image")
        if to != "tar":
            assert list(new.keys) == list(old.keys)
            assert new.manifest.classes == old.manifest.classes
        assert new.targets.tolist() == old.targets.tolist()
        if to == "folder":
            assert new.manifest.fields == old.manifest.fields
            assert [new.value(i, "b") for i in range(4)] == [old.value(i, "b") for i in range(4)]

    def test_a_format_that_is_none(
        self, rich: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("unpack", rich, tmp_path / "out", "--to", "zip") == 2
        assert re.search(r"'zip'.*folder.*csv.*tar", capsys.readouterr().err)

    def test_the_directory_itself_is_not_taken_for_classes(
        self, rich: Path, tmp_path: Path, dst: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("unpack", rich, tmp_path / "out", "--quiet") == 0
        assert run("pack", tmp_path / "out", dst) == 2
        assert f"pack {tmp_path / 'out' / 'manifest.jsonl'}" in capsys.readouterr().err


class TestVerify:
    def test_deep_on_sound_packs(
        self, one: Path, rich: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for path, count in ((one, 6), (rich, 4)):
            assert run("verify", path, "--deep") == 0
            out, err = capsys.readouterr()
            assert re.fullmatch(rf"{path}: {count} samples, .* all correct\n", out)
            assert err == ""

    def test_deep_finds_what_was_damaged_before_it_was_packed(
        self, src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        whole = encoded(picture(90, 120))
        (src / "class_1" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
        path = tmp_path / "p"
        fastdata.pack_image_folder(src, path, encoding="keep", check="header", quiet=True)
        assert run("verify", path, "--quiet") == 0
        assert run("verify", path, "--deep") == 1
        out = capsys.readouterr().out
        assert out.startswith(f"{path}: 1 problems\n")
        assert re.search(r"sample 2 \('class_1/cut\.jpg'\): field 'image': .*damaged", out)

    @pytest.mark.parametrize(
        ("kind", "value", "stored", "bad"),
        [
            ("json", {"a": 1}, b'{"a":1}', b'{"a":1]'),
            ("str", "text", b"text", b"te\xfft"),
            ("mask", np.zeros((8, 9), np.uint8), b"FDMK", b"FDMX"),
        ],
    )
    def test_deep_reads_every_kind_of_field(
        self, tmp_path: Path, kind: str, value: Any, stored: bytes, bad: bytes,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        """A value that is wrong although its checksum is right, as a faulty writer would do."""
        path = tmp_path / "p"
        given, kinds = {"image": picture(8, 9), "x": value}, {"image": "image", "x": kind}
        fastdata.pack([given], path, fields=kinds, quiet=True)
        shard, table = next(path.glob("shard*")), np.load(path / "table.npy")
        shard.write_bytes(shard.read_bytes().replace(stored, bad))
        table["crc32"] = zlib.crc32(PackReader(path).read(0))
        np.save(path / "table.npy", table)
        assert run("verify", path) == 1  # the files' checksums
        assert "field 'x'" not in capsys.readouterr().out
        assert run("verify", path, "--deep") == 1
        assert "sample 0 ('00000000'): field 'x': " in capsys.readouterr().out


class TestInfo:
    def test_fields_and_samples_by_class(
        self, rich: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("info", rich) == 0
        text = capsys.readouterr().out
        assert re.search(r"fields +image: image, target: int, mask: mask, boxes: boxes, b", text)
        assert re.search(r"per class +2 to 2 samples\n", text)
        assert run("info", rich, "--json") == 0
        values = json.loads(capsys.readouterr().out)
        assert values["classes"] == ["2", "10"]
        assert values["class_counts"] == [2, 2]
        assert values["fields"]["boxes"] == "boxes"

    def test_classes_that_are_empty_or_missing(
        self, src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (src / "class_1b").mkdir()
        fastdata.pack_image_folder(src, tmp_path / "p", allow_empty=True, quiet=True)
        assert run("info", tmp_path / "p", "--json") == 0
        assert json.loads(capsys.readouterr().out)["class_counts"] == [2, 2, 0, 2]
        fastdata.pack_image_folder(src, tmp_path / "q", flat=True, quiet=True)
        assert run("info", tmp_path / "q", "--json") == 0
        assert json.loads(capsys.readouterr().out)["class_counts"] == []
        assert run("info", tmp_path / "q") == 0
        assert "per class" not in capsys.readouterr().out


def test_as_a_process(one: Path, src: Path) -> None:
    command = [sys.executable, "-m", "fastdata", "append", str(one), str(src)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{one}: 6 images in 3 classes, 0 rejected\n")
    assert len(PackReader(one)) == 12
