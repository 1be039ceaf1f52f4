"""Receivers on loopback that answer as they are told and keep what they got."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import msgspec

Answer = tuple[int, dict[str, str]]


class Request(msgspec.Struct, frozen=True):
    """What a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Receiver:
    """A web server that keeps every request; `answer` decides what it says to the n-th."""

    def __init__(self, answer: Callable[[int, Request], Answer] | None = None) -> None:
        self.got: list[Request] = []
        self.taken: list[Request] = []  # of these, what it said yes to
        self.answer = answer or (lambda number, request: (200, {}))
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, body)
                with receiver._lock:
                    receiver.got.append(request)
                    number = len(receiver.got)
                status, extra = receiver.answer(number, request)
                with receiver._lock:
                    receiver.taken += [request] if status < 300 else []
                with contextlib.suppress(ConnectionError):
                    self.send_response(status)
                    for name, value in {"content-length": "2", **extra}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook?token=canary-5d41402abc"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def always(status: int, **headers: str) -> Callable[[int, Request], Answer]:
    """Return what answers every request alike."""
    return lambda number, request: (status, headers)


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Lend the port of a server that lets `talk` do what it likes with each connection."""
    server = socket.create_server(("127.0.0.1", 0))
    ends = threading.Event()

    def serve() -> None:
        while not ends.is_set():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    talk(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        ends.set()
        # A last visitor wakes the server up, so that it sees that it is over.
        with contextlib.suppress(OSError):
            socket.create_connection(server.getsockname(), 1).close()
        thread.join(5)
        server.close()
