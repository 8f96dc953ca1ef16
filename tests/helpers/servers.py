"""Servers on this machine that the tests read packs from, one of them with faults on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote
from urllib.request import Request, urlopen

_BLOCK = 1 << 16


class FileServer:
    """Serves ``files`` over HTTP, at ``url`` and a name.

    Attributes:
        files: content by name.
        requests: "METHOD name" of each request so far.
        fail_first: how many requests are answered with ``status`` first.
        truncate_first: of how many responses only the first half is sent, to begin with.
        corrupt: whether one byte of each response is another.
        endless: whether a response has no announced end, and goes on after its last byte.
        pause: seconds of waiting after each 64 KiB.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.requests: list[str] = []
        self.fail_first = self.truncate_first = 0
        self.status = 503
        self.corrupt = self.endless = False
        self.pause = 0.0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def downloads(self) -> list[str]:
        """Names of the files that were asked for with GET."""
        return [line.split()[1] for line in self.requests if line.startswith("GET ")]

    def take(self, counter: str) -> bool:
        """Count one of the faults down; whether there was one left."""
        with self._lock:
            left = getattr(self, counter)
            setattr(self, counter, max(0, left - 1))
            return bool(left > 0)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> FileServer:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _handler(owner: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, *_args: Any) -> None:
            return

        def _answer(self, with_body: bool) -> None:
            name = unquote(self.path[1:])
            owner.requests.append(f"{self.command} {name}")
            if owner.take("fail_first"):
                return self._status_only(owner.status)
            data = owner.files.get(name)
            if data is None:
                return self._status_only(404)
            self.send_response(200)
            if owner.endless:
                self.send_header("Connection", "close")
                self.close_connection = True
            else:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if with_body:
                self._send(data)

        def _send(self, data: bytes) -> None:
            if owner.corrupt:
                data = data[:-1] + bytes([data[-1] ^ 1])
            if owner.take("truncate_first"):
                data = data[: len(data) // 2]
                self.close_connection = True
            try:
                for start in range(0, len(data), _BLOCK):
                    self.wfile.write(data[start : start + _BLOCK])
                    time.sleep(owner.pause)
                while owner.endless:
                    self.wfile.write(bytes(_BLOCK))
            except OSError:  # the client has had enough
                self.close_connection = True

        def _status_only(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


@contextmanager
def s3_server() -> Iterator[dict[str, Any]]:
    """An empty S3 server; yields the storage options that lead to it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # What earlier servers of this process held belongs to the process.
    reset = Request(f"http://{host}:{port}/moto-api/reset", method="POST")
    urlopen(reset, timeout=10).close()
    try:
        yield {
            "key": "tester",
            "secret": "secret",
            "client_kwargs": {"endpoint_url": f"http://{host}:{port}"},
        }
    finally:
        server.stop()
