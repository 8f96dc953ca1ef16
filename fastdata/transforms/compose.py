"""Splitting a transform into the head that can be planned and the rest that needs pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..images import Plan
from .geometry import GeometricTransform
from .layouts import as_chw, as_hwc
from .randomness import Generator, draw_below, torch_seeded_generator
from .tensor import Normalize, ToTensor

Transform = Callable[[Any], Any]

#: Transforms that may be applied once to a whole batch instead of once to each image.
ELEMENTWISE = (ToTensor, Normalize)


class Compose:
    """Transforms one after the other.

    A dataset fuses the geometric ones at the head into decoding. What stands behind may be any
    callable: it gets a CHW uint8 tensor, or the HWC uint8 ndarray if no geometric one came before.
    Transforms of torchvision always get the tensor (its ``ToTensor``, which takes none, the
    ndarray), and its ``Compose`` counts as this one; transforms of albumentations get the ndarray,
    as ``image=``, are seeded for each image, and their ``"image"`` is carried on.

    Example:
        >>> train = T.Compose([T.RandomResizedCrop(32), T.RandomHorizontalFlip(), T.ToTensor()])
        >>> image, target = fastdata.PackedImageFolder("photos.pack", train)[0]
        >>> image.shape, image.dtype
        (torch.Size([3, 32, 32]), torch.float32)
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)
        for step in self.transforms:
            if not callable(step):
                raise TypeError(f"each transform must be callable, found {step!r}")

    def __call__(self, image: Any) -> Any:
        """Apply all, with randomness from torch's global generator."""
        rng = torch_seeded_generator()
        for step in _flattened(self):
            image = apply_step(step, image, rng)
        return image

    def __repr__(self) -> str:
        return f"Compose({self.transforms!r})"


@dataclass(frozen=True, slots=True)
class SplitTransform:
    """A transform taken apart: ``head`` is planned and fused into decoding, ``rest`` is called.

    Example:
        >>> parts = T.SplitTransform.of(T.Compose([T.Resize(24), T.CenterCrop(16), T.ToTensor()]))
        >>> len(parts.head), len(parts.rest)
        (2, 1)
    """

    head: tuple[GeometricTransform, ...]
    rest: tuple[Transform, ...]

    @classmethod
    def of(cls, transform: Transform | None) -> SplitTransform:
        """Take a transform apart; None has neither head nor rest."""
        steps = () if transform is None else tuple(_flattened(transform))
        count = 0
        while count < len(steps) and isinstance(steps[count], GeometricTransform):
            count += 1
        return cls(steps[:count], steps[count:])  # type: ignore[arg-type]

    @property
    def elementwise(self) -> bool:
        """True if ``rest`` gives the same on a batch as on each of its images."""
        return all(type(step) in ELEMENTWISE for step in self.rest)  # a subclass may do anything

    @property
    def by_batch(self) -> bool:
        """True if images may be decoded into a batch first, to be finished there all at once."""
        return bool(self.head) and self.elementwise

    @property
    def own(self) -> bool:
        """True if all is fastdata's own: thread-safe, and without any global randomness."""
        geometric = (GeometricTransform,)
        return all(isinstance(s, geometric) or type(s) in ELEMENTWISE for s in self.rest)

    def plan(self, height: int, width: int, rng: Generator) -> Plan | None:
        """The head's plan for an image of that size; None if there is no head."""
        if not self.head:
            return None
        plan = Plan.whole(height, width)
        for step in self.head:
            plan = step.extend(plan, rng)
        return plan

    def finish(self, image: Any, rng: Generator) -> Any:
        """Apply the rest to one image."""
        for step in self.rest:
            image = apply_step(step, image, rng)
        return image

    def finish_batch(self, images: Any) -> Any:
        """Apply an elementwise rest to N×3×H×W or 3×H×W at once."""
        for step in self.rest:
            images = step(images)
        return images


def apply_step(step: Transform, image: Any, rng: Generator) -> Any:
    """Call one transform with the form of image that its library expects."""
    if isinstance(step, GeometricTransform):
        return step.apply(image, rng)
    library = _library(step)
    if library == "torchvision" and isinstance(image, (np.ndarray, torch.Tensor)):
        return step(as_hwc(image) if type(step).__name__ == "ToTensor" else as_chw(image))
    if library.startswith("albumentations"):
        return _call_albumentations(step, as_hwc(image), rng)
    return step(image)


def _call_albumentations(step: Any, image: Any, rng: Generator) -> Any:
    # Its generators belong to the transform, so forked workers would all draw the same numbers,
    # and the same in every epoch. Its older versions have none, and draw from Python's.
    if hasattr(step, "set_random_seed"):
        step.set_random_seed(draw_below(rng, 2**32))
    return step(image=image)["image"]


def _library(step: Transform) -> str:
    return type(step).__module__.partition(".")[0]


def _flattened(transform: Any) -> Iterator[Transform]:
    foreign = _library(transform) == "torchvision" and type(transform).__name__ == "Compose"
    if isinstance(transform, Compose) or foreign:
        for step in transform.transforms:
            yield from _flattened(step)
    else:
        yield transform
