"""The tensors of a batch, however deep they are nested: find them, replace them, move them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

#: What a leaf function of ``rebuild`` returns for "not mine: look inside".
NOT_A_LEAF: Any = object()

# The dense tensors behind the layouts that do not implement ``Tensor.record_stream``.
_PARTS = {
    torch.sparse_coo: ("_indices", "_values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
    torch.jagged: ("values", "offsets", "lengths"),
}


def map_tensors(function: Callable[[Tensor], Any], batch: Any) -> Any:
    """Return ``batch`` with every tensor replaced by ``function(tensor)``.

    Looks into tuples, lists, mappings (their values), namedtuples and dataclass instances (their
    fields), nested in any way but without cycles. Containers keep their type; one that cannot be
    copied or built from its members becomes a plain ``tuple``, ``list`` or ``dict``. Of a dataclass
    instance a shallow copy is changed, so ``__post_init__`` does not run again. A container none of
    whose members changed, and everything else, is returned as the same object. What was shared
    stays shared: ``function`` is called once for each tensor object.
    """
    return rebuild(lambda item: function(item) if isinstance(item, Tensor) else NOT_A_LEAF, batch)


def tensors_in(batch: Any) -> Iterator[Tensor]:
    """Yield each tensor object in ``batch`` once, in order.

    Looks where ``map_tensors`` looks, and into the attributes of objects with a ``to`` method.
    """
    return _walk(batch, {})


def move_to_device(batch: Any, device: torch.device | str | int, non_blocking: bool = False) -> Any:
    """Return ``batch`` with its tensors on ``device``; see ``map_tensors`` for what is kept.

    An object whose class has a ``to`` method (``PackedSequence``, ``BatchEncoding``) is moved by
    it, with ``non_blocking`` if it takes that; some classes do so in place. Tensors that are on the
    device already are not copied. An integer is the index of a CUDA device.
    """
    device = as_device(device)
    return rebuild(partial(move_leaf, device=device, non_blocking=non_blocking), batch)


def as_device(device: torch.device | str | int) -> torch.device:
    """An integer is the index of a CUDA device, whatever accelerator torch finds here."""
    return torch.device("cuda", device) if isinstance(device, int) else torch.device(device)


def move_leaf(item: Any, device: torch.device, non_blocking: bool) -> Any:
    """Move a tensor or another object with a ``to`` method; else ``NOT_A_LEAF``."""
    if not _has_to(item):
        return NOT_A_LEAF
    try:
        return item.to(device, non_blocking=non_blocking)
    except TypeError:
        return item.to(device)


def upload_leaf(item: Any, device: torch.device, hosts: list[Tensor]) -> Any:
    """Like ``move_leaf``, through pinned memory; the tensors copied from are added to ``hosts``."""
    if not _has_to(item):
        return NOT_A_LEAF
    host = _pinned(item)
    tensors = list(tensors_in(host))
    hosts += tensors
    pinned = any(tensor.layout is torch.strided and tensor.is_pinned() for tensor in tensors)
    return move_leaf(host, device, non_blocking=pinned)


def record_use(batch: Any, stream: Any) -> None:
    """Call ``record_stream(stream)`` on every tensor of the batch that is not in host memory."""
    for tensor in tensors_in(batch):
        if tensor.device.type != "cpu":
            for part in dense_parts(tensor):
                part.record_stream(stream)


def _has_to(item: Any) -> bool:
    # Asked of the class: a mapping with attribute access may call one of its keys "to".
    return callable(getattr(type(item), "to", None))


def _pinned(item: Any) -> Any:
    """Return the item in pinned memory, or as it is when it cannot be pinned."""
    if isinstance(item, Tensor) and item.device.type != "cpu":
        return item
    try:
        pinned = item.pin_memory()
    except (AttributeError, RuntimeError):  # no such method, a layout without it, or no memory left
        return item
    return pinned if type(pinned) is type(item) else item  # it would lose a tensor subclass


def dense_parts(tensor: Tensor) -> list[Tensor]:
    """The dense tensors that hold what a tensor has on its device, itself if it is dense."""
    strided_nested = tensor.is_nested and tensor.layout is torch.strided
    names = ("values",) if strided_nested else _PARTS.get(tensor.layout, ())
    if not names:
        return [tensor]
    parts = [getattr(tensor, name)() for name in names]
    return [part for part in parts if part is not None]


def rebuild(leaf: Callable[[Any], Any], batch: Any) -> Any:
    """Return ``batch`` with ``leaf(item)`` for each item for which that is not ``NOT_A_LEAF``."""
    return _rebuild(leaf, batch, {})


def _rebuild(leaf: Callable[[Any], Any], item: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    if id(item) not in done:
        result = leaf(item)
        if result is NOT_A_LEAF:
            members = _members(item)
            mapped = [_rebuild(leaf, member, done) for member in members]
            same = all(new is old for new, old in zip(mapped, members, strict=True))
            result = item if same else _with_members(item, mapped)
        done[id(item)] = (item, result)  # holds the item, so that its id stays its own
    return done[id(item)][1]


def _walk(item: Any, seen: dict[int, Any]) -> Iterator[Tensor]:
    if id(item) in seen:
        return
    seen[id(item)] = item
    if isinstance(item, Tensor):
        yield item
        return
    members = _members(item)
    if not members and _has_to(item):
        members = list(getattr(item, "__dict__", {}).values())
    for member in members:
        yield from _walk(member, seen)


def _members(item: Any) -> list[Any]:
    if isinstance(item, Mapping):
        return list(item.values())
    if isinstance(item, (tuple, list)):
        return list(item)
    return [getattr(item, name) for name in _field_names(item)]


def _field_names(item: Any) -> list[str]:
    """The fields of a dataclass instance that are set; none for anything else."""
    if isinstance(item, type) or not dataclasses.is_dataclass(item):
        return []
    return [field.name for field in dataclasses.fields(item) if hasattr(item, field.name)]


def _with_members(item: Any, members: list[Any]) -> Any:
    """Return a container like ``item`` with other members, of its type if that type allows it."""
    plain: Any = members
    if isinstance(item, Mapping):
        plain = dict(zip(item, members, strict=True))
    elif isinstance(item, tuple):
        plain = tuple(members)
    elif not isinstance(item, list):
        return _dataclass_like(item, members)
    if type(item) is type(plain):
        return plain
    try:
        built = _same_type(item, plain)
        as_given = all(new is old for new, old in zip(_members(built), members, strict=True))
    except Exception:  # user classes may refuse in any way, and the plain type is promised
        return plain
    return built if as_given else plain


def _same_type(item: Any, plain: Any) -> Any:
    kind: Any = type(item)
    if hasattr(kind, "_make"):
        return kind._make(plain)
    # Only these copy their storage; of other classes a shallow copy may share the original's.
    if isinstance(item, tuple) or not (isinstance(item, (dict, list)) or hasattr(kind, "__copy__")):
        return kind(plain)
    clone = copy.copy(item)
    if isinstance(item, list):
        clone[:] = plain
    else:
        for key, value in plain.items():
            clone[key] = value
    return clone


def _dataclass_like(item: Any, members: list[Any]) -> Any:
    clone = copy.copy(item)
    for name, member in zip(_field_names(item), members, strict=True):
        object.__setattr__(clone, name, member)  # frozen ones and init=False fields too
    return clone
