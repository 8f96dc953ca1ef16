"""Who takes part. A rival is one ``Contender`` here and one module with its builder.

The rules are the same for all: RandomResizedCrop of ``size`` pixels (a share of 8 to 100 % of the
area, aspect ratio 3/4 to 4/3) and a horizontal flip with probability 1/2, shuffled, full batches
only, ``workers`` processes or threads that outlive an epoch. A contender gives batches
``(images, targets)``; ``images`` is an N×3×size×size uint8 tensor, RGB, in any memory format.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..common.errors import BenchmarkError

Batches = Iterable[tuple[Any, Any]]

SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)

BASELINE = "pil"


@dataclass(frozen=True, slots=True)
class Job:
    """One contender's run; travels as JSON to the process that measures it.

    Attributes:
        contender: its name in ``CONTENDERS``.
        images: the image folder, one directory a class, nothing but images in it.
        pack: the pack made from it, if the contender reads one.
        epochs: timed epochs; one that is not timed goes before.
        antialias: whether contenders that have the choice resize with antialiasing.
        seed: of torch's random generator.
        case: its name in ``cases.CASES``; then ``contender`` is a column of the case.
        seconds: the timed epochs are repeated until at least this much time has passed.
    """

    contender: str
    images: str
    pack: str | None
    batch: int
    workers: int
    size: int
    epochs: int
    antialias: bool
    seed: int
    case: str = ""
    seconds: float = 0.0


class PackSpec(NamedTuple):
    """A kind of pack, made once for all contenders that read it."""

    storage: str
    encoding: str
    resize_short: int | None = None

    @property
    def name(self) -> str:
        """Unique among the kinds, and fit for a file name."""
        short = f"-{self.resize_short}" if self.resize_short else ""
        return f"{self.storage}-{self.encoding}{short}"


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of making batches.

    Attributes:
        build: ``module:function``, imported in the measuring process only. The function takes the
            ``Job`` and returns a re-iterable of batches; each iteration is an epoch.
        decoder: what decodes, for the report.
        resize: how it resizes without antialiasing, for the report.
        resize_antialias: how it resizes with antialiasing; the same where it has no choice.
        needs: modules that must be importable.
        pack: the kind of pack it reads; None if it reads the folder.
    """

    name: str
    title: str
    build: str
    decoder: str
    resize: str
    resize_antialias: str
    needs: tuple[str, ...]
    pack: PackSpec | None = None

    def missing(self) -> list[str]:
        """The needed modules that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def builder(self) -> Callable[[Job], Batches]:
        """Import the builder, with all that it needs."""
        for name in self.needs:
            importlib.import_module(name)
        module, _, function = self.build.partition(":")
        build: Callable[[Job], Batches] = getattr(importlib.import_module(module), function)
        return build

    def resize_with(self, antialias: bool) -> str:
        """How it resizes under this setting."""
        return self.resize_antialias if antialias else self.resize


_EXACT = "as Pillow, bit for bit"
_PLAIN = "as torch without antialiasing"


def _fastdata(
    name: str,
    title: str,
    build: str,
    *needs: str,
    pack: PackSpec | None,
    decoder: str = "OpenCV, rows down to the crop",
    resize: str = _PLAIN,
) -> Contender:
    return Contender(
        name,
        title,
        f"benchmarks.contenders.ours:{build}",
        decoder=decoder,
        resize=resize,
        resize_antialias=_EXACT,
        needs=("fastdata", "torch", "cv2", *needs),
        pack=pack,
    )


def _sliced(name: str, title: str, build: str, resize: str = _PLAIN) -> Contender:
    return _fastdata(
        name,
        title,
        build,
        "lmdb",
        "numba",
        pack=PackSpec("lmdb", "sliceable"),
        decoder="OpenCV, intervals of the crop",
        resize=resize,
    )


_ALL = [
    Contender(
        BASELINE,
        "PIL ImageFolder + torch DataLoader",
        "benchmarks.contenders.pil:build",
        decoder="Pillow, whole image",
        resize="Pillow bilinear, antialiased",
        resize_antialias="Pillow bilinear, antialiased",
        needs=("torch", "PIL"),
    ),
    Contender(
        "cv2-loop",
        "OpenCV in a bare loop, one process",
        "benchmarks.contenders.cv2_loop:build",
        decoder="OpenCV, whole image",
        resize="OpenCV linear",
        resize_antialias="OpenCV linear",
        needs=("torch", "cv2"),
    ),
    _fastdata("folder", "fastdata.ImageFolder + DataLoaderX", "folder", pack=None),
    _fastdata("lmdb", "LMDB pack + DataLoaderX", "packed", "lmdb", pack=PackSpec("lmdb", "keep")),
    _fastdata("hdf5", "HDF5 pack + DataLoaderX", "packed", "h5py", pack=PackSpec("hdf5", "keep")),
    _sliced("sliced", "sliceable LMDB pack + DataLoaderX", "packed"),
    _sliced("sliced-exact", "the same, antialiased", "packed_exact", _EXACT),
    _sliced("threads", "sliceable LMDB pack, worker threads", "threads"),
    _sliced("threads-exact", "the same, antialiased", "threads_exact", _EXACT),
]

CONTENDERS = {contender.name: contender for contender in _ALL}


def choose(only: list[str] | None) -> list[Contender]:
    """The named contenders, or by default all whose modules are installed, in registry order.

    Raises:
        BenchmarkError: a named one is unknown, or a module that it needs is not installed.
    """
    unknown = sorted(set(only or ()) - set(CONTENDERS))
    if unknown:
        raise BenchmarkError(
            f"unknown contender {', '.join(unknown)}; there are {', '.join(CONTENDERS)}"
        )
    if only is None:
        return [c for c in CONTENDERS.values() if not c.missing()]
    chosen = [c for c in CONTENDERS.values() if c.name in only]
    for contender in chosen:
        if missing := contender.missing():
            raise BenchmarkError(f"{contender.name} needs {', '.join(missing)}: pip install it")
    return chosen
