"""A whole shop that is busier or quieter than its weekdays and hours allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import FOUND, NOTED, Event, ShopDetector, more_room
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled, inlined, outlined
from oddlot.errors import ConfigError
from oddlot.schema import SALE

_DAY_US = 86_400_000_000
_HOUR_US = 3_600_000_000
_HOURS = 24
_WEEKDAYS = 7
_LEVEL_KEEP = 0.5 ** (1 / 5)  # how busy the shop is these days: a half-life of 5 trading days
_LEVEL_PRIOR = 10.0  # orders
_SPREAD = 0.3  # of the log of a day's orders, before any day was seen
_SPREAD_DAYS = 10.0  # that this counts for
_LEAST_DUE = 10.0  # orders; of fewer, nothing is said
_LEAST_DAYS = 20.0  # trading days; before them there is no profile
_LEAST_WEEKS = 3.0  # such weekdays in the past, older ones less
_LEAST_HOURS = 3  # with trade
_REST_DAYS = 4  # after a longer rest, as many trading days are not judged: orders were put off
_MOST_REST = 10
_SPREAD_KEEP = 0.5 ** (1 / 60)  # a half-life of 60 trading days
_CLIP = 3.0  # an odd day widens the spread by no more than so many of it
_FREEDOM = 8  # days vary more than a normal law says
_ODDER = 0.1  # said again on the same day when the chance is so much smaller


@inlined
def _is_demand(line):
    return line.kind == SALE and line.quantity > 0 and not line.price <= 0.0


@inlined
def _weekday(day):
    return (day + 3) % _WEEKDAYS  # 1970 began on a Thursday


@outlined
def _tail(value, freedom):
    """Return a two-sided tail of Student's t with an even number of degrees of freedom, exactly.

    Source:
        Abramowitz and Stegun (1964), Handbook of Mathematical Functions, 26.7.4.
    """
    cosine2 = freedom / (freedom + value * value)
    term, total = 1.0, 1.0
    k = 1
    while 2 * k < freedom:
        term *= cosine2 * (2 * k - 1) / (2 * k)
        total += term
        k += 1
    inside = math.sqrt(1.0 - cosine2) * total
    return min(1.0, max(1e-12, 1.0 - inside))


@outlined
def _due(shop, hour):
    """Return the orders that the day's weekday usually has in an hour, at the usual level."""
    weekday = _weekday(shop.day)
    return shop.usual[weekday * _HOURS + hour] / max(shop.learnt[weekday], 1e-9)


@outlined
def _log_ratio(shop, hours):
    """Compare the day's orders before an hour with its profile.

    Hours without an order count on neither side: that is an outage, a holiday or a short day.

    Returns:
        ln(seen / due), orders seen, orders due, and hours with trade.
    """
    level = (shop.level_seen + _LEVEL_PRIOR) / (shop.level_due + _LEVEL_PRIOR)
    seen, due, traded = 0.0, 0.0, 0
    for hour in range(hours):
        usual = _due(shop, hour)
        if shop.in_day[hour] > 0.0 and usual > 0.0:
            seen += shop.in_day[hour]
            due += usual
            traded += 1
    return math.log((seen + 1.0) / (due * level + 1.0)), seen, due * level, traded


@outlined
def _spread(shop, hours):
    """Return the squared spread of the log ratio at this hour of a day."""
    return (shop.squares[hours] + _SPREAD**2 * _SPREAD_DAYS) / (shop.judged[hours] + _SPREAD_DAYS)


@outlined
def _judge(shop, hours):
    """Return the chance of the day so far, orders seen and orders due; chance 1 if too few."""
    log_ratio, seen, due, traded = _log_ratio(shop, hours)
    if (
        shop.rest > 0
        or shop.trading_days < _LEAST_DAYS
        or shop.learnt[_weekday(shop.day)] < _LEAST_WEEKS
        or traded < _LEAST_HOURS
        or due < _LEAST_DUE
    ):
        return 1.0, seen, due
    return _tail(log_ratio / math.sqrt(_spread(shop, hours)), _FREEDOM), seen, due


@outlined
def _close_day(shop, day, keep):
    """Learn the day in progress and begin another."""
    orders = 0.0
    for hour in range(_HOURS):
        orders += shop.in_day[hour]
    if orders > 0.0:
        weekday = _weekday(shop.day)
        if shop.learnt[weekday] > 0.0:
            level = (shop.level_seen + _LEVEL_PRIOR) / (shop.level_due + _LEVEL_PRIOR)
            for hours in range(_LEAST_HOURS, _HOURS + 1):
                log_ratio, seen, due, traded = _log_ratio(shop, hours)
                if traded >= _LEAST_HOURS and due >= _LEAST_DUE:
                    most = _CLIP**2 * _spread(shop, hours)
                    square = min(log_ratio * log_ratio, most)
                    shop.squares[hours] = shop.squares[hours] * _SPREAD_KEEP + square
                    shop.judged[hours] = shop.judged[hours] * _SPREAD_KEEP + 1.0
            log_ratio, seen, due, traded = _log_ratio(shop, _HOURS)
            shop.level_seen = shop.level_seen * _LEVEL_KEEP + seen
            shop.level_due = shop.level_due * _LEVEL_KEEP + due / level
        for hour in range(_HOURS):
            at = weekday * _HOURS + hour
            shop.usual[at] = shop.usual[at] * keep + shop.in_day[hour]
            shop.in_day[hour] = 0.0
        shop.learnt[weekday] = shop.learnt[weekday] * keep + 1.0
        shop.orders = shop.orders * _LEVEL_KEEP + orders
        shop.money = shop.money * _LEVEL_KEEP + shop.cents / 100.0
        shop.cents = 0
        shop.trading_days += 1
        shop.last_day = shop.day
        shop.rest = max(shop.rest - 1, 0)
    shop.day = day
    shop.told = 1.0
    shop.has_judged = 0


@compiled
def _scan(shop, event, first, last, keep, found):
    count = 0
    one = shop[0]
    for k in range(first, last):
        line = event[k]
        day = line.time_us // _DAY_US
        hours = (line.time_us - day * _DAY_US) // _HOUR_US
        if one.has_begun == 0 or day != one.day or hours != one.hours:
            if one.has_begun == 1:
                chance, seen, due = _judge(one, hours if day == one.day else _HOURS)
                tests = one.tests
                if chance < 1.0 and one.has_judged == 0:
                    one.tests += 1.0
                    one.has_judged = 1
                if chance <= NOTED and chance <= one.told * _ODDER:
                    one.told = chance
                    if count == len(found):
                        found = more_room(found)
                    out = found[count]
                    count += 1
                    out.event = k
                    out.tests = tests
                    out.chance = chance
                    out.sku = -1
                    out.seen = seen
                    out.due = due
                    out.stake = abs(seen - due) * one.money / max(one.orders, 1.0)
            if one.has_begun == 0 or day != one.day:
                _close_day(one, day, keep)
            one.has_begun = 1
            one.hours = hours
        if _is_demand(line):
            if one.in_day[hours] == 0.0 and one.trading_days > 0.0 and one.opened != day:
                gap = day - one.last_day
                if gap > _REST_DAYS:
                    one.rest = max(one.rest, min(gap, _MOST_REST))
            one.opened = day
            if line.invoice == 0 or line.invoice != one.invoice:
                one.in_day[hours] += 1.0
            one.invoice = line.invoice
            money = min(line.quantity * line.price, 1e10)
            if money > 0.0:
                one.cents += np.int64(money * 100.0)
    return found, count


class VolumeShift(ShopDetector, frozen=True):
    """A whole shop that is busier or quieter than its weekdays and hours allow.

    Counts orders by weekday and hour, and how busy the last days were beside that. After each hour
    it compares the day so far with what was due; the chance is that of Student's t for the log of
    the ratio, whose spread is learnt for each hour of the day. Hours without any order count on
    neither side, and days after a long rest are not judged: not for outages (`site_outage`), not
    for holidays, and not for a shop with a few orders a day.

    Source:
        Student (1908), The probable error of a mean, Biometrika 6(1). Winters (1960), Forecasting
        sales by exponentially weighted moving averages, Management Science 6(3) (level x profile).
    """

    memory: Annotated[Duration, Meta(description="Half-life of the weekly profile.")] = "60d"

    row: ClassVar[np.dtype[Any]] = np.dtype([("unused", "u1")])  # nothing about single SKUs
    shop: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("tests", "<f8"),
            ("has_begun", "<i8"),
            ("day", "<i8"),
            ("hours", "<i8"),  # of the day that are over
            ("opened", "<i8"),  # the last day with an order
            ("last_day", "<i8"),  # the same, of days that are over
            ("rest", "<i8"),  # trading days that are not judged
            ("told", "<f8"),
            ("has_judged", "<i8"),
            ("trading_days", "<f8"),
            ("in_day", "<f8", (_HOURS,)),  # orders of the day in progress
            ("usual", "<f8", (_WEEKDAYS * _HOURS,)),  # orders of past days, older ones less
            ("learnt", "<f8", (_WEEKDAYS,)),  # of how many days
            ("level_seen", "<f8"),
            ("level_due", "<f8"),
            ("squares", "<f8", (_HOURS + 1,)),  # of log ratios, by hours that were over
            ("judged", "<f8", (_HOURS + 1,)),
            ("invoice", "<u8"),
            ("cents", "<i8"),
            ("money", "<f8"),
            ("orders", "<f8"),
        ]
    )
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [*FOUND, ("seen", "<f8"), ("due", "<f8"), ("stake", "<f8")], align=True
    )
    finds: ClassVar[str] = "volume_shift"
    weight: ClassVar[float] = 0.5
    sentence: ClassVar[Mapping[str, str]] = {
        "en": (
            "The whole shop: {seen:order|orders} in the trading day up to {clock}; about {due:n}"
            " are usual for such a weekday and such hours. Something this odd turns up"
            " {often}.{stake}"
        ),
        "es": (
            "Toda la tienda: {seen:pedido|pedidos} en el día de venta hasta las {clock}; lo"
            " habitual en un día y unas horas así son unos {due:n}. Algo tan raro aparece"
            " {often}.{stake}"
        ),
    }

    def __post_init__(self) -> None:
        if parse_duration(self.memory) == 0:
            raise ConfigError(f"memory must be above 0s; got {self.memory!r}")

    def score(
        self, rows: Any, shop: Any, event: Any, first: int, last: int, found: Any
    ) -> tuple[Any, int]:
        """Test the day so far after each hour; see `ShopDetector.score`."""
        found, count = _scan(shop, event, first, last, self._keep(), found)
        return found, int(count)

    def _keep(self) -> float:
        """Return what is left of a weekday's past a week later."""
        return float(0.5 ** (_WEEKDAYS * _DAY_US / parse_duration(self.memory)))

    def define(self, events: Sequence[Event]) -> list[dict[str, float]]:
        """Test the day so far in plain Python; see `ShopDetector.define`."""
        keep = self._keep()
        past = _Past(keep)
        counts, money = [0] * _HOURS, 0
        invoice, tests, now = 0, 0, None
        told, has_judged = 1.0, False
        result = []
        for number, line in enumerate(events):
            day, hour = line.time_us // _DAY_US, line.time_us % _DAY_US // _HOUR_US
            if now is not None and now != (day, hour):
                hours = hour if day == now[0] else _HOURS
                chance, seen, due = past.judge(now[0], counts, hours)
                before = tests
                tests += int(chance < 1 and not has_judged)
                has_judged |= chance < 1
                if chance <= NOTED and chance <= told * _ODDER:
                    told = chance
                    result.append(
                        {
                            "event": number,
                            "tests": before,
                            "chance": chance,
                            "sku": -1,
                            "seen": seen,
                            "due": due,
                            "stake": abs(seen - due) * past.money / max(past.orders, 1.0),
                        }
                    )
                if day != now[0]:
                    past.learn(now[0], counts, money)
                    counts, money, told, has_judged = [0] * _HOURS, 0, 1.0, False
            now = (day, hour)
            if line.kind == SALE and line.quantity > 0 and not line.price <= 0:
                counts[hour] += int(line.invoice == 0 or line.invoice != invoice)
                invoice = line.invoice
                value = min(line.quantity * line.price, 1e10)
                money += int(value * 100) if value > 0 else 0
        return result


class _Past:
    """The trading days that are over, for `define`."""

    def __init__(self, keep: float) -> None:
        self.keep = keep
        self.days: list[tuple[int, list[int]]] = []
        self.seen, self.due = 0.0, 0.0
        self.squares: dict[int, list[float]] = {}
        self.money, self.orders = 0.0, 0.0

    def profile(self, day: int) -> tuple[list[float], float]:
        """Return the usual orders of each hour of such a weekday, and from how many days."""
        same = [counts for past, counts in self.days if (past - day) % _WEEKDAYS == 0]
        weights = [self.keep**n for n in range(len(same) - 1, -1, -1)]
        usual = [
            sum(w * counts[hour] for w, counts in zip(weights, same, strict=True))
            for hour in range(_HOURS)
        ]
        return [one / max(sum(weights), 1e-9) for one in usual], sum(weights)

    def compare(self, day: int, counts: Sequence[int], hours: int) -> tuple[float, float, int]:
        """Return orders seen and due in the hours with trade, and how many there are."""
        level = (self.seen + _LEVEL_PRIOR) / (self.due + _LEVEL_PRIOR)
        usual, _ = self.profile(day)
        both = [hour for hour in range(hours) if counts[hour] > 0 and usual[hour] > 0]
        seen, due = sum(counts[hour] for hour in both), sum(usual[hour] for hour in both)
        return float(seen), due * level, len(both)

    def spread(self, hours: int) -> float:
        """Return the squared spread of the log ratio at this hour."""
        squares = self.squares.get(hours, [])
        weights = [_SPREAD_KEEP**n for n in range(len(squares) - 1, -1, -1)]
        total = sum(w * square for w, square in zip(weights, squares, strict=True))
        return (total + _SPREAD**2 * _SPREAD_DAYS) / (sum(weights) + _SPREAD_DAYS)

    def rest(self, day: int, has_trade: bool) -> int:
        """Return for how many more trading days nothing is said."""
        left = 0
        days = [past for past, _ in self.days]
        for before, after in zip(days, [*days[1:], *([day] if has_trade else [])], strict=False):
            gap = after - before
            left = max(left - 1, 0) if before != days[0] else 0
            if gap > _REST_DAYS:
                left = max(left, min(gap, _MOST_REST))
        return left

    def judge(self, day: int, counts: Sequence[int], hours: int) -> tuple[float, float, float]:
        """Return the chance of a day so far, orders seen and orders due."""
        seen, due, traded = self.compare(day, counts, hours)
        if (
            self.rest(day, any(counts)) > 0
            or len(self.days) < _LEAST_DAYS
            or self.profile(day)[1] < _LEAST_WEEKS
            or traded < _LEAST_HOURS
            or due < _LEAST_DUE
        ):
            return 1.0, seen, due
        value = math.log((seen + 1) / (due + 1)) / math.sqrt(self.spread(hours))
        return float(_tail(value, _FREEDOM)), seen, due

    def learn(self, day: int, counts: Sequence[int], cents: int) -> None:
        """Learn a day that is over."""
        if not any(counts):
            return
        if self.profile(day)[1] > 0:
            level = (self.seen + _LEVEL_PRIOR) / (self.due + _LEVEL_PRIOR)
            for hours in range(_LEAST_HOURS, _HOURS + 1):
                seen, due, traded = self.compare(day, counts, hours)
                if traded >= _LEAST_HOURS and due >= _LEAST_DUE:
                    square = math.log((seen + 1) / (due + 1)) ** 2
                    most = _CLIP**2 * self.spread(hours)
                    self.squares.setdefault(hours, []).append(min(square, most))
            seen, due, _ = self.compare(day, counts, _HOURS)
            self.seen = self.seen * _LEVEL_KEEP + seen
            self.due = self.due * _LEVEL_KEEP + due / level
        self.days.append((day, list(counts)))
        self.orders = self.orders * _LEVEL_KEEP + sum(counts)
        self.money = self.money * _LEVEL_KEEP + cents / 100
