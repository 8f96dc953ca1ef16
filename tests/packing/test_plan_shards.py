"""Which samples a shard gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.images import contents, write_tree
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdata
from fastdata.packing import write as packing
from fastdata.packing.write import plan_shards


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(0, 50), max_size=60),
    shard_size=st.integers(1, 100),
    ratio=st.floats(0.1, 3),
)
def test_shards_have_all_samples_in_order_and_are_not_too_large(
    sizes: list[int], shard_size: int, ratio: float
) -> None:
    spans = plan_shards(np.array(sizes, np.int64), shard_size, ratio)
    assert [i for span in spans for i in range(span.first, span.stop)] == list(range(len(sizes)))
    for first, stop in spans:
        total = sum(max(size * ratio, 1) for size in sizes[first:stop])
        assert stop == first + 1 or total <= shard_size + 1e-6


def test_a_shard_has_a_quarter_of_a_million_samples_at_most() -> None:
    spans = plan_shards(np.ones(600_000, np.int64), 1 << 30)
    assert [span.stop - span.first for span in spans] == [1 << 18, 1 << 18, 600_000 - (1 << 19)]


def test_a_stream_is_cut_like_that_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MOST_SAMPLES", 3)
    pixels = [np.full((4, 4, 3), i, np.uint8) for i in range(7)]
    fastdata.pack(iter(pixels), tmp_path / "pack", encoding="raw", quiet=True)
    assert len(fastdata.PackedDataset(tmp_path / "pack")) == 7
    assert len(list((tmp_path / "pack").glob("shard-*"))) == 3


@pytest.mark.parametrize("workers", [1, 3])
def test_how_images_are_handed_to_threads_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    folder = write_tree(tmp_path / "images", classes=2, per_class=9)
    (folder / "class_0" / "image_003.jpg").write_bytes(b"no image")
    packs = []
    for lot in (1, 4, 100):
        monkeypatch.setattr(packing, "_LOT_SAMPLES", lot)
        target = tmp_path / f"pack-{lot}"
        fastdata.pack_image_folder(folder, target, shard_size=9000, workers=workers, quiet=True)
        packs.append(contents(target))
    assert packs[0] == packs[1] == packs[2]
    assert len(packs[0]) > 8
