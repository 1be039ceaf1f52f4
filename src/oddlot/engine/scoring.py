"""The rows of every detector, and the log of recent lines that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oddlot.detectors.contract import EVENT, LineDetector
from oddlot.engine.compiled import compiled
from oddlot.engine.event_time import Released


@compiled
def _append(line, order, event, at):
    for i in range(len(order)):
        row = line[order[i]]
        out = event[at + i]
        out.time_us = row.time_us
        out.quantity = row.quantity
        out.price = row.price
        out.sku = row.sku
        out.kind = row.kind


class Scoring:
    """Scores released lines by every detector.

    One log of recent lines in event-time order serves all windows: each detector has a head in
    it, and what all heads have passed is forgotten.

    Attributes:
        event: shape (events,), dtype EVENT; the log.
        first, last: where the lines scored last are in it.
    """

    def __init__(self, detectors: Sequence[LineDetector]) -> None:
        """Start with rows of zeros."""
        self.detectors = tuple(detectors)
        self.event = np.zeros(1 << 12, EVENT)
        self.first = 0
        self.last = 0
        self._rows = [np.zeros(1 << 12, detector.row) for detector in self.detectors]
        self._heads = [0] * len(self.detectors)

    def score(self, released: Released, skus: int) -> list[Any]:
        """Score lines, and learn them.

        Args:
            released: whole instants, in event-time order.
            skus: how many SKUs are known.

        Returns:
            For each detector what it found, shape (released,), dtype its `found`.
        """
        self._make_room(len(released.order), skus)
        _append(released.lines.line, released.order, self.event, self.last)
        self.first, self.last = self.last, self.last + len(released.order)
        results = []
        for i, detector in enumerate(self.detectors):
            found = np.empty(self.last - self.first, detector.found)
            self._heads[i] = detector.score(
                self._rows[i], self.event, self._heads[i], self.first, self.last, found
            )
            results.append(found)
        return results

    def _make_room(self, count: int, skus: int) -> None:
        for i, rows in enumerate(self._rows):
            if skus > len(rows):
                more = np.zeros(max(2 * len(rows), skus), rows.dtype)
                more[: len(rows)] = rows
                self._rows[i] = more
        if self.last + count > len(self.event):
            start = min(self._heads, default=self.last)
            kept = self.last - start
            room = len(self.event)
            while room < 2 * (kept + count):
                room *= 2
            event = np.zeros(room, EVENT) if room > len(self.event) else self.event
            event[:kept] = self.event[start : self.last].copy()
            self.event, self.last = event, kept
            self._heads = [head - start for head in self._heads]

    def save(self, skus: int) -> dict[str, Any]:
        """Return what a checkpoint needs, by detector type."""
        start = min(self._heads, default=self.last)
        saved = {"event": self.event[start : self.last]}
        for detector, rows, head in zip(self.detectors, self._rows, self._heads, strict=True):
            name = type_of(detector)
            saved[f"rows.{name}"] = rows[: min(skus, len(rows))]
            saved[f"head.{name}"] = np.array([head - start])
        return saved

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `save` gave; a detector that is new starts with nothing."""
        event = saved["event"]
        self.event = np.zeros(max(1 << 12, 2 * len(event)), EVENT)
        self.event[: len(event)] = event
        self.first = self.last = len(event)
        for i, detector in enumerate(self.detectors):
            name = type_of(detector)
            self._heads[i] = len(event)
            if f"rows.{name}" in saved and saved[f"rows.{name}"].dtype == detector.row:
                rows = saved[f"rows.{name}"]
                self._rows[i] = np.zeros(max(1 << 12, 2 * len(rows)), detector.row)
                self._rows[i][: len(rows)] = rows
                self._heads[i] = int(saved[f"head.{name}"][0])


def type_of(detector: LineDetector) -> str:
    """Return a detector's type: the name of its file."""
    return type(detector).__module__.rpartition(".")[2]
