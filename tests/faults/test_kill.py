"""SIGKILL at any moment: what is there is complete, and the same call completes the rest."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.children import MUTATIONS, forked, killed_until_it_ends, steps_of
from helpers.images import contents, write_tree

from fastdata import PackedImageFolder, append, convert, merge, unpack, verify_pack
from fastdata.errors import PackExistsError, PackingError, SourceError
from fastdata.images.decode import load_kernels
from fastdata.packing.pack import pack, pack_image_folder
from fastdata.sources.folder.source import list_image_folder
from fastdata.store import PackReader

STORAGES = ("lmdb", "hdf5")
SHARE = min(MUTATIONS / 10_000, 1.0)
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def _kernels() -> None:
    """Forks have them then, instead of loading them each."""
    load_kernels()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory in memory, where it does not take a disk's time to make things durable."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images, of which 15 are JPEGs: 13 shards of 20 kB."""
    return write_tree(tmp_path_factory.mktemp("source") / "all", 3, 20)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 images, of which 3 are bad, and a class that ``folder`` has not: 3 shards."""
    root = write_tree(tmp_path_factory.mktemp("source") / "few", 3, 4, seed=7)
    (root / "class_1").rename(root / "another")
    for number in range(3):
        (root / f"class_0/bad{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0" * 300)
    return root


def packed(src: Path, dst: Path, storage: str = "lmdb", **options: Any) -> Path:
    """A pack of small shards."""
    options = {"shard_size": "20kB", "workers": 2, "quiet": True, **options}
    pack_image_folder(src, dst, storage=storage, **options)
    return dst


def digest(root: Path) -> str:
    """Of all names and bytes below a directory."""
    found = sorted(contents(root).items())
    return hashlib.sha256(repr(found).encode()).hexdigest()


def some_steps(count: int, last: int = 0) -> list[int]:
    """Moments to be killed at: all of them if that is asked for, else some, more of the last."""
    if SHARE >= 1:
        return list(range(count))
    return sorted(
        {*random.sample(range(count), 5), *random.sample(range(count - last, count), last // 5)}
    )


class Attack:
    """A call that makes ``target``, killed before each of some steps in the file system.

    Args:
        place: an empty directory.
        prepare: puts there what is there before the call.
        call: what is killed, and called again.
        check: told of the target after a kill and at the end.
    """

    def __init__(
        self,
        place: Path,
        call: Callable[[Path], Any],
        prepare: Callable[[Path], Any] = lambda target: None,
    ) -> None:
        self.place, self.target = place, place / "target"
        self.call = lambda: call(self.target)
        self.prepare = prepare
        self._begin()
        before = digest(self.target) if self.target.exists() else ""
        self.steps = steps_of(self.call)
        self.states = {before, digest(self.target)}
        self.after = digest(self.target)

    def at(self, steps: list[int], allowed: Callable[[Path], None] | None = None) -> None:
        for step in steps:
            self._begin()
            killed = forked(self.call, kill_at_step=step)
            assert killed.code in (0, -signal.SIGKILL), killed.text
            self._check_between(allowed)
            self._complete()

    def at_random(self, moments: random.Random, kills: int) -> int:
        self._begin()
        longest = forked(self.call).seconds * 1.1
        done = 0
        while done < kills:
            self._begin()
            done += killed_until_it_ends(self.call_or_exists, moments, longest)
            assert digest(self.target) == self.after
            self._nothing_else()
        return done

    def call_or_exists(self) -> None:
        """A kill may also come when everything is done; then a pack says that it is there."""
        try:
            self.call()
        except PackExistsError as error:
            if "exists" not in str(error) or digest(self.target) != self.after:
                raise

    def _begin(self) -> None:
        for path in self.place.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.prepare(self.target)

    def _check_between(self, allowed: Callable[[Path], None] | None) -> None:
        if allowed is not None:
            allowed(self.target)
        else:
            assert (digest(self.target) if self.target.exists() else "") in self.states

    def _complete(self) -> None:
        left = list(self.place.rglob("target.partial/*")) + list(self.place.glob("target.[!p]*"))
        # Where nothing tells that it was stopped, the call would append the samples once more.
        if left or digest(self.target if self.target.exists() else self.place) != self.after:
            again = forked(self.call_or_exists)
            assert again.code == 0, again.text
        assert digest(self.target) == self.after
        self._nothing_else()

    def _nothing_else(self) -> None:
        empty = self.place / "target.partial"  # the last thing that is removed
        left = [path for path in self.place.iterdir() if path != empty or any(path.iterdir())]
        assert left == [self.target]


@pytest.mark.parametrize("storage", STORAGES)
class TestPack:
    def test_at_steps(self, storage: str, few: Path, place: Path) -> None:
        attack = Attack(place, lambda dst: packed(few, dst, storage))
        attack.at(some_steps(attack.steps, 20))

    def test_overwriting_at_steps(
        self, storage: str, few: Path, place: Path, tmp_path: Path
    ) -> None:
        """The old pack has shards of the same names, and some of the same sizes."""
        old = packed(few, tmp_path / "old", storage, encoding="keep")
        attack = Attack(
            place,
            lambda dst: packed(few, dst, storage, overwrite=True),
            lambda dst: shutil.copytree(old, dst),
        )
        attack.at(some_steps(attack.steps, 45))

    def test_at_random_moments(self, storage: str, folder: Path, place: Path) -> None:
        attack = Attack(place, lambda dst: packed(folder, dst, storage))
        kills = attack.at_random(random.Random(storage), max(int(50 * SHARE), 8))
        print(f"{kills} kills at random moments")
        assert verify_pack(attack.target, deep=True, quiet=True).ok


def test_the_command(folder: Path, tmp_path: Path) -> None:
    dst, expected = tmp_path / "dst", packed(folder, tmp_path / "expected")
    options = ["--shard-size", "20kB", "--workers", "1", "--quiet"]
    command = [sys.executable, "-m", "fastdata", "pack", str(folder), str(dst), *options]
    parts = tmp_path / "dst.partial" / "parts"
    for wanted in (1, 7):
        process = subprocess.Popen(command)
        while process.poll() is None and len(list(parts.glob("*"))) < wanted:
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not dst.exists()
    subprocess.run(command, check=True, timeout=60)
    assert contents(dst) == contents(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dst", "expected"]


class TestOthers:
    """Everything else that writes packs or files."""

    def test_merge(self, few: Path, folder: Path, place: Path, tmp_path: Path) -> None:
        packs = [packed(src, tmp_path / src.name, encoding="keep") for src in (few, folder)]
        attack = Attack(place, lambda dst: merge(packs, dst, shard_size="50kB", quiet=True))
        attack.at(some_steps(attack.steps))

    def test_convert(self, few: Path, place: Path, tmp_path: Path) -> None:
        source = packed(few, tmp_path / "pack")
        attack = Attack(
            place,
            lambda dst: convert(source, dst, storage="hdf5", shard_size="30kB", quiet=True),
        )
        attack.at(some_steps(attack.steps))

    @pytest.mark.parametrize("to", ["folder", "csv", "tar"])
    def test_unpack(self, few: Path, place: Path, tmp_path: Path, to: str) -> None:
        source = packed(few, tmp_path / "pack", encoding="keep")
        attack = Attack(place, lambda dst: unpack(source, dst, to=to, quiet=True))
        attack.at(some_steps(attack.steps, 15))


@pytest.mark.parametrize("storage", STORAGES)
class TestAppend:
    @pytest.fixture
    def attack(self, storage: str, few: Path, folder: Path, place: Path, tmp_path: Path) -> Attack:
        old = packed(folder, tmp_path / "old", storage, shard_size="100kB")
        self.before = verify_pack(old, quiet=True).samples
        self.added = [key for key in list_image_folder(few).keys if "bad" not in key]
        return Attack(
            place,
            lambda dst: append(dst, list_image_folder(few), shard_size="20kB", quiet=True),
            lambda dst: shutil.copytree(old, dst),
        )

    def check(self, pack: Path) -> None:
        """It has the old samples or also the new ones, each once, and all that it needs."""
        assert verify_pack(pack, quiet=True).ok
        keys = list(PackReader(pack).keys)
        assert keys[self.before :] in ([], self.added)

    def test_at_steps(self, storage: str, attack: Attack) -> None:
        attack.at(some_steps(attack.steps, 30), self.check)
        self.check(attack.target)

    def test_at_random_moments(self, storage: str, attack: Attack) -> None:
        moments, kills = random.Random(storage), max(int(50 * SHARE), 5)
        longest = forked(attack.call).seconds
        while kills > 0:
            attack._begin()
            forked(attack.call, kill_after=moments.uniform(0, longest))
            self.check(attack.target)
            attack._complete()
            kills -= 1

    def test_other_samples_after_a_kill_are_appended(
        self, storage: str, attack: Attack, tmp_path: Path
    ) -> None:
        """Also where the kill came when all was done but for clearing up."""
        others = list_image_folder(write_tree(tmp_path / "others", 1, 2, seed=3))
        for step in range(attack.steps - 12, attack.steps, 3):
            attack._begin()
            assert forked(attack.call, kill_at_step=step).killed
            was = verify_pack(attack.target, quiet=True).samples
            append(attack.target, others, quiet=True, restart=True)
            assert verify_pack(attack.target, quiet=True).problems == []
            assert list(PackReader(attack.target).keys)[was:] == list(others.keys)

    def test_who_has_it_open_keeps_what_there_was(self, storage: str, attack: Attack) -> None:
        attack._begin()
        dataset = PackedImageFolder(attack.target)
        before = [dataset[index][0].tobytes() for index in range(len(dataset))]
        pickled = pickle.dumps(dataset)
        for step in (attack.steps // 2, None):
            forked(attack.call, kill_at_step=step)
            for opened in (dataset, pickle.loads(pickled)):
                assert len(opened) == self.before
                assert [opened[i][0].tobytes() for i in range(len(opened))] == before
        assert len(PackedImageFolder(attack.target)) == self.before + len(self.added)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(_all_pixels, (pickled,)) == before


def _all_pixels(pickled: bytes) -> list[bytes]:
    dataset = pickle.loads(pickled)
    return [dataset[index][0].tobytes() for index in range(len(dataset))]


def test_streams_killed_at_steps(place: Path) -> None:
    """Samples that cannot be listed are told apart by what they are."""

    def samples(start: int) -> Iterator[dict[str, Any]]:
        for number in range(start, start + 8):
            yield {"key": str(number), "image": _png(number), "note": "x" * number}

    attack = Attack(place, lambda dst: pack(samples(0), dst, shard_size=800, quiet=True))
    attack.at(some_steps(attack.steps, 20))
    attack._begin()
    assert forked(attack.call, kill_at_step=attack.steps - 8).killed
    with pytest.raises(SourceError, match=r"other samples had completed.*run this again"):
        pack(samples(1), attack.target, shard_size=800, quiet=True)
    assert [path.name for path in place.iterdir()] == ["target"]


def _png(number: int) -> bytes:
    from helpers.images import encoded, picture

    return encoded(picture(8 + number, 9, number), ".png")


@pytest.mark.parametrize("storage", STORAGES)
def test_a_worker_process_is_killed(storage: str, folder: Path, tmp_path: Path) -> None:
    dst, expected = tmp_path / "dst", packed(folder, tmp_path / "expected", storage)
    parts = tmp_path / "dst.partial" / "parts"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fastdata"])
    with ProcessPoolExecutor(2, context) as executor:
        killer = threading.Thread(target=_kill_a_worker, args=(executor, parts))
        killer.start()
        with pytest.raises(PackingError, match=r"worker was lost.*run the same again"):
            packed(folder, dst, storage, executor=executor)
        killer.join()
    assert not dst.exists()
    with ProcessPoolExecutor(2, context) as executor:
        packed(folder, dst, storage, executor=executor)
    assert contents(dst) == contents(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dst", "expected"]


def _kill_a_worker(executor: ProcessPoolExecutor, parts: Path) -> None:
    while len(list(parts.glob("*"))) < 2:
        time.sleep(0.001)
    os.kill(next(iter(executor._processes)), signal.SIGKILL)
