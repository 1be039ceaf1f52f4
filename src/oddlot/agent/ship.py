"""Records of one flow on their way: requests filled, failures sent again in order, in bounds."""

from __future__ import annotations

import queue
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Protocol

from oddlot.agent.packing import Entry, find_lane, random_key
from oddlot.agent.sending import Answer, Senders

_REQUESTS = 4  # of a flow at the same time: more would only mix up what has no strict order
_LOOKED_AT = 100  # entries of a lane that are looked at for one whose key is free
_AROUND = 256  # bytes of memory that an entry takes beside its data
_FLYING = 12 << 20  # bytes in requests at the same time, at most


class Destination(Protocol):
    """Where entries are put."""

    def put(self, entries: list[Entry]) -> Answer:
        """Send entries in one request."""
        ...


class _Lane:
    """What goes to one part of the hash space."""

    __slots__ = ("failures", "flying", "queue", "ready_us")

    def __init__(self) -> None:
        self.queue: deque[Entry] = deque()
        self.failures = 0  # in a row
        self.ready_us = 0  # not to be tried before
        self.flying = 0  # entries in requests


class Shipper:
    """Sends entries until each is taken, and says so.

    Of what has an order, a lane has one request under way at a time and a request one entry of
    each key, so that no failure can turn two of them round. A lane that fails waits longer each
    time, by chance, and holds up no other. A request that fails as a whole holds up the flow.

    Args:
        destination: the stream.
        senders: threads, shared by all flows.
        records: entries in a request, at most; so many are sent without waiting.
        size: bytes in a request, likewise.
        age_us: how long an entry waits for company.
        retry_us: the first pause after a failure, and the longest.
        keeps_order: whether entries with one key must arrive in order.
        lanes: 1 for Firehose, which has no keys.
        on_done: told of entries that were taken.
        on_refused: told of an entry that can never be taken, and why.
        chance: for keys and pauses.

    Attributes:
        counts: what happened.
        problem: why nothing is taken at present; "" if nothing is wrong.
        held: bytes of memory of what was offered and not taken yet.
    """

    def __init__(
        self,
        destination: Destination,
        senders: Senders,
        *,
        records: int,
        size: int,
        age_us: int,
        retry_us: tuple[int, int],
        keeps_order: bool,
        lanes: int,
        on_done: Callable[[Entry], None],
        on_refused: Callable[[Entry, str], None],
        chance: random.Random,
    ) -> None:
        self.counts = Counter[str](requests=0, records=0, bytes=0, lines=0)
        self.problem = ""
        self.held = 0
        self._destination = destination
        self._senders = senders
        self._records = records
        self._size = size
        self._age_us = age_us
        self._retry_us = retry_us
        self._keeps_order = keeps_order
        self._lanes = [_Lane() for _ in range(lanes)]
        self._on_done = on_done
        self._on_refused = on_refused
        self._chance = chance
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._now_us = 0
        self._turn = 0
        self._failures = 0  # requests in a row
        self._ready_us = 0
        self._flying = 0  # bytes in requests
        self._requests = 0  # under way

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self.held

    @property
    def is_waiting_for_answers(self) -> bool:
        """Whether a request is under way."""
        return self._requests > 0

    def choose(self) -> tuple[str, int]:
        """Return a random key, of a lane that is not held up if there is one, and its lane."""
        key, lane = "", 0
        for _ in range(8):
            key = random_key(self._chance)
            lane = find_lane(key)
            if self._lanes[lane].ready_us <= self._now_us:
                break
        return key, lane

    def offer(self, entries: Iterable[Entry]) -> None:
        """Take entries to be sent, in order."""
        for entry in entries:
            self._lanes[entry.lane].queue.append(entry)
            self.held += entry.size + _AROUND

    def send(self, now_us: int, *, is_hurried: bool = False) -> int:
        """Send what is due, as far as threads are free; returns how many requests.

        Args:
            now_us: of a clock that never steps back.
            is_hurried: whether to wait for no company.
        """
        self._now_us = now_us
        sent = 0
        while self._senders.is_free and self._flying < _FLYING and now_us >= self._ready_us:
            # One at a time where something is wrong, until one is answered well.
            if self._requests >= (1 if self._failures else _REQUESTS):
                break
            entries = self._gather(now_us, is_hurried=is_hurried)
            if not entries:
                break
            self._requests += 1
            self.counts["requests"] += 1
            self._flying += sum(entry.size for entry in entries)
            self._senders.send(lambda entries=entries: self._put(entries))  # type: ignore[misc]
            sent += 1
        return sent

    def settle(self, now_us: int) -> int:
        """Take in the answers that have come; returns how many."""
        self._now_us = now_us
        count = 0
        while True:
            try:
                answer = self._answers.get_nowait()
            except queue.Empty:
                return count
            count += 1
            self._requests -= 1
            self._flying -= sum(entry.size for entry in answer.entries)
            for entry in answer.entries:
                self._lanes[entry.lane].flying -= 1
            if answer.error is None:
                self._take_codes(answer, now_us)
            else:
                self._take_failure(answer, now_us)

    def _put(self, entries: list[Entry]) -> None:
        try:
            answer = self._destination.put(entries)
        except Exception as error:  # a bug must end the agent, not only a thread
            self._answers.put(_Bug(entries, bug=error))
            raise
        self._answers.put(answer)

    def _gather(self, now_us: int, *, is_hurried: bool) -> list[Entry]:
        """Return the entries of the next request, in order; none if it can wait."""
        ready = [lane for lane in self._lanes if self._is_ready(lane, now_us)]
        if not ready:
            return []
        count = size = 0
        is_due = is_hurried
        for lane in ready:
            count += len(lane.queue)
            first = lane.queue[0]
            is_due = is_due or lane.failures > 0 or first.born_us + self._age_us <= now_us
            size += first.size * len(lane.queue) if size < self._size else 0
        if not is_due and count < self._records and size < self._size:
            return []
        self._turn += 1
        start = self._turn % len(ready)
        taken: list[Entry] = []
        left = self._size
        for lane in ready[start:] + ready[:start]:
            left = self._take(lane, taken, left)
            if len(taken) >= self._records or left <= 0:
                break
        for entry in taken:
            self._lanes[entry.lane].flying += 1
        return taken

    def _is_ready(self, lane: _Lane, now_us: int) -> bool:
        is_free = not (lane.flying and self._keeps_order)
        return bool(lane.queue) and lane.ready_us <= now_us and is_free

    def _take(self, lane: _Lane, taken: list[Entry], left: int) -> int:
        """Move entries of a lane into a request; returns the room that is left."""
        passed: list[Entry] = []
        keys: set[str] = set()
        is_packed = False
        while lane.queue and len(taken) < self._records and len(passed) < _LOOKED_AT:
            entry = lane.queue[0]
            if entry.is_suspect and taken:
                left = 0
                break
            if self._keeps_order and (is_packed or entry.key in keys):
                passed.append(lane.queue.popleft())
                continue
            if entry.size > left and taken:
                left = 0
                break
            taken.append(lane.queue.popleft())
            left -= entry.size
            keys.add(entry.key)
            is_packed = bool(entry.hash_key)
            if entry.is_suspect or (is_packed and self._keeps_order):
                left = 0 if entry.is_suspect else left
                break
        lane.queue.extendleft(reversed(passed))
        return left

    def _take_codes(self, answer: Answer, now_us: int) -> None:
        """Take the taken ones off, put the others back."""
        self.problem = ""
        self._failures = 0
        failed: list[Entry] = []
        lanes: set[int] = set()
        for entry, code in zip(answer.entries, answer.codes, strict=True):
            if code:
                failed.append(entry)
                self.counts[f"failed_{code}"] += 1
                continue
            lanes.add(entry.lane)
            self._leave(entry)
        for number in lanes - {entry.lane for entry in failed}:
            self._lanes[number].failures = 0
        if len(failed) == len(answer.entries):
            self.problem = f"no record was taken: {answer.codes[0]}"
        self._put_back(failed, now_us)

    def _take_failure(self, answer: Answer, now_us: int) -> None:
        """Put everything back; wait with the whole flow."""
        if isinstance(answer, _Bug):
            raise answer.bug
        self.counts["failed_requests"] += 1
        self.counts["unanswered_requests"] += not answer.is_answered
        self.problem = str(answer.error)
        if answer.is_wrong and len(answer.entries) > 1:
            for entry in answer.entries:
                entry.is_suspect = True
        elif answer.is_wrong and self.counts["records"]:
            # Others were taken since, so it is this one.
            self._flag(answer.entries[0], str(answer.error))
            return
        for entry in reversed(answer.entries):
            self._lanes[entry.lane].queue.appendleft(entry)
        self._failures += 1
        self._ready_us = now_us + self._pause_us(self._failures)

    def _flag(self, entry: Entry, reason: str) -> None:
        """Give an entry up."""
        self.counts["refused"] += entry.lines
        self.held -= entry.size + _AROUND
        self._on_refused(entry, reason)

    def _leave(self, entry: Entry) -> None:
        """Take note that an entry was taken."""
        self.counts["records"] += 1
        self.counts["lines"] += entry.lines
        self.counts["bytes"] += entry.size
        self.held -= entry.size + _AROUND
        self._on_done(entry)

    def _put_back(self, entries: list[Entry], now_us: int) -> None:
        """Put entries that failed in front of their lanes again; these pause."""
        for number in {entry.lane for entry in entries}:
            lane = self._lanes[number]
            lane.failures += 1
            lane.ready_us = now_us + self._pause_us(lane.failures)
        for entry in reversed(entries):
            if entry.is_movable:
                entry.key, entry.lane = self.choose()
            self._lanes[entry.lane].queue.appendleft(entry)

    def _pause_us(self, failures: int) -> int:
        """Return a random pause, up to twice as long each time.

        Source:
            Brooker (2015), Exponential Backoff And Jitter, AWS Architecture Blog: "full jitter".
        """
        first, longest = self._retry_us
        return int(self._chance.uniform(0, min(longest, first << min(failures, 20))))


class _Bug(Answer, frozen=True):
    """A request that ended in an error of ours."""

    bug: Exception = RuntimeError()
