"""pack.json: what a pack contains. It is written last, so a directory without it is not a pack."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..core import Field, fsync_directory, open_regular, parse_fields, write_durably
from ..errors import OptionError, PackFormatError, PackNotFoundError
from .storages import STORAGES

FORMAT = "fastdata.pack"
VERSION = 2
MANIFEST = "pack.json"
REJECTED = "rejected.jsonl"

#: What ``files`` holds besides a column for each field that has one: the role of each side file.
TABLE, KEYS, KEY_OFFSETS, REJECTIONS = "table", "keys", "key_offsets", "rejected"

#: What side files may be called.
SIDE_FILE = re.compile(
    r"(table|keys|rejected|field)(\.[0-9]+)?(-[\w.-]+)?\.(npy|bin|jsonl)", re.ASCII
)

# Some 400,000 shards. Of hostile JSON, objects of twenty times this size are made before it is
# found to be none of ours.
_MOST_BYTES = 64 << 20
_NO_DIGEST = "0" * 64
_DIGEST = re.compile(rb'"sha256": "([0-9a-f]{64})"\n}\n\Z')
_HEX = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Name, size in bytes and SHA-256 of one side file."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One shard: file name, index of its first sample, number of samples, size and SHA-256."""

    file: str
    first: int
    count: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of pack.json.

    Attributes:
        samples: their number.
        storage: a name in ``STORAGES``: "lmdb" or "hdf5".
        encoding: how images are stored, as a dict with at least ``name``.
        source: what the samples came from: "folder", "flat", "labels", …
        classes: class names.
        fields: by name, the kind of each field as ``fastdata.core.fields`` writes it, the
            image first.
        rejected: how many samples were left out.
        files: the side files by role: "table", "keys", "key_offsets", "rejected", and
            "field:NAME" for each column.
        shards: in the order of their samples.
        generation: how often samples have been appended.
    """

    samples: int
    storage: str
    encoding: dict[str, Any]
    source: str
    classes: list[str]
    fields: dict[str, str]
    rejected: int
    files: dict[str, FileEntry]
    shards: list[ShardEntry]
    generation: int = 0
    format: str = FORMAT
    version: int = VERSION

    @property
    def parsed_fields(self) -> dict[str, Field]:
        """``fields`` as objects."""
        return parse_fields(self.fields)

    @property
    def entries(self) -> list[FileEntry | ShardEntry]:
        """Side files and shards."""
        return [*self.files.values(), *self.shards]

    def write(self, directory: Path) -> None:
        """Publish the manifest in ``directory``, durably and in one step."""
        data = self.to_bytes()
        if len(data) > _MOST_BYTES:
            raise PackFormatError(
                f"{MANIFEST} would have {len(data)} bytes, more than {_MOST_BYTES}: make larger "
                f"shards (there are {len(self.shards)}), or fewer classes"
            )
        temporary = directory / (MANIFEST + ".tmp")
        write_durably(temporary, [data])
        os.replace(temporary, directory / MANIFEST)
        fsync_directory(directory)

    def to_bytes(self) -> bytes:
        """The file's content. Its last value is the SHA-256 of all of it, with 64 zeros there."""
        values = {**asdict(self), "sha256": _NO_DIGEST}
        text = (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode("utf-8")
        digest = hashlib.sha256(text).hexdigest().encode("ascii")
        return text[: _DIGEST.search(text).start(1)] + digest + b'"\n}\n'  # type: ignore[union-attr]

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read a pack's manifest.

        Raises:
            PackNotFoundError: there is no pack.json.
            PackFormatError: it is damaged, or written by another version of the format.
        """
        path = directory / MANIFEST
        if not os.path.lexists(path):
            raise PackNotFoundError(_no_pack(directory))
        with os.fdopen(open_regular(path), "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        return cls.parse(data, os.fspath(path))

    @classmethod
    def parse(cls, data: bytes, path: str) -> Manifest:
        """The manifest in a file's bytes; ``path`` is for messages. PackFormatError as ``read``."""
        try:
            if len(data) > _MOST_BYTES:
                raise ValueError(f"more than {_MOST_BYTES} bytes are no {MANIFEST}")
            values = json.loads(data.decode("utf-8"))
            if not isinstance(values, dict) or values.get("format") != FORMAT:
                raise ValueError(f"expected a JSON object with format {FORMAT!r}")
            if values["version"] != VERSION:
                raise ValueError(_other_version(values["version"]))
            _check_digest(data)
            del values["sha256"]
            values["files"] = {role: FileEntry(**entry) for role, entry in values["files"].items()}
            values["shards"] = [ShardEntry(**entry) for entry in values["shards"]]
            manifest = cls(**values)
            manifest._check()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise PackFormatError(f"{path}: {error or type(error).__name__}") from error
        return manifest

    def shortened(self, samples: int) -> Manifest:
        """The same pack as it was when it had so many samples."""
        return replace(self, samples=samples)

    def _check(self) -> None:
        first = 0
        for shard in self.shards:
            if not (_is_count(shard.count) and _is_count(shard.first) and shard.count):
                raise ValueError(f"shard {shard.file!r} has no numbers of samples")
            if shard.first != first:
                raise ValueError(f"shard {shard.file!r} should start at sample {first}")
            first += shard.count
        if first != self.samples:
            raise ValueError(f"{self.samples} samples are announced, the shards hold {first}")
        for entry in self.entries:
            _check_entry(entry)
        names = [entry.file for entry in self.entries]
        if len({*names, MANIFEST}) != len(names) + 1:
            raise ValueError("two files have the same name")
        if not isinstance(self.encoding, dict) or not isinstance(self.encoding.get("name"), str):
            raise ValueError("the encoding has no name")
        if self.storage not in STORAGES:
            raise ValueError(f"unknown storage {self.storage!r}: upgrade fastdata")
        if not isinstance(self.classes, list):
            raise ValueError("the class names are no list")
        if not all(isinstance(name, str) for name in self.classes):
            raise ValueError("a class name is not a string")
        for name in ("samples", "rejected", "generation"):
            if not _is_count(getattr(self, name)):
                raise ValueError(f"{name} is not a number >= 0")
        _check_fields(self.fields, set(self.files))


def _check_entry(entry: FileEntry | ShardEntry) -> None:
    name = entry.file
    # A file name with a path in it could reach outside of the pack.
    if not isinstance(name, str) or Path(name).name != name or set(name) & set("\\/:\0"):
        raise ValueError(f"{name!r} is not a plain file name")
    if not _is_count(entry.bytes) or not _HEX.fullmatch(entry.sha256):
        raise ValueError(f"{name!r} has no size or no SHA-256")


def _check_fields(fields: dict[str, str], roles: set[str]) -> None:
    try:
        parsed = parse_fields(fields)
    except OptionError as error:
        raise ValueError(str(error)) from error
    if list(parsed) != list(fields):
        raise ValueError("the first field is not an image")
    columns = {column_role(name) for name in column_fields(parsed)}
    wanted = {TABLE, KEYS, KEY_OFFSETS, REJECTIONS} | columns
    if wanted != roles:
        missing, strange = sorted(wanted - roles), sorted(roles - wanted)
        raise ValueError(f"side files are missing or unknown: {missing or strange}")


def column_fields(fields: dict[str, Field]) -> list[str]:
    """Names of the fields with a column of their own: all but the image and the target."""
    return [name for name in list(fields)[1:] if name != "target"]


def column_role(name: str) -> str:
    """The role of a field's column among a pack's side files."""
    return f"field:{name}"


def _check_digest(data: bytes) -> None:
    match = _DIGEST.search(data)
    if match is None:
        raise ValueError("its last value is not its SHA-256: damaged or cut off")
    start, stop = match.span(1)
    digest = hashlib.sha256(data[:start] + _NO_DIGEST.encode("ascii") + data[stop:]).hexdigest()
    if digest.encode("ascii") != match[1]:
        raise ValueError("its SHA-256 is not the one in its last line: it has been changed")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _other_version(found: Any) -> str:
    way = "pack again" if isinstance(found, int) and found < VERSION else "upgrade fastdata"
    return f"the pack has format version {found}, this fastdata reads {VERSION}: {way}"


def _no_pack(directory: Path) -> str:
    if directory.is_dir():
        hint = "make one with: fastdata pack SRC DST"
        return f"{directory} is a directory but no pack: it has no {MANIFEST} ({hint})"
    found = "is a file" if directory.exists() else "does not exist"
    return f"no pack at {directory}: it {found}"
