"""Samples as records: what goes in comes out, and what is no value of its field is told apart."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import encoded, picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray
from PIL import Image

import fastdata
from fastdata.core.fields import Field, parse_fields
from fastdata.errors import DecodeError, SourceError
from fastdata.images.decode import decode_whole
from fastdata.images.encode import EncodeSettings
from fastdata.packing.records import encode_sample
from fastdata.sources import FileBlob, Item
from fastdata.store import PackReader
from fastdata.store.record import Record

HEIGHT, WIDTH = 20, 30
PIXELS = picture(HEIGHT, WIDTH)
IMAGE = encoded(PIXELS, ".png")
KEEP = EncodeSettings("keep")
ARRAYS = (
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
    "float16", "float32", "float64",
)  # fmt: skip


def encode_one(kind: str, value: Any, encode: EncodeSettings = KEEP) -> Record:
    """The record of a sample with one field besides its image."""
    return encode_sample(
        Item("a", {"image": IMAGE, "x": value}), parse_fields({"image": "image", "x": kind}), encode
    )


def refused(kind: str, value: Any) -> str:
    """Why the value is none of its field."""
    with pytest.raises(DecodeError) as caught:
        encode_one(kind, value)
    message = str(caught.value)
    assert message.startswith("field 'x': ")
    return message.removeprefix("field 'x': ")


@pytest.fixture
def packed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Any]]:
    """Packs values of one kind, one a sample, and gives what the pack has."""

    def round_trip(kind: str, values: list[Any], **options: Any) -> list[Any]:
        path = tmp_path_factory.mktemp("pack") / "p"
        samples = [{"image": IMAGE, "x": value} for value in values]
        fields = {"image": "image", "x": kind}
        fastdata.pack(samples, path, fields=fields, workers=1, quiet=True, **options)
        reader = PackReader(path, "always")
        assert len(reader) == len(values)
        assert (path / "rejected.jsonl").read_bytes() == b""
        return [reader.value(index, "x") for index in range(len(values))]

    return round_trip


def identical(found: Any, expected: Any) -> bool:
    """Whether arrays have one dtype, one shape and the very same bits."""
    return (
        isinstance(found, np.ndarray)
        and found.dtype == expected.dtype
        and found.shape == expected.shape
        and found.tobytes() == expected.tobytes()
    )


few = settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


class TestRoundTrip:
    @few
    @given(values=st.lists(texts, min_size=1, max_size=9))
    def test_text(self, packed: Any, values: list[str]) -> None:
        assert packed("str", values) == values

    @few
    @given(values=st.lists(st.binary(), min_size=1, max_size=9))
    def test_bytes(self, packed: Any, values: list[bytes]) -> None:
        views = [form(value) for value in values for form in (bytes, bytearray, memoryview)]
        assert packed("bytes", views) == [value for value in values for _ in range(3)]

    @few
    @given(values=st.lists(json_values, min_size=1, max_size=5))
    def test_json(self, packed: Any, values: list[Any]) -> None:
        found = packed("json", values)
        assert found == values
        assert list(map(repr, found)) == list(map(repr, values))  # 1 is no 1.0, and no True

    @few
    @given(values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=9))
    def test_integers(self, packed: Any, values: list[int]) -> None:
        forms = [form(value) for value in values for form in (int, np.int64, torch.tensor)]
        assert packed("int", forms) == [value for value in values for _ in range(3)]

    @few
    @given(values=st.lists(st.floats(), min_size=1, max_size=9))
    def test_floats(self, packed: Any, values: list[float]) -> None:
        assert identical(np.array(packed("float", values)), np.array(values))

    def test_an_integer_is_a_float_too(self, packed: Any) -> None:
        assert packed("float", [3, True, np.float32(0.5), torch.tensor(2)]) == [3.0, 1.0, 0.5, 2.0]

    @few
    @given(data=st.data(), dtype=st.sampled_from(ARRAYS))
    def test_arrays_of_a_fixed_shape(self, packed: Any, data: Any, dtype: str) -> None:
        shape = data.draw(st_numpy.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4))
        strategy = st_numpy.arrays(dtype, shape)
        values = data.draw(st.lists(strategy, min_size=1, max_size=4))
        found = packed(str(Field("array", dtype, shape)), values)
        assert all(map(identical, found, values))

    @few
    @given(data=st.data(), dtype=st.sampled_from(ARRAYS))
    def test_arrays_whose_first_length_varies(self, packed: Any, data: Any, dtype: str) -> None:
        row = data.draw(st_numpy.array_shapes(min_dims=0, max_dims=2, max_side=3))
        shapes = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
        values = [data.draw(st_numpy.arrays(dtype, (length, *row))) for length in shapes]
        found = packed(str(Field("array", dtype, (None, *row))), values)
        assert all(map(identical, found, values))

    @few
    @given(data=st.data())
    def test_boxes(self, packed: Any, data: Any) -> None:
        finite = st.floats(-(2.0**90), 2.0**90, width=32)
        counts = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
        corners = [data.draw(st_numpy.arrays("<f4", (n, 2, 2), elements=finite)) for n in counts]
        values = [np.sort(pairs, axis=1).reshape(-1, 4) for pairs in corners]
        assert all(map(identical, packed("boxes", values), values))

    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    def test_masks(self, packed: Any, tmp_path: Path, dtype: str) -> None:
        most = np.iinfo(dtype).max
        rng = np.random.default_rng(0)
        labels = rng.integers(0, most, (HEIGHT, WIDTH), dtype, endpoint=True)
        fields = {"image": "image", "x": "mask"}
        path = tmp_path / "p"
        fastdata.pack([{"image": IMAGE, "x": labels}], path, fields=fields, quiet=True)
        assert identical(fastdata.PackedDataset(path)[0]["x"], labels)

    def test_images_of_a_second_field(self, tmp_path: Path) -> None:
        other = picture(11, 13, 1)
        sample = {"image": IMAGE, "x": encoded(other, ".png"), "y": encoded(other, ".bmp")}
        fastdata.pack([sample], tmp_path / "p", quiet=True, fields=dict.fromkeys(sample, "image"))
        found = fastdata.PackedDataset(tmp_path / "p")[0]
        assert identical(found["image"], PIXELS)
        assert identical(found["x"], other)
        assert identical(found["y"], other)

    def test_lists_and_tensors_are_arrays_too(self, packed: Any) -> None:
        assert packed("int64[2]", [[1, 2], (3, 4), torch.tensor([5, 6])])[2].tolist() == [5, 6]
        assert packed("float32[?,2]", [[], [[1, 2]], torch.zeros(0), torch.zeros(3, 2)])[
            2
        ].shape == (0, 2)
        assert [len(boxes) for boxes in packed("boxes", [[], [[0, 0, 1, 1]], torch.zeros(0)])] == [
            0, 1, 0,
        ]  # fmt: skip
        assert packed("float32[]", [3.5, np.float64(0.25)])[1].shape == ()

    def test_big_endian_and_strided_arrays(self, packed: Any) -> None:
        values = np.arange(12, dtype=">i4").reshape(3, 4)
        found = packed("int32[4,3]", [values.T])
        assert identical(found[0], np.ascontiguousarray(values.T, "<i4"))

    def test_records_hold_nothing_but_their_fields(self) -> None:
        record = encode_sample(
            Item("a", {"image": IMAGE, "b": b"123", "n": 5, "s": "é", "target": 7}),
            parse_fields({"image": "image", "b": "bytes", "n": "int", "s": "str", "target": "int"}),
            KEEP,
        )
        assert record.data == IMAGE + b"123" + "é".encode()
        assert record.columns == {"b": 3, "n": 5, "s": 2}
        assert record.target == 7


class TestImages:
    def forms(self, tmp_path: Path) -> dict[str, Any]:
        (tmp_path / "a.png").write_bytes(IMAGE)
        return {
            "bytes": IMAGE,
            "bytearray": bytearray(IMAGE),
            "view": memoryview(IMAGE),
            "text": str(tmp_path / "a.png"),
            "path": tmp_path / "a.png",
            "blob": FileBlob(str(tmp_path / "a.png")),
            "pixels": PIXELS,
            "other way up": PIXELS[::-1][::-1],
            "tensor": torch.from_numpy(PIXELS).permute(2, 0, 1),
            "Pillow": Image.fromarray(PIXELS),
        }

    @pytest.mark.parametrize("encoding", ["sliceable", "keep", "png", "raw"])
    def test_every_form_gives_the_same_pixels(self, tmp_path: Path, encoding: str) -> None:
        fields = parse_fields({"image": "image"})
        for name, value in self.forms(tmp_path).items():
            record = encode_sample(Item("a", {"image": value}), fields, EncodeSettings(encoding))
            if encoding == "raw":
                pixels = np.frombuffer(record.data, np.uint8).reshape(PIXELS.shape)
            else:
                pixels = decode_whole(record.data)
            np.testing.assert_array_equal(pixels, PIXELS, err_msg=name)

    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "CMYK", "I;16"])
    def test_pillow_images_of_any_mode(self, mode: str) -> None:
        image = Image.fromarray(PIXELS).convert("L" if mode == "I;16" else mode)
        image = image.convert("I;16") if mode == "I;16" else image
        fields = parse_fields({"image": "image"})
        record = encode_sample(Item("a", {"image": image}), fields, KEEP)
        np.testing.assert_array_equal(decode_whole(record.data), np.asarray(image.convert("RGB")))

    @pytest.mark.parametrize("value", [PIXELS[:, :, 0], PIXELS[:, :, :1]])
    def test_grey_pixels(self, value: NDArray[np.uint8]) -> None:
        record = encode_sample(Item("a", {"image": value}), parse_fields({"image": "image"}), KEEP)
        np.testing.assert_array_equal(decode_whole(record.data), PIXELS[:, :, [0, 0, 0]])

    @pytest.mark.parametrize(
        ("value", "found"),
        [
            (PIXELS.astype(np.float32), r"ndarray of shape \(20, 30, 3\), float32"),
            (PIXELS.astype(np.int64), "int64"),
            (PIXELS.transpose(2, 0, 1), r"ndarray of shape \(3, 20, 30\)"),
            (PIXELS[:0], r"\(0, 30, 3\)"),
            (PIXELS[None], r"\(1, 20, 30, 3\)"),
            (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
            (torch.rand(3, 4, 4, requires_grad=True), "float32"),
            (7, "int 7"),
            (None, "NoneType None"),
            ({"a": 1}, "dict"),
            (["a.jpg"], "list"),
        ],
    )
    def test_what_is_no_image(self, value: Any, found: str) -> None:
        expected = "expected an image as encoded bytes, a path, HWC uint8 RGB pixels, .* found "
        assert re.match(expected + f".*{found}", refused("image", value))
        with pytest.raises(DecodeError, match=f"^{expected}.*{found}"):
            encode_sample(Item("a", {"image": value}), parse_fields({"image": "image"}), KEEP)

    def test_damage_names_its_field_where_there_are_several(self) -> None:
        cut = encoded(picture(90, 120))[:-2000]
        assert refused("image", cut).startswith("the jpeg data is damaged")
        fields = parse_fields({"image": "image", "x": "int", "target": "int"})
        with pytest.raises(DecodeError, match=r"^field 'image': the jpeg data is damaged"):
            encode_sample(Item("a", {"image": cut, "x": 1, "target": 1}), fields, KEEP)
        alone = parse_fields({"image": "image", "target": "int"})
        with pytest.raises(DecodeError, match=r"^the jpeg data is damaged"):
            encode_sample(Item("a", {"image": cut, "target": 1}), alone, KEEP)


WRONG: list[tuple[str, Any, str]] = [
    ("int", "3", "expected an integer, found str '3'"),
    ("int", 1.0, "expected an integer, found float 1.0"),
    ("int", None, "expected an integer, found NoneType None"),
    ("int", np.float64(1), "expected an integer, found float64"),
    ("int", np.array([1, 2]), r"expected an integer, found ndarray of shape \(2,\), int64"),
    ("int", torch.tensor([1, 2]), r"expected an integer, found Tensor of shape \(2,\)"),
    ("int", 2**63, "9223372036854775808 does not fit into 64 bits"),
    ("int", -(2**63) - 1, "does not fit into 64 bits"),
    ("float", "1.5", "expected a number, found str '1.5'"),
    ("float", b"1", "expected a number, found bytes"),
    ("float", None, "expected a number, found NoneType None"),
    ("float", 1j, "expected a number, found complex 1j"),
    ("float", [1.0], "expected a number, found list"),
    ("float", torch.zeros(2), r"expected a number, found Tensor of shape \(2,\)"),
    ("float", 10**400, "expected a number, found int 1000"),
    ("str", b"text", "expected text, found bytes b'text'"),
    ("str", None, "expected text, found NoneType None"),
    ("str", 5, "expected text, found int 5"),
    ("str", "\ud800", "not valid Unicode"),
    ("bytes", "text", "expected bytes, found str 'text'"),
    ("bytes", [1, 2], r"expected bytes, found list \[1, 2\]"),
    ("json", math.nan, "NaN and infinity are not JSON"),
    ("json", [math.inf], "NaN and infinity are not JSON"),
    ("json", {1, 2}, "not a JSON value"),
    ("json", {"a": b"x"}, "not a JSON value"),
    ("json", {(1, 2): 3}, "not a JSON value"),
    ("json", {"a": np.float32(1)}, "not a JSON value"),
    ("json", "\ud800", "not valid Unicode"),
    ("boxes", [1, 2, 3, 4], r"expected N×4 finite numbers, found list \[1, 2, 3, 4\]"),
    ("boxes", [[1, 2, 3]], "expected N×4 finite numbers"),
    ("boxes", np.zeros((2, 2, 2)), r"found ndarray of shape \(2, 2, 2\), float64"),
    ("boxes", np.zeros((5, 0)), r"found ndarray of shape \(5, 0\)"),
    ("boxes", [[0, 0, math.nan, 1]], "finite"),
    ("boxes", [[0, 0, math.inf, 1]], "finite"),
    ("boxes", [[0, 0, 1e300, 1]], "does not fit into float32"),
    ("boxes", [[5, 0, 4, 1]], "right >= left and bottom >= top, found"),
    ("boxes", [[0, 5, 1, 4]], "right >= left and bottom >= top, found"),
    ("boxes", [[1, 2, 3, 4], [1, 2]], "expected numbers of type float32, found list"),
    ("boxes", "0 0 1 1", "expected numbers of type float32, found str"),
    ("boxes", None, "found NoneType None"),
    ("float32[2]", [1, 2, 3], r"expected float32\[2\], found list \[1, 2, 3\]"),
    ("float32[2]", [[1], [2, 3]], "found list"),
    ("float32[2]", [1e300, 0], "a number does not fit into float32"),
    ("float16[1]", [70000], "a number does not fit into float16"),
    ("float32[1]", ["5"], "no type of numbers"),
    ("float32[1]", [1j], "complex128 is no type of numbers"),
    ("float32[1]", [None], "no type of numbers"),
    ("float32[1]", torch.zeros(1, requires_grad=True), "requires grad"),
    ("float32[]", [1.0], r"expected float32\[\], found list \[1.0\]"),
    ("int64[1]", [1.5], "a number does not fit into int64"),
    ("int64[1]", [math.nan], "a number does not fit into int64"),
    ("int64[1]", [2**64], "no type of numbers"),
    ("int64[1]", [2**63], "a number does not fit into int64"),
    ("int8[1]", [300], "a number does not fit into int8"),
    ("uint8[1]", [-1], "a number does not fit into uint8"),
    ("uint8[1]", np.array([256.0]), "a number does not fit into uint8"),
    ("uint64[1]", [-1], "a number does not fit into uint64"),
    ("bool[1]", [2], "a number does not fit into bool"),
    ("int64[?]", 5, r"expected int64\[\?\], found int 5"),
    ("int64[?]", [[1]], r"expected int64\[\?\], found list"),
    ("int64[?,2]", [[1, 2, 3]], r"expected int64\[\?,2\], found list"),
    ("int64[?,2]", np.zeros((3, 0)), r"found ndarray of shape \(3, 0\)"),
    ("mask", 5, "found int"),
    ("mask", np.zeros((3, 3), np.uint8), "expected a mask of 20x30 as its image, found 3x3"),
    ("mask", np.zeros((30, 20), np.uint8), "expected a mask of 20x30 as its image, found 30x20"),
    ("mask", np.zeros((20, 30), np.int64), r"found int64 of shape \(20, 30\)"),
    ("mask", torch.zeros(1, 20, 30, dtype=torch.uint8), r"found uint8 of shape \(1, 20, 30\)"),
    ("mask", b"no image", "mask"),
    ("image", b"no image", "found 8 bytes"),
]


class TestWrongValues:
    @pytest.mark.parametrize(("kind", "value", "message"), WRONG)
    def test_a_message_says_what_was_found(self, kind: str, value: Any, message: str) -> None:
        assert re.search(message, refused(kind, value))

    @given(value=json_values, kind=st.sampled_from(["int", "float", "boxes", "int8[?]", "bool[2]"]))
    @settings(max_examples=50)
    def test_any_value_is_stored_or_refused(self, value: Any, kind: str) -> None:
        try:
            encode_one(kind, value)
        except DecodeError as error:
            assert str(error).startswith("field 'x': ")  # noqa: PT017

    def test_a_target(self) -> None:
        fields = parse_fields({"image": "image", "target": "int"})
        for value in ("cat", 1.5, None, [1], 2**64):
            with pytest.raises(DecodeError, match=r"^field 'target': "):
                encode_sample(Item("a", {"image": IMAGE, "target": value}), fields, KEEP)

    def test_a_long_value_is_shortened(self) -> None:
        assert len(refused("int", "x" * 10_000)) < 200

    @pytest.mark.parametrize("kind", ["image", "mask", "bytes"])
    def test_a_file_that_cannot_be_read(self, kind: str, tmp_path: Path) -> None:
        assert refused(kind, FileBlob(str(tmp_path / "x"))) == "cannot be read: no such file"
        assert refused(kind, FileBlob(str(tmp_path))) == "cannot be read: a directory"

    def test_a_first_image_that_cannot_be_read(self, tmp_path: Path) -> None:
        item = Item("a", {"image": tmp_path / "x", "target": 1})
        with pytest.raises(DecodeError, match=r"^cannot be read: no such file$"):
            encode_sample(item, parse_fields({"image": "image", "target": "int"}), KEEP)

    def test_a_name_that_is_not_unicode(self) -> None:
        with pytest.raises(DecodeError, match="its name is not valid Unicode"):
            encode_sample(
                Item("\udcff.jpg", {"image": IMAGE}), parse_fields({"image": "image"}), KEEP
            )

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"image": IMAGE}, r"a: expected a field 'x' \(int\), found 'image'"),
            ({"x": 1}, r"a: expected a field 'image' \(image\), found 'x'"),
            ({}, r"a: expected a field 'image' \(image\), found none"),
        ],
    )
    def test_a_field_that_is_missing_is_a_mistake(self, values: Any, message: str) -> None:
        with pytest.raises(SourceError, match=message):
            encode_sample(Item("a", values), parse_fields({"image": "image", "x": "int"}), KEEP)


class TestFileFields:
    def test_a_path_is_a_file_for_images_and_masks_and_text_for_text(self, tmp_path: Path) -> None:
        mask = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH)
        (tmp_path / "a.png").write_bytes(IMAGE)
        Image.fromarray(mask).save(tmp_path / "m.png")
        path = str(tmp_path / "a.png")
        sample = {"image": path, "mask": tmp_path / "m.png", "where": path}
        fields = {"image": "image", "mask": "mask", "where": "str"}
        fastdata.pack([sample], tmp_path / "p", fields=fields, quiet=True)
        found = fastdata.PackedDataset(tmp_path / "p")[0]
        assert identical(found["image"], PIXELS)
        assert identical(found["mask"], mask)
        assert found["where"] == path

    def test_a_path_is_no_bytes(self, tmp_path: Path) -> None:
        assert "expected bytes, found str" in refused("bytes", "a.bin")

    def test_masks_from_palettes_tensors_and_bool(self) -> None:
        labels = (np.arange(HEIGHT * WIDTH) % 7).astype(np.uint8).reshape(HEIGHT, WIDTH)
        palette = Image.fromarray(labels)
        palette.putpalette(list(range(255, 255 - 21, -1)))
        assert palette.mode == "P"
        want = encode_one("mask", labels).data
        assert encode_one("mask", palette).data == want
        assert encode_one("mask", torch.from_numpy(labels)).data == want
        ones = labels > 3
        assert encode_one("mask", ones).data == encode_one("mask", ones.astype(np.uint8)).data


SHAPES = {"image": "image", "mask": "mask", "boxes": "boxes", "points": "float32[?,2]"}


class TestShrinking:
    """Where images are shrunk, masks and boxes stay on the things that they are about."""

    def sample(self) -> dict[str, Any]:
        """A white rectangle on black, its mask and its box."""
        pixels = np.zeros((120, 200, 3), np.uint8)
        pixels[20:80, 50:150] = 255
        labels = (pixels[:, :, 0] // 255 * 9).astype(np.uint16)
        return {
            "image": pixels, "mask": labels, "boxes": [[50, 20, 150, 80]], "points": [[50, 20]],
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("options", "size"),
        [
            ({"max_side": 100}, (60, 100)),
            ({"resize_short": 30}, (30, 50)),
            ({"max_side": 33}, (19, 33)),
            ({"max_side": 500}, (120, 200)),
            ({}, (120, 200)),
        ],
    )
    @pytest.mark.parametrize("encoding", ["raw", "png", "jpeg"])
    def test_masks_and_boxes_follow(
        self, tmp_path: Path, encoding: str, options: dict[str, int], size: tuple[int, int]
    ) -> None:
        path = tmp_path / "p"
        fastdata.pack(
            [self.sample()], path, fields=SHAPES, encoding=encoding, quiet=True, **options
        )
        found = fastdata.PackedDataset(path)[0]
        image, mask = found["image"], found["mask"]
        assert image.shape == (*size, 3)
        assert mask.shape == size
        assert mask.dtype == np.uint16
        assert set(np.unique(mask)) == {0, 9}
        scale = np.array([size[1] / 200, size[0] / 120] * 2)
        np.testing.assert_allclose(found["boxes"], [scale * (50, 20, 150, 80)], rtol=1e-5)
        assert found["points"].tolist() == [[50, 20]]  # nothing is known of an array's meaning
        inside = image[:, :, 0] > 128
        assert np.mean(inside == (mask == 9)) > 0.95
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        edges = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(found["boxes"][0], edges, atol=1)

    def test_a_mask_has_the_size_of_the_image_as_it_came(self, tmp_path: Path) -> None:
        sample = {**self.sample(), "mask": np.zeros((60, 100), np.uint8)}
        encode = EncodeSettings("raw", max_side=100)
        with pytest.raises(DecodeError, match="expected a mask of 120x200 as its image"):
            encode_sample(Item("a", sample), parse_fields(SHAPES), encode)


def test_json_is_stored_compactly_and_as_text() -> None:
    record = encode_one("json", {"a": ["é", 1]})
    assert record.data[len(IMAGE) :] == '{"a":["é",1]}'.encode()
    assert json.loads(record.data[len(IMAGE) :]) == {"a": ["é", 1]}
