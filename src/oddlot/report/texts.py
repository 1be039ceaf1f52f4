"""How the page says things in English and Spanish: sentences, numbers and times."""

from __future__ import annotations

import math
import tomllib
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

_RAREST = 1e-5  # as in the alerts' sentences: nobody has seen 300 years of a shop


class Speaker:
    """Says the page's sentences, numbers and times in one language.

    Attributes:
        language: "en" or "es".
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts: dict[str, str] = {
            key: text[language] for key, text in _read("texts.toml").items()
        }

    def say(self, key: str, **values: Any) -> str:
        """Return a sentence with its numbers; what is no text is written as a number."""
        written = {
            name: value if isinstance(value, str) else self.number(value)
            for name, value in values.items()
        }
        return self._texts[key].format(**written)

    def count(self, key: str, n: float) -> str:
        """Return a number with its noun, such as "1 line" or "2,300 lines"."""
        one, many = self._texts[key].split("|")
        return (one if round(n) == 1 else many).format(n=self.number(round(n)))

    def number(self, value: float) -> str:
        """Write a number: whole from 100 on, else with three digits that count."""
        if not math.isfinite(value):
            return self._texts["unknown"]
        if value == round(value) or abs(value) >= 100:
            return self._point(f"{value:,.0f}")
        decimals = max(0, 2 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{min(decimals, 8)}f}"
        return self._point(text.rstrip("0").rstrip("."))

    def price(self, value: float) -> str:
        """Write a price; "" where there is none."""
        return self._point(f"{value:,.2f}") if math.isfinite(value) else ""

    def percent(self, share: float) -> str:
        """Write a share of one."""
        if not math.isfinite(share):
            return self._texts["unknown"]
        is_fine = 0 < share < 0.1 or 0.99 < share < 1
        tenths = min(max(round(1000 * share), 1), 999) if is_fine else 10 * round(100 * share)
        return self.say("percent", n=tenths / 10)

    def detector(self, name: str) -> str:
        """Return what a detector's findings are called."""
        return self._word("detector", name)

    def evidence(self, name: str, detector: str) -> str:
        """Return what one of a detector's numbers is called."""
        return self._word("evidence", f"{detector}.{name}", name)

    def often(self, rate: float) -> str:
        """Say how often something turns up, by how many a day there are."""
        days = 1 / max(rate, _RAREST)
        if rate >= 1.5:
            return self.say("often_times", n=self.number(round(rate)))
        return self.say("often_days", n=round(days)) if days >= 1.5 else self.say("often_day")

    def time(self, time_us: int) -> str:
        """Write a time to the minute."""
        return str(np.datetime64(time_us, "us"))[:16].replace("T", " ")

    def day(self, day: int) -> str:
        """Write a day, which is counted from 1970."""
        return str(np.datetime64(day, "D"))

    def after(self, duration_us: int) -> str:
        """Write how long something took."""
        minutes = duration_us / 60_000_000
        if minutes < 120:
            return self.say("minutes", n=round(minutes))
        if minutes < 2880:
            return self.say("hours", n=round(minutes / 60))
        return self.count("day|", minutes / 1440)

    def _word(self, kind: str, *names: str) -> str:
        known = _read("words.toml")[kind]
        found = next((known[name] for name in names if name in known), None)
        return str(found[self.language]) if found else names[-1].replace("_", " ")

    def _point(self, text: str) -> str:
        return text.translate(str.maketrans(",.", ".,")) if self.language == "es" else text


@cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("oddlot.report") / name).read_text("utf-8"))
