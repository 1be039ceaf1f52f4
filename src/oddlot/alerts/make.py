"""Alerts out of findings: ids made of what they are about, evidence, the sentence."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from oddlot.alerts.text import explain, stake_of
from oddlot.detectors.contract import FOUND
from oddlot.schema import Alert

_NO_EVIDENCE = {name for name, _ in FOUND} | {"like"}
_NO_LINE = -1  # position of an alert that the clock raised


def make_alerts(
    detector: Any,
    name: str,
    released: Any,
    scored: Any,
    found: Any,
    rate: Any,
    probability: Callable[[float], float],
    code: Callable[[int], str],
    sources: Sequence[str],
    language: str = "en",
) -> list[tuple[Alert, int]]:
    """Make an alert of each finding; returns each with the index of its event.

    Args:
        detector: what found them.
        name: its type.
        released: the lines that were scored.
        scored: the events that they became.
        found: shape (findings,), dtype the detector's `found`.
        rate: shape (findings,), how many a day are at least this odd.
        probability: gives that of being real by the rate.
        code: gives a SKU's code by its number.
        sources: names of the sources by number.
        language: "en" or "es", of the sentence.
    """
    alerts = []
    copies: Counter[bytes] = Counter()
    lines = released.lines
    for k in range(len(found)):
        event = int(found["event"][k])
        number = int(found["sku"][k])
        sku = code(number) if number >= 0 else "*"
        time_us = int(scored.event["time_us"][event])
        place = int(scored.place[event])
        texts = dict.fromkeys(("invoice", "description", "customer"), "")
        quantity, price = 0, math.nan
        where: tuple[str, int, int] = ("", _NO_LINE, 0)
        if place >= 0:
            index = int(released.order[place])
            line = lines.line[index]
            texts = {text: lines.read(index, text) for text in texts}
            quantity, price = int(line["quantity"]), float(line["price"])
            where = sources[int(line["source"])], int(line["position"]), int(line["number"])
        about = repr(
            (
                *(name, time_us, sku, texts["invoice"], quantity, price),
                *(texts["customer"], texts["description"]),
            )
        ).encode()
        # Exact copies of a line are separate findings; which copy is which does not matter.
        copies[about] += 1
        digest = hashlib.blake2b(about + b"#%d" % copies[about], digest_size=16)
        names = found.dtype.names
        like = code(int(found["like"][k])) if "like" in names else ""
        evidence = {one: float(found[one][k]) for one in names if one not in _NO_EVIDENCE}
        source, position, line_number = where
        stake, real = stake_of(quantity, price, evidence), probability(float(rate[k]))
        alert = Alert(
            id=digest.hexdigest(),
            detector=name,
            time_us=time_us,
            sku=sku,
            chance=float(found["chance"][k]),
            rate=float(rate[k]),
            score=-math.log10(max(float(rate[k]), 1e-300)),
            invoice=texts["invoice"],
            description=texts["description"],
            quantity=quantity,
            price=price,
            source=source,
            position=position,
            number=line_number,
            evidence=evidence,
            text=explain(
                detector.sentence,
                sku,
                time_us,
                quantity,
                price,
                texts["invoice"],
                like,
                float(rate[k]),
                evidence,
                language,
            ),
            stake=stake,
            probability=real,
            severity=stake * real,
        )
        alerts.append((alert, event))
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
        "incident": alert.incident,
        "stake": round(alert.stake, 2),
        "probability": round(alert.probability, 4),
        "severity": round(alert.severity, 2),
    }
