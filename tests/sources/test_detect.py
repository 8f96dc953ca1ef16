"""Which kind of source is at a path, and what may be said about it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.images import encoded, picture, write_image, write_tree
from helpers.writers.coco import document, written
from helpers.writers.lmdb import basicsr, write_lmdb
from helpers.writers.recordio import image_record, write_rec
from helpers.writers.tar import write_tar
from helpers.writers.tfrecord import inception, write_records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastdata
from fastdata.errors import (
    EmptySourceError,
    FastdataError,
    OptionError,
    SourceError,
    SourceNotFoundError,
)
from fastdata.sources.detect import SOURCES, detect, open_source
from fastdata.sources.table.source import list_table

JPEG = encoded(picture(20, 30))
WEBDATASET = [("0.jpg", JPEG), ("0.cls", b"1"), ("1.jpg", JPEG), ("1.cls", b"0")]


def classes(root: Path) -> Path:
    return write_tree(root / "photos", 2, 2)


def flat(root: Path) -> Path:
    return write_image(root / "photos" / "a.jpg").parent


def table(root: Path, name: str = "labels.csv", text: str = "path,target\na.jpg,0\n") -> Path:
    write_image(root / "a.jpg")
    (root / name).write_text(text)
    return root / name


def pairs(root: Path) -> Path:
    for i in range(2):
        write_image(root / "set" / "images" / f"{i}.jpg", seed=i)
        mask = np.full((40, 60, 3), i, np.uint8)
        (root / "set" / "masks").mkdir(exist_ok=True)
        (root / "set" / "masks" / f"{i}.png").write_bytes(encoded(mask, ".png"))
    return root / "set"


def coco(root: Path) -> Path:
    for i in (5, 7, 9):
        write_image(root / "coco" / "images" / f"{i:03d}.jpg")
    written(root / "coco", document())
    return root / "coco"


LINES = '{"path": "a.jpg", "target": 0}\n'
PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "classes": (classes, "folder"),
    "CSV": (table, "table"),
    "CSV in capitals": (lambda root: table(root, "LABELS.CSV"), "table"),
    "JSON Lines": (lambda root: table(root, "l.jsonl", LINES), "table"),
    "ndjson": (lambda root: table(root, "l.ndjson", LINES), "table"),
    "JSON Lines called json": (lambda root: table(root, "l.json", LINES), "table"),
    "COCO's folder": (coco, "coco"),
    "COCO's file": (lambda root: coco(root) / "annotations" / "instances_val.json", "coco"),
    "images and masks": (pairs, "pairs"),
    "tar": (lambda root: write_tar(root / "a.tar", WEBDATASET), "tar"),
    "tar of another name": (lambda root: write_tar(root / "shard-0", WEBDATASET), "tar"),
    "folder of tar": (lambda root: write_tar(root / "t" / "0.tar", WEBDATASET).parent, "tar"),
    "tar by a pattern": (
        lambda root: write_tar(root / "t-00.tar", WEBDATASET).with_name("t-{00..00}.tar"), "tar",
    ),
    "TFRecord": (lambda root: write_records(root / "a.tfrecord", [inception(0)]), "tfrecord"),
    "TFRecord shard": (
        lambda root: write_records(root / "train-00000-of-00001", [inception(0)]), "tfrecord",
    ),
    "folder of TFRecords": (
        lambda root: write_records(root / "d" / "t-00000-of-00001", [inception(0)]).parent,
        "tfrecord",
    ),
    "RecordIO": (
        lambda root: write_rec(root / "a.rec", [image_record(1.0, 0, JPEG)], [0]), "recordio",
    ),
    "LMDB": (lambda root: basicsr(root / "a.lmdb", {"a.png": JPEG}), "lmdb"),
    "LMDB in one file": (lambda root: write_lmdb(root / "a.lmdb", {b"a.jpg": JPEG}), "lmdb"),
}  # fmt: skip


class TestDetect:
    @pytest.mark.parametrize(("make", "kind"), PLACES.values(), ids=[*PLACES])
    def test_every_kind_is_found_and_can_be_packed(
        self, tmp_path: Path, make: Callable[[Path], Path], kind: str
    ) -> None:
        (tmp_path / "made").mkdir()
        path = make(tmp_path / "made")
        assert detect(str(path)) == kind
        source = open_source(path)
        assert source.name == kind or kind == "folder"
        assert len(source) > 0
        assert len(source) == len(open_source(path, kind))
        report = fastdata.pack(source, tmp_path / "the.pack", workers=1, quiet=True)
        assert report.images == len(source)
        assert sorted(os.listdir(tmp_path)) == ["made", "the.pack"]

    def test_a_folder_without_classes_has_to_be_called_so(self, tmp_path: Path) -> None:
        with pytest.raises(EmptySourceError, match=r"use flat \(--flat\)"):
            open_source(flat(tmp_path))
        source = open_source(tmp_path / "photos", "flat")
        assert (source.name, source.classes, len(source)) == ("flat", [], 1)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(EmptySourceError, match="no class directories"):
            open_source(tmp_path)

    def test_a_folder_of_classes_that_ends_in_lmdb_is_still_one(self, tmp_path: Path) -> None:
        path = write_tree(tmp_path / "photos.lmdb", 2, 1)
        assert detect(str(path)) == "folder"

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(SourceNotFoundError, match="nowhere does not exist"):
            open_source(tmp_path / "nowhere")
        for name in ("nowhere.csv", "nowhere.tar", "nowhere.json"):
            with pytest.raises(SourceNotFoundError):
                open_source(tmp_path / name)

    @pytest.mark.parametrize("content", [b"", b"text", JPEG, bytes(600)])
    def test_a_file_of_no_known_kind(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.xyz").write_bytes(content)
        with pytest.raises(OptionError, match=r"a\.xyz: no kind of source .* \(--source\)"):
            open_source(tmp_path / "a.xyz")

    def test_a_pack_is_not_a_source(self, tmp_path: Path) -> None:
        fastdata.pack([picture(8, 8)], tmp_path / "p", quiet=True)
        with pytest.raises(OptionError, match="is a pack: convert, merge or subset"):
            open_source(tmp_path / "p")

    @pytest.mark.parametrize(("to", "name"), [("folder", "manifest.jsonl"), ("csv", "labels.csv")])
    def test_what_was_unpacked_with_a_table(self, tmp_path: Path, to: str, name: str) -> None:
        given = [{"image": picture(8, 8), "mask": picture(8, 8)[:, :, 0], "n": 1}]
        fastdata.pack(given, tmp_path / "p", quiet=True)
        out = tmp_path / "out"
        fastdata.unpack(tmp_path / "p", out, to=to, quiet=True)
        with pytest.raises(OptionError, match=f"unpacked .* pack {out / name}, or"):
            open_source(out)
        assert len(open_source(out / name)) == 1
        assert len(open_source(out, "flat")) == 2 - (to == "csv")

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        data=st.binary(max_size=700),
        name=st.sampled_from(["a", "a.tar", "a.json", "a.csv", "a.rec", "a.lmdb", "a.tfrecord"]),
    )
    def test_any_file_is_a_source_or_an_error_of_ours(
        self, tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
    ) -> None:
        path = tmp_path_factory.mktemp("any") / name
        path.write_bytes(data)
        try:
            source = open_source(path)
        except FastdataError:
            return
        assert len(source) > 0


class TestOptions:
    @pytest.mark.parametrize("kind", ["zip", "", "Folder", "packs", "labels"])
    def test_a_kind_that_is_none(self, tmp_path: Path, kind: str) -> None:
        message = f"source must be one of coco, pairs, table, folder, flat, .*; got {kind!r}"
        with pytest.raises(OptionError, match=message):
            open_source(classes(tmp_path), kind)

    @pytest.mark.parametrize(
        ("make", "options", "message"),
        [
            (classes, {"images": "x"}, "images does not apply to .*'folder', but to coco, table"),
            (
                table,
                {"allow_empty": True},
                "allow_empty does not apply to .*'table', but to folder",
            ),
            (table, {"split": "val"}, "split does not apply to .*'table', but to pairs"),
            (coco, {"fields": {"x": "int"}}, "fields does not apply to .*'coco', but to table"),
            (classes, {"allow_missing": True}, "allow_missing .*'folder', but to pairs"),
            (classes, {"nonsense": 1}, "nonsense does not apply to .*'folder'"),
        ],
    )
    def test_an_option_of_another_kind(
        self, tmp_path: Path, make: Callable[[Path], Path], options: Any, message: str
    ) -> None:
        with pytest.raises(OptionError, match=message):
            open_source(make(tmp_path), **options)

    def test_options_that_are_not_given(self, tmp_path: Path) -> None:
        everything = {option.name: None for kind in SOURCES.values() for option in kind.options}
        source = open_source(classes(tmp_path), **{**everything, "allow_empty": False})
        assert len(source) == 4

    def test_masks_make_it_pairs(self, tmp_path: Path) -> None:
        for i in range(3):
            write_image(tmp_path / "photos" / f"{i}.jpg", seed=i)
            if i:
                write_image(tmp_path / "labels" / f"{i}.png", seed=i)
        images, masks = tmp_path / "photos", tmp_path / "labels"
        with pytest.raises(SourceError, match="mask"):
            open_source(images, masks=masks)
        source = open_source(images, masks=masks, allow_missing=True)
        assert (source.name, len(source)) == ("pairs", 2)
        assert list(source.fields) == ["image", "mask"]
        with pytest.raises(OptionError, match="masks does not apply to"):
            open_source(images, "flat", masks=masks)

    def test_images_of_a_table_and_of_coco(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photos" / "a.jpg")
        (tmp_path / "t.csv").write_text("path,target\na.jpg,0\n")
        source = open_source(tmp_path / "t.csv", images=tmp_path / "photos")
        assert source.item(0).values["image"].read() == (tmp_path / "photos/a.jpg").read_bytes()
        path = written(tmp_path, document(), "c.json")
        for i in (5, 7, 9):
            write_image(tmp_path / "photos" / f"{i:03d}.jpg")
        assert len(open_source(path, images=tmp_path / "photos")) == 3

    def test_fields_of_a_table(self, tmp_path: Path) -> None:
        path = table(tmp_path, text="path,target,n,m\na.jpg,0,5,6\n")
        source = open_source(path, fields={"n": "str", "m": None})
        assert {name: str(kind) for name, kind in source.fields.items()} == {
            "image": "image", "target": "int", "n": "str",
        }  # fmt: skip
        assert source.digest() == list_table(path, fields={"n": "str", "m": None}).digest()

    def test_allow_empty(self, tmp_path: Path) -> None:
        (classes(tmp_path) / "nothing").mkdir()
        with pytest.raises(EmptySourceError):
            open_source(tmp_path / "photos")
        assert open_source(tmp_path / "photos", allow_empty=True).classes[-1] == "nothing"

    def test_saying_what_it_is_goes_before_what_it_looks_like(self, tmp_path: Path) -> None:
        path = written(tmp_path, json.dumps({"path": "a.jpg", "images": []}), "t.json")
        write_image(tmp_path / "a.jpg")
        assert detect(str(path)) == "coco"
        assert open_source(path, "table").name == "table"
        assert open_source(pairs(tmp_path), "folder").classes == ["images", "masks"]
