"""One packer at a time for a URL, as far as stores without locks allow, and what it uploads.

Below the URL lies an object, ``.partial/lease.json``, with a random token, the machine, and a time
that its holder renews every minute. Who finds one that is younger than five minutes leaves. On one
machine a lock of the operating system decides, so a packer that was killed is followed at once.

Two packers of different machines that begin within the same moment may both pass. Nothing is lost
by that: the same job writes the same bytes under the same names, and another job is refused as it
finds the first one's settings. Before pack.json is written, the lease is looked at once more.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...core import Closable
from ...errors import FastdataError, PackExistsError, PackingError, PackNotFoundError
from ...store import PartInfo, Place, part_name

#: Below a URL, where all that is no part of the pack lies until the pack is complete.
PARTIAL = ".partial"
LEASE = f"{PARTIAL}/lease.json"
#: Side files that say which shards are complete.
PARTS = f"{PARTIAL}/parts/"
_SECONDS_OF_LEASE = 300
_SECONDS_TO_RENEWAL = 60
_SECONDS_TO_END = 2.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MOST_BYTES = 10_000


class Lease(Closable):
    """The right to write below a place, until it is closed.

    Attributes:
        token: a random one.
        directory: of this machine, for the temporary files of whoever holds the lease.

    Raises:
        PackExistsError: another packer has it.
        OptionError: the place can only be read.
        RemoteError: the store refuses.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.token = secrets.token_hex(16)
        self._ended = threading.Event()
        self.directory = _own_directory(place)
        self._lock = FileLock(self.directory / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise PackExistsError(
                f"another process of this machine is writing {place}: wait for it, or choose "
                "another URL"
            ) from error
        try:
            self._take()
        except BaseException:
            self._lock.release()
            raise
        self._thread = threading.Thread(target=self._renew, name="fastdata-lease", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give it back."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join(_SECONDS_TO_END)
        with suppress(FastdataError):  # then it ends by itself
            found = _read(self._place)
            if found is not None and found.get("token") == self.token:
                self._place.delete(LEASE)
        self._lock.release()

    def _take(self) -> None:
        found = _read(self._place)
        if found is not None and not _is_over(found):
            raise self._taken(found)
        self._write()
        found = _read(self._place)  # of two that have just written, the last one has it
        if found is None or found.get("token") != self.token:
            raise self._taken(found)

    def _taken(self, found: dict[str, Any] | None) -> PackExistsError:
        where = self._place.describe(LEASE)
        return PackExistsError(
            f"{self._place} is being written by {_holder(found)}: wait for it. If that is dead, "
            f"wait until {where} is {_SECONDS_OF_LEASE} s old, or delete it"
        )

    def _renew(self) -> None:
        while not self._ended.wait(_SECONDS_TO_RENEWAL):
            with suppress(FastdataError, OSError):  # there is time for several more
                self._write()

    def _write(self) -> None:
        lease = {"token": self.token, "host": _host(), "pid": os.getpid(), "time": time.time()}
        self._place.write(LEASE, json.dumps(lease).encode("utf-8"))


def check_lease(place: Place, token: str) -> None:
    """PackingError unless the lease of that token is in force.

    Else another packer has taken it, which thought that this one was dead; or, for a task that
    comes late, its run is over.
    """
    found = _read(place)
    if found is None or found.get("token") != token:
        raise PackingError(
            f"{place} is now written by {_holder(found)}: this run is over, or was silent for "
            f"{_SECONDS_OF_LEASE} s, so it has lost its right to"
        )


@dataclass(frozen=True)
class Upload:
    """Uploads parts for one run, as long as that has the lease. May be pickled, for a task in
    another process.

    Attributes:
        place: where the pack grows.
        token: of the run's lease.
    """

    place: Place
    token: str

    def __call__(self, directory: Path, number: int, info: PartInfo) -> None:
        """Upload the shard to where the pack will have it; then the side file says it is there.

        Args:
            directory: where the part lies; see ``fastdata.store.parts``. Its shard is deleted.
            number: of the shard.
            info: what is known of it.

        Raises:
            PackingError: the run is over, or another one has taken its place.
            RemoteError: the store refuses.
        """
        check_lease(self.place, self.token)
        if info.count:
            shard = directory / "pack" / info.file
            self.place.put(shard, info.file)
            shard.unlink()
        name = part_name(number)
        self.place.put(directory / "parts" / name, PARTS + name)

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """A temporary directory for a part that is built and uploaded."""
        with tempfile.TemporaryDirectory(prefix="fastdata-shard-") as directory:
            for name in ("pack", "parts"):
                Path(directory, name).mkdir()
            yield Path(directory)


def _read(place: Place) -> dict[str, Any] | None:
    try:
        found = json.loads(place.read(LEASE, _MOST_BYTES))
        if not isinstance(found, dict) or not isinstance(found["time"], (int, float)):
            raise ValueError("no time in it")
    except PackNotFoundError:
        return None
    except (ValueError, KeyError, RecursionError) as error:
        where = place.describe(LEASE)
        raise PackExistsError(f"{where} is no lease: look at it, and delete it") from error
    return found


def _is_over(found: dict[str, Any]) -> bool:
    # On this machine its holder would have the lock that we have.
    return found.get("host") == _host() or time.time() - found["time"] > _SECONDS_OF_LEASE


def _holder(found: dict[str, Any] | None) -> str:
    if found is None:
        return "nobody"
    return f"process {found.get('pid')} on {str(found.get('host')).split()[0]}"


def _host() -> str:
    """This machine since it was started."""
    boot = _BOOT.read_text("ascii").strip() if _BOOT.exists() else ""
    return f"{platform.node() or 'unknown'} {boot}"


def _own_directory(place: Place) -> Path:
    """A directory for work on a place, which nobody else can write to."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    base = Path(tempfile.gettempdir(), f"fastdata-{user}")
    base.mkdir(mode=0o700, exist_ok=True)
    if base.is_symlink() or (hasattr(os, "getuid") and base.stat().st_uid != user):
        raise PackingError(f"{base} belongs to somebody else: set TMPDIR to another directory")
    directory = base / hashlib.sha256(place.describe().encode("utf-8")).hexdigest()[:32]
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory
