"""What every detector is: frozen options, and one function of arrays written twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec
import numpy as np

# One released order line as detectors see it, in event-time order.
EVENT = np.dtype(
    [
        ("time_us", "<i8"),
        ("quantity", "<i8"),
        ("price", "<f8"),
        ("sku", "<i4"),
        ("kind", "<i4"),  # index into schema.KINDS
    ],
    align=True,
)

# What a rule says of a line: whether it fires, and the sum and count of its window.
RULE_FOUND = np.dtype([("fires", "u1"), ("sum", "<i8"), ("count", "<i8")], align=True)


class Event(msgspec.Struct, frozen=True):
    """One order line of one SKU, as `define` sees it."""

    time_us: int
    quantity: int
    price: float
    kind: int


class LineDetector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A detector that sees each order line as the watermark releases it.

    It holds no state: the engine owns its rows, one for each SKU, all zero at first.

    Class attributes:
        row: dtype of what it remembers about one SKU; numbers only.
        found: dtype of what it says of one line; a test's begins with `chance` (NaN where the
            line was not tested), a rule's is RULE_FOUND.
        is_rule: whether it is a condition that the user wrote, with no chance and no budget.
        finds: the kind of fault that it must find; "" for a rule.
        columns: names of a rule's own columns in its rows.
    """

    row: ClassVar[np.dtype[Any]]
    found: ClassVar[np.dtype[Any]]
    is_rule: ClassVar[bool] = False
    finds: ClassVar[str] = ""
    columns: ClassVar[tuple[str, ...]] = ()

    def window_us(self) -> int:
        """Return how far back it must see single lines, in microseconds; 0 for not at all."""
        return 0

    def score(self, rows: Any, event: Any, head: int, first: int, last: int, found: Any) -> int:
        """Judge event[first:last], which holds whole instants, then learn it.

        Lines with equal times are all judged against what was known before that time, except
        that a rule may count them.

        Args:
            rows: shape (skus,), dtype `row`, updated in place.
            event: shape (events,), dtype EVENT, in event-time order; what is before `first` was
                judged in earlier calls.
            head: index of the oldest event that is still in the window.
            first, last: which events to judge.
            found: shape (last - first,), dtype `found`, updated in place.

        Returns:
            The new head.
        """
        raise NotImplementedError

    def define(self, events: Iterable[Event]) -> list[dict[str, float]]:
        """Judge all lines of one SKU in plain Python, slowly and obviously.

        Args:
            events: the lines of one SKU in event-time order, the whole history.

        Returns:
            For each line the fields of `found` by name.
        """
        raise NotImplementedError
