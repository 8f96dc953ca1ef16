"""Map-style datasets of images with a class: from a pack, or straight from a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core import KeyTable
from ..errors import PackFormatError
from ..images import DecoderName, EncodedImage, load_kernels
from ..store import Access, PackReader
from .base import ImageDataset, Transform
from .reading import Reading

Verify = Literal["never", "first-read", "always"]


class PackDataset(ImageDataset):
    """Base of the datasets over packs; see ``PackedImageFolder`` for the arguments.

    Attributes:
        pack: reads the records.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        transform: Transform | None,
        target_transform: Transform | None,
        seed: int | None,
        reading: Reading,
        *,
        access: Access,
    ) -> None:
        super().__init__(path, transform, target_transform, seed, reading)
        self.pack = PackReader(path, reading.verify, access)
        self.root = os.fspath(self.pack.path)  # a URL without its password
        encoding = self.pack.encoding
        self._raw, self._cut = encoding.is_pixels, encoding.is_cut
        self._alone = not self.pack.layout.names  # a record with one field is the image

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

    @property
    def shard_lengths(self) -> list[int]:
        """Number of samples of each shard, in the order of the samples."""
        return self.pack.shard_lengths

    def _prepare(self) -> None:
        super()._prepare()
        if self._cut:
            load_kernels()

    def encoded_image(
        self, index: int, record: memoryview | None = None, name: str = ""
    ) -> EncodedImage:
        """The undecoded image of a sample: the first one, or that of field ``name``.

        ``record`` is the sample's, if it has been read already.
        """
        pack = self.pack
        data = pack.read(index) if record is None else record
        if not name or name == pack.image_name:
            turn, slice_index = pack.orientations.item(index), pack.slice_indices.item(index)
            height, width = pack.heights.item(index), pack.widths.item(index)
            if not self._alone:
                data = pack.read_field(index, pack.image_name, data)
        else:
            row = pack.columns[name][index]
            turn, slice_index = int(row["orientation"]), int(row["slice_index"])
            height, width = int(row["height"]), int(row["width"])
            data = pack.read_field(index, name, data)
        if not (height and width):
            raise PackFormatError(f"the table says that it has {height}x{width} pixels")
        turn = turn if self.apply_exif_orientation else 1
        return EncodedImage(data, height, width, turn, self._raw, slice_index)


class PackedImageFolder(PackDataset):
    """Images and classes of a pack; a drop-in for torchvision's ``ImageFolder``.

    Of a pack with more fields it gives the first image and the target; see ``PackedDataset`` for
    all of them.

    Args:
        path: the pack's directory, or its URL ("s3://…", "https://…", any that fsspec knows).
        transform: any callable; geometric transforms at its head are fused into decoding.
        target_transform: called with each target.
        seed: of the transforms' randomness; None draws one from torch's global generator, so
            ``torch.manual_seed`` makes a run reproducible.
        apply_exif_orientation: rotate as the camera's tag says.
        decode_scale: "auto" decodes JPEGs at 1/2, 1/4 or 1/8 of their size where the transform
            shrinks them at least that much: much faster on large photographs, no gain on those of
            ImageNet's size, and other pixels. None keeps every pixel exact.
        decoder: of JPEGs: "opencv"; "turbo" (simplejpeg: the same pixels, a little faster);
            "turbo-fast" (fast DCT and upsampling: other pixels); or "auto", the faster of the first
            two that is installed and proves here to give OpenCV's pixels. The attribute says which.
            See ``fastdata.images.decoders``.
        verify: when records are compared with their checksums: at the "first-read" of each in a
            process, "always", or "never".
        cache_dir: of a pack behind a URL, where downloaded files are kept, for all processes and
            packs of this machine; None: ``$FASTDATA_CACHE``, or ``~/.cache/fastdata/shards``.
        cache_limit: the most bytes that they have together, as a number or as "100GB"; those that
            were not opened for the longest time are deleted. None: 100 GB, or four fifths of what
            the disk has free.
        storage_options: for fsspec: credentials, endpoint, and whatever else the protocol takes.

    Raises:
        MissingDependencyError: ``decoder`` needs a package that is not installed.
        PackNotFoundError: no pack at ``path``.
        PackFormatError: the pack is damaged.
        RemoteError: the URL cannot be read.
        CacheError: the cache cannot be written, or has no room.
        SampleError: (on reading) a sample cannot be read or decoded.

    Example:
        >>> crop = T.Compose([T.RandomResizedCrop(32), T.RandomHorizontalFlip()])
        >>> dataset = fastdata.PackedImageFolder("photos.pack", crop, seed=0)
        >>> len(dataset), dataset.classes, dataset.keys[0]
        (8, ['cat', 'dog'], 'cat/0.jpg')
        >>> image, target = dataset[0]
        >>> image.shape, image.dtype, target
        (torch.Size([3, 32, 32]), torch.uint8, 0)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        *,
        seed: int | None = None,
        apply_exif_orientation: bool = False,
        decode_scale: Literal["auto"] | None = None,
        decoder: DecoderName = "opencv",
        verify: Verify = "first-read",
        cache_dir: str | os.PathLike[str] | None = None,
        cache_limit: int | str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            path,
            transform,
            target_transform,
            seed,
            Reading(apply_exif_orientation, decode_scale, decoder, verify),
            access=Access(cache_dir, cache_limit, storage_options),
        )
