"""fastdata makes PyTorch training stop waiting for images.

Reading order: ``fields`` (what a sample consists of), ``sources`` (where samples come from),
``encode`` and ``records`` (the bytes to store), ``shards`` (how a pack lies on disk),
``sample_encoding``, ``shard_stream``, ``packing``, ``workspace`` and ``pack_run`` (how it gets
there), ``plan`` and ``transforms`` (what training asks for), ``decode`` (pixels), ``dataset`` and
``fields_dataset``, ``sampler`` (which samples), ``loader``, ``prefetch`` (batches on the device),
``stages`` and ``tuning`` (how fast all that is here), ``cli``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from . import transforms
    from .appender import append
    from .batch import collate
    from .contact_sheet import ContactSheet, show
    from .dataset import ImageFolder, PackedImageFolder
    from .delivery import SampleFailure
    from .errors import (
        CacheError,
        DecodeError,
        EmptySourceError,
        FastdataError,
        MissingDependencyError,
        OptionError,
        PackError,
        PackExistsError,
        PackFormatError,
        PackingError,
        PackNotFoundError,
        RemoteError,
        SampleError,
        SharedMemoryError,
        SourceError,
        SourceNotFoundError,
        WorkerError,
    )
    from .fields import Field
    from .fields_dataset import PackedDataset
    from .loader import DataLoaderX
    from .operations import convert, merge, subset
    from .pack_plan import plan_pack
    from .pack_plan_report import PackPlan
    from .pack_report import PackReport
    from .packer import pack, pack_image_folder
    from .permutation import Permutation
    from .prefetch import CUDAPrefetcher
    from .sampler import RankSampler, ShuffleSampler
    from .shard_sampler import ShardShuffleSampler
    from .stage_report import BenchReport
    from .stages import bench
    from .stats import LoaderStats
    from .tune_report import TuneReport
    from .tuning import tune
    from .unpacker import unpack
    from .verify import VerifyReport, verify_pack

# A name's module is imported when the name is first used. So packing, which needs no torch, does
# not wait for it, and no worker that is not forked waits for what training does not need. No module
# may be called like something in it: the one would hide the other.
_NAMES = {
    "appender": ["append"],
    "batch": ["collate"],
    "contact_sheet": ["ContactSheet", "show"],
    "dataset": ["ImageFolder", "PackedImageFolder"],
    "delivery": ["SampleFailure"],
    "errors": [
        "CacheError",
        "DecodeError",
        "EmptySourceError",
        "FastdataError",
        "MissingDependencyError",
        "OptionError",
        "PackError",
        "PackExistsError",
        "PackFormatError",
        "PackNotFoundError",
        "PackingError",
        "RemoteError",
        "SampleError",
        "SharedMemoryError",
        "SourceError",
        "SourceNotFoundError",
        "WorkerError",
    ],
    "fields": ["Field"],
    "fields_dataset": ["PackedDataset"],
    "loader": ["DataLoaderX"],
    "operations": ["convert", "merge", "subset"],
    "pack_plan": ["plan_pack"],
    "pack_plan_report": ["PackPlan"],
    "pack_report": ["PackReport"],
    "packer": ["pack", "pack_image_folder"],
    "permutation": ["Permutation"],
    "prefetch": ["CUDAPrefetcher"],
    "sampler": ["RankSampler", "ShuffleSampler"],
    "shard_sampler": ["ShardShuffleSampler"],
    "stage_report": ["BenchReport"],
    "stages": ["bench"],
    "stats": ["LoaderStats"],
    "tune_report": ["TuneReport"],
    "tuning": ["tune"],
    "unpacker": ["unpack"],
    "verify": ["VerifyReport", "verify_pack"],
}
_SUBMODULES = ("errors", "sources", "transforms")
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "BenchReport",
    "CUDAPrefetcher",
    "CacheError",
    "ContactSheet",
    "DataLoaderX",
    "DecodeError",
    "EmptySourceError",
    "FastdataError",
    "Field",
    "ImageFolder",
    "LoaderStats",
    "MissingDependencyError",
    "OptionError",
    "PackError",
    "PackExistsError",
    "PackFormatError",
    "PackNotFoundError",
    "PackPlan",
    "PackReport",
    "PackedDataset",
    "PackedImageFolder",
    "PackingError",
    "Permutation",
    "RankSampler",
    "RemoteError",
    "SampleError",
    "SampleFailure",
    "ShardShuffleSampler",
    "SharedMemoryError",
    "ShuffleSampler",
    "SourceError",
    "SourceNotFoundError",
    "TuneReport",
    "VerifyReport",
    "WorkerError",
    "__version__",
    "append",
    "bench",
    "collate",
    "convert",
    "merge",
    "pack",
    "pack_image_folder",
    "plan_pack",
    "show",
    "subset",
    "transforms",
    "tune",
    "unpack",
    "verify_pack",
]


if not TYPE_CHECKING:  # a type checker is to know what there is, and what there is not

    def __getattr__(name: str) -> Any:
        if name in _SUBMODULES:
            return import_module(f".{name}", __name__)
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        except AttributeError as error:  # "from fastdata import …" would keep it to itself
            raise ImportError(f"{__name__}.{name} cannot be imported: {error}") from error
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_MODULES})
