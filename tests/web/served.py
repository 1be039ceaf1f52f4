"""A dashboard in a process of its own, as users have it, and a client that says every header."""

from __future__ import annotations

import contextlib
import http.client
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_PATIENCE_SECONDS = 30


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Served:
    """A dashboard that is served.

    Attributes:
        port: at 127.0.0.1.
        key: of the first link.
        cookie: of the session, once `enter` was called.
    """

    def __init__(self, port: int, key: str, child: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.key = key
        self.cookie = ""
        self.child = child

    @property
    def home(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def link(self) -> str:
        return f"{self.home}/login?key={self.key}"

    def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask with exactly these headers, a Host of ours where none is named, and the session."""
        given = {"Host": f"127.0.0.1:{self.port}", "Accept": "text/html", **(headers or {})}
        if self.cookie and "Cookie" not in given:
            given["Cookie"] = self.cookie
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_SECONDS)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            lowered = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, lowered, answer.read())

    def enter(self) -> Answer:
        """Use the link, and keep the session."""
        answer = self.ask(f"/login?key={self.key}")
        self.cookie = answer.headers.get("set-cookie", "").partition(";")[0]
        return answer


@contextlib.contextmanager
def serving(config: Path) -> Iterator[Served]:
    """Serve a config until the block ends."""
    key = secrets.token_urlsafe(16)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.set_inheritable(True)
        child = subprocess.Popen(
            [sys.executable, "-m", "oddlot.web", str(config), str(listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )
        port = listener.getsockname()[1]
    assert child.stdin is not None
    child.stdin.write(key.encode() + b"\n")
    child.stdin.flush()
    try:
        yield Served(port, key, child)
    finally:
        child.stdin.close()
        try:
            child.wait(timeout=_PATIENCE_SECONDS)
        finally:
            child.kill()
            child.wait()
