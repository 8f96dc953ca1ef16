"""From plans to DALI's operators.

A DALI graph is fixed when it is built, but its arguments may differ from sample to sample. So a
graph has every operator that some plan of the batch needs, and the plans that do not need it say so
in their arguments: a box that is the whole image, a resize to the size that is there already (DALI
then copies), no flip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError
from ..images import Interpolation, PaddingMode, Plan
from .installed import dali

Resize = tuple[Interpolation, bool]  # with antialias
Border = tuple[PaddingMode, tuple[int, int, int]]  # with the fill of "constant"
Argument = Callable[[Plan], Any]

T = TypeVar("T")

_FILTERS = {"nearest": "INTERP_NN", "bilinear": "INTERP_LINEAR", "bicubic": "INTERP_CUBIC"}
_OUTSIDE = {
    "constant": "constant",
    "edge": "edge",
    "reflect": "reflect_101",
    "symmetric": "reflect_1001",
}


class Step(NamedTuple):
    """The operators for one plan of a chain; they run in the order of a plan."""

    box: bool = False
    resize: Resize | None = None
    border: Border | None = None
    window: bool = False
    flip: bool = False

    @classmethod
    def of(cls, plan: Plan) -> Step:
        """The operators that this plan needs, without those before it."""
        before, padding = plan.before, plan.padding
        return cls(
            box=before is not None and plan.box != (0, 0, before.height, before.width),
            resize=_filter(plan) if plan.resizes else None,
            border=None if padding is None else (padding.mode, padding.fill),
            window=not plan.keeps_whole,
            flip=plan.hflip or plan.vflip,
        )

    def merged(self, other: Step) -> Step:
        """The operators that serve both."""
        return Step(
            self.box or other.box,
            _agreed("interpolation and antialias", self.resize, other.resize),
            _agreed("padding mode and fill", self.border, other.border),
            self.window or other.window,
            self.flip or other.flip,
        )

    @property
    def arguments(self) -> list[Argument]:
        """Readings of a sample's plan for these operators, in the order in which they take them."""
        return [
            *([_box_start, _box_shape] if self.box else []),
            *([_size] if self.resize else []),
            *([_window_start, _window_shape] if self.window else []),
            *([_hflip, _vflip] if self.flip else []),
        ]

    def apply(self, images: Any, values: Iterator[Any]) -> Any:
        """The operators' output, in a pipeline that is being defined."""
        fn, types = dali(".fn"), dali(".types")
        if self.box:
            images = fn.slice(images, start=next(values), shape=next(values), axis_names="HW")
        if self.resize:
            name, antialias = self.resize
            size = fn.cast(next(values), dtype=types.FLOAT)
            kind = getattr(types, _FILTERS[name])
            images = fn.resize(images, size=size, interp_type=kind, antialias=antialias)
        if self.window:
            images = _windowed(fn, images, self.border, next(values), next(values))
        if self.flip:
            images = fn.flip(images, horizontal=next(values), vertical=next(values))
        return images


class Graph(NamedTuple):
    """Blueprint of a pipeline: a step for each plan of the longest chain.

    ``pixels`` says that HWC pixels come in, cut to the first plan's box already, not files.
    """

    pixels: bool
    steps: tuple[Step, ...]

    @classmethod
    def of(cls, plan: Plan, pixels: bool = False) -> Graph:
        """The graph for one plan.

        Raises:
            OptionError: DALI has no such resize.
        """
        return cls(pixels, tuple(Step.of(part) for part in chain(plan)))

    def merged(self, other: Graph) -> Graph:
        """A graph that serves both."""
        pairs = zip_longest(self.steps, other.steps, fillvalue=Step())
        return Graph(other.pixels, tuple(a.merged(b) for a, b in pairs))

    @property
    def arguments(self) -> list[tuple[int, Argument]]:
        """The steps' arguments, each with the number of its step; first, the decoder's box."""
        box = [] if self.pixels else [_box_start, _box_shape]
        steps = enumerate(self.steps)
        return [(0, a) for a in box] + [(n, a) for n, step in steps for a in step.arguments]

    def values(self, plans: Sequence[Plan]) -> list[NDArray[np.int32]]:
        """Each argument of a batch as an array of N or N×2 numbers."""
        chains = [_as_long_as(self.steps, chain(plan)) for plan in plans]
        return [np.array([a(c[n]) for c in chains], np.int32) for n, a in self.arguments]

    def define(self, source: Callable[[], Any], on_gpu: bool, orient: bool) -> Any:
        """The images, in a pipeline that is being defined.

        Args:
            source: gives ``[images, *values(plans)]`` of a batch, or raises StopIteration.
            on_gpu: decode and resize there.
            orient: undo EXIF orientations while decoding.
        """
        fn, types = dali(".fn"), dali(".types")
        count = len(self.arguments)
        images, *values = fn.external_source(
            source=source,
            num_outputs=1 + count,
            dtype=[types.UINT8] + [types.INT32] * count,
            ndim=[3 if self.pixels else 1]
            + [0 if a in (_hflip, _vflip) else 1 for _, a in self.arguments],
            layout=["HWC" if self.pixels else ""],
        )
        rest = iter(values)
        if not self.pixels:
            images = _decoded(fn, images, next(rest), next(rest), on_gpu, orient)
        elif on_gpu:
            images = images.gpu()
        for step in self.steps:
            images = step.apply(images, rest)
        return images


def chain(plan: Plan) -> list[Plan]:
    """A plan and all before it, in the order in which they are executed."""
    return [plan] if plan.before is None else [*chain(plan.before), plan]


def _as_long_as(steps: Sequence[Step], plans: list[Plan]) -> list[Plan]:
    last = plans[-1]
    return plans + [Plan.whole(last.height, last.width)] * (len(steps) - len(plans))


def _filter(plan: Plan) -> Resize:
    if plan.interpolation == "bicubic" and not plan.antialias:
        raise OptionError(
            "DALI's bicubic without antialiasing is another kernel than torch's (a = -0.5, not "
            "-0.75): use antialias=True, or interpolation='bilinear'"
        )
    return plan.interpolation, plan.antialias and plan.interpolation != "nearest"


def _agreed(name: str, one: T | None, other: T | None) -> T | None:
    if one is not None and other is not None and one != other:
        raise OptionError(
            f"one step of a DALI pipeline has the same {name} for all samples, but the transform "
            f"asks for {one} and {other}"
        )
    return other if one is None else one


def _decoded(fn: Any, files: Any, start: Any, shape: Any, on_gpu: bool, orient: bool) -> Any:
    return fn.decoders.image_slice(
        files,
        start=start,
        shape=shape,
        axis_names="HW",
        device="mixed" if on_gpu else "cpu",
        adjust_orientation=orient,
        # As libjpeg-turbo decodes by default, and so OpenCV and Pillow.
        use_fast_idct=False,
        jpeg_fancy_upsampling=True,
    )


def _windowed(fn: Any, images: Any, border: Border | None, start: Any, shape: Any) -> Any:
    if border is None:
        return fn.slice(images, start=start, shape=shape, axis_names="HW")
    mode, fill = border
    return fn.slice(
        images,
        start=start,
        shape=shape,
        axis_names="HW",
        out_of_bounds_policy=_OUTSIDE[mode],
        fill_values=list(fill),
    )


def _box_start(plan: Plan) -> Any:
    return plan.box[:2]


def _box_shape(plan: Plan) -> Any:
    return plan.box[2:]


def _size(plan: Plan) -> Any:
    return plan.size


def _window_start(plan: Plan) -> Any:
    """In the resized image, before padding: negative where it begins in the padding."""
    padding = plan.padding
    top, left = (0, 0) if padding is None else (padding.top, padding.left)
    return plan.window.top - top, plan.window.left - left


def _window_shape(plan: Plan) -> Any:
    return plan.window[2:]


def _hflip(plan: Plan) -> Any:
    return plan.hflip


def _vflip(plan: Plan) -> Any:
    return plan.vflip
