"""How large an order line usually is: for its SKU, its customer, its invoice and its price."""

# The chance of a quantity is a product: how often the SKU sells in that half-octave (a Dirichlet
# process over the catalogue's residuals) x how often people write just that number x three ratios
# that say how much likelier such a residual is in this order: by the mean of the customer's and
# invoice's residuals, by the invoice's largest other one, and by the discount (naive Bayes).
# Residual: log quantity minus the SKU's usual log quantity. All tables are learnt as lines come.
# Source: Ferguson (1973), A Bayesian analysis of some nonparametric problems, Annals of Statistics
# 1(2), section 3. Good (1950), Probability and the weighing of evidence, chapter 6.

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from oddlot.engine.compiled import outlined
from oddlot.statistics.odds import ODDS

DAY_US = 86_400_000_000
FIXED = float(1 << 32)  # sums are whole numbers of 2^-32: their order does not matter
BINS = 26  # half-octaves of quantity: 1, 2, 3, 4, 6, 8, 12 ... and 6,144 and more
STEP = 0.5 * math.log(2.0)  # a half-octave
OPEN_LOG = math.log(2.0**31 / 6_144)  # width of the last one
NUMBERS = 4_096  # numbers below are counted one by one
WAITS = 24  # lines of one day that wait to be learnt; then all do
CUSTOMERS = 1 << 15
INVOICES = 1 << 12
PROBES = 4
RESIDUALS = 64  # half-octaves of residual, from -10 octaves
SHAPES = 16  # half units of residual, around 0, from -1.5: rows of the ratios
MEANS = 13  # means of an order's residuals, by 0.3 around 0, from -1.5
KNOWN = 6  # what is known of an order: nothing, a customer, neither; x other lines on it
TOPS = 8  # the largest other residual of an invoice, by 0.75 around 0; 0 for none
PRICES = 8  # discounts, by 0.15 around 0; 0 for no usual price
BANDS = 16  # octaves of price: what a new SKU borrows
DEPTH = 20.0  # lines that the catalogue counts for in a SKU (chosen on the public seeds 1 to 6)
BORROWED = 2.0  # the same in its usual size
RATIO = 2.0  # lines that "no evidence" counts for in a ratio (chosen on the same seeds)
NUMBER = 5.0  # the same for a number within its half-octave
BAND = 20.0
BAND_LOG = 1.8  # six units: a small inner pack, while nothing has sold
CLIP = 2.5  # a line moves a mean by twelve times at most
CUSTOMER = 4.0  # lines after which half of a customer's residual is believed
STANDING = 1.5  # other lines of an invoice that weigh as much as its customer's past
MEMORY = 200.0  # lines of a customer, after which the older count half
PRICE_MEMORY = 6.0  # the same of a SKU's price, cut at each day it sells
PRICED = 4_096.0  # fixed point of log prices
DOUBTED = 4.0  # log10 of odds from which a line teaches the catalogue no residual: it is an error
TAIL = 1.5  # slope of the residuals' prior: order sizes are Pareto-like

ORDERS_ROW = (
    ("logs", "<i8"),
    ("waiting_logs", "<i8"),
    ("seen", "<f8"),
    ("day", "<i4"),
    ("waits", "<i4"),
    ("price_logs", "<i4", (2,)),  # by channel: a customer is known, or none
    ("priced", "<f4", (2,)),
    ("sizes", "<f4", (BINS,)),
    ("waiting", "u1", (WAITS,)),
    # What unit_mixup adds up over a day. It stands here so that all who use orders have one kind
    # of row: kernels are compiled for a kind.
    ("nats", "<i4", (3,)),
    ("parties", "<i4"),
    ("party", "<u4"),
    ("value", "<f4"),
)
ORDERS_SHOP = (
    ("tests", "<f8"),
    ("day", "<i8"),
    ("lines", "<f8"),
    ("numbers", "<f8", (2, NUMBERS)),
    ("numbered", "<f8", (2, BINS)),
    ("round", "<f8", (4, 5)),  # numbers by what divides them; x channel x 64 and more
    ("rounded", "<f8", (4,)),
    ("residuals", "<f8", (3, RESIDUALS)),  # by how much the SKU has sold
    ("resided", "<f8", (3,)),
    ("shapes", "<f8", (SHAPES,)),
    ("mean_shapes", "<f8", (SHAPES, MEANS * KNOWN)),
    ("means", "<f8", (MEANS * KNOWN,)),
    ("top_shapes", "<f8", (SHAPES, TOPS)),
    ("tops", "<f8", (TOPS,)),
    ("price_shapes", "<f8", (SHAPES, PRICES)),
    ("prices", "<f8", (PRICES,)),
    ("band_logs", "<i8", (BANDS,)),
    ("band_lines", "<f8", (BANDS,)),
    ("odds", "<f8", (ODDS,)),
    ("weighed", "<f8"),  # lines that had odds
    ("customer", "<u8", (CUSTOMERS,)),
    ("customer_sum", "<i8", (CUSTOMERS,)),
    ("customer_lines", "<f8", (CUSTOMERS,)),
    ("customer_us", "<i8", (CUSTOMERS,)),
    ("invoice", "<u8", (INVOICES,)),
    ("invoice_sum", "<i8", (INVOICES,)),
    ("invoice_lines", "<f8", (INVOICES,)),
    ("invoice_us", "<i8", (INVOICES,)),
    ("invoice_top", "<f8", (INVOICES, 2)),
)
# What is known of one line before it is judged.
CONTEXT = np.dtype(
    [
        ("usual_log", "<f8"),
        ("residual", "<f8"),
        ("log", "<f8"),
        ("odds", "<f8"),  # log10 of the odds of an error; NaN where nothing was weighed
        ("price_log", "<f8"),
        ("invoice_at", "<i4"),  # where its invoice and its customer were found; -1 for nowhere
        ("customer_at", "<i4"),
        ("is_demand", "<i4"),
        ("channel", "<i4"),
        ("mean", "<i4"),
        ("top", "<i4"),
        ("price", "<i4"),
        ("band", "<i4"),
    ],
    align=True,
)


def half_octave(quantity: int) -> int:
    """Return the half-octave of a quantity of at least 1; whole numbers only."""
    octave = quantity.bit_length() - 1
    half = int(octave > 0 and 2 * quantity >= 3 << octave)
    return min(2 * octave + half, BINS - 1)


def least_of(place: int) -> int:
    """Return the smallest quantity of a half-octave."""
    return (1 << place // 2) if place % 2 == 0 else 3 * (1 << place // 2) // 2


def divisor_class(quantity: int) -> int:
    """Return 0 for hundreds, 1 for dozens, 2 for tens, 3 for even numbers, else 4."""
    for place, divisor in enumerate((100, 12, 10, 2)):
        if quantity % divisor == 0:
            return place
    return 4


PLACES = np.array([0] + [half_octave(q) for q in range(1, NUMBERS)], np.int64)
LEAST = np.array([least_of(b) for b in range(BINS + 1)], np.float64)
MIDDLE = np.log(np.maximum(1.0, np.sqrt(LEAST[:-1] * np.maximum(LEAST[1:] - 1.0, 1.0))))
WIDTH = np.maximum(1.0, LEAST[1:] - LEAST[:-1])
# The share of each class among whole numbers; 300 is the least number that all divide.
SHARE = np.bincount([divisor_class(q) for q in range(300)], minlength=5) / 300.0
LOGS = np.log(np.maximum(np.arange(NUMBERS), 1))
_SLOPES = np.exp(-TAIL * STEP * np.abs(np.arange(RESIDUALS) - 20))
PRIOR = DEPTH * _SLOPES / _SLOPES.sum()  # residuals before there are any


@lru_cache(maxsize=8)
def fading_by_day(half_life_us: int) -> Any:
    """Return what is left of a weight after 0, 1, 2 ... days; nothing after 40 half-lives."""
    days = max(1, -(-40 * half_life_us // DAY_US))
    fading = 0.5 ** (np.arange(min(days, 36_500) + 1) * (DAY_US / half_life_us))
    fading[-1] = 0.0
    return fading


@outlined
def find_place(quantity):
    """Return what `half_octave` does, for most quantities from a table."""
    if quantity < NUMBERS:
        return PLACES[quantity]
    octave = 12
    while quantity >> (octave + 1) > 0:
        octave += 1
    half = 1 if 2 * quantity >= np.int64(3) << octave else 0
    return min(2 * octave + half, BINS - 1)


@outlined
def find_divisor(quantity):
    """Return what `divisor_class` does."""
    if quantity % 100 == 0:
        return 0
    if quantity % 12 == 0:
        return 1
    if quantity % 10 == 0:
        return 2
    return 3 if quantity % 2 == 0 else 4


@outlined
def find_shape(residual):
    """Return the row of the ratios for a residual."""
    return min(max(math.floor((residual + 1.75) / 0.5), 0), SHAPES - 1)


@outlined
def find_residual(place, log, usual_log):
    """Return where the residual of a half-octave is counted."""
    middle = log if place == BINS - 1 else MIDDLE[place]
    return min(max(math.floor((middle - usual_log) / STEP + 0.5) + 20, 0), RESIDUALS - 1)


@outlined
def how_known(seen):
    """Return by what a SKU has sold whose residuals it borrows: 0, 1 or 2."""
    return 0 if seen < 1.5 else (1 if seen < 8.0 else 2)


@outlined
def density(row, own, one, quantity):
    """Return how likely a quantity is on a line of which `one` is known; not normalised."""
    place = find_place(quantity)
    log = LOGS[quantity] if quantity < NUMBERS else math.log(quantity)
    known = how_known(row.seen)
    where = find_residual(place, log, one.usual_log)
    share = (own.residuals[known, where] + PRIOR[where]) / (own.resided[known] + DEPTH)
    size = (row.sizes[place] + DEPTH * share) / (row.seen + DEPTH)
    side = 2 * one.channel + (1 if quantity >= 64 else 0)
    k = find_divisor(quantity)
    width = quantity * OPEN_LOG if place == BINS - 1 else WIDTH[place]
    even = (own.round[side, k] / SHARE[k] + DEPTH) / (own.rounded[side] + DEPTH) / width
    count = own.numbers[one.channel, quantity] if quantity < NUMBERS else 0.0
    number = (count + NUMBER * even) / (own.numbered[one.channel, place] + NUMBER)
    return size * number * ratios(own, one, log - one.usual_log)


@outlined
def share_above(row, one, quantity):
    """Return what part of a SKU's lines are at least half so large; above 0."""
    above = DEPTH * min(1.0, math.exp(-TAIL * (one.residual - math.log(2.0))))
    for place in range(find_place(max(1, quantity // 2)), BINS):
        above += row.sizes[place]
    return above / (row.seen + DEPTH)


@outlined
def quantile(row, own, one, part, side):
    """Return the edge of the half-octave below which `part` of a SKU's lines are.

    `side` 0 gives its least quantity, 1 its largest; a new SKU borrows from the catalogue.
    """
    known = how_known(row.seen)
    total = 0.0
    for turn in range(2):
        below = 0.0
        for place in range(BINS):
            if place == 1:  # there is no whole number between 1 and 2
                continue
            where = find_residual(place, MIDDLE[place], one.usual_log)
            share = (own.residuals[known, where] + PRIOR[where]) / (own.resided[known] + DEPTH)
            below += row.sizes[place] + DEPTH * share
            if turn == 1 and below >= part * total:
                return LEAST[place + side] - side
        total = below
    return LEAST[BINS]


@outlined
def ratios(own, one, residual):
    """Return how much likelier a residual is in this order, at this price, than in any."""
    shape = find_shape(residual)
    lines = own.lines + 1.0
    seen = own.shapes[shape]
    result = 1.0
    for k in range(3):
        if k == 0:
            both, each = own.mean_shapes[shape, one.mean], own.means[one.mean]
        elif k == 1:
            if one.top == 0:  # no other line: the first ratio knows that already
                continue
            both, each = own.top_shapes[shape, one.top], own.tops[one.top]
        else:
            both, each = own.price_shapes[shape, one.price], own.prices[one.price]
        each = (each + 0.1) / lines
        result *= (both + RATIO * each) / ((seen + RATIO) * each)
    return result
