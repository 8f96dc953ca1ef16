"""``fastdata bench`` and ``fastdata tune``: what they print, where, and how they end."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.images import write_tree
from helpers.leftovers import Leftovers
from helpers.packs import write_pack

import fastdata
from fastdata.cli import main

BENCH = ("--size", 8, "--seconds", 0.05, "--batch-size", 4)
TUNE = ("--size", 8, "--seconds", 0.2, "--batch-size", 4, "--max-workers", 1)


def run(*arguments: object) -> int:
    """The exit code of ``fastdata`` with these arguments, in this process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return -1 if not isinstance(end.code, int) else end.code


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("measuring")
    write_tree(root / "src", formats=(".jpg",))
    fastdata.pack_image_folder(root / "src", root / "photos.pack", quiet=True)
    return root / "photos.pack"


class TestBench:
    def test_prints_the_table_and_draws_it(
        self, pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("matplotlib")
        chart = tmp_path / "bench.png"
        assert run("bench", pack, *BENCH, "--chart", chart) == 0
        out, err = capsys.readouterr()
        assert err == ""
        lines = out.splitlines()
        assert lines[0].startswith(f"{pack}: 12 samples, transform train 8, batches of 4")
        stages = [line.split()[0] for line in lines if line.startswith("  ") and "%" in line]
        assert stages == ["read", "decode", "transform", "collate"]
        assert any(line.startswith("limit: ") for line in lines)
        assert lines[-1] == f"drawn in {chart}"
        assert chart.read_bytes().startswith(b"\x89PNG")

    def test_json(self, pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("bench", pack.with_name("src"), *BENCH, "--transform", "val", "--json") == 0
        values = json.loads(capsys.readouterr().out)
        assert values["transform"] == "val 8"
        assert values["samples"] == 12
        assert "one thread" in [row["name"] for row in values["rows"]]


class TestTune:
    def test_ends_with_code_that_runs(self, pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("tune", pack, *TUNE, "--step-ms", 3) == 0
        out, err = capsys.readouterr()
        assert err == ""  # no terminal, no progress bar
        assert re.search(r"^a step of 3 ms: it (keeps up|does NOT keep up)", out, re.M)
        assert out.splitlines()[-1].startswith("loader = fastdata.DataLoaderX(dataset, 4, shuffle")
        names: dict[str, Any] = {}
        exec(out[out.index("import fastdata") :], names)
        assert sum(len(images) for images, _ in names["loader"]) == 12

    def test_json_and_chart(
        self, pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("matplotlib")
        chart = tmp_path / "tune.svg"
        assert run("tune", pack, *TUNE, "--json", "--quiet", "--chart", chart) == 0
        values = json.loads(capsys.readouterr().out)
        assert values["batch_size"] == 4
        assert values["line"].startswith("fastdata.DataLoaderX(dataset, 4, ")
        assert "<svg" in chart.read_text("utf-8")


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            ("bench", 2, "PACK"),
            ("tune PACK", 2, "--batch-size"),
            ("tune PACK --batch-size many", 2, "--batch-size.*'many'"),
            ("tune PACK --batch-size 13", 2, "has 12 samples: no batch of 13"),
            ("tune PACK --batch-size 4 --step-ms 0", 2, "step_ms must be > 0"),
            ("bench PACK --samples 0", 2, "samples must be >= 1"),
            ("bench PACK --device nonsense", 2, "cannot use device 'nonsense'"),
            ("bench PACK --transform test", 2, "'test'.*train.*val"),
            ("bench NOWHERE", 1, "there is neither a pack nor an image folder at"),
            ("bench EMPTY", 1, "has no samples"),
            ("tune EMPTY --batch-size 1", 1, "has no samples"),
        ],
    )
    def test_errors_are_one_clear_line(
        self,
        pack: Path,
        tmp_path: Path,
        arguments: str,
        code: int,
        message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        empty = write_pack(tmp_path / "empty.pack", [])
        paths = {"PACK": pack, "EMPTY": empty, "NOWHERE": tmp_path / "nowhere"}
        assert run(*(paths.get(word, word) for word in arguments.split())) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(rf"fastdata.*: .*{message}.*\n", err)

    @pytest.mark.parametrize("command", ["bench", "tune"])
    def test_a_chart_that_cannot_be_written_is_told_before_anything_is_measured(
        self, pack: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("matplotlib")
        for chart, message in ((tmp_path, "its suffix"), (tmp_path / "no" / "x.png", "No such")):
            assert run(command, pack, "--batch-size", 4, "--chart", chart) == 2
            out, err = capsys.readouterr()
            assert out == ""
            assert message in err
        assert os.listdir(tmp_path) == []

    def test_without_matplotlib(
        self, pack: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        assert run("bench", pack, *BENCH, "--chart", "x.png") == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert "pip install matplotlib" in err

    @pytest.mark.parametrize(("command", "fast"), [("bench", BENCH), ("tune", TUNE)])
    def test_the_example_works(
        self,
        pack: Path,
        tmp_path: Path,
        command: str,
        fast: tuple[object, ...],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        pytest.importorskip("matplotlib")
        assert run(command, "--help") == 0
        text = capsys.readouterr().out
        example = re.search(r"^example:\n +fastdata (.*)$", text, re.MULTILINE)
        assert example is not None
        monkeypatch.chdir(tmp_path)
        (tmp_path / "photos.pack").symlink_to(pack, target_is_directory=True)
        assert shlex.split(example[1])[0] == command
        assert run(*shlex.split(example[1]), *fast) == 0


@pytest.mark.skipif(os.name == "nt", reason="needs a terminal, and Ctrl-C")
def test_interrupted_tuning_tells_what_it_has_found(pack: Path) -> None:
    import fcntl
    import pty
    import termios

    leftovers = Leftovers()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    command = [sys.executable, "-m", "fastdata", "tune", str(pack), "--batch-size", "4"]
    command += ["--seconds", "12"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True)
    try:
        shown = ""
        while "up to now" not in shown:  # the first setting has been measured
            shown += os.read(ours, 1 << 16).decode()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        shown += os.read(ours, 1 << 16).decode()
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
    assert process.returncode == 130
    assert "%|" in shown  # a progress bar
    assert "interrupted: this is what was found up to then" in shown
    assert "interrupted after" in out
    assert out.splitlines()[-1].startswith("loader = fastdata.DataLoaderX(dataset, 4, ")
    leftovers.check()
