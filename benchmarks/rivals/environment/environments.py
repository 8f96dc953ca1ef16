"""What each rival needs installed. Needs the standard library alone, as ``benchmarks/setup`` does.

Each has an environment of its own, since their requirements exclude one another (an old NumPy, a
build of PyTorch with CUDA). Versions are pinned: those that were tried.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: The folder in an environment's name for the interpreter that runs ``python -m benchmarks``.
HERE = "fastdata"

#: What the runner needs: CPU time of child processes, the rule for crops, and whoever uses Pillow.
BASE = ("psutil", "pillow", "numpy")


@dataclass(frozen=True, slots=True)
class Environment:
    """One virtual environment; PyTorch, then BASE, are installed in it before the steps.

    Attributes:
        steps: arguments of ``pip install``, one call each.
        modules: what must be importable afterwards.
        distributions: whose versions the report tells.
        debian: system packages that are needed where there is Debian's apt-get.
    """

    name: str
    steps: tuple[tuple[str, ...], ...]
    modules: tuple[str, ...]
    distributions: tuple[str, ...]
    debian: tuple[str, ...] = ()


# The headless build is the same code without windows, and loads on servers without libGL.
_CV2 = "opencv-python-headless==5.0.0.93"

_ALL = [
    Environment(
        "torchvision",
        steps=(("torchvision==0.28.0",),),
        modules=("benchmarks.rivals.environment.torchvision_import",),
        distributions=("torchvision", "pillow"),
    ),
    Environment(
        "timm",
        steps=(
            (
                "timm==1.0.31",
                "torchvision==0.28.0",
            ),
        ),
        modules=("benchmarks.rivals.environment.torchvision_import", "timm.data"),
        distributions=("timm", "torchvision", "pillow"),
    ),
    Environment(
        "dali",
        steps=(("nvidia-dali-cuda130==2.4.0",),),
        modules=("nvidia.dali.plugin.pytorch",),
        distributions=("nvidia-dali-cuda130",),
    ),
    Environment(
        "ffcv",
        steps=(
            ("setuptools<81", "wheel", "numba", _CV2),
            # Only a source distribution exists; its build imports what is installed here.
            ("--no-build-isolation", "ffcv==1.0.2"),
        ),
        modules=("ffcv.loader",),
        distributions=("ffcv", "numba"),
        debian=("libopencv-dev", "libturbojpeg0-dev", "pkg-config", "g++"),
    ),
    Environment(
        "webdataset",
        steps=(("webdataset==1.0.2", _CV2),),
        modules=("webdataset", "PIL", "cv2"),
        distributions=("webdataset", "pillow", "opencv-python-headless"),
    ),
    Environment(
        "streaming",
        # It wants NumPy < 2.2, and so an OpenCV that was built for that. Without the bound on oci,
        # which it needs for one of its clouds, pip tries dozens of large releases.
        steps=(("mosaicml-streaming==0.13.0", "opencv-python-headless<4.13", "oci>=2.180"),),
        modules=("benchmarks.rivals.environment.torchvision_import", "streaming", "PIL", "cv2"),
        distributions=("mosaicml-streaming", "numpy", "pillow", "opencv-python-headless"),
    ),
    Environment(
        "litdata",
        # All that it needs but torchvision, whose wheel is for PyTorch with CUDA.
        steps=(
            ("--no-deps", "litdata==0.2.76"),
            ("lightning-utilities", "boto3", "requests", "obstore", "tifffile", _CV2),
        ),
        modules=("litdata", "PIL", "cv2"),
        distributions=("litdata", "pillow", "opencv-python-headless"),
    ),
    Environment(
        "spdl",
        steps=(("spdl==0.8.0",),),
        modules=("spdl.io", "spdl.pipeline"),
        distributions=("spdl",),
        debian=("libavdevice59", "libavfilter8"),
    ),
]

ENVIRONMENTS = {environment.name: environment for environment in _ALL}


def interpreter(folder: Path, name: str) -> Path:
    """The Python of one environment."""
    return folder / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
