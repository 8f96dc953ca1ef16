"""DeviceNormalize on the CPU; the same formula on a GPU is tested in ``tests/cuda``."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fastdata.errors import OptionError
from fastdata.loader.prefetch import CUDAPrefetcher
from fastdata.transforms import Compose, DeviceNormalize, Normalize

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
# A float32 result may be off by the roundings of the scale, the bias, the product and the sum.
FLOAT32_ERROR = 4 * 2.0**-24


class Pair(NamedTuple):
    image: Any
    target: Any


def random_images(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def by_formula(images: Tensor, mean: Any, std: Any) -> Tensor:
    m, s = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) for v in (mean, std))
    return (images.double() / 255 - m) / s


channel = st.tuples(st.floats(-1, 2), st.floats(0.01, 10))


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    channels=st.lists(channel, min_size=1, max_size=4),
    size=st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5)),
    seed=st.integers(0, 99),
    channels_last=st.booleans(),
)
def test_is_the_formula_rounded_once(
    dtype: torch.dtype,
    channels: list[tuple[float, float]],
    size: tuple[int, int, int],
    seed: int,
    channels_last: bool,
) -> None:
    mean, std = ([c[i] for c in channels] for i in (0, 1))
    images = random_images(size[0], len(channels), *size[1:], seed=seed)
    result = DeviceNormalize(mean, std, dtype, channels_last)(images)
    assert (result.dtype, result.shape) == (dtype, images.shape)
    exact = by_formula(images, mean, std)
    largest = max((1 + abs(m)) / s for m, s in channels)
    final = 0.0 if dtype == torch.float32 else torch.finfo(dtype).eps / 2
    smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    allowed = exact.abs() * final * (1 + 1e-6) + FLOAT32_ERROR * largest + smallest
    assert bool(((result.double() - exact).abs() <= allowed).all())


def test_gives_what_normalize_gives() -> None:
    images = random_images(4, 3, 7, 9)
    expected = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(images)
    assert torch.allclose(DeviceNormalize()(images), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("source", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_format(source: Any, channels_last: bool, dtype: torch.dtype) -> None:
    images = random_images(2, 3, 5, 7).contiguous(memory_format=source)
    before = images.clone()
    result = DeviceNormalize(dtype=dtype, channels_last=channels_last)(images)
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert result.is_contiguous(memory_format=wanted)
    assert torch.equal(images, before)
    assert torch.equal(result, DeviceNormalize(dtype=dtype)(images.contiguous()))


def test_any_view_of_images_will_do() -> None:
    images = random_images(6, 4, 10, 12)[::2, 1:, ::3, 2:9]
    assert torch.equal(DeviceNormalize()(images), DeviceNormalize()(images.contiguous()))


def test_changes_the_images_and_leaves_the_rest_alone() -> None:
    images, others = random_images(2, 3, 4, 4), {"mask": random_images(2, 1, 4, 4), "name": "a"}
    targets = torch.arange(2)
    batch = [Pair(images, targets), others, [images]]
    pair, same, (again,) = DeviceNormalize()(batch)
    assert type(pair) is Pair
    assert torch.equal(pair.image, DeviceNormalize()(images))
    assert again is pair.image
    assert (pair.target, same) == (targets, others)
    assert pair.target is targets
    assert same is others


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        ((torch.zeros(2, 3, 4, 4), torch.arange(2)), r"float32 \(2, 3, 4, 4\), int64 \(2,\)"),
        (random_images(2, 1, 4, 4), r"uint8 \(2, 1, 4, 4\)"),
        (random_images(3, 4, 4), r"uint8 \(3, 4, 4\)"),
        ("text", "no tensor"),
    ],
)
def test_says_when_there_are_no_images(batch: Any, found: str) -> None:
    with pytest.raises(TypeError, match=f"uint8 images of shape N×3×H×W, found {found}"):
        DeviceNormalize()(batch)


@pytest.mark.parametrize(
    "options",
    [
        {"mean": (0.5,), "std": (0.5, 0.5)},
        {"mean": (), "std": ()},
        {"mean": (0.5,), "std": (0.0,)},
        {"dtype": torch.uint8},
        {"dtype": torch.float64},
    ],
)
def test_rejects_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        DeviceNormalize(**options)


def test_pickles_and_shows_its_options() -> None:
    transform = DeviceNormalize((0.5,), (0.25,), torch.float16, channels_last=False)
    images = random_images(2, 1, 3, 3)
    unused = pickle.dumps(transform)
    result = transform(images)
    assert len(pickle.dumps(transform)) == len(unused)  # nothing of any device
    copied = pickle.loads(pickle.dumps(transform))
    assert torch.equal(copied(images), result)
    assert repr(copied) == repr(transform)
    assert "float16, channels_last=False" in repr(transform)


def test_many_threads_may_share_one() -> None:
    transform = DeviceNormalize()
    batches = [random_images(2, 3, 8, 8, seed=seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(transform, batches))
    expected = [DeviceNormalize()(batch) for batch in batches]
    assert all(map(torch.equal, results, expected))


def test_leaves_gradients_out_and_inference_mode_alone() -> None:
    transform = DeviceNormalize()
    with torch.inference_mode():
        transform(random_images(1, 3, 2, 2))
    weight = torch.ones(3, 1, 1, requires_grad=True)
    (transform(random_images(1, 3, 2, 2)) * weight).sum().backward()
    assert weight.grad is not None


def test_compose_takes_it_for_whole_batches() -> None:
    images, targets = random_images(2, 3, 4, 4), torch.arange(2)
    chain = Compose([DeviceNormalize(), lambda batch: (batch[0] + 1, batch[1])])
    result, same = chain((images, targets))
    assert torch.equal(result, DeviceNormalize()(images) + 1)
    assert same is targets


def test_as_the_transform_of_a_prefetcher() -> None:
    batches = [(random_images(2, 3, 4, 4, seed=seed), torch.tensor([seed])) for seed in range(3)]
    prefetcher = CUDAPrefetcher(batches, "cpu", transform=DeviceNormalize())
    for (images, target), (source, number) in zip(prefetcher, batches, strict=True):
        assert torch.equal(images, DeviceNormalize()(source))
        assert target is number
