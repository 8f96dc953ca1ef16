from __future__ import annotations

import dataclasses
from collections import ChainMap, OrderedDict, UserDict, defaultdict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from fastdata.core.nested import dense_parts, map_tensors, move_to_device, tensors_in

META = torch.device("meta")


class Pair(NamedTuple):
    image: Any
    target: Any


@dataclasses.dataclass(frozen=True)
class Frozen:
    image: Any
    target: Any


@dataclasses.dataclass
class Derived:
    image: Any
    made: int = dataclasses.field(default=0, init=False)
    double: Any = dataclasses.field(init=False)
    scale: dataclasses.InitVar[int] = 2

    def __post_init__(self, scale: int) -> None:
        self.made += 1
        self.double = [self.image, scale]


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    image: Any


class TaggedList(list[Any]):
    tag = "none"


class TaggedDict(dict[str, Any]):
    tag = "none"


class StubbornTuple(tuple[Any, ...]):
    def __new__(cls, first: Any, second: Any) -> StubbornTuple:
        return super().__new__(cls, (first, second))


def tagged(values: list[Any]) -> TaggedList:
    result = TaggedList(values)
    result.tag = "kept"
    return result


def defaulting(values: dict[str, Any]) -> defaultdict[str, Any]:
    return defaultdict(list, values)


TENSORS = st.integers(0, 4).map(lambda size: torch.arange(size, dtype=torch.int16))
OTHERS = st.one_of(
    st.integers(), st.none(), st.text(), st.binary(), st.just(np.arange(3)), st.just(torch.uint8)
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=3)
    dicts = st.dictionaries(st.text(max_size=3), inner, max_size=3)
    return st.one_of(
        lists,
        lists.map(tuple),
        lists.map(tagged),
        dicts,
        dicts.map(OrderedDict),
        dicts.map(defaulting),
        dicts.map(MappingProxyType),
        dicts.map(UserDict),
        st.builds(Pair, inner, inner),
        st.builds(Frozen, inner, inner),
        st.builds(Derived, inner),
        st.builds(Slotted, inner),
    )


BATCHES = st.recursive(TENSORS | OTHERS, containers, max_leaves=12)


def unfold(item: Any) -> Iterator[tuple[Any, Any]]:
    """Each node of a structure, outermost first, as its type and its keys or itself."""
    if isinstance(item, Mapping):
        yield type(item), list(item)
        inner = list(item.values())
    elif isinstance(item, (list, tuple)):
        yield type(item), len(item)
        inner = list(item)
    elif dataclasses.is_dataclass(item):
        names = [field.name for field in dataclasses.fields(item)]
        yield type(item), names
        inner = [getattr(item, name) for name in names]
    else:
        yield type(item), item
        return
    for member in inner:
        yield from unfold(member)


@given(BATCHES)
def test_moving_keeps_the_structure_and_moves_every_tensor(batch: Any) -> None:
    before = list(unfold(batch))
    after = list(unfold(move_to_device(batch, META)))
    assert [kind for kind, _ in after] == [kind for kind, _ in before]
    for (_, old), (_, new) in zip(before, after, strict=True):
        if isinstance(old, Tensor):
            assert (new.device, new.shape, new.dtype) == (META, old.shape, old.dtype)
        elif isinstance(old, list):
            assert new == old
        else:
            assert new is old or new == old


@given(BATCHES)
def test_the_source_is_left_alone(batch: Any) -> None:
    before = [(kind, id(value)) for kind, value in unfold(batch) if isinstance(value, Tensor)]
    move_to_device(batch, META)
    after = [(kind, id(value)) for kind, value in unfold(batch) if isinstance(value, Tensor)]
    assert after == before
    assert all(tensor.device.type == "cpu" for tensor in tensors_in(batch))


@given(BATCHES)
def test_tensors_in_finds_each_tensor_once_in_order(batch: Any) -> None:
    expected: list[int] = []
    for _, value in unfold(batch):
        if isinstance(value, Tensor) and id(value) not in expected:
            expected.append(id(value))
    assert [id(tensor) for tensor in tensors_in(batch)] == expected


@given(BATCHES)
def test_what_does_not_change_is_the_same_object(batch: Any) -> None:
    assert map_tensors(lambda tensor: tensor, batch) is batch
    assert move_to_device(batch, "cpu") is batch
    moved = move_to_device(batch, META)
    assert move_to_device(moved, META) is moved


def test_values_arrive() -> None:
    batch = {"image": [torch.tensor([1, 2])], "target": Pair(torch.tensor(3), "cat")}
    mapped = map_tensors(lambda tensor: tensor * 10, batch)
    assert mapped["image"][0].tolist() == [10, 20]
    assert mapped["target"].image.item() == 30
    assert mapped["target"].target == "cat"


def test_shared_references_stay_shared() -> None:
    tensor = torch.zeros(2)
    part = [tensor]
    moved = move_to_device({"a": part, "b": part, "c": tensor}, META)
    assert moved["a"] is moved["b"]
    assert moved["a"][0] is moved["c"]


def test_members_that_exist_only_while_read_are_not_confused() -> None:
    class Fresh(Mapping[int, Tensor]):
        def __init__(self, start: int) -> None:
            self.start = start

        def __getitem__(self, key: int) -> Tensor:
            return torch.full((1,), self.start + key)

        def __iter__(self) -> Iterator[int]:
            return iter(range(50))

        def __len__(self) -> int:
            return 50

    mapped = map_tensors(lambda tensor: tensor + 1, [Fresh(0), Fresh(1000)])
    assert [value.item() for value in mapped[0].values()] == list(range(1, 51))
    assert [value.item() for value in mapped[1].values()] == list(range(1001, 1051))


def test_subclasses_keep_what_they_carry() -> None:
    source = TaggedDict(x=torch.zeros(1))
    source.tag = "kept"
    moved = move_to_device(
        (tagged([torch.zeros(1)]), source, defaulting({"x": torch.ones(1)})), META
    )
    assert (moved[0].tag, moved[1].tag) == ("kept", "kept")
    assert moved[2]["new"] == []


def test_dataclasses_are_copied_without_running_their_constructor() -> None:
    source = Derived(torch.zeros(2), scale=7)
    moved = move_to_device(source, META)
    assert (moved.image.device, moved.made, moved.double[1]) == (META, 1, 7)
    assert moved.double[0] is moved.image
    assert source.image.device.type == "cpu"


def test_unset_fields_stay_unset() -> None:
    @dataclasses.dataclass
    class Partial:
        image: Tensor
        later: Tensor = dataclasses.field(init=False)

    moved = move_to_device(Partial(torch.zeros(1)), META)
    assert moved.image.device == META
    assert not hasattr(moved, "later")


def test_types_that_cannot_be_built_become_plain() -> None:
    class OneShotList(list[Any]):
        def __setitem__(self, *_: Any) -> None:
            raise RuntimeError("read only")

    moved = move_to_device([StubbornTuple(torch.zeros(1), 2), OneShotList([torch.zeros(1)])], META)
    assert [type(item) for item in moved] == [tuple, list]
    assert moved[0][1] == 2
    assert all(tensor.device == META for tensor in tensors_in(moved))


def test_a_mapping_whose_copy_shares_storage_is_not_changed() -> None:
    source = ChainMap({"x": torch.zeros(1)}, {"y": torch.ones(1)})
    moved = move_to_device(source, META)
    assert {key: value.device for key, value in moved.items()} == {"x": META, "y": META}
    assert [tensor.device.type for tensor in tensors_in(source)] == ["cpu", "cpu"]


def test_objects_move_themselves() -> None:
    class Old:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor

        def to(self, device: torch.device) -> Old:
            return Old(self.tensor.to(device))

    packed = pack_sequence([torch.arange(3.0), torch.arange(2.0)])
    moved = move_to_device({"words": packed, "old": Old(torch.zeros(1))}, META)
    assert type(moved["words"]) is type(packed)
    assert moved["words"].data.device == META
    assert moved["words"].batch_sizes.tolist() == [2, 2, 1]  # these stay on the CPU
    assert moved["old"].tensor.device == META
    assert [tensor.device for tensor in tensors_in(moved["old"])] == [META]


def test_objects_are_told_non_blocking() -> None:
    class New:
        def to(self, device: torch.device, non_blocking: bool = False) -> tuple[Any, bool]:
            return device, non_blocking

    assert move_to_device([New()], "meta", non_blocking=True) == [(META, True)]


def test_a_key_named_to_is_no_method() -> None:
    class Attributes(dict[str, Any]):
        def __getattr__(self, name: str) -> Any:
            if name in self:
                return self[name]
            raise AttributeError(name)

    moved = move_to_device(Attributes(to=print, x=torch.zeros(1)), META)
    assert type(moved) is Attributes
    assert moved["x"].device == META


@pytest.mark.parametrize("item", [Frozen, Tensor, torch.float32, object(), {1, 2}, range(3), b"x"])
def test_anything_else_passes_through(item: Any) -> None:
    assert move_to_device(item, META) is item
    assert list(tensors_in(item)) == []


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize(
    "layout",
    [torch.strided, torch.jagged, torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, None],
)
def test_the_parts_of_a_tensor_are_dense_and_share_its_memory(layout: torch.layout | None) -> None:
    rows = [torch.arange(3.0) + 1, torch.arange(2.0) + 4]
    if layout is None:
        tensor = torch.arange(5.0) + 1
    elif layout in (torch.strided, torch.jagged):
        tensor = torch.nested.nested_tensor(rows, layout=layout)
    else:
        tensor = torch.diag(torch.arange(5.0) + 1).to_sparse(layout=layout)
    parts = dense_parts(tensor)
    assert all(part.layout is torch.strided and not part.is_nested for part in parts)
    (values,) = [part for part in parts if part.is_floating_point()]
    assert values.tolist() == [1, 2, 3, 4, 5]
    addresses = [again.data_ptr() for again in dense_parts(tensor)]
    assert addresses == [part.data_ptr() for part in parts]
