"""Packs written behind URLs: the same bytes as in a directory, whatever happens on the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from helpers.images import contents, encoded, picture, write_tree
from helpers.servers import FileServer, s3_server
from helpers.waiting import wait_until

import fastdata
from fastdata import DataLoaderX, PackedImageFolder, ShardShuffleSampler
from fastdata import transforms as T
from fastdata.cli import main
from fastdata.errors import (
    FastdataError,
    OptionError,
    PackExistsError,
    PackFormatError,
    PackingError,
    RemoteError,
)
from fastdata.store import Access, PackReader
from fastdata.store.remote import Place, open_place

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

SMALL: dict[str, Any] = {"shard_size": "12kB", "quiet": True, "workers": 2}
CROP = T.Compose([T.RandomResizedCrop(16), T.RandomHorizontalFlip()])
FORK = multiprocessing.get_context("fork")


class Faulty(MemoryFileSystem):  # type: ignore[misc]
    """A store in memory that refuses to write, or to delete, files with a text in their name."""

    protocol = "faulty"
    refuses_to_put = ""
    refuses_to_delete = ""

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        if Faulty.refuses_to_put and Faulty.refuses_to_put in rpath:
            raise PermissionError(rpath)
        super().put_file(lpath, rpath, **options)

    def rm_file(self, path: str) -> None:
        if Faulty.refuses_to_delete and path.endswith(Faulty.refuses_to_delete):
            raise PermissionError(path)
        super()._rm(path)


fsspec.register_implementation("faulty", Faulty, clobber=True)


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Temporary files and the cache in places of this test; nothing temporary is left."""
    get_temp_dir()  # of this process's sockets, which stay when this test is over
    own = Path(tempfile.mkdtemp(prefix="fd"))
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(own))
    monkeypatch.setenv("FASTDATA_CACHE", os.fspath(tmp_path / "cache"))
    monkeypatch.setattr(Faulty, "refuses_to_put", "")
    monkeypatch.setattr(Faulty, "refuses_to_delete", "")
    yield
    MemoryFileSystem.store.clear()
    left = {path.name for path in own.rglob("*") if path.is_file()}
    shutil.rmtree(own)
    assert left <= {"lock"}


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, Any]]:
    with s3_server() as options:
        fsspec.filesystem("s3", **options).mkdir("bucket")
        yield options


@pytest.fixture(params=["memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        return open_place("memory://here/some.pack")
    options = request.getfixturevalue("s3")
    return open_place(f"s3://bucket/{tmp_path.name}.pack", **options)


@pytest.fixture
def options(place: Place, request: pytest.FixtureRequest) -> dict[str, Any]:
    """How to reach the place."""
    if str(place).startswith("memory"):
        return {}
    return {"storage_options": request.getfixturevalue("s3")}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("src") / "photos", classes=3, per_class=10)


@pytest.fixture(scope="module")
def local(photos: Path) -> Path:
    """The pack of the photos in a directory."""
    fastdata.pack_image_folder(photos, photos.parent / "local.pack", **SMALL)
    return photos.parent / "local.pack"


def files(place: Place) -> dict[str, bytes]:
    return {name: place.read(name) for name in place.names()}


def some_samples(count: int = 30) -> Iterator[dict[str, Any]]:
    for i in range(count):
        yield {"key": f"k{i}", "image": encoded(picture(40, 50, i), ".jpg"), "target": i % 3}


def test_the_same_bytes_as_in_a_directory(
    place: Place, options: dict[str, Any], photos: Path, local: Path
) -> None:
    report = fastdata.pack_image_folder(photos, str(place), **SMALL, **options)
    assert files(place) == contents(local)
    assert (report.path, report.images) == (str(place), 30)
    assert report.bytes_out == sum(map(len, contents(local).values()))
    assert fastdata.verify_pack(str(place), quiet=True, **options).ok


def test_streams_and_hdf5(tmp_path: Path) -> None:
    for where in (tmp_path / "p", "memory://some.pack"):
        fastdata.pack(some_samples(), where, storage="hdf5", **SMALL)
    assert files(open_place("memory://some.pack")) == contents(tmp_path / "p")


def test_an_executor_uploads_from_its_processes(
    s3: dict[str, Any], photos: Path, tmp_path: Path
) -> None:
    url = f"s3://bucket/{tmp_path.name}.pack"
    large: dict[str, Any] = {**SMALL, "shard_size": "40kB"}
    with ProcessPoolExecutor(2, FORK) as executor:
        fastdata.pack_image_folder(photos, url, executor=executor, storage_options=s3, **large)
    fastdata.pack_image_folder(photos, tmp_path / "p", **large)
    assert files(open_place(url, **s3)) == contents(tmp_path / "p")


def test_packed_and_read_over_s3_and_http(
    s3: dict[str, Any], photos: Path, local: Path, tmp_path: Path
) -> None:
    url = f"s3://bucket/{tmp_path.name}.pack"
    fastdata.pack_image_folder(photos, url, storage_options=s3, **SMALL)
    manifest = PackReader(local).manifest
    limit = 5 * max(shard.bytes for shard in manifest.shards) + 20_000
    assert limit < sum(shard.bytes for shard in manifest.shards)

    def epochs(location: str | Path, workers: int, **more: Any) -> list[list[float]]:
        dataset = PackedImageFolder(location, CROP, seed=1, **more)
        sampler = ShardShuffleSampler(dataset, window=2)
        loader = DataLoaderX(
            dataset, 4, sampler=sampler, num_workers=workers, persistent_workers=workers > 0
        )
        return [[float(images.sum()) for images, _ in loader] for _ in range(2)]

    expected = epochs(local, 0)
    cache: dict[str, Any] = {"cache_dir": tmp_path / "a", "cache_limit": limit}
    assert epochs(url, 2, storage_options=s3, **cache) == expected
    with FileServer(files(open_place(url, **s3))) as server:
        cache["cache_dir"] = tmp_path / "b"
        assert epochs(server.url, 2, **cache) == expected


def test_damage_in_a_bucket_is_named(s3: dict[str, Any], photos: Path, tmp_path: Path) -> None:
    url = f"s3://bucket/{tmp_path.name}.pack"
    fastdata.pack_image_folder(photos, url, storage_options=s3, **SMALL)
    place = open_place(url, **s3)
    name = "shard-00001.lmdb"
    data = place.read(name)
    place.write(name, data[:-1] + b"\1")
    dataset = PackedImageFolder(url, storage_options=s3)
    bad = dataset.pack.manifest.shards[1].first
    with pytest.raises(fastdata.SampleError, match=f"{url}/{name}: expected SHA-256"):
        dataset[bad]
    report = fastdata.verify_pack(url, storage_options=s3, quiet=True)
    assert len(report.problems) == 1
    assert name in report.problems[0]


def _pack_until_killed(url: str, s3: dict[str, Any]) -> None:
    place = open_place(url, **s3)

    def samples() -> Iterator[dict[str, Any]]:
        for number, sample in enumerate(some_samples()):
            if number == 25:
                wait_until(lambda: len([n for n in place.names() if "/parts/" in n]) >= 2)
                os.kill(os.getpid(), signal.SIGKILL)
            yield sample

    fastdata.pack(samples(), url, storage_options=s3, **TINY)


TINY: dict[str, Any] = {**SMALL, "shard_size": "5kB"}


def test_a_killed_packer_is_followed_by_one_that_goes_on(
    s3: dict[str, Any], tmp_path: Path
) -> None:
    url = f"s3://bucket/{tmp_path.name}.pack"
    child = FORK.Process(target=_pack_until_killed, args=(url, s3))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    with pytest.raises(FastdataError, match="no pack at"):
        PackReader(url, access=Access(storage_options=s3))
    with pytest.raises(PackExistsError, match=r"unfinished pack that differs.*storage was 'lmdb'"):
        fastdata.pack(some_samples(), url, storage="hdf5", storage_options=s3, **TINY)
    report = fastdata.pack(some_samples(), url, storage_options=s3, **TINY)
    assert report.resumed >= 2
    fastdata.pack(some_samples(), tmp_path / "p", **TINY)
    assert files(open_place(url, **s3)) == contents(tmp_path / "p")


def test_a_store_that_fails_and_then_works(photos: Path, local: Path) -> None:
    url, place = "faulty://some.pack", open_place("faulty://some.pack")
    Faulty.refuses_to_put = "shard-00003"
    with pytest.raises(RemoteError, match=r"upload faulty:.*shard-00003.*run the same again"):
        fastdata.pack_image_folder(photos, url, **SMALL)
    assert f"{url}/.partial" in url + "/" + "".join(n for n in place.names() if "parts" in n)
    Faulty.refuses_to_put = ""
    assert fastdata.pack_image_folder(photos, url, **SMALL).resumed == 3
    assert files(place) == contents(local)


def test_restart_forgets_what_was_done(photos: Path, tmp_path: Path) -> None:
    url, place = "faulty://some.pack", open_place("faulty://some.pack")
    Faulty.refuses_to_put = "shard-00003"
    with pytest.raises(RemoteError):
        fastdata.pack_image_folder(photos, url, **SMALL)
    Faulty.refuses_to_put = ""
    large: dict[str, Any] = {**SMALL, "shard_size": "1GB"}
    report = fastdata.pack_image_folder(photos, url, restart=True, **large)
    assert report.resumed == 0
    fastdata.pack_image_folder(photos, tmp_path / "p", **large)
    assert files(place) == contents(tmp_path / "p")


@pytest.mark.parametrize("refused", ["table.npy", "pack.json", "job.json", "commit"])
def test_stopped_at_the_end(photos: Path, local: Path, refused: str) -> None:
    url, place = "faulty://some.pack", open_place("faulty://some.pack")
    Faulty.refuses_to_put = refused
    with pytest.raises(RemoteError):
        fastdata.pack_image_folder(photos, url, **SMALL)
    assert "pack.json" not in place.names()
    Faulty.refuses_to_put = ""
    fastdata.pack_image_folder(photos, url, **SMALL)
    assert files(place) == contents(local)


def test_stopped_while_clearing_up(photos: Path, local: Path) -> None:
    url, place = "faulty://some.pack", open_place("faulty://some.pack")
    Faulty.refuses_to_delete = "parts/00002.npz"
    with pytest.raises(RemoteError):
        fastdata.pack_image_folder(photos, url, **SMALL)
    assert fastdata.verify_pack(url, quiet=True).ok  # the pack was there already
    Faulty.refuses_to_delete = ""
    report = fastdata.pack(fastdata_source(photos), url, **SMALL)
    assert "an earlier run had completed it" in str(report)
    assert files(place) == contents(local)


def fastdata_source(photos: Path) -> Any:
    from fastdata.sources.detect import open_source

    return open_source(photos)


def test_nothing_is_left_of_a_run_without_a_shard() -> None:
    place = open_place("memory://some.pack")

    def samples() -> Iterator[dict[str, Any]]:
        yield from some_samples(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="nothing is left of it"):
        fastdata.pack(samples(), str(place), quiet=True)
    assert place.names() == []


def test_what_is_there_is_not_overwritten(photos: Path, local: Path) -> None:
    place = open_place("memory://some.pack")
    place.write("notes.txt", b"mine")
    with pytest.raises(PackExistsError, match=r"notes\.txt is not of a packing run"):
        fastdata.pack_image_folder(photos, str(place), **SMALL)
    assert place.names() == ["notes.txt"]
    place.delete("notes.txt")
    fastdata.pack_image_folder(photos, str(place), **SMALL)
    with pytest.raises(PackExistsError, match="is a pack already"):
        fastdata.pack_image_folder(photos, str(place), **SMALL)
    with pytest.raises(OptionError, match="overwrite is for directories"):
        fastdata.pack_image_folder(photos, str(place), overwrite=True, **SMALL)
    assert files(place) == contents(local)


def test_http_can_only_be_read(photos: Path) -> None:
    with FileServer({}) as server, pytest.raises(OptionError, match="can only be read"):
        fastdata.pack_image_folder(photos, f"{server.url}/p.pack", **SMALL)


def during(action: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """Samples, in the middle of which something happens."""
    for number, sample in enumerate(some_samples()):
        if number == 15:
            action()
        yield sample


def test_one_packer_at_a_time(photos: Path, tmp_path: Path) -> None:
    place = open_place("memory://some.pack")

    def another() -> None:
        with pytest.raises(PackExistsError, match="another process of this machine is writing"):
            fastdata.pack_image_folder(photos, str(place), **SMALL)

    fastdata.pack(during(another), str(place), **SMALL)
    fastdata.pack(some_samples(), tmp_path / "p", **SMALL)
    assert files(place) == contents(tmp_path / "p")


def lease(host: str, age: float, token: str = "0") -> bytes:
    values = {"token": token, "host": host, "pid": 7, "time": time.time() - age}
    return json.dumps(values).encode()


def test_a_packer_on_another_machine() -> None:
    place = open_place("memory://some.pack")
    place.write(".partial/lease.json", lease("other", 100))
    with pytest.raises(PackExistsError, match=r"being written by process 7 on other"):
        fastdata.pack(some_samples(), str(place), **SMALL)
    place.write(".partial/lease.json", b"[]")
    with pytest.raises(PackExistsError, match="is no lease"):
        fastdata.pack(some_samples(), str(place), **SMALL)
    place.write(".partial/lease.json", lease("other", 1000))
    assert fastdata.pack(some_samples(), str(place), **SMALL).images == 30
    assert not [name for name in place.names() if "partial" in name]


def test_a_packer_that_was_thought_dead_publishes_nothing() -> None:
    place = open_place("memory://some.pack")
    with pytest.raises(PackingError, match="is now written by process 7 on other"):
        fastdata.pack(
            during(lambda: place.write(".partial/lease.json", lease("other", 0))),
            str(place),
            **SMALL,
        )
    assert "pack.json" not in place.names()
    assert ".partial/lease.json" in place.names()  # that of the other one


def test_append_gives_the_same_bytes(
    place: Place, options: dict[str, Any], photos: Path, tmp_path: Path
) -> None:
    more = write_tree(tmp_path / "more", classes=4, per_class=3, seed=9)
    for where, how in ((tmp_path / "p", {}), (str(place), options)):
        fastdata.pack_image_folder(photos, where, **SMALL, **how)
        old = PackedImageFolder(where, **how)
        report = fastdata.append(where, fastdata_source(more), **SMALL, **how)
        new = PackedImageFolder(where, **how)
        assert (report.images, len(old), len(new)) == (12, 30, 42)
        assert np.array_equal(old[3][0], new[3][0])
    assert files(place) == contents(tmp_path / "p")


def test_append_that_fails_leaves_the_pack_and_goes_on(photos: Path, tmp_path: Path) -> None:
    more = write_tree(tmp_path / "more", classes=4, per_class=3, seed=9)
    url, place = "faulty://some.pack", open_place("faulty://some.pack")
    for where in (tmp_path / "p", url):
        fastdata.pack_image_folder(photos, where, **SMALL)
    fastdata.append(tmp_path / "p", fastdata_source(more), **SMALL)
    before = files(place)
    Faulty.refuses_to_put = "table.1.npy"
    with pytest.raises(RemoteError):
        fastdata.append(url, fastdata_source(more), **SMALL)
    assert before.items() <= files(place).items()
    assert fastdata.verify_pack(url, quiet=True).samples == 30
    Faulty.refuses_to_put = ""
    Faulty.refuses_to_delete = "some.pack/table.npy"
    with pytest.raises(RemoteError):
        fastdata.append(url, fastdata_source(more), **SMALL)
    Faulty.refuses_to_delete = ""
    fastdata.append(url, fastdata_source(more), **SMALL)
    assert files(place) == contents(tmp_path / "p")


def test_append_restarted_keeps_the_old_shards(photos: Path, tmp_path: Path) -> None:
    more = write_tree(tmp_path / "more", classes=4, per_class=3, seed=9)
    url, place = "faulty://some.pack", open_place("faulty://some.pack")
    fastdata.pack_image_folder(photos, url, **SMALL)
    Faulty.refuses_to_put = "table.1.npy"
    with pytest.raises(RemoteError):
        fastdata.append(url, fastdata_source(more), **SMALL)
    Faulty.refuses_to_put = ""
    fastdata.append(url, fastdata_source(more), restart=True, **{**SMALL, "shard_size": "1GB"})
    report = fastdata.verify_pack(url, quiet=True)
    assert (report.ok, report.samples) == (True, 42)
    own = {entry.file for entry in PackReader(url).manifest.entries}
    assert {*place.names()} == own | {"pack.json"}


def test_a_shard_that_has_vanished_is_missed(photos: Path) -> None:
    url, place = "faulty://some.pack", open_place("faulty://some.pack")
    Faulty.refuses_to_put = "table.npy"
    with pytest.raises(RemoteError):
        fastdata.pack_image_folder(photos, url, **SMALL)
    Faulty.refuses_to_put = ""
    place.delete("shard-00000.lmdb")
    with pytest.raises(PackFormatError, match=r"shard-00000\.lmdb: expected .* found 0.*restart"):
        fastdata.pack_image_folder(photos, url, **SMALL)


def test_from_url_to_url(photos: Path, local: Path, tmp_path: Path) -> None:
    fastdata.pack_image_folder(photos, "memory://a.pack", **SMALL)
    fastdata.convert("memory://a.pack", "memory://b.pack", **SMALL)
    fastdata.convert(local, tmp_path / "b", **SMALL)
    assert files(open_place("memory://b.pack")) == contents(tmp_path / "b")


def test_the_command(
    s3: dict[str, Any],
    photos: Path,
    local: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3["client_kwargs"]["endpoint_url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3["secret"])
    url = f"s3://bucket/{tmp_path.name}.pack"
    assert main(["pack", str(photos), url, "--shard-size", "12kB"]) == 0
    assert f"{url}: 30 images in 3 classes" in capsys.readouterr().out
    assert files(open_place(url)) == contents(local)
    assert main(["info", url]) == 0
    assert main(["verify", url, "--quiet"]) == 0
    assert main(["pack", str(photos), url]) == 1
    assert f"{url} is a pack already" in capsys.readouterr().err
    images = [image for image, _ in PackedImageFolder(url)]
    expected = [image for image, _ in PackedImageFolder(local)]
    assert all(np.array_equal(*pair) for pair in zip(images, expected, strict=True))
    assert torch.is_tensor(PackedImageFolder(url, CROP)[0][0])
    assert not [t for t in threading.enumerate() if t.name == "fastdata-lease"]
