"""Tables as sources: columns of every kind, targets, and every way in which a file can be wrong."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts.source_contract import SourceContract
from helpers.images import write_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastdata.errors import EmptySourceError, OptionError, SourceError, SourceNotFoundError
from fastdata.sources.base import FileBlob, Source
from fastdata.sources.table.source import TableSource, list_table

QUICK = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])


def listed(
    folder: Path, text: str | bytes, name: str = "labels.csv", **options: Any
) -> TableSource:
    """The listing of a table with this content; no image has to exist to be listed."""
    file = folder / name
    file.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return list_table(file, **options)


def listed_json(folder: Path, *rows: Any, **options: Any) -> TableSource:
    """The listing of JSON Lines."""
    return listed(folder, "".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl", **options)


def samples(source: Source) -> list[tuple[str, int]]:
    return [(item.key, item.values["target"]) for item in source]


def column(source: Source, name: str) -> list[Any]:
    return [item.values[name] for item in source]


def kinds(source: Source) -> dict[str, str]:
    return {name: str(field) for name, field in source.fields.items()}


class TestCsvContract(SourceContract):
    keys_are_unique = False

    def write(self, root: Path) -> None:
        for i in range(3):
            write_image(root / f"images/{i}.jpg", seed=i)
            write_image(root / f"masks/{i}.png", seed=i)
        rows = "".join(
            f'images/{i}.jpg,class_{i % 2},{i},{i / 2},"a {i}, b",masks/{i}.png,"[[{i},0,9,9.5]]",'
            f'"[1,{i}]","{{""a"": {i}}}"\n'
            for i in (2, 0, 1, 0)
        )
        header = "path,target,count,area,caption,mask,boxes,point,extra\n"
        (root / "table.csv").write_text(header + rows)

    def listing(self, root: Path) -> Source:
        declared = {"mask": "mask", "boxes": "boxes", "point": "uint8[2]", "extra": "json"}
        return list_table(root / "table.csv", fields=declared)

    def change(self, root: Path) -> None:
        table = root / "table.csv"
        table.write_text(table.read_text().replace("0.5", "0.25"))


class TestJsonContract(SourceContract):
    def write(self, root: Path) -> None:
        for i in range(3):
            write_image(root / f"{i}.jpg", seed=i)
        rows = [
            {"file_name": f"{i}.jpg", "label": f"{i}", "features": [0.5] * i, "more": {"a": [i]}}
            for i in range(3)
        ]
        (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def listing(self, root: Path) -> Source:
        return list_table(root / "rows.jsonl", fields={"features": "float16[?]"})

    def change(self, root: Path) -> None:
        rows = root / "rows.jsonl"
        rows.write_text(rows.read_text().replace('{"a": [1]}', '{"a": [11]}'))


def test_a_table_gives_the_files_bytes(tmp_path: Path) -> None:
    write_image(tmp_path / "images/a.jpg")
    source = listed(tmp_path, "path,target\na.jpg,0\nb.jpg,1\n", root=tmp_path / "images")
    assert source.root == str(tmp_path / "images")
    blob = source.item(0).values["image"]
    assert blob.read() == (tmp_path / "images/a.jpg").read_bytes()
    assert source.sizes.tolist() == [len(blob.read()), 0]
    assert source.stamps.tolist() == [(tmp_path / "images/a.jpg").stat().st_mtime_ns, -1]
    with pytest.raises(OSError, match="no such file"):
        source.item(1).values["image"].read()


# Label files: a table with the columns path and target.


def test_integers_are_targets_as_they_are(tmp_path: Path) -> None:
    source = listed(tmp_path, "path,target\nb.jpg,3\na/c.png,0\nb.jpg,+1\n")
    assert samples(source) == [("b.jpg", 3), ("a/c.png", 0), ("b.jpg", 1)]
    assert source.classes == ["0", "1", "2", "3"]
    assert kinds(source) == {"image": "image", "target": "int"}


def test_names_become_sorted_classes(tmp_path: Path) -> None:
    source = listed(tmp_path, "path,target\n1.jpg,dog\n2.jpg,cat\n3.jpg,dog\n4.jpg,Ant\n")
    assert source.classes == ["Ant", "cat", "dog"]
    assert samples(source) == [("1.jpg", 2), ("2.jpg", 1), ("3.jpg", 2), ("4.jpg", 0)]


def test_one_name_among_integers_makes_all_of_them_names(tmp_path: Path) -> None:
    source = listed(tmp_path, "path,target\n1.jpg,10\n2.jpg,9\n3.jpg,cat\n")
    assert source.classes == ["10", "9", "cat"]
    assert samples(source) == [("1.jpg", 0), ("2.jpg", 1), ("3.jpg", 2)]


@pytest.mark.parametrize("names", [["1_2", "3_4"], ["1.0", "2.0"], ["٣", "٤"], ["0x1", "0x2"]])
def test_names_that_only_look_like_integers(tmp_path: Path, names: list[str]) -> None:
    text = "path,target\n" + "".join(f"{i}.jpg,{name}\n" for i, name in enumerate(names))
    assert listed(tmp_path, text).classes == sorted(names)


def test_negative_and_huge_targets_have_no_classes(tmp_path: Path) -> None:
    for targets in ([-1, 5], [0, 10**12]):
        source = listed(tmp_path, f"path,target\na.jpg,{targets[0]}\nb.jpg,{targets[1]}\n")
        assert [target for _, target in samples(source)] == targets
        assert source.classes == []


@pytest.mark.parametrize("digits", [25, 5000])
def test_a_target_beyond_64_bits(tmp_path: Path, digits: int) -> None:
    with pytest.raises(SourceError, match=r"line 3, column 'target': .*does not fit into 64 bits"):
        listed(tmp_path, f"path,target\na.jpg,1\nb.jpg,{'9' * digits}\n")


def test_a_target_beyond_64_bits_may_be_a_name_among_names(tmp_path: Path) -> None:
    source = listed(tmp_path, f"path,target\na.jpg,{'9' * 25}\nb.jpg,cat\n")
    assert source.classes == ["9" * 25, "cat"]


def test_order_quotes_blank_lines_and_spaces(tmp_path: Path) -> None:
    text = 'split,target,path\r\ntrain, cat ,"a, ""b"".jpg"\r\n\r\nval,dog,./x//y.jpg\r\n'
    source = listed(tmp_path, text)
    assert list(source.keys) == ['a, "b".jpg', "x/y.jpg"]
    assert source.classes == ["cat", "dog"]
    assert column(source, "split") == ["train", "val"]


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    source = listed(tmp_path, b"\xef\xbb\xbfpath,target\n\xc3\xa9.jpg,0\n")
    assert samples(source) == [("é.jpg", 0)]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1)


@QUICK
@given(
    content=st.binary(max_size=200)
    | st.text('pathtarget,"\n\r;/.', max_size=80).map(lambda s: f"path,target\n{s}".encode())
    | st.text('{}[]":,\n\\uDd8019.eE-pathNn', max_size=80).map(
        lambda s: f'{{"path":"a","target":1,"b":{s}'.encode()
    ),
    name=st.sampled_from(["labels.csv", "labels.jsonl"]),
)
def test_any_bytes_give_samples_or_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    file = tmp_path_factory.mktemp("any") / name
    file.write_bytes(content)
    message = ""
    try:
        assert len(list(list_table(file))) > 0
    except SourceError as error:
        message = str(error)
    assert message == "" or str(file) in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file"),
        ("picture,label\na.jpg,1\n", "expected a column path.*found the columns picture, label"),
        ("path;target\na.jpg;1\n", "found the columns path;target; .*commas"),
        ("path,target\n", "no rows"),
        ("path,target\na.jpg,0\n,1\n", "line 3, column 'path': empty"),
        ("path,target\na.jpg,0\nb.jpg,\n", "line 3, column 'target': empty"),
        ("path,target\na.jpg,0\nb.jpg,  \n", "line 3, column 'target': empty"),
        ("path,target\na.jpg,0\n\nb.jpg\n", "line 4, column 'target': empty"),
        ("path,target\na,b.jpg,1\n", "line 2: more fields than columns"),
        ("path,target\na.jpg,0\n/etc/passwd,1\n", "line 3.*'/etc/passwd' is not a path inside"),
        ("path,target\n../a.jpg,0\n", r"line 2.*'\.\./a\.jpg' is not a path inside"),
        ("path,target\na/../../b.jpg,0\n", "line 2.* is not a path inside"),
        ("path,target\na/..,0\n", "line 2.* is not a path inside"),
        ("path,target\n.,0\n", r"line 2.*'\.' is not a path inside"),
        ('path,target\na.jpg,0\n"b.jpg,1\nc.jpg,2\n', "line 4: not CSV: unexpected end"),
        (b"path,target\n\xe9.jpg,0\n", "not a UTF-8 file"),
        ("path,target\na.jpg,0\n".encode("utf-16"), "not a UTF-8 file"),
        (f"path,note\na.jpg,{'x' * 200_000}\n", "line 2: not CSV: .*; use JSON Lines"),
        ("path,target,a,a\na.jpg,0,1,2\n", "two columns are called 'a'"),
        ("path,my column\na.jpg,0\n", r"column 'my column'.*fields=\{'my column': None\}"),
        ("path,key\na.jpg,0\n", "column 'key'.*not 'key'.*rename it, or leave it out"),
        ("path,image\na.jpg,0\n", "column 'image': another column is the image already"),
        ("path,n\na.jpg,1\nb.jpg,\n", "line 3, column 'n': empty.*int.*fill it, or declare .* str"),
        ("path,n\na.jpg,\nb.jpg,.5\n", "line 2, column 'n': empty.*float"),
        ("path,n\na.jpg,1\nb.jpg\n", "line 3, column 'n': empty"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(SourceError, match=rf"labels\.csv.*{message}"):
        listed(tmp_path, text)


def test_an_empty_table_is_an_empty_source(tmp_path: Path) -> None:
    with pytest.raises(EmptySourceError):
        listed(tmp_path, "path,target\n")


def test_a_missing_file_or_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.csv", tmp_path / "no/nothing.csv"):
        with pytest.raises(SourceNotFoundError, match=r"no table at .*nothing\.csv"):
            list_table(path)
    with pytest.raises(SourceNotFoundError, match="nowhere does not exist"):
        listed(tmp_path, "path,target\na.jpg,0\n", root=tmp_path / "nowhere")


def test_a_directory_as_table(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        list_table(tmp_path)


@pytest.mark.parametrize("name", ["endless.csv", "endless.jsonl"])
def test_a_line_without_an_end_is_not_read_for_ever(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(SourceError, match=r"line 1: more than .* characters"):
        list_table(tmp_path / name)


# Columns.


@pytest.mark.parametrize("name", ["path", "file_name", "filename", "image", "file"])
def test_the_image_column_is_found_by_its_name(tmp_path: Path, name: str) -> None:
    source = listed(tmp_path, f"n,{name}\n1,a.jpg\n")
    assert list(source.keys) == ["a.jpg"]
    assert kinds(source) == {"image": "image", "n": "int"}


def test_the_image_column_is_the_preferred_one_or_the_given_one(tmp_path: Path) -> None:
    text = "file,path,photo\na.jpg,b.jpg,c.jpg\n"
    assert list(listed(tmp_path, text).keys) == ["b.jpg"]
    source = listed(tmp_path, text, image="photo")
    assert list(source.keys) == ["c.jpg"]
    assert kinds(source) == {"image": "image", "file": "str", "path": "str"}
    with pytest.raises(OptionError, match=r"no column 'picture'.*file, path, photo"):
        listed(tmp_path, text, image="picture")


@pytest.mark.parametrize(
    ("header", "classes", "fields"),
    [
        ("path,label,class,target", ["z"], {"label", "class"}),
        ("path,class,label", ["y"], {"class"}),
        ("path,class", ["x"], set()),
        ("path,species", [], {"species"}),
    ],
)
def test_the_target_is_target_or_label_or_class(
    tmp_path: Path, header: str, classes: list[str], fields: set[str]
) -> None:
    cells = {"path": "a.jpg", "class": "x", "label": "y", "target": "z", "species": "s"}
    source = listed(tmp_path, f"{header}\n{','.join(cells[n] for n in header.split(','))}\n")
    assert source.classes == classes
    assert set(source.fields) - {"image", "target"} == fields
    assert ("target" in source.fields) == bool(classes)


def test_a_declared_label_is_a_field_and_no_target(tmp_path: Path) -> None:
    source = listed(tmp_path, "path,label\na.jpg,cat\n", fields={"label": "str"})
    assert kinds(source) == {"image": "image", "label": "str"}
    assert column(source, "label") == ["cat"]


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "-2", " +3 "], "int", [1, -2, 3]),
        ([str(2**63 - 1), str(-(2**63))], "int", [2**63 - 1, -(2**63)]),
        (["1", ".5", "-1e3", "2.", "inf"], "float", [1.0, 0.5, -1000.0, 2.0, float("inf")]),
        (["1", "cat", ""], "str", ["1", "cat", ""]),
        (["", ""], "str", ["", ""]),
        (["007", "008"], "str", ["007", "008"]),
        (["1_0", "2"], "str", ["1_0", "2"]),
        (["1", str(2**63)], "str", ["1", str(2**63)]),
        ([" a ", "é"], "str", [" a ", "é"]),
        (["[1]", "{}"], "str", ["[1]", "{}"]),
    ],
)
def test_kinds_of_csv_columns_show_in_all_cells(
    tmp_path: Path, cells: list[str], kind: str, values: list[Any]
) -> None:
    source = listed(tmp_path, "path,x\n" + "".join(f"a.jpg,{cell}\n" for cell in cells))
    assert kinds(source)["x"] == kind
    assert column(source, "x") == values
    assert {type(value).__name__ for value in column(source, "x")} == {kind}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "int"),
        ([1, 2.5], "float"),
        (["1", "é"], "str"),
        ([1, "1"], "json"),
        ([True, False], "json"),
        ([1, True], "json"),
        ([1, None], "json"),
        ([[1], {"a": None}], "json"),
        ([1, 2**64], "json"),
        ([None, None], "json"),
    ],
)
def test_kinds_of_json_columns_show_in_all_values(
    tmp_path: Path, values: list[Any], kind: str
) -> None:
    source = listed_json(tmp_path, *({"path": "a.jpg", "x": value} for value in values))
    assert kinds(source)["x"] == kind
    assert column(source, "x") == values


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
).filter(lambda value: value not in (float("inf"), -float("inf")))


@QUICK
@given(values=st.lists(JSON, min_size=1, max_size=5))
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, values: list[Any]) -> None:
    rows = [{"path": "a.jpg", "x": value} for value in values]
    root = tmp_path_factory.mktemp("json")
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if "Infinity" in text:
        with pytest.raises(SourceError, match=r"column 'x'.*not JSON"):
            listed(root, text, "rows.jsonl")
    else:
        assert column(listed(root, text, "rows.jsonl"), "x") == values


def test_a_column_that_comes_late_or_goes_is_json_with_null(tmp_path: Path) -> None:
    source = listed_json(tmp_path, {"path": "a"}, {"path": "b", "x": 1}, {"path": "c"})
    assert kinds(source)["x"] == "json"
    assert column(source, "x") == [None, 1, None]


def test_blank_lines_and_numbers_of_lines_in_json(tmp_path: Path) -> None:
    text = '{"path": "a"}\n\n  \n{"path": "../b"}\n'
    with pytest.raises(SourceError, match=r"line 4, column 'path'"):
        listed(tmp_path, text, "rows.ndjson")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file"),
        ("[1]\n", "line 1: expected one JSON object a line"),
        ('{"path": "a"}\n{"path": \n', "line 2: not JSON"),
        ('{"path": "a", "x": 1}\n{"x": 1}\n', "line 2, column 'path': expected a path, found null"),
        ('{"path": 1}\n', "line 1, column 'path': expected a path, found 1"),
        ('{"path": "\\ud800"}\n', "line 1, column 'path': half of a surrogate pair"),
        ('{"path": "a", "x": "\\ud800"}\n', "line 1, column 'x': half of a surrogate pair"),
        ('{"path": "a", "x": ["\\ud800"]}\n', "line 1, column 'x': half of a surrogate pair"),
        ('{"path": "a", "x": [NaN]}\n', "line 1, column 'x': NaN and infinity are not JSON"),
        ('{"path": "a", "x": 1}\n{"path": "a", "x": NaN}\n{"path": "a", "x": ""}', "line 2.*NaN"),
        ('{"path": "a", "target": 1.5}\n', "line 1, column 'target': expected a class name"),
        ('{"path": "a", "target": true}\n', "line 1, column 'target': expected a class name"),
        ('{"path": "a", "target": 1}\n{"path": "a"}\n', "line 2, column 'target'.*found null"),
        ('{"path": "a"}\n{"path": "a", "label": 1}\n', "line 2: 'label' is missing in the rows"),
        ('{"path": "a"}\n{"path": "a", "image": 1}\n', "line 2, column 'image': another column"),
        ('{"path": "a", "x": ' + "[" * 100_000 + "\n", "line 1: .*nested too deeply"),
        ('{"path": "a", "x": ' + "9" * 5000 + "}\n", "line 1"),
    ],
)
def test_what_is_wrong_with_json_lines(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=rf"rows\.jsonl.*{message}"):
        listed(tmp_path, text, "rows.jsonl")


def test_json_with_too_many_columns(tmp_path: Path) -> None:
    rows = [{"path": "a"} | {f"x{100 * i + j}": 1 for j in range(100)} for i in range(20)]
    with pytest.raises(SourceError, match="line 11: more than 1024 columns"):
        listed_json(tmp_path, *rows)


# Declared columns.


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("int", " 007 ", 7),
        ("float", "7", 7.0),
        ("str", "7", "7"),
        ("json", '"[1, null]"', [1, None]),
        ("float32[2]", '"[1, 2.5]"', np.array([1, 2.5], np.float32)),
        ("int64[?]", "[]", np.zeros(0, np.int64)),
        ("uint8[?,2]", '"[[1,2],[3,255]]"', np.array([[1, 2], [3, 255]], np.uint8)),
        ("uint8[?,2]", "[]", np.zeros((0, 2), np.uint8)),
        ("bool[2]", '"[true, false]"', np.array([True, False])),
        ("float64[]", "0.1", np.array(0.1)),
        ("boxes", '"[[1, 2, 3.5, 4]]"', np.array([[1, 2, 3.5, 4]], np.float32)),
        ("boxes", "[]", np.zeros((0, 4), np.float32)),
        ("mask", "m/a.png", "m/a.png"),
        ("image", "m/a.png", "m/a.png"),
    ],
)
def test_declared_kinds(tmp_path: Path, kind: str, cell: str, value: Any) -> None:
    source = listed(tmp_path, f"path,x\na.jpg,{cell}\n", fields={"x": kind})
    assert kinds(source)["x"] == kind
    (found,) = column(source, "x")
    if isinstance(value, np.ndarray):
        assert found.dtype == value.dtype
        assert np.array_equal(found, value)
        assert found.shape == value.shape
    elif kind in ("mask", "image"):
        assert found == FileBlob(str(tmp_path / value))
    else:
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "cell", "message"),
    [
        ("int", "1.5", "expected an integer, found '1.5'"),
        ("int", "", "empty.*fill it, or declare it as str"),
        ("int", "9" * 30, "does not fit into 64 bits"),
        ("float", "x", "expected a number, found 'x'"),
        ("json", "{", "not JSON"),
        ("json", "[NaN]", "not JSON"),
        ("mask", "", "empty; expected a path"),
        ("mask", "../a.png", "not a path inside"),
        ("boxes", "[1]", r"expected N×4 finite numbers, found list \[1\]"),
        ("boxes", '"[[1,2,3]]"', r"expected N×4 finite numbers, found list \[\[1, 2, 3\]\]"),
        ("boxes", '"[[1,2,0,4]]"', "right >= left and bottom >= top, found"),
        ("boxes", '"[[1,2,NaN,4]]"', "finite"),
        ("boxes", '"[[1,2,3,1e39]]"', "does not fit into float32"),
        ("uint8[1]", "[256]", "does not fit into uint8"),
        ("uint8[1]", "[-1]", "does not fit into uint8"),
        ("uint8[1]", "[1.5]", "found a number with a fraction"),
        ("uint8[1]", "[true]", "found true or false"),
        ("uint64[1]", f"[{2**64}]", "found something else"),
        ("float16[1]", "[70000]", "does not fit into float16"),
        ("float32[1]", '"[""1""]"', "found text"),
        ("float32[2]", '"[1,[2]]"', "found lists of different lengths"),
        ("float32[2]", "[null]", "found something else than numbers"),
        ("float32[1]", "{}", "found something else than numbers"),
        ("float32[2]", "[]", r"expected float32\[2\], found list \[\]"),
    ],
)
def test_what_is_wrong_with_a_declared_value(
    tmp_path: Path, kind: str, cell: str, message: str
) -> None:
    with pytest.raises(SourceError, match=rf"labels\.csv, line 3, column 'x': .*{message}"):
        good = {"int": "1", "float": "1", "json": "1", "mask": "a.png", "boxes": "[]"}
        good |= {"float32[2]": '"[1,2]"'}
        first = good.get(kind, "true" if kind.startswith("bool") else "[1]")
        listed(tmp_path, f"path,x\na.jpg,{first}\nb.jpg,{cell}\n", fields={"x": kind})


def test_declared_json_values_have_to_be_of_the_kind(tmp_path: Path) -> None:
    for kind, value in [("int", 1.0), ("int", True), ("int", 2**63), ("str", 1), ("float", "1")]:
        with pytest.raises(SourceError, match="line 1, column 'x'"):
            listed_json(tmp_path, {"path": "a", "x": value}, fields={"x": kind})
    source = listed_json(
        tmp_path, {"path": "a", "x": 1, "y": 1}, fields={"x": "float", "y": "json"}
    )
    assert kinds(source) == {"image": "image", "x": "float", "y": "json"}


def test_declarations_that_cannot_be(tmp_path: Path) -> None:
    text = "path,target,x\na.jpg,1,2\n"
    for fields, message in [
        ({"y": "int"}, "the column 'y'.*path, target, x"),
        ({"x": "number"}, "a field is"),
        ({"target": "float"}, "'target' must be of kind int"),
    ]:
        with pytest.raises(OptionError, match=message):
            listed(tmp_path, text, fields=fields)
    with pytest.raises(OptionError, match="both the image and another field"):
        listed(tmp_path, text, image="path", fields={"path": "str"})


def test_columns_can_be_left_out(tmp_path: Path) -> None:
    text = ",path,target,key,my column,n\n0,a.jpg,1,2,3,\n"
    left_out = {"key": None, "my column": None, "n": None, "target": None}
    source = listed(tmp_path, text, fields=left_out)
    assert kinds(source) == {"image": "image"}
    assert any("without a name was left out" in note for note in source.findings.notes)


# Given classes.


def test_given_classes_keep_their_order(tmp_path: Path) -> None:
    text = "path,target\na.jpg,cat\nb.jpg,dog\n"
    source = listed(tmp_path, text, classes=["dog", "cow", "cat"])
    assert source.classes == ["dog", "cow", "cat"]
    assert samples(source) == [("a.jpg", 2), ("b.jpg", 0)]


def test_integers_index_given_classes_unless_they_are_names(tmp_path: Path) -> None:
    text = "path,target\na.jpg,1\nb.jpg,0\n"
    assert samples(listed(tmp_path, text, classes=["x", "y"])) == [("a.jpg", 1), ("b.jpg", 0)]
    assert samples(listed(tmp_path, text, classes=["1", "0"])) == [("a.jpg", 0), ("b.jpg", 1)]


@pytest.mark.parametrize(
    ("target", "message"),
    [("cow", "line 3, column 'target': 'cow' is not among the 2 classes"), ("2", "not among")],
)
def test_targets_outside_of_the_given_classes(tmp_path: Path, target: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        listed(tmp_path, f"path,target\na.jpg,cat\nb.jpg,{target}\n", classes=["cat", "dog"])
    with pytest.raises(SourceError, match="line 2, column 'target': 7 is no index into 2 classes"):
        listed(tmp_path, "path,target\na.jpg,7\nb.jpg,-1\n", classes=["cat", "dog"])
    with pytest.raises(OptionError, match="must be different"):
        listed(tmp_path, "path,target\na.jpg,0\n", classes=["a", "a"])


# Size.


def test_a_part_does_not_carry_the_whole(tmp_path: Path) -> None:
    rows = "".join(f"{i}.jpg,{i},{'x' * 100}\n" for i in range(2000))
    source = listed(tmp_path, "path,n,text\n" + rows)
    assert len(pickle.dumps(source.part(1000, 1010))) < len(pickle.dumps(source)) / 50
