"""Cases keyed as single units: all of a day's lines of one SKU too large by one factor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import FOUND, NOTED, Event, ShopDetector, more_room
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled, outlined
from oddlot.errors import ConfigError
from oddlot.statistics import order_learning, orders
from oddlot.statistics.odds import learned_tail
from oddlot.statistics.plain_orders import Line, PlainOrders

_FACTORS = np.array([6, 12, 24], np.int64)  # units in a case, as cases are made; three
# What one line may say for a mix-up and against it, in nats: 100 to 1, so that a spike alone is
# none, and 1 to 4.5, so that one line keyed rightly does not hide the others. These two and
# the next were chosen on the public seeds 1 to 6.
_MOST, _LEAST = 4.6, -1.5
_RARE = 0.01  # sizes that a SKU sells more often than this speak less for a mix-up
_FIXED = 65_536.0  # sums of nats are whole numbers: their order does not matter


@outlined
def _party(line):
    """Return who ordered, so that one buyer's lines count once; 0 where nobody knows."""
    return np.uint32(
        (line.customer if line.customer != 0 else line.invoice) & np.uint64(0xFFFFFFFF)
    )


@outlined
def _for_cases(row, own, one, quantity, factor, usual, far):
    """Return the log of how much likelier a quantity is as cases than as it stands."""
    if quantity % factor != 0:
        return np.int64(_LEAST * _FIXED)
    nats = math.log(orders.density(row, own, one, quantity // factor) / usual) + far
    return np.int64(min(max(nats, _LEAST), _MOST) * _FIXED)


@compiled
def _scan(rows, shop, event, first, last, fading, found):
    count = 0
    own = shop[0]
    context = np.empty(last - first, orders.CONTEXT)
    nats = np.zeros((last - first, len(_FACTORS)), np.int64)
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
            line = event[k]
            row = rows[line.sku]
            if row.waits == 0:  # the first of its day
                row.parties = 0
                row.value = 0.0
                for f in range(len(_FACTORS)):
                    row.nats[f] = 0
            usual, far = 1.0, 0.0
            if line.quantity % _FACTORS[0] == 0:  # it divides the others
                usual = orders.density(row, own, one, line.quantity)
                far = math.log(_RARE / (_RARE + orders.share_above(row, one, line.quantity)))
            for f in range(len(_FACTORS)):
                nats[k - first, f] = _for_cases(
                    row, own, one, line.quantity, _FACTORS[f], usual, far
                )
            party = _party(line)
            if row.parties == 0 or (party != 0 and party == row.party):
                continue
            total, best, factor = 0.0, -np.inf, 0
            for f in range(len(_FACTORS)):
                together = (row.nats[f] + nats[k - first, f]) / _FIXED
                total += math.exp(together) / len(_FACTORS)
                if together > best:
                    best, factor = together, _FACTORS[f]
            own.tests += 1.0
            one.odds = math.log10(total)
            if one.odds <= 0.0:
                continue
            chance = learned_tail(own.odds, own.weighed, one.odds)
            if chance <= NOTED:
                if count == len(found):
                    found = more_room(found)
                out = found[count]
                count += 1
                out.event = k
                out.tests = tests
                out.chance = chance
                out.sku = line.sku
                out.usual = math.exp(min(one.usual_log, 20.0))
                out.seen = row.seen
                out.factor = factor
                out.orders = row.parties + 1
                out.stake = (row.value + line.quantity * line.price) * (1.0 - 1.0 / factor)
        for k in range(i, j):
            one = context[k - first]
            if one.is_demand == 0:
                continue
            line = event[k]
            row = rows[line.sku]
            party = _party(line)
            if row.parties == 0 or party == 0 or party != row.party:
                row.party = party
                row.parties += 1
                row.value += line.quantity * line.price
                for f in range(len(_FACTORS)):
                    row.nats[f] += nats[k - first, f]
        order_learning.learn_instant(rows, shop, event, i, j, first, context)
        i = j
    return found, count


class UnitMixup(ShopDetector, frozen=True):
    """Cases keyed as single units: all of a day's lines of one SKU too large by one factor.

    Each line says how much likelier its quantity is as 6, 12 or 24 times what was meant than as
    it stands, given its SKU, customer, invoice and price. The lines of a SKU's day add up, one
    for each buyer, from the second on; no line says much alone. The detector's own past odds
    make the sum a chance. Not for one wrong line (`quantity_spike`) nor for more lines than
    usual (`demand_surge`); a mix-up over midnight counts as two.

    Source:
        Good (1950), Probability and the weighing of evidence, chapter 6: weights of evidence of
        independent lines add; the odds are the mean over factors held equally likely.
    """

    memory: Annotated[Duration, Meta(description="Half-life of what is remembered.")] = "120d"

    row: ClassVar[np.dtype[Any]] = np.dtype([*orders.ORDERS_ROW], align=True)
    shop: ClassVar[np.dtype[Any]] = np.dtype([*orders.ORDERS_SHOP], align=True)
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [
            *FOUND,
            ("usual", "<f8"),
            ("seen", "<f8"),
            ("factor", "<f8"),
            ("orders", "<f8"),
            ("stake", "<f8"),
        ],
        align=True,
    )
    finds: ClassVar[str] = "unit_mixup"
    weight: ClassVar[float] = 3.0
    sentence: ClassVar[Mapping[str, str]] = {
        "en": (
            "{sku}: {orders:order|orders} since midnight as if its units were keyed as cases of"
            " {factor:n}, the last of {quantity:n} at {clock}; it usually sells {usual:n} at a"
            " time (from {seen:line|lines}). Something this odd turns up {often}.{stake}"
        ),
        "es": (
            "{sku}: {orders:pedido|pedidos} desde medianoche como si sus unidades se hubieran"
            " tecleado por cajas de {factor:n}, el último de {quantity:n} a las {clock}; suele"
            " venderse de {usual:n} en {usual:n} (según {seen:línea|líneas}). Algo tan raro"
            " aparece {often}.{stake}"
        ),
    }

    def __post_init__(self) -> None:
        if parse_duration(self.memory) == 0:
            raise ConfigError(f"memory must be above 0s; got {self.memory!r}")

    def score(
        self, rows: Any, shop: Any, event: Any, first: int, last: int, found: Any
    ) -> tuple[Any, int]:
        """Weigh the day's lines of each SKU together; see `ShopDetector.score`."""
        fading = orders.fading_by_day(parse_duration(self.memory))
        found, count = _scan(rows, shop, event, first, last, fading, found)
        return found, int(count)

    def define(self, events: Sequence[Event]) -> list[dict[str, float]]:
        """Weigh the day's lines in plain Python; see `ShopDetector.define`."""
        past = PlainOrders(parse_duration(self.memory))
        tests = 0
        days: dict[tuple[int, int], list[_Said]] = {}  # by SKU and day: one for each buyer
        result: list[dict[str, float]] = []
        for lines in past.instants(events):
            all_said = {number: _define_said(past, line) for number, line in lines.items()}
            before = tests
            for number, said in all_said.items():
                line, one = lines[number], lines[number].event
                day = days.setdefault((one.sku, one.time_us // orders.DAY_US), [])
                if not day or said.is_again(day):
                    continue
                tests += 1
                together = [
                    sum(nats) for nats in zip(said.nats, *(x.nats for x in day), strict=True)
                ]
                line.odds = math.log10(sum(math.exp(nats) / len(_FACTORS) for nats in together))
                if line.odds <= 0.0:
                    continue
                chance = past.learned_tail(past.weighed, line.odds)
                if chance <= NOTED:
                    factor = int(_FACTORS[together.index(max(together))])
                    found: dict[str, float] = {
                        "event": number,
                        "tests": before,
                        "chance": chance,
                        "sku": one.sku,
                        "usual": math.exp(min(line.usual_log, 20.0)),
                        "seen": line.sku.seen,
                        "factor": factor,
                        "orders": len(day) + 1,
                        "stake": (said.value + sum(x.value for x in day)) * (1.0 - 1.0 / factor),
                    }
                    result.append(found)
            for number, said in all_said.items():
                one = lines[number].event
                day = days[one.sku, one.time_us // orders.DAY_US]
                if not day or not said.is_again(day):
                    day.append(said)
        return result


@dataclass
class _Said:
    """What one line says for each factor, in nats."""

    party: int
    value: float
    nats: list[float]

    def is_again(self, day: list[_Said]) -> bool:
        return self.party != 0 and self.party == day[-1].party


def _define_said(past: PlainOrders, line: Line) -> _Said:
    one = line.event
    far = math.log(_RARE / (_RARE + past.share_above(line, one.quantity)))
    usual = past.density(line, one.quantity)
    nats = []
    for factor in _FACTORS.tolist():
        said = _LEAST
        if one.quantity % factor == 0:
            said = math.log(past.density(line, one.quantity // factor) / usual) + far
        nats.append(int(min(max(said, _LEAST), _MOST) * _FIXED) / _FIXED)
    return _Said((one.customer or one.invoice) & 0xFFFFFFFF, one.quantity * one.price, nats)
