"""Packing samples from anywhere, and image folders above all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Literal

from typing_extensions import Unpack

from ..core import Field, parse_size
from ..images import DEFAULT_ENCODING, EncodeSettings
from ..sources import Source, open_source, samples_of
from ..store import DEFAULT_STORAGE, Access
from ..store import storage as known_storage
from .options import (
    PackOptions,
    PackSettings,
    access_of,
    check_executor,
    check_on_error,
    checked_workers,
    usable,
)
from .report import PackReport
from .run import PackRun
from .workspace import destination_of


def pack(
    samples: Source | Iterable[Any] | str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    fields: Mapping[str, str | Field] | None = None,
    classes: Sequence[str] | None = None,
    storage: str = DEFAULT_STORAGE,
    encoding: str = DEFAULT_ENCODING,
    resize_short: int | None = None,
    max_side: int | None = None,
    quality: int | None = None,
    check: str = "decode",
    shard_size: int | str = "1GiB",
    workers: int | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    restart: bool = False,
    on_error: Literal["quarantine", "fail"] = "quarantine",
    quiet: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> PackReport:
    """Pack samples from anywhere.

    The pack's bytes depend on the samples and the settings, not on ``workers`` or ``executor``. It
    appears at ``dst`` when it is complete; until then it grows in ``dst`` + ".partial". Whatever
    stops the packing, even SIGKILL, the same call goes on behind the last complete shard.

    Behind a URL the shards go to where the pack will have them, each as it is complete, so that the
    local disk needs room for two; what else a run has to know lies in ``.partial`` below the URL.
    pack.json is written last: without it there is no pack. One packer at a time is let in by a
    lease (see ``fastdata.packing.workspace.lease``).

    Args:
        samples: the path of a folder, a table or archives, as the command takes it, for which
            ``fastdata.sources.detect.open_source`` has further options; or a torch ``Dataset``, a
            sequence or an iterable of samples, or a ``Source``. A sample is a dict of named values,
            optionally with its name as ``"key"``; a tuple in the order of ``fields``, or (image,
            target); or an image alone. An image is an encoded file as bytes, a path, HWC uint8 RGB
            pixels, a CHW uint8 tensor, or a PIL image.
        dst: path of the new pack, whose parent directories are made, or its URL.
        fields: by name, the kinds of the samples' values (see ``fastdata.core.fields``); None
            infers them from the first sample.
        classes: class names; a sample's target may then be a name instead of an index.
        storage: "lmdb" or "hdf5".
        encoding: "sliceable" (default: JPEGs rewritten without loss, so that a part of one can be
            decoded; other files as they are), "keep", "jpeg", "png" or "raw".
        resize_short, max_side: shrink to this many pixels, as torchvision's ``Resize`` does
            (antialiased, bilinear), never enlarge; masks and boxes follow.
        quality: JPEG quality, 1 to 100, default 90.
        check: "decode" each image before it is stored, or read its "header" only.
        shard_size: bytes of records in a shard, as a number or as "512MiB"; where images are
            re-encoded, about so many.
        workers: threads that read and encode; default: the cores this process may use.
        executor: runs each shard as one task, on as many processes or machines as it has, which
            all have to see the samples and ``dst`` under these paths, with the same versions of
            what packs are written with; needs samples that can be listed, such as a folder.
            ``workers`` does not apply. Let a ``ProcessPoolExecutor`` start its processes by
            "spawn" or "forkserver" (``mp_context``): a forked one inherits locks that threads of
            this process hold, of OpenCV and others, and may wait for ever. It stays open.
        overwrite: replace a pack at ``dst``, and nothing else, once the new one is complete; not
            for URLs.
        restart: discard what an interrupted run has left, instead of going on with it.
        on_error: "quarantine" leaves a bad sample out and lists it in rejected.jsonl; "fail" stops.
        quiet: no progress bar, which otherwise shows where standard error is a terminal.
        storage_options: of a URL, for fsspec: credentials, endpoint …

    Raises:
        OptionError: options contradict each other.
        SourceError: the source cannot be listed, has no samples, or has changed meanwhile.
        PackExistsError: ``dst`` is taken, by a pack, by another process, or by an interrupted run
            with other settings or another source; the message has the difference.
        PackingError: a sample failed and ``on_error`` is "fail", or all of them did, or a worker
            was lost, or the pack cannot be written.
        RemoteError: the store behind a URL refuses.
        KeyboardInterrupt: with a message that says how to go on.

    Example:
        >>> report = fastdata.pack("photos", "folder.pack", quiet=True)
        >>> report.images, report.classes, report.rejected
        (8, 2, 0)
        >>> samples = ((np.full((32, 32, 3), 20 * i, np.uint8), i % 2) for i in range(10))
        >>> fastdata.pack(samples, "made.pack", encoding="png", quiet=True).images
        10
    """
    encode = usable(EncodeSettings(encoding, resize_short, max_side, quality, check))
    known_storage(storage)
    size = parse_size(shard_size)
    workers = checked_workers(workers)
    check_on_error(on_error)
    source = samples_of(samples, fields, classes)
    check_executor(source, executor)
    settings = PackSettings(source.fields, encode, storage, on_error == "fail")
    destination = destination_of(dst, Access(storage_options=storage_options))
    run = PackRun(source, destination, settings, size, overwrite=overwrite)
    return run.run(workers, executor, restart, quiet)


def pack_image_folder(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    flat: bool = False,
    labels: str | os.PathLike[str] | None = None,
    allow_empty: bool = False,
    **options: Unpack[PackOptions],
) -> PackReport:
    """Pack a folder of images.

    Args:
        src: a folder in torchvision's ``ImageFolder`` layout, unless ``flat`` or ``labels`` is set.
        dst: path of the new pack.
        flat: the folder has no classes; every target is −1.
        labels: a CSV or JSON Lines file with the columns path (relative to ``src``) and target
            (integer or name); further columns become fields (see ``fastdata.sources.table``).
        allow_empty: accept class directories without an image.
        options: as for ``pack``.

    Raises:
        FastdataError: as ``pack``.

    Example:
        >>> fastdata.pack_image_folder("photos", "new.pack", quiet=True).images
        8
        >>> fastdata.pack_image_folder("photos", "flat.pack", flat=True, quiet=True).classes
        0
    """
    destination = destination_of(dst, access_of(options))
    if destination.published() is None:  # else the run itself looks at it
        destination.check_new([os.fspath(src)], options.get("overwrite", False), labels is not None)
    kind = "folder" if labels is None else "table"
    source = open_source(src, kind, flat=flat, labels=labels, allow_empty=allow_empty)
    return pack(source, dst, **options)
