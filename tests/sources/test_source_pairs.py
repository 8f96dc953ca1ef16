"""Pairs of images and masks: layouts, suffixes, and what has no partner."""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts.source_contract import SourceContract
from helpers.images import write_image
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdata.errors import EmptySourceError, OptionError, SourceError, SourceNotFoundError
from fastdata.sources.base import Source
from fastdata.sources.coco.source import detect_coco
from fastdata.sources.pairs.source import PairSource, detect_pairs, list_pairs


def touch(root: Path, *names: str) -> Path:
    """Make files, each with its own name as content: to list them, nothing is decoded."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def pairs(source: PairSource) -> dict[str, str]:
    """What the image and the mask of each key read, which is what ``touch`` called them."""
    found = {}
    for item in source:
        assert item.values.keys() == {"image", "mask"}
        image, mask = item.values["image"].read().decode(), item.values["mask"].read().decode()
        assert image.endswith(item.key)
        found[image] = mask
    return found


VOC = (
    "JPEGImages/1.jpg",
    "JPEGImages/2.jpg",
    "JPEGImages/3.jpg",
    "JPEGImages/4.jpg",
    "SegmentationClass/2.png",
    "SegmentationClass/3.png",
    "SegmentationObject/2.png",
)


class TestContract(SourceContract):
    def write(self, root: Path) -> None:
        for i, folder in enumerate(("", "a/", "a/b/", "c/")):
            write_image(root / f"images/{folder}{i}.jpg", seed=i)
            write_image(root / f"masks/{folder}{i}.png", seed=i)

    def listing(self, root: Path) -> Source:
        return list_pairs(root / "images", root / "masks")

    def change(self, root: Path) -> None:
        (root / "masks/c/3.png").rename(root / "masks/c/3.bmp")


class TestVocContract(SourceContract):
    def write(self, root: Path) -> None:
        touch(root, *VOC, "SegmentationClass/1.png")
        (root / "ImageSets/Segmentation").mkdir(parents=True)
        (root / "ImageSets/Segmentation/train.txt").write_text("3\n1\n2\n")

    def listing(self, root: Path) -> Source:
        return list_pairs(root, split="train")

    def change(self, root: Path) -> None:
        (root / "SegmentationClass/1.png").rename(root / "SegmentationClass/1.tif")


def test_trees_with_the_same_stems(tmp_path: Path) -> None:
    touch(tmp_path, "i/b/1.jpg", "i/b/2.JPG", "i/a.png", "m/b/1.png", "m/b/2.TIF", "m/a.bmp")
    source = list_pairs(tmp_path / "i", tmp_path / "m")
    assert pairs(source) == {
        "i/a.png": "m/a.bmp",
        "i/b/1.jpg": "m/b/1.png",
        "i/b/2.JPG": "m/b/2.TIF",
    }
    assert list(source.keys) == ["a.png", "b/1.jpg", "b/2.JPG"]
    assert {name: str(field) for name, field in source.fields.items()} == {
        "image": "image",
        "mask": "mask",
    }
    assert source.classes == []


@pytest.mark.parametrize("masks", ["masks", "annotations", "labels", "gt"])
def test_one_root_with_both_directories(tmp_path: Path, masks: str) -> None:
    touch(tmp_path, "images/x/1.jpg", "images/x/2.jpg", f"{masks}/x/1.png", f"{masks}/x/2.png")
    touch(tmp_path, "README.txt")
    assert detect_pairs(tmp_path)
    assert pairs(list_pairs(tmp_path)) == {
        "images/x/1.jpg": f"{masks}/x/1.png",
        "images/x/2.jpg": f"{masks}/x/2.png",
    }


def test_a_split_is_a_subdirectory_of_both(tmp_path: Path) -> None:
    both = ("training/1", "validation/2")
    touch(tmp_path, *(f"images/{n}.jpg" for n in both), *(f"annotations/{n}.png" for n in both))
    source = list_pairs(tmp_path, split="validation")
    assert pairs(source) == {"images/validation/2.jpg": "annotations/validation/2.png"}
    assert list(source.keys) == ["validation/2.jpg"]
    with pytest.raises(SourceNotFoundError, match="test does not exist"):
        list_pairs(tmp_path, split="test")


def test_cityscapes(tmp_path: Path) -> None:
    for frame in ("train/aachen/aachen_0", "val/lindau/lindau_0"):
        touch(tmp_path, f"leftImg8bit/{frame}_leftImg8bit.png")
        kinds = ("_color.png", "_instanceIds.png", "_labelIds.png", "_polygons.json")
        touch(tmp_path, *(f"gtFine/{frame}_gtFine{kind}" for kind in kinds))
    assert detect_pairs(tmp_path)
    assert pairs(list_pairs(tmp_path)) == {
        f"leftImg8bit/{frame}_leftImg8bit.png": f"gtFine/{frame}_gtFine_labelIds.png"
        for frame in ("train/aachen/aachen_0", "val/lindau/lindau_0")
    }
    assert list(list_pairs(tmp_path, split="val").keys) == ["val/lindau/lindau_0_leftImg8bit.png"]
    other = list_pairs(
        tmp_path, image_suffix="_leftImg8bit", mask_suffix="_gtFine_instanceIds", split="val"
    )
    assert list(pairs(other).values()) == ["gtFine/val/lindau/lindau_0_gtFine_instanceIds.png"]


def test_in_voc_the_masks_decide(tmp_path: Path) -> None:
    touch(tmp_path, *VOC)
    assert detect_pairs(tmp_path)
    source = list_pairs(tmp_path)
    assert pairs(source) == {
        "JPEGImages/2.jpg": "SegmentationClass/2.png",
        "JPEGImages/3.jpg": "SegmentationClass/3.png",
    }
    assert source.findings.rejected == []
    assert source.findings.notes == ["images without a mask, left out: 2"]


def test_lists_of_voc(tmp_path: Path) -> None:
    touch(tmp_path, *VOC)
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for name, text in [("train", "3\n2\n\n"), ("val", "2\n1\n"), ("twice", "2\n3\n2\n")]:
        (lists / f"{name}.txt").write_text(text)
    assert list(list_pairs(tmp_path, split="train").keys) == ["3.jpg", "2.jpg"]
    with pytest.raises(SourceError, match=r"1 of 2 samples .*: 1\.jpg \(it has no mask\)"):
        list_pairs(tmp_path, split="val")
    partial = list_pairs(tmp_path, split="val", allow_missing=True)
    assert list(partial.keys) == ["2.jpg"]
    assert partial.findings.rejected == [("1.jpg", "it has no mask")]
    with pytest.raises(SourceError, match=r"twice\.txt, line 3: '2' is there already"):
        list_pairs(tmp_path, split="twice")
    with pytest.raises(SourceNotFoundError, match=r"test\.txt; there are: .*train.*val"):
        list_pairs(tmp_path, split="test")
    (lists / "bad.txt").write_bytes(b"\xff")
    with pytest.raises(SourceError, match=r"bad\.txt: not a UTF-8 file"):
        list_pairs(tmp_path, split="bad")


def test_a_list_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "secret.jpg", "secret.png")
    root = touch(tmp_path / "voc", *VOC)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("2\n../../secret\n")
    with pytest.raises(SourceError, match=r"\.\./\.\./secret \(no image\)"):
        list_pairs(root, split="train")


@pytest.mark.parametrize("split", ["../images", "a/b", "/tmp", "..", "", "."])
def test_a_split_is_a_name(tmp_path: Path, split: str) -> None:
    touch(tmp_path, "images/a.jpg", "masks/a.png")
    with pytest.raises(OptionError, match="split is the name"):
        list_pairs(tmp_path, split=split)


@pytest.mark.parametrize(
    ("image", "mask"),
    [("1.jpg", "1_mask.png"), ("1_sat.jpg", "1_mask.png"), ("1.png", "1_L.png")],
)
def test_known_suffixes_are_found(tmp_path: Path, image: str, mask: str) -> None:
    touch(tmp_path, f"images/{image}", f"masks/{mask}")
    assert detect_pairs(tmp_path)
    assert pairs(list_pairs(tmp_path)) == {f"images/{image}": f"masks/{mask}"}


def test_suffixes_can_be_given(tmp_path: Path) -> None:
    touch(tmp_path, "i/1_rgb.jpg", "i/1_ir.jpg", "m/1_gt.png", "m/1_rgb.png")
    given = list_pairs(tmp_path / "i", tmp_path / "m", image_suffix="_rgb", mask_suffix="_gt")
    assert pairs(given) == {"i/1_rgb.jpg": "m/1_gt.png"}
    with pytest.raises(EmptySourceError, match=r"no image .*; the first image is 1_ir\.jpg"):
        list_pairs(tmp_path / "i", tmp_path / "m", mask_suffix="_gt")


def test_masks_among_the_images(tmp_path: Path) -> None:
    touch(tmp_path, "x/1.tif", "x/1_mask.tif", "x/2.tif", "x/2_mask.tif")
    for options in ({}, {"mask_suffix": "_mask"}):
        source = list_pairs(tmp_path, tmp_path, **options)  # type: ignore[arg-type]
        assert pairs(source) == {"x/1.tif": "x/1_mask.tif", "x/2.tif": "x/2_mask.tif"}
    with pytest.raises(OptionError, match="mask_suffix"):
        list_pairs(tmp_path, tmp_path, image_suffix="_x")


def test_one_directory_in_the_other(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "masks/1.png")
    with pytest.raises(OptionError, match="one lies in the other"):
        list_pairs(tmp_path, tmp_path / "masks")


def test_images_without_a_mask(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{i}.jpg" for i in range(9)), "masks/0.png", "masks/x.png")
    with pytest.raises(SourceError, match=r"8 of 9 samples .*1\.jpg.*5\.jpg.*, ….*allow_missing"):
        list_pairs(tmp_path)
    source = list_pairs(tmp_path, allow_missing=True)
    assert list(source.keys) == ["0.jpg"]
    assert source.findings.rejected == [(f"{i}.jpg", "it has no mask") for i in range(1, 9)]
    assert source.findings.notes == ["masks without an image, left out: 1"]


def test_no_image_has_a_mask(tmp_path: Path) -> None:
    touch(tmp_path, "i/1.jpg", "m/2.png")
    for allow_missing in (False, True):
        with pytest.raises(EmptySourceError, match=r"1\.jpg, the first mask 2\.png"):
            list_pairs(tmp_path / "i", tmp_path / "m", allow_missing=allow_missing)


def test_a_mask_is_stored_without_loss(tmp_path: Path) -> None:
    touch(tmp_path, "i/1.jpg", "i/2.jpg", "m/1.jpg", "m/2.npy")
    with pytest.raises(EmptySourceError, match="m has no masks"):
        list_pairs(tmp_path / "i", tmp_path / "m")


@pytest.mark.parametrize("second", ["i/1.png", "m/1.tif"])
def test_two_of_one_name(tmp_path: Path, second: str) -> None:
    touch(tmp_path, "i/1.jpg", "m/1.png", second)
    with pytest.raises(SourceError, match="which of them is meant"):
        list_pairs(tmp_path / "i", tmp_path / "m")


def test_directories_that_are_not_there(tmp_path: Path) -> None:
    touch(tmp_path, "i/1.jpg")
    for arguments in ((tmp_path / "i", tmp_path / "m"), (tmp_path / "x",)):
        with pytest.raises(SourceNotFoundError, match="does not exist"):
            list_pairs(*arguments)
    with pytest.raises(SourceError, match="expected the directories images and masks"):
        list_pairs(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("cat/1.jpg", "dog/1.jpg"),
        ("images/1.jpg", "labels/1.txt"),  # YOLO
        ("images/train2017/1.jpg", "annotations/instances_train2017.json"),
        ("images/val2017/1.jpg", "annotations/panoptic_val2017/1.png"),
        ("images/1.jpg", "masks/2.png"),
        ("masks/1.png",),
    ],
)
def test_what_are_no_pairs(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert not detect_pairs(touch(tmp_path, *names))


def test_detection_of_what_is_not_there(tmp_path: Path) -> None:
    assert not detect_pairs(tmp_path / "nothing")
    assert not detect_pairs(touch(tmp_path, "file") / "file")
    assert not detect_coco(tmp_path / "nothing")


@settings(max_examples=25)
@given(
    stems=st.sets(st.from_regex(r"[a-c]{1,2}(/[a-c.\-]{1,3})?", fullmatch=True), min_size=1),
    orphans=st.sets(st.from_regex(r"[d-f]{1,3}", fullmatch=True)),
)
def test_each_image_gets_the_mask_of_its_stem(
    tmp_path_factory: pytest.TempPathFactory, stems: set[str], orphans: set[str]
) -> None:
    stems = {stem for stem in stems if stem.split("/")[-1].strip(".")}
    root = touch(tmp_path_factory.mktemp("pairs"), "images/x.jpg", "masks/x.png")
    touch(root, *(f"images/{stem}.jpg" for stem in stems), *(f"masks/{s}.png" for s in stems))
    touch(root, *(f"images/{stem}.jpg" for stem in orphans))
    source = list_pairs(root / "images", root / "masks", allow_missing=True)
    assert pairs(source) == {f"images/{s}.jpg": f"masks/{s}.png" for s in stems | {"x"}}
    assert {name for name, _ in source.findings.rejected} == {f"{s}.jpg" for s in orphans}
