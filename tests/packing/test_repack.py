"""From packs to packs: merging, taking a part, converting."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.images import contents, encoded, picture, write_tree
from helpers.jpegs import by_pillow
from PIL import Image

import fastdata
from fastdata import PackedDataset, PackedImageFolder
from fastdata.errors import (
    EmptySourceError,
    OptionError,
    PackExistsError,
    PackFormatError,
    PackNotFoundError,
    SourceError,
)
from fastdata.sources.packs import PackSource
from fastdata.store import PackReader

ENCODINGS = ("sliceable", "keep", "jpeg", "png", "raw")
FIELDS = {
    "image": "image", "target": "int", "mask": "mask", "other": "image", "boxes": "boxes",
    "s": "str", "j": "json", "b": "bytes", "e": "float32[2]", "v": "int64[?]", "f": "float",
}  # fmt: skip


def samples(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Samples with every kind of field; the images are JPEG, PNG and pixels in turns."""

    def image(i: int) -> Any:
        pixels = picture(20 + i % 3, 30, i)
        return [encoded(pixels), encoded(pixels, ".png"), pixels][i % 3]

    return [
        {
            "key": f"k{i}", "image": image(i), "target": i % 3,
            "mask": np.full((20 + i % 3, 30), i, np.uint16), "other": encoded(picture(9, 9, i)),
            "boxes": [[i, 1, i + 2, 5]] * (i % 2), "s": f"é{i}", "j": [i], "b": bytes([i]),
            "e": [i, 0.5], "v": [i] * (i % 4), "f": i / 8,
        }
        for i in range(first, first + count)
    ]  # fmt: skip


def pack(given: list[dict[str, Any]], path: Path, **options: Any) -> Path:
    options = {"fields": FIELDS, "classes": ["a", "b", "c"], "workers": 1, "quiet": True} | options
    fastdata.pack(given, path, **options)
    return path


def tree(root: Path, names: str, per_class: int = 3, seed: int = 0) -> Path:
    """An image folder with these classes."""
    write_tree(root, len(names), per_class, formats=(".jpg", ".png"), seed=seed)
    for i, name in enumerate(names):
        (root / f"class_{i}").rename(root / name)
    return root


def folder_pack(src: Path, path: Path, **options: Any) -> Path:
    fastdata.pack_image_folder(src, path, **{"workers": 1, "quiet": True, **options})
    return path


def records(path: Path) -> dict[str, bytes]:
    reader = PackReader(path, "always")
    return {key: bytes(reader.read(i)) for i, key in enumerate(reader.keys)}


def rows(path: Path) -> list[tuple[str, Any]]:
    """All of a pack's samples: by field what is stored, and what numbers have columns."""
    reader, found = PackReader(path, "always"), []
    for i, key in enumerate(reader.keys):
        values: dict[str, Any] = {"target": int(reader.targets[i])}
        for name, kind in reader.fields.items():
            if kind.kind in ("image", "mask"):
                row = tuple(reader.media(name)[["height", "width", "orientation"]][i].tolist())
                values[name] = bytes(reader.read_field(i, name)), row
            elif name != "target":
                value = reader.value(i, name)
                values[name] = value.tolist() if isinstance(value, np.ndarray) else value
        found.append((key, values))
    return found


def classes_of(path: Path) -> list[tuple[str, str]]:
    dataset = PackedImageFolder(path)
    return [(key, dataset.classes[target]) for key, target in dataset.samples]


def damage(path: Path, index: int) -> Path:
    """Flip a bit of a sample's record."""
    reader = PackReader(path)
    record = bytes(reader.read(index))
    for shard in path.glob("shard*"):
        changed = bytes([record[0] ^ 1]) + record[1:]
        shard.write_bytes(shard.read_bytes().replace(record, changed))
    return path


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    (tmp_path / "packs").mkdir()
    return tmp_path / "packs" / "the.pack"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of four classes with five images each; its folder lies beside it."""
    base = tmp_path_factory.mktemp("subset")
    return folder_pack(tree(base / "src", "abcd", 5), base / "whole.pack")


def test_what_was_read_is_reported(tmp_path: Path, dst: Path, whole: Path) -> None:
    read = sum(map(len, records(whole).values()))
    assert fastdata.merge([whole], dst, quiet=True).bytes_in == read
    raw = fastdata.convert(whole, tmp_path / "raw", encoding="raw", quiet=True)
    assert raw.bytes_in == read
    pixels = sum(map(len, records(tmp_path / "raw").values()))
    assert (
        fastdata.convert(tmp_path / "raw", tmp_path / "png", encoding="png", quiet=True).bytes_in
        == pixels
    )


class TestMerge:
    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_records_are_copied_as_they_are(
        self, tmp_path: Path, dst: Path, storage: str, encoding: str
    ) -> None:
        one = pack(samples(3), tmp_path / "a", encoding=encoding, storage=storage)
        two = pack(samples(4, 3), tmp_path / "b", encoding=encoding, storage=storage)
        report = fastdata.merge([one, two], dst, quiet=True)
        assert (report.images, report.rejected, report.classes) == (7, 0, 3)
        assert rows(dst) == rows(one) + rows(two)
        assert records(dst) == records(one) | records(two)
        assert PackReader(dst).slice_indices.tolist() == [
            *PackReader(one).slice_indices, *PackReader(two).slice_indices,
        ]  # fmt: skip
        whole = pack(samples(7), tmp_path / "c", encoding=encoding, storage=storage)
        merged, fresh = contents(dst), contents(whole)
        assert merged.keys() == fresh.keys()
        assert {n for n in fresh if merged[n] != fresh[n]} <= {"pack.json"}  # it has the source
        assert fastdata.verify_pack(dst, deep=True, quiet=True).ok

    def test_storages_may_differ_and_the_first_one_counts(self, tmp_path: Path, dst: Path) -> None:
        one = pack(samples(2), tmp_path / "a", storage="hdf5")
        two = pack(samples(2, 2), tmp_path / "b", storage="lmdb")
        fastdata.merge([one, two], dst, quiet=True)
        assert PackReader(dst).manifest.storage == "hdf5"
        assert rows(dst) == rows(one) + rows(two)

    def test_classes_are_matched_by_name(self, tmp_path: Path, dst: Path) -> None:
        paths = [
            folder_pack(tree(tmp_path / names, names, seed=i), tmp_path / f"{i}.pack")
            for i, names in enumerate(["bd", "abc"])
        ]
        report = fastdata.merge(paths, dst, quiet=True)
        assert report.classes == 4
        assert PackedImageFolder(dst).classes == ["b", "d", "a", "c"]
        assert classes_of(dst) == classes_of(paths[0]) + classes_of(paths[1])

    def test_samples_without_a_class_stay_so(self, tmp_path: Path, dst: Path) -> None:
        src = tree(tmp_path / "src", "ab")
        paths = [
            folder_pack(src, tmp_path / "a"),
            folder_pack(src, tmp_path / "b", flat=True),
        ]
        fastdata.merge(paths, dst, quiet=True)
        assert PackReader(dst).targets.tolist() == [0] * 3 + [1] * 3 + [-1] * 6
        assert fastdata.verify_pack(dst, quiet=True).problems == []

    def test_encodings_that_differ_need_a_word(self, tmp_path: Path, dst: Path) -> None:
        one = pack(samples(3), tmp_path / "a", encoding="jpeg")
        two = pack(samples(3, 3), tmp_path / "b", encoding="jpeg", quality=50)
        with pytest.raises(OptionError) as caught:
            fastdata.merge([one, two], dst, quiet=True)
        for told in (str(one), str(two), "'quality': 90", "'quality': 50", "--encoding"):
            assert told in str(caught.value)
        assert os.listdir(dst.parent) == []
        fastdata.merge([one, two], dst, encoding="png", quiet=True)
        before = [PackedDataset(path)[i]["image"] for path in (one, two) for i in range(3)]
        found = PackedDataset(dst)
        for i, image in enumerate(before):
            np.testing.assert_array_equal(found[i]["image"], image)

    def test_fields_that_differ_are_refused(self, tmp_path: Path, dst: Path) -> None:
        one = pack(samples(2), tmp_path / "a")
        two = pack(samples(2), tmp_path / "b", fields={"image": "image", "s": "str"})
        with pytest.raises(OptionError) as caught:
            fastdata.merge([one, two], dst, quiet=True)
        for told in ("different fields", str(one), str(two), "'mask': 'mask'"):
            assert told in str(caught.value)

    def test_the_order_of_fields_does_not_matter(self, tmp_path: Path, dst: Path) -> None:
        one, two = (
            {"a": picture(8, 9, i), "s": f"s{i}", "b": picture(8, 9, i + 9)} for i in (0, 1)
        )
        packs = [tmp_path / "one", tmp_path / "two"]
        fastdata.pack([one], packs[0], fields={"a": "image", "s": "str", "b": "image"}, quiet=True)
        fastdata.pack([two], packs[1], fields={"b": "image", "a": "image", "s": "str"}, quiet=True)
        fastdata.merge(packs, dst, quiet=True)
        found = PackedDataset(dst)
        assert list(found.fields) == ["a", "s", "b"]
        for i, given in enumerate((one, two)):
            assert found[i]["s"] == given["s"]
            for name in "ab":
                np.testing.assert_array_equal(found[i][name], given[name])

    def test_a_pack_with_itself(self, tmp_path: Path, dst: Path) -> None:
        one = pack(samples(2), tmp_path / "a")
        fastdata.merge([one, one], dst, quiet=True)
        assert rows(dst) == rows(one) * 2

    def test_none_at_all(self, dst: Path) -> None:
        with pytest.raises(OptionError, match="one or more packs to merge, found none"):
            fastdata.merge([], dst)

    def test_not_a_pack(self, tmp_path: Path, dst: Path) -> None:
        one = pack(samples(2), tmp_path / "a")
        with pytest.raises(PackNotFoundError):
            fastdata.merge([one, tmp_path / "nothing"], dst)

    def test_not_inside_of_a_pack_nor_over_one_of_them(self, tmp_path: Path, dst: Path) -> None:
        one = pack(samples(2), tmp_path / "a")
        before = contents(one)
        with pytest.raises(OptionError, match="lies inside of"):
            fastdata.merge([one], one / "b")
        with pytest.raises((OptionError, PackExistsError)):
            fastdata.merge([one], one)
        assert contents(one) == before

    def test_by_an_executor(self, tmp_path: Path, dst: Path) -> None:
        paths = [pack(samples(4), tmp_path / "a"), pack(samples(4, 4), tmp_path / "b")]
        with ThreadPoolExecutor(2) as pool:
            fastdata.merge(paths, dst, shard_size=4000, executor=pool, quiet=True)
        fastdata.merge(paths, tmp_path / "here", shard_size=4000, quiet=True)
        assert contents(dst) == contents(tmp_path / "here")

    def test_another_process_may_read_its_part(self, tmp_path: Path) -> None:
        paths = [pack(samples(4), tmp_path / "a"), pack(samples(4, 4), tmp_path / "b")]
        source = PackSource([PackReader(path, "first-read") for path in paths], again=True)
        part = pickle.loads(pickle.dumps(source.part(3, 6)))
        assert list(part.keys) == ["k3", "k4", "k5"]
        for i, item in enumerate(part):
            same = source.item(3 + i)
            assert item.key == same.key
            assert item.values["image"].value() == same.values["image"].value()
            assert item.values["s"] == same.values["s"]


class TestDamage:
    @pytest.mark.parametrize("options", [{}, {"encoding": "png"}])
    @pytest.mark.parametrize("operation", [fastdata.convert, fastdata.subset])
    def test_it_stops_everything(
        self, tmp_path: Path, dst: Path, operation: Any, options: dict[str, Any]
    ) -> None:
        one = damage(pack(samples(8), tmp_path / "a"), 5)
        with pytest.raises(PackFormatError, match="record of sample 5 is damaged"):
            operation(one, dst, quiet=True, workers=1, **options)
        assert os.listdir(dst.parent) == []

    def test_nor_are_complete_shards_published(self, tmp_path: Path, dst: Path) -> None:
        one = damage(pack(samples(9), tmp_path / "a"), 8)
        with pytest.raises(PackFormatError, match="record of sample 8 is damaged"):
            fastdata.merge([one], dst, shard_size=2500, workers=1, quiet=True)
        assert not dst.exists()

    def test_a_sample_that_is_not_taken_does_no_harm(self, tmp_path: Path, dst: Path) -> None:
        one = damage(pack(samples(6), tmp_path / "a"), 2)
        fastdata.subset(one, dst, indices=[0, 1, 3, 4, 5], quiet=True)
        assert [key for key, _ in rows(dst)] == ["k0", "k1", "k3", "k4", "k5"]

    def test_a_damaged_key(self, tmp_path: Path, dst: Path) -> None:
        keys = pack(samples(2), tmp_path / "a") / "keys.bin"
        keys.write_bytes(b"\xff" + keys.read_bytes()[1:])
        with pytest.raises(PackFormatError, match="the key of sample 0 is damaged"):
            fastdata.convert(tmp_path / "a", dst)


class TestSubset:
    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_records_are_copied_as_they_are(
        self, tmp_path: Path, dst: Path, storage: str, encoding: str
    ) -> None:
        one = pack(samples(6), tmp_path / "a", encoding=encoding, storage=storage)
        fastdata.subset(one, dst, indices=[4, 0, 5], quiet=True)
        assert rows(dst) == [rows(one)[i] for i in (4, 0, 5)]
        manifests = [PackReader(path).manifest for path in (one, dst)]
        assert manifests[0].storage == manifests[1].storage
        assert manifests[0].encoding == manifests[1].encoding
        assert manifests[0].fields == manifests[1].fields

    def test_classes(self, whole: Path, dst: Path) -> None:
        report = fastdata.subset(whole, dst, classes=["d", "b"], quiet=True)
        assert report.classes == 2
        assert PackedImageFolder(dst).classes == ["b", "d"]
        assert classes_of(dst) == [pair for pair in classes_of(whole) if pair[1] in "bd"]

    def test_the_union_of_classes_is_a_folder_of_them(
        self, whole: Path, dst: Path, tmp_path: Path
    ) -> None:
        src = shutil.copytree(whole.parent / "src", tmp_path / "src")
        shutil.rmtree(src / "c")
        fastdata.subset(whole, dst, classes=["a", "b", "d"], quiet=True)
        fresh = contents(folder_pack(src, tmp_path / "fresh"))
        found = contents(dst)
        assert {name for name in fresh if found[name] != fresh[name]} <= {"pack.json"}

    @pytest.mark.parametrize("indices", [[3, 1, 2], np.array([3, 1, 2]), (i for i in (3, 1, 2))])
    def test_indices_in_their_order(self, whole: Path, dst: Path, indices: Any) -> None:
        fastdata.subset(whole, dst, indices=indices, quiet=True)
        assert classes_of(dst) == [classes_of(whole)[i] for i in (3, 1, 2)]
        assert PackedImageFolder(dst).classes == list("abcd")

    def test_an_index_may_stand_twice(self, whole: Path, dst: Path) -> None:
        fastdata.subset(whole, dst, indices=[3, 3], quiet=True)
        assert classes_of(dst) == [classes_of(whole)[3]] * 2

    @pytest.mark.parametrize("dtype", ["int64", "uint8", ">i2"])
    def test_a_numpy_file(self, whole: Path, dst: Path, tmp_path: Path, dtype: str) -> None:
        np.save(tmp_path / "i.npy", np.array([5, 0], dtype))
        fastdata.subset(whole, dst, indices=tmp_path / "i.npy", quiet=True)
        assert classes_of(dst) == [classes_of(whole)[i] for i in (5, 0)]

    def test_a_text_file_of_indices_and_keys(self, whole: Path, dst: Path, tmp_path: Path) -> None:
        key = PackReader(whole).keys[7]
        (tmp_path / "i.txt").write_bytes(f"3\r\n\n  {key} \n0\n".encode())
        fastdata.subset(whole, dst, indices=str(tmp_path / "i.txt"), quiet=True)
        assert classes_of(dst) == [classes_of(whole)[i] for i in (3, 7, 0)]

    def test_a_number_with_zeros_in_front_is_a_key(self, dst: Path, tmp_path: Path) -> None:
        fastdata.pack([picture(8, 8, i) for i in range(9)], tmp_path / "a", quiet=True)
        fastdata.subset(tmp_path / "a", tmp_path / "b", indices=[8, 2, 5], quiet=True)
        (tmp_path / "i.txt").write_text("00000005\n00000008\n1\n")
        fastdata.subset(tmp_path / "b", dst, indices=tmp_path / "i.txt", quiet=True)
        assert list(PackReader(dst).keys) == ["00000005", "00000008", "00000002"]

    def test_keys_of_any_script(self, dst: Path, tmp_path: Path) -> None:
        given = ["a\u2028b", " x", "é", "a\x0bc"]
        fastdata.pack(
            [{"key": key, "image": picture(8, 8)} for key in given], tmp_path / "a", quiet=True
        )
        (tmp_path / "i.txt").write_text("\n".join(given[::-1]), "utf-8")
        fastdata.subset(tmp_path / "a", dst, indices=tmp_path / "i.txt", quiet=True)
        assert list(PackReader(dst).keys) == given[::-1]

    def test_a_count_is_drawn_by_the_seed_in_the_old_order(
        self, whole: Path, dst: Path, tmp_path: Path
    ) -> None:
        drawn = []
        for number, seed in enumerate((0, 0, 1)):
            path = tmp_path / str(number)
            fastdata.subset(whole, path, count=8, seed=seed, quiet=True)
            drawn.append(list(PackReader(path).keys))
        everything = list(PackReader(whole).keys)
        assert drawn[0] == drawn[1] != drawn[2]
        for keys in drawn:
            assert len(set(keys)) == 8
            assert sorted(keys, key=everything.index) == keys
        fastdata.subset(whole, dst, count=20, quiet=True)
        assert records(dst) == records(whole)

    def test_so_many_of_each_class(self, whole: Path, dst: Path) -> None:
        fastdata.subset(whole, dst, per_class=2, quiet=True)
        assert Counter(name for _, name in classes_of(dst)) == dict.fromkeys("abcd", 2)
        assert classes_of(dst) == [pair for pair in classes_of(whole) if pair in classes_of(dst)]

    def test_more_of_each_class_than_there_are(self, whole: Path, dst: Path) -> None:
        fastdata.subset(whole, dst, per_class=99, quiet=True)
        assert records(dst) == records(whole)

    def test_all_that_is_asked_for_holds(self, whole: Path, dst: Path) -> None:
        wanted = {"classes": ["a", "c"], "indices": range(19, -1, -1), "per_class": 3, "count": 5}
        fastdata.subset(whole, dst, quiet=True, **wanted)
        found = classes_of(dst)
        assert len(found) == 5
        assert max(Counter(name for _, name in found).values()) <= 3
        assert {name for _, name in found} <= {"a", "c"}
        assert found == [pair for pair in classes_of(whole)[::-1] if pair in found]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"classes": ["a", "z"]}, "has no class 'z'"),
            ({"indices": [0, 20]}, "20 is not one of 20 samples"),
            ({"indices": [-1]}, "-1 is not one of 20 samples"),
            ({"count": 0}, "count must be 1 to 20, got 0"),
            ({"count": 21}, "count must be 1 to 20, got 21"),
            ({"count": 6, "classes": ["b"]}, "count must be 1 to 5, got 6"),
            ({"per_class": 0}, "per_class must be >= 1, got 0"),
        ],
    )
    def test_what_cannot_be_had(
        self, whole: Path, dst: Path, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(OptionError, match=message):
            fastdata.subset(whole, dst, **options)
        assert os.listdir(dst.parent) == []

    @pytest.mark.parametrize("options", [{"indices": []}, {"classes": []}])
    def test_nothing_is_left(self, whole: Path, dst: Path, options: dict[str, Any]) -> None:
        with pytest.raises(EmptySourceError, match="no sample is left"):
            fastdata.subset(whole, dst, **options)

    @pytest.mark.parametrize(
        "indices", [[0.5], [True, False], ["a"], [[1, 2]], [2**70], np.ones(20, bool)]
    )
    def test_indices_that_are_none(self, whole: Path, dst: Path, indices: Any) -> None:
        with pytest.raises(SourceError, match="indices: expected integers, found"):
            fastdata.subset(whole, dst, indices=indices)

    @pytest.mark.parametrize(
        "data",
        [
            np.array([1.0, 2.0]), np.ones(20, bool), np.ones((2, 2), int), np.array(["a"]),
            np.array([None], object),
        ],
    )  # fmt: skip
    def test_numpy_files_without_indices(
        self, whole: Path, dst: Path, tmp_path: Path, data: Any
    ) -> None:
        np.save(tmp_path / "i.npy", data, allow_pickle=True)
        with pytest.raises(SourceError, match=r"i\.npy: "):
            fastdata.subset(whole, dst, indices=tmp_path / "i.npy")

    @pytest.mark.parametrize("data", [b"", b"PK\3\4", b"\x93NUMPY", b"no array", b"\xff\xfe"])
    @pytest.mark.parametrize("name", ["i.npy", "i.txt"])
    def test_files_of_something_else(
        self, whole: Path, dst: Path, tmp_path: Path, data: bytes, name: str
    ) -> None:
        (tmp_path / name).write_bytes(data)
        expected = EmptySourceError if name == "i.txt" and not data else SourceError
        with pytest.raises(expected):
            fastdata.subset(whole, dst, indices=tmp_path / name)

    def test_a_line_that_is_neither(self, whole: Path, dst: Path, tmp_path: Path) -> None:
        (tmp_path / "i.txt").write_text("0\nnobody.jpg\n")
        with pytest.raises(SourceError, match=r"i\.txt, line 2: 'nobody\.jpg' is neither an index"):
            fastdata.subset(whole, dst, indices=tmp_path / "i.txt")
        with pytest.raises(SourceError, match="cannot be read"):
            fastdata.subset(whole, dst, indices=tmp_path / "none.txt")


class TestConvert:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("keep", "sliceable"), ("sliceable", "keep"), ("raw", "png"), ("png", "raw"),
            ("sliceable", "raw"), ("raw", "sliceable"), ("raw", "keep"), ("jpeg", "png"),
            ("keep", "keep"), ("sliceable", "sliceable"),
        ],
    )  # fmt: skip
    def test_pixels_and_values_stay(
        self, tmp_path: Path, dst: Path, before: str, after: str
    ) -> None:
        one = pack(samples(6), tmp_path / "a", encoding=before)
        fastdata.convert(one, dst, encoding=after, quiet=True)
        assert PackReader(dst).manifest.encoding["name"] == after
        old, new = PackedDataset(one), PackedDataset(dst)
        for i in range(6):
            for name in ("image", "other", "mask"):
                np.testing.assert_array_equal(new[i][name], old[i][name])
        for (key, values), (old_key, old_values) in zip(rows(dst), rows(one), strict=True):
            assert key == old_key
            for name in FIELDS.keys() - {"image", "other"}:
                assert values[name] == old_values[name]
        assert fastdata.verify_pack(dst, deep=True, quiet=True).ok

    def test_what_was_keep_becomes_sliceable(self, tmp_path: Path, dst: Path) -> None:
        pixels = picture(90, 120)
        one = tmp_path / "a"
        fastdata.pack([encoded(pixels)], one, encoding="keep", quiet=True)
        assert PackReader(one).slice_indices.tolist() == [0]
        fastdata.convert(one, dst, encoding="sliceable", quiet=True)
        assert PackReader(dst).slice_indices[0] > 0

    def test_raw_to_jpeg_is_as_if_packed_so(self, tmp_path: Path, dst: Path) -> None:
        pixels = [picture(20, 30 + i, i) for i in range(4)]
        one, fresh = tmp_path / "raw", tmp_path / "jpeg"
        fastdata.pack(pixels, one, encoding="raw", quiet=True)
        fastdata.pack(pixels, fresh, encoding="jpeg", quality=70, quiet=True)
        fastdata.convert(one, dst, encoding="jpeg", quality=70, quiet=True)
        assert PackReader(dst).manifest.encoding == {"name": "jpeg", "quality": 70}
        assert records(dst) == records(fresh)

    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_another_storage_copies_records(
        self, tmp_path: Path, dst: Path, storage: str, encoding: str
    ) -> None:
        other = "hdf5" if storage == "lmdb" else "lmdb"
        one = pack(samples(5), tmp_path / "a", encoding=encoding, storage=storage)
        fastdata.convert(one, dst, storage=other, shard_size=4000, quiet=True)
        assert rows(dst) == rows(one)
        assert PackReader(dst).manifest.storage == other
        assert len(PackReader(dst).manifest.shards) > 1

    def test_with_no_option_at_all_it_is_a_copy(self, tmp_path: Path, dst: Path) -> None:
        one = pack(samples(5), tmp_path / "a", encoding="jpeg", max_side=20)
        fastdata.convert(one, dst, quiet=True)
        found, before = contents(dst), contents(one)
        assert {name for name in before if found[name] != before[name]} == {"pack.json"}
        manifests = [json.loads(c["pack.json"]) for c in (found, before)]
        differing = {k for k in manifests[0] if manifests[0][k] != manifests[1][k]}
        assert differing == {"source", "sha256"}

    @pytest.mark.parametrize(
        ("before", "options", "after"),
        [
            ({"encoding": "jpeg"}, {"quality": 50}, {"name": "jpeg", "quality": 50}),
            (
                {"encoding": "jpeg", "quality": 70},
                {"max_side": 20},
                {"name": "jpeg", "quality": 70, "max_side": 20},
            ),
            (
                {"encoding": "png", "resize_short": 15},
                {"max_side": 10},
                {"name": "png", "max_side": 10},
            ),
            ({"encoding": "jpeg", "quality": 70}, {"encoding": "png"}, {"name": "png"}),
            ({"encoding": "raw"}, {"resize_short": 10}, {"name": "raw", "resize_short": 10}),
        ],
    )
    def test_what_is_not_asked_for_stays_as_it_is(
        self, tmp_path: Path, dst: Path, before: Any, options: Any, after: Any
    ) -> None:
        one = pack(samples(3), tmp_path / "a", **before)
        fastdata.convert(one, dst, quiet=True, **options)
        assert PackReader(dst).manifest.encoding == after

    @pytest.mark.parametrize("options", [{"quality": 50}, {"max_side": 20}])
    def test_what_an_encoding_does_not_have(self, tmp_path: Path, dst: Path, options: Any) -> None:
        one = pack(samples(2), tmp_path / "a", encoding="keep")
        with pytest.raises(OptionError, match="'keep'"):
            fastdata.convert(one, dst, quiet=True, **options)

    def test_masks_and_boxes_follow_shrunk_images(self, tmp_path: Path, dst: Path) -> None:
        pixels = np.zeros((120, 200, 3), np.uint8)
        pixels[20:80, 50:150] = 255
        given = {"image": pixels, "mask": pixels[:, :, 0] // 255 * 9, "boxes": [[50, 20, 150, 80]]}
        named = {"image": "image", "mask": "mask", "boxes": "boxes"}
        for name, encoding in (("raw", "raw"), ("keep", "keep")):
            one = tmp_path / name
            fastdata.pack([given], one, fields=named, encoding=encoding, quiet=True)
            path = dst.with_name(name)
            fastdata.convert(one, path, encoding="raw", max_side=50, quiet=True)
            found = PackedDataset(path)[0]
            assert found["image"].shape == (30, 50, 3)
            assert found["mask"].shape == (30, 50)
            assert np.mean((found["image"][:, :, 0] > 128) == (found["mask"] == 9)) > 0.95
            np.testing.assert_allclose(found["boxes"], [[12.5, 5, 37.5, 20]])
        fresh = tmp_path / "fresh"
        fastdata.pack([given], fresh, fields=named, encoding="raw", max_side=50, quiet=True)
        assert rows(path) == rows(fresh)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientations_stay(self, tmp_path: Path, dst: Path, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = by_pillow(picture(20, 30), exif=exif)
        one = tmp_path / "keep"
        fastdata.pack([data], one, encoding="keep", quiet=True)
        upright = PackedDataset(one, apply_exif_orientation=True)[0]["image"]
        before = one
        for encoding in ("sliceable", "png", "raw", "jpeg", "keep"):
            after = tmp_path / f"{before.name}-{encoding}"
            fastdata.convert(before, after, encoding=encoding, quiet=True)
            assert PackReader(after).orientations.tolist() == [orientation]
            before = after
            found = PackedDataset(after, apply_exif_orientation=True)[0]["image"]
            assert found.shape == upright.shape
            if encoding not in ("jpeg", "keep"):  # compressed twice
                np.testing.assert_array_equal(found, upright)

    def test_an_interrupted_one_goes_on(self, tmp_path: Path, dst: Path) -> None:
        one = pack(samples(12), tmp_path / "a")
        broken = damage(shutil.copytree(one, tmp_path / "broken"), 11)
        sound = contents(broken)
        with pytest.raises(PackFormatError):
            fastdata.convert(broken, dst, shard_size=2000, workers=1, quiet=True)
        assert not dst.exists()
        for name, data in contents(one).items():
            (broken / name).write_bytes(data)
        report = fastdata.convert(broken, dst, shard_size=2000, workers=1, quiet=True)
        assert report.resumed > 0
        assert rows(dst) == rows(one)
        assert contents(broken) != sound

    def test_another_state_of_the_source_is_not_gone_on_with(
        self, tmp_path: Path, dst: Path
    ) -> None:
        one = damage(pack(samples(12), tmp_path / "a"), 11)
        with pytest.raises(PackFormatError):
            fastdata.convert(one, dst, shard_size=2000, workers=1, quiet=True)
        shutil.rmtree(one)
        pack(samples(12, 1), one)
        with pytest.raises(PackExistsError, match="an unfinished pack that differs"):
            fastdata.convert(one, dst, shard_size=2000, workers=1, quiet=True)
