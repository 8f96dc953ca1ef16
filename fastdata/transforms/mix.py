"""Transforms of whole batches that mix samples: MixUp, CutMix, and a choice between them.

They run on the batch's device, but draw on the host, so that the host never waits for the device.
What they are given they only read.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..core import map_tensors, tensors_in
from ..errors import OptionError
from .device import described
from .randomness import Generator, draw_below, sample_generator

_NO_EPOCH = 2**64 - 1  # so that no sample of a dataset with the same seed has the same draws


class SeededTransform(ABC):
    """A batch transform that draws on the host, each batch from numbers of its own.

    Its n-th batch draws the same whenever the seed is the same. ``state_dict`` says how many
    batches it has had; a loader's transform runs ahead of the training, so within an epoch these
    include up to ``prefetch_batches`` that the training has not seen. To go on from a batch in the
    midst of an epoch, load a state with the number of batches that were trained on.

    Args:
        seed: by default drawn from torch's global generator.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = int(torch.randint(2**63 - 1, ()).item()) if seed is None else seed
        if not 0 <= self.seed < 2**64:
            raise OptionError(f"seed must be a 64-bit number >= 0, got {seed}")
        self.batches = 0

    def state_dict(self) -> dict[str, Any]:
        """``seed``, and the number of ``batches`` so far; JSON types."""
        return {"seed": self.seed, "batches": self.batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on behind the batches of ``state``."""
        self.seed, self.batches = state["seed"], state["batches"]

    @torch.no_grad()
    def __call__(self, batch: Any) -> Any:
        """Transform the next batch."""
        rng = sample_generator(self.seed, _NO_EPOCH, self.batches)
        self.batches += 1
        return self._apply(batch, rng)

    @abstractmethod
    def _apply(self, batch: Any, rng: Generator) -> Any:
        """The transformed batch."""


class _Mix(SeededTransform):
    """Mixes each sample with the one before it in the batch, the first one with the last."""

    def __init__(
        self,
        alpha: float,
        num_classes: int,
        label_smoothing: float = 0.0,
        seed: int | None = None,
    ) -> None:
        if not (0 <= alpha < math.inf and num_classes >= 1 and 0 <= label_smoothing <= 1):
            raise OptionError(
                "expected alpha >= 0, num_classes >= 1 and label_smoothing from 0 to 1, "
                f"got {alpha}, {num_classes} and {label_smoothing}"
            )
        super().__init__(seed)
        self.alpha = alpha
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing

    def __repr__(self) -> str:
        options = f"alpha={self.alpha}, num_classes={self.num_classes}"
        return f"{type(self).__name__}({options}, label_smoothing={self.label_smoothing})"

    def _apply(self, batch: Any, rng: Generator) -> Any:
        images, targets = _images_and_targets(batch)
        weight = rng.beta(self.alpha, self.alpha) if self.alpha else 1.0
        mixed, weight = self._mix(images, weight, rng)
        soft = _blend(self._one_hot(targets), weight)
        return map_tensors(lambda x: mixed if x is images else soft if x is targets else x, batch)

    @abstractmethod
    def _mix(self, images: Tensor, weight: float, rng: Generator) -> tuple[Tensor, float]:
        """The mixed images, and the share that each keeps of itself."""

    def _one_hot(self, targets: Tensor) -> Tensor:
        rest = self.label_smoothing / self.num_classes
        shape = (len(targets), self.num_classes)
        rows = torch.full(shape, rest, dtype=torch.float32, device=targets.device)
        return rows.scatter_(1, targets.long().unsqueeze(1), 1 - self.label_smoothing + rest)


class MixUp(_Mix):
    """Blends images and their targets: ``λ * own + (1 - λ) * other``, λ from Beta(alpha, alpha).

    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018. As in torchvision there is
    one λ for the batch, and the other sample is the one before it in the batch, the last for the
    first: in a shuffled batch that is as random as a permutation. A batch of one stays what it is.

    The batch must hold exactly one tensor of four dimensions, the images N×C×H×W, and one integer
    tensor of N targets; these become float32 N×num_classes, for the cross entropy with
    probabilities. Integer images are blended in float32 and rounded to the nearest: to avoid that,
    put ``DeviceNormalize`` before.

    Args:
        alpha: of the Beta distribution; 0 mixes nothing and only makes the targets soft.
        num_classes: targets are below it; others raise torch's index error, on a GPU a later one.
        label_smoothing: ε in [0, 1]: a target is ``1 - ε + ε / num_classes`` at its class and
            ``ε / num_classes`` elsewhere (Szegedy et al., "Rethinking the Inception Architecture
            for Computer Vision", CVPR 2016) before it is mixed.
        seed: see ``SeededTransform``.

    Raises:
        OptionError: an option out of its range.
        TypeError: when called, if the batch does not hold such images and targets.

    Example:
        >>> mix = T.MixUp(alpha=0.2, num_classes=10, seed=0)
        >>> images, targets = mix([torch.rand(4, 3, 32, 32), torch.arange(4)])
        >>> targets.shape, targets.sum(1)
        (torch.Size([4, 10]), tensor([1., 1., 1., 1.]))
    """

    def _mix(self, images: Tensor, weight: float, rng: Generator) -> tuple[Tensor, float]:
        if images.is_floating_point():
            return _blend(images, weight), weight
        return _blend(images.float(), weight).round_().to(images.dtype), weight


class CutMix(_Mix):
    """Puts a box of the other image into each, and mixes the targets by the box's area.

    Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
    Features", ICCV 2019. λ comes from Beta(alpha, alpha); the box has sqrt(1 - λ) of the height and
    of the width, rounded down, around a uniform pixel, and is cut at the image's border. The
    targets' weights are the shares of pixels that this really gives. One box for the batch. No
    pixel is changed, so it does not matter whether the images are normalised before or after.

    Pairs, batches, arguments and errors are those of ``MixUp``.

    Example:
        >>> mix = T.CutMix(alpha=1.0, num_classes=10, seed=0)
        >>> images, targets = mix([torch.rand(4, 3, 32, 32), torch.arange(4)])
        >>> images.shape, targets.shape
        (torch.Size([4, 3, 32, 32]), torch.Size([4, 10]))
    """

    def _mix(self, images: Tensor, weight: float, rng: Generator) -> tuple[Tensor, float]:
        height, width = images.shape[2:]
        side = math.sqrt(1 - weight)
        rows, columns = _span(rng, height, side), _span(rng, width, side)
        mixed = images.clone()
        mixed[1:, :, rows, columns] = images[:-1, :, rows, columns]
        mixed[:1, :, rows, columns] = images[-1:, :, rows, columns]
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        return mixed, 1 - area / max(1, height * width)


class RandomChoice(SeededTransform):
    """One of several batch transforms, drawn anew for each batch; named as torchvision's.

    Args:
        transforms: callables on a batch, such as ``[MixUp(0.2, 1000), CutMix(1.0, 1000)]``.
        p: how probable each is, up to a common factor; by default all the same.
        seed: see ``SeededTransform``. Seeded transforms in the list draw from the same numbers;
            their own seeds and counts are not used, so this object's state is the whole state.

    Raises:
        OptionError: no transforms, or ``p`` does not suit them.

    Example:
        >>> mix = T.RandomChoice([T.MixUp(0.2, num_classes=2), T.CutMix(1.0, num_classes=2)])
        >>> dataset = fastdata.PackedImageFolder("photos.pack", T.RandomResizedCrop(32))
        >>> images, targets = next(iter(fastdata.DataLoaderX(dataset, 4, batch_transform=mix)))
        >>> targets.shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        transforms: Sequence[Callable[[Any], Any]],
        p: Sequence[float] | None = None,
        seed: int | None = None,
    ) -> None:
        self.transforms = list(transforms)
        weights = [1.0] * len(self.transforms) if p is None else [float(x) for x in p]
        if len(weights) != len(self.transforms) or not 0 < sum(weights) < math.inf:
            raise OptionError(f"p must be one number for each of the transforms, got {p}")
        if min(weights) < 0:
            raise OptionError(f"no p may be negative, got {p}")
        super().__init__(seed)
        self.p = [weight / sum(weights) for weight in weights]

    def __repr__(self) -> str:
        return f"RandomChoice({self.transforms!r}, p={self.p})"

    def _apply(self, batch: Any, rng: Generator) -> Any:
        chosen = self.transforms[int(rng.choice(len(self.p), p=self.p))]
        return chosen._apply(batch, rng) if isinstance(chosen, SeededTransform) else chosen(batch)


def _blend(rows: Tensor, weight: float) -> Tensor:
    """``weight`` of each row and the rest of the one before; keeps the memory format."""
    result = torch.empty_like(rows)  # ``roll`` would lose the format, and copy once more
    torch.lerp(rows[:-1], rows[1:], weight, out=result[1:])
    torch.lerp(rows[-1:], rows[:1], weight, out=result[:1])
    return result


def _span(rng: Generator, length: int, share: float) -> slice:
    """``share`` of ``length`` pixels around a uniform one, as far as they lie in the image."""
    size = int(length * share)
    low = draw_below(rng, length) - size // 2
    return slice(max(low, 0), min(low + size, length))


def _images_and_targets(batch: Any) -> tuple[Tensor, Tensor]:
    tensors = list(tensors_in(batch))
    images = [x for x in tensors if x.ndim == 4]
    sizes = [len(x) for x in images]
    targets = [x for x in tensors if x.ndim == 1 and _is_integer(x) and len(x) in sizes]
    if len(images) != 1 or len(targets) != 1:
        wanted = "one tensor of images N×C×H×W and one integer tensor of N targets"
        raise TypeError(f"expected {wanted}, found {described(batch)}")
    return images[0], targets[0]


def _is_integer(x: Tensor) -> bool:
    return not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)
