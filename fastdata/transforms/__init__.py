"""Image transforms with torchvision's names, parameters and meaning, that plan before they touch.

The geometric ones (resize, crop, flip) compute no pixels: each extends a ``fastdata.plan.Plan``. A
dataset collects the plans at the head of its transform and hands them to the decoder, which then
produces only what is asked for. Whatever stands behind them runs on the decoded image.

Read ``geometry`` (what can be planned), then ``compose`` (how a transform is split into a planned
head and the rest), then ``tensor``. ``device`` and ``mix`` are for whole batches on their device
(``DataLoaderX(batch_transform=...)``); ``Compose`` chains these too.
"""

from __future__ import annotations

from .compose import Compose
from .device import DeviceNormalize
from .geometry import (
    CenterCrop,
    GeometricTransform,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
)
from .mix import CutMix, MixUp, RandomChoice
from .tensor import Normalize, ToTensor

__all__ = [
    "CenterCrop",
    "Compose",
    "CutMix",
    "DeviceNormalize",
    "GeometricTransform",
    "MixUp",
    "Normalize",
    "RandomChoice",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomVerticalFlip",
    "Resize",
    "ToTensor",
]
