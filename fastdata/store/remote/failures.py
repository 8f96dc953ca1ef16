"""Failures of stores, told apart: nothing there, transient, local, or final; and another attempt.

Each implementation of fsspec raises errors of the package below it (aiohttp, botocore, …). None of
these need be installed, so their errors are known here by name and by the HTTP status that they
carry.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ...errors import OptionError

T = TypeVar("T")

_TRANSIENT_STATUS = (408, 425, 429, 500, 502, 503, 504)
_MISSING_STATUS = (404, 410)
_TRANSIENT_NAMES = {
    "ClientConnectionError",  # aiohttp
    "ClientPayloadError",  # aiohttp: the response ends too early
    "HTTPClientError",  # botocore: connections and timeouts
    "EndpointConnectionError",  # botocore
    "ConnectTimeoutError",  # botocore
    "ResponseStreamingError",  # botocore
    "IncompleteReadError",  # botocore, asyncio
    "IncompleteRead",  # http.client
    "FSTimeoutError",
}
_FINAL_NAMES = {"ClientSSLError", "ClientConnectorCertificateError", "SSLError"}
_TRANSIENT_CODES = {
    getattr(errno, name)
    for name in (
        "EAGAIN", "EBUSY", "EREMOTEIO", "ETIMEDOUT", "ENETDOWN", "ENETUNREACH", "ENETRESET",
        "EHOSTDOWN", "EHOSTUNREACH",
    )
    if hasattr(errno, name)
}  # fmt: skip
FULL_CODES = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT") if hasattr(errno, name)}
_SLICE = 0.05  # seconds after which a wait looks whether it is cancelled
_chance = random.SystemRandom()  # neither seeded by a user nor copied by a fork
_CREDENTIALS = re.compile(r"//[^/@\s'\"]+@")


@dataclass(frozen=True, slots=True)
class Retry:
    """Number of attempts, and the waits between them, where a failure is transient.

    Attributes:
        attempts: how many there are at most, at least 1. An fsspec implementation may have
            attempts of its own below each; s3fs has.
        wait: seconds before the second; each further wait is twice as long, and each is shortened
            by up to a half, at random, so that many clients do not come back at once.
        longest_wait: seconds that no wait exceeds.
    """

    attempts: int = 4
    wait: float = 0.5
    longest_wait: float = 8.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.wait < 0 or self.longest_wait < 0:
            raise OptionError(f"expected at least one attempt and waits from 0 on, found {self}")

    def run(
        self,
        call: Callable[[], T],
        is_transient: Callable[[Exception], bool],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> T:
        """The result of ``call``, or the error of its last attempt.

        Args:
            call: called up to ``attempts`` times.
            is_transient: whether an error is worth another attempt.
            cancelled: ends a wait, and so the attempts, once it returns True.
        """
        wait = self.wait
        for _ in range(self.attempts - 1):
            try:
                return call()
            except Exception as error:
                if not is_transient(error) or cancelled():
                    raise
            _pause(min(wait, self.longest_wait) * _chance.uniform(0.5, 1), cancelled)
            wait *= 2
        return call()


def _pause(seconds: float, cancelled: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not cancelled():
        time.sleep(min(_SLICE, left))


def real_error(error: BaseException) -> BaseException:
    """The failure behind a FileNotFoundError, which fsspec's HTTP raises whatever has failed when
    it asks for a size."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or cause is None:
        return error
    foreign = type(cause).__module__.startswith("aiohttp")
    is_failure = foreign or isinstance(cause, (asyncio.TimeoutError, TimeoutError, ConnectionError))
    return cause if is_failure else error


def is_missing(error: BaseException) -> bool:
    """True if the store has answered that there is nothing."""
    return isinstance(error, FileNotFoundError) or _status(error) in _MISSING_STATUS


def is_transient(error: BaseException) -> bool:
    """True if another attempt may succeed."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _FINAL_NAMES:
        return False
    if isinstance(error, (asyncio.TimeoutError, TimeoutError, ConnectionError)):
        return True
    if isinstance(error, OSError) and error.errno in _TRANSIENT_CODES:
        return True
    return bool(names & _TRANSIENT_NAMES) or _status(error) in _TRANSIENT_STATUS


def is_local(error: BaseException, path: Path | None) -> bool:
    """True if the local disk, or the local file ``path``, is at fault."""
    if not isinstance(error, OSError):
        return False
    return error.errno in FULL_CODES or (path is not None and error.filename == os.fspath(path))


def advice(error: BaseException) -> str:
    """The way out, for a message."""
    refused = isinstance(error, PermissionError) or _status(error) in (401, 403)
    if refused or type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return "check the credentials, and that they allow this"
    if is_transient(error):
        return "check the network and the server, and run again"
    return "check the URL and the storage options"


def without_credentials(text: str) -> str:
    """A text in which no URL shows a user and a password."""
    return _CREDENTIALS.sub("//…@", text)


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error carries (aiohttp: status; gcsfs: code; others: status_code)."""
    for name in ("status", "code", "status_code"):
        value = getattr(error, name, None)
        if isinstance(value, int):
            return value
    return None
