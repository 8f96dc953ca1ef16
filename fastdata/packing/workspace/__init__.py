"""The destination of a pack, in a directory or behind a URL, where it grows until it is complete.

Reading order: ``base`` (the interface), ``local`` with ``publish`` (a directory that appears in one
step), ``remote`` with ``lease`` (one packer at a time for a URL, and what it uploads).
"""

from __future__ import annotations

import os

from ...store import DEFAULT_ACCESS, Access
from .base import Destination
from .local import LocalDestination
from .remote import RemoteDestination

__all__ = ["Destination", "LocalDestination", "destination_of"]


def destination_of(
    location: str | os.PathLike[str], access: Access = DEFAULT_ACCESS
) -> Destination:
    """The destination at a path or a URL; errors as ``Access.place``."""
    place = access.place(location)
    if place.directory is not None:
        return LocalDestination(place.directory)
    return RemoteDestination(place)
