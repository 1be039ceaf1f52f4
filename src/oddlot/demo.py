"""The demonstration: orders replayed to growing log files, and the engine that follows them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import webbrowser
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
_GOODBYE_SECONDS = 5.0  # for the dashboard to end by itself
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
        self._dashboard: _Dashboard | None = None
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
        if self._dashboard is not None:
            self._dashboard.close()
        self._remove()

    def open_dashboard(self, *, opens_browser: bool = True) -> str:
        """Serve the dashboard in a process of its own, and open a browser where there is a screen.

        Returns at once: the socket listens already, and what comes to it waits for the process.

        Args:
            opens_browser: False only puts the link into the story.

        Returns:
            The link, which is good for one browser.
        """
        self._dashboard = _Dashboard(self.folder / "shop.toml")
        self.story.insert(-1, f"Dashboard: {self._dashboard.link}")
        if opens_browser:
            self._dashboard.open_browser()
        return self._dashboard.link

    def stay(self, say: Callable[[str], None]) -> None:
        """Keep the dashboard until Ctrl-C, where a person may look at it; else return at once."""
        if self._dashboard is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return
        say(f"The dashboard stays until Ctrl-C: {self._dashboard.link}")
        with contextlib.suppress(KeyboardInterrupt):
            self._dashboard.wait()

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


class _Dashboard:
    """`python -m oddlot.web` as a child that ends with us."""

    def __init__(self, config: Path) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        key = secrets.token_urlsafe(32)
        home = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        # All of the demonstration's time is in view at once.
        self.link = f"{home}login?key={key}&next=%2F%3Frange%3D90d"
        self._listener.set_inheritable(True)
        log = config.with_name("dashboard.log").open("wb")
        self._child = subprocess.Popen(  # noqa: S603  # ourselves
            [sys.executable, "-m", "oddlot.web", str(config), str(self._listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            pass_fds=[self._listener.fileno()],
            start_new_session=True,  # Ctrl-C is ours; it ends when its standard input does
        )
        log.close()
        assert self._child.stdin is not None  # noqa: S101  # it is a pipe
        with contextlib.suppress(BrokenPipeError):  # it died at once: the engine goes on alone
            self._child.stdin.write(key.encode() + b"\n")
            self._child.stdin.flush()
        self._listener.close()

    def open_browser(self) -> None:
        names = ("DISPLAY", "WAYLAND_DISPLAY")
        if sys.platform == "darwin" or any(map(os.environ.get, names)):
            threading.Thread(target=webbrowser.open, args=(self.link,), daemon=True).start()

    def wait(self) -> None:
        self._child.wait()

    def close(self) -> None:
        if self._child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
        try:
            self._child.wait(timeout=_GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


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
