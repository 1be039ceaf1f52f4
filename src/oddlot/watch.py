"""The engine on the real clock, until the user ends it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from oddlot.config import Config
from oddlot.engine import live


def watch(
    config: Config, on_progress: Callable[[live.Progress], None], *, fresh: bool = False
) -> None:
    """Watch the config's folder until Ctrl-C or SIGTERM; then save a checkpoint and return.

    A second Ctrl-C ends it at once: what came after the last checkpoint is read again then.

    Args:
        config: from shop.toml.
        on_progress: told after each poll.
        fresh: set the saved state aside and begin with none.

    Raises:
        ConfigError, StateError: as `live.run`.
    """
    stop = threading.Event()

    def end(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[number])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, end)
    try:
        live.run(
            config,
            clock_us=lambda: time.time_ns() // 1000,
            sleep=stop.wait,  # a signal ends it
            should_stop=stop.is_set,
            on_progress=on_progress,
            fresh=fresh,
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
