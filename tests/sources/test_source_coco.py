"""COCO-style files as sources: boxes, classes, where the images are, and what can be wrong."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts.source_contract import SourceContract
from helpers.images import write_image
from helpers.writers.coco import CATEGORIES, annotation, document, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastdata.errors import EmptySourceError, SourceError, SourceNotFoundError
from fastdata.sources.base import Source
from fastdata.sources.coco.source import CocoSource, detect_coco, list_coco

QUICK = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])


def listed(root: Path, content: Any) -> CocoSource:
    """The listing of this content; no image has to exist to be listed."""
    return list_coco(written(root, content), root)


class TestContract(SourceContract):
    def write(self, root: Path) -> None:
        written(root, document())
        for i in (5, 7, 9):
            write_image(root / f"val/{i:03d}.jpg", seed=i)

    def listing(self, root: Path) -> Source:
        return list_coco(root)

    def change(self, root: Path) -> None:
        content = document()
        content["annotations"][0]["area"] = 5
        written(root, content)


def test_the_digest_sees_boxes_labels_ids_and_classes(tmp_path: Path) -> None:
    contents = [document() for _ in range(6)]
    contents[1]["annotations"][1]["bbox"][2] = 11
    contents[2]["annotations"][1]["category_id"] = 18
    contents[3]["annotations"][1]["image_id"] = 7
    contents[4]["categories"][0] = {"id": 18, "name": "wolf"}
    contents[5]["images"][2]["id"] = 10
    contents[5]["annotations"] = [
        {**entry, "image_id": 10 if entry["image_id"] == 9 else entry["image_id"]}
        for entry in contents[5]["annotations"]
    ]
    assert len({listed(tmp_path, content).digest() for content in contents}) == len(contents)


def test_images_come_by_id_with_their_annotations(tmp_path: Path) -> None:
    source = listed(tmp_path, document())
    assert {name: str(field) for name, field in source.fields.items()} == {
        "image": "image",
        "boxes": "boxes",
        "labels": "int64[?]",
        "annotations": "json",
        "image_id": "int",
    }
    assert source.classes == ["car", "dog"]
    assert source.category_ids == [3, 18]
    assert list(source.keys) == ["005.jpg", "007.jpg", "009.jpg"]
    first, none, last = source
    assert [item.values["image_id"] for item in (first, none, last)] == [5, 7, 9]
    assert first.values["boxes"].tolist() == [[2, 2.5, 12, 22.75]]
    assert first.values["labels"].tolist() == [0]
    assert last.values["boxes"].tolist() == [[1, 1.5, 11, 21.75], [3, 3.5, 13, 23.75]]
    assert last.values["labels"].tolist() == [1, 0]
    assert last.values["annotations"] == [
        {
            "id": 1,
            "category_id": 18,
            "area": 4.5,
            "iscrowd": 0,
            "segmentation": [[1, 2, 3, 4, 5, 6]],
        },
        {
            "id": 3,
            "category_id": 3,
            "iscrowd": 1,
            "segmentation": {"counts": "abc", "size": [4, 5]},
        },
    ]
    assert none.values["boxes"].shape == (0, 4)
    assert none.values["boxes"].dtype == np.float32
    assert none.values["labels"].shape == (0,)
    assert none.values["labels"].dtype == np.int64
    assert none.values["annotations"] == []


def test_a_part_keeps_the_way_back_to_category_ids(tmp_path: Path) -> None:
    part = pickle.loads(pickle.dumps(listed(tmp_path, document()).part(1, 2)))
    assert part.category_ids == [3, 18]


@QUICK
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 4),
            st.tuples(*[st.floats(-1e4, 1e4, width=32)] * 2, *[st.floats(0, 1e4, width=32)] * 2),
            st.sampled_from([3, 18]),
        ),
        max_size=12,
    )
)
def test_every_annotation_stays_with_its_image(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, tuple[float, ...], int]]
) -> None:
    annotations = [
        {"id": i, "image_id": image, "bbox": list(box), "category_id": category}
        for i, (image, box, category) in enumerate(rows)
    ]
    images = [{"id": i, "file_name": f"{i}.png"} for i in range(5)]
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    for i, item in enumerate(listed(tmp_path_factory.mktemp("coco"), content)):
        own = [row for row in rows if row[0] == i]
        x, y, w, h = np.array([row[1] for row in own], np.float64).reshape(-1, 4).T
        want = np.stack([x, y, x + w, y + h], axis=1).astype(np.float32)
        assert np.array_equal(item.values["boxes"], want)
        assert item.values["labels"].tolist() == [[3, 18].index(row[2]) for row in own]
        assert [a["category_id"] for a in item.values["annotations"]] == [row[2] for row in own]


@pytest.mark.parametrize(
    ("file", "images"),
    [
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_train2017.json", "images/train2017"),
        ("annotations/instances_train2017.json", "images"),
        ("annotations/instances_train2017.json", "."),
        ("annotations/instances_train2017.json", "annotations"),
        ("train/_annotations.coco.json", "train"),
        ("data.json", "images"),
    ],
)
def test_images_are_found_beside_the_file(tmp_path: Path, file: str, images: str) -> None:
    path = written(tmp_path, document(), file)
    write_image(tmp_path / images / "005.jpg")
    blob = list_coco(path).item(0).values["image"]
    assert blob.read() == (tmp_path / images / "005.jpg").read_bytes()


def test_images_that_are_not_found(tmp_path: Path) -> None:
    path = written(tmp_path, document())
    with pytest.raises(SourceNotFoundError, match=r"005\.jpg is in none of .*/val, .*give the dir"):
        list_coco(path)
    with pytest.raises(SourceNotFoundError, match="nowhere does not exist"):
        list_coco(path, tmp_path / "nowhere")


def test_a_folder_with_one_file_or_several(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="no annotations at"):
        list_coco(tmp_path / "nothing")
    with pytest.raises(SourceNotFoundError, match="instances_"):
        list_coco(tmp_path)
    written(tmp_path, document())
    assert len(list_coco(tmp_path, tmp_path)) == 3
    written(tmp_path, document(), "annotations/instances_train.json")
    with pytest.raises(SourceError, match=r"give one of .*instances_train\.json, .*_val\.json"):
        list_coco(tmp_path, tmp_path)


def with_annotation(**changes: Any) -> dict[str, Any]:
    entry = {**annotation(42, 5), **changes}
    return document(annotations=[annotation(1, 7), {k: v for k, v in entry.items() if v != "-"}])


def with_image(**changes: Any) -> dict[str, Any]:
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg", **changes}]
    return document(images=images, annotations=[])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ('{"images": [', "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "expected an object, found a list"),
        ({}, "images is missing"),
        (document(annotations=None), "annotations is null"),
        ({k: v for k, v in document().items() if k != "categories"}, "categories is missing"),
        (document(images=[1]), "image without id, number 1"),
        (document(categories=[{"id": 1}]), "category 1: name must be text, found null"),
        (document(categories=[{"id": 1, "name": "\ud800"}]), "category 1: half of a surrogate"),
        (document(categories=[*CATEGORIES, CATEGORIES[0]]), "category 18: there are two"),
        (with_image(id=1), "image 1: there are two"),
        (with_image(id="2"), "image '2': id must be an integer"),
        (with_image(id=2**63), "image a huge int: id must be an integer"),
        (with_image(file_name=None), "image 2: file_name must be text"),
        (with_image(file_name="a.jpg"), r"images 1 and 2 are the same file 'a\.jpg'"),
        (with_image(file_name="../b.jpg"), "image 2: .*not a path inside"),
        (with_image(file_name="/etc/passwd"), "image 2: .*not a path inside"),
        (with_image(file_name="\ud800"), "image 2: .*surrogate"),
        (with_annotation(bbox="-"), "annotation 42: bbox must be four finite numbers"),
        (with_annotation(bbox=[1, 2, 3]), "annotation 42: bbox must be four finite numbers"),
        (with_annotation(bbox=[1, 2, 3, "4"]), "annotation 42: bbox must be four"),
        (with_annotation(bbox=[1, 2, 3, True]), "annotation 42: bbox must be four"),
        (with_annotation(bbox=[1, 2, 3, float("nan")]), "annotation 42: bbox must be four"),
        (with_annotation(bbox=[1, 2, float("inf"), 4]), "annotation 42: bbox must be four"),
        (with_annotation(bbox=[10**400, 2, 3, 4]), "annotation 42: bbox must be four"),
        (with_annotation(bbox=[3e38, 2, 3e38, 4]), "annotation 42: bbox must be four"),
        (with_annotation(bbox=[1, 2, -3, 4]), "annotation 42: bbox has a negative width"),
        (with_annotation(image_id=6), "annotation 42: its image_id 6 is not in the file"),
        (with_annotation(image_id="-"), "annotation 42: image_id must be an integer"),
        (with_annotation(category_id=1), "annotation 42: its category_id 1 is not in the file"),
        (with_annotation(category_id="-"), "annotation 42: category_id must be an integer"),
        (with_annotation(id="-", bbox=0), "annotation without id, number 2 of the list"),
        (with_annotation(area=float("nan")), "image 5, annotation 42: NaN and infinity"),
        (with_annotation(note="\ud800"), "image 5, annotation 42: .*surrogate"),
        (document(annotations=["x"]), "annotation without id, number 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_id(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(SourceError, match=rf"instances_val\.json: .*{message}"):
        listed(tmp_path, content)


def test_no_images_is_an_empty_source(tmp_path: Path) -> None:
    with pytest.raises(EmptySourceError):
        listed(tmp_path, document(images=[], annotations=[]))


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"images": "\xff"}')
    with pytest.raises(SourceError, match=r"a\.json: not a UTF-8 file"):
        list_coco(tmp_path / "a.json")


VALUES = st.recursive(
    st.none() | st.integers(-2, 20) | st.text(max_size=3) | st.sampled_from(["005.jpg", [1] * 4]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "image_id", "category_id", "bbox", "file_name", "name"]), inner
        )
    ),
    max_leaves=10,
)


@QUICK
@given(
    changes=st.dictionaries(st.sampled_from(["images", "annotations", "categories"]), VALUES),
    cut=st.integers(0, 900),
)
def test_whatever_is_in_the_file_gives_samples_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any], cut: int
) -> None:
    root = tmp_path_factory.mktemp("coco")
    text = json.dumps(document(**changes))
    for content in (text, text[:cut]):
        message = ""
        try:
            assert len(list(listed(root, content))) > 0
        except SourceError as error:
            message = str(error)
        assert message == "" or "instances_val.json" in message


# Detection.


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(document()),
        json.dumps(document(), indent=2),
        '\ufeff{"annotations":[' + "{" * 10,
        '{"info": {"a": "\\"}]"}, "images" : [{"id": 1,' + " " * 100_000,
    ],
)
def test_a_file_is_detected_by_its_outermost_keys(tmp_path: Path, text: str) -> None:
    assert detect_coco(written(tmp_path, text, "a.json"))
    assert not detect_coco(written(tmp_path, text, "a.jsonl"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '[{"images": []}]',
        '{"info": {"images": []}, "x": [{"annotations": []}]}',
        '{"images": {}, "annotations": "["}',
        '{"a": "images", "b": []}',
        '{"a": "\\"images\\": ["}',
        '{"path": "a.jpg", "target": 0}\n{"path": "b.jpg", "target": 0}',
        '{"x": "' + '\\"' * 40_000,
        '{"x": ' + '"a' * 40_000,
        '{"x": [' + "[" * 70_000,
        '{"pad": "' + "x" * 70_000 + '", "images": []}',
    ],
)
def test_what_is_no_coco_file(tmp_path: Path, text: str) -> None:
    assert not detect_coco(written(tmp_path, text, "a.json"))


def test_a_folder_is_detected_by_its_file(tmp_path: Path) -> None:
    assert not detect_coco(tmp_path)
    written(tmp_path, document(), "annotations/captions_val.json")
    assert not detect_coco(tmp_path)
    written(tmp_path, document())
    assert detect_coco(tmp_path)
    written(tmp_path, document(), "train/_annotations.coco.json")
    assert detect_coco(tmp_path / "train")
