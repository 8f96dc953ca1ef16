"""Bytes of any length: ``str``, ``json`` and ``bytes``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from ...errors import DecodeError, described
from ..text import dump_json, load_json, shown, utf8
from .base import Kind


class StrKind(Kind):
    """Text."""

    name = "str"
    in_csv = True
    suffix = "txt"
    own_name = "text"
    read_from: ClassVar[Sequence[str]] = ("txt", "text")
    may_lack = True
    empty = ""

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise DecodeError(f"expected text, found {described(value)}")
        return value

    def dump(self, value: str) -> bytes:
        return utf8(value)

    def load(self, data: bytes | memoryview) -> str:
        return str(data, "utf-8")

    def from_json(self, value: Any) -> str:
        if not isinstance(value, str):
            raise DecodeError(f"expected text, found {shown(value)}")
        return value

    def from_cell(self, text: str) -> str:
        return text

    def to_file(self, value: str) -> bytes:
        return utf8(value)

    def from_file(self, data: bytes) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DecodeError(f"expected UTF-8 text: {error}") from error


class JsonKind(Kind):
    """Whatever JSON can say."""

    name = "json"
    read_from: ClassVar[Sequence[str]] = ("json",)
    may_lack = True

    def check(self, value: Any) -> Any:
        return value  # writing it tells

    def dump(self, value: Any) -> bytes:
        return dump_json(value)

    def load(self, data: bytes | memoryview) -> Any:
        return json.loads(bytes(data))

    def from_file(self, data: bytes) -> Any:
        try:
            return load_json(data.decode("utf-8"))
        except ValueError as error:
            raise DecodeError(f"expected JSON: {error}") from error


class BytesKind(Kind):
    """Anything else."""

    name = "bytes"
    is_file = True
    suffix = "bin"
    own_name = ""
    may_lack = True
    empty = b""

    def check(self, value: Any) -> bytes:
        if not isinstance(value, bytes):
            raise DecodeError(f"expected bytes, found {described(value)}")
        return value

    def dump(self, value: bytes) -> bytes:
        return value

    def load(self, data: bytes | memoryview) -> bytes:
        return bytes(data)
