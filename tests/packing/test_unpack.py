"""Unpacking: the source tree again, or the stored images under the right names."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.images import contents, encoded, picture, write_image, write_tree
from helpers.packs import record, write_pack
from numpy.typing import NDArray

from fastdata import PackedImageFolder, pack_image_folder, unpack
from fastdata.errors import (
    OptionError,
    PackExistsError,
    PackFormatError,
    PackingError,
    PackNotFoundError,
)
from fastdata.store import PackReader


def pack(src: Path, dst: Path, **options: Any) -> Path:
    pack_image_folder(src, dst, **{"workers": 1, "quiet": True, **options})
    return dst


def keep(src: Path, dst: Path, **options: Any) -> Path:
    """Pack the files' own bytes."""
    return pack(src, dst, encoding="keep", **options)


def decoded(data: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "src")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where to unpack: alone in a directory, so that leftovers beside it can be seen."""
    (tmp_path / "outs").mkdir()
    return tmp_path / "outs" / "out"


class TestKeep:
    def test_the_tree_is_the_source(
        self, storage: str, src: Path, out: Path, tmp_path: Path
    ) -> None:
        write_image(src / "class_0" / "deep" / "er" / "é\n🎈.jpg")
        keep(src, tmp_path / "p", storage=storage, shard_size=9000)
        assert unpack(tmp_path / "p", out) == 13
        assert contents(out) == contents(src)
        assert os.listdir(out.parent) == ["out"]

    def test_flat(self, storage: str, src: Path, out: Path, tmp_path: Path) -> None:
        unpack(keep(src, tmp_path / "p", storage=storage, flat=True), out)
        assert contents(out) == contents(src)

    def test_empty_classes_come_back_so_that_targets_stay(
        self, src: Path, out: Path, tmp_path: Path
    ) -> None:
        (src / "class_1b").mkdir()
        unpack(keep(src, tmp_path / "p", allow_empty=True), out)
        again = keep(out, tmp_path / "q", allow_empty=True)
        assert contents(again) == contents(tmp_path / "p")

    def test_what_was_rejected_is_not_there(self, src: Path, out: Path, tmp_path: Path) -> None:
        good = contents(src)
        (src / "class_0" / "bad.jpg").write_bytes(b"no image")
        unpack(keep(src, tmp_path / "p"), out)
        assert contents(out) == good

    def test_parents_are_made(self, src: Path, out: Path, tmp_path: Path) -> None:
        unpack(keep(src, tmp_path / "p"), out / "a" / "b")
        assert contents(out / "a" / "b") == contents(src)


class TestLabels:
    @pytest.mark.parametrize("targets", [["dog", "cat", "dog"], ["5", "0", "2"], ["-1", "3", "4"]])
    def test_they_come_back(
        self, storage: str, src: Path, out: Path, tmp_path: Path, targets: list[str]
    ) -> None:
        names = ["class_2/image_000.jpg", "class_0/image_001.png", "class_2/image_000.jpg"]
        rows = list(zip(names, targets, strict=True))
        with (tmp_path / "labels.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("path", "target"), *rows])
        keep(src, tmp_path / "p", storage=storage, labels=tmp_path / "labels.csv")
        unpack(tmp_path / "p", out)
        images = {name: (src / name).read_bytes() for name in names}
        found = contents(out)
        with (out / "labels.csv").open(encoding="utf-8", newline="") as file:
            assert list(csv.reader(file)) == [["path", "target"], *map(list, rows)]
        del found["labels.csv"], found["labels.fields.json"]
        assert found == images
        keep(out, tmp_path / "q", storage=storage, labels=out / "labels.csv")
        assert contents(tmp_path / "q") == contents(tmp_path / "p")


class TestOtherEncodings:
    @pytest.mark.parametrize(
        ("encoding", "suffix", "others"),
        [("png", ".png", ()), ("raw", ".png", ()), ("jpeg", ".jpg", (".jpeg", ".JPG"))],
    )
    def test_names_and_pixels(
        self, storage: str, out: Path, tmp_path: Path, encoding: str, suffix: str, others: Any
    ) -> None:
        src = write_tree(tmp_path / "src", formats=(".jpg", ".png", ".bmp"))
        for other in others:
            write_image(src / "class_0" / f"other{other}")
        pack(src, tmp_path / "p", storage=storage, encoding=encoding)
        unpack(tmp_path / "p", out)
        right = (suffix, *others)
        expected = {key if key.endswith(right) else key + suffix: key for key in contents(src)}
        found = contents(out)
        assert set(found) == set(expected)
        magic = {".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff"}[suffix]
        dataset = PackedImageFolder(tmp_path / "p")
        images = {dataset.samples[i][0]: dataset[i][0] for i in range(len(dataset))}
        for key, data in found.items():
            assert data.startswith(magic)
            np.testing.assert_array_equal(decoded(data)[:, :, ::-1], images[expected[key]])

    def test_resized_images(self, out: Path, src: Path, tmp_path: Path) -> None:
        unpack(pack(src, tmp_path / "p", encoding="raw", max_side=20), out)
        assert {max(decoded(data).shape) for data in contents(out).values()} == {20}

    @pytest.mark.parametrize("encoding", ["png", "raw"])
    def test_no_image_is_lost_where_names_meet(
        self, out: Path, tmp_path: Path, encoding: str
    ) -> None:
        names = ["a.jpg", "a.jpg.png", "a.jpg.png.bmp"]
        for seed, name in enumerate(names):
            write_image(tmp_path / "src" / "c" / name, seed=seed)
        assert unpack(pack(tmp_path / "src", tmp_path / "p", encoding=encoding), out) == 3
        found = [decoded(data) for data in contents(out).values()]
        sources = [decoded(data) for data in contents(tmp_path / "src").values()]
        assert len(found) == 3
        assert sorted(map(bytes, found)) == sorted(map(bytes, sources))


class TestDestination:
    @pytest.mark.parametrize("kind", ["file", "directory", "link to nothing"])
    def test_a_taken_path_stays_as_it_is(
        self, src: Path, out: Path, tmp_path: Path, kind: str
    ) -> None:
        if kind == "file":
            out.write_text("precious")
        elif kind == "directory":
            out.mkdir()
        else:
            out.symlink_to("nowhere")
        pack(src, tmp_path / "p")
        with pytest.raises(PackExistsError, match=r"out exists; unpack to a new path$"):
            unpack(tmp_path / "p", out)
        assert os.listdir(out.parent) == ["out"]
        assert out.is_symlink() == (kind == "link to nothing")
        assert kind != "file" or out.read_text() == "precious"

    def test_not_inside_of_the_pack(self, src: Path, tmp_path: Path) -> None:
        before = contents(pack(src, tmp_path / "p"))
        with pytest.raises(OptionError, match="lies inside of"):
            unpack(tmp_path / "p", tmp_path / "p" / "out")
        assert contents(tmp_path / "p") == before

    def test_no_pack(self, out: Path, tmp_path: Path) -> None:
        with pytest.raises(PackNotFoundError):
            unpack(tmp_path, out)
        assert os.listdir(out.parent) == []

    def test_a_disk_that_is_full(self, src: Path, out: Path, tmp_path: Path) -> None:
        resource = pytest.importorskip("resource")
        pack(src, tmp_path / "p")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
        try:
            with pytest.raises(PackingError, match=r"cannot write .*out"):
                unpack(tmp_path / "p", out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert not out.exists()
        unpack(tmp_path / "p", out)
        whole = unpack(tmp_path / "p", tmp_path / "whole")
        assert whole == 12
        assert contents(out) == contents(tmp_path / "whole")
        assert os.listdir(out.parent) == ["out"]


def crafted(
    path: Path,
    keys: list[str],
    storage: str,
    *,
    classes: list[str] | None = None,
    **values: str,
) -> Path:
    """A pack with any keys at all, each of another image."""
    records = [
        record(k, encoded(picture(20, 30, i), ".png"), 0, 20, 30) for i, k in enumerate(keys)
    ]
    return write_pack(path, [records], storage, classes=classes or ["c"], **values)


class TestHostilePacks:
    @pytest.mark.parametrize(
        "key", ["../evil.png", "/tmp/evil.png", "a/../../evil.png", "..", "", "/", ".", "a\0b.png"]
    )
    def test_keys_stay_inside(self, storage: str, out: Path, tmp_path: Path, key: str) -> None:
        crafted(tmp_path / "p", ["c/good.png", key], storage)
        with pytest.raises(PackFormatError, match="is not a"):
            unpack(tmp_path / "p", out)
        assert os.listdir(out.parent) == []
        assert list(tmp_path.rglob("evil*")) == []

    @pytest.mark.parametrize("name", ["../evil", "/tmp/evil", ".."])
    def test_classes_stay_inside(self, out: Path, tmp_path: Path, name: str) -> None:
        crafted(tmp_path / "p", ["c/good.png"], "lmdb", classes=[name])
        with pytest.raises(PackFormatError, match="not a path inside"):
            unpack(tmp_path / "p", out)
        assert os.listdir(out.parent) == []
        assert list(tmp_path.rglob("evil*")) == []

    def test_one_key_for_two_images(self, out: Path, tmp_path: Path) -> None:
        crafted(tmp_path / "p", ["c/a.png", "c/a.png"], "lmdb")
        with pytest.raises(PackFormatError, match=r"'c/a\.png' would be written twice"):
            unpack(tmp_path / "p", out)
        assert os.listdir(out.parent) == []

    def test_a_key_below_another(self, out: Path, tmp_path: Path) -> None:
        crafted(tmp_path / "p", ["c/a.png", "c/a.png/b.png"], "lmdb")
        with pytest.raises(PackFormatError, match=r"'c/a.png/b.png' would lie below a file"):
            unpack(tmp_path / "p", out)
        assert os.listdir(out.parent) == []

    def test_an_encoding_from_the_future(self, out: Path, tmp_path: Path) -> None:
        crafted(tmp_path / "p", ["c/a.png"], "lmdb", encoding="jpeg-xl")
        with pytest.raises(PackFormatError, match=r"unknown encoding 'jpeg-xl'.*upgrade"):
            unpack(tmp_path / "p", out)

    def test_a_raw_record_of_another_size(self, out: Path, tmp_path: Path) -> None:
        crafted(tmp_path / "p", ["c/a.png"], "lmdb", encoding="raw")
        with pytest.raises(PackFormatError, match="field 'image': expected 20x30x3 raw bytes"):
            unpack(tmp_path / "p", out)

    def test_a_target_without_a_class(self, out: Path, tmp_path: Path) -> None:
        crafted(tmp_path / "p", ["c/a.png"], "lmdb", source="labels")
        manifest = json.loads((tmp_path / "p" / "pack.json").read_text("utf-8"))
        table = np.load(tmp_path / "p" / "table.npy")
        table["target"] = 1
        np.save(tmp_path / "p" / "table.npy", table)
        assert manifest["classes"] == ["c"]
        with pytest.raises(PackFormatError, match="has target 1, not a class"):
            unpack(tmp_path / "p", out)

    def test_a_damaged_record_is_not_passed_on(
        self, storage: str, src: Path, out: Path, tmp_path: Path
    ) -> None:
        pack(src, tmp_path / "p", storage=storage)
        reader = PackReader(tmp_path / "p")
        record, key = bytes(reader.read(4)), reader.keys[4]
        reader.close()
        shard = next((tmp_path / "p").glob("shard*"))
        data = bytearray(shard.read_bytes())
        data[data.index(record) + 100] ^= 1
        shard.write_bytes(data)
        assert key in map(str, reader.keys)
        with pytest.raises(PackFormatError, match=r"record of sample 4 is damaged"):
            unpack(tmp_path / "p", out)
        assert os.listdir(out.parent) == []

    def test_a_damaged_key(self, src: Path, out: Path, tmp_path: Path) -> None:
        keys = pack(src, tmp_path / "p") / "keys.bin"
        keys.write_bytes(b"\xff" + keys.read_bytes()[1:])
        with pytest.raises(PackFormatError, match="key of sample 0 is damaged"):
            unpack(tmp_path / "p", out)
