"""Packs that an attacker has made, with all checksums right: refused, in bounded memory and time.

Each is read in a child whose memory is bounded; a pack with links leads to a named pipe, which
would block whoever follows it.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.children import MUTATIONS, forked
from helpers.images import encoded, picture
from helpers.mutations import sign, table_of, write_table
from helpers.packs import change_manifest

from fastdata import PackedDataset, PackedImageFolder, append, merge, unpack, verify_pack
from fastdata import transforms as T
from fastdata.errors import FastdataError, PackFormatError
from fastdata.images.decode import load_kernels
from fastdata.inspection.info import pack_info
from fastdata.packing.pack import pack

MEMORY = 700 << 20  # threads' stacks and arenas take some of it
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", autouse=True)
def _kernels() -> None:
    load_kernels()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two JPEGs and two PNGs with a mask and some columns; reading has no part in the storage."""
    root = tmp_path_factory.mktemp("original")
    pack([_sample(number) for number in range(4)], root / "pack", quiet=True)
    return root / "pack"


def _sample(number: int) -> dict[str, Any]:
    return {
        "key": f"a/{number}",
        "image": encoded(picture(40, 60, number), ".png" if number % 2 else ".jpg"),
        "mask": np.full((40, 60), number, np.uint8),
        "note": "text",
        "more": [number],
        "numbers": np.ones(3, "f4"),
        "score": 0.5,
        "count": 2,
    }


@pytest.fixture
def hostile(original: Path, tmp_path: Path) -> Path:
    """A copy, to be made hostile."""
    return Path(shutil.copytree(original, tmp_path / "inner" / "pack"))


def use(path: Path) -> list[str]:
    """Do everything that can be done with a pack; the errors' names, all of them fastdata's."""
    crop = T.Compose([T.RandomResizedCrop(16), T.RandomHorizontalFlip()])
    out = path.with_name("out")
    errors: list[str] = []
    attempts: list[Callable[[], Any]] = [
        lambda: verify_pack(path, deep=True, workers=1, quiet=True),
        lambda: str(pack_info(path)),
        lambda: _read_all(PackedImageFolder(path, verify="never"), errors),
        lambda: _read_all(PackedImageFolder(path, crop), errors),
        lambda: _read_all(PackedDataset(path, verify="never"), errors),
        lambda: _read_all(PackedDataset(path, crop, apply_exif_orientation=True), errors),
        lambda: unpack(path, out / "folder", quiet=True),
        lambda: unpack(path, out / "tar", to="tar", quiet=True),
        lambda: merge([path], out / "merged", workers=1, quiet=True),
        lambda: append(path, [_sample(9)], workers=1, quiet=True),
    ]
    for attempt in attempts:
        try:
            attempt()
        except FastdataError as error:
            errors.append(type(error).__name__)
    return errors


def _read_all(dataset: Any, errors: list[str]) -> None:
    for index in range(min(len(dataset), 8)):
        try:
            dataset[index]
        except FastdataError as error:
            errors.append(type(error).__name__)
    dataset.pack.close()


def refused(path: Path, memory: int = MEMORY) -> list[str]:
    """Use a pack in a child; fails if anything but fastdata's errors comes of it, or none."""
    outside = path.parent.parent
    before = _listing(outside)

    def attempt() -> None:
        print("\nERRORS", json.dumps(use(path)))

    ended = forked(attempt, memory=memory)
    assert ended.code == 0, ended.text[-3000:]
    assert _listing(outside) == before
    errors: list[str] = json.loads(ended.text.rpartition("ERRORS")[2])
    assert errors
    return errors


def _listing(root: Path) -> set[str]:
    """What there is, but for where packs are unpacked to."""
    return {str(path) for path in root.rglob("*") if "inner" not in path.parts}


def _manifest(pack: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((pack / "pack.json").read_text("utf-8"))
    return found


def test_the_original_is_used_without_an_error(hostile: Path) -> None:
    ended = forked(lambda: print(use(hostile)), memory=MEMORY)
    assert ended.code == 0, ended.text
    assert ended.text.strip().endswith("[]")


NUMBERS = (2**40, 2**62, 2**63, 2**70, -1, 3.0, True, "4", None, [4], 10**400)


class TestManifest:
    @pytest.mark.parametrize("number", NUMBERS, ids=lambda number: repr(number)[:12])
    def test_numbers(self, hostile: Path, number: Any) -> None:
        before = (hostile / "pack.json").read_bytes()
        shards = _manifest(hostile)["shards"]
        for values in (
            {"samples": number},
            {"shards": [{**shards[0], "count": number}]},
            {"shards": [{**shards[0], "first": number}]},
            {"shards": [{**shards[0], "bytes": number}]},
            {"samples": number, "shards": [{**shards[0], "count": number}]},
        ):
            (hostile / "pack.json").write_bytes(before)
            change_manifest(hostile, **values)
            with pytest.raises(FastdataError):
                PackedImageFolder(hostile)[0]

    @pytest.mark.parametrize("number", [2**63, -1, 3.0, True, "4", None])
    def test_numbers_that_only_have_to_be_some(self, hostile: Path, number: Any) -> None:
        for values in ({"rejected": number}, {"rejected": 0, "generation": number}):
            change_manifest(hostile, **values)
            with pytest.raises(PackFormatError):
                PackedImageFolder(hostile)

    def test_a_count_like_its_own_as_another_type(self, hostile: Path) -> None:
        for values in ({"samples": 4.0}, {"version": 2.5}, {"version": "2"}):
            change_manifest(hostile, **values)
            with pytest.raises(PackFormatError):
                PackedImageFolder(hostile)

    def test_all_that_there_is_of_a_trillion_samples(self, hostile: Path) -> None:
        shards = _manifest(hostile)["shards"]
        count = 1 << 40
        change_manifest(hostile, samples=count, shards=[{**shards[0], "count": count}])
        refused(hostile)

    @pytest.mark.parametrize(
        "name",
        ["../outside", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "C:x", "a\0b", "pack.json", 7],
    )
    def test_file_names_that_are_paths(self, hostile: Path, name: Any) -> None:
        found = _manifest(hostile)
        os.mkfifo(hostile.parent / "outside")
        change_manifest(hostile, shards=[{**found["shards"][0], "file": name}])
        refused(hostile)
        table = {**found["files"]["table"], "file": name}
        change_manifest(hostile, shards=found["shards"], files={**found["files"], "table": table})
        refused(hostile)

    @pytest.mark.parametrize("name", ["../x", "a/b", "", "key", "x" * 65, "ü", "a\n"])
    def test_field_names_that_are_paths(self, hostile: Path, name: str) -> None:
        found = _manifest(hostile)
        fields = {n if n != "note" else name: kind for n, kind in found["fields"].items()}
        files = {
            role if role != "field:note" else f"field:{name}": entry
            for role, entry in found["files"].items()
        }
        change_manifest(hostile, fields=fields, files=files)
        assert "PackFormatError" in refused(hostile)

    @pytest.mark.parametrize(
        "kind", ["object[3]", "float32[99999999999]", "float32[?,0]", "float32[" + "1," * 60 + "1]",
                 "pickle", "", None, {}, "float32[-1]", "float32[³]"],
    )  # fmt: skip
    def test_kinds_that_there_are_not(self, hostile: Path, kind: Any) -> None:
        change_manifest(hostile, fields={**_manifest(hostile)["fields"], "numbers": kind})
        assert "PackFormatError" in refused(hostile)

    @pytest.mark.parametrize("kind", ["mask", "boxes", "json", "str", "int64[?]", "image"])
    def test_kinds_of_something_else(self, hostile: Path, kind: str) -> None:
        """The bytes of a mask, taken for something else."""
        fields = {**_manifest(hostile)["fields"], "mask": kind}
        change_manifest(hostile, fields=fields)
        ended = forked(lambda: use(hostile), memory=MEMORY)
        assert ended.code == 0, ended.text

    @pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 5_000 + "]" * 5_000])
    def test_deeply_nested(self, hostile: Path, text: str) -> None:
        (hostile / "pack.json").write_text(text)
        assert set(refused(hostile)) <= {"PackFormatError", "OptionError"}

    @pytest.mark.parametrize("size", [2 << 30, 1 << 40])
    def test_gigabytes(self, hostile: Path, size: int) -> None:
        os.truncate(hostile / "pack.json", size)
        refused(hostile)

    def test_many_small_things(self, hostile: Path) -> None:
        """What takes the most memory for each byte; the most that is read is 64 MiB of it."""
        megabytes = 60 if MUTATIONS >= 10_000 else 12
        (hostile / "pack.json").write_text("[" + "[]," * (megabytes * 350_000) + "[]]")

        def read() -> None:
            with pytest.raises(PackFormatError):
                PackedImageFolder(hostile)

        ended = forked(read, memory=3 << 30)
        assert ended.code == 0, ended.text

    def test_names_of_encodings_and_storages(self, hostile: Path) -> None:
        for values in (
            {"encoding": {"name": "../x"}},
            {"encoding": {"name": "jpeg", "quality": "x"}},
            {"encoding": {"name": "jpeg", "resize_short": -5}},
            {"encoding": {"name": "keep", "encoding": "raw"}},
            {"storage": "os"},
            {"storage": ["lmdb"]},
            {"source": {"a": 1}},
            {"classes": "abc"},
            {"classes": [1]},
            {"fields": []},
            {"files": []},
            {"shards": {}},
        ):
            copy = Path(shutil.copytree(hostile, hostile.with_name("copy")))
            change_manifest(copy, **values)
            ended = forked(lambda: use(copy), memory=MEMORY)  # noqa: B023
            assert ended.code == 0, (values, ended.text)
            shutil.rmtree(copy)
            shutil.rmtree(hostile.with_name("out"), ignore_errors=True)


class TestTable:
    EXTREMES = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)

    @pytest.mark.parametrize("column", ["offset", "bytes", "height", "width", "slice_index"])
    def test_extreme_numbers(self, hostile: Path, column: str) -> None:
        table, most = table_of(hostile), np.iinfo(table_of(hostile)[column].dtype).max
        for number in {min(extreme, int(most)) for extreme in self.EXTREMES}:
            changed = table.copy()
            changed[column] = number
            write_table(hostile, changed, records=True)
            self._use_copy(hostile)

    def test_all_flags_and_orientations(self, hostile: Path) -> None:
        table = table_of(hostile)
        for number in (0, 9, 255):
            table["orientation"] = table["flags"] = table["reserved"] = number
            table["target"] = -(2**63)
            write_table(hostile, table)
            self._use_copy(hostile)

    def test_indices_of_slices_anywhere(self, hostile: Path) -> None:
        table = table_of(hostile)
        for number in range(0, int(table["bytes"].max()) + 30, 97):
            table["slice_index"] = number
            write_table(hostile, table)
            ended = forked(lambda: _read_all(PackedDataset(hostile, T.RandomCrop(9)), []))
            assert ended.code == 0, (number, ended.text)

    def test_media_of_extreme_sizes(self, hostile: Path) -> None:
        path = hostile / "field-mask.npy"
        column = np.load(path)
        for name in ("bytes", "height", "width"):
            for number in (0, 2**16, 2**32 - 1):
                changed = column.copy()
                changed[name] = number
                _save(path, changed)
                sign(hostile)
                refused(hostile)
                shutil.rmtree(hostile.with_name("out"), ignore_errors=True)

    def _use_copy(self, hostile: Path) -> None:
        copy = Path(shutil.copytree(hostile, hostile.with_name("copy")))
        ended = forked(lambda: use(copy), memory=MEMORY)
        assert ended.code == 0, ended.text[-3000:]
        for path in (copy, hostile.with_name("out")):
            shutil.rmtree(path, ignore_errors=True)


def _save(path: Path, array: Any, version: tuple[int, int] = (1, 0)) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version, allow_pickle=True)


class Bomb:
    """What a pickle would run."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


class TestArrays:
    @pytest.mark.parametrize("name", ["table", "keys", "field-numbers", "field-score"])
    def test_other_arrays(self, hostile: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        path = hostile / f"{name}.npy"
        monkeypatch.chdir(hostile.parent)
        right = np.load(path)
        objects = np.empty(right.shape, object)
        objects[...] = [Bomb()] * len(right) if right.ndim == 1 else Bomb()
        big = right.dtype.newbyteorder(">")
        for array, version in (
            (np.asfortranarray(np.zeros((3, 7))), (1, 0)),
            (right.astype(big), (1, 0)),
            (right[:-1], (1, 0)),
            (np.zeros(right.shape, "u1"), (1, 0)),
            (right, (2, 0)),
            (objects, (1, 0)),
        ):
            _save(path, array, version)
            sign(hostile)
            with pytest.raises(PackFormatError):
                PackedDataset(hostile)
        assert not (hostile.parent / "ran").exists()

    def test_headers(self, hostile: Path) -> None:
        path = hostile / "table.npy"
        data = path.read_bytes()
        for header in (
            b"{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904,)}",
            b"{'descr': [('a', '<i8', (9999999,))], 'fortran_order': False, 'shape': (4,)}",
            b"(" * 9000,
            b"{" * 60_000,
            b"__import__('os').mkdir('ran')",
            b"{'descr': '<i8', 'fortran_order': False, 'shape': (-1,)}",
            b"",
        ):
            body = data[:8] + len(header).to_bytes(2, "little") + header + data[128:]
            path.write_bytes(body)
            sign(hostile)
            refused(hostile)


class TestRecords:
    """Images and masks that are larger than they look."""

    def test_a_png_that_announces_a_gigapixel(self, hostile: Path) -> None:
        self._replace(hostile, _png_of(30_000, 30_000), 40, 60)
        assert "SampleError" in refused(hostile)

    def test_the_table_announces_it_too(self, hostile: Path) -> None:
        self._replace(hostile, _png_of(30_000, 30_000), 30_000, 30_000)
        assert "SampleError" in refused(hostile)

    @pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".gif", ".tiff", ".avif"])
    def test_images_of_another_size(self, hostile: Path, suffix: str) -> None:
        self._replace(hostile, encoded(picture(1500, 1600), suffix), 10, 10)
        assert "SampleError" in refused(hostile)

    def test_a_mask_that_inflates_without_end(self, hostile: Path) -> None:
        stream = zlib.compress(bytes(1 << 28), 1)
        head = b"FDMK\1\1\0\0" + b"".join(n.to_bytes(4, "little") for n in (40, 60, 40))
        mask = head + len(stream).to_bytes(4, "little") + stream
        table, path = table_of(hostile), hostile / "field-mask.npy"
        image = bytes(encoded(picture(40, 60, 1), ".png"))
        rest = b"text[1]"
        self._replace(hostile, image + mask + rest, 40, 60, sign_it=False)
        column = np.load(path)
        column["bytes"] = len(mask)
        _save(path, column)
        assert len(table) == 4
        write_table(hostile, table_of(hostile), records=True)
        assert "SampleError" in refused(hostile)

    def _replace(
        self, pack: Path, data: bytes, height: int, width: int, sign_it: bool = True
    ) -> None:
        """Let all records be ``data``, at the end of the shard's file."""
        shard = next(iter(pack.glob("shard-*")))
        table = table_of(pack)
        table["offset"] = shard.stat().st_size
        table["bytes"], table["height"], table["width"] = len(data), height, width
        table["slice_index"] = 0
        with shard.open("ab") as file:
            file.write(data)
        if sign_it:  # no other fields are in it
            for name in ("mask", "note", "more"):
                column = np.load(pack / f"field-{name}.npy")
                _save(pack / f"field-{name}.npy", np.zeros_like(column))
        write_table(pack, table, records=True)


def _png_of(height: int, width: int) -> bytes:
    """A file of some kilobytes, of which the pixels would take gigabytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + crc

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    rows = zlib.compress(bytes(10_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size + b"\x08\x02\0\0\0")
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


class TestNames:
    KEYS = ("../../outside", "/tmp/outside", "a/../../../outside", "..", "", "a/..", "\0", ".")

    @pytest.mark.parametrize("key", KEYS)
    def test_keys_that_lead_out(self, hostile: Path, key: str) -> None:
        keys = [key, *(f"k{number}" for number in range(3))]
        offsets = np.cumsum([0, *(len(name.encode()) for name in keys)], dtype="<i8")
        (hostile / "keys.bin").write_bytes("".join(keys).encode())
        _save(hostile / "keys.npy", offsets)
        sign(hostile)
        self._unpacking_is_refused(hostile)

    @pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "..", "a/../../x"])
    def test_classes_that_lead_out(self, hostile: Path, name: str) -> None:
        change_manifest(hostile, classes=[name], source="folder")
        self._unpacking_is_refused(hostile)

    def test_offsets_of_keys_that_go_anywhere(self, hostile: Path) -> None:
        path = hostile / "keys.npy"
        offsets = np.load(path)
        for middle in (-1, -(2**63), 2**63 - 1, 10**6):
            changed = offsets.copy()
            changed[1:-1] = middle
            _save(path, changed)
            sign(hostile)
            refused(hostile)
            shutil.rmtree(hostile.with_name("out"), ignore_errors=True)

    def _unpacking_is_refused(self, hostile: Path) -> None:
        out = hostile.with_name("out") / "deep" / "deeper"
        before = {path for path in hostile.parent.parent.rglob("*") if "out" not in path.parts}
        with pytest.raises(PackFormatError):
            unpack(hostile, out, quiet=True)
        after = {path for path in hostile.parent.parent.rglob("*") if "out" not in path.parts}
        assert after == before
        assert not Path("/tmp/outside").exists()
        assert not [path for path in hostile.with_name("out").rglob("*") if path.is_file()]


class TestSpecialFiles:
    def test_links_to_what_is_outside(self, hostile: Path) -> None:
        """Nothing outside is read: reading the pipe would never end."""
        pipe = hostile.parent / "pipe"
        os.mkfifo(pipe)
        self._each_file(hostile, lambda path: path.symlink_to(pipe))

    def test_pipes(self, hostile: Path) -> None:
        self._each_file(hostile, os.mkfifo)

    def test_directories(self, hostile: Path) -> None:
        self._each_file(hostile, os.mkdir)

    def _each_file(self, hostile: Path, make: Callable[[Path], object]) -> None:
        for name in sorted(os.listdir(hostile)):
            copy = Path(shutil.copytree(hostile, hostile.parent / name / "pack"))
            (copy / name).unlink()
            make(copy / name)
            refused(copy)


def test_json_that_is_deep_or_long_in_a_field(tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    samples = [{"image": encoded(picture(5, 6), ".png"), "more": deep, "text": "x"}]
    path = tmp_path / "inner" / "pack"
    pack(samples, path, quiet=True)
    shard = next(iter(path.glob("shard-*")))
    data = shard.read_bytes()
    nested = json.dumps(deep, separators=(",", ":")).encode()
    shard.write_bytes(data.replace(nested, b"[" * len(nested)))
    write_table(path, table_of(path), records=True)
    assert "SampleError" in refused(path)
