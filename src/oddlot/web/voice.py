"""How the pages say things: the report's words and numbers, more sentences, alerts retold."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from oddlot.alerts.text import explain, printable
from oddlot.report.texts import Speaker
from oddlot.schema import Alert, Incident

LANGUAGES = {"en": "English", "es": "Español"}
LEVELS = ("low", "medium", "high", "critical")
_LIKE = "{like"  # a sentence that names another SKU cannot be retold: the alert keeps no name


class Voice(Speaker):
    """Says everything on the pages in one language.

    Args:
        language: "en" or "es".
        sentences: what each detector's alerts say, by its type and language.
        told: the language in which the stored alerts are.
    """

    def __init__(
        self, language: str, sentences: Mapping[str, Mapping[str, str]], told: str
    ) -> None:
        super().__init__(language)
        self._texts |= {key: text[language] for key, text in _read().items()}
        self._sentences = sentences
        self._told = told

    def retell(self, alert: Alert) -> Alert:
        """Return the alert with its sentence in this language, where that can be said."""
        sentence = self._sentences.get(alert.detector)
        if self.language == self._told or sentence is None or _LIKE in sentence[self.language]:
            return alert
        text = explain(
            sentence,
            alert.sku if alert.sku != "*" else self.say("whole_shop"),
            alert.time_us,
            alert.quantity,
            alert.price,
            alert.invoice,
            "",
            alert.rate,
            alert.evidence,
            self.language,
        )
        return msgspec.structs.replace(alert, text=text)

    def notes(self, incident: Incident) -> list[str]:
        """Say what else is known of an incident: reversed, doubled, a pair."""
        badges = []
        if incident.reversed_us is not None:
            badges.append(self.say("reversed", after=self.after(incident.reversed_after_us)))
        if incident.doubled:
            badges.append(self.say("doubled", times=incident.doubled + 1))
        if incident.pair:
            badges.append(self.say("pair", sku=incident.pair))
        return badges

    def money(self, value: float) -> str:
        """Write an amount: whole, as cents say nothing about what to do."""
        return self.number(round(value)) if value >= 0.5 else self.say("money_unknown")

    def short(self, seconds: float) -> str:
        """Write an age in its largest whole unit; `page.js` does the same."""
        for unit, length in (("d", 172_800), ("h", 7_200), ("min", 120)):
            if seconds >= length:
                return f"{int(seconds // {'d': 86_400, 'h': 3_600, 'min': 60}[unit])} {unit}"
        return f"{max(0, int(seconds))} s"

    def bytes(self, size: int) -> str:
        """Write a size in bytes."""
        power = 0
        while size >= 1000 * 1000**power and power < 3:
            power += 1
        return f"{self.number(round(size / 1000**power, 1))} {('B', 'kB', 'MB', 'GB')[power]}"


def level_of(severity: float, edges: tuple[float, ...]) -> str:
    """Return the word for a severity."""
    return LEVELS[sum(severity >= edge for edge in edges)]


def clean(text: str) -> str:
    """Take out what would steer a terminal or turn a line around; our own blanks stay."""
    return "\N{NO-BREAK SPACE}".join(printable(part) for part in text.split("\N{NO-BREAK SPACE}"))


@cache
def _read() -> dict[str, Any]:
    return tomllib.loads((resources.files("oddlot.web") / "texts.toml").read_text("utf-8"))
