"""From a batch of uint8 images to what a model takes, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..core import map_tensors, tensors_in
from ..errors import OptionError
from .tensor import Normalize

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DeviceNormalize:
    """``(x / 255 - mean) / std`` of a batch's uint8 images, for each channel.

    A batch is any structure of tensors that ``move_to_device`` knows. Each uint8 tensor of shape
    N×C×H×W, C being the length of ``mean``, is replaced; everything else stays as it is. The result
    is computed in float32, as ``x * scale + bias``, whatever ``dtype`` is, and rounded to ``dtype``
    once. On a GPU it is one kernel that reads uint8 and writes ``dtype``; only the first call on a
    device makes the host wait for it, to bring the constants there. Several threads may use one
    object.

    Args:
        mean, std: one number for each channel, in units of [0, 1]; by default those of ImageNet
            that torchvision's models use.
        dtype: float32, float16 or bfloat16.
        channels_last: whether the result lies in channels_last memory, which convolutions on a GPU
            prefer, or is contiguous.

    Raises:
        OptionError: a wrong ``mean``, ``std`` or ``dtype``.
        TypeError: when called, if the batch holds no such images.

    Example:
        >>> images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
        >>> images, targets = T.DeviceNormalize(dtype=torch.bfloat16)([images, torch.arange(4)])
        >>> images.dtype, targets
        (torch.bfloat16, tensor([0, 1, 2, 3]))
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = True,
    ) -> None:
        checked = Normalize(mean, std)
        self.mean, self.std = checked.mean, checked.std
        if dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise OptionError(f"dtype must be float32, float16 or bfloat16, got {dtype}")
        self.dtype = dtype
        self.channels_last = channels_last
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def __call__(self, batch: Any) -> Any:
        """Return the batch with its images normalised."""
        if not any(map(self._is_images, tensors_in(batch))):
            wanted = f"uint8 images of shape N×{len(self.mean)}×H×W"
            raise TypeError(f"DeviceNormalize needs {wanted}, found {described(batch)}")
        return map_tensors(lambda x: self._normalized(x) if self._is_images(x) else x, batch)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_constants": {}}

    def __repr__(self) -> str:
        options = f"mean={self.mean}, std={self.std}, dtype={self.dtype}"
        return f"DeviceNormalize({options}, channels_last={self.channels_last})"

    def _is_images(self, x: Tensor) -> bool:
        return x.dtype == torch.uint8 and x.ndim == 4 and x.shape[1] == len(self.mean)

    def _normalized(self, images: Tensor) -> Tensor:
        scale, bias = self._scale_and_bias(images.device)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        if images.is_cpu:  # there, a conversion within the kernel takes twice as long
            pixels = images.to(torch.float32, memory_format=layout)
            return torch.addcmul(bias, pixels, scale, out=pixels).to(self.dtype)
        result = torch.empty_like(images, dtype=self.dtype, memory_format=layout)
        return torch.addcmul(bias, images, scale, out=result)

    def _scale_and_bias(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if device not in self._constants:  # two threads may both do this; they store the same
            mean, std = (torch.tensor(v, dtype=torch.float64) for v in (self.mean, self.std))
            both = (1 / (255 * std), -mean / std)
            scale, bias = (x.float().view(1, -1, 1, 1).to(device) for x in both)
            self._constants[device] = scale, bias
        return self._constants[device]


def described(batch: Any) -> str:
    """The tensors of a batch, for messages."""
    found = [f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}" for x in tensors_in(batch)]
    return ", ".join(found) or "no tensor"
