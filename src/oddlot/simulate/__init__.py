"""A shop with known faults: realistic order lines from a seed, their labels and their score."""

from oddlot.simulate.faults import FAULT_TYPES, LEVELS, Fault
from oddlot.simulate.score import Score, score_alerts
from oddlot.simulate.shop import OpenDay, Shop, open_days
from oddlot.simulate.write import Orders, Written, labels_csv, read_labels, simulate, write_shop

__all__ = [
    "FAULT_TYPES",
    "LEVELS",
    "Fault",
    "OpenDay",
    "Orders",
    "Score",
    "Shop",
    "Written",
    "labels_csv",
    "open_days",
    "read_labels",
    "score_alerts",
    "simulate",
    "write_shop",
]
