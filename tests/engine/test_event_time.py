"""Lines come out once, in event-time order, whatever order and batches they came in."""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lines import (
    HORIZON,
    LATENESS,
    SKEW,
    Line,
    feed,
    make_lines,
    numbers,
    opened,
    released,
    texts_hold,
)
from oddlot.engine.event_time import EventTime

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"


class Twin:
    """Event time in plain Python: slow and obvious, one line after the other."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.newest = self.floor = -(2**62)
        self.pending: list[Line] = []
        self.ahead: list[Line] = []
        self.run = 0
        self.seen: dict[int, int] = {}
        self.late: list[int] = []
        self.duplicate: list[int] = []

    def admit(self, row: Line) -> None:
        if row.time_us <= self.newest + SKEW:
            self.run = 0
            self.take(row, self.newest - LATENESS)
            self.join()
            return
        self.ahead.append(row)
        self.run += 1
        times = sorted(one.time_us for one in self.ahead[-self.run :])
        for first, third in zip(times, times[2:], strict=False):
            if third - first <= SKEW:
                self.jump(first)
                break

    def take(self, row: Line, oldest: int) -> None:
        if row.event:
            before = self.seen.get(row.event)
            if before is not None and before >= self.newest - HORIZON:
                self.duplicate.append(row.number)
                return
            self.seen[row.event] = row.time_us
        if row.time_us < max(oldest, self.floor):
            self.late.append(row.number)
            return
        self.pending.append(row)
        self.newest = max(self.newest, row.time_us)

    def jump(self, time_us: int) -> None:
        start = len(self.ahead) - self.run
        run, self.ahead = self.ahead[start:], self.ahead[:start]
        if self.newest == -(2**62):
            self.newest = time_us
        left = []
        for row in run:
            if row.time_us > max(self.newest, time_us) + SKEW:
                left.append(row)
            else:
                self.take(row, self.newest - LATENESS)
        self.newest = max(self.newest, time_us)
        self.join()
        self.ahead += left
        self.run = len(left)

    def join(self) -> None:
        reached = [row for row in self.ahead if row.time_us <= self.newest]
        self.ahead = [row for row in self.ahead if row.time_us > self.newest]
        for row in reached:
            self.take(row, -(2**62))

    def release(self) -> list[int]:
        limit = max(self.newest - LATENESS, self.floor)
        final = [row for row in self.pending if row.time_us < limit]
        self.pending = [row for row in self.pending if row.time_us >= limit]
        final.sort(key=lambda row: (row.time_us, self.names[row.source], row.number))
        return [row.number for row in final]

    def flush(self) -> list[int]:
        while self.run:
            self.jump(min(row.time_us for row in self.ahead[-self.run :]))
        self.floor = self.newest + 1
        return self.release()


def reopened(time: EventTime) -> EventTime:
    saved, arrays = time.save()
    again = opened(tuple(time.source_names))
    again.restore(saved, {name: array.copy() for name, array in arrays.items()})
    return again


steps = st.one_of(
    st.integers(-12, 12),
    st.sampled_from([0, 0, 1, -LATENESS, -LATENESS - 1, SKEW, SKEW + 1, 3 * SKEW, -HORIZON, 1000]),
    st.sampled_from([10_000, -10_000]),
)
arrivals = st.lists(st.tuples(steps, st.booleans(), st.integers(0, 1), st.integers(0, 6)))


def lines_of(arrivals: list[tuple[int, bool, int, int]]) -> list[Line]:
    """Turn steps in time into lines; a step may move the stream on or be of that line alone."""
    now, rows = 1_000_000, []
    for number, (step, stays, source, event) in enumerate(arrivals):
        rows.append(Line(now + step, number, source, event))
        now += 0 if stays else step
    return rows


@settings(max_examples=30 if PLAIN else 150)
@given(arrivals, st.data())
def test_it_does_what_its_slow_twin_does(
    arrivals: list[tuple[int, bool, int, int]], data: st.DataObject
) -> None:
    rows = lines_of(arrivals)
    time, twin = opened(), Twin(["b", "a"])
    late: list[int] = []
    at = 0
    while at < len(rows):
        size = data.draw(st.integers(1, 8))
        batch = [row for row in rows[at : at + size] if row.source == rows[at].source]
        size = len(batch) if batch == rows[at : at + len(batch)] else 1
        out, too_late = feed(time, rows[at : at + size])
        late += too_late
        for row in rows[at : at + size]:
            twin.admit(row)
        assert out == twin.release()
        assert time.newest_us == twin.newest
        assert time.pending == len(twin.pending) + len(twin.ahead)
        at += size
        match data.draw(st.integers(0, 9)):
            case 0:
                time = reopened(time)
            case 1:
                last, too_late_batches = time.flush()
                got = [int(n) for n in last.lines.line["number"][last.order]]
                late += numbers(too_late_batches)
                assert got == twin.flush()
    last, too_late_batches = time.flush()
    assert [int(n) for n in last.lines.line["number"][last.order]] == twin.flush()
    late += numbers(too_late_batches)
    assert sorted(late) == sorted(twin.late)
    assert time.late == Counter(rows[number].source for number in twin.late)
    assert time.duplicate == Counter(rows[number].source for number in twin.duplicate)
    assert sorted(numbers(time.let_go())) == sorted(row.number for row in twin.ahead)
    assert time.pending == 0


@settings(max_examples=20 if PLAIN else 80)
@given(arrivals, st.data())
def test_any_cut_into_batches_and_any_restart_give_the_same(
    arrivals: list[tuple[int, bool, int, int]], data: st.DataObject
) -> None:
    rows = [row._replace(source=0) for row in lines_of(arrivals)]

    def outcome(cuts: list[int]) -> tuple[Any, ...]:
        time = opened()
        out: list[int] = []
        late: list[int] = []
        for first, last in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            more, too_late = feed(time, rows[first:last])
            out, late = out + more, late + too_late
            if cuts:
                time = reopened(time)
        final, too_late_batches = time.flush()
        out += [int(n) for n in final.lines.line["number"][final.order]]
        late += numbers(too_late_batches)
        return out, sorted(late), time.late, time.duplicate, numbers(time.let_go())

    cuts = sorted(data.draw(st.sets(st.integers(0, len(rows)), max_size=6)))
    assert outcome(cuts) == outcome([])


@settings(max_examples=20 if PLAIN else 80)
@given(st.lists(st.integers(0, 3), max_size=60), st.randoms(use_true_random=False))
def test_the_order_of_arrival_within_the_lateness_does_not_matter(
    gaps: list[int], chance: random.Random
) -> None:
    now, rows = 1_000_000, []
    for number, gap in enumerate(gaps):
        now += gap
        rows.append(Line(now, number))
    shuffled = sorted(rows, key=lambda row: row.time_us + chance.randint(0, LATENESS))
    time = opened()
    out, late = feed(time, shuffled)
    assert not late
    out += released(time, flush=True)
    times = [rows[number].time_us for number in out]
    assert times == [row.time_us for row in rows]
    assert sorted(out) == list(range(len(rows)))


# The edges of lateness


def test_a_line_as_old_as_the_watermark_is_on_time_and_an_older_one_is_late() -> None:
    time = opened()
    feed(time, [Line(1000, 0), Line(1001, 1), Line(1010, 2)])
    out, late = feed(time, [Line(1005, 3), Line(1004, 4)])
    assert late == [4]
    assert out == []
    assert released(time, flush=True) == [3, 2]
    assert time.late == {0: 1}


def test_only_what_is_older_than_the_watermark_is_released() -> None:
    time = opened()
    out, _ = feed(time, [Line(1000, 0), Line(1001, 1), Line(1005, 2), Line(1006, 3)])
    assert out == [0]
    assert time.watermark_us == 1001


def test_equal_times_come_by_the_sources_names_and_then_by_position() -> None:
    time = opened(("orders-2", "orders-1"))
    feed(time, [Line(1000, 5, 0), Line(1000, 6, 0)])
    feed(time, [Line(1000, 1, 1), Line(1000, 2, 1)])
    assert released(time, flush=True) == [1, 2, 5, 6]


def test_after_a_flush_older_lines_are_late_and_newer_ones_are_not() -> None:
    time = opened()
    feed(time, [Line(1000, 0), Line(1001, 1), Line(1002, 2)])
    assert released(time, flush=True) == [0, 1, 2]
    _, late = feed(time, [Line(1002, 3), Line(1003, 4)])
    assert late == [3]
    assert released(time, flush=True) == [4]


# Event ids


def test_an_event_id_is_taken_once_within_the_horizon_and_again_after_it() -> None:
    time = opened()
    feed(time, [Line(1000, 0, event=7), Line(1000, 1, event=8), Line(1001, 2)])
    feed(time, [Line(1001, 3, event=7), Line(1040, 4), Line(1049, 5, event=8)])
    assert time.duplicate == {0: 2}
    feed(time, [Line(1050, 6), Line(1050, 7, event=7)])
    assert time.duplicate == {0: 3}
    feed(time, [Line(1051, 8), Line(1051, 9, event=7)])
    assert time.duplicate == {0: 3}
    assert 9 in released(time, flush=True)


def test_event_ids_beyond_the_horizon_are_forgotten() -> None:
    time = opened()
    for first in range(0, 6_000 if PLAIN else 60_000, 500):
        time.admit(make_lines([Line(1000 + n // 10, n, event=2 * n + 1) for n in
                               range(first, first + 500)]))  # fmt: skip
        time.release()
    assert not time.duplicate
    assert len(time._seen) <= 4096


# Room


@pytest.mark.skipif(PLAIN, reason="plain loops are too slow for it")
def test_large_pending_sets_keep_their_lines_and_texts() -> None:
    chance = random.Random(5)
    time = EventTime(40_000, 10**9, 0)
    time.source_names = ["a"]
    rows = [Line(n, n) for n in range(100_000)]
    rows.sort(key=lambda row: row.time_us + chance.randint(0, 40_000))
    out: list[int] = []
    at = 0
    while at < len(rows):
        size = chance.choice([1, 10, 1000, 20_000])
        late, _ = time.admit(make_lines(rows[at : at + size]))
        assert not late
        one = time.release()
        assert texts_hold(one.lines, one.order[:: max(1, len(one.order) // 20)])
        out += [int(number) for number in one.lines.line["number"][one.order]]
        at += size
    last, _ = time.flush()
    assert texts_hold(last.lines, last.order[::1000])
    out += [int(number) for number in last.lines.line["number"][last.order]]
    assert out == list(range(100_000))
