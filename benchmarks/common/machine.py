"""What the figures depend on: processor, system and versions."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

ALWAYS = ("torch", "numpy", "cv2", "PIL")


def describe(modules: Iterable[str]) -> dict[str, Any]:
    """Processor, cores, system, load, and the versions of what provides these modules."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "platform": platform.platform(aliased=True),
        "python": platform.python_version(),
        "packages": package_versions({*ALWAYS, *modules}),
        "load_at_start": load,
    }


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def short_name() -> str:
    """A name for result files, such as ``amd-epyc-7763-8-cores``; holds no host name."""
    words = re.sub(r"\(\w+\)|@.*|\b(cpu|processor|\d+-core)\b", " ", cpu_model().lower())
    return "-".join([*re.findall(r"[a-z0-9]+", words), str(usable_cores()), "cores"])


def package_versions(modules: Iterable[str]) -> dict[str, str]:
    """Version of each distribution that provides one of these modules."""
    providers = packages_distributions()
    names = {name for module in modules for name in providers.get(module, [])}
    return {name: version(name) for name in sorted(names, key=str.lower)}
