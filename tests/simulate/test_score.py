"""The score: what counts as found, as a false alarm, and as neither."""

from __future__ import annotations

import pytest

from oddlot.simulate import Fault, score_alerts

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
SPIKE = Fault(1, "quantity_spike", "A", 10 * DAY_US, 10 * DAY_US, "easy")
SILENCE = Fault(2, "silent_sku", "B", 20 * DAY_US, 24 * DAY_US, "hard")
TWICE = Fault(3, "duplicate_invoice", "C|D", 30 * DAY_US, 30 * DAY_US, "easy")
OUTAGE = Fault(4, "site_outage", "*", 40 * DAY_US, 41 * DAY_US, "easy")
LABELS = [SPIKE, SILENCE, TWICE, OUTAGE]


@pytest.mark.parametrize(
    ("alert", "found"),
    [
        ((10 * DAY_US, "A", "quantity_spike"), [1]),
        ((11 * DAY_US, "A", "quantity_spike"), [1]),
        ((10 * DAY_US, "A", "demand_surge"), [1]),
        ((10 * DAY_US, "A", "generic"), [1]),
        ((25 * DAY_US, "B", "silent_sku"), [2]),
        ((30 * DAY_US, "D", "duplicate_invoice"), [3]),
        ((30 * DAY_US, "*", "duplicate_invoice"), [3]),
        ((41 * DAY_US, "*", "site_outage"), [4]),
    ],
)
def test_an_alert_finds_the_fault_it_names(alert: tuple[int, str, str], found: list[int]) -> None:
    score = score_alerts([alert], LABELS, 30)
    assert list(score.first_us) == found
    assert (score.alerts, score.false_alarms, score.side_effects) == (1, 0, 0)


@pytest.mark.parametrize(
    "alert",
    [
        (10 * DAY_US - 1, "A", "quantity_spike"),
        (11 * DAY_US + 1, "A", "quantity_spike"),
        (10 * DAY_US, "B", "quantity_spike"),
        (30 * DAY_US, "*", "site_outage"),
        (40 * DAY_US, "A", "silent_sku"),
    ],
)
def test_an_alert_beside_every_fault_is_a_false_alarm(alert: tuple[int, str, str]) -> None:
    score = score_alerts([alert], LABELS, 2)
    assert score.false_alarms == 1
    assert score.false_alarms_per_day == 0.5
    assert not score.first_us


def test_an_alert_of_another_family_on_a_faults_sku_is_a_side_effect() -> None:
    score = score_alerts([(10 * DAY_US, "A", "price_error")], LABELS, 1)
    assert (score.side_effects, score.false_alarms, score.found_in_all) == (1, 0, 0)


def test_a_rule_is_neither_right_nor_wrong() -> None:
    score = score_alerts([(10 * DAY_US, "A", "low_quantity")] * 5, LABELS, 1)
    assert (score.rule_alerts, score.alerts, score.false_alarms) == (5, 0, 0)


def test_more_alerts_on_one_fault_count_as_one_find_at_the_first_time() -> None:
    alerts = [(10 * DAY_US + hour * HOUR_US, "A", "quantity_spike") for hour in (5, 2, 9)]
    score = score_alerts(alerts, LABELS, 1)
    assert score.first_us == {1: 10 * DAY_US + 2 * HOUR_US}
    assert score.found == {
        "quantity_spike": 1,
        "silent_sku": 0,
        "duplicate_invoice": 0,
        "site_outage": 0,
    }
    assert score.planted_in_all == 4
    assert score.false_alarms == 0
