"""A shop whose log files grow while `live.run` watches them; as a script, killed at many places."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from oddlot import archive, config
from oddlot.durable import POINTS
from oddlot.engine import live
from oddlot.store import Store

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
WRONG = ("12.5", "0.13", "125", "0.42", "0.01", "3.75", "7.5")  # for 1.25
FILES = 3
RECORDS = 400  # in each file
PIECES = 8  # in which a file grows
START_US = 1_400_000_000_000_000
STEP_US = 300_000  # the clock between two looks at it
TOML = """
source.path = "logs"
source.dates = "iso"
budget.false_alerts_per_day = 6000
archive.path = "archive"
alerts.format = "{format}"
state.checkpoint_every = "1s"
[[detectors]]
type = "price_error"
[[detectors]]
type = "low_quantity"
"""


def make(folder: Path, file_format: str = "jsonl") -> config.Config:
    """Make the shop's config and its empty log folder, if need be."""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    (folder / "shop.toml").write_text(TOML.format(format=file_format))
    return config.load(folder / "shop.toml")


def texts() -> list[bytes]:
    """Return what the log files will hold: late lines, ties, rejects, quotes, wrong prices."""
    chance = random.Random(4)
    second = 0
    files = []
    for number in range(FILES):
        rows = [HEADER]
        for at in range(RECORDS):
            second += chance.choice([0, 0, 1, 20, 60])
            shown = second - (chance.choice([3, 600]) if chance.random() < 0.05 else 0)
            day, rest = divmod(shown + 9 * 3600, 86_400)
            minute, odd = divmod(rest, 60)
            clock = f"2011-03-{day + 1:02d} {minute // 60:02d}:{minute % 60:02d}:{odd:02d}"
            quantity = "1,5" if at % 97 == 5 else str(chance.choice([1, 2, 6, 12]))
            is_wrong = at % 31 == 30
            price = WRONG[(number * RECORDS + at) // 31 % len(WRONG)] if is_wrong else "1.25"
            sku = chance.choice(["85123A", "22423", '"8,5"', "47566"])
            rows.append(
                f'{number}{at:05d},{sku},"A ""B"" é",{quantity},{clock},{price},17850,UK\n'
                if quantity != "1,5"
                else f'{number}{at:05d},{sku},x,"{quantity}",{clock},,,\n'
            )
        files.append("".join(rows).encode())
    return files


class Writer:
    """Lets the files grow piece by piece; goes on where another left off."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "logs"
        self.texts = texts()

    def write(self) -> bool:
        """Append the next piece; return False if there is none."""
        for number, text in enumerate(self.texts):
            path = self.folder / f"orders-{number:06d}.csv"
            size = path.stat().st_size if path.exists() else 0
            if size < len(text):
                with path.open("ab") as file:
                    file.write(text[size : size + len(text) // PIECES + 1])
                return True
        return False


def watch(
    folder: Path,
    pieces: int | None = None,
    ends: Callable[[], bool] = lambda: False,
    config_of: Callable[[Path], config.Config] = make,
    fresh: bool = False,
) -> list[live.Progress]:
    """Watch the folder until `pieces` more are written, or all, and read.

    At the end of all, time jumps ahead, so that the newest lines are released.
    """
    writer = Writer(folder)
    now_us = START_US
    left = pieces if pieces is not None else 1 << 30
    quiet = 0
    told: list[live.Progress] = []

    def clock_us() -> int:
        nonlocal now_us
        now_us += STEP_US
        return now_us

    def should_stop() -> bool:
        nonlocal left, quiet, now_us
        if ends():
            return True
        if left and writer.write():
            left -= 1
            return False
        quiet += 1
        if quiet == 3 and pieces is None:
            now_us += 11 * 60_000_000
        return quiet > 5

    live.run(
        config_of(folder),
        clock_us=clock_us,
        sleep=lambda seconds: None,
        should_stop=should_stop,
        on_progress=told.append,
        fresh=fresh,
    )
    return told


def outcome(folder: Path) -> dict[str, Any]:
    """Return all that a user can see at the end."""
    with Store.read(folder / "state") as store:
        counts = store.counts()
        del counts["checkpoint"]
        alerts = [repr(alert) for alert in store.alerts(newest=False)]
        rejects = sorted(store.rejects(100_000), key=lambda one: (one.source, one.position))
    orders: pa.Table = archive.query(folder / "archive", "SELECT * FROM orders ORDER BY ALL")
    archived: pa.Table = archive.query(folder / "archive", "SELECT * FROM alerts ORDER BY ALL")
    return {
        "counts": counts,
        "alerts": alerts,
        "rejects": rejects,
        "orders": list(map(repr, orders.to_pylist())),
        "archived": list(map(repr, archived.to_pylist())),
        "files": {path.name: path.read_bytes() for path in sorted((folder / "alerts").glob("*.*"))},
    }


def child(folder: Path, after: float = 0.0, place: str = "") -> bool:
    """Watch in a child that is killed at a place or after a time; return whether it was."""
    pid = os.fork()
    if pid == 0:
        failed = True
        try:
            if place:
                os.environ["ODDLOT_CRASH_AT"] = place
            if after:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)  # no handler: an end without mercy
                signal.setitimer(signal.ITIMER_REAL, after)
            watch(folder)
            failed = False
        finally:
            os._exit(int(failed))
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, f"{place}: failed"
    return False


def main(root: Path, times: list[str], kills: int, seed: int) -> None:
    """Kill at each point so many times in, and at random instants; print what came of it.

    Each shop is then watched to its end, and what a user sees is compared with what came of a
    shop that nobody killed.
    """
    watch(root / "whole")
    expected = outcome(root / "whole")
    reached = []
    for point in POINTS:
        for time in times:
            folder = root / f"{point}-{time}"
            make(folder)
            if child(folder, place=f"{point}:{time}"):
                reached.append(point)
                assert not child(folder), point
                check(folder, expected)
    chance = random.Random(seed)
    killed = 0
    round_ = 0
    while killed < kills:
        folder = root / f"round-{round_}"
        make(folder)
        round_ += 1
        while child(folder, after=chance.uniform(0.001, 0.3)):
            killed += 1
            if killed > kills:
                break
        assert not child(folder)
        check(folder, expected)
    print(json.dumps({"reached": sorted(set(reached)), "killed": killed}))


def check(folder: Path, expected: dict[str, Any]) -> None:
    """Fail with the part that differs."""
    got = outcome(folder)
    for part, value in expected.items():
        assert got[part] == value, f"{folder.name}: {part} differs"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), int(sys.argv[3]), int(sys.argv[4]))
