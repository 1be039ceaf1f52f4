"""An order line far larger than this product usually sells in."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import Event, LineDetector
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled, inlined
from oddlot.errors import ConfigError
from oddlot.schema import SALE

_BINS = 32  # half-octaves of quantity: 1, 2, 3, 4, 6, 8, 12 ... and 65,536 and more
_WEIGHT = 2.0  # lines that the prior counts for; below 1 a first repeat would look odd
_TAIL = 2.0  # a sale q times the usual size has prior chance q^-2: order sizes are Pareto-like
_USUAL_LOG = math.log(6.0)  # the prior's usual size: a small inner pack
_USUAL_WEIGHT = 2.0
_FIXED = float(1 << 32)  # sums of logs are whole numbers of 2^-32: their order does not matter
_DAY_US = 86_400_000_000
_LOGS = np.log(np.maximum(np.arange(4096), 1))


def _define_bin(quantity: int) -> int:
    """Return the half-octave of a quantity of at least 1; whole numbers only."""
    octave = quantity.bit_length() - 1
    half = int(octave > 0 and 2 * quantity >= 3 << octave)
    return min(2 * octave + half, _BINS - 1)


_PLACES = np.array([0] + [_define_bin(quantity) for quantity in range(1, 4096)], np.int64)


@inlined
def _bin(quantity):
    """Return what _define_bin does, for most quantities from a table."""
    if quantity < 4096:
        return _PLACES[quantity]
    octave = 0
    while quantity >> (octave + 1) > 0:
        octave += 1
    half = 1 if 2 * quantity >= np.int64(3) << octave else 0
    place = 2 * octave + half
    return place if place < _BINS else _BINS - 1


@compiled
def _scan(rows, event, first, last, fading, found):
    i = first
    while i < last:
        time_us = event[i].time_us
        day = time_us // _DAY_US
        j = i
        while j < last and event[j].time_us == time_us:
            out = found[j - first]
            out.chance = np.nan
            quantity = event[j].quantity
            if event[j].kind == SALE and quantity > 0:
                row = rows[event[j].sku]
                if row.day != day:
                    if row.seen > 0.0:
                        fade = fading[min(day - row.day, len(fading) - 1)]
                        row.seen *= fade
                        row.logs = np.int64(row.logs * fade)
                        for b in range(row.top + 1):
                            row.sizes[b] *= fade
                    row.day = day
                place = _bin(quantity)
                above = 0.0
                for b in range(place + 1, row.top + 1):
                    above += row.sizes[b]
                above += 0.5 * row.sizes[place]
                usual_log = (row.logs / _FIXED + _USUAL_LOG * _USUAL_WEIGHT) / (
                    row.seen + _USUAL_WEIGHT
                )
                size_log = _LOGS[quantity] if quantity < 4096 else math.log(quantity)
                prior = 1.0
                if size_log > usual_log:
                    prior = math.exp(_TAIL * (usual_log - size_log))
                out.chance = min(1.0, (above + _WEIGHT * prior) / (row.seen + _WEIGHT))
                out.usual_log = usual_log
                out.seen = row.seen
            j += 1
        for k in range(i, j):
            quantity = event[k].quantity
            if event[k].kind == SALE and quantity > 0:
                row = rows[event[k].sku]
                place = _bin(quantity)
                row.seen += 1.0
                size_log = _LOGS[quantity] if quantity < 4096 else math.log(quantity)
                row.logs += np.int64(size_log * _FIXED)
                row.sizes[place] += np.float32(1.0)
                row.top = max(row.top, place)
        i = j


class QuantitySpike(LineDetector, frozen=True):
    """An order line far larger than this product usually sells in.

    Keeps a fading histogram of sale sizes per SKU, in half-octaves, so that pack sizes stay
    visible. The chance of a sale at least this large is the predictive tail of a Dirichlet
    process whose base is a Pareto tail above the SKU's usual size: with no history it is the
    prior's alone. Not for stock that is written off, nor for returns: it sees sales only.

    Source:
        Ferguson (1973), A Bayesian analysis of some nonparametric problems, Annals of
        Statistics 1(2), section 3 (predictive distribution).
    """

    memory: Annotated[Duration, Meta(description="Half-life of what is remembered.")] = "120d"

    row: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("day", "<i8"),
            ("seen", "<f8"),
            ("logs", "<i8"),
            ("top", "<i8"),
            ("sizes", "<f4", (_BINS,)),
        ],
        align=True,
    )
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [("chance", "<f8"), ("usual_log", "<f8"), ("seen", "<f8")], align=True
    )
    finds: ClassVar[str] = "quantity_spike"

    def __post_init__(self) -> None:
        if parse_duration(self.memory) == 0:
            raise ConfigError(f"memory must be above 0s; got {self.memory!r}")

    def score(self, rows: Any, event: Any, head: int, first: int, last: int, found: Any) -> int:
        """Test each sale against what its SKU sold before; see `LineDetector.score`."""
        _scan(rows, event, first, last, _fading(parse_duration(self.memory)), found)
        return last

    def define(self, events: Iterable[Event]) -> list[dict[str, float]]:
        """Test one SKU's sales in plain Python; see `LineDetector.define`."""
        lines = list(events)
        half_life_us = parse_duration(self.memory)
        result = []
        for line in lines:
            if line.kind != SALE or line.quantity <= 0:
                result.append({"chance": math.nan})
                continue
            past = [
                (
                    other.quantity,
                    0.5
                    ** (
                        (line.time_us // _DAY_US - other.time_us // _DAY_US)
                        * _DAY_US
                        / half_life_us
                    ),
                )
                for other in lines
                if other.time_us < line.time_us and other.kind == SALE and other.quantity > 0
            ]
            seen = sum(weight for _, weight in past)
            logs = sum(weight * math.log(quantity) for quantity, weight in past)
            usual_log = (logs + _USUAL_LOG * _USUAL_WEIGHT) / (seen + _USUAL_WEIGHT)
            place = _define_bin(line.quantity)
            above = sum(weight for quantity, weight in past if _define_bin(quantity) > place)
            same = sum(weight for quantity, weight in past if _define_bin(quantity) == place)
            prior = min(1.0, (math.exp(usual_log) / line.quantity) ** _TAIL)
            chance = (above + 0.5 * same + _WEIGHT * prior) / (seen + _WEIGHT)
            result.append({"chance": chance, "usual_log": usual_log, "seen": seen})
        return result


@lru_cache(maxsize=8)
def _fading(half_life_us: int) -> Any:
    """Return what is left of a weight after 0, 1, 2 ... days; nothing after 40 half-lives."""
    days = max(1, -(-40 * half_life_us // _DAY_US))
    fading = 0.5 ** (np.arange(min(days, 36_500) + 1) * (_DAY_US / half_life_us))
    fading[-1] = 0.0
    return fading
