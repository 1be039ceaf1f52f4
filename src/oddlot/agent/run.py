"""The agent at work: every flow carried on, positions saved, progress told, until it is stopped."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Self

import msgspec

from oddlot.agent.beginnings import Beginning, begin
from oddlot.agent.carry import MEMORY, Carrier, FlowProgress
from oddlot.agent.checkpoints import Checkpoints, read_old
from oddlot.agent.dead import DeadLetters
from oddlot.agent.flows import AgentConfig, Flow
from oddlot.agent.metrics import Metrics
from oddlot.agent.sending import Senders
from oddlot.endings import until_ended
from oddlot.errors import ConfigError, StreamError

_SAVE_US = 200_000
_FORGET_US = 60_000_000
_LOOK_US = 1_000_000
_ANSWER_SECONDS = 0.002
_IDLE_SECONDS = 0.1


class Progress(msgspec.Struct, frozen=True):
    """How far the agent is.

    Attributes:
        flows: each of them.
        problems: what is wrong with the state folder, in one line each.
        is_over: whether this is the last one.
        unsaved: whether something was shipped that a start after a crash would ship again.
    """

    flows: tuple[FlowProgress, ...]
    problems: tuple[str, ...] = ()
    is_over: bool = False
    unsaved: bool = False

    def describe(self, before: Progress | None = None, seconds: float = 0.0) -> list[str]:
        """Return a line for each flow and each problem, as a person reads it.

        Args:
            before: an earlier one, and
            seconds: how long ago, to tell the speed.
        """
        earlier = {one.flow: one for one in before.flows} if before else {}
        said = []
        for one in self.flows:
            sent = one.counts["sent_lines"]
            text = f"{one.flow}: {sent:,} lines shipped"
            if one.flow in earlier and seconds > 0:
                speed = (sent - earlier[one.flow].counts["sent_lines"]) / seconds
                text += f", {speed:,.0f} a second"
            text += f", lag {one.lag_us / 1e6:.1f} s, {one.unread_bytes:,} bytes unread"
            aside = sum(n for name, n in one.counts.items() if name.startswith("dropped_"))
            aside -= one.counts.get("dropped_blank", 0)
            text += f", {aside:,} set aside" if aside else ""
            said.append(text)
            said += [f"{one.flow}: {problem}" for problem in one.problems]
        return said + list(self.problems)


class Agent:
    """All flows of one config.

    Args:
        config: from agent.json.
        clock_us: returns microseconds of a clock that never steps back.
        wall_us: returns the time of day, microseconds since 1970 UTC.
        chance: for keys and pauses.

    Raises:
        StateLocked: another agent works on the state folder.
        StateError: the state is damaged.
        StorageError: the state folder cannot be written, and there is no state yet.
        ConfigError: boto3 is not installed, or a port is taken.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        clock_us: Callable[[], int],
        wall_us: Callable[[], int],
        chance: random.Random,
    ) -> None:
        self._config = config
        self._clock_us = clock_us
        self._wall_us = wall_us
        self._checkpoints = Checkpoints.open(config.state)
        try:
            self._dead = DeadLetters(config.state)
            self._senders = Senders(config.sending_threads)
            self._carriers = [self._make(flow, chance) for flow in config.flows]
            self._checkpoints.commit(wall_us())
            self._metrics = Metrics(config)
        except BaseException:
            self._checkpoints.close()
            raise
        now_us = clock_us()
        self._save_us = now_us + _SAVE_US
        self._forget_us = now_us + _FORGET_US
        self._metrics_us = now_us + config.metrics_us
        self._turn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Save the positions and give everything free; what is under way is sent again later."""
        try:
            self._save()
        finally:
            self._senders.close()
            self._metrics.close()
            self._dead.close()
            for carrier in self._carriers:
                carrier.close()
            self._checkpoints.close()

    def step(self) -> bool:
        """Do what is due, in little pieces; True if there was anything to do."""
        is_busy = False
        share = MEMORY // len(self._carriers)
        self._turn += 1
        for number in range(len(self._carriers)):
            carrier = self._carriers[(self._turn + number) % len(self._carriers)]
            now_us = self._clock_us()
            is_busy |= carrier.settle(now_us)
            if carrier.held < share:
                is_busy |= carrier.poll(now_us, self._clock_us)
            if carrier.follower.has_new:
                self._save()
        self._look_after()
        return is_busy

    def drain(self) -> bool:
        """Send what was read, read nothing more; True while something is left."""
        for carrier in self._carriers:
            carrier.drain(self._clock_us())
        self._look_after()
        return any(carrier.held for carrier in self._carriers)

    @property
    def pause(self) -> float:
        """Seconds until there may be something to do."""
        if any(carrier.shipper.is_waiting_for_answers for carrier in self._carriers):
            return _ANSWER_SECONDS
        now_us = self._clock_us()
        wakes_us = min(carrier.wakes_us for carrier in self._carriers)
        return min(_IDLE_SECONDS, max(_ANSWER_SECONDS, (wakes_us - now_us) / 1e6))

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong at present, in one line each."""
        parts = (self._checkpoints, self._dead, self._metrics)
        found = [part.problem for part in parts if part.problem]
        return (*found, *(one for carrier in self._carriers for one in carrier.problems))

    def progress(self, *, is_over: bool = False) -> Progress:
        """Say how far it is."""
        now_us = self._clock_us()
        parts = (self._checkpoints, self._dead, self._metrics)
        return Progress(
            tuple(carrier.progress(now_us) for carrier in self._carriers),
            tuple(part.problem for part in parts if part.problem),
            is_over,
            not self._checkpoints.is_clean,
        )

    def _make(self, flow: Flow, chance: random.Random) -> Carrier:
        """Take a flow up where it was left, or where it begins."""
        saved = self._checkpoints.load(flow.id)
        for pattern in flow.patterns:
            if pattern in saved.skips:
                continue
            old = read_old(self._config.old_checkpoints, flow.patterns, flow.stream)
            try:
                first = begin(pattern, at_end=flow.starts_at_end, offsets=old)
            except (ConfigError, StreamError):
                first = Beginning()  # no folder yet: what will be in it is new
            saved.positions[pattern] = first.positions
            saved.skips[pattern] = first.skips
            self._checkpoints.begin(flow.id, pattern, first.positions, first.skips)
        return Carrier(
            flow, self._config, saved, self._senders, self._dead, wall=self._wall, chance=chance
        )

    def _wall(self) -> str:
        return datetime.fromtimestamp(self._wall_us() / 1e6, UTC).isoformat(" ", "seconds")

    def _look_after(self) -> None:
        """Save positions and write metrics when it is time."""
        now_us = self._clock_us()
        if now_us >= self._save_us:
            self._save()
            # On a slow disk, saving may cost a fifth of the time.
            cost_us = self._clock_us() - now_us
            self._save_us = now_us + max(_SAVE_US, 5 * cost_us)
        if now_us >= self._forget_us:
            self._forget_us = now_us + _FORGET_US
            for carrier in self._carriers:
                self._checkpoints.drop(carrier.flow.id, carrier.known())
        if now_us >= self._metrics_us:
            self._metrics_us = now_us + self._config.metrics_us
            self._metrics.write(self.progress().flows, self._wall_us())
        elif self._metrics.is_asked:
            self._metrics.show(self.progress().flows)

    def _save(self) -> None:
        for carrier in self._carriers:
            for (pattern, name), position in carrier.follower.take_positions().items():
                self._checkpoints.put((carrier.flow.id, pattern, name), position)
        if self._dead.sync():  # a line is set aside for certain before it counts as done
            self._checkpoints.commit(self._wall_us())


def run(
    config: AgentConfig,
    *,
    clock_us: Callable[[], int],
    wall_us: Callable[[], int],
    sleep: Callable[[float], None],
    should_stop: Callable[[], bool],
    on_progress: Callable[[Progress], None],
    chance: random.Random,
) -> Progress:
    """Follow files and ship their lines until told to stop; then send what was read, and save.

    Args:
        config: from agent.json.
        clock_us: returns microseconds of a clock that never steps back.
        wall_us: returns the time of day, microseconds since 1970 UTC.
        sleep: waits so many seconds, or less.
        should_stop: asked after each step.
        on_progress: told every `config.report_us`, and at the end.
        chance: for keys and pauses.

    Returns:
        The last progress.

    Raises:
        ConfigError, StateError: as `Agent`.
    """
    with Agent(config, clock_us=clock_us, wall_us=wall_us, chance=chance) as agent:
        told_us = looked_us = clock_us()
        known: tuple[str, ...] = ()
        while not should_stop():
            if not agent.step():
                sleep(agent.pause)
            now_us = clock_us()
            is_due = config.report_us and now_us - told_us >= config.report_us
            if is_due or now_us - looked_us >= _LOOK_US:
                looked_us = now_us
                problems = agent.problems
                if is_due or problems != known:  # what goes wrong is told at once, and its end
                    told_us, known = now_us, problems
                    on_progress(agent.progress())
        end_us = clock_us() + config.shutdown_us
        while agent.drain() and clock_us() < end_us:
            sleep(_ANSWER_SECONDS)
        last = agent.progress(is_over=True)
        on_progress(last)
    return last


def follow(config: AgentConfig, say: Callable[[str], None]) -> Progress:
    """Run the agent on the real clock until Ctrl-C or SIGTERM; a second one ends it at once.

    Args:
        config: from agent.json.
        say: told a line for each flow now and then and at the end, and what goes wrong at once.

    Raises:
        ConfigError, StateError: as `Agent`.
    """
    told: list[tuple[Progress, float]] = []

    def tell(progress: Progress) -> None:
        now = time.monotonic()
        earlier, then = told[-1] if told else (None, now)
        for line in progress.describe(earlier, now - then):
            say(line)
        told[:] = [(progress, now)]

    with until_ended() as stop:

        def sleep(seconds: float) -> None:
            if stop.is_set():
                time.sleep(seconds)
            else:
                stop.wait(seconds)

        return run(
            config,
            clock_us=lambda: time.monotonic_ns() // 1000,
            wall_us=lambda: time.time_ns() // 1000,
            sleep=sleep,
            should_stop=stop.is_set,
            on_progress=tell,
            chance=random.SystemRandom(),
        )
