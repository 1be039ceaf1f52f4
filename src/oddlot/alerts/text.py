"""The sentence that an alert says, in English and Spanish."""

from __future__ import annotations

import math
from collections.abc import Mapping

_TEMPLATES = {
    "en": {
        "quantity_spike": (
            "{sku}: {quantity} units on one line at {clock}; it usually sells {usual} at a time"
            " ({past}). Something this odd turns up {often}.{stake}"
        ),
        "none": "a guess: it never sold before",
        "one": "from 1 line",
        "many": "from {count} lines",
        "stake": " {money} at stake.",
        "once_in_days": "once in {count} days",
        "once_a_day": "about once a day",
        "times_a_day": "{count} times a day",
    },
    "es": {
        "quantity_spike": (
            "{sku}: {quantity} unidades en una línea a las {clock}; suele venderse de {usual} en"
            " {usual} ({past}). Algo tan raro aparece {often}.{stake}"
        ),
        "none": "se supone: nunca se vendió antes",
        "one": "según 1 línea",
        "many": "según {count} líneas",
        "stake": " Están en juego {money}.",
        "once_in_days": "una vez cada {count} días",
        "once_a_day": "más o menos una vez al día",
        "times_a_day": "{count} veces al día",
    },
}
LANGUAGES = tuple(_TEMPLATES)
_MOST_LOG = math.log(2**31)  # no line has more units


def _number(value: float, language: str) -> str:
    text = f"{value:,.0f}"
    return text if language == "en" else text.replace(",", ".")


def _often(rate: float, language: str) -> str:
    words = _TEMPLATES[language]
    days = 1 / rate if rate > 1e-9 else 1e9
    if rate >= 1.5:
        return words["times_a_day"].format(count=_number(rate, language))
    if days >= 1.5:
        return words["once_in_days"].format(count=_number(days, language))
    return words["once_a_day"]


def _past(seen: float, language: str) -> str:
    words = _TEMPLATES[language]
    if seen >= 1.5:
        return words["many"].format(count=_number(seen, language))
    return words["one" if seen >= 0.5 else "none"]


def explain(
    detector: str,
    sku: str,
    time_us: int,
    quantity: int,
    price: float,
    rate: float,
    evidence: Mapping[str, float],
    language: str = "en",
) -> str:
    """Say in one sentence what was found, with its numbers.

    Args:
        detector: the detector's type.
        sku: the SKU's code.
        time_us: event time, microseconds UTC.
        quantity: units on the line.
        price: of one unit; NaN where unknown.
        rate: how many a day are at least this odd.
        evidence: the detector's own numbers.
        language: "en" or "es".
    """
    words = _TEMPLATES[language]
    minutes = time_us // 60_000_000 % 1440
    stake = ""
    money = abs(quantity * price)
    if 0.5 <= money < math.inf:
        stake = words["stake"].format(money=_number(money, language))
    return words[detector].format(
        sku=sku,
        clock=f"{minutes // 60:02d}:{minutes % 60:02d}",
        quantity=_number(quantity, language),
        usual=_number(max(1.0, math.exp(min(evidence.get("usual_log", 0.0), _MOST_LOG))), language),
        past=_past(evidence.get("seen", 0.0), language),
        often=_often(rate, language),
        stake=stake,
    )


def printable(text: str) -> str:
    """Make a text safe for a terminal: product names can hold what would steer it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
