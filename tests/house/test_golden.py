"""The golden packs: fastdata reads them and makes their bytes again; the page shows them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.golden import CLASSES, GOLDEN, golden_samples, pack_golden

import fastdata
from fastdata.store import PackReader

PAGE = Path(fastdata.__file__).parent / "docs/format.md"
_SHOWN = re.compile(r"^<!-- bytes: (\S+) (\d+) -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: Files whose every byte the format fixes, whatever wrote the shards.
FIXED = ["keys.bin", "keys.npy", "field-boxes.npy", "field-caption.npy", "field-score.npy"]


def test_fastdata_reads_it(storage: str) -> None:
    dataset = fastdata.PackedDataset(GOLDEN / storage)
    assert dataset.classes == CLASSES
    for expected, found in zip(golden_samples(), dataset, strict=True):
        file = np.frombuffer(expected["image"], np.uint8)
        np.testing.assert_array_equal(found["image"], cv2.imdecode(file, cv2.IMREAD_COLOR_RGB))
        np.testing.assert_array_equal(found["mask"], expected["mask"])
        np.testing.assert_array_equal(found["boxes"], expected["boxes"])
        for name in ("target", "caption", "score"):
            assert found[name] == expected[name]
    assert list(dataset.keys) == [sample["key"] for sample in golden_samples()]


def test_its_jpeg_is_cut(storage: str) -> None:
    reader = PackReader(GOLDEN / storage)
    assert (reader.slice_indices > 0).tolist() == [True, False]


def test_verify_finds_nothing(storage: str) -> None:
    assert fastdata.verify_pack(GOLDEN / storage, deep=True, quiet=True).ok


def test_the_same_samples_give_the_same_bytes(storage: str, tmp_path: Path) -> None:
    made, golden = pack_golden(tmp_path / "made", storage), GOLDEN / storage
    for name in FIXED:
        assert (made / name).read_bytes() == (golden / name).read_bytes(), name
    new, old = PackReader(made), PackReader(golden)
    assert np.array_equal(new.columns["mask"], old.columns["mask"])
    for index in range(2):
        assert bytes(new.read(index)) == bytes(old.read(index))
    for name in new.table.dtype.names or ():  # where a record lies is up to the storage's library
        assert name == "offset" or np.array_equal(new.table[name], old.table[name])


def test_pack_json_is_the_same_but_for_the_storages_bytes(storage: str, tmp_path: Path) -> None:
    made = json.loads((pack_golden(tmp_path / "made", storage) / "pack.json").read_text("utf-8"))
    golden = json.loads((GOLDEN / storage / "pack.json").read_text("utf-8"))
    for manifest in (made, golden):
        del manifest["sha256"], manifest["files"]["table"]["sha256"]
        del manifest["shards"][0]["sha256"], manifest["shards"][0]["bytes"]
    assert list(made) == list(golden)
    assert made == golden


def test_the_page_shows_its_bytes() -> None:
    shown = _SHOWN.findall(PAGE.read_text("utf-8"))
    assert {name.split("/")[1] for name, *_ in shown} >= {"pack.json", "table.npy", *FIXED}
    for name, start, language, text in shown:
        data = text.encode() if language == "json" else _bytes_of(text)
        assert data == (GOLDEN / name).read_bytes()[int(start) :][: len(data)], (name, start)


def _bytes_of(dump: str) -> bytes:
    """Of lines of up to 16 bytes in hex, with a comment in column 50."""
    return b"".join(bytes.fromhex(line[:48]) for line in dump.splitlines())


@pytest.mark.parametrize("name", ["lmdb", "hdf5"])
def test_there_is_one_for_each_storage(name: str) -> None:
    assert json.loads((GOLDEN / name / "pack.json").read_text("utf-8"))["storage"] == name
