"""Compose, ToTensor, Normalize, and where randomness comes from."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import picture, write_tree
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import fastdata
from fastdata import transforms as T
from fastdata.errors import OptionError
from fastdata.transforms.randomness import draw_below, sample_generator

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Spy:
    """A foreign transform that remembers what it was given and returns what it is told to."""

    def __init__(self, change: Callable[[Any], Any] = lambda image: image) -> None:
        self.change = change
        self.seen: list[Any] = []

    def __call__(self, image: Any) -> Any:
        self.seen.append(image)
        return self.change(image)

    @property
    def form(self) -> tuple[str, str, tuple[int, ...]]:
        image = self.seen[-1]
        return type(image).__name__, str(image.dtype).removeprefix("torch."), tuple(image.shape)


class AlbumentationsSpy(Spy):
    """Takes and returns images by keyword, as albumentations does."""

    __module__ = "albumentations.augmentations.pixel.transforms"

    def __call__(self, *, image: Any) -> dict[str, Any]:
        return {"image": super().__call__(image), "mask": None}


class TorchvisionSpy(Spy):
    __module__ = "torchvision.transforms.v2._color"


class ToTensorOfTorchvision(TorchvisionSpy):
    """Like torchvision's ToTensor: takes no tensor, scales to [0, 1]."""

    __module__ = "torchvision.transforms.transforms"

    def __call__(self, image: Any) -> torch.Tensor:
        if isinstance(image, torch.Tensor):
            raise TypeError("pic should be PIL Image or ndarray")
        pixels = np.array(super().__call__(image))
        return torch.from_numpy(pixels).permute(2, 0, 1).to(torch.float32).div(255)


class ComposeOfTorchvision:
    """Like torchvision's Compose: hands on what each returns."""

    __module__ = "torchvision.transforms.transforms"

    def __init__(self, transforms: list[Any]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        for step in self.transforms:
            image = step(image)
        return image


# An object is recognised by its class's module and name, which are torchvision's own here.
ToTensorOfTorchvision.__name__ = "ToTensor"
ComposeOfTorchvision.__name__ = "Compose"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("t"), 2, 3, formats=(".png",), sizes=((40, 60),))


def sample(folder: Path, *steps: Any, index: int = 0) -> Any:
    return fastdata.ImageFolder(folder, T.Compose(steps), seed=5)[index][0]


class TestWhatForeignTransformsGet:
    def test_an_array_before_geometry_and_a_tensor_after(self, folder: Path) -> None:
        before, between, after = Spy(), Spy(), Spy()
        sample(folder, before, T.Resize(20), between, T.CenterCrop(10), after)
        assert before.form == ("ndarray", "uint8", (40, 60, 3))
        assert between.form == ("Tensor", "uint8", (3, 20, 30))
        assert after.form == ("Tensor", "uint8", (3, 10, 10))

    def test_the_same_when_called_directly(self) -> None:
        before, after = Spy(), Spy()
        T.Compose([before, T.Resize(20), after])(picture(40, 60))
        assert before.form == ("ndarray", "uint8", (40, 60, 3))
        assert after.form == ("Tensor", "uint8", (3, 20, 30))

    def test_floats_after_to_tensor(self, folder: Path) -> None:
        spy = Spy()
        sample(folder, T.ToTensor(), spy)
        assert spy.form == ("Tensor", "float32", (3, 40, 60))

    @pytest.mark.parametrize("head", [[], [T.Resize(40)]])
    def test_torchvision_gets_a_tensor(self, folder: Path, head: list[Any]) -> None:
        spy = TorchvisionSpy()
        result = sample(folder, *head, spy)
        assert spy.form == ("Tensor", "uint8", (3, 40, 60))
        assert result is spy.seen[0]

    @pytest.mark.parametrize("head", [[], [T.Resize(40)], [TorchvisionSpy()]])
    def test_to_tensor_of_torchvision_gets_an_array(self, folder: Path, head: list[Any]) -> None:
        step = ToTensorOfTorchvision()
        result = sample(folder, *head, step)
        assert step.form == ("ndarray", "uint8", (40, 60, 3))
        assert torch.equal(result, sample(folder, *head, T.ToTensor()))

    def test_torchvision_gets_the_pil_image_that_torchvision_made(self, folder: Path) -> None:
        to_pil = TorchvisionSpy(lambda image: Image.fromarray(image.permute(1, 2, 0).numpy()))
        spy, to_tensor = TorchvisionSpy(), ToTensorOfTorchvision()
        result = sample(folder, T.Resize(20), to_pil, spy, to_tensor)
        assert isinstance(spy.seen[0], Image.Image)
        assert torch.equal(result, sample(folder, T.Resize(20), T.ToTensor()))

    def test_compose_of_torchvision_is_taken_apart(self, folder: Path) -> None:
        spy = TorchvisionSpy()
        steps = [T.Resize(20), spy, ToTensorOfTorchvision(), T.Normalize(MEAN, STD)]
        theirs = fastdata.ImageFolder(folder, ComposeOfTorchvision(steps), seed=5)
        assert torch.equal(theirs[0][0], sample(folder, *steps))
        assert spy.form == ("Tensor", "uint8", (3, 20, 30))

    @pytest.mark.parametrize("head", [[], [T.Resize(40)]])
    def test_albumentations_gets_an_array_by_keyword(self, folder: Path, head: list[Any]) -> None:
        spy = AlbumentationsSpy(lambda image: 255 - image)
        result = sample(folder, *head, spy)
        assert spy.form == ("ndarray", "uint8", (40, 60, 3))
        assert spy.seen[0].flags.c_contiguous
        np.testing.assert_array_equal(result, 255 - spy.seen[0])

    def test_albumentations_alone(self, folder: Path) -> None:
        spy = AlbumentationsSpy()
        result = fastdata.ImageFolder(folder, spy)[0][0]
        assert spy.form == ("ndarray", "uint8", (40, 60, 3))
        np.testing.assert_array_equal(result, fastdata.ImageFolder(folder)[0][0])

    def test_albumentations_after_torchvision_and_back(self, folder: Path) -> None:
        theirs, ours = AlbumentationsSpy(lambda image: image[:, ::-1]), TorchvisionSpy()
        result = sample(folder, TorchvisionSpy(), theirs, ours, T.Resize(40))
        assert ours.form == ("Tensor", "uint8", (3, 40, 60))
        pixels = fastdata.ImageFolder(folder)[0][0]
        np.testing.assert_array_equal(result.permute(1, 2, 0).numpy(), pixels[:, ::-1])

    def test_albumentations_cannot_take_a_pil_image(self, folder: Path) -> None:
        with pytest.raises(TypeError, match=r"found Image; turn.*numpy\.asarray"):
            sample(folder, Spy(Image.fromarray), AlbumentationsSpy())


class AlbumentationsJitter:
    """Adds a number from a generator of its own, as albumentations 2 does."""

    __module__ = "albumentations.core.composition"

    def __init__(self) -> None:
        self.generator = random.Random(0)

    def set_random_seed(self, seed: int) -> None:
        self.generator = random.Random(seed)

    def __call__(self, *, image: Any) -> dict[str, Any]:
        return {"image": image // 2 + np.uint8(self.generator.randrange(100))}


def test_albumentations_draws_by_seed_epoch_and_sample(folder: Path) -> None:
    def values(seed: int, epoch: int, order: list[int]) -> dict[int, int]:
        fill = Spy(torch.zeros_like)
        steps = T.Compose([T.Resize(20), fill, AlbumentationsJitter()])
        dataset = fastdata.ImageFolder(folder, steps, seed=seed)
        dataset.set_epoch(epoch)
        return {i: int(dataset[i][0].max()) for i in order}

    expected = values(1, 0, [0, 1, 2, 3, 4, 5])
    assert len(set(expected.values())) > 2
    assert values(1, 0, [5, 3, 1, 0, 2, 4]) == expected
    assert values(1, 0, [4])[4] == expected[4]
    assert values(2, 0, [0, 1, 2, 3, 4, 5]) != expected
    assert values(1, 1, [0, 1, 2, 3, 4, 5]) != expected


class TestCompose:
    def test_nesting_means_nothing(self, folder: Path) -> None:
        spy = Spy()
        steps = [T.RandomResizedCrop(24), T.RandomHorizontalFlip(), spy, T.RandomCrop(16)]
        flat = fastdata.ImageFolder(folder, T.Compose(steps), seed=5)
        nested = T.Compose([T.Compose([steps[0], T.Compose([])]), T.Compose(steps[1:3]), steps[3]])
        for i, (image, _) in enumerate(fastdata.ImageFolder(folder, nested, seed=5)):
            assert torch.equal(image, flat[i][0])
        torch.manual_seed(1)
        expected = T.Compose(steps)(picture(40, 60))
        torch.manual_seed(1)
        assert torch.equal(nested(picture(40, 60)), expected)

    def test_planned_or_called_the_pixels_are_the_same(self, folder: Path) -> None:
        flips = [T.RandomHorizontalFlip(1.0), T.RandomVerticalFlip(1.0)]
        steps = [T.Resize(32), T.CenterCrop((40, 20)), *flips]
        pixels = fastdata.ImageFolder(folder)[0][0]
        expected: Any = pixels
        for step in [*steps, T.Normalize(MEAN, STD)]:
            expected = step(expected)
        assert torch.equal(T.Compose([*steps, T.Normalize(MEAN, STD)])(pixels), expected)
        assert torch.equal(sample(folder, *steps, T.Normalize(MEAN, STD)), expected)

    def test_geometry_after_a_foreign_transform(self, folder: Path) -> None:
        pixels = fastdata.ImageFolder(folder)[0][0]
        as_array = sample(folder, Spy(lambda image: 255 - image), T.Resize(20))
        assert torch.equal(as_array, T.Resize(20)(255 - pixels))
        as_tensor = sample(folder, T.CenterCrop(30), Spy(lambda image: 255 - image), T.Resize(20))
        assert torch.equal(as_tensor, T.Resize(20)(255 - T.CenterCrop(30)(pixels)))

    def test_geometry_after_to_tensor_is_an_error(self) -> None:
        with pytest.raises(TypeError, match=r"Resize.*float32.*put it before ToTensor"):
            T.Compose([T.ToTensor(), T.Resize(9)])(picture(40, 60))

    def test_nothing_to_do(self) -> None:
        image = picture(9, 9)
        assert T.Compose([])(image) is image

    def test_steps_must_be_callable(self) -> None:
        with pytest.raises(TypeError, match="callable, found 3"):
            T.Compose([T.Resize(9), 3])

    def test_repr_is_the_call(self) -> None:
        compose = T.Compose([T.RandomResizedCrop(9), T.ToTensor(), T.Normalize(MEAN, STD)])
        assert repr(eval(repr(compose), dict(vars(T)))) == repr(compose)
        assert "RandomResizedCrop(size=(9, 9)" in repr(compose)

    def test_a_subclass_may_treat_each_image_differently(self, folder: Path) -> None:
        class Centred(T.Normalize):
            """Subtracts each image's own maximum."""

            def __call__(self, image: Any) -> torch.Tensor:
                return super().__call__(image) - super().__call__(image).max()

        steps = T.Compose([T.Resize(20), Centred(MEAN, STD)])
        dataset = fastdata.ImageFolder(folder, steps, seed=5)
        for i, (image, _) in enumerate(dataset.__getitems__(range(6))):
            assert torch.equal(image, dataset[i][0])


def images_of(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (4, 9, 7, 3), dtype=np.uint8)


class TestToTensor:
    def test_scales_bytes_to_one(self) -> None:
        image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
        result = T.ToTensor()(image)
        assert result.dtype == torch.float32
        assert result.shape == (3, 16, 16)
        expected = image.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(result.numpy(), expected)

    def test_tensor_and_array_give_the_same(self) -> None:
        image = images_of(0)[0]
        chw = torch.from_numpy(image).permute(2, 0, 1)
        for form in (chw, chw.contiguous()):
            assert torch.equal(T.ToTensor()(form), T.ToTensor()(image))

    def test_the_input_is_left_alone(self) -> None:
        image = images_of(0)[0]
        T.ToTensor()(image).zero_()
        np.testing.assert_array_equal(image, images_of(0)[0])

    def test_grey_gets_a_channel(self) -> None:
        assert T.ToTensor()(images_of(0)[0, ..., 0]).shape == (1, 9, 7)

    def test_mirrored_and_read_only_arrays(self) -> None:
        image = images_of(0)[0]
        frozen = np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape)
        for view in (image[::-1, ::-1], frozen):
            assert torch.equal(T.ToTensor()(view), T.ToTensor()(view.copy()))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
    def test_other_types_keep_their_values(self, dtype: Any) -> None:
        image = images_of(0)[0].astype(dtype) * 3
        result = T.ToTensor()(image)
        np.testing.assert_array_equal(result.numpy(), image.transpose(2, 0, 1))
        assert result.numpy().dtype == dtype

    @pytest.mark.parametrize(
        "image", [Image.new("RGB", (9, 9)), [[1]], None, np.zeros(9, np.uint8)], ids=type
    )
    def test_what_is_no_image(self, image: Any) -> None:
        with pytest.raises(TypeError, match="expected an HWC uint8 ndarray or a CHW tensor, found"):
            T.ToTensor()(image)


class TestNormalize:
    def test_bytes(self) -> None:
        image = images_of(1)[0]
        expected = (image / 255 - np.array(MEAN)) / np.array(STD)
        for form in (image, torch.from_numpy(image).permute(2, 0, 1)):
            result = T.Normalize(MEAN, STD)(form)
            assert result.dtype == torch.float32
            np.testing.assert_allclose(result.permute(1, 2, 0), expected, rtol=0, atol=2e-6)
        np.testing.assert_array_equal(image, images_of(1)[0])

    def test_floats_are_taken_as_they_are(self) -> None:
        image = torch.rand(3, 9, 7, generator=torch.Generator().manual_seed(0)) * 5 - 2
        expected = torch.stack([(image[c] - MEAN[c]) / STD[c] for c in range(3)])
        torch.testing.assert_close(T.Normalize(MEAN, STD)(image), expected)

    def test_after_to_tensor_as_without_it(self) -> None:
        image = images_of(1)[0]
        both = T.Compose([T.ToTensor(), T.Normalize(MEAN, STD)])(image)
        assert torch.equal(both, T.Normalize(MEAN, STD)(image))

    @pytest.mark.parametrize("inplace", [False, True])
    def test_inplace(self, inplace: bool) -> None:
        image = torch.rand(3, 4, 5)
        before = image.clone()
        result = T.Normalize(MEAN, STD, inplace)(image)
        assert (result is image) == inplace
        assert torch.equal(result, T.Normalize(MEAN, STD)(before))
        assert torch.equal(image, before) != inplace

    def test_one_number_for_all_channels(self) -> None:
        image = images_of(1)[0]
        assert torch.equal(T.Normalize([0.5], [2])(image), T.Normalize([0.5] * 3, [2, 2, 2])(image))

    @pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.bool])
    def test_integers_have_no_range(self, dtype: torch.dtype) -> None:
        with pytest.raises(TypeError, match=f"uint8 or a float type, found {dtype}"):
            T.Normalize(MEAN, STD)(torch.zeros(3, 4, 4, dtype=dtype))

    @pytest.mark.parametrize(
        ("mean", "std"), [((0, 0), (1, 1, 1)), ((), ()), ((0, 0, 0), (1, 0, 1)), ((0,), (0.0,))]
    )
    def test_numbers_that_do_not_fit(self, mean: Any, std: Any) -> None:
        with pytest.raises(OptionError, match="one number a channel, std non-zero"):
            T.Normalize(mean, std)


@pytest.mark.parametrize(
    "step", [T.ToTensor(), T.Normalize(MEAN, STD), T.Normalize(MEAN, STD, inplace=True)], ids=repr
)
class TestBatches:
    @pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
    def test_equal_image_for_image(self, step: Any, dtype: torch.dtype) -> None:
        images = torch.from_numpy(images_of(2)).permute(0, 3, 1, 2).to(dtype)
        expected = torch.stack([step(image.clone()) for image in images])
        assert torch.equal(step(images.clone()), expected)

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
    def test_keep_the_memory_format(
        self, step: Any, dtype: torch.dtype, memory_format: torch.memory_format
    ) -> None:
        images = torch.from_numpy(images_of(2)).permute(0, 3, 1, 2).to(dtype)
        images = images.contiguous(memory_format=memory_format)
        assert step(images).is_contiguous(memory_format=memory_format)
        assert step(images[0]).stride() == images[0].stride()


class TestRandomness:
    @pytest.mark.parametrize(
        "step",
        [
            T.RandomResizedCrop(9),
            T.RandomCrop(9),
            T.RandomHorizontalFlip(),
            T.RandomVerticalFlip(),
            T.Compose([T.RandomResizedCrop(20), T.RandomCrop(9), T.RandomHorizontalFlip()]),
        ],
        ids=lambda step: type(step).__name__,
    )
    def test_torchs_seed_decides(self, step: Any) -> None:
        def run(seed: int) -> list[bytes]:
            torch.manual_seed(seed)
            return [step(picture(40, 60)).numpy().tobytes() for _ in range(20)]

        assert run(1) == run(1)
        assert run(1) != run(2)
        assert len(set(run(1))) > 1

    @settings(max_examples=100)
    @given(
        st.lists(
            st.tuples(*[st.integers(0, 2**63 - 1) | st.integers(0, 3)] * 3),
            min_size=2,
            max_size=9,
            unique=True,
        )
    )
    def test_each_sample_has_its_own_numbers_in_any_order(
        self, samples: list[tuple[int, int, int]]
    ) -> None:
        forward = {key: sample_generator(*key).random(5).tolist() for key in samples}
        generators = {key: sample_generator(*key) for key in reversed(samples)}
        drawn: dict[Any, list[float]] = {key: [] for key in samples}
        for _ in range(5):  # in turns: no generator disturbs another
            for key, generator in generators.items():
                drawn[key].append(generator.random())
        assert drawn == forward
        numbers = [number for numbers in forward.values() for number in numbers]
        assert len(set(numbers)) == len(numbers)

    def test_neighbours_share_no_number(self) -> None:
        keys = [(seed, epoch, i) for seed in (0, 1) for epoch in range(4) for i in range(4)]
        numbers = np.concatenate([sample_generator(*key).random(100) for key in keys])
        assert len(np.unique(numbers)) == len(numbers)

    def test_samples_and_epochs_are_uncorrelated(self) -> None:
        first = np.array(
            [[sample_generator(0, epoch, i).random() for i in range(2000)] for epoch in range(4)]
        )
        others = np.vstack([first, np.roll(first, 1, axis=1), np.roll(first, 2, axis=1)])
        correlations = np.corrcoef(others) - np.eye(12)
        assert np.abs(correlations).max() < 5 / np.sqrt(2000)
        assert abs(first.mean() - 0.5) < 5 * np.sqrt(1 / 12 / first.size)

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000, 2**20 + 1])
    def test_a_drawn_place_is_below_its_limit(self, limit: int) -> None:
        class Largest(np.random.Generator):
            def random(self, *args: Any, **options: Any) -> Any:
                return np.nextafter(1.0, 0.0)

        assert draw_below(Largest(np.random.Philox(0)), limit) == limit - 1
        places = {draw_below(sample_generator(0, 0, i), limit) for i in range(300)}
        assert min(places) >= 0
        assert limit > 7 or len(places) == limit
