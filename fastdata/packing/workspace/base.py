"""What a packing run needs of the place where its pack grows."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ...core import Closable, hexdigest
from ...errors import FastdataError, PackingError
from ...store import Manifest, ShardPart
from ..job import COMMIT, Commit
from .upload import Upload


class RunWorkspace(Closable):
    """Where a pack grows until it is complete, held by one process at a time.

    Attributes:
        path: a directory of this machine, with ``pack`` and ``parts`` (see
            ``fastdata.store.parts``).
        where: where complete shards are, for messages.
        upload: takes complete shards from ``path``; None leaves them there.
    """

    path: Path
    where: str
    upload: Upload | None = None
    _identity: str

    @property
    def pack(self) -> Path:
        """The directory for the pack's side files and pack.json."""
        return self.path / "pack"

    @abstractmethod
    def scratch(self) -> AbstractContextManager[Path]:
        """A directory where other processes may build shards.

        When the block ends it is gone, and so is the way to complete a shard for whoever is still
        at it, such as a worker that was taken for dead.
        """

    @abstractmethod
    def expect(self, numbers: Iterable[int]) -> None:
        """Check that shards which others say are complete can be seen.

        Raises:
            PackingError: one cannot.
        """

    @abstractmethod
    def done(self) -> set[int]:
        """Numbers of the shards that are complete."""

    @abstractmethod
    def part(self, number: int) -> ShardPart:
        """What is known of a complete shard.

        Raises:
            PackFormatError: it is damaged; only starting anew helps.
        """

    @abstractmethod
    def publish(self, overwrite: bool) -> None:
        """Let the pack appear at the target, durably, and remove the rest.

        Raises:
            PackExistsError: something has appeared there meanwhile.
        """

    @abstractmethod
    def publish_over(self, old: Manifest) -> None:
        """Let the pack appear in place of an older one whose shards it contains.

        The new files appear first, then pack.json in one step; then what only the old pack had is
        removed.
        """

    @abstractmethod
    def discard(self) -> None:
        """Forget all shards."""

    @abstractmethod
    def _write(self, name: str, text: str) -> None:
        """Write a file that is there whole or not at all."""

    def announce(self, manifest: Manifest) -> None:
        """Note the pack.json that is about to appear, for a run that finds it there."""
        infos = [self.part(number).info for number in sorted(self.done())]
        commit = Commit(
            hexdigest([manifest.to_bytes()]),
            self._identity,
            [(info.items, info.digest) for info in infos],
        )
        self._write(COMMIT, json.dumps(commit))


def part_numbers(names: Iterable[str]) -> set[int]:
    """The numbers of the parts that have these file names."""
    return {int(name[:-4]) for name in names if name.endswith(".npz") and name[:-4].isdigit()}


@contextmanager
def write_errors(target: object) -> Iterator[None]:
    """What the file system refuses becomes a PackingError."""
    try:
        yield
    except FastdataError:
        raise
    except OSError as error:
        raise PackingError(f"cannot write {target}: {error}") from error
