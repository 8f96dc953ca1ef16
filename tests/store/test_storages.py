"""The storage formats, under one contract; and a third one, which is known by one entry."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import lmdb
import numpy as np
import pytest
from contracts.storage_contract import StorageContract
from helpers.flat_storage import Flat
from helpers.images import contents, write_tree

import fastdata
from fastdata import PackedImageFolder
from fastdata.cli import main
from fastdata.errors import MissingDependencyError, OptionError, RemoteError
from fastdata.store import STORAGES, PackReader
from fastdata.store import storage as named
from fastdata.store.parts import shard_file, shard_number
from fastdata.store.remote import Place, open_place


class TestLmdb(StorageContract):
    kind = STORAGES["lmdb"]

    def read_by_library(self, path: Path, sizes: list[int]) -> list[bytes]:
        with (
            lmdb.open(os.fspath(path), subdir=False, readonly=True, lock=False) as env,
            env.begin() as transaction,
        ):
            pairs = list(transaction.cursor())
        assert [key for key, _ in pairs] == [i.to_bytes(8, "big") for i in range(len(pairs))]
        return [bytes(value) for _, value in pairs]


class TestHdf5(StorageContract):
    kind = STORAGES["hdf5"]

    def read_by_library(self, path: Path, sizes: list[int]) -> list[bytes]:
        with h5py.File(path, "r") as file:
            data, offsets = file["records"][()].tobytes(), file["offsets"][()].tolist()
        return [data[a:b] for a, b in pairwise(offsets)]


class TestFlat(StorageContract):
    kind = Flat()

    def read_by_library(self, path: Path, sizes: list[int]) -> list[bytes]:
        with path.open("rb") as file:
            return [file.read(size) for size in sizes]


def test_an_unknown_storage_is_named() -> None:
    with pytest.raises(OptionError, match=r"lmdb, hdf5.*'zip'"):
        named("zip")


def test_storages_pickle_by_value() -> None:
    assert pickle.loads(pickle.dumps(STORAGES)) == STORAGES


@pytest.mark.parametrize("name", STORAGES)
def test_a_package_that_is_missing_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, named(name).package, None)
    expected = f"storage '{name}' needs {named(name).package}: pip install"
    with pytest.raises(MissingDependencyError, match=expected):
        named(name).writer(tmp_path / "shard")


@pytest.mark.parametrize("name", STORAGES)
def test_numbers_of_shards_stand_in_their_files_names(name: str) -> None:
    for number in (0, 7, 99_999, 100_000, 10**8):
        assert shard_number(shard_file(number, named(name))) == number
    suffix = named(name).suffix
    for other in ("pack.json", f"shard-{suffix}", f"shard-00001{suffix}.tmp", f"shard-1{suffix}"):
        assert shard_number(other) is None
    assert shard_number("shard-00001.zip") is None


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("third") / "photos", classes=3, per_class=8)


class TestAThirdStorage:
    """It is defined in the tests; nothing else of the library knows it."""

    @pytest.fixture(autouse=True)
    def flat(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(STORAGES, "flat", Flat())

    @pytest.fixture
    def pack(self, photos: Path, tmp_path: Path) -> Path:
        fastdata.pack_image_folder(photos, tmp_path / "flat", storage="flat", **SMALL)
        return tmp_path / "flat"

    @pytest.fixture
    def ordinary(self, photos: Path, tmp_path: Path) -> Path:
        fastdata.pack_image_folder(photos, tmp_path / "ordinary", **SMALL)
        return tmp_path / "ordinary"

    def test_it_is_packed_verified_and_read(self, pack: Path, ordinary: Path) -> None:
        reader = PackReader(pack)
        assert reader.manifest.storage == "flat"
        files = [shard.file for shard in reader.manifest.shards]
        assert files[:2] == ["shard-00000.flat", "shard-00001.flat"]
        records = b"".join(bytes(reader.read(i)) for i in range(len(reader)))
        assert b"".join((pack / file).read_bytes() for file in files) == records
        assert fastdata.verify_pack(pack, deep=True, quiet=True).ok
        check_same_images(pack, ordinary)

    def test_damage_is_found(self, pack: Path) -> None:
        shard = pack / "shard-00001.flat"
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
        problems = fastdata.verify_pack(pack, quiet=True).problems
        assert any(problem.startswith("shard-00001.flat: ") for problem in problems)

    def test_it_is_converted_from_and_to(self, pack: Path, ordinary: Path, tmp_path: Path) -> None:
        fastdata.convert(pack, tmp_path / "lmdb", storage="lmdb", **SMALL)
        fastdata.convert(ordinary, tmp_path / "again", storage="flat", **SMALL)
        for name, storage in (("lmdb", "lmdb"), ("again", "flat")):
            assert PackReader(tmp_path / name).manifest.storage == storage
            check_same_images(tmp_path / name, ordinary)

    def test_it_is_appended_to(self, pack: Path, photos: Path) -> None:
        before = len(PackReader(pack).manifest.shards)
        fastdata.append(pack, photos, quiet=True)
        manifest = PackReader(pack).manifest
        assert manifest.samples == 48
        assert manifest.shards[before].file == f"shard-{before:05d}.flat"
        assert fastdata.verify_pack(pack, deep=True, quiet=True).ok

    def test_it_is_planned(self, photos: Path, pack: Path, tmp_path: Path) -> None:
        plan = fastdata.plan_pack(photos, tmp_path / "planned", storage="flat", shard_size="6kB")
        size = sum(path.stat().st_size for path in pack.iterdir())
        assert plan.storage == "flat"
        assert plan.bytes_out.value == pytest.approx(size, rel=0.1)

    def test_behind_a_url_it_is_gone_on_with(
        self, photos: Path, pack: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = open_place("memory://third.pack")
        with monkeypatch.context() as patch:
            patch.setattr(type(place), "put", refusing("shard-00002.flat", type(place).put))
            with pytest.raises(RemoteError, match="run the same again"):
                fastdata.pack_image_folder(photos, str(place), storage="flat", **SMALL)
        again = {"storage": "flat", **SMALL}
        assert fastdata.pack_image_folder(photos, str(place), **again).resumed == 2
        assert {name: place.read(name) for name in place.names()} == contents(pack)

    def test_an_executor_packs_it(self, photos: Path, pack: Path, tmp_path: Path) -> None:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(2) as executor:
            fastdata.pack_image_folder(
                photos, tmp_path / "other", storage="flat", executor=executor, **SMALL
            )
        assert contents(tmp_path / "other") == contents(pack)

    def test_the_command_knows_it(self, photos: Path, pack: Path, tmp_path: Path) -> None:
        words = ["pack", str(photos), str(tmp_path / "by"), "--storage", "flat", "--quiet"]
        assert main([*words, "--shard-size", "6kB"]) == 0
        assert contents(tmp_path / "by") == contents(pack)


SMALL: dict[str, Any] = {"shard_size": "6kB", "quiet": True}


@pytest.fixture(autouse=True)
def clean_memory() -> Iterator[None]:
    """Files of memory:// outlive a test."""
    yield
    place = open_place("memory://third.pack")
    for name in place.names():
        place.delete(name)


def check_same_images(one: Path, other: Path) -> None:
    first, second = PackedImageFolder(one), PackedImageFolder(other)
    assert list(first.keys) == list(second.keys)
    for (image, target), (expected, label) in zip(first, second, strict=True):
        assert np.array_equal(image, expected)
        assert target == label


def refusing(file: str, put: Any) -> Any:
    """``Place.put``, of a store that does not take a file of that name."""

    def refuse(place: Place, local_path: Path, name: str) -> None:
        if name == file:
            raise RemoteError(f"cannot upload {name}")
        put(place, local_path, name)

    return refuse
