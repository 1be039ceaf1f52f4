"""The demonstration: orders replayed to growing log files, and the engine that follows them."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from oddlot import config as configs
from oddlot.config import Config
from oddlot.decode.reading import Settings
from oddlot.engine import live
from oddlot.engine.warm import compile_beside, compile_now
from oddlot.errors import ConfigError, OddlotError
from oddlot.replay import Replay, Replayed, replay
from oddlot.replay.records import Source
from oddlot.schema import Alert
from oddlot.simulate import Fault, Score, Shop, score_alerts, write_shop
from oddlot.simulate.shop import open_days
from oddlot.streams.chunks import read_file

_DAYS = 90
_LINES_PER_DAY = 2000
_FAULTS_PER_DAY = 0.6
_PATIENCE_SECONDS = 20.0  # for the engine, once everything is written
_CONFIG = """
[time]
idle = "2s"
[state]
path = "state"
checkpoint_every = "2s"
[archive]
path = "archive"
[alerts]
path = "alerts"
"""
_SIMULATED = """
[budget]
own_oddities = false
"""


class Ended(msgspec.Struct, frozen=True):
    """What came of a demonstration.

    Attributes:
        alerts: every alert, in the order in which they came.
        score: which planted faults were found; None for a file of the user's.
        sought: types of faults that a detector looked for.
        budget: false alerts a day that were accepted.
        counters: the engine's totals.
        seconds: how long it took.
    """

    alerts: list[Alert]
    score: Score | None
    sought: set[str]
    budget: float
    counters: dict[str, int]
    seconds: float


class Demo:
    """Orders, a folder for everything, and the engine's config; use it in a `with`.

    Attributes:
        story: what is about to happen, one line each.
        lines: how many order lines there are.
        config: what the engine runs with.
    """

    def __init__(self, file: str | None, folder: str | None, seconds: float, seed: int) -> None:
        """Simulate a shop, or look at a file.

        Args:
            file: orders of the user's; None to simulate a shop.
            folder: keeps log files, state, alerts and archive; None for one that is removed.
            seconds: how long the replay takes, about.
            seed: of the simulated shop.

        Raises:
            ConfigError: the file cannot be read, or the folder is in use.
        """
        self._is_kept = folder is not None
        self.folder = _make_folder(folder)
        self._seconds = seconds
        self._faults: list[Fault] | None = None
        self._days = 0.0
        try:
            if file is None:
                shop = Shop(
                    seed=seed,
                    days=_DAYS,
                    lines_per_day=_LINES_PER_DAY,
                    faults_per_day=_FAULTS_PER_DAY,
                )
                written = write_shop(shop, self.folder / "shop")
                self._orders = str(written.orders)
                self.lines, self._faults = written.lines, written.faults
                self._days = float(len(open_days(shop)))
                what = (
                    f"A shop of {shop.skus:,} products, {self._days:.0f} open days, "
                    f"{len(written.faults)} planted faults: {self.lines:,} order lines"
                )
            else:
                self._orders = file
                self.lines = _count_lines(file)
                what = f"{file}: {self.lines:,} lines"
            reading = Source.open(self._orders, Settings()).reading
        except BaseException:
            self._remove()
            raise
        self.config = self._configure(reading.dates)
        rate = self.lines / seconds
        logs = self.folder / "logs"
        follows = f"They are replayed to {logs} at {rate:,.0f} lines/s; the engine follows."
        self.story = [f"{what}.", follows, ""]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def mark(self, alert: Alert) -> str:
        """Return a note where the alert found a planted fault, else nothing."""
        found = [(alert.time_us, alert.sku, alert.detector)]
        return "[planted]" if score_alerts(found, self._faults or (), 1).first_us else ""

    def run(self, on_progress: Callable[[live.Progress], None]) -> Ended:
        """Replay and watch until every line went through the engine.

        Args:
            on_progress: told after each poll.

        Raises:
            OddlotError: what made the replay or the engine give up.
        """
        # Compiling takes longer than the replay: it must not begin without the engine.
        compile_beside(self.config.detectors)
        compile_now(self.config.detectors)
        started = time.monotonic()
        follower = _Follower(on_progress)
        writer = _Writer(self._replay, follower)
        writer.start()
        try:
            live.run(
                self.config,
                clock_us=lambda: time.time_ns() // 1000,
                sleep=time.sleep,
                should_stop=follower.is_done,
                on_progress=follower.note,
            )
        finally:
            follower.is_ended = True
            writer.join()
        if writer.error is not None:
            raise writer.error
        return self._end(follower, time.monotonic() - started)

    def _replay(self, stop: Callable[[], bool]) -> Replayed:
        options = Replay(
            file=self._orders,
            to=str(self.folder / "logs"),
            rate=max(1.0, self.lines / self._seconds),
            rotate_bytes=4_000_000,
        )
        return replay(options, stop=stop)

    def _configure(self, dates: str) -> Config:
        (self.folder / "logs").mkdir(exist_ok=True)
        text = f'[source]\npath = "logs"\ndates = "{dates}"\n{_CONFIG}'
        if self._faults is not None:
            text += _SIMULATED
        (self.folder / "shop.toml").write_text(text, "utf-8")
        return configs.load(self.folder / "shop.toml")

    def _end(self, follower: _Follower, seconds: float) -> Ended:
        sought = {d.finds for d in self.config.detectors} - {""}
        score = None
        if self._faults is not None:
            found = [(alert.time_us, alert.sku, alert.detector) for alert in follower.alerts]
            score = score_alerts(found, self._faults, self._days)
        budget = self.config.budget.false_alerts_per_day
        return Ended(follower.alerts, score, sought, budget, follower.counters, seconds)

    def _remove(self) -> None:
        if not self._is_kept:
            shutil.rmtree(self.folder, ignore_errors=True)


class _Follower:
    """Notes what the engine says, and knows when it has seen everything."""

    def __init__(self, on_progress: Callable[[live.Progress], None]) -> None:
        self.alerts: list[Alert] = []
        self.counters: dict[str, int] = {}
        self.is_ended = False
        self.written: int | None = None  # lines, once the replay is over
        self._deadline = 0.0
        self._on_progress = on_progress

    def note(self, progress: live.Progress) -> None:
        self.alerts += progress.newest
        self.counters = progress.counters
        self._on_progress(progress)

    def all_written(self, lines: int) -> None:
        self._deadline = time.monotonic() + _PATIENCE_SECONDS
        self.written = lines

    def is_done(self) -> bool:
        if self.is_ended:
            return True
        if self.written is None:
            return False
        is_through = self.counters.get("read", 0) >= self.written
        is_through = is_through and self.counters.get("pending", 0) == 0
        return is_through or time.monotonic() > self._deadline


class _Writer(threading.Thread):
    """Replays beside the engine."""

    def __init__(
        self, write: Callable[[Callable[[], bool]], Replayed], follower: _Follower
    ) -> None:
        super().__init__(name="replay", daemon=True)
        self.error: OddlotError | None = None
        self._write = write
        self._follower = follower

    def run(self) -> None:
        """Write, and tell the follower when all is written or nothing more will be."""
        try:
            counts = self._write(lambda: self._follower.is_ended)
            self._follower.all_written(counts.lines)
        except OddlotError as error:
            self.error = error
            self._follower.is_ended = True


def _make_folder(folder: str | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="oddlot-demo-"))
    place = Path(folder)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(f"--to {folder}: must be a new or an empty folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--to {folder}: cannot be made: {error.strerror}") from None
    return place


def _count_lines(path: str) -> int:
    """Count the lines of text; a table's rows from its own figures would be exact too late."""
    count = sum(_newlines(chunk.data) for chunk in read_file(path))
    return max(1, count - 1)


def _newlines(data: Any) -> int:
    return bytes(data).count(b"\n")
