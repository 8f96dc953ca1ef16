"""The options of ``pack`` and of all that is built on it, checked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

from ..core import Field, available_cores
from ..errors import (
    OptionError,
    PackFormatError,
)
from ..images import ENCODINGS, EncodeSettings, jpeg
from ..sources import Samples
from ..store import Access

#: The options that say how images are stored. A pack remembers them; ``check`` leaves no trace.
ENCODING_OPTIONS = ("encoding", "resize_short", "max_side", "quality")


def encoding_options(encoding: dict[str, Any]) -> dict[str, Any]:
    """The options that give an encoding, as a manifest describes it.

    Raises:
        PackFormatError: this version knows no such encoding.
    """
    values = {**encoding, "encoding": encoding["name"]}
    del values["name"]
    try:
        EncodeSettings(**values)
    except (TypeError, OptionError) as error:
        raise PackFormatError(f"unknown encoding {encoding}: upgrade fastdata") from error
    return values


def asked_encoding(options: PackOptions) -> dict[str, Any]:
    """Those of ``ENCODING_OPTIONS`` that have a value; none if a pack's encoding is to stay."""
    return {n: v for n, v in options.items() if n in ENCODING_OPTIONS and v is not None}


def encode_settings(options: PackOptions) -> EncodeSettings:
    """The settings that options give; OptionError if they contradict each other."""
    names = (*ENCODING_OPTIONS, "check")
    given: dict[str, Any] = {name: value for name, value in options.items() if name in names}
    return EncodeSettings(**given)


class PackOptions(TypedDict, total=False):
    """The options that ``pack`` and all that is built on it have in common; see there."""

    storage: str
    encoding: str
    resize_short: int | None
    max_side: int | None
    quality: int | None
    check: str
    shard_size: int | str
    workers: int | None
    executor: Executor | None
    overwrite: bool
    restart: bool
    on_error: Literal["quarantine", "fail"]
    quiet: bool
    storage_options: Mapping[str, Any] | None


def access_of(options: PackOptions) -> Access:
    """The options of access to packs behind URLs, as one value."""
    return Access(storage_options=options.get("storage_options"))


def checked_workers(workers: int | None) -> int:
    """The number of threads, by default one for each core; OptionError below 1."""
    if workers is not None and workers < 1:
        raise OptionError(f"workers must be >= 1, got {workers}")
    return workers or available_cores()


def check_on_error(on_error: str) -> None:
    """OptionError if there is no such way."""
    if on_error not in ("quarantine", "fail"):
        raise OptionError(f"on_error must be quarantine or fail, got {on_error!r}")


def check_executor(source: Samples, executor: Executor | None) -> None:
    """OptionError if the source cannot be cut into shards beforehand, as an executor needs it."""
    if executor is not None and source.listing is None:
        raise OptionError("an executor needs samples that can be listed: a folder, files, packs")


def usable(settings: EncodeSettings) -> EncodeSettings:
    """The settings, or others with a warning where the encoding cannot be had without numba."""
    instead = ENCODINGS[settings.encoding].without_numba
    if instead is None or jpeg.available():
        return settings
    warnings.warn(
        f"numba cannot be imported, so files are packed as they are, with encoding {instead!r}; "
        f"for {settings.encoding} ones: pip install numba",
        stacklevel=4,
    )
    return replace(settings, encoding=instead)


@dataclass(frozen=True, slots=True)
class PackSettings:
    """Settings by which samples become records and shards.

    Attributes:
        fields: the samples' fields, the image first.
        encode: how images are stored.
        storage: the name of one.
        fail: whether a sample that cannot be used stops everything, or is left out.
    """

    fields: dict[str, Field]
    encode: EncodeSettings
    storage: str
    fail: bool
