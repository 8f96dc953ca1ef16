"""Resizing: Pillow's or torch's very pixels, wherever the image lies, whoever else resizes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import PIL.Image
import pytest
import torch
from helpers.images import resized_by_pillow as by_pillow
from helpers.images import resized_plainly
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastdata.errors import OptionError
from fastdata.images.resample import available, resize_bicubic, resize_bilinear

pytest.importorskip("numba")

Image = NDArray[np.uint8]
BILINEAR, BICUBIC = PIL.Image.Resampling.BILINEAR, PIL.Image.Resampling.BICUBIC
METHODS = {BILINEAR: resize_bilinear, BICUBIC: resize_bicubic}


def noise(height: int, width: int, seed: int = 0) -> Image:
    """Random pixels; half of all seeds give only 0 and 255, which makes bicubic overshoot."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return values if seed % 2 else np.where(values > 127, 255, 0).astype(np.uint8)


def by_torch(image: Image, height: int, width: int, mode: str) -> Image:
    """What torch makes of the image, without antialiasing."""
    pixels = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
    resized = torch.nn.functional.interpolate(pixels, (height, width), mode=mode, antialias=False)
    result: Image = resized[0].permute(1, 2, 0).numpy()
    return result


sides = st.one_of(st.integers(1, 20), st.integers(1, 100), st.integers(1, 700))
methods = st.sampled_from(list(METHODS))
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=300)
@given(sides, sides, sides, sides, methods, seeds)
def test_equals_pillow(
    old_height: int,
    old_width: int,
    height: int,
    width: int,
    method: PIL.Image.Resampling,
    seed: int,
) -> None:
    image = noise(old_height, old_width, seed)
    result = METHODS[method](image, height, width)
    assert result.dtype == np.uint8
    assert np.array_equal(result, by_pillow(image, height, width, method))


@pytest.mark.parametrize("method", METHODS, ids=["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((1, 1), (1, 1)),
        ((1, 1), (40, 50)),
        ((5000, 1), (1, 300)),
        ((1, 5000), (300, 1)),
        ((3000, 3), (2, 2)),
        ((3, 3000), (2, 2)),
        ((2000, 2000), (1, 1)),
        ((2, 2), (1000, 1000)),
        ((400, 500), (400, 500)),
        ((400, 500), (400, 224)),
        ((400, 500), (224, 500)),
        ((375, 500), (224, 224)),
    ],
)
def test_extreme_and_plain_sizes(
    old: tuple[int, int], new: tuple[int, int], method: PIL.Image.Resampling
) -> None:
    image = noise(*old)
    assert np.array_equal(METHODS[method](image, *new), by_pillow(image, *new, method))


@settings(max_examples=300)
@given(sides, sides, sides, sides, seeds)
def test_plain_bilinear_is_two_neighbours_blended(
    old_height: int, old_width: int, height: int, width: int, seed: int
) -> None:
    image = noise(old_height, old_width, seed)
    result = resize_bilinear(image, height, width, antialias=False)
    assert np.array_equal(result, resized_plainly(image, height, width))


# Widths of 1 are left out: without AVX2 torch's uint8 kernels get them wrong.
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@settings(max_examples=200)
@given(sides, sides, sides, st.integers(2, 400), seeds)
def test_without_antialias_equals_torch(
    mode: str, old_height: int, old_width: int, height: int, width: int, seed: int
) -> None:
    image = noise(old_height, old_width, seed)
    resize = {"bilinear": resize_bilinear, "bicubic": resize_bicubic}[mode]
    result = resize(image, height, width, antialias=False)
    assert np.array_equal(result, by_torch(image, height, width, mode))


@settings(max_examples=100)
@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(0, 1), methods, seeds
)
def test_order_of_passes_changes_where_pillow_changes_it(
    height: int, width: int, lost: int, more: int, method: PIL.Image.Resampling, seed: int
) -> None:
    image = noise(height + 2 * lost + more, width + lost, seed)
    expected = by_pillow(image, height, width, method)
    assert np.array_equal(METHODS[method](image, height, width), expected)


@settings(max_examples=100)
@given(
    sides,
    sides,
    st.integers(1, 60),
    st.integers(1, 60),
    st.booleans(),
    methods,
    st.booleans(),
    seeds,
)
def test_flip_mirrors_the_result(
    old_height: int, old_width: int, height: int, width: int, square: bool,
    method: PIL.Image.Resampling, antialias: bool, seed: int,
) -> None:  # fmt: skip
    image = noise(old_height, width if square else old_width, seed)
    resize = partial(METHODS[method], antialias=antialias)
    flipped = resize(image, height, width, hflip=True)
    assert np.array_equal(flipped, resize(image, height, width)[:, ::-1])


@settings(max_examples=100)
@given(sides, sides, st.tuples(*[st.integers(0, 9)] * 4), st.integers(1, 60), st.integers(1, 60))
def test_crop_is_read_in_place_and_left_alone(
    old_height: int, old_width: int, margins: tuple[int, int, int, int], height: int, width: int
) -> None:
    top, left, bottom, right = margins
    whole = noise(top + old_height + bottom, left + old_width + right, seed=1)
    before = whole.copy()
    crop = whole[top : top + old_height, left : left + old_width]
    expected = by_pillow(crop, height, width, BILINEAR), resized_plainly(crop, height, width)
    whole.flags.writeable = False
    assert np.array_equal(resize_bilinear(crop, height, width), expected[0])
    assert np.array_equal(resize_bilinear(crop, height, width, antialias=False), expected[1])
    assert np.array_equal(whole, before)


LAYOUTS: dict[str, Callable[[Image], Image]] = {
    "transposed": lambda image: image.transpose(1, 0, 2),
    "other channel order": lambda image: image[..., ::-1],
    "upside down": lambda image: image[::-1],
    "mirrored": lambda image: image[:, ::-1],
    "every second row": lambda image: image[::2],
    "every second column": lambda image: image[:, ::2],
    "one row, upside down": lambda image: image[:1][::-1],
    "one column": lambda image: image[:, :1],
    "one column, mirrored": lambda image: image[:, :1][:, ::-1],
    "one row repeated": lambda image: np.broadcast_to(image[:1], image.shape),
    "one column repeated": lambda image: np.broadcast_to(image[:, :1], image.shape),
    "planes": lambda image: np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0),
    "one channel repeated": lambda image: np.broadcast_to(image[..., :1], image.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(30, 17), (90, 95)])
def test_any_layout(layout: str, size: tuple[int, int]) -> None:
    image = LAYOUTS[layout](noise(47, 61))
    assert np.array_equal(resize_bilinear(image, *size), by_pillow(image, *size, BILINEAR))
    plain = resize_bilinear(image, *size, antialias=False)
    assert np.array_equal(plain, resized_plainly(image, *size))


@settings(max_examples=100)
@given(sides, sides, st.integers(1, 40), st.integers(1, 40), st.booleans(), st.booleans())
def test_out_is_filled_and_nothing_around_it(
    old_height: int, old_width: int, height: int, width: int, hflip: bool, antialias: bool
) -> None:
    image = noise(old_height, old_width)
    batch = np.full((3, height, width, 3), 77, np.uint8)
    result = resize_bilinear(image, height, width, batch[1], hflip, antialias)
    expected = resized_plainly(image, height, width)
    if antialias:
        expected = by_pillow(image, height, width, BILINEAR)
    assert result.base is batch
    assert np.array_equal(batch[1], expected[:, ::-1] if hflip else expected)
    assert (batch[[0, 2]] == 77).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.int8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 0, 3), np.uint8),
    ],
    ids=lambda image: f"{image.dtype} {image.shape}",
)
@pytest.mark.parametrize("resize", METHODS.values())
def test_refuses_other_images(image: Image, resize: Callable[..., Image]) -> None:
    with pytest.raises(OptionError, match=r"expected an image of H x W x 3 uint8"):
        resize(image, 4, 4)


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-1, 4)])
def test_refuses_an_empty_result(size: tuple[int, int]) -> None:
    with pytest.raises(OptionError, match="expected a size of at least 1x1"):
        resize_bilinear(noise(8, 8), *size)


def read_only(array: Image) -> Image:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((4, 5, 3), np.uint8),
        np.zeros((5, 4), np.uint8),
        np.zeros((5, 4, 3), np.int8),
        np.zeros((5, 4, 3), np.float32),
        np.zeros((4, 5, 3), np.uint8).transpose(1, 0, 2),
        np.zeros((5, 8, 3), np.uint8)[:, :4],
        read_only(np.zeros((5, 4, 3), np.uint8)),
    ],
    ids=["shape", "rank", "int8", "float", "transposed", "crop", "read-only"],
)
def test_refuses_another_out(out: Image) -> None:
    with pytest.raises(OptionError, match=r"out must be a writable C-contiguous uint8 array"):
        resize_bilinear(noise(8, 8), 5, 4, out)


def test_threads_do_not_disturb_each_other() -> None:
    sizes = [(37 + 11 * i % 300, 350 - 13 * i % 300) for i in range(40)]
    images = [noise(*size, seed=i) for i, size in enumerate(sizes)]
    expected = [by_pillow(image, 96, 96, BILINEAR) for image in images]
    batch = np.zeros((len(images), 96, 96, 3), np.uint8)
    start = threading.Barrier(4)

    def work(first: int) -> int:
        start.wait()
        wrong = 0
        for _ in range(20):
            for i in range(first, len(images), 4):
                batch[i] = 0
                resize_bilinear(images[i], 96, 96, batch[i])
                wrong += not np.array_equal(batch[i], expected[i])
        return wrong

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [0, 0, 0, 0]


def test_other_threads_run_meanwhile() -> None:
    assert available()
    image, done = noise(4000, 4000), threading.Event()

    def work() -> None:
        resize_bicubic(image, 1000, 1000)
        done.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # a thread that never lets go of the GIL finishes before we go on
    try:
        overlapped = False
        for _ in range(20):  # again, where the machine was too busy to let us run meanwhile
            done.clear()
            thread = threading.Thread(target=work)
            thread.start()
            overlapped = overlapped or not done.is_set()
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert overlapped
