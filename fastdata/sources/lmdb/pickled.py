"""Numbers, text, byte strings, tuples and lists out of a pickle, without unpickling.

A tiny interpreter of the opcodes that such values need (Python's ``pickletools`` documents all of
them). Whatever could name or run code is refused, and nothing is copied: a byte string is given as
the place where it lies.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

_MOST_OPCODES = 64
_STOP, _MARK = b".", b"("
_INTEGERS = {b"K": "<B", b"M": "<H", b"J": "<i"}  # BININT1, BININT2, BININT
_LONG1 = b"\x8a"
_MOST_LONG = 8
_BYTES = {b"C": "<B", b"B": "<I", b"\x8e": "<Q"}  # SHORT_BINBYTES, BINBYTES, BINBYTES8
_TEXTS = {b"\x8c": "<B", b"X": "<I"}  # SHORT_BINUNICODE, BINUNICODE
_MOST_TEXT = 1 << 16
_SKIPPED = {b"\x80": 1, b"\x95": 8, b"\x94": 0, b"q": 1, b"r": 4}  # PROTO FRAME MEMOIZE BINPUT*
_TUPLES = {b")": 0, b"\x85": 1, b"\x86": 2, b"\x87": 3}  # EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3
_EMPTY_LIST, _TUPLE, _APPEND, _APPENDS = b"]", b"t", b"a", b"e"
_CODE = (b"c", b"\x93", b"R", b"\x81", b"b", b"i", b"o")  # GLOBAL, STACK_GLOBAL, REDUCE, NEWOBJ …


class Span(NamedTuple):
    """Place of a byte string."""

    start: int
    size: int


def read_pickle(data: memoryview) -> Any:
    """The value: an int, a str, a ``Span`` for bytes, or a tuple or list of such.

    Raises:
        ValueError: it is no pickle, is damaged, or holds anything else. Nothing was executed.
    """
    if len(data) < 2 or data[0] != 0x80:
        raise ValueError("not a pickle of protocol 2 or later")
    return _Machine(data).run()


class _Machine:
    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []

    def run(self) -> Any:
        for _ in range(_MOST_OPCODES):
            opcode = bytes(self._take(1))
            if opcode == _STOP:
                return self._result()
            self._step(opcode)
        raise ValueError(f"more than {_MOST_OPCODES} opcodes")

    def _step(self, opcode: bytes) -> None:
        if opcode in _SKIPPED:
            self._take(_SKIPPED[opcode])
        elif opcode == _MARK:
            self._marks.append(len(self._stack))
        elif opcode in _TUPLES:
            self._stack.append(tuple(self._pop(_TUPLES[opcode])))
        elif opcode == _TUPLE:
            self._stack.append(tuple(self._pop_to_mark()))
        elif opcode == _EMPTY_LIST:
            self._stack.append([])
        elif opcode in (_APPEND, _APPENDS):
            self._append(self._pop(1) if opcode == _APPEND else self._pop_to_mark())
        else:
            self._stack.append(self._atom(opcode))

    def _atom(self, opcode: bytes) -> int | str | Span:
        if opcode in _INTEGERS:
            return self._number(_INTEGERS[opcode])
        if opcode == _LONG1:
            data = self._take(min(self._number("<B"), _MOST_LONG + 1))
            if len(data) > _MOST_LONG:
                raise ValueError("an integer of more than 64 bits")
            return int.from_bytes(data, "little", signed=True)
        if opcode in _BYTES:
            size, start = self._number(_BYTES[opcode]), self._at
            self._take(size)
            return Span(start, size)
        if opcode in _TEXTS:
            size = self._number(_TEXTS[opcode])
            if size > _MOST_TEXT:
                raise ValueError(f"text of {size} bytes")
            return bytes(self._take(size)).decode("utf-8", "surrogatepass")
        raise ValueError(self._refusal(opcode))

    def _refusal(self, opcode: bytes) -> str:
        if opcode not in _CODE:
            return f"opcode {opcode!r} at byte {self._at - 1}, which is not for bytes and numbers"
        return (
            f"opcode {opcode!r} at byte {self._at - 1}, which would run code: an array or object, "
            "or bytes pickled by protocol 2 or older; only bytes and numbers pickled by protocol 3 "
            "or later are read"
        )

    def _number(self, layout: str) -> int:
        return int(struct.unpack(layout, self._take(struct.calcsize(layout)))[0])

    def _take(self, size: int) -> memoryview:
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise ValueError(f"cut off: {size} bytes at byte {start} of {len(self._data)}")
        return self._data[start : self._at]

    def _pop(self, count: int) -> list[Any]:
        start = len(self._stack) - count
        if start < (self._marks[-1] if self._marks else 0):
            raise ValueError(f"too few values at byte {self._at}")
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def _pop_to_mark(self) -> list[Any]:
        if not self._marks:
            raise ValueError(f"no mark at byte {self._at}")
        taken = self._pop(len(self._stack) - self._marks[-1])
        self._marks.pop()
        return taken

    def _append(self, values: list[Any]) -> None:
        if not self._stack or not isinstance(self._stack[-1], list):
            raise ValueError(f"no list at byte {self._at}")
        self._stack[-1].extend(values)

    def _result(self) -> Any:
        if len(self._stack) != 1 or self._marks or self._at != len(self._data):
            raise ValueError(f"not one whole value, at byte {self._at} of {len(self._data)}")
        return self._stack[0]
