"""A whole pack: what is written is read back, by index, in any process, at any size."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.packs import change_manifest, record, write_pack

from fastdata.core.keys import KeyTable
from fastdata.errors import PackFormatError, PackNotFoundError
from fastdata.store import FileEntry, Manifest, PackReader, ShardEntry
from fastdata.store.npy import NpyStream
from fastdata.store.table import TABLE_DTYPE


def packed(directory: Path, storage: str, samples: dict[str, bytes], a_shard: int = 1000) -> Path:
    """A pack with ``a_shard`` samples to a shard."""
    records = [
        record(key, data, number % 3, number + 1, number + 2)
        for number, (key, data) in enumerate(samples.items())
    ]
    shards = (records[i : i + a_shard] for i in range(0, len(records), a_shard))
    return write_pack(directory, shards, storage, classes=["a", "b", "c"])


def some_samples(count: int) -> dict[str, bytes]:
    rng = np.random.default_rng(5)
    return {f"ä/{i} – 図.jpg": rng.bytes(int(rng.integers(1, 3000))) for i in range(count)}


def test_round_trip_over_many_shards(storage: str, tmp_path: Path) -> None:
    samples = some_samples(200)
    pack = PackReader(packed(tmp_path / "p", storage, samples, 17))
    assert len(pack.manifest.shards) > 10
    assert list(pack.keys) == list(samples)
    order = np.random.default_rng(0).permutation(len(pack))
    for i in map(int, order):
        assert bytes(pack.read(i)) == samples[pack.keys[i]]
    assert pack.table["target"].tolist() == [i % 3 for i in range(200)]
    assert pack.table["height"].tolist() == list(range(1, 201))
    assert pack.table["width"].tolist() == list(range(2, 202))
    assert pack.table["crc32"].tolist() == [zlib.crc32(data) for data in samples.values()]


def test_large_records_beside_small_ones(storage: str, tmp_path: Path) -> None:
    sizes = (65_535, 1, 65_536, 0, 300_000, 7, 70_000)
    samples = {f"{size}": np.random.default_rng(size).bytes(size) for size in sizes}
    pack = PackReader(packed(tmp_path / "p", storage, samples), verify="always")
    for _ in range(2):
        assert [bytes(pack.read(i)) for i in range(len(pack))] == list(samples.values())


def test_more_shards_than_the_soft_limit_of_open_files(storage: str, tmp_path: Path) -> None:
    samples = some_samples(150)
    path = packed(tmp_path / "p", storage, samples, 1)
    code = (
        "import resource, sys; from fastdata.store import PackReader\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (90, hard))\n"
        "p = PackReader(sys.argv[1]); print(sum(len(p.read(i)) for i in range(len(p))))"
    )
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 400:
        pytest.skip("the hard limit of open files is too low to be raised to")
    found = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert found.stdout.strip() == str(sum(map(len, samples.values()))), found.stderr


def test_pickled_and_read_in_a_spawned_process(storage: str, tmp_path: Path) -> None:
    samples = some_samples(20)
    pack = PackReader(packed(tmp_path / "p", storage, samples, 3))
    assert bytes(pack.read(3)) == list(samples.values())[3]
    assert len(pickle.dumps(pack)) < 1000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_read_all, [pack]) == [list(samples.values())]
        pool.close()
        pool.join()


def _read_all(pack: PackReader) -> list[bytes]:
    return [bytes(pack.read(i)) for i in range(len(pack))]


def test_read_again_after_close(storage: str, tmp_path: Path) -> None:
    samples = some_samples(5)
    pack = PackReader(packed(tmp_path / "p", storage, samples, 3))
    first = bytes(pack.read(0))
    pack.close()
    assert bytes(pack.read(0)) == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "format version 99.*reads 2.*upgrade"),
        ({"version": 1}, "format version 1.*reads 2.*pack again"),
        ({"fields": {"target": "int"}}, "field of kind image"),
        ({"fields": {"image": "image", "x": "int"}}, "field:x"),
        ({"rejected": -1}, "rejected"),
        ({"format": "zip"}, "fastdata.pack"),
        ({"samples": 7}, "7 samples are announced, the shards hold 5"),
        ({"surprise": 1}, "surprise"),
        ({"encoding": {}}, "encoding has no name"),
        ({"storage": "zip"}, "unknown storage 'zip'"),
        ({"classes": [1]}, "class name is not a string"),
        ({"classes": None}, "pack.json"),
        ({"shards": [{"file": "../x", "first": 0, "count": 5, "bytes": 1, "sha256": ""}]}, "plain"),
    ],
)
def test_a_wrong_manifest_is_explained(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = packed(tmp_path / "p", "lmdb", some_samples(5))
    change_manifest(path, **change)
    with pytest.raises(PackFormatError, match=message):
        PackReader(path)


def test_a_manifest_that_was_edited_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "p", "lmdb", some_samples(5))
    text = (path / "pack.json").read_text("utf-8")
    (path / "pack.json").write_text(text.replace('"folder"', '"Folder"'), "utf-8")
    with pytest.raises(PackFormatError, match=r"pack\.json: its SHA-256"):
        PackReader(path)


def test_what_is_no_pack_is_explained(tmp_path: Path) -> None:
    with pytest.raises(PackNotFoundError, match="does not exist"):
        PackReader(tmp_path / "nowhere")
    with pytest.raises(PackNotFoundError, match=r"no pack\.json.*fastdata pack"):
        PackReader(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(PackNotFoundError, match="is a file"):
        PackReader(tmp_path / "file")
    (tmp_path / "pack.json").write_text("{")
    with pytest.raises(PackFormatError, match=r"pack\.json"):
        PackReader(tmp_path)


@pytest.mark.parametrize("name", ["table.npy", "keys.npy", "keys.bin"])
def test_a_missing_or_cut_side_file_is_named(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / "p", "lmdb", some_samples(5))
    os.truncate(path / name, (path / name).stat().st_size - 1)
    with pytest.raises(PackFormatError, match=name):
        PackReader(path)
    (path / name).unlink()
    with pytest.raises(PackFormatError, match=name):
        PackReader(path)


def test_a_missing_or_cut_shard_is_named_when_read(storage: str, tmp_path: Path) -> None:
    path = packed(tmp_path / "p", storage, some_samples(5))
    (shard,) = path.glob("shard-*")
    os.truncate(shard, shard.stat().st_size - 1)
    with pytest.raises(PackFormatError, match=rf"{shard.name}: expected \d+ bytes, found"):
        PackReader(path).read(0)
    shard.unlink()
    with pytest.raises(PackFormatError, match=f"{shard.name}: cannot be opened"):
        PackReader(path).read(0)


def test_ten_million_samples_open_at_once_in_little_memory(tmp_path: Path) -> None:
    count = 10_000_000
    table = np.lib.format.open_memmap(
        tmp_path / "table.npy", mode="w+", dtype=TABLE_DTYPE, shape=(count,)
    )
    table["target"][-1] = 42
    del table
    offsets = np.arange(0, 4 * (count + 1), 4, dtype="<i8")
    np.save(tmp_path / "keys.npy", offsets)
    (tmp_path / "keys.bin").write_bytes(b"key." * count)
    (tmp_path / "rejected.jsonl").touch()
    roles = ("table", "key_offsets", "keys", "rejected")
    names = ("table.npy", "keys.npy", "keys.bin", "rejected.jsonl")
    files = {
        role: FileEntry(name, (tmp_path / name).stat().st_size, "0" * 64)
        for role, name in zip(roles, names, strict=True)
    }
    Manifest(
        samples=count,
        storage="lmdb",
        encoding={"name": "keep"},
        source="folder",
        classes=["a"],
        fields={"image": "image", "target": "int"},
        rejected=0,
        files=files,
        shards=[ShardEntry("shard-00000.lmdb", 0, count, 1, "0" * 64)],
    ).write(tmp_path)
    code = (
        "import sys, psutil, fastdata, gc\n"
        "fastdata.PackedImageFolder\n"  # imports it
        "used = lambda: psutil.Process().memory_info().rss\n"
        "before = used(); objects = len(gc.get_objects())\n"
        "ds = fastdata.PackedImageFolder(sys.argv[1], seed=0)\n"
        "ends = ds.samples[0], ds.samples[-1], ds.targets[-1], len(ds)\n"
        "print(*ends, used() - before, len(gc.get_objects()) - objects, sep='|')"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    *ends, memory, objects = found.stdout.strip().split("|")
    assert ends == ["('key.', 0)", "('key.', 42)", "42", str(count)]
    assert int(memory) < 50e6
    assert int(objects) < 1000


def test_key_table_behaves_as_a_sequence() -> None:
    names = ["", "a", "β/図.jpg", "x" * 10_000]
    keys = KeyTable.from_strings(names)
    assert list(keys) == names
    assert len(keys) == 4
    assert (keys[-1], keys[1:3]) == (names[-1], names[1:3])
    assert keys.index("a") == 1
    for wrong in (4, -5):
        with pytest.raises(IndexError):
            keys[wrong]
    assert list(KeyTable.from_strings([])) == []


def test_npy_stream_writes_what_numpy_reads(tmp_path: Path) -> None:
    rows = np.arange(100_000, dtype="<i8")
    with NpyStream(tmp_path / "a.npy", rows.dtype) as stream:
        for part in np.array_split(rows, 7):
            stream.append(part)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), rows)
