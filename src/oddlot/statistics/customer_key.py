"""What tells one customer from another, in 32 bits; without customers, one bill from another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from oddlot.engine.compiled import inlined

if TYPE_CHECKING:
    from oddlot.detectors.contract import Event

_POSITIVE = (1 << 63) - 1


@inlined
def key_of(customer, invoice, time_us):
    """Return a customer's key; where there is none the invoice's, or else that of the time."""
    whole = customer
    if whole == np.uint64(0):
        whole = invoice
    if whole == np.uint64(0):
        whole = np.uint64(time_us & _POSITIVE)
    return np.uint32((whole ^ (whole >> np.uint64(32))) & np.uint64(0xFFFFFFFF))


def plain_key(line: Event) -> int:
    """Return what `key_of` does."""
    whole = line.customer or line.invoice or line.time_us & _POSITIVE
    return (whole ^ whole >> 32) & 0xFFFFFFFF
