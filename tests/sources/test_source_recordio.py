"""MXNet's RecordIO files as a source; written here as dmlc-core's writer does."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from contracts.source_contract import SourceContract
from helpers.images import encoded, picture
from helpers.mutations import damaged
from helpers.samples import contents
from helpers.writers.recordio import MAGIC, frame, image_record, write_rec
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdata.errors import EmptySourceError, FastdataError, SourceError
from fastdata.sources import SpanBlob
from fastdata.sources.recordio.source import (
    RecordIOSource,
    detect_recordio,
    list_recordio,
)

JPEG = encoded(picture(20, 30))


def pictures(count: int) -> list[bytes]:
    return [encoded(picture(20 + i, 30)) for i in range(count)]


class TestContract(SourceContract):
    def write(self, root: Path) -> None:
        for name, first in (("a", 0), ("b", 3)):
            records = [image_record(i % 2, first + i, JPEG + bytes(i)) for i in range(3)]
            write_rec(root / f"{name}.rec", records)

    def listing(self, root: Path) -> RecordIOSource:
        return list_recordio(root)

    def change(self, root: Path) -> None:
        write_rec(root / "a.rec", [image_record(1, i, JPEG + bytes(i)) for i in range(3)])


class TestLabelListsContract(SourceContract):
    def write(self, root: Path) -> None:
        records = [image_record([i + 0.5] * (1 + i % 3), i, JPEG) for i in range(5)]
        write_rec(root / "a.rec", records)

    def listing(self, root: Path) -> RecordIOSource:
        return list_recordio(root / "a.rec")

    def change(self, root: Path) -> None:
        records = [image_record([i + 0.25] * (1 + i % 3), i, JPEG) for i in range(5)]
        write_rec(root / "a.rec", records)


class TestListing:
    def test_integer_labels_are_targets(self, tmp_path: Path) -> None:
        images = pictures(4)
        records = [image_record(float(i % 3), 10 + i, image) for i, image in enumerate(images)]
        source = list_recordio(write_rec(tmp_path / "a.rec", records))
        assert source.name == "recordio"
        assert source.classes == ["0", "1", "2"]
        assert contents(source) == [
            (str(10 + i), {"image": image, "target": i % 3}) for i, image in enumerate(images)
        ]
        assert source.sizes.tolist() == [len(image) for image in images]
        assert all(isinstance(item.values["image"], SpanBlob) for item in source)

    @pytest.mark.parametrize(
        ("labels", "kind"),
        [
            ([[1.0, 2.5], [3.0, 4.0]], "float32[2]"),
            ([[1.0], [3.0, 4.0]], "float32[?]"),
            ([0.5, 1.0], "float32[1]"),
            ([float("inf"), 1.0], "float32[1]"),
            ([2.0**25, 1.0], "float32[1]"),
        ],
    )
    def test_other_labels_are_an_array(
        self, tmp_path: Path, labels: list[float | list[float]], kind: str
    ) -> None:
        records = [image_record(label, i, JPEG) for i, label in enumerate(labels)]
        source = list_recordio(write_rec(tmp_path / "a.rec", records))
        assert str(source.fields["label"]) == kind
        found = [values["label"] for _, values in contents(source)]
        lists = [one if isinstance(one, list) else [one] for one in labels]
        assert found == [("<f4", (len(one),), one) for one in lists]
        assert source.classes == []

    def test_a_list_of_one_integer_is_a_target(self, tmp_path: Path) -> None:
        source = list_recordio(write_rec(tmp_path / "a.rec", [image_record([7.0], 1, JPEG)]))
        assert source.item(0).values["target"] == 7

    @pytest.mark.parametrize("label", [1.0, [1.0, 2.0]])
    def test_a_changed_label_changes_the_digest(
        self, tmp_path: Path, label: float | list[float]
    ) -> None:
        path = tmp_path / "a.rec"
        other = 3.0 if isinstance(label, float) else [1.0, 3.0]
        digests = {
            list_recordio(write_rec(path, [image_record(one, 1, JPEG)])).digest()
            for one in (label, other)
        }
        assert len(digests) == 2


class TestKeys:
    def test_the_path_of_the_lst_file(self, tmp_path: Path) -> None:
        path = write_rec(tmp_path / "a.rec", [image_record(0, i, JPEG) for i in (5, 3, 9)])
        (tmp_path / "a.lst").write_text("3\t0\t1\tcat/a.jpg\n5\t0.0\tdog/é b.jpg\n\n")
        assert list(list_recordio(path).keys) == ["dog/é b.jpg", "cat/a.jpg", "9"]

    def test_repeated_ids_give_way_to_the_idx_file(self, tmp_path: Path) -> None:
        records = [image_record(0, 0, JPEG)] * 3
        path = write_rec(tmp_path / "a.rec", records, [4, 6, 5])
        assert list(list_recordio(path).keys) == ["4", "6", "5"]
        path.with_suffix(".idx").unlink()
        assert list(list_recordio(path).keys) == ["0", "1", "2"]

    def test_equal_ids_in_two_files_get_the_files_names(self, tmp_path: Path) -> None:
        for name in ("a.rec", "b/a.rec"):
            write_rec(tmp_path / name, [image_record(0, 1, JPEG)])
        paths = [tmp_path / "b" / "a.rec", tmp_path / "a.rec"]
        assert list(list_recordio(paths).keys) == ["b/a/1", "a/1"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [("1\t0\t../a.jpg", "no relative path"), ("1 0 a.jpg", "line 1: expected number"),
         ("1\t0\ta.jpg\n2\t0\ta.jpg", "names 'a.jpg' twice")],
    )  # fmt: skip
    def test_wrong_lst_files(self, tmp_path: Path, text: str, message: str) -> None:
        path = write_rec(tmp_path / "a.rec", [image_record(0, i, JPEG) for i in (1, 2)])
        (tmp_path / "a.lst").write_text(text)
        with pytest.raises(SourceError, match=message):
            list_recordio(path)


class TestParts:
    """An image that contains the magic number is stored in several parts."""

    @pytest.mark.parametrize("image", [MAGIC, b"abcd" + MAGIC, MAGIC * 3 + b"xyz", b"ab" + MAGIC])
    def test_parts_are_joined(self, tmp_path: Path, image: bytes) -> None:
        records = [image_record(1, 0, image), image_record(2, 1, JPEG)]
        source = list_recordio(write_rec(tmp_path / "a.rec", records))
        assert [values["image"] for _, values in contents(source)] == [image, JPEG]
        assert source.sizes.tolist() == [len(image), len(JPEG)]

    def test_a_magic_number_in_the_header(self, tmp_path: Path) -> None:
        number = 0xCED7230A
        label = struct.unpack("<f", MAGIC)[0]
        records = [image_record(1, number, JPEG), image_record([label, 1.0], 3, JPEG)]
        source = list_recordio(write_rec(tmp_path / "a.rec", records))
        assert [values["image"] for _, values in contents(source)] == [JPEG, JPEG]
        assert list(source.keys) == [str(number), "3"]
        assert source.item(1).values["label"].tolist() == [label, 1.0]

    def test_a_file_that_has_changed_is_an_os_error(self, tmp_path: Path) -> None:
        path = write_rec(tmp_path / "a.rec", [image_record(1, 0, b"abcd" + MAGIC + b"abcd")])
        blob = list_recordio(path).item(0).values["image"]
        path.write_bytes(bytes(path.stat().st_size))
        with pytest.raises(OSError, match="the record at byte 0: expected the magic number"):
            blob.read()


class TestFacePacks:
    def test_header_and_identities_are_left_out(self, tmp_path: Path) -> None:
        records = [image_record(float(i // 2), 1 + i, JPEG + bytes(i)) for i in range(4)]
        records[3] = image_record([1.0, 0.5], 4, JPEG)  # a label with something beside the class
        records += [image_record([1.0, 3.0], 5, b""), image_record([3.0, 5.0], 6, b"")]
        records += [image_record([5.0, 7.0], 0, b"")]  # the header: the range of identities
        source = list_recordio(write_rec(tmp_path / "train.rec", records, [1, 2, 3, 4, 5, 6, 0]))
        assert list(source.keys) == ["1", "2", "3", "4"]
        assert source.columns["target"].tolist() == [0, 0, 1, 1]
        assert source.findings.notes[0].endswith("train.rec: records without an image: 3")


class TestDamage:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda data: data[:-8], "cut off: .* bytes of data"),
            (lambda data: data + MAGIC, "cut off: 4 of 8 bytes"),
            (lambda data: data + bytes(8), "expected the magic number 0xCED7230A"),
            (lambda data: data + frame(b"short"), "an image header of 24 bytes in a record of 5"),
            (lambda data: data + frame(struct.pack("<IfQQ", 2**32 - 1, 0, 0, 0)), "image header"),
            (lambda data: data + MAGIC + struct.pack("<I", 2 << 29), "a part of kind 0 or 1"),
            (lambda data: data + MAGIC + struct.pack("<I", 1 << 29), "cut off: 0 of 8"),
            (lambda data: data + (MAGIC + struct.pack("<I", 1 << 29)) * 2, "of kind 2 or 3"),
        ],
    )
    def test_the_message_has_the_byte(self, tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
        path = write_rec(tmp_path / "a.rec", [image_record(0, 0, JPEG)])
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(SourceError, match=rf"a\.rec: .*byte \d+.*{message}"):
            list_recordio(path)

    def test_endless_parts_are_refused(self, tmp_path: Path) -> None:
        part = MAGIC + struct.pack("<I", 2 << 29)
        (tmp_path / "a.rec").write_bytes(MAGIC + struct.pack("<I", 1 << 29) + part * 70_000)
        with pytest.raises(SourceError, match="more than 65536 parts"):
            list_recordio(tmp_path / "a.rec")

    @pytest.mark.parametrize("records", [[], [image_record(0, 0, b"")]])
    def test_no_image_at_all(self, tmp_path: Path, records: list[bytes]) -> None:
        with pytest.raises(EmptySourceError, match="no records with an image"):
            list_recordio(write_rec(tmp_path / "a.rec", records))

    @settings(max_examples=50)
    @given(data=st.data())
    def test_damage_is_a_source_error(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        records = [image_record(1, 7, b"abcd" + MAGIC + b"x"), image_record([1, 2.5], 8, b"image")]
        path = write_rec(tmp_path_factory.mktemp("t") / "a.rec", records * 2, [7, 8, 7, 8])
        for file in (path, path.with_suffix(".idx")):
            file.write_bytes(damaged(file.read_bytes(), data))
        with contextlib.suppress(FastdataError, OSError):
            contents(list_recordio(path))


PIECES = st.lists(st.one_of(st.just(MAGIC), st.binary(max_size=9)), max_size=8).map(b"".join)
LABELS = st.one_of(
    st.floats(width=32, allow_nan=False),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4),
)


@settings(max_examples=50)
@given(samples=st.lists(st.tuples(LABELS, PIECES.filter(bool)), min_size=1, max_size=6))
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, samples: list[tuple[float | list[float], bytes]]
) -> None:
    records = [image_record(label, i, image) for i, (label, image) in enumerate(samples)]
    source = list_recordio(write_rec(tmp_path_factory.mktemp("t") / "a.rec", records))
    assert [values["image"] for _, values in contents(source)] == [image for _, image in samples]
    assert source.sizes.tolist() == [len(image) for _, image in samples]
    for item, (label, _) in zip(source, samples, strict=True):
        found = np.atleast_1d(item.values.get("label", item.values.get("target")))
        assert found.tolist() == (label if isinstance(label, list) else [label])


class TestDetect:
    def test_by_name_and_by_magic(self, tmp_path: Path) -> None:
        path = write_rec(tmp_path / "a.rec", [image_record(0, 0, JPEG)], [0])
        assert detect_recordio(path)
        assert detect_recordio(tmp_path)
        assert detect_recordio(path.rename(tmp_path / "unnamed"))

    def test_other_things(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(JPEG)
        for path in (tmp_path, tmp_path / "a.jpg", tmp_path / "no.rec"):
            assert not detect_recordio(path)
