"""Baskets: which lines came together, remembered for a while in fixed memory."""

# A ring of sale lines and a ring of baskets, each with a hash table whose chains lead from the
# newest entry back. A basket is the lines of one invoice that were entered together: in one
# instant, or in parts up to two minutes apart. A line scanned twice is one line.

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from oddlot.detectors.contract import Event
from oddlot.engine.compiled import compiled, inlined, outlined
from oddlot.schema import RETURN, SALE

LINES = 1 << 15  # how many lines are remembered at most
BASKETS = 1 << 13
LIKE = 64  # how many lines like a line are looked at: one of many says little anyway
JOIN_US = 120_000_000  # parts of one invoice up to two minutes apart are one basket
JOIN_MOST = 256  # but not to a basket as long as this: each part looks at the whole again
MONEY = float(1 << 16)  # sums of money are whole numbers of 2^-16: their order does not matter
DEAREST = 1e9  # a line is worth at most so much

# Columns of a line: its SKU and quantity; its basket, below 0 once it came back; the line before
# it in its bucket; the line before it in its basket; its money.
KEY, OWNER, OLDER, NEXT, WORTH = range(5)
# Columns of a basket: times of its first and last part; its lines; the newest of them; the basket
# before it in its bucket; its last line's place in the instant; the number of its first line; how
# odd it was when it was told; and for the latest look at it as somebody's double: the look's
# number, the lines shared, their rarity and money, and the next candidate.
FIRST, LAST, SIZE, NEWEST, BEFORE, AT, START, TOLD = range(8)
LOOK, SHARED, RARITY, MONEYS, FOLLOW = range(8, 13)

# What a detector's `shop` needs to remember baskets; lines and baskets are numbered from 1.
STATE = (
    ("lines", "<i8"),
    ("baskets", "<i8"),
    ("line", "<i8", (LINES, 5)),
    ("line_head", "<i8", (LINES,)),
    ("basket", "<i8", (BASKETS, 13)),
    ("invoice", "<u8", (BASKETS,)),
    ("customer", "<u8", (BASKETS,)),
    ("basket_head", "<i8", (BASKETS,)),
)


@inlined
def mix(number, bits):
    """Return a bucket out of 2^bits for a number: Fibonacci hashing."""
    return np.int64((np.uint64(number) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - bits))


@outlined
def _holds(state, key, basket):
    """Return whether a basket has a line of this SKU and quantity."""
    number = state.line_head[mix(key, 15)]
    while number > max(0, state.lines - LINES):
        line = state.line[number & (LINES - 1)]
        if line[KEY] == key and abs(line[OWNER]) == basket:
            return True
        number = line[OLDER]
    return False


@outlined
def _part_of(state, basket, time_us):
    """Return an earlier part of the basket's invoice that it continues, else 0."""
    oldest = max(0, state.baskets - BASKETS)
    here = basket & (BASKETS - 1)
    former = state.basket[here][BEFORE]
    while former > oldest:
        there = former & (BASKETS - 1)
        if state.invoice[there] == state.invoice[here] and state.basket[there][SIZE] > 0:
            break
        former = state.basket[there][BEFORE]
    if former <= oldest:
        return 0
    whole = state.basket[former & (BASKETS - 1)]
    if time_us - whole[LAST] > JOIN_US or whole[SIZE] >= JOIN_MOST:
        return 0
    both = 0
    number = state.basket[here][NEWEST]
    while number > max(0, state.lines - LINES):
        both += _holds(state, state.line[number & (LINES - 1)][KEY], former)
        number = state.line[number & (LINES - 1)][NEXT]
    return former if 2 * both < state.basket[here][SIZE] else 0


@outlined
def _join(state, basket, time_us):
    """Give a basket's lines to an earlier part of its invoice, unless they repeat it."""
    former = _part_of(state, basket, time_us)
    if former == 0:
        return
    one = state.basket[basket & (BASKETS - 1)]
    whole = state.basket[former & (BASKETS - 1)]
    number = one[NEWEST]
    while number > max(0, state.lines - LINES):
        line = state.line[number & (LINES - 1)]
        following = line[NEXT]
        if not _holds(state, line[KEY], former):
            line[OWNER] = former
            line[NEXT] = whole[NEWEST]
            whole[NEWEST] = number
            whole[SIZE] += 1
        else:
            line[OWNER] = 0
        number = following
    one[SIZE] = 0
    whole[AT] = one[AT]
    whole[LAST] = time_us


@outlined
def _give_back(state, key, customer, before):
    """Take the newest earlier line of this key and customer out of its basket."""
    number = state.line_head[mix(key, 15)]
    looked = 0
    while number > max(0, state.lines - LINES) and looked < LIKE:
        line = state.line[number & (LINES - 1)]
        if line[KEY] == key and number <= before:
            looked += 1
            owner = line[OWNER]
            if (
                owner > max(0, state.baskets - BASKETS)
                and state.customer[owner & (BASKETS - 1)] == customer
            ):
                line[OWNER] = -owner
                return
        number = line[OLDER]


@compiled
def enter(state, event, first, last):
    """Learn the lines of the instant that begins at event[first]; return where it ends.

    Each sale with an invoice finds its basket; what comes back leaves its own. Line and basket
    of one instant are those with a number above `state.lines` and `state.baskets` before it.
    """
    time_us = event[first].time_us
    line, basket = state.line, state.basket
    line_head, basket_head = state.line_head, state.basket_head
    invoice, customer = state.invoice, state.customer
    baskets_before, lines_before = state.baskets, state.lines
    j = first
    while j < last and event[j].time_us == time_us:
        one = event[j]
        quantity = one.quantity
        key = np.int64(one.sku) * np.int64(1 << 32) + abs(quantity)
        if one.kind == RETURN and quantity < 0:
            _give_back(state, key, one.customer, lines_before)
        if one.kind == SALE and quantity > 0 and one.invoice != 0:
            bucket = mix(one.invoice, 13)
            mine = basket_head[bucket]
            while mine > max(baskets_before, state.baskets - BASKETS) and (
                invoice[mine & (BASKETS - 1)] != one.invoice
            ):
                mine = basket[mine & (BASKETS - 1), BEFORE]
            here = mine & (BASKETS - 1)
            if mine <= max(baskets_before, state.baskets - BASKETS):
                state.baskets += 1
                mine = state.baskets
                here = mine & (BASKETS - 1)
                invoice[here] = one.invoice
                customer[here] = one.customer
                basket[here, FIRST] = time_us
                basket[here, LAST] = time_us
                basket[here, SIZE] = 0
                basket[here, NEWEST] = 0
                basket[here, BEFORE] = basket_head[bucket]
                basket[here, START] = state.lines + 1
                basket[here, TOLD] = 0
                basket[here, LOOK] = 0
                basket_head[bucket] = mine
            basket[here, AT] = j - first
            bucket = mix(key, 15)
            number = line_head[bucket]
            is_again = False  # a line scanned twice within its invoice is one line
            while number > max(lines_before, state.lines - LINES) and not is_again:
                is_again = (
                    line[number & (LINES - 1), KEY] == key
                    and line[number & (LINES - 1), OWNER] == mine
                )
                number = line[number & (LINES - 1), OLDER]
            if not is_again:
                state.lines += 1
                place = state.lines & (LINES - 1)
                line[place, KEY] = key
                line[place, OWNER] = mine
                line[place, OLDER] = line_head[bucket]
                line[place, NEXT] = basket[here, NEWEST]
                money = quantity * one.price
                worth = min(money, DEAREST) * MONEY if money > 0.0 else 0.0
                line[place, WORTH] = np.int64(worth)
                line_head[bucket] = state.lines
                basket[here, NEWEST] = state.lines
                basket[here, SIZE] += 1
        j += 1
    for new in range(max(baskets_before, state.baskets - BASKETS) + 1, state.baskets + 1):
        _join(state, new, time_us)
    return j


@dataclass(eq=False)
class Line:
    """One line of a basket, for `define`."""

    sku: int
    quantity: int
    time_us: int
    money: float
    owner: Basket | None = None
    is_back: bool = False


@dataclass(eq=False)
class Basket:
    """One basket, for `define`."""

    invoice: int
    customer: int
    first: int
    last: int
    at: int = 0
    told: float = 0.0
    lines: list[Line] = field(default_factory=list)

    def holds(self, sku: int, quantity: int) -> bool:
        """Return whether it has a line of this SKU and quantity."""
        return any((line.sku, line.quantity) == (sku, quantity) for line in self.lines)


def is_entry(one: Event) -> bool:
    """Return whether an event is a line that stands in a basket."""
    return one.kind == SALE and one.quantity > 0 and one.invoice != 0


def define_enter(
    instant: list[tuple[int, Event]], baskets: list[Basket], lines: list[Line]
) -> list[Basket]:
    """Do what `enter` does, plainly, with nothing ever forgotten.

    Args:
        instant: the events of one instant, with their indices.
        baskets, lines: all so far, in order of arrival; updated in place.

    Returns:
        The baskets that were begun or went on in this instant.
    """
    before = lines[::-1]
    fresh: list[Basket] = []
    for k, one in instant:
        if one.kind == RETURN and one.quantity < 0:
            _define_back(before, one)
        if not is_entry(one):
            continue
        mine = next((basket for basket in fresh if basket.invoice == one.invoice), None)
        if mine is None:
            mine = Basket(one.invoice, one.customer, one.time_us, one.time_us)
            fresh.append(mine)
        mine.at = k
        if not mine.holds(one.sku, one.quantity):
            money = one.quantity * one.price
            worth = min(money, DEAREST) if money > 0.0 else 0.0
            line = Line(one.sku, one.quantity, one.time_us, worth, mine)
            mine.lines.append(line)
            lines.append(line)
    entered = [_define_join(basket, baskets) for basket in fresh]
    baskets += fresh
    return entered


def _define_back(before: list[Line], one: Event) -> None:
    """Mark the newest earlier line that a return takes back, if there is one."""
    like = [line for line in before if (line.sku, line.quantity) == (one.sku, -one.quantity)]
    for line in like[:LIKE]:
        if line.owner is not None and not line.is_back and line.owner.customer == one.customer:
            line.is_back = True
            return


def _define_join(mine: Basket, baskets: list[Basket]) -> Basket:
    """Return the earlier part of the invoice, now with the basket's lines, or the basket."""
    parts = [basket for basket in baskets if basket.invoice == mine.invoice and basket.lines]
    if not parts or mine.first - parts[-1].last > JOIN_US or len(parts[-1].lines) >= JOIN_MOST:
        return mine
    former = parts[-1]
    new = [line for line in mine.lines if not former.holds(line.sku, line.quantity)]
    if 2 * len(new) <= len(mine.lines):
        return mine
    for line in mine.lines:
        line.owner = former if line in new else None
    former.lines += new
    former.last, former.at = mine.first, mine.at
    mine.lines = []
    return former
