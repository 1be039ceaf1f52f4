"""Watermark, order and lateness: arrived lines become released lines in event-time order."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np

from oddlot.decode.scan import PADDING
from oddlot.engine.compiled import compiled
from oddlot.schema import LINE, TEXTS, Bytes, Lines

NEVER = np.int64(-(2**62))  # before any time
_ORDINARY, _AHEAD, _ROOM = 0, 1, 2
_ON_TIME, _LATE, _DUPLICATE = 0, 1, 2
_COMPANY = 3  # lines in a row that must agree before the stream jumps ahead
_MOST_WAITING = 10_000  # lines ahead of the stream that are kept; more are rejects
_SEEN = np.dtype([("event", "<u8"), ("time_us", "<i8")])


class Released(msgspec.Struct, frozen=True):
    """Lines that are final: nothing older can come any more.

    Attributes:
        lines: a batch with the lines in it.
        order: shape (released,), int64, their places in `lines`, in event-time order; lines
            with equal times are in the order of their sources' names and their places there.
    """

    lines: Lines
    order: Any


@compiled
def _is_duplicate(seen, used, event, time_us, oldest):
    """Look an event id up among those since `oldest`; note it where it is new."""
    mask = np.int64(len(seen) - 1)
    slot = np.int64(event >> np.uint64(1)) & mask
    while seen[slot].event != np.uint64(0):
        if seen[slot].event == event:
            if seen[slot].time_us >= oldest:
                return True, used
            seen[slot].time_us = time_us
            return False, used
        slot = (slot + 1) & mask
    seen[slot].event = event
    seen[slot].time_us = time_us
    return False, used + 1


@compiled
def _admit(
    line, first, base, pending, count, newest, floor_us, lateness_us, skew_us,
    seen, used, horizon_us, fate,
):  # fmt: skip
    """Put lines from `first` on among the pending ones, until one needs a closer look.

    Returns:
        Where it stopped and why, and the new count, newest time and number of ids seen; and
        whether the pending lines are still in order.
    """
    is_sorted = True
    for i in range(first, len(line)):
        row = line[i]
        time_us = row.time_us
        if time_us > newest + skew_us:
            return i, _AHEAD, count, newest, used, is_sorted
        if row.event != np.uint64(0):
            if 2 * (used + 1) > len(seen):
                return i, _ROOM, count, newest, used, is_sorted
            again, used = _is_duplicate(seen, used, row.event, time_us, newest - horizon_us)
            if again:
                fate[i] = _DUPLICATE
                continue
        if time_us < newest - lateness_us or time_us < floor_us:
            fate[i] = _LATE
            continue
        if count > 0 and time_us < pending[count - 1].time_us:
            is_sorted = False
        pending[count] = row
        pending[count].text += base
        count += 1
        if time_us > newest:
            newest = time_us
    return len(line), _ORDINARY, count, newest, used, is_sorted


@compiled
def _refill(seen, keep):
    used = 0
    for i in range(len(keep)):
        _, used = _is_duplicate(seen, used, keep[i].event, keep[i].time_us, NEVER)
    return used


@compiled
def _copy_texts(source, starts, sizes, ends, at, text):
    """Copy the text of each line to where it ends in `text`; lines begin at `at` in sizes."""
    for i in range(len(starts)):
        to = ends[at + i] - sizes[at + i]
        for j in range(sizes[at + i]):
            text[to + j] = source[starts[i] + j]


@compiled
def _count_before(line, first, last, time_us):
    """Return where the lines, sorted by time, reach `time_us`."""
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if line[middle].time_us < time_us:
            low = middle + 1
        else:
            high = middle
    return low


class EventTime:
    """The pending lines between arrival and release.

    Attributes:
        newest_us: the newest event time that counts; NEVER before the first line.
        late, duplicate: how many lines came too late, or again, by source number.
        source_names: names of the sources by number; set by the engine.
    """

    def __init__(self, lateness_us: int, max_skew_us: int, horizon_us: int) -> None:
        """Start with nothing pending.

        Args:
            lateness_us: microseconds that a line may arrive after a newer one; >= 0.
            max_skew_us: how far ahead of the stream a line may be before it waits for company.
            horizon_us: how long an event id is remembered, in event time.
        """
        self.lateness_us = lateness_us
        self.max_skew_us = max_skew_us
        self.horizon_us = max(horizon_us, lateness_us)
        self.newest_us = int(NEVER)
        self._floor_us = int(NEVER)  # what is older was released by a flush
        self.late: Counter[int] = Counter()
        self.duplicate: Counter[int] = Counter()
        self._line = np.empty(1 << 14, LINE)
        self._first = 0
        self._last = 0
        self._text: Bytes = np.zeros(1 << 20, np.uint8)
        self._end = 0
        self.source_names: list[str] = []
        self._seen = np.zeros(1 << 10, _SEEN)
        self._used = 0
        self._ahead: list[Lines] = []  # lines ahead of the stream, one a batch, as they came
        self._run = 0  # how many of them came since the last ordinary line

    @property
    def watermark_us(self) -> int:
        """Lines older than this are final."""
        return self.newest_us - self.lateness_us

    @property
    def pending(self) -> int:
        """How many lines wait for the watermark, or for company."""
        return self._last - self._first + len(self._ahead)

    def admit(self, lines: Lines) -> tuple[list[Lines], Any]:
        """Take lines in the order of arrival.

        Returns:
            The lines that came too late, and the places in `lines` of those that are ahead of
            the stream and for which there is no room.
        """
        total = len(lines)
        fate = np.zeros(total, np.uint8)
        too_late: list[Lines] = []
        no_room: list[int] = []
        at = 0
        while at < total:
            base = self._make_room(total - at, lines.text)
            at = self._admit_from(lines, at, base, fate)
            if at < total and not self._meet_ahead(lines, at, too_late):
                no_room.append(at)
            at += 1
        late = np.flatnonzero(fate == _LATE)
        if len(late):
            _count(self.late, lines.line["source"][late])
            too_late.append(pack([Lines(lines.line[late], lines.text)]))
        _count(self.duplicate, lines.line["source"][fate == _DUPLICATE])
        return too_late, no_room

    def _admit_from(self, lines: Lines, at: int, base: int, fate: Any) -> int:
        while True:
            before = at
            at, why, last, newest, self._used, is_sorted = _admit(
                lines.line, at, base, self._line, self._last, self.newest_us, self._floor_us,
                self.lateness_us, self.max_skew_us, self._seen, self._used, self.horizon_us, fate,
            )  # fmt: skip
            self.newest_us = int(newest)
            if at > before:
                self._run = 0
            if not is_sorted:
                times = self._line["time_us"][self._first : last]
                self._line[self._first : last] = self._line[self._first : last][
                    np.argsort(times, kind="stable")
                ]
            self._last = last
            if why != _ROOM:
                return int(at)
            self._forget()

    def _meet_ahead(self, lines: Lines, at: int, too_late: list[Lines]) -> bool:
        """Decide about a line that is ahead of the stream; return False if it is turned away."""
        if len(self._ahead) >= _MOST_WAITING:
            return False
        self._ahead.append(pack([Lines(lines.line[at : at + 1], lines.text)]))
        self._run += 1
        times = sorted(int(one.line["time_us"][0]) for one in self._ahead[-self._run :])
        for i in range(len(times) - _COMPANY + 1):
            if times[i + _COMPANY - 1] - times[i] <= self.max_skew_us:
                too_late += self._jump(times[i])
                break
        return True

    def _jump(self, time_us: int) -> list[Lines]:
        """Let the stream move on to `time_us`, and admit what waited; return what is too late."""
        waiting, self._ahead = self._ahead, []
        run_from = len(waiting) - self._run
        run = 0
        too_late: list[Lines] = []
        self.newest_us = max(self.newest_us, time_us)
        for i, one in enumerate(waiting):
            if int(one.line["time_us"][0]) > self.newest_us + self.max_skew_us:
                self._ahead.append(one)
                run += i >= run_from
            else:
                late, _ = self.admit(one)
                too_late += late
        self._run = run
        return too_late

    def release(self) -> Released:
        """Release the lines that the watermark has passed, in event-time order."""
        return self._release_before(max(self.watermark_us, self._floor_us))

    def catch_up(self) -> list[Lines]:
        """Admit lines that were ahead of the stream and are not any more.

        Returns:
            Those that are too late by now.
        """
        limit = self.newest_us + self.max_skew_us
        if any(int(one.line["time_us"][0]) <= limit for one in self._ahead):
            return self._jump(self.newest_us)
        return []

    def flush(self) -> tuple[Released, list[Lines]]:
        """Release all pending lines: the source has ended, or has been idle for long.

        Lines ahead of the stream that nothing came after are taken as true.

        Returns:
            What is released, and the lines that are too late.
        """
        too_late: list[Lines] = []
        while self._run:
            run = self._ahead[-self._run :]
            too_late += self._jump(min(int(one.line["time_us"][0]) for one in run))
        self._floor_us = self.newest_us + 1
        return self._release_before(self._floor_us), too_late

    def let_go(self) -> list[Lines]:
        """Give up the lines that are ahead of the stream and never found company."""
        waiting, self._ahead, self._run = self._ahead, [], 0
        return waiting

    def _release_before(self, time_us: int) -> Released:
        first = self._first
        last = int(_count_before(self._line, first, self._last, time_us))
        self._first = last
        order = np.arange(first, last)
        source = self._line["source"][first:last]
        if len(source) and source[0] != source[-1] or (source != source[:1]).any():
            line = self._line[first:last]
            order = first + np.lexsort((line["position"], self._rank(source), line["time_us"]))
        return Released(Lines(self._line, self._text), order)

    def _rank(self, source: Any) -> Any:
        """Rank sources by name, which does not depend on which was seen first."""
        ranks = np.argsort(np.argsort(np.array(self.source_names)))
        return ranks[source]

    def _make_room(self, count: int, text: Bytes) -> int:
        """Make room for lines and append their texts; return where the texts begin."""
        kept = self._last - self._first
        size = len(text)
        if self._last + count > len(self._line):
            room = len(self._line)
            while room < 2 * (kept + count):
                room *= 2
            line = np.empty(room, LINE) if room > len(self._line) else self._line
            line[:kept] = self._line[self._first : self._last].copy()
            self._line, self._first, self._last = line, 0, kept
        if self._end + size > len(self._text):
            start = self._end
            if kept:
                start = int(self._line["text"][self._first : self._last].min())
            used = self._end - start
            room = len(self._text)
            while room < 2 * (used + size):
                room *= 2
            heap = np.zeros(room, np.uint8) if room > len(self._text) else self._text
            heap[:used] = self._text[start : self._end].copy()
            self._text, self._end = heap, used
            self._line["text"][self._first : self._last] -= start
        base = self._end
        self._text[base : base + size] = text
        # The next texts may begin where this batch's padding is.
        self._end = base + max(0, size - PADDING)
        return base

    def _forget(self) -> None:
        """Drop event ids that are older than the horizon, and make room for more."""
        recent = self._seen["time_us"] >= self.newest_us - self.horizon_us
        self._remember(self._seen[(self._seen["event"] != 0) & recent])

    def _remember(self, keep: Any) -> None:
        room = 1 << 10
        while room < 4 * (len(keep) + 1):
            room *= 2
        self._seen = np.zeros(room, _SEEN)
        self._used = int(_refill(self._seen, keep))

    def save(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a checkpoint needs: numbers, and arrays."""
        pending = Lines(self._line[self._first : self._last], self._text)
        packed = pack([pending, *self._ahead])
        numbers = {
            "newest_us": self.newest_us,
            "floor_us": self._floor_us,
            "late": dict(self.late),
            "duplicate": dict(self.duplicate),
            "ahead": len(self._ahead),
            "run": self._run,
        }
        seen = self._seen[self._seen["event"] != 0]
        return numbers, {"pending": packed.line, "pending_text": packed.text, "seen": seen}

    def restore(self, numbers: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Take over what `save` gave."""
        self.newest_us, self._floor_us = numbers["newest_us"], numbers["floor_us"]
        self.late = Counter({int(k): n for k, n in numbers["late"].items()})
        self.duplicate = Counter({int(k): n for k, n in numbers["duplicate"].items()})
        line, text = arrays["pending"], arrays["pending_text"]
        pending = len(line) - numbers["ahead"]
        base = self._make_room(len(line), text)
        self._line[:pending] = line[:pending]
        self._line["text"][:pending] += base
        self._last = pending
        self._ahead = [
            pack([Lines(line[i : i + 1], text)]) for i in range(pending, len(line))
        ]
        self._run = numbers["run"]
        self._remember(arrays["seen"])


def _count(counter: Counter[int], sources: Any) -> None:
    if len(sources):
        numbers, counts = np.unique(sources, return_counts=True)
        counter.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))


def pack(batches: list[Lines]) -> Lines:
    """Copy lines, and only the texts that they use, into one batch."""
    line = np.concatenate([batch.line for batch in batches])
    sizes = np.zeros(len(line), np.int64)
    for name in TEXTS:
        sizes = np.maximum(sizes, line[f"{name}_at"].astype(np.int64) + line[f"{name}_size"])
    ends = np.cumsum(sizes)
    text = np.zeros((int(ends[-1]) if len(ends) else 0) + PADDING, np.uint8)
    at = 0
    for batch in batches:
        _copy_texts(batch.text, batch.line["text"].copy(), sizes, ends, at, text)
        at += len(batch)
    line["text"] = ends - sizes
    return Lines(line, text)
