"""Resizing in a fresh process: imports, compilation, and memory that must not be touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastdata
from fastdata.errors import MissingDependencyError

pytest.importorskip("numba")


def run(code: str, folder: Path | None = None, **environment: str) -> str:
    """Run Python code in a fresh process; return what it prints. ``folder`` is imported first."""
    command = [sys.executable, "-W", "error", "-c", code]
    variables = {**os.environ, **environment}
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_does_not_import_numba() -> None:
    code = "import sys, fastdata.images.resample; print({'numba', 'llvmlite'} & {*sys.modules})"
    assert run(code) == "set()"


def test_without_numba() -> None:
    code = """
import sys
sys.modules["numba"] = None
import numpy as np
from fastdata.images import resample
print(resample.available())
try:
    resample.resize_bilinear(np.zeros((4, 4, 3), np.uint8), 2, 2)
except resample.MissingDependencyError as error:
    print(error)
"""
    answer, message = run(code).split("\n")
    assert answer == "False"
    assert "pip install numba" in message
    assert issubclass(MissingDependencyError, ImportError)


@pytest.mark.skipif(os.name != "posix", reason="needs a folder that nobody can write to")
def test_nowhere_to_keep_compiled_code(tmp_path: Path) -> None:
    package = Path(fastdata.__file__).parent
    shutil.copytree(package, tmp_path / "fastdata", ignore=shutil.ignore_patterns("__pycache__"))
    images = tmp_path / "fastdata" / "images"
    for inner in (images / "resample", images / "jpeg"):
        (inner / "__pycache__").touch()  # a file, so that even root makes no folder
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), "/dev/null/cache")
    code = "from fastdata.images import resample; print(resample.available(), resample.__file__)"
    printed = run(code, tmp_path, **nowhere)
    assert printed == f"True {images / 'resample' / '__init__.py'}"


GUARDED = """
import ctypes, itertools, mmap
import numpy as np
from fastdata.images.resample import resize_bicubic, resize_bilinear

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)

def guarded(size, at_end):
    pages = -(-size // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages + 1):
        if libc.mprotect(ctypes.c_void_p(start + page * PAGE), PAGE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    first = (pages + 1) * PAGE - size if at_end else PAGE
    return np.frombuffer(memory, np.uint8, size, first)

sizes = [1, 2, 3, 4, 5, 6, 7, 21, 22, 23, 37]
for height, width in itertools.product(sizes, sizes):
    for at_end in (False, True):
        image = guarded(height * width * 3, at_end).reshape(height, width, 3)
        for size in [(1, 1), (5, 6), (height, 9), (9, width), (23, 30)]:
            for hflip in (False, True):
                out = guarded(size[0] * size[1] * 3, at_end).reshape(*size, 3)
                part = image[height // 2 :, width // 2 :]
                for antialias in (False, True):
                    resize_bilinear(image, *size, out, hflip, antialias)
                    resize_bilinear(part, *size, out, hflip, antialias)
                resize_bicubic(image, *size, out, hflip, False)
                resize_bicubic(part, *size, out, hflip, False)
print("no fault")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")
def test_reads_and_writes_no_byte_outside() -> None:
    assert run(GUARDED) == "no fault"
