"""One run over one simulated shop, kept: a change of any alert must be meant."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from oddlot.catalog import find_types
from oddlot.config import from_text
from oddlot.detect import detect
from oddlot.simulate import Shop, write_shop

DETECTORS = "".join(f'[[detectors]]\ntype = "{name}"\n' for name in find_types("detectors"))


@pytest.mark.golden
def test_the_alerts_of_a_simulated_shop_are_those_of_the_last_release(
    tmp_path: Path, golden: Callable[[Path, str], None]
) -> None:
    shop = Shop(seed=11, skus=300, days=40, lines_per_day=800, faults_per_day=1.0)
    orders = write_shop(shop, tmp_path).orders
    out = tmp_path / "alerts.csv"
    config = from_text(f"[budget]\nfalse_alerts_per_day = 2\n{DETECTORS}", "shop.toml")
    detect([str(orders)], config, str(out), lambda _: None, 2_000_000_000_000_000)
    alerts = out.read_text().replace(str(orders), "orders.csv")
    rows = (tmp_path / "alerts.low_quantity.csv").read_bytes()
    digest = hashlib.sha256(rows).hexdigest()
    count = rows.count(b"\n") - 1
    text = f"{alerts}\nlow_quantity: {count} rows, SHA-256 {digest}\n"
    golden(Path(__file__).parent / "golden" / "alerts.txt", text)
