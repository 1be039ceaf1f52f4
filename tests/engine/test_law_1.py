"""The same alerts however the stream is cut: into batches, pieces and restarts; any order."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crashes import folder_in_memory
from oddlot import catalog, config
from oddlot.alerts.make import alert_row
from oddlot.alerts.rows import RowWriter
from oddlot.engine import checkpoint
from oddlot.engine.embedded import Engine, Outcome
from oddlot.schema import Incident
from oddlot.simulate import Shop, simulate
from oddlot.store import Store

MANY = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
TYPES = catalog.find_types("detectors")


def settings_of(budget: int, lateness: str) -> config.Config:
    """Return a config with every detector that there is."""
    detectors = "".join(f'[[detectors]]\ntype = "{name}"\n' for name in TYPES)
    return config.from_text(
        f"""
        source.dates = "iso"
        time.lateness = "{lateness}"
        budget.false_alerts_per_day = {budget}
        {detectors}
        """,
        "a test",
    )


LATENESS_S = 5
CONFIG = settings_of(6000, f"{LATENESS_S}s")
WEEKS_LATENESS_S = 600
WEEKS = settings_of(200, f"{WEEKS_LATENESS_S}s")
COLUMNS = (
    *("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice"),
    *("CustomerID", "Country", "EventId"),
)
START = datetime(2011, 3, 1, 9, tzinfo=UTC)
NOW_US = 1_800_000_000_000_000
Group = tuple[str, list[bytes]]  # a partition, and records that come one after the other


class Result(msgspec.Struct):
    """All that a user can see."""

    alerts: list[bytes] = []
    incidents: dict[str, Incident] = {}  # as they were told last
    rows: list[bytes] = []
    rejects: list[Any] = []
    counts: list[dict[str, int]] = []


def record(values: list[str], is_json: bool) -> bytes:
    if is_json:
        return json.dumps(dict(zip(COLUMNS, values, strict=True))).encode() + b"\n"
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerow(values)
    return out.getvalue().encode()


steps = st.sampled_from([0, 0, 0, 1, 2, 7, 60, 600, 3600, 86_400, 12 * 86_400, 40 * 86_400])
oddities = st.sampled_from(["", "", "", "", "late", "old", "ahead", "future", "bad", "again"])
skus = st.sampled_from(["85123A", "22423", "8,5", 'say "é"', "POST", "47566"])
quantities = st.one_of(st.integers(1, 12), st.sampled_from([-1, 24, 600, 74_215, -80_995, 0]))
orders = st.lists(
    st.tuples(steps, oddities, skus, quantities, st.integers(0, 1), st.booleans()),
    min_size=1,
    max_size=60,
)


def values_of(number: int, second: int, sku: str, quantity: int, event: str) -> list[str]:
    moment = START + timedelta(seconds=second)
    description = ["WHITE MUG", 'A "B", C', "two\nlines", ""][number % 4]
    return [
        f"{'C' if quantity < 0 else ''}{536_365 + number // 3}", sku, description, str(quantity),
        f"{moment:%Y-%m-%d %H:%M:%S}", "1.25", "17850", "United Kingdom", event,
    ]  # fmt: skip


def shop(drawn: list[tuple[int, str, str, int, int, bool]], is_json: bool) -> list[Group]:
    """Make the records of two log files, in the order in which they come."""
    groups: list[Group] = []
    started = set()
    second = 0
    for number, (step, oddity, sku, quantity, partition, has_event) in enumerate(drawn):
        second += step
        apart = {"late": -LATENESS_S - 1 - number, "old": -(40 * 365 * 86_400)}
        apart |= {"ahead": 60 * 86_400, "future": 20 * 365 * 86_400, "again": -1}
        event = f"e{number // 2 if oddity == 'again' else number}" if has_event else ""
        values = values_of(number, second + apart.get(oddity, 0), sku, quantity, event)
        if oddity == "bad":
            values[3] = "1,5"
        name = f"orders-{partition}"
        if not groups or groups[-1][0] != name:
            groups.append((name, []))
        if name not in started and not is_json:
            groups[-1][1].append((",".join(COLUMNS) + "\n").encode())
        started.add(name)
        groups[-1][1].append(record(values, is_json))
    return groups


def collect(result: Result, outcome: Outcome, writer: RowWriter) -> None:
    result.incidents |= {incident.id: incident for incident in outcome.incidents}
    result.alerts += [msgspec.json.encode(alert_row(alert)) for alert in outcome.alerts]
    released = outcome.released
    found = outcome.rows["low_quantity"]
    text = bytes(writer.write(released.lines, released.order, found))
    result.rows += text.splitlines(keepends=True)
    result.rejects += outcome.rejects


def finished(result: Result, engine: Engine, writer: RowWriter) -> Result:
    collect(result, engine.finish(), writer)
    collect(result, engine.strike(), writer)
    result.rejects += engine.give_up_waiting()
    result.rejects.sort(key=lambda reject: (reject.source, reject.position))
    for number in range(len(engine.sources)):
        counts = {
            "read": engine.read[number],
            "scored": engine.scored[number],
            "late": engine.time.late[number],
            "rejected": engine.rejected[number],
            "duplicate": engine.time.duplicate[number],
        }
        assert counts["read"] == sum(counts.values()) - counts["read"], counts
        result.counts.append(counts)
    totals = engine.counters()
    assert totals["pending"] == 0
    set_aside = totals["late"] + totals["rejected"]
    assert len(result.rejects) == set_aside
    return result


def pieces_of(group: list[bytes], chance: random.Random | None, pieces: int) -> Iterator[bytes]:
    data = b"".join(group)
    if chance is None:
        yield data
        return
    cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.randint(0, pieces)))
    for first, last in zip([0, *cuts], [*cuts, len(data)], strict=True):
        yield data[first:last]


def run(
    groups: list[Group],
    chance: random.Random | None = None,
    state: Path | None = None,
    settings: config.Config = CONFIG,
    pieces: int = 4,
) -> Result:
    """Take records through the engine; with a chance in pieces, with a state with restarts."""
    engine, result = Engine(settings), Result()
    writer = row_writer()
    for name, records in groups:
        for piece in pieces_of(records, chance, pieces):
            for outcome in engine.feed(name, piece, False, NOW_US):
                collect(result, outcome, writer)
            if state is not None and chance is not None and chance.random() < 0.1:
                engine = restarted(engine, state)
    for name in sorted({name for name, _ in groups}):
        for outcome in engine.feed(name, b"", True, NOW_US):
            collect(result, outcome, writer)
    return finished(result, engine, writer)


def row_writer() -> RowWriter:
    return RowWriter("jsonl", CONFIG.detectors[TYPES.index("low_quantity")].columns)


def restarted(engine: Engine, state: Path) -> Engine:
    """Commit to the store, forget everything, and go on from what the store holds."""
    with Store.open(state) as store:
        meta, arrays = checkpoint.save(engine, {"kept": "é"})
        store.commit(meta, arrays)
    with Store.open(state) as store:
        saved = store.load()
    assert saved is not None
    again = Engine(engine.config)
    assert checkpoint.restore(again, saved) == {"kept": "é"}
    return again


@MANY
@given(orders, st.booleans(), st.randoms(use_true_random=False))
def test_cuts_and_restarts_change_not_one_byte(
    drawn: list[tuple[int, str, str, int, int, bool]], is_json: bool, chance: random.Random
) -> None:
    groups = shop(drawn, is_json)
    whole = run(groups)
    assert run(groups, chance) == whole
    with folder_in_memory() as state:
        assert run(groups, chance, state) == whole


@MANY
@given(orders, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_within_the_lateness_changes_no_alert(
    drawn: list[tuple[int, str, str, int, int, bool]], is_json: bool, chance: random.Random
) -> None:
    second, records = 0, []
    for number, (step, _, sku, quantity, _, has_event) in enumerate(drawn):
        # The first lines of three invoices must agree with each other to be believed.
        second += step if number > 6 else 0
        event = f"e{number}" if has_event else ""
        records.append((second, record(values_of(number, second, sku, quantity, event), is_json)))
    records += [one for one in records if chance.random() < 0.1]  # copies; some with event ids
    records.sort(key=lambda one: one[0])
    header = [] if is_json else [(",".join(COLUMNS) + "\n").encode()]
    plain = run([("orders", header + [data for _, data in records])])
    assert not any(count["late"] for count in plain.counts)

    records.sort(key=lambda one: one[0] + chance.uniform(0, LATENESS_S))
    shuffled = run([("orders", header + [data for _, data in records])], chance)
    assert shuffled.counts == plain.counts
    assert sorted(shuffled.rows) == sorted(plain.rows)
    assert_same_alerts(shuffled, plain)


def assert_same_alerts(one: Result, other: Result) -> None:
    assert list(map(apart_from_place, one.alerts)) == list(map(apart_from_place, other.alerts))
    assert one.incidents == other.incidents


def apart_from_place(alert: bytes) -> dict[str, Any]:
    """Return an alert without what another order of the file must change."""
    row: dict[str, Any] = msgspec.json.decode(alert)
    return {key: value for key, value in row.items() if key not in ("position", "number")}


@cache
def weeks() -> tuple[bytes, tuple[bytes, ...]]:
    """Return the header and the records of a small shop with many faults."""
    shop = Shop(seed=5, days=40, skus=60, lines_per_day=120, faults_per_day=3)
    header, *records = b"".join(simulate(shop)[0].text()).splitlines(keepends=True)
    return header, tuple(records)


@cache
def weeks_whole() -> Result:
    header, records = weeks()
    return run([("orders", [header, *records])], settings=WEEKS)


def test_weeks_of_a_shop_with_faults_bring_alerts_of_most_detectors() -> None:
    whole = weeks_whole()
    alerts = [msgspec.json.decode(alert) for alert in whole.alerts]
    assert len({alert["type"] for alert in alerts}) >= 8
    assert {alert["incident"] for alert in alerts} == set(whole.incidents)
    assert len({alert["id"] for alert in alerts}) == len(alerts)


@pytest.mark.parametrize("seed", [1, 2])
def test_weeks_of_a_shop_in_pieces_and_with_restarts_are_the_same(seed: int) -> None:
    header, records = weeks()
    chance = random.Random(seed)
    groups = [("orders", [header, *records])]
    assert run(groups, chance, settings=WEEKS, pieces=300) == weeks_whole()
    with folder_in_memory() as state:
        assert run(groups, chance, state, WEEKS, pieces=200) == weeks_whole()


@pytest.mark.parametrize("seed", [1, 2])
def test_weeks_of_a_shop_shuffled_within_the_lateness_are_the_same(seed: int) -> None:
    header, records = weeks()
    chance = random.Random(seed)

    def arrival(text: bytes) -> float:
        when = next(csv.reader([text.decode()]))[4]
        return datetime.fromisoformat(when).timestamp() + chance.uniform(0, WEEKS_LATENESS_S)

    shuffled = sorted(records, key=arrival)
    assert shuffled != list(records)
    result = run([("orders", [header, *shuffled])], chance, settings=WEEKS, pieces=100)
    assert result.counts == weeks_whole().counts
    assert_same_alerts(result, weeks_whole())


def test_a_detector_with_other_options_starts_anew_after_a_restart() -> None:
    drawn = [(1, "", "85123A", n % 12 + 1, 0, False) for n in range(60)]
    ((name, records),) = shop(drawn, is_json=False)
    engine = Engine(CONFIG)
    list(engine.feed(name, b"".join(records[:40]), False, NOW_US))
    other = config.apply(CONFIG, ["detectors.low_quantity.below=4"])
    meta, arrays = checkpoint.save(engine, {})
    with folder_in_memory() as state:
        with Store.open(state) as store:
            store.commit(meta, arrays)
        with Store.open(state) as store:
            saved = store.load()
    assert saved is not None
    again = Engine(other)
    checkpoint.restore(again, saved)
    result, writer = Result(), row_writer()
    for outcome in again.feed(name, b"".join(records[40:]), True, NOW_US):
        collect(result, outcome, writer)
    collect(result, again.finish(), writer)
    for row in map(json.loads, result.rows):
        assert 0 < row["WindowSum"] <= 3 * row["WindowCount"]
    assert result.alerts or engine.scored
