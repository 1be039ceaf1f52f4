"""Puts alerts into a shop's outbox and sends until nothing waits: a child for tests to kill."""

from __future__ import annotations

import sys
from pathlib import Path

from crashes import alert
from oddlot import config, outbox
from oddlot.delivery import Courier
from oddlot.store import Store

START_US = 1_790_000_000_000_000


def send(folder: Path, numbers: list[int]) -> None:
    """Add alerts of these numbers, then step the first channel on a clock that never waits."""
    chosen = config.load(folder / "shop.toml")
    now_us = START_US
    route = outbox.router(chosen.channels, lambda: now_us)
    with Store.open(Path(chosen.state.path), route=route) as store:
        store.add_alerts([alert(number, text=f"text {number}.") for number in numbers])
        print("added", flush=True)
        courier = Courier(chosen.channels[0], store.folder, "en", now_us)
        while any(state.pending for state in store.channels()):
            now_us += int(courier.step(now_us) * 1_000_000)
        courier.close()


if __name__ == "__main__":
    send(Path(sys.argv[1]), [int(number) for number in sys.argv[2:]])
