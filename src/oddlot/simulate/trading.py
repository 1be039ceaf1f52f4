"""The shop's ordinary trade, one open day after the other: sales, returns, stock corrections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oddlot.schema import Floats, Ints, LineArray
from oddlot.simulate.draws import Curve, Draws, pick, running
from oddlot.simulate.goods import (
    BUYER_SHARES,
    WEB,
    draw_quantity,
    make_customers,
    make_goods,
)
from oddlot.simulate.shop import CLOSING_US, DAY_US, HOUR_US, OpenDay, Shop, open_days
from oddlot.simulate.vocabulary import CHANNEL_ISLANDS, EIRE, NOTES, UNITED_KINGDOM

# One order line of the simulated shop.
SHOP_LINE = np.dtype(
    [
        ("time_us", "<i8"),  # event time, microseconds UTC
        ("invoice", "<i8"),  # lines of one invoice share it; unique within a day
        ("number", "<i8"),  # the invoice's number in print; 0 until it is given
        ("quantity", "<i8"),  # units, negative when they come back
        ("pence", "<i8"),  # price of one unit
        ("sku", "<i4"),  # index into the codes of Goods
        ("customer", "<i4"),  # index of the customer, -1 for none
        ("country", "<i2"),  # index into COUNTRIES
        ("note", "<i2"),  # index into NOTES in place of the description, -1 for none
        ("is_return", "u1"),  # 1 where the invoice number begins with C
    ]
)

# Invoices by time of day and lines by invoice: the quantiles of Online Retail, a little
# thinned at the top, which gives 20 lines an invoice.
HOURS = Curve(
    (0.0, 0.003, 0.027, 0.098, 0.214, 0.337, 0.490, 0.621, 0.743, 0.862, 0.938, 0.980, 1.0),
    (7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 20.9),
)
_INVOICE_SIZE = Curve(
    (0.0, 0.10, 0.25, 0.50, 0.75, 0.90, 0.97, 0.99, 1.0),
    (1.0, 2.0, 4.5, 14.0, 28.0, 50.0, 85.0, 130.0, 400.0),
)
_MEAN_SIZE = 22.5
# Days from a sale to its return, and how many lines of an invoice come back.
_RETURN_LAG = Curve(
    (0.0, 0.05, 0.10, 0.25, 0.50, 0.75, 1.0), (0.002, 0.008, 0.11, 3.0, 7.0, 14.0, 28.0)
)
_RETURN_SIZE = Curve((0.0, 0.62, 0.80, 0.90, 1.0), (1.0, 2.0, 3.0, 5.0, 9.0))
_RETURN_SHARE = 0.25
_REVERSED_SHARE = 0.002
_SIBLING_SHARE = 0.3
_CORRECTIONS = 0.0045  # of the order lines: small stock corrections, up and down

# Charges by their place after the SKUs, see vocabulary.CHARGES.
_VOUCHERS = ((0, 833), (1, 1667), (2, 4167))  # which one after the first, price in pence
_POST, _DOT, _CARRIAGE, _MANUAL, _DISCOUNT, _SAMPLES, _BANK, _AMAZON, _CRUK, _VOUCHER = range(10)


class Trade(NamedTuple):
    """What happens on an open day.

    Attributes:
        day: the day.
        lines: shape (lines,), dtype SHOP_LINE, in order of time and invoice.
        demand: shape (skus,), running sum of what each SKU's share of the sales is drawn from.
    """

    day: OpenDay
    lines: LineArray
    demand: Floats


class Trading:
    """The shop with its goods and customers; iterating gives its days, and can be repeated."""

    def __init__(self, shop: Shop) -> None:
        shop.check()
        self.shop = shop
        self.goods = make_goods(shop)
        self.customers = make_customers(shop)
        self.days = open_days(shop)
        self._offsets = np.array([day.offset for day in self.days], np.int64)
        self._starts = np.array([day.start_us for day in self.days], np.int64)

    def __iter__(self) -> Iterator[Trade]:
        coming: dict[int, list[LineArray]] = {}
        for day in self.days:
            draws = Draws(self.shop.seed, 1, day.index)
            demand = running(self.goods.demand(self.shop, day))
            sales = self._sales(draws, day, demand)
            self._send_back(draws, day, sales, coming)
            parts = [sales, *coming.pop(day.index, [])]
            parts.append(self._corrections(draws, day, demand))
            parts.append(self._charges(draws, day, sales))
            yield Trade(day, _joined(parts), demand)

    def times(self, draws: Draws, day: OpenDay, count: int) -> Ints:
        """Draw `count` times of a day, microseconds UTC, as busy as its hours are."""
        within = np.floor(HOURS(draws.uniform(count)) * HOUR_US).astype(np.int64)
        return self.rounded(day.start_us + within)

    def rounded(self, time_us: Ints) -> Ints:
        """Round times down to the shop's resolution."""
        return time_us - time_us % self.shop.resolution_us

    def buyers(self, draws: Draws, count: int) -> Ints:
        """Draw what kind of buyer takes each of `count` order lines."""
        return pick(running(np.array(BUYER_SHARES)), draws.uniform(count))

    def prices(self, sku: Ints, buyer: Ints, quantity: Ints) -> Ints:
        """Price order lines in pence: web, trade, or bulk from eight packs on."""
        goods = self.goods
        is_bulk = (quantity >= 8 * goods.pack[sku]) & (quantity >= 24)
        trade = np.where(is_bulk, goods.bulk_pence[sku], goods.pence[sku])
        return np.where(buyer == WEB, goods.web_pence[sku], trade)

    def _sales(self, draws: Draws, day: OpenDay, demand: Floats) -> LineArray:
        """Draw a day's invoices and what is on them; all empty where nothing is on sale."""
        if demand[-1] == 0:
            return np.zeros(0, SHOP_LINE)
        size = self._invoice_sizes(draws, day)
        count = len(size)
        customer = pick(self.customers.cumulative, draws.uniform(count))
        buyer = self.customers.buyer[customer]
        country = self.customers.country[customer]
        is_web = draws.uniform(count) < BUYER_SHARES[WEB]
        buyer[is_web] = WEB
        customer[is_web] = -1
        country[is_web] = UNITED_KINGDOM
        # Numbered in order of time, as a till does.
        time_us = np.sort(self.times(draws, day, count), kind="stable")
        invoice = np.repeat(np.arange(count), size)
        sku = self._baskets(draws, demand, invoice)
        is_again = _is_repeated(invoice, sku, len(demand)) & (draws.uniform(len(sku)) < 0.7)
        invoice, sku = invoice[~is_again], sku[~is_again]
        lines = np.zeros(len(sku), SHOP_LINE)
        quantity = draw_quantity(draws, self.goods.pack[sku], buyer[invoice])
        lines["time_us"] = time_us[invoice]
        lines["invoice"] = invoice
        lines["quantity"] = quantity
        lines["pence"] = self.prices(sku, buyer[invoice], quantity)
        lines["sku"] = sku
        lines["customer"] = customer[invoice]
        lines["country"] = country[invoice]
        lines["note"] = -1
        return lines

    def _invoice_sizes(self, draws: Draws, day: OpenDay) -> Ints:
        """Draw lines by invoice until the day's order lines are reached."""
        due = max(1, round(day.lines * 1.02))
        largest = max(3.0, due / 4)
        size = np.zeros(0, np.int64)
        while int(np.sum(size)) < due:
            drawn = _INVOICE_SIZE(draws.uniform(int(due / _MEAN_SIZE) + 8))
            more = np.floor(np.minimum(drawn, largest)).astype(np.int64)
            size = np.concatenate([size, more])
        reach = np.cumsum(size)
        size = size[: int(np.searchsorted(reach, due)) + 1]
        size[-1] -= int(np.sum(size)) - due
        return size

    def _baskets(self, draws: Draws, demand: Floats, invoice: Ints) -> Ints:
        """Draw the SKU of each line; some are of the same family as the line before."""
        goods = self.goods
        sku = pick(demand, draws.uniform(len(invoice)))
        before = np.roll(sku, 1)
        sibling = goods.family[before] + draws.whole(goods.family_size[before], len(sku))
        is_sold = np.diff(demand, prepend=0.0)[sibling] > 0
        is_sibling = (draws.uniform(len(sku)) < _SIBLING_SHARE) & is_sold
        is_sibling &= np.diff(invoice, prepend=-1) == 0
        return np.where(is_sibling, sibling, sku)

    def _send_back(
        self, draws: Draws, day: OpenDay, sales: LineArray, coming: dict[int, list[LineArray]]
    ) -> None:
        """Draw which sales come back, in part weeks later; `coming` is filled, by open day."""
        first = np.flatnonzero(np.diff(sales["invoice"], prepend=-1))
        size = np.diff(np.append(first, len(sales)))
        how, lag, width, where = draws.uniform((4, len(first)))
        is_reversed = how < _REVERSED_SHARE
        is_known = sales["customer"][first] >= 0
        chosen = np.flatnonzero(is_reversed | (is_known & (how < _RETURN_SHARE)))
        lag = np.where(is_reversed, 0.002 + 0.02 * lag, _RETURN_LAG(lag))[chosen]
        taken = np.minimum(np.floor(_RETURN_SIZE(width)).astype(np.int64), size)
        taken = np.where(is_reversed, size, taken)
        begin = (first + np.floor(where * (size - taken + 1)).astype(np.int64))[chosen]
        taken = taken[chosen]
        # Places begin, begin + 1, ... of each invoice that comes back.
        again = np.repeat(np.arange(len(chosen)), taken)
        back = sales[np.arange(len(again)) + np.repeat(begin - np.cumsum(taken) + taken, taken)]
        part, whole = draws.uniform((2, len(back)))
        few = 1 + np.floor(part * np.minimum(back["quantity"], 6)).astype(np.int64)
        is_whole = (whole < 0.5) | is_reversed[chosen][again]
        back["quantity"] = -np.where(is_whole, back["quantity"], few)
        target, time_us = self._return_times(draws, day, sales["time_us"][begin], lag)
        back["time_us"] = time_us[again]
        back["invoice"] = again
        back["is_return"] = 1
        for index in np.unique(target[target < len(self.days)]).tolist():
            coming.setdefault(index, []).append(back[target[again] == index])

    def _return_times(
        self, draws: Draws, day: OpenDay, sold_us: Ints, lag: Floats
    ) -> tuple[Ints, Ints]:
        """Say on which open day, and when, goods come back; the day may be after the last."""
        soon_us = sold_us + np.floor(lag * DAY_US).astype(np.int64)
        is_soon = (lag < 0.2) & (soon_us < day.start_us + CLOSING_US)
        offset = day.offset + np.maximum(1, np.floor(lag).astype(np.int64))
        target = np.where(is_soon, day.index, np.searchsorted(self._offsets, offset))
        start_us = np.append(self._starts, 0)[target]
        within = np.floor(HOURS(draws.uniform(len(lag))) * HOUR_US).astype(np.int64)
        return target, self.rounded(np.where(is_soon, soon_us, start_us + within))

    def _corrections(self, draws: Draws, day: OpenDay, demand: Floats) -> LineArray:
        """Draw the day's small stock corrections: price 0, no customer, often no text."""
        count = int(day.lines * _CORRECTIONS + draws.one())
        lines = np.zeros(count if demand[-1] else 0, SHOP_LINE)
        count = len(lines)
        size = 1 + np.floor(draws.uniform(count) * draws.uniform(count) * 6).astype(np.int64)
        lines["time_us"] = self.times(draws, day, count)
        lines["invoice"] = np.arange(count)
        lines["quantity"] = np.where(draws.uniform(count) < 0.55, -size, size)
        lines["sku"] = pick(demand, draws.uniform(count))
        lines["customer"] = -1
        lines["note"] = np.where(draws.uniform(count) < 0.6, 0, draws.whole(len(NOTES), count))
        return lines

    def _charges(self, draws: Draws, day: OpenDay, sales: LineArray) -> LineArray:
        """Draw postage and carriage on invoices, and the odd fee, discount and sample."""
        first = sales[np.flatnonzero(np.diff(sales["invoice"], prepend=-1))]
        abroad = first[(first["country"] != UNITED_KINGDOM) & (draws.uniform(len(first)) < 0.9)]
        is_carried = (abroad["country"] == EIRE) | (abroad["country"] == CHANNEL_ISLANDS)
        post = abroad.copy()
        post["sku"] = self.goods.skus + np.where(is_carried, _CARRIAGE, _POST)
        post["pence"] = np.where(is_carried, 5000, 1800)
        post["quantity"] = np.where(is_carried, 1, 1 + draws.whole(4, len(post)))
        parts = [post]
        web = first[first["customer"] < 0]
        odd = (
            (_DOT, 1.0, 0.9, (5000, 60000)),
            (_MANUAL, 1.0, day.lines / 1200, (50, 9000)),
            (_DISCOUNT, -1.0, 0.25, (500, 6000)),
            (_SAMPLES, -1.0, 0.15, (300, 5000)),
            (_BANK, -1.0, 0.1, (1500, 1501)),
            (_AMAZON, -1.0, 0.1, (700, 40000)),
            (_CRUK, -1.0, 0.05, (400, 60000)),
            *((_VOUCHER + size, 1.0, 0.04, (pounds, pounds + 1)) for size, pounds in _VOUCHERS),
        )
        for charge, sign, daily, (low, high) in odd:
            count = int(daily + draws.one())
            chosen = web[draws.whole(max(len(web), 1), count)] if len(web) else web[:0]
            line = chosen.copy()
            line["sku"] = self.goods.skus + charge
            line["quantity"] = int(sign)
            line["pence"] = low + draws.whole(high - low, len(line))
            if sign < 0:
                line["is_return"] = 1
                line["invoice"] = -1 - np.arange(len(line))
            parts.append(line)
        return np.concatenate(parts)


def in_order(lines: LineArray) -> LineArray:
    """Sort by time and then by invoice; lines of one invoice keep their order."""
    return lines[np.lexsort((lines["invoice"], lines["time_us"]))]


def _joined(parts: list[LineArray]) -> LineArray:
    """Join a day's parts, in order; invoices of different parts are kept apart.

    The charges, last, belong to invoices of the sales, first, unless their invoice is negative.
    """
    sales, charges = parts[0], parts[-1]
    after = len(sales) + 1
    for part in parts[1:-1]:
        part["invoice"] += after
        after = int(part["invoice"].max(initial=after)) + 1
    is_apart = charges["invoice"] < 0
    charges["invoice"] = np.where(is_apart, after - charges["invoice"], charges["invoice"])
    return in_order(np.concatenate([sales, charges[~is_apart], *parts[1:-1], charges[is_apart]]))


def _is_repeated(invoice: Ints, sku: Ints, skus: int) -> NDArray[np.bool_]:
    """Say which lines name a SKU that is already on their invoice."""
    _, first = np.unique(invoice * skus + sku, return_index=True)
    is_repeated = np.ones(len(sku), np.bool_)
    is_repeated[first] = False
    return is_repeated
