"""What a page shows, as its address says it: filters, order, page, range of time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from oddlot.errors import DataError
from oddlot.web.inbox import Wanted
from oddlot.web.voice import LEVELS

HOUR_US = 3_600_000_000
_LONGEST = 200  # characters of a text that is looked for
_MOST_PAGES = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Range(NamedTuple):
    """How far back the swimlanes go."""

    cells: int
    cell_us: int


RANGES = {
    "24h": Range(24, HOUR_US),
    "7d": Range(28, 6 * HOUR_US),
    "30d": Range(30, 24 * HOUR_US),
    "90d": Range(30, 72 * HOUR_US),
}


class View(msgspec.Struct, frozen=True):
    """One address of a list, read and checked.

    Attributes:
        q, sku, detector: as in `Wanted`.
        level: a word for severity; "" for any.
        since, until: to the minute, as 2024-01-31T15:00; "" for any.
        sort: severity or time.
        page: from 1.
        range: key of RANGES.
        code: the SKU of a SKU's page.
    """

    q: str = ""
    sku: str = ""
    detector: str = ""
    level: str = ""
    since: str = ""
    until: str = ""
    sort: str = "severity"
    page: int = 1
    range: str = "24h"
    code: str = ""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> View:
        """Read an address's query.

        Raises:
            DataError: it asks for what there is not; the text says what and what there is.
        """
        values: dict[str, Any] = {
            name: given[name].strip()
            for name in cls.__struct_fields__
            if given.get(name, "").strip()
        }
        for name, known in (("level", LEVELS), ("sort", ("severity", "time")), ("range", RANGES)):
            if name in values and values[name] not in known:
                raise DataError(f"{name} must be one of: {', '.join(known)}")
        if "page" in values:
            page = values["page"]
            if not (page.isascii() and page.isdigit() and 1 <= int(page[:9]) <= _MOST_PAGES):
                raise DataError(f"page must be 1 to {_MOST_PAGES}")
            values["page"] = int(page)
        for name in ("q", "sku", "detector", "code"):
            if len(values.get(name, "")) > _LONGEST:
                raise DataError(f"{name} must be at most {_LONGEST} characters long")
        for name in ("since", "until"):
            if name in values:
                _time_us(values[name], name)
        return cls(**values)

    def wanted(self, edges: tuple[float, ...]) -> Wanted:
        """Return what the store is asked for."""
        bounds = [0.0, *edges, None]
        place = LEVELS.index(self.level) if self.level else 0
        return Wanted(
            text=self.q,
            sku=self.sku,
            detector=self.detector,
            least=bounds[place] or 0.0,
            most=bounds[place + 1] if self.level else None,
            since_us=_time_us(self.since, "since") if self.since else None,
            until_us=_time_us(self.until, "until") if self.until else None,
            by_time=self.sort == "time",
        )

    def link(self, path: str, **changes: Any) -> str:
        """Return the address of this view with some of it changed; defaults are left out."""
        plain = msgspec.structs.asdict(View())
        values = {**msgspec.structs.asdict(self), **changes}
        query = {name: value for name, value in values.items() if value != plain[name]}
        return f"{path}?{urlencode(query)}" if query else path

    @property
    def is_filtered(self) -> bool:
        """Whether a filter hides something."""
        return any((self.q, self.sku, self.detector, self.level, self.since, self.until))


def minute(time_us: int) -> str:
    """Write an event time as addresses do."""
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M")


def _time_us(text: str, name: str) -> int:
    try:
        time = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise DataError(f"{name} must be a time such as 2024-01-31T15:00") from None
    return (time - _EPOCH) // timedelta(microseconds=1)
