"""Fixtures that several test files share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["lmdb", "hdf5"])
def storage(request: pytest.FixtureRequest) -> str:
    """Each storage format in turn."""
    return str(request.param)
