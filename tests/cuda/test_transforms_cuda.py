"""DeviceNormalize, MixUp and CutMix on a CUDA device, on the prefetcher's side stream too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from helpers.gpu import BRIEF, GPU, assert_none_wrong, churn, count_wrong, sleep
from torch import Tensor

from fastdata.loader.prefetch import CUDAPrefetcher
from fastdata.transforms import Compose, CutMix, DeviceNormalize, MixUp, RandomChoice

pytestmark = GPU

CLASSES = 7
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
FLOAT32_ERROR = 4 * 2.0**-24  # the roundings of the scale, the bias, the product and the sum


def images_and_targets(n: int = 6, height: int = 37, width: int = 53) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    shape = (n, 3, height, width)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    targets = torch.randint(0, CLASSES, (n,), generator=generator)
    return images.contiguous(memory_format=torch.channels_last), targets


@contextmanager
def no_synchronisation() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("source", [torch.channels_last, torch.contiguous_format])
def test_normalising_is_the_formula_rounded_once(
    dtype: torch.dtype, channels_last: bool, source: Any
) -> None:
    images = images_and_targets()[0].contiguous(memory_format=source)
    transform = DeviceNormalize(dtype=dtype, channels_last=channels_last)
    result = transform(images.cuda())
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=wanted)
    mean, std = (
        torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (transform.mean, transform.std)
    )
    exact = (images.double() / 255 - mean) / std
    final = 0.0 if dtype == torch.float32 else torch.finfo(dtype).eps / 2
    allowed = exact.abs() * final * (1 + 1e-6) + FLOAT32_ERROR * float((1 / std).max() * 1.5)
    assert bool(((result.cpu().double() - exact).abs() <= allowed).all())


@pytest.mark.filterwarnings("ignore")  # the profiler's own
@pytest.mark.parametrize("dtype", DTYPES)
def test_normalising_is_one_kernel(dtype: torch.dtype) -> None:
    images, transform = images_and_targets()[0].cuda(), DeviceNormalize(dtype=dtype)
    transform(images)  # brings the constants there
    torch.cuda.synchronize()
    with torch.profiler.profile() as profiler:
        transform(images)
        torch.cuda.synchronize()
    on_device = torch.autograd.DeviceType.CUDA
    kernels = [e.name for e in profiler.events() if e.device_type == on_device]
    if not kernels:
        pytest.skip("the profiler sees no kernels on this machine")
    assert len(kernels) == 1


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("floating", [True, False])
def test_the_host_never_waits(floating: bool) -> None:
    images, targets = (tensor.cuda() for tensor in images_and_targets())
    normalize = DeviceNormalize()
    prepared = normalize(images) if floating else images
    torch.cuda.synchronize()
    with no_synchronisation():
        normalize(images)
        for transform in (MixUp(0.4, CLASSES, 0.1), CutMix(1.0, CLASSES)):
            for _ in range(5):
                transform((prepared, targets))
        RandomChoice([MixUp(0.4, CLASSES), CutMix(1.0, CLASSES)])((prepared, targets))


@pytest.mark.parametrize("n", [1, 2, 6])
@pytest.mark.parametrize("floating", [True, False])
@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_mixes_as_on_the_cpu(kind: Any, floating: bool, n: int) -> None:
    images, targets = images_and_targets(n)
    images = images.float() if floating else images
    for seed in range(5):
        expected, soft = kind(1.0, CLASSES, 0.1, seed)((images, targets))
        mixed, rows = kind(1.0, CLASSES, 0.1, seed)((images.cuda(), targets.cuda()))
        assert mixed.is_cuda
        assert mixed.is_contiguous(memory_format=torch.channels_last)
        off_by = 0 if kind is CutMix else 1e-3 if floating else 1  # a tie may round either way
        assert float((mixed.cpu().double() - expected.double()).abs().max()) <= off_by
        assert torch.allclose(rows.cpu(), soft, rtol=0, atol=1e-6)


@pytest.mark.parametrize("prefetch_batches", [1, 3])
def test_on_the_side_stream_no_batch_is_stale(prefetch_batches: int) -> None:
    def source() -> Iterator[tuple[Tensor, Tensor]]:
        for number in range(16):
            images = torch.full((32, 3, 256, 256), number, dtype=torch.uint8)
            yield images.pin_memory(), torch.zeros(32, dtype=torch.int64)

    mixes = RandomChoice([MixUp(1.0, CLASSES), CutMix(1.0, CLASSES)], seed=0)
    # All pixels of a batch are alike, so mixing them changes none; normalising undoes the scale.
    chain = Compose([mixes, DeviceNormalize((0.0,) * 3, (1 / 255,) * 3, torch.float16)])
    wrong = []
    prefetcher = CUDAPrefetcher(source(), prefetch_batches=prefetch_batches, transform=chain)
    for number, (images, soft) in enumerate(prefetcher):
        sleep(BRIEF)
        wrong += [count_wrong(images, number), count_wrong(soft[:, 0], 1)]
        del images, soft
        churn()
    assert_none_wrong(wrong)
    assert len(wrong) == 32
