"""What the collector counts, against the same counted plainly."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from lines import Line, make_lines
from oddlot.engine.embedded import Outcome
from oddlot.engine.event_time import Released
from oddlot.report.collect import _KEPT, DAY_US, RATES, Collector, _place, rate_of
from oddlot.schema import RETURN, SALE, Alert, Incident


def outcome(rows: list[Line], alerts: list[Alert], incidents: list[Incident]) -> Outcome:
    released = Released(make_lines(rows), np.arange(len(rows)))
    return Outcome(released=released, rows={}, alerts=alerts, incidents=incidents, rejects=[])


def alert(number: int, rate: float = 0.1, severity: float = 1.0, incident: str = "") -> Alert:
    return Alert(
        id=f"{number:032x}", detector="test", time_us=number * DAY_US, sku="A", chance=rate / 100,
        rate=rate, score=-math.log10(rate), invoice="", description="", quantity=1, price=1.0,
        source="a", position=number, number=number + 1, evidence={}, text=f"alert {number}",
        incident=incident, severity=severity,
    )  # fmt: skip


def test_skus_are_counted_alike_however_the_lines_are_cut() -> None:
    chance = random.Random(1)
    rows = [
        Line(
            time_us=i * DAY_US // 7,
            number=i,
            sku=chance.randrange(9),
            quantity=chance.choice((-2, 1, 5)),
            kind=chance.choice((SALE, SALE, RETURN)),
        )
        for i in range(200)
    ]
    sold = [row for row in rows if row.kind == SALE and row.quantity > 0]
    days = defaultdict(set)
    for row in sold:
        days[row.sku].add(row.time_us // DAY_US)
    for size in (1, 3, 64, 200):
        collector = Collector(["test"])
        for at in range(0, len(rows), size):
            collector.take(outcome(rows[at : at + size], [], []))
        counted = collector._skus
        assert collector.days == Counter(row.time_us // DAY_US for row in rows)
        for sku in range(9):
            assert counted["lines"][sku] == sum(row.sku == sku for row in sold)
            assert counted["days"][sku] == len(days[sku])
            assert counted["first"][sku] == min(days[sku])
            assert counted["last"][sku] == max(days[sku])


def test_a_silence_is_told_after_as_many_days_as_were_measured() -> None:
    # DETECTION.md, section 5.0: a rate of 0.2 a day learnt from 180 days needs 38 silent days.
    collector = Collector(["test"])
    for day in range(180):
        rows = [Line(time_us=day * DAY_US, number=2 * day, sku=0)]
        rows += [Line(time_us=day * DAY_US, number=2 * day + 1, sku=1)] * (day % 5 == 0)
        collector.take(outcome(rows, [], []))
    often, seldom = collector.bands((0.5, 0.0), 1e-3)
    assert seldom.skus == often.skus == 1
    assert math.ceil(seldom.days) == 38
    assert often.days == pytest.approx(7, abs=0.1)
    assert seldom.blind == 0


def test_a_rate_is_counted_at_the_first_place_that_holds_it() -> None:
    for rate in (1e-9, 1e-6, 2e-6, 0.1, 0.31, 1.0, 20.0, 1e6, 1e9):
        place = _place(rate)
        assert place in (0, RATES - 1) or rate_of(place - 1) < rate <= rate_of(place) * (1 + 1e-9)


def test_alerts_of_one_incident_are_one_story_with_the_worst_first() -> None:
    first, second = alert(1, severity=2.0, incident=f"{1:032x}"), alert(2, severity=9.0)
    joined = alert(3, severity=7.0, incident=first.id)
    collector = Collector(["test"])
    told = Incident(id=first.id, first_us=0, last_us=1, alerts=1, severity=2.0)
    collector.take(outcome([], [first, second], [told]))
    told = Incident(id=first.id, first_us=0, last_us=2, alerts=2, severity=7.0)
    collector.take(outcome([], [joined], [told]))
    alone, both = collector.stories()
    assert [one.text for one in alone.alerts] == ["alert 2"]
    assert [one.text for one in both.alerts] == ["alert 3", "alert 1"]
    assert both.incident.alerts == 2
    assert collector.incidents == 2
    assert collector.tallies["test"].alerts == 3


def test_the_worst_incidents_are_kept_in_bounded_memory() -> None:
    collector = Collector(["test"])
    order = list(range(5_000))
    random.Random(2).shuffle(order)
    for number in order:
        collector.take(outcome([], [alert(number + 1, severity=float(number))], []))
        assert len(collector._alerts) <= 2 * _KEPT
    assert [story.incident.severity for story in collector.stories(3)] == [4999, 4998, 4997]
    assert collector.incidents == 5_000
