"""A product that still sells, but far less than it should."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from oddlot.detectors.contract import FOUND, NOTED, TICK, Event, ShopDetector, more_room
from oddlot.durations import Duration, parse_duration
from oddlot.engine.compiled import compiled
from oddlot.errors import ConfigError
from oddlot.schema import SALE
from oddlot.statistics.gaps import BANDS, LEVELS, LOWEST, band, gap_oddness, learnt, level
from oddlot.statistics.slumps import (
    DAILY,
    DAY_SPREAD,
    DAY_US,
    FEWEST_DUE_IN_ALL,
    FEWEST_LINES,
    FIXED,
    GROWN,
    HOUR_US,
    KEEP,
    LONGEST,
    LOW,
    MASK,
    MOST_WORTH,
    PART,
    PAUSE_US,
    PRIOR,
    RING,
    SHAPE,
    SIGMAS2,
    SPREAD,
    STEP,
    TRIALS,
    USUAL_WORTH,
    WEIGHT,
    define_slumps,
)
from oddlot.statistics.tails import lower_tail

# By the lines of a window: of how many due they may be a drop, a little less for rounding.
_COUNTED = 1024
_DUE = (1.0 - 1e-9) * np.maximum(
    np.arange(_COUNTED) / LOW,
    (np.sqrt(SIGMAS2) / 2.0 + np.sqrt(SIGMAS2 / 4.0 + np.arange(_COUNTED))) ** 2,
)


@compiled
def _scan(rows, shop, event, first, last, keep_short, keep_long, found):
    count = 0
    own = shop[0]
    # Fields as whole arrays: a record or an array within one costs more each time.
    sold, old, exposed = rows["sold"], rows["old"], rows["exposed"]
    recent, began, known_lines = rows["recent"], rows["began"], rows["seen"]
    traded = shop["traded"][0]
    exposures = np.zeros(LONGEST)
    reached, fresh, trials = shop["reached"][0], shop["fresh"][0], shop["trials"][0]
    i = first
    while i < last:
        time_us = event[i].time_us
        if event[i].kind == TICK:
            since = own.clock - own.looked
            is_due = since >= PART * own.daily or time_us - own.last_us >= PAUSE_US
            if time_us % HOUR_US == 0 and own.days > RING and since > 0 and is_due:
                own.looked = own.clock
                today = own.days
                all_traded = 0.0
                for d in range(LONGEST):
                    all_traded += traded[(today - d) & MASK]
                    exposures[d] = all_traded
                prior = PRIOR * own.known
                for sku in range(own.most):
                    if known_lines[sku] - recent[sku] < FEWEST_LINES:
                        continue
                    short, long = old[sku, 0], old[sku, 1]
                    short_exposed, long_exposed = exposed[sku, 0], exposed[sku, 1]
                    rate = min(
                        (short + PRIOR) / (short_exposed + prior),
                        (long + PRIOR) / (long_exposed + prior),
                    )
                    if rate * all_traded < FEWEST_DUE_IN_ALL:
                        continue
                    # Most SKUs are passed over here: no window of theirs is low.
                    is_low = recent[sku] >= _COUNTED
                    if not is_low:
                        most_due, so_far = GROWN * rate, 0
                        for d in range(LONGEST):
                            so_far += np.int64(sold[sku, (today - d) & MASK])
                            is_low |= most_due * exposures[d] > _DUE[so_far]
                    lines, exposure = 0.0, 0.0
                    if is_low:  # as it seems
                        is_low = False
                        for d in range(LONGEST):
                            lines += sold[sku, (today - d) & MASK]
                            exposure += traded[(today - d) & MASK]
                            mean = GROWN * rate * exposure
                            missing = mean - lines
                            is_low |= lines < LOW * mean and missing * missing > SIGMAS2 * mean
                    if not is_low:
                        if rows[sku].level > 0:
                            rows[sku].level = 0
                            rows[sku].told = 0.0
                        continue
                    # From the longest window to the shortest: the day that leaves it is baseline.
                    oddness, days, low, due, pace = 0.0, 0, 0.0, 0.0, 0.0
                    for w in range(RING, 0, -1):
                        slot = (today - w + 1) & MASK
                        if w <= LONGEST:
                            rate, baseline = (short + PRIOR) / (short_exposed + prior), short
                            if (long + PRIOR) / (long_exposed + prior) < rate:
                                rate = (long + PRIOR) / (long_exposed + prior)
                                baseline = long
                            mean = rate * exposure
                            missing = mean - lines
                            is_far = missing * missing > SIGMAS2 * mean
                            if 1.0 <= lines < LOW * mean and is_far:
                                spread = 1.0 / (baseline + PRIOR) + SPREAD + DAY_SPREAD / w
                                odd = -math.log10(lower_tail(lines, 1.0 / spread, mean, 0.5))
                                if odd > oddness:
                                    oddness, days, low, due, pace = odd, w, lines, mean, rate
                            lines -= sold[sku, slot]
                            exposure -= traded[slot]
                        if began[sku] <= today - w + 1:
                            short = short * keep_short + sold[sku, slot]
                            long = long * keep_long + sold[sku, slot]
                            short_exposed = short_exposed * keep_short + traded[slot]
                            long_exposed = long_exposed * keep_long + traded[slot]
                    if oddness < LOWEST:
                        rows[sku].level = 0
                        rows[sku].told = 0.0
                        continue
                    row = rows[sku]
                    place = band(pace * own.daily)
                    levels = level(oddness)
                    # Learnt after the whole tick, so that no SKU's turn matters.
                    for r in range(row.level, levels):
                        fresh[place, r] += 1.0
                    row.level = max(row.level, levels)
                    after = reached[place, levels] if levels < LEVELS else 0.0
                    chance = learnt(
                        oddness, reached[place, levels - 1], after, trials[place], WEIGHT
                    )
                    odd = -math.log10(chance)
                    # Days without a line, now or earlier in the window, are for `silent_sku`.
                    longest, run = float(own.clock - row.last), 0.0
                    for d in range(days):
                        slot = (today - d) & MASK
                        run = run + traded[slot] if sold[sku, slot] == 0 else 0.0
                        longest = max(longest, run)
                    silence = gap_oddness(longest, pace, SHAPE)
                    if chance <= NOTED and odd >= row.told + STEP and oddness >= silence:
                        row.told = odd
                        if count == len(found):
                            found = more_room(found)
                        out = found[count]
                        count += 1
                        out.event = i
                        out.tests = own.tests
                        out.chance = chance
                        out.sku = sku
                        out.days = days
                        out.lines = low
                        out.due = due
                        out.part = 100.0 * low / due
                        out.seen = row.seen
                        out.stake = (due - low) * row.worth
                for b in range(BANDS):
                    for r in range(LEVELS):
                        reached[b, r] += fresh[b, r]
                        fresh[b, r] = 0.0
            i += 1
            continue
        j = i
        lines_now = 0
        while j < last and event[j].time_us == time_us:
            price = event[j].price
            lines_now += event[j].kind == SALE and event[j].quantity > 0 and not price <= 0.0
            j += 1
        if lines_now > 0:
            day = time_us // DAY_US
            if own.days == 0 or day > own.day:
                if own.days == 1:
                    own.daily = float(own.today)
                elif own.days > 1:
                    own.daily += DAILY * (own.today - own.daily)
                own.day = day
                own.days += 1
                own.today = 0
                slot = own.days & MASK
                for b in range(BANDS):
                    own.due[b] = 0
                for sku in range(own.most):
                    if began[sku] > 0 and began[sku] <= own.days - RING:
                        old[sku, 0] = old[sku, 0] * keep_short + sold[sku, slot]
                        old[sku, 1] = old[sku, 1] * keep_long + sold[sku, slot]
                        exposed[sku, 0] = exposed[sku, 0] * keep_short + traded[slot]
                        exposed[sku, 1] = exposed[sku, 1] * keep_long + traded[slot]
                    recent[sku] -= sold[sku, slot]
                    sold[sku, slot] = 0
                    if old[sku, 1] > 0.0:
                        a_day = (old[sku, 1] + PRIOR) / (exposed[sku, 1] + PRIOR * own.known)
                        a_day *= own.daily
                        own.due[band(a_day)] += np.int64(TRIALS * a_day * FIXED)
                for b in range(BANDS):
                    trials[b] = trials[b] * KEEP + own.due[b] / FIXED
                    for r in range(LEVELS):
                        reached[b, r] *= KEEP
                traded[slot] = 0.0
            own.clock += lines_now
            own.today += lines_now
            own.last_us = time_us
            traded[own.days & MASK] += lines_now
        for k in range(i, j):
            price = event[k].price
            if event[k].kind == SALE and event[k].quantity > 0 and not price <= 0.0:
                sku = event[k].sku
                row = rows[sku]
                own.most = max(own.most, np.int64(sku) + 1)
                if row.seen == 0.0:
                    row.began = own.days
                    own.known += 1.0
                if row.seen == 0.0 or event[k].invoice != row.invoice or event[k].invoice == 0:
                    own.tests += 1.0
                    row.seen += 1.0
                    sold[sku, own.days & MASK] += 1
                    recent[sku] += 1
                    worth = event[k].quantity * price
                    if not worth < MOST_WORTH:
                        worth = row.worth
                    if row.seen == 1.0:
                        row.worth = worth
                    else:
                        worth = min(worth, USUAL_WORTH * row.worth)
                        row.worth += (worth - row.worth) * max(1.0 / row.seen, DAILY)
                row.invoice = event[k].invoice
                row.last = own.clock
        i = j
    return found, count


class DemandDrop(ShopDetector, frozen=True):
    """A product that still sells, but far less than it should.

    Counts a SKU's order lines over the last 1 to 15 trading days against its pace before them,
    in the shop's own order lines, so that a quiet day of the whole shop is no drop. The pace is
    the slower of two memories; the chance is the negative binomial's lower tail, corrected by
    how often windows as low came about at a like pace. Only for products of which at least one
    line was sold in the window: one that sells nothing is for `silent_sku`.

    Source:
        Farrington et al. (1996), A statistical algorithm for the early detection of outbreaks,
        JRSS A 159(3); Noufaily et al. (2013), Statistics in Medicine 32(7), for the tail of
        the negative binomial against a past that leaves the window out.
    """

    memory: Annotated[Duration, Meta(description="Half-life of a pace, in trading days.")] = "40d"

    row: ClassVar[np.dtype[Any]] = np.dtype(
        [
            # What each look reads of each SKU stands together.
            ("recent", "<i8"),
            ("seen", "<f8"),
            ("old", "<f8", (2,)),
            ("exposed", "<f8", (2,)),
            ("level", "<i8"),
            ("began", "<i8"),
            ("sold", "<u4", (RING,)),
            ("last", "<i8"),
            ("invoice", "<u8"),
            ("told", "<f8"),
            ("worth", "<f8"),
        ],
        align=True,
    )
    shop: ClassVar[np.dtype[Any]] = np.dtype(
        [
            ("tests", "<f8"),
            ("clock", "<i8"),
            ("looked", "<i8"),
            ("last_us", "<i8"),
            ("most", "<i8"),
            ("day", "<i8"),
            ("days", "<i8"),
            ("today", "<i8"),
            ("daily", "<f8"),
            ("known", "<f8"),
            ("traded", "<f8", (RING,)),
            ("due", "<i8", (BANDS,)),
            ("trials", "<f8", (BANDS,)),
            ("reached", "<f8", (BANDS, LEVELS)),
            ("fresh", "<f8", (BANDS, LEVELS)),
        ],
        align=True,
    )
    found: ClassVar[np.dtype[Any]] = np.dtype(
        [
            *FOUND,
            ("days", "<f8"),
            ("lines", "<f8"),
            ("due", "<f8"),
            ("part", "<f8"),
            ("seen", "<f8"),
            ("stake", "<f8"),
        ],
        align=True,
    )
    finds: ClassVar[str] = "demand_drop"
    weight: ClassVar[float] = 10.0
    sentence: ClassVar[Mapping[str, str]] = {
        "en": "{sku}: {lines:line|lines} in the last {days:trading day|trading days} where about "
        "{due:n} were due ({part:n} %), by its pace over {seen:line|lines}. Something this odd "
        "turns up {often}.{stake}",
        "es": "{sku}: {lines:línea|líneas} en {days:día de venta|días de venta}, cuando se "
        "esperaban unas {due:n} ({part:n} %), según su ritmo en {seen:línea|líneas}. Algo tan "
        "raro ocurre {often}.{stake}",
    }

    def __post_init__(self) -> None:
        if parse_duration(self.memory) == 0:
            raise ConfigError(f"memory must be above 0s; got {self.memory!r}")

    def score(
        self, rows: Any, shop: Any, event: Any, first: int, last: int, found: Any
    ) -> tuple[Any, int]:
        """Test each SKU's last days when trade pauses; see `ShopDetector.score`."""
        short, long = self._keeps()
        found, count = _scan(rows, shop, event, first, last, short, long, found)
        return found, int(count)

    def define(self, events: Sequence[Event]) -> list[dict[str, float]]:
        """Test each SKU's last days in plain Python; see `ShopDetector.define`."""
        return define_slumps(events, self._keeps(), NOTED)

    def _keeps(self) -> tuple[float, float]:
        memory = parse_duration(self.memory) / DAY_US
        return 0.5 ** (4 / memory), 0.5 ** (1 / memory)
