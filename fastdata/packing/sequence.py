"""Shards written one after the other, each completed beside the next."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from ..store import PartInfo, Record, ShardPartWriter
from .options import PackSettings
from .samples import Bad
from .workspace.lease import Upload

_PATIENCE = 1.0  # seconds that a shard may take to be completed after Ctrl-C


class ShardStream:
    """Writes shards one after the other; each is completed in the background by another thread.

    Args:
        work: directory of the packing run.
        settings: how.
        scratch: where shards are built; see ``ShardPartWriter``.
        upload: takes them from ``work`` when they are complete; None leaves them there.
    """

    def __init__(
        self,
        work: Path,
        settings: PackSettings,
        scratch: Path | None = None,
        upload: Upload | None = None,
    ) -> None:
        self._work = work
        self._upload = upload
        self._scratch = scratch
        self._settings = settings
        self._number = -1
        self._writer: ShardPartWriter | None = None
        self._closing: tuple[ShardPartWriter, Future[PartInfo]] | None = None
        self._pool = ThreadPoolExecutor(1, "fastdata-shard")

    def store(self, number: int, result: Record | Bad) -> None:
        """Append a sample to shard ``number``, beginning it if it is another one."""
        if number != self._number:
            self.end()
        if self._writer is None:
            settings = self._settings
            self._number = number
            self._writer = ShardPartWriter(
                self._work, number, settings.storage, settings.fields, self._scratch
            )
        if isinstance(result, Bad):
            self._writer.reject(result.rejection)
        else:
            self._writer.add(result)

    def end(self, digest: str = "") -> None:
        """Complete the shard that has been begun."""
        if self._writer is not None:
            self._settle()
            writer, self._writer = self._writer, None
            future = self._pool.submit(self._commit, self._number, writer, digest)
            self._closing = writer, future

    def _commit(self, number: int, writer: ShardPartWriter, digest: str) -> PartInfo:
        info = writer.commit(digest)
        if self._upload is not None:
            self._upload(self._work, number, info)
        return info

    def finish(self) -> PartInfo | None:
        """Complete everything; returns what is known of the last shard."""
        self.end()
        info = self._settle()
        self._pool.shutdown()
        return info

    def abort(self) -> None:
        """Give up what is not complete, without waiting long for it."""
        if self._closing is not None:
            writer, future = self._closing
            if future.cancel():
                writer.abort()
            else:
                wait([future], _PATIENCE)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._writer is not None:
            self._writer.abort()

    def _settle(self) -> PartInfo | None:
        if self._closing is None:
            return None
        (_, future), self._closing = self._closing, None
        return future.result()
