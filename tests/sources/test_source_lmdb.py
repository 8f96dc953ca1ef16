"""Other people's LMDB files as a source: BasicSR's, pickled pairs, and plain ones."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts.source_contract import SourceContract
from helpers.images import encoded, picture
from helpers.mutations import damaged
from helpers.samples import contents
from helpers.writers.lmdb import basicsr, write_lmdb
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdata.errors import EmptySourceError, FastdataError, SourceError, SourceNotFoundError
from fastdata.sources.lmdb.pickled import Span, read_pickle
from fastdata.sources.lmdb.source import LmdbSource, detect_lmdb, list_lmdb
from fastdata.sources.lmdb.values import LmdbBlob

JPEG = encoded(picture(20, 30))


def pictures(count: int) -> list[bytes]:
    return [encoded(picture(20 + i, 30), ".png") for i in range(count)]


def pickled(path: Path, pairs: list[Any], protocol: int = pickle.DEFAULT_PROTOCOL) -> Path:
    """As Efficient-PyTorch's folder2lmdb.py lays them out."""
    entries = {f"{i}".encode(): pickle.dumps(pair, protocol) for i, pair in enumerate(pairs)}
    keys = list(entries)
    entries[b"__keys__"] = pickle.dumps(keys, protocol)
    entries[b"__len__"] = pickle.dumps(len(keys), protocol)
    return write_lmdb(path, entries)


IMAGES = dict(zip(("b.png", "a/1.png", "c d.png", "0.v2.png"), pictures(4), strict=True))


class TestBasicSRContract(SourceContract):
    def write(self, root: Path) -> None:
        basicsr(root / "X.lmdb", IMAGES)

    def listing(self, root: Path) -> LmdbSource:
        return list_lmdb(root / "X.lmdb")

    def change(self, root: Path) -> None:
        """The values: where an image lies in one is all that can change besides the keys."""
        other = basicsr(root / "Y.lmdb", {name: data + b"more" for name, data in IMAGES.items()})
        (other / "data.mdb").replace(root / "X.lmdb" / "data.mdb")


@pytest.mark.parametrize("protocol", [3, 4, 5])
class TestPickledPairsContract(SourceContract):
    @pytest.fixture(autouse=True)
    def written_by(self, protocol: int) -> None:
        self.protocol = protocol

    def write(self, root: Path) -> None:
        pairs = [(image, i % 3) for i, image in enumerate(pictures(12))]
        pickled(root / "train.lmdb", pairs, self.protocol)

    def listing(self, root: Path) -> LmdbSource:
        return list_lmdb(root / "train.lmdb")

    def change(self, root: Path) -> None:
        pairs = [(image, i % 2) for i, image in enumerate(pictures(12))]
        pickled(root / "other.lmdb", pairs, self.protocol).replace(root / "train.lmdb")


class TestPlainContract(SourceContract):
    def write(self, root: Path) -> None:
        entries = {f"{i:04d}.png".encode(): image for i, image in enumerate(pictures(5))}
        write_lmdb(root / "a.lmdb", entries)

    def listing(self, root: Path) -> LmdbSource:
        return list_lmdb(root / "a.lmdb")

    def change(self, root: Path) -> None:
        entries = {f"{i:04d}.png".encode(): image + b"more" for i, image in enumerate(pictures(5))}
        write_lmdb(root / "b.lmdb", entries).replace(root / "a.lmdb")


class TestBasicSR:
    def test_names_and_order_are_those_of_the_meta_file(self, tmp_path: Path) -> None:
        source = list_lmdb(basicsr(tmp_path / "X.lmdb", IMAGES))
        assert (source.name, list(source.fields), source.classes) == ("lmdb", ["image"], [])
        assert contents(source) == [(key, {"image": data}) for key, data in IMAGES.items()]
        assert source.sizes.tolist() == [len(data) for data in IMAGES.values()]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("e.png (1,1,3) 1", "line 5: .* has no key b'e'"),
            ("a line", "line 5: expected NAME"),
            ("../a.png (1,1,3) 1", "line 5: expected NAME"),
            ("b.png (1,1,3) 1", "'b.png' occurs twice"),
        ],
    )
    def test_wrong_lines(self, tmp_path: Path, line: str, message: str) -> None:
        path = basicsr(tmp_path / "X.lmdb", IMAGES)
        with (path / "meta_info.txt").open("a") as file:
            file.write(line)
        with pytest.raises(SourceError, match=message):
            list_lmdb(path)


class TestPickledPairs:
    @pytest.mark.parametrize("protocol", [3, 4, 5])
    def test_images_and_labels(self, tmp_path: Path, protocol: int) -> None:
        images = [*pictures(11), bytes(300), bytes(70_000)]  # each form of a length
        labels = [0, 255, 256, 65536, 2**31 - 1, -1, -(2**63), 2**63 - 1, 5, 6, 7, 8, 9]
        source = list_lmdb(
            pickled(tmp_path / "a.lmdb", list(zip(images, labels, strict=True)), protocol)
        )
        assert contents(source) == [
            (str(i), {"image": image, "target": label})
            for i, (image, label) in enumerate(zip(images, labels, strict=True))
        ]
        assert source.sizes.tolist() == [len(image) for image in images]

    def test_a_changed_label_changes_the_digest(self, tmp_path: Path) -> None:
        digests = {
            list_lmdb(pickled(tmp_path / f"{label}.lmdb", [(JPEG, label)])).digest()
            for label in (1, 2)
        }
        assert len(digests) == 2

    @pytest.mark.parametrize(
        ("pair", "protocol", "message"),
        [
            ((JPEG, 1), 2, "run code: .*protocol 2 or older"),
            ((JPEG, 1), 0, "not a pickle; older versions"),
            ((JPEG, np.int64(1)), 4, "run code: an array or object"),
            ((JPEG, "cat"), 4, "expected a pair"),
            ((JPEG, 1, 2), 4, "expected a pair"),
            ((JPEG, True), 4, "opcode"),
            ((JPEG, 2**70), 4, "more than 64 bits"),
            (JPEG, 4, "expected a pair"),
            ({"image": JPEG}, 4, "opcode"),
            ((JPEG, list(range(99))), 4, "more than 64 opcodes"),
        ],
    )
    def test_other_pickles_are_refused(
        self, tmp_path: Path, pair: Any, protocol: int, message: str
    ) -> None:
        path = write_lmdb(
            tmp_path / "a.lmdb",
            {b"0": pickle.dumps(pair, protocol), b"__len__": pickle.dumps(1)},
        )
        with pytest.raises(SourceError, match=message) as caught:
            list_lmdb(path)
        assert "key b'0'" in str(caught.value) or "key '0'" in str(caught.value)

    def test_nothing_is_executed(self, tmp_path: Path) -> None:
        class Attack:
            def __reduce__(self) -> Any:
                return os.mkdir, (str(tmp_path / "attacked"),)

        for pair in ((JPEG, Attack()), Attack()):
            with pytest.raises(SourceError, match="run code"):
                list_lmdb(pickled(tmp_path / f"{id(pair)}.lmdb", [pair]))
        assert not (tmp_path / "attacked").exists()

    def test_pyarrow_is_refused_with_the_way_out(self, tmp_path: Path) -> None:
        path = write_lmdb(tmp_path / "a.lmdb", {b"0": b"\xff" * 50, b"__len__": b"\xff" * 50})
        with pytest.raises(SourceError, match=r"pyarrow's serialization.*write the LMDB anew"):
            list_lmdb(path)

    def test_a_length_beyond_the_entries(self, tmp_path: Path) -> None:
        entries = {b"0": pickle.dumps((JPEG, 1)), b"__len__": pickle.dumps(2**62)}
        with pytest.raises(SourceError, match="no key b'1'"):
            list_lmdb(write_lmdb(tmp_path / "a.lmdb", entries))

    def test_entries_beyond_the_length_are_noted(self, tmp_path: Path) -> None:
        entries = {b"%d" % i: pickle.dumps((JPEG, 1)) for i in range(3)}
        path = write_lmdb(tmp_path / "a.lmdb", {**entries, b"__len__": pickle.dumps(2)})
        assert list_lmdb(path).findings.notes[0].endswith("left out: 1")


class TestReadPickle:
    """The interpreter of a few opcodes."""

    VALUES = st.recursive(
        st.integers(-(2**63), 2**63 - 1),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner, inner)),
        max_leaves=6,
    )

    @settings(max_examples=50)
    @given(value=st.one_of(VALUES, st.text()), protocol=st.integers(2, 5))
    def test_as_pickle_does(self, value: Any, protocol: int) -> None:
        assert read_pickle(memoryview(pickle.dumps(value, protocol))) == value

    @settings(max_examples=50)
    @given(data=st.binary(max_size=350), protocol=st.integers(3, 5))
    def test_bytes_are_found_where_they_lie(self, data: bytes, protocol: int) -> None:
        whole = pickle.dumps((data, 1), protocol)
        (start, size), _ = read_pickle(memoryview(whole))
        assert whole[start : start + size] == data

    @settings(max_examples=50)
    @given(data=st.data())
    def test_anything_else_is_a_value_error(self, data: st.DataObject) -> None:
        whole = pickle.dumps((b"some bytes", 70_000, ["text", (1, 2)]))
        damage = st.one_of(st.just(damaged(whole, data)), st.binary(max_size=40))
        with contextlib.suppress(ValueError):
            read_pickle(memoryview(data.draw(damage)))

    @pytest.mark.parametrize(
        "data",
        [
            b"", b"\x80", b"\x80\x04.", b"\x80\x04K\x01K\x02.", b"\x80\x04K\x01.x",
            b"\x80\x04\x86.",
            b"\x80\x04(\x85.", b"\x80\x04t.", b"\x80\x04K\x01a.", b"\x80\x04(K\x01.",
            b"\x80\x04B\xff\xff\xff\xff.", b"\x80\x04\x8e" + b"\xff" * 8, b"\x80\x04\x8a\xff.",
            b"\x80\x04X\xff\xff\xff\x7f.", b"\x80\x04]2h\x00a.", b"cos\nsystem\n.",
        ],
    )  # fmt: skip
    def test_damaged_by_hand(self, data: bytes) -> None:
        with pytest.raises(ValueError):
            read_pickle(memoryview(data))

    def test_an_example_from_the_documentation(self) -> None:
        assert read_pickle(memoryview(b"\x80\x03C\x03abcq\x00K\x05\x86q\x01.")) == (Span(4, 3), 5)


class TestPlain:
    @pytest.mark.parametrize("directory", [False, True])
    def test_values_that_are_images(self, tmp_path: Path, directory: bool) -> None:
        entries = {b"b": JPEG, b"a": pictures(1)[0], b"num-samples": b"2"}
        source = list_lmdb(write_lmdb(tmp_path / "a", entries, directory=directory))
        assert contents(source) == [("a", {"image": pictures(1)[0]}), ("b", {"image": JPEG})]
        assert source.findings.ignored == {"(no image)": 1}

    @pytest.mark.parametrize("key", [b"\0\0\0\1", b"\xff", b"/a", b"a/../b", b"a\nb"])
    def test_keys_that_are_no_names_are_given_in_hex(self, tmp_path: Path, key: bytes) -> None:
        source = list_lmdb(write_lmdb(tmp_path / "a", {key: JPEG, b"zz": JPEG}))
        assert set(source.keys) == {key.hex(), "7a7a"}
        assert [values["image"] for _, values in contents(source)] == [JPEG, JPEG]

    def test_a_directory_of_several(self, tmp_path: Path) -> None:
        write_lmdb(tmp_path / "all" / "a.lmdb", {b"1": JPEG})
        write_lmdb(tmp_path / "all" / "b.lmdb", {b"1": JPEG}, directory=True)
        source = list_lmdb(tmp_path / "all")
        assert list(source.keys) == ["a/1", "b.lmdb/data/1"]
        assert [values["image"] for _, values in contents(source)] == [JPEG, JPEG]
        assert contents(source.part(1, 2)) == contents(source)[1:]

    def test_no_images(self, tmp_path: Path) -> None:
        with pytest.raises(EmptySourceError, match="none of the values is an encoded image"):
            list_lmdb(write_lmdb(tmp_path / "a", {b"1": b"text"}))


class TestFiles:
    @pytest.mark.parametrize("length", [0, 20, 100, 4096, 5000, 8192, 20_000])
    def test_a_cut_file_is_refused(self, tmp_path: Path, length: int) -> None:
        path = write_lmdb(tmp_path / "a.lmdb", {b"%d" % i: JPEG * 5 for i in range(20)})
        os.truncate(path, length)
        with pytest.raises(SourceError, match=r"a\.lmdb: "):
            list_lmdb(path)

    @pytest.mark.parametrize("size", [0, 1, 4095, 1 << 31])
    def test_a_wrong_page_size_is_refused(self, tmp_path: Path, size: int) -> None:
        path = write_lmdb(tmp_path / "a.lmdb", {b"1": JPEG})
        with path.open("r+b") as file:
            file.seek(40)
            file.write(size.to_bytes(4, "little"))
        with pytest.raises(SourceError, match=f"a page size of {size}"):
            list_lmdb(path)

    def test_other_things(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(JPEG)
        for path in (tmp_path, tmp_path / "a.jpg", tmp_path / "no.lmdb"):
            assert not detect_lmdb(path)
            with pytest.raises(SourceError):
                list_lmdb(path)
        with pytest.raises(SourceNotFoundError):
            list_lmdb(tmp_path / "no.lmdb")

    def test_detect(self, tmp_path: Path) -> None:
        write_lmdb(tmp_path / "a.lmdb", {b"1": JPEG})
        assert detect_lmdb(tmp_path)
        assert detect_lmdb(tmp_path / "a.lmdb")
        assert detect_lmdb(write_lmdb(tmp_path / "dir", {b"1": JPEG}, directory=True))
        assert detect_lmdb(write_lmdb(tmp_path / "unnamed", {b"1": JPEG}))

    def test_a_file_that_is_replaced_is_opened_anew(self, tmp_path: Path) -> None:
        path = write_lmdb(tmp_path / "a.lmdb", {b"1": JPEG})
        assert contents(list_lmdb(path)) == [("1", {"image": JPEG})]
        other = write_lmdb(tmp_path / "b.lmdb", {b"2": pictures(1)[0]})
        other.replace(path)
        assert contents(list_lmdb(path)) == [("2", {"image": pictures(1)[0]})]


class TestBlobs:
    def test_what_is_not_there_is_an_os_error(self, tmp_path: Path) -> None:
        path = str(write_lmdb(tmp_path / "a.lmdb", {b"1": b"value"}))
        assert LmdbBlob(path, b"1", 1, 3).read() == b"alu"
        assert LmdbBlob(path, b"1").read() == b"value"
        for blob in (LmdbBlob(path, b"2"), LmdbBlob(path, b"1", 3, 3), LmdbBlob(path + "x", b"1"),
                     LmdbBlob(path, b""), LmdbBlob(__file__, b"1")):  # fmt: skip
            with pytest.raises(OSError):
                blob.read()

    def test_across_a_fork(self, tmp_path: Path) -> None:
        source = list_lmdb(write_lmdb(tmp_path / "a.lmdb", {b"1": JPEG, b"2": JPEG}))
        expected = contents(source)
        context = multiprocessing.get_context("fork")
        answer = context.SimpleQueue()
        child = context.Process(target=lambda: answer.put(contents(source) == expected))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert answer.get()
        assert contents(source) == expected

    def test_more_files_than_are_kept_open(self, tmp_path: Path) -> None:
        for i in range(80):
            write_lmdb(tmp_path / f"{i:02d}.lmdb", {b"%d" % i: JPEG + bytes(i)})
        source = list_lmdb(tmp_path)
        order = np.random.default_rng(0).permutation(np.tile(np.arange(80), 5)).tolist()
        with ThreadPoolExecutor(8) as threads:
            read = threads.map(lambda i: source.item(i).values["image"].read(), order)
            assert list(read) == [JPEG + bytes(i) for i in order]


#: Any key of a plain LMDB; these two would make it a folder2lmdb.py's.
plain_keys = st.binary(min_size=1, max_size=30).filter(lambda k: k not in (b"__len__", b"__keys__"))


@settings(max_examples=20)
@given(samples=st.dictionaries(plain_keys, st.binary(max_size=5000), min_size=1))
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, samples: dict[bytes, bytes]
) -> None:
    entries = {key: b"\xff\xd8\xff" + value for key, value in samples.items()}
    source = list_lmdb(write_lmdb(tmp_path_factory.mktemp("t") / "a.lmdb", entries))
    found = [values["image"] for _, values in contents(source)]
    assert found == [entries[key] for key in sorted(entries)]


@settings(max_examples=30)
@given(data=st.data())
def test_a_damaged_value_is_a_source_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    entries = {b"0": pickle.dumps((JPEG[:40], 1)), b"__len__": pickle.dumps(1)}
    entries = {key: damaged(value, data) for key, value in entries.items()}
    path = write_lmdb(tmp_path_factory.mktemp("t") / "a.lmdb", entries)
    with contextlib.suppress(FastdataError, OSError):
        contents(list_lmdb(path))
