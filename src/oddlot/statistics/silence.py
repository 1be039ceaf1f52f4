"""How likely it is that a shop gets so few orders, in windows that end now."""

from __future__ import annotations

import numpy as np

from oddlot.engine.compiled import outlined
from oddlot.statistics.activity import QUARTERS, level_before, open_share, weekday_of
from oddlot.statistics.tails import lower_tail

LENGTHS = np.array([2, 3, 4, 6, 8, 12, 16, 24, QUARTERS])  # of windows, in quarters of an hour
WINDOWS = len(LENGTHS)

FEWEST_DAYS = 10  # with trade, before anything is said
FEWEST_WEEKS = 1.5  # with trade on this weekday, older ones counting less
OPEN = 0.5  # of such weekdays; where fewer have trade, a closed day is usual
FEWEST_DUE = 3.0  # orders; where fewer are due, silence proves nothing
SPREAD, SPREAD_WEIGHT = 2.0, 50.0  # variance over mean before it is known, in orders
LEAST_SPREAD = 1.05
REST = 0.01  # of a day's orders; where fewer are due in half an hour, the shop is at rest
BACK, BACK_DUE = 0.5, 8.0  # of so many orders due of late half came: trade is back
BEGUN_DUE = 0.5  # orders; from then on silence counts
LEAST = 1e-8  # no model of trade is sure of more

# What is known of how the orders in windows spread: fields of a detector's own shop record, beside
# those of ACTIVITY; the first axis is the quarter before which a window ends. All zero at first.
SPREADS = [
    ("back_at", "<i8"),  # the quarter of this day at which trade was back; no window begins earlier
    ("squares", "<f8", (QUARTERS + 1, WINDOWS)),  # of what was not expected, older ones less
    ("dues", "<f8", (QUARTERS + 1, WINDOWS)),  # what was expected there
]


@outlined
def _spread(one, now, w):
    """Return variance over mean of the orders in a window that ends before quarter `now`."""
    return max(
        LEAST_SPREAD,
        (SPREAD * SPREAD_WEIGHT + one.squares[now, w]) / (SPREAD_WEIGHT + one.dues[now, w]),
    )


@outlined
def judge(one, now, lengths):
    """Return the least chance of so few orders in a window that ends now, and that window.

    A chance above 1 means that nothing could be tested.
    """
    best, window, fewest, expected = 2.0, 0, 0.0, 0.0
    weekday = weekday_of(one.day)
    if one.trading_days < FEWEST_DAYS or one.learnt[weekday] < FEWEST_WEEKS:
        return best, window, fewest, expected
    if open_share(one) < OPEN or one.due[now] < FEWEST_DUE:
        return best, window, fewest, expected
    if one.due[now] - one.due[max(0, now - 2)] < REST * one.due[QUARTERS]:
        return best, window, fewest, expected
    whole = 0.0
    for q in range(now):
        whole += one.in_day[q]
    orders, start = 0.0, now
    for w in range(WINDOWS):
        length = lengths[w]
        if length >= now and w < WINDOWS - 1:
            continue
        if max(0, now - length) < one.back_at:
            break
        while start > max(0, now - length):
            start -= 1
            orders += one.in_day[start]
        level = level_before(one, whole - orders, one.due[start])
        due = (one.due[now] - one.due[start]) * level
        if due < FEWEST_DUE:
            continue
        tail = 1.0
        if orders < due:
            shape = due / (_spread(one, now, w) - 1.0)
            tail = max(LEAST, lower_tail(orders, shape, due, 0.5))
        if tail < best:
            best, window, fewest, expected = tail, now - start, orders, due
    return best, window, fewest, expected


@outlined
def is_back(one, now, lengths):
    """Tell whether trade of late is at least half of what is due."""
    level = level_before(one, 0.0, 0.0)
    for w in range(WINDOWS):
        start = max(0, now - lengths[w])
        due = (one.due[now] - one.due[start]) * level
        if due >= (BACK_DUE if w < WINDOWS - 1 else FEWEST_DUE):
            orders = 0.0
            for q in range(start, now):
                orders += one.in_day[q]
            return orders >= BACK * due
    return False


@outlined
def learn_spread(one, weight, keep, lengths):
    """Learn from the day that is over how much the orders of each window spread."""
    total = 0.0
    for q in range(QUARTERS):
        total += one.in_day[q]
    if total == 0.0 or one.due[QUARTERS] == 0.0:
        return
    whole = 0.0
    for now in range(1, QUARTERS + 1):
        whole += one.in_day[now - 1]
        orders, start = 0.0, now
        for w in range(WINDOWS):
            length = lengths[w]
            if length >= now and w < WINDOWS - 1:
                continue
            while start > max(0, now - length):
                start -= 1
                orders += one.in_day[start]
            level = level_before(one, whole - orders, one.due[start])
            due = (one.due[now] - one.due[start]) * level
            one.squares[now, w] = one.squares[now, w] * keep + weight * (orders - due) ** 2
            one.dues[now, w] = one.dues[now, w] * keep + weight * due


@outlined
def dark_since(one, now, length):
    """Return since which quarter trade has been due in a window of the day that ends now."""
    start = now - length
    while start < now - 1 and one.due[start + 1] - one.due[now - length] < BEGUN_DUE:
        start += 1
    return start
