"""Bringing shards that are complete to where a pack grows behind a URL."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...store import PartInfo, Place, part_name
from .lease import PARTIAL, check_lease

#: Below the URL, the side files that say which shards are complete.
PARTS = f"{PARTIAL}/parts/"


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
