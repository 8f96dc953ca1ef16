"""Unpacking to tables and archives: what is packed of the result has the same values again."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.images import contents, encoded, picture, write_tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import fastdata
from fastdata import PackedDataset, PackedImageFolder, unpack
from fastdata.errors import OptionError, PackFormatError, SourceError
from fastdata.sources.detect import open_source
from fastdata.store import PackReader

FIELDS = {
    "image": "image", "target": "int", "mask": "mask", "wide": "mask", "other": "image",
    "boxes": "boxes", "n": "int", "f": "float", "s": "str", "j": "json", "b": "bytes",
    "e": "float32[2]", "v": "int64[?]", "flags": "bool[?,2]", "none": "int8[0]", "one": "uint64[]",
}  # fmt: skip
CLASSES = ["10", "2", "-"]


def samples(count: int = 5) -> list[dict[str, Any]]:
    return [
        {
            "key": f"{'abc'[i % 3]}/k{i}.png", "image": encoded(picture(8 + i % 2, 12, i), ".png"),
            "target": i % 3, "mask": np.full((8 + i % 2, 12), i, np.uint8),
            "wide": np.full((8 + i % 2, 12), 1000 + i, np.uint16),
            "other": encoded(picture(9, 9, i), ".jpg"), "boxes": [[i, 0.1, i + 2, 5]] * (i % 3),
            "n": [7, -(2**63), 2**63 - 1][i % 3], "f": [0.1, 1e300, float("inf"), 2.0][i % 4],
            "s": ["007", "12", "", "é\n\"'\u2028", "null"][i % 5], "j": [None, {"a": [i]}][i % 2],
            "b": bytes(range(i)), "e": [i, 1e-30], "v": [i - 2] * (i % 4),
            "flags": [[True, False]] * (i % 2), "none": [], "one": 2**64 - 1 - i,
        }
        for i in range(count)
    ]  # fmt: skip


def pack(given: Any, path: Path, **options: Any) -> Path:
    options = {"fields": FIELDS, "classes": CLASSES, "workers": 1, "quiet": True} | options
    report = fastdata.pack(given, path, **options)
    assert report.rejections == []
    return path


def repack(table: Path, path: Path, **options: Any) -> Path:
    """What ``fastdata pack TABLE PACK`` makes."""
    report = fastdata.pack(open_source(table), path, workers=1, quiet=True, **options)
    assert report.rejections == []
    return path


def values(path: Path) -> list[dict[str, Any]]:
    """All values of all samples; arrays with their types, a target as the class's name."""
    dataset, found = PackedDataset(path, verify="always"), []
    for i in range(len(dataset)):
        one = {}
        for name, value in dataset[i].items():
            if isinstance(value, np.ndarray):
                value = value.dtype.str, value.shape, value.tolist()
            one[name] = value
        if dataset.classes and "target" in one:
            one["target"] = dataset.classes[one["target"]] if one["target"] >= 0 else None
        found.append(one)
    return found


def members(path: Path) -> dict[str, bytes]:
    """The files of all tar archives below a directory, in their order."""
    found = {}
    for archive in sorted(path.glob("*.tar")):
        with tarfile.open(archive) as tar:
            for member in tar:
                assert member.isreg()
                file = tar.extractfile(member)
                assert file is not None
                assert member.name not in found
                found[member.name] = file.read()
    return found


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


few = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("key", "target")
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(),
    "str": texts,
    "json": st.recursive(
        st.none() | st.booleans() | st.integers() | texts,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
        max_leaves=4,
    ),
    "bytes": st.binary(max_size=9),
    "float32[2]": st_numpy.arrays("f4", 2),
    "float64[?]": st_numpy.arrays("f8", st.integers(0, 3)),
    "uint64[2]": st_numpy.arrays("u8", 2),
    "bool[?,2]": st_numpy.arrays("?", st.tuples(st.integers(0, 3), st.just(2))),
    "int16[0]": st_numpy.arrays("i2", 0),
    "boxes": st_numpy.arrays(
        "f4", st.tuples(st.integers(0, 3), st.just(2)), elements=st.floats(-100, 100, width=32)
    ).map(lambda corner: np.concatenate([corner, corner + np.float32(1)], axis=1)),
}


@st.composite
def packs(draw: st.DrawFn, kinds: list[str]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Fields of any name and kind, and samples with values of them."""
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5))
    called = draw(st.lists(names, min_size=len(chosen), max_size=len(chosen), unique_by=str.lower))
    fields = {"image": "image", **dict(zip(called, chosen, strict=True))}
    fields["image"] = "image"
    count = draw(st.integers(1, 3))
    image = encoded(picture(8, 9), ".png")
    given = [
        {"key": f"{i}.png"}
        | {n: draw(VALUES[k]) if k in VALUES else image for n, k in fields.items()}
        for i in range(count)
    ]
    return fields, given


def same(found: Any, expected: Any) -> bool:
    """Equal in every bit, NaN with NaN."""
    return repr(found) == repr(expected)


class TestFolder:
    @pytest.mark.parametrize("encoding", ["keep", "sliceable", "png", "raw", "jpeg"])
    @pytest.mark.parametrize("classes", [CLASSES, None])
    def test_all_values_come_back(
        self, tmp_path: Path, out: Path, encoding: str, classes: Any
    ) -> None:
        one = pack(samples(), tmp_path / "a", encoding=encoding, classes=classes)
        assert unpack(one, out, quiet=True) == 5
        again = repack(out / "manifest.jsonl", tmp_path / "b", encoding="keep")
        assert list(PackReader(again).fields.items()) == list(PackReader(one).fields.items())
        assert PackedDataset(again).classes == (classes or ["0", "1", "2"])
        old, new = values(one), values(again)
        for i in range(5):
            if classes is None:
                new[i]["target"] = int(new[i]["target"])
            assert old[i] == new[i]

    def test_verbatim_records_and_keys_come_back(self, tmp_path: Path, out: Path) -> None:
        given = samples()
        one = pack(given, tmp_path / "a", encoding="keep")
        unpack(one, out, quiet=True)
        again = repack(out / "manifest.jsonl", tmp_path / "b", encoding="keep")
        first, second = PackReader(one), PackReader(again)
        assert list(second.keys) == list(first.keys)
        for i in range(5):
            for name in ("image", "other", "b"):
                assert second.read_field(i, name) == first.read_field(i, name)

    def test_what_is_written(self, tmp_path: Path, out: Path) -> None:
        given = samples(2)
        unpack(pack(given, tmp_path / "a", encoding="keep"), out, quiet=True)
        files = contents(out)
        assert set(files) == {
            "manifest.jsonl",
            "manifest.fields.json",
            *(f"{d}{k}" for k in ("a/k0.png", "b/k1.png") for d in ("", "mask/", "wide/")),
            "other/a/k0.png.jpg",
            "other/b/k1.png.jpg",
            "b/a/k0.png.bin",
            "b/b/k1.png.bin",
        } - {"other/a/k0.png.jpg", "other/b/k1.png.jpg"} | {"other/a/k0.png", "other/b/k1.png"}
        assert files["a/k0.png"] == given[0]["image"]
        assert files["other/b/k1.png"] == given[1]["other"]
        row = json.loads(files["manifest.jsonl"].splitlines()[1])
        assert row["path"] == "b/k1.png"
        assert row["mask"] == "mask/b/k1.png"
        assert row["target"] == "2"
        assert row["boxes"] == [[1.0, pytest.approx(0.1), 3.0, 5.0]]
        assert (row["n"], row["s"], row["j"]) == (-(2**63), "12", {"a": [1]})

    @few
    @given(data=packs([*VALUES]))
    def test_fields_of_any_name_and_kind(
        self, tmp_path_factory: pytest.TempPathFactory, data: Any
    ) -> None:
        fields, given = data
        base = tmp_path_factory.mktemp("any")
        one = pack(given, base / "a", fields=fields, classes=None)
        unpack(one, base / "out", quiet=True)
        again = repack(base / "out" / "manifest.jsonl", base / "b")
        assert PackReader(again).manifest.fields == PackReader(one).manifest.fields
        assert same(values(again), values(one))

    @pytest.mark.parametrize("name", ["path", "file_name", "label", "class", "image"])
    def test_fields_called_like_a_tables_columns(
        self, tmp_path: Path, out: Path, name: str
    ) -> None:
        kinds = {"photo": "image", name: "str", "target": "int"}
        given = [
            {"key": f"{i}.png", "photo": picture(8, 9, i), name: f"x{i}", "target": i}
            for i in range(2)
        ]
        one = pack(given, tmp_path / "a", fields=kinds, classes=["y", "z"])
        unpack(one, out, quiet=True)
        again = repack(out / "manifest.jsonl", tmp_path / "b")
        assert PackReader(again).manifest.fields == PackReader(one).manifest.fields
        assert values(again) == values(one)

    def test_all_names_for_paths_taken(self, tmp_path: Path, out: Path) -> None:
        named = ("path", "file_name", "filename", "file", "image", "path.0")
        kinds = {"photo": "image", **dict.fromkeys(named, "str")}
        one = pack([{"key": "a.png", "photo": picture(8, 9), **{n: n for n in named}}],
                   tmp_path / "a", fields=kinds)  # fmt: skip
        unpack(one, out, quiet=True)
        assert values(repack(out / "manifest.jsonl", tmp_path / "b")) == values(one)

    def test_samples_without_a_class(self, tmp_path: Path, out: Path) -> None:
        given = [{**sample, "target": t} for sample, t in zip(samples(3), (-1, 0, -1), strict=True)]
        one = pack(given, tmp_path / "a")
        unpack(one, out, quiet=True)
        again = repack(out / "manifest.jsonl", tmp_path / "b")
        assert PackReader(again).targets.tolist() == [-1, 0, -1]
        assert values(again) == values(one)

    def test_two_packs_of_masks_and_images_with_one_name(self, tmp_path: Path, out: Path) -> None:
        """A mask's directory may be one that images lie in."""
        given = [
            {"key": key, "image": picture(8, 9, i), "mask": np.full((8, 9), i, np.uint8)}
            for i, key in enumerate(["mask/x.png", "x.png"])
        ]
        one = pack(given, tmp_path / "a", fields={"image": "image", "mask": "mask"}, encoding="png")
        unpack(one, out, quiet=True)
        assert values(repack(out / "manifest.jsonl", tmp_path / "b")) == values(one)


class TestLabels:
    """Where there is nothing but images and classes, and the directories do not say which."""

    def pairs(self, path: Path) -> list[tuple[str, str]]:
        dataset = PackedImageFolder(path)
        return [(key, dataset.classes[target]) for key, target in dataset.samples]

    def test_samples_get_a_table(self, tmp_path: Path, out: Path) -> None:
        one = tmp_path / "a"
        given = [{"key": f"{i}.png", "image": picture(8, 9, i), "target": i % 2} for i in range(4)]
        fastdata.pack(given, one, classes=["10", "2"], quiet=True)
        unpack(one, out, quiet=True)
        again = repack(out / "labels.csv", tmp_path / "b")
        assert self.pairs(again) == self.pairs(one)
        assert PackedImageFolder(again).classes == ["10", "2"]

    def test_folders_and_what_is_made_of_them_need_none(self, tmp_path: Path, out: Path) -> None:
        write_tree(tmp_path / "src", 2, 2)
        one = tmp_path / "a"
        fastdata.pack_image_folder(tmp_path / "src", one, encoding="keep", quiet=True)
        fastdata.subset(one, tmp_path / "s", count=3, quiet=True)
        fastdata.merge([tmp_path / "s"], tmp_path / "m", quiet=True)
        for name in ("a", "s", "m"):
            unpack(tmp_path / name, out / name, quiet=True)
            assert contents(out / name).keys() <= contents(tmp_path / "src").keys()

    def test_merged_tables_do(self, tmp_path: Path, out: Path) -> None:
        write_tree(tmp_path / "src", 2, 2, formats=(".png",))
        keys = sorted(contents(tmp_path / "src"))
        lines = [f"{key},{'yx'[i % 2]}" for i, key in enumerate(keys)]
        (tmp_path / "src" / "t.csv").write_text("\n".join(["path,target", *lines]))
        one = repack(tmp_path / "src" / "t.csv", tmp_path / "a")
        fastdata.merge([one], tmp_path / "m", quiet=True)
        unpack(tmp_path / "m", out, quiet=True)
        assert self.pairs(repack(out / "labels.csv", tmp_path / "b")) == self.pairs(one)

    def test_images_alone_need_none(self, tmp_path: Path, out: Path) -> None:
        fastdata.pack([picture(8, 9)], tmp_path / "a", quiet=True)
        unpack(tmp_path / "a", out, quiet=True)
        assert set(contents(out)) == {"00000000.png"}


class TestCsv:
    def test_numbers_and_text_come_back(self, tmp_path: Path, out: Path) -> None:
        one = pack(samples(), tmp_path / "a", encoding="keep")
        assert unpack(one, out, to="csv", quiet=True) == 5
        assert set(contents(out)) == {
            "labels.csv", "labels.fields.json", *(s["key"] for s in samples()),
        }  # fmt: skip
        again = repack(out / "labels.csv", tmp_path / "b", encoding="keep")
        kept = ["image", "target", "n", "f", "s"]
        assert list(PackReader(again).manifest.fields) == kept
        assert values(again) == [{n: one[n] for n in kept} for one in values(one)]
        assert list(PackReader(again).keys) == list(PackReader(one).keys)

    @few
    @given(data=packs(["int", "float", "str"]))
    def test_any_of_them(self, tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
        fields, given = data
        base = tmp_path_factory.mktemp("any")
        one = pack(given, base / "a", fields=fields, classes=None)
        unpack(one, base / "out", to="csv", quiet=True)
        again = repack(base / "out" / "labels.csv", base / "b")
        assert PackReader(again).manifest.fields == PackReader(one).manifest.fields
        assert same(values(again), values(one))

    def test_a_folder_of_numbered_classes_keeps_its_targets(
        self, tmp_path: Path, out: Path
    ) -> None:
        write_tree(tmp_path / "src", 3, 1)
        for i, name in enumerate(["0", "10", "2"]):
            (tmp_path / "src" / f"class_{i}").rename(tmp_path / "src" / name)
        one = tmp_path / "a"
        fastdata.pack_image_folder(tmp_path / "src", one, quiet=True)
        unpack(one, out, to="csv", quiet=True)
        again = PackedImageFolder(repack(out / "labels.csv", tmp_path / "b"))
        assert again.classes == ["0", "10", "2"]
        assert list(again.samples) == list(PackedImageFolder(one).samples)


class TestSidecar:
    """The file beside a table that tells its kinds."""

    @pytest.fixture
    def table(self, tmp_path: Path) -> Path:
        (tmp_path / "a.png").write_bytes(encoded(picture(8, 9), ".png"))
        path = tmp_path / "t.jsonl"
        path.write_text('{"path": "a.png", "target": "b", "x": 1}\n')
        return path

    def tell(self, table: Path, content: Any) -> None:
        path = table.with_name("t.fields.json")
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    def test_kinds_classes_and_names(self, table: Path) -> None:
        self.tell(table, {"fields": {"x": "float"}, "classes": ["a", "b"]})
        source = open_source(table)
        assert {n: str(k) for n, k in source.fields.items()} == {
            "image": "image", "target": "int", "x": "float",
        }  # fmt: skip
        assert source.classes == ["a", "b"]
        assert source.item(0).values["target"] == 1
        self.tell(table, {"image": {"column": "path", "field": "photo"}})
        assert list(open_source(table).fields) == ["photo", "target", "x"]

    def test_what_is_given_goes_before_it(self, table: Path) -> None:
        self.tell(table, {"fields": {"x": "float"}})
        assert str(open_source(table, fields={"x": "json"}).fields["x"]) == "json"
        assert "x" not in open_source(table, fields={"x": None}).fields

    @pytest.mark.parametrize(
        "content",
        [
            "", "{", "[]", "null", '{"other": 1}', '{"fields": []}', '{"fields": {"x": 1}}',
            '{"classes": "ab"}', '{"classes": [1]}', '{"image": "path"}', '{"image": {"field": 1}}',
            '{"classes": ' + "[" * 100_000, '{"fields": {"x": null}}',
        ],
    )  # fmt: skip
    def test_one_that_is_wrong(self, table: Path, content: str) -> None:
        self.tell(table, content)
        with pytest.raises(SourceError, match=r"t\.fields\.json: does not describe columns"):
            open_source(table)

    @pytest.mark.parametrize(
        ("content", "error"),
        [
            ({"fields": {"x": "nothing"}}, OptionError),
            ({"fields": {"y": "int"}}, OptionError),
            ({"image": {"column": "y"}}, OptionError),
            ({"classes": ["a", "a"]}, SourceError),
            ({"classes": ["a"]}, SourceError),
            ({"image": {"field": "a b"}}, SourceError),
        ],
    )
    def test_one_that_does_not_suit_the_table(
        self, table: Path, content: Any, error: type[Exception]
    ) -> None:
        self.tell(table, content)
        with pytest.raises(error):
            open_source(table)

    def test_a_directory_in_its_place(self, table: Path) -> None:
        table.with_name("t.fields.json").mkdir()
        with pytest.raises(SourceError, match="cannot be read"):
            open_source(table)


class TestTar:
    def test_members(self, tmp_path: Path, out: Path) -> None:
        given = samples(3)
        one = pack(given, tmp_path / "a", encoding="keep")
        assert unpack(one, out, to="tar", quiet=True) == 3
        assert set(contents(out)) == {"00000.tar", "shards.fields.json"}
        found, reader = members(out), PackReader(one)
        stems = [name.partition(".")[0] for name in found]
        assert list(dict.fromkeys(stems)) == ["a/k0", "b/k1", "c/k2"]
        for i, stem in enumerate(["a/k0", "b/k1", "c/k2"]):
            own = {n.partition(".")[2]: d for n, d in found.items() if n.startswith(stem + ".")}
            assert own["png"] == given[i]["image"]
            assert own["other.jpg"] == given[i]["other"]
            assert own["cls"] == b"%d" % i
            assert own["s.txt"].decode() == given[i]["s"]
            assert json.loads(own["j.json"]) == given[i]["j"]
            assert json.loads(own["n.json"]) == given[i]["n"]
            assert own["b"] == given[i]["b"]
            for name in ("boxes", "e", "v", "flags", "one"):
                array = np.load(io.BytesIO(own[f"{name}.npy"]))
                expected = reader.value(i, name)
                assert array.dtype == expected.dtype
                np.testing.assert_array_equal(array, expected)
            assert own.keys() == {
                "png", "cls", "mask.png", "wide.mask.png", "other.jpg", "boxes.npy", "n.json",
                "f.json", "s.txt", "j.json", "b", "e.npy", "v.npy", "flags.npy", "none.npy",
                "one.npy",
            }  # fmt: skip

    def test_class_names_come_back(self, tmp_path: Path, out: Path) -> None:
        for name in ("cat", "dog/deep", "ant"):
            (tmp_path / "photos" / name).mkdir(parents=True)
            (tmp_path / "photos" / name / "1.png").write_bytes(encoded(picture(8, 9)))
        first = fastdata.pack(tmp_path / "photos", tmp_path / "a.pack", quiet=True).path
        unpack(first, out, to="tar", quiet=True)
        assert fastdata.plan_pack(out, None).samples == 3
        fastdata.pack(out, tmp_path / "b.pack", quiet=True)
        fastdata.append(tmp_path / "b.pack", str(out / "*.tar"), quiet=True)
        one, again = PackedImageFolder(first), PackedImageFolder(tmp_path / "b.pack")
        assert one.classes == again.classes == ["ant", "cat", "dog"]
        assert 2 * one.targets.tolist() == again.targets.tolist()

    def test_what_a_tar_source_reads_comes_back(self, tmp_path: Path, out: Path) -> None:
        """Fields that WebDataset has a name for keep it."""
        kinds = {
            "image": "image", "target": "int", "mask": "mask", "text": "str", "json": "json",
            "vec.npy": "float32[2]", "blob": "bytes",
        }  # fmt: skip
        given = [
            {
                "key": f"k{i}", "image": encoded(picture(8, 9, i)), "target": i, "json": {"i": [i]},
                "mask": np.full((8, 9), i, np.uint16), "text": f"é{i}", "vec.npy": [i, 2],
                "blob": bytes(i),
            }
            for i in range(4)
        ]  # fmt: skip
        one = pack(given, tmp_path / "a", fields=kinds, classes=None, encoding="keep")
        unpack(one, out, to="tar", quiet=True)
        again = repack(out, tmp_path / "b", encoding="keep")
        assert list(PackReader(again).keys) == [f"k{i}" for i in range(4)]
        new = [{**v, "target": int(v["target"])} for v in values(again)]
        old = [
            {("vec.npy.npy" if n == "vec.npy" else n): x for n, x in v.items()} for v in values(one)
        ]
        assert new == old

    @few
    @given(
        extra=st.dictionaries(names, st.sampled_from(["bytes", "str", "json"]), max_size=3),
        count=st.integers(1, 3), data=st.data(),
    )  # fmt: skip
    def test_any_text_and_bytes_are_there(
        self, tmp_path_factory: pytest.TempPathFactory, extra: Any, count: int, data: Any
    ) -> None:
        base = tmp_path_factory.mktemp("any")
        fields = {**extra, "image": "image"}
        image = encoded(picture(8, 9), ".png")
        given = [
            {"key": f"{i}", **{n: data.draw(VALUES[k]) for n, k in extra.items()}, "image": image}
            for i in range(count)
        ]
        one = pack(given, base / "a", fields=fields, classes=None, encoding="keep")
        unpack(one, base / "out", to="tar", quiet=True)
        found = list(members(base / "out").values())
        assert len(found) == count * len(fields)
        for sample in given:
            for name in extra:
                if name != "image" and isinstance(sample[name], bytes):
                    assert sample[name] in found

    @pytest.mark.parametrize("name", ["jpg", "png", "cls", "txt", "json", "npy", "a.png", "mask"])
    def test_bytes_called_like_an_extension(self, tmp_path: Path, out: Path, name: str) -> None:
        given = [{"key": "k", "image": encoded(picture(8, 9)), name: b"blob", "target": 3}]
        kinds = {"image": "image", name: "bytes", "target": "int"}
        one = pack(given, tmp_path / "a", fields=kinds, classes=None, encoding="keep")
        unpack(one, out, to="tar", quiet=True)
        assert members(out)[f"k.{name}.bin"] == b"blob"
        again = repack(out, tmp_path / "b", encoding="keep")
        assert PackReader(again).value(0, f"{name}.bin") == b"blob"
        assert PackReader(again).targets.tolist() == [3]

    def test_names_with_dots_and_two_suffixes(self, tmp_path: Path, out: Path) -> None:
        keys = ["d.x/a.jpg", "d.x/a.png", "d.x/b.c.jpg", ".hidden", "plain"]
        given = [{"key": key, "image": encoded(picture(8, 9, i))} for i, key in enumerate(keys)]
        one = pack(given, tmp_path / "a", fields={"image": "image"}, encoding="keep")
        unpack(one, out, to="tar", quiet=True)
        again = repack(out, tmp_path / "b", encoding="keep")
        assert len(PackReader(again)) == 5
        assert [v["image"] for v in values(again)] == [v["image"] for v in values(one)]

    def test_two_samples_of_one_name(self, tmp_path: Path, out: Path) -> None:
        given = [{"key": key, "image": picture(8, 9)} for key in ("a_b", "a.b.png", "a.b.png")]
        one = pack(given, tmp_path / "a", fields={"image": "image"})
        with pytest.raises(PackFormatError, match="two samples would be called"):
            unpack(one, out, to="tar", quiet=True)
        assert not out.exists()

    def test_the_same_bytes_each_time(self, tmp_path: Path, out: Path) -> None:
        one = pack(samples(), tmp_path / "a")
        unpack(one, out / "1", to="tar", quiet=True)
        unpack(one, out / "2", to="tar", quiet=True)
        assert contents(out / "1") == contents(out / "2")


class TestOptions:
    @pytest.mark.parametrize("to", ["zip", "", None])
    def test_a_format_that_is_none(self, tmp_path: Path, out: Path, to: Any) -> None:
        one = pack(samples(1), tmp_path / "a")
        with pytest.raises(OptionError, match="to must be one of folder, csv, tar; got"):
            unpack(one, out, to=to)

    @pytest.mark.parametrize("to", ["folder", "csv", "tar"])
    def test_damage_is_not_passed_on(self, tmp_path: Path, out: Path, to: str) -> None:
        one = pack(samples(), tmp_path / "a")
        record = bytes(PackReader(one).read(3))
        shard = next(one.glob("shard*"))
        shard.write_bytes(shard.read_bytes().replace(record, bytes(len(record))))
        with pytest.raises(PackFormatError, match="record of sample 3 is damaged"):
            unpack(one, out, to=to, quiet=True)
        assert not out.exists()

    @pytest.mark.parametrize("to", ["folder", "csv", "tar"])
    def test_keys_stay_inside(self, tmp_path: Path, out: Path, to: str) -> None:
        one = pack([{**samples(1)[0], "key": "../evil.png"}], tmp_path / "a")
        with pytest.raises(PackFormatError, match="not a path inside of a folder"):
            unpack(one, out, to=to, quiet=True)
        assert list(tmp_path.rglob("evil*")) == []
