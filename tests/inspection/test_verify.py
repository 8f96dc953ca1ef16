"""Verifying: a sound pack, and packs with each kind of damage."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.images import write_tree
from helpers.packs import change_manifest

from fastdata import VerifyReport, pack_image_folder, verify_pack
from fastdata.errors import PackError, PackFormatError, PackNotFoundError
from fastdata.store import PackReader
from fastdata.store.table import TABLE_DTYPE


@pytest.fixture(scope="module")
def sound_packs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One pack in each storage: 12 samples in several shards, and two rejected images."""
    root = tmp_path_factory.mktemp("sound")
    src = write_tree(root / "src", sizes=((60, 90), (71, 53), (80, 80)))
    (src / "class_0" / "bad.jpg").write_bytes(b"no image")
    (src / "class_1" / "empty.png").touch()
    paths = {name: root / f"{name}.pack" for name in ("lmdb", "hdf5")}
    for name, path in paths.items():
        pack_image_folder(src, path, storage=name, workers=1, shard_size=40_000, quiet=True)
        assert len(PackReader(path).manifest.shards) >= 3
    return paths


@pytest.fixture
def pack(storage: str, sound_packs: dict[str, Path], tmp_path: Path) -> Path:
    """A pack of this test's own, to be damaged."""
    return Path(shutil.copytree(sound_packs[storage], tmp_path / "the.pack"))


def flip(path: Path, at: int, bit: int = 0x10) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)


def shards(pack: Path) -> list[tuple[Path, range]]:
    """Each shard's file and the indices of its samples."""
    return [
        (pack / entry.file, range(entry.first, entry.first + entry.count))
        for entry in PackReader(pack).manifest.shards
    ]


def place_of_record(pack: Path, index: int) -> tuple[Path, int]:
    """The file that a record lies in, and the offset of its first byte."""
    reader = PackReader(pack)
    record = bytes(reader.read(index))
    reader.close()
    file = next(file for file, indices in shards(pack) if index in indices)
    assert file.read_bytes().count(record) == 1
    return file, file.read_bytes().index(record)


def named(report: VerifyReport) -> set[int]:
    """Indices of the samples that the report names; each one with its key."""
    keys = PackReader(report.path).keys
    found = [re.match(r"sample (\d+) \((.*?)\): ", line) for line in report.problems]
    for match in filter(None, found):
        assert match[2] == repr(keys[int(match[1])])
    return {int(match[1]) for match in found if match}


def test_a_sound_pack(pack: Path) -> None:
    report = verify_pack(pack)
    assert report.ok
    assert report.problems == []
    assert (report.path, report.samples) == (pack, 12)
    assert report.bytes == sum(int(size) for size in PackReader(pack).table["bytes"])
    assert re.fullmatch(rf"{pack}: 12 samples, \d\.\d MB, all correct", str(report))


class TestRecords:
    def test_flipped_bits_name_their_samples_and_no_others(self, pack: Path) -> None:
        size = int(PackReader(pack).table["bytes"][5])
        file, start = place_of_record(pack, 5)
        other, beside = place_of_record(pack, 6)
        assert file == other
        flip(file, start + size - 1)
        flip(file, beside)
        report = verify_pack(pack, quiet=True)
        assert not report.ok
        assert named(report) == {5, 6}
        assert f"{file.name}: the file's SHA-256 is not the one in pack.json" in report.problems
        assert str(report).startswith(f"{pack}: 3 problems\n")

    def test_swapped_shards(self, pack: Path) -> None:
        (first, some), (second, more) = shards(pack)[:2]
        first.rename(pack / "aside")
        second.rename(first)
        (pack / "aside").rename(second)
        assert named(verify_pack(pack, quiet=True)) == {*some, *more}

    @pytest.mark.parametrize("kept", [0, 0.5, 0.999])
    def test_a_shard_cut_off(self, pack: Path, kept: float) -> None:
        file, indices = shards(pack)[1]
        size = file.stat().st_size
        with file.open("r+b") as stream:
            stream.truncate(int(size * kept))
        report = verify_pack(pack, quiet=True)
        assert f"{file.name}: expected {size} bytes, found {int(size * kept)}" in report.problems
        assert named(report) == set(indices)

    def test_a_missing_shard(self, pack: Path) -> None:
        file, indices = shards(pack)[1]
        file.unlink()
        report = verify_pack(pack, quiet=True)
        assert f"{file.name}: the file is missing" in report.problems
        assert named(report) == set(indices)

    def test_a_shard_of_zeros(self, pack: Path) -> None:
        file, indices = shards(pack)[0]
        file.write_bytes(bytes(file.stat().st_size))
        assert named(verify_pack(pack, quiet=True)) == set(indices)

    def test_a_directory_in_place_of_a_shard(self, pack: Path) -> None:
        file, indices = shards(pack)[0]
        file.unlink()
        file.mkdir()
        assert named(verify_pack(pack, quiet=True)) == set(indices)


class TestStructures:
    @pytest.mark.parametrize("seed", range(2))
    def test_flips_in_the_storages_own_structures(self, pack: Path, seed: int) -> None:
        """The records are found without them, and are right; the file is named."""
        file, indices = shards(pack)[seed]
        data = file.read_bytes()
        for index in indices:  # what is left after the records are the structures
            start = place_of_record(pack, index)[1]
            size = int(PackReader(pack).table["bytes"][index])
            data = data[:start] + bytes([1]) * size + data[start + size :]
        places = [i for i, byte in enumerate(data) if byte not in (0, 1)]
        rng = np.random.default_rng(seed)
        for at in rng.choice(places, 4):
            flip(file, int(at), 1 << int(rng.integers(8)))
        report = verify_pack(pack, quiet=True)
        assert f"{file.name}: the file's SHA-256 is not the one in pack.json" in report.problems
        assert named(report) == set()


class TestSideFiles:
    @pytest.mark.parametrize("field", ["crc32", "bytes"])
    def test_a_bit_in_the_table_names_the_sample(self, pack: Path, field: str) -> None:
        table = pack / "table.npy"
        rows = table.stat().st_size - 12 * TABLE_DTYPE.itemsize
        flip(table, rows + 7 * TABLE_DTYPE.itemsize + TABLE_DTYPE.fields[field][1])
        report = verify_pack(pack, quiet=True)
        assert "table.npy: the file's SHA-256 is not the one in pack.json" in report.problems
        assert named(report) == {7}

    def test_a_target_beyond_the_classes(self, pack: Path) -> None:
        table = pack / "table.npy"
        rows = table.stat().st_size - 12 * TABLE_DTYPE.itemsize
        flip(table, rows + 7 * TABLE_DTYPE.itemsize + TABLE_DTYPE.fields["target"][1])
        problems = verify_pack(pack, quiet=True).problems
        assert [line for line in problems if "target 17, there are 3 classes" in line] != []

    @pytest.mark.parametrize("name", ["table.npy", "keys.bin", "keys.npy", "rejected.jsonl"])
    @pytest.mark.parametrize("at", [0, -1])
    def test_a_flipped_bit_names_its_file(self, pack: Path, name: str, at: int) -> None:
        flip(pack / name, at, 0x80)
        report = verify_pack(pack, quiet=True)
        assert not report.ok
        assert f"{name}: the file's SHA-256 is not the one in pack.json" in report.problems

    @pytest.mark.parametrize("name", ["table.npy", "keys.bin", "keys.npy", "rejected.jsonl"])
    def test_a_missing_one(self, pack: Path, name: str) -> None:
        (pack / name).unlink()
        report = verify_pack(pack, quiet=True)
        assert f"{name}: the file is missing" in report.problems

    @pytest.mark.parametrize("name", ["table.npy", "keys.bin", "keys.npy", "rejected.jsonl"])
    def test_one_cut_off(self, pack: Path, name: str) -> None:
        size = (pack / name).stat().st_size
        with (pack / name).open("r+b") as stream:
            stream.truncate(size - 1)
        report = verify_pack(pack, quiet=True)
        assert f"{name}: expected {size} bytes, found {size - 1}" in report.problems

    def test_a_damaged_key_is_said_to_be(self, pack: Path) -> None:
        flip(pack / "keys.bin", 0, 0x80)
        shards(pack)[0][0].unlink()
        problems = verify_pack(pack, quiet=True).problems
        assert [line for line in problems if line.startswith("sample 0 (its key is damaged): ")]


class TestManifest:
    def change(self, pack: Path, change: Callable[[Any], object]) -> None:
        manifest = json.loads((pack / "pack.json").read_text("utf-8"))
        change(manifest)
        del manifest["sha256"]
        remove = json.loads((pack / "pack.json").read_text("utf-8")).keys() - manifest.keys()
        change_manifest(pack, remove - {"sha256"}, **manifest)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda m: m["shards"][0].update(sha256="0" * 64), "the file's SHA-256"),
            (lambda m: m["files"]["keys"].update(sha256="0" * 64), "keys.bin: the file's SHA"),
            (lambda m: m["shards"][1].update(bytes=5), "expected 5 bytes, found"),
            (lambda m: m["files"]["key_offsets"].update(bytes=5), "keys.npy: expected 5 bytes"),
            (lambda m: m.update(rejected=3), "rejected.jsonl: expected 3 lines, found 2"),
            (lambda m: m["classes"].pop(), "target 2, there are 2 classes"),
        ],
    )
    def test_what_does_not_fit_is_a_problem(
        self, pack: Path, change: Callable[[Any], object], message: str
    ) -> None:
        self.change(pack, change)
        problems = verify_pack(pack, quiet=True).problems
        assert [line for line in problems if message in line] != []

    @pytest.mark.parametrize(
        "change",
        [
            lambda m: m.update(format="zip"),
            lambda m: m.update(version=99),
            lambda m: m.update(samples=13),
            lambda m: m["shards"].pop(),
            lambda m: m["shards"][0].update(count=1),
            lambda m: m["shards"][0].update(file="../shard"),
            lambda m: m.pop("classes"),
            lambda m: m.update(unknown=1),
            lambda m: m["files"].pop("rejected"),
            lambda m: m["files"]["keys"].update(file="../x"),
            lambda m: m["files"]["keys"].update(file="table.npy"),
            lambda m: m["files"].update(more=m["files"]["keys"]),
            lambda m: m["files"]["keys"].update(bytes=-1),
            lambda m: m.update(samples=2**70),
            lambda m: m.update(fields={}),
            lambda m: m.update(generation="1"),
        ],
    )
    def test_one_that_contradicts_itself_is_refused(
        self, pack: Path, change: Callable[[Any], object]
    ) -> None:
        self.change(pack, change)
        with pytest.raises(PackFormatError, match=r"pack\.json: "):
            verify_pack(pack)

    @pytest.mark.parametrize("seed", range(10))
    def test_a_flipped_bit_anywhere(self, pack: Path, seed: int) -> None:
        rng = np.random.default_rng(seed)
        path = pack / "pack.json"
        flip(path, int(rng.integers(path.stat().st_size)), 1 << int(rng.integers(8)))
        with pytest.raises(PackError, match=r"pack\.json"):
            verify_pack(pack)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
    def test_one_that_is_no_json(self, pack: Path, content: bytes) -> None:
        (pack / "pack.json").write_bytes(content)
        with pytest.raises(PackError, match=r"pack\.json"):
            verify_pack(pack)


def test_no_pack_at_all(tmp_path: Path) -> None:
    with pytest.raises(PackNotFoundError, match="does not exist"):
        verify_pack(tmp_path / "nowhere")
    with pytest.raises(PackNotFoundError, match=r"no pack: it has no pack\.json"):
        verify_pack(tmp_path)
