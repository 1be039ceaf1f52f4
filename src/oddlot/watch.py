"""The engine on the real clock, until the user ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from oddlot.config import Config
from oddlot.endings import until_ended
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
    with until_ended() as stop:
        live.run(
            config,
            clock_us=lambda: time.time_ns() // 1000,
            sleep=lambda seconds: _wait(stop, seconds),
            should_stop=stop.is_set,
            on_progress=on_progress,
            fresh=fresh,
        )


def watch_flink(
    config: Config,
    on_progress: Callable[[Any], object],
    say: Callable[[str], None],
    *,
    fresh: bool = False,
) -> None:
    """Run the detectors on Flink until Ctrl-C, SIGTERM or the end of the input.

    Args:
        config: from shop.toml.
        on_progress: told every second, see `hosting.Hosted`.
        say: told what goes on, one line each.
        fresh: set the saved state aside and begin with none.

    Raises:
        ConfigError, StateError, StreamError: as `hosting.run`.
    """
    from oddlot.engine.flink import hosting

    with until_ended() as stop:
        hosting.run(
            config,
            clock_us=lambda: time.time_ns() // 1000,
            sleep=lambda seconds: _wait(stop, seconds),
            should_stop=stop.is_set,
            on_progress=on_progress,
            say=say,
            fresh=fresh,
        )


def _wait(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)  # a signal ends it
