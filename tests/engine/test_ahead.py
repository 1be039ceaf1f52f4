"""Decoding on a second core changes nothing but the time it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from oddlot.alerts.rows import RowWriter
from oddlot.config import from_text
from oddlot.engine.ahead import feed_ahead
from oddlot.engine.embedded import Engine, Outcome
from oddlot.errors import ConfigError
from oddlot.simulate import Shop, simulate
from oddlot.streams.chunks import read_file

NOW_US = 1_800_000_000_000_000
DETECTORS = '[[detectors]]\ntype = "low_quantity"\n[[detectors]]\ntype = "quantity_spike"\n'


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small shop's orders."""
    file = tmp_path_factory.mktemp("ahead") / "orders.csv"
    made, _ = simulate(Shop(seed=3, skus=200, days=30, lines_per_day=600))
    with file.open("wb") as out:
        for text in made.text("csv"):
            out.write(text)
    return file


def _chunks(file: Path, size: int) -> Iterator[tuple[Any, bool]]:
    for chunk in read_file(str(file), 0, size):
        yield chunk.data, chunk.end


def _results(file: Path, size: int, *, is_ahead: bool) -> tuple[bytes, list[bytes], dict[str, int]]:
    engine = Engine(from_text(DETECTORS, "shop.toml"))
    writer = RowWriter("csv", ("WindowSum", "WindowCount", "AverageQuantity"))
    rows = bytearray()
    alerts: list[bytes] = []

    def take(outcome: Outcome) -> None:
        released = outcome.released
        rows.extend(writer.write(released.lines, released.order, outcome.rows["low_quantity"]))
        alerts.extend(msgspec.json.encode(alert) for alert in outcome.alerts)

    if is_ahead:
        for outcome in feed_ahead(engine, "orders.csv", _chunks(file, size), NOW_US):
            take(outcome)
    else:
        for data, is_last in _chunks(file, size):
            for outcome in engine.feed("orders.csv", data, is_last, NOW_US):
                take(outcome)
    take(engine.finish())
    return bytes(rows), alerts, engine.counters()


@pytest.mark.parametrize("size", [5_000, 1 << 20])
def test_a_second_core_changes_no_alert(orders: Path, size: int) -> None:
    alone = _results(orders, size, is_ahead=False)
    assert alone[1], "a shop without alerts proves nothing"
    assert _results(orders, size, is_ahead=True) == alone


def test_an_error_while_decoding_ahead_reaches_the_caller(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("Invoice,Qty,Date\n1,2,2024-01-08 10:00\n")
    engine = Engine(from_text(DETECTORS, "shop.toml"))
    with pytest.raises(ConfigError, match="no column for"):
        list(feed_ahead(engine, "orders.csv", _chunks(file, 1 << 20), NOW_US))


def test_a_caller_that_stops_early_ends_the_decoding(orders: Path) -> None:
    engine = Engine(from_text(DETECTORS, "shop.toml"))
    outcomes = feed_ahead(engine, "orders.csv", _chunks(orders, 5_000), NOW_US)
    next(outcomes)
    outcomes.close()  # waits for the thread
    assert engine.read.total() > 0
