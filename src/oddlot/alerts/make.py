"""Alerts out of findings: ids made of what they are about, evidence, the sentence."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from oddlot.alerts.text import explain
from oddlot.schema import Alert, Lines


def make_alerts(
    detector: str,
    lines: Lines,
    order: Any,
    found: Any,
    rate: Any,
    share: float,
    sources: Sequence[str],
    language: str = "en",
) -> list[Alert]:
    """Make an alert of each line whose rate is within the detector's share.

    Args:
        detector: the detector's type.
        lines: a batch.
        order: shape (released,), places in `lines`, whole instants.
        found: shape (released,), dtype the detector's `found`.
        rate: shape (released,), how many a day are at least this odd.
        share: false alerts a day that the detector may spend.
        sources: names of the sources by number.
        language: "en" or "es", of the sentence.
    """
    alerts = []
    copies: Counter[bytes] = Counter()
    for k in np.flatnonzero(rate <= share).tolist():
        index = int(order[k])
        line = lines.line[index]
        texts = {name: lines.read(index, name) for name in ("invoice", "sku", "description")}
        time_us, quantity, price = (
            int(line["time_us"]),
            int(line["quantity"]),
            float(line["price"]),
        )
        about = repr(
            (
                *(detector, time_us, texts["sku"], texts["invoice"], quantity, price),
                *(lines.read(index, "customer"), texts["description"]),
            )
        ).encode()
        # Exact copies of a line are separate findings; which copy is which does not matter.
        copies[about] += 1
        digest = hashlib.blake2b(about + b"#%d" % copies[about], digest_size=16)
        evidence = {name: float(found[name][k]) for name in found.dtype.names if name != "chance"}
        alerts.append(
            Alert(
                id=digest.hexdigest(),
                detector=detector,
                time_us=time_us,
                sku=texts["sku"],
                chance=float(found["chance"][k]),
                rate=float(rate[k]),
                score=-math.log10(max(float(rate[k]), 1e-300)),
                invoice=texts["invoice"],
                description=texts["description"],
                quantity=quantity,
                price=price,
                source=sources[int(line["source"])],
                position=int(line["position"]),
                number=int(line["number"]),
                evidence=evidence,
                text=explain(
                    detector,
                    texts["sku"],
                    time_us,
                    quantity,
                    price,
                    float(rate[k]),
                    evidence,
                    language,
                ),
            )
        )
    return alerts


def alert_row(alert: Alert) -> dict[str, Any]:
    """Return an alert as a flat row: time, sku, type and score first."""
    evidence = msgspec.json.encode(alert.evidence).decode()
    return {
        "time": str(np.datetime64(alert.time_us, "us")).replace("T", " ").removesuffix(".000000"),
        "sku": alert.sku,
        "type": alert.detector,
        "score": round(alert.score, 6),
        "rate": alert.rate,
        "chance": alert.chance,
        "invoice": alert.invoice,
        "description": alert.description,
        "quantity": alert.quantity,
        "price": alert.price if math.isfinite(alert.price) else None,
        "source": alert.source,
        "position": alert.position,
        "number": alert.number,
        "id": alert.id,
        "evidence": evidence,
        "text": alert.text,
    }
