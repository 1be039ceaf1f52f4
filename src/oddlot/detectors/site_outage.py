"""The whole catalogue falls silent: a dead feed or a closed site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import FOUND, NOTED, TICK, Event, ShopDetector, more_room
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled, outlined
from oddlot.errors import ConfigError
from oddlot.schema import SALE
from oddlot.statistics.activity import (
    ACTIVITY,
    DAY_SHAPE,
    DAY_US,
    LEVEL_KEEP,
    LEVEL_PRIOR,
    QUARTER_US,
    QUARTERS,
    begin_day,
    weekday_of,
)
from oddlot.statistics.plain_tails import plain_lower_tail
from oddlot.statistics.silence import (
    BACK,
    BACK_DUE,
    BEGUN_DUE,
    FEWEST_DAYS,
    FEWEST_DUE,
    FEWEST_WEEKS,
    LEAST,
    LEAST_SPREAD,
    LENGTHS,
    OPEN,
    REST,
    SPREAD,
    SPREAD_WEIGHT,
    SPREADS,
    WINDOWS,
    dark_since,
    is_back,
    judge,
    learn_spread,
)

_WEEK_US = 7 * DAY_US
_SLOTS = 1024  # places for invoices seen of late
_POSITIVE = (1 << 63) - 1
_ODD_WEIGHT = 0.25  # of a day with an outage in what is learnt
_ODDER = 100.0  # an outage is told again when it is so many times less likely
_MOST_CENTS = 1e8  # of a line in an order's usual worth


@outlined
def _turn_day(one, time_us, keep, keep_day, lengths):
    """Learn from the day in progress if it is over; then expect the new one."""
    if one.has_begun == 1:
        if time_us // DAY_US == one.day:
            return
        weight = _ODD_WEIGHT if one.is_odd == 1 else 1.0
        learn_spread(one, weight, keep_day, lengths)
        one.worth = (one.worth + one.cents) * keep_day
        one.cents = 0
        one.orders *= keep_day
    else:
        weight = 1.0
    begin_day(one, time_us, keep, weight)
    one.back_at = 0
    one.is_odd = 1 if one.dark_since_us != 0 else 0


@compiled
def _scan(shop, event, first, last, keep, keep_day, lengths, found):
    count = 0
    one = shop[0]
    for i in range(first, last):
        time_us = event[i].time_us
        if event[i].kind == TICK:
            if one.has_begun == 0:
                continue
            _turn_day(one, time_us, keep, keep_day, lengths)
            now = (time_us - one.day * DAY_US) // QUARTER_US
            chance, length, seen, expected = judge(one, now, lengths)
            if chance > 1.0:
                continue  # nothing could be tested
            tests = one.tests
            one.tests += 1.0
            if one.dark_since_us != 0 and is_back(one, now, lengths):
                one.dark_since_us = 0
                one.back_at = now
                continue
            if chance > NOTED:
                continue
            since = dark_since(one, now, length)
            is_new = one.dark_since_us == 0
            one.is_odd = 1
            if is_new:
                one.dark_since_us = one.day * DAY_US + since * QUARTER_US
                if one.dark_since_us == 0:
                    one.dark_since_us = 1  # midnight of 1970; 0 says that there is none
            if is_new or chance * _ODDER <= one.told:
                one.told = chance
                if count == len(found):
                    found = more_room(found)
                out = found[count]
                count += 1
                out.event = i
                out.tests = tests
                out.chance = chance
                out.sku = -1
                out.orders = np.int32(seen)
                out.expected = expected
                out.hours = (now - since) * 0.25
                worth = (one.worth + one.cents) / (100.0 * max(one.orders, 1.0))
                out.stake = (expected - seen) * worth
        elif event[i].kind == SALE and event[i].quantity > 0 and not event[i].price <= 0.0:
            if one.has_begun == 0 or time_us // DAY_US != one.day:
                _turn_day(one, time_us, keep, keep_day, lengths)
            cents = event[i].quantity * event[i].price * 100.0
            if cents > 0.0:
                one.cents += np.int64(min(cents, _MOST_CENTS))
            bill = event[i].invoice
            if bill == np.uint64(0):  # no invoices here: one customer at one time is an order
                bill = event[i].customer + np.uint64(time_us & _POSITIVE | 1)
            place = np.int64(bill % np.uint64(_SLOTS))
            if one.bills[place] != bill:
                one.bills[place] = bill
                one.in_day[(time_us - one.day * DAY_US) // QUARTER_US] += 1.0
                one.orders += 1.0
    return found, count


class SiteOutage(ShopDetector, frozen=True):
    """The whole catalogue falls silent: a dead feed or a closed site.

    Learns how many orders each quarter of an hour of each weekday brings, and each quarter of an
    hour asks how likely so few are in windows from half an hour to the whole day: the lower
    tail of a negative binomial, scaled by the day so far, as wide as such windows have been. One
    finding for an outage, again only when it has become a hundred times less likely, and none
    until trade is back. Not for a shop of few orders: where fewer than three are due, silence
    proves nothing.

    Source:
        Farrington, Andrews, Beale, Catchpole (1996), A statistical algorithm for the early
        detection of outbreaks of infectious disease, J. R. Statist. Soc. A 159(3).
    """

    memory: Annotated[Duration, Meta(description="Half-life of the shop's usual week.")] = "56d"

    row: ClassVar[np.dtype[Any]] = np.dtype([("nothing", "u1")])
    shop: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("tests", "<f8"),
            ("dark_since_us", "<i8"),  # since when the shop has been dark; 0 if it is not
            ("told", "<f8"),  # the chance that was told of this outage
            ("cents", "<i8"),  # worth of the orders of the day in progress
            ("worth", "<f8"),  # the same of those before, older ones counting less
            ("orders", "<f8"),  # how many they all were, older ones counting less
            ("is_odd", "<i8"),  # 1 if there was an outage today
            *ACTIVITY,
            *SPREADS,
            ("bills", "<u8", (_SLOTS,)),  # invoices seen of late, by their hash
        ],
        align=True,
    )
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [*FOUND, ("orders", "<i4"), ("expected", "<f8"), ("hours", "<f8"), ("stake", "<f8")],
        align=True,
    )
    finds: ClassVar[str] = "site_outage"
    sentence: ClassVar[dict[str, str]] = {
        "en": (
            "The whole shop: {orders:order|orders} in the {hours:x} hours to {clock}, where"
            " {expected:x} are usual. Something this odd turns up {often}.{stake}"
        ),
        "es": (
            "Toda la tienda: {orders:pedido|pedidos} en las {hours:x} horas hasta las {clock};"
            " lo habitual son {expected:x}. Algo tan raro aparece {often}.{stake}"
        ),
    }

    def __post_init__(self) -> None:
        if parse_duration(self.memory) == 0:
            raise ConfigError(f"memory must be above 0s; got {self.memory!r}")

    def score(
        self, rows: Any, shop: Any, event: Any, first: int, last: int, found: Any
    ) -> tuple[Any, int]:
        """Test at each tick how much trade there is; see `ShopDetector.score`."""
        keep = 0.5 ** (_WEEK_US / parse_duration(self.memory))
        keep_day = 0.5 ** (DAY_US / parse_duration(self.memory))
        found, count = _scan(shop, event, first, last, keep, keep_day, LENGTHS, found)
        return found, int(count)

    def define(self, events: Sequence[Event]) -> list[dict[str, float]]:
        """Test at each tick in plain Python; see `ShopDetector.define`."""
        memory_us = parse_duration(self.memory)
        past: list[_Day] = []
        today: _Day | None = None
        bills: dict[int, int] = {}
        sales: list[tuple[int, int, bool]] = []  # day seen, cents, whether an order begins
        result: list[dict[str, float]] = []
        is_dark, told, tests = False, 1.0, 0
        for number, line in enumerate(events):
            day = line.time_us // DAY_US
            is_sale = line.kind == SALE and line.quantity > 0 and not line.price <= 0.0
            if (is_sale or (line.kind == TICK and today is not None)) and (
                today is None or day != today.day
            ):
                past += [today] if today is not None else []
                today = _Day(day, past, memory_us, is_dark)
            if today is not None and is_sale:
                bill = line.invoice or (line.customer + (line.time_us & _POSITIVE | 1)) % 2**64
                is_new = bills.get(bill % _SLOTS) != bill
                bills[bill % _SLOTS] = bill
                today.orders[(line.time_us % DAY_US) // QUARTER_US] += is_new
                cents = min(line.quantity * line.price * 100, _MOST_CENTS)
                sales.append((len(past), int(cents) if cents > 0 else 0, is_new))
            if today is None or line.kind != TICK:
                continue
            now = (line.time_us % DAY_US) // QUARTER_US
            judged = today.judge(now)
            if judged is None:
                continue
            chance, start, seen, expected = judged
            tests += 1
            if is_dark and today.is_back(now):
                is_dark, today.back_at = False, now
                continue
            if chance > NOTED:
                continue
            since = start
            while since < now - 1 and today.due[since + 1] - today.due[start] < BEGUN_DUE:
                since += 1
            today.is_odd = True
            is_start = not is_dark
            is_dark = True
            if is_start or chance * _ODDER <= told:
                told = chance
                keep = 0.5 ** (DAY_US / memory_us)
                worth = sum(cents * keep ** (len(past) - age) for age, cents, _ in sales) / 100
                orders = sum(begins * keep ** (len(past) - age) for age, _, begins in sales)
                result.append(
                    {
                        "event": number,
                        "tests": tests - 1,
                        "chance": chance,
                        "sku": -1,
                        "orders": seen,
                        "expected": expected,
                        "hours": (now - since) / 4,
                        "stake": (expected - seen) * worth / max(orders, 1.0),
                    }
                )
        return result


class _Day:
    """One day as `define` sees it: what came and, from the days before it, what was due."""

    def __init__(self, day: int, past: list[_Day], memory_us: int, is_odd: bool) -> None:
        self.day = day
        self.is_odd = is_odd
        self.back_at = 0
        self.orders = [0] * QUARTERS
        self.keep = 0.5 ** (DAY_US / memory_us)
        self.trading = [one for one in past if any(one.orders)]
        alike = [one for one in past if weekday_of(one.day) == weekday_of(day)]
        fades = [self.keep ** (7 * (len(alike) - 1 - age)) for age in range(len(alike))]
        faded = [(one, fade) for one, fade in zip(alike, fades, strict=True) if any(one.orders)]
        self.learnt = sum(fade * one.weight for one, fade in faded)
        self.open = sum(fade for _, fade in faded) / sum(fades) if fades else 0.0
        self.due = [0.0]
        for quarter in range(QUARTERS):
            usual = sum(fade * one.weight * one.orders[quarter] for one, fade in faded)
            self.due.append(self.due[-1] + (usual / self.learnt if self.learnt > 0 else 0.0))
        known = [one for one in self.trading if one.due[QUARTERS] > 0]
        lately = [LEVEL_KEEP ** (len(known) - 1 - age) for age in range(len(known))]
        pairs = list(zip(known, lately, strict=True))
        self.known = known
        self.level = (
            sum(fade * one.weight * sum(one.orders) for one, fade in pairs) + LEVEL_PRIOR
        ) / (sum(fade * one.weight * one.due[QUARTERS] for one, fade in pairs) + LEVEL_PRIOR)

    @property
    def weight(self) -> float:
        return _ODD_WEIGHT if self.is_odd else 1.0

    def windows(self, now: int) -> list[tuple[int, int, int, float]]:
        """Return number, start, orders and expected orders of each window that ends at `now`."""
        result: list[tuple[int, int, int, float]] = []
        for number, length in enumerate(LENGTHS.tolist()):
            if length < now or number == WINDOWS - 1:
                start = max(0, now - length)
                level = (DAY_SHAPE + sum(self.orders[:start])) / (
                    DAY_SHAPE / self.level + self.due[start]
                )
                due = (self.due[now] - self.due[start]) * level
                result.append((number, start, sum(self.orders[start:now]), due))
        return result

    def judge(self, now: int) -> tuple[float, int, int, float] | None:
        """Return the least chance, with its window's start, orders and expected orders."""
        if len(self.trading) < FEWEST_DAYS or self.learnt < FEWEST_WEEKS:
            return None
        if self.open < OPEN or self.due[now] < FEWEST_DUE:
            return None
        if self.due[now] - self.due[max(0, now - 2)] < REST * self.due[QUARTERS]:
            return None
        best: tuple[float, int, int, float] | None = None
        for number, start, orders, due in self.windows(now):
            if due < FEWEST_DUE or start < self.back_at:
                continue
            squares, dues = SPREAD * SPREAD_WEIGHT, SPREAD_WEIGHT
            for age, one in enumerate(reversed(self.known)):
                _, _, had, was_due = next(w for w in one.windows(now) if w[0] == number)
                squares += self.keep**age * one.weight * (had - was_due) ** 2
                dues += self.keep**age * one.weight * was_due
            spread = max(LEAST_SPREAD, squares / dues)
            chance = 1.0
            if orders < due:
                chance = max(LEAST, plain_lower_tail(orders, due / (spread - 1.0), due))
            if best is None or chance < best[0]:
                best = (chance, start, orders, due)
        return best

    def is_back(self, now: int) -> bool:
        """Tell whether trade of late is at least half of what is due."""
        for number, length in enumerate(LENGTHS.tolist()):
            start = max(0, now - length)
            due = (self.due[now] - self.due[start]) * self.level
            if due >= (BACK_DUE if number < WINDOWS - 1 else FEWEST_DUE):
                return bool(sum(self.orders[start:now]) >= BACK * due)
        return False
