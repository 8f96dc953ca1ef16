"""Who takes part: the rows of the tables. Needs the standard library alone."""

from __future__ import annotations

from dataclasses import dataclass

from .environments import HERE

BASELINE = "pil"
OURS = "fastdata"


@dataclass(frozen=True, slots=True)
class Contender:
    """One row.

    Attributes:
        module: in this package; its ``prepare`` and ``build`` are used.
        environment: whose interpreter runs it.
        antialias: which of the module's two ways is used; many have one, and do not ask.
        decoder, resize: what the pixels come from, for the report.
        settings: how it was set up, for the report.
        holds: what it reads.
        raw: whether that format holds uncompressed pixels.
    """

    name: str
    title: str
    module: str
    environment: str
    decoder: str
    resize: str
    settings: str
    antialias: bool = True
    holds: str = "image folder"
    raw: bool = False

    @property
    def packs(self) -> bool:
        """Whether it makes a format of its own; else it reads the folder."""
        return self.holds != "image folder"

    @property
    def format(self) -> str:
        """Contenders of the same format share what has been prepared."""
        return self.module


_PIL = ("Pillow, whole image", "Pillow bilinear, antialiased")
_CV2 = ("OpenCV, whole image", "OpenCV linear; validation: area")
_LOADER = "torch DataLoader, persistent process workers"
_SLICED = "OpenCV, intervals of the crop"
_WDS = (
    "16 tars or more in random order, shardshuffle, shuffle buffer of 1,000; batched, then "
    "decoded, in the workers of WebLoader"
)
_MDS = "local MDS without compression, shuffle py1e, StreamingDataset behind torch DataLoader"
_LIT = "optimize() to chunks of 64 MB, StreamingDataset(shuffle=True), StreamingDataLoader"
_DALI = "decoders.image_random_crop, a thread a worker, prefetch queue of 2, channels last"


def _fastdata(name: str, title: str, resize: str, antialias: bool, settings: str) -> Contender:
    return Contender(
        *(name, title, "use_fastdata", HERE, _SLICED, resize, settings),
        antialias=antialias,
        holds="LMDB pack",
        raw=True,
    )


_EXACT = "as Pillow, bit for bit"
_THREADS = "sliceable pack (raw case: raw), DataLoaderX with worker threads"

_ALL = [
    Contender(
        *(BASELINE, "torch DataLoader, Pillow folder", "use_pil", HERE, *_PIL, _LOADER),
    ),
    Contender(
        *("cv2", "torch DataLoader, OpenCV folder", "use_pil", HERE, *_CV2, _LOADER),
        antialias=False,
    ),
    Contender(
        *("torchvision", "torchvision ImageFolder, torch DataLoader", "use_torchvision"),
        *("torchvision", *_PIL, f"{_LOADER}; transforms v1, PILToTensor"),
    ),
    Contender(
        *("timm", "timm create_dataset, create_loader", "use_timm", "timm", *_PIL),
        "create_loader, up to its PrefetchLoader: uint8 by its fast_collate, persistent workers",
    ),
    Contender(
        *("dali", "NVIDIA DALI, CPU pipeline", "use_dali", "dali"),
        *("libjpeg-turbo, the crop only", "DALI linear, antialiased", _DALI),
    ),
    Contender(
        *("dali-plain", "NVIDIA DALI, not antialiased", "use_dali", "dali"),
        *("libjpeg-turbo, the crop only", "DALI linear", _DALI),
        antialias=False,
    ),
    Contender(
        *("ffcv", "FFCV", "use_ffcv", "ffcv", "libjpeg-turbo with fast DCT, whole image"),
        "OpenCV area; validation: OpenCV area of the middle square",
        "the very JPEG bytes in its file, Loader(order=RANDOM, os_cache=True), its own decoders",
        holds="FFCV file",
        raw=True,
    ),
    # These three leave decoding to their user; OpenCV is the fastest that one would take.
    Contender(
        *("webdataset", "WebDataset", "use_webdataset", "webdataset", *_CV2, _WDS),
        antialias=False,
        holds="tar shards",
        raw=True,
    ),
    Contender(
        *("streaming", "MosaicML Streaming", "use_streaming", "streaming", *_CV2, _MDS),
        antialias=False,
        holds="MDS shards",
        raw=True,
    ),
    Contender(
        *("litdata", "LitData", "use_litdata", "litdata", *_CV2, _LIT),
        antialias=False,
        holds="LitData chunks",
        raw=True,
    ),
    Contender(
        *("spdl", "SPDL", "use_spdl", "spdl", "FFmpeg, whole image", "FFmpeg bilinear"),
        "PipelineBuilder, one task a batch, a thread a worker, crop and scale in FFmpeg's filters",
    ),
    _fastdata(OURS, "fastdata pack, worker threads", _EXACT, True, _THREADS),
    _fastdata(
        "fastdata-plain", "fastdata pack, not antialiased", "as torch without it", False, _THREADS
    ),
    Contender(
        *("fastdata-folder", "fastdata.ImageFolder, worker threads", "use_fastdata_folder", HERE),
        *("OpenCV, rows down to the crop", _EXACT, "DataLoaderX with worker threads"),
    ),
]

CONTENDERS = {contender.name: contender for contender in _ALL}
