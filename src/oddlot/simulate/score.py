"""Which planted faults were found, and what it cost in false alarms."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

from oddlot.simulate.faults import FAULT_TYPES, Fault
from oddlot.simulate.shop import DAY_US

# Types of one family are told apart by degree only: naming either is a find. After
# InventoryBench, whose names of families an alert may use too.
FAMILIES = {
    "quantity_spike": "up",
    "demand_surge": "up",
    "unit_mixup": "up",
    "silent_sku": "down",
    "demand_drop": "down",
    "return_surge": "out",
    "write_off": "out",
    "price_error": "price_error",
    "duplicate_invoice": "duplicate_invoice",
    "site_outage": "site_outage",
}
_GRACE_US = DAY_US


class Score(msgspec.Struct, frozen=True):
    """How alerts compare with the planted faults.

    Attributes:
        planted: how many faults of each type there are, in the order of FAULT_TYPES.
        found: how many of them an alert found.
        first_us: event time of the first alert on each fault that was found, by its id.
        alerts: how many alerts of detectors that look for faults there were.
        false_alarms: alerts that have nothing to do with any fault.
        side_effects: alerts of another family on a fault's SKU in its time: neither right nor
            wrong.
        rule_alerts: alerts of rules such as low_quantity, which look for no fault.
        days: open days in which alerts could come.
    """

    planted: dict[str, int]
    found: dict[str, int]
    first_us: dict[int, int]
    alerts: int
    false_alarms: int
    side_effects: int
    rule_alerts: int
    days: float

    @property
    def false_alarms_per_day(self) -> float:
        """False alarms on an open day."""
        return self.false_alarms / self.days if self.days else 0.0

    @property
    def found_in_all(self) -> int:
        """How many faults were found."""
        return len(self.first_us)

    @property
    def planted_in_all(self) -> int:
        """How many faults there are."""
        return sum(self.planted.values())


def score_alerts(
    alerts: Iterable[tuple[int, str, str]], labels: Iterable[Fault], days: float
) -> Score:
    """Compare alerts with the faults that were planted.

    An alert finds a fault if its detector looks for the fault's family, its SKU is the fault's
    (any on a duplicate invoice; "*" for the whole shop) and its time is from the fault's start to
    24 hours after its end. More alerts on one fault are neither errors nor finds.

    Args:
        alerts: event time in microseconds UTC, SKU and detector of each, in any order.
        labels: the planted faults.
        days: open days in which alerts could come.
    """
    faults = list(labels)
    planted = Counter(fault.type for fault in faults)
    types = [*FAULT_TYPES, *sorted(planted.keys() - set(FAULT_TYPES))]
    rules = 0
    by_sku: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for time_us, sku, detector in alerts:
        family = _family(detector)
        if family:
            by_sku[sku].append((time_us, family))
        else:
            rules += 1
    explained = {sku: bytearray(len(at)) for sku, at in by_sku.items()}
    for at in by_sku.values():
        at.sort()
    first_us: dict[int, int] = {}
    for fault in faults:
        family = _family(fault.type) or fault.type
        for sku in _skus(fault):
            at = by_sku.get(sku, [])
            begin = bisect_left(at, (fault.start_us, ""))
            end = bisect_right(at, (fault.end_us + _GRACE_US, "\U0010ffff"))
            for place in range(begin, end):
                time_us, said = at[place]
                is_find = said in (family, "generic")
                if sku == "*" and fault.sku != "*" and said != family:
                    continue
                explained[sku][place] |= 2 if is_find else 1
                if is_find:
                    first_us[fault.id] = min(time_us, first_us.get(fault.id, time_us))
    marks = Counter(mark for of_sku in explained.values() for mark in of_sku)
    found = Counter(fault.type for fault in faults if fault.id in first_us)
    return Score(
        planted={kind: planted[kind] for kind in types if planted[kind]},
        found={kind: found[kind] for kind in types if planted[kind]},
        first_us=first_us,
        alerts=sum(marks.values()),
        false_alarms=marks[0],
        side_effects=marks[1],
        rule_alerts=rules,
        days=days,
    )


def _family(detector: str) -> str:
    """Return the family that a detector, or a fault's type, is of; "" for a rule."""
    if detector in ("generic", *FAMILIES.values()):
        return detector
    return FAMILIES.get(detector, "")


def _skus(fault: Fault) -> list[str]:
    """Return the SKUs under which an alert may name a fault."""
    skus = fault.sku.split("|")
    return [*skus, "*"] if fault.type == "duplicate_invoice" else skus
