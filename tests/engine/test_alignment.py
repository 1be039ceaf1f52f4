"""Lines of several partitions come out the same however unevenly the partitions are read."""

from __future__ import annotations

import csv
import os
import random
from functools import cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lines import LATENESS, SKEW, Line, make_lines, numbers, opened
from oddlot import config
from oddlot.alerts.make import alert_row
from oddlot.engine import checkpoint
from oddlot.engine.alignment import Alignment
from oddlot.engine.embedded import Engine, Outcome
from oddlot.engine.event_time import EventTime
from oddlot.simulate import Shop, simulate
from oddlot.stored import Saved

NAMES = ("b", "a", "c")  # not in the order of their numbers
NEVER = -(2**62)
MANY = settings(max_examples=40 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 200)

# A shop whose clock moves on, lines that are a little late, and the partition of each.
tame = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 2, 9]), st.integers(0, LATENESS), st.integers(0, 2)),
    min_size=1,
    max_size=60,
)
# Lines of any time, some far ahead, alone or in company.
wild = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 7, -3, SKEW + 1, SKEW + 3, 5 * SKEW, -2 * SKEW]),
        st.booleans(),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=40,
)


def tame_lines(drawn: list[tuple[int, int, int]]) -> list[Line]:
    now, rows = 1_000_000, []
    for number, (step, behind, source) in enumerate(drawn):
        now += step
        rows.append(Line(now - behind, number, source))
    return rows


def wild_lines(drawn: list[tuple[int, bool, int]]) -> list[Line]:
    now, rows = 1_000_000, []
    for number, (step, stays, source) in enumerate(drawn):
        rows.append(Line(now + step, number, source))
        now += 0 if stays else step
    return rows


class Step(NamedTuple):
    """What a reader does: takes so many lines of a partition, or stops and begins again."""

    source: int
    size: int
    restarts: bool


def draw_steps(rows: list[Line], data: st.DataObject) -> list[Step]:
    left = {source: sum(row.source == source for row in rows) for source in range(len(NAMES))}
    steps = []
    while any(left.values()):
        source = data.draw(st.sampled_from([one for one in left if left[one]]))
        count = data.draw(st.integers(1, left[source]))
        left[source] -= count
        steps.append(Step(source, count, data.draw(st.booleans())))
    return steps


class Reader:
    """Reads partitions unevenly into an alignment and event time behind it."""

    def __init__(self, rows: list[Line]) -> None:
        self.left = {
            source: [row for row in rows if row.source == source] for source in range(len(NAMES))
        }
        self.alignment = Alignment(SKEW)
        self.time: EventTime = opened(NAMES)
        self.handed: list[int] = []
        self.released: list[int] = []
        self.late: list[int] = []

    def live(self) -> set[str]:
        return {NAMES[source] for source, left in self.left.items() if left}

    def read(self, source: int, count: int) -> None:
        rows, self.left[source] = self.left[source][:count], self.left[source][count:]
        self.alignment.hold(NAMES[source], make_lines(rows))
        self.hand_on(self.live())

    def hand_on(self, live: set[str]) -> None:
        for lines in self.alignment.hand_on(live):
            self.handed += numbers([lines])
            late, _ = self.time.admit(lines)
            self.late += numbers(late)
            out = self.time.release()
            self.released += numbers([type(out.lines)(out.lines.line[out.order], out.lines.text)])

    def restart(self) -> None:
        values, arrays = self.alignment.save()
        saved = msgspec.json.decode(msgspec.json.encode(values))
        self.alignment = Alignment(SKEW)
        self.alignment.restore(saved, {name: array.copy() for name, array in arrays.items()})

    def finish(self) -> None:
        self.hand_on(set())
        out, late = self.time.flush()
        self.late += numbers(late)
        self.released += numbers([type(out.lines)(out.lines.line[out.order], out.lines.text)])


def read_all(rows: list[Line], steps: list[Step]) -> Reader:
    reader = Reader(rows)
    for step in steps:
        if step.restarts:
            reader.restart()
        reader.read(step.source, step.size)
    assert not reader.live()
    assert reader.alignment.held == 0
    reader.finish()
    return reader


@MANY
@given(tame, st.data())
def test_lines_within_the_lateness_are_in_time_however_the_partitions_are_read(
    drawn: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    rows = tame_lines(drawn)
    reader = read_all(rows, draw_steps(rows, data))
    assert reader.late == []
    in_order = sorted(rows, key=lambda row: (row.time_us, NAMES[row.source], row.number))
    assert reader.released == [row.number for row in in_order]


class Twin:
    """The key of each line of one partition, as the words say: slow and obvious."""

    def __init__(self) -> None:
        self.newest = NEVER
        self.keys: list[tuple[int, int]] = []
        self.run: list[Line] = []

    def take(self, row: Line) -> None:
        if row.time_us <= self.newest + SKEW:
            self.end_run()
            self.give_key(row)
            return
        self.run.append(row)
        times = sorted(one.time_us for one in self.run)  # each line has an invoice of its own
        for first, third in zip(times, times[2:], strict=False):
            if third - first <= SKEW:
                oldest = min(time for time in times if time >= third - SKEW)
                self.newest = max(self.newest, oldest)
                self.end_run()
                break

    def end_run(self) -> None:
        for row in self.run:
            self.give_key(row)
        self.run = []

    def give_key(self, row: Line) -> None:
        if row.time_us <= self.newest + SKEW:
            self.newest = max(self.newest, row.time_us)
        self.keys.append((self.newest, row.number))


@MANY
@given(wild, st.data())
def test_the_order_is_that_of_the_slow_twin_with_any_lines(
    drawn: list[tuple[int, bool, int]], data: st.DataObject
) -> None:
    rows = wild_lines(drawn)
    reader = read_all(rows, draw_steps(rows, data))
    keys: dict[int, int] = {}
    for source in range(len(NAMES)):
        twin = Twin()
        own = [row for row in rows if row.source == source]
        for row in own:
            twin.take(row)
        keys |= {number: key for key, number in twin.keys}
        decided = [number for _, number in twin.keys]
        assert [
            number
            for number in reader.handed
            if number in decided and number in {row.number for row in own}
        ] == decided, "a partition keeps its order"
        # What is undecided at the end waits until the others have reached its time.
        keys |= {row.number: max(twin.newest, row.time_us) for row in twin.run}
    handed = [keys[number] for number in reader.handed]
    assert handed == sorted(handed)
    assert sorted(reader.handed) == list(range(len(rows)))


def test_a_partition_that_may_bring_older_lines_holds_the_others_back() -> None:
    rows = [Line(1000 + at, at, 0) for at in range(9)] + [Line(1000 + at, 9 + at, 1) for at in (3,)]
    reader = Reader(rows)
    reader.alignment.hold("b", make_lines(rows[:9]))
    reader.hand_on({"b", "a"})
    assert reader.handed == []
    reader.alignment.hold("a", make_lines([Line(1003, 9 + at, 1) for at in range(3)]))
    reader.hand_on({"b", "a"})
    assert sorted(reader.handed) == [0, 1, 2, 3, 9, 10, 11]


def test_a_partition_that_is_silent_or_has_ended_holds_nothing_back() -> None:
    reader = Reader([])
    reader.alignment.hold("b", make_lines([Line(1000 + at, at, 0) for at in range(9)]))
    reader.hand_on({"b"})
    assert reader.handed == list(range(9))


def test_a_mistyped_year_does_not_stall_its_partition() -> None:
    far = 365 * SKEW
    rows = [Line(1000 + at + (far if at == 5 else 0), at, 0) for at in range(9)]
    others = [Line(1000 + at, 10 + at, 1) for at in range(9)]
    reader = Reader([])
    reader.alignment.hold("b", make_lines(rows))
    reader.alignment.hold("a", make_lines(others))
    reader.hand_on({"a", "b"})
    assert sorted(reader.handed) == [*range(9), *range(10, 19)]
    assert reader.late == []


def test_lines_of_one_invoice_are_no_company_to_themselves() -> None:
    texts = ("I1", "S1", "x", "", "UK")
    rows = [Line(1000 + at, at, 0) for at in range(5)]
    rows += [Line(9000 + at, 5 + at, 0, texts=texts) for at in range(5)]
    reader = Reader([])
    reader.alignment.hold("b", make_lines(rows))
    reader.hand_on({"b"})
    assert reader.handed == list(range(5))


def test_what_is_far_ahead_must_pause_and_what_holds_it_back_must_not() -> None:
    alignment = Alignment(SKEW)
    many: Any = make_lines([Line(1000, 0, 0), Line(1001, 1, 0), Line(1002, 2, 0)])
    batch = type(many)(np.repeat(many.line[-1:], 100_000), many.text)
    alignment.hold("b", many)
    alignment.hold("a", make_lines([Line(999, 0, 1), Line(999, 1, 1), Line(999, 2, 1)]))
    assert alignment.ahead({"a", "b"}) == set()
    for _ in range(5):
        alignment.hold("b", batch)
    assert alignment.ahead({"a", "b"}) == {"b"}
    assert sum(map(len, alignment.hand_on({"b"}))) > 400_000
    assert alignment.ahead({"b"}) == set()


# A shop's alerts, read as one file and over three shards.

COLUMNS = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
NOW_US = 1_800_000_000_000_000
CONFIG = config.from_text(
    """
    source.dates = "iso"
    budget.false_alerts_per_day = 200
    """,
    "a test",
)


@cache
def records() -> list[bytes]:
    orders, _ = simulate(Shop(days=20, skus=60, lines_per_day=400, seed=3))
    return b"".join(orders.text()).splitlines(keepends=True)


class Alerts:
    """What is told, without the places, which differ."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def keep(self, outcome: Outcome) -> None:
        for alert in outcome.alerts:
            row = alert_row(alert)
            self.told.append({k: v for k, v in row.items() if k not in ("source", "position")})


@cache
def whole() -> list[bytes]:
    engine, alerts = Engine(CONFIG), Alerts()
    for outcome in engine.feed("orders", b"".join(records()), True, NOW_US):
        alerts.keep(outcome)
    alerts.keep(engine.finish())
    assert engine.counters()["late"] == 0
    return sorted(msgspec.json.encode(_placeless(one)) for one in alerts.told)


def _placeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "number"}


@pytest.mark.parametrize("seed", range(6))
def test_the_alerts_over_three_shards_are_those_of_the_file(seed: int) -> None:
    chance = random.Random(seed)
    header, *rows = records()
    shards: dict[str, list[bytes]] = {f"s/{number}": [] for number in range(3)}
    for row in rows:
        sku = next(csv.reader([row.decode()]))[1]
        shards[f"s/{sum(sku.encode()) % 3}"].append(row)
    engine, alerts = Engine(CONFIG), Alerts()
    at = dict.fromkeys(shards, 0)
    while live := {name for name in shards if at[name] < len(shards[name])}:
        name = chance.choice(sorted(live))
        count = chance.choice([1, 50, 3000])
        data = b"".join(shards[name][at[name] : at[name] + count])
        engine.hold(name, header + data if at[name] == 0 else data, True, NOW_US)
        at[name] += count
        live = {name for name in shards if at[name] < len(shards[name])}
        for outcome in engine.align(live):
            alerts.keep(outcome)
        if chance.random() < 0.3:
            meta, arrays = checkpoint.save(engine, {})
            engine = Engine(CONFIG)
            copies = {key: array.copy() for key, array in arrays.items()}
            checkpoint.restore(engine, Saved(1, meta, copies))
    for outcome in engine.align(()):
        alerts.keep(outcome)
    alerts.keep(engine.finish())
    counts = engine.counters()
    assert counts["late"] == counts["pending"] == 0
    assert counts["scored"] == len(rows)
    told = sorted(msgspec.json.encode(_placeless(one)) for one in alerts.told)
    assert len(told) > 5
    assert told == whole()
