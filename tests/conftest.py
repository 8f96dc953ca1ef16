"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import signal

import pytest

# A job started in the background by a script inherits an ignored SIGINT, and so would the
# processes of the tests that interrupt them.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Leave modules and thousands of tests out of each later collection, which takes a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["lmdb", "hdf5"])
def storage(request: pytest.FixtureRequest) -> str:
    """Each storage format in turn."""
    return str(request.param)
