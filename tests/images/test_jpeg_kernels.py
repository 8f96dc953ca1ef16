"""How kernels are compiled: when they are first used, once, wherever there is room for a cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import fastdata

PACKAGE = Path(fastdata.__file__).parent


def run(code: str, *, path: Path | None = None, **environment: str) -> str:
    """Run code in a fresh interpreter, with ``path`` to import from first; return its output."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    search = os.pathsep.join([str(path), *sys.path] if path else sys.path)
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": search, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=55,
        cwd=path,  # which comes first in the search path of ``-c``
    )
    return result.stdout.strip()


def installation(root: Path) -> Path:
    """A copy of the package where no cache can be kept beside the sources, not even by root."""
    shutil.copytree(PACKAGE, root / "fastdata", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "fastdata" / "images" / "jpeg" / "__pycache__").touch()
    return root


def test_importing_the_package_does_not_import_numba() -> None:
    assert run("import sys, fastdata.images.jpeg; print('numba' in sys.modules)") == "False"


def test_without_numba() -> None:
    code = "import sys; sys.modules['numba'] = None; from fastdata.images import jpeg as j"
    assert run(f"{code}; print(j.available())") == "False"


AT_A_TERMINAL = """
import io, sys
class Terminal(io.StringIO):
    isatty = lambda self: True
sys.stderr = Terminal()
from fastdata.images.jpeg import available
assert available()
from fastdata.images.jpeg import _bits, _cut, _walk
print([(len(k.stats.cache_hits), len(k.stats.cache_misses)) for k in
       (_cut.cut, _walk.walk, _bits.emit)])
print(sys.stderr.getvalue().strip())
"""


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    first, told = run(AT_A_TERMINAL, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert first == str([(0, 1)] * 3)
    assert told == "fastdata: compiling kernels, once for this kind of processor (up to 20 s)"
    assert run(AT_A_TERMINAL, NUMBA_CACHE_DIR=str(tmp_path)) == str([(1, 0)] * 3)


def test_a_read_only_installation_uses_the_users_cache(tmp_path: Path) -> None:
    root = installation(tmp_path / "site")
    cache = tmp_path / "cache"
    code = "import fastdata.images.jpeg as j; print(j.__file__, j.available())"
    found = run(code, path=root, XDG_CACHE_HOME=str(cache))
    assert found == f"{root / 'fastdata' / 'images' / 'jpeg' / '__init__.py'} True"
    assert {path.name.split(".")[0] for path in cache.rglob("*.nbi")} >= {"_cut", "_walk", "_bits"}


def test_where_nothing_can_be_written_kernels_are_compiled_in_memory(tmp_path: Path) -> None:
    root = installation(tmp_path / "site")
    blocked = tmp_path / "file"
    blocked.touch()
    code = "import fastdata.images.jpeg as j; print(j.available())"
    assert run(code, path=root, XDG_CACHE_HOME=str(blocked), HOME=str(blocked)) == "True"
