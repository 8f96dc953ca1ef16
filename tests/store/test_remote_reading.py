"""Packs behind URLs, read through the cache: the same samples, whatever is evicted meanwhile."""

from __future__ import annotations

import json
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import contents, write_tree
from helpers.servers import FileServer
from helpers.waiting import wait_until

import fastdata
from fastdata import DataLoaderX, PackedDataset, PackedImageFolder, ShardShuffleSampler
from fastdata import transforms as T
from fastdata.cli import main
from fastdata.errors import (
    OptionError,
    PackFormatError,
    PackNotFoundError,
    RemoteError,
    SampleError,
)
from fastdata.store import Access, PackReader

SAMPLES = 48
CROP = T.Compose([T.RandomResizedCrop(16), T.RandomHorizontalFlip()])


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of a dozen shards."""
    root = tmp_path_factory.mktemp("remote")
    write_tree(root / "photos", classes=4, per_class=SAMPLES // 4, formats=(".jpg",))
    fastdata.pack_image_folder(root / "photos", root / "p.pack", shard_size="5kB", quiet=True)
    assert len(PackReader(root / "p.pack").manifest.shards) >= 10
    return root / "p.pack"


@pytest.fixture
def server(local: Path) -> Iterator[FileServer]:
    with FileServer({f"p.pack/{name}": data for name, data in contents(local).items()}) as server:
        yield server


@pytest.fixture
def url(server: FileServer) -> str:
    return f"{server.url}/p.pack"


def limit_for(pack: Path, shards: int) -> int:
    """A cache limit that so many of the pack's shards fit into, beside the side files."""
    manifest = PackReader(pack).manifest
    side = sum(entry.bytes for entry in manifest.files.values())
    return side + shards * max(shard.bytes for shard in manifest.shards)


def cached_bytes(cache: Path) -> int:
    return sum(path.stat().st_size for path in cache.glob("*.shard"))


def shards_asked_for(server: FileServer) -> list[str]:
    return [name for name in server.downloads() if "/shard-" in name]


def epoch(dataset: Any, **options: Any) -> tuple[torch.Tensor, list[int]]:
    images, targets = zip(*DataLoaderX(dataset, 5, **options), strict=True)
    return torch.cat(images), torch.cat(targets).tolist()


def test_a_reader_gives_the_same_records(url: str, local: Path, tmp_path: Path) -> None:
    here = PackReader(local)
    there = PackReader(url, "always", access=Access(cache_dir=tmp_path / "c"))
    assert len(there) == SAMPLES
    assert there.manifest == here.manifest
    assert list(there.keys) == list(here.keys)
    assert there.targets.tolist() == here.targets.tolist()
    assert [bytes(there.read(i)) for i in range(SAMPLES)] == [here.read(i) for i in range(SAMPLES)]
    assert str(there.path) == url


def test_shards_are_downloaded_when_they_are_read(
    url: str, server: FileServer, tmp_path: Path
) -> None:
    reader = PackReader(url, access=Access(cache_dir=tmp_path / "c"))
    assert shards_asked_for(server) == []
    for _ in range(2):
        reader.read(SAMPLES - 1)
        reader.read(0)
    last = reader.manifest.shards[-1].file
    assert shards_asked_for(server) == [f"p.pack/{last}", "p.pack/shard-00000.lmdb"]
    again = PackReader(url, access=Access(cache_dir=tmp_path / "c"))
    again.read(0)
    assert len(shards_asked_for(server)) == 2


def test_views_outlive_eviction_and_the_disk_gets_the_space_back(
    url: str, local: Path, tmp_path: Path
) -> None:
    limit = limit_for(local, 2)
    reader = PackReader(url, access=Access(cache_dir=tmp_path / "c", cache_limit=limit))
    expected = [bytes(record) for record in map(PackReader(local).read, range(SAMPLES))]
    views = []
    for _ in range(2):
        for index in range(SAMPLES):
            views.append(reader.read(index))
            assert cached_bytes(tmp_path / "c") <= limit
    assert [bytes(view) for view in views] == expected * 2
    del views[:]
    reader.read(0)
    maps = Path("/proc/self/maps")
    if maps.exists():
        kept = [line for line in maps.read_text().splitlines() if str(tmp_path / "c") in line]
        shards = {shard.sha256 for shard in reader.manifest.shards}
        assert sum(any(sha in line for sha in shards) for line in kept) <= 2
        assert not [line for line in kept if "(deleted)" in line and any(s in line for s in shards)]


@pytest.mark.parametrize("context", ["fork", "spawn", "threads", "none"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_two_epochs_with_eviction(url: str, local: Path, tmp_path: Path, context: str) -> None:
    limit = limit_for(local, 5)
    options: dict[str, Any] = {
        "fork": {"num_workers": 2, "multiprocessing_context": "fork"},
        "spawn": {"num_workers": 2, "multiprocessing_context": "spawn"},
        "threads": {"num_workers": 2, "worker_type": "thread"},
        "none": {},
    }[context]
    here = PackedImageFolder(local, CROP, seed=1)
    there = PackedImageFolder(url, CROP, seed=1, cache_dir=tmp_path / "c", cache_limit=limit)
    expected = DataLoaderX(here, 5, sampler=ShardShuffleSampler(here, window=2, seed=3))
    loader = DataLoaderX(
        there,
        5,
        sampler=ShardShuffleSampler(there, window=2, seed=3),
        persistent_workers=context == "spawn",
        **options,
    )
    for _ in range(2):
        for (image, target), (other, same) in zip(expected, loader, strict=True):
            assert torch.equal(image, other)
            assert torch.equal(target, same)
        assert cached_bytes(tmp_path / "c") <= limit


def test_fields(url: str, local: Path, tmp_path: Path) -> None:
    here = PackedDataset(local, fields=["image", "key"])
    there = PackedDataset(url, fields=["image", "key"], cache_dir=tmp_path / "c")
    assert there[7]["key"] == here[7]["key"]
    assert np.array_equal(there[7]["image"], here[7]["image"])


def test_pickled_and_read_in_many_threads(url: str, local: Path, tmp_path: Path) -> None:
    limit = limit_for(local, 4)
    reader = PackReader(url, access=Access(cache_dir=tmp_path / "c", cache_limit=limit))
    copy = pickle.loads(pickle.dumps(reader))
    expected = [bytes(record) for record in map(PackReader(local).read, range(SAMPLES))]
    wrong: list[int] = []

    def read(start: int) -> None:
        for i in range(SAMPLES):
            index = (start + i) % SAMPLES
            if bytes(copy.read(index)) != expected[index]:
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(12 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("form", ["file://", "memory://"])
def test_other_protocols(local: Path, tmp_path: Path, form: str) -> None:
    if form == "memory://":
        import fsspec

        fsspec.filesystem("memory").put(f"{local}/", "/reading/p.pack/", recursive=True)
        location = "memory://reading/p.pack"
    else:
        location = local.as_uri()
    dataset = PackedImageFolder(location, CROP, seed=1, cache_dir=tmp_path / "c")
    images, targets = epoch(dataset)
    expected, classes = epoch(PackedImageFolder(local, CROP, seed=1))
    assert torch.equal(images, expected)
    assert targets == classes
    assert (tmp_path / "c").exists() == (form == "memory://")  # local files are not copied


def test_a_damaged_shard_is_named_with_its_url(
    url: str, server: FileServer, tmp_path: Path
) -> None:
    name = "p.pack/shard-00003.lmdb"
    good = server.files[name]
    server.files[name] = good[:-1] + bytes([good[-1] ^ 1])
    dataset = PackedImageFolder(url, cache_dir=tmp_path / "c")
    bad = dataset.pack.manifest.shards[3].first
    with pytest.raises(PackFormatError, match=f"{server.url}/{name}: expected SHA-256"):
        dataset.pack.read(bad)
    with pytest.raises(SampleError, match=f"sample {bad} .*{server.url}/{name}"):
        dataset[bad]
    dataset.transform = CROP
    loader = DataLoaderX(dataset, 4, num_workers=2, on_error="skip", max_errors=SAMPLES)
    with pytest.warns(UserWarning, match="shard-00003"):
        read = sum(len(batch[1]) for batch in loader)
    assert read == SAMPLES - dataset.pack.manifest.shards[3].count
    server.files[name] = good  # mended, it is read: nothing of the bad one was kept
    assert dataset[bad][1] == 0


def test_what_is_not_there(url: str, server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(PackNotFoundError, match=r"no pack at .*/elsewhere"):
        PackReader(f"{server.url}/elsewhere", access=Access(cache_dir=tmp_path / "c"))
    del server.files["p.pack/shard-00001.lmdb"]
    reader = PackReader(url, access=Access(cache_dir=tmp_path / "c"))
    with pytest.raises(PackFormatError, match=r"shard-00001\.lmdb: the file is missing"):
        reader.read(reader.manifest.shards[1].first)
    server.files["p.pack/pack.json"] = server.files["p.pack/pack.json"][:-9]
    with pytest.raises(PackFormatError, match=r"http.*/pack\.json"):
        PackReader(url, access=Access(cache_dir=tmp_path / "c"))


def test_the_network_fails(url: str, server: FileServer, tmp_path: Path) -> None:
    server.fail_first, server.status = 10**9, 403
    with pytest.raises(RemoteError, match="check the credentials"):
        PackReader(url, access=Access(cache_dir=tmp_path / "c"))


def test_a_cache_that_is_too_small_is_refused_at_once(url: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="set cache_limit"):
        PackReader(url, access=Access(cache_dir=tmp_path / "c", cache_limit=1000))
    with pytest.raises(OptionError, match="a size is a number"):
        PackReader(url, access=Access(cache_dir=tmp_path / "c", cache_limit="much"))


def test_info_and_verify_of_a_url(
    url: str, server: FileServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cache = ["--cache-dir", os.fspath(tmp_path / "c"), "--cache-limit", "1MB"]
    assert main(["info", url, "--json", *cache]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == SAMPLES
    assert shards_asked_for(server) == []
    assert main(["verify", url, "--deep"]) == 0
    assert f"{url}: {SAMPLES} samples" in capsys.readouterr().out
    count = len(shards_asked_for(server))
    assert count == len(set(shards_asked_for(server)))  # each was downloaded once
    name = "p.pack/shard-00002.lmdb"
    server.files[name] = server.files[name][:-1] + b"\1"
    assert main(["verify", url]) == 1
    assert "shard-00002.lmdb: " in capsys.readouterr().out
    report = fastdata.verify_pack(url, quiet=True)
    assert len(report.problems) == 1
    assert "expected SHA-256" in report.problems[0]


def test_unpack_of_a_url(
    url: str, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTDATA_CACHE", os.fspath(tmp_path / "c"))
    assert fastdata.unpack(url, tmp_path / "there", quiet=True) == SAMPLES
    fastdata.unpack(local, tmp_path / "here", quiet=True)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert (tmp_path / "c").exists()


def test_the_next_shards_are_there_before_they_are_read(
    url: str, local: Path, server: FileServer, tmp_path: Path
) -> None:
    dataset = PackedImageFolder(url, CROP, cache_dir=tmp_path / "c")
    iterator = iter(DataLoaderX(dataset, 1, prefetch_batches=0))
    next(iterator)
    wait_until(lambda: len(shards_asked_for(server)) == 2)
    first = dataset.pack.manifest.shards[0].count
    for _ in range(first):
        next(iterator)
    wait_until(lambda: len(shards_asked_for(server)) == 3)
    del iterator
    names = shards_asked_for(server)
    assert len(names) == len(set(names))


def test_a_shuffled_epoch_hardly_downloads_a_shard_twice(
    url: str, local: Path, server: FileServer, tmp_path: Path
) -> None:
    dataset = PackedImageFolder(
        url, CROP, cache_dir=tmp_path / "c", cache_limit=limit_for(local, 8)
    )
    loader = DataLoaderX(dataset, 4, sampler=ShardShuffleSampler(dataset, window=2), num_workers=2)
    assert sum(len(targets) for _, targets in loader) == SAMPLES
    names = shards_asked_for(server)
    # Of two workers, one may be so far behind that its window has been evicted.
    assert len(names) <= len(set(names)) + 2


def test_no_threads_are_left_after_an_early_break(url: str, tmp_path: Path) -> None:
    dataset = PackedImageFolder(url, CROP, cache_dir=tmp_path / "c")
    loader = DataLoaderX(dataset, 2, sampler=ShardShuffleSampler(dataset, window=3), num_workers=2)
    for _ in loader:
        break
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "fastdata-shards"])
    assert sum(len(targets) for _, targets in loader) == SAMPLES


def test_a_random_order_that_cannot_be_cached_is_warned_about(
    url: str, local: Path, tmp_path: Path
) -> None:
    dataset = PackedImageFolder(
        url, CROP, cache_dir=tmp_path / "c", cache_limit=limit_for(local, 3)
    )
    with pytest.warns(UserWarning, match="ShardShuffleSampler"):
        next(iter(DataLoaderX(dataset, 2, shuffle=True)))
    wide = ShardShuffleSampler(dataset, window=9)
    with pytest.warns(UserWarning, match="window"):
        next(iter(DataLoaderX(dataset, 2, sampler=wide)))


def test_options_of_access_show_no_password_and_are_for_urls(local: Path, tmp_path: Path) -> None:
    access = Access(tmp_path / "none", "1 byte", {"secret": "hidden"})
    assert "hidden" not in repr(access)
    assert len(PackReader(local, access=access)) == SAMPLES
    assert not (tmp_path / "none").exists()
