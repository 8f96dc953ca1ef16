"""Plans: whatever steps are fused, the pixels are those of one step after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from helpers.images import picture, resized_plainly
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fastdata.errors import DecodeError
from fastdata.images.plan import Box, Padding, Plan
from fastdata.images.render import apply_plan

Pixels = NDArray[np.uint8]
FILL = (9, 120, 250)


@dataclass(frozen=True)
class Crop:
    """A part of the current image, as shares of its sides."""

    shares: tuple[float, float, float, float]

    def box(self, height: int, width: int) -> Box:
        top, left = int(self.shares[0] * height), int(self.shares[1] * width)
        rows, columns = int(self.shares[2] * (height - top)), int(self.shares[3] * (width - left))
        return Box(top, left, max(rows, 1), max(columns, 1))

    def plan(self, plan: Plan) -> Plan:
        return plan.crop(self.box(plan.height, plan.width))

    def pixels(self, image: Pixels) -> Pixels:
        top, left, height, width = self.box(*image.shape[:2])
        return image[top : top + height, left : left + width]


@dataclass(frozen=True)
class Resize:
    height: int
    width: int
    interpolation: str
    antialias: bool

    def plan(self, plan: Plan) -> Plan:
        return plan.resize(self.height, self.width, self.interpolation, self.antialias)

    def pixels(self, image: Pixels) -> Pixels:
        if image.shape[:2] == (self.height, self.width):
            return image
        image, size = np.ascontiguousarray(image), (self.width, self.height)
        if self.interpolation == "nearest":
            return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.NEAREST))
        if not self.antialias:
            return resized_plainly(image, self.height, self.width)
        # What antialiased means is test_transforms' matter; here, only that fusing changes nothing.
        return apply_plan(image, self.plan(Plan.whole(*image.shape[:2])))


@dataclass(frozen=True)
class Pad:
    sides: tuple[int, int, int, int]
    mode: str

    def plan(self, plan: Plan) -> Plan:
        return plan.pad(Padding(*self.sides, FILL, self.mode))

    def pixels(self, image: Pixels) -> Pixels:
        left, top, right, bottom = self.sides
        width = (top, bottom), (left, right)
        if self.mode != "constant":
            return np.pad(image, (*width, (0, 0)), mode=self.mode)
        planes = [np.pad(image[..., c], width, constant_values=FILL[c]) for c in range(3)]
        return np.stack(planes, axis=2)


@dataclass(frozen=True)
class Flip:
    horizontal: bool

    def plan(self, plan: Plan) -> Plan:
        return plan.flip_horizontal() if self.horizontal else plan.flip_vertical()

    def pixels(self, image: Pixels) -> Pixels:
        return image[:, ::-1] if self.horizontal else image[::-1]


Step = Crop | Resize | Pad | Flip

shares = st.floats(0, 1, exclude_max=True)
crops = st.builds(Crop, st.tuples(shares, shares, shares, shares))
flips = st.builds(Flip, st.booleans())
pads = st.builds(
    Pad,
    st.tuples(*[st.integers(0, 9)] * 4),
    st.sampled_from(["constant", "edge", "reflect", "symmetric"]),
)
sides = st.integers(2, 40)
nearest = st.builds(Resize, sides, sides, st.just("nearest"), st.booleans())
smooth = st.builds(Resize, sides, sides, st.just("bilinear"), st.booleans())
exact_steps = st.lists(crops | flips | pads | nearest, max_size=9)
all_steps = st.lists(crops | flips | pads | nearest | smooth, max_size=9)
images = st.builds(picture, st.integers(1, 40), st.integers(1, 40), st.integers(0, 3))
some = settings(max_examples=300)


def fused(image: Pixels, steps: list[Step]) -> Plan:
    plan = Plan.whole(*image.shape[:2])
    for step in steps:
        plan = step.plan(plan)
    return plan


def one_by_one(image: Pixels, steps: list[Step]) -> Pixels:
    for step in steps:
        image = step.pixels(image)
    return image


def is_smooth(step: Step) -> bool:
    return isinstance(step, Resize) and step.interpolation != "nearest"


class TestFusedEqualsOneByOne:
    @some
    @given(images, exact_steps)
    def test_exactly_where_nothing_is_interpolated(self, image: Pixels, steps: list[Step]) -> None:
        plan = fused(image, steps)
        result = apply_plan(image, plan)
        assert result.shape == (plan.height, plan.width, 3)
        np.testing.assert_array_equal(result, one_by_one(image, steps))

    @some
    @given(images, all_steps)
    def test_exactly_where_flips_follow_interpolation(
        self, image: Pixels, steps: list[Step]
    ) -> None:
        last = max((i for i, step in enumerate(steps) if is_smooth(step)), default=-1)
        steps = [s for i, s in enumerate(steps) if i > last or not isinstance(s, Flip)]
        expected = one_by_one(image, steps)
        np.testing.assert_array_equal(apply_plan(image, fused(image, steps)), expected)

    @some
    @given(images, all_steps)
    def test_within_two_levels_a_resize_otherwise(self, image: Pixels, steps: list[Step]) -> None:
        difference = np.abs(
            apply_plan(image, fused(image, steps)).astype(int) - one_by_one(image, steps)
        )
        assert difference.max() <= 2 * sum(map(is_smooth, steps))

    @some
    @given(images, all_steps)
    def test_the_input_is_left_alone(self, image: Pixels, steps: list[Step]) -> None:
        before = image.copy()
        apply_plan(image, fused(image, steps), out=None)
        np.testing.assert_array_equal(image, before)

    def test_crop_resize_crop_and_flip_need_one_pass(self) -> None:
        plan = Plan.whole(50, 60).crop(Box(5, 6, 40, 30)).crop(Box(1, 1, 30, 20)).flip_vertical()
        plan = plan.resize(20, 20).flip_horizontal().crop(Box(2, 2, 10, 10))
        assert plan.before is None
        assert plan.box == (6, 7, 30, 20)


class TestOut:
    @some
    @given(images, all_steps, st.booleans())
    def test_gives_the_same_pixels(self, image: Pixels, steps: list[Step], dark: bool) -> None:
        plan = fused(image, steps)
        expected = apply_plan(image, plan)
        batch = np.full((3, plan.height, plan.width, 3), 0 if dark else 255, np.uint8)
        assert apply_plan(image, plan, out=batch[1]).base is batch
        np.testing.assert_array_equal(batch[1], expected)
        assert np.unique(batch[[0, 2]]).tolist() == [0 if dark else 255]

    @pytest.mark.parametrize(
        "change",
        [
            lambda plan: plan,
            lambda plan: plan.flip_horizontal(),
            lambda plan: plan.flip_horizontal().flip_vertical(),
            lambda plan: plan.crop(Box(3, 4, 20, 10)),
            lambda plan: plan.pad(Padding(1, 2, 3, 4)),
            lambda plan: plan.resize(20, 30),
            lambda plan: plan.resize(20, 30, antialias=False).flip_vertical(),
            lambda plan: plan.resize(90, 90).crop(Box(1, 1, 33, 44)),
            # The window has the very size of what is resized: out must not be written twice.
            lambda plan: (
                plan.resize(20, 30, antialias=False)
                .pad(Padding(5, 5, 5, 5))
                .crop(Box(0, 3, 20, 30))
            ),
            lambda plan: plan.resize(20, 30, "nearest").resize(20, 30),
        ],
    )
    def test_is_filled_and_returned(self, change: Callable[[Plan], Plan]) -> None:
        image = picture(33, 44)
        plan = change(Plan.whole(33, 44))
        out = np.full((plan.height, plan.width, 3), 77, np.uint8)
        assert apply_plan(image, plan, out=out) is out
        np.testing.assert_array_equal(out, apply_plan(image, plan))

    def test_without_a_plan(self) -> None:
        out = np.zeros((33, 44, 3), np.uint8)
        assert apply_plan(picture(33, 44), None, out=out) is out
        np.testing.assert_array_equal(out, picture(33, 44))

    @pytest.mark.parametrize("flip", [False, True])
    @pytest.mark.parametrize(
        "out",
        [
            np.zeros((20, 31, 3), np.uint8),
            np.zeros((30, 20, 3), np.uint8),
            np.zeros((20, 30), np.uint8),
            np.zeros((20, 30, 3), np.float32),
            np.zeros((3, 20, 30), np.uint8).transpose(1, 2, 0),
            np.zeros((20, 60, 3), np.uint8)[:, ::2],
            np.broadcast_to(np.zeros(3, np.uint8), (20, 30, 3)),
        ],
        ids=["width", "turned", "grey", "float", "planar", "strided", "read-only"],
    )
    def test_that_does_not_fit_is_refused(self, out: Pixels, flip: bool) -> None:
        plan = Plan.whole(40, 50).resize(20, 30)
        plan = plan.flip_horizontal() if flip else plan
        with pytest.raises(ValueError, match=r"\(20, 30, 3\), found"):
            apply_plan(picture(40, 50) + 1, plan, out=out)
        assert not out.any()


class TestRefusals:
    @some
    @given(
        st.lists(crops | flips | pads | smooth, max_size=4),
        st.tuples(*[st.integers(-2, 12) | st.integers(0, 60)] * 4),
    )
    def test_a_crop_is_inside_or_an_error(
        self, steps: list[Step], numbers: tuple[int, int, int, int]
    ) -> None:
        image, box = picture(30, 30), Box(*numbers)
        plan = fused(image, steps)
        rows, columns = range(plan.height), range(plan.width)
        inside = (
            min(box.height, box.width) >= 1
            and {box.top, box.top + box.height - 1} <= set(rows)
            and {box.left, box.left + box.width - 1} <= set(columns)
        )
        if inside:
            assert apply_plan(image, plan.crop(box)).shape == (box.height, box.width, 3)
        else:
            with pytest.raises(ValueError, match=r"crop|outside"):
                plan.crop(box)

    @pytest.mark.parametrize("pad", [0, 2])
    @pytest.mark.parametrize("side", range(4))
    def test_a_crop_one_pixel_outside(self, side: int, pad: int) -> None:
        plan = Plan.whole(30, 40).pad(Padding(pad, pad, pad, pad))
        whole = [0, 0, plan.height, plan.width]
        assert plan.crop(Box(*whole)).height == plan.height
        whole[side] += -1 if side < 2 else 1
        with pytest.raises(ValueError, match=r"crop|outside"):
            plan.crop(Box(*whole))
        with pytest.raises(ValueError, match=r"crop|outside"):
            plan.flip_horizontal().flip_vertical().crop(Box(*whole))

    @pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
    def test_resize_to_nothing(self, size: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="resize"):
            Plan.whole(9, 9).resize(*size)

    @pytest.mark.parametrize("side", range(4))
    def test_negative_padding(self, side: int) -> None:
        sides = [-1 if i == side else 5 for i in range(4)]
        with pytest.raises(ValueError, match="negative"):
            Plan.whole(9, 9).pad(Padding(*sides))

    def test_an_image_smaller_than_planned(self) -> None:
        with pytest.raises(DecodeError, match="20x44"):
            apply_plan(picture(20, 44), Plan.whole(33, 44).resize(10, 10))


LAYOUTS: dict[str, Callable[[Pixels], Pixels]] = {
    "read-only": lambda image: np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape),
    "part of a larger image": lambda image: np.pad(image, ((2, 1), (1, 2), (0, 0)))[2:-1, 1:-2],
    "mirrored": lambda image: image[::-1, ::-1].copy()[::-1, ::-1],
    "transposed": lambda image: image.transpose(1, 0, 2).copy().transpose(1, 0, 2),
    "planar": lambda image: image.transpose(2, 0, 1).copy().transpose(1, 2, 0),
}


class TestMemoryLayouts:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @settings(max_examples=60)
    @given(images, all_steps)
    def test_do_not_change_the_result(self, layout: str, image: Pixels, steps: list[Step]) -> None:
        plan = fused(image, steps)
        result = apply_plan(LAYOUTS[layout](image), plan)
        np.testing.assert_array_equal(result, apply_plan(image, plan))

    def test_planar_pixels_shrink_to_one(self) -> None:
        image = picture(20, 30)
        plan = Plan.whole(20, 30).resize(1, 1)
        assert np.array_equal(apply_plan(LAYOUTS["planar"](image), plan), apply_plan(image, plan))
