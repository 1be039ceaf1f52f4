"""From alerts to notifications: each once, as far as that can be known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from oddlot.aws.alerts import Alert
from oddlot.aws.calls import name_error, refusals
from oddlot.aws.dead_letters import DeadLetters
from oddlot.aws.journal import Journal
from oddlot.aws.seen import Seen
from oddlot.aws.topics import Publisher

_AT_A_TIME = 2000  # alerts between two looks at the clock
_MOST_REMEMBERED = 50_000

# What this process has published; it serves many invocations, one after the other.
_published: dict[str, None] = {}


class Waiting(NamedTuple):
    """An alert to publish.

    Attributes:
        alert: it.
        place: where it came from, for the log.
    """

    alert: Alert
    place: Mapping[str, object]


class Delivery:
    """Publishes alerts, and remembers that it did.

    Args:
        publisher: to the topics.
        seen: what every invocation remembers; None where only this process does.
        dead_letters: for alerts that SNS will never take.
        journal: log and counts.
        has_time: tells whether there is time for another call.
    """

    def __init__(
        self,
        publisher: Publisher,
        seen: Seen | None,
        dead_letters: DeadLetters,
        journal: Journal,
        has_time: Callable[[], bool],
    ) -> None:
        self._publisher = publisher
        self._seen = seen
        self._dead_letters = dead_letters
        self._journal = journal
        self._has_time = has_time

    def deliver(self, waiting: Sequence[Waiting]) -> set[str]:
        """Publish alerts; returns the ids of those that are to be tried again."""
        failed: set[str] = set()
        for begin in range(0, len(waiting), _AT_A_TIME):
            piece = waiting[begin : begin + _AT_A_TIME]
            self._journal.counts["Alerts"] += len(piece)
            if self._has_time():
                failed |= self._deliver_piece(piece)
            else:
                failed |= self._fail({one.alert.id for one in piece}, "no time is left")
        return failed

    def _deliver_piece(self, piece: Sequence[Waiting]) -> set[str]:
        fresh: dict[str, Waiting] = {}
        for one in piece:
            if one.alert.id not in _published:
                fresh.setdefault(one.alert.id, one)
        failed: set[str] = set()
        if self._seen and fresh:
            try:
                states = self._seen.claim(fresh)
            except refusals() as error:
                return self._fail(set(fresh), f"seen: {name_error(error)}")
            busy = {name for name, state in states.items() if state == "busy"}
            failed |= self._fail(busy, "another invocation is at it")
            for name, state in states.items():
                if state == "done":
                    _remember(name)
                if state != "mine":
                    del fresh[name]
        self._journal.counts["Repeated"] += len(piece) - len(fresh) - len(failed)
        chosen = list(fresh.values())
        outcomes = self._publisher.publish([one.alert for one in chosen])
        done: list[str] = []
        problems: dict[str, set[str]] = {}
        for one, outcome in zip(chosen, outcomes, strict=True):
            is_done = outcome.is_done
            if is_done and outcome.problem:
                is_done = self._dead_letters.send(
                    f"SNS refuses the alert: {outcome.problem}",
                    one.place,
                    json.dumps(one.alert.row).encode(),
                )
            elif is_done:
                self._journal.counts["Published"] += 1
            if is_done:
                _remember(one.alert.id)
                done.append(one.alert.id)
            else:
                problems.setdefault(outcome.problem, set()).add(one.alert.id)
        for problem, names in problems.items():
            failed |= self._fail(names, f"SNS: {problem}")
        if self._seen and chosen:
            try:
                self._seen.mark(done, [one.alert.id for one in chosen if one.alert.id in failed])
            except refusals() as error:
                # They are out. Once the claims have run out they would go out again.
                self._journal.say(
                    "WARN", "not marked as published", problem=name_error(error), alerts=len(done)
                )
        return failed

    def _fail(self, names: set[str], problem: str) -> set[str]:
        if names:
            self._journal.counts["Failed"] += len(names)
            self._journal.say("ERROR", "not published", problem=problem, alerts=len(names))
        return names


def _remember(name: str) -> None:
    _published[name] = None
    while len(_published) > _MOST_REMEMBERED:
        del _published[next(iter(_published))]


def forget() -> None:
    """Forget what this process has published, as a new one would."""
    _published.clear()
