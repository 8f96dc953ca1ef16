"""Contact sheets: what is drawn, where, and what becomes of damage and of wrong arguments."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command import run
from helpers.images import encoded, picture, write_tree
from helpers.packs import write_pack
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import fastdata
from fastdata import EmptySourceError, MissingDependencyError, OptionError
from fastdata import transforms as T
from fastdata.core.keys import KeyTable
from fastdata.images.boxes import transform_boxes
from fastdata.images.plan import Box, Plan
from fastdata.inspection.contact_sheet._choice import find_key
from fastdata.inspection.contact_sheet._crops import taken

pytest.importorskip("matplotlib", reason="extra plot")

GAP, CAPTION = 10, 39
COLORS = [(250, 20, 30), (20, 200, 40), (30, 40, 240), (240, 230, 10), (10, 220, 230)]


def plain(color: tuple[int, int, int], height: int = 64, width: int = 64) -> NDArray[np.uint8]:
    return np.full((height, width, 3), color, np.uint8)


def packed(path: Path, samples: list[dict[str, Any]], **options: Any) -> Path:
    kinds = {"image": "image", "target": "int", **options.pop("kinds", {})}
    options = {"classes": ["a", "b"], "encoding": "png", **options}
    samples = [{"key": f"{i}.png", "target": i % 2, **one} for i, one in enumerate(samples)]
    fastdata.pack(samples, path, fields=kinds, quiet=True, **options)
    return path


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """Images of one colour each, as large as a tile of 64."""
    return packed(tmp_path / "five.pack", [{"image": plain(color)} for color in COLORS])


def tiles(path: str | os.PathLike[str], count: int, columns: int, thumb: int) -> list[Any]:
    """The squares of a sheet that images lie in."""
    with Image.open(path) as image:
        sheet = np.asarray(image.convert("RGB"))
    wide, high = max(thumb, 100) + GAP, thumb + CAPTION + GAP
    rows = -(-count // columns)
    assert sheet.shape == (rows * high + GAP, columns * wide + GAP, 3)
    corners = [(GAP + i // columns * high, GAP + i % columns * wide) for i in range(count)]
    return [sheet[top : top + thumb, left : left + thumb] for top, left in corners]


def shown(path: Path, tmp_path: Path, count: int = 1, **options: Any) -> Any:
    """The tiles of a sheet of 64 pixels each; the only one where there is one."""
    sheet = fastdata.show(path, tmp_path / "out.png", columns=2, thumb=64, **options)
    assert sheet.ok
    found = tiles(sheet, count, min(2, count), 64)
    return found[0] if count == 1 else found


class TestChoice:
    def test_all_of_a_small_pack(self, five: Path, tmp_path: Path) -> None:
        for tile, color in zip(shown(five, tmp_path, 5), COLORS, strict=True):
            assert (tile == color).all()

    def test_indices_and_keys_in_their_order(self, five: Path, tmp_path: Path) -> None:
        found = shown(five, tmp_path, 3, indices=[4, -5], keys=["2.png"])
        assert [tuple(tile[0, 0]) for tile in found] == [COLORS[4], COLORS[0], COLORS[2]]

    def test_classes(self, five: Path, tmp_path: Path) -> None:
        sheet = fastdata.show(five, tmp_path / "out.png", classes=["b"])
        assert sheet.indices == [1, 3]
        sheet = fastdata.show(five, tmp_path / "out.png", classes=["b"], indices=[3, 2])
        assert sheet.indices == [3]

    def test_a_draw_depends_on_the_seed_alone(self, five: Path, tmp_path: Path) -> None:
        draws = [fastdata.show(five, tmp_path / "o.png", count=2, seed=s).indices for s in range(9)]
        assert draws[0] == fastdata.show(five, tmp_path / "o.png", count=2).indices
        assert all(len(set(draw)) == 2 and draw == sorted(draw) for draw in draws)
        assert {index for draw in draws for index in draw} == set(range(5))

    def test_the_default_number(self, tmp_path: Path) -> None:
        path = packed(tmp_path / "many.pack", [{"image": plain((1, 2, 3), 4, 4)}] * 40)
        assert len(fastdata.show(path, tmp_path / "out.png").indices) == 24

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"indices": [5]}, "5 is not one of 5 samples"),
            ({"indices": ["x"]}, "expected integers, found 'x'"),
            ({"keys": ["no.png"]}, r"no sample with the key 'no\.png'"),
            ({"classes": ["c"]}, r"no class 'c' \(fastdata info --classes lists them\)"),
            ({"count": 0}, "count must be >= 1, got 0"),
            ({"crops": -1}, "crops must be >= 0, got -1"),
            ({"thumb": 31}, "thumb must be 32 to 2048 pixels, got 31"),
            ({"columns": 0}, "columns must be >= 1, got 0"),
            ({"indices": [0] * 3000, "thumb": 2048}, "a sheet of 3000 samples would have"),
            ({"seed": -1}, "seed must be"),
        ],
    )
    def test_wrong_options(
        self, five: Path, tmp_path: Path, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(OptionError, match=message):
            fastdata.show(five, tmp_path / "out.png", **options)
        assert not (tmp_path / "out.png").exists()

    def test_nothing_to_show(self, five: Path, tmp_path: Path) -> None:
        empty = write_pack(tmp_path / "empty.pack", [])
        for path, options in ((empty, {}), (five, {"indices": []})):
            with pytest.raises(EmptySourceError, match="there is no sample to show"):
                fastdata.show(path, tmp_path / "out.png", **options)

    @settings(max_examples=50)
    @given(st.lists(st.text("ab é", max_size=4), max_size=20), st.text("ab é", max_size=4))
    def test_find_key(self, names: list[str], wanted: str) -> None:
        place = names.index(wanted) if wanted in names else None
        assert find_key(KeyTable.from_strings(names), wanted) == place


class TestFile:
    def test_the_default_name_lies_in_the_current_directory(
        self, five: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        before = sorted(os.listdir(five))
        assert fastdata.show(five).path == Path("five.pack.png")
        assert fastdata.show(f"file://{five}").path == Path("five.pack.png")
        assert os.listdir() == ["five.pack.png"]
        assert sorted(os.listdir(five)) == before

    def test_it_is_replaced(self, five: Path, tmp_path: Path) -> None:
        (tmp_path / "out.png").write_bytes(b"old")
        fastdata.show(five, tmp_path / "out.png")
        assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("sheet.jpg", r"is a PNG file, not \.jpg"),
            (".", "is a directory"),
            ("nowhere/sheet.png", "there is no directory .*nowhere: make it first"),
        ],
    )
    def test_names_that_cannot_be(
        self, five: Path, tmp_path: Path, name: str, message: str
    ) -> None:
        with pytest.raises(OptionError, match=message):
            fastdata.show(five, tmp_path / name)

    def test_without_matplotlib(
        self, five: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(MissingDependencyError, match="pip install matplotlib"):
            fastdata.show(five, tmp_path / "out.png")


class TestImages:
    def test_a_small_image_is_magnified_by_a_whole_number(self, tmp_path: Path) -> None:
        small = picture(21, 30)
        tile = shown(packed(tmp_path / "a.pack", [{"image": small}]), tmp_path)
        assert (tile[11:53, 2:62] == small.repeat(2, axis=0).repeat(2, axis=1)).all()

    @pytest.mark.parametrize("size", [(3000, 1), (1, 3000), (1, 1)])
    def test_extreme_aspects(self, tmp_path: Path, size: tuple[int, int]) -> None:
        path = packed(tmp_path / "a.pack", [{"image": plain(COLORS[0], *size)}])
        drawn = (shown(path, tmp_path) == COLORS[0]).all(axis=2)
        assert drawn.sum() == (64 * 64 if size == (1, 1) else 64)
        assert shown(path, tmp_path, grid=True, crops=2).shape == (64, 64, 3)

    @pytest.mark.parametrize("encoding", ["sliceable", "keep", "jpeg", "png", "raw"])
    def test_every_encoding(self, tmp_path: Path, encoding: str) -> None:
        write_tree(tmp_path / "src", 2, 4)
        path = tmp_path / "a.pack"
        fastdata.pack_image_folder(tmp_path / "src", path, encoding=encoding, quiet=True)
        assert len(shown(path, tmp_path, 8, grid=True, crops=1)) == 8

    def test_orientation_is_applied_only_if_asked_for(self, tmp_path: Path) -> None:
        (tmp_path / "src" / "a").mkdir(parents=True)
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(plain(COLORS[0], 32, 64)).save(tmp_path / "src/a/x.jpg", exif=exif)
        path = tmp_path / "a.pack"
        fastdata.pack_image_folder(tmp_path / "src", path, quiet=True)
        for upright in (False, True):
            tile = shown(path, tmp_path, apply_exif_orientation=upright)
            close = abs(tile.astype(int) - COLORS[0]).max(axis=2) < 8
            assert close.any(axis=1).sum() == (64 if upright else 32)

    def test_names_of_all_kinds(self, tmp_path: Path) -> None:
        keys = ["日本/猫.png", "$a_b^{$.png", "x" * 4000, "tab\tnew\nline", "עברית", "\U0010ffff"]
        samples = [{"image": plain(COLORS[0]), "key": key} for key in keys]
        path = packed(tmp_path / "a.pack", samples, classes=["$\\frac", "犬" * 100])
        sheet = fastdata.show(path, tmp_path / "out.png", keys=keys)
        assert sheet.ok
        assert sheet.indices == list(range(6))

    def test_without_classes(self, tmp_path: Path) -> None:
        samples = [{"image": plain(COLORS[0]), "target": target} for target in (-1, 7)]
        path = packed(tmp_path / "a.pack", samples, classes=[])
        assert len(shown(path, tmp_path, 2)) == 2


class TestOverlays:
    def test_masks_color_all_but_label_0(self, tmp_path: Path) -> None:
        mask = np.zeros((64, 64), np.uint8)
        mask[:32, :32], mask[:32, 32:], mask[32:, :32] = 1, 2, 255
        samples = [{"image": plain((100, 100, 100)), "mask": mask}]
        path = packed(tmp_path / "a.pack", samples, kinds={"mask": "mask"})
        tile = shown(path, tmp_path)
        parts = [tile[10, 10], tile[10, 50], tile[50, 10], tile[50, 50]]
        assert tuple(parts[3]) == (100, 100, 100)
        assert tuple(parts[2]) == (177, 177, 177)  # half way to white
        assert len({tuple(part) for part in parts}) == 4
        for top in (0, 32):
            for left in (0, 32):
                quarter = tile[top : top + 32, left : left + 32]
                assert (quarter == quarter[0, 0]).all()
        assert (shown(path, tmp_path, masks=False) == 100).all()

    def test_boxes_are_drawn_where_they_are(self, tmp_path: Path) -> None:
        boxes = np.array([[16, 32, 96, 112]], np.float32)
        samples = [{"image": plain((100, 100, 100), 128, 128), "boxes": boxes, "labels": [1]}]
        kinds = {"boxes": "boxes", "labels": "int64[?]"}
        path = packed(tmp_path / "a.pack", samples, kinds=kinds, classes=["cat", "ж" * 40])
        drawn = (shown(path, tmp_path) != 100).any(axis=2)
        rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
        assert 14 <= rows[0] <= 16
        assert 55 <= rows[-1] <= 57
        assert 6 <= columns[0] <= 8
        assert not drawn[40:50, 12:44].any()  # an outline
        assert (shown(path, tmp_path, boxes=False) == 100).all()

    @pytest.mark.parametrize("labels", [["cat", "dog"], [], ["one"], None, [[1], [2]], 5])
    def test_labels_of_any_kind(self, tmp_path: Path, labels: Any) -> None:
        boxes = np.array([[1, 2, 30, 40], [0, 0, 0, 0]], np.float32)
        samples = [{"image": plain(COLORS[0]), "boxes": boxes, "labels": labels}]
        kinds = {"boxes": "boxes", "labels": "json"}
        path = packed(tmp_path / "a.pack", samples, kinds=kinds)
        assert (shown(path, tmp_path) != COLORS[0]).any()

    def test_crops_are_those_of_training(self, tmp_path: Path) -> None:
        """The image within the drawn box is what the dataset makes of it in that epoch."""
        path = packed(tmp_path / "a.pack", [{"image": plain((100, 100, 100), 512, 512)}])
        tile = fastdata.show(path, tmp_path / "o.png", thumb=512, columns=1, crops=1, seed=3)
        (tile,) = tiles(tile, 1, 1, 512)
        drawn = (tile != 100).any(axis=2)
        rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
        gradient = np.zeros((512, 512, 3), np.uint8)
        gradient[..., 0], gradient[..., 1] = np.mgrid[0:512, 0:512] // 2
        other = packed(tmp_path / "b.pack", [{"image": gradient}])
        image, _ = fastdata.PackedImageFolder(other, T.RandomResizedCrop(224), seed=3)[0]
        top, left = 2 * image[0, 0, 0].item(), 2 * image[1, 0, 0].item()
        bottom, right = 2 * image[0, -1, 0].item(), 2 * image[1, 0, -1].item()
        drawn_box = rows[0], rows[-1], columns[0], columns[-1]
        assert np.allclose(drawn_box, (top, bottom, left, right), atol=5)

    def test_crops_of_another_transform(self, tmp_path: Path) -> None:
        path = packed(tmp_path / "a.pack", [{"image": plain((100, 100, 100))}])
        middle = T.Compose([T.Resize(32), T.CenterCrop(16)])
        drawn = (shown(path, tmp_path, crops=1, transform=middle) != 100).any(axis=2)
        rows, columns = np.nonzero(drawn)
        assert {rows.min(), columns.min()} <= {14, 15, 16}
        assert {rows.max(), columns.max()} <= {47, 48, 49}

    def test_the_grid_is_that_of_the_intervals(self, tmp_path: Path) -> None:
        image = encoded(plain((100, 100, 100), 512, 512), quality=95)
        path = packed(tmp_path / "a.pack", [{"image": image}], encoding="sliceable")
        assert fastdata.PackedImageFolder(path).pack.slice_indices[0]
        sheet = fastdata.show(path, tmp_path / "o.png", thumb=512, columns=1, grid=True)
        (tile,) = tiles(sheet, 1, 1, 512)
        # Between the lines across, there are those between intervals only; MCUs are 8 or 16 high.
        down = np.flatnonzero((tile[4] != tile[4, 4]).any(axis=1))
        across = np.flatnonzero((tile[:, 4] != tile[4, 4]).any(axis=1))
        assert np.diff(down).max() in range(60, 135)
        assert 8 <= np.median(np.diff(across)[np.diff(across) > 2]) <= 16

    @settings(max_examples=50)
    @given(st.data())
    def test_what_a_plan_takes_becomes_its_whole_result(self, data: st.DataObject) -> None:
        plan = Plan.whole(60, 40)
        for _ in range(data.draw(st.integers(0, 5))):
            height, width = plan.height, plan.width
            step = data.draw(st.sampled_from(["crop", "resize", "h", "v"]))
            if step == "crop":
                top, left = (data.draw(st.integers(0, n - 1)) for n in (height, width))
                plan = plan.crop(Box(top, left, height - top, width - left))
            elif step == "resize":
                plan = plan.resize(*(data.draw(st.integers(1, 90)) for _ in range(2)))
            else:
                plan = plan.flip_horizontal() if step == "h" else plan.flip_vertical()
        whole = transform_boxes(taken(plan)[None], plan)
        assert np.allclose(whole, [[0, 0, plan.width, plan.height]], atol=1e-3)


class TestDamage:
    @pytest.fixture
    def damaged(self, tmp_path: Path) -> Path:
        write_tree(tmp_path / "src", 2, 2, formats=(".jpg",), sizes=((80, 100),))
        path = tmp_path / "a.pack"
        fastdata.pack_image_folder(tmp_path / "src", path, quiet=True)
        dataset = fastdata.PackedImageFolder(path)
        start = dataset.pack.table["offset"].item(1)
        dataset.pack.close()
        with (path / "shard-00000.lmdb").open("r+b") as file:
            file.seek(start + 900)
            file.write(b"\xff" * 99)
        return path

    def test_a_tile_says_so_and_the_command_fails(
        self, damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("show", damaged, "--out", tmp_path / "o.png", "--columns", 2) == 1
        told = capsys.readouterr().out
        assert f"{tmp_path / 'o.png'}: 4 samples, 1 cannot be read\n" in told
        assert "sample 1 (class_0/image_001.jpg): " in told
        assert "is damaged: its CRC-32 is" in told
        found = tiles(tmp_path / "o.png", 4, 2, 200)
        broken = [bool((tile[-1] == (255, 214, 214)).all()) for tile in found]
        assert broken == [False, True, False, False]

    def test_a_lost_shard(self, damaged: Path, tmp_path: Path) -> None:
        (damaged / "shard-00000.lmdb").unlink()
        sheet = fastdata.show(damaged, tmp_path / "o.png", grid=True, crops=2)
        assert len(sheet.failures) == 4
        assert sheet.path.exists()

    def test_damaged_keys(self, five: Path, tmp_path: Path) -> None:
        keys = five / "keys.bin"
        keys.write_bytes(b"\xff" * keys.stat().st_size)
        assert len(shown(five, tmp_path, 5)) == 5


class TestCommand:
    def test_all_options(
        self, five: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "o.png"
        options = (
            "--indices 3,0 --key 1.png --classes a,b --seed 4 --grid --crops 2 --no-masks "
            "--no-boxes --exif --columns 3 --thumb 64 --count 3"
        )
        assert run("show", five, "--out", out, *options.split()) == 0
        assert capsys.readouterr().out == f"{out}: 3 samples\n"
        assert len(tiles(out, 3, 3, 64)) == 3

    @pytest.mark.parametrize(
        ("options", "code", "message"),
        [
            ("--indices 1,x", 2, "--indices"),
            ("--indices 9", 2, "9 is not one of 5 samples"),
            ("--crops -1", 2, "crops must be >= 0"),
            ("--out nowhere/x.png", 2, "no directory nowhere"),
        ],
    )
    def test_wrong_arguments(
        self,
        five: Path,
        options: str,
        code: int,
        message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert run("show", five, *options.split()) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert message in err
        assert err.count("\n") == 1
