"""The prices that a SKU sells at, with fading weights, and what slips of the keys make of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from oddlot.engine.compiled import inlined, outlined

CHANNELS = 2  # lines with a customer, and lines without
PRICES = 14  # remembered of a SKU; few have had so many in a hundred lines
KEEP = 0.99  # of a price's weight at each later line: about the last hundred lines count
FORGOTTEN = 1e-3  # a price of this weight was last seen some 700 lines ago
_TOP = 2_000_000_000  # pence, the most that is told apart

# Price points: exact below 40.96, beyond that in as many buckets again.
_EXACT, POINTS = 4096, 8192
STEPS = 16  # bins of a decade, for prices and for ratios
BINS = 160  # bins of prices up to _TOP
RATIOS, _MIDDLE = 129, 64  # bins of ratios, from 1 / 10,000 to 10,000
WIDTHS = np.array(
    [
        max(1.0, math.ceil(10 ** ((b + 1) / STEPS) - 1e-9) - math.ceil(10 ** (b / STEPS) - 1e-9))
        for b in range(BINS)
    ]
)  # whole pence in a bin

# What an error makes of the right price, and how often: a slip of the decimal point, or a price
# for a pack keyed for a piece or the reverse. Two is left out: half price is a sale.
_PACKS = (3, 4, 6, 12)
FACTORS = np.array([10, 0.1, 100, 0.01, *_PACKS, *(1 / pack for pack in _PACKS)])
CHANCES = np.array([0.1] * 4 + [0.2 / (2 * len(_PACKS))] * (2 * len(_PACKS)))
_HALF = 0.500001  # rounded to pence; a half may go either way

FEW = 4  # where it is enough to tell whether a line is at a usual price, and channels do not count
_KEEP_FEW = 0.95

# Of one SKU's row: how many lines and new prices each channel had, and the prices themselves.
VOCABULARY: list[Any] = [
    ("lines", "<i4", (CHANNELS,)),
    ("news", "<f4", (CHANNELS,)),
    ("pence", "<i4", (PRICES,)),
    ("weight", "<f4", (CHANNELS * PRICES,)),
]


@inlined
def pence_of(price):
    """Return a price above 0 in whole pence, at least 1."""
    return max(1, int(min(_TOP, price * 100.0 + 0.5)))


@outlined
def point_of(pence):
    """Return the bucket of a price point, below POINTS."""
    if pence < _EXACT:
        return pence
    return _EXACT + ((pence * 40_503) >> 4) % (POINTS - _EXACT)


@outlined
def place_of(pence, usual):
    """Return the bin of a price's ratio to the usual one, with a bin on either side of it."""
    place = math.floor(STEPS * math.log10(pence / usual) + 0.5) + _MIDDLE
    return max(1, min(RATIOS - 2, place))


@outlined
def usual_of(row, channel, without):
    """Return the place of a SKU's commonest price in a channel but for one, or -1."""
    best = -1
    most = FORGOTTEN
    for a in range(PRICES):
        weight = row.weight[channel * PRICES + a]
        if weight >= most and a != without:
            best, most = a, weight
    return best


@outlined
def slip_of(row, channel, pence):
    """Return the chance that an error in a SKU's price gives this one; 0 to 1."""
    total, hit = 0.0, 0.0
    for a in range(PRICES):
        weight = row.weight[channel * PRICES + a]
        if weight >= FORGOTTEN:
            total += weight
            for f in range(len(FACTORS)):
                if abs(row.pence[a] * FACTORS[f] - pence) <= _HALF:
                    hit += weight * CHANCES[f]
    return hit / total


@inlined
def remember(row, channel, pence):
    """Learn a line's price in place; return its place. The faintest price gives way."""
    start = channel * PRICES
    at, least, faintest = -1, np.inf, 0
    for a in range(PRICES):
        row.weight[start + a] *= np.float32(KEEP)
        if row.pence[a] == pence:
            at = a
        both = row.weight[a] + row.weight[PRICES + a]
        if both < least:
            least, faintest = both, a
    if at < 0:
        at = faintest
        row.pence[at] = pence
        row.weight[at] = 0.0
        row.weight[PRICES + at] = 0.0
    row.weight[start + at] += np.float32(1.0)
    row.lines[channel] += 1
    row.news[channel] *= np.float32(KEEP)
    return at


@inlined
def remember_few(row, pence):
    """Learn a price among a SKU's FEW, in place; the faintest gives way."""
    at, faintest = -1, 0
    for a in range(FEW):
        row.weight[a] *= np.float32(_KEEP_FEW)
        if row.pence[a] == pence:
            at = a
        if row.weight[a] < row.weight[faintest]:
            faintest = a
    if at < 0:
        at = faintest
        row.pence[at] = pence
        row.weight[at] = 0.0
    row.weight[at] += np.float32(1.0)


@outlined
def usual_of_few(row):
    """Return the commonest of a SKU's FEW prices in pence; 0 if there is none."""
    best = 0
    for a in range(1, FEW):
        if row.weight[a] > row.weight[best]:
            best = a
    return row.pence[best]


class Vocabulary:
    """The same of one SKU in plain Python."""

    def __init__(self) -> None:
        """Start with no price."""
        self.weight: dict[int, list[float]] = {}
        self.lines = [0] * CHANNELS
        self.news = [0.0] * CHANNELS

    def known(self, channel: int, without: int = 0) -> dict[int, float]:
        """Return the weights of the prices that a channel knows."""
        return {
            pence: both[channel]
            for pence, both in self.weight.items()
            if both[channel] >= FORGOTTEN and pence != without
        }

    def usual(self, channel: int, without: int = 0) -> int:
        """Return the commonest price of a channel but for one; 0 if there is none."""
        known = self.known(channel, without)
        return max(known, key=lambda pence: known[pence]) if known else 0

    def slip(self, channel: int, pence: int) -> float:
        """Return the chance that an error gives this price."""
        known = self.known(channel)
        hits = sum(
            weight * float(chance)
            for other, weight in known.items()
            for factor, chance in zip(FACTORS, CHANCES, strict=True)
            if abs(other * factor - pence) <= _HALF
        )
        return hits / sum(known.values())

    def remember(self, channel: int, pence: int, is_new: bool) -> None:
        """Learn a line's price."""
        for both in self.weight.values():
            both[channel] *= KEEP
        if pence not in self.weight:
            if len(self.weight) == PRICES:
                del self.weight[min(self.weight, key=lambda other: sum(self.weight[other]))]
            self.weight[pence] = [0.0] * CHANNELS
        self.weight[pence][channel] += 1
        self.lines[channel] += 1
        self.news[channel] = self.news[channel] * KEEP + is_new


def define_few(pence: Iterable[int]) -> dict[int, float]:
    """Return the weights of a SKU's FEW prices after all of its sales."""
    weights: dict[int, float] = {}
    for one in pence:
        weights = {other: weight * _KEEP_FEW for other, weight in weights.items()}
        if one not in weights and len(weights) == FEW:
            del weights[min(weights, key=lambda other: weights[other])]
        weights[one] = weights.get(one, 0.0) + 1
    return weights


def define_pence(price: float) -> int:
    """Return what pence_of does."""
    return max(1, math.floor(min(price * 100 + 0.5, _TOP)))


def define_point(pence: int) -> int:
    """Return what point_of does."""
    return pence if pence < _EXACT else _EXACT + (pence * 40_503 // 16) % (POINTS - _EXACT)


def define_place(pence: int, usual: int) -> int:
    """Return what place_of does."""
    place = math.floor(STEPS * math.log10(pence / usual) + 0.5) + _MIDDLE
    return min(max(place, 1), RATIOS - 2)
