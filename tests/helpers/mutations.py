"""Damage of all kinds: to bytes, to the files of a pack, and to its checksums so that they hold."""

from __future__ import annotations

import hashlib
import io
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from helpers.packs import change_manifest
from hypothesis import strategies as st

from fastdata.store.table import TABLE_DTYPE

Files = dict[str, bytes]
_INTERESTING = bytes([0, 1, 2, 127, 128, 254, 255])


def mutated(data: bytes, rng: random.Random, most: int = 4) -> bytes:
    """Some bytes flipped or replaced, blocks swapped, copied, cut out or zeroed, or the end cut."""
    result = bytearray(data)
    for _ in range(rng.randint(1, most)):
        _MUTATIONS[rng.randrange(len(_MUTATIONS))](result, rng)
    return bytes(result)


def damaged(whole: bytes, data: st.DataObject) -> bytes:
    """Some bytes changed, among the first ones or anywhere, and perhaps the end cut off."""
    changed = bytearray(whole)
    places = st.one_of(st.integers(0, min(len(whole), 600) - 1), st.integers(0, len(whole) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
        changed[place] = value
    return bytes(changed[: data.draw(st.one_of(st.none(), st.integers(0, len(whole))))])


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _replace(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice(_INTERESTING)


def _number(data: bytearray, rng: random.Random) -> None:
    """A 32-bit number that is extreme, in either order of bytes."""
    if len(data) >= 4:
        at = rng.randrange(len(data) - 3)
        number = rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**16)])
        data[at : at + 4] = number.to_bytes(4, rng.choice(["little", "big"]))  # type: ignore[arg-type]


def _swap(data: bytearray, rng: random.Random) -> None:
    size = rng.randint(1, max(len(data) // 4, 1))
    one, other = _place(data, size, rng), _place(data, size, rng)
    data[one : one + size], data[other : other + size] = (
        data[other : other + size],
        data[one : one + size],
    )


def _copy(data: bytearray, rng: random.Random) -> None:
    start, size = _place(data, 1, rng), rng.randint(1, 64)
    data[start:start] = data[start : start + size]


def _delete(data: bytearray, rng: random.Random) -> None:
    start = _place(data, 1, rng)
    del data[start : start + rng.randint(1, 64)]


def _zero(data: bytearray, rng: random.Random) -> None:
    start = _place(data, 1, rng)
    stop = min(start + rng.randint(1, 200), len(data))
    data[start:stop] = bytes(stop - start)


def _truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _place(data: bytearray, size: int, rng: random.Random) -> int:
    return rng.randrange(max(len(data) - size, 0) + 1)


_MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [
    *[_flip] * 5,
    *[_replace] * 4,
    *[_number] * 3,
    _swap,
    _copy,
    _delete,
    _zero,
    _truncate,
]


def write_files(directory: Path, files: Files) -> None:
    """Make a directory of these files, and no others."""
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        if path.name not in files:
            path.unlink()
    for name, data in files.items():
        (directory / name).write_bytes(data)


def sign(pack: Path) -> None:
    """Write the right sizes and checksums into a pack's pack.json."""
    found = json.loads((pack / "pack.json").read_text("utf-8"))
    for entry in [*found["files"].values(), *found["shards"]]:
        data = (pack / entry["file"]).read_bytes()
        entry["bytes"], entry["sha256"] = len(data), hashlib.sha256(data).hexdigest()
    change_manifest(pack, files=found["files"], shards=found["shards"])


def table_of(pack: Path) -> Any:
    """The table, in memory; see ``write_table``."""
    return np.load(pack / "table.npy", allow_pickle=False)


def write_table(pack: Path, table: Any, *, records: bool = False) -> None:
    """Replace the table, with the CRC-32 of each record as it is now if ``records``; then sign."""
    if records:
        shards = json.loads((pack / "pack.json").read_text("utf-8"))["shards"]
        files = {shard["first"]: (pack / shard["file"]).read_bytes() for shard in shards}
        firsts = sorted(files)
        for index, row in enumerate(table):
            data = files[max(first for first in firsts if first <= index)]
            start = min(int(row["offset"]), len(data))
            row["crc32"] = zlib.crc32(data[start : start + int(row["bytes"])])
    stream = io.BytesIO()
    np.lib.format.write_array(stream, table.astype(TABLE_DTYPE), (1, 0), allow_pickle=False)
    (pack / "table.npy").write_bytes(stream.getvalue())
    sign(pack)
