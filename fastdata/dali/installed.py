"""NVIDIA DALI, imported when it is first needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import MissingDependencyError


def dali(module: str = "") -> Any:
    """``nvidia.dali``, or a module of it.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return import_module("nvidia.dali" + module)
    except ImportError as error:
        raise MissingDependencyError(
            f"DALILoader needs NVIDIA DALI: pip install nvidia-dali-cuda130, on Linux ({error})"
        ) from error
