"""Import torchvision where its compiled detection operators do not load.

torchvision's wheels on PyPI are built for PyTorch with CUDA. Beside a CPU build their C++ library
does not load, which torchvision tolerates, but then it stops at registering fake kernels for two of
its operators. Their schemas are all that is missing; what benchmarks use (datasets, transforms on
Pillow) is Python.
"""

from __future__ import annotations

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

try:
    import torchvision
except RuntimeError:
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for _schema in _SCHEMAS.values():
        _library.define(_schema)
    import torchvision

__all__ = ["torchvision"]
