"""No alert depends on what comes after it: lines withheld change none before them."""

from __future__ import annotations

from typing import Any

import pytest

from oddlot import config
from oddlot.alerts.make import alert_row
from oddlot.engine.embedded import Engine
from oddlot.simulate import Shop, simulate

SHOP = Shop(seed=11, skus=150, days=75, lines_per_day=250, quiet_days=15, faults_per_day=3)
CONFIG = config.from_text(
    '[source]\ndates = "month-first"\n[budget]\nfalse_alerts_per_day = 40\n', "x"
)
NOW_US = 4_000_000_000_000_000


def alerts_of(data: bytes) -> list[dict[str, Any]]:
    engine = Engine(CONFIG)
    outcomes = [*engine.feed("orders", data, True, NOW_US), engine.finish(), engine.strike()]
    return [alert_row(alert) for outcome in outcomes for alert in outcome.alerts]


@pytest.fixture(scope="module")
def records() -> list[bytes]:
    return b"".join(simulate(SHOP)[0].text("csv")).splitlines(keepends=True)


@pytest.fixture(scope="module")
def whole(records: list[bytes]) -> list[dict[str, Any]]:
    return alerts_of(b"".join(records))


def test_a_shop_with_faults_of_every_kind_raises_many_kinds_of_alert(
    whole: list[dict[str, Any]],
) -> None:
    assert len({alert["type"] for alert in whole}) >= 6
    assert len({alert["id"] for alert in whole}) == len(whole)


@pytest.mark.parametrize("part", [0.35, 0.62, 0.81, 0.97])
def test_lines_withheld_change_no_alert_before_them(
    records: list[bytes], whole: list[dict[str, Any]], part: float
) -> None:
    kept = records[: int(part * len(records))]
    some = alerts_of(b"".join(kept))
    last = max(alert["time"] for alert in some)
    cut = last[:10]  # the last day is cut within: what the clock finds later in it may differ
    before = [alert for alert in whole if alert["time"] < cut]
    assert before
    assert [alert for alert in some if alert["time"] < cut] == before
