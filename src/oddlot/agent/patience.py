"""A regular expression that takes too long is given up, and the line with it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_SECONDS = 0.25  # of processor time without progress, up to twice as long


class _TakesTooLongError(Exception):
    pass


def convert_all(
    items: Sequence[Item],
    convert: Callable[[Item], Result],
    give_up: Callable[[Item], Result],
    seconds: float = _SECONDS,
) -> list[Result]:
    """Return what each item is converted to, in order; `give_up` of one that takes too long.

    Python's regular expressions can be interrupted by a signal only, and signals come only to
    the main thread: in another one nothing is given up. Time is processor time, so that a busy
    or sleeping machine makes no line late.
    """
    if threading.current_thread() is not threading.main_thread():
        return [convert(item) for item in items]
    done: list[Result] = []
    seen = -1

    def tick(_: int, __: FrameType | None) -> None:
        nonlocal seen
        if len(done) == seen:
            raise _TakesTooLongError
        seen = len(done)

    before = signal.signal(signal.SIGVTALRM, tick)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds)
    try:
        while len(done) < len(items):
            try:
                for item in items[len(done) :]:
                    done.append(convert(item))  # noqa: PERF401 - what is done must stay when a tick comes
            except _TakesTooLongError:
                if len(done) < len(items):
                    done.append(give_up(items[len(done)]))
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before if before is not None else signal.SIG_DFL)
    return done
