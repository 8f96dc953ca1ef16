"""Every way to damage a pack's files is found by ``verify_pack``, which never fails at it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.children import MUTATIONS, forked
from helpers.images import contents, encoded, picture
from helpers.mutations import table_of, write_table

from fastdata import verify_pack
from fastdata.errors import FastdataError
from fastdata.packing.pack import pack

STORAGES = ("lmdb", "hdf5")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", params=STORAGES)
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards, of which the second has the same size as the first; one sample was left out."""
    root = tmp_path_factory.mktemp(str(request.param))
    samples = [
        {"key": f"key{number}", "image": _image(number), "note": "text"} for number in range(6)
    ]
    samples.insert(3, {"key": "bad", "image": b"nothing", "note": ""})
    size = sum(len(str(sample["note"])) + len(_image(0)) for sample in samples[:3])
    fields = {"image": "image", "note": "str"}
    pack(samples, root / "pack", fields=fields, storage=request.param, shard_size=size, quiet=True)
    assert len(list((root / "pack").glob("shard-*"))) == 2
    return root / "pack"


@pytest.fixture
def damaged(original: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "pack"))


def _image(number: int) -> bytes:
    """A BMP, so that all have the same size."""
    return encoded(picture(5, 6, number), ".bmp")


def is_found(pack: Path) -> bool:
    try:
        report = verify_pack(pack, workers=1, quiet=True)
    except FastdataError:
        return True
    return not report.ok


def names_of(pack: Path) -> list[str]:
    return sorted(path.name for path in pack.iterdir())


def test_a_sound_pack(original: Path) -> None:
    report = verify_pack(original, deep=True, quiet=True)
    assert report.ok
    assert report.samples == 6


def test_a_bit_anywhere(damaged: Path) -> None:
    """One in every byte if all mutations are made, else in some of each file; whole files."""
    files = contents(damaged)
    step = max(sum(map(len, files.values())) * 2 // max(MUTATIONS, 1), 1)

    def flip() -> None:
        rng = random.Random(0)
        for name, data in files.items():
            for at in range(rng.randrange(min(step, len(data))), len(data), step):
                bit = 1 << rng.randrange(8)
                with (damaged / name).open("r+b") as file:
                    file.seek(at)
                    file.write(bytes([data[at] ^ bit]))
                assert is_found(damaged), f"bit {bit} of byte {at} of {name}"
            (damaged / name).write_bytes(data)

    ended = forked(flip)
    assert ended.code == 0, ended.text


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _extend(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def _link(path: Path) -> None:
    other = path.with_name("..") / path.name
    shutil.move(path, other)
    path.symlink_to(other)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link_to_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path.with_name("..") / "pipe")
    path.symlink_to(path.with_name("..") / "pipe")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _link_to_zeros(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


WAYS = (
    _truncate, _extend, Path.unlink, _link, _directory, _pipe, _link_to_pipe, _empty, _zeros,
    _half, _link_to_zeros,
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_a_whole_file(original: Path, tmp_path: Path, way: Callable[[Path], None]) -> None:
    def each() -> None:
        for name in names_of(original):
            place = tmp_path / name
            damaged = Path(shutil.copytree(original, place / "pack"))
            way(damaged / name)
            assert is_found(damaged), name

    ended = forked(each)  # so that one that blocks is ended
    assert ended.code == 0, ended.text


def _swap(pack: Path, one: str, other: str) -> None:
    (pack / one).rename(pack / "between")
    (pack / other).rename(pack / one)
    (pack / "between").rename(pack / other)


def test_two_shards_swapped(damaged: Path) -> None:
    one, other = sorted(path.name for path in damaged.glob("shard-*"))
    _swap(damaged, one, other)
    assert is_found(damaged)


def test_two_records_swapped(damaged: Path) -> None:
    table = table_of(damaged)
    shard = next(iter(sorted(damaged.glob("shard-*"))))
    data = bytearray(shard.read_bytes())
    (a, b), size = (int(offset) for offset in table["offset"][:2]), int(table["bytes"][0])
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    shard.write_bytes(data)
    problems = verify_pack(damaged, quiet=True).problems
    assert [problem for problem in problems if "sample 0 ('key0')" in problem]
    assert [problem for problem in problems if "sample 1 ('key1')" in problem]


def test_each_two_files_swapped(original: Path, tmp_path: Path) -> None:
    names = names_of(original)
    for number, (one, other) in enumerate(_pairs(names)):
        damaged = Path(shutil.copytree(original, tmp_path / f"{number}"))
        _swap(damaged, one, other)
        assert is_found(damaged), (one, other)


def _pairs(names: list[str]) -> Iterator[tuple[str, str]]:
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            yield one, other


def test_only_decoding_finds_an_image_that_is_none(damaged: Path) -> None:
    """The attacker has made all checksums right again."""
    table = table_of(damaged)
    shard = next(iter(sorted(damaged.glob("shard-*"))))
    data = bytearray(shard.read_bytes())
    start = int(table["offset"][0])
    data[start : start + 2] = b"XX"
    shard.write_bytes(data)
    write_table(damaged, table, records=True)
    assert verify_pack(damaged, quiet=True).ok
    problems = verify_pack(damaged, deep=True, quiet=True).problems
    assert len(problems) == 1
    assert "sample 0 ('key0'): field 'image'" in problems[0]


def test_what_lies_beside_the_pack_does_not_matter(damaged: Path) -> None:
    (damaged / "notes.txt").write_text("mine")
    assert verify_pack(damaged, quiet=True).ok
