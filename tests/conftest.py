"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import signal

import hypothesis
import pytest

# A job started in the background by a script inherits an ignored SIGINT, and so would the
# processes of the tests that interrupt them.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test depends on how fast this machine is, nor on what else it does.
hypothesis.settings.register_profile("fastdata", deadline=None)
hypothesis.settings.load_profile("fastdata")


def pytest_collection_finish() -> None:
    """Leave modules and thousands of tests out of each later collection, which takes a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["lmdb", "hdf5"])
def storage(request: pytest.FixtureRequest) -> str:
    """Each storage format in turn."""
    return str(request.param)
