"""Order lines as Arrow tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from oddlot.engine.compiled import compiled
from oddlot.schema import KINDS, TEXTS, Lines, order_schema


@compiled
def _gather(text, starts, sizes, ends, out):
    for i in range(len(starts)):
        to = ends[i] - sizes[i]
        for j in range(sizes[i]):
            out[to + j] = text[starts[i] + j]


def text_column(lines: Lines, name: str) -> pa.Array:
    """Return one text field of a batch as an Arrow array of strings."""
    starts = lines.line["text"] + lines.line[f"{name}_at"]
    sizes = lines.line[f"{name}_size"].astype(np.int64)
    ends = np.cumsum(sizes)
    offsets = np.zeros(len(sizes) + 1, np.int64)
    offsets[1:] = ends
    out = np.empty(int(offsets[-1]), np.uint8)
    _gather(lines.text, starts, sizes, ends, out)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(out)]
    return pa.Array.from_buffers(pa.large_string(), len(sizes), buffers).cast(pa.string())


def order_table(lines: Lines, sources: Sequence[str]) -> pa.Table:
    """Return order lines as a table of `schema.order_schema`.

    Args:
        lines: a batch.
        sources: names of the sources by number.
    """
    line = lines.line
    columns: dict[str, Any] = {name: text_column(lines, name) for name in TEXTS}
    columns["time"] = pa.array(line["time_us"]).cast(pa.timestamp("us"))
    for name in ("quantity", "price", "position", "number"):
        columns[name] = pa.array(np.ascontiguousarray(line[name]))
    kinds = pa.DictionaryArray.from_arrays(pa.array(line["kind"].astype(np.int32)), KINDS)
    columns["kind"] = kinds.cast(pa.string())
    places = pa.array(np.ascontiguousarray(line["source"]))
    columns["source"] = pa.DictionaryArray.from_arrays(places, list(sources)).cast(pa.string())
    return pa.table(columns).select(order_schema().names).cast(order_schema())
