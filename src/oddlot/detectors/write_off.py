"""Stock written off: more of it, or more often, than everyday corrections take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import FOUND, NOTED, Event, ShopDetector, more_room
from oddlot.engine.compiled import compiled, outlined
from oddlot.errors import ConfigError
from oddlot.schema import ADJUSTMENT, SALE
from oddlot.statistics.tails import log_pmf, upper_tail

_DAYS = 3  # trading days in which write-offs of one SKU belong together
_ROOM = 8  # corrections of one SKU in so many days; older ones make room
_FREE = 2  # a correction is often corrected: a run begins with the third
_RARE = 0.003  # chance of a write-off in three trading days; the budget corrects it
_TAIL = 1.5  # of the Pareto tail of sizes: chosen on the public seeds 1 to 3
_SHAPE = 0.2  # of the gamma distribution of SKUs' rates: most are hardly ever corrected
_SITTING = 128  # write-offs that are remembered, to know a stock count by
_SITTING_US = 1_800_000_000
_SHARED = 1.5  # what a sitting writes off has one cause: chosen on the public seeds 1 to 3
_MOST_SHARED = 10.0  # but there are faults in a stock count, too
_KEEP = 0.5 ** (1 / 30)  # sales: a half-life of 30 trading days
_KEEP_RATE = 0.5 ** (1 / 120)  # corrections: longer, for they are few
_USUAL = 6.0  # units on a line before there are any: a small inner pack
_WEIGHT = 2.0  # lines, and days of one unit, that the prior counts for
_BULK = 10.0  # a line counts as at most so many times the usual one
_SMOOTH = 0.2  # weight of the newest price
_DEAREST = 1e9  # a price above is none
_DAY_US = 86_400_000_000
_MOST = 2**31 - 1


@outlined
def _forget(row, slot, day):
    """Count a write-off that is no longer recent among the SKU's past."""
    if row.amount[slot] > 0:
        row.past = row.past * _KEEP_RATE ** (day - row.noted) + _KEEP_RATE ** (day - row.at[slot])
        row.noted = day
    row.amount[slot] = 0


@outlined
def _note(row, quantity, day):
    """Remember a correction of a SKU; one that undoes a recent one takes it away instead."""
    free, eldest = -1, 0
    amount = -max(-_MOST, min(_MOST, quantity))
    for slot in range(_ROOM):
        if row.amount[slot] != 0 and row.at[slot] <= day - _DAYS:
            _forget(row, slot, day)
        if row.amount[slot] == -amount:
            row.amount[slot] = 0
            return
        if row.amount[slot] == 0 and free < 0:
            free = slot
        if row.at[slot] < row.at[eldest]:
            eldest = slot
    if free < 0:
        _forget(row, eldest, day)
        free = eldest
    row.amount[free] = amount
    row.at[free] = day


@outlined
def _judge(row, state, miscount, quantity, out):
    """Fill what a finding says of a SKU's recent write-offs, but for its place; return if any."""
    since = state.day - row.day
    days = (1.0 - _KEEP ** (state.day - row.born)) / (1.0 - _KEEP)
    usual = (row.units * _KEEP**since + _WEIGHT) / (days + _WEIGHT)
    # Half of all corrections fall on the SKUs alike, half where the lines are.
    share = 0.5 / max(1.0, state.skus) + 0.5 * row.lines * _KEEP**since / max(1.0, state.lines)
    mean = _DAYS * max(1.0, state.corrections) / max(1.0, state.days) * share
    age = (1.0 - _KEEP_RATE ** (state.day - row.born)) / (1.0 - _KEEP_RATE)
    shape = _SHAPE + row.past * _KEEP_RATE ** (state.day - row.noted)
    mean = shape / (_SHAPE / mean + age / _DAYS)
    out.chance = 2.0
    out.alike = 0.0
    taken = 0
    units = 0
    size = np.int64(_MOST) + 1
    # From the largest down: so many, each at least as large.
    while True:
        largest, same = np.int64(0), 0
        for slot in range(_ROOM):
            amount = np.int64(row.amount[slot])
            if amount < size and amount > largest:
                largest, same = amount, 0
            if amount == largest:
                same += 1
        if largest == 0:
            break
        size = largest
        taken += same
        units += same * largest
        part = (1.0 + largest / (usual + miscount)) ** -_TAIL
        chance = _RARE * max(part, 0.5 ** (units / miscount))
        if taken > _FREE:
            chance *= upper_tail(float(taken), shape, mean * part, 1.0)
            chance /= upper_tail(float(_FREE), shape, mean * part, 1.0)
        if chance < out.chance:
            out.chance = chance
            out.units = units
            out.lines = taken
            out.usual = usual
            out.stake = units * row.price
    for slot in range(_ROOM):
        if row.amount[slot] == -quantity and row.at[slot] == state.day:
            out.alike += 1.0
    return taken > 0


@outlined
def _learn(row, state, quantity, price):
    """Learn a sale."""
    if row.born == 0:
        row.born = state.day
        state.skus += 1.0
    if row.day != state.day:
        fade = _KEEP ** (state.day - row.day)
        row.units *= fade
        row.lines *= fade
        row.day = state.day
    most = _BULK * (row.units + _USUAL * _WEIGHT) / (row.lines + _WEIGHT)
    row.units += min(float(quantity), most)
    row.lines += 1.0
    if price < _DEAREST:
        row.price += (price - row.price) * (_SMOOTH if row.price > 0.0 else 1.0)


@compiled
def _scan(rows, shop, event, first, last, miscount, found):
    count = 0
    state = shop[0]
    i = first
    while i < last:
        time_us = event[i].time_us
        j = i
        sales, corrections, written_off = 0, 0, 0
        while j < last and event[j].time_us == time_us:
            kind = event[j].kind
            if kind == SALE and event[j].quantity > 0 and not event[j].price <= 0.0:
                sales += 1
            elif kind == ADJUSTMENT:
                corrections += 1
            j += 1
        for k in range(i, j if corrections > 0 else i):
            one = event[k]
            if one.kind != ADJUSTMENT or one.quantity == 0:
                continue
            row = rows[one.sku]
            _note(row, one.quantity, state.day)
            if one.quantity < 0:
                row.pending += 1
                written_off += 1
            if one.quantity < -miscount:
                state.newest = (state.newest + 1) % _SITTING
                state.when[state.newest] = time_us
                state.who[state.newest] = one.sku + 1
        for k in range(i, j if written_off > 0 else i):
            one = event[k]
            if one.kind != ADJUSTMENT or one.quantity >= 0:
                continue
            row = rows[one.sku]
            row.pending -= 1
            if row.pending > 0:
                continue
            if count == len(found):
                found = more_room(found)
            out = found[count]
            if not _judge(row, state, miscount, one.quantity, out):
                continue
            others = 0
            for slot in range(_SITTING):
                if state.who[slot] > 0 and state.who[slot] != one.sku + 1:
                    others += state.when[slot] >= time_us - _SITTING_US
            out.chance = min(1.0, out.chance * min(_MOST_SHARED, (1.0 + others) ** _SHARED))
            if out.chance <= NOTED:
                count += 1
                out.event = k
                out.tests = state.tests
                out.sku = one.sku
                out.others = others
        state.corrections += written_off
        if sales > 0:
            day = time_us // _DAY_US
            if state.day == 0 or day > state.date:
                state.date = day
                state.day += 1
                state.tests += state.skus
                state.lines *= _KEEP
                state.corrections *= _KEEP_RATE
                state.days = state.days * _KEEP_RATE + 1.0
            state.lines += sales
            for k in range(i, j):
                one = event[k]
                if one.kind == SALE and one.quantity > 0 and not one.price <= 0.0:
                    _learn(rows[one.sku], state, one.quantity, one.price)
        i = j
    return found, count


class WriteOff(ShopDetector, frozen=True):
    """Stock written off: more of it, or more often, than everyday corrections take.

    Looks at what a SKU had written off (kind `adjustment`, below 0) in three trading days. One
    write-off is as odd as it is large, in days of the SKU's sales: a Pareto tail. From the third
    on, their number counts, too: the tail of a negative binomial whose rate is the SKU's own and
    the catalogue's. What other SKUs had written off within half an hour makes it less odd, for a
    stock count is one cause; a correction by the same amount takes a write-off away. Not for
    shops that book breakage as sales, nor for returns: those are `return_surge`.

    Source:
        Johnson, Kemp, Kotz (2005), Univariate Discrete Distributions, 3rd edition, chapter 5
        (a Poisson rate that is itself gamma-distributed).
    """

    miscount: Annotated[
        float, Meta(description="Units that an everyday miscount takes; above 0.")
    ] = 3.0

    row: ClassVar[np.dtype[Any]] = np.dtype(
        [
            *((name, "<f8") for name in ("units", "lines", "past", "price")),
            *((name, "<i4") for name in ("day", "born", "noted", "pending")),
            ("amount", "<i4", (_ROOM,)),
            ("at", "<i4", (_ROOM,)),
        ],
        align=True,
    )
    shop: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("tests", "<f8"),
            ("date", "<i8"),
            ("day", "<i8"),
            *((name, "<f8") for name in ("days", "skus", "lines", "corrections")),
            ("newest", "<i8"),
            ("when", "<i8", (_SITTING,)),
            ("who", "<i8", (_SITTING,)),
        ],
        align=True,
    )
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [
            *FOUND,
            ("units", "<f8"),
            ("lines", "<f8"),
            ("usual", "<f8"),
            ("alike", "<f8"),
            ("others", "<f8"),
            ("stake", "<f8"),
        ],
        align=True,
    )
    finds: ClassVar[str] = "write_off"
    weight: ClassVar[float] = 15.0
    sentence: ClassVar[Mapping[str, str]] = {
        "en": (
            "{sku}: {units:n} units written off in {lines:line|lines} within three trading days,"
            " the last at {clock}; it sells {usual:x} a day. Something this odd turns up"
            " {often}.{stake}"
        ),
        "es": (
            "{sku}: {units:n} unidades dadas de baja en {lines:línea|líneas} en tres días de"
            " venta, la última a las {clock}; vende {usual:x} al día. Algo tan raro aparece"
            " {often}.{stake}"
        ),
    }

    def __post_init__(self) -> None:
        if not 0.0 < self.miscount < math.inf:
            raise ConfigError(f"miscount must be above 0; got {self.miscount!r}")

    def score(
        self, rows: Any, shop: Any, event: Any, first: int, last: int, found: Any
    ) -> tuple[Any, int]:
        """Judge what each SKU had written off of late; see `ShopDetector.score`."""
        found, count = _scan(rows, shop, event, first, last, self.miscount, found)
        return found, int(count)

    def define(self, events: Sequence[Event]) -> list[dict[str, float]]:
        """Judge each SKU's recent write-offs, plainly; see `ShopDetector.define`."""
        result = []
        slots: dict[int, list[tuple[int, int]]] = {}  # by SKU: amount, trading day
        past: dict[int, list[int]] = {}  # trading days of write-offs that are no longer recent
        written: list[int] = []  # trading days of all write-offs
        for time_us in sorted({one.time_us for one in events}):
            before = [one for one in events if one.time_us < time_us]
            sales = [one for one in before if _is_demand(one)]
            dates = sorted({one.time_us // _DAY_US for one in sales})
            today = len(dates)
            instant = [
                (k, one)
                for k, one in enumerate(events)
                if one.time_us == time_us and one.kind == ADJUSTMENT and one.quantity != 0
            ]
            for _, one in instant:
                recent = slots.setdefault(one.sku, [(0, 0)] * _ROOM)
                _define_note(recent, past.setdefault(one.sku, []), one.quantity, today)
            offs = [(k, one) for k, one in instant if one.quantity < 0]
            for k, one in offs:
                if any(later > k and other.sku == one.sku for later, other in offs):
                    continue
                mine = [n for n in sales if n.sku == one.sku]
                recent = slots[one.sku]
                said = self._define_judge(mine, sales, dates, recent, past[one.sku], written)
                if not said:
                    continue
                others = sum(
                    other.sku != one.sku
                    and other.kind == ADJUSTMENT
                    and other.quantity < -self.miscount
                    and time_us - _SITTING_US <= other.time_us <= time_us
                    for other in events
                )
                chance = min(1.0, said["chance"] * min(_MOST_SHARED, (1 + others) ** _SHARED))
                if chance <= NOTED:
                    first_of_day = [
                        min(n.time_us for n in sales if n.time_us // _DAY_US == d) for d in dates
                    ]
                    tests = sum(
                        len({n.sku for n in sales if n.time_us < us}) for us in first_of_day
                    )
                    place = {"event": k, "tests": tests, "sku": one.sku, "others": others}
                    alike = recent.count((-one.quantity, today))
                    result.append({**said, **place, "chance": chance, "alike": alike})
            written += [today] * len(offs)
        return result

    def _define_judge(
        self,
        mine: list[Event],
        sales: list[Event],
        dates: list[int],
        recent: list[tuple[int, int]],
        past: list[int],
        written: list[int],
    ) -> dict[str, float]:
        """Return what a finding says of a SKU, but for its place; nothing if nothing is left."""
        today = len(dates)
        number = {date: n for n, date in enumerate(dates, 1)}
        units = lines = price = 0.0
        day = today
        for n, one in enumerate(mine):
            fade = _KEEP ** (number[one.time_us // _DAY_US] - day) if n else 0.0
            day = number[one.time_us // _DAY_US]
            units, lines = units * fade, lines * fade
            most = _BULK * (units + _USUAL * _WEIGHT) / (lines + _WEIGHT)
            units, lines = units + min(one.quantity, most), lines + 1
            if one.price < _DEAREST:
                price += (one.price - price) * (_SMOOTH if price > 0 else 1)
        units, lines = units * _KEEP ** (today - day), lines * _KEEP ** (today - day)
        born = number[mine[0].time_us // _DAY_US] if mine else 0
        usual = (units + _WEIGHT) / (sum(_KEEP**n for n in range(today - born)) + _WEIGHT)
        all_lines = sum(_KEEP ** (today - number[one.time_us // _DAY_US]) for one in sales)
        share = 0.5 / max(1, len({one.sku for one in sales})) + 0.5 * lines / max(1, all_lines)
        corrections = sum(_KEEP_RATE ** (today - day) for day in written)
        days = sum(_KEEP_RATE**n for n in range(today))
        prior_mean = _DAYS * max(1, corrections) / max(1, days) * share
        age = sum(_KEEP_RATE**n for n in range(today - born))
        shape = _SHAPE + sum(_KEEP_RATE ** (today - day) for day in past)
        mean = shape / (_SHAPE / prior_mean + age / _DAYS)
        best: dict[str, float] = {}
        for size in sorted({amount for amount, _ in recent if amount > 0}, reverse=True):
            taken = [amount for amount, _ in recent if amount >= size]
            part = (1 + size / (usual + self.miscount)) ** -_TAIL
            chance = _RARE * max(part, 0.5 ** (sum(taken) / self.miscount))
            if len(taken) > _FREE:
                terms = [math.exp(log_pmf(n, shape, mean * part)) for n in range(_FREE, 500)]
                chance *= math.fsum(terms[len(taken) - _FREE :]) / math.fsum(terms)
            if not best or chance < best["chance"]:
                money = sum(taken) * price
                best = {"units": sum(taken), "lines": len(taken), "stake": money, "usual": usual}
                best["chance"] = chance
        return best


def _is_demand(one: Event) -> bool:
    """Return whether an event is a sale that says something about demand."""
    return one.kind == SALE and one.quantity > 0 and not one.price <= 0


def _define_note(recent: list[tuple[int, int]], past: list[int], quantity: int, today: int) -> None:
    """Remember a correction in one of the SKU's places, as `_note` does."""
    for n, (amount, day) in enumerate(recent):
        if amount and day <= today - _DAYS:
            past += [day] if amount > 0 else []
            recent[n] = (0, day)
        if recent[n][0] == quantity:
            recent[n] = (0, day)
            return
    empty = [n for n, (amount, _) in enumerate(recent) if amount == 0]
    place = empty[0] if empty else min(range(_ROOM), key=lambda n: recent[n][1])
    past += [recent[place][1]] if recent[place][0] > 0 else []
    recent[place] = (-quantity, today)
