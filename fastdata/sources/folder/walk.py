"""Images below a directory: their names, in torchvision's order, and what else was met."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ...errors import SourceError
from ..base import Findings

#: torchvision's list, and avif.
EXTENSIONS = (
    ".avif", ".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip


class Walk:
    """Finds images below a directory, collecting what the user should hear about on the way."""

    def __init__(self, base: Path) -> None:
        self._base = os.fspath(base)
        self.findings = Findings()

    def images(self, start: str) -> Iterator[str]:
        """Keys of all images below ``start`` in torchvision's order: by directory, then name."""
        try:
            directories = sorted(self._directories(start))
        except OSError as error:
            raise SourceError(f"cannot list {error.filename}: {error.strerror}") from error
        for directory, files in directories:
            yield from (f"{directory}/{name}" if directory else name for name in files)

    def _directories(self, start: str) -> Iterator[tuple[str, list[str]]]:
        pending = [(start, (_identity(self._base),) if start else ())]
        while pending:
            relative, parents = pending.pop()
            path = os.path.join(self._base, relative)
            identity = _identity(path)
            if identity in parents:
                self.findings.notes.append(
                    f"{relative}: a link back to a directory above it, not followed"
                )
                continue
            files: list[str] = []
            below: list[str] = []
            rejected, notes = self.findings.rejected, self.findings.notes
            told = len(rejected), len(notes)
            with os.scandir(path) as entries:
                for entry in entries:  # sorting names takes less memory than sorting entries
                    self._sort_in(entry, relative, files, below)
            files.sort()
            below.sort()
            rejected[told[0] :] = sorted(rejected[told[0] :])
            notes[told[1] :] = sorted(notes[told[1] :])
            yield relative, files
            pending += [(_joined(relative, name), (*parents, identity)) for name in below[::-1]]

    def _sort_in(
        self, entry: os.DirEntry[str], relative: str, files: list[str], below: list[str]
    ) -> None:
        where = _joined(relative, entry.name)
        directory, image = is_directory(entry), is_image(entry.name)
        if not is_utf8(entry.name) and (directory or image):
            self.findings.rejected.append((escaped(where), "the name is not valid UTF-8"))
        elif directory:
            below.append(entry.name)
            if image:
                self.findings.notes.append(
                    f"{where}: a directory, though named like an image; the images in it are used"
                )
        elif image:
            files.append(entry.name)
        else:
            suffix = os.path.splitext(entry.name)[1].lower()
            self.findings.ignored[escaped(suffix) or "(none)"] += 1


def _joined(relative: str, name: str) -> str:
    return f"{relative}/{name}" if relative else name


def _identity(path: str) -> tuple[int, int]:
    return (status := os.stat(path)).st_dev, status.st_ino


def is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)  # as torchvision: ".jpg" alone is an image, too


def is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; reading it will fail, with its name
        return False


def is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def escaped(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
