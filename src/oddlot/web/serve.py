"""Serve the dashboard on this machine, and tell how to come in."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from types import FrameType
from urllib.parse import urlencode

import uvicorn

from oddlot.config import Config
from oddlot.errors import ConfigError
from oddlot.web.app import Dashboard, build_app
from oddlot.web.guard import Door

_GRACE_SECONDS = 2  # for answers under way when it ends
_MOST_CONNECTIONS = 2_000
_MOST_HEADER = 16_384  # bytes


class _Server(uvicorn.Server):
    """A server that says good-bye to the open pages before it waits for them."""

    def __init__(self, config: uvicorn.Config, dashboard: Dashboard) -> None:
        super().__init__(config)
        self._dashboard = dashboard

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; called by a signal."""
        self._dashboard.feed.close()
        super().handle_exit(sig, frame)


def serve(
    config: Config,
    *,
    port: int | None = None,
    opens_browser: bool = True,
    say: Callable[[str], None],
    listener: socket.socket | None = None,
    key: str = "",
    there: str = "/",
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        config: from shop.toml.
        port: instead of the config's; 0 takes a free one.
        opens_browser: whether a browser is opened where there is a screen.
        say: told the link, and the next one each time that one was used.
        listener: a socket that listens already; None to make one.
        key: of the first link; "" to draw one.
        there: the page that the link leads to.

    Raises:
        ConfigError: the port cannot be had.
    """
    own = listener or listen(config.web.host, config.web.port if port is None else port)
    host, number = own.getsockname()[:2]
    door = Door(time.monotonic, key)

    def link(next_page: str = "/") -> str:
        return link_of(host, number, door.key, next_page)

    def entered() -> None:
        say(f"For another browser: {link()}")

    app, dashboard = build_app(
        config, number, door, hosts_of(host, number, config.web.hosts), entered
    )
    server = _Server(
        uvicorn.Config(
            app,
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            h11_max_incomplete_event_size=_MOST_HEADER,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        ),
        dashboard,
    )
    first = link(there)
    say(f"Dashboard: {first}")
    say("Ctrl-C ends it; what it shows is only read.")
    if opens_browser:
        open_browser(first)
    with contextlib.suppress(KeyboardInterrupt):  # that is how it ends
        server.run(sockets=[own])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; connections wait in it until the server is there.

    Raises:
        ConfigError: the port is in use, or may not be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"web: port must be free at {host}; got {port}: {error.strerror}."
            " Choose another: --port 0 takes a free one"
        ) from None
    return listener


def hosts_of(host: str, port: int, more: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values of the header Host by which this machine's browsers call it."""
    names = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host}
    return (*sorted(f"{name}:{port}" for name in names), *more)


def link_of(host: str, port: int, key: str, there: str = "/") -> str:
    """Return the link that lets one browser in."""
    name = f"[{host}]" if ":" in host else host
    query = {"key": key} if there == "/" else {"key": key, "next": there}
    return f"http://{name}:{port}/login?{urlencode(query)}"


def open_browser(link: str) -> None:
    """Open a browser, if there is a screen, and wait for nothing."""
    has_screen = sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if has_screen:
        threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()


def end_on_hangup() -> None:
    """End when whoever started this process is gone: its pipe to us closes then."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
