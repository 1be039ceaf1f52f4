"""Who buys: in how large baskets, and for the first time or again, as weighed evidence."""

# A wholesaler's list of 300 lines holds every SKU, and its customer buys the same again. When a SKU
# is wanted of its own accord, its orders are orders like any other: small baskets, new customers.
# Each order's marks multiply the odds by (1 - s) + s x (share among all orders / share among the
# SKU's lines), where s is the part of the orders that is beyond the expected. Given the count, this
# product has mean 1 while nothing is wrong: it is an e-value, and a chance divided by it is a
# chance.
# Source: Ignatiadis, Wang, Ramdas (2024), E-values as unnormalized weights in multiple testing,
# Biometrika 111(2).

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from oddlot.engine.compiled import inlined, outlined

BANDS = 8  # baskets of 1, 2, 4, 8 ... and 128 lines and more
WINDOWS = 3  # trading days, counted back from the one in progress
MOST_PAIRS = 1 << 17  # of customer and SKU in one half of the memory; then the older is forgotten
_PLACES = 2 * MOST_PAIRS
_SLOTS = 1 << 12  # for invoices of one instant
_PROBES = 16
_MOST = 65_535  # orders of one day whose marks are counted
_BORROWED = 100.0  # orders that the catalogue counts for in a SKU's baskets (seeds 1 to 3)
_BORROWED_AGAIN = 20.0  # the same in its share of repeated buyers
_LESS = 1.0 / 3.0  # a chance customer has bought the SKU before so much less often than its buyers
_HASH = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93))
_H29, _H32, _ONE = np.uint64(29), np.uint64(32), np.uint64(1)
_PLACE = np.uint64(_PLACES - 1)
_SLOT = np.uint64(_SLOTS - 1)

# What is known of a SKU's orders: fields of a detector's row.
BUYERS_ROW: list[tuple[Any, ...]] = [
    ("own", "<f8", (BANDS,)),  # orders by basket, before the windows, older ones less
    ("own_again", "<f8"),  # the same by customers who had bought it
    ("own_first", "<f8"),
    ("again", "<u2", (WINDOWS,)),  # of the newest trading days
    ("first", "<u2", (WINDOWS,)),
    ("baskets", "<u2", (WINDOWS * BANDS,)),
]
# What is known of the catalogue: fields of a detector's shop record. All zero at first.
BUYERS_SHOP: list[tuple[Any, ...]] = [
    ("lines_in", "<f8", (BANDS,)),  # lines by basket, older ones less
    ("orders_in", "<f8", (BANDS,)),
    ("share", "<f8", (BANDS,)),  # their shares before the instant
    ("among_orders", "<f8", (BANDS,)),
    ("all_again", "<f8"),  # lines by customers who had bought the SKU
    ("all_first", "<f8"),
    ("again_share", "<f8"),
    ("instant", "<i8"),
    ("turned", "<i8"),  # 1 when the older half of the memory is in use
    ("pairs_kept", "<i8"),
    ("slot_at", "<i8", (_SLOTS,)),
    ("slot_invoice", "<u8", (_SLOTS,)),
    ("slot_lines", "<i8", (_SLOTS,)),  # negative once learnt
    ("pairs", "<u4", (2 * _PLACES,)),  # who bought what: the newer half first
]


@inlined
def band_of(lines):
    """Return the octave of a basket's size, at least 1."""
    band = 0
    while lines > 1 and band < BANDS - 1:
        lines >>= 1
        band += 1
    return band


@outlined
def open_instant(shop):
    """Fix the shares by which the orders of an instant are weighed."""
    shop.instant += 1
    all_lines, all_orders = 0.0, 0.0
    for b in range(BANDS):
        all_lines += shop.lines_in[b]
        all_orders += shop.orders_in[b]
    for b in range(BANDS):
        shop.share[b] = share_of(shop.lines_in[b], all_lines)
        shop.among_orders[b] = share_of(shop.orders_in[b], all_orders)
    shop.again_share = (shop.all_again + 0.5) / (shop.all_again + shop.all_first + 1.0)


@outlined
def fade_shop(shop, keep):
    """Let the catalogue's past count less on a new trading day."""
    for b in range(BANDS):
        shop.lines_in[b] *= keep
        shop.orders_in[b] *= keep
    shop.all_again *= keep
    shop.all_first *= keep


@outlined
def turn_day(row, keep):
    """Move a SKU's windows by one trading day; the oldest day goes to its past."""
    row.own_again = (row.own_again + row.again[2]) * keep
    row.own_first = (row.own_first + row.first[2]) * keep
    for v in range(WINDOWS - 1, 0, -1):
        row.again[v] = row.again[v - 1]
        row.first[v] = row.first[v - 1]
    row.again[0] = 0
    row.first[0] = 0
    for b in range(BANDS):
        row.own[b] = (row.own[b] + row.baskets[(WINDOWS - 1) * BANDS + b]) * keep
    for b in range(WINDOWS * BANDS - 1, BANDS - 1, -1):
        row.baskets[b] = row.baskets[b - BANDS]
    for b in range(BANDS):
        row.baskets[b] = 0


@outlined
def fade_row(row, fade):
    """Let a SKU's past count less."""
    row.own_again *= fade
    row.own_first *= fade
    for b in range(BANDS):
        row.own[b] *= fade


@outlined
def _slot_of(shop, invoice):
    """Return where an invoice of this instant is, or may go; -1 if there is no place."""
    at = np.int64(invoice & _SLOT)
    for _ in range(_PROBES):
        if shop.slot_at[at] != shop.instant or shop.slot_invoice[at] == invoice:
            return at
        at = (at + 1) & (_SLOTS - 1)
    return -1


@outlined
def count_line(shop, invoice):
    """Count one line of an invoice of this instant."""
    at = _slot_of(shop, invoice)
    if at >= 0:
        if shop.slot_at[at] != shop.instant:
            shop.slot_at[at] = shop.instant
            shop.slot_invoice[at] = invoice
            shop.slot_lines[at] = 0
        shop.slot_lines[at] += 1


@outlined
def _place_of(shop, customer, sku, half):
    """Return the place of a pair in one half of the memory, its mark, and whether it is there.

    A mark that another pair has too is so improbable (2^-49) that SKU numbers do not matter.
    """
    key = (customer + np.uint64(sku) * _HASH[1]) * _HASH[0]
    key = (key ^ (key >> _H32)) * _HASH[1]
    key ^= key >> _H29
    mark = np.uint32((key >> _H32) | _ONE)
    at = np.int64(key & _PLACE)
    while shop.pairs[half * _PLACES + at] != 0 and shop.pairs[half * _PLACES + at] != mark:
        at = (at + 1) & (_PLACES - 1)
    return half * _PLACES + at, mark, shop.pairs[half * _PLACES + at] == mark


@outlined
def mark_order(row, shop, line):
    """Count the basket and the buyer of one order in the SKU's window."""
    if row.orders[0] > _MOST:
        return
    if line.invoice != 0:
        at = _slot_of(shop, line.invoice)
        if at >= 0:
            row.baskets[band_of(shop.slot_lines[at])] += 1
    if line.customer != 0:
        is_known = _place_of(shop, line.customer, line.sku, 0)[2]
        if not is_known and shop.turned:
            is_known = _place_of(shop, line.customer, line.sku, 1)[2]
        if is_known:
            row.again[0] += 1
        else:
            row.first[0] += 1


@outlined
def learn_line(shop, line):
    """Learn the basket and the buyer of a line, after all of its instant were judged."""
    if line.invoice != 0:
        at = _slot_of(shop, line.invoice)
        if at >= 0 and shop.slot_lines[at] > 0:
            band = band_of(shop.slot_lines[at])
            shop.orders_in[band] += 1.0
            shop.lines_in[band] += shop.slot_lines[at]
            shop.slot_lines[at] = -shop.slot_lines[at]
    if line.customer == 0:
        return
    at, mark, is_kept = _place_of(shop, line.customer, line.sku, 0)
    if is_kept or (shop.turned and _place_of(shop, line.customer, line.sku, 1)[2]):
        shop.all_again += 1.0
    else:
        shop.all_first += 1.0
    if not is_kept:
        if shop.pairs_kept == MOST_PAIRS:
            for b in range(_PLACES):
                shop.pairs[_PLACES + b] = shop.pairs[b]
                shop.pairs[b] = 0
            shop.turned = 1
            shop.pairs_kept = 0
            at = _place_of(shop, line.customer, line.sku, 0)[0]
        shop.pairs[at] = mark
        shop.pairs_kept += 1


@outlined
def weigh_window(row, shop, days, excess):
    """Return ln of how the marks of a window's orders multiply the odds of a surge.

    Args:
        row: of the SKU, with the fields of BUYERS_ROW.
        shop: with the fields of BUYERS_SHOP.
        days: trading days in the window, 1 to WINDOWS.
        excess: part of its orders that is beyond the expected; >= 0, < 1.
    """
    owned, weight = 0.0, 0.0
    for b in range(BANDS):
        owned += row.own[b]
    for b in range(BANDS):
        such = 0
        for v in range(days):
            such += row.baskets[v * BANDS + b]
        if such > 0:
            ratio = basket_ratio(excess, row.own[b], owned, shop.share[b], shop.among_orders[b])
            weight += such * math.log(ratio)
    again, first = 0, 0
    for v in range(days):
        again += row.again[v]
        first += row.first[v]
    if again > 0:
        weight += again * math.log(again_ratio(excess))
    if first > 0:
        ratio = first_ratio(excess, row.own_again, row.own_first, shop.again_share)
        weight += first * math.log(ratio)
    return weight


@outlined
def share_of(part, whole):
    """Return the share of a band; near even while there is little."""
    return (part + 0.01) / (whole + 0.01 * BANDS)


@outlined
def basket_ratio(excess, own, owned, share, among_orders):
    """Return how one order's basket multiplies the odds of a surge.

    Args:
        excess: part of the orders that is beyond the expected; >= 0, < 1.
        own: past orders of the SKU in such baskets, of `owned`.
        share: of the catalogue's lines in such baskets.
        among_orders: of the catalogue's orders that are such baskets.
    """
    usual = (own + _BORROWED * share) / (owned + _BORROWED)
    return 1.0 - excess + excess * among_orders / usual


@outlined
def again_ratio(excess):
    """Return how one order by a customer who had bought the SKU multiplies the odds."""
    return 1.0 - excess + excess * _LESS


@outlined
def first_ratio(excess, own_again, own_first, share):
    """Return how one order by a customer who had never bought the SKU multiplies the odds.

    Args:
        excess: as in `basket_ratio`.
        own_again, own_first: past orders of the SKU by such and by other customers.
        share: of the catalogue's lines that are repeats; above 0, below 1.
    """
    usual = (own_again + _BORROWED_AGAIN * share) / (own_again + own_first + _BORROWED_AGAIN)
    return 1.0 - excess + excess * (1.0 - _LESS * usual) / (1.0 - usual)


def define_weight(
    excess: float,
    inside: Sequence[tuple[int, int, int]],
    old: Sequence[tuple[int, int, int]],
    today: int,
    baskets: Sequence[tuple[int, int]],
    buyers: Sequence[tuple[int, bool]],
    keep: float,
) -> float:
    """Return what `weigh_window` does, in plain Python over the whole past.

    Args:
        excess: part of the window's orders that is beyond the expected.
        inside: its orders: trading day, band or -1, and 1 for a customer who had bought the SKU,
            0 for one who had not, -1 for none.
        old: the SKU's orders before all windows, alike.
        today: the trading day in progress.
        baskets: trading day and lines of each invoice of the catalogue before this instant.
        buyers: trading day of each line with a customer, and whether they had bought the SKU.
        keep: what is left of a weight a trading day later.
    """
    lines_in, orders_in, own = [0.0] * BANDS, [0.0] * BANDS, [0.0] * BANDS
    for day, count in baskets:
        lines_in[band_of(count)] += count * keep ** (today - day)
        orders_in[band_of(count)] += keep ** (today - day)
    known = sum(keep ** (today - day) for day, again in buyers if again)
    share = (known + 0.5) / (sum(keep ** (today - day) for day, _ in buyers) + 1)
    own_by = {0: 0.0, 1: 0.0, -1: 0.0}
    for day, band, again in old:
        faded = keep ** (today - WINDOWS + 1 - day)
        own_by[again] += faded
        if band >= 0:
            own[band] += faded
    weight = 0.0
    for _, band, again in inside:
        if band >= 0:
            usual = share_of(lines_in[band], sum(lines_in))
            among = share_of(orders_in[band], sum(orders_in))
            weight += math.log(basket_ratio(excess, own[band], sum(own), usual, among))
        if again == 1:
            weight += math.log(again_ratio(excess))
        elif again == 0:
            weight += math.log(first_ratio(excess, own_by[1], own_by[0], share))
    return weight
