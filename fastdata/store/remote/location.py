"""The place that a path or a URL means."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ...errors import MissingDependencyError, OptionError
from .failures import Retry
from .place import LocalPlace, Place

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::.*)?://")  # two letters at least: "C:" is a drive
_FLAT_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:[/\\]")  # what pathlib makes of one
_LOCAL = ("file", "local")
_DEFAULT_RETRY = Retry()


def is_url(path: str | os.PathLike[str]) -> bool:
    """True if it begins with a protocol, such as "s3://"."""
    return isinstance(path, str) and _URL.match(path) is not None


def open_place(
    location: str | os.PathLike[str], *, retry: Retry = _DEFAULT_RETRY, **storage_options: Any
) -> Place:
    """The place behind a path or a URL; nothing is asked of it yet.

    Args:
        location: a directory's path, or a URL of a protocol that fsspec knows; a ``file://`` URL
            is a path (RFC 8089). Chained URLs ("::") and HTTP queries are refused.
        retry: what to do about transient failures of a URL.
        storage_options: what the protocol's fsspec implementation takes: credentials, say.

    Raises:
        OptionError: the location or an option is wrong.
        MissingDependencyError: fsspec, or its package for this protocol, is not installed.
    """
    if is_url(location):
        url = str(location)
        if url.split("://")[0].lower() in _LOCAL:
            return LocalPlace(_path_of(url))
        return _url_place(url, retry, storage_options)
    if isinstance(location, os.PathLike) and _FLAT_URL.match(os.fspath(location)):
        raise OptionError(f"{location}: a path object loses a slash of a URL; give it as a string")
    return LocalPlace(location)


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise OptionError(f"{url}: expected three slashes, as in file:///absolute/path")
    return url2pathname(parts.path)


def _url_place(url: str, retry: Retry, options: dict[str, Any]) -> Place:
    try:
        from .url import UrlPlace
    except ImportError as error:
        raise MissingDependencyError(
            f"{url.split('://')[0]}:// needs fsspec: pip install fsspec ({error})"
        ) from error
    return UrlPlace(url, retry, options)
