"""What every detector is: frozen options, and one function of arrays written twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np

from oddlot.engine.compiled import compiled

TICK = 4  # the kind of an event that is no line: the clock strikes
TICK_US = 900_000_000  # it does so each quarter of an hour

# One released order line, or one tick of the clock, as detectors see it, in event-time order;
# a tick stands before the lines of its time and knows the lines before its time.
EVENT = np.dtype(
    [
        ("time_us", "<i8"),
        ("quantity", "<i8"),  # 0 at a tick
        ("price", "<f8"),
        ("invoice", "<u8"),  # a hash of its number; 0 where there is none, and at a tick
        ("customer", "<u8"),  # the same of the customer
        ("sku", "<i4"),  # -1 at a tick
        ("kind", "<i4"),  # index into schema.KINDS, or TICK
    ],
    align=True,
)

# What every finding of a test begins with; a detector's own numbers follow as evidence.
FOUND = (
    ("event", "<i8"),  # index of the line or tick at which it was found
    ("tests", "<f8"),  # how many tests the detector had made before this instant
    ("chance", "<f8"),  # above 0, at most 1
    ("sku", "<i4"),  # -1 for the whole shop
)
NOTED = 1e-2  # a test speaks of a chance up to this; what is above is only counted

# What a rule says of a line: whether it fires, and the sum and count of its window.
RULE_FOUND = np.dtype([("fires", "u1"), ("sum", "<i8"), ("count", "<i8")], align=True)


class Event(msgspec.Struct, frozen=True):
    """One order line of one SKU, as `define` sees it."""

    time_us: int
    quantity: int
    price: float
    kind: int
    sku: int = 0
    invoice: int = 0
    customer: int = 0


class LineDetector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule: a condition that the user wrote, about each order line as it is released.

    It holds no state: the engine owns its rows, one for each SKU, all zero at first.

    Class attributes:
        row: dtype of what it remembers about one SKU; numbers only.
        found: dtype of what it says of one line: RULE_FOUND.
        is_rule: True: no chance and no budget.
        columns: names of its own columns in its rows.
    """

    row: ClassVar[np.dtype[Any]]
    found: ClassVar[np.dtype[Any]] = RULE_FOUND
    is_rule: ClassVar[bool] = True
    finds: ClassVar[str] = ""
    columns: ClassVar[tuple[str, ...]] = ()

    def window_us(self) -> int:
        """Return how far back it must see single lines, in microseconds; 0 for not at all."""
        return 0

    def score(self, rows: Any, event: Any, head: int, first: int, last: int, found: Any) -> int:
        """Judge event[first:last], which holds whole instants, then learn it.

        Lines with equal times may count each other, whatever their order; ticks are passed over.

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


class ShopDetector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A test: it gives a chance to what it finds in all of a shop's lines and ticks.

    It holds no state: the engine owns one row for each SKU and one for the shop, all zero at
    first. What it keeps about single lines (windows, baskets) is in the shop's row, in fixed
    memory.

    Class attributes:
        row: dtype of what it remembers about one SKU; numbers only; at most 200 bytes.
        shop: dtype of what it remembers about the catalogue; numbers only.
        found: dtype of one finding; begins with the fields of FOUND. A field `like` is another
            SKU that the sentence names.
        is_rule: False.
        finds: the kind of fault that it must find.
        weight: its part of the budget, in proportion to those of the other tests.
        reads_codes: whether `score` also takes the SKUs' codes: `names`, their bytes one after
            the other, and `offset`, shape (skus + 1,), where each begins.
        sentence: what an alert says, by language; see `alerts.text` for what stands in braces.
    """

    row: ClassVar[np.dtype[Any]]
    shop: ClassVar[np.dtype[Any]]
    found: ClassVar[np.dtype[Any]]
    is_rule: ClassVar[bool] = False
    finds: ClassVar[str] = ""
    weight: ClassVar[float] = 1.0
    reads_codes: ClassVar[bool] = False
    sentence: ClassVar[Mapping[str, str]]

    def score(
        self, rows: Any, shop: Any, event: Any, first: int, last: int, found: Any
    ) -> tuple[Any, int]:
        """Judge event[first:last], which holds whole instants, then learn it.

        Lines of one SKU with equal times are all judged against what was known before that time.

        Args:
            rows: shape (skus or more,), dtype `row`, updated in place.
            shop: shape (1,), dtype `shop`, updated in place.
            event: shape (events,), dtype EVENT, in event-time order; only first to last count.
            first, last: which events to judge.
            found: shape (room,), dtype `found`: where findings go; see `more_room`.

        Returns:
            The findings, in the order of their events, at the beginning of an array that is
            `found` or a longer one; and how many there are.
        """
        raise NotImplementedError

    def define(self, events: Sequence[Event]) -> list[dict[str, float]]:
        """Judge all lines and ticks of a shop in plain Python, slowly and obviously.

        Args:
            events: in event-time order, the whole history.

        Returns:
            The findings in order, each with the fields of `found` by name.
        """
        raise NotImplementedError


@compiled
def more_room(found):
    """Return a copy of the findings with room for twice as many."""
    longer = np.zeros(2 * len(found) + 16, found.dtype)
    longer[: len(found)] = found
    return longer
