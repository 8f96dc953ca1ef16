"""Ctrl-C and SIGTERM end the command in a moment, in one line that says how to go on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.images import contents, write_tree

from fastdata.packing.pack import pack_image_folder

LIMIT = 40.0  # seconds; two are promised, on a machine that has nothing else to do
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 small images, and behind them one of 60 megapixels."""
    root = write_tree(tmp_path_factory.mktemp("interrupt") / "source", 3, 20)
    rng = np.random.default_rng(0)
    tile = rng.integers(0, 255, (500, 500, 3), np.uint8)
    large = np.tile(tile, (12, 20, 1))
    assert cv2.imwrite(str(root / "class_2" / "large.jpg"), large)
    return root


def command(folder: Path, dst: Path) -> list[str]:
    options = ["--shard-size", "20kB", "--workers", "1", "--quiet"]
    return [sys.executable, "-m", "fastdata", "pack", str(folder), str(dst), *options]


def interrupted(arguments: list[str], number: signal.Signals, parts: Path, wanted: int) -> str:
    """Send a signal when so many shards are complete; returns what the command says."""
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(list(parts.glob("*"))) < wanted:
        time.sleep(0.005)
    time.sleep(0.1)
    started = time.monotonic()
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    seconds = time.monotonic() - started
    print(f"{number.name} with {wanted} shards: {seconds:.2f} s: {text}")
    assert process.returncode == CODES[number]
    assert seconds < LIMIT
    return text


def test_going_on(folder: Path, tmp_path: Path) -> None:
    """Ctrl-C while small images are packed, and then SIGTERM while the large one is."""
    dst, expected = tmp_path / "dst", tmp_path / "expected"
    pack_image_folder(folder, expected, shard_size="20kB", quiet=True)
    shards = len(list(expected.glob("shard-*")))
    parts = tmp_path / "dst.partial" / "parts"
    for number, wanted in ((signal.SIGINT, 1), (signal.SIGTERM, shards - 1)):
        text = interrupted(command(folder, dst), number, parts, wanted)
        assert len(text.splitlines()) == 1, text
        assert "run the same again to go on" in text
        assert not dst.exists()
    subprocess.run(command(folder, dst), check=True, timeout=120)
    assert contents(dst) == contents(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dst", "expected"]
