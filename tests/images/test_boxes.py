"""Boxes move with the pixels that they are drawn around."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastdata.errors import OptionError
from fastdata.images.boxes import orient_boxes, transform_boxes, visible
from fastdata.images.plan import Box, Padding, Plan
from fastdata.images.render import apply_orientation, apply_plan_nearest

HEIGHT, WIDTH = 60, 100
WHOLE = Plan.whole(HEIGHT, WIDTH)


def boxes(*rows: tuple[float, float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(-1, 4)


def extent(mask: NDArray[np.uint8]) -> tuple[int, int, int, int] | None:
    """The smallest box around the pixels that are not 0: left, top, right, bottom."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def painted(box: tuple[int, int, int, int], height: int, width: int) -> NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return mask


@st.composite
def objects(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    """A height, a width and a box of integers with an area inside of them."""
    height, width = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
    return height, width, (left, top, right, bottom)


def random_crop(draw: st.DrawFn, plan: Plan) -> Plan:
    height, width = draw(st.integers(1, plan.height)), draw(st.integers(1, plan.width))
    top = draw(st.integers(0, plan.height - height))
    return plan.crop(Box(top, draw(st.integers(0, plan.width - width)), height, width))


def random_step(draw: st.DrawFn, plan: Plan, resize: bool) -> Plan:
    kind = draw(st.sampled_from(["crop", "hflip", "vflip", "pad"] + ["resize"] * resize))
    if kind == "crop":
        return random_crop(draw, plan)
    if kind == "pad":
        return plan.pad(Padding(*draw(st.tuples(*[st.integers(0, 9)] * 4))))
    if kind == "resize":
        return plan.resize(draw(st.integers(1, 60)), draw(st.integers(1, 60)))
    return plan.flip_horizontal() if kind == "hflip" else plan.flip_vertical()


class TestClosedForms:
    @pytest.mark.parametrize(
        ("plan", "expected"),
        [
            (WHOLE, (10, 20, 30, 50)),
            (WHOLE.crop(Box(5, 8, 55, 90)), (2, 15, 22, 45)),
            (WHOLE.crop(Box(25, 15, 10, 10)), (0, 0, 10, 10)),  # all of the crop is in the box
            (WHOLE.crop(Box(30, 20, 30, 80)), (0, 0, 10, 20)),
            (WHOLE.resize(120, 50), (5, 40, 15, 100)),
            (WHOLE.pad(Padding(1, 2, 3, 4)), (11, 22, 31, 52)),
            (WHOLE.flip_horizontal(), (70, 20, 90, 50)),
            (WHOLE.flip_vertical(), (10, 10, 30, 40)),
            (WHOLE.flip_horizontal().flip_vertical(), (70, 10, 90, 40)),
            (WHOLE.crop(Box(10, 0, 50, 50)).resize(100, 100).flip_horizontal(), (40, 20, 80, 80)),
            (WHOLE.resize(30, 50).crop(Box(5, 0, 25, 10)), (5, 5, 10, 20)),  # a window
            (WHOLE.resize(30, 50).crop(Box(5, 0, 25, 10)).resize(50, 40), (20, 10, 40, 40)),
            (WHOLE.crop(Box(0, 20, 60, 80)).pad(Padding(5, 0, 0, 0)), (5, 20, 15, 50)),
        ],
    )
    def test_one_box(self, plan: Plan, expected: tuple[int, ...]) -> None:
        result = transform_boxes(boxes((10, 20, 30, 50)), plan)
        np.testing.assert_allclose(result, boxes(expected), atol=1e-5)

    def test_fractions_of_pixels_are_kept(self) -> None:
        result = transform_boxes(boxes((10.25, 20.5, 30.75, 50)), WHOLE.crop(Box(20, 10, 40, 40)))
        np.testing.assert_array_equal(result, boxes((0.25, 0.5, 20.75, 30)))

    def test_a_box_that_is_cut_off_keeps_its_row(self) -> None:
        given_ = boxes((0, 0, 10, 10), (30, 30, 40, 40), (60, 50, 70, 60))
        result = transform_boxes(given_, WHOLE.crop(Box(25, 25, 20, 20)).flip_horizontal())
        assert result.shape == (3, 4)
        assert visible(result).tolist() == [False, True, False]
        assert ((result >= 0) & (result <= 20)).all()

    def test_what_lies_outside_of_the_image_is_cut_off(self) -> None:
        result = transform_boxes(boxes((-5, -5, 200, 10)), WHOLE.resize(120, 200))
        np.testing.assert_array_equal(result, boxes((0, 0, 200, 20)))


class TestAgainstPixels:
    @settings(max_examples=50)
    @given(objects(), st.data())
    def test_exact_without_resizing(
        self, scene: tuple[int, int, tuple[int, int, int, int]], data: st.DataObject
    ) -> None:
        height, width, box = scene
        plan = Plan.whole(height, width)
        for _ in range(data.draw(st.integers(0, 6))):
            plan = random_step(data.draw, plan, resize=False)
        result = transform_boxes(boxes(box), plan)
        mask = apply_plan_nearest(painted(box, height, width), plan)
        if (seen := extent(mask)) is None:
            assert not visible(result)[0]
        else:
            np.testing.assert_array_equal(result[0], seen)

    @settings(max_examples=50)
    @given(objects(), st.integers(1, 90), st.integers(1, 90), st.booleans(), st.data())
    def test_within_half_a_pixel_after_one_resize(
        self,
        scene: tuple[int, int, tuple[int, int, int, int]],
        new_height: int,
        new_width: int,
        flip: bool,
        data: st.DataObject,
    ) -> None:
        height, width, box = scene
        plan = random_crop(data.draw, Plan.whole(height, width)).resize(new_height, new_width)
        plan = random_crop(data.draw, plan.flip_horizontal() if flip else plan)
        result = transform_boxes(boxes(box), plan)[0]
        seen = extent(apply_plan_nearest(painted(box, height, width), plan))
        # A pixel is painted if its centre lies in the box, so each edge is at most half one away.
        if seen is None:
            assert min(result[2] - result[0], result[3] - result[1]) <= 1.001
        else:
            np.testing.assert_allclose(result, seen, atol=0.501)

    @settings(max_examples=30)
    @given(objects(), st.data())
    def test_stays_on_the_canvas_and_in_order(
        self, scene: tuple[int, int, tuple[int, int, int, int]], data: st.DataObject
    ) -> None:
        height, width, box = scene
        plan = Plan.whole(height, width)
        for _ in range(data.draw(st.integers(0, 8))):
            plan = random_step(data.draw, plan, resize=True)
        left, top, right, bottom = transform_boxes(boxes(box), plan)[0]
        assert 0 <= left <= right <= plan.width
        assert 0 <= top <= bottom <= plan.height

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, orientation: int) -> None:
        box = (3, 5, 11, 30)
        mask = apply_orientation(painted(box, 40, 23), orientation)
        result = orient_boxes(boxes(box), orientation, 40, 23)
        np.testing.assert_array_equal(result[0], extent(mask))


class TestVisible:
    def test_needs_width_and_height(self) -> None:
        rows = boxes((0, 0, 1, 1), (2, 2, 2, 9), (2, 2, 9, 2), (5, 5, 4, 9), (0, 0, 0.01, 0.01))
        assert visible(rows).tolist() == [True, False, False, False, True]

    def test_nan_is_not_visible(self) -> None:
        assert visible(boxes((0, 0, float("nan"), 5))).tolist() == [False]


class TestArrays:
    @pytest.mark.parametrize("plan", [None, WHOLE.crop(Box(0, 0, 9, 9)).flip_vertical()])
    def test_no_boxes(self, plan: Plan | None) -> None:
        result = transform_boxes(np.empty((0, 4), np.float32), plan)
        assert result.shape == (0, 4)
        assert result.dtype == np.float32
        assert visible(result).shape == (0,)
        assert orient_boxes(result, 6, 4, 5).shape == (0, 4)

    @pytest.mark.parametrize("plan", [None, WHOLE, WHOLE.flip_horizontal()])
    def test_the_input_is_left_alone(self, plan: Plan | None) -> None:
        given_ = boxes((1, 2, 3, 4))
        result = transform_boxes(given_, plan)
        assert result.dtype == np.float32
        assert result.flags.carray
        result[:] = -1
        np.testing.assert_array_equal(given_, boxes((1, 2, 3, 4)))

    def test_other_number_types(self) -> None:
        given_ = np.array([[1, 2, 3, 4]], np.int64)
        np.testing.assert_array_equal(transform_boxes(given_, WHOLE), boxes((1, 2, 3, 4)))

    @pytest.mark.parametrize("wrong", [np.zeros(4), np.zeros((2, 5)), np.array([["a"] * 4])])
    def test_no_rows_of_four_numbers(self, wrong: NDArray[np.float64]) -> None:
        for call in (lambda b: transform_boxes(b, None), visible):
            with pytest.raises(OptionError, match="left, top, right, bottom"):
                call(wrong)

    @pytest.mark.parametrize("orientation", [0, 9, -1])
    def test_no_such_orientation(self, orientation: int) -> None:
        with pytest.raises(OptionError, match="1 to 8"):
            orient_boxes(boxes((0, 0, 1, 1)), orientation, 4, 4)
