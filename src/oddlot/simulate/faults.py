"""What a fault is: its label, and what it does to the order lines of a day."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from oddlot.schema import Ints, LineArray
from oddlot.simulate.trading import in_order

Bools = NDArray[np.bool_]

LEVELS = ("easy", "medium", "hard")
FAULT_TYPES = (
    "quantity_spike",
    "price_error",
    "silent_sku",
    "demand_surge",
    "return_surge",
    "write_off",
    "duplicate_invoice",
    "site_outage",
)


class Fault(msgspec.Struct, frozen=True):
    """An anomaly that was planted, as a line of labels.csv.

    Attributes:
        id: counted from 1, in order of start.
        type: one of FAULT_TYPES.
        sku: the SKU's code; several joined by "|" for an invoice; "*" for the whole shop.
        start_us, end_us: event time of its first and last effect, microseconds UTC.
        level: how hard it is to find: easy, medium or hard.
    """

    id: int
    type: str
    sku: str
    start_us: int
    end_us: int
    level: str


class Silence(msgspec.Struct, frozen=True):
    """Lines that are missing: of one SKU, or of all (-1), between two times, both included.

    Attributes:
        kept: invoices that get through all the same.
    """

    sku: int
    start_us: int
    end_us: int
    kept: Ints


class Changes(msgspec.Struct):
    """What the faults do to one open day.

    Attributes:
        edits: place in the day's lines, field and new value.
        silences: what is missing.
        added: lines that come on top.
    """

    edits: list[tuple[int, str, int]] = msgspec.field(default_factory=list)
    silences: list[Silence] = msgspec.field(default_factory=list)
    added: list[LineArray] = msgspec.field(default_factory=list)


def apply_changes(lines: LineArray, changes: Changes, skus: int) -> LineArray:
    """Return a day's lines as the faults leave them, in order of time and invoice."""
    lines = lines.copy()
    for place, field, value in changes.edits:
        lines[field][place] = value
    lines = np.concatenate([lines, *changes.added])
    for silence in changes.silences:
        time_us = lines["time_us"]
        is_lost = (time_us >= silence.start_us) & (time_us <= silence.end_us)
        if silence.sku >= 0:
            is_lost &= (lines["sku"] == silence.sku) & is_sale(lines, skus)
        else:
            is_lost &= ~np.isin(lines["invoice"], silence.kept)
        lines = lines[~is_lost]
    return in_order(lines)


def is_sale(lines: LineArray, skus: int) -> Bools:
    """Say which lines sell a product."""
    is_product = (lines["sku"] < skus) & (lines["is_return"] == 0)
    return np.asarray(is_product & (lines["quantity"] > 0) & (lines["pence"] > 0))


def first_rows(lines: LineArray, skus: int) -> Ints:
    """Return the place of the first sale of each invoice."""
    rows = np.flatnonzero(is_sale(lines, skus))
    _, first = np.unique(lines["invoice"][rows], return_index=True)
    return rows[first]
