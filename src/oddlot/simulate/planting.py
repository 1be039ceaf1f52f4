"""Faults planted in the shop's ordinary trade, each with its label."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from oddlot.schema import Floats, Ints, LineArray
from oddlot.simulate.draws import Draws, pick
from oddlot.simulate.faults import (
    FAULT_TYPES,
    LEVELS,
    Bools,
    Changes,
    Fault,
    Silence,
    first_rows,
    is_sale,
)
from oddlot.simulate.goods import TRADE, WEB, draw_quantity
from oddlot.simulate.shop import CLOSING_US, HOUR_US, OPENING_US, OpenDay
from oddlot.simulate.trading import SHOP_LINE, Trade, Trading
from oddlot.simulate.vocabulary import UNITED_KINGDOM

_MINUTE_US = 60_000_000
# Invoices that faults add are counted from here, after all of a day's own.
_FIRST_ADDED = 1 << 40
# SKUs that sell less than this many lines a day are left alone: nobody could tell.
_LEAST_RATE = 0.5


def plan_faults(trading: Trading) -> tuple[list[Fault], dict[int, Changes]]:
    """Decide every fault of a shop, going through its ordinary trade once.

    Types and levels come from a shuffled deck, so that each is planted about as often; whole
    outages are rarer. A SKU has one fault at a time, with two days of peace around it.

    Returns:
        The faults in order of start, and by open day what they change.
    """
    planner = _Planner(trading)
    if trading.shop.faults_per_day > 0:
        for trade in trading:
            planner.plan(trade)
    faults = sorted(planner.faults, key=lambda fault: (fault.start_us, fault.id))
    numbered = [
        msgspec.structs.replace(fault, id=place) for place, fault in enumerate(faults, start=1)
    ]
    return numbered, planner.changes


class _Planner:
    """Faults decided so far, and what they still have to do on the days to come."""

    def __init__(self, trading: Trading) -> None:
        self.faults: list[Fault] = []
        self.changes: dict[int, Changes] = {}
        self._trading = trading
        self._goods = trading.goods
        self._draws = Draws(trading.shop.seed, 2)
        self._deck: list[tuple[str, str]] = []
        self._busy: dict[int, list[tuple[int, int]]] = {}
        self._outages: set[int] = set()
        self._surges: dict[int, list[tuple[int, int]]] = {}
        self._invoice = _FIRST_ADDED
        self._plant: dict[str, Callable[[Trade, str], bool]] = {
            "quantity_spike": self._quantity_spike,
            "price_error": self._price_error,
            "silent_sku": self._silent_sku,
            "demand_surge": self._demand_surge,
            "return_surge": self._return_surge,
            "write_off": self._write_off,
            "duplicate_invoice": self._duplicate_invoice,
            "site_outage": self._site_outage,
        }

    def plan(self, trade: Trade) -> None:
        """Decide what goes wrong on a day; days come in order."""
        day = trade.day
        for sku, extra in self._surges.pop(day.index, []):
            self._add_orders(trade, sku, extra)
        if day.offset < self._trading.shop.quiet_days or trade.demand[-1] == 0:
            return
        for _ in range(int(self._trading.shop.faults_per_day + self._draws.one())):
            self._plant_one(trade)

    def _plant_one(self, trade: Trade) -> None:
        """Plant the first fault of the deck that this day has room for."""
        passed: list[tuple[str, str]] = []
        for _ in range(8):
            if trade.day.index in self._outages:
                break
            if not self._deck:
                self._deck = self._shuffled()
            card = self._deck.pop()
            if self._plant[card[0]](trade, card[1]):
                break
            passed.append(card)
        self._deck[:0] = passed

    def _shuffled(self) -> list[tuple[str, str]]:
        cards = [(kind, level) for kind in FAULT_TYPES[:-1] for level in LEVELS]
        cards.append((FAULT_TYPES[-1], LEVELS[self._draws.below(3)]))
        return [cards[place] for place in self._draws.order(len(cards)).tolist()]

    # What every fault needs.

    def _on(self, day_index: int) -> Changes:
        return self.changes.setdefault(day_index, Changes())

    def _label(self, kind: str, level: str, sku: str, start_us: int, end_us: int) -> None:
        fault = Fault(len(self.faults) + 1, kind, sku, int(start_us), int(end_us), level)
        self.faults.append(fault)

    def _is_free(self, sku: int, first: int, last: int, peace: int = 2) -> bool:
        """Say whether a SKU has no fault from two days before `first` to two after `last`."""
        return all(
            last + peace < begin or end + peace < first for begin, end in self._busy.get(sku, [])
        )

    def _occupy(self, sku: int, first: int, last: int) -> None:
        self._busy.setdefault(sku, []).append((first, last))

    def _next_invoice(self) -> int:
        self._invoice += 1
        return self._invoice

    def _rates(self, trade: Trade) -> Floats:
        """Return the order lines a day that each SKU is due, shape (skus,)."""
        share = np.diff(trade.demand, prepend=0.0) / trade.demand[-1]
        return np.asarray(share * trade.day.lines)

    def _choose(self, trade: Trade, is_fit: Bools, span: int) -> int:
        """Choose a free SKU among those that fit, for so many open days; -1 if there is none."""
        days, goods, first = self._trading.days, self._goods, trade.day.index
        last = first + span - 1
        if last >= len(days):
            return -1
        is_sold = (goods.first <= trade.day.offset - 7) | (goods.first == 0)
        fit = np.flatnonzero(is_fit & is_sold & (goods.last >= days[last].offset))
        for _ in range(min(20, len(fit))):
            sku = int(fit[self._draws.below(len(fit))])
            if self._is_free(sku, first, last):
                self._occupy(sku, first, last)
                return sku
        return -1

    def _rows(self, trade: Trade) -> list[int]:
        """Choose up to 60 of the day's sales in any order, of SKUs that sell often enough."""
        lines = trade.lines
        rows = np.flatnonzero(is_sale(lines, self._goods.skus))
        rows = rows[self._rates(trade)[lines["sku"][rows]] >= _LEAST_RATE]
        chosen = rows[self._draws.whole(max(len(rows), 1), 60 if len(rows) else 0)]
        return [int(row) for row in chosen]

    def _sample(self, sku: int) -> Ints:
        """Return what 400 order lines of a SKU usually hold, sorted."""
        draws = Draws(self._trading.shop.seed, 7, sku)
        pack = np.full(400, self._goods.pack[sku])
        return np.sort(draw_quantity(draws, pack, self._trading.buyers(draws, 400)))

    def _new_lines(self, trade: Trade, sku: int, count: int) -> LineArray:
        """Make lines on invoices of their own: no customer, price 0."""
        lines = np.zeros(count, SHOP_LINE)
        lines["invoice"] = [self._next_invoice() for _ in range(count)]
        lines["time_us"] = np.sort(self._trading.times(self._draws, trade.day, count))
        lines["sku"] = sku
        lines["customer"] = -1
        lines["country"] = UNITED_KINGDOM
        lines["note"] = -1
        return lines

    # The faults; each returns False where the day has no room for it.

    def _quantity_spike(self, trade: Trade, level: str) -> bool:
        """Mistype one line: a zero or two too many, or a key pressed twice."""
        low, high = {"easy": (10, 100), "medium": (4, 10), "hard": (2, 4)}[level]
        for row in self._rows(trade):
            sku, quantity = int(trade.lines["sku"][row]), int(trade.lines["quantity"][row])
            usual = int(self._sample(sku)[395])
            typed = [value for value in _typos(quantity) if low <= value / usual < high]
            if typed and self._is_free(sku, trade.day.index, trade.day.index):
                value = typed[self._draws.below(len(typed))]
                self._edit(trade, row, "quantity", value)
                self._label_line(trade, row, "quantity_spike", level)
                return True
        return False

    def _price_error(self, trade: Trade, level: str) -> bool:
        """Misplace the decimal point of one line's price, or leave the price out."""
        ratios = {"easy": ((100, 1), (1, 100), (0, 1)), "medium": ((10, 1), (1, 10))}
        ratio = ratios.get(level, ((3, 1), (1, 3)))
        for row in self._rows(trade):
            sku, pence = int(trade.lines["sku"][row]), int(trade.lines["pence"][row])
            times, by = ratio[self._draws.below(len(ratio))]
            wrong = (pence * times + by // 2) // by
            is_plain = pence == int(self._goods.pence[sku]) and trade.lines["customer"][row] >= 0
            is_wrong = wrong > 0 or times == 0
            if is_plain and is_wrong and self._is_free(sku, trade.day.index, trade.day.index):
                self._edit(trade, row, "pence", wrong)
                self._label_line(trade, row, "price_error", level)
                return True
        return False

    def _edit(self, trade: Trade, row: int, field: str, value: int) -> None:
        self._on(trade.day.index).edits.append((row, field, value))

    def _label_line(self, trade: Trade, row: int, kind: str, level: str) -> None:
        sku, time_us = int(trade.lines["sku"][row]), int(trade.lines["time_us"][row])
        self._occupy(sku, trade.day.index, trade.day.index)
        self._label(kind, level, self._goods.codes[sku], time_us, time_us)

    def _silent_sku(self, trade: Trade, level: str) -> bool:
        """Sell nothing of a SKU on 2 to 12 open days, as many as its level wants missed."""
        low, high = {"easy": (20, 60), "medium": (12, 16), "hard": (7, 10)}[level]
        due = self._draws.between(low, high)
        span = 2 + self._draws.below(11)
        rates = self._rates(trade) * span
        sku = self._choose(trade, (rates >= due * 0.9) & (rates <= due * 1.1), span)
        if sku < 0:
            return False
        days = self._trading.days[trade.day.index : trade.day.index + span]
        start_us, end_us = days[0].start_us + OPENING_US, days[-1].start_us + CLOSING_US
        for day in days:
            silence = Silence(sku, day.start_us, day.start_us + CLOSING_US, np.zeros(0, np.int64))
            self._on(day.index).silences.append(silence)
        self._label("silent_sku", level, self._goods.codes[sku], start_us, end_us)
        return True

    def _demand_surge(self, trade: Trade, level: str) -> bool:
        """Add one SKU to many invoices, so that it sells several times its rate."""
        low, high, shortest, longest = {
            "easy": (9, 12, 1, 1),
            "medium": (5, 7, 1, 2),
            "hard": (3, 4, 2, 3),
        }[level]
        more = self._draws.between(low, high) - 1
        span = shortest + self._draws.below(longest - shortest + 1)
        rates = self._rates(trade)
        room = len(first_rows(trade.lines, self._goods.skus)) / 4
        is_fit = (rates * more * span >= 8) & (rates * more <= room) & (rates >= _LEAST_RATE)
        sku = self._choose(trade, is_fit, span)
        if sku < 0:
            return False
        extra = int(rates[sku] * more + 0.5)
        start_us = self._add_orders(trade, sku, extra)
        for later in range(1, span):
            self._surges.setdefault(trade.day.index + later, []).append((sku, extra))
        last = self._trading.days[trade.day.index + span - 1]
        code = self._goods.codes[sku]
        self._label("demand_surge", level, code, start_us, last.start_us + CLOSING_US)
        return True

    def _add_orders(self, trade: Trade, sku: int, extra: int) -> int:
        """Add a SKU to up to `extra` of a day's invoices; return the time of the first."""
        lines = trade.lines
        has_it = np.unique(lines["invoice"][lines["sku"] == sku])
        rows = first_rows(lines, self._goods.skus)
        rows = rows[~np.isin(lines["invoice"][rows], has_it)]
        added = lines[np.sort(rows[self._draws.order(len(rows))][:extra])].copy()
        customer = added["customer"]
        buyer = np.where(customer < 0, WEB, self._trading.customers.buyer[customer])
        pack = np.full(len(added), self._goods.pack[sku])
        added["sku"] = sku
        added["quantity"] = draw_quantity(self._draws, pack, buyer)
        added["pence"] = self._trading.prices(np.full(len(added), sku), buyer, added["quantity"])
        self._on(trade.day.index).added.append(added)
        return int(added["time_us"][0]) if len(added) else trade.day.start_us + OPENING_US

    def _return_surge(self, trade: Trade, level: str) -> bool:
        """Let several customers send one SKU back."""
        count, span = {"easy": (10, 1), "medium": (6, 1), "hard": (4, 2)}[level]
        sku = self._choose(trade, self._rates(trade) >= _LEAST_RATE, span)
        if sku < 0:
            return False
        customers = self._trading.customers
        lines = self._spread(trade, sku, [day * span // count for day in range(count)])
        drawn = pick(customers.cumulative, self._draws.uniform(8 * count))
        customer = np.resize(np.unique(drawn)[:count], count)
        pack = np.full(count, self._goods.pack[sku])
        units = draw_quantity(self._draws, pack, np.full(count, TRADE))
        lines["quantity"] = -np.minimum(units, 3 * pack)
        lines["pence"] = self._goods.pence[sku]
        lines["customer"] = customer
        lines["country"] = customers.country[customer]
        lines["is_return"] = 1
        self._spill(trade, "return_surge", level, lines)
        return True

    def _write_off(self, trade: Trade, level: str) -> bool:
        """Take stock away without a sale: much at once, or little again and again."""
        rates = self._rates(trade)
        is_hard = level == "hard"
        sku = self._choose(trade, rates >= _LEAST_RATE, 3 if is_hard else 1)
        if sku < 0:
            return False
        if is_hard:
            units = [1 + self._draws.below(3) for _ in range(5)]
            lines = self._spread(trade, sku, [0, 0, 1, 1, 2])
        else:
            low, high, least = (10, 40, 20) if level == "easy" else (4, 8, 8)
            daily = float(rates[sku]) * int(np.sum(self._sample(sku))) / 400
            units = [max(least, int(daily * self._draws.between(low, high)))]
            lines = self._spread(trade, sku, [0])
        lines["quantity"] = [-unit for unit in units]
        lines["note"] = (0, 2, 3, 5)[self._draws.below(4)]
        self._spill(trade, "write_off", level, lines)
        return True

    def _spread(self, trade: Trade, sku: int, later: list[int]) -> LineArray:
        """Make lines of a SKU on this open day or so many open days later."""
        lines = self._new_lines(trade, sku, len(later))
        for place, step in enumerate(later):
            day = self._trading.days[trade.day.index + step]
            lines["time_us"][place] += day.start_us - trade.day.start_us
        return lines

    def _spill(self, trade: Trade, kind: str, level: str, lines: LineArray) -> None:
        """Add lines to the days of their times, and label them as one fault."""
        for day in self._trading.days[trade.day.index : trade.day.index + 3]:
            is_here = (lines["time_us"] >= day.start_us) & (
                lines["time_us"] <= day.start_us + CLOSING_US
            )
            if is_here.any():
                self._on(day.index).added.append(lines[is_here])
        code = self._goods.codes[int(lines["sku"][0])]
        self._label(kind, level, code, int(lines["time_us"].min()), int(lines["time_us"].max()))

    def _duplicate_invoice(self, trade: Trade, level: str) -> bool:
        """Book an invoice again some minutes later."""
        low, high = {"easy": (1, 10), "medium": (5, 60), "hard": (30, 180)}[level]
        least = 10 if level == "hard" else 5
        lines, day = trade.lines, trade.day
        is_known = is_sale(lines, self._goods.skus) & (lines["customer"] >= 0)
        for row in self._rows(trade):
            rows = np.flatnonzero(is_known & (lines["invoice"] == lines["invoice"][row]))
            delay_us = int(self._draws.between(low, high)) * _MINUTE_US
            if not least <= len(rows) <= 60:
                continue
            if level == "hard":
                rows = np.sort(rows[self._draws.order(len(rows))][: -(-7 * len(rows) // 10)])
            again = lines[rows].copy()
            again["time_us"] = self._trading.rounded(again["time_us"] + delay_us)
            skus = np.unique(again["sku"]).tolist()
            is_open = int(again["time_us"][0]) < day.start_us + CLOSING_US
            if is_open and all(self._is_free(sku, day.index, day.index, 0) for sku in skus):
                if level != "easy":
                    again["invoice"] = self._next_invoice()
                if level == "hard":
                    again["customer"] = -1
                self._on(day.index).added.append(again)
                for sku in skus:
                    self._occupy(sku, day.index, day.index)
                codes = "|".join(sorted(self._goods.codes[sku] for sku in skus))
                time_us = int(again["time_us"][0])
                self._label("duplicate_invoice", level, codes, time_us, time_us)
                return True
        return False

    def _site_outage(self, trade: Trade, level: str) -> bool:
        """Lose every invoice for a day or some hours; at the hard level a few get through."""
        lines, day = trade.lines, trade.day
        hours, share = {"easy": (24, 0.0), "medium": (3, 0.0), "hard": (2, 0.15)}[level]
        start_us, end_us = day.start_us, day.start_us + CLOSING_US
        if level != "easy":
            start_us += self._draws.below(6 * 60) * _MINUTE_US + 10 * HOUR_US
            end_us = start_us + hours * HOUR_US
        is_lost = (lines["time_us"] >= start_us) & (lines["time_us"] <= end_us)
        invoices = np.unique(lines["invoice"][is_lost])
        if len(invoices) < 12 or self._is_touched(day):
            return False
        kept = invoices[self._draws.uniform(len(invoices)) < share]
        self._on(day.index).silences.append(Silence(-1, start_us, end_us, kept))
        self._outages.add(day.index)
        if level == "easy":  # a dark day is noticed once trade should have begun
            start_us, end_us = day.start_us + 9 * HOUR_US, day.start_us + 18 * HOUR_US
        self._label("site_outage", level, "*", start_us, end_us)
        return True

    def _is_touched(self, day: OpenDay) -> bool:
        changes = self._on(day.index)
        is_later = day.index in self._surges
        return bool(changes.edits or changes.added) or is_later


def _typos(quantity: int) -> list[int]:
    """Return what a tired hand makes of a quantity."""
    text = str(quantity)
    typed = [f"{text}0", f"{text}00", text + text, text + text[-1], text + text + text]
    return sorted({int(value) for value in typed if len(value) <= 5 and int(value) > quantity})
