"""MixUp, CutMix and the choice between them, on the CPU."""

from __future__ import annotations

import json
import pickle
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import TensorDataset

from fastdata import DataLoaderX
from fastdata.errors import OptionError
from fastdata.transforms import Compose, CutMix, DeviceNormalize, MixUp, RandomChoice

CLASSES = 7


class Pair(NamedTuple):
    image: Any
    target: Any


def numbered_images(n: int, height: int, width: int, channels: int = 3) -> Tensor:
    """Float images; every value says from which sample and pixel it comes."""
    values = torch.arange(n * channels * height * width, dtype=torch.float64)
    images = values.view(n, channels, height, width)
    return images.contiguous(memory_format=torch.channels_last)


def random_targets(n: int, seed: int = 0) -> Tensor:
    return torch.randint(0, CLASSES, (n,), generator=torch.Generator().manual_seed(seed))


def smoothed(targets: Tensor, smoothing: float) -> Tensor:
    rows = torch.full((len(targets), CLASSES), smoothing / CLASSES, dtype=torch.float64)
    rows[torch.arange(len(targets)), targets] += 1 - smoothing
    return rows


def before(rows: Tensor) -> Tensor:
    """The row before each, the last for the first."""
    return torch.cat([rows[-1:], rows[:-1]])


def kept(images: Tensor, mixed: Tensor) -> float:
    """λ of a blend of images that are all different."""
    other = before(images)
    pixel = (-1, 0, 0, 0)
    return float((mixed[pixel] - other[pixel]) / (images[pixel] - other[pixel]))


sizes = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
alphas = st.sampled_from([0.0, 0.2, 1.0, 8.0])
smoothings = st.sampled_from([0.0, 0.1, 1.0])
seeds = st.integers(0, 2**63)


@given(sizes, alphas, smoothings, seeds)
def test_mixup_is_its_formula(
    size: tuple[int, int, int], alpha: float, smoothing: float, seed: int
) -> None:
    images, targets = numbered_images(*size), random_targets(size[0])
    mixed, soft = MixUp(alpha, CLASSES, smoothing, seed)((images, targets))
    weight = kept(images, mixed) if size[0] > 1 else 1.0
    assert -1e-9 <= weight <= 1 + 1e-9
    if alpha == 0:
        assert weight == 1
    expected = weight * images + (1 - weight) * before(images)
    assert torch.allclose(mixed, expected, rtol=1e-6, atol=1e-6)
    rows = smoothed(targets, smoothing)
    expected = weight * rows + (1 - weight) * before(rows)
    assert torch.allclose(soft.double(), expected, rtol=0, atol=1e-6)


@given(sizes, alphas, smoothings, seeds)
def test_cutmix_takes_a_box_and_counts_it(
    size: tuple[int, int, int], alpha: float, smoothing: float, seed: int
) -> None:
    n, height, width = size
    images, targets = numbered_images(*size), random_targets(n)
    mixed, soft = CutMix(alpha, CLASSES, smoothing, seed)((images, targets))
    own, other = mixed == images, mixed == before(images)
    assert bool((own | other).all())
    if n > 1:
        boxes = ~own
        assert bool((boxes == boxes[:1, :1]).all())  # one box, in every image and channel
        box = boxes[0, 0]
        rows, columns = box.any(1), box.any(0)
        assert bool((box == rows[:, None] & columns).all())
        assert all(is_one_run(edge) for edge in (rows, columns))
        weight = 1 - int(box.sum()) / (height * width)
    else:
        weight = 1.0
    expected = weight * smoothed(targets, smoothing) + (1 - weight) * before(
        smoothed(targets, smoothing)
    )
    assert torch.allclose(soft.double(), expected, rtol=0, atol=1e-6)


def test_cutmix_boxes_have_the_area_and_shape_of_the_image() -> None:
    whole = 0
    for seed in range(60):
        images = numbered_images(2, 40, 60, channels=1)
        blend, _ = MixUp(1.0, CLASSES, seed=seed)((images, random_targets(2)))
        share = 1 - kept(images, blend)  # the same seed gives the same λ
        mixed, _ = CutMix(1.0, CLASSES, seed=seed)((images, random_targets(2)))
        box = (mixed != images)[0, 0]
        height, width = int(box.any(1).sum()), int(box.any(0).sum())
        assert height <= 40 * share**0.5 + 1e-3
        assert width <= 60 * share**0.5 + 1e-3
        if not (box[0] | box[-1]).any() and not (box[:, 0] | box[:, -1]).any() and height:
            whole += 1
            assert height > 40 * share**0.5 - 1 - 1e-3
            assert width > 60 * share**0.5 - 1 - 1e-3
    assert whole > 5


def is_one_run(edge: Tensor) -> bool:
    return int((edge.int().diff(prepend=torch.zeros(1, dtype=torch.int32)) == 1).sum()) <= 1


@pytest.mark.parametrize("kind", [MixUp, CutMix])
@given(n=st.integers(0, 5), smoothing=smoothings, seed=seeds)
def test_soft_targets_are_distributions(kind: Any, n: int, smoothing: float, seed: int) -> None:
    batch = (numbered_images(n, 4, 5), random_targets(n, seed % 100))
    _, soft = kind(1.0, CLASSES, smoothing, seed)(batch)
    assert (soft.shape, soft.dtype) == ((n, CLASSES), torch.float32)
    assert torch.allclose(soft.sum(1), torch.ones(n), rtol=0, atol=1e-6)
    assert bool((soft >= 0).all())


@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_lambda_is_spread_as_alpha_says(kind: Any) -> None:
    def spread(alpha: float) -> float:
        transform = kind(alpha, 2, seed=0)
        batch = (torch.zeros(2, 1, 32, 32), torch.tensor([0, 1]))
        return float(np.std([float(transform(batch)[1][0, 0]) for _ in range(300)]))

    assert spread(0.05) > spread(1.0) > spread(20.0) > 0


@given(size=sizes, seed=seeds)
def test_mixup_of_integers_rounds_to_the_nearest(size: tuple[int, int, int], seed: int) -> None:
    n, height, width = size
    generator = torch.Generator().manual_seed(seed % 2**32)
    shape = (n, 3, height, width)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    mixed, _ = MixUp(1.0, CLASSES, seed=seed)((images, random_targets(n)))
    exact, _ = MixUp(1.0, CLASSES, seed=seed)((images.double(), random_targets(n)))
    assert mixed.dtype == torch.uint8
    assert float((mixed.double() - exact).abs().max()) <= 0.5 + 1e-4


def test_cutmix_and_normalising_commute() -> None:
    images = torch.randint(0, 256, (5, 3, 9, 11), dtype=torch.uint8)
    batch = (images, random_targets(5))
    for seed in range(10):
        after = DeviceNormalize()(CutMix(1.0, CLASSES, seed=seed)(batch))
        first = CutMix(1.0, CLASSES, seed=seed)(DeviceNormalize()(batch))
        assert all(map(torch.equal, after, first))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_keeps_type_format_and_source(kind: Any, layout: Any, dtype: torch.dtype) -> None:
    images = (torch.rand(4, 3, 6, 8) * 200).to(dtype).contiguous(memory_format=layout)
    source = images.clone()
    mixed, _ = kind(1.0, CLASSES, seed=3)((images, random_targets(4)))
    assert mixed.dtype == dtype
    assert mixed.is_contiguous(memory_format=layout)
    assert torch.equal(images, source)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_targets_of_any_integer_type(dtype: torch.dtype) -> None:
    targets = torch.tensor([0, 6, 3])
    _, soft = MixUp(0.0, CLASSES)((torch.zeros(3, 1, 2, 2), targets.to(dtype)))
    assert soft.argmax(1).tolist() == targets.tolist()


def test_batches_keep_their_containers() -> None:
    images, targets = torch.rand(3, 3, 4, 4), random_targets(3)
    rest = {"name": ["a", "b", "c"], "weight": torch.rand(3)}
    for batch in (Pair(images, targets), [images, targets], {"y": targets, "x": images, **rest}):
        mixed: Any = MixUp(0.0, CLASSES)(batch)
        assert type(mixed) is type(batch)
        if isinstance(mixed, dict):
            assert mixed["x"].shape == images.shape
            assert mixed["y"].shape == (3, CLASSES)
            assert mixed["weight"] is rest["weight"]


@pytest.mark.parametrize(
    "batch",
    [
        torch.rand(3, 3, 4, 4),
        random_targets(3),
        (torch.rand(3, 3, 4, 4), torch.rand(3)),
        (torch.rand(3, 3, 4, 4), random_targets(2)),
        (torch.rand(3, 3, 4, 4), torch.rand(3, 3, 4, 4), random_targets(3)),
        (torch.rand(3, 3, 4, 4), random_targets(3), torch.arange(3)),
        (torch.rand(3, 4, 4), random_targets(3)),
        "text",
    ],
)
def test_says_what_it_found_instead(batch: Any) -> None:
    with pytest.raises(TypeError, match="one integer tensor of N targets, found "):
        MixUp(1.0, CLASSES)(batch)


@pytest.mark.parametrize("target", [CLASSES, -1])
def test_targets_out_of_range(target: int) -> None:
    batch = (torch.rand(1, 3, 4, 4), torch.tensor([target]))
    with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
        MixUp(1.0, CLASSES)(batch)


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": -0.1},
        {"alpha": float("nan")},
        {"alpha": float("inf")},
        {"num_classes": 0},
        {"label_smoothing": 1.5},
        {"seed": -1},
    ],
)
@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_rejects_wrong_options(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        kind(**{"alpha": 1.0, "num_classes": CLASSES, **options})


@pytest.mark.parametrize(
    ("transforms", "p"), [([], None), ([id], [0.5, 0.5]), ([id], [0]), ([id, id], [2, -1])]
)
def test_a_choice_rejects_wrong_probabilities(transforms: Any, p: Any) -> None:
    with pytest.raises(OptionError):
        RandomChoice(transforms, p)


def mixes(seed: int | None) -> list[Any]:
    both = [MixUp(0.5, CLASSES, seed=seed), CutMix(1.0, CLASSES, seed=seed)]
    return [*both, RandomChoice([MixUp(0.5, CLASSES), CutMix(1.0, CLASSES)], seed=seed)]


def run(transform: Any, batches: int) -> list[tuple[Tensor, Tensor]]:
    batch = (numbered_images(4, 8, 8), random_targets(4))
    return [transform(batch) for _ in range(batches)]


def same(first: Any, second: Any) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a, b) for pair in pairs for a, b in zip(*pair, strict=True))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_seed_decides_every_batch(index: int) -> None:
    first = run(mixes(5)[index], 12)
    assert same(first, run(mixes(5)[index], 12))
    assert not same(first, run(mixes(6)[index], 12))
    assert len({str(mixed) for mixed, _ in first}) > 6


@pytest.mark.parametrize("index", [0, 1, 2])
def test_without_a_seed_torchs_decides(index: int) -> None:
    torch.manual_seed(1)
    first = run(mixes(None)[index], 3)
    torch.manual_seed(1)
    second = mixes(None)[index]
    torch.manual_seed(2)
    assert same(first, run(second, 3))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_state_goes_on_where_it_was_taken(index: int) -> None:
    transform = mixes(5)[index]
    run(transform, 3)
    state = json.loads(json.dumps(transform.state_dict()))
    copied = pickle.loads(pickle.dumps(transform))
    expected = run(transform, 5)
    assert same(expected, run(copied, 5))
    resumed = mixes(None)[index]
    resumed.load_state_dict(state)
    assert same(expected, run(resumed, 5))
    resumed.load_state_dict({**state, "batches": 4})
    assert same(expected[1:], run(resumed, 4))


def test_a_choice_calls_each_as_often_as_p_says() -> None:
    transform = RandomChoice([lambda _: 0, lambda _: 1, lambda _: 2], p=[1, 0, 3], seed=0)
    results = [transform(None) for _ in range(400)]
    assert results.count(1) == 0
    assert 60 <= results.count(0) <= 140
    even = RandomChoice([lambda _: 0, lambda _: 1], seed=0)
    assert 140 <= [even(None) for _ in range(400)].count(0) <= 260


def test_a_choice_within_a_choice() -> None:
    inner = RandomChoice([MixUp(0.5, CLASSES), CutMix(1.0, CLASSES)])
    results = [run(RandomChoice([inner], seed=9), 4) for _ in range(2)]
    assert same(*results)


def test_shows_its_options() -> None:
    shown = repr(RandomChoice([MixUp(0.2, 10, 0.1), CutMix(1.0, 10)], p=[1, 3]))
    assert "MixUp(alpha=0.2, num_classes=10, label_smoothing=0.1)" in shown
    assert "p=[0.25, 0.75]" in shown


def test_builds_no_graph() -> None:
    images = torch.rand(3, 3, 4, 4, requires_grad=True)
    mixed, soft = MixUp(1.0, CLASSES)((images, random_targets(3)))
    assert not mixed.requires_grad
    assert not soft.requires_grad


@given(n=st.integers(1, 9), batch_size=st.integers(1, 4))
def test_through_a_loader(n: int, batch_size: int) -> None:
    images = torch.randint(0, 256, (n, 3, 5, 4), dtype=torch.uint8)
    dataset = TensorDataset(images, random_targets(n))
    chain = Compose([DeviceNormalize(), RandomChoice(mixes(1)[:2], seed=1)])
    loader = DataLoaderX(dataset, batch_size=batch_size, batch_transform=chain)
    sizes = []
    for mixed, soft in loader:
        assert mixed.dtype == torch.float32
        assert mixed.is_contiguous(memory_format=torch.channels_last)
        assert soft.shape == (len(mixed), CLASSES)
        loss = torch.nn.functional.cross_entropy(mixed.flatten(1)[:, :CLASSES], soft)
        assert bool(loss.isfinite())
        sizes.append(len(mixed))
    assert sum(sizes) == n
    assert sizes[-1] == n % batch_size or sizes[-1] == batch_size
