"""The sentence that an alert says, in English and Spanish."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping
from typing import Any

import numpy as np

from oddlot.schema import Incident

_WORDS = {
    "en": {
        "stake": " {money} at stake.",
        "once_in_days": "once in {count} days",
        "rarer": "less than once in {count} days",
        "once_a_day": "about once a day",
        "times_a_day": "{count} times a day",
        "unknown": "an unknown number",
        "reversed": " Reversed after {time}.",
        "doubled": " Booked {count} times.",
        "pair": " {sku} moved the other way by as much: a wrong code?",
        "more": " One of {count} alerts with this cause.",
    },
    "es": {
        "stake": " Están en juego {money}.",
        "once_in_days": "una vez cada {count} días",
        "rarer": "menos de una vez cada {count} días",
        "once_a_day": "más o menos una vez al día",
        "times_a_day": "{count} veces al día",
        "unknown": "un número desconocido",
        "reversed": " Anulado a los {time}.",
        "doubled": " Registrado {count} veces.",
        "pair": " {sku} se movió al revés otro tanto: ¿un código equivocado?",
        "more": " Una de {count} alertas con esta causa.",
    },
}
LANGUAGES = tuple(_WORDS)
_RAREST = 1e-3  # a rate below this is told as that: nobody knows a shop for longer


class _Sentence(string.Formatter):
    """Fills the braces of a detector's sentence.

    After a colon stands how a number is written: `n` whole, `x` with one decimal, `p` with two,
    or `line|lines`, the number and its noun.
    """

    def __init__(self, language: str) -> None:
        self.language = language

    def format_field(self, value: Any, form: str) -> str:
        """Write one value."""
        if isinstance(value, str):
            return value
        number = float(value)
        if not math.isfinite(number):
            return _WORDS[self.language]["unknown"]
        if "|" in form:
            one, many = form.split("|")
            return f"{self._digits(number, 0)} {one if round(number) == 1 else many}"
        return self._digits(number, {"x": 1, "p": 2}.get(form, 0))

    def _digits(self, number: float, decimals: int) -> str:
        text = f"{round(number, decimals) + 0.0:,.{decimals}f}"  # no -0
        if self.language == "es":
            text = text.translate(str.maketrans(",.", ".,"))
        return text


def _often(rate: float, language: str) -> str:
    words, write = _WORDS[language], _Sentence(language).format_field
    if rate >= 1.5:
        return words["times_a_day"].format(count=write(rate, "n"))
    if rate < _RAREST:
        return words["rarer"].format(count=write(1 / _RAREST, "n"))
    days = 1 / rate
    if days >= 1.5:
        return words["once_in_days"].format(count=write(days, "n"))
    return words["once_a_day"]


def explain(
    sentence: Mapping[str, str],
    sku: str,
    time_us: int,
    quantity: int,
    price: float,
    invoice: str,
    like: str,
    rate: float,
    evidence: Mapping[str, float],
    language: str = "en",
) -> str:
    """Say in one sentence what was found, with its numbers.

    Args:
        sentence: the detector's own, by language; in braces `sku`, `clock`, `date`, `quantity`,
            `price`, `invoice`, `like`, `often`, `stake` and the names of its evidence.
        sku: the SKU's code.
        time_us: event time, microseconds UTC.
        quantity: units on the line.
        price: of one unit; NaN where unknown.
        invoice: the invoice's number.
        like: another SKU's code that the finding names; "" for none.
        rate: how many a day are at least this odd.
        evidence: the detector's own numbers; `stake` is the money at risk.
        language: "en" or "es".
    """
    write = _Sentence(language)
    minutes = time_us // 60_000_000 % 1440
    money = stake_of(quantity, price, evidence)
    stake = ""
    if money >= 0.5:
        stake = _WORDS[language]["stake"].format(money=write.format_field(money, "n"))
    values = {
        **evidence,
        "sku": sku,
        "clock": f"{minutes // 60:02d}:{minutes % 60:02d}",
        "date": str(np.datetime64(time_us, "us").astype("datetime64[D]")),
        "quantity": quantity,
        "price": price,
        "invoice": invoice,
        "like": like,
        "often": _often(rate, language),
        "stake": stake,
    }
    return write.vformat(sentence[language], (), values)


def notes(incident: Incident, language: str = "en") -> str:
    """Say what else is known of an incident: that it was reversed, doubled, told more than once."""
    words, write = _WORDS[language], _Sentence(language).format_field
    text = ""
    if incident.reversed_us is not None:
        minutes = incident.reversed_after_us / 60_000_000
        for unit, length in (("d", 1440), ("h", 60), ("min", 1)):
            if minutes >= 2 * length or unit == "min":
                text += words["reversed"].format(time=f"{write(minutes / length, 'n')} {unit}")
                break
    if incident.doubled:
        text += words["doubled"].format(count=write(incident.doubled + 1, "n"))
    if incident.pair:
        text += words["pair"].format(sku=incident.pair)
    if incident.alerts > 1:
        text += words["more"].format(count=write(incident.alerts, "n"))
    return text


def stake_of(quantity: int, price: float, evidence: Mapping[str, float]) -> float:
    """Return the money at risk: the detector's own figure, or that of the line; 0 if unknown."""
    money = evidence.get("stake", abs(quantity * price))
    return money if 0 <= money < math.inf else 0.0


def printable(text: str) -> str:
    """Make a text safe for a terminal: product names can hold what would steer it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
