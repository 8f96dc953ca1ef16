"""Appending: new shards beside the old ones, and nobody who has the pack open notices."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.images import contents, picture, write_image, write_tree
from PIL import Image

import fastdata
from fastdata import PackedDataset, PackedImageFolder, append
from fastdata.errors import (
    EmptySourceError,
    OptionError,
    PackExistsError,
    PackingError,
    PackNotFoundError,
    SourceError,
)
from fastdata.sources.detect import open_source
from fastdata.store import PackReader

FIELDS = {"image": "image", "target": "int", "mask": "mask", "s": "str", "v": "int64[?]"}


def samples(first: int, stop: int) -> list[dict[str, Any]]:
    return [
        {
            "key": f"k{i}", "image": picture(8 + i % 3, 12, i), "target": i % 3, "s": f"s{i}",
            "mask": np.full((8 + i % 3, 12), i, np.uint8), "v": [i] * (i % 3),
        }
        for i in range(first, stop)
    ]  # fmt: skip


def pack(given: Any, path: Path, **options: Any) -> Path:
    options = {"fields": FIELDS, "classes": ["a", "b", "c"], "workers": 1, "quiet": True} | options
    fastdata.pack(given, path, **options)
    return path


def folder(root: Path, names: str, per_class: int = 2, seed: int = 0) -> Path:
    """An image folder with these classes."""
    write_tree(root, len(names), per_class, formats=(".jpg", ".png"), seed=seed)
    for i, name in enumerate(names):
        (root / f"class_{i}").rename(root / name)
    return root


def rows(path: Path) -> list[tuple[str, int, bytes, dict[str, Any]]]:
    """Key, target, record and columns of each sample."""
    reader = PackReader(path, "always")
    return [
        (
            key,
            int(reader.targets[i]),
            bytes(reader.read(i)),
            {name: column[i].tolist() for name, column in reader.columns.items()},
        )
        for i, key in enumerate(reader.keys)
    ]


def named(path: Path) -> list[tuple[str, str]]:
    dataset = PackedImageFolder(path)
    return [(key, dataset.classes[target]) for key, target in dataset.samples]


def old_files(path: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(path).items() if name.startswith("shard")}


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    (tmp_path / "packs").mkdir()
    return tmp_path / "packs" / "the.pack"


class TestContent:
    @pytest.mark.parametrize("encoding", ["sliceable", "keep", "jpeg", "png", "raw"])
    def test_it_holds_the_samples_of_both(
        self, dst: Path, storage: str, encoding: str, tmp_path: Path
    ) -> None:
        pack(samples(0, 5), dst, encoding=encoding, storage=storage)
        before = set(contents(dst))
        report = append(dst, samples(5, 9), quiet=True)
        assert (report.images, report.rejected, report.classes) == (4, 0, 3)
        assert "appended to the 5 samples that were there" in str(report)
        written = {name: data for name, data in contents(dst).items() if name not in before}
        written["pack.json"] = (dst / "pack.json").read_bytes()
        assert report.bytes_out == sum(map(len, written.values()))
        whole = pack(samples(0, 9), tmp_path / "whole", encoding=encoding, storage=storage)
        assert rows(dst) == rows(whole)
        assert PackReader(dst).manifest.encoding == PackReader(whole).manifest.encoding
        assert fastdata.verify_pack(dst, deep=True, quiet=True).problems == []
        found, expected = PackedDataset(dst), PackedDataset(whole)
        for i in range(9):
            assert found[i]["s"] == expected[i]["s"]
            np.testing.assert_array_equal(found[i]["mask"], expected[i]["mask"])
            np.testing.assert_array_equal(found[i]["v"], expected[i]["v"])

    def test_the_bytes_of_the_old_shards_stay(self, dst: Path, storage: str) -> None:
        before = old_files(pack(samples(0, 5), dst, storage=storage, shard_size=2000))
        append(dst, samples(5, 9), shard_size=2000, quiet=True)
        after = old_files(dst)
        assert len(before) > 1
        assert len(after) > len(before)
        assert {name: after[name] for name in before} == before

    def test_several_times_in_a_row(self, dst: Path, tmp_path: Path) -> None:
        pack(samples(0, 3), dst)
        for i in range(3, 6):
            append(dst, samples(i, i + 1), quiet=True)
            manifest = PackReader(dst).manifest
            assert (manifest.generation, len(manifest.shards)) == (i - 2, i - 1)
            assert {entry.file for entry in manifest.entries} | {"pack.json"} == set(
                os.listdir(dst)
            )
        assert rows(dst) == rows(pack(samples(0, 6), tmp_path / "whole"))
        assert os.listdir(dst.parent) == ["the.pack"]
        assert fastdata.verify_pack(dst, deep=True, quiet=True).ok

    def test_fields_whose_names_end_in_a_number(self, dst: Path) -> None:
        given = [{"image": picture(8, 8), "a": i, "a.1": -i, "a.2": 10 * i} for i in range(4)]
        kinds = {"image": "image", "a": "int", "a.1": "int", "a.2": "int"}
        pack(given[:2], dst, fields=kinds)
        append(dst, given[2:3], quiet=True)
        append(dst, given[3:], quiet=True)
        found = PackedDataset(dst)
        assert [[found[i][n] for n in ("a", "a.1", "a.2")] for i in range(4)] == [
            [i, -i, 10 * i] for i in range(4)
        ]
        assert fastdata.verify_pack(dst, quiet=True).problems == []

    @pytest.mark.parametrize("iterable", [iter, tuple, lambda given: (one for one in given)])
    def test_an_iterable(self, dst: Path, tmp_path: Path, iterable: Any) -> None:
        pack(iterable(samples(0, 3)), dst)
        append(dst, iterable(samples(3, 6)), quiet=True)
        assert rows(dst) == rows(pack(samples(0, 6), tmp_path / "whole"))

    def test_tuples_are_in_the_packs_order(self, dst: Path) -> None:
        kinds = {"image": "image", "s": "str", "target": "int"}
        pack([(picture(8, 8), "x", 1)], dst, fields=kinds)
        append(dst, [(picture(8, 8, 1), "y", 2)], quiet=True)
        assert [PackedDataset(dst)[i]["s"] for i in (0, 1)] == ["x", "y"]
        assert PackReader(dst).targets.tolist() == [1, 2]

    def test_the_result_can_be_merged_converted_and_unpacked(
        self, dst: Path, tmp_path: Path
    ) -> None:
        pack(samples(0, 3), dst)
        append(dst, samples(3, 6), quiet=True)
        fastdata.convert(dst, tmp_path / "b", quiet=True)
        assert rows(tmp_path / "b") == rows(dst)
        assert fastdata.unpack(dst, tmp_path / "out", quiet=True) == 6

    def test_through_a_link(self, dst: Path, tmp_path: Path) -> None:
        pack(samples(0, 3), tmp_path / "real")
        dst.symlink_to(tmp_path / "real")
        append(dst, samples(3, 6), quiet=True)
        assert dst.is_symlink()
        assert len(PackReader(tmp_path / "real")) == 6

    def test_by_an_executor(self, dst: Path, tmp_path: Path) -> None:
        src, more = folder(tmp_path / "src", "ab"), folder(tmp_path / "more", "bc", seed=1)
        for path, options in ((dst, {}), (tmp_path / "other", {"workers": 2})):
            fastdata.pack_image_folder(src, path, quiet=True)
            with ThreadPoolExecutor(2) as pool:
                given = options or {"executor": pool}
                append(path, open_source(more), shard_size=4000, quiet=True, **given)
        assert contents(dst) == contents(tmp_path / "other")


class TestClasses:
    def test_old_ones_keep_their_numbers_and_new_ones_come_behind(
        self, dst: Path, tmp_path: Path
    ) -> None:
        fastdata.pack_image_folder(folder(tmp_path / "one", "bd"), dst, quiet=True)
        before = named(dst)
        report = append(dst, open_source(folder(tmp_path / "two", "abc", seed=1)), quiet=True)
        assert report.classes == 4
        assert PackedImageFolder(dst).classes == ["b", "d", "a", "c"]
        assert named(dst) == before + [(key, key[0]) for key in sorted(contents(tmp_path / "two"))]

    def test_those_of_a_dataset_are_matched_by_name(self, dst: Path) -> None:
        class Named(list[Any]):
            classes = ("new", "b")

        pack(samples(0, 3), dst)
        append(dst, Named({**one, "target": i} for i, one in enumerate(samples(3, 5))), quiet=True)
        assert PackedImageFolder(dst).classes == ["a", "b", "c", "new"]
        assert PackReader(dst).targets.tolist() == [0, 1, 2, 3, 1]

    def test_targets_by_name_and_by_number(self, dst: Path) -> None:
        pack(samples(0, 3), dst)
        more = [{**one, "target": t} for one, t in zip(samples(3, 6), ["c", 1, -1], strict=True)]
        append(dst, more, quiet=True)
        assert PackReader(dst).targets.tolist() == [0, 1, 2, 2, 1, -1]
        assert fastdata.verify_pack(dst, quiet=True).ok

    @pytest.mark.parametrize("target", ["d", 3, -2])
    def test_targets_that_nobody_knows(self, dst: Path, target: Any) -> None:
        before = contents(pack(samples(0, 3), dst))
        with pytest.raises(SourceError, match="3 classes"):
            append(dst, [{**samples(3, 4)[0], "target": target}], quiet=True)
        assert contents(dst) == before

    def test_a_folder_without_classes(self, dst: Path, tmp_path: Path) -> None:
        src = folder(tmp_path / "one", "ab")
        fastdata.pack_image_folder(src, dst, quiet=True)
        append(dst, open_source(src, "flat"), quiet=True)
        assert PackReader(dst).targets.tolist() == [0, 0, 1, 1, -1, -1, -1, -1]
        assert fastdata.verify_pack(dst, quiet=True).ok


class TestFiles:
    def test_a_torchvision_folder_is_appended_as_its_files(self, dst: Path, tmp_path: Path) -> None:
        class Folder(list[Any]):
            def __init__(self, root: Path) -> None:
                self.root, self.classes, self.loader = str(root), ["b", "c"], Image.open
                keys = sorted(contents(root))
                self.samples = [(str(root / key), "bc".index(key[0])) for key in keys]
                super().__init__(self.samples)

        fastdata.pack_image_folder(folder(tmp_path / "one", "ab"), dst, encoding="keep", quiet=True)
        more = folder(tmp_path / "two", "bc", seed=1)
        append(dst, Folder(more), quiet=True)
        found = {key: record for key, _, record, _ in rows(dst)[4:]}
        assert found == contents(more)
        assert named(dst)[4:] == [(key, key[0]) for key in sorted(contents(more))]

    def test_a_table(self, dst: Path, tmp_path: Path) -> None:
        for i in range(4):
            write_image(tmp_path / "i" / f"{i}.png", 8, 9, i)
        for name, lines in (("a", (0, 1)), ("b", (2, 3))):
            text = "".join(f"{i}.png,{'xy'[i % 2]},{i}\n" for i in lines)
            (tmp_path / "i" / f"{name}.csv").write_text("path,target,n\n" + text)
        fastdata.pack(open_source(tmp_path / "i" / "a.csv"), dst, quiet=True)
        append(dst, open_source(tmp_path / "i" / "b.csv"), quiet=True)
        assert named(dst) == [("0.png", "x"), ("1.png", "y"), ("2.png", "x"), ("3.png", "y")]
        assert PackReader(dst).columns["n"].tolist() == [0, 1, 2, 3]


class TestRejections:
    def test_old_and_new_ones_are_listed(self, dst: Path) -> None:
        pack([*samples(0, 2), {**samples(2, 3)[0], "s": 5}], dst)
        report = append(dst, [{**samples(3, 4)[0], "image": b"no"}, *samples(4, 5)], quiet=True)
        assert [key for key, _ in report.rejections] == ["k3"]
        assert (report.images, report.rejected) == (1, 1)
        manifest = PackReader(dst).manifest
        assert (manifest.samples, manifest.rejected) == (3, 2)
        lines = (dst / manifest.files["rejected"].file).read_text("utf-8").splitlines()
        assert [json.loads(line)["key"] for line in lines] == ["k2", "k3"]
        assert fastdata.verify_pack(dst, quiet=True).ok

    @pytest.mark.parametrize("options", [{}, {"on_error": "fail"}])
    def test_nothing_usable_changes_nothing(self, dst: Path, options: dict[str, Any]) -> None:
        before = contents(pack(samples(0, 3), dst))
        with pytest.raises(PackingError, match="k3: field 'image': "):
            append(dst, [{**samples(3, 4)[0], "image": b"no"}], quiet=True, **options)
        assert contents(dst) == before
        assert os.listdir(dst.parent) == ["the.pack"]

    @pytest.mark.parametrize("given", [[], iter([])])
    def test_nothing_at_all(self, dst: Path, given: Any) -> None:
        before = contents(pack(samples(0, 3), dst))
        with pytest.raises(EmptySourceError):
            append(dst, given, quiet=True)
        assert contents(dst) == before


class TestRefused:
    @pytest.mark.parametrize(
        "option",
        [
            {"storage": "hdf5"}, {"encoding": "png"}, {"quality": 50}, {"max_side": 9},
            {"resize_short": 9}, {"overwrite": True},
        ],
    )  # fmt: skip
    def test_what_the_pack_determines(self, dst: Path, option: dict[str, Any]) -> None:
        before = contents(pack(samples(0, 3), dst))
        with pytest.raises(OptionError, match=f"{next(iter(option))} is determined by the pack"):
            append(dst, samples(3, 4), **option)
        assert contents(dst) == before

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ({"on_error": "ignore"}, "on_error must be quarantine or fail"),
            ({"workers": 0}, "workers must be >= 1"),
            ({"shard_size": "0"}, ">= 1 byte"),
            ({"check": "no"}, "check must be one of"),
        ],
    )
    def test_options_that_are_wrong(self, dst: Path, option: Any, message: str) -> None:
        pack(samples(0, 3), dst)
        with pytest.raises(OptionError, match=message):
            append(dst, samples(3, 4), **option)

    def test_an_executor_for_a_stream(self, dst: Path) -> None:
        pack(samples(0, 3), dst)
        with (
            ThreadPoolExecutor(1) as pool,
            pytest.raises(OptionError, match="an executor needs samples that can be listed"),
        ):
            append(dst, samples(3, 4), executor=pool)

    def test_other_fields_of_a_source(self, dst: Path, tmp_path: Path) -> None:
        before = contents(pack(samples(0, 3), dst))
        with pytest.raises(OptionError, match=r"has the fields .*'mask'.*, the samples have "):
            append(dst, open_source(folder(tmp_path / "src", "ab")))
        assert contents(dst) == before

    def test_samples_that_lack_a_field(self, dst: Path) -> None:
        before = contents(pack(samples(0, 3), dst))
        with pytest.raises(SourceError, match="expected a field 'target'"):
            append(dst, [{"image": picture(8, 8)}], quiet=True)
        assert contents(dst) == before
        assert os.listdir(dst.parent) == ["the.pack"]

    def test_no_pack(self, tmp_path: Path) -> None:
        with pytest.raises(PackNotFoundError):
            append(tmp_path / "nothing", samples(0, 1))

    def test_the_pack_itself(self, dst: Path) -> None:
        from fastdata.sources.packs import PackSource

        pack(samples(0, 3), dst)
        with pytest.raises(OptionError, match="cannot be appended to itself"):
            append(dst, PackSource([PackReader(dst)]), quiet=True)

    def test_a_numbered_target_without_the_classes(self, dst: Path) -> None:
        """Where the pack has no class names, numbers are all there is."""
        pack([(picture(8, 8), 70)], dst, fields={"image": "image", "target": "int"}, classes=None)
        append(dst, [(picture(8, 8, 1), 71)], quiet=True)
        assert PackReader(dst).targets.tolist() == [70, 71]


class TestReaders:
    def test_who_has_it_open_keeps_what_there_was(self, dst: Path, storage: str) -> None:
        pack(samples(0, 4), dst, storage=storage, shard_size=1000)
        opened = PackedDataset(dst, verify="always")
        pickled = pickle.dumps(opened)
        opened[0]
        before = rows(dst)
        append(dst, samples(4, 6), quiet=True)
        append(dst, samples(6, 7), quiet=True)
        again = pickle.loads(pickled)
        for dataset in (opened, again):
            assert len(dataset) == 4
            assert [dataset[i]["s"] for i in range(4)] == [f"s{i}" for i in range(4)]
            assert [dataset.key_of(i) for i in range(4)] == [repr(key) for key, *_ in before]
            with pytest.raises(IndexError):
                dataset[4]
        assert len(PackedDataset(dst)) == 7

    def test_the_manifest_counts_generations(self, dst: Path) -> None:
        pack(samples(0, 2), dst)
        assert json.loads((dst / "pack.json").read_text())["generation"] == 0
        append(dst, samples(2, 3), quiet=True)
        assert json.loads((dst / "pack.json").read_text())["generation"] == 1


class Stop(Exception):
    """What the user's code raises."""


class TestStopped:
    def stopped(self, dst: Path, count: int = 24) -> None:
        def generator() -> Iterator[Any]:
            yield from samples(3, count)
            raise Stop

        with pytest.raises(Stop):
            append(dst, generator(), shard_size=2000, workers=1, quiet=True)

    def test_the_pack_is_what_it_was_and_the_same_call_goes_on(
        self, dst: Path, tmp_path: Path
    ) -> None:
        before = contents(pack(samples(0, 3), dst))
        self.stopped(dst)
        assert contents(dst) == before
        assert len(PackedDataset(dst)) == 3
        report = append(dst, iter(samples(3, 30)), shard_size=2000, workers=1, quiet=True)
        assert report.resumed > 0
        assert rows(dst) == rows(pack(samples(0, 30), tmp_path / "whole"))
        assert os.listdir(dst.parent) == ["the.pack"]

    def test_another_call_does_not(self, dst: Path) -> None:
        pack(samples(0, 3), dst)
        self.stopped(dst)
        with pytest.raises(PackExistsError, match="shard_size was 2000 and is 999"):
            append(dst, samples(3, 30), shard_size=999, quiet=True)
        with pytest.raises(SourceError, match="not those that were packed before"):
            append(dst, iter(samples(4, 30)), shard_size=2000, quiet=True)
        append(dst, samples(3, 5), restart=True, quiet=True)
        assert len(PackedDataset(dst)) == 5

    def test_nor_if_the_pack_has_changed_meanwhile(self, dst: Path) -> None:
        pack(samples(0, 3), dst)
        self.stopped(dst)
        aside = dst.parent / "the.pack.partial"
        aside.rename(dst.parent / "aside")
        append(dst, samples(3, 4), quiet=True)
        (dst.parent / "aside").rename(aside)
        with pytest.raises(PackExistsError, match="appends_to was"):
            append(dst, iter(samples(3, 30)), shard_size=2000, quiet=True)
        assert len(PackedDataset(dst)) == 4

    def test_a_pack_that_is_growing_elsewhere(self, dst: Path) -> None:
        """What an unfinished packing run of the same name has left is not appended."""
        pack(samples(0, 3), dst)
        copied = shutil.copytree(dst, dst.parent / "copy")
        self.stopped(dst)
        assert rows(copied) == rows(dst)
