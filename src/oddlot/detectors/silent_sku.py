"""A product that sold and no longer does, for longer than its pace allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import FOUND, NOTED, TICK, Event, ShopDetector, more_room
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled
from oddlot.errors import ConfigError
from oddlot.schema import SALE
from oddlot.statistics.gaps import (
    BANDS,
    LEVEL,
    LEVELS,
    LOWEST,
    band,
    define_band,
    define_learnt,
    define_level,
    gap_oddness,
    gap_of,
    learnt,
    level,
    next_due,
)

_DAY_US = 86_400_000_000
_HOUR_US = 3_600_000_000
_PACES = np.array(
    [0.25, 1.0, 2.0]
)  # a SKU's pace over these parts of the memory; the slowest counts
_PRIOR = 1.0  # lines that the catalogue's mean pace counts for
_SHAPE = 1 / 30.0  # squared spread of a pace from one time to another; chosen on those seeds
_WEIGHT = 3000.0  # gaps that the model's word is worth; chosen on the public seeds 1 to 3
_KEEP = 0.5 ** (1 / 60)  # a half-life of 60 trading days, as in the budget
_DAILY = 0.05  # the mean of lines a trading day is of about the last twenty
_STEP = 0.5  # decades by which a gap must become odder to be told again
_MOST_WORTH = 1e12  # a line worth more is a slip
_USUAL_WORTH = 5.0  # a line counts for at most so many times the worth of the others
_PER_HALF = 1 / math.log(2.0)  # mean lives in a half-life
_FARTHEST = 1e12  # lines; what is due later is never due
_NEVER = np.int64(1 << 62)


@compiled
def _scan(rows, shop, event, first, last, memory, active, found):
    count = 0
    own = shop[0]
    # Fields as whole arrays: a record or an array within one costs more each time.
    deadlines = rows["deadline"]
    lines, exposed = rows["lines"], rows["exposed"]
    reached, fresh, trials = shop["reached"][0], shop["fresh"][0], shop["trials"][0]
    i = first
    while i < last:
        time_us = event[i].time_us
        if event[i].kind == TICK:
            if time_us % _HOUR_US == 0 and own.clock >= own.deadline:
                most = own.most
                sku, latest = next_due(deadlines, 0, most, own.clock, _NEVER)
                while sku < most:
                    row = rows[sku]
                    gap = float(own.clock - row.last)
                    oddness, slowest = 1e9, 1e9
                    for p in range(3):
                        seen = lines[sku, p] + _PRIOR
                        rate = seen / (exposed[sku, p] + _PRIOR * own.known)
                        shape = 1.0 / (1.0 / seen + _SHAPE)
                        oddness = min(oddness, gap_oddness(gap, rate, shape))
                        slowest = min(slowest, rate)
                    place = band(slowest * own.daily)
                    levels = level(oddness)
                    if levels > row.level:
                        # Learnt after the whole tick, so that no SKU's turn matters.
                        for r in range(row.level, levels):
                            fresh[place, r] += 1.0
                        row.level = levels
                        after = reached[place, levels] if levels < LEVELS else 0.0
                        chance = learnt(
                            oddness,
                            reached[place, levels - 1],
                            after,
                            trials[place],
                            _WEIGHT,
                        )
                        odd = -math.log10(chance)
                        is_news = gap <= active * own.daily and odd >= row.told + _STEP
                        if chance <= NOTED and is_news:
                            row.told = odd
                            if count == len(found):
                                found = more_room(found)
                            out = found[count]
                            count += 1
                            out.event = i
                            out.tests = own.tests
                            out.chance = chance
                            out.sku = sku
                            out.due = slowest * gap
                            out.days = gap / own.daily
                            out.a_day = slowest * own.daily
                            out.seen = row.seen
                            out.stake = slowest * gap * row.worth
                    row.deadline = _NEVER
                    if row.level < LEVELS:
                        # The slowest pace decides; a little early, for rounding.
                        due = 0.0
                        for p in range(3):
                            seen = lines[sku, p] + _PRIOR
                            rate = seen / (exposed[sku, p] + _PRIOR * own.known)
                            shape = 1.0 / (1.0 / seen + _SHAPE)
                            due = max(due, gap_of(LOWEST + LEVEL * row.level, rate, shape))
                        if due < _FARTHEST:
                            row.deadline = max(row.last + np.int64(due), own.clock + 1)
                    latest = min(latest, row.deadline)
                    sku, latest = next_due(deadlines, sku + 1, most, own.clock, latest)
                own.deadline = max(latest, own.clock + 1)
                for b in range(BANDS):
                    for r in range(LEVELS):
                        reached[b, r] += fresh[b, r]
                        fresh[b, r] = 0.0
            i += 1
            continue
        j = i
        lines_now = 0
        while j < last and event[j].time_us == time_us:
            kind, price = event[j].kind, event[j].price
            lines_now += kind == SALE and event[j].quantity > 0 and not price <= 0.0
            j += 1
        if lines_now > 0:
            day = time_us // _DAY_US
            if own.days == 0 or day > own.day:
                if own.days == 1:
                    own.daily = float(own.today)
                elif own.days > 1:
                    own.daily += _DAILY * (own.today - own.daily)
                own.day = day
                own.days += 1
                own.today = 0
                for b in range(BANDS):
                    trials[b] *= _KEEP
                    for r in range(LEVELS):
                        reached[b, r] *= _KEEP
            own.clock += lines_now
            own.today += lines_now
        for k in range(i, j):
            price = event[k].price
            if event[k].kind == SALE and event[k].quantity > 0 and not price <= 0.0:
                sku = event[k].sku
                row = rows[sku]
                own.most = max(own.most, np.int64(sku) + 1)
                if row.seen == 0.0:
                    counts = True
                    own.known += 1.0
                else:
                    counts = event[k].invoice != row.invoice or event[k].invoice == 0
                    if counts:
                        gap = float(own.clock - row.last)
                        slowest = 1e9
                        life = memory * _PER_HALF * max(own.daily, 1.0)
                        left = math.exp(-0.5 * gap / life)  # of the longest; a power costs more
                        for p in range(2, -1, -1):
                            seen = lines[sku, p] + _PRIOR
                            rate = seen / (exposed[sku, p] + _PRIOR * own.known)
                            slowest = min(slowest, rate)
                            lost = life * _PACES[p] * (1.0 - left)
                            exposed[sku, p] = exposed[sku, p] * left + lost
                            lines[sku, p] = lines[sku, p] * left + 1.0
                            left *= left
                            if p == 1:
                                left *= left
                        own.tests += 1.0
                        trials[band(slowest * own.daily)] += 1.0
                if counts:
                    row.seen += 1.0
                    worth = event[k].quantity * price
                    if not worth < _MOST_WORTH:
                        worth = row.worth
                    if row.seen == 1.0:
                        row.worth = worth
                    else:
                        worth = min(worth, _USUAL_WORTH * row.worth)
                        row.worth += (worth - row.worth) * max(1.0 / row.seen, _DAILY)
                row.invoice = event[k].invoice
                row.last = own.clock
                row.level = 0
                row.told = 0.0
                # With fewer lines due no gap reaches the lowest level: exp(-3.4) is above 10^-1.5.
                rate = (lines[sku, 2] + _PRIOR) / (exposed[sku, 2] + _PRIOR * own.known)
                row.deadline = own.clock + max(np.int64(1), np.int64(3.4 / rate))
                own.deadline = min(own.deadline, row.deadline)
        i = j
    return found, count


class SilentSku(ShopDetector, frozen=True):
    """A product that sold and no longer does, for longer than its pace allows.

    Time is counted in the shop's own order lines, so that nights, holidays and outages are no
    silence. A SKU's pace is known as a gamma distribution at three memories and the slowest
    counts, so that a season that fades is no surprise; the chance of the gap is corrected by
    how often gaps as odd came about at a like pace. Not for slow sellers: a gap of more than
    `active` trading days is the end of a product's life, or cannot be told from it.

    Source:
        DeHoratius, Raman (2008), Inventory record inaccuracy, Management Science 54(4);
        Lomax (1954), Business failures, JASA 49, for the law of gaps.
    """

    memory: Annotated[Duration, Meta(description="Half-life of a pace, in trading days.")] = "30d"
    active: Annotated[
        Duration, Meta(description="Longest gap that is still news, in trading days.")
    ] = "20d"

    row: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("lines", "<f8", (3,)),
            ("exposed", "<f8", (3,)),
            ("last", "<i8"),
            ("deadline", "<i8"),
            ("invoice", "<u8"),
            ("level", "<i8"),
            ("told", "<f8"),
            ("seen", "<f8"),
            ("worth", "<f8"),
        ],
        align=True,
    )
    shop: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("tests", "<f8"),
            ("clock", "<i8"),
            ("deadline", "<i8"),
            ("most", "<i8"),
            ("day", "<i8"),
            ("days", "<i8"),
            ("today", "<i8"),
            ("daily", "<f8"),
            ("known", "<f8"),
            ("trials", "<f8", (BANDS,)),
            ("reached", "<f8", (BANDS, LEVELS)),
            ("fresh", "<f8", (BANDS, LEVELS)),
        ],
        align=True,
    )
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [
            *FOUND,
            ("due", "<f8"),
            ("days", "<f8"),
            ("a_day", "<f8"),
            ("seen", "<f8"),
            ("stake", "<f8"),
        ],
        align=True,
    )
    finds: ClassVar[str] = "silent_sku"
    weight: ClassVar[float] = 10.0
    sentence: ClassVar[Mapping[str, str]] = {
        "en": "{sku}: no sale for {days:x} trading days up to {date} {clock}, in which about "
        "{due:line|lines} were due (it sells {a_day:x} lines a day, from {seen:line|lines}). "
        "Something this odd turns up {often}.{stake}",
        "es": "{sku}: ninguna venta en {days:x} días de venta hasta el {date} a las {clock}, en "
        "los que se esperaban unas {due:línea|líneas} (vende {a_day:x} líneas al día, según "
        "{seen:línea|líneas}). Algo tan raro ocurre {often}.{stake}",
    }

    def __post_init__(self) -> None:
        for name in ("memory", "active"):
            if parse_duration(getattr(self, name)) == 0:
                raise ConfigError(f"{name} must be above 0s; got {getattr(self, name)!r}")

    def score(
        self, rows: Any, shop: Any, event: Any, first: int, last: int, found: Any
    ) -> tuple[Any, int]:
        """Test each SKU's gap once an hour while the shop sells; see `ShopDetector.score`."""
        memory = parse_duration(self.memory) / _DAY_US
        active = parse_duration(self.active) / _DAY_US
        found, count = _scan(rows, shop, event, first, last, memory, active, found)
        return found, int(count)

    def define(self, events: Sequence[Event]) -> list[dict[str, float]]:
        """Test each SKU's gap in plain Python; see `ShopDetector.define`."""
        halves = [parse_duration(self.memory) / _DAY_US * part for part in (0.25, 1.0, 2.0)]
        active = parse_duration(self.active) / _DAY_US
        demand = [
            one for one in events if one.kind == SALE and one.quantity > 0 and not one.price <= 0.0
        ]
        traded: dict[int, int] = {}  # lines by day
        for line in demand:
            traded[line.time_us // _DAY_US] = traded.get(line.time_us // _DAY_US, 0) + 1
        days = sorted(traded)
        daily = [0.0]  # the mean of lines a day before each trading day
        for number, day in enumerate(days):
            mean = daily[-1]
            daily.append(traded[day] if number == 0 else mean + _DAILY * (traded[day] - mean))
        clocks = {one.time_us: 0 for one in demand}
        for one in demand:
            clocks[one.time_us] += 1
        clock = 0
        for time_us, lines_now in clocks.items():
            clock += lines_now
            clocks[time_us] = clock
        gaps: dict[int, list[tuple[float, float]]] = {}  # of each SKU, and lines a day then
        newest: dict[int, Event] = {}
        worth: dict[int, float] = {}
        levels: dict[int, int] = {}
        told: dict[int, float] = {}
        trials: list[tuple[int, int]] = []  # trading day and band
        crossed: list[tuple[int, int, int]] = []  # trading day, band, level
        clock, today, tests = 0, -1, 0
        result = []

        def paces(sku: int) -> list[tuple[float, float]]:
            """Return lines and rate at each memory."""
            both = []
            for half in halves:
                lines = exposed = 0.0
                for gap, lines_a_day in gaps[sku]:
                    left = 2.0 ** (-gap / (half * max(lines_a_day, 1.0)))
                    lines = lines * left + 1.0
                    life = half * max(lines_a_day, 1.0) / math.log(2.0)
                    exposed = exposed * left + life * (1.0 - left)
                lines += _PRIOR
                both.append((lines, lines / (exposed + _PRIOR * len(gaps))))
            return both

        for number, event in enumerate(events):
            if event.kind == TICK:
                now = today
                crossed_now = []
                for sku in sorted(gaps) if event.time_us % _HOUR_US == 0 else ():
                    gap = clock - clocks[newest[sku].time_us]
                    oddness = min(
                        shape * math.log10(1.0 + gap * rate / shape)
                        for lines, rate in paces(sku)
                        for shape in [1.0 / (1.0 / lines + _SHAPE)]
                    )
                    reached = define_level(oddness)
                    if reached <= levels[sku]:
                        continue
                    rate = min(rate for _, rate in paces(sku))
                    a_day = rate * daily[now]
                    place = define_band(a_day)
                    past = [
                        (at, _KEEP ** (now - day)) for day, where, at in crossed if where == place
                    ]
                    trial = sum(_KEEP ** (now - day) for day, where in trials if where == place)
                    chance = define_learnt(oddness, past, trial, _WEIGHT)
                    crossed_now += [(now, place, at) for at in range(levels[sku] + 1, reached + 1)]
                    levels[sku] = reached
                    odd = -math.log10(chance)
                    is_news = gap <= active * daily[now] and odd >= told[sku] + _STEP
                    if chance <= NOTED and is_news:
                        told[sku] = odd
                        result.append(
                            {
                                "event": number,
                                "tests": tests,
                                "chance": chance,
                                "sku": sku,
                                "due": rate * gap,
                                "days": gap / daily[now],
                                "a_day": a_day,
                                "seen": len(gaps[sku]) + 1,
                                "stake": rate * gap * worth[sku],
                            }
                        )
                crossed += crossed_now
            elif event.kind == SALE and event.quantity > 0 and not event.price <= 0.0:
                clock, today = clocks[event.time_us], days.index(event.time_us // _DAY_US)
                sku, value = event.sku, event.quantity * event.price
                if sku not in gaps:
                    gaps[sku] = []
                    worth[sku] = value if value < _MOST_WORTH else 0.0
                elif event.invoice != newest[sku].invoice or event.invoice == 0:
                    rate = min(rate for _, rate in paces(sku))
                    trials.append((today, define_band(rate * daily[today])))
                    gaps[sku].append((clock - clocks[newest[sku].time_us], daily[today]))
                    tests += 1
                    value = value if value < _MOST_WORTH else worth[sku]
                    value = min(value, _USUAL_WORTH * worth[sku])
                    part = max(1.0 / (len(gaps[sku]) + 1), _DAILY)
                    worth[sku] += (value - worth[sku]) * part
                newest[sku] = event
                levels[sku], told[sku] = 0, 0.0
        return result
