"""TFRecord files as a source; written here, byte by byte, from the formats' descriptions."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import numpy as np
import pytest
from contracts.source_contract import SourceContract
from helpers.images import encoded, picture
from helpers.mutations import damaged
from helpers.samples import contents
from helpers.writers.tfrecord import (
    Value,
    example,
    field,
    frame,
    inception,
    masked,
    write_records,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdata.errors import EmptySourceError, FastdataError, SourceError
from fastdata.sources.tfrecord.framing import masked_crc32c
from fastdata.sources.tfrecord.source import TFRecordSource, detect_tfrecord, list_tfrecord

JPEG = encoded(picture(20, 30))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for shard in range(2):
        records = [inception(4 * shard + i) for i in range(4)]
        write_records(tmp_path / f"train-{shard:05d}-of-00002", records)
    (tmp_path / "notes.txt").write_text("not a record")
    return tmp_path


#: The examples of RFC 3720, B.4, and the check value of the catalogue of CRCs.
PUBLISHED = [
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (
        bytes.fromhex(
            "01c00000000000000000000000000000140000000000040000000014000000182800000000000000"
            "0200000000000000"
        ),
        0xD9963A56,
    ),
    (b"123456789", 0xE3069283),
]


class TestChecksum:
    @pytest.mark.parametrize(("data", "crc"), PUBLISHED)
    def test_published_values(self, data: bytes, crc: int) -> None:
        """Rotated right by 15 bits, plus a constant, as TensorFlow's source has it."""
        rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
        assert masked_crc32c(data) == (rotated + 0xA282EAD8) % 2**32

    @settings(max_examples=40)
    @given(data=st.binary(max_size=300))
    def test_as_defined_bit_by_bit(self, data: bytes) -> None:
        assert masked_crc32c(data).to_bytes(4, "little") == masked(data)


class TestContract(SourceContract):
    def write(self, root: Path) -> None:
        for shard in range(2):
            records = [inception(4 * shard + i) for i in range(4)]
            write_records(root / f"train-{shard:05d}-of-00002", records)

    def listing(self, root: Path) -> TFRecordSource:
        return list_tfrecord(root)

    def change(self, root: Path) -> None:
        texts = ({"image/class/text": f"type {1 + i % 3}".encode()} for i in range(8))
        records = [inception(i, **text) for i, text in enumerate(texts)]
        write_records(root / "train-00000-of-00002", records[:4])
        write_records(root / "train-00001-of-00002", records[4:])


class TestListing:
    def test_inception_names(self, files: Path) -> None:
        source = list_tfrecord(files)
        assert source.name == "tfrecord"
        assert {name: str(kind) for name, kind in source.fields.items()} == {
            "image": "image", "target": "int"
        }  # fmt: skip
        assert source.classes == ["0", "class 1", "class 2", "class 3"]
        expected = [
            (f"n{i:04d}.JPEG", {"image": encoded(picture(20, 30, i)), "target": 1 + i % 3})
            for i in range(8)
        ]
        assert contents(source) == expected
        assert source.sizes.tolist() == [len(values["image"]) for _, values in expected]
        assert source.findings.notes == ["features left out: image/height, image/object/bbox/xmin"]

    def test_tensorflow_datasets_names(self, tmp_path: Path) -> None:
        records = [
            example({"image": JPEG, "label": i, "file_name": f"{i}.jpg".encode()}) for i in (1, 0)
        ]
        path = write_records(tmp_path / "set-train.tfrecord-00000-of-00001", records)
        (tmp_path / "label.labels.txt").write_text("cat\ndog\n")
        source = list_tfrecord(path)
        assert source.classes == ["cat", "dog"]
        assert contents(source) == [
            ("1.jpg", {"image": JPEG, "target": 1}), ("0.jpg", {"image": JPEG, "target": 0})
        ]  # fmt: skip

    def test_no_labels_and_no_names(self, tmp_path: Path) -> None:
        for name in "ab":
            write_records(tmp_path / f"{name}.tfrecord", [example({"image": JPEG})] * 2)
        source = list_tfrecord(tmp_path)
        assert (list(source.fields), source.classes) == (["image"], [])
        assert list(source.keys) == ["a/0", "a/1", "b/0", "b/1"]

    @pytest.mark.parametrize("names", [(b"x", b"x"), (b"x", b""), (b"../x", b"y"), (b"/x", b"y")])
    def test_names_that_cannot_be_keys(self, tmp_path: Path, names: tuple[bytes, bytes]) -> None:
        records = [example({"image": JPEG, "file_name": name}) for name in names]
        source = list_tfrecord(write_records(tmp_path / "a.tfrecord", records))
        assert list(source.keys) == ["a/0", "a/1"]

    def test_a_negative_label_has_no_class(self, tmp_path: Path) -> None:
        record = example({"image": JPEG, "label": -1})
        source = list_tfrecord(write_records(tmp_path / "a.tfrecord", [record]))
        assert (source.item(0).values["target"], source.classes) == (-1, [])

    def test_a_text_that_two_labels_share_is_told_apart(self, tmp_path: Path) -> None:
        records = [
            inception(i, **{"image/class/label": i, "image/class/text": b"crane"}) for i in (0, 1)
        ]
        source = list_tfrecord(write_records(tmp_path / "a.tfrecord", records))
        assert source.classes == ["crane (0)", "crane (1)"]

    def test_texts_that_differ_within_a_label_are_left_out(self, tmp_path: Path) -> None:
        records = [
            inception(i, **{"image/class/label": 1, "image/class/text": text})
            for i, text in enumerate((b"a", b"b", b"a"))
        ]
        source = list_tfrecord(write_records(tmp_path / "a.tfrecord", records))
        assert source.classes == ["0", "1"]
        assert any("image/class/text is left out" in note for note in source.findings.notes)

    def test_a_changed_label_changes_the_digest(self, tmp_path: Path) -> None:
        records = [example({"image": JPEG, "label": label}) for label in (1, 2)]
        path = tmp_path / "a.tfrecord"
        one, other = (list_tfrecord(write_records(path, [r])).digest() for r in records)
        assert one != other

    def test_missing_files_and_mixed_sets_are_noted(self, files: Path) -> None:
        write_records(files / "validation-00003-of-00009", [inception(9)])
        notes = list_tfrecord(files).findings.notes
        assert any(note.endswith("validation: 1 of 9 files") for note in notes)
        assert any("train, validation" in note for note in notes)

    @pytest.mark.parametrize(
        ("record", "message"),
        [
            (example({"label": 1}), "no image/encoded or image, but label"),
            (example({"image": 3}), "expected a bytes_list, found a int64_list"),
            (example({"image": [JPEG, JPEG]}), "expected one value, found several"),
            (example({"image": []}), "expected one value, found none"),
            (example({"image": JPEG, "label": b"cat"}), "expected an int64_list"),
            (example({"image": JPEG, "label": [1, 2]}), "expected one value, found several"),
            (example({"image": JPEG, "file_name": b"\xff"}), "utf-8"),
            (example({"image": JPEG, "file_name": b"n" * 9999}), "a name of 9999 bytes"),
            (example({str(i): 1 for i in range(5000)}), "more than 4096 features"),
            (field(1, b"\x0b" * 50), "wire type 3"),
            (field(1, b"\xff" * 50), "no whole number"),
            (b"\x0a\x7f", "a field of 127 bytes"),
            (field(1, field(1, b"\x18\x00" * 200_000)), "too many parts"),
            (b"text", "expected a tf.train.Example"),
        ],
    )
    def test_records_that_are_no_example(self, tmp_path: Path, record: bytes, message: str) -> None:
        good = example({"image": JPEG, "label": 1})
        path = write_records(tmp_path / "a.tfrecord", [good, record])
        with pytest.raises(SourceError, match=message) as caught:
            list_tfrecord(path)
        assert f"a.tfrecord: the record at byte {len(frame(good)) + 12}" in str(caught.value)

    def test_labels_in_some_records_only(self, tmp_path: Path) -> None:
        records = [example({"image": JPEG, "label": 1}), example({"image": JPEG})]
        with pytest.raises(SourceError, match="1 of 2 records have no"):
            list_tfrecord(write_records(tmp_path / "a.tfrecord", records))


class TestDamage:
    def test_a_damaged_image_is_found_when_it_is_read(self, tmp_path: Path) -> None:
        path = write_records(tmp_path / "a.tfrecord", [inception(0), inception(1)])
        data = bytearray(path.read_bytes())
        data[data.index(encoded(picture(20, 30, 1))) + 30] ^= 1
        path.write_bytes(data)
        first, second = (item.values["image"] for item in list_tfrecord(path))
        assert first.read() == encoded(picture(20, 30, 0))
        with pytest.raises(OSError, match="is damaged: its CRC-32C"):
            second.read()

    def test_a_cut_file_is_named_with_the_byte(self, tmp_path: Path) -> None:
        whole = frame(inception(0)) + frame(inception(1))
        second = len(frame(inception(0)))
        path = tmp_path / "a.tfrecord"
        for length in (len(whole) - 1, second + 12, second + 5):
            path.write_bytes(whole[:length])
            with pytest.raises(SourceError, match=rf"a\.tfrecord: cut off: .* at byte {second}"):
                list_tfrecord(path)

    def test_a_damaged_length_is_named_with_the_byte(self, tmp_path: Path) -> None:
        data = bytearray(frame(inception(0)) + frame(inception(1)))
        at = len(frame(inception(0)))
        data[at + 7] = 0x40  # an enormous length
        path = tmp_path / "a.tfrecord"
        path.write_bytes(data)
        with pytest.raises(SourceError, match=f"the length at byte {at} does not have its CRC"):
            list_tfrecord(path)

    def test_compressed_files_are_refused_with_the_way_out(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tfrecord"
        path.write_bytes(gzip.compress(frame(inception(0))))
        with pytest.raises(SourceError, match="decompress it first"):
            list_tfrecord(path)

    def test_a_file_without_records(self, tmp_path: Path) -> None:
        with pytest.raises(EmptySourceError, match="no records"):
            list_tfrecord(write_records(tmp_path / "a.tfrecord", []))

    @settings(max_examples=50)
    @given(data=st.data())
    def test_damage_is_a_source_error(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        """Of the file as it is, and of an Example in a frame with the right CRCs."""
        path = tmp_path_factory.mktemp("t") / "a.tfrecord"
        record = inception(data.draw(st.integers(0, 1)), **{"image/encoded": b"small"})
        if data.draw(st.booleans()):
            path.write_bytes(frame(damaged(record, data)))
        else:
            path.write_bytes(damaged(frame(record) * 2, data))
        with contextlib.suppress(FastdataError, OSError):
            contents(list_tfrecord(path))


@settings(max_examples=40)
@given(
    samples=st.lists(
        st.tuples(st.binary(max_size=400), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=8
    ),
    packed=st.booleans(),
    label_first=st.booleans(),
)
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    samples: list[tuple[bytes, int]],
    packed: bool,
    label_first: bool,
) -> None:
    records = []
    for image, label in samples:
        features: dict[str, Value] = {"label": label, "image": image}
        order = features if label_first else dict(reversed(features.items()))
        records.append(example(order, packed))
    source = list_tfrecord(write_records(tmp_path_factory.mktemp("t") / "a.tfrecord", records))
    assert [(v["image"], v["target"]) for _, v in contents(source)] == samples
    assert source.sizes.tolist() == [len(image) for image, _ in samples]
    assert np.unique(source.archives).tolist() == [0]


class TestDetect:
    def test_by_name_and_by_checksum(self, files: Path, tmp_path: Path) -> None:
        assert detect_tfrecord(files)
        assert detect_tfrecord(files / "train-*")
        path = write_records(tmp_path / "unnamed", [inception(0)])
        assert detect_tfrecord(path)

    def test_other_things(self, tmp_path: Path) -> None:
        (tmp_path / "weights-00000-of-00001").write_bytes(bytes(100))
        (tmp_path / "a.jpg").write_bytes(JPEG)
        for path in (tmp_path, tmp_path / "a.jpg", tmp_path / "no.tfrecord"):
            assert not detect_tfrecord(path)
