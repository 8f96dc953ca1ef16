"""A map-style dataset of images with a class, straight from a folder."""

from __future__ import annotations

import os
import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..core import KeyTable, read_file
from ..errors import DecodeError
from ..images import DecoderName, EncodedImage, probe
from ..sources import list_image_folder
from .base import ImageDataset, Transform
from .reading import Reading


class ImageFolder(ImageDataset):
    """Images and classes of a folder, unpacked, with the same decoding as ``PackedImageFolder``.

    The layout, the order and the targets are those of torchvision's ``ImageFolder``.

    Args:
        root: the folder; its first-level directories are the classes.
        transform, target_transform, seed, apply_exif_orientation, decode_scale, decoder: as for
            ``PackedImageFolder``.
        allow_empty: accept classes without an image.
        flat: all images below the folder, sorted, without classes: each target is −1.

    Raises:
        OptionError: ``allow_empty`` with ``flat``.
        SourceError: the folder cannot be listed, or has no images.
        SampleError: (on reading) a sample cannot be read or decoded.

    Example:
        >>> dataset = fastdata.ImageFolder("photos", T.Resize((24, 32)))
        >>> image, target = dataset[0]
        >>> image.shape, dataset.classes[target]
        (torch.Size([3, 24, 32]), 'cat')
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        *,
        seed: int | None = None,
        apply_exif_orientation: bool = False,
        decode_scale: Literal["auto"] | None = None,
        decoder: DecoderName = "opencv",
        allow_empty: bool = False,
        flat: bool = False,
    ) -> None:
        reading = Reading(apply_exif_orientation, decode_scale, decoder)
        super().__init__(root, transform, target_transform, seed, reading)
        listing = list_image_folder(root, flat=flat, allow_empty=allow_empty, stat=False)
        self._classes = listing.classes
        self._keys = listing.keys
        self._targets = listing.targets
        for name, reason in listing.findings.rejected:
            warnings.warn(f"{root}: {name} is left out: {reason}", stacklevel=2)

    @property
    def classes(self) -> list[str]:
        """Class names; a target is an index into them."""
        return self._classes

    @property
    def keys(self) -> KeyTable:
        """The samples' names by index: POSIX paths relative to ``root``."""
        return self._keys

    @property
    def targets(self) -> NDArray[np.int64]:
        """The samples' classes by index."""
        return self._targets

    def encoded_image(self, index: int) -> EncodedImage:
        """The undecoded image of sample ``index``; its size only where that saves work."""
        data = read_file(os.path.join(self.root, self.keys[index]))
        try:
            header = probe(data)
        except DecodeError:  # OpenCV may know better; then it tells the size, and nothing is turned
            return EncodedImage(data)
        orientation = header.orientation if self.apply_exif_orientation else 1
        if header.format != "jpeg":  # the one format in which knowing the size saves work
            return EncodedImage(data, orientation=orientation)
        return EncodedImage(data, header.height, header.width, orientation)
