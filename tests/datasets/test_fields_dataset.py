"""PackedDataset: every kind of field, one geometry for all, in every kind of loader."""

from __future__ import annotations

import pickle
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import contents, encoded
from helpers.jpegs import by_pillow
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Subset

import fastdata
from fastdata import DataLoaderX, PackedDataset, PackedImageFolder
from fastdata import transforms as T
from fastdata.datasets.batch import FieldBatch
from fastdata.errors import OptionError, PackNotFoundError, SampleError
from fastdata.images.boxes import visible
from fastdata.store import PackReader

COUNT, HEIGHT, WIDTH = 11, 60, 90
BOX = (20, 10, 70, 45)  # left, top, right, bottom of the labelled rectangle
FIELDS = {
    "image": "image", "target": "int", "where": "mask", "seg": "mask", "twin": "image",
    "boxes": "boxes", "n": "int", "f": "float", "s": "str", "j": "json", "b": "bytes",
    "fixed": "float32[2,3]", "wide": "uint16[2]", "flag": "bool[]", "points": "int64[?,2]",
}  # fmt: skip


def places() -> NDArray[np.uint8]:
    """An image whose pixels say where they are: red the row, green the column."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([y, x, y * 0], axis=2).astype(np.uint8)


def sample(i: int) -> dict[str, Any]:
    image = places()
    image[:, :, 2] = i
    seg = np.zeros((HEIGHT, WIDTH), np.uint8)
    seg[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 9
    return {
        "key": f"k{i}", "image": image, "target": i % 3, "seg": seg, "twin": 255 - image,
        "where": image[:, :, 0].astype(np.uint16) * 256 + image[:, :, 1],
        "boxes": [BOX] * (i % 3), "n": i - 5, "f": i / 4, "s": f"é{i}", "j": {"i": [i, None]},
        "b": bytes([i]) * i, "fixed": np.full((2, 3), i, np.float32), "wide": [65535, i],
        "flag": i % 2 == 0, "points": np.full((i % 4, 2), i),
    }  # fmt: skip


@pytest.fixture(scope="module", params=["lmdb", "hdf5"])
def pack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fields") / "pack"
    fastdata.pack(
        [sample(i) for i in range(COUNT)], path, fields=FIELDS, classes=["a", "b", "c"],
        encoding="png", storage=request.param, shard_size="15kB", quiet=True,
    )  # fmt: skip
    assert len(PackReader(path).manifest.shards) > 1
    return path


def crops(size: int = 32) -> T.Compose:
    return T.Compose([T.RandomResizedCrop(size, scale=(0.2, 1)), T.RandomHorizontalFlip()])


def exact() -> T.Compose:
    """Crops and flips that mix no pixels."""
    return T.Compose([T.RandomCrop((32, 40)), T.RandomHorizontalFlip(), T.RandomVerticalFlip()])


def equal(a: Any, b: Any) -> bool:
    """Whether two samples or batches are the same in every bit and type."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and bool(np.array_equal(a, b))
    return type(a) is type(b) and bool(a == b)


class TestSamples:
    def test_values_without_a_transform(self, pack: Path) -> None:
        dataset = PackedDataset(pack)
        assert len(dataset) == COUNT
        assert {name: str(kind) for name, kind in dataset.fields.items()} == FIELDS
        for i in range(COUNT):
            found, given = dataset[i], sample(i)
            assert list(found) == list(FIELDS)
            for name, kind in FIELDS.items():
                value, want = found[name], given[name]
                dtype = {"image": "uint8", "boxes": "float32", "where": "uint16", "seg": "uint8"}
                dtype |= {"twin": "uint8"}
                if name in dtype or "[" in kind:
                    assert isinstance(value, np.ndarray), name
                    assert value.dtype == dtype.get(name, kind.partition("[")[0])
                    want = np.array(want, value.dtype).reshape(value.shape)
                    np.testing.assert_array_equal(value, want)
                else:
                    assert type(value) is type(want)
                    assert value == want
            assert found["boxes"].shape == (i % 3, 4)
            assert found["points"].shape == (i % 4, 2)
            assert found["flag"].shape == ()

    def test_types_with_a_geometric_transform(self, pack: Path) -> None:
        found = PackedDataset(pack, T.CenterCrop(16))[2]
        shapes = {
            "image": ((3, 16, 16), torch.uint8), "twin": ((3, 16, 16), torch.uint8),
            "seg": ((16, 16), torch.uint8), "where": ((16, 16), torch.int32),
            "boxes": ((2, 4), torch.float32), "fixed": ((2, 3), torch.float32),
            "wide": ((2,), torch.int32), "flag": ((), torch.bool), "points": ((2, 2), torch.int64),
        }  # fmt: skip
        for name, (shape, dtype) in shapes.items():
            assert isinstance(found[name], torch.Tensor)
            assert (tuple(found[name].shape), found[name].dtype) == (shape, dtype), name
        assert found["wide"].tolist() == [65535, 2]
        assert (found["n"], found["f"], found["s"], found["b"]) == (-3, 0.5, "é2", b"\2\2")

    def test_indexing(self, pack: Path) -> None:
        dataset = PackedDataset(pack)
        assert equal(dataset[-1], dataset[COUNT - 1])
        assert equal(dataset[np.int64(3)], dataset[3])
        for wrong in (COUNT, -COUNT - 1):
            with pytest.raises(IndexError):
                dataset[wrong]
            with pytest.raises(IndexError):
                dataset.__getitems__([0, wrong])

    @pytest.mark.parametrize("transform", [None, T.Resize((60, 90))])
    def test_values_are_the_callers_own(self, pack: Path, transform: Any) -> None:
        dataset = PackedDataset(pack, transform)
        found, again = dataset[5], dataset[5]
        for value in found.values():
            if isinstance(value, (np.ndarray, torch.Tensor)):
                value[...] = 0
        assert equal(dataset[5], again)

    def test_what_image_folders_have(self, pack: Path) -> None:
        dataset = PackedDataset(pack, crops(), seed=3)
        assert dataset.classes == ["a", "b", "c"]
        assert dataset.class_to_idx == {"a": 0, "b": 1, "c": 2}
        assert dataset.targets.tolist() == [i % 3 for i in range(COUNT)]
        assert dataset.samples[4] == ("k4", 1)
        assert re.fullmatch(
            rf"PackedDataset\('{pack}', {COUNT} samples, 3 classes, transform=.*\)", repr(dataset)
        )

    def test_no_pack(self, tmp_path: Path) -> None:
        with pytest.raises(PackNotFoundError):
            PackedDataset(tmp_path)


class TestSelection:
    def test_only_what_is_named_in_that_order(self, pack: Path) -> None:
        dataset = PackedDataset(pack, fields=["s", "key", "image", "index"])
        assert list(dataset[4]) == ["s", "key", "image", "index"]
        assert (dataset[4]["s"], dataset[4]["key"], dataset[4]["index"]) == ("é4", "k4", 4)
        assert list(dataset.fields) == ["s", "image"]
        assert dataset[-1]["index"] == COUNT - 1

    def test_without_the_image_boxes_still_follow_the_crop(self, pack: Path) -> None:
        whole = PackedDataset(pack, crops(), seed=3)
        part = PackedDataset(pack, crops(), seed=3, fields=["boxes", "where"])
        for i in range(COUNT):
            assert equal(part[i]["boxes"], whole[i]["boxes"])
            assert equal(part[i]["where"], whole[i]["where"])

    @pytest.mark.parametrize("transform", [None, T.CenterCrop(16)])
    def test_batches_of_numbers_alone(self, pack: Path, transform: Any) -> None:
        dataset = PackedDataset(pack, transform, fields=["n", "index", "key"])
        (batch,) = DataLoaderX(dataset, COUNT)
        assert batch["n"].tolist() == [i - 5 for i in range(COUNT)]
        assert batch["index"].tolist() == list(range(COUNT))
        assert batch["key"] == [f"k{i}" for i in range(COUNT)]

    @pytest.mark.parametrize("name", ["nope", "keys", "Image", ""])
    def test_a_field_that_is_not_there(self, pack: Path, name: str) -> None:
        with pytest.raises(OptionError, match=f"has no field {name!r}, but image, target, where"):
            PackedDataset(pack, fields=["image", name])

    def test_an_own_field_called_index(self, tmp_path: Path) -> None:
        samples = [{"image": places(), "index": 70 + i} for i in range(2)]
        fastdata.pack(samples, tmp_path / "p", quiet=True)
        assert PackedDataset(tmp_path / "p", fields=["index"])[1] == {"index": 71}

    def test_what_is_not_named_is_not_decoded(self, pack: Path, tmp_path: Path) -> None:
        damaged = shutil.copytree(pack, tmp_path / "damaged")
        reader = PackReader(damaged)
        record = bytes(reader.read(3))
        for name in ("seg", "twin", "j"):
            part = bytes(reader.read_field(3, name))
            record = record.replace(part, bytes(len(part)))
        shard = max(damaged.glob("shard*"), key=lambda p: bytes(reader.read(3)) in p.read_bytes())
        shard.write_bytes(shard.read_bytes().replace(bytes(reader.read(3)), record))
        names = [name for name in FIELDS if name not in ("seg", "twin", "j")]
        sound = PackedDataset(pack, crops(), seed=1, fields=names)
        found = PackedDataset(damaged, crops(), seed=1, fields=names, verify="never")
        assert equal(found[3], sound[3])
        for name in ("seg", "twin", "j"):
            with pytest.raises(SampleError, match=r"sample 3 \('k3'\)"):
                PackedDataset(damaged, fields=[name], verify="never")[3]
        with pytest.raises(SampleError, match="CRC-32"):
            PackedDataset(damaged, fields=["n", "image"])[3]


class TestGeometry:
    def test_crops_and_flips_move_all_alike(self, pack: Path) -> None:
        dataset = PackedDataset(pack, exact(), seed=5)
        corners = set()
        for i in range(COUNT):
            found = dataset[i]
            rows, columns, number = found["image"].long()
            assert number.unique().tolist() == [i]
            assert torch.equal(rows * 256 + columns, found["where"].long())
            assert torch.equal(255 - found["image"], found["twin"])
            inside = (columns >= BOX[0]) & (columns < BOX[2]) & (rows >= BOX[1]) & (rows < BOX[3])
            assert torch.equal(inside, found["seg"] == 9)
            self.check_boxes(found, 0)
            corners.add((int(rows[0, 0]), int(columns[0, 0])))
        assert len(corners) > COUNT / 2

    def test_resized_crops(self, pack: Path) -> None:
        dataset = PackedDataset(pack, crops(), seed=5)
        for i in range(COUNT):
            found = dataset[i]
            rows, columns = found["image"][:2].long()
            assert (rows - found["where"] // 256).abs().max() <= 2
            assert (columns - found["where"] % 256).abs().max() <= 3
            self.check_boxes(found, 1)

    def check_boxes(self, found: dict[str, Any], within: float) -> None:
        """Boxes against the mask that was painted in the same place."""
        labelled = (found["seg"] == 9).numpy()
        for box in found["boxes"].numpy():
            if not labelled.any():
                assert not visible(box[None])[0] or (box[2:] - box[:2]).min() <= within
                continue
            rows, columns = np.flatnonzero(labelled.any(1)), np.flatnonzero(labelled.any(0))
            edges = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose(box, edges, atol=within)

    def test_padding_and_centre(self, pack: Path) -> None:
        found = PackedDataset(pack, T.RandomCrop((80, 100), padding=20), seed=2)[4]
        assert found["image"].shape == (3, 80, 100)
        assert found["where"].shape == found["seg"].shape == (80, 100)
        self.check_boxes(found, 0)

    def test_a_box_outside_of_the_crop_keeps_its_row(self, tmp_path: Path) -> None:
        one = {"image": places(), "boxes": [[0, 0, 5, 5], [40, 25, 50, 35]], "labels": [7, 8]}
        named = {"image": "image", "boxes": "boxes", "labels": "int64[?]"}
        fastdata.pack([one], tmp_path / "p", fields=named, quiet=True)
        found = PackedDataset(tmp_path / "p", T.CenterCrop(20))[0]
        assert visible(found["boxes"].numpy()).tolist() == [False, True]
        assert found["labels"].tolist() == [7, 8]

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("encoding", ["keep", "sliceable", "raw"])
    def test_exif_orientation(self, tmp_path: Path, orientation: int, encoding: str) -> None:
        one = sample(1)
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels = one["seg"][:, :, None].repeat(3, axis=2) // 9 * 255
        data = by_pillow(pixels, quality=95, exif=exif)
        named = {"image": "image", "seg": "mask", "boxes": "boxes"}
        given = {"image": data, "seg": one["seg"], "boxes": [BOX]}
        fastdata.pack([given], tmp_path / "p", fields=named, encoding=encoding, quiet=True)
        for turned in (False, True):
            for transform in (None, T.Resize((45, 70)), exact()):
                dataset = PackedDataset(
                    tmp_path / "p", transform, seed=3, apply_exif_orientation=turned
                )
                found = {k: torch.as_tensor(v) for k, v in dataset[0].items()}
                image = found["image"][0] if transform else found["image"][..., 0]
                swapped = turned and orientation >= 5
                if transform is None:
                    assert image.shape == ((WIDTH, HEIGHT) if swapped else (HEIGHT, WIDTH))
                assert image.shape == found["seg"].shape
                assert ((image > 128) == (found["seg"] == 9)).float().mean() > 0.97
                self.check_boxes(found, 1)

    def test_two_images_of_one_size_get_one_crop(self, pack: Path) -> None:
        dataset = PackedDataset(pack, crops(), seed=9)
        for i in range(COUNT):
            difference = dataset[i]["twin"].int() + dataset[i]["image"].int()
            assert (difference - 255).abs().max() <= 1

    def test_of_different_sizes_only_without_a_crop(self, tmp_path: Path) -> None:
        one = {"image": places(), "twin": places()[:30]}
        fastdata.pack([one], tmp_path / "p", fields=dict.fromkeys(one, "image"), quiet=True)
        assert PackedDataset(tmp_path / "p")[0]["twin"].shape == (30, WIDTH, 3)
        message = r"'twin' is \(30, 90\), its first image \(60, 90\): one crop cannot suit both"
        with pytest.raises(SampleError, match=message):
            PackedDataset(tmp_path / "p", T.CenterCrop(10))[0]
        assert "twin" not in PackedDataset(tmp_path / "p", T.CenterCrop(10), fields=["image"])[0]


class TestRandomness:
    def test_crops_are_those_of_an_image_folder(self, pack: Path) -> None:
        fields, images = (
            PackedDataset(pack, crops(), seed=4),
            PackedImageFolder(pack, crops(), seed=4),
        )
        for epoch in (0, 1, 5):
            for dataset in (fields, images):
                dataset.set_epoch(epoch)
            for i in range(COUNT):
                image, target = images[i]
                assert torch.equal(fields[i]["image"], image)
                assert fields[i]["target"] == target
            batch = fields.__getitems__(range(COUNT))
            assert all(equal(one, fields[i]) for i, one in enumerate(batch))

    def test_seeds_and_epochs_matter(self, pack: Path) -> None:
        dataset = PackedDataset(pack, crops(), seed=4)
        first = dataset[2]["image"]
        dataset.set_epoch(1)
        assert not torch.equal(dataset[2]["image"], first)
        dataset.set_epoch(0)
        assert torch.equal(dataset[2]["image"], first)
        assert not torch.equal(PackedDataset(pack, crops(), seed=5)[2]["image"], first)


LOADERS = [
    pytest.param({"num_workers": 0}, id="no workers"),
    pytest.param({"num_workers": 2, "multiprocessing_context": "fork"}, id="fork"),
    pytest.param({"num_workers": 2, "worker_type": "thread"}, id="threads"),
]
loaders = pytest.mark.parametrize("kind", LOADERS)


def expected_batch(dataset: PackedDataset, indices: list[int]) -> dict[str, Any]:
    """What a batch of these samples has to be, put together from single samples."""
    samples, result = [dataset[i] for i in indices], {}
    for name in samples[0]:
        values = [one[name] for one in samples]
        kind = FIELDS.get(name, name)
        if kind in ("str", "json", "bytes", "boxes", "key") or "?" in kind:
            result[name] = values
        elif kind == "float":
            result[name] = torch.tensor(values, dtype=torch.float64)
        elif kind in ("int", "index"):
            result[name] = torch.tensor(values)
        else:
            result[name] = torch.stack([torch.as_tensor(value) for value in values])
    return result


class TestLoaders:
    @loaders
    @pytest.mark.parametrize("transform", [None, crops(), T.Compose([crops(), T.ToTensor()])])
    def test_batches_are_dicts(self, pack: Path, kind: dict[str, Any], transform: Any) -> None:
        dataset = PackedDataset(pack, transform, seed=2, fields=[*FIELDS, "key", "index"])
        loader = DataLoaderX(dataset, 4, **kind)
        batches = list(loader)
        assert [len(batch["key"]) for batch in batches] == [4, 4, 3]
        dataset.set_epoch(0)
        for first, batch in zip((0, 4, 8), batches, strict=True):
            want = expected_batch(dataset, list(range(first, min(first + 4, COUNT))))
            assert list(batch) == list(want)
            for name, value in want.items():
                assert equal(batch[name], value), name

    def test_images_of_a_batch_are_one_tensor_in_channels_last(self, pack: Path) -> None:
        (batch,) = DataLoaderX(PackedDataset(pack, crops()), COUNT)
        assert batch["image"].shape == (COUNT, 3, 32, 32)
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)

    @pytest.mark.parametrize("count", [0, 2])
    def test_torchs_own_loader(self, pack: Path, count: int) -> None:
        dataset = PackedDataset(pack, crops(), seed=2)
        ours = list(DataLoaderX(dataset, 4))
        dataset.set_epoch(0)
        context = "fork" if count else None
        theirs = DataLoader(
            dataset, 4, num_workers=count, collate_fn=fastdata.collate,
            multiprocessing_context=context,
        )  # fmt: skip
        assert equal(list(theirs), ours)

    @loaders
    def test_shuffling_gives_what_an_image_folder_gives(
        self, pack: Path, kind: dict[str, Any]
    ) -> None:
        def epochs(dataset: Any) -> list[Any]:
            torch.manual_seed(0)
            loader = DataLoaderX(dataset, 4, shuffle=True, **kind)
            batches = [batch for _ in range(2) for batch in loader]
            pairs = [
                (b["image"], b["target"]) if isinstance(b, dict) else tuple(b) for b in batches
            ]
            return [part for pair in pairs for part in pair]

        ours = epochs(PackedDataset(pack, crops(), seed=6))
        assert equal(ours, epochs(PackedImageFolder(pack, crops(), seed=6)))
        assert not equal(ours[: len(ours) // 2], ours[len(ours) // 2 :])

    @loaders
    def test_going_on_in_the_middle_of_an_epoch(self, pack: Path, kind: dict[str, Any]) -> None:
        def loader() -> DataLoaderX[Any]:
            dataset = PackedDataset(pack, crops(), seed=6, fields=["image", "index", "boxes"])
            return DataLoaderX(dataset, 2, shuffle=True, **kind)

        torch.manual_seed(1)
        first = loader()
        batches = iter(first)
        before = [next(batches) for _ in range(2)]
        state = first.state_dict()
        rest = list(batches)
        second = loader()
        second.load_state_dict(state)
        assert equal(list(second), rest)
        seen = [i for batch in (*before, *rest) for i in batch["index"].tolist()]
        assert sorted(seen) == list(range(COUNT))

    def test_mixed_sizes_are_lists(self, tmp_path: Path) -> None:
        sizes = [(30, 40), (20, 40), (30, 40)]
        samples = [
            {"image": places()[:h, :w], "seg": np.zeros((h, w), np.uint8), "n": h} for h, w in sizes
        ]
        named = {"image": "image", "seg": "mask", "n": "int"}
        fastdata.pack(samples, tmp_path / "p", fields=named, quiet=True)
        for transform in (None, T.Resize(10), T.Compose([T.Resize(10), T.ToTensor()])):
            (batch,) = DataLoaderX(PackedDataset(tmp_path / "p", transform), 3)
            singles = PackedDataset(tmp_path / "p", transform)
            for name in ("image", "seg"):
                assert isinstance(batch[name], list)
                assert equal(batch[name], [singles[i][name] for i in range(3)])
            assert batch["n"].tolist() == [30, 20, 30]
            equals = next(iter(DataLoaderX(Subset(singles, [0, 2]), 2)))
            assert isinstance(equals["image"], torch.Tensor)
            assert isinstance(equals["seg"], torch.Tensor)

    @loaders
    def test_wrapped_datasets(self, pack: Path, kind: dict[str, Any]) -> None:
        dataset = PackedDataset(pack, crops(), seed=2)
        part = Subset(dataset, [7, 1, 4])
        (batch,) = DataLoaderX(part, 3, **kind)
        dataset.set_epoch(0)
        assert equal(batch, expected_batch(dataset, [7, 1, 4]))
        (both,) = DataLoaderX(ConcatDataset([part, dataset]), 3 + COUNT, **kind)
        dataset.set_epoch(0)
        assert equal(both, expected_batch(dataset, [7, 1, 4, *range(COUNT)]))

    def test_wrapped_datasets_in_torchs_own_loader(self, pack: Path) -> None:
        dataset = PackedDataset(pack, crops(), seed=2)
        joined = ConcatDataset([Subset(dataset, [7, 1]), dataset])
        batch = next(iter(DataLoader(joined, 5, collate_fn=fastdata.collate)))
        assert equal(batch, expected_batch(dataset, [7, 1, 0, 1, 2]))

    def test_plain_collating_of_what_it_can_stack(self, pack: Path) -> None:
        dataset = PackedDataset(pack, crops(), seed=2, fields=["image", "seg", "n", "key"])
        batch = next(iter(DataLoader(dataset, 3)))
        assert {name: type(value) for name, value in batch.items()} == {
            "image": torch.Tensor, "seg": torch.Tensor, "n": torch.Tensor, "key": list,
        }  # fmt: skip

    def test_a_sample_alone(self, pack: Path) -> None:
        dataset = PackedDataset(pack, crops(), seed=2)
        found = list(DataLoaderX(dataset, batch_size=None))
        dataset.set_epoch(0)
        assert equal([one["image"] for one in found], [one["image"] for one in dataset])


class TestBadSamples:
    @pytest.fixture
    def damaged(self, pack: Path, tmp_path: Path) -> Path:
        """Sample 5 has a record of zeros."""
        path = shutil.copytree(pack, tmp_path / "damaged")
        reader = PackReader(path)
        record = bytes(reader.read(5))
        for shard in path.glob("shard*"):
            shard.write_bytes(shard.read_bytes().replace(record, bytes(len(record))))
        return path

    @loaders
    def test_skipped_and_told(self, damaged: Path, kind: dict[str, Any]) -> None:
        dataset = PackedDataset(damaged, crops(), fields=["image", "index"])
        loader = DataLoaderX(dataset, 4, on_error="skip", max_errors=1, **kind)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = [i for batch in loader for i in batch["index"].tolist()]
        assert found == [i for i in range(COUNT) if i != 5]
        assert [(f.key, f.index) for f in loader.errors] == [("'k5'", 5)]
        assert any("'k5'" in str(one.message) for one in told)

    def test_raised_by_default(self, damaged: Path) -> None:
        with pytest.raises(SampleError, match=r"damaged: sample 5 \('k5'\): .*CRC-32"):
            list(DataLoaderX(PackedDataset(damaged, crops()), 4))

    @pytest.mark.parametrize("verify", ["never", "first-read"])
    def test_an_unread_index_stays_readable(self, damaged: Path, verify: Any) -> None:
        assert PackedDataset(damaged, verify=verify)[4]["s"] == "é4"


class Half:
    """A callable that is not fastdata's."""

    def __call__(self, image: Any) -> Any:
        assert isinstance(image, torch.Tensor)
        return image[:, ::2, ::2].float()


class TestTransforms:
    def test_the_rest_is_applied_to_images_only(self, pack: Path) -> None:
        plain = PackedDataset(pack, crops(), seed=3)
        normal = T.Compose([crops(), T.ToTensor(), T.Normalize([0.5] * 3, [0.25] * 3)])
        dataset = PackedDataset(pack, normal, seed=3)
        (batch,) = DataLoaderX(dataset, COUNT)
        dataset.set_epoch(0)
        for i in range(COUNT):
            want = (plain[i]["image"].float() / 255 - 0.5) / 0.25
            for found in (dataset[i]["image"], batch["image"][i]):
                torch.testing.assert_close(found, want)
            assert equal(dataset[i]["seg"], plain[i]["seg"])
            twin = (plain[i]["twin"].float() / 255 - 0.5) / 0.25
            torch.testing.assert_close(dataset[i]["twin"], twin)

    def test_a_foreign_callable(self, pack: Path) -> None:
        plain = PackedDataset(pack, crops(), seed=3)
        dataset = PackedDataset(pack, T.Compose([crops(), Half()]), seed=3)
        (batch,) = DataLoaderX(dataset, COUNT)
        for i in range(COUNT):
            assert torch.equal(batch["image"][i], plain[i]["image"][:, ::2, ::2].float())
            assert equal(batch["seg"][i], plain[i]["seg"])

    def test_a_foreign_callable_alone_gets_the_array(self, pack: Path) -> None:
        dataset = PackedDataset(pack, lambda image: image.shape)
        assert dataset[0]["image"] == dataset[0]["twin"] == (HEIGHT, WIDTH, 3)
        assert isinstance(dataset[0]["seg"], np.ndarray)

    @pytest.mark.parametrize("make", [float, str, lambda mean: {"mean": mean}])
    def test_one_that_makes_no_image_of_it(self, pack: Path, make: Any) -> None:
        dataset = PackedDataset(pack, lambda image: make(image.mean()), fields=["image", "n"])
        (batch,) = DataLoaderX(dataset, COUNT)
        values = batch["image"]["mean"] if isinstance(batch["image"], dict) else batch["image"]
        means = [sample(i)["image"].mean() for i in range(COUNT)]
        assert [float(value) for value in values] == pytest.approx(means)

    def test_background_safe(self, pack: Path) -> None:
        assert PackedDataset(pack).background_safe
        assert PackedDataset(pack, T.Compose([crops(), T.ToTensor()])).background_safe
        assert not PackedDataset(pack, T.Compose([crops(), Half()])).background_safe

    def test_a_transform_may_be_replaced(self, pack: Path) -> None:
        dataset = PackedDataset(pack)
        dataset.transform = T.CenterCrop(8)
        assert dataset[0]["image"].shape == (3, 8, 8)
        assert dataset[0]["seg"].shape == (8, 8)


class TestPickling:
    @pytest.mark.parametrize("transform", [None, crops()])
    def test_datasets(self, pack: Path, transform: Any) -> None:
        dataset = PackedDataset(pack, transform, seed=3, fields=["image", "boxes", "key"])
        dataset.set_epoch(2)
        again = pickle.loads(pickle.dumps(dataset))
        assert again.epoch == 2
        assert list(again.fields) == ["image", "boxes"]
        assert all(equal(again[i], dataset[i]) for i in range(COUNT))

    def test_samples_and_batches(self, pack: Path) -> None:
        dataset = PackedDataset(pack, crops(), seed=3)
        one = pickle.loads(pickle.dumps(dataset[4]))
        assert equal(one, dataset[4])
        batch = pickle.loads(pickle.dumps([dataset[0], dataset[1]]))
        assert equal(fastdata.collate(batch), expected_batch(dataset, [0, 1]))
        assert isinstance(dataset.__getitems__([0]), FieldBatch)


class TestPackedImageFolder:
    def test_it_gives_image_and_target_of_a_pack_with_more(self, pack: Path) -> None:
        plain = PackedImageFolder(pack)
        for i in range(COUNT):
            image, target = plain[i]
            np.testing.assert_array_equal(image, sample(i)["image"])
            assert target == i % 3
        images, targets = next(iter(DataLoaderX(PackedImageFolder(pack, crops()), COUNT)))
        assert images.shape == (COUNT, 3, 32, 32)
        assert targets.tolist() == [i % 3 for i in range(COUNT)]

    def test_sliceable_images_of_both_fields_are_cut(self, tmp_path: Path) -> None:
        from helpers.images import picture

        big = picture(300, 400)
        one = {"image": encoded(big), "twin": encoded(255 - big), "s": "x" * 100}
        named = {"image": "image", "twin": "image", "s": "str"}
        fastdata.pack([one], tmp_path / "p", fields=named, quiet=True)
        reader = PackReader(tmp_path / "p")
        assert reader.slice_indices[0] > 0
        assert reader.columns["twin"]["slice_index"][0] > 0
        whole = PackedDataset(tmp_path / "p")[0]
        cut = PackedDataset(tmp_path / "p", T.RandomCrop(64), seed=1)[0]
        folder = PackedImageFolder(tmp_path / "p", T.RandomCrop(64), seed=1)
        assert torch.equal(folder[0][0], cut["image"])
        windows = np.lib.stride_tricks.sliding_window_view(whole["image"], (64, 64), (0, 1))
        (at,) = np.argwhere((windows == cut["image"].numpy()).all(axis=(2, 3, 4)))
        part = whole["twin"][at[0] : at[0] + 64, at[1] : at[1] + 64]
        np.testing.assert_array_equal(cut["twin"].permute(1, 2, 0).numpy(), part)


def test_reading_leaves_the_pack_as_it_is(pack: Path) -> None:
    before = contents(pack)
    list(DataLoaderX(PackedDataset(pack, crops()), 4))
    assert contents(pack) == before
