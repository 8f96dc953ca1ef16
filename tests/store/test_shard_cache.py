"""The cache of shards in one process: what is kept, what goes, and what is never touched."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import FileServer

from fastdata.errors import CacheError, OptionError, PackFormatError, PackNotFoundError, RemoteError
from fastdata.store.remote import (
    LocalPlace,
    Place,
    Retry,
    ShardCache,
    default_directory,
    default_limit,
    open_place,
)

SIZE = 100_000
SHARDS = {f"shard-{i}": bytes([i]) * SIZE for i in range(6)}


def arguments(place: Place, name: str) -> tuple[Place, str, int, str]:
    return place, name, SIZE, hashlib.sha256(SHARDS[name]).hexdigest()


def kept(cache: ShardCache) -> list[str]:
    """Names of the shards that lie in the cache, by their content."""
    found = [path.read_bytes()[:1] for path in cache.directory.glob("*.shard")]
    return sorted(f"shard-{byte[0]}" for byte in found)


def leftovers(cache: ShardCache) -> list[str]:
    return [path.name for path in cache.directory.iterdir() if "partial" in path.name]


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer(dict(SHARDS)) as server:
        yield server


@pytest.fixture
def place(server: FileServer) -> Place:
    return open_place(server.url, retry=Retry(attempts=3, wait=0.01))


@pytest.fixture
def cache(tmp_path: Path) -> ShardCache:
    return ShardCache(tmp_path / "cache", 3 * SIZE, patience=0.2)


def test_downloaded_once(cache: ShardCache, place: Place, server: FileServer) -> None:
    for _ in range(3):
        with cache.open(*arguments(place, "shard-1")) as path:
            assert path.read_bytes() == SHARDS["shard-1"]
    assert server.downloads() == ["shard-1"]
    assert cache.used_bytes == SIZE


def test_equal_shards_of_two_packs_are_one(
    cache: ShardCache, place: Place, server: FileServer
) -> None:
    server.files["other/name"] = SHARDS["shard-1"]
    first = cache.fetch(*arguments(place, "shard-1"))
    _, _, size, sha256 = arguments(place, "shard-1")
    assert cache.fetch(open_place(f"{server.url}/other"), "name", size, sha256) == first
    assert server.downloads() == ["shard-1"]


def test_an_empty_shard(cache: ShardCache, place: Place, server: FileServer) -> None:
    server.files["empty"] = b""
    path = cache.fetch(place, "empty", 0, hashlib.sha256().hexdigest())
    assert path.read_bytes() == b""


def test_the_longest_unused_goes_first(cache: ShardCache, place: Place) -> None:
    for name in ("shard-0", "shard-1", "shard-2", "shard-0", "shard-3", "shard-4"):
        cache.fetch(*arguments(place, name))
        assert cache.used_bytes <= cache.limit_bytes
    assert kept(cache) == ["shard-0", "shard-3", "shard-4"]


def test_open_shards_stay(cache: ShardCache, place: Place) -> None:
    with cache.open(*arguments(place, "shard-0")) as first:
        with cache.open(*arguments(place, "shard-0")) as again:
            assert again == first
        for name in list(SHARDS)[1:]:
            cache.fetch(*arguments(place, name))
        assert first.read_bytes() == SHARDS["shard-0"]
    cache.fetch(*arguments(place, "shard-1"))
    assert "shard-0" not in kept(cache)


def test_no_room_while_all_are_open(cache: ShardCache, place: Place) -> None:
    with (
        cache.open(*arguments(place, "shard-0")),
        cache.open(*arguments(place, "shard-1")),
        cache.open(*arguments(place, "shard-2")),
        pytest.raises(CacheError, match=r"no room for http.*/shard-3 .*300000 are in use"),
    ):
        cache.fetch(*arguments(place, "shard-3"))
    cache.fetch(*arguments(place, "shard-3"))


def test_what_is_mapped_outlives_its_eviction(cache: ShardCache, place: Place) -> None:
    with cache.open(*arguments(place, "shard-0")) as path, path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    for name in list(SHARDS)[1:]:
        cache.fetch(*arguments(place, name))
    assert not path.exists()
    assert view[:] == SHARDS["shard-0"]
    view.close()


def test_a_shard_beyond_the_limit(place: Place, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "small", SIZE - 1)
    with pytest.raises(OptionError, match=r"shard-0 has 100000 bytes.* at least 100000"):
        cache.fetch(*arguments(place, "shard-0"))


def test_damage_on_the_way(cache: ShardCache, place: Place, server: FileServer) -> None:
    server.corrupt = True
    expected = arguments(place, "shard-0")[3]
    found = hashlib.sha256(SHARDS["shard-0"][:-1] + b"\1").hexdigest()
    with pytest.raises(PackFormatError, match=rf"{server.url}/shard-0.*{expected}.*{found}"):
        cache.fetch(*arguments(place, "shard-0"))
    assert cache.used_bytes == 0
    assert (kept(cache), leftovers(cache)) == ([], [])
    server.corrupt = False
    cache.fetch(*arguments(place, "shard-0"))


@pytest.mark.parametrize("change", [-1, 1])
def test_another_size(cache: ShardCache, place: Place, server: FileServer, change: int) -> None:
    server.files["shard-0"] = bytes(SIZE + change)
    with pytest.raises(PackFormatError, match=rf"shard-0: .*100000.*{SIZE + change}"):
        cache.fetch(*arguments(place, "shard-0"))
    assert (kept(cache), leftovers(cache)) == ([], [])


def test_failures_of_the_network(cache: ShardCache, place: Place, server: FileServer) -> None:
    server.fail_first, server.truncate_first = 1, 1
    cache.fetch(*arguments(place, "shard-0"))
    server.fail_first = 1000
    with pytest.raises(RemoteError, match=r"shard-1 in 3 attempts"):
        cache.fetch(*arguments(place, "shard-1"))
    with pytest.raises(PackNotFoundError, match="shard-1"):
        server.fail_first = 0
        del server.files["shard-1"]
        cache.fetch(*arguments(place, "shard-1"))
    assert (kept(cache), leftovers(cache)) == (["shard-0"], [])


def test_a_file_that_was_cut_off_is_not_used(
    cache: ShardCache, place: Place, server: FileServer
) -> None:
    path = cache.fetch(*arguments(place, "shard-0"))
    os.truncate(path, 10)
    assert cache.fetch(*arguments(place, "shard-0")).read_bytes() == SHARDS["shard-0"]
    assert server.downloads() == ["shard-0"] * 2


def test_verify_finds_damage_in_the_cache(cache: ShardCache, place: Place) -> None:
    path = cache.fetch(*arguments(place, "shard-0"))
    path.write_bytes(bytes([7]) * SIZE)
    checking = ShardCache(cache.directory, cache.limit_bytes, verify=True)
    assert checking.fetch(*arguments(place, "shard-0")).read_bytes() == SHARDS["shard-0"]


def test_what_a_killed_process_left_goes(cache: ShardCache, place: Place) -> None:
    (cache.directory / f"{'0' * 64}-{2 * SIZE}.partial").write_bytes(b"half")
    cache.fetch(*arguments(place, "shard-0"))
    cache.fetch(*arguments(place, "shard-1"))
    assert leftovers(cache) == []
    assert kept(cache) == ["shard-0", "shard-1"]


def test_a_local_pack_is_neither_copied_nor_deleted(cache: ShardCache, tmp_path: Path) -> None:
    root = tmp_path / "pack"
    root.mkdir()
    for name, data in SHARDS.items():
        (root / name).write_bytes(data)
    for place in (open_place(root), open_place(root.as_uri())):
        for name in SHARDS:
            assert cache.fetch(*arguments(place, name)) == root / name
    assert sorted(os.listdir(root)) == sorted(SHARDS)
    assert cache.used_bytes == 0
    os.truncate(root / "shard-0", 5)
    with pytest.raises(PackFormatError, match="expected 100000 bytes, found 5"):
        cache.fetch(*arguments(place, "shard-0"))
    with pytest.raises(PackNotFoundError):
        cache.fetch(LocalPlace(tmp_path / "nowhere"), *arguments(place, "shard-0")[1:])


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"an only copy")
    with pytest.raises(OptionError, match=r"photo\.jpg.*empty directory"):
        ShardCache(tmp_path)
    (tmp_path / "photo.jpg").unlink()
    (tmp_path / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# other")
    with pytest.raises(OptionError, match="other files"):
        ShardCache(tmp_path)
    assert os.listdir(tmp_path) == ["CACHEDIR.TAG"]


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheError, match="another directory"):
        ShardCache(tmp_path / "file")


def test_files_that_came_later_are_not_deleted(
    cache: ShardCache, place: Place, tmp_path: Path
) -> None:
    only_copy = tmp_path / "only-copy"
    only_copy.write_bytes(bytes(2 * SIZE))
    (cache.directory / "notes.txt").write_text("mine")
    (cache.directory / f"{'1' * 64}.shard").symlink_to(only_copy)
    (cache.directory / f"{'2' * 64}.shard").mkdir()
    for name in SHARDS:
        cache.fetch(*arguments(place, name))
    names = os.listdir(cache.directory)
    assert {"notes.txt", f"{'1' * 64}.shard", f"{'2' * 64}.shard", "CACHEDIR.TAG"} <= set(names)
    assert only_copy.stat().st_size == 2 * SIZE


def test_a_cache_that_is_deleted_meanwhile_comes_back(
    cache: ShardCache, place: Place, tmp_path: Path
) -> None:
    cache.fetch(*arguments(place, "shard-0"))
    cache.directory.rename(tmp_path / "away")
    cache.fetch(*arguments(place, "shard-0"))
    assert kept(cache) == ["shard-0"]


@pytest.mark.parametrize(
    ("size", "sha256"),
    [
        (1, "../../etc/passwd"),
        (1, "A" * 64),
        (1, 5),
        (-1, "a" * 64),
        ("1", "a" * 64),
        (True, "a" * 64),
    ],
)
def test_hostile_entries(cache: ShardCache, place: Place, size: Any, sha256: Any) -> None:
    with pytest.raises(PackFormatError, match="shard-0: expected a size and a SHA-256"):
        cache.fetch(place, "shard-0", size, sha256)


class FullDisk(LocalPlace):
    """A remote place whose first downloads find the disk full."""

    def __init__(self, root: Path, failures: int) -> None:
        super().__init__(root)
        self.failures = failures

    def local_path(self, name: str) -> Any:
        return None

    def download(
        self,
        name: str,
        path: Path,
        *,
        most: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        path.write_bytes(SHARDS[name][:500])
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        path.write_bytes(SHARDS[name])


def test_a_full_disk_is_tried_once_more(cache: ShardCache, place: Place, tmp_path: Path) -> None:
    cache.fetch(*arguments(place, "shard-0"))
    cache.fetch(*arguments(FullDisk(tmp_path, 1), "shard-1"))
    assert kept(cache) == ["shard-1"]
    with pytest.raises(CacheError, match=r"disk is full.*FASTDATA_CACHE"):
        cache.fetch(*arguments(FullDisk(tmp_path, 2), "shard-2"))
    assert (kept(cache), leftovers(cache)) == ([], [])


def test_pickled(cache: ShardCache, place: Place) -> None:
    copy = pickle.loads(pickle.dumps(cache))
    copy.fetch(*arguments(place, "shard-0"))
    assert kept(cache) == ["shard-0"]
    assert copy.limit_bytes == cache.limit_bytes


def test_where_it_is_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FASTDATA_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_directory() == tmp_path / ".cache" / "fastdata" / "shards"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_directory() == tmp_path / ".cache" / "fastdata" / "shards"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_directory() == tmp_path / "xdg" / "fastdata" / "shards"
    monkeypatch.setenv("FASTDATA_CACHE", "~/own")
    assert ShardCache().directory == tmp_path / "own"


def test_how_large_it_becomes_by_default(tmp_path: Path) -> None:
    assert 0 < ShardCache(tmp_path / "x").limit_bytes <= 100e9
    assert default_limit(tmp_path, 10**15) == 100e9


def test_options_out_of_range(tmp_path: Path) -> None:
    for options in ({"limit_bytes": 0}, {"patience": -1}):
        with pytest.raises(OptionError):
            ShardCache(tmp_path / "x", **options)  # type: ignore[arg-type]
