"""Alerts with one cause are one incident, wherever the stream is cut."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oddlot.alerts.incidents import Incidents
from oddlot.detectors.contract import EVENT, TICK
from oddlot.schema import ADJUSTMENT, RETURN, SALE, Alert, Incident

MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US


class One(NamedTuple):
    """A line, and the detector that finds it odd; "" where none does."""

    time_us: int
    sku: int = 0
    quantity: int = 1
    kind: int = SALE
    customer: int = 7
    invoice: str = "I1"
    detector: str = ""
    stake: float = 10.0
    evidence: tuple[tuple[str, float], ...] = ()


def alert_of(number: int, one: One) -> Alert:
    return Alert(
        id=f"{number:032x}",
        detector=one.detector,
        time_us=one.time_us,
        sku=f"S{one.sku}" if one.sku >= 0 else "*",
        chance=1e-6,
        rate=0.1,
        score=1.0,
        invoice=one.invoice,
        description="",
        quantity=one.quantity,
        price=1.0,
        source="orders.csv",
        position=0,
        number=number,
        evidence=dict(one.evidence),
        text=f"alert {number}.",
        stake=one.stake,
        probability=0.5,
        severity=one.stake / 2,
    )


def take(
    lines: list[One], cuts: list[int] | None = None, saves: bool = False
) -> tuple[list[tuple[int, int]], dict[int, Incident]]:
    """Return the incident of each alert, and all incidents as they were told last."""
    incidents = Incidents()
    last: dict[int, Incident] = {}
    told: list[tuple[int, int]] = []
    for first, end in zip([0, *(cuts or [])], [*(cuts or []), len(lines)], strict=True):
        event: Any = np.zeros(end - first, EVENT)
        made = []
        for i, one in enumerate(lines[first:end]):
            for name in ("time_us", "sku", "quantity", "kind", "customer"):
                event[i][name] = getattr(one, name)
            if one.detector:
                made.append((alert_of(first + i, one), i))
        alerts, changed = incidents.take(made, event)
        told += [(int(alert.id, 16), int(alert.incident, 16)) for alert in alerts]
        last |= {int(one.id, 16): one for one in changed}
        if saves:
            saved = msgspec.json.decode(msgspec.json.encode(incidents.save()))
            incidents = Incidents()
            incidents.restore(saved)
    return told, last


def only(lines: list[One]) -> Incident:
    _, incidents = take(lines)
    (incident,) = incidents.values()
    return incident


def test_alerts_on_one_sku_within_three_days_are_one_incident() -> None:
    told, incidents = take(
        [
            One(0, detector="quantity_spike"),
            One(2 * DAY_US, invoice="I2", detector="demand_surge", stake=50.0),
            One(5 * DAY_US, invoice="I3", detector="quantity_spike"),
            One(8 * DAY_US + 1, invoice="I4", detector="quantity_spike"),
            One(8 * DAY_US + 1, sku=1, invoice="I5", detector="quantity_spike"),
        ]
    )
    assert told == [(0, 0), (1, 0), (2, 0), (3, 3), (4, 4)]
    assert incidents[0].alerts == 3
    assert incidents[0].detectors == ["quantity_spike", "demand_surge"]
    assert (incidents[0].stake, incidents[0].text) == (50.0, "alert 1.")


def test_alerts_on_one_invoice_are_one_incident() -> None:
    basket = [One(5, sku=i, detector="quantity_spike") for i in range(4)]
    assert only(basket).skus == ["S0", "S1", "S2", "S3"]


def test_an_order_and_its_cancellation_are_one_reversed_incident() -> None:
    incident = only(
        [
            One(0, quantity=74_215, detector="quantity_spike"),
            One(6 * MINUTE_US, quantity=-74_215, kind=RETURN, customer=8, invoice="C9"),
            One(12 * MINUTE_US, quantity=-74_215, kind=RETURN, invoice="C2"),
        ]
    )
    assert incident.reversed_after_us == 12 * MINUTE_US
    assert incident.doubled == 0


def test_a_write_off_that_is_booked_twice_is_one_incident_with_a_doubled_line() -> None:
    again = One(MINUTE_US, quantity=-9_600, kind=ADJUSTMENT, invoice="A2")
    first = again._replace(time_us=0, invoice="A1", detector="write_off")
    assert only([first, again]).doubled == 1
    assert only([first, again._replace(detector="write_off")]).doubled == 1
    assert only([first, again._replace(time_us=61 * MINUTE_US)]).doubled == 0


def test_what_moves_many_skus_within_an_hour_is_one_shock_they_share() -> None:
    lines = [One(i * MINUTE_US, sku=i, invoice=f"I{i}", detector="demand_surge") for i in range(50)]
    told, incidents = take(lines)
    assert len(incidents) == 20
    assert [incident for _, incident in told[20:]] == [19] * 30
    assert incidents[19].alerts == 31
    slow = [one._replace(time_us=one.time_us * 10) for one in lines]
    assert len(take(slow)[1]) == 50


def test_a_sku_that_sells_what_a_like_code_lacks_is_of_its_incident() -> None:
    lines = [
        One(0, 21730, detector="demand_surge", evidence=(("orders", 14.0), ("usual", 2.0))),
        One(DAY_US, 21731, invoice="", detector="silent_sku", evidence=(("due", 10.0),)),
    ]
    incident = only(lines)
    assert (incident.skus, incident.pair) == (["S21730", "S21731"], "S21731")
    assert only([*lines[::-1][:1], lines[0]._replace(time_us=2 * DAY_US)]).pair == "S21730"
    for other in (
        {"sku": 21831},  # two keystrokes away
        {"time_us": 4 * DAY_US},
        {"evidence": (("due", 40.0),)},
        {"evidence": (("orders", 14.0), ("usual", 2.0))},  # the same way
    ):
        assert len(take([lines[0], lines[1]._replace(**other)])[1]) == 2


def test_what_concerns_the_whole_shop_is_no_incident_of_a_sku() -> None:
    told, _ = take(
        [
            One(0, sku=-1, kind=TICK, invoice="", detector="site_outage"),
            One(1, detector="quantity_spike"),
        ]
    )
    assert told == [(0, 0), (1, 1)]


kinds = st.sampled_from([SALE, SALE, RETURN, ADJUSTMENT])
lines = st.lists(
    st.tuples(
        st.sampled_from([0, 0, MINUTE_US, 90 * MINUTE_US, DAY_US, 3 * DAY_US, 8 * DAY_US]),
        st.integers(0, 2),
        st.sampled_from([5, -5]),
        kinds,
        st.integers(0, 1),
        st.sampled_from(["I1", "I2", "I3"]),
        st.sampled_from(["", "quantity_spike", "write_off"]),
    ),
    max_size=25,
)


@settings(max_examples=200)
@given(lines, st.data())
def test_neither_cuts_nor_restarts_change_an_incident(
    history: list[tuple[int, int, int, int, int, str, str]], data: st.DataObject
) -> None:
    now = 0
    rows: list[One] = []
    for row in history:
        now += row[0]
        rows.append(One(now, *row[1:]))
    whole = take(rows)
    possible = [i for i in range(1, len(rows)) if rows[i].time_us != rows[i - 1].time_us]
    cuts = sorted(data.draw(st.sets(st.sampled_from(possible)))) if possible else []
    assert take(rows, cuts) == whole
    assert take(rows, cuts, saves=True) == whole
