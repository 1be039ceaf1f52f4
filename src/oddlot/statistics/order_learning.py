"""What is known of each order line before it is judged, and what is learnt from it after."""

# Works on the tables of `orders`, instant by instant: all lines of an instant are known and judged
# before any is learnt. A SKU learns a day's lines when the next day begins, so that the day stands
# against the days before it.

from __future__ import annotations

import math

import numpy as np

from oddlot.engine.compiled import inlined, outlined
from oddlot.schema import SALE
from oddlot.statistics.odds import ODDS, learn_odds
from oddlot.statistics.orders import (
    BAND,
    BAND_LOG,
    BANDS,
    BINS,
    BORROWED,
    CLIP,
    CUSTOMER,
    CUSTOMERS,
    DAY_US,
    DOUBTED,
    FIXED,
    INVOICES,
    KNOWN,
    LOGS,
    MEANS,
    MEMORY,
    NUMBERS,
    PRICE_MEMORY,
    PRICED,
    PRICES,
    PROBES,
    RESIDUALS,
    SHAPES,
    STANDING,
    TOPS,
    WAITS,
    find_divisor,
    find_place,
    find_residual,
    find_shape,
    how_known,
)


@outlined
def _slot(key, keys, times, mask):
    """Return where a key is, or where it may go: a free place, else the stalest of four."""
    start = np.int64(key & np.uint64(mask))
    best = start
    for probe in range(PROBES):
        slot = (start + probe) & mask
        if keys[slot] == key:
            return slot, True
        if keys[slot] == 0:
            return slot, False
        if times[slot] < times[best]:
            best = slot
    return best, False


@inlined
def _clipped(value):
    return min(max(value, -CLIP), CLIP)


@outlined
def _learn_waiting(row):
    for k in range(row.waits):
        row.sizes[row.waiting[k]] += np.float32(1.0)
    row.seen += row.waits
    row.logs += row.waiting_logs
    row.waits = 0
    row.waiting_logs = 0


@outlined
def _new_day(row, day, fading):
    """Learn the lines that waited and let a SKU's past fade; updates the row in place."""
    fade = fading[min(max(day - row.day, 0), len(fading) - 1)]
    _learn_waiting(row)
    row.seen *= fade
    row.logs = np.int64(row.logs * fade)
    for b in range(BINS):
        row.sizes[b] *= fade
    row.day = day
    for channel in range(2):
        if row.priced[channel] > PRICE_MEMORY:
            part = PRICE_MEMORY / row.priced[channel]
            row.price_logs[channel] = np.int32(row.price_logs[channel] * part)
            row.priced[channel] = PRICE_MEMORY


@outlined
def _fade_shop(own, day, fading):
    """Let the catalogue's tables fade to a new day; updates the shop's row in place."""
    fade = fading[min(max(day - own.day, 0), len(fading) - 1)] if own.lines > 0.0 else 1.0
    own.day = day
    own.lines *= fade
    own.weighed *= fade
    for channel in range(2):
        for number in range(NUMBERS):
            own.numbers[channel, number] *= fade
        for b in range(BINS):
            own.numbered[channel, b] *= fade
    for side in range(4):
        own.rounded[side] *= fade
        for k in range(5):
            own.round[side, k] *= fade
    for known in range(3):
        own.resided[known] *= fade
        for k in range(RESIDUALS):
            own.residuals[known, k] *= fade
    for shape in range(SHAPES):
        own.shapes[shape] *= fade
        for k in range(MEANS * KNOWN):
            own.mean_shapes[shape, k] *= fade
        for k in range(TOPS):
            own.top_shapes[shape, k] *= fade
        for k in range(PRICES):
            own.price_shapes[shape, k] *= fade
    for k in range(MEANS * KNOWN):
        own.means[k] *= fade
    for k in range(TOPS):
        own.tops[k] *= fade
    for k in range(PRICES):
        own.prices[k] *= fade
    for k in range(ODDS):
        own.odds[k] *= fade
    for k in range(BANDS):
        own.band_lines[k] *= fade
        own.band_logs[k] = np.int64(own.band_logs[k] * fade)


@outlined
def open_instant(rows, shop, event, i, j, first, fading, context):
    """Say of each line of an instant what is known before it; context[k - first] is event[k]'s.

    Lines of one invoice know each other's residuals, none its own.
    """
    own = shop[0]
    time_us = event[i].time_us
    day = time_us // DAY_US
    for k in range(i, j):
        one = context[k - first]
        line = event[k]
        one.is_demand = 0
        if line.kind != SALE or line.quantity <= 0 or not 0.0 < line.price < np.inf:
            continue
        if day != own.day or own.lines == 0.0:
            _fade_shop(own, day, fading)
        row = rows[line.sku]
        if row.day != day:
            _new_day(row, day, fading)
        price_log = math.log(line.price)
        band = min(max(math.floor(price_log / math.log(2.0)) + 5, 0), BANDS - 1)
        borrowed = (own.band_logs[band] / FIXED + BAND_LOG * BAND) / (own.band_lines[band] + BAND)
        usual_log = (row.logs / FIXED + BORROWED * borrowed) / (row.seen + BORROWED)
        one.is_demand = 1
        one.odds = np.nan
        one.price_log = price_log
        one.customer_at = -1
        one.log = LOGS[line.quantity] if line.quantity < NUMBERS else math.log(line.quantity)
        one.band = band
        one.usual_log = usual_log
        one.residual = one.log - usual_log
        one.channel = 0 if line.customer != 0 else 1
        one.price = 0
        if row.priced[one.channel] > 0.0:
            usual_price = row.price_logs[one.channel] / PRICED / row.priced[one.channel]
            discount = usual_price - price_log
            one.price = min(max(math.floor((discount + 0.375) / 0.15) + 1, 1), PRICES - 1)
        if line.invoice != 0:
            slot, is_there = _slot(line.invoice, own.invoice, own.invoice_us, INVOICES - 1)
            if not is_there:
                own.invoice[slot] = line.invoice
                own.invoice_sum[slot] = 0
                own.invoice_lines[slot] = 0.0
                own.invoice_top[slot, 0] = -np.inf
                own.invoice_top[slot, 1] = -np.inf
            one.invoice_at = slot
            own.invoice_us[slot] = time_us
            own.invoice_sum[slot] += np.int64(_clipped(one.residual) * FIXED)
            own.invoice_lines[slot] += 1.0
            if one.residual > own.invoice_top[slot, 0]:
                own.invoice_top[slot, 1] = own.invoice_top[slot, 0]
                own.invoice_top[slot, 0] = one.residual
            elif one.residual > own.invoice_top[slot, 1]:
                own.invoice_top[slot, 1] = one.residual
    for k in range(i, j):
        one = context[k - first]
        if one.is_demand == 0:
            continue
        line = event[k]
        total, others, top = 0.0, 0.0, 0.0
        if line.invoice != 0:
            # Another invoice of this instant may have taken its place.
            slot = np.int64(one.invoice_at)
            is_there = own.invoice[slot] == line.invoice
            if not is_there:
                slot, is_there = _slot(line.invoice, own.invoice, own.invoice_us, INVOICES - 1)
            if is_there:
                mine = np.int64(_clipped(one.residual) * FIXED)
                total = (own.invoice_sum[slot] - mine) / FIXED
                others = own.invoice_lines[slot] - 1.0
                top = own.invoice_top[slot, 0]
                if one.residual >= top:
                    top = own.invoice_top[slot, 1]
        usual, lines = 0.0, 0.0
        if line.customer != 0:
            slot, is_there = _slot(line.customer, own.customer, own.customer_us, CUSTOMERS - 1)
            if is_there:
                one.customer_at = slot
                lines = own.customer_lines[slot]
                usual = own.customer_sum[slot] / FIXED / (lines + CUSTOMER)
        mean = (STANDING * usual + total) / (STANDING + others)
        known = 0 if others < 2.0 and lines < 3.0 else (1 if line.customer != 0 else 2)
        if others > 0.0:
            known += 3
        one.mean = min(max(math.floor((mean + 1.65) / 0.3), 0), MEANS - 1) + MEANS * known
        one.top = 0
        if others > 0.0:
            one.top = min(max(math.floor((top + 0.375) / 0.75) + 1, 1), TOPS - 1)


@outlined
def learn_instant(rows, shop, event, i, j, first, context):
    """Learn the lines of an instant after all were judged; updates rows and shop in place."""
    own = shop[0]
    for k in range(i, j):
        one = context[k - first]
        if one.is_demand == 0:
            continue
        line = event[k]
        row = rows[line.sku]
        place = find_place(line.quantity)
        channel = one.channel
        known = how_known(row.seen)
        own.lines += 1.0
        if one.odds == one.odds:
            learn_odds(own.odds, one.odds)
            own.weighed += 1.0
        own.numbered[channel, place] += 1.0
        if line.quantity < NUMBERS:
            own.numbers[channel, line.quantity] += 1.0
        side = 2 * channel + (1 if line.quantity >= 64 else 0)
        own.round[side, find_divisor(line.quantity)] += 1.0
        own.rounded[side] += 1.0
        if not one.odds > DOUBTED:  # nor is NaN
            own.residuals[known, find_residual(place, one.log, one.usual_log)] += 1.0
            own.resided[known] += 1.0
        shape = find_shape(one.residual)
        own.shapes[shape] += 1.0
        own.mean_shapes[shape, one.mean] += 1.0
        own.means[one.mean] += 1.0
        own.top_shapes[shape, one.top] += 1.0
        own.tops[one.top] += 1.0
        own.price_shapes[shape, one.price] += 1.0
        own.prices[one.price] += 1.0
        own.band_logs[one.band] += np.int64(one.log * FIXED)
        own.band_lines[one.band] += 1.0
    for k in range(i, j):  # apart from the above, which looks at what SKUs had seen
        one = context[k - first]
        if one.is_demand == 0:
            continue
        line = event[k]
        row = rows[line.sku]
        if row.waits == WAITS:
            _learn_waiting(row)
        row.waiting[row.waits] = find_place(line.quantity)
        row.waits += 1
        row.waiting_logs += np.int64((one.usual_log + _clipped(one.residual)) * FIXED)
        if one.residual < 1.0 or one.price == 0:
            if row.priced[one.channel] < 30_000.0:
                row.price_logs[one.channel] += np.int32(one.price_log * PRICED)
                row.priced[one.channel] += np.float32(1.0)
        if line.customer != 0:
            slot = np.int64(one.customer_at)
            is_there = slot >= 0 and own.customer[slot] == line.customer
            if not is_there:
                slot, is_there = _slot(line.customer, own.customer, own.customer_us, CUSTOMERS - 1)
            if not is_there:
                own.customer[slot] = line.customer
                own.customer_sum[slot] = 0
                own.customer_lines[slot] = 0.0
                own.customer_us[slot] = line.time_us - 1
            if own.customer_us[slot] != line.time_us:
                own.customer_us[slot] = line.time_us
                if own.customer_lines[slot] > MEMORY:
                    own.customer_sum[slot] //= 2
                    own.customer_lines[slot] *= 0.5
            own.customer_sum[slot] += np.int64(_clipped(one.residual) * FIXED)
            own.customer_lines[slot] += 1.0
