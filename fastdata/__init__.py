"""fastdata makes PyTorch training stop waiting for images.

Reading order: ``fields`` (what a sample consists of), ``sources`` (where samples come from),
``encode`` and ``records`` (the bytes to store), ``shards`` (how a pack lies on disk),
``sample_encoding``, ``shard_stream``, ``packing``, ``workspace`` and ``pack_run`` (how it gets
there), ``plan`` and ``transforms`` (what training asks for), ``decode`` (pixels), ``dataset`` and
``fields_dataset``, ``sampler`` (which samples), ``loader``, ``prefetch`` (batches on the device),
``stages`` and ``tuning`` (how fast all that is here), ``cli``.
"""

from __future__ import annotations

from . import transforms
from .append import append
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
from .pack import pack, pack_image_folder
from .pack_plan import plan_pack
from .pack_plan_report import PackPlan
from .pack_report import PackReport
from .permutation import Permutation
from .prefetch import CUDAPrefetcher
from .sampler import RankSampler, ShuffleSampler
from .shard_sampler import ShardShuffleSampler
from .stage_report import BenchReport
from .stages import bench
from .stats import LoaderStats
from .tune_report import TuneReport
from .tuning import tune
from .unpack import unpack
from .verify import VerifyReport, verify_pack
from .version import __version__

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
