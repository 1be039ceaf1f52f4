"""A code never seen before that looks like a mistyped known one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import FOUND, NOTED, TICK, Event, ShopDetector, more_room
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled, outlined
from oddlot.errors import ConfigError
from oddlot.schema import CHARGE, SALE
from oddlot.statistics import codes, prices

_DAY_US = 86_400_000_000
_KINDS = codes.NOT_NEAR + 1
_MOST = 2e7  # a price beyond this counts as this at stake

# How keys slip: Damerau (1964) found these four behind 80 % of errors; letter case is ours.
_SLIPS = np.array([0.1, 0.2, 0.35, 0.15, 0.2, 0.0])
# How new codes come about, in new codes: next to known ones, or far from all.
_ORIGINS = np.array([0.5, 0.5, 2.0, 0.5, 0.5, 2.0])
_EMPTY = 100.0  # codes that nobody uses, for each that somebody does
_AT_PRICE = 0.9  # how often a line of a mistyped code is at a known price of the right one
_RARE = 1e-3  # share of lines at a price never seen, by the weight of one line


@outlined
def _share_at(shop, pence):
    """Return which share of the shop's sales is at this price."""
    return (shop.points[prices.point_of(pence)] + _RARE) / (shop.priced + 1.0)


@outlined
def _weigh(rows, shop, fade, word, size, near, kinds, total, pence, fresh, lines, best):
    """Return right / wrong: how likely is the code as a new one, and as a slip.

    best[0] becomes the likeliest SKU that was meant, or -1. Of the instant's `lines`, `fresh`
    are of new codes: a launch brings many at once.
    """
    counts = np.zeros(_KINDS)
    wrong, most = 0.0, 0.0
    best[0] = -1
    at = _share_at(shop, pence) if pence > 0 else 1.0
    for k in range(total):
        kind = kinds[k]
        counts[kind] += 1.0
        row = rows[near[k]]
        part = row.lines * fade ** (shop.turn - row.turn) / shop.lines
        part *= _SLIPS[kind] / codes.ways_of(word, size, kind)
        if pence > 0:
            whole, same = 0.0, 0.0
            for a in range(prices.FEW):
                whole += row.weight[a]
                if row.pence[a] == pence:
                    same += row.weight[a]
            if whole > 0.0:
                part *= (_AT_PRICE * same / whole + (1.0 - _AT_PRICE) * at) / at
        wrong += part
        if part > most:
            most = part
            best[0] = near[k]
    if wrong <= 0.0:
        return np.inf
    origins = 0.0
    for kind in range(_KINDS):
        origins += shop.origins[kind] + _ORIGINS[kind]
    right = (shop.origins[codes.NOT_NEAR] + _ORIGINS[codes.NOT_NEAR]) / _EMPTY
    for kind in range(codes.NOT_NEAR):
        ways = codes.ways_of(word, size, kind)
        right += (shop.origins[kind] + _ORIGINS[kind]) * counts[kind] / ways
    right /= origins * shop.codes
    usual = min(1.0, (shop.news + 1.0) / (shop.lines + 1.0))
    rate = min(1.0, (shop.fresh + fresh) / (shop.today + lines - 1.0 + 1.0 / usual))
    return rate * right / wrong


@compiled
def _scan(rows, shop, event, first, last, fade, names, offset, found):
    """Judge each instant's new codes, then learn its lines."""
    count = 0
    every = shop[0]
    word = np.zeros(codes.LONGEST + 1, np.uint8)
    near = np.zeros(codes.NEAR, np.int32)
    kinds = np.zeros(codes.NEAR, np.int32)
    best = np.zeros(1, np.int64)
    i = first
    while i < last:
        time_us = event[i].time_us
        if event[i].kind == TICK:
            i += 1
            continue
        tests = every.tests
        day = time_us // _DAY_US
        if day != every.day or every.turn == 0:
            every.day = day
            every.turn += 1
            every.today, every.fresh = 0.0, 0.0
            every.lines *= fade
            every.news *= fade
            every.priced *= fade
            for kind in range(_KINDS):
                every.origins[kind] *= fade
            for b in range(prices.POINTS):
                every.points[b] *= fade
        j = i
        lines, fresh = 0.0, 0.0
        while j < last and event[j].time_us == time_us:
            if event[j].kind != CHARGE and event[j].kind != TICK:
                lines += 1.0
                if rows[event[j].sku].state == 0:
                    rows[event[j].sku].state = 1
                    fresh += 1.0
            j += 1
        every.tests += lines
        for k in range(i, j):
            if fresh == 0.0:
                break
            if event[k].kind != CHARGE and event[k].kind != TICK:
                row = rows[event[k].sku]
                if row.state == 1:
                    row.state = 2
                    row.kind = codes.NOT_NEAR
                    size = codes.read_word(names, offset, event[k].sku, word)
                    if size > 0 and every.codes > 0:
                        total = codes.find_near(
                            names, offset, every.mark, every.owner, word, size, near, kinds
                        )
                        for n in range(total):
                            row.kind = min(row.kind, kinds[n])
                        pence = 0
                        if event[k].kind == SALE and event[k].price > 0.0:
                            pence = prices.pence_of(event[k].price)
                        chance = _weigh(
                            rows, every, fade, word, size, near, kinds, total, pence, fresh, lines,
                            best,
                        )  # fmt: skip
                        if chance <= NOTED:
                            if count == len(found):
                                found = more_room(found)
                            out = found[count]
                            count += 1
                            meant = rows[best[0]]
                            out.event = k
                            out.tests = tests
                            out.chance = max(chance, 1e-300)
                            out.sku = event[k].sku
                            out.like = best[0]
                            out.lines = meant.seen
                            out.usual = prices.usual_of_few(meant) / 100.0
                            out.stake = 0.0
                            if pence > 0:
                                out.stake = min(_MOST, event[k].price) * abs(event[k].quantity)
        for k in range(i, j):
            if event[k].kind == CHARGE or event[k].kind == TICK:
                continue
            row = rows[event[k].sku]
            if row.state == 2:
                row.state = 3
                every.fresh += 1.0
                every.news += 1.0
                every.origins[row.kind] += 1.0
                size = codes.read_word(names, offset, event[k].sku, word)
                if size > 0 and every.codes < codes.MOST:
                    codes.keep_code(every.mark, every.owner, word, size, event[k].sku)
                    every.codes += 1
            if row.turn != every.turn:
                row.lines *= fade ** (every.turn - row.turn)
                row.turn = every.turn
            row.lines += 1.0
            row.seen += 1
            every.lines += 1.0
            every.today += 1.0
            if event[k].kind == SALE and event[k].price > 0.0:
                pence = prices.pence_of(event[k].price)
                every.priced += 1.0
                every.points[prices.point_of(pence)] += np.float32(1.0)
                prices.remember_few(row, pence)
        i = j
    return found, count


class NewSku(ShopDetector, frozen=True):
    """A code never seen before that looks like a mistyped known one.

    At a code's first line: is it one keystroke (a changed, missing or extra character, two
    swapped, another letter case) from a code that sells, and at a price of that one? The chance
    is how likely the code is as a new one (how often new codes come, and how often next to
    known ones: families and launches make them dense) over how likely as a slip. Where codes
    fill their numbers densely, few slips can be told: it then says little. Not for codes with a
    check digit, which a scanner reads.

    Source:
        Damerau (1964), A technique for computer detection and correction of spelling errors,
        Communications of the ACM 7(3); Good (1953), The population frequencies of species and
        the estimation of population parameters, Biometrika 40(3/4).
    """

    memory: Annotated[
        Duration,
        Meta(description="Half-life of the shop's habits, in days of trade; at least 1d."),
    ] = "40d"

    row: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("lines", "<f8"),
            ("turn", "<i8"),
            ("seen", "<i8"),
            ("state", "<i4"),
            ("kind", "<i4"),
            ("pence", "<i4", (prices.FEW,)),
            ("weight", "<f4", (prices.FEW,)),
        ],
        align=True,
    )
    shop: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("tests", "<f8"),
            ("day", "<i8"),
            ("turn", "<i8"),
            ("codes", "<i8"),
            ("lines", "<f8"),
            ("news", "<f8"),
            ("today", "<f8"),  # lines of the day so far
            ("fresh", "<f8"),  # new codes among them
            ("priced", "<f8"),
            ("origins", "<f8", (_KINDS,)),
            ("points", "<f4", (prices.POINTS,)),
            ("mark", "<u4", (codes.SLOTS,)),
            ("owner", "<i4", (codes.SLOTS,)),
        ],
        align=True,
    )
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [*FOUND, ("like", "<i4"), ("lines", "<f8"), ("usual", "<f8"), ("stake", "<f8")],
        align=True,
    )
    finds: ClassVar[str] = "new_sku"
    weight: ClassVar[float] = 0.3  # most new codes have a neighbour: few can be told from slips
    reads_codes: ClassVar[bool] = True
    sentence: ClassVar[Mapping[str, str]] = {
        "en": (
            "{sku}: first line with this code at {clock}, {quantity:n} units at {price:p}; one"
            " keystroke makes it {like}, which has {lines:line|lines}, usually at {usual:p}."
            " Something this odd turns up {often}.{stake}"
        ),
        "es": (
            "{sku}: primera línea con este código a las {clock}, {quantity:n} unidades a"
            " {price:p}; a una tecla de {like}, que tiene {lines:línea|líneas}, normalmente a"
            " {usual:p}. Algo así de raro aparece {often}.{stake}"
        ),
    }

    def __post_init__(self) -> None:
        if parse_duration(self.memory) < _DAY_US:
            raise ConfigError(f"memory must be at least 1d; got {self.memory!r}")

    def score(
        self,
        rows: Any,
        shop: Any,
        event: Any,
        first: int,
        last: int,
        found: Any,
        names: Any = None,
        offset: Any = None,
    ) -> tuple[Any, int]:
        """Test each code at its first line; see `ShopDetector.score`.

        Args:
            names: bytes of all codes, by SKU; without them nothing is found.
            offset: where each begins in `names`, and the end of the last.
        """
        if names is None or offset is None:
            names, offset = np.zeros(0, np.uint8), np.zeros(1, np.int64)
        fade = 0.5 ** (_DAY_US / parse_duration(self.memory))
        found, count = _scan(rows, shop, event, first, last, fade, names, offset, found)
        return found, int(count)

    def define(self, events: Sequence[Event], spelt: Sequence[str] = ()) -> list[dict[str, float]]:
        """Test each code at its first line in plain Python; see `ShopDetector.define`.

        Args:
            events: as there.
            spelt: the codes by SKU.
        """
        fade = 0.5 ** (_DAY_US / parse_duration(self.memory))
        stock = [
            (number, one) for number, one in enumerate(events) if one.kind not in (CHARGE, TICK)
        ]
        result = []
        days = sorted({one.time_us // _DAY_US for one in events if one.kind != TICK})
        origins: dict[int, int] = {}
        for number, one in stock:
            past = [other for _, other in stock if other.time_us < one.time_us]
            tests = len(past)
            if one.sku in origins:
                continue
            age = {day: len(days) - 1 - i for i, day in enumerate(days)}
            now = age[one.time_us // _DAY_US]
            left = {day: fade ** (years - now) for day, years in age.items()}
            words = [codes.define_word(code) for code in spelt]
            words += [b""] * (1 + max(other.sku for _, other in stock) - len(words))
            together = [other for _, other in stock if other.time_us == one.time_us]
            chance, meant, origin = _define_chance(one, past, together, left, origins, words)
            origins[one.sku] = origin
            if chance <= NOTED:
                weights = _define_prices([other for other in past if other.sku == meant])
                price = min(one.price, _MOST) if one.kind == SALE and one.price > 0 else 0.0
                result.append(
                    {
                        "event": number,
                        "tests": tests,
                        "chance": chance,
                        "sku": one.sku,
                        "like": meant,
                        "lines": sum(other.sku == meant for other in past),
                        "usual": max(weights, key=lambda pence: weights[pence]) / 100
                        if weights
                        else 0.0,
                        "stake": price * abs(one.quantity),
                    }
                )
        return result


def _define_prices(lines: list[Event]) -> dict[int, float]:
    """Return the weights of the prices of one SKU's lines."""
    paid = [one.price for one in lines if one.kind == SALE and one.price > 0]
    return prices.define_few(prices.define_pence(price) for price in paid)


def _define_chance(
    one: Event,
    past: list[Event],
    together: list[Event],
    left: dict[int, float],
    origins: dict[int, int],
    words: Sequence[bytes],
) -> tuple[float, int, int]:
    """Return a new code's chance, the SKU that was meant, and how the code came about."""
    word = words[one.sku]
    lines: dict[int, float] = defaultdict(float)
    firsts: dict[int, float] = {}
    points: dict[int, float] = defaultdict(float)
    for other in past:
        weight = left[other.time_us // _DAY_US]
        lines[other.sku] += weight
        firsts.setdefault(other.sku, weight)
        if other.kind == SALE and other.price > 0:
            points[prices.define_point(prices.define_pence(other.price))] += weight
    known = {sku: words[sku] for sku in firsts}
    near = {
        sku: codes.define_kind(word, other)
        for sku, other in known.items()
        if word and other and codes.define_kind(word, other) != codes.NOT_NEAR
    }
    origin = min(near.values(), default=codes.NOT_NEAR)
    pence = prices.define_pence(one.price) if one.kind == SALE and one.price > 0 else 0
    at = (points[prices.define_point(pence)] + _RARE) / (sum(points.values()) + 1)
    parts = {}
    for sku, kind in near.items():
        part = lines[sku] / sum(lines.values()) * _SLIPS[kind] / codes.define_ways(word, kind)
        weights = _define_prices([other for other in past if other.sku == sku])
        if pence and weights:
            same = weights.get(pence, 0.0) / sum(weights.values())
            part *= (_AT_PRICE * same + (1 - _AT_PRICE) * at) / at
        parts[sku] = float(part)
    if sum(parts.values()) <= 0:
        return 1.0, -1, origin
    counts = list(map(float, _ORIGINS))
    for sku, weight in firsts.items():
        counts[origins[sku]] += weight
    right = counts[codes.NOT_NEAR] / _EMPTY
    for kind in near.values():
        right += counts[kind] / codes.define_ways(word, kind)
    right /= sum(counts) * sum(bool(other) for other in known.values())
    usual = min(1.0, (sum(firsts.values()) + 1) / (sum(lines.values()) + 1))
    today = [other for other in past if other.time_us // _DAY_US == one.time_us // _DAY_US]
    before = {other.sku for other in past[: len(past) - len(today)]}
    fresh = {other.sku for other in today + together} - before
    rate = min(1.0, len(fresh) / (len(today) + len(together) - 1 + 1 / usual))
    meant = max(parts, key=lambda sku: parts[sku])
    return max(rate * right / sum(parts.values()), 1e-300), meant, origin
