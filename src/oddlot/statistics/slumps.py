"""Slumps: the last days of a SKU against its pace before them, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from oddlot.schema import SALE
from oddlot.statistics.gaps import LOWEST, define_band, define_learnt, define_level

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
RING = 16  # trading days that are kept one by one: today, and a day before the longest window
MASK = RING - 1
LONGEST = 15  # trading days of a low window
PRIOR = 1.0  # lines that the catalogue's mean pace counts for
SPREAD = 0.01  # squared spread of a pace from one fortnight to another ...
DAY_SPREAD = 0.05  # ... and from one day to another; both chosen on the public seeds 1 to 3
SHAPE = 20.0  # of a pace in the law of gaps: about that of `silent_sku`
LOW = 0.45  # a window with more than this part of what was due is no drop
SIGMAS2 = 4.0  # nor one within two standard deviations, even of a pace that is known
FEWEST_DUE_IN_ALL = 5.0  # in the longest window: of less no part can be missed
FEWEST_LINES = 5.0  # before the window: less is no pace
WEIGHT = 30_000.0  # windows that the model's word is worth; chosen on the public seeds 1 to 3
TRIALS = 0.2  # a window in which five lines are due is a trial
FIXED = float(1 << 20)
KEEP = 0.5 ** (1 / 60)  # a half-life of 60 trading days, as in the budget
DAILY = 0.05  # the mean of lines a trading day is of about the last twenty
GROWN = 1.5  # a pace that grew by more in the last fortnight is not told from a busy week
PART = 1.0  # of a trading day's lines: how often windows are looked at
PAUSE_US = 2 * HOUR_US  # or when trade has paused for so long
STEP = 0.5  # decades by which a drop must become odder to be told again
MOST_WORTH = 1e12  # a line worth more is a slip
USUAL_WORTH = 5.0  # a line counts for at most so many times the worth of the others


def define_slumps(
    events: Sequence[Any], keeps: tuple[float, float], noted: float
) -> list[dict[str, float]]:
    """Return what `demand_drop` finds, in plain Python.

    Args:
        events: lines and ticks in event-time order, the whole history.
        keeps: what is left of a day's lines a trading day later, in each memory.
        noted: the largest chance that is told.
    """
    sold: dict[int, list[int]] = {}  # lines of each SKU by trading day, from its first
    began: dict[int, int] = {}
    newest: dict[int, tuple[int, int]] = {}  # invoice and time
    clock_at: dict[int, int] = {}  # after all lines of a time
    worth: dict[int, float] = {}
    levels: dict[int, int] = {}
    told: dict[int, float] = {}
    traded: list[int] = []
    daily = [0.0]  # the mean of lines a day before each trading day
    trials: list[tuple[int, int, float]] = []  # trading day, band, how many
    crossed: list[tuple[int, int, int]] = []  # trading day, band, level
    day, clock, looked, last_us, tests = 0, 0, 0, 0, 0
    result = []

    def pace(sku: int, until: int, keep: float) -> tuple[float, float]:
        """Return lines and rate before a trading day."""
        lines = exposed = 0.0
        for number in range(began[sku], until):
            weight = keep ** (until - 1 - number)
            lines += weight * sold[sku][number - began[sku]]
            exposed += weight * traded[number]
        return lines, (lines + PRIOR) / (exposed + PRIOR * len(sold))

    for number, event in enumerate(events):
        now = len(traded) - 1
        if event.sku < 0:
            since = clock - looked
            is_due = since >= PART * daily[now] or event.time_us - last_us >= PAUSE_US
            if event.time_us % HOUR_US or now < RING or not since or not is_due:
                continue
            looked = clock
            crossed_now = []
            for sku in sorted(sold):
                counts = sold[sku] + [0] * (now + 1 - began[sku] - len(sold[sku]))
                sold[sku] = counts
                all_traded = sum(traded[-LONGEST:])
                if sum(counts[:-LONGEST]) - in_ring(counts) < FEWEST_LINES:
                    continue
                oldest = min(pace(sku, now + 1 - RING, keep)[1] for keep in keeps)
                if oldest * all_traded < FEWEST_DUE_IN_ALL:
                    continue
                best = (0.0, 0, 0, 0.0, 0.0)
                is_low = False
                for days in range(LONGEST, 0, -1):
                    low, exposure = sum(counts[-days:]), sum(traded[-days:])
                    is_low |= is_far(low, GROWN * oldest * exposure)
                    rate, baseline = min(
                        (pace(sku, now + 1 - days, keep)[::-1] for keep in keeps),
                        key=lambda both: both[0],
                    )
                    mean = rate * exposure
                    if low >= 1 and is_far(low, mean):
                        spread = 1 / (baseline + PRIOR) + SPREAD + DAY_SPREAD / days
                        odd = -math.log10(define_tail(low, 1 / spread, mean))
                        best = max(best, (odd, days, low, mean, rate), key=lambda x: x[0])
                oddness, days, low, due, rate = best
                if not is_low or oddness < LOWEST:
                    levels[sku], told[sku] = 0, 0.0
                    continue
                place = define_band(rate * daily[now])
                past = [(at, KEEP ** (now - when)) for when, where, at in crossed if where == place]
                trial = sum(
                    many * KEEP ** (now - when) for when, where, many in trials if where == place
                )
                chance = define_learnt(oddness, past, trial, WEIGHT)
                reached = define_level(oddness)
                crossed_now += [(now, place, at) for at in range(levels[sku] + 1, reached + 1)]
                levels[sku] = max(levels[sku], reached)
                odd = -math.log10(chance)
                gap = clock - clock_at[newest[sku][1]]
                runs = "".join("1" if lines else "0" for lines in counts[-days:])
                for first in range(days):
                    for end in range(first + 1, days + 1):
                        if "1" not in runs[first:end]:
                            gap = max(gap, sum(traded[-days:][first:end]))
                silence = SHAPE * math.log10(1.0 + gap * rate / SHAPE)
                if chance <= noted and odd >= told[sku] + STEP and oddness >= silence:
                    told[sku] = odd
                    result.append(
                        {
                            "event": number,
                            "tests": tests,
                            "chance": chance,
                            "sku": sku,
                            "days": days,
                            "lines": low,
                            "due": due,
                            "part": 100.0 * low / due,
                            "seen": sum(counts),
                            "stake": (due - low) * worth[sku],
                        }
                    )
            crossed += crossed_now
        elif event.kind == SALE and event.quantity > 0 and not event.price <= 0.0:
            if not traded or event.time_us // DAY_US > day:
                day = event.time_us // DAY_US
                if traded:
                    step = 1.0 if now == 0 else DAILY
                    daily.append(daily[-1] + step * (traded[-1] - daily[-1]))
                traded.append(0)
                now += 1
                for sku, counts in sold.items():
                    counts += [0] * (now + 1 - began[sku] - len(counts))
                    lines, rate = pace(sku, now + 1 - RING, keeps[1])
                    if lines > 0.0:
                        a_day = rate * daily[now]
                        trials.append((now, define_band(a_day), TRIALS * a_day))
            traded[-1] += 1
            clock += 1
            clock_at[event.time_us] = clock
            last_us = event.time_us
            sku, value = event.sku, event.quantity * event.price
            if sku not in sold:
                began[sku], sold[sku], worth[sku] = now, [0], 0.0
                newest[sku] = (0, 0)
                levels[sku], told[sku] = 0, 0.0
            if event.invoice != newest[sku][0] or event.invoice == 0 or not sum(sold[sku]):
                tests += 1
                sold[sku][-1] += 1
                seen = sum(sold[sku])
                value = value if value < MOST_WORTH else worth[sku]
                value = value if seen == 1 else min(value, USUAL_WORTH * worth[sku])
                worth[sku] += (value - worth[sku]) * max(1.0 / seen, DAILY)
            newest[sku] = (event.invoice, event.time_us)
    return result


def is_far(lines: float, mean: float) -> bool:
    """Return whether so few lines of so many due may be a drop."""
    return lines < LOW * mean and (mean - lines) ** 2 > SIGMAS2 * mean


def in_ring(counts: Sequence[int]) -> int:
    """Return the lines of the day before the longest window, which is no baseline yet."""
    return counts[-RING] if len(counts) >= RING else 0


def define_tail(lines: int, shape: float, mean: float) -> float:
    """Return P(X < lines) + P(X = lines) / 2 of a negative binomial."""
    part = mean / (shape + mean)
    terms = [
        math.exp(
            math.lgamma(shape + k)
            - math.lgamma(shape)
            - math.lgamma(k + 1.0)
            + shape * math.log(1.0 - part)
            + k * math.log(part)
        )
        for k in range(lines + 1)
    ]
    return max(1e-300, sum(terms) - 0.5 * terms[-1])
