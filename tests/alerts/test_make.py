"""An alert's id is made of what it is about, and of nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lines import Line, make_lines
from oddlot import catalog
from oddlot.alerts.make import alert_row, make_alerts
from oddlot.detectors.contract import EVENT
from oddlot.engine.event_time import Released
from oddlot.engine.scoring import Scored
from oddlot.schema import Alert

TEXTS = ("536365", "85123A", "WHITE MUG", "17850", "United Kingdom")
CODES = ("85123A", "85123B")


def make(rows: list[Line], rate: float = 0.5, sources: tuple[str, ...] = ("a", "b")) -> list[Alert]:
    detector = catalog.build("detectors", {"type": "quantity_spike"}, "a test")
    found = np.zeros(len(rows), detector.found)
    found["event"] = np.arange(len(rows))
    found["chance"] = 1e-6
    found["sku"] = [CODES.index(row.texts[1]) for row in rows if row.texts]
    event = np.zeros(len(rows), EVENT)
    event["time_us"] = [row.time_us for row in rows]
    released = Released(make_lines(rows), np.arange(len(rows)))
    made = make_alerts(
        *(detector, "quantity_spike", released, Scored([], event, released.order), found),
        *(np.full(len(rows), rate), lambda rate: 1 - rate, CODES.__getitem__, sources),
    )
    assert [at for _, at in made] == list(range(len(rows)))
    return [alert for alert, _ in made]


def test_the_id_is_the_same_wherever_the_line_lies() -> None:
    (one,) = make([Line(1000, 1, 0, texts=TEXTS)])
    (other,) = make([Line(1000, 77, 1, sku=9, texts=TEXTS)])
    assert one.id == other.id
    assert (one.source, other.source) == ("a", "b")


def test_exact_copies_of_a_line_are_separate_findings_with_steady_ids() -> None:
    rows = [Line(1000, number, texts=TEXTS) for number in range(5)]
    ids = [alert.id for alert in make(rows)]
    assert len(set(ids)) == 5
    assert [alert.id for alert in make(rows[::-1])] == ids
    assert [alert.id for alert in make(rows[:3])] == ids[:3]


changes: Any = st.sampled_from(
    [
        {"time_us": 1001},
        {"quantity": 2},
        {"price": 1.01},
        {"price": math.nan},
        {"texts": ("536366", *TEXTS[1:])},
        {"texts": (TEXTS[0], "85123B", *TEXTS[2:])},
        {"texts": (*TEXTS[:2], "BLUE MUG", *TEXTS[3:])},
        {"texts": (*TEXTS[:3], "17851", TEXTS[4])},
    ]
)


@given(changes)
def test_another_line_has_another_id(change: dict[str, Any]) -> None:
    (one,) = make([Line(1000, 1, texts=TEXTS)])
    (other,) = make([Line(1000, 1, texts=TEXTS)._replace(**change)])
    assert one.id != other.id


def test_what_it_is_worth_is_the_money_times_the_probability_that_it_is_real() -> None:
    (alert,) = make([Line(1000, 1, quantity=10, price=2.0, texts=TEXTS)], rate=0.25)
    assert alert.probability == 0.75
    assert alert.severity == pytest.approx(alert.stake * 0.75)


@given(st.integers(-(2**50), 2**52), st.integers(-(2**31), 2**31), st.floats(), st.floats(0, 1))
def test_an_alert_as_a_row_has_plain_values(
    time_us: int, quantity: int, price: float, rate: float
) -> None:
    (alert,) = make([Line(time_us, 1, quantity=quantity, price=price, texts=TEXTS)], rate)
    row = alert_row(alert)
    assert list(row)[:4] == ["time", "sku", "type", "score"]
    assert math.isfinite(row["score"])
    assert "T" not in row["time"]
    assert row["price"] is None or math.isfinite(row["price"])
    assert math.isnan(alert.price) or alert.price == price
