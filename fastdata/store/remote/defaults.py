"""Where the cache is, and how large it may become, unless a user says otherwise."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

VARIABLE = "FASTDATA_CACHE"
_MOST = 100 * 10**9
_SHARE_OF_DISK = 0.8


def default_directory() -> Path:
    """``$FASTDATA_CACHE``, or ``fastdata/shards`` in ``$XDG_CACHE_HOME`` or in ``~/.cache``.

    A relative ``$XDG_CACHE_HOME`` is ignored, as the XDG Base Directory Specification demands.
    """
    own = os.environ.get(VARIABLE)
    if own:
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return home / "fastdata" / "shards"


def default_limit(directory: Path, used_bytes: int) -> int:
    """100 GB, or four fifths of what the disk of ``directory`` has free if that is less.

    What the cache holds already counts as free.
    """
    free = shutil.disk_usage(directory).free + used_bytes
    return max(1, min(_MOST, int(_SHARE_OF_DISK * free)))
