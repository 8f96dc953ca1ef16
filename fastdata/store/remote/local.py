"""A directory of this machine as a place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ...errors import PackNotFoundError
from .place import Place, Watch, checked_name, temporary_beside

_BLOCK = 4 << 20


class LocalPlace(Place):
    """A directory of this machine. It need not exist; ``put`` makes it."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def describe(self, name: str = "") -> str:
        return str(self.root / name)

    def local_path(self, name: str) -> Path:
        return self.root / checked_name(name)

    def size(self, name: str) -> int:
        path = self._existing(name)
        return path.stat().st_size

    def names(self) -> list[str]:
        found = [path for path in self.root.rglob("*") if path.is_file()]
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def put(self, local_path: Path, name: str) -> None:
        target = self.local_path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(target) as temporary:
            shutil.copyfile(local_path, temporary)
            os.replace(temporary, target)

    def delete(self, name: str) -> None:
        self.local_path(name).unlink(missing_ok=True)

    def download(
        self,
        name: str,
        path: Path,
        *,
        most: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        watch = Watch(self.describe(name), most, cancelled)
        with self._existing(name).open("rb") as source, path.open("wb") as target:
            while block := source.read(_BLOCK):
                watch.add(len(block))
                target.write(block)

    def _existing(self, name: str) -> Path:
        path = self.local_path(name)
        if not path.is_file():  # a named pipe, too, is none: reading it would wait for ever
            raise PackNotFoundError(f"{path}: there is no such file")
        return path
