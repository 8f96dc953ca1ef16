"""Image transforms with torchvision's names, parameters and meaning, that plan before they touch.

The geometric ones (resize, crop, flip) compute no pixels: each extends a plan
(``fastdata.images.plan.Plan``). A dataset collects the plans at the head of its transform and hands
them to the decoder, which then produces only what is asked for. Whatever stands behind them runs on
the decoded image.

Read ``geometry`` (what can be planned), then ``compose`` (how a transform is split into a planned
head and the rest), then ``tensor``. ``device`` and ``mix`` are for whole batches on their device
(``DataLoaderX(batch_transform=...)``); ``Compose`` chains these too. ``options`` checks what they
are given, ``randomness`` is a sample's own generator, ``layouts`` is about HWC and CHW.
"""

from __future__ import annotations

from .compose import ELEMENTWISE, Compose, SplitTransform
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
from .layouts import as_chw
from .mix import CutMix, MixUp, RandomChoice
from .randomness import Generator, sample_generator
from .tensor import Normalize, ToTensor

__all__ = [
    "ELEMENTWISE",
    "CenterCrop",
    "Compose",
    "CutMix",
    "DeviceNormalize",
    "Generator",
    "GeometricTransform",
    "MixUp",
    "Normalize",
    "RandomChoice",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomVerticalFlip",
    "Resize",
    "SplitTransform",
    "ToTensor",
    "as_chw",
    "sample_generator",
]
