"""Writing a pack one shard at a time, each by itself, in any process.

A shard that is being written lies in a directory of its own. It becomes a *part* in one step, by
renames: the shard's file goes to its place, and then everything that the pack's side files will
have to know of it appears as one file, ``NNNNN.npz``. A part is there whole or not at all, and
writing it twice gives the same bytes, so that it does not matter who writes it, or how often.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core import Field, KeyTable, fsync_directory, fsync_file, fsynced, sha256_file
from ..errors import PackFormatError
from .columns import as_column
from .manifest import column_fields, column_role
from .record import Record
from .storages import storage, suffixes
from .storages.base import Storage, storage_errors
from .table import TABLE_DTYPE

_ROW = tuple[int, ...]
_SHARD_FILE = re.compile(r"shard-([0-9]{5,9})(\..+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartInfo:
    """Description of a part, by itself.

    Attributes:
        file, bytes, sha256: of the shard; bytes is 0 if it has no samples, and then no file.
        count: samples in it.
        items: samples that the source had for it, good or bad.
        bytes_in: bytes read.
        verbatim: number of images that could not be made sliceable, by reason.
        digest: of the items' keys and sizes, where the source cannot list them beforehand.
    """

    file: str
    bytes: int
    sha256: str
    count: int
    items: int
    bytes_in: int
    verbatim: dict[str, int] = field(default_factory=dict)
    digest: str = ""


class Rejection(NamedTuple):
    """A sample that was left out, and why."""

    key: str
    reason: str


class ShardPart(NamedTuple):
    """A part as it was written; see ``ShardPartWriter``."""

    info: PartInfo
    table: NDArray[np.void]
    keys: KeyTable
    columns: dict[str, NDArray[Any]]
    rejections: list[Rejection]

    @classmethod
    def read(cls, path: Path) -> ShardPart:
        """A part's side file.

        Raises:
            PackFormatError: it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as found:
                values = {name: found[name] for name in found.files}
            meta = json.loads(values["meta"].tobytes())
            return cls(
                PartInfo(**meta["info"]),
                values["table"],
                KeyTable(values["key_offsets"], values["keys"]),
                {name[6:]: rows for name, rows in values.items() if name.startswith("field:")},
                [Rejection(*pair) for pair in meta["rejections"]],
            )
        except Exception as error:  # zipfile, NumPy and JSON each have errors of their own
            raise PackFormatError(f"{path}: damaged: {error}") from error


class ShardPartWriter:
    """Builds one shard in a temporary directory; ``commit`` makes it a part.

    Args:
        work: directory of the packing run, which has ``pack`` and ``parts``.
        number: of the shard.
        storage_name: a name in ``STORAGES``.
        fields: the samples' fields, the image first.
        scratch: where it is built, on the same file system; default: ``work``. Once that directory
            is gone, ``commit`` fails, and leaves nothing.
    """

    def __init__(
        self,
        work: Path,
        number: int,
        storage_name: str,
        fields: dict[str, Field],
        scratch: Path | None = None,
    ) -> None:
        kind = storage(storage_name)
        self._work = work
        self._number = number
        self._fields = fields
        self._file = shard_file(number, kind)
        self._directory = Path(tempfile.mkdtemp(prefix=f"tmp-{number:05d}-", dir=scratch or work))
        with storage_errors(work):
            self._shard = kind.writer(self._directory / self._file)
        self._rows: list[_ROW] = []
        self._keys: list[str] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in column_fields(fields)}
        self._rejections: list[Rejection] = []
        self._verbatim: Counter[str] = Counter()
        self._bytes_in = 0

    def add(self, record: Record) -> None:
        """Append a sample; OSError if it cannot be written."""
        with storage_errors(self._work):
            self._shard.add(record.data)
        image = record.image
        shape = (image.height, image.width, image.slice_index, image.orientation, 0, 0)
        self._rows.append((record.target, 0, len(record.data), record.crc32, *shape))
        self._keys.append(record.key)
        for name, rows in self._columns.items():
            rows.append(record.columns[name])
        if image.verbatim:
            self._verbatim[image.verbatim] += 1
        self._bytes_in += record.bytes_in

    def reject(self, rejection: Rejection, bytes_in: int = 0) -> None:
        """Note a sample that is left out."""
        self._rejections.append(rejection)
        self._bytes_in += bytes_in

    def commit(self, digest: str = "") -> PartInfo:
        """Complete and check the shard, then make it appear as a part, durably.

        If that fails, nothing is left of it.

        Raises:
            OSError: it cannot be written.
            PackFormatError: it does not hold what it was given.
        """
        try:
            with storage_errors(self._work):
                self._shard.close()
                return self._publish(digest)
        except BaseException:
            self.abort()
            raise

    def _publish(self, digest: str) -> PartInfo:
        table = np.array(self._rows, TABLE_DTYPE)
        with fsynced(self._directory / self._file):
            table["offset"] = self._shard.locate(table["crc32"])
            info = self._info(digest)
        side = self._directory / part_name(self._number)
        self._write_side_file(side, info, table)
        if info.count:
            os.replace(self._directory / self._file, self._work / "pack" / self._file)
            fsync_directory(self._work / "pack")
        os.replace(side, self._work / "parts" / side.name)
        fsync_directory(self._work / "parts")
        shutil.rmtree(self._directory, ignore_errors=True)
        return info

    def abort(self) -> None:
        """Close what is open after a failure, and remove it."""
        self._shard.abort()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _info(self, digest: str) -> PartInfo:
        count, path = len(self._rows), self._directory / self._file
        return PartInfo(
            file=self._file if count else "",
            bytes=path.stat().st_size if count else 0,
            sha256=sha256_file(path) if count else "",
            count=count,
            items=count + len(self._rejections),
            bytes_in=self._bytes_in,
            verbatim=dict(self._verbatim),
            digest=digest,
        )

    def _write_side_file(self, path: Path, info: PartInfo, table: NDArray[np.void]) -> None:
        keys = KeyTable.from_strings(self._keys)
        columns = {
            column_role(name): as_column(self._fields[name], rows)
            for name, rows in self._columns.items()
        }
        meta = json.dumps({"info": asdict(info), "rejections": self._rejections})
        arrays = {
            "table": table,
            "key_offsets": keys.offsets,
            "keys": keys.blob,
            "meta": np.frombuffer(meta.encode("utf-8"), np.uint8),
        }
        np.savez(path, **arrays, **columns)  # type: ignore[arg-type]
        fsync_file(path)


def part_name(number: int) -> str:
    """The side file of shard ``number``."""
    return f"{number:05d}.npz"


def shard_file(number: int, kind: Storage) -> str:
    """The name of the file of shard ``number``."""
    return f"shard-{number:05d}{kind.suffix}"


def shard_number(file: str) -> int | None:
    """The number of the shard whose file, of whichever storage, has this name; None if none has."""
    match = _SHARD_FILE.fullmatch(file)
    return int(match[1]) if match and match[2] in suffixes() else None
