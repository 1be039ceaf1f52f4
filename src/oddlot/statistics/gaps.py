"""Gaps between sales and low counts: how odd they are, by the model and by the shop's own past."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from oddlot.engine.compiled import inlined, outlined

BANDS = 16  # half-octaves of lines a trading day: from 1/8 to 16 and more
LEVELS = 32  # quarter decades of oddness (-log10 of a chance): 1.5, 1.75 ... and more
LEVEL = 0.25
LOWEST = 1.5
_PER_DECADE = 1 / math.log(10.0)
_EDGES = 2.0 ** (np.arange(-5, BANDS - 6) / 2)  # where each band but the first begins


@inlined
def band(rate):
    """Return the band of a rate in lines a trading day."""
    place = 0
    for k in range(BANDS - 1):  # quicker than a logarithm
        place += 1 if rate >= _EDGES[k] else 0
    return place


@inlined
def level(oddness):
    """Return how many levels an oddness has reached; 0 below the lowest."""
    if oddness < LOWEST:
        return 0
    return min(int((oddness - LOWEST) / LEVEL) + 1, LEVELS)


@outlined
def gap_oddness(gap, rate, shape):
    """Return -log10 of the chance of no sale for so long.

    Args:
        gap: in the shop's own time, >= 0.
        rate: sales in a unit of that time, > 0: the mean of a gamma distribution.
        shape: of that distribution, > 0. With no end it is the exponential law.

    Source:
        Lomax (1954), Business failures, JASA 49: a gamma mixture of exponential gaps, the
        continuous form of the beta-geometric law.
    """
    return shape * math.log1p(gap * rate / shape) * _PER_DECADE


@outlined
def gap_of(oddness, rate, shape):
    """Return the gap that is so odd: the inverse of `gap_oddness`."""
    return shape / rate * math.expm1(oddness / (shape * _PER_DECADE))


@outlined
def learnt(oddness, reached, reached_next, trials, weight):
    """Return a chance corrected by how often its like came about before.

    The mean of a beta distribution whose prior is the model's own chance.

    Args:
        oddness: -log10 of the model's chance, at least LOWEST.
        reached: how many of the trials were at least as odd as its level, `level(oddness) - 1`.
        reached_next: the same of the next level; 0 where there is none.
        trials: how many there were.
        weight: trials that the model's chance counts for, > 0.
    """
    place = (oddness - LOWEST) / LEVEL
    part = min(place - math.floor(place), 1.0) if place < LEVELS - 1 else 0.0
    counted = reached + (reached_next - reached) * part
    return min(1.0, max(1e-300, (counted + weight * 10.0**-oddness) / (trials + weight)))


@outlined
def next_due(deadline, first, last, clock, latest):
    """Return the first place from `first` on whose deadline the clock has reached, or `last`.

    And the earliest of `latest` and the deadlines that were passed over.
    """
    for i in range(first, last):
        if deadline[i] <= clock:
            return i, latest
        latest = min(latest, deadline[i])
    return last, latest


def define_band(rate: float) -> int:
    """Return what `band` does, in plain Python."""
    edges = [2.0 ** ((number - 5) / 2) for number in range(BANDS - 1)]
    return sum(rate >= edge for edge in edges)


def define_learnt(
    oddness: float, reached: Sequence[tuple[int, float]], trials: float, weight: float
) -> float:
    """Return what `learnt` does, in plain Python.

    Args:
        oddness: -log10 of the model's chance.
        reached: how odd each earlier one of the band was, in levels, and what it counts for.
        trials: how many trials there were in the band.
        weight: trials that the model's chance counts for.
    """
    levels = define_level(oddness)
    here = sum(counts for at, counts in reached if at == levels)
    after = sum(counts for at, counts in reached if at == levels + 1)
    part = (oddness - LOWEST) / LEVEL - (levels - 1) if levels < LEVELS else 0.0
    counted = here + (after - here) * part
    model = math.pow(10.0, -oddness)
    return min(1.0, max(1e-300, (counted + weight * model) / (trials + weight)))


def define_level(oddness: float) -> int:
    """Return what `level` does, in plain Python."""
    return sum(oddness >= LOWEST + LEVEL * number for number in range(LEVELS))
