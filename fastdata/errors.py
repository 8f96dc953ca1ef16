"""Everything fastdata raises on purpose.

::

    FastdataError
    ├── OptionError                (ValueError)          options that contradict each other
    ├── MissingDependencyError     (ImportError)         an optional package is needed
    ├── DecodeError                (ValueError)          no image we can decode, or no such value
    ├── SampleError                (RuntimeError)        a sample that cannot be read or decoded
    ├── WorkerError                (RuntimeError)        a loader's worker process died
    ├── SharedMemoryError          (RuntimeError)        /dev/shm has no room for a batch
    ├── SourceError                (ValueError)          an image folder or label file that is wrong
    │   ├── SourceNotFoundError    (FileNotFoundError)   it is not there
    │   └── EmptySourceError       (FileNotFoundError)   nothing in it can be used
    ├── PackingError               (RuntimeError)        packing stopped, nothing was published
    ├── RemoteError                (OSError)             a URL cannot be read or written
    ├── CacheError                 (OSError)             the local cache has no room, or no access
    └── PackError
        ├── PackNotFoundError      (FileNotFoundError)   no pack at that path
        ├── PackExistsError        (FileExistsError)     the path is taken
        └── PackFormatError        (ValueError)          not a pack, damaged, or of a newer format

Each takes exactly one message, so that a ``DataLoader`` worker can raise it again in the main
process with its own type.
"""

from __future__ import annotations

from collections.abc import Sequence


class FastdataError(Exception):
    """Base of every error that fastdata raises on purpose.

    Example:
        >>> try:
        ...     fastdata.PackedImageFolder("no.pack")
        ... except fastdata.FastdataError as error:
        ...     print(type(error).__name__)
        PackNotFoundError
    """


class OptionError(FastdataError, ValueError):
    """Options that contradict each other, or a value out of its range.

    Example:
        >>> fastdata.pack("photos", "new.pack", encoding="jpeg", quality=101)
        Traceback (most recent call last):
        ...
        fastdata.errors.OptionError: ...
    """


class MissingDependencyError(FastdataError, ImportError):
    """A package that this feature needs is not installed; the message has the pip command."""


class DecodeError(FastdataError, ValueError):
    """The bytes are not an image that can be decoded, or a value is not what its field says."""


class SampleError(FastdataError, RuntimeError):
    """A sample cannot be read or decoded; the message names the pack, the key and the reason.

    Example:
        >>> from pathlib import Path
        >>> size = Path("photos/dog/1.jpg").write_bytes(b"no image")
        >>> fastdata.ImageFolder("photos")[4]
        Traceback (most recent call last):
        ...
        fastdata.errors.SampleError: photos: sample 4 ('dog/1.jpg'): ...
    """


class WorkerError(FastdataError, RuntimeError):
    """A loader's worker process died; the message names the sample that it was reading."""


class SharedMemoryError(FastdataError, RuntimeError):
    """A worker process finds no room in shared memory for its batch."""


class SourceError(FastdataError, ValueError):
    """An image folder or a label file is not what it has to be."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """The image folder or label file does not exist."""


class EmptySourceError(SourceError, FileNotFoundError):
    """The source, or one of its classes, has no image that can be used."""


class PackingError(FastdataError, RuntimeError):
    """Packing stopped before it was complete; nothing was published."""


class RemoteError(FastdataError, OSError):
    """A network or a store refuses; the message has the URL, what failed and what to do."""


class CacheError(FastdataError, OSError):
    """The local cache of remote shards cannot be written, or has no room for a shard."""


class PackError(FastdataError):
    """Base of the errors about a pack on disk."""


class PackNotFoundError(PackError, FileNotFoundError):
    """There is no pack at that path."""


class PackExistsError(PackError, FileExistsError):
    """The path where a pack, or an unpacked folder, should appear is taken.

    Example:
        >>> fastdata.pack("photos", "photos.pack", quiet=True)
        Traceback (most recent call last):
        ...
        fastdata.errors.PackExistsError: ...
        >>> fastdata.pack("photos", "photos.pack", overwrite=True, quiet=True).images
        8
    """


class PackFormatError(PackError, ValueError):
    """The path is not a pack, the pack is damaged, or its format is newer than this version."""


def described(value: object) -> str:
    """A value as messages show it: its type, then its shape and dtype, or how it begins."""
    shape = getattr(value, "shape", None)
    if shape is not None and not isinstance(value, Sequence):
        return f"{type(value).__name__} of shape {tuple(shape)}, {getattr(value, 'dtype', '')}"
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = "too long to be shown"
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
