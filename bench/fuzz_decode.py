"""Fuzz decoding: random and damaged sources, the fast path against the slow one, until they differ.

Example: python bench/fuzz_decode.py --seconds 60
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import decode_twin


def main() -> None:
    """Read the command line and go on until the time is over or something differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begin, seed, records, shown = time.monotonic(), options.seed, 0, 0.0
    while (taken := time.monotonic() - begin) < options.seconds:
        draw = random.Random(seed)  # noqa: S311
        reading = decode_twin.make_reading(draw)
        count = draw.choice([1, 3, 10, 60])
        data = decode_twin.make_data(draw, reading, count)
        chunks = decode_twin.cut(draw, data)
        if found := decode_twin.difference(data, reading, chunks, draw.random() < 0.2):
            print(f"--seed {seed}: {found}\nreading: {reading}\ndata: {data!r}")
            print(f"chunks: {[len(chunk) for chunk in chunks]}")
            sys.exit(1)
        seed += 1
        records += count
        if taken - shown > 5:
            shown = taken
            print(f"{records / taken:,.0f} records/s; {records:,} records, seed {seed}", flush=True)
    print(f"no difference in {records:,} records")


if __name__ == "__main__":
    main()
