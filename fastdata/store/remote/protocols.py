"""What the protocols of URLs differ in."""

from __future__ import annotations

from typing import Any

import fsspec

from ...errors import MissingDependencyError, OptionError

HTTP = ("http", "https")
#: An object appears there when it is complete; elsewhere it is written beside its place and moved.
OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss")
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "sftp": "paramiko",
}
_SECONDS_TO_CONNECT, _SECONDS_OF_SILENCE = 30, 60


def implementation(protocol: str) -> Any:
    """fsspec's class for a protocol.

    Raises:
        MissingDependencyError: its package is not installed.
        OptionError: there is no such protocol.
    """
    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        hint = f"{package}: pip install {package}" if package else "another package"
        raise MissingDependencyError(f"{protocol}:// needs {hint} ({error})") from error
    except ValueError as error:
        raise OptionError(f"{protocol}:// is no protocol that fsspec knows") from error


def http_timeout() -> Any:
    """No limit on a whole response, which aiohttp would end after five minutes, but on a stall."""
    from aiohttp import ClientTimeout

    return ClientTimeout(
        total=None, sock_connect=_SECONDS_TO_CONNECT, sock_read=_SECONDS_OF_SILENCE
    )
