"""Small helpers for durable files."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import PackFormatError, SourceNotFoundError

_BLOCK = 4 << 20
_WILL_NEED: int | None = getattr(mmap, "MADV_WILLNEED", None)  # Windows has none
_OTHER_FILES = 512  # sockets, pipes and libraries that the rest of a training opens


def fsync_file(path: Path) -> None:
    """Write what the operating system still holds of a file to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def fsynced(path: Path) -> Iterator[None]:
    """Make a file durable meanwhile, in another thread: at the end it is, or OSError is raised."""
    with ThreadPoolExecutor(1, "fastdata-fsync") as pool:
        done = pool.submit(fsync_file, path)
        yield
        done.result()


def fsync_directory(path: Path) -> None:
    """Make a directory's entries durable; Windows has no such thing and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def count_lines(view: memoryview) -> int:
    """The number of line ends in bytes of any length."""
    starts = range(0, len(view), _BLOCK)
    return sum(bytes(view[start : start + _BLOCK]).count(b"\n") for start in starts)


def allow_open_files(count: int) -> None:
    """Lift this process's soft limit of open files for ``count`` more, as far as the hard one."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count + _OTHER_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_regular(path: Path) -> int:
    """A descriptor to read a regular file; PackFormatError for a link, a pipe and all else.

    What lies in a pack is not trusted: a link could lead out of it.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except OSError as error:
        what = "is a link; a pack holds regular files" if path.is_symlink() else error.strerror
        raise PackFormatError(f"{path}: cannot be opened: {what}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) or path.is_symlink():
        os.close(descriptor)
        raise PackFormatError(f"{path}: expected a regular file")
    return descriptor


def map_file(path: Path, expected: int | None = None) -> memoryview:
    """A whole file as read-only mapped memory, valid as long as a view of it lives.

    Raises:
        PackFormatError: it is no regular file, or not of the expected size: reading a map past the
            end of its file would kill the process.
    """
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        if expected is not None and size != expected:
            raise PackFormatError(f"{path}: expected {expected} bytes, found {size}")
        if size == 0:  # an empty file cannot be mapped
            return memoryview(b"")
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise PackFormatError(f"{path}: cannot be mapped: {error}") from error
    finally:
        os.close(descriptor)


def will_need(view: memoryview, start: int, size: int) -> None:
    """Begin to read a part of a file that ``map_file`` has mapped, where it is not in memory.

    Left to page faults, the kernel reads around the first of them, by as much as the device's
    read-ahead says, and again and again behind it.
    """
    if _WILL_NEED is None or not isinstance(view.obj, mmap.mmap):
        return
    first = start - start % mmap.PAGESIZE
    with suppress(OSError):  # it is only advice
        view.obj.madvise(_WILL_NEED, first, start + size - first)


def write_durably(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a new file and make its content durable."""
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def existing_directory(root: str | os.PathLike[str]) -> Path:
    """``root`` as a path; SourceNotFoundError if it is no directory."""
    path = Path(root)
    if not path.is_dir():
        found = "is not a directory" if path.exists() else "does not exist"
        raise SourceNotFoundError(f"image folder {path} {found}")
    return path


def read_file(path: str | os.PathLike[str]) -> bytes:
    """A regular file's bytes; opening a named pipe would wait for ever, so OSError instead."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise FileNotFoundError(
            "a link to nothing" if os.path.islink(path) else "no such file"
        ) from error
    if not stat.S_ISREG(mode):
        raise OSError("a directory" if stat.S_ISDIR(mode) else "not a regular file")
    with open(path, "rb", buffering=0) as file:
        return file.read()
