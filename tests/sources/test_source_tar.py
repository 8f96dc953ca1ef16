"""Tar archives as a source: WebDataset shards and plain archives of class directories."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts.source_contract import SourceContract
from helpers.images import encoded, picture
from helpers.mutations import damaged
from helpers.samples import content, contents
from helpers.writers.tar import npy, write_tar
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdata.errors import EmptySourceError, FastdataError, SourceError, SourceNotFoundError
from fastdata.sources import SpanBlob
from fastdata.sources.tar.source import TarSource, detect_tar, list_tar

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
JPEG = encoded(picture(20, 30))
PAX_NAMES = ("size", "path", "linkpath", "mtime", "uid", "hdrcharset", "GNU.sparse.map",
             "GNU.sparse.size", "GNU.sparse.realsize", "GNU.sparse.major", "GNU.sparse.minor",
             "GNU.sparse.numblocks", "GNU.sparse.name")  # fmt: skip
PAX_VALUES = st.sampled_from(["0", "1", "-1", "-1024", "99999999999999999999", "x", "", "1,2", "é"])
BYTES = st.one_of(st.sampled_from(b"0127gxLKSV\0\x80\xff "), st.integers(0, 255))


def shard_members(first: int, count: int) -> list[tuple[str, bytes]]:
    """Samples with every kind of field; every other one lacks those that it may lack."""
    members = []
    for i in range(first, first + count):
        picture_of_it = encoded(picture(20 + i, 30), ".png" if i % 3 == 0 else ".jpg")
        members += [
            (f"part/{i:04d}.{'PNG' if i % 3 == 0 else 'jpg'}", picture_of_it),
            (f"part/{i:04d}.cls", f"{i % 4}\n".encode()),
            (f"part/{i:04d}.seg.png", b"mask of %d" % i),
            (f"part/{i:04d}.npy", npy(np.arange(3, dtype=np.float32) + i)),
        ]
        if i % 2:
            members += [
                (f"part/{i:04d}.txt", f"Nº {i}".encode()),
                (f"part/{i:04d}.json", json.dumps({"id": i}).encode()),
                (f"part/{i:04d}.depth", b"depth of %d" % i),
            ]
    return members


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    for shard in range(3):
        write_tar(tmp_path / f"train-{shard:03d}.tar", shard_members(5 * shard, 5))
    return tmp_path


class TestWebDatasetContract(SourceContract):
    sizes_are_those_of_files = False

    def write(self, root: Path) -> None:
        for shard in range(3):
            write_tar(root / f"train-{shard:03d}.tar", shard_members(5 * shard, 5))

    def listing(self, root: Path) -> TarSource:
        return list_tar(root)

    def change(self, root: Path) -> None:
        members = [(n, b"0" if n.endswith(".cls") else data) for n, data in shard_members(5, 5)]
        write_tar(root / "train-001.tar", members)


class TestClassDirectoriesContract(SourceContract):
    def write(self, root: Path) -> None:
        write_tar(root / "photos.tar", TREE)

    def listing(self, root: Path) -> TarSource:
        return list_tar(root / "photos.tar")

    def change(self, root: Path) -> None:
        write_tar(root / "photos.tar", [("./a.txt", b"moves all the images"), *TREE])


class TestWebDataset:
    def test_every_field_of_every_sample(self, shards: Path) -> None:
        source = list_tar(shards)
        assert {name: str(field) for name, field in source.fields.items()} == {
            "image": "image", "target": "int", "mask": "mask", "text": "str", "json": "json",
            "depth": "bytes", "npy": "float32[3]",
        }  # fmt: skip
        assert source.name == "tar"
        assert source.classes == ["0", "1", "2", "3"]
        assert len(source) == 15
        for i, (key, values) in enumerate(contents(source)):
            assert key == f"part/{i:04d}"
            suffix = ".png" if i % 3 == 0 else ".jpg"
            assert values.pop("image") == encoded(picture(20 + i, 30), suffix)
            assert values == {
                "target": i % 4,
                "mask": b"mask of %d" % i,
                "npy": ("<f4", (3,), [i, i + 1, i + 2]),
                "text": f"Nº {i}" if i % 2 else "",
                "json": {"id": i} if i % 2 else None,
                "depth": b"depth of %d" % i if i % 2 else b"",
            }

    def test_sizes_count_all_fields_and_stamps_are_the_archives(self, shards: Path) -> None:
        source = list_tar(shards)
        os.utime(shards / "train-001.tar", ns=(5, 7))
        again = list_tar(shards)
        assert (again.stamps[5:10] == 7).all()
        assert (again.stamps[:5] == source.stamps[:5]).all()
        assert source.sizes[0] == sum(len(data) for _, data in shard_members(0, 1))

    def test_images_are_not_read(self, shards: Path) -> None:
        image = list_tar(shards).item(7).values["image"]
        assert isinstance(image, SpanBlob)
        assert image.path == str(shards / "train-001.tar")

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("train-00*.tar", 15),
            ("train-{000..002}.tar", 15),
            ("train-{000,002}.tar", 10),
            ("train-{002..001}.tar", 10),
            ("train-001.tar", 5),
            ("tr{ain}-00{1..2}.tar", None),
        ],
    )
    def test_patterns(self, shards: Path, pattern: str, expected: int | None) -> None:
        if expected is None:
            with pytest.raises(SourceNotFoundError):
                list_tar(shards / pattern)
        else:
            assert len(list_tar(shards / pattern)) == expected

    def test_a_list_keeps_its_order(self, shards: Path) -> None:
        source = list_tar([shards / "train-002.tar", shards / "train-000.tar"])
        assert list(source.keys)[::5] == ["part/0010", "part/0000"]
        assert source.root == str(shards)

    def test_a_missing_shard_of_a_range_is_named(self, shards: Path) -> None:
        with pytest.raises(SourceNotFoundError, match=r"train-003\.tar does not exist"):
            list_tar(shards / "train-{000..003}.tar")

    def test_a_shard_named_twice(self, shards: Path) -> None:
        with pytest.raises(SourceError, match="twice"):
            list_tar([shards / "train-000.tar", shards / "train-*.tar"])

    def test_equal_keys_in_two_shards_get_the_shards_names(self, tmp_path: Path) -> None:
        for name in "ab":
            write_tar(tmp_path / f"{name}.tar", [("1.jpg", JPEG), ("1.txt", name.encode())])
        source = list_tar(tmp_path)
        assert list(source.keys) == ["a/1", "b/1"]
        assert [values["text"] for _, values in contents(source)] == ["a", "b"]

    def test_a_changed_label_changes_the_digest(self, tmp_path: Path) -> None:
        digests = set()
        for label in (b"0", b"1"):
            path = write_tar(tmp_path / "a.tar", [("1.jpg", JPEG), ("1.cls", label)])
            digests.add(list_tar(path).digest())
        assert len(digests) == 2

    def test_a_longer_extension_is_what_its_end_says(self, tmp_path: Path) -> None:
        members = [("1.left.jpg", JPEG), ("1.right.jpg", b"r"), ("1.caption.txt", b"c")]
        (_, values), *_ = contents(list_tar(write_tar(tmp_path / "a.tar", members)))
        assert values == {"left.jpg": JPEG, "right.jpg": b"r", "caption.txt": "c"}

    def test_what_is_no_sample_is_counted(self, tmp_path: Path) -> None:
        members = [("__meta__/a.json", b"{}"), ("1.jpg", JPEG), ("._1.jpg", b"x"), ("README", b"x")]
        source = list_tar(write_tar(tmp_path / "a.tar", members))
        assert list(source.keys) == ["1"]
        assert source.findings.ignored == {".json": 1, ".jpg": 1, "(none)": 1}

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ([("1.jpg", JPEG), ("1.cls", b"1"), ("2.jpg", JPEG)], "'2': expected field 'target'"),
            ([("1.jpg", JPEG), ("1.cls", b"cat")], "cls of sample '1': expected an integer"),
            ([("1.jpg", JPEG), ("1.cls", b"9" * 99)], "expected an integer"),
            ([("1.jpg", JPEG), ("1.png", JPEG)], "two members for the field 'image'"),
            ([("1.jpg", JPEG), ("2.jpg", JPEG), ("1.txt", b"")], "field 'image'"),
            ([("1.jpg", JPEG), ("2.jpg", JPEG), ("1.png", JPEG)], "'1' occurs twice"),
            ([("1.jpg", JPEG), ("1.target", b"1")], "cannot be named 'target'"),
            ([("1.jpg", JPEG), ("1.a b", b"1")], "'a b'"),
            ([("1.jpg", JPEG), ("1.npy", npy(np.array([{}])))], "an array of numbers"),
            ([("1.jpg", JPEG), ("1.npy", npy(np.ones(2, complex)))], "an array of numbers"),
            ([(f"1.{i}", b"") for i in range(99)], "more than 64 different extensions"),
            ([("1.txt", b"")], "no images"),
            ([], "no images"),
        ],
    )
    def test_wrong_archives(
        self, tmp_path: Path, members: list[tuple[str, bytes]], message: str
    ) -> None:
        with pytest.raises(SourceError, match=message):
            list_tar(write_tar(tmp_path / "a.tar", members))

    @pytest.mark.parametrize(
        ("member", "message"),
        [
            (("2.json", b"{"), "json of sample '2': expected JSON"),
            (("2.json", b"[" * 100_000), "expected JSON"),
            (("2.txt", b"\xff"), "text of sample '2': expected UTF-8 text"),
            (("2.npy", npy(np.zeros(3, np.int16))), r"expected int16\[2\], .* found int16\[3\]"),
            (("2.npy", npy(np.zeros(2, np.int16))[:-1]), "expected 4 bytes of data, found 3"),
            (("2.npy", b"no array"), "NumPy's .npy format"),
        ],
    )
    def test_wrong_values_are_found_when_they_are_read(
        self, tmp_path: Path, member: tuple[str, bytes], message: str
    ) -> None:
        first = [("1.jpg", JPEG)]
        if member[0].endswith("npy"):
            first.append(("1.npy", npy(np.zeros(2, np.int16))))
        source = list_tar(write_tar(tmp_path / "a.tar", [*first, ("2.jpg", JPEG), member]))
        assert source.item(0).key == "1"
        with pytest.raises(SourceError, match=message):
            source.item(1)

    def test_class_names_from_the_file_beside_them(self, shards: Path) -> None:
        numbered = list_tar(shards)
        assert numbered.classes == ["0", "1", "2", "3"]
        names = ["ant", "bee", "cat", "dog", "no image of it"]
        (shards / "shards.fields.json").write_text(json.dumps({"classes": names}), "utf-8")
        for path in (shards, shards / "train-*.tar", shards / "train-001.tar"):
            assert list_tar(path).classes == names
        named = list_tar(shards)
        assert named.columns["target"].tolist() == numbered.columns["target"].tolist()
        assert named.digest() != numbered.digest()

    def test_class_names_beside_archives_in_several_directories(self, tmp_path: Path) -> None:
        names = {"classes": ["ant", "bee", "cat", "dog"]}
        for part in ("train", "val"):
            write_tar(tmp_path / part / "0.tar", shard_members(0, 5))
            (tmp_path / part / "shards.fields.json").write_text(json.dumps(names), "utf-8")
        paths = [tmp_path / "train" / "0.tar", tmp_path / "val" / "0.tar"]
        assert list_tar(paths).classes == names["classes"]
        names["classes"].reverse()
        (tmp_path / "val" / "shards.fields.json").write_text(json.dumps(names), "utf-8")
        with pytest.raises(SourceError, match="name different classes"):
            list_tar(paths)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('{"fields": {"x": "int"}}', "of archives it tells nothing but the classes"),
            ('{"classes": ["a", "a", "b", "c"]}', "the names in classes must be different"),
            (r'{"classes": ["\ud800"]}', "surrogates not allowed"),
            (
                '{"classes": ["a", "b"]}',
                r"train-000\.tar: cls of sample 'part/0002' is 2, .* 2 ",
            ),
            ("[]", r"shards\.fields\.json: does not describe columns and classes"),
        ],
    )
    def test_class_names_that_do_not_fit(self, shards: Path, content: str, message: str) -> None:
        (shards / "shards.fields.json").write_text(content, "utf-8")
        with pytest.raises(SourceError, match=message):
            list_tar(shards)

    @pytest.mark.parametrize("array", [np.zeros((2, 3), ">f8"), np.asfortranarray(np.eye(3, 2))])
    def test_arrays_of_any_order(self, tmp_path: Path, array: Any) -> None:
        path = write_tar(tmp_path / "a.tar", [("1.jpg", JPEG), ("1.npy", npy(array))])
        found = list_tar(path).item(0).values["npy"]
        assert (found == array).all()


TREE = [
    ("./README.txt", b"about"),
    ("./dog/b.v2.jpg", JPEG),
    ("./dog/b.v2.png", b"other"),
    ("./cat/deep/1.JPEG", JPEG),
    ("./ant/1.png", b"ant"),
]


class TestClassDirectories:
    def test_the_first_directory_is_the_class(self, tmp_path: Path) -> None:
        source = list_tar(write_tar(tmp_path / "photos.tar", TREE))
        assert source.classes == ["ant", "cat", "dog"]
        assert [(key, values["target"]) for key, values in source] == [
            ("dog/b.v2.jpg", 2), ("dog/b.v2.png", 2), ("cat/deep/1.JPEG", 1), ("ant/1.png", 0),
        ]  # fmt: skip
        assert source.findings.ignored == {".txt": 1}

    def test_directories_that_all_have_in_common_do_not_count(self, tmp_path: Path) -> None:
        members = [(f"photos/train/{name}/1.jpg", JPEG) for name in ("b", "a")]
        source = list_tar(write_tar(tmp_path / "photos.tar", members))
        assert source.classes == ["a", "b"]
        assert list(source.keys) == ["photos/train/b/1.jpg", "photos/train/a/1.jpg"]

    def test_one_directory_is_one_class(self, tmp_path: Path) -> None:
        source = list_tar(write_tar(tmp_path / "a.tar", [("a/1.jpg", JPEG), ("a/2.jpg", JPEG)]))
        assert source.classes == ["a"]

    def test_classes_of_several_archives(self, tmp_path: Path) -> None:
        for name in "ba":
            write_tar(tmp_path / f"{name}.tar", [(f"{name}/1.jpg", JPEG)])
        source = list_tar(tmp_path)
        assert (source.classes, source.columns["target"].tolist()) == (["a", "b"], [0, 1])


class TestHostile:
    def test_links_and_sparse_files_are_rejected_with_their_sample(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w") as tar:
            kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.REGTYPE)
            for number, kind in enumerate(kinds, 1):
                info = tarfile.TarInfo(f"{number}.jpg")
                info.type, info.linkname = kind, "/etc/passwd"
                tar.addfile(info)
                tar.addfile(tarfile.TarInfo(f"{number}.txt"))
        source = list_tar(path)
        assert list(source.keys) == ["4"]
        assert [key for key, _ in source.findings.rejected] == ["1", "2", "3"]
        assert "a link" in source.findings.rejected[0][1]

    @pytest.mark.parametrize("name", ["/1.jpg", "../1.jpg", "a/../../1.jpg", "\udcff.jpg"])
    def test_names_that_are_no_relative_path_are_rejected(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
            tar.addfile(tarfile.TarInfo(name))
            tar.addfile(tarfile.TarInfo("2.jpg"))
        source = list_tar(path)
        assert list(source.keys) == ["2"]
        assert len(source.findings.rejected) == 1

    def test_a_cut_archive_is_named_with_the_byte(self, tmp_path: Path) -> None:
        path = write_tar(tmp_path / "a.tar", [("1.jpg", JPEG), ("2.jpg", JPEG)])
        whole = path.read_bytes()
        second = 512 + -(-len(JPEG) // 512) * 512
        for length, message in (
            (300, "at byte 0"),
            (600, rf"data of '1.jpg', {len(JPEG)} bytes from byte 512"),
            (second, f"that end an archive, at byte {second}, found the end of the file"),
            (second + 100, f"at byte {second}"),
        ):
            path.write_bytes(whole[:length])
            with pytest.raises(SourceError, match=message) as caught:
                list_tar(path)
            assert "a.tar" in str(caught.value)

    def test_archives_that_were_concatenated_are_noted(self, tmp_path: Path) -> None:
        path = write_tar(tmp_path / "a.tar", [("1.jpg", JPEG)])
        path.write_bytes(path.read_bytes() * 2)
        source = list_tar(path)
        assert len(source) == 1
        assert "concatenated" in source.findings.notes[0]

    def test_compressed_archives_are_refused_with_the_way_out(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar.gz"
        path.write_bytes(gzip.compress(b"\0" * 2048))
        assert detect_tar(path)
        with pytest.raises(SourceError, match=r"gzip.*decompress it first"):
            list_tar(path)

    def test_a_huge_long_name_is_not_read(self, tmp_path: Path) -> None:
        info = tarfile.TarInfo("././@LongLink")
        info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
        path = tmp_path / "a.tar"
        with path.open("wb") as file:
            file.write(info.tobuf(tarfile.GNU_FORMAT))
            file.truncate(1 << 34)  # a sparse file: it takes no room
        with pytest.raises(SourceError, match="a header of more than"):
            list_tar(path)

    def test_a_negative_size_does_not_go_round_in_circles(self, tmp_path: Path) -> None:
        info = tarfile.TarInfo("1.jpg")
        info.size = -1024
        path = tmp_path / "a.tar"
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        path.write_bytes(
            write_tar(tmp_path / "b.tar", [("0.jpg", b"")]).read_bytes()[:512] + header
        )
        with pytest.raises(SourceError, match="byte 512"):
            list_tar(path)

    @settings(max_examples=50)
    @given(data=st.data())
    def test_headers_that_lie_are_a_source_error(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        """Changed headers and pax records with the right checksum."""
        path = tmp_path_factory.mktemp("t") / "a.tar"
        records = data.draw(st.dictionaries(st.sampled_from(PAX_NAMES), PAX_VALUES, max_size=3))
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for name in ("1.jpg", "2.jpg"):
                info = tarfile.TarInfo(name)
                info.size, info.pax_headers = 700, records
                tar.addfile(info, io.BytesIO(bytes(700)))
        whole = bytearray(path.read_bytes())
        header = 512 * data.draw(st.integers(0, len(whole) // 512 - 1))
        for place, value in data.draw(st.lists(st.tuples(st.integers(0, 511), BYTES), max_size=6)):
            whole[header + place] = value
        block = whole[header : header + 148] + b" " * 8 + whole[header + 156 : header + 512]
        whole[header + 148 : header + 156] = b"%06o\0 " % sum(block)
        path.write_bytes(whole)
        with contextlib.suppress(FastdataError, OSError):
            contents(list_tar(path))

    @settings(max_examples=50)
    @given(data=st.data())
    def test_damage_is_a_source_error(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        path = tmp_path_factory.mktemp("t") / "a.tar"
        form = data.draw(st.sampled_from(FORMATS))
        whole = write_tar(path, [*shard_members(0, 2), ("n" * 150 + ".jpg", JPEG)][:8], form)
        path.write_bytes(damaged(whole.read_bytes(), data))
        with contextlib.suppress(FastdataError, OSError):
            contents(list_tar(path))


NAMES = st.text("abcd_-é", min_size=1, max_size=120).filter(lambda name: not name.startswith("__"))


@settings(max_examples=30)
@given(
    samples=st.dictionaries(NAMES, st.tuples(st.binary(max_size=1500), st.text(max_size=20)),
                            min_size=1, max_size=8),
    form=st.sampled_from(FORMATS[1:]),
)  # fmt: skip
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    samples: dict[str, tuple[bytes, str]],
    form: int,
) -> None:
    members = []
    for name, (image, text) in samples.items():
        members += [(f"d/{name}.jpg", image), (f"d/{name}.txt", text.encode())]
    source = list_tar(write_tar(tmp_path_factory.mktemp("t") / "a.tar", members, form))
    expected = [
        (f"d/{name}", {"image": image, "text": text}) for name, (image, text) in samples.items()
    ]
    assert [content(item) for item in source] == expected


class TestDetect:
    def test_by_name_magic_and_directory(self, shards: Path, tmp_path: Path) -> None:
        assert detect_tar(shards)
        assert detect_tar(shards / "train-{000..001}.tar")
        (shards / "train-000.tar").rename(tmp_path / "unnamed")
        assert detect_tar(tmp_path / "unnamed")

    def test_other_things(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(JPEG)
        assert not detect_tar(tmp_path)
        assert not detect_tar(tmp_path / "a.jpg")
        assert not detect_tar(tmp_path / "missing.tar")
        assert not detect_tar([])

    def test_what_cannot_be_an_archive(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.tar")
        for path in ("pipe.tar", "no.tar", "no-*.tar"):
            with pytest.raises(SourceError):
                list_tar(tmp_path / path)
        with pytest.raises(EmptySourceError, match="no tar archive"):
            list_tar(tmp_path)
