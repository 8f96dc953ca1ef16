"""FFCV: its own file, its own decoders, threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contenders import RATIO, SCALE, Batches, Job
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import (
    CenterCropRGBImageDecoder,
    IntDecoder,
    RandomResizedCropRGBImageDecoder,
)
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter

from . import pixels
from .cases import Case
