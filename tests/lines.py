"""Order lines made by hand, for tests that need no decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from oddlot.decode.scan import PADDING
from oddlot.schema import LINE, SALE, TEXTS, Lines


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
