"""The dashboard as a process of the demonstration: python -m oddlot.web SHOP.TOML DESCRIPTOR."""

from __future__ import annotations

import socket
import sys

from oddlot import config as configs
from oddlot.web import serve


def main(place: str, descriptor: str) -> None:
    """Serve at a socket that was made before; the key comes first on standard input.

    Args:
        place: the config's file.
        descriptor: the socket's number in this process.
    """
    key = sys.stdin.buffer.readline().decode().strip()
    serve.end_on_hangup()
    serve.serve(
        configs.load(place),
        opens_browser=False,
        say=lambda _: None,
        listener=socket.socket(fileno=int(descriptor)),
        key=key,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
