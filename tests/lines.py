"""Order lines made by hand, for tests that need no decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from oddlot.decode.scan import PADDING
from oddlot.engine.event_time import EventTime
from oddlot.schema import LINE, SALE, TEXTS, Lines

LATENESS, SKEW, HORIZON = 5, 100, 50


class Line(NamedTuple):
    """One order line; its texts are made of its numbers unless given."""

    time_us: int
    number: int = 0
    source: int = 0
    event: int = 0
    sku: int = 0
    quantity: int = 1
    price: float = 1.0
    kind: int = SALE
    texts: tuple[str, str, str, str, str] | None = None


def make_lines(rows: Sequence[Line]) -> Lines:
    """Put lines into a batch; a line's number is its position, too."""
    line: Any = np.zeros(len(rows), LINE)
    text = bytearray()
    for i, row in enumerate(rows):
        one = line[i]
        for name in ("time_us", "number", "source", "event", "sku", "quantity", "price", "kind"):
            one[name] = getattr(row, name)
        one["position"] = row.number
        one["text"] = len(text)
        texts = row.texts or (f"I{row.number}", f"S{row.sku}", f"text {row.number}", "", "UK")
        at = 0
        for name, value in zip(TEXTS, texts, strict=True):
            data = value.encode()
            one[f"{name}_at"], one[f"{name}_size"] = at, len(data)
            at += len(data)
            text += data
        one["slow"] = 1
    return Lines(line, np.frombuffer(bytes(text) + bytes(PADDING), np.uint8).copy())


def opened(names: tuple[str, ...] = ("b", "a")) -> EventTime:
    time = EventTime(LATENESS, SKEW, HORIZON)
    time.source_names = list(names)
    return time


def numbers(batches: list[Lines]) -> list[int]:
    return [int(number) for batch in batches for number in batch.line["number"]]


def texts_hold(lines: Lines, places: Any) -> bool:
    """Tell whether the lines at those places still have their own texts."""
    return all(
        lines.read(int(i), "invoice") == f"I{lines.line['number'][i]}"
        and lines.read(int(i), "description") == f"text {lines.line['number'][i]}"
        for i in places
    )


def released(time: EventTime, flush: bool = False) -> list[int]:
    out, _ = time.flush() if flush else (time.release(), [])
    assert texts_hold(out.lines, out.order)
    return [int(number) for number in out.lines.line["number"][out.order]]


def feed(time: EventTime, rows: list[Line]) -> tuple[list[int], list[int]]:
    """Admit one batch; returns the numbers of what is released and of what is late."""
    late, _ = time.admit(make_lines(rows))
    for batch in late:
        assert texts_hold(batch, range(len(batch)))
    return released(time), numbers(late)
