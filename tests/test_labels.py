"""Label files: integers, names, and every way in which a CSV can be wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastdata.errors import EmptySourceError, OptionError, SourceError, SourceNotFoundError
from fastdata.folder import Listing
from fastdata.labels import list_labels, list_source


def listed(root: Path, text: str | bytes) -> Listing:
    """The listing of a label file with this content; no image has to exist to be listed."""
    file = root / "labels.csv"
    file.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return list_labels(root, file)


def samples(listing: Listing) -> list[tuple[str, int]]:
    return [(sample.key, sample.target) for sample in listing]


def test_integers_are_targets_as_they_are(tmp_path: Path) -> None:
    listing = listed(tmp_path, "path,target\nb.jpg,3\na/c.png,0\nb.jpg,+1\n")
    assert samples(listing) == [("b.jpg", 3), ("a/c.png", 0), ("b.jpg", 1)]
    assert listing.classes == ["0", "1", "2", "3"]


def test_names_become_sorted_classes(tmp_path: Path) -> None:
    listing = listed(tmp_path, "path,target\n1.jpg,dog\n2.jpg,cat\n3.jpg,dog\n4.jpg,Ant\n")
    assert listing.classes == ["Ant", "cat", "dog"]
    assert samples(listing) == [("1.jpg", 2), ("2.jpg", 1), ("3.jpg", 2), ("4.jpg", 0)]


def test_one_name_among_integers_makes_all_of_them_names(tmp_path: Path) -> None:
    listing = listed(tmp_path, "path,target\n1.jpg,10\n2.jpg,9\n3.jpg,cat\n")
    assert listing.classes == ["10", "9", "cat"]
    assert samples(listing) == [("1.jpg", 0), ("2.jpg", 1), ("3.jpg", 2)]


@pytest.mark.parametrize("names", [["1_2", "3_4"], ["1.0", "2.0"], ["٣", "٤"], ["0x1", "0x2"]])
def test_names_that_only_look_like_integers(tmp_path: Path, names: list[str]) -> None:
    text = "path,target\n" + "".join(f"{i}.jpg,{name}\n" for i, name in enumerate(names))
    assert listed(tmp_path, text).classes == sorted(names)


def test_negative_and_huge_targets_have_no_classes(tmp_path: Path) -> None:
    for targets in ([-1, 5], [0, 10**12]):
        listing = listed(tmp_path, f"path,target\na.jpg,{targets[0]}\nb.jpg,{targets[1]}\n")
        assert [target for _, target in samples(listing)] == targets
        assert listing.classes == []


@pytest.mark.parametrize("digits", [25, 5000])
def test_a_target_beyond_64_bits(tmp_path: Path, digits: int) -> None:
    with pytest.raises(SourceError, match="does not fit into 64 bits"):
        listed(tmp_path, f"path,target\na.jpg,{'9' * digits}\n")


def test_other_columns_order_quotes_blank_lines_and_spaces(tmp_path: Path) -> None:
    text = 'split,target,path\r\ntrain, cat ,"a, ""b"".jpg"\r\n\r\nval,dog,./x//y.jpg\r\n'
    listing = listed(tmp_path, text)
    assert [key for key, _ in samples(listing)] == ['a, "b".jpg', "x/y.jpg"]
    assert listing.classes == ["cat", "dog"]


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    listing = listed(tmp_path, b"\xef\xbb\xbfpath,target\n\xc3\xa9.jpg,0\n")
    assert samples(listing) == [("é.jpg", 0)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1).filter(
                lambda name: name not in (".", "..")
            ),
            st.integers(-(2**63), 2**63 - 1),
        ),
        min_size=1,
    )
)
def test_whatever_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]]
) -> None:
    file = tmp_path_factory.mktemp("csv") / "labels.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("path", "target"), *rows])
    assert samples(list_labels(file.parent, file)) == rows


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    content=st.binary(max_size=200)
    | st.text('pathtarget,"\n\r;/.', max_size=80).map(lambda s: f"path,target\n{s}".encode())
)
def test_any_bytes_give_samples_or_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.mktemp("csv") / "labels.csv"
    file.write_bytes(content)
    message = ""
    try:
        assert len(list_labels(file.parent, file)) > 0
    except SourceError as error:
        message = str(error)
    assert message == "" or str(file) in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file"),
        ("file,label\na.jpg,1\n", "columns path and target, found the columns file, label"),
        ("path;target\na.jpg;1\n", "found the columns path;target"),
        ("path,target\n", "no rows"),
        ("path,target\na.jpg,0\n,1\n", "line 3: path or target is empty"),
        ("path,target\na.jpg,0\nb.jpg,\n", "line 3: path or target is empty"),
        ("path,target\na.jpg,0\nb.jpg,  \n", "line 3: path or target is empty"),
        ("path,target\na.jpg,0\n\nb.jpg\n", "line 4: path or target is empty"),
        ("path,target\na,b.jpg,1\n", "line 2: more fields than columns"),
        ("path,target\na.jpg,0\n/etc/passwd,1\n", "line 3: '/etc/passwd' is not a path inside"),
        ("path,target\n../a.jpg,0\n", r"line 2: '\.\./a\.jpg' is not a path inside"),
        ("path,target\na/../../b.jpg,0\n", "line 2: .* is not a path inside"),
        ("path,target\n.,0\n", r"line 2: '\.' is not a path inside"),
        ('path,target\na.jpg,0\n"b.jpg,1\nc.jpg,2\n', "line 4: not CSV: unexpected end"),
        (b"path,target\n\xe9.jpg,0\n", "not a UTF-8 file"),
        ("path,target\na.jpg,0\n".encode("utf-16"), "not a UTF-8 file"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(SourceError, match=rf"labels\.csv.*{message}"):
        listed(tmp_path, text)


def test_an_empty_file_is_an_empty_source(tmp_path: Path) -> None:
    with pytest.raises(EmptySourceError):
        listed(tmp_path, "path,target\n")


def test_a_missing_file_or_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"no label file at .*nothing\.csv"):
        list_labels(tmp_path, tmp_path / "nothing.csv")
    (tmp_path / "labels.csv").write_text("path,target\na.jpg,0\n")
    with pytest.raises(SourceNotFoundError, match="nowhere does not exist"):
        list_labels(tmp_path / "nowhere", tmp_path / "labels.csv")


def test_a_directory_as_label_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        list_labels(tmp_path, tmp_path)


def test_ways_of_listing_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="flat and labels"):
        list_source(tmp_path, flat=True, labels=tmp_path / "labels.csv")
    with pytest.raises(OptionError, match="allow_empty"):
        list_source(tmp_path, flat=True, allow_empty=True)
    with pytest.raises(OptionError, match="allow_empty"):
        list_source(tmp_path, labels=tmp_path / "labels.csv", allow_empty=True)
