"""Ctrl-C and SIGTERM as an event that a loop asks for."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def until_ended(*, second_ends: bool = True) -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set.

    Args:
        second_ends: whether a second one ends the program at once; not, where what was started
            would live on.
    """
    stop = threading.Event()

    def end(number: int, _: FrameType | None) -> None:
        stop.set()
        if second_ends:
            signal.signal(number, before[number])

    before: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, end)
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
