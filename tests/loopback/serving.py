"""A small HTTP/1.1 server on loopback, for the twins and the proxy: asyncio in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import NamedTuple

_HEAD_BYTES = 65_536


class Request(NamedTuple):
    """What a client asked; the names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What it gets."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


# None: close the connection without an answer.
Handler = Callable[[Request], Awaitable[Answer | None]]


@contextmanager
def serve(
    handler: Handler, port: int = 0, at_end: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """Serve on 127.0.0.1 while the context lasts; yields the address.

    Args:
        handler: runs in the server's thread, one call a request at a time.
        port: 0 takes a free one.
        at_end: closes what the handler opened, in the same thread.
    """
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = []
    ready = threading.Event()
    failure: list[OSError] = []

    async def run() -> None:
        stop = asyncio.Event()
        connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(_talk(handler, reader, writer))
            connections.add(task)
            task.add_done_callback(connections.discard)

        try:
            server = await asyncio.start_server(accept, "127.0.0.1", port, limit=_HEAD_BYTES)
        except OSError as error:
            failure.append(error)
            ready.set()
            return
        running.append((asyncio.get_running_loop(), stop, server.sockets[0].getsockname()[1]))
        ready.set()
        await stop.wait()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        at_end()
        await asyncio.sleep(0)  # closed transports let go of their sockets

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    ready.wait()
    if failure:
        raise failure[0]
    loop, stop, bound = running[0]
    try:
        yield f"http://127.0.0.1:{bound}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _talk(
    handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    no_delay(writer)
    try:
        while request := await _read(reader, writer):
            answer = await handler(request)
            if answer is None:
                break
            writer.write(_head(answer) + answer.body)
            await writer.drain()
            if request.headers.get("connection", "").lower() == "close":
                break
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as ended:
        if ended.partial:
            raise
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = read_headers(lines)
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a body that comes in chunks."""
    parts = []
    while size := int((await reader.readline()).partition(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    while (await reader.readline()).strip():  # trailers
        pass
    return b"".join(parts)


def read_headers(lines: list[str]) -> dict[str, str]:
    """Read header lines; names come back in lower case."""
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def no_delay(writer: asyncio.StreamWriter) -> None:
    """Send small answers at once: Nagle's algorithm makes 22 calls a second out of 600."""
    opened = writer.get_extra_info("socket")
    if opened is not None:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _head(answer: Answer) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    lines += [f"Content-Length: {len(answer.body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1")
