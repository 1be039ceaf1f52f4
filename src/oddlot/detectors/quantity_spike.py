"""An order line far larger than this product usually sells in."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import Event, LineDetector
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled, inlined
from oddlot.schema import SALE

_BINS = 32  # half-octaves of quantity: 1, 1.5, 2, 3, 4, 6, 8 ... beyond 65,536
_WEIGHT = 2.0  # lines that the prior counts for; below 1 a first repeat would look odd
_TAIL = 2.0  # a sale q times the usual size has prior chance q^-2: order sizes are Pareto-like
_USUAL_LOG = math.log(6.0)  # the prior's usual size: a small inner pack
_USUAL_WEIGHT = 2.0
_SMALLEST_DECAY = 1e-12  # what is older than 40 half-lives is forgotten


@inlined
def _bin(quantity):
    """Return the half-octave of a quantity of at least 1; integers only, so always the same."""
    octave = 0
    q = quantity
    while q > 1:
        q >>= 1
        octave += 1
    half = 1 if octave > 0 and quantity >= 3 * (np.int64(1) << (octave - 1)) else 0
    place = 2 * octave + half
    return place if place < _BINS else _BINS - 1


@inlined
def _chance(row, quantity, decay):
    """Return the predictive chance of a sale of at least `quantity`, and the usual size."""
    seen = row.seen * decay
    usual = math.exp(
        (row.logs * decay + _USUAL_LOG * _USUAL_WEIGHT) / (seen + _USUAL_WEIGHT)
    )
    place = _bin(quantity)
    above = 0.0
    for i in range(place + 1, _BINS):
        above += row.sizes[i]
    above += 0.5 * row.sizes[place]
    prior = 1.0
    if quantity > usual:
        prior = (usual / quantity) ** _TAIL
    return (above * decay + _WEIGHT * prior) / (seen + _WEIGHT), usual


@compiled
def _scan(rows, event, first, last, half_life_us, found):
    i = first
    while i < last:
        time_us = event[i].time_us
        j = i
        while j < last and event[j].time_us == time_us:
            out = found[j - first]
            out.chance = np.nan
            if event[j].kind == SALE and event[j].quantity > 0:
                row = rows[event[j].sku]
                decay = 1.0
                if row.seen > 0.0 and row.time_us != time_us:
                    decay = 0.5 ** ((time_us - row.time_us) / half_life_us)
                    if decay < _SMALLEST_DECAY:
                        decay = 0.0
                out.chance, out.usual = _chance(row, event[j].quantity, decay)
                out.seen = row.seen * decay
            j += 1
        for k in range(i, j):
            if event[k].kind == SALE and event[k].quantity > 0:
                row = rows[event[k].sku]
                if row.time_us != time_us and row.seen > 0.0:
                    decay = 0.5 ** ((time_us - row.time_us) / half_life_us)
                    if decay < _SMALLEST_DECAY:
                        decay = 0.0
                    row.seen *= decay
                    row.logs *= decay
                    for b in range(_BINS):
                        row.sizes[b] *= decay
                row.time_us = time_us
                row.seen += 1.0
                row.logs += math.log(event[k].quantity)
                row.sizes[_bin(event[k].quantity)] += 1.0
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
        [("time_us", "<i8"), ("seen", "<f8"), ("logs", "<f8"), ("sizes", "<f4", (_BINS,))],
        align=True,
    )
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [("chance", "<f8"), ("usual", "<f8"), ("seen", "<f8")], align=True
    )
    finds: ClassVar[str] = "quantity_spike"

    def score(self, rows: Any, event: Any, head: int, first: int, last: int, found: Any) -> int:
        """Test each sale against what its SKU sold before; see `LineDetector.score`."""
        _scan(rows, event, first, last, float(parse_duration(self.memory)), found)
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
                (other.quantity, 0.5 ** ((line.time_us - other.time_us) / half_life_us))
                for other in lines
                if other.time_us < line.time_us and other.kind == SALE and other.quantity > 0
            ]
            seen = sum(weight for _, weight in past)
            logs = sum(weight * math.log(quantity) for quantity, weight in past)
            usual = math.exp((logs + _USUAL_LOG * _USUAL_WEIGHT) / (seen + _USUAL_WEIGHT))
            place = _define_bin(line.quantity)
            above = sum(weight for quantity, weight in past if _define_bin(quantity) > place)
            same = sum(weight for quantity, weight in past if _define_bin(quantity) == place)
            prior = min(1.0, (usual / line.quantity) ** _TAIL)
            chance = (above + 0.5 * same + _WEIGHT * prior) / (seen + _WEIGHT)
            result.append({"chance": chance, "usual": usual, "seen": seen})
        return result


def _define_bin(quantity: int) -> int:
    octave = quantity.bit_length() - 1
    half = int(octave > 0 and quantity >= 1.5 * 2**octave)
    return min(2 * octave + half, _BINS - 1)
