"""The compiled loops behind event time: on time, late, again or far ahead, line by line."""

from __future__ import annotations

from typing import Any

import numpy as np

from oddlot.decode.scan import PADDING
from oddlot.engine.compiled import compiled
from oddlot.schema import LINE, TEXTS, Lines

NEVER = -(2**62)  # before any time
ORDINARY, AHEAD, ROOM, REACHED = 0, 1, 2, 3  # why a loop stopped
ON_TIME, LATE, DUPLICATE = 0, 1, 2  # what became of a line
SEEN = np.dtype([("event", "<u8"), ("time_us", "<i8")])


@compiled
def _is_duplicate(seen, used, event, time_us, oldest):
    """Look an event id up among those since `oldest`; note it where it is new."""
    mask = np.int64(len(seen) - 1)
    slot = np.int64(event >> np.uint64(1)) & mask
    while seen[slot].event != np.uint64(0):
        if seen[slot].event == event:
            if seen[slot].time_us >= oldest:
                return True, used
            seen[slot].time_us = time_us
            return False, used
        slot = (slot + 1) & mask
    seen[slot].event = event
    seen[slot].time_us = time_us
    return False, used + 1


@compiled
def admit(
    line, first, base, pending, count, newest, floor_us, lateness_us, skew_us, next_us,
    seen, used, horizon_us, fate,
):  # fmt: skip
    """Put lines from `first` on among the pending ones, until one needs a closer look.

    It stops before a line that is ahead of the stream, and where there is no room for an event
    id; and after a line with which the stream has reached `next_us`.

    Returns:
        Where it stopped and why, and the new count, newest time and number of ids seen; and
        whether the pending lines are still in order.
    """
    is_sorted = True
    for i in range(first, len(line)):
        row = line[i]
        time_us = row.time_us
        if time_us > newest + skew_us:
            return i, AHEAD, count, newest, used, is_sorted
        if row.event != np.uint64(0):
            if 2 * (used + 1) > len(seen):
                return i, ROOM, count, newest, used, is_sorted
            again, used = _is_duplicate(seen, used, row.event, time_us, newest - horizon_us)
            if again:
                fate[i] = DUPLICATE
                continue
        if time_us < newest - lateness_us or time_us < floor_us:
            fate[i] = LATE
            continue
        if count > 0 and time_us < pending[count - 1].time_us:
            is_sorted = False
        pending[count] = row
        pending[count].text += base
        count += 1
        if time_us > newest:
            newest = time_us
            if newest >= next_us:
                return i + 1, REACHED, count, newest, used, is_sorted
    return len(line), ORDINARY, count, newest, used, is_sorted


@compiled
def refill(seen, keep):
    """Note the event ids to keep in an empty table; return how many there are."""
    used = 0
    for i in range(len(keep)):
        _, used = _is_duplicate(seen, used, keep[i].event, keep[i].time_us, NEVER)
    return used


@compiled
def count_before(line, first, last, time_us):
    """Return where the lines, sorted by time, reach `time_us`."""
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if line[middle].time_us < time_us:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _copy_texts(source, starts, sizes, ends, at, text):
    """Copy the text of each line to where it ends in `text`; lines begin at `at` in sizes."""
    for i in range(len(starts)):
        to = ends[at + i] - sizes[at + i]
        for j in range(sizes[at + i]):
            text[to + j] = source[starts[i] + j]


def pack(batches: list[Lines]) -> Lines:
    """Copy lines, and only the texts that they use, into one batch."""
    # The dtype is named, because lines that were stored have lost its alignment.
    line: Any = np.concatenate([batch.line for batch in batches], dtype=LINE)
    sizes = np.zeros(len(line), np.int64)
    for name in TEXTS:
        sizes = np.maximum(sizes, line[f"{name}_at"].astype(np.int64) + line[f"{name}_size"])
    ends = np.cumsum(sizes)
    text = np.zeros((int(ends[-1]) if len(ends) else 0) + PADDING, np.uint8)
    at = 0
    for batch in batches:
        _copy_texts(batch.text, batch.line["text"].copy(), sizes, ends, at, text)
        at += len(batch)
    line["text"] = ends - sizes
    return Lines(line, text)
