"""The loop that sends what is in the outbox, beside the engine and never before it."""

from __future__ import annotations

import hashlib
import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from oddlot.alerts.make import alert_row
from oddlot.config import Config
from oddlot.durable import StorageError
from oddlot.errors import ConfigError, DataError, StateError, StateLocked, StreamError
from oddlot.notifiers.contract import SENT, Gone, Later, Message, Reply, Sender, plain
from oddlot.outbox import Outbox, Overtaken, Waiting, forget_others, message_id, revive
from oddlot.schema import Alert
from oddlot.sections import Channel
from oddlot.stored import DATABASE, ChannelState, Stored

POLL_S = 0.1  # between two looks into an empty outbox
WORST_WAIT_S = 300.0  # between two tries, unless the receiver asks for more
LIFE_US = 86_400_000_000  # what a failing channel did not send for so long is given up
PATIENCE = 5  # failures in a row after which another message is tried, to see whose fault it is
GRACE_S = 5.0  # at the end, for what is due
_SECOND_US = 1_000_000
_LONGEST_ERROR = 200
_LONGEST_WAIT_S = 30.0  # the clock may have been put right meanwhile
_DAY_S = 86_400.0


class Courier:
    """Sends what one channel has in the outbox, one message a step.

    A message that fails is tried again, the same one, with growing random waits: a receiver
    that was away gets everything in order. Where the fault may be the message's, every second
    try after five failures is another one; if that passes and the first then fails once more,
    the first is put off, so that it blocks nobody.

    Args:
        channel: from the config.
        folder: the state folder, which a `Store` has open.
        language: of what is said beside the alerts' own texts.
        now_us: the clock.
        chance: gives numbers from 0 to 1.
    """

    def __init__(
        self,
        channel: Channel,
        folder: Path,
        language: str,
        now_us: int,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = channel.name
        self.problem = ""
        self._notifier = channel.notifier
        self._language = language
        self._begun_us = now_us
        self._chance = chance
        self._sender: Sender = self._notifier.open()
        self._outbox = Outbox(folder, channel.name)
        self._sent_us = self._outbox.begin()
        self._failures = 0
        self._next_us = 0
        self._is_off = False
        self._is_away = False  # so the receiver itself seems to be, by the last failure
        self._is_accused = False  # another message passed while the first did not
        self._unmarked: tuple[list[Waiting], list[Reply]] | None = None

    def step(self, now_us: int) -> float:
        """Send one message if one is due; return in how many seconds to come again.

        Raises:
            Overtaken: another process has the state folder: stop.
        """
        try:
            if self._unmarked is not None:  # it went out; what failed was to write that down
                self._mark(*self._unmarked, now_us)
            if self._is_off:
                return POLL_S if self._outbox.give_up(now_us, self.problem) else 1.0
            if now_us < self._next_us:
                return (self._next_us - now_us) / _SECOND_US
            waiting, is_probe = self._take(now_us)
            if not waiting:
                return POLL_S
            if early_s := self._too_early(waiting, now_us):
                return early_s
            if self._notifier.largest > 1 and not self._notifier.is_itemwise:
                if waiting[0].message is None:
                    self._outbox.decide(waiting)
            return self._send(waiting, is_probe, now_us)
        except Overtaken:
            raise
        except (StateLocked, StorageError) as error:  # the engine meets it too, and says so
            self.problem = f"channel {self.name!r}: {plain(str(error), _LONGEST_ERROR)}"
            return 1.0

    def close(self) -> None:
        """Let go of the connections."""
        self._sender.close()
        self._outbox.close()

    def _take(self, now_us: int) -> tuple[list[Waiting], bool]:
        """Read what to try next, and whether it is only to see if others pass."""
        in_doubt = self._failures >= PATIENCE and not self._is_away
        # What can be bundled anew goes one by one then: one of a bundle may be at fault.
        most: int = 1 if in_doubt and self._notifier.is_itemwise else self._notifier.largest
        waiting = self._outbox.take(now_us, most)
        probes = in_doubt and not self._is_accused and not self._notifier.is_ordered
        if waiting and probes and self._failures % 2 == 0:
            first = waiting[0]
            others = self._outbox.take(now_us, most, skip=first.message or first.number)
            if others:
                return others, True
        return waiting, False

    def _too_early(self, waiting: list[Waiting], now_us: int) -> float:
        """Return how many seconds a new message still waits for company."""
        wait_us: int = self._notifier.wait_us
        interval_us: int = self._notifier.interval_us
        is_full = len(waiting) >= self._notifier.largest
        if waiting[0].message is not None or is_full or not (wait_us or interval_us):
            return 0.0
        due_us = waiting[0].added_us + wait_us
        if self._sent_us is not None:
            due_us = max(due_us, self._sent_us + interval_us)
        # The clock may have stepped back: never longer than was asked for.
        return max(0.0, min(due_us - now_us, max(wait_us, interval_us)) / _SECOND_US)

    def _send(self, waiting: list[Waiting], is_probe: bool, now_us: int) -> float:
        after_s = 0.0
        self._is_away = False
        alerts = tuple(one.alert for one in waiting)
        message = Message(
            id=message_id(self.name, alerts[0]),
            alerts=alerts,
            rows=tuple(map(alert_row, alerts)),
            time_us=now_us,
            language=self._language,
        )
        try:
            replies = list(self._sender.send(message))
        except Gone as error:
            return self._turn_off(error, now_us)
        except DataError as error:
            replies = [Reply(self._line(error), is_final=True)] * len(waiting)
        except (StreamError, ConfigError) as error:
            after_s = error.after_s if isinstance(error, Later) else 0.0
            self._is_away = getattr(error, "is_away", isinstance(error, StreamError))
            replies = [Reply(self._line(error))] * len(waiting)
        except Exception as error:  # noqa: BLE001  # a bug in one notifier stops no other, nor the engine
            replies = [Reply(_describe_bug(error))] * len(waiting)
        is_behind = any(one.error and not one.is_final for one in replies)
        passed = any(one == SENT for one in replies)
        if is_behind and not passed and not is_probe and (self._is_accused or waiting[0].next_us):
            self._outbox.put_off(waiting, now_us + self._backoff_us(waiting[0].tries + 1))
            self._failures, self._next_us, self._is_accused = 0, 0, False
        elif is_behind:
            self._failures = 1 if passed else self._failures + 1
            self._next_us = now_us + max(
                self._backoff_us(self._failures), int(min(after_s, _DAY_S) * _SECOND_US)
            )
        elif is_probe:
            self._is_accused, self._next_us = True, 0  # now the first once more, at once
        else:
            self._failures, self._next_us, self._is_accused = 0, 0, False
        self._mark(waiting, replies, now_us)
        return max(0.0, (self._next_us - now_us) / _SECOND_US)

    def _mark(self, waiting: list[Waiting], replies: list[Reply], now_us: int) -> None:
        self._unmarked = (waiting, replies)
        self._outbox.settle(waiting, replies, now_us, self._failures, self._next_us)
        self._unmarked = None
        if any(one == SENT for one in replies):
            self._sent_us = now_us
        error = next((one.error for one in replies if one.error), "")
        self.problem = f"channel {self.name!r}: {error}" if error else ""
        if any(one.is_final for one in replies):
            self.problem += "; given up"
        if any(one.error and not one.is_final for one in replies):
            self._give_up_old(now_us, error)

    def _give_up_old(self, now_us: int, error: str) -> None:
        """Give up what a failing channel has had for a day, and what is too much."""
        gone = self._outbox.bound(now_us)
        if now_us - self._begun_us >= LIFE_US:
            reason = f"not sent within 24 h: {error}"
            gone += self._outbox.give_up(now_us, reason, before_us=now_us - LIFE_US)
        if gone:
            self.problem = f"channel {self.name!r}: alerts were given up: {error}"

    def _turn_off(self, error: Gone, now_us: int) -> float:
        self.problem = f"channel {self.name!r}: off until the next start: {self._line(error)}"
        self._is_off = True
        self._outbox.turn_off(now_us, self.problem)
        return POLL_S

    def _backoff_us(self, failures: int) -> int:
        """Full jitter: from nothing to twice as much with each failure, up to five minutes."""
        ceiling_s = min(WORST_WAIT_S, 2.0 ** min(failures, 20))
        return int(max(0.05, self._chance() * ceiling_s) * _SECOND_US)

    def _line(self, error: Exception) -> str:
        return plain(str(error), _LONGEST_ERROR)


class Deliveries:
    """A thread for each channel while a run lasts; use it in a `with`.

    Args:
        config: from shop.toml; its state folder is open already.
        clock_us: the time of day, microseconds UTC; called by several threads.

    Raises:
        ConfigError: a channel's secret cannot be read.
    """

    def __init__(self, config: Config, clock_us: Callable[[], int]) -> None:
        self._clock_us = clock_us
        self._ending = threading.Event()
        self._couriers: list[Courier] = []
        folder = Path(config.state.path)
        forget_others(folder, config.channels, clock_us)
        for number, channel in enumerate(config.channels, 1):
            try:
                courier = Courier(channel, folder, config.alerts.language, clock_us())
            except ConfigError as error:
                self.close()
                raise ConfigError(f"{config.place}: channel {number}: {error}") from None
            self._couriers.append(courier)
        self._threads = [
            threading.Thread(target=self._run, args=(one,), name=f"to {one.name}", daemon=True)
            for one in self._couriers
        ]

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong at present, by channel, one line each."""
        return {one.name: one.problem for one in self._couriers if one.problem}

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send what is due, for five seconds at most; the rest goes out at the next start."""
        self._ending.set()
        latest = time.monotonic() + GRACE_S
        for thread in self._threads:
            thread.join(max(0.0, latest - time.monotonic()))

    def close(self) -> None:
        """Let go of what was opened, where no thread began."""
        for courier in self._couriers:
            courier.close()

    def _run(self, courier: Courier) -> None:
        latest: float | None = None
        try:
            while True:
                wait_s = courier.step(self._clock_us())
                if latest is not None:
                    if wait_s or time.monotonic() > latest:
                        return
                elif self._ending.is_set():
                    # Once more at least: the last alerts may have come after the look.
                    latest = time.monotonic() + GRACE_S
                elif wait_s:
                    self._ending.wait(min(wait_s, _LONGEST_WAIT_S))
        except (Overtaken, StateError) as error:
            courier.problem = f"channel {courier.name!r}: {error}"
        finally:
            courier.close()


def send_test(config: Config, name: str, now_us: int) -> str:
    """Send a made-up alert by a channel; return a line that says so.

    Raises:
        ConfigError: there is no such channel, or it is set up wrongly.
        StreamError: it did not go out.
    """
    channel = _find(config, name)
    alert = _example(config.alerts.language, now_us)
    message = Message(
        id=message_id(name, alert),
        alerts=(alert,),
        rows=(alert_row(alert),),
        time_us=now_us,
        language=config.alerts.language,
    )
    try:
        sender = channel.notifier.open()
        try:
            (reply,) = sender.send(message)
        finally:
            sender.close()
    except ConfigError as error:
        raise ConfigError(f"{config.place}: channel {name!r}: {error}") from None
    except (DataError, StreamError) as error:
        raise StreamError(f"channel {name!r}: {error}") from None
    if reply.error:
        raise StreamError(f"channel {name!r}: {reply.error}")
    return f"{name}: sent {message.id}"


def list_channels(config: Config) -> list[str]:
    """Tell how each channel of the config does, one line each.

    Raises:
        StateError: the state folder.
    """
    states: dict[str, ChannelState] = {}
    if (Path(config.state.path) / DATABASE).is_file():
        with Stored.read(Path(config.state.path)) as stored:
            states = {one.name: one for one in stored.channels()}
    lines = []
    for channel in config.channels:
        state = states.get(channel.name)
        if state is None:
            lines.append(f"{channel.name}: nothing yet")
            continue
        line = f"{channel.name}: {state.pending} pending, {state.sent} sent, {state.dead} given up"
        line += f"; failed {state.failures} times in a row" if state.failures else ""
        lines.append(line + (f"; {state.error}" if state.error else ""))
    return lines


def retry(config: Config, name: str, now_us: int) -> str:
    """Let a channel try once more what it gave up; return a line that says how many.

    Raises:
        ConfigError: there is no such channel, or no state; StateError: the state folder.
    """
    _find(config, name)
    Stored.read(Path(config.state.path)).close()
    return f"{name}: {revive(Path(config.state.path), name, now_us)} to be tried again"


def _find(config: Config, name: str) -> Channel:
    channel = next((one for one in config.channels if one.name == name), None)
    if channel is None:
        names = [one.name for one in config.channels]
        listed = f"one of: {', '.join(names)}" if names else "in the config, which has none"
        raise ConfigError(f"{config.place}: channel must be {listed}; got {name!r}")
    return channel


def _example(language: str, now_us: int) -> Alert:
    texts = {
        "en": "This is a test of the channel: nothing is wrong with any product.",
        "es": "Esto es una prueba del canal: no pasa nada con ningún producto.",
    }
    number = hashlib.blake2b(b"test %d" % now_us, digest_size=16).hexdigest()
    return Alert(
        id=number,
        detector="test",
        time_us=now_us,
        sku="TEST",
        chance=1.0,
        rate=1.0,
        score=0.0,
        invoice="",
        description="",
        quantity=0,
        price=0.0,
        source="",
        position=-1,
        number=0,
        evidence={},
        text=texts.get(language, texts["en"]),
        incident=number,
    )


def _describe_bug(error: Exception) -> str:
    """Name an error that nobody expected by its place; its text may hold a secret."""
    frames: Sequence[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"a bug: {type(error).__name__}{place}"
