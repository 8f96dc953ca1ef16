"""The images and the packs that all contenders read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ..contenders.contenders import PackSpec
from .errors import BenchmarkError

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"}


class File(NamedTuple):
    """An image file that Pillow can decode."""

    path: Path
    label: str
    width: int
    height: int


def default_work_folder() -> Path:
    """Where generated images stay from one run to the next."""
    return Path(tempfile.gettempdir()) / "fastdata-benchmarks"


def generated_images(work: Path, count: int, size: str | None = None, classes: int = 10) -> Path:
    """A folder of ``count`` seeded images, made by ``tools/make_images`` unless it is there.

    ``size`` is HEIGHTxWIDTH for all of them; None takes a mix like ImageNet's.
    """
    more = [size] * (size is not None) + [f"{classes}-classes"] * (classes != 10)
    folder = work / "-".join(["made", str(count), *more])
    if folder.exists():
        return folder
    work.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix="making-", dir=work))
    command = [sys.executable, str(ROOT / "tools/make_images"), str(partial)]
    command += ["--count", str(count), "--classes", str(min(classes, count))]
    command += ["--size", size] if size else []
    if subprocess.run(command, stdout=sys.stderr).returncode:
        shutil.rmtree(partial)
        raise BenchmarkError("tools/make_images failed: see above, or give images with --data")
    partial.rename(folder)
    return folder


def lay_out(source: Path, count: int, folder: Path, link: bool = True) -> dict[str, Any]:
    """Fill ``folder`` with exactly ``count`` images of ``source``; return what is in it.

    A larger source gives an evenly spaced choice, a smaller one is repeated. Files are hard links
    where ``link`` says so and the file system allows that. What Pillow cannot decode is left out,
    and counted.
    """
    found = [p for p in sorted(source.rglob("*")) if p.suffix.lower() in SUFFIXES and p.is_file()]
    chosen = [found[i * len(found) // count] for i in range(count)] if len(found) > count else found
    files = [file for path in chosen if (file := inspect(path, source))]
    if not files:
        raise BenchmarkError(f"no image that Pillow can decode in {source}")
    placed = [files[i % len(files)] for i in range(count)]
    for i, file in enumerate(placed):
        place(file, folder / file.label / f"{i:07d}{file.path.suffix.lower()}", link)
    total = sum(file.path.stat().st_size for file in placed)
    return {
        "files": len(files),
        "unreadable": len(chosen) - len(files),
        "images": count,
        "classes": len({file.label for file in placed}),
        "bytes": total,
        "mean_bytes": total / count,
        "mean_width": sum(file.width for file in placed) / count,
        "mean_height": sum(file.height for file in placed) / count,
    }


def inspect(path: Path, source: Path) -> File | None:
    """The file's class directory and size; None if Pillow cannot decode it."""
    parts = path.relative_to(source).parts
    try:
        with Image.open(path) as image:
            image.convert("RGB")
            return File(path, parts[0] if len(parts) > 1 else "all", *image.size)
    except (OSError, SyntaxError, ValueError):  # the three that Pillow's decoders raise
        return None


def place(file: File, target: Path, link: bool = True) -> None:
    """Link the file, or copy it, as one has to to another file system."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not link:
        shutil.copyfile(file.path, target)
        return
    try:
        os.link(file.path.resolve(), target)
    except OSError:
        shutil.copyfile(file.path, target)


def make_pack(folder: Path, spec: PackSpec, target: Path) -> dict[str, Any]:
    """Pack ``folder``; return the figures of the report."""
    import fastdata  # only here: with torch it takes a second, which ``list`` need not wait

    report = fastdata.pack_image_folder(
        folder,
        target,
        storage=spec.storage,
        encoding=spec.encoding,
        resize_short=spec.resize_short,
        quiet=True,
    )
    if report.rejected:
        raise BenchmarkError(
            f"packing left out {report.rejected} images that Pillow can decode, so the contenders "
            "would not do the same work; `fastdata pack` on the folder names them"
        )
    return {
        "storage": spec.storage,
        "encoding": spec.encoding,
        "images": report.images,
        "bytes_in": report.bytes_in,
        "bytes_out": report.bytes_out,
        "seconds": report.seconds,
    }


def read_all(folders: Iterable[Path]) -> None:
    """Read every file once, so that no contender waits for the disk."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb", buffering=0) as file:
                    while file.read(1 << 22):
                        pass
