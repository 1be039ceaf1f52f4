"""A product that is in far more orders than its rate allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import FOUND, NOTED, Event, ShopDetector, more_room
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled, inlined, outlined
from oddlot.errors import ConfigError
from oddlot.schema import SALE
from oddlot.statistics.buyers import (
    BUYERS_ROW,
    BUYERS_SHOP,
    MOST_PAIRS,
    WINDOWS,
    band_of,
    count_line,
    define_weight,
    fade_row,
    fade_shop,
    learn_line,
    mark_order,
    open_instant,
    turn_day,
    weigh_window,
)
from oddlot.statistics.rates import chance_of_more, fading_by_trading_day, rate_of

_DAY_US = 86_400_000_000
_TIMES = 2.0  # less than twice the usual is no surge
_LOOK = 0.05  # of the count alone; above, who buys is not asked
# Orders that any SKU may have from a cause of no weight, such as a mention somewhere; and a part of
# a day that every window has more, for windows are looked at again and again as they grow. These,
# and by how much odder it must be to be said again, were chosen on the public seeds 1 to 3.
_STRAY = 0.3
_EARLY = 0.05
_ODDER = 1.0
_TIMES_ODDER = 1.4
_VALUE_KEEP = 0.9  # of the log of a SKU's usual value of a line: one giant order moves it little


@inlined
def _is_demand(line):
    return line.kind == SALE and line.quantity > 0 and not line.price <= 0.0


@outlined
def _begin_day(shop, day, keep):
    """Begin a trading day of the shop."""
    if shop.days > 0:
        shop.usual_lines = shop.usual_lines * keep + shop.lines[0]
        shop.usual_days = shop.usual_days * keep + 1.0
    shop.past_lines = (shop.past_lines + shop.lines[WINDOWS - 1]) * keep
    for v in range(WINDOWS - 1, 0, -1):
        shop.lines[v] = shop.lines[v - 1]
    shop.lines[0] = 0.0
    fade_shop(shop, keep)
    shop.day = day
    shop.days += 1


@outlined
def _bring_up(row, shop, fading):
    """Bring a SKU's row up to the trading day in progress."""
    keep = fading[1]
    if row.born == 0:
        row.born = shop.days
        row.days = shop.days
        row.before = (shop.past_lines + shop.lines[2]) * keep * keep + shop.lines[1] * keep
        shop.skus += 1.0
    gap = shop.days - row.days
    for _ in range(min(gap, WINDOWS)):
        row.past = (row.past + row.orders[WINDOWS - 1]) * keep
        for v in range(WINDOWS - 1, 0, -1):
            row.orders[v] = row.orders[v - 1]
        row.orders[0] = 0
        turn_day(row, keep)
    if gap > WINDOWS:
        fade = fading[min(gap - WINDOWS, len(fading) - 1)]
        row.past *= fade
        fade_row(row, fade)
    row.days = shop.days


@compiled
def _scan(rows, shop, event, first, last, fading, fewest, found):
    count = 0
    one = shop[0]
    i = first
    while i < last:
        time_us = event[i].time_us
        j = i
        lines = 0
        while j < last and event[j].time_us == time_us:
            line = event[j]
            if _is_demand(line):
                if lines == 0:
                    if time_us // _DAY_US != one.day or one.days == 0:
                        _begin_day(one, time_us // _DAY_US, fading[1])
                    open_instant(one)
                lines += 1
                if line.invoice != 0:
                    count_line(one, line.invoice)
            j += 1
        if lines == 0:
            i = j
            continue
        tests = one.tests
        one.lines[0] += lines
        a_day = one.usual_lines / one.usual_days if one.usual_days > 0.0 else one.lines[0]
        for k in range(i, j):
            line = event[k]
            if not _is_demand(line):
                continue
            row = rows[line.sku]
            if row.days != one.days:
                _bring_up(row, one, fading)
            money = math.log1p(max(0.0, min(line.quantity * line.price, 1e12)))
            if money > 0.0:
                before = row.value if row.value > 0.0 else money
                row.value = before * _VALUE_KEEP + money * (1.0 - _VALUE_KEEP)
            if line.invoice == 0 or line.invoice != row.invoice:
                row.invoice = line.invoice
                row.orders[0] += 1
                one.tests += 1.0
                mark_order(row, one, line)
        for k in range(i, j):
            line = event[k]
            if not _is_demand(line):
                continue
            row = rows[line.sku]
            best, best_days, best_orders, best_usual = 0.0, 0, 0.0, 0.0
            age = one.days - row.born
            width = min(WINDOWS, age + 1)
            if row.orders[0] + row.orders[1] + row.orders[2] < fewest:
                width = 0
            orders, window = 0.0, 0.0
            past, past_lines = row.past, 0.0
            if age > 2:
                fade = fading[min(age - 2, len(fading) - 1)]
                past_lines = max(0.0, one.past_lines - row.before * fade)
            for v in range(width):
                past += row.orders[v]
                past_lines += one.lines[v]
            for w in range(width):
                orders += row.orders[w]
                window += one.lines[w]
                past -= row.orders[w]
                past_lines -= one.lines[w]
                if orders < fewest or (w > 0 and row.orders[w] == 0):
                    continue
                rate = rate_of(past, past_lines, one.skus)
                mean = rate * (window + _EARLY * a_day) + _STRAY
                if orders < _TIMES * mean:
                    continue
                chance = chance_of_more(orders, mean, past)
                if chance > _LOOK:
                    continue
                weight = weigh_window(row, one, w + 1, 1.0 - mean / orders)
                oddness = (weight - math.log(chance)) / math.log(10.0)
                if oddness > best:
                    best, best_days = oddness, w + 1
                    best_orders, best_usual = orders, rate * window
            if best >= -math.log10(NOTED) and not (
                one.days - row.told_days < WINDOWS
                and best < max(row.told + _ODDER, row.told * _TIMES_ODDER)
            ):
                row.told = best
                row.told_days = one.days
                if count == len(found):
                    found = more_room(found)
                out = found[count]
                count += 1
                out.event = k
                out.tests = tests
                out.chance = max(1e-300, 10.0**-best)
                out.sku = line.sku
                out.orders = best_orders
                out.days = best_days
                out.usual = best_usual
                out.first = 0.0
                for v in range(best_days):
                    out.first += row.first[v]
                out.stake = max(0.0, best_orders - best_usual) * math.expm1(row.value)
            learn_line(one, line)
        i = j
    return found, count


class DemandSurge(ShopDetector, frozen=True):
    """A product that is in far more orders than its rate allows.

    At each order it counts the SKU's orders of today, of two and of three trading days, and asks
    how probable so many are for a gamma-Poisson rate per line of the whole catalogue, learnt
    outside of that window. The chance is divided by what the orders themselves say: small baskets
    and first-time buyers speak for a surge, wholesale lists and regular buyers against it.
    Not for large single orders: those are `quantity_spike`; nor for a slow rise over weeks.

    Source:
        Snyder, Ord, Beaumont (2012), Forecasting the intermittent demand for slow-moving
        inventories, International Journal of Forecasting 28(2) (negative binomial tails).
    """

    memory: Annotated[Duration, Meta(description="Half-life of rates, in trading days.")] = "20d"
    fewest: Annotated[int, Meta(ge=2, description="Fewer orders are no surge.")] = 3

    row: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("past", "<f8"),  # orders before the windows, older ones less
            (
                "before",
                "<f8",
            ),  # lines of the catalogue before it was born, as `past_lines` of the shop
            ("invoice", "<u8"),
            ("told", "<f8"),
            ("value", "<f4"),
            ("days", "<i4"),  # trading day to which this is brought
            ("born", "<i4"),
            ("told_days", "<i4"),
            *BUYERS_ROW,
            ("orders", "<u4", (WINDOWS,)),  # of the newest trading days
        ],
        align=True,
    )
    shop: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("tests", "<f8"),
            ("day", "<i8"),
            ("days", "<i8"),  # trading days
            ("skus", "<f8"),
            ("lines", "<f8", (WINDOWS,)),  # of the newest trading days
            ("past_lines", "<f8"),  # before them, older ones less
            ("usual_lines", "<f8"),
            ("usual_days", "<f8"),
            *BUYERS_SHOP,
        ],
        align=True,
    )
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [
            *FOUND,
            ("orders", "<f8"),
            ("days", "<f8"),
            ("usual", "<f8"),
            ("first", "<f8"),
            ("stake", "<f8"),
        ],
        align=True,
    )
    finds: ClassVar[str] = "demand_surge"
    weight: ClassVar[float] = 5.0
    sentence: ClassVar[Mapping[str, str]] = {
        "en": (
            "{sku}: {orders:order|orders} within {days:trading day|trading days}, up to {clock};"
            " its rate allows about {usual:x}. {first:n} came from customers who had never bought"
            " it. Something this odd turns up {often}.{stake}"
        ),
        "es": (
            "{sku}: {orders:pedido|pedidos} en {days:día|días} de venta, hasta las {clock}; a su"
            " ritmo tocan unos {usual:x}. {first:n} son de clientes que nunca lo habían comprado."
            " Algo tan raro aparece {often}.{stake}"
        ),
    }

    def __post_init__(self) -> None:
        if parse_duration(self.memory) == 0:
            raise ConfigError(f"memory must be above 0s; got {self.memory!r}")

    def score(
        self, rows: Any, shop: Any, event: Any, first: int, last: int, found: Any
    ) -> tuple[Any, int]:
        """Test each order of a SKU against its rate; see `ShopDetector.score`."""
        fading = fading_by_trading_day(parse_duration(self.memory))
        found, count = _scan(rows, shop, event, first, last, fading, float(self.fewest), found)
        return found, int(count)

    def define(self, events: Sequence[Event]) -> list[dict[str, float]]:
        """Test each order of a SKU in plain Python; see `ShopDetector.define`."""
        keep = 0.5 ** (_DAY_US / parse_duration(self.memory))
        demand = [
            (number, line)
            for number, line in enumerate(events)
            if line.kind == SALE and line.quantity > 0 and not line.price <= 0
        ]
        days = sorted({line.time_us // _DAY_US for _, line in demand})
        lines = dict.fromkeys(days, 0)  # of the catalogue, by day
        baskets: list[tuple[int, int]] = []  # day and lines of each invoice
        buyers: list[tuple[int, bool]] = []  # day of each line with a customer; whether again
        newer: set[tuple[int, int]] = set()
        older: set[tuple[int, int]] = set()
        orders: dict[int, list[tuple[int, int, int]]] = {}  # of each SKU: day, band, again
        invoice: dict[int, int] = {}
        value: dict[int, float] = {}
        told: dict[int, tuple[int, float]] = {}
        result = []
        for time_us, group in groupby(demand, key=lambda pair: pair[1].time_us):
            instant = list(group)
            today = days.index(time_us // _DAY_US)
            tests = float(sum(len(past) for past in orders.values()))
            lines[days[today]] += len(instant)
            size: dict[int, int] = {}
            for _, line in instant:
                size[line.invoice] = size.get(line.invoice, 0) + 1
            for _, line in instant:
                money = math.log1p(max(0.0, min(line.quantity * line.price, 1e12)))
                if money > 0:
                    before = value.get(line.sku, money)
                    value[line.sku] = before * _VALUE_KEEP + money * (1 - _VALUE_KEEP)
                past = orders.setdefault(line.sku, [])
                if line.invoice and line.invoice == invoice.get(line.sku):
                    continue
                invoice[line.sku] = line.invoice
                pair = (line.customer, line.sku)
                band = band_of(size[line.invoice]) if line.invoice else -1
                again = int(pair in newer or pair in older) if line.customer else -1
                past.append((today, band, again))
            for number, line in instant:
                sku = line.sku
                best: tuple[float, int, float, float, float] = (0.0, 0, 0.0, 0.0, 0.0)
                born = orders[sku][0][0]
                for width in range(1, min(WINDOWS, today - born + 1) + 1):
                    inside = [one for one in orders[sku] if one[0] > today - width]
                    count = float(len(inside))
                    if count < self.fewest or all(one[0] != today - width + 1 for one in inside):
                        continue
                    age = {day: max(0, today - 2 - day) for day in range(today + 1)}
                    past = sum(
                        keep ** age[one[0]] for one in orders[sku] if one[0] <= today - width
                    )
                    past_lines = sum(
                        keep ** age[day] * lines[days[day]]
                        for day in range(born, today - width + 1)
                    )
                    window = sum(lines[days[day]] for day in range(today - width + 1, today + 1))
                    weights = [keep ** (today - 1 - day) for day in range(today)]
                    a_day = (
                        sum(w * lines[days[d]] for d, w in enumerate(weights)) / sum(weights)
                        if weights
                        else lines[days[today]]
                    )
                    rate = rate_of(past, past_lines, float(len(orders)))
                    mean = rate * (window + _EARLY * a_day) + _STRAY
                    chance = chance_of_more(count, mean, past) if count >= _TIMES * mean else 1.0
                    if chance > _LOOK:
                        continue
                    old = [one for one in orders[sku] if one[0] <= today - WINDOWS]
                    weight = define_weight(
                        1 - mean / count, inside, old, today, baskets, buyers, keep
                    )
                    oddness = (weight - math.log(chance)) / math.log(10)
                    fresh = float(sum(one[2] == 0 for one in inside))
                    best = max(best, (oddness, width, count, rate * window, fresh))
                told_on, least = told.get(sku, (-WINDOWS, 0.0))
                is_new = today - told_on >= WINDOWS
                if best[0] < 2 or not (
                    is_new or best[0] >= max(least + _ODDER, least * _TIMES_ODDER)
                ):
                    continue
                told[sku] = (today, best[0])
                result.append(
                    {
                        "event": number,
                        "tests": tests,
                        "chance": max(1e-300, 10 ** -best[0]),
                        "sku": sku,
                        "orders": best[2],
                        "days": best[1],
                        "usual": best[3],
                        "first": best[4],
                        "stake": max(0.0, best[2] - best[3]) * math.expm1(value.get(sku, 0.0)),
                    }
                )
            baskets += [(today, count) for number, count in size.items() if number]
            for _, line in instant:
                if line.customer:
                    pair = (line.customer, line.sku)
                    buyers.append((today, pair in newer or pair in older))
                    if pair not in newer and len(newer) == MOST_PAIRS:
                        newer, older = set(), newer
                    newer.add(pair)
        return result
