"""The engine on the real clock, until the user ends it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

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

    def sleep(seconds: float) -> None:
        stop.wait(seconds)  # a signal ends it

    def end(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[number])

    before: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, end)
    try:
        live.run(
            config,
            clock_us=lambda: time.time_ns() // 1000,
            sleep=sleep,
            should_stop=stop.is_set,
            on_progress=on_progress,
            fresh=fresh,
        )
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
