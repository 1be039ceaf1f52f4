"""The benchmark's seeds: injected once, kept in a folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Seed:
    """The files of one seed and what they hold.

    Attributes:
        number: the seed.
        folder: holds `stream.csv.gz`, `clean.csv.gz` and `labels.csv`.
        labels: the planted events and the natural windows, as InventoryBench gives them.
        days: trading days in the scored period.
        lines: lines in the stream.
    """

    number: int
    folder: Path
    labels: Any
    days: int
    lines: int

    def file(self, which: str) -> Path:
        """Return the orders, `which` is "stream" or "clean"."""
        return self.folder / f"{which}.csv.gz"


def find_inventorybench(folder: Path) -> None:
    """Make `import inventorybench` find the package in a folder.

    Raises:
        SystemExit: it is not there.
    """
    if not (folder / "inventorybench" / "score.py").exists():
        sys.exit(f"--inventorybench: must be the folder that holds inventorybench/; got {folder}")
    sys.path.insert(0, str(folder))


def load_seed(number: int, data: Path, cache: Path) -> Seed:
    """Inject a seed unless the cache has it.

    Args:
        number: the seed.
        data: the real orders, UCI Online Retail style.
        cache: each seed has a folder of its number in it.
    """
    import pandas as pd
    from inventorybench import inject, load_stream
    from inventorybench.inject import Config

    folder = cache / str(number)
    if not (folder / "labels.csv").exists():
        if not data.exists():
            sys.exit(f"--data: must be the real orders (OnlineRetail.csv.gz); nothing at {data}")
        print(f"seed {number}: injecting", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        stream, labels, clean = inject(load_stream(data), number)
        stream.to_csv(folder / "stream.csv.gz", index=False)
        clean.to_csv(folder / "clean.csv.gz", index=False)
        labels.to_csv(folder / "labels.csv", index=False)  # last: where it is, all are
    labels = pd.read_csv(folder / "labels.csv", dtype={"sku": str}, parse_dates=["start", "end"])
    times = pd.read_csv(folder / "stream.csv.gz", usecols=["InvoiceDate"])["InvoiceDate"]
    when = pd.to_datetime(times)
    scored = (when >= Config.start) & (when < Config.end)
    return Seed(number, folder, labels, int(when[scored].dt.normalize().nunique()), len(when))
