"""Geometric transforms: torchvision's documented meaning, and Pillow's pixels.

The expectations are worked out here from torchvision's documentation, with NumPy and Pillow.
"""

from __future__ import annotations

import enum
import math
import pickle
import random
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import picture, resized_plainly
from helpers.images import resized_by_pillow as by_pillow
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fastdata import transforms as T
from fastdata.errors import OptionError
from fastdata.images import resample
from fastdata.images.plan import Box, Plan
from fastdata.transforms.randomness import Generator, sample_generator

Pixels = NDArray[np.uint8]
some = settings(max_examples=150)
side = st.integers(1, 120)


def rng(index: int = 0) -> Generator:
    return sample_generator(7, 0, index)


def hwc(image: torch.Tensor) -> Pixels:
    assert image.dtype == torch.uint8
    return image.permute(1, 2, 0).numpy()


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def places(height: int, width: int) -> Pixels:
    """An image whose every pixel tells its own row and column."""
    image = np.full((height, width, 3), 200, np.uint8)
    image[..., :2] = np.moveaxis(np.indices((height, width)), 0, 2)
    return image


def most_levels() -> int:
    """How far antialiased pixels may be from Pillow's: torch makes them where numba is missing."""
    return 0 if resample.available() else 2


def difference(a: Pixels, b: Pixels) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


class TestResize:
    @some
    @given(side, side, side, st.none() | st.integers(1, 150))
    def test_one_number_is_the_shorter_side(
        self, height: int, width: int, size: int, more: int | None
    ) -> None:
        short, long = min(height, width), max(height, width)
        new_short, new_long = size, size * long // short
        max_size = None if more is None else size + more
        if max_size is not None and new_long > max_size:
            new_short, new_long = max(max_size * size // new_long, 1), max_size
        for given_size in (size, [size]):
            resize = T.Resize(given_size, max_size=max_size)
            plan = resize.extend(Plan.whole(height, width), rng())
            assert (min(plan.height, plan.width), max(plan.height, plan.width)) == (
                new_short,
                new_long,
            )
            assert (
                height == width
                or (plan.height < plan.width) == (height < width)
                or (new_short == new_long)
            )

    @some
    @given(side, side, side, side)
    def test_two_numbers_are_height_and_width(self, h: int, w: int, new_h: int, new_w: int) -> None:
        assert T.Resize((new_h, new_w))(noise(h, w)).shape == (3, new_h, new_w)

    # Widths of 1 are left out: before AVX2 (and on ARM) torch's uint8 kernel gets them wrong.
    @some
    @given(side, side, side, st.integers(2, 120), st.integers(0, 9))
    def test_bilinear_is_pillows(self, h: int, w: int, new_h: int, new_w: int, seed: int) -> None:
        image = noise(h, w, seed)
        expected = by_pillow(image, new_h, new_w, Image.Resampling.BILINEAR)
        assert difference(hwc(T.Resize((new_h, new_w))(image)), expected) <= most_levels()

    @some
    @given(side, side, side, side)
    def test_nearest_is_pillows(self, h: int, w: int, new_h: int, new_w: int) -> None:
        image = places(h, w)
        expected = by_pillow(image, new_h, new_w, Image.Resampling.NEAREST)
        for antialias in (True, False):
            resize = T.Resize((new_h, new_w), "nearest", antialias=antialias)
            np.testing.assert_array_equal(hwc(resize(image)), expected)

    @some
    @given(st.integers(8, 120), st.integers(8, 120), st.integers(8, 120), st.integers(8, 120))
    def test_bicubic_is_pillows_on_smooth_images(
        self, h: int, w: int, new_h: int, new_w: int
    ) -> None:
        image = picture(h, w)
        expected = by_pillow(image, new_h, new_w, Image.Resampling.BICUBIC)
        limit = 0 if resample.available() else 3
        assert difference(hwc(T.Resize((new_h, new_w), "bicubic")(image)), expected) <= limit

    @pytest.mark.skipif(find_spec("numba") is None, reason="torch's cubic is another one")
    @some
    @given(side, side, side, side, st.integers(0, 9))
    def test_bicubic_is_pillows(self, h: int, w: int, new_h: int, new_w: int, seed: int) -> None:
        image = noise(h, w, seed)
        expected = by_pillow(image, new_h, new_w, Image.Resampling.BICUBIC)
        actual = hwc(T.Resize((new_h, new_w), "bicubic")(image))
        np.testing.assert_array_equal(actual, expected)

    @some
    @given(side, side, side, side)
    def test_without_antialias_is_torchs(self, h: int, w: int, new_h: int, new_w: int) -> None:
        image = noise(h, w)
        expected = resized_plainly(image, new_h, new_w)
        actual = hwc(T.Resize((new_h, new_w), antialias=False)(image))
        np.testing.assert_array_equal(actual, expected)

    @pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
    def test_to_the_same_size_changes_nothing(self, interpolation: str) -> None:
        np.testing.assert_array_equal(
            hwc(T.Resize(30, interpolation)(noise(30, 50))), noise(30, 50)
        )

    @pytest.mark.parametrize("max_size", [29, 30])
    def test_max_size_has_to_be_larger(self, max_size: int) -> None:
        with pytest.raises(OptionError, match="max_size must be larger"):
            T.Resize(30, max_size=max_size)

    def test_max_size_excludes_two_numbers(self) -> None:
        with pytest.raises(OptionError, match="one number"):
            T.Resize((30, 30), max_size=99)


class TestCenterCrop:
    @some
    @given(side, side, side, side)
    def test_pads_what_is_missing_and_keeps_the_middle(
        self, h: int, w: int, new_h: int, new_w: int
    ) -> None:
        image = places(h, w) + 1
        before = max(new_h - h, 0) // 2, max(new_w - w, 0) // 2
        after = (max(new_h - h, 0) + 1) // 2, (max(new_w - w, 0) + 1) // 2
        padded = np.pad(image, ((before[0], after[0]), (before[1], after[1]), (0, 0)))
        # "int(round(difference / 2.0))": Python rounds halves to even.
        top = round((padded.shape[0] - new_h) / 2.0)
        left = round((padded.shape[1] - new_w) / 2.0)
        expected = padded[top : top + new_h, left : left + new_w]
        np.testing.assert_array_equal(hwc(T.CenterCrop((new_h, new_w))(image)), expected)

    @pytest.mark.parametrize(("length", "top"), [(6, 1), (7, 2), (8, 2), (9, 2), (10, 3), (11, 4)])
    def test_odd_differences_go_to_the_even_side(self, length: int, top: int) -> None:
        assert hwc(T.CenterCrop(4)(places(length, 4)))[0, 0, 0] == top

    def test_one_number_is_a_square(self) -> None:
        assert T.CenterCrop(5)(noise(9, 9)).shape == T.CenterCrop([5])(noise(9, 9)).shape
        assert T.CenterCrop(5)(noise(9, 9)).shape == (3, 5, 5)


def windows(image: Pixels, height: int, width: int) -> set[bytes]:
    rows, columns = image.shape[0] - height + 1, image.shape[1] - width + 1
    return {
        image[top : top + height, left : left + width].tobytes()
        for top in range(rows)
        for left in range(columns)
    }


def crops(crop: T.RandomCrop, image: Pixels, count: int) -> list[bytes]:
    return [hwc(crop.apply(image, rng(i))).tobytes() for i in range(count)]


class TestRandomCrop:
    @pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
    @pytest.mark.parametrize(
        ("padding", "sides"),
        [
            (None, (0, 0, 0, 0)),
            (2, (2, 2, 2, 2)),
            ([3], (3, 3, 3, 3)),
            ((1, 2), (1, 2, 1, 2)),
            ((1, 0, 2, 3), (1, 0, 2, 3)),
            ((0, 9, 0, 0), (0, 9, 0, 0)),
        ],
    )
    def test_every_window_of_the_padded_image_comes_up(
        self, padding: Any, sides: tuple[int, int, int, int], mode: str
    ) -> None:
        image = places(6, 7)
        left, top, right, bottom = sides
        padded = np.pad(image, ((top, bottom), (left, right), (0, 0)), mode=mode)
        crop = T.RandomCrop((5, 6), padding, padding_mode=mode)
        assert set(crops(crop, image, 600)) == windows(padded, 5, 6)

    def test_places_are_uniform(self) -> None:
        found = [hwc(T.RandomCrop(3).apply(places(7, 9), rng(i)))[0, 0, :2] for i in range(7000)]
        counts = np.zeros((5, 7))
        np.add.at(counts, tuple(np.array(found).T), 1)
        # Chi-square with 34 degrees of freedom; 66 is its 0.999 quantile.
        assert ((counts - 200) ** 2 / 200).sum() < 66

    @pytest.mark.parametrize(("fill", "colour"), [(7, (7, 7, 7)), ((1, 2, 3), (1, 2, 3))])
    def test_fill_is_grey_or_rgb(self, fill: Any, colour: tuple[int, int, int]) -> None:
        image = hwc(T.RandomCrop((8, 9), padding=(2, 3), fill=fill)(noise(2, 5)))
        border = np.ones((8, 9), bool)
        border[3:5, 2:7] = False
        np.testing.assert_array_equal(image[border], np.tile(colour, (border.sum(), 1)))
        np.testing.assert_array_equal(image[3:5, 2:7], noise(2, 5))

    @pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
    @pytest.mark.parametrize("size", [(4, 5), (9, 5), (4, 11), (9, 11)])
    def test_pad_if_needed_adds_the_whole_lack_to_both_sides(
        self, size: tuple[int, int], mode: str
    ) -> None:
        image = places(6, 7)
        rows, columns = max(size[0] - 6, 0), max(size[1] - 7, 0)
        padded = np.pad(image, ((0, 0), (columns, columns), (0, 0)), mode=mode)
        padded = np.pad(padded, ((rows, rows), (0, 0), (0, 0)), mode=mode)
        crop = T.RandomCrop(size, pad_if_needed=True, padding_mode=mode)
        assert set(crops(crop, image, 300)) == windows(padded, *size)

    def test_pad_if_needed_comes_after_padding(self) -> None:
        padded = np.pad(places(3, 3), ((4, 4), (4, 4), (0, 0)))
        crop = T.RandomCrop(7, padding=1, pad_if_needed=True)
        assert set(crops(crop, places(3, 3), 400)) == windows(padded[1:-1, 1:-1], 7, 7)

    @pytest.mark.parametrize("size", [(7, 7), (6, 8)])
    def test_an_image_that_is_too_small(self, size: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match=rf"at least {size[0]}x{size[1]} pixels, found 6x7;"):
            T.RandomCrop(size)(noise(6, 7))

    def test_of_the_very_size(self) -> None:
        np.testing.assert_array_equal(hwc(T.RandomCrop((6, 7))(noise(6, 7))), noise(6, 7))


def documented_box(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> Box:
    """One crop box by the rule in torchvision's documentation, from Python's generator."""
    for _ in range(10):
        area = height * width * random.uniform(*scale)
        aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return Box(random.randint(0, height - h), random.randint(0, width - w), h, w)
    return central_box(height, width, ratio)


def central_box(height: int, width: int, ratio: tuple[float, float]) -> Box:
    h, w = height, width
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return Box((height - h) // 2, (width - w) // 2, h, w)


def kolmogorov_smirnov(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest distance between the distribution functions of two samples."""
    values = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(x), values, "right") / len(x) for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


class TestRandomResizedCrop:
    @pytest.mark.parametrize(
        ("size", "scale", "ratio"),
        [
            ((375, 500), (0.08, 1.0), (3 / 4, 4 / 3)),
            ((500, 333), (0.35, 1.0), (3 / 4, 4 / 3)),
            ((200, 210), (0.2, 0.3), (0.5, 4.0)),
            ((100, 400), (0.08, 1.0), (3 / 4, 4 / 3)),  # many tries fail
            ((64, 64), (0.0, 0.5), (1.0, 1.0)),
        ],
    )
    def test_boxes_follow_torchvisions_distribution(
        self, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
    ) -> None:
        height, width = size
        count = 20000
        crop = T.RandomResizedCrop(8, scale, ratio)
        boxes = [
            crop.extend(Plan.whole(*size), sample_generator(3, 0, i)).box for i in range(count)
        ]
        random.seed(3)
        expected = [documented_box(height, width, scale, ratio) for _ in range(count)]
        statistics: dict[str, Callable[[Box], float]] = {
            "area": lambda box: box.height * box.width / (height * width),
            "log ratio": lambda box: math.log(box.width / box.height),
            "height": lambda box: box.height,
            "centre row": lambda box: box.top + box.height / 2,
            "centre column": lambda box: box.left + box.width / 2,
            "place in the free rows": lambda box: (box.top + 0.5) / (height - box.height + 1),
            "place in the free columns": lambda box: (box.left + 0.5) / (width - box.width + 1),
        }
        for name, value in statistics.items():
            a, b = (np.array([value(box) for box in some]) for some in (boxes, expected))
            # The critical distance for one false alarm in a million.
            assert kolmogorov_smirnov(a, b) < 2.69 * math.sqrt(2 / count), name

    @pytest.mark.parametrize(
        "size", [(1, 1000), (1000, 1), (2, 500), (500, 3), (7, 900), (900, 7), (40, 4000)]
    )
    @pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (0.9, 2.0)])
    def test_extreme_images_are_cropped_at_the_centre(
        self, size: tuple[int, int], ratio: tuple[float, float]
    ) -> None:
        crop = T.RandomResizedCrop(8, ratio=ratio)
        for i in range(5):
            box = crop.extend(Plan.whole(*size), rng(i)).box
            assert box == central_box(*size, ratio)
        assert crop(noise(*size)).shape == (3, 8, 8)

    @some
    @given(side, side, st.floats(0, 1), st.floats(0, 2), st.floats(0.05, 20), st.floats(1, 9), side)
    def test_boxes_lie_inside(
        self, h: int, w: int, low: float, more: float, narrow: float, factor: float, seed: int
    ) -> None:
        crop = T.RandomResizedCrop((5, 6), (low, low + more), (narrow, narrow * factor))
        plan = crop.extend(Plan.whole(h, w), rng(seed))
        top, left, height, width = crop.draw_box(h, w, rng(seed))
        assert plan.box == (top, left, height, width)
        assert 0 <= top < top + height <= h
        assert 0 <= left < left + width <= w
        assert (plan.height, plan.width) == (5, 6)

    @some
    @given(st.integers(20, 120), st.integers(20, 120), st.integers(2, 60), side)
    def test_pixels_are_those_of_crop_then_resize(self, h: int, w: int, size: int, i: int) -> None:
        image = noise(h, w, i)
        top, left, height, width = T.RandomResizedCrop(size).draw_box(h, w, rng(i))
        part = image[top : top + height, left : left + width]

        smooth = hwc(T.RandomResizedCrop(size).apply(image, rng(i)))
        expected = by_pillow(part, size, size, Image.Resampling.BILINEAR)
        assert difference(smooth, expected) <= most_levels()

        plain = hwc(T.RandomResizedCrop(size, antialias=False).apply(image, rng(i)))
        expected = resized_plainly(part, size, size)
        np.testing.assert_array_equal(plain, expected)

        sharp = hwc(T.RandomResizedCrop(size, interpolation="nearest").apply(image, rng(i)))
        expected = by_pillow(part, size, size, Image.Resampling.NEAREST)
        np.testing.assert_array_equal(sharp, expected)

    @pytest.mark.parametrize(
        "options",
        [
            {"scale": (0.5, 0.4)},
            {"scale": (-0.1, 0.4)},
            {"ratio": (0.0, 1.0)},
            {"ratio": (2.0, 1.0)},
            {"ratio": (math.nan, 1.0)},
            {"scale": (0.1, 0.2, 0.3)},
        ],
    )
    def test_ranges_that_are_none(self, options: dict[str, Any]) -> None:
        with pytest.raises(OptionError, match=f"{next(iter(options))} must be \\(low, high\\)"):
            T.RandomResizedCrop(9, **options)


FLIPS = [(T.RandomHorizontalFlip, np.s_[:, ::-1]), (T.RandomVerticalFlip, np.s_[::-1])]


@pytest.mark.parametrize(("flip", "mirrored"), FLIPS)
class TestFlips:
    def test_always_and_never(self, flip: Any, mirrored: Any) -> None:
        image = noise(5, 8)
        for i in range(20):
            np.testing.assert_array_equal(hwc(flip(1.0).apply(image, rng(i))), image[mirrored])
            np.testing.assert_array_equal(hwc(flip(0.0).apply(image, rng(i))), image)

    @pytest.mark.parametrize("p", [None, 0.1, 0.8])
    def test_frequency(self, flip: Any, mirrored: Any, p: float | None) -> None:
        step, image = flip() if p is None else flip(p), places(1, 2)[mirrored] + places(2, 1)
        flipped = [not np.array_equal(hwc(step.apply(image, rng(i))), image) for i in range(4000)]
        p = 0.5 if p is None else p
        assert abs(np.mean(flipped) - p) < 4 * math.sqrt(p * (1 - p) / 4000)

    @pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
    def test_probability(self, flip: Any, mirrored: Any, p: float) -> None:
        with pytest.raises(OptionError, match="between 0 and 1"):
            flip(p)


class Mode(enum.Enum):
    """Like torchvision's InterpolationMode."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class TestArguments:
    @pytest.mark.parametrize(
        ("value", "name"),
        [
            *[(mode, mode.value.split("-")[0]) for mode in Mode if mode is not Mode.LANCZOS],
            ("nearest-exact", "nearest"),
            ("bicubic", "bicubic"),
            (Image.Resampling.NEAREST, "nearest"),
            (Image.Resampling.BILINEAR, "bilinear"),
            (int(Image.Resampling.BICUBIC), "bicubic"),
        ],
    )
    def test_interpolation(self, value: Any, name: str) -> None:
        for kind in (T.Resize, T.RandomResizedCrop):
            expected = kind((9, 9), interpolation=name).apply(noise(30, 40), rng())
            actual = kind((9, 9), interpolation=value).apply(noise(30, 40), rng())
            assert torch.equal(actual, expected)

    @pytest.mark.parametrize("value", [Mode.LANCZOS, Image.Resampling.BOX, "linear", 7, None, []])
    def test_unknown_interpolation(self, value: Any) -> None:
        with pytest.raises(OptionError, match="interpolation must be one of"):
            T.Resize(9, value)

    @pytest.mark.parametrize(
        "size", [0, -1, (0, 5), (5, 0), (1, 2, 3), (), 2.5, (2.5, 3), "9", None]
    )
    @pytest.mark.parametrize("kind", [T.Resize, T.CenterCrop, T.RandomCrop, T.RandomResizedCrop])
    def test_size(self, kind: Any, size: Any) -> None:
        with pytest.raises(OptionError, match="size must be 1 or 2 whole numbers >= 1, got"):
            kind(size)

    @pytest.mark.parametrize("kind", [T.Resize, T.CenterCrop, T.RandomCrop, T.RandomResizedCrop])
    def test_size_from_numpy(self, kind: Any) -> None:
        assert repr(kind(np.int64(7))) == repr(kind(7))

    @pytest.mark.parametrize("padding", [-1, (1, -1), (1, 2, 3), (), 1.5])
    def test_padding(self, padding: Any) -> None:
        with pytest.raises(OptionError, match="padding must be 1 or 2 or 4 whole numbers"):
            T.RandomCrop(9, padding)

    @pytest.mark.parametrize("fill", [-1, 256, (1, 2), (1, 2, 300), 0.5, "red"])
    def test_fill(self, fill: Any) -> None:
        with pytest.raises(OptionError, match="fill must be 1 or 3 whole numbers from 0 to 255"):
            T.RandomCrop(9, 1, fill=fill)

    def test_padding_mode(self) -> None:
        with pytest.raises(OptionError, match=r"padding_mode must be one of.*'symmetric'"):
            T.RandomCrop(9, 1, padding_mode="wrap")


class TopLeft(T.GeometricTransform):
    """A transform of the user's own."""

    def extend(self, plan: Plan, rng: Generator) -> Plan:
        return plan.crop(Box(0, 0, 2, 3))


STEPS = [
    T.Resize(20),
    T.Resize((20, 31), "nearest", antialias=False),
    T.Resize(20, max_size=25),
    T.CenterCrop(33),
    T.RandomCrop((9, 8), (1, 2), True, (1, 2, 3), "edge"),
    T.RandomResizedCrop(17, (0.1, 0.9), (0.9, 1.2), "bicubic"),
    T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(0.25),
]


class TestAllOfThem:
    @pytest.mark.parametrize("step", STEPS, ids=repr)
    def test_repr_is_the_call(self, step: Any) -> None:
        again = eval(repr(step), dict(vars(T)))
        assert repr(again) == repr(step)
        assert torch.equal(again.apply(noise(30, 40), rng()), step.apply(noise(30, 40), rng()))

    @pytest.mark.parametrize("step", STEPS, ids=repr)
    def test_pickling(self, step: Any) -> None:
        again = pickle.loads(pickle.dumps(step))
        assert torch.equal(again.apply(noise(30, 40), rng()), step.apply(noise(30, 40), rng()))

    @pytest.mark.parametrize("step", [*STEPS, T.CenterCrop((30, 40)), TopLeft()], ids=repr)
    def test_result_is_new_and_the_same_for_every_form_of_input(self, step: Any) -> None:
        image = noise(30, 40)
        expected = step.apply(image, rng())
        assert not np.shares_memory(expected.numpy(), image)
        forms = (
            np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape),
            image[::-1].copy()[::-1],
            torch.from_numpy(image).permute(2, 0, 1),
            torch.from_numpy(image).permute(2, 0, 1).contiguous(),
        )
        for form in forms:
            result = step.apply(form, rng())
            assert torch.equal(result, expected)
            assert not np.shares_memory(result.numpy(), np.asarray(form))
        np.testing.assert_array_equal(image, noise(30, 40))

    @pytest.mark.parametrize(
        "image",
        [
            Image.fromarray(noise(9, 9)),
            noise(9, 9).astype(np.float32),
            noise(9, 9)[..., 0],
            noise(9, 9)[..., :1],
            torch.zeros(3, 9, 9),
            torch.zeros(9, 9, dtype=torch.uint8),
            torch.zeros(1, 3, 9, 9, dtype=torch.uint8),
            None,
        ],
        ids=["PIL", "float", "HW", "1 channel", "float tensor", "HW tensor", "batch", "None"],
    )
    def test_what_is_no_image(self, image: Any) -> None:
        for step in STEPS:
            with pytest.raises(TypeError, match="found"):
                step(image)
