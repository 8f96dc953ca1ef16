"""The encodings: the forms in which a pack stores its images, one object each.

A new encoding is a function or two and an entry of ``ENCODINGS``, all in this file; a line in
``packing/dry_run/advice`` recommends it, if it should be. What the rest of the library has to know
of an encoding are its attributes: nobody asks for one by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2

from ..errors import DecodeError
from . import jpeg
from .decode import decode_whole, decoded_size
from .header import orientation_of, probe
from .render import Image
from .stored import StoredMedia

DEFAULT_ENCODING = "sliceable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """A form in which images are stored.

    Attributes:
        name: as pack.json has it.
        from_pixels: (HWC uint8 RGB pixels, quality, spare) → the stored form, with orientation 1.
            ``quality`` is the one that was asked for, or the default below; ``spare`` allows to
            change the pixels in place. Raises DecodeError for what cannot be encoded.
        from_file: (a file's bytes, whether to decode it) → the stored form, which has the file's
            very pixels, so that images cannot be shrunk; None: a file is decoded, and its pixels
            are stored. Raises DecodeError for what is no image.
        file_size: (a file's bytes) → about the bytes of its stored form, in much less time than
            ``from_file`` takes; None: only encoding tells.
        keeps_bytes: a record is the file's own bytes, unless it is sliceable.
        header_suffices: ``from_file`` can do without decoding.
        quality: the default on a scale of 1 to 100; None: there is nothing to choose.
        is_pixels: a record is HWC uint8 RGB pixels, and no file.
        is_cut: records may be sliceable JPEGs; decoding them takes the compiled kernels.
        without_numba: the encoding that takes its place where numba cannot be imported, and stores
            files as they are; None: numba is not needed.
        suffixes: extensions of the files that become of images again, the usual one first; none:
            as the file had it.
    """

    name: str
    from_pixels: Callable[[Image, int | None, bool], StoredMedia]
    from_file: Callable[[bytes, bool], StoredMedia] | None = None
    file_size: Callable[[bytes], int] | None = None
    keeps_bytes: bool = False
    header_suffices: bool = False
    quality: int | None = None
    is_pixels: bool = False
    is_cut: bool = False
    without_numba: str | None = None
    suffixes: tuple[str, ...] = ()

    @property
    def may_shrink(self) -> bool:
        """True if images can be made smaller before they are stored."""
        return self.from_file is None

    @property
    def has_quality(self) -> bool:
        """True if the quality can be chosen."""
        return self.quality is not None


def _kept(data: bytes, decode: bool) -> StoredMedia:
    if decode:
        return StoredMedia(data, *decoded_size(data), orientation_of(data))
    header = probe(data)
    return StoredMedia(data, header.height, header.width, header.orientation)


def _sliced(data: bytes, decode: bool) -> StoredMedia:
    """The sliceable form if it decodes to the very same pixels, else the bytes as they are."""
    image = decode_whole(data)
    media = _of(data, image)._replace(orientation=orientation_of(data))
    result = jpeg.transcode(data)
    if isinstance(result, jpeg.Reason):
        return media._replace(verbatim=result.value)
    if not _decodes_to(result.record, image):
        return media._replace(verbatim="its sliceable form does not decode to the same pixels")
    return media._replace(data=result.record, slice_index=result.index_offset)


def _decodes_to(record: bytes, image: Image) -> bool:
    try:
        found = decode_whole(record)
    except DecodeError:
        return False
    # In a tenth of the time of np.array_equal, and without the GIL.
    return found.shape == image.shape and cv2.norm(found, image, cv2.NORM_INF) == 0


def _sliced_size(data: bytes) -> int:
    result = jpeg.transcode(data) if jpeg.available() else jpeg.Reason.UNUSUAL
    return len(data if isinstance(result, jpeg.Reason) else result.record)


def _jpeg(image: Image, quality: int | None, spare: bool) -> StoredMedia:
    interval = jpeg.interval_for(*image.shape[:2])
    options = [cv2.IMWRITE_JPEG_QUALITY, quality or 0, cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    media = _of(_compressed(image, ".jpg", options, spare), image)
    record = jpeg.index(media.data)
    if record is None:
        return media
    return media._replace(data=record.record, slice_index=record.index_offset)


def _png(image: Image, quality: int | None, spare: bool) -> StoredMedia:
    return _of(_compressed(image, ".png", [], spare), image)


def _raw(image: Image, quality: int | None, spare: bool) -> StoredMedia:
    return _of(image.tobytes(), image)


def _compressed(image: Image, suffix: str, options: list[int], spare: bool) -> bytes:
    """RGB pixels as a file that OpenCV writes."""
    try:
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=image if spare else None)
        done, encoded = cv2.imencode(suffix, bgr, options)
    except cv2.error as error:
        raise DecodeError(f"OpenCV cannot encode it as {suffix}: {error}") from error
    if not done:
        size = f"{image.shape[0]}x{image.shape[1]}"
        raise DecodeError(f"OpenCV cannot encode an image of {size} as {suffix}")
    return encoded.tobytes()


def _of(data: bytes, image: Image) -> StoredMedia:
    return StoredMedia(data, image.shape[0], image.shape[1])


def _by_name(encodings: Iterable[Encoding]) -> dict[str, Encoding]:
    return {encoding.name: encoding for encoding in encodings}


#: All of them by name, in the order in which they are offered.
ENCODINGS = _by_name(
    [
        Encoding(
            name="sliceable",
            from_pixels=_png,
            from_file=_sliced,
            file_size=_sliced_size,
            keeps_bytes=True,
            is_cut=True,
            without_numba="keep",
        ),
        Encoding(
            name="keep",
            from_pixels=_png,
            from_file=_kept,
            file_size=len,
            keeps_bytes=True,
            header_suffices=True,
        ),
        Encoding(
            name="jpeg", from_pixels=_jpeg, quality=90, is_cut=True, suffixes=(".jpg", ".jpeg")
        ),
        Encoding(name="png", from_pixels=_png, suffixes=(".png",)),
        Encoding(name="raw", from_pixels=_raw, is_pixels=True, suffixes=(".png",)),
    ]
)
