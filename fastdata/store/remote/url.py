"""Places behind fsspec URLs (https://filesystem-spec.readthedocs.io).

What of fsspec has to be known:

- Its asynchronous implementations (s3fs, HTTP) work in one thread for all, which a fork does not
  copy: an inherited instance waits for ever. A child therefore makes an instance of its own. It
  keeps the inherited ones alive, unused: their end would unregister sockets from an epoll that the
  child shares with its parent. fsspec forgets its thread after a fork, but not the lock around it,
  which is held if the fork came in the moment when the parent made the thread.
- Instances are shared through a global cache; ours are not (``skip_instance_cache``), so that
  nobody else closes them or lists into their caches.
- ``exists`` takes every failure for False, so the size is asked for instead.
- A file in memory (``memory://``) has one position for all who read it, so one reads at a time.
- HTTP ends each response after five minutes, however fast it flows; ours only when it stalls.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import fsspec
from fsspec.callbacks import Callback

from ...errors import (
    FastdataError,
    MissingDependencyError,
    OptionError,
    PackNotFoundError,
    RemoteError,
)
from .failures import (
    Retry,
    advice,
    is_local,
    is_missing,
    is_transient,
    real_error,
    without_credentials,
)
from .place import Cancelled, Place, Watch, checked_name

T = TypeVar("T")

_HTTP = ("http", "https")
#: An object appears there when it is complete; elsewhere it is written beside its place and moved.
_OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss")
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "sftp": "paramiko",
}
_SECONDS_TO_CONNECT, _SECONDS_OF_SILENCE = 30, 60

_forks = 0
_in_memory = threading.Lock()


def _forget_parent() -> None:
    global _forks, _in_memory
    _forks += 1
    _in_memory = threading.Lock()  # another thread of the parent may hold the one there was
    if asyn := sys.modules.get("fsspec.asyn"):
        asyn.reset_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


class UrlPlace(Place):
    """The files below a URL; see ``open_place`` for the arguments and what is raised."""

    def __init__(self, url: str, retry: Retry, options: dict[str, Any]) -> None:
        self._url = url.rstrip("/")
        self._protocol = url.split("://")[0].lower()
        self._retry = retry
        self._options = options
        if "::" in url or (self._protocol in _HTTP and set("?#") & set(url)):
            raise OptionError(f"{self.describe()}: a chained URL or one with a query has no files")
        self._class = _implementation(self._protocol)
        self._instances: dict[tuple[int, int], Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self._url, "retry": self._retry, "options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        UrlPlace.__init__(self, state["url"], state["retry"], state["options"])

    def describe(self, name: str = "") -> str:
        return without_credentials(f"{self._url}/{name}" if name else self._url)

    def size(self, name: str) -> int:
        def ask(fs: Any, path: str) -> int:
            fs.invalidate_cache()
            info = fs.info(path)
            if info.get("type") == "directory":
                raise FileNotFoundError(path)
            if info.get("size") is None:
                raise OSError("the server does not tell the size")
            return int(info["size"])

        return self._attempt("ask for the size of", name, ask)

    def names(self) -> list[str]:
        if self._protocol in _HTTP:
            raise OptionError(f"{self.describe()}: files cannot be listed over HTTP")

        def find(fs: Any, path: str) -> list[str]:
            fs.invalidate_cache()
            below = path.rstrip("/") + "/"
            return sorted(p[len(below) :] for p in fs.find(path) if p.startswith(below))

        return [name for name in self._attempt("list", None, find) if _is_plain(name)]

    def put(self, local_path: Path, name: str) -> None:
        self._check_writable()
        upload = _put if self._protocol in _OBJECT_STORES else _put_beside
        source = os.fspath(local_path)
        self._attempt("upload", name, lambda fs, path: upload(fs, source, path), local_path)

    def delete(self, name: str) -> None:
        self._check_writable()
        with suppress(PackNotFoundError):
            self._attempt("delete", name, lambda fs, path: fs.rm_file(path))

    def download(
        self,
        name: str,
        path: Path,
        *,
        most: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        watch = Watch(self.describe(name), most, cancelled)

        def get(fs: Any, remote: str) -> None:
            watch.restart()
            path.touch()
            alone: Any = _in_memory if self._protocol == "memory" else nullcontext()
            try:
                with alone:
                    fs.get_file(remote, os.fspath(path), callback=_WatchedDownload(watch))
            except FileExistsError as error:  # a directory is there, and fsspec would make one here
                raise FileNotFoundError(remote) from error

        self._attempt("download", name, get, path, cancelled)

    def _attempt(
        self,
        what: str,
        name: str | None,
        call: Callable[[Any, str], T],
        local: Path | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> T:
        """Call with an instance and a path, again after a transient failure."""
        path = self._path(name)

        def is_transient_here(error: Exception) -> bool:
            return not is_local(error, local) and is_transient(real_error(error))

        try:
            return self._retry.run(
                lambda: call(self._instance(), path), is_transient_here, cancelled
            )
        except (FastdataError, Cancelled):
            raise
        except Exception as error:
            if is_local(error, local):
                raise
            raise self._failure(what, name, error) from error

    def _failure(self, what: str, name: str | None, error: Exception) -> FastdataError:
        where, real = self.describe(name or ""), real_error(error)
        if is_missing(real):
            return PackNotFoundError(f"{where}: there is nothing")
        if isinstance(real, NotImplementedError):
            return OptionError(f"cannot {what} {where}: {self._protocol}:// is not able to")
        tried = f" in {self._retry.attempts} attempts" if is_transient(real) else ""
        found = without_credentials(f"{type(real).__name__}: {real}")
        return RemoteError(f"cannot {what} {where}{tried}: {found}; {advice(real)}")

    def _path(self, name: str | None) -> str:
        if name is None:
            return str(self._class._strip_protocol(self._url))
        name = checked_name(name)
        name = quote(name) if self._protocol in _HTTP else name
        return str(self._class._strip_protocol(f"{self._url}/{name}"))

    def _check_writable(self) -> None:
        if self._protocol in _HTTP:
            raise OptionError(
                f"{self.describe()} can only be read: write to a directory or an object store"
            )

    def _instance(self) -> Any:
        """This process's instance; each thread its own, unless the implementation serves all."""
        thread = 0 if self._class.async_impl else threading.get_ident()
        key = (_forks, thread)
        if key not in self._instances:
            self._instances.setdefault(key, self._new_instance())
        return self._instances[key]

    def _new_instance(self) -> Any:
        options = {**self._class._get_kwargs_from_urls(self._url), **self._options}
        if self._protocol in _HTTP:
            options["client_kwargs"] = {
                "timeout": _http_timeout(),
                **options.get("client_kwargs", {}),
            }
        try:
            return self._class(**options, skip_instance_cache=True)
        except TypeError as error:
            raise OptionError(f"{self.describe()}: storage options: {error}") from error


class _WatchedDownload(Callback):  # type: ignore[misc]
    """Carries fsspec's reports to a watch, whose errors end the download."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def set_size(self, size: int | None) -> None:
        self._watch.announce(size)

    def relative_update(self, inc: int = 1) -> None:
        self._watch.add(inc)


def _put(fs: Any, source: str, path: str) -> None:
    fs.put_file(source, path)


def _put_beside(fs: Any, source: str, path: str) -> None:
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        fs.put_file(source, temporary)
        fs.mv(temporary, path)
    except BaseException:
        with suppress(Exception):
            fs.rm_file(temporary)
        raise


def _is_plain(name: str) -> bool:
    try:
        return bool(checked_name(name))
    except OptionError:
        return False


def _implementation(protocol: str) -> Any:
    """fsspec's class for a protocol.

    Raises:
        MissingDependencyError: its package is not installed.
        OptionError: there is no such protocol.
    """
    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        hint = f"{package}: pip install {package}" if package else "another package"
        raise MissingDependencyError(f"{protocol}:// needs {hint} ({error})") from error
    except ValueError as error:
        raise OptionError(f"{protocol}:// is no protocol that fsspec knows") from error


def _http_timeout() -> Any:
    """No limit on a whole response, which aiohttp would end after five minutes, but on a stall."""
    from aiohttp import ClientTimeout

    return ClientTimeout(
        total=None, sock_connect=_SECONDS_TO_CONNECT, sock_read=_SECONDS_OF_SILENCE
    )
