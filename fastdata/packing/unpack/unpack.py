"""From a pack back to files: a folder of images, with a table beside it, or tar archives."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from ...core import TARGET
from ...errors import OptionError, PackExistsError, PackFormatError
from ...images import sniff
from ...sources import IMAGE_COLUMNS, Sidecar, sidecar_path
from ...store import PackReader
from ..workspace.publish import check_directory, resumable_directory, was_finished
from .tar import write_tars
from .values import (
    SUFFIX_OF,
    FileContent,
    field_file,
    plain_value,
    safe_name,
    sample_key,
)

FORMATS = ("folder", "csv", "tar")


def unpack(
    path: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    to: str = "folder",
    quiet: bool = False,
) -> int:
    """Write every sample of a pack to files; return their number.

    A pack made with encoding "keep" gives back the very files, one made with "sliceable" the same
    pixels and metadata in rewritten JPEGs. Otherwise the stored images are written: "jpeg" and
    "png" records as they are, "raw" ones as PNG; where a key has another extension, the right one
    is appended.

    What is written below ``dst``:

    - "folder": each image under its key. Where the keys' directories are not the classes, there is
      ``labels.csv``, too. Of a pack with more fields than image and target, there are
      ``FIELD/KEY.png`` for each mask, ``FIELD/KEY`` for further images, ``FIELD/KEY.bin`` for
      bytes, and ``manifest.jsonl``: a line for each sample, with the files' paths and all other
      values.
    - "csv": each image, and ``labels.csv`` with path, target, numbers and strings.
    - "tar": WebDataset shards, ``00000.tar`` and so on, in which a sample's files share a name:
      the image, ``.cls``, and each other field under ``.NAME.EXTENSION``: PNG for masks, npy for
      arrays and boxes, txt, json, and no extension for bytes, if the name is not one itself.

    Beside each table there is a file that tells the columns' kinds and the class names, so that
    packing the table gives all its values again, and beside archives one with the class names (see
    ``fastdata.sources.sidecar``).

    If it is stopped, the same call goes on.

    Args:
        path: the pack, or its URL.
        dst: a new path.
        to: "folder", "csv" or "tar".
        quiet: no progress bar, which otherwise shows where standard error is a terminal.

    Raises:
        OptionError: ``to`` is none of the three.
        PackNotFoundError: there is no pack at ``path``.
        PackExistsError: ``dst`` exists.
        PackFormatError: the pack is damaged, or a key would lie outside of ``dst``.
        PackingError: ``dst`` cannot be written.

    Example:
        >>> fastdata.unpack("photos.pack", "files", quiet=True)
        8
        >>> fastdata.ImageFolder("files").keys[0]
        'cat/0.jpg'
    """
    if to not in FORMATS:
        raise OptionError(f"to must be one of {', '.join(FORMATS)}; got {to!r}")
    target = Path(dst)
    reader = PackReader(path, verify="always")
    job = f"unpack {to} {reader.manifest.to_bytes().hex()[-140:]}"
    if was_finished(target, job):
        return len(reader)
    if os.path.lexists(target):
        raise PackExistsError(f"{target} exists; unpack to a new path")
    if isinstance(reader.path, Path):
        check_directory([reader.path], target)
    try:
        with (
            resumable_directory(target, job) as partial,
            tqdm(total=len(reader), unit="img", disable=True if quiet else None) as bar,
        ):
            if to == "tar":
                write_tars(reader, partial, bar.update)
            else:
                _Folder(reader, partial, to).write(bar.update)
    finally:
        reader.close()
    return len(reader)


class _Folder:
    """Writes a pack's samples below a directory."""

    def __init__(self, pack: PackReader, root: Path, to: str) -> None:
        self._pack = pack
        self._root = root
        others = [name for name in pack.fields if name not in (pack.image_name, TARGET)]
        files = {name for name, kind in pack.kinds.items() if kind.is_file}
        self._rich = to == "folder" and bool(others)
        self._csv = to == "csv" or not (others or _is_class_tree(pack))
        self._files = files if self._rich else set()
        if self._rich:
            self._values = pack.kinds.keys() - files
        else:
            self._values = {n for n, kind in pack.kinds.items() if kind.in_csv and self._csv}
        columns = (*IMAGE_COLUMNS, *(f"path.{i}" for i in range(len(others))))
        self._image = next(name for name in columns if name not in others)

    def write(self, progress: Callable[[int], object]) -> None:
        """Write all of them, and the table that goes with them."""
        pack = self._pack
        if pack.manifest.source == "folder":  # a class without images is still a class
            for name in pack.manifest.classes:
                (self._root / safe_name(pack, name)).mkdir(exist_ok=True)
        rows = []
        for index in range(len(pack)):
            rows.append(self._sample(index))
            progress(1)
        if self._rich:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (self._root / "manifest.jsonl").write_text("".join(lines), "utf-8")
            self._write_sidecar(self._root / "manifest.jsonl", rows)
        elif self._csv:
            _write_csv(self._root / "labels.csv", rows)
            self._write_sidecar(self._root / "labels.csv", rows)

    def _write_sidecar(self, table: Path, rows: list[dict[str, Any]]) -> None:
        pack = self._pack
        columns = [name for name in rows[0] if name not in (self._image, TARGET)] if rows else []
        kinds = {name: str(pack.fields[name]) for name in columns}
        known = Sidecar(self._image, pack.image_name, kinds, pack.manifest.classes)
        sidecar_path(table).write_text(known.to_json(), "utf-8")

    def _sample(self, index: int) -> dict[str, Any]:
        """Write a sample's files; returns its row."""
        pack = self._pack
        key, record = sample_key(pack, index), pack.read(index)
        row: dict[str, Any] = {}
        for name in pack.fields:
            if name == pack.image_name:
                row[self._image] = self._write("", key, field_file(pack, index, name, record))
            elif name in self._files:
                row[name] = self._write(name, key, field_file(pack, index, name, record))
            elif name in self._values:
                row[name] = plain_value(pack, index, name, record)
        return row

    def _write(self, directory: str, key: str, content: FileContent) -> str:
        """Write a file and return the name used: the key, with a suffix where it needs one.

        A file of the same content is there if it was written before the run was stopped.
        """
        suffixes = content.suffixes
        if not PurePosixPath(key).suffix and not suffixes:
            suffixes = (SUFFIX_OF.get(sniff(content.data) or "", ".jpg"),)
        if suffixes and PurePosixPath(key).suffix.lower() not in suffixes:
            key += suffixes[0]
        name = f"{directory}/{key}" if directory else key
        file = self._root / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise PackFormatError(
                f"{self._pack.path}: {key!r} would lie below a file of another sample"
            ) from error
        while file.exists() and not (file.is_file() and file.read_bytes() == content.data):
            if not suffixes:
                raise PackFormatError(f"{key!r} would be written twice, with different contents")
            name += suffixes[0]  # the folder had a.jpg, which became a.jpg.png, and a.jpg.png
            file = self._root / name
        if not file.exists():
            temporary = file.with_name(".unpacking")
            temporary.write_bytes(content.data)
            os.replace(temporary, file)
        return name


def _is_class_tree(pack: PackReader) -> bool:
    """True if each key's first directory is the sample's class, as in a folder of classes; or no
    sample has a class."""
    if TARGET not in pack.fields or pack.manifest.source in ("folder", "flat"):
        return True
    if pack.manifest.source in ("labels", "table"):
        return False
    classes = pack.manifest.classes
    return all(
        0 <= target < len(classes) and sample_key(pack, index).startswith(classes[target] + "/")
        for index, target in enumerate(pack.targets.tolist())
    )


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]) if rows else ["path", "target"])
        table.writeheader()
        table.writerows(rows)
