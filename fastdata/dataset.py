"""Map-style datasets of images with a class: from a pack, or straight from a folder."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .encode import ENCODERS
from .errors import DecodeError, PackFormatError
from .folder import list_folder, read_file
from .header import probe
from .image_dataset import ImageDataset, Transform
from .sample import EncodedImage, KeyTable
from .shards import PackReader


class PackedImageFolder(ImageDataset):
    """Images and classes of a pack; a drop-in for torchvision's ``ImageFolder``.

    Args:
        path: the pack's directory.
        transform: any callable; geometric transforms at its head are fused into decoding.
        target_transform: called with each target.
        seed: of the transforms' randomness; None draws one from torch's global generator, so
            ``torch.manual_seed`` makes a run reproducible.
        apply_exif_orientation: rotate as the camera's tag says.

    Raises:
        PackNotFoundError: no pack at ``path``.
        PackFormatError: the pack is damaged.
        SampleError: (on reading) a sample cannot be read or decoded.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        *,
        seed: int | None = None,
        apply_exif_orientation: bool = False,
    ) -> None:
        super().__init__(path, transform, target_transform, seed, apply_exif_orientation)
        self.pack = PackReader(path)
        encoding = self.pack.manifest.encoding["name"]
        if encoding not in ENCODERS:
            raise PackFormatError(f"{path}: unknown encoding {encoding!r}; upgrade fastdata")
        self._raw = encoding == "raw"

    @property
    def classes(self) -> list[str]:
        """Class names; a target is an index into them."""
        return self.pack.manifest.classes

    @property
    def keys(self) -> KeyTable:
        """The samples' names by index: POSIX paths relative to the packed folder."""
        return self.pack.keys

    @property
    def targets(self) -> NDArray[np.int64]:
        """The samples' classes by index: a read-only view of the pack's mapped table."""
        return self.pack.targets

    def _encoded(self, index: int) -> EncodedImage:
        pack = self.pack
        orientation = int(pack.orientations[index]) if self.apply_exif_orientation else 1
        height, width = int(pack.heights[index]), int(pack.widths[index])
        return EncodedImage(pack.read(index), height, width, orientation, self._raw)


class ImageFolder(ImageDataset):
    """Images and classes of a folder, unpacked, with the same decoding as ``PackedImageFolder``.

    The layout, the order and the targets are those of torchvision's ``ImageFolder``.

    Args:
        root: the folder; its first-level directories are the classes.
        transform, target_transform, seed, apply_exif_orientation: as for ``PackedImageFolder``.
        allow_empty: accept classes without an image.

    Raises:
        SourceError: the folder cannot be listed, or has no images.
        SampleError: (on reading) a sample cannot be read or decoded.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        *,
        seed: int | None = None,
        apply_exif_orientation: bool = False,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(root, transform, target_transform, seed, apply_exif_orientation)
        listing = list_folder(root, allow_empty=allow_empty)
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

    def _encoded(self, index: int) -> EncodedImage:
        data = read_file(Path(self.root) / self.keys[index])
        try:
            header = probe(data)
        except DecodeError:  # OpenCV may know better; then it tells the size, and nothing is turned
            return EncodedImage(data)
        orientation = header.orientation if self.apply_exif_orientation else 1
        if header.format != "jpeg":  # the one format in which knowing the size saves work
            return EncodedImage(data, orientation=orientation)
        return EncodedImage(data, header.height, header.width, orientation)
