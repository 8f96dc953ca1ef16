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

from . import transforms
from .batch import collate
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
from .permutation import Permutation
from .prefetch import CUDAPrefetcher
from .sampler import RankSampler, ShuffleSampler
from .shard_sampler import ShardShuffleSampler
from .stats import LoaderStats
from .version import __version__

if TYPE_CHECKING:
    from .appender import append
    from .contact_sheet import ContactSheet, show
    from .operations import convert, merge, subset
    from .pack_plan import plan_pack
    from .pack_plan_report import PackPlan
    from .pack_report import PackReport
    from .packer import pack, pack_image_folder
    from .stage_report import BenchReport
    from .stages import bench
    from .tune_report import TuneReport
    from .tuning import tune
    from .unpacker import unpack
    from .verify import VerifyReport, verify_pack

# What training does not need is imported when it is first asked for: it is half of the time that
# an import takes, and a worker that is not forked imports, too. No module may bear the name of
# what is in it, or the one would hide the other.
_MODULES = {
    "appender": ["append"],
    "contact_sheet": ["ContactSheet", "show"],
    "operations": ["convert", "merge", "subset"],
    "pack_plan": ["plan_pack"],
    "pack_plan_report": ["PackPlan"],
    "pack_report": ["PackReport"],
    "packer": ["pack", "pack_image_folder"],
    "stage_report": ["BenchReport"],
    "stages": ["bench"],
    "tune_report": ["TuneReport"],
    "tuning": ["tune"],
    "unpacker": ["unpack"],
    "verify": ["VerifyReport", "verify_pack"],
}
_LATER = {name: module for module, names in _MODULES.items() for name in names}

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


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
