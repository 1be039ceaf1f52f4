"""An invoice that was entered twice: the same basket again, minutes to hours later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import FOUND, NOTED, Event, ShopDetector, more_room
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled, inlined
from oddlot.errors import ConfigError
from oddlot.schema import SALE
from oddlot.statistics.baskets import (
    AT,
    BASKETS,
    BEFORE,
    FIRST,
    FOLLOW,
    KEY,
    LAST,
    LIKE,
    LINES,
    LOOK,
    MONEY,
    MONEYS,
    NEWEST,
    NEXT,
    OLDER,
    OWNER,
    RARITY,
    SHARED,
    SIZE,
    START,
    STATE,
    TOLD,
    WORTH,
    Basket,
    Line,
    define_enter,
    enter,
    is_entry,
    mix,
)

_BINS = 24  # half-octaves of quantity: 1, 2, 3, 4, 6, 8, 12 ... and 3,072 and more
_KEEP = 0.5 ** (1 / 60)  # a half-life of 60 trading days
_PRIOR = 0.5  # lines that a quantity never seen counts as: Jeffreys
_SOON_US = 43_200_000_000  # who keys an order twice does so the same day; later it is a new one
_DAY_US = 86_400_000_000
_STRANGERS = 0.15  # two known customers with one basket are branches of a chain
_TEMPER = 0.4  # lines are bought together: a decade of rarity is not worth a decade of chance
_FIXED = float(1 << 32)  # sums of rarities are whole numbers of 2^-32: order does not matter


def _define_bin(quantity: int) -> int:
    """Return the half-octave of a quantity of at least 1; whole numbers only."""
    octave = quantity.bit_length() - 1
    half = int(octave > 0 and 2 * quantity >= 3 << octave)
    return min(2 * octave + half, _BINS - 1)


_PLACES = np.array([0] + [_define_bin(quantity) for quantity in range(1, 4096)], np.int64)


@inlined
def _bin(quantity):
    """Return what _define_bin does."""
    return _PLACES[quantity] if quantity < 4096 else _BINS - 1


@compiled
def _scan(rows, shop, event, first, last, memory_us, found):
    count = 0
    state = shop[0]
    line, basket = state.line, state.basket
    basket_head = state.basket_head
    invoice, customer = state.invoice, state.customer
    i = first
    while i < last:
        time_us = event[i].time_us
        tests = state.tests
        baskets_before, lines_before = state.baskets, state.lines
        j = enter(state, event, i, last)
        if state.baskets == baskets_before:
            i = j
            continue
        state.oldest = max(1, state.oldest, state.baskets - BASKETS + 1)
        while basket[state.oldest & (BASKETS - 1), FIRST] < time_us - memory_us:
            state.oldest += 1
        oldest = state.oldest
        oldest_line = max(1, state.lines - LINES + 1, basket[oldest & (BASKETS - 1), START])
        usual = max(1.0, state.lines_faded / max(1.0, state.baskets_faded))
        for k in range(i, j):
            one = event[k]
            if one.kind != SALE or one.quantity <= 0 or one.invoice == 0:
                continue
            mine = basket_head[mix(one.invoice, 13)]
            while mine >= oldest and (
                invoice[mine & (BASKETS - 1)] != one.invoice
                or basket[mine & (BASKETS - 1), SIZE] == 0
            ):
                mine = basket[mine & (BASKETS - 1), BEFORE]
            here = mine & (BASKETS - 1)
            if mine < oldest or basket[here, AT] != k - i:
                continue
            state.tests += 1.0
            state.looks += 1
            look = state.looks
            candidate = np.int64(0)
            number = basket[here, NEWEST]
            while number > max(0, state.lines - LINES):
                place = number & (LINES - 1)
                key = line[place, KEY]
                rarity = np.int64(-1)
                other = line[place, OLDER]
                looked = 0
                while other >= oldest_line and looked < LIKE:
                    there = other & (LINES - 1)
                    if line[there, KEY] == key and other <= lines_before:
                        looked += 1
                        theirs = line[there, OWNER]
                        if theirs >= oldest and theirs != mine:
                            if rarity < 0:
                                row = rows[key >> 32]
                                seen = row.sizes[_bin(key & 0xFFFFFFFF)]
                                if row.day != state.day:
                                    seen *= _KEEP ** (state.day - row.day)
                                often = (seen + _PRIOR) / (state.baskets_faded + 2.0 * _PRIOR)
                                rarity = np.int64(max(0.0, -math.log10(often)) * _FIXED)
                            slot = theirs & (BASKETS - 1)
                            if basket[slot, LOOK] != look:
                                basket[slot, LOOK] = look
                                basket[slot, SHARED] = 0
                                basket[slot, RARITY] = 0
                                basket[slot, MONEYS] = 0
                                basket[slot, FOLLOW] = candidate
                                candidate = theirs
                            basket[slot, SHARED] += 1
                            basket[slot, RARITY] += rarity
                            basket[slot, MONEYS] += line[place, WORTH]
                    other = line[there, OLDER]
                number = line[place, NEXT]
            best = 0.0
            chosen = np.int64(0)
            while candidate > 0:
                slot = candidate & (BASKETS - 1)
                both = basket[slot, SHARED]
                part = both / basket[here, SIZE]
                odd = basket[slot, RARITY] / _FIXED * part * part
                if odd > best:  # what follows only lessens it
                    wide = math.log10(max(1.0, basket[slot, SIZE] / usual))
                    odd -= both * wide * part * part
                    if customer[here] != customer[slot] and customer[here] != 0:
                        if customer[slot] != 0:
                            odd *= _STRANGERS
                    odd *= 0.5 ** (((time_us - basket[slot, LAST]) / _SOON_US) ** 2)
                    odd -= math.log10(1.0 + (mine - candidate))
                    if odd > best or (odd == best and candidate > chosen):
                        best = odd
                        chosen = candidate
                candidate = basket[slot, FOLLOW]
            chance = 10.0 ** max(-290.0, -best * _TEMPER)
            # An invoice whose lines trickle in is told again when it is twice as odd.
            if chance <= NOTED and best * _FIXED >= 2.0 * basket[here, TOLD]:
                basket[here, TOLD] = np.int64(best * _FIXED)
                if count == len(found):
                    found = more_room(found)
                slot = chosen & (BASKETS - 1)
                out = found[count]
                count += 1
                out.event = k
                out.tests = tests
                out.chance = chance
                out.sku = -1
                out.shared = basket[slot, SHARED]
                out.lines = basket[here, SIZE]
                out.lines_then = basket[slot, SIZE]
                out.minutes = (time_us - basket[slot, LAST]) / 6e7
                out.same_number = 1.0 if invoice[slot] == invoice[here] else 0.0
                out.same_customer = 1.0 if customer[slot] == customer[here] else 0.0
                out.stake = basket[slot, MONEYS] / MONEY
        day = time_us // _DAY_US
        if state.day == 0 or day > state.date:
            state.date = day
            state.day += 1
            state.baskets_faded *= _KEEP
            state.lines_faded *= _KEEP
        state.baskets_faded += state.baskets - baskets_before
        state.lines_faded += state.lines - lines_before
        for k in range(i, j):
            one = event[k]
            if one.kind == SALE and one.quantity > 0 and one.invoice != 0:
                row = rows[one.sku]
                if row.day != state.day:
                    fade = np.float32(_KEEP ** (state.day - row.day))
                    for b in range(_BINS):
                        row.sizes[b] *= fade
                    row.day = state.day
                row.sizes[_bin(one.quantity)] += np.float32(1.0)
        i = j
    return found, count


class DuplicateInvoice(ShopDetector, frozen=True):
    """An invoice that was entered twice: the same basket again, minutes to hours later.

    Remembers the lines of the last day and a half. Lines that a basket shares with an earlier
    one (SKU and quantity) count by their rarity, -log10 of how many invoices have such a line;
    the sum times the square of the part of the basket that is shared, less when the other is
    long, hours old or of another known customer. Lines that came back in between do not count:
    an invoice that was cancelled and entered anew is a correction. Not for returns, nor for
    shops whose lines have no invoice.

    Source:
        Fellegi, Sunter (1969), A theory for record linkage, Journal of the American Statistical
        Association 64(328): what agrees weighs the logarithm of how seldom it agrees by chance.
    """

    memory: Annotated[Duration, Meta(description="How long a basket is remembered.")] = "36h"

    row: ClassVar[np.dtype[Any]] = np.dtype(
        [("day", "<i8"), ("sizes", "<f4", (_BINS,))], align=True
    )
    shop: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("tests", "<f8"),
            ("baskets_faded", "<f8"),
            ("lines_faded", "<f8"),
            ("date", "<i8"),
            ("day", "<i8"),
            ("oldest", "<i8"),
            ("looks", "<i8"),
            *STATE,
        ],
        align=True,
    )
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [
            *FOUND,
            ("shared", "<f8"),
            ("lines", "<f8"),
            ("lines_then", "<f8"),
            ("minutes", "<f8"),
            ("same_number", "<f8"),
            ("same_customer", "<f8"),
            ("stake", "<f8"),
        ],
        align=True,
    )
    finds: ClassVar[str] = "duplicate_invoice"
    weight: ClassVar[float] = 2.0
    sentence: ClassVar[Mapping[str, str]] = {
        "en": (
            "Invoice {invoice} at {clock} looks like one that was entered {minutes:n} minutes"
            " before: {shared:line|lines} of {lines:n} are the same. Something this odd turns up"
            " {often}.{stake}"
        ),
        "es": (
            "La factura {invoice} de las {clock} parece una que se registró {minutes:n} minutos"
            " antes: coinciden {shared:línea|líneas} de {lines:n}. Algo tan raro aparece"
            " {often}.{stake}"
        ),
    }

    def __post_init__(self) -> None:
        if parse_duration(self.memory) == 0:
            raise ConfigError(f"memory must be above 0s; got {self.memory!r}")

    def score(
        self, rows: Any, shop: Any, event: Any, first: int, last: int, found: Any
    ) -> tuple[Any, int]:
        """Compare each basket with those before it; see `ShopDetector.score`."""
        found, count = _scan(rows, shop, event, first, last, parse_duration(self.memory), found)
        return found, int(count)

    def define(self, events: Sequence[Event]) -> list[dict[str, float]]:
        """Compare each basket with all before it, plainly; see `ShopDetector.define`."""
        result = []
        tests = 0
        baskets: list[Basket] = []
        lines: list[Line] = []
        for time_us in sorted({one.time_us for one in events}):
            past = [one for one in events if one.time_us < time_us and is_entry(one)]
            instant = [(k, one) for k, one in enumerate(events) if one.time_us == time_us]
            entered = define_enter(instant, baskets, lines)
            for mine in sorted(entered, key=lambda basket: basket.at):
                odd, double, both = self._define_double(mine, baskets, lines, past, time_us)
                chance = 10 ** max(-290.0, -odd * _TEMPER)
                if double is not None and chance <= NOTED and odd >= 2 * mine.told:
                    mine.told = odd
                    result.append(
                        {
                            "event": mine.at,
                            "tests": tests,
                            "chance": chance,
                            "sku": -1,
                            "shared": len(both),
                            "lines": len(mine.lines),
                            "lines_then": len(double.lines),
                            "minutes": (time_us - double.last) / 6e7,
                            "same_number": float(mine.invoice == double.invoice),
                            "same_customer": float(mine.customer == double.customer),
                            "stake": sum(line.money for line in both),
                        }
                    )
            tests += len(entered)
        return result

    def _define_double(
        self,
        mine: Basket,
        baskets: list[Basket],
        lines: list[Line],
        past: list[Event],
        time_us: int,
    ) -> tuple[float, Basket | None, list[Line]]:
        """Return how odd the likest earlier basket is, that basket, and the lines shared."""
        days = sorted({one.time_us // _DAY_US for one in past})
        weight = {day: _KEEP ** (len(days) - 1 - n) for n, day in enumerate(days)}
        seen_baskets = seen_lines = 0.0
        for us, invoice in sorted({(one.time_us, one.invoice) for one in past}):
            part = [one for one in past if (one.time_us, one.invoice) == (us, invoice)]
            seen_baskets += weight[us // _DAY_US]
            seen_lines += weight[us // _DAY_US] * len({(one.sku, one.quantity) for one in part})
        usual = max(1.0, seen_lines / max(1.0, seen_baskets))
        oldest_us = time_us - parse_duration(self.memory)
        known = [basket for basket in baskets if basket.first >= oldest_us]
        first_line = min(n for n, line in enumerate(lines) if line.time_us >= oldest_us)
        shared: dict[int, list[tuple[Line, float]]] = {}
        for line in mine.lines:
            like = [
                other
                for other in lines[first_line:]
                if other.time_us < time_us
                and (other.sku, other.quantity) == (line.sku, line.quantity)
            ]
            place = _define_bin(line.quantity)
            seen = sum(
                weight[one.time_us // _DAY_US]
                for one in past
                if one.sku == line.sku and _define_bin(one.quantity) == place
            )
            rarity = max(0.0, -math.log10((seen + _PRIOR) / (seen_baskets + 2 * _PRIOR)))
            for other in like[-LIKE:]:
                if other.owner in known and other.owner is not mine and not other.is_back:
                    shared.setdefault(baskets.index(other.owner), []).append((line, rarity))
        best: tuple[float, Basket | None, list[Line]] = (0.0, None, [])
        for number, both in sorted(shared.items()):
            double = baskets[number]
            odd = sum(rarity for _, rarity in both)
            odd -= len(both) * math.log10(max(1.0, len(double.lines) / usual))
            odd *= (len(both) / len(mine.lines)) ** 2
            if mine.customer and double.customer and mine.customer != double.customer:
                odd *= _STRANGERS
            odd *= 0.5 ** (((time_us - double.last) / _SOON_US) ** 2)
            odd -= math.log10(1 + baskets.index(mine) - number)
            if odd > 0.0 and odd >= best[0]:
                best = (odd, double, [line for line, _ in both])
        return best
