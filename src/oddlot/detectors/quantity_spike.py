"""An order line far larger than this product usually sells in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import FOUND, NOTED, Event, ShopDetector, more_room
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled, outlined
from oddlot.errors import ConfigError
from oddlot.statistics import order_learning, orders
from oddlot.statistics.odds import is_usual, learned_tail
from oddlot.statistics.plain_orders import Line, PlainOrders

_LEAST = 10  # no slip of the keys that this looks for gives less
_LEAST_RESIDUAL = 0.4  # nor a line below one and a half times the usual
_FREE = 0.05  # part of errors that are no known slip of the keys: any magnitude
_FREE_LOG = math.log(2.0**31)
_RARE = 0.003  # a SKU's sizes this rare are far too large (chosen on the public seeds 1 to 6)


@outlined
def _slip(quantity, kind):
    """Return what was meant if a quantity is a slip of this kind, else 0, and how sure it is.

    Kinds: a nought too many, two of them, a digit too many, all digits twice.
    """
    if kind == 0:
        return (quantity // 10, 1.0) if quantity % 10 == 0 else (0, 0.0)
    if kind == 1:
        return (quantity // 100, 1.0) if quantity % 100 == 0 else (0, 0.0)
    if kind == 2:
        return (quantity // 10, 1.0 / 9.0) if quantity % 10 != 0 else (0, 0.0)
    power = 10
    while power * power <= quantity:
        power *= 10
    meant = quantity // (power + 1)
    if quantity % (power + 1) == 0 and power // 10 <= meant < power:
        return meant, 1.0
    return 0, 0.0


@outlined
def _weigh(row, own, one, quantity):
    """Return log10 of the odds that a quantity is an error, and what was most likely meant."""
    meant = int(math.exp(min(one.usual_log, 20.0)) + 0.5)
    free = _FREE / quantity / _FREE_LOG * orders.ratios(own, one, 0.0)
    wrong = free
    best = free
    for kind in range(4):
        other, part = _slip(quantity, kind)
        if other > 0:
            likely = (1.0 - _FREE) / 4.0 * part * orders.density(row, own, one, other)
            wrong += likely
            if likely > best:
                best = likely
                meant = other
    above = orders.share_above(row, one, quantity)
    far = _RARE / (_RARE + above)
    odds = wrong * far * far / orders.density(row, own, one, quantity)
    return math.log10(max(odds, 1e-300)), meant


@compiled
def _scan(rows, shop, event, first, last, fading, found):
    count = 0
    own = shop[0]
    context = np.empty(last - first, orders.CONTEXT)
    i = first
    while i < last:
        j = i
        while j < last and event[j].time_us == event[i].time_us:
            j += 1
        if event[j - 1].sku < 0:
            i = j
            continue
        tests = own.tests
        order_learning.open_instant(rows, shop, event, i, j, first, fading, context)
        for k in range(i, j):
            one = context[k - first]
            if one.is_demand == 0:
                continue
            own.tests += 1.0
            quantity = event[k].quantity
            if quantity < _LEAST or one.residual < _LEAST_RESIDUAL:
                continue
            row = rows[event[k].sku]
            one.odds, meant = _weigh(row, own, one, quantity)
            if is_usual(own.odds, own.lines, one.odds, NOTED):
                continue
            chance = learned_tail(own.odds, own.lines, one.odds)
            if chance <= NOTED:
                if count == len(found):
                    found = more_room(found)
                out = found[count]
                count += 1
                out.event = k
                out.tests = tests
                out.chance = chance
                out.sku = event[k].sku
                out.usual_log = one.usual_log
                out.seen = row.seen
                out.meant = meant
                out.low = orders.quantile(row, own, one, 0.1, 0)
                out.high = orders.quantile(row, own, one, 0.9, 1)
                out.most = orders.quantile(row, own, one, 0.99, 1)
                out.stake = max(0, quantity - meant) * event[k].price
        order_learning.learn_instant(rows, shop, event, i, j, first, context)
        i = j
    return found, count


class QuantitySpike(ShopDetector, frozen=True):
    """An order line far larger than this product usually sells in, as a slip of the keys makes.

    Weighs two stories of each sale. It is right: how often this SKU, this customer, this invoice
    and this price go with such a quantity. Or it is a slip (a nought or two too many, a digit
    too many, all digits twice, or any magnitude): how usual is what was meant. The odds count
    for less where the SKU sells such sizes anyway; the detector's own past odds make them a
    chance. Not for stock that is written off, nor for returns: it sees sales with a price only.

    Source:
        Good (1950), Probability and the weighing of evidence, chapter 6 (odds); Ferguson (1973),
        A Bayesian analysis of some nonparametric problems, Annals of Statistics 1(2), section 3
        (sizes of a SKU).
    """

    memory: Annotated[Duration, Meta(description="Half-life of what is remembered.")] = "120d"

    row: ClassVar[np.dtype[Any]] = np.dtype([*orders.ORDERS_ROW], align=True)
    shop: ClassVar[np.dtype[Any]] = np.dtype([*orders.ORDERS_SHOP], align=True)
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [
            *FOUND,
            ("usual_log", "<f8"),
            ("seen", "<f8"),
            ("meant", "<f8"),
            ("low", "<f8"),
            ("high", "<f8"),
            ("most", "<f8"),
            ("stake", "<f8"),
        ],
        align=True,
    )
    finds: ClassVar[str] = "quantity_spike"
    weight: ClassVar[float] = 3.0
    sentence: ClassVar[Mapping[str, str]] = {
        "en": (
            "{sku}: {quantity:n} units on one line at {clock}; it sells {low:n} to {high:n} at a"
            " time (99 % below {most:n}, from {seen:line|lines}). Perhaps {meant:n} was meant."
            " Something this odd turns up {often}.{stake}"
        ),
        "es": (
            "{sku}: {quantity:n} unidades en una línea a las {clock}; se vende de {low:n} a"
            " {high:n} cada vez (el 99 % menos de {most:n}, según {seen:línea|líneas}). Quizá se"
            " quiso decir {meant:n}. Algo tan raro aparece {often}.{stake}"
        ),
    }

    def __post_init__(self) -> None:
        if parse_duration(self.memory) == 0:
            raise ConfigError(f"memory must be above 0s; got {self.memory!r}")

    def score(
        self, rows: Any, shop: Any, event: Any, first: int, last: int, found: Any
    ) -> tuple[Any, int]:
        """Weigh each sale by what its SKU sold before; see `ShopDetector.score`."""
        fading = orders.fading_by_day(parse_duration(self.memory))
        found, count = _scan(rows, shop, event, first, last, fading, found)
        return found, int(count)

    def define(self, events: Sequence[Event]) -> list[dict[str, float]]:
        """Weigh each sale in plain Python; see `ShopDetector.define`."""
        past = PlainOrders(parse_duration(self.memory))
        result: list[dict[str, float]] = []
        tests = 0
        for lines in past.instants(events):
            for number, line in lines.items():
                quantity = line.event.quantity
                if quantity < _LEAST or line.residual < _LEAST_RESIDUAL:
                    continue
                line.odds, meant = _define_odds(past, line)
                chance = past.learned_tail(past.lines, line.odds)
                if chance <= NOTED:
                    found: dict[str, float] = {
                        "event": number,
                        "tests": tests,
                        "chance": chance,
                        "sku": line.event.sku,
                        "usual_log": line.usual_log,
                        "seen": line.sku.seen,
                        "meant": meant,
                        "low": past.quantile(line, 0.1, 0),
                        "high": past.quantile(line, 0.9, 1),
                        "most": past.quantile(line, 0.99, 1),
                        "stake": max(0, quantity - meant) * line.event.price,
                    }
                    result.append(found)
            tests += len(lines)
        return result


def _define_odds(past: PlainOrders, line: Line) -> tuple[float, int]:
    quantity = line.event.quantity
    digits = str(quantity)
    half = len(digits) // 2
    slips = {
        10: (digits[-1:] == "0", digits[:-1], 1.0),
        100: (digits[-2:] == "00", digits[:-2], 1.0),
        1: (digits[-1:] != "0", digits[:-1], 1.0 / 9.0),
        2: (digits == 2 * digits[:half], digits[:half], 1.0),
    }
    usual = int(math.exp(min(line.usual_log, 20.0)) + 0.5)
    stories = [(_FREE / quantity / _FREE_LOG * past.ratios(line, 0.0), usual)]
    stories += [
        ((1.0 - _FREE) / 4.0 * part * past.density(line, int(meant)), int(meant))
        for is_so, meant, part in slips.values()
        if is_so
    ]
    wrong = sum(likely for likely, _ in stories)
    likeliest = max(likely for likely, _ in stories)
    meant = next(meant for likely, meant in stories if likely == likeliest)
    far = _RARE / (_RARE + past.share_above(line, quantity))
    odds = wrong * far * far / past.density(line, quantity)
    return math.log10(max(odds, 1e-300)), meant
