"""What has changed between two runs, other packers, full disks, and sources that fail."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.children import forked
from helpers.images import contents, encoded, picture, write_image, write_tree

from fastdata import verify_pack
from fastdata.errors import PackExistsError, PackingError, SourceError
from fastdata.images.decode import load_kernels
from fastdata.packing.pack import pack, pack_image_folder
from fastdata.sources import Item
from fastdata.sources.folder.source import FolderSource, list_image_folder

STORAGES = ("lmdb", "hdf5")
OPTIONS: dict[str, Any] = {"shard_size": "20kB", "workers": 2, "quiet": True}
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", autouse=True)
def _kernels() -> None:
    load_kernels()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 images: five shards."""
    return write_tree(tmp_path / "source", 2, 10)


def left_unfinished(folder: Path, dst: Path, **options: Any) -> None:
    """Pack, and be killed when some shards are complete."""
    ended = forked(
        lambda: pack_image_folder(folder, dst, **{**OPTIONS, **options}), kill_at_step=75
    )
    assert ended.killed
    assert list((dst.with_name(dst.name + ".partial") / "parts").iterdir())
    assert not dst.exists()


class TestOtherSettings:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"storage": "hdf5"}, "storage was 'lmdb' and is 'hdf5'"),
            ({"encoding": "keep"}, "encoding was .*sliceable.* and is .*keep"),
            ({"encoding": "jpeg"}, "encoding was .*sliceable.* and is .*jpeg"),
            ({"shard_size": "30kB"}, "shard_size was 20000 and is 30000"),
            ({"flat": True}, "source was 'folder' and is 'flat'"),
            ({"encoding": "png", "resize_short": 20}, "resize_short"),
            ({"encoding": "png", "max_side": 20}, "max_side"),
        ],
    )
    def test_each(
        self, folder: Path, tmp_path: Path, options: dict[str, Any], message: str
    ) -> None:
        dst = tmp_path / "dst"
        left_unfinished(folder, dst)
        self._is_refused_until_restarted(folder, dst, options, message)

    @pytest.mark.parametrize(
        ("before", "options", "message"),
        [
            ({"encoding": "jpeg"}, {"encoding": "jpeg", "quality": 80}, "quality"),
            ({"encoding": "keep"}, {"encoding": "keep", "check": "header"}, "check was 'decode'"),
        ],
    )
    def test_of_an_encoding(
        self,
        folder: Path,
        tmp_path: Path,
        before: dict[str, Any],
        options: dict[str, Any],
        message: str,
    ) -> None:
        dst = tmp_path / "dst"
        left_unfinished(folder, dst, **before)
        self._is_refused_until_restarted(folder, dst, options, message)

    def test_what_leaves_no_trace_is_no_difference(self, folder: Path, tmp_path: Path) -> None:
        dst = tmp_path / "dst"
        left_unfinished(folder, dst)
        other = {**OPTIONS, "workers": 1, "on_error": "fail", "overwrite": True}
        assert pack_image_folder(folder, dst, **other).resumed

    def test_other_fields(self, tmp_path: Path) -> None:
        def samples(name: str) -> list[dict[str, Any]]:
            images = [encoded(picture(40, 60, number), ".png") for number in range(20)]
            return [{"image": image, name: 1} for image in images]

        def run(name: str, **options: Any) -> Any:
            return pack(samples(name), tmp_path / "dst", **OPTIONS, **options)

        assert forked(lambda: run("a"), kill_at_step=75).killed
        with pytest.raises(PackExistsError, match=r"fields was .*'a'.* and is .*'b'"):
            run("b")
        assert run("b", restart=True).images == 20

    def _is_refused_until_restarted(
        self, folder: Path, dst: Path, options: dict[str, Any], message: str
    ) -> None:
        before = contents(dst.with_name("dst.partial"))
        with pytest.raises(PackExistsError, match=message) as caught:
            pack_image_folder(folder, dst, **{**OPTIONS, **options})
        assert "--restart" in str(caught.value)
        assert contents(dst.with_name("dst.partial")) == before
        report = pack_image_folder(folder, dst, **{**OPTIONS, **options}, restart=True)
        assert report.resumed == 0
        assert report.images == 20
        assert verify_pack(dst, deep=True, quiet=True).ok
        assert not dst.with_name("dst.partial").exists()


def _change(folder: Path) -> None:
    write_image(folder / "class_0" / "image_003.bmp", 30, 30, 99)


def _touch(folder: Path) -> None:
    os.utime(folder / "class_0" / "image_003.bmp", ns=(5, 5))


def _add(folder: Path) -> None:
    write_image(folder / "class_0" / "image_0035.bmp", 30, 30, 99)


def _add_at_the_end(folder: Path) -> None:
    write_image(folder / "class_1" / "z.bmp", 30, 30, 99)


def _remove(folder: Path) -> None:
    (folder / "class_0" / "image_003.bmp").unlink()


def _rename(folder: Path) -> None:
    (folder / "class_0" / "image_003.bmp").rename(folder / "class_0" / "image_00x.bmp")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_change, r"image_003\.bmp.* has changed: bytes"),
        (_touch, r"image_003\.bmp.* has changed: modification time .* then, 5 now"),
        (_add, r"had 20 samples and has 21: .*image_0035\.bmp"),
        (_add_at_the_end, r"had 20 samples and has 21: .*z\.bmp"),
        (_remove, r"had 20 samples and has 19: .*image_003\.bmp"),
        (_rename, r"image_003\.bmp"),
    ],
)
def test_another_source(
    folder: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    dst = tmp_path / "dst"
    left_unfinished(folder, dst)
    change(folder)
    with pytest.raises(PackExistsError, match=message):
        pack_image_folder(folder, dst, **OPTIONS)
    pack_image_folder(folder, dst, **OPTIONS, restart=True)
    pack_image_folder(folder, tmp_path / "expected", **OPTIONS)
    assert contents(dst) == contents(tmp_path / "expected")


class Hooked(FolderSource):
    """A folder of which one sample does something else before it is given."""

    def __init__(self, folder: Path, index: int, hook: Callable[[str], Any]) -> None:
        self.__dict__.update(list_image_folder(folder).__dict__)
        self._index, self._hook = index, hook

    def item(self, index: int) -> Item:
        """Sample ``index``."""
        item = super().item(index)
        if index == self._index:
            self._hook(os.path.join(self.root, item.key))
        return item


class TestSourcesThatFail:
    def test_a_file_that_vanishes(self, folder: Path, tmp_path: Path) -> None:
        source = Hooked(folder, 13, lambda path: Path(path).unlink(missing_ok=True))
        with pytest.raises(SourceError, match=r"class_1/image_003\.png.* is gone"):
            pack(source, tmp_path / "dst", **OPTIONS)
        assert not (tmp_path / "dst").exists()

    def test_an_unexpected_error(self, folder: Path, tmp_path: Path) -> None:
        dst = tmp_path / "dst"

        def fail(path: str) -> None:
            time.sleep(0.2)
            raise RuntimeError(f"at {path}")

        with pytest.raises(RuntimeError, match=r"class_1/image_005"):
            pack(Hooked(folder, 15, fail), dst, **OPTIONS)
        assert not dst.exists()
        assert not list(dst.with_name("dst.partial").glob("tmp-*"))
        assert pack_image_folder(folder, dst, **OPTIONS).resumed
        pack_image_folder(folder, tmp_path / "expected", **OPTIONS)
        assert contents(dst) == contents(tmp_path / "expected")

    @pytest.mark.parametrize("listed", [True, False])
    def test_an_error_in_reading_is_not_one_in_writing(
        self, folder: Path, tmp_path: Path, listed: bool
    ) -> None:
        def fail(path: str) -> None:
            raise FileNotFoundError("annotations.txt is not there")

        source: Any = Hooked(folder, 13, fail)
        samples = source if listed else (source.item(index) for index in range(20))
        with pytest.raises((SourceError, FileNotFoundError), match=r"annotations\.txt") as caught:
            pack(samples, tmp_path / "dst", **OPTIONS)
        assert "cannot write" not in str(caught.value)

    def test_an_unexpected_error_at_once(self, folder: Path, tmp_path: Path) -> None:
        def fail(path: str) -> None:
            raise RuntimeError(f"at {path}")

        with pytest.raises(RuntimeError):
            pack(Hooked(folder, 0, fail), tmp_path / "dst", **OPTIONS)
        assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_two_packers(folder: Path, tmp_path: Path) -> None:
    """The second one is refused at once, and the first ends undisturbed."""
    dst, go_on = tmp_path / "dst", tmp_path / "go-on"

    def wait(path: str) -> None:
        (tmp_path / "waiting").touch()
        while not go_on.exists():
            time.sleep(0.01)

    child = os.fork()
    if child == 0:
        try:
            pack(Hooked(folder, 13, wait), dst, **OPTIONS)
        finally:
            os._exit(0)
    try:
        while not (tmp_path / "waiting").exists():
            time.sleep(0.01)
        for options in ({}, {"restart": True}, {"overwrite": True}, {"storage": "hdf5"}):
            with pytest.raises(PackExistsError, match="another process is packing"):
                pack_image_folder(folder, dst, **{**OPTIONS, **options})
        assert not dst.exists()
        go_on.touch()
        assert os.waitpid(child, 0)[1] == 0
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    pack_image_folder(folder, tmp_path / "expected", **OPTIONS)
    assert contents(dst) == contents(tmp_path / "expected")
    assert not dst.with_name("dst.partial").exists()


class Disk:
    """A small file system in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(self.path)]
        subprocess.run(command, check=True, capture_output=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.path)], check=False, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = Disk(tmp_path / "disk")
    place.path.mkdir()
    try:
        place.mount("size=1m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a file system cannot be mounted here")
    yield place
    place.unmount()


@pytest.mark.parametrize("storage", STORAGES)
def test_a_full_disk(storage: str, folder: Path, tmp_path: Path, disk: Disk) -> None:
    """It fills up in a shard, in the side files or in pack.json; then there is room again."""
    expected = tmp_path / "expected"
    options = {**OPTIONS, "storage": storage}
    pack_image_folder(folder, expected, **options)
    dst = disk.path / "dst"

    def packed() -> None:
        pack_image_folder(folder, dst, **options)

    whole = sum(map(len, contents(expected).values()))
    failures = 0
    for size in [60_000, *range(whole // 2, whole + 150_000, 8192)]:
        disk.unmount()
        disk.mount(f"size={size}")
        ended = forked(packed)
        if ended.code != 0:
            failures += 1
            assert "fastdata.errors.PackingError: cannot write" in ended.text, ended.text
            assert not dst.exists()
            disk.mount("remount,size=8m")
            again = forked(packed)
            assert again.code == 0, again.text
        assert contents(dst) == contents(expected)
        assert [path.name for path in disk.path.iterdir()] == ["dst"]
    print(f"{failures} sizes at which it was full")
    assert failures > 5


def test_a_directory_that_cannot_be_written(folder: Path, tmp_path: Path, disk: Disk) -> None:
    disk.mount("remount,ro")
    for dst in (disk.path / "dst", disk.path / "new" / "dst"):
        with pytest.raises(PackingError, match=r"cannot write .*Read-only file system"):
            pack_image_folder(folder, dst, **OPTIONS)
    disk.mount("remount,rw,size=8m")
    shutil.rmtree(disk.path / "new", ignore_errors=True)
    pack_image_folder(folder, disk.path / "dst", **OPTIONS)
