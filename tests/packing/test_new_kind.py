"""A new kind of field is a class and a line in a table, and one more if it lies in the image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts.kind_contract import check_kind
from helpers.images import encoded, picture
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastdata
from fastdata import transforms as T
from fastdata.core import KINDS, Kind
from fastdata.errors import DecodeError
from fastdata.images import GEOMETRY
from fastdata.images.boxes import orient_boxes, transform_boxes
from fastdata.images.media import Geometry
from fastdata.inspection.info import pack_info
from fastdata.sources import open_source

HEIGHT, WIDTH = 20, 30


class PointKind(Kind):
    """A place in the image, x and y; "3.5 4.0" in a table."""

    name = "point"
    moves = True
    in_record = False
    in_csv = True
    row = np.dtype("<f4"), (2,)
    batching = "stacked"
    suffix = "point"
    own_name = ""
    read_from = ("point",)

    def check(self, value: Any) -> NDArray[np.float32]:
        try:
            point = np.asarray(value, np.float32)
        except (TypeError, ValueError) as error:
            raise DecodeError(f"expected x and y: {error}") from error
        if point.shape != (2,):
            raise DecodeError(f"expected x and y, found {value!r}")
        return point

    def dump(self, value: NDArray[np.float32]) -> bytes:
        return value.tobytes()

    def load(self, data: bytes | memoryview) -> NDArray[np.float32]:
        return np.frombuffer(data, "<f4").reshape(2).copy()

    def from_row(self, row: Any) -> NDArray[np.float32]:
        return np.array(row)

    def to_json(self, value: NDArray[np.float32]) -> str:
        return " ".join(str(float(number)) for number in value)

    def from_json(self, value: Any) -> NDArray[np.float32]:
        return self.check(str(value).split())

    def from_cell(self, text: str) -> str:
        return text

    def to_file(self, value: NDArray[np.float32]) -> bytes:
        return self.to_json(value).encode()

    def from_file(self, data: bytes) -> NDArray[np.float32]:
        return self.from_json(data.decode())


def as_box(point: NDArray[np.float32]) -> NDArray[np.float32]:
    """A box without area."""
    return np.concatenate([point, point])[None]


POINTS = Geometry(
    lambda point, *turn: orient_boxes(as_box(point), *turn)[0, :2],
    lambda point, plan: transform_boxes(as_box(point), plan)[0, :2],
    lambda point, before, after: point * np.float32(after[1] / before[1]),
)


@pytest.fixture(autouse=True)
def _point_is_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "point", PointKind)
    monkeypatch.setitem(GEOMETRY, "point", POINTS)


SPOTS = [[3.5, 4], [0, 0], [29.25, 19]]


def samples() -> Iterator[dict[str, Any]]:
    for number, spot in enumerate(SPOTS):
        image = encoded(picture(HEIGHT, WIDTH, number), ".png")
        yield {"key": f"{number}.png", "image": image, "spot": spot, "target": number % 2}


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A pack of an iterable with a point in each sample."""
    fields = {"image": "image", "spot": "point", "target": "int"}
    fastdata.pack(samples(), tmp_path / "p", fields=fields, classes=["a", "b"], quiet=True)
    return tmp_path / "p"


def spots(pack: Path, name: str = "spot") -> list[list[float]]:
    return [sample[name].tolist() for sample in fastdata.PackedDataset(pack)]


@given(value=st.tuples(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False)))
def test_it_keeps_the_promises_of_a_kind(value: Any) -> None:
    check_kind("point", value)


def test_it_is_read_as_it_was_packed(packed: Path) -> None:
    assert spots(packed) == SPOTS
    assert pack_info(packed).fields == {"image": "image", "spot": "point", "target": "int"}
    assert "spot: point" in str(pack_info(packed))
    assert fastdata.verify_pack(packed, deep=True, quiet=True).problems == []


def test_it_is_batched(packed: Path) -> None:
    dataset = fastdata.PackedDataset(packed, T.Resize((HEIGHT, WIDTH)))
    (batch,) = fastdata.DataLoaderX(dataset, batch_size=3)
    assert batch["spot"].tolist() == SPOTS
    assert batch["spot"].dtype == torch.float32


def test_it_moves_with_the_pixels(packed: Path) -> None:
    flip = T.Compose([T.Resize((2 * HEIGHT, 2 * WIDTH)), T.RandomHorizontalFlip(1)])
    found = fastdata.PackedDataset(packed, flip)[0]["spot"]
    assert found.tolist() == [2 * WIDTH - 7, 8]


def test_it_follows_when_images_are_shrunk(packed: Path, tmp_path: Path) -> None:
    fastdata.convert(packed, tmp_path / "q", encoding="raw", max_side=WIDTH // 2, quiet=True)
    assert spots(tmp_path / "q")[0] == [1.75, 2]


@pytest.mark.parametrize(
    ("to", "inside", "name"),
    [
        ("folder", "manifest.jsonl", "spot"),
        ("csv", "labels.csv", "spot"),
        ("tar", "", "spot.point"),
    ],
)
def test_it_is_unpacked_and_packed_again(
    packed: Path, tmp_path: Path, to: str, inside: str, name: str
) -> None:
    fastdata.unpack(packed, tmp_path / "out", to=to, quiet=True)
    fastdata.pack(open_source(tmp_path / "out" / inside), tmp_path / "again", quiet=True)
    assert pack_info(tmp_path / "again").fields[name] == "point"
    assert spots(tmp_path / "again", name) == SPOTS


def test_packs_with_it_are_merged(packed: Path, tmp_path: Path) -> None:
    fastdata.merge([packed, packed], tmp_path / "both", quiet=True)
    assert spots(tmp_path / "both") == 2 * SPOTS


def test_what_is_no_such_value_is_left_out(tmp_path: Path) -> None:
    image = encoded(picture(HEIGHT, WIDTH), ".png")
    some = [{"image": image, "spot": spot} for spot in ([1, 2], [1, 2, 3], "here")]
    fields = {"image": "image", "spot": "point"}
    fastdata.pack(some, tmp_path / "p", fields=fields, quiet=True)
    lines = (tmp_path / "p" / "rejected.jsonl").read_text().splitlines()
    reasons = [json.loads(line)["reason"] for line in lines]
    assert len(reasons) == 2
    assert all(reason.startswith("field 'spot': expected x and y") for reason in reasons)
