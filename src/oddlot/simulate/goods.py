"""What the simulated shop sells, to whom, and how much of it one order line takes."""

from __future__ import annotations

import msgspec
import numpy as np

from oddlot.schema import Floats, Ints
from oddlot.simulate.draws import Curve, Draws, bell, pick, running
from oddlot.simulate.shop import SUMMER, WINTER, OpenDay, Shop, date_of_year
from oddlot.simulate.vocabulary import CHARGES, COUNTRIES, NOUNS, PATTERNS, PRICE_POINTS

WEB, TRADE, WHOLESALE = range(3)
# Share of the order lines by buyer: web orders carry no customer.
BUYER_SHARES = (0.25, 0.725, 0.025)

# Order lines by rank, from the best-seller (1) to the slowest: Online Retail's 4,070 SKUs, close
# to Zipf with a flat head. The median SKU sells a fortieth of what the best-seller does.
_POPULARITY = Curve(
    (0, 0.0012, 0.0025, 0.005, 0.0123, 0.0246, 0.049, 0.123, 0.246, 0.369, 0.491, 0.737, 1),
    (1, 0.709, 0.584, 0.52, 0.405, 0.303, 0.217, 0.129, 0.0735, 0.0458, 0.0277, 0.0069, 0.0003),
)
_FAMILY_SIZE = Curve((0.0, 0.3, 0.6, 0.9, 1.0), (1.0, 2.0, 4.0, 7.0, 10.0))
_SMALL = {
    WEB: Curve((0.0, 0.64, 0.65, 0.82, 0.83, 0.92, 1.0), (1, 1.9, 2, 2.9, 3, 5, 11)),
    TRADE: Curve((0.0, 0.3, 0.301, 0.58, 0.581, 1.0), (1, 1.9, 2, 2.9, 3, 6)),
}
# Packs on one line: mostly one, sometimes several; the far tail is drawn apart.
_PACKS = Curve((0.0, 0.70, 0.701, 0.86, 0.861, 0.94, 1.0), (1, 1.9, 2, 2.9, 3, 5, 9))


class Goods(msgspec.Struct, frozen=True):
    """The catalogue: one entry for each SKU, best-seller first, and then the charges.

    Attributes:
        codes, descriptions: texts, SKUs and then charges.
        weight: shape (skus,), share of the order lines, before season and chance.
        pack, pence, web_pence, bulk_pence: shape (skus,), units in a pack; trade, web and
            bulk price of one unit in pence.
        season: shape (skus,), 0 all year, 1 winter, 2 summer.
        first, last: shape (skus,), calendar days between which it is sold.
        family, family_size: shape (skus,), first SKU of its family, and how many they are.
    """

    codes: list[str]
    descriptions: list[str]
    weight: Floats
    pack: Ints
    pence: Ints
    web_pence: Ints
    bulk_pence: Ints
    season: Ints
    first: Ints
    last: Ints
    family: Ints
    family_size: Ints

    @property
    def skus(self) -> int:
        """How many products there are, without charges."""
        return len(self.weight)

    def demand(self, shop: Shop, day: OpenDay) -> Floats:
        """Return the share of each SKU, times a constant, in the order lines of a day.

        Each SKU drifts from week to week by up to a half, follows its season, and is
        sold from its first to its last day only.
        """
        when = date_of_year(day.date)
        factor = np.array([1.0, float(WINTER(when)), float(SUMMER(when))])
        week, weekday = divmod(day.offset, 7)
        share = weekday / 7
        now, then = (Draws(shop.seed, 5, week + step).uniform(self.skus) for step in (0, 1))
        drift = 0.5 + (now * (1 - share) + then * share)
        is_sold = (self.first <= day.offset) & (day.offset <= self.last)
        return np.asarray(self.weight * factor[self.season] * drift * is_sold)


class Customers(msgspec.Struct, frozen=True):
    """The customers, the keenest first.

    Attributes:
        cumulative: shape (customers,), running sum of how often each one orders.
        country: shape (customers,), index into COUNTRIES.
        buyer: shape (customers,), TRADE or WHOLESALE.
    """

    cumulative: Floats
    country: Ints
    buyer: Ints


def make_goods(shop: Shop) -> Goods:
    """Make the catalogue: families of articles that look, cost and sell alike."""
    draws, count = Draws(shop.seed, 0), shop.skus
    rank = np.arange(count)
    family, size = _families(draws, count)
    noun = draws.whole(len(NOUNS), count)[family]
    price = np.array([row[1] for row in NOUNS])[noun]
    scale = (0.3 + 0.7 * bell(draws.uniform((count, 4))))[family]
    points = np.array(PRICE_POINTS)
    point = np.minimum(np.searchsorted(points, price * scale), len(points) - 1)
    pence = points[point]
    is_slow = rank >= count // 2
    fate = draws.uniform(count)
    moment = draws.whole(max(shop.days, 1), count)
    codes, descriptions = _texts(draws, noun, family, rank - family)
    return Goods(
        codes=codes + [code for code, _ in CHARGES],
        descriptions=descriptions + [text for _, text in CHARGES],
        weight=_POPULARITY(rank / count),
        pack=np.array([row[2] for row in NOUNS])[noun],
        pence=pence,
        web_pence=pence * 2 - 3,
        bulk_pence=points[np.maximum(point - 2, 0)],
        season=np.array([row[3] for row in NOUNS])[noun],
        # One in ten is launched in the time; slow ones may retire. Best-sellers never do:
        # that would be a fault without a label.
        first=np.where(fate < 0.1, moment, 0),
        last=np.where((fate > 0.9) & is_slow, moment, shop.days),
        family=family,
        family_size=size,
    )


def make_customers(shop: Shop) -> Customers:
    """Make the customers: one in thirty is a wholesaler, one in ten lives abroad."""
    draws, count = Draws(shop.seed, 6), max(20, 2 * shop.lines_per_day)
    rank = np.arange(count)
    shares = running(np.array([float(share) for _, share in COUNTRIES]))
    is_wholesaler = draws.uniform(count) < 0.035
    return Customers(
        cumulative=running(1 / (rank + 1 + count * 0.03)),
        country=pick(shares, draws.uniform(count)),
        buyer=np.where(is_wholesaler, WHOLESALE, TRADE).astype(np.int64),
    )


def draw_quantity(draws: Draws, pack: Ints, buyer: Ints) -> Ints:
    """Draw the units on order lines.

    Web orders take ones and twos; trade takes packs or a handful; wholesale takes many packs,
    with a tail that falls like 1 / x.

    Args:
        draws: where chance comes from.
        pack: shape (lines,), units in a pack.
        buyer: shape (lines,), WEB, TRADE or WHOLESALE.

    Returns:
        Units, shape (lines,), 1 or more.
    """
    count = len(pack)
    how, small, many, far = draws.uniform((4, count))
    handful = np.where(buyer == WEB, _SMALL[WEB](small), _SMALL[TRADE](small))
    packs = np.where(buyer == WHOLESALE, 2 + 10 * many, _PACKS(many))
    tail = np.where(buyer == WHOLESALE, 8 / (far + 0.03), 4 / (far + 0.04))
    share = np.array([0.90, 0.44, 0.06])[buyer]
    is_far = how > np.array([2.0, 0.992, 0.93])[buyer]
    packs = np.floor(np.where(is_far, tail, packs))
    return np.where(how < share, np.floor(handful), pack * packs).astype(np.int64)


def _families(draws: Draws, count: int) -> tuple[Ints, Ints]:
    """Cut the ranks into families; return the first SKU and the size of each one's family."""
    size = np.floor(_FAMILY_SIZE(draws.uniform(count))).astype(np.int64)
    end = np.cumsum(size)
    size = size[: int(np.searchsorted(end, count)) + 1]
    size[-1] -= int(np.sum(size)) - count
    start = np.cumsum(size) - size
    return np.repeat(start, size), np.repeat(size, size)


def _texts(draws: Draws, noun: Ints, family: Ints, member: Ints) -> tuple[list[str], list[str]]:
    """Make codes and descriptions: families share a number with letters, or neighbours."""
    count = len(noun)
    starts = np.unique(family)
    gap = max(1, min(30, 70_000 // count))
    step = 1 + draws.whole(gap, count)
    shelf = draws.order(len(starts))
    is_lettered = draws.uniform(count) < 0.35
    sizes = np.diff(np.append(starts, count))
    number = np.zeros(count, np.int64)
    taken = np.where(is_lettered[starts], 1, sizes)[shelf] + step[:count][starts][shelf]
    number[starts[shelf]] = 20_000 + np.cumsum(taken) - taken
    first = draws.whole(len(PATTERNS), count)
    look = draws.uniform(count)
    codes: list[str] = []
    descriptions: list[str] = []
    rows = zip(family.tolist(), member.tolist(), noun.tolist(), look.tolist(), strict=True)
    for start, place, kind, style in rows:
        if is_lettered[start]:
            codes.append(f"{number[start]}{chr(65 + place)}")
        else:
            codes.append(f"{number[start] + place}")
        pattern = PATTERNS[(first[start] + place) % len(PATTERNS)]
        descriptions.append(_describe(NOUNS[kind][0], pattern, style, look[start] < 0.5))
    return codes, descriptions


def _describe(noun: str, pattern: str, style: float, is_pattern_first: bool) -> str:
    """Join noun and pattern as a shop would; some with commas, quotes or a blank too many."""
    if style < 0.010:
        text = f"{noun}, {pattern}"
    elif style < 0.015:
        text = f'"{pattern}" {noun}'
    elif style < 0.045:
        text = f"{noun} {pattern} "
    elif is_pattern_first:
        text = f"{pattern} {noun}"
    else:
        text = f"{noun} {pattern}"
    return text[:35]
