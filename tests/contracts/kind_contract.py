"""What every kind of field promises, checked on any of them: no form of a value loses anything."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from fastdata.core import Kind, kind_of
from fastdata.core.fields import Field


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal to the last bit, and of one type."""
    if isinstance(one, np.ndarray):
        facts = [(array.dtype, array.shape, array.tobytes()) for array in (one, other)]
        return facts[0] == facts[1]
    return type(one) is type(other) and repr(one) == repr(other)


def check_kind(text: str, value: Any) -> None:
    """Hold the kind of the field that ``text`` describes to its promises about one value."""
    kind = kind_of(Field.parse(text))
    checked = kind.check(value)
    assert same(kind.check(checked), checked)
    found = kind.load(memoryview(kind.dump(checked)))
    assert same(found, checked)
    assert not isinstance(found, np.ndarray) or found.flags.writeable
    if not kind.in_record:
        _check_row(kind, checked)
    assert same(kind.from_json(json.loads(json.dumps(kind.to_json(checked)))), checked)
    if kind.in_csv:
        assert same(kind.from_json(kind.from_cell(str(kind.to_json(checked)))), checked)
    if kind.read_from:
        _check_file(kind, checked)
    if kind.may_lack:
        assert same(kind.check(kind.empty), kind.empty)


def _check_row(kind: Kind, checked: Any) -> None:
    dtype, shape = kind.row
    column = np.zeros((2, *shape), dtype)
    column[1] = checked
    assert same(kind.from_row(column[1]), checked)
    assert column[1].tobytes() == kind.dump(checked)


def _check_file(kind: Kind, checked: Any) -> None:
    content = kind.to_file(checked)
    assert kind.suffix in kind.read_from
    # An .npy file has a length of its own, so it makes a field in which that does not vary.
    read = kind_of(Field.parse(type(kind).type_of_file(content)))
    assert same(read.from_file(content), checked)
