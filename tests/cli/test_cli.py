"""The command: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.command import run
from helpers.images import contents, encoded, picture, write_tree

import fastdata

COMMANDS = [
    "pack", "append", "merge", "subset", "convert", "info", "verify", "unpack", "show",
]  # fmt: skip


def spawn(*arguments: object, **options: object) -> subprocess.Popen[str]:
    """``python -m fastdata`` with these arguments."""
    command = [sys.executable, "-m", "fastdata", *map(str, arguments)]
    return subprocess.Popen(  # type: ignore[call-overload]
        command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    )


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "src")


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    (tmp_path / "packs").mkdir()
    return tmp_path / "packs" / "the.pack"


@pytest.fixture
def the_pack(src: Path, dst: Path, storage: str) -> Path:
    assert run("pack", src, dst, "--storage", storage, "--encoding", "keep", "--quiet") == 0
    return dst


class TestHelp:
    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("--version") == 0
        assert capsys.readouterr().out == f"fastdata {fastdata.__version__}\n"

    def test_all_commands_are_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("--help") == 0
        text = capsys.readouterr().out
        assert [name for name in COMMANDS if re.search(rf"^ +{name} +\w", text, re.M)] == COMMANDS

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_has_an_example_that_works(
        self,
        command: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert run(command, "--help") == 0
        text = capsys.readouterr().out
        example = re.search(r"^example:\n +fastdata (.*)$", text, re.MULTILINE)
        assert example is not None
        monkeypatch.chdir(tmp_path)
        write_tree(tmp_path / "photos")
        shutil.copytree("photos", "more")
        packs = {"pack": [], "merge": ["a.pack", "b.pack"]}
        for name in packs.get(command, ["photos.pack", "a.pack"]):
            assert run("pack", "photos", name, "--quiet") == 0
        assert shlex.split(example[1])[0] == command
        assert run(*shlex.split(example[1])) == 0


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("", "COMMAND"),
            ("park", "'park'"),
            ("pack SRC", "DST"),
            ("info", "PACK"),
            ("pack SRC DST --nope", "--nope"),
            ("pack SRC DST --workers many", "--workers.*'many'"),
            ("pack SRC DST --workers 0", "workers must be >= 1, got 0"),
            ("pack SRC DST --shard-size 1gib", "GiB.*'1gib'"),
            ("pack SRC DST --shard-size 0", ">= 1 byte, got '0'"),
            ("pack SRC DST --storage zip", "'zip'.*lmdb.*hdf5"),
            ("pack SRC DST --encoding gif", "'gif'.*sliceable.*keep.*jpeg.*png.*raw"),
            ("pack SRC DST --quality 101 --encoding jpeg", "1 to 100, got 101"),
            ("pack SRC DST --quality 90", "quality applies to encoding 'jpeg' only"),
            ("pack SRC DST --max-side 64", "'sliceable' .*choose encoding jpeg, png or raw"),
            ("pack SRC DST --encoding keep --max-side 64", "choose encoding jpeg, png or raw"),
            ("pack SRC DST --encoding raw --max-side 9 --resize-short 9", "--max-side"),
            ("pack SRC DST --flat --labels x.csv", "--labels"),
            ("pack SRC DST --flat --allow-empty", "allow_empty"),
            ("pack SRC DST --encoding png --check header", "has to"),
            ("pack SRC DST --check header", "'sliceable' has to: choose encoding keep"),
            ("pack SRC SRC/the.pack", "lies inside of"),
        ],
    )
    def test_errors_are_one_clear_line(
        self,
        src: Path,
        dst: Path,
        arguments: str,
        message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        words = [w.replace("SRC", str(src)).replace("DST", str(dst)) for w in arguments.split()]
        assert run(*words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(rf"fastdata.*: .*{message}.*\n", err)
        assert os.listdir(dst.parent) == []

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("pack NOWHERE DST", "NOWHERE does not exist"),
            ("pack SRC SRC.txt", "SRC.txt exists; choose another path"),
            ("pack SRC SRC.txt --overwrite", "SRC.txt exists and is not a pack"),
            ("pack SRC DST --labels NOWHERE", "no table at NOWHERE"),
            ("info NOWHERE", "no pack at NOWHERE: it does not exist"),
            ("info SRC", "SRC is a directory but no pack: it has no pack.json"),
            ("verify SRC.txt", "no pack at SRC.txt: it is a file"),
            ("unpack SRC DST", "SRC is a directory but no pack"),
        ],
    )
    def test_failures_are_one_clear_line(
        self,
        src: Path,
        dst: Path,
        arguments: str,
        message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        src.with_suffix(".txt").touch()

        def filled(text: str) -> str:
            paths = {"SRC": src, "DST": dst, "NOWHERE": src.parent / "nowhere"}
            for name, path in paths.items():
                text = text.replace(name, str(path))
            return text

        assert run(*filled(arguments).split()) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(rf"fastdata: .*{re.escape(filled(message))}.*\n", err)
        assert os.listdir(dst.parent) == []


class TestPack:
    def test_prints_its_report(
        self, src: Path, dst: Path, storage: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (src / "class_1" / "bad.jpg").write_bytes(b"no image")
        assert run("pack", src, dst, "--storage", storage) == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"{dst}: 12 images in 3 classes, 1 rejected\n")
        assert "rejected class_1/bad.jpg: expected an encoded image" in out
        assert err == ""  # no terminal, no progress bar

    def test_quiet(self, src: Path, dst: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("pack", src, dst, "--quiet") == 0
        assert capsys.readouterr() == ("", "")

    def test_quiet_still_tells_that_images_are_missing(
        self, src: Path, dst: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (src / "class_1" / "bad.jpg").write_bytes(b"no image")
        assert run("pack", src, dst, "--quiet") == 0
        out, err = capsys.readouterr()
        assert out == ""
        assert err == f"fastdata: 1 images rejected, see {dst / 'rejected.jsonl'}\n"

    def test_options_arrive(self, src: Path, dst: Path, tmp_path: Path) -> None:
        (src / "class_3").mkdir()
        options = (
            "--storage hdf5 --encoding jpeg --quality 77 --resize-short 20 --shard-size 5kB "
            "--workers 3 --allow-empty --quiet"
        )
        assert run("pack", src, dst, *options.split()) == 0
        again = tmp_path / "again.pack"
        fastdata.pack_image_folder(
            src, again, storage="hdf5", encoding="jpeg", quality=77, resize_short=20,
            shard_size=5000, workers=1, allow_empty=True, quiet=True,
        )  # fmt: skip
        assert contents(dst) == contents(again)
        options = "--flat --encoding keep --check header --overwrite --quiet"
        assert run("pack", src, dst, *options.split()) == 0
        assert fastdata.PackedImageFolder(dst).classes == []

    def test_the_default_encoding(
        self, src: Path, dst: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("pack", src, dst) == 0
        others = sum(not key.endswith(".jpg") for key in contents(src))
        told = f"not sliceable, so decoded whole: {others} (not a JPEG file)\n"
        assert told in capsys.readouterr().out
        fastdata.pack_image_folder(src, tmp_path / "again", encoding="sliceable", quiet=True)
        assert contents(dst) == contents(tmp_path / "again")
        assert run("info", dst) == 0
        assert re.search(r"encoding +sliceable\n", capsys.readouterr().out)

    def test_on_error_fail(self, src: Path, dst: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (src / "class_1" / "bad.jpg").write_bytes(b"no image")
        assert run("pack", src, dst, "--on-error", "fail") == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"fastdata: class_1/bad\.jpg: .*nothing is left of it\n", err)
        assert os.listdir(dst.parent) == []


class TestInfo:
    def test_text(self, the_pack: Path, storage: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("info", the_pack) == 0
        text = capsys.readouterr().out
        for pattern in (
            r"samples +12 \(0 rejected", r"classes +3: class_0, class_1, class_2\n",
            r"per class +4 to 4 samples\n", r"fields +image: image, target: int\n",
            r"encoding +keep\n", rf"storage +{storage}, 1 shard", r"images +\d+x\d+ pixels",
        ):  # fmt: skip
            assert re.search(pattern, text)

    def test_json(
        self, the_pack: Path, src: Path, storage: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("info", the_pack, "--json") == 0
        values = json.loads(capsys.readouterr().out)
        assert values["path"] == str(the_pack)
        assert (values["samples"], values["rejected"], values["shards"]) == (12, 0, 1)
        assert values["classes"] == ["class_0", "class_1", "class_2"]
        assert values["class_counts"] == [4, 4, 4]
        assert (values["storage"], values["source"]) == (storage, "folder")
        assert values["encoding"] == {"name": "keep"}
        assert values["record_bytes"] == sum(map(len, contents(src).values()))
        pack_json = (the_pack / "pack.json").stat().st_size
        assert values["total_bytes"] + pack_json == sum(map(len, contents(the_pack).values()))
        sizes = [(40, 60), (61, 33), (48, 48), (17, 90), (70, 25)]
        sizes = [sizes[i % 5] for i in range(12)]
        assert values["mean_height"] == pytest.approx(sum(h for h, _ in sizes) / 12)
        assert values["mean_width"] == pytest.approx(sum(w for _, w in sizes) / 12)


class TestVerify:
    def test_a_sound_pack(self, the_pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("verify", the_pack) == 0
        out, err = capsys.readouterr()
        assert re.fullmatch(rf"{the_pack}: 12 samples, .* all correct\n", out)
        assert err == ""
        assert run("verify", the_pack, "--quiet") == 0
        assert capsys.readouterr() == ("", "")

    def test_a_damaged_pack(self, the_pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
        next(the_pack.glob("shard*")).unlink()
        for quiet in ([], ["--quiet"]):
            assert run("verify", the_pack, *quiet) == 1
            out, err = capsys.readouterr()
            assert len(re.findall(r"^sample \d+ \('class_", out, re.MULTILINE)) == 12
            assert err == ""


class TestUnpack:
    def test_round_trip(
        self, the_pack: Path, src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("unpack", the_pack, tmp_path / "out") == 0
        assert capsys.readouterr() == (f"{tmp_path / 'out'}: 12 images\n", "")
        assert contents(tmp_path / "out") == contents(src)
        assert run("unpack", the_pack, tmp_path / "out") == 1
        assert "exists; unpack to a new path" in capsys.readouterr().err
        assert run("unpack", the_pack, tmp_path / "other", "--quiet") == 0
        assert capsys.readouterr() == ("", "")


class TestProcess:
    def test_module_from_end_to_end(self, src: Path, dst: Path, storage: str) -> None:
        process = spawn("pack", src, dst, "--storage", storage)
        out, err = process.communicate(timeout=110)
        assert process.returncode == 0
        assert out.startswith(f"{dst}: 12 images in 3 classes, 0 rejected\n")
        assert err == ""
        assert fastdata.verify_pack(dst, quiet=True).ok

    @pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode")
    def test_names_that_the_output_cannot_spell(self, src: Path, dst: Path) -> None:
        (src / "class_1" / "日本.jpg").write_bytes(b"no image")
        for name in (b"\xff.jpg", b"note.\xfe"):
            Path(os.fsdecode(os.fsencode(src / "class_1") + b"/" + name)).touch()
        process = spawn("pack", src, dst, env={**os.environ, "PYTHONIOENCODING": "ascii"})
        out, err = process.communicate(timeout=110)
        assert (process.returncode, err) == (0, "")
        assert r"rejected class_1/\u65e5\u672c.jpg: " in out
        assert r"rejected class_1/\xff.jpg: the name is not valid UTF-8" in out
        assert r"1 .\xfe" in out

    @pytest.mark.skipif(os.name == "nt", reason="needs a terminal")
    def test_a_terminal_gets_a_progress_bar(self, src: Path, dst: Path) -> None:
        import fcntl
        import pty
        import termios

        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        try:
            process = spawn("pack", src, dst, stderr=theirs)
            out, _ = process.communicate(timeout=110)
            shown = os.read(ours, 1 << 16).decode()
        finally:
            os.close(ours)
            os.close(theirs)
        assert process.returncode == 0
        assert "12/12" in shown
        assert re.search(r"img/s|s/img", shown)
        assert re.search(r"\d\.\d MB/s", shown)
        assert out.startswith(f"{dst}: 12 images")

    @pytest.mark.skipif(os.name == "nt", reason="has no such pipes")
    def test_a_reader_that_has_seen_enough(self, src: Path, dst: Path) -> None:
        assert run("pack", src, dst, "--quiet") == 0
        ours, theirs = os.pipe()
        os.close(ours)
        try:
            process = spawn("info", dst, stdout=theirs)
            _, err = process.communicate(timeout=110)
        finally:
            os.close(theirs)
        assert err == ""

    @pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent there")
    def test_interrupting_says_how_to_go_on(self, tmp_path: Path, dst: Path, storage: str) -> None:
        (tmp_path / "src" / "c").mkdir(parents=True)
        (tmp_path / "large.png").write_bytes(encoded(picture(1500, 1500), ".png"))
        for i in range(1000):  # a minute of work and more
            (tmp_path / "src" / "c" / f"{i}.png").symlink_to(tmp_path / "large.png")
        partial = dst.with_name(dst.name + ".partial")
        process = spawn(
            "pack", tmp_path / "src", dst, "--storage", storage, "--encoding", "raw",
            "--shard-size", "20MB", "--workers", 2,
        )  # fmt: skip
        try:
            while not list(partial.glob("parts/00001.npz")):  # it is in the middle of it
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
        assert process.returncode == 130
        assert out == ""
        where = re.escape(str(partial))
        said = rf"interrupted; \d+ shards are complete in {where}: run the same again to go on"
        assert re.fullmatch(rf"fastdata: {said} with them\n", err)
        assert os.listdir(dst.parent) == [partial.name]
