"""Tells open pages that something is new: server-sent events with bounded queues."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

BEAT_SECONDS = 3.0  # a page that hears nothing for three of them says so
LOOK_SECONDS = 0.2  # between two looks at the store: at most five updates a second
MOST_READERS = 1_000
_QUEUE = 16  # events that wait for one slow reader; then the oldest goes
_PATIENCE_SECONDS = 20.0  # for a reader that takes nothing at all
_SESSION_SECONDS = 30.0  # between two looks whether his session still holds


class Reader:
    """One open page, and what it has not taken yet."""

    def __init__(self) -> None:
        """Start with nothing waiting."""
        self.waiting: deque[bytes] = deque(maxlen=_QUEUE)
        self.bell = asyncio.Event()

    def put(self, event: bytes) -> None:
        """Add an event; where too many wait, the oldest is forgotten."""
        self.waiting.append(event)
        self.bell.set()


class Feed:
    """Looks at the store for all pages at once, and answers /events.

    Every event says how things stand now, so that a page that missed some needs only the next.

    Args:
        look: returns how things stand, JSON-able; called in a thread.
        knows: tells whether a request's session still holds.
    """

    def __init__(
        self, look: Callable[[], Mapping[str, Any]], knows: Callable[[Scope], bool]
    ) -> None:
        self.readers: set[Reader] = set()
        self.is_closed = False
        self._look = look
        self._knows = knows
        self._newest = b""
        self._said: Mapping[str, Any] = {}
        self._number = 0

    async def run(self) -> None:
        """Look for ever; to be cancelled."""
        while True:
            await self.turn()
            await asyncio.sleep(LOOK_SECONDS)

    async def turn(self) -> None:
        """Look once, and tell every page if something has changed."""
        said = await asyncio.to_thread(self._look)
        if said == self._said:
            return
        self._said = said
        self._number += 1
        data = msgspec.json.encode(said).decode()
        self._newest = f"id: {self._number}\nevent: pulse\ndata: {data}\n\n".encode()
        for reader in self.readers:
            reader.put(self._newest)

    def close(self) -> None:
        """Say good-bye to every page; they call again after a while."""
        self.is_closed = True
        for reader in self.readers:
            reader.put(b"retry: 2000\nevent: bye\ndata: {}\n\n")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one page until it goes away."""
        if len(self.readers) >= MOST_READERS or self.is_closed:
            headers = [(b"retry-after", b"10"), (b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": b"too many open pages"})
            return
        reader = Reader()
        gone = asyncio.create_task(_wait_until_gone(receive))
        self.readers.add(reader)
        try:
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"x-accel-buffering", b"no"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            reader.put(b"retry: 1000\n\n" + self._newest)
            with contextlib.suppress(TimeoutError):  # he takes nothing: others must not wait
                await self._tell(reader, gone, scope, send)
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b""})
        finally:
            self.readers.discard(reader)
            gone.cancel()

    async def _tell(
        self, reader: Reader, gone: asyncio.Task[None], scope: Scope, send: Send
    ) -> None:
        checked = asyncio.get_running_loop().time()
        while not gone.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.bell.wait(), BEAT_SECONDS)
            reader.bell.clear()
            now = asyncio.get_running_loop().time()
            if now - checked > _SESSION_SECONDS:
                checked = now
                if not self._knows(scope):
                    return
            body = b"".join(reader.waiting) or b"event: beat\ndata: {}\n\n"
            reader.waiting.clear()
            message = {"type": "http.response.body", "body": body, "more_body": True}
            await asyncio.wait_for(send(message), _PATIENCE_SECONDS)
            if self.is_closed:
                return


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
