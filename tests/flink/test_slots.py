"""The hosted slots give what the embedded engine gives, wherever Flink cuts, fails and rescales."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

import lines as order_lines
from oddlot import config
from oddlot.alerts.rows import RowWriter
from oddlot.engine.embedded import Engine
from oddlot.engine.flink.slots import (
    SLOTS,
    Logged,
    Ordering,
    RuleSlot,
    freeze,
    read_lines,
    slot_of,
    thaw,
    write_lines,
)
from oddlot.errors import StateError
from oddlot.schema import Alert, Incident
from oddlot.simulate import Shop, simulate

SHOP = config.from_text(
    '[source]\ndates = "iso"\n[time]\nlateness = "2m"\n[budget]\nfalse_alerts_per_day = 20\n'
    '[[detectors]]\ntype = "low_quantity"\n[[detectors]]\ntype = "quantity_spike"\n'
    '[[detectors]]\ntype = "price_error"\n',
    "a test",
)
NOW_US = 1_800_000_000_000_000


class Log(dict[int, bytes]):
    """Flink's map of batches, in memory."""

    def put(self, number: int, entry: bytes) -> None:
        self[number] = entry


class Kept:
    """Flink's value of the snapshot, in memory."""

    def __init__(self) -> None:
        self.held: bytes | None = None

    def value(self) -> bytes | None:
        return self.held

    def update(self, snapshot: bytes) -> None:
        self.held = snapshot


class Job:
    """Plays Flink: keyed slots, their state, failures in which only the state survives."""

    def __init__(self) -> None:
        self.state: dict[object, tuple[Log, Kept]] = {}
        self.slots: dict[object, Logged] = {}
        self.alerts: list[Alert] = []
        self.incidents: dict[str, Incident] = {}
        self.rows: dict[int, bytes] = {}
        self.rejects = 0

    def slot(self, key: object, kind: Any) -> Logged:
        if key not in self.slots:
            log, kept = self.state.setdefault(key, (Log(), Kept()))
            self.slots[key] = Logged(kind(SHOP), log, kept)
        return self.slots[key]

    def fail(self) -> None:
        self.slots.clear()

    def take(self, batch: bytes) -> None:
        self.keep(self.slot("order", Ordering).take(batch, NOW_US))

    def finish(self) -> None:
        self.keep(self.slot("order", Ordering).finish(NOW_US, has_ended=True))

    def keep(self, told: Any) -> None:
        self.alerts += told.alerts
        self.incidents |= {one.id: one for one in told.incidents}
        self.rejects += len(told.rejects)
        for number, piece in told.split.items():
            rows = self.slot(number, RuleSlot).take(piece, 0).rows.get("low_quantity", b"")
            self.rows[number] = self.rows.get(number, b"") + rows


@pytest.fixture(scope="module")
def records() -> list[bytes]:
    """Orders with lines out of order, within the lateness and beyond it, and rejects."""
    pieces, _ = simulate(Shop(seed=3, days=12, skus=60, lines_per_day=300, faults_per_day=3))
    header, *rest = b"".join(pieces.text()).splitlines()
    chance = random.Random(1)
    for _ in range(len(rest) // 20):
        at = chance.randrange(len(rest) - 400)
        record = rest.pop(at)
        rest.insert(at + chance.choice([1, 2, 3, 350]), record)
    rest[50] = b"1,2,3"
    return [header, *rest]


@pytest.fixture(scope="module")
def embedded(records: list[bytes]) -> dict[str, Any]:
    """What the embedded engine gives for them."""
    engine = Engine(SHOP)
    writer = RowWriter("csv", SHOP.detectors[0].columns, "")
    alerts: list[Alert] = []
    incidents: dict[str, Incident] = {}
    rows, rejects = b"", 0
    text = b"\n".join(records) + b"\n"
    outcomes = [*engine.feed("orders.csv", text, True, NOW_US)]
    assert len(outcomes) == 1, "its arrays hold until the next batch"
    for outcome in (*outcomes, engine.finish(), engine.strike()):
        alerts += outcome.alerts
        incidents |= {one.id: one for one in outcome.incidents}
        rejects += len(outcome.rejects)
        rows += bytes(
            writer.write(
                outcome.released.lines, outcome.released.order, outcome.rows["low_quantity"]
            )
        )
    assert alerts
    assert rejects > 1
    return {"alerts": alerts, "incidents": incidents, "rows": rows, "rejects": rejects}


def play(records: list[bytes], seed: int, share_of_failures: float) -> Job:
    chance = random.Random(seed)
    job = Job()
    at = 0
    while at < len(records):
        size = chance.choice([1, 7, 200, 1000])
        data = b"\n".join(records[at : at + size]) + b"\n"
        job.take(msgspec.msgpack.encode([("orders.csv", data)]))
        at += size
        if chance.random() < share_of_failures:
            job.fail()
    job.finish()
    return job


@pytest.mark.parametrize(("seed", "failures"), [(1, 0.0), (2, 0.2), (3, 0.5)])
def test_the_slots_give_what_the_embedded_engine_gives(
    records: list[bytes], embedded: dict[str, Any], seed: int, failures: float
) -> None:
    job = play(records, seed, failures)
    assert job.alerts == embedded["alerts"]
    assert job.incidents == embedded["incidents"]
    assert job.rejects == embedded["rejects"]
    rows = b"".join(job.rows.values()).splitlines()
    assert sorted(rows) == sorted(embedded["rows"].splitlines())
    assert len(job.rows) > SLOTS // 2


def test_a_snapshot_takes_the_place_of_the_batches_before_it(
    records: list[bytes], embedded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oddlot.engine.flink.slots._FEWEST", 20_000)
    monkeypatch.setattr("oddlot.engine.flink.slots._LOGGED", 0)
    job = play(records, 4, 0.3)
    log, kept = job.state["order"]
    assert kept.held
    assert sum(map(len, log.values())) < 25_000 + 1000 * 200
    assert job.alerts == embedded["alerts"]


def test_an_end_in_the_log_is_repeated_by_a_restart(records: list[bytes]) -> None:
    job = play(records, 5, 0.0)
    before = list(job.alerts)
    job.fail()
    job.finish()
    assert job.alerts == before, "nothing is pending any more"


def test_a_slot_depends_on_the_code_alone() -> None:
    assert [slot_of(sku) for sku in ("85123A", "22423", "POST")] == [25, 26, 25]


def test_lines_survive_the_way_between_slots() -> None:
    batch = order_lines.make_lines([order_lines.Line(sku=3, quantity=-4, time_us=7)])
    back = read_lines(write_lines(batch))
    assert back.line.tolist() == batch.line.tolist()
    back.line["quantity"] = 1  # they can be changed


@pytest.mark.parametrize("damage", [b"", b"nothing", b"\x28\xb5\x2f\xfd\x00"])
def test_a_damaged_savepoint_is_refused_in_one_line(damage: bytes) -> None:
    with pytest.raises(StateError, match="must be one that Oddlot wrote") as refused:
        thaw(damage)
    assert "\n" not in str(refused.value)


def test_a_savepoint_of_another_version_is_refused(tmp_path: Path) -> None:
    slot = RuleSlot(SHOP)
    _, arrays = thaw(slot.save())
    with pytest.raises(StateError, match="must be of version 1; got"):
        RuleSlot(SHOP).restore(freeze(b'{"version": 99}', arrays))
