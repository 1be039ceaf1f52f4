"""State folders and archives with what a test wants in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from oddlot import config as configs
from oddlot.archive import Archive
from oddlot.config import Config
from oddlot.engine.live import Live
from oddlot.schema import Alert, Incident, Reject, order_schema
from oddlot.simulate import Shop, write_shop
from oddlot.store import Store

NOON_US = 1_705_320_000_000_000  # 2024-01-15 12:00
HOUR_US = 3_600_000_000
_TESTS = ("quantity_spike", "price_error", "duplicate_invoice", "return_surge", "site_outage")


def write_config(folder: Path, more: str = "", detectors: Sequence[str] = _TESTS) -> Path:
    """Write a shop.toml with an archive, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = '[source]\npath = "logs"\n[archive]\npath = "archive"\n' + more
    text += "".join(f'[[detectors]]\ntype = "{name}"\n' for name in detectors)
    (folder / "shop.toml").write_text(text, "utf-8")
    return folder / "shop.toml"


def simulate(folder: Path, days: int = 40) -> Path:
    """Let the engine watch a simulated shop, with two spoilt lines; returns its config."""
    place = write_config(folder, "[budget]\nown_oddities = false\n")
    shop = Shop(seed=5, days=days, skus=400, lines_per_day=700, faults_per_day=1.0)
    orders = write_shop(shop, folder / "shop").orders
    logs = folder / "logs"
    logs.mkdir()
    spoilt = b"536365,85123A,HEART,many,2024-01-02 10:00:00,2.55,17850,UK\n\xff\xfe<b>odd</b>\n"
    (logs / "orders-000001.csv").write_bytes(Path(orders).read_bytes() + spoilt)
    run(configs.load(place))
    return place


def run(config: Config, *, is_last: bool = True) -> None:
    """Take all that is in the logs through the engine, and save; the archive only at the end."""
    clock = 1_735_689_600_000_000
    with Store.open(Path(config.state.path)) as store:
        live = Live(config, store, clock)
        while live.poll(clock):
            pass
        live.idle()
        live.commit(clock, is_last=is_last)
        live.close()


def alert(number: int, **fields: Any) -> Alert:
    """Return an alert that is whole."""
    values: dict[str, Any] = {
        "id": f"{number:032x}",
        "detector": "quantity_spike",
        "time_us": NOON_US + number * HOUR_US,
        "sku": f"S{number}",
        "chance": 1e-6,
        "rate": 0.01,
        "score": 2.0,
        "invoice": f"5{number:05d}",
        "description": f"PRODUCT {number}",
        "quantity": 900,
        "price": 1.5,
        "source": "orders.csv",
        "position": 100 * number,
        "number": number + 2,
        "evidence": {"low": 1.0, "high": 31.0, "most": 95.0, "meant": 90.0, "seen": 48.0},
        "text": f"S{number}: 900 units on one line.",
        "incident": f"{number:032x}",
        "stake": 1350.0,
        "probability": 0.7,
        "severity": 945.0,
    }
    return Alert(**{**values, **fields})


def incident(of: Alert, **fields: Any) -> Incident:
    """Return the incident of one alert."""
    whole = Incident(
        id=of.incident,
        first_us=of.time_us,
        last_us=of.time_us,
        alerts=1,
        skus=[of.sku],
        detectors=[of.detector],
        stake=of.stake,
        probability=of.probability,
        severity=of.severity,
        score=of.score,
        text=of.text,
    )
    return msgspec.structs.replace(whole, **fields)


def fill(
    place: Path,
    alerts: Sequence[Alert],
    rejects: Iterable[Reject] = (),
    change: Callable[[Incident], Incident] = lambda one: one,
) -> None:
    """Store alerts, each an incident of its own, and archive the lines that raised them."""
    config = configs.load(place)
    meta: dict[str, Any] = {"time": {"newest_us": NOON_US, "floor_us": NOON_US}}
    meta["sources"] = [{"name": one} for one in sorted({one.source for one in alerts})]
    with Store.open(Path(config.state.path)) as store:
        store.commit(
            msgspec.json.encode(meta),
            {},
            [],
            list(rejects),
            {"read": len(alerts), "scored": len(alerts)},
        )
        store.add_alerts(alerts, [change(incident(one)) for one in alerts])
    if config.archive.path:
        Archive(Path(config.archive.path)).write_orders(_orders(alerts), "000000000001")


def _orders(alerts: Sequence[Alert]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "time": [one.time_us for one in alerts],
        "customer": ["" for _ in alerts],
        "country": ["" for _ in alerts],
        "kind": ["sale" for _ in alerts],
    }
    for name in ("invoice", "sku", "description", "quantity", "price", "source", "position"):
        columns[name] = [getattr(one, name) for one in alerts]
    columns["price"] = [0.0 if math.isnan(one.price) else one.price for one in alerts]
    columns["number"] = [one.number for one in alerts]
    schema = order_schema()
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
