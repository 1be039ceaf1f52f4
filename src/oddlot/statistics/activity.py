"""When a shop trades: how many orders to expect, by weekday and quarter of an hour."""

from __future__ import annotations

from typing import Any

from oddlot.engine.compiled import inlined, outlined

DAY_US = 86_400_000_000
QUARTER_US = 900_000_000
QUARTERS = 96  # in a day
WEEKDAYS = 7

LEVEL_KEEP = 0.5 ** (1 / 10)  # how busy the shop is these days: a half-life of 10 trading days
LEVEL_PRIOR = 5.0  # orders; before there is a past the level is 1
DAY_SHAPE = 60.0  # of a day's level: days differ by an eighth (1 / sqrt(60)) by themselves

# What is known of a shop's activity: fields of a detector's own shop record, which the functions
# below take and update in place. All zero at first.
ACTIVITY: list[tuple[Any, ...]] = [
    ("day", "<i8"),  # the day in progress, since 1970
    ("has_begun", "<i8"),  # 1 once there was any event
    ("trading_days", "<i8"),  # days with an order that are over
    ("in_day", "<f8", (QUARTERS,)),  # orders of the day in progress
    ("usual", "<f8", (WEEKDAYS, QUARTERS)),  # orders of past trading days, older ones less
    ("learnt", "<f8", (WEEKDAYS,)),  # of how many days, older ones less
    ("traded", "<f8", (WEEKDAYS,)),  # days with an order, older ones less
    ("calendar", "<f8", (WEEKDAYS,)),  # all days, older ones less
    ("level_seen", "<f8"),  # orders of the last trading days
    ("level_due", "<f8"),  # what the profile expected of them
    ("due", "<f8", (QUARTERS + 1,)),  # of the day in progress: expected before each quarter
]


@inlined
def weekday_of(day):
    """Return 0 for a Monday to 6 for a Sunday; days since 1970 began on a Thursday."""
    return (day + 3) % WEEKDAYS


@outlined
def begin_day(shop, time_us, keep, weight):
    """Close the day in progress if `time_us` is on a later one, and expect the new one.

    Args:
        shop: a record with the fields of ACTIVITY, updated in place.
        time_us: event time of what comes next.
        keep: what is left of a weekday's past a week later; above 0, below 1.
        weight: how much the closed day counts; 1 for a usual one, less if it was odd.
    """
    day = time_us // DAY_US
    if shop.has_begun == 1 and day == shop.day:
        return
    if shop.has_begun == 1:
        weekday = weekday_of(shop.day)
        orders = 0.0
        for q in range(QUARTERS):
            orders += shop.in_day[q]
        shop.calendar[weekday] = shop.calendar[weekday] * keep + 1.0
        shop.traded[weekday] *= keep
        if orders > 0.0:
            due = shop.due[QUARTERS]
            if due > 0.0:
                shop.level_seen = shop.level_seen * LEVEL_KEEP + weight * orders
                shop.level_due = shop.level_due * LEVEL_KEEP + weight * due
            for q in range(QUARTERS):
                shop.usual[weekday, q] = shop.usual[weekday, q] * keep + weight * shop.in_day[q]
            shop.learnt[weekday] = shop.learnt[weekday] * keep + weight
            shop.traded[weekday] += 1.0
            shop.trading_days += 1
            for q in range(QUARTERS):
                shop.in_day[q] = 0.0
    shop.day = day
    shop.has_begun = 1
    weekday = weekday_of(day)
    learnt = shop.learnt[weekday]
    sum_due = 0.0
    for q in range(QUARTERS):
        shop.due[q] = sum_due
        if learnt > 0.0:
            sum_due += shop.usual[weekday, q] / learnt
    shop.due[QUARTERS] = sum_due


@inlined
def level_before(shop, orders, due):
    """Return how busy the day is beside its profile, seen before some quarter of it.

    Args:
        shop: a record with the fields of ACTIVITY.
        orders: of the day in progress, before that quarter.
        due: what the profile expected of them.
    """
    level = (shop.level_seen + LEVEL_PRIOR) / (shop.level_due + LEVEL_PRIOR)
    return (DAY_SHAPE + orders) / (DAY_SHAPE / level + due)


@inlined
def open_share(shop):
    """Return on what part of such weekdays there was trade."""
    weekday = weekday_of(shop.day)
    return shop.traded[weekday] / max(shop.calendar[weekday], 1e-9)
