"""Two faults that InventoryBench does not plant: mistyped codes and a quieter shop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

_SLIPS = 9
_FROM, _TO = "2011-09-20", "2011-10-20"
_QUIET = ("2011-08-16", "2011-08-19")  # an ordinary week, from Tuesday to Thursday
_LEFT = 0.5  # of the invoices of those days
_FEWEST = 200  # lines of a SKU whose code is mistyped


def plant(clean: Path, out: Path) -> Any:
    """Plant both in the clean stream.

    Args:
        clean: the clean stream of a seed.
        out: the stream with the faults; written.

    Returns:
        Labels as InventoryBench has them; `near` is the code that was meant.
    """
    import pandas as pd
    from inventorybench import load_stream
    from inventorybench.inject import is_cancel, is_merchandise

    lines = load_stream(clean)
    chance = np.random.default_rng(1)
    when = lines["InvoiceDate"]
    labels = []
    code = lines["StockCode"]
    known = set(code)
    sold = is_merchandise(code) & ~is_cancel(lines["InvoiceNo"]) & (lines["Quantity"] > 0)
    often = code.map(code.value_counts()) >= _FEWEST
    for line in chance.permutation(np.flatnonzero(sold & often & when.between(_FROM, _TO))):
        slip = _swap(code[line], known)
        if slip:
            labels.append(("new_sku", slip, when[line], when[line], code[line]))
            lines.loc[line, "StockCode"] = slip
            known.add(slip)
        if len(labels) == _SLIPS:
            break
    start, end = pd.Timestamp(_QUIET[0]), pd.Timestamp(_QUIET[1])
    inside = (when >= start) & (when < end)
    invoices = lines.loc[inside, "InvoiceNo"].unique()
    lost = invoices[chance.random(len(invoices)) >= _LEFT]
    lines = lines[~(inside & lines["InvoiceNo"].isin(lost))]
    labels.append(("volume_shift", "*", start, end, ""))
    lines.to_csv(out, index=False)
    frame = pd.DataFrame(labels, columns=["type", "sku", "start", "end", "near"])
    return frame.assign(kind="planted", level="", id=np.arange(len(frame)))


def _swap(code: str, known: set[str]) -> str:
    """Swap two neighbouring digits so that the code is a new one; empty if none is."""
    for k in range(4):
        slip = code[:k] + code[k + 1] + code[k] + code[k + 2 :]
        if slip not in known:
            return slip
    return ""
