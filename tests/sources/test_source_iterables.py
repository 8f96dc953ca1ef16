"""Packing whatever Python can iterate or index: datasets, lists, generators."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts.source_contract import SamplesContract, parts_of
from helpers.images import contents, encoded, picture, write_image, write_tree
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

import fastdata
from fastdata.errors import (
    EmptySourceError,
    OptionError,
    PackExistsError,
    PackingError,
    SourceError,
    SourceNotFoundError,
)
from fastdata.sources import Item, Samples, samples_of
from fastdata.store import PackReader


def pack(samples: Any, path: Path, **options: Any) -> fastdata.PackReport:
    return fastdata.pack(samples, path, **{"workers": 1, "quiet": True, **options})


def fields(path: Path) -> dict[str, str]:
    return PackReader(path).manifest.fields


def values(path: Path) -> list[dict[str, Any]]:
    """All samples of a pack, with their keys; arrays as lists."""
    dataset = fastdata.PackedDataset(path)
    names = [*dataset.fields, "key"]
    samples = fastdata.PackedDataset(path, fields=names, verify="always")
    return [
        {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in samples[i].items()}
        for i in range(len(samples))
    ]


def image(number: int, suffix: str = ".png") -> bytes:
    return encoded(picture(8 + number % 5, 12, number), suffix)


class StreamContract(SamplesContract):
    """What is read from files, to be changed; each line has a target."""

    def write(self, root: Path) -> None:
        (root / "targets").write_text("0 2 1 -1 2")

    def change(self, root: Path) -> None:
        (root / "targets").write_text("0 2 1 1 2")

    def lines(self, root: Path) -> list[Any]:
        targets = (root / "targets").read_text().split()
        return [(image(i), int(target)) for i, target in enumerate(targets)]

    file_types = (bytes,)

    def test_nothing_is_listed(self, made: Path) -> None:
        samples = self.listing(made)
        assert samples.listing is None
        assert not samples.sizes.any()
        assert samples.roots == []


class TestSequenceContract(StreamContract):
    """What can be indexed has nothing but its length to tell before it is fetched."""

    def listing(self, root: Path) -> Samples:
        return samples_of(self.lines(root), classes=["a", "b", "c"])

    def test_other_lengths_are_other_samples(self, made: Path) -> None:
        assert self.listing(made).length == 5
        assert not self.listing(made).has_parts(parts_of(self.listing(made), 2, 2))

    def test_names_are_numbers(self, made: Path) -> None:
        samples = self.listing(made)
        keys = [task().key for task in samples.tasks()]
        assert keys == ["00000000", "00000001", "00000002", "00000003", "00000004"]
        assert samples.key_bytes == sum(map(len, keys))


class TestIteratorContract(StreamContract):
    """What can be read once is fetched in order to be known again."""

    def listing(self, root: Path) -> Samples:
        rows = (
            {"key": f"k{i}", "image": row[0], "target": row[1], "points": np.ones((i, 2))}
            for i, row in enumerate(self.lines(root))
        )
        kinds = {"image": "image", "target": "int", "points": "float64[?,2]"}
        return samples_of(rows, kinds, ["a", "b", "c"])

    def test_changed_samples_are_others(self, made: Path) -> None:
        parts = parts_of(self.listing(made), 2, 3)
        assert self.listing(made).length is None
        self.change(made)
        assert not self.listing(made).has_parts(parts)


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    (tmp_path / "packs").mkdir()
    return tmp_path / "packs" / "the.pack"


class Numbered(Dataset[Any]):
    """Sample i is made by a function of i."""

    def __init__(self, count: int, make: Callable[[int], Any]) -> None:
        self.count, self.make = count, make

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.make(index)


class OneAfterTheOther(IterableDataset[Any]):
    """Has a length, and a __getitem__ that it inherits and that only raises."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.samples)


class Folder(Dataset[Any]):
    """What torchvision's DatasetFolder has."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.classes = sorted(os.listdir(root))
        self.samples = [
            (str(path), i)
            for i, name in enumerate(self.classes)
            for path in sorted((root / name).iterdir())
        ]
        self.loader = Image.open

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        path, target = self.samples[index]
        return self.loader(path).convert("RGB"), target


class TestForms:
    def test_dicts(self, dst: Path) -> None:
        samples = [{"image": image(i), "target": i, "text": f"t{i}"} for i in range(5)]
        report = pack(samples, dst)
        assert (report.images, report.rejected, report.classes) == (5, 0, 0)
        assert fields(dst) == {"image": "image", "target": "int", "text": "str"}
        assert [(v["target"], v["text"]) for v in values(dst)] == [(i, f"t{i}") for i in range(5)]
        reader = PackReader(dst)
        assert [bytes(reader.read_field(i, "image")) for i in range(5)] == [
            image(i) for i in range(5)
        ]

    def test_pairs_are_image_and_target(self, dst: Path) -> None:
        pack([(image(i), i) for i in range(3)], dst)
        assert fields(dst) == {"image": "image", "target": "int"}
        assert PackReader(dst).targets.tolist() == [0, 1, 2]

    @pytest.mark.parametrize("target", [np.int64(2), torch.tensor(2), np.array(2), 2])
    def test_targets_of_any_integer_type(self, dst: Path, target: Any) -> None:
        pack([(image(0), target)], dst, classes=["a", "b", "c"])
        assert PackReader(dst).targets.tolist() == [2]

    @pytest.mark.parametrize(
        "form", [lambda i: image(i), lambda i: (image(i),), lambda i: [image(i)]]
    )
    def test_images_alone(self, dst: Path, form: Callable[[int], Any]) -> None:
        pack([form(i) for i in range(3)], dst)
        assert fields(dst) == {"image": "image"}
        assert PackReader(dst).targets.tolist() == [-1] * 3

    def test_tuples_in_the_order_of_the_fields(self, dst: Path) -> None:
        named = {"text": "str", "target": "int", "image": "image"}
        pack([(f"t{i}", i, image(i)) for i in range(3)], dst, fields=named)
        assert list(fields(dst)) == ["image", "text", "target"]
        assert [(v["text"], v["target"]) for v in values(dst)] == [("t0", 0), ("t1", 1), ("t2", 2)]

    def test_items_of_a_source(self, dst: Path) -> None:
        pack([Item(f"k{i}", {"image": image(i), "target": i}) for i in range(3)], dst)
        assert [v["key"] for v in values(dst)] == ["k0", "k1", "k2"]

    @pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1"])
    def test_pillow_images(self, dst: Path, mode: str) -> None:
        pictures = [Image.fromarray(picture(9, 12, i)).convert(mode) for i in range(3)]
        pack([(one, i) for i, one in enumerate(pictures)], dst)
        dataset = fastdata.PackedImageFolder(dst)
        for i, one in enumerate(pictures):
            np.testing.assert_array_equal(dataset[i][0], np.asarray(one.convert("RGB")))

    def test_tensors_arrays_and_paths(self, dst: Path, tmp_path: Path) -> None:
        path = write_image(tmp_path / "a.png", 9, 12)
        pixels = picture(9, 12)
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)
        pack([(form, 0) for form in (tensor, pixels, path, str(path))], dst)
        dataset = fastdata.PackedImageFolder(dst)
        for i in range(4):
            np.testing.assert_array_equal(dataset[i][0], pixels)

    def test_what_a_packed_dataset_gives_can_be_packed_again(self, dst: Path) -> None:
        mask = np.arange(8 * 12, dtype=np.uint16).reshape(8, 12)
        named = {"image": "image", "mask": "mask", "boxes": "boxes", "e": "float32[2]"}
        sample = {"image": picture(8, 12), "mask": mask, "boxes": [[0, 1, 2, 3]], "e": [1, 2]}
        pack([sample], dst, fields=named)
        again = dst.with_name("again.pack")
        report = pack(fastdata.PackedDataset(dst), again, fields=named)
        assert report.rejections == []
        assert values(again) == values(dst)


class TestWhatIsIterated:
    def test_a_dataset_a_list_and_a_generator_give_one_pack(self, tmp_path: Path) -> None:
        samples = [{"image": image(i), "target": i, "key": f"k{i}"} for i in range(7)]
        sources: dict[str, Any] = {
            "list": samples,
            "tuple": tuple(samples),
            "dataset": Numbered(7, samples.__getitem__),
            "generator": (sample for sample in samples),
            "iterable": OneAfterTheOther(samples),
            "map": map(dict, samples),
        }
        for name, source in sources.items():
            pack(source, tmp_path / name, shard_size=700)
        packs = [contents(tmp_path / name) for name in sources]
        assert len([name for name in packs[0] if name.startswith("shard")]) > 2
        assert packs[1:] == packs[:1] * 5

    @pytest.mark.parametrize("workers", [1, 4])
    def test_workers_leave_no_trace(self, tmp_path: Path, workers: int) -> None:
        for name, count in (("a", 3), ("b", workers)):
            source = Numbered(9, lambda i: (image(i), i))
            pack(source, tmp_path / name, workers=count, shard_size=900)
        assert contents(tmp_path / "a") == contents(tmp_path / "b")

    @pytest.mark.parametrize(
        "samples", [[], (), iter([]), Numbered(0, image), OneAfterTheOther([])]
    )
    def test_none_at_all(self, dst: Path, samples: Any) -> None:
        with pytest.raises(EmptySourceError, match="there are no samples"):
            pack(samples, dst)
        assert os.listdir(dst.parent) == []

    def test_a_path_that_leads_nowhere(self, dst: Path) -> None:
        with pytest.raises(SourceNotFoundError, match="no source of images: photos does not exist"):
            pack("photos", dst)
        with pytest.raises(OptionError, match="the classes of photos are found out"):
            pack("photos", dst, classes=["a"])

    @pytest.mark.parametrize("samples", [5, None, {"image": b""}, print, b"photos"])
    def test_what_is_not_samples_either(self, dst: Path, samples: Any) -> None:
        with pytest.raises(OptionError, match=f"found {type(samples).__name__}"):
            pack(samples, dst)

    def test_an_executor_needs_a_listing(self, dst: Path) -> None:
        with (
            ThreadPoolExecutor(1) as pool,
            pytest.raises(OptionError, match="an executor needs samples that can be listed"),
        ):
            pack([image(0)], dst, executor=pool)


class TestInference:
    @pytest.mark.parametrize(
        ("name", "value", "kind"),
        [
            ("image", image(0), "image"),
            ("thumb", image(0, ".jpg"), "image"),
            ("left", Image.fromarray(picture(8, 12)), "image"),
            ("lq", picture(8, 12), "image"),
            ("jpg", "a.jpg", "image"),
            ("mask", np.zeros((8, 12), np.uint8), "mask"),
            ("segmentation", Image.new("L", (12, 8)), "mask"),
            ("boxes", [[0, 0, 1, 1]], "boxes"),
            ("n", 5, "int"),
            ("n", True, "int"),
            ("n", np.int32(5), "int"),
            ("f", 0.5, "float"),
            ("f", np.float32(0.5), "float"),
            ("s", "text", "str"),
            ("b", b"no image", "bytes"),
            ("a", np.zeros((2, 3), np.float32), "float32[2,3]"),
            ("a", torch.zeros(4, dtype=torch.int64), "int64[4]"),
            ("j", None, "json"),
            ("j", [1, 2], "json"),
            ("j", {"a": 1}, "json"),
            ("target", 3, "int"),
        ],
    )
    def test_from_types_and_names(self, dst: Path, name: str, value: Any, kind: str) -> None:
        sample = {"img": image(0), name: value}
        if kind == "image" and isinstance(value, str):
            sample = {"img": image(0), name: write_image(dst.parent / value, 8, 12)}
        assert pack([sample], dst).rejections == []
        assert fields(dst)[name] == kind

    def test_a_key_is_no_field(self, dst: Path) -> None:
        pack([{"key": "a", "image": image(0)}], dst)
        assert fields(dst) == {"image": "image"}

    @pytest.mark.parametrize(
        "sample",
        [
            (image(0), np.zeros((8, 12), np.uint8)),
            (image(0), Image.new("L", (12, 8))),
            (image(0), None),
            (image(0), 0.5),
            (image(0), 1, 2),
            (),
        ],
    )
    def test_tuples_of_unknown_meaning(self, dst: Path, sample: Any) -> None:
        with pytest.raises(OptionError, match=rf"tuples of {len(sample)}; say what they are"):
            pack([sample], dst)

    @pytest.mark.parametrize("sample", [{"text": "a"}, {"x": b"no image"}, {}])
    def test_nothing_like_an_image(self, dst: Path, sample: Any) -> None:
        with pytest.raises(OptionError, match="must be a field of kind image"):
            pack([sample], dst)

    def test_a_name_that_no_field_may_have(self, dst: Path) -> None:
        with pytest.raises(OptionError, match="a field's name"):
            pack([{"image": image(0), "a b": 1}], dst)

    def test_given_fields_are_the_ones_taken(self, dst: Path) -> None:
        sample = {"image": image(0), "a": 1, "b": "x"}
        pack([sample], dst, fields={"image": "image", "a": "float"})
        assert values(dst)[0].keys() == {"image", "a", "key"}
        assert values(dst)[0]["a"] == 1.0


class TestClasses:
    def test_targets_by_name(self, dst: Path) -> None:
        samples = [(image(i), name) for i, name in enumerate(["dog", "cat", "dog"])]
        report = pack(samples, dst, classes=["cat", "dog", "eel"])
        dataset = fastdata.PackedImageFolder(dst)
        assert report.classes == 3
        assert dataset.classes == ["cat", "dog", "eel"]
        assert dataset.targets.tolist() == [1, 0, 1]

    def test_a_datasets_own_classes(self, dst: Path) -> None:
        source = Numbered(3, lambda i: {"image": image(i), "target": "ab"[i % 2]})
        source.classes = ["b", "a"]  # type: ignore[attr-defined]
        pack(source, dst)
        assert fastdata.PackedImageFolder(dst).classes == ["b", "a"]
        assert PackReader(dst).targets.tolist() == [1, 0, 1]

    def test_names_that_nobody_knows(self, dst: Path) -> None:
        for options, known in (({}, 0), ({"classes": ["cat"]}, 1)):
            message = f"sample 0: target 'dog' is not one of {known} classes; give their names"
            with pytest.raises(SourceError, match=message):
                pack([(image(0), "dog")], dst, **options)
        assert os.listdir(dst.parent) == []

    def test_a_number_beyond_the_classes(self, dst: Path) -> None:
        with pytest.raises(SourceError, match="sample 1: target 2, but there are 2 classes"):
            pack([(image(0), 1), (image(1), 2)], dst, classes=["a", "b"])

    def test_no_class_is_minus_one(self, dst: Path) -> None:
        pack([(image(0), 1), (image(1), -1)], dst, classes=["a", "b"])
        assert PackReader(dst).targets.tolist() == [1, -1]
        assert fastdata.verify_pack(dst, quiet=True).problems == []


class TestKeys:
    def test_they_are_numbers_if_none_are_given(self, dst: Path) -> None:
        pack([image(i) for i in range(3)], dst)
        assert [v["key"] for v in values(dst)] == ["00000000", "00000001", "00000002"]

    def test_they_may_be_anything_that_is_text(self, dst: Path) -> None:
        given = ["a/b.jpg", "é\n🎈", "", 7, None]
        pack([{"key": key, "image": image(i)} for i, key in enumerate(given)], dst)
        assert [v["key"] for v in values(dst)] == ["a/b.jpg", "é\n🎈", "", "7", "00000004"]

    def test_one_that_is_not_unicode_is_left_out(self, dst: Path) -> None:
        report = pack([{"key": key, "image": image(0)} for key in ("a", "\udcff")], dst)
        assert (report.images, report.rejected) == (1, 1)
        assert "not valid Unicode" in report.rejections[0][1]
        assert r"rejected \udcff" in str(report).encode("ascii", "backslashreplace").decode()
        assert (dst / "rejected.jsonl").read_text("utf-8").count("\n") == 1


class TestBadSamples:
    def test_they_are_left_out_with_their_names(self, dst: Path) -> None:
        samples = [{"image": image(i), "n": i} for i in range(4)]
        samples[1]["n"] = "text"
        samples[2]["image"] = b"no image"
        report = pack(samples, dst)
        assert [v["n"] for v in values(dst)] == [0, 3]
        assert [key for key, _ in report.rejections] == ["00000001", "00000002"]
        assert report.rejections[0][1] == "field 'n': expected an integer, found str 'text'"
        assert report.rejections[1][1].startswith("field 'image': ")

    def test_or_they_stop_it(self, dst: Path) -> None:
        with pytest.raises(PackingError, match=r"00000001: expected an encoded image"):
            pack([image(0), b"no image"], dst, on_error="fail")
        assert os.listdir(dst.parent) == []

    def test_all_of_them(self, dst: Path) -> None:
        with pytest.raises(PackingError, match="none of 3 images is usable: 00000000: "):
            pack([b"no image"] * 3, dst, fields={"image": "image"})
        assert os.listdir(dst.parent) == []

    @pytest.mark.parametrize(
        ("sample", "message"),
        [
            ({"image": b""}, "expected a field 'n'"),
            ((1, 2, 3), r"sample 1: expected 2 values \(image, n\), found 3"),
            (image(0), r"sample 1: expected 2 values \(image, n\), found 1"),
        ],
    )
    def test_other_fields_than_the_first_sample_are_a_mistake(
        self, dst: Path, sample: Any, message: str
    ) -> None:
        with pytest.raises(SourceError, match=message):
            pack([{"image": image(0), "n": 1}, sample], dst)


class Stop(Exception):
    """What the user's code raises."""


def broken(samples: list[Any], at: int, error: Exception) -> Iterator[Any]:
    yield from samples[:at]
    raise error


def failing(samples: list[Any], at: int, error: Exception) -> Dataset[Any]:
    def make(index: int) -> Any:
        if index == at:
            raise error
        return samples[index]

    return Numbered(len(samples), make)


SOURCES: list[Callable[..., Any]] = [broken, failing]


@pytest.mark.parametrize("source", SOURCES)
class TestStopped:
    SIZE = 2000

    def samples(self) -> list[Any]:
        return [{"image": image(i), "target": i} for i in range(30)]

    def whole(self, dst: Path) -> dict[str, bytes]:
        pack(self.samples(), dst.with_name("whole"), shard_size=self.SIZE)
        return contents(dst.with_name("whole"))

    def test_the_error_arrives_as_it_is_and_the_same_samples_go_on(
        self, dst: Path, source: Any
    ) -> None:
        with pytest.raises(Stop, match="in the middle"):
            pack(source(self.samples(), 24, Stop("in the middle")), dst, shard_size=self.SIZE)
        assert not dst.exists()
        partial = dst.with_name("the.pack.partial")
        done = len(list((partial / "parts").iterdir()))
        assert done > 0
        again = self.samples() if source is failing else iter(self.samples())
        report = pack(again, dst, shard_size=self.SIZE)
        assert report.resumed == done
        assert contents(dst) == self.whole(dst)
        assert not partial.exists()

    def test_an_os_error_is_not_taken_for_a_full_disk(self, dst: Path, source: Any) -> None:
        error = FileNotFoundError(2, "No such file or directory", "gone.jpg")
        with pytest.raises(
            SourceError, match=r"sample 24 cannot be fetched: .*gone\.jpg"
        ) as caught:
            pack(source(self.samples(), 24, error), dst, shard_size=self.SIZE)
        assert caught.value.__cause__ is error
        assert contents(dst.with_name("the.pack.partial")) != {}

    def test_nothing_is_left_where_no_shard_is_complete(self, dst: Path, source: Any) -> None:
        with pytest.raises(Stop):
            pack(source(self.samples(), 24, Stop()), dst)
        assert os.listdir(dst.parent) == []

    def test_the_first_sample_fails(self, dst: Path, source: Any) -> None:
        with pytest.raises(Stop):
            pack(source(self.samples(), 0, Stop()), dst)
        assert os.listdir(dst.parent) == []

    def test_other_settings_are_refused(self, dst: Path, source: Any) -> None:
        with pytest.raises(Stop):
            pack(source(self.samples(), 24, Stop()), dst, shard_size=self.SIZE)
        for options, told in (
            ({"encoding": "png"}, "encoding was"),
            ({"shard_size": 800}, "shard_size was 2000 and is 800"),
            ({"fields": {"image": "image"}}, "fields was"),
            ({"classes": [str(i) for i in range(30)]}, "classes was 0 and is 30"),
        ):
            with pytest.raises(PackExistsError, match=f"unfinished pack that differs: .*{told}"):
                pack(self.samples(), dst, **{"shard_size": self.SIZE, **options})
        restarted = pack(self.samples(), dst, shard_size=self.SIZE, restart=True)
        assert restarted.resumed == 0
        assert contents(dst) == self.whole(dst)


class TestResumedStreams:
    """An iterable's samples are compared with those that were packed before."""

    def stopped(self, samples: list[Any], dst: Path, **options: Any) -> None:
        with pytest.raises(Stop):
            pack(broken(samples, 24, Stop()), dst, shard_size=2000, **options)
        assert list(dst.with_name("the.pack.partial").glob("parts/*"))

    @pytest.mark.parametrize("at", [0, 1])
    @pytest.mark.parametrize(
        "other",
        [
            {"image": image(99)},
            {"target": 99},
            {"text": "other"},
            {"more": {"a": [1, {"b": 3}]}},
            {"array": np.zeros(3)},
            {"key": "other"},
        ],
    )
    def test_other_samples_are_refused(self, dst: Path, other: Any, at: int) -> None:
        samples = [
            {
                "image": image(i), "target": i, "text": "t", "more": {"a": [1, {"b": 2}]},
                "array": np.ones(3), "key": f"k{i}",
            }
            for i in range(30)
        ]  # fmt: skip
        self.stopped(samples, dst)
        samples[at] = {**samples[at], **other}
        with pytest.raises(SourceError, match=r"samples of shard 0 .* not those that were packed"):
            pack(iter(samples), dst, shard_size=2000)

    def test_fewer_samples_are_refused(self, dst: Path) -> None:
        samples = [image(i) for i in range(30)]
        self.stopped(samples, dst)
        with pytest.raises(SourceError, match="not those that were packed before"):
            pack(iter(samples[:3]), dst, shard_size=2000)

    @pytest.mark.parametrize(
        "form",
        [
            lambda i: Image.fromarray(picture(9, 12, i)),
            lambda i: torch.from_numpy(picture(9, 12, i)).permute(2, 0, 1),
            lambda i: picture(9, 12, i),
            lambda i: {"image": image(i), "points": [np.float64(0.5), (1, 2)][1]},
        ],
    )
    def test_equal_samples_are_known_again_whatever_they_are(self, dst: Path, form: Any) -> None:
        self.stopped([form(i) for i in range(30)], dst)
        report = pack((form(i) for i in range(30)), dst, shard_size=2000)
        assert report.resumed > 0
        pack([form(i) for i in range(30)], dst.with_name("whole"), shard_size=2000)
        assert contents(dst) == contents(dst.with_name("whole"))

    def test_another_image_of_pillow_is_refused(self, dst: Path) -> None:
        self.stopped([Image.fromarray(picture(9, 12, i)) for i in range(30)], dst)
        others = (Image.fromarray(picture(9, 12, i + 1)) for i in range(30))
        with pytest.raises(SourceError, match="not those that were packed before"):
            pack(others, dst, shard_size=2000)


class TestFolders:
    """A dataset that is made of files is packed as those files."""

    @pytest.fixture
    def src(self, tmp_path: Path) -> Path:
        return write_tree(tmp_path / "src", formats=(".jpg", ".png"))

    def test_the_files_themselves_are_stored(self, src: Path, dst: Path, tmp_path: Path) -> None:
        pack(Folder(src), dst, encoding="keep")
        reader = PackReader(dst)
        assert {k: bytes(reader.read(i)) for i, k in enumerate(reader.keys)} == contents(src)
        fastdata.pack_image_folder(src, tmp_path / "other", encoding="keep", quiet=True)
        other = fastdata.PackedImageFolder(tmp_path / "other")
        found = fastdata.PackedImageFolder(dst)
        assert list(found.samples) == list(other.samples)
        assert found.classes == other.classes

    def test_in_the_datasets_own_order(self, src: Path, dst: Path) -> None:
        folder = Folder(src)
        folder.samples = folder.samples[::-2]
        pack(folder, dst)
        expected = [(Path(p).relative_to(src).as_posix(), t) for p, t in folder.samples]
        assert list(fastdata.PackedImageFolder(dst).samples) == expected

    def test_an_executor_may_pack_them(self, src: Path, dst: Path) -> None:
        with ThreadPoolExecutor(2) as pool:
            pack(Folder(src), dst, executor=pool, shard_size=9000)
        assert len(PackReader(dst)) == 12

    def test_fields_of_its_own_make_it_a_stream(self, src: Path, dst: Path) -> None:
        class Rich(Folder):
            def __getitem__(self, index: int) -> Any:
                return {"image": self.samples[index][0], "n": index}

        pack(Rich(src), dst, fields={"image": "image", "n": "int"})
        assert [v["n"] for v in values(dst)] == list(range(12))

    def test_a_file_that_is_gone(self, src: Path, dst: Path) -> None:
        folder = Folder(src)
        Path(folder.samples[3][0]).unlink()
        report = pack(folder, dst)
        key = Path(folder.samples[3][0]).relative_to(src).as_posix()
        assert report.rejections == [(key, "cannot be read: no such file")]


def test_a_generator_is_read_once_and_not_ahead_of_time(dst: Path) -> None:
    seen: list[int] = []

    def generator() -> Iterator[Any]:
        for i in range(2000):
            seen.append(i)
            yield b"no image" if i == 3 else image(i)

    with pytest.raises(PackingError, match="00000003"):
        pack(generator(), dst, workers=1, on_error="fail")
    assert seen == list(range(len(seen)))
    assert len(seen) < 200


def test_the_report_counts_what_came(dst: Path) -> None:
    report = pack([image(i) for i in range(5)], dst)
    assert re.match(rf"{dst}: 5 images in 0 classes, 0 rejected", str(report))
    assert report.bytes_in == sum(len(image(i)) for i in range(5))
