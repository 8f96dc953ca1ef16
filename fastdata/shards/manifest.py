"""pack.json: what a pack contains. It is written last, so a directory without it is not a pack."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import PackFormatError, PackNotFoundError
from ._files import fsync_directory
from .base import STORAGES

FORMAT = "fastdata.pack"
VERSION = 1
MANIFEST = "pack.json"
TABLE = "table.npy"
KEYS = "keys.bin"
KEY_OFFSETS = "keys.npy"
REJECTED = "rejected.jsonl"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Size in bytes and SHA-256 of one file."""

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


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of pack.json.

    ``encoding`` is how records are stored, as a dict with at least ``name``; ``source`` how the
    samples were listed: "folder", "flat" or "labels". ``files`` describes the side files by name.
    """

    samples: int
    storage: str
    encoding: dict[str, Any]
    source: str
    classes: list[str]
    rejected: int
    files: dict[str, FileEntry]
    shards: list[ShardEntry]
    fields: dict[str, str] = field(default_factory=lambda: {"image": "image", "target": "int"})
    format: str = FORMAT
    version: int = VERSION

    def write(self, directory: Path) -> None:
        """Publish the manifest in ``directory``, durably and in one step."""
        text = json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"
        temporary = directory / (MANIFEST + ".tmp")
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, directory / MANIFEST)
        fsync_directory(directory)

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read a pack's manifest.

        Raises:
            PackNotFoundError: there is no pack.json.
            PackFormatError: it is damaged, or written by a newer version of the format.
        """
        path = directory / MANIFEST
        try:
            text = path.read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise PackNotFoundError(_no_pack(directory)) from error
        except (OSError, UnicodeDecodeError) as error:
            raise PackFormatError(f"{path}: cannot be read: {error}") from error
        try:
            return cls._parse(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PackFormatError(f"{path}: {error or type(error).__name__}") from error

    @classmethod
    def _parse(cls, values: Any) -> Manifest:
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ValueError(f"expected a JSON object with format {FORMAT!r}")
        if values["version"] != VERSION:
            raise ValueError(
                f"the pack has format version {values['version']}, this fastdata reads {VERSION}: "
                "upgrade fastdata, or pack again"
            )
        values["files"] = {name: FileEntry(**entry) for name, entry in values["files"].items()}
        values["shards"] = [ShardEntry(**entry) for entry in values["shards"]]
        manifest = cls(**values)
        manifest._check()
        return manifest

    def _check(self) -> None:
        first = 0
        for shard in self.shards:
            if shard.first != first or shard.count < 1:
                raise ValueError(f"shard {shard.file!r} should start at sample {first}")
            # A file name with a path in it could reach outside of the pack.
            if Path(shard.file).name != shard.file or "\\" in shard.file:
                raise ValueError(f"shard name {shard.file!r} is not a plain file name")
            first += shard.count
        if first != self.samples:
            raise ValueError(f"{self.samples} samples are announced, the shards hold {first}")
        if not isinstance(self.encoding.get("name"), str):
            raise ValueError("the encoding has no name")
        if self.storage not in STORAGES:
            raise ValueError(f"unknown storage {self.storage!r}: upgrade fastdata")
        if not all(isinstance(name, str) for name in self.classes):
            raise ValueError("a class name is not a string")


def _no_pack(directory: Path) -> str:
    if directory.is_dir():
        hint = "make one with: fastdata pack SRC DST"
        return f"{directory} is a directory but no pack: it has no {MANIFEST} ({hint})"
    found = "is a file" if directory.exists() else "does not exist"
    return f"no pack at {directory}: it {found}"
