"""The one place that knows how numba is asked: typed decorators for kernels.

Kernel modules import this and are themselves imported on first use only, so that importing fastdata
does not import numba.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar, cast

import numpy as np
from tqdm import tqdm

READ = "Array(uint8, 1, 'C', readonly=True)"  # the type of bytes that a kernel only reads

# NumPy's types in kernels, where Python's integers would be ambiguous; mypy sees plain numbers.
i64 = cast(Callable[[Any], int], np.int64)
u64 = cast(Callable[[Any], int], np.uint64)

_COMPILING = "fastdata: compiling kernels, once for this kind of processor (up to 20 s)"

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def jit(signature: Any, **options: Any) -> Callable[[Kernel], Kernel]:
    """Compile a function for one signature, when its module is imported, without the GIL.

    The machine code is kept in numba's cache: ``NUMBA_CACHE_DIR`` where it is set, else
    ``__pycache__`` beside the source, else (an installation that cannot be written to) the user's
    cache directory. Where none of them can be written to, each process compiles for itself.

    Hazard when editing: the cache notices a change of a kernel's own file, but not of a function
    that it calls in another file (``_walk`` calls ``_bits`` and ``_tables``). Touch both.
    """
    from numba import njit
    from numba.core import event

    def compile_kernel(function: Kernel) -> Kernel:
        compiled: Any
        with event.install_listener("numba:compile", _listener()):
            try:
                compiled = njit(signature, nogil=True, cache=True, **options)(function)
            except RuntimeError as error:
                if "cannot cache" not in str(error):
                    raise
                compiled = njit(signature, nogil=True, **options)(function)
        return cast(Kernel, compiled)

    return compile_kernel


@cache
def _listener() -> Any:
    """Says at a terminal, once, what the first images have to wait for."""
    from numba.core import event

    class Listener(event.Listener):
        told = False

        def on_start(self, found: Any) -> None:  # not where a kernel comes from the cache
            told, self.told = self.told, True
            with suppress(Exception):  # whatever stands in for standard error, kernels go first
                if not told and sys.stderr.isatty():
                    tqdm.write(_COMPILING, file=sys.stderr)

        def on_end(self, found: Any) -> None:
            pass

    return Listener()


def part_of_kernel(function: Kernel) -> Kernel:
    """Let kernels of any types call a function; it is compiled together with each of them."""
    from numba import njit

    return cast(Kernel, njit(nogil=True, error_model="numpy")(function))
