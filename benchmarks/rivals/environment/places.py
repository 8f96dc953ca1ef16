"""Where the rivals' environments lie. Needs the standard library alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

#: In each environment's folder: how making it went.
STATE = "fastdata-setup.json"


def default_folder() -> Path:
    """Beside the images that the benchmarks make."""
    return Path(tempfile.gettempdir()) / "fastdata-benchmarks" / "rivals"
