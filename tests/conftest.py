"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import signal
from pathlib import Path

import hypothesis
import pytest

# A job started in the background by a script inherits an ignored SIGINT, and so would the
# processes of the tests that interrupt them.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test depends on how fast this machine is, nor on what else it does.
hypothesis.settings.register_profile("fastdata", deadline=None)
hypothesis.settings.load_profile("fastdata")


#: Folders and files whose tests start many processes or real servers, compile kernels, or attack.
SLOW = {
    *("faults", "benchmarks"),
    *("test_examples", "test_make_images", "test_site", "test_packaging"),
    *("test_dask", "test_executor", "test_remote_packing"),
    *("test_distributed", "test_kills", "test_lifecycle", "test_remote_reading"),
    *("test_shard_cache_processes", "test_loader_workers", "test_sliceable"),
    *("test_jpeg_kernels", "test_jpeg_damage", "test_resample_process"),
}
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, also each test in processes that import everything anew."""
    for item in items:
        values = getattr(getattr(item, "callspec", None), "params", {}).values()
        anew = any(isinstance(value, str) and value in ("spawn", "forkserver") for value in values)
        if anew or SLOW & {*item.path.relative_to(HERE).with_suffix("").parts}:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Leave modules and thousands of tests out of each later collection, which takes a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["lmdb", "hdf5"])
def storage(request: pytest.FixtureRequest) -> str:
    """Each storage format in turn."""
    return str(request.param)
