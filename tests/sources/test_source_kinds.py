"""A new kind of source is one module and one line: what a toy of one gets for that."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from contracts.source_contract import SourceContract
from helpers.command import run
from helpers.images import contents, encoded, picture, write_tree
from helpers.toy_source import TOYS, ToySource, list_toys, write_toy

import fastdata
from fastdata.errors import OptionError
from fastdata.sources import SOURCES, open_source


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    root = tmp_path / "toys"
    root.mkdir()
    for i in range(5):
        write_toy(root / f"{i}.toy", 10 * i, encoded(picture(20 + i, 30, i)))
    return root


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line."""
    monkeypatch.setitem(SOURCES, TOYS.name, TOYS)


class TestContract(SourceContract):
    def write(self, root: Path) -> None:
        for i in range(5):
            write_toy(root / f"{i}.toy", 10 * i, encoded(picture(20, 30, i)))

    def listing(self, root: Path) -> ToySource:
        return list_toys(root)

    def change(self, root: Path) -> None:
        write_toy(root / "2.toy", 21, encoded(picture(20, 30, 2)))


def numbers(path: Path) -> list[int]:
    dataset = fastdata.PackedDataset(path, fields=["number"])
    return [dataset[i]["number"] for i in range(len(dataset))]


def test_it_is_found_out(toys: Path) -> None:
    source = open_source(toys)
    assert (source.name, len(source)) == ("toy", 5)
    assert len(open_source(toys, "toy", least=20)) == 3


def test_python_packs_it(toys: Path, tmp_path: Path) -> None:
    fastdata.pack(toys, tmp_path / "the.pack", quiet=True)
    assert numbers(tmp_path / "the.pack") == [0, 10, 20, 30, 40]
    assert fastdata.verify_pack(tmp_path / "the.pack", deep=True, quiet=True).ok


def test_the_command_packs_and_appends_it(toys: Path, tmp_path: Path) -> None:
    assert run("pack", toys, tmp_path / "the.pack", "--least", "20", "--quiet") == 0
    assert numbers(tmp_path / "the.pack") == [20, 30, 40]
    assert run("append", tmp_path / "the.pack", toys, "--source", "toy", "--quiet") == 0
    assert numbers(tmp_path / "the.pack") == [20, 30, 40, 0, 10, 20, 30, 40]


def test_a_dry_run(toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pack", toys, tmp_path / "the.pack", "--least", "40", "--dry-run") == 0
    assert "1 sample" in capsys.readouterr().out
    assert not (tmp_path / "the.pack").exists()


@pytest.mark.parametrize("command", ["pack", "append"])
def test_help_has_it_and_its_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "recordio,toy}" in text
    assert "--least N toy: toys of N and above" in text


def test_its_option_is_checked(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("pack", toys, tmp_path / "the.pack", "--least", "many") == 2
    assert "argument --least: expected a whole number, got 'many'" in capsys.readouterr().err
    with pytest.raises(OptionError, match=r"least does not apply to .*'folder', but to toy"):
        open_source(write_tree(tmp_path / "photos", 2, 1), least=3)


def test_an_executor_packs_it_shard_by_shard(toys: Path, tmp_path: Path) -> None:
    fastdata.pack(toys, tmp_path / "one.pack", quiet=True, shard_size=1500)
    with ThreadPoolExecutor(2) as executor:
        fastdata.pack(toys, tmp_path / "two.pack", quiet=True, shard_size=1500, executor=executor)
    assert contents(tmp_path / "two.pack") == contents(tmp_path / "one.pack")
