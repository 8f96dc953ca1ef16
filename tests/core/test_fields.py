"""Fields as text: what is read is what was written, and everything else is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdata.core.fields import Field, parse_fields
from fastdata.errors import OptionError

PLAIN = ("image", "mask", "boxes", "int", "float", "str", "json", "bytes")
DTYPES = (
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
    "float16", "float32", "float64",
)  # fmt: skip

lengths = st.lists(st.integers(1, 60), max_size=4).map(tuple)
arrays = st.builds(
    lambda dtype, shape, varies: Field("array", dtype, ((None,) if varies else ()) + shape),
    st.sampled_from(DTYPES),
    lengths,
    st.booleans(),
)
fields = st.one_of(st.sampled_from(PLAIN).map(Field), arrays)


class TestParse:
    @given(fields)
    @settings(max_examples=50)
    def test_what_is_written_is_read_again(self, field: Field) -> None:
        assert Field.parse(str(field)) == field

    @given(st.text(max_size=20))
    @settings(max_examples=50)
    def test_any_text_is_a_field_or_an_option_error(self, text: str) -> None:
        try:
            field = Field.parse(text)
        except OptionError:
            return
        assert Field.parse(str(field)) == field

    @pytest.mark.parametrize("kind", PLAIN)
    def test_plain_kinds_have_neither_dtype_nor_shape(self, kind: str) -> None:
        field = Field.parse(kind)
        assert (field.kind, field.dtype, field.shape) == (kind, "", ())
        assert str(field) == kind

    @pytest.mark.parametrize(
        ("text", "dtype", "shape", "rows"),
        [
            ("float32[512]", "float32", (512,), (512,)),
            ("int64[?]", "int64", (None,), ()),
            ("uint8[2,3]", "uint8", (2, 3), (2, 3)),
            ("bool[?,4]", "bool", (None, 4), (4,)),
            ("float16[]", "float16", (), ()),
            ("int8[0]", "int8", (0,), (0,)),
            (" float32 [ 2 , 3 ] ", "float32", (2, 3), (2, 3)),
        ],
    )
    def test_arrays(self, text: str, dtype: str, shape: Any, rows: tuple[int, ...]) -> None:
        field = Field.parse(text)
        assert (field.kind, field.dtype, field.shape) == ("array", dtype, shape)
        assert field.numpy == np.dtype(dtype)
        assert field.numpy.byteorder in "<|="
        assert field.row_shape == rows

    @pytest.mark.parametrize(
        "text",
        [
            "", "Image", "image ", "array", "text", "float32", "float32[", "float32[]]",
            "float32[-1]", "float32[1.5]", "float32[2,?]", "float32[?,?]", "float32[1,]",
            "float128[2]", "complex64[2]", "object[2]", "str[3]", "float[3]", "int[3]", "<f4[3]",
            "float32[٣]", "float32[1e3]", "float32[??]", "__import__('os')[1]",
        ],
    )  # fmt: skip
    def test_what_is_no_field(self, text: str) -> None:
        with pytest.raises(OptionError, match=r"a field is image, .*int64\[\?\]"):
            Field.parse(text)

    @pytest.mark.parametrize("value", [None, 5, b"int", ["int"], ("int",), {"int": 1}, int])
    def test_what_is_no_text(self, value: Any) -> None:
        with pytest.raises(OptionError, match=re.escape(f"got {value!r}")):
            Field.parse(value)

    @pytest.mark.parametrize(
        "text",
        [
            "float32[1073741824]", "uint8[65536,65536]", "uint8[4294967296]",
            "uint8[?,65536,65536]", "uint8[" + ",".join("1" * 33) + "]",
        ],
    )  # fmt: skip
    def test_an_array_that_no_record_can_hold(self, text: str) -> None:
        with pytest.raises(OptionError, match="too large for a record"):
            Field.parse(text)

    def test_a_length_of_thousands_of_digits(self) -> None:
        with pytest.raises(OptionError):
            Field.parse(f"uint8[{'9' * 10_000}]")

    def test_a_length_that_varies_needs_bytes_to_tell_it_by(self) -> None:
        with pytest.raises(OptionError, match="no bytes to tell its length by"):
            Field.parse("uint8[?,0]")


class TestPlace:
    @pytest.mark.parametrize("text", ["int", "float", "float32[512]", "bool[]", "int64[2,0]"])
    def test_numbers_and_fixed_arrays_have_a_column(self, text: str) -> None:
        assert not Field.parse(text).in_record

    @pytest.mark.parametrize(
        "text", ["image", "mask", "boxes", "str", "json", "bytes", "int64[?]", "float32[?,4]"]
    )
    def test_everything_else_lies_in_the_record(self, text: str) -> None:
        assert Field.parse(text).in_record


class TestFieldsOfAPack:
    def test_the_first_image_comes_first_and_the_rest_keeps_its_order(self) -> None:
        found = parse_fields(
            {"text": "str", "right": "image", "target": "int", "left": "image", "mask": "mask"}
        )
        assert list(found) == ["right", "text", "target", "left", "mask"]
        assert found["left"] == Field("image")

    def test_fields_may_be_text_or_objects(self) -> None:
        array = Field("array", "float32", (None, 2))
        assert parse_fields({"image": Field("image"), "points": array}) == parse_fields(
            {"image": "image", "points": "float32[?,2]"}
        )

    def test_once_parsed_they_stay_as_they_are(self) -> None:
        found = parse_fields({"a": "int", "b": "image", "c": "uint16[3]"})
        assert parse_fields(found) == found
        assert list(parse_fields(found)) == list(found)

    @pytest.mark.parametrize("name", ["a", "0", "A.b-c_d", "x" * 64, "target", "index", "9.5"])
    def test_names(self, name: str) -> None:
        assert parse_fields({"image": "image", name: "int"})[name] == Field("int")

    @pytest.mark.parametrize(
        "name",
        ["", "key", ".a", "-a", "a b", "a/b", "../a", "a\0", "é", "x" * 65, "a\n", None, 5],
    )
    def test_names_that_are_none(self, name: Any) -> None:
        with pytest.raises(OptionError, match="a field's name is up to 64 of"):
            parse_fields({"image": "image", name: "int"})

    @pytest.mark.parametrize("kind", ["str", "float", "int64[1]", "image"])
    def test_a_target_is_an_integer(self, kind: str) -> None:
        with pytest.raises(OptionError, match="'target' must be of kind int, got"):
            parse_fields({"image": "image", "target": kind})

    @pytest.mark.parametrize(("given", "told"), [({}, "none"), ({"a": "mask"}, "a: mask")])
    def test_there_must_be_an_image(self, given: dict[str, str], told: str) -> None:
        with pytest.raises(OptionError, match=f"must be a field of kind image, got {told}"):
            parse_fields(given)

    @pytest.mark.parametrize(
        "field", [Field("photo"), Field("array"), Field("array", "object", (3,))]
    )
    def test_an_object_is_checked_like_its_text(self, field: Field) -> None:
        with pytest.raises(OptionError, match="a field is"):
            parse_fields({"image": "image", "x": field})

    @given(st.dictionaries(st.text(max_size=8), st.one_of(st.text(max_size=8), fields)))
    @settings(max_examples=50)
    def test_anything_is_fields_or_an_option_error(self, given: dict[str, Any]) -> None:
        try:
            found = parse_fields(given)
        except OptionError:
            return
        assert found.keys() == given.keys()
        assert next(iter(found.values())).kind == "image"
