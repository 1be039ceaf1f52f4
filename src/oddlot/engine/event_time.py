"""Watermark, order and lateness: arrived lines become released lines in event-time order."""

from __future__ import annotations

import bisect
from collections import Counter
from typing import Any

import msgspec
import numpy as np

from oddlot.decode.scan import PADDING
from oddlot.engine import admission
from oddlot.engine.admission import NEVER, SEEN, pack
from oddlot.schema import LINE, Bytes, Lines

__all__ = ("NEVER", "EventTime", "Released", "pack")

_COMPANY = 3  # invoices in a row that must agree before the stream jumps ahead
_LONG_RUN = 1_000  # or so many lines in a row, of whatever invoice: no typing error is as long
_MOST_WAITING = 10_000  # lines ahead of the stream that are kept; for more, the oldest give way
_NO_TIME = 2**62  # after any time
_ANY_AGE = 2**61  # a lateness or skew that nothing exceeds


class Released(msgspec.Struct, frozen=True):
    """Lines that are final: nothing older can come any more.

    Attributes:
        lines: a batch with the lines in it.
        order: shape (released,), int64, their places in `lines`, in event-time order; lines
            with equal times are in the order of their sources' names and their places there.
    """

    lines: Lines
    order: Any


class EventTime:
    """The pending lines between arrival and release.

    A line further than `max_skew_us` ahead of the stream waits aside and moves nothing. The
    stream jumps ahead when such lines of three invoices in a row agree (one invoice with a
    mistyped date is no company to itself); a line that waits alone joins the others when the
    stream has reached its time.

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
        self.newest_us = NEVER
        self._floor_us = NEVER  # what is older was released by a flush
        self.late: Counter[int] = Counter()
        self.duplicate: Counter[int] = Counter()
        self._line = np.empty(1 << 14, LINE)
        self._first = 0
        self._last = 0
        self._is_sorted = True
        self._has_joined = False  # lines with equal times may not be in the order of arrival
        self._text: Bytes = np.zeros(1 << 20, np.uint8)
        self._end = 0
        self._base = -1  # where the texts of the batch begin that is being admitted
        self._due = 0  # and how many of its lines are still to come
        self.source_names: list[str] = []
        self._seen = np.zeros(1 << 10, SEEN)
        self._used = 0
        self._ahead: list[Lines] = []  # lines ahead of the stream, one a batch, as they came
        self._run: list[int] = []  # sorted times of those that came since the last ordinary line
        self._company: list[int] = []  # the same, one time for each invoice
        self._invoices: set[str] = set()
        self._next_us = _NO_TIME  # the earliest of those ahead

    @property
    def watermark_us(self) -> int:
        """Lines older than this are final."""
        return self.newest_us - self.lateness_us

    @property
    def pending(self) -> int:
        """How many lines wait for the watermark, or for company."""
        return self._last - self._first + len(self._ahead)

    def admit(self, lines: Lines) -> tuple[list[Lines], list[Lines]]:
        """Take lines in the order of arrival.

        Returns:
            The lines that came too late; and those that were ahead of the stream, never found
            company and had to give way to newer ones.
        """
        total = len(lines)
        fate = np.zeros(total, np.uint8)
        too_late: list[Lines] = []
        given_up: list[Lines] = []
        at, self._due = 0, total
        self._base = self._make_room(total, lines.text)
        while at < total:
            at, why = self._admit_from(
                lines, at, self._base, fate, self.lateness_us, self.max_skew_us
            )
            self._due = total - at
            if why == admission.REACHED:
                self._join_reached()
            elif why == admission.AHEAD:
                if len(self._ahead) >= _MOST_WAITING:
                    given_up.append(self._give_way())
                one = pack([Lines(lines.line[at : at + 1], lines.text)])
                too_late += self._meet_ahead(one)
                at += 1
        self._base, self._due = -1, 0
        late = np.flatnonzero(fate == admission.LATE)
        if len(late):
            _count(self.late, lines.line["source"][late])
            too_late.append(pack([Lines(lines.line[late], lines.text)]))
        _count(self.duplicate, lines.line["source"][fate == admission.DUPLICATE])
        return too_late, given_up

    def _admit_from(
        self, lines: Lines, at: int, base: int, fate: Any, lateness_us: int, skew_us: int
    ) -> tuple[int, int]:
        floor_us = self._floor_us if lateness_us != _ANY_AGE else NEVER
        while True:
            before = at
            at, why, last, newest, self._used, is_sorted = admission.admit(
                lines.line, at, base, self._line, self._last, self.newest_us, floor_us,
                lateness_us, skew_us, self._next_us, self._seen, self._used, self.horizon_us,
                fate,
            )  # fmt: skip
            self.newest_us, self._last = int(newest), int(last)
            self._is_sorted = self._is_sorted and bool(is_sorted)
            if at > before and self._run:
                self._run = []
                self._find_company()
            if why != admission.ROOM:
                return int(at), int(why)
            self._forget()

    def _admit_one(self, one: Lines, lateness_us: int) -> list[Lines]:
        """Admit a line that waited; return it if it is too late."""
        fate = np.zeros(1, np.uint8)
        base = self._make_room(1 + self._due, one.text)
        self._admit_from(one, 0, base, fate, lateness_us, _ANY_AGE)
        if fate[0] == admission.DUPLICATE:
            _count(self.duplicate, one.line["source"])
        if fate[0] != admission.LATE:
            return []
        _count(self.late, one.line["source"])
        return [one]

    def _meet_ahead(self, one: Lines) -> list[Lines]:
        """Keep a line that is ahead of the stream; return what is too late if that jumps."""
        time_us = _time_of(one)
        self._ahead.append(one)
        self._next_us = min(self._next_us, time_us)
        bisect.insort(self._run, time_us)
        is_counted = self._count_in(one)
        is_long = len(self._run) >= _LONG_RUN
        if not is_counted and not is_long:
            return []
        company = self._run if is_long else self._company
        place = bisect.bisect_left(company, time_us)
        for i in range(max(0, place - _COMPANY + 1), min(place + 1, len(company) - _COMPANY + 1)):
            last_us = company[i + _COMPANY - 1]
            if last_us - company[i] <= self.max_skew_us:
                # Other lines of these invoices may be a little older.
                first = bisect.bisect_left(self._run, last_us - self.max_skew_us)
                return self._jump(self._run[first])
        return []

    def _count_in(self, one: Lines) -> bool:
        """Count a line of the run as company, unless one of its invoice is there already."""
        invoice = one.read(0, "invoice")
        if invoice and invoice in self._invoices:
            return False
        self._invoices.add(invoice)
        bisect.insort(self._company, _time_of(one))
        return True

    def _find_company(self) -> None:
        self._company, self._invoices = [], set()
        for one in self._ahead[len(self._ahead) - len(self._run) :]:
            self._count_in(one)

    def _give_way(self) -> Lines:
        """Drop the line that has been ahead of the stream for longest."""
        if len(self._run) == len(self._ahead):
            self._run.remove(_time_of(self._ahead[0]))
        one = self._ahead.pop(0)
        self._find_company()
        self._find_next()
        return one

    def _jump(self, time_us: int) -> list[Lines]:
        """Let the stream move on to `time_us`, and admit the run; return what is too late.

        What is older than `time_us` is not late for that, except at the very beginning: a first
        line of 1970 says nothing of the shop.
        """
        start = len(self._ahead) - len(self._run)
        run, self._ahead = self._ahead[start:], self._ahead[:start]
        if self.newest_us == NEVER:
            self.newest_us = time_us
        self._next_us = _NO_TIME
        left: list[Lines] = []
        too_late: list[Lines] = []
        for one in run:
            if _time_of(one) > max(self.newest_us, time_us) + self.max_skew_us:
                left.append(one)
            else:
                too_late += self._admit_one(one, self.lateness_us)
        self.newest_us = max(self.newest_us, time_us)
        self._join_reached()
        self._ahead += left
        self._run = sorted(map(_time_of, left))
        self._find_company()
        self._find_next()
        return too_late

    def _join_reached(self) -> None:
        """Put the lines whose time the stream has reached among the pending ones.

        None of them is late: until now the stream was older than they are.
        """
        waiting, self._ahead = self._ahead, []
        self._next_us = _NO_TIME
        for one in waiting:
            if _time_of(one) > self.newest_us:
                self._ahead.append(one)
            else:
                self._admit_one(one, _ANY_AGE)
                self._is_sorted, self._has_joined = False, True
        self._find_next()

    def _find_next(self) -> None:
        self._next_us = min(map(_time_of, self._ahead), default=_NO_TIME)

    def release(self) -> Released:
        """Release the lines that the watermark has passed, in event-time order."""
        return self._release_before(max(self.watermark_us, self._floor_us))

    def flush(self) -> tuple[Released, list[Lines]]:
        """Release all pending lines: the source has ended, or has been idle for long.

        Lines ahead of the stream that nothing came after are taken as true.

        Returns:
            What is released, and the lines that are too late.
        """
        too_late: list[Lines] = []
        while self._run:
            too_late += self._jump(self._run[0])
        self._floor_us = self.newest_us + 1
        return self._release_before(self._floor_us), too_late

    def let_go(self) -> list[Lines]:
        """Give up the lines that are ahead of the stream and never found company."""
        waiting, self._ahead, self._run, self._next_us = self._ahead, [], [], _NO_TIME
        self._find_company()
        return waiting

    def _sort(self) -> None:
        if not self._is_sorted:
            line = self._line[self._first : self._last]
            if self._has_joined:
                order = np.lexsort((line["position"], line["time_us"]))
            else:
                order = np.argsort(line["time_us"], kind="stable")
            self._line[self._first : self._last] = line[order]
        self._is_sorted, self._has_joined = True, False

    def _release_before(self, time_us: int) -> Released:
        self._sort()
        first = self._first
        last = int(admission.count_before(self._line, first, self._last, time_us))
        self._first = last
        order = np.arange(first, last)
        source = self._line["source"][first:last]
        if (len(source) and source[0] != source[-1]) or (source != source[:1]).any():
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
            start = self._end if self._base < 0 else self._base
            if kept:
                start = min(start, int(self._line["text"][self._first : self._last].min()))
            used = self._end - start
            room = len(self._text)
            while room < 2 * (used + size):
                room *= 2
            heap = np.zeros(room, np.uint8) if room > len(self._text) else self._text
            heap[:used] = self._text[start : self._end].copy()
            self._text, self._end = heap, used
            self._line["text"][self._first : self._last] -= start
            self._base -= start if self._base >= 0 else 0
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
        self._seen = np.zeros(room, SEEN)
        self._used = int(admission.refill(self._seen, keep))

    def save(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a checkpoint needs: numbers, and arrays."""
        self._sort()
        pending = Lines(self._line[self._first : self._last], self._text)
        packed = pack([pending, *self._ahead])
        numbers = {
            "newest_us": self.newest_us,
            "floor_us": self._floor_us,
            "late": dict(self.late),
            "duplicate": dict(self.duplicate),
            "ahead": len(self._ahead),
            "run": len(self._run),
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
        self._ahead = [pack([Lines(line[i : i + 1], text)]) for i in range(pending, len(line))]
        self._run = sorted(map(_time_of, self._ahead[len(self._ahead) - numbers["run"] :]))
        self._find_company()
        self._find_next()
        self._remember(arrays["seen"])


def _time_of(one: Lines) -> int:
    return int(one.line["time_us"][0])


def _count(counter: Counter[int], sources: Any) -> None:
    if len(sources):
        numbers, counts = np.unique(sources, return_counts=True)
        counter.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
