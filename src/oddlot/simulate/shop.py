"""What a simulated shop is made of: its options and its calendar."""

from __future__ import annotations

import datetime
from typing import ClassVar

import msgspec
import numpy as np

from oddlot.errors import ConfigError
from oddlot.schema import Floats
from oddlot.simulate.draws import Curve, Draws, bell

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
OPENING_US = 7 * HOUR_US
CLOSING_US = 21 * HOUR_US

# Share of the week's order lines by weekday, Monday first; after Online Retail, but with
# Sunday as the closing day.
WEEKDAY = (1.10, 1.08, 1.02, 1.12, 0.98, 0.70, 0.0)

# Order lines by day of the year against the mean, through the middle of each month of Online
# Retail: quiet in February, double in November.
_MIDDLES = (-15, 15, 45, 75, 105, 136, 166, 197, 228, 258, 289, 319, 350, 380)
SEASON = Curve(
    _MIDDLES,
    (1.2, 0.82, 0.68, 0.77, 0.80, 0.83, 0.80, 0.86, 0.80, 1.09, 1.31, 1.83, 1.2, 0.82),
)
# What a winter article and a garden article sell against an article of all seasons.
WINTER = Curve(_MIDDLES, (1.0, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2, 0.3, 0.6, 1.4, 2.2, 3.0, 2.6, 0.3))
SUMMER = Curve(_MIDDLES, (0.3, 0.4, 0.6, 1.0, 1.6, 2.0, 2.0, 1.7, 1.2, 0.7, 0.5, 0.4, 0.4, 0.4))


class Shop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shop to simulate; the same options give the same bytes on any machine.

    Attributes:
        seed: 0 or more; another seed is another shop.
        skus: how many products it has.
        days: calendar days from `start`; it is closed on Sundays and over Christmas.
        lines_per_day: order lines on an average open day.
        start: first day, YYYY-MM-DD.
        faults_per_day: how many faults are planted on an average open day; 0 gives the same
            shop without faults.
        quiet_days: calendar days at the beginning without faults, for detectors to learn.
        resolution_us: order times are multiples of this; a minute, as in Online Retail.
        dates: how times are written, "iso" or "month-first".
    """

    seed: int = 1
    skus: int = 2000
    days: int = 60
    lines_per_day: int = 2000
    start: str = "2024-01-08"
    faults_per_day: float = 1.0
    quiet_days: int = 14
    resolution_us: int = 60_000_000
    dates: str = "iso"

    limits: ClassVar[dict[str, tuple[float, float]]] = {
        "seed": (0, 2**63),
        "skus": (1, 10_000_000),
        "days": (0, 36_600),
        "lines_per_day": (1, 10_000_000),
        "faults_per_day": (0, 1000),
        "quiet_days": (0, 36_600),
        "resolution_us": (1, HOUR_US),
    }

    def check(self) -> None:
        """Check every option.

        Raises:
            ConfigError: an option is out of range; its text names the option.
        """
        for name, (low, high) in self.limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"simulate: {name} must be {low} to {high}; got {value}")
        if self.dates not in ("iso", "month-first"):
            raise ConfigError(f"simulate: dates must be iso or month-first; got '{self.dates}'")
        try:
            first = datetime.date.fromisoformat(self.start)
        except ValueError:
            raise ConfigError(
                f"simulate: start must be a date such as 2024-01-08; got '{self.start}'"
            ) from None
        if first.year < 1900 or first.year + self.days / 365 > 2199:
            raise ConfigError(f"simulate: start must be in 1900 to 2199; got '{self.start}'")


class OpenDay(msgspec.Struct, frozen=True):
    """A day on which the shop is open.

    Attributes:
        index: which open day it is, from 0.
        offset: calendar days since the shop's first day.
        date: the calendar day.
        start_us: its midnight, microseconds UTC.
        lines: how many order lines are sold on it, before chance.
    """

    index: int
    offset: int
    date: datetime.date
    start_us: int
    lines: float

    @property
    def day_of_year(self) -> int:
        """Day of the year, from 0."""
        return self.date.timetuple().tm_yday - 1


def open_days(shop: Shop) -> list[OpenDay]:
    """List the days on which the shop is open, each with the order lines due on it."""
    first = datetime.date.fromisoformat(shop.start)
    epoch = datetime.date(1970, 1, 1)
    dates = [first + datetime.timedelta(days=offset) for offset in range(shop.days)]
    due = [
        0.0 if _is_closed(date) else WEEKDAY[date.weekday()] * float(SEASON(date_of_year(date)))
        for date in dates
    ]
    mean = sum(due) / max(sum(1 for part in due if part), 1)
    chance = Draws(shop.seed, 4)
    mood = 0.75 + 0.5 * bell(chance.uniform((shop.days, 4)))
    days: list[OpenDay] = []
    for offset, date in enumerate(dates):
        if due[offset]:
            lines = shop.lines_per_day * due[offset] / mean * float(mood[offset])
            start_us = (date - epoch).days * DAY_US
            days.append(OpenDay(len(days), offset, date, start_us, lines))
    return days


def date_of_year(date: datetime.date) -> Floats:
    """Return the day of the year, from 0, as a curve takes it."""
    return np.array(float(date.timetuple().tm_yday - 1))


def _is_closed(date: datetime.date) -> bool:
    """Say whether it is a Sunday or one of the days from Christmas Eve to 2 January."""
    is_christmas = (date.month == 12 and date.day >= 24) or (date.month == 1 and date.day <= 2)
    return is_christmas or WEEKDAY[date.weekday()] == 0.0
