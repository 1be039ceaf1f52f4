"""The engine in memory: by batch size, by number of SKUs, by number of detectors, as Markdown.

CPU time of this process on one core, kernels warm, medians. Rows of results are written to nowhere.
The batch table is what a live stream sees: bytes in, the engine's whole answer out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

from make_orders import write_orders

from oddlot.alerts.rows import RowWriter
from oddlot.config import from_text
from oddlot.engine.embedded import Engine, Outcome

CACHE = Path(__file__).resolve().parent / ".cache"
NOW_US = 2 * 10**15
LOW = '[[detectors]]\ntype = "low_quantity"\n'
SPIKE = '[[detectors]]\ntype = "quantity_spike"\n'


class Run:
    """One engine that writes a rule's rows to nowhere."""

    def __init__(self, detectors: str, lateness: str = "5s") -> None:
        self.engine = Engine(from_text(f'[time]\nlateness = "{lateness}"\n{detectors}', "bench"))
        self.writer = RowWriter("csv", ("WindowSum", "WindowCount", "AverageQuantity"))
        self.sink = os.open(os.devnull, os.O_WRONLY)

    def feed(self, data: bytes | memoryview) -> None:
        """Take bytes through the engine and write the rows."""
        for outcome in self.engine.feed("orders.csv", data, False, NOW_US):
            self._write(outcome)

    def _write(self, outcome: Outcome) -> None:
        released = outcome.released
        for found in outcome.rows.values():
            os.write(self.sink, self.writer.write(released.lines, released.order, found))


def cut(data: bytes, lines: int) -> list[memoryview]:
    """Cut a file after every so many lines."""
    view, pieces, start, at, count = memoryview(data), [], 0, 0, 0
    while (at := data.find(b"\n", at) + 1) > 0:
        count += 1
        if count % lines == 0:
            pieces.append(view[start:at])
            start = at
    if start < len(data):
        pieces.append(view[start:])
    return pieces


def rate(pieces: list[memoryview], lines: int, detectors: str, repeat: int) -> float:
    """Return million lines a CPU second, median."""
    figures = []
    for _ in range(repeat + 1):
        run = Run(detectors)
        started = time.process_time()
        for piece in pieces:
            run.feed(piece)
        figures.append(lines / (time.process_time() - started) / 1e6)
    return statistics.median(figures[1:])


def latency(pieces: list[memoryview], detectors: str) -> tuple[float, float]:
    """Return the wall milliseconds that a call takes: median and 99th percentile."""
    run = Run(detectors)
    took = []
    for piece in pieces:
        started = time.perf_counter()
        run.feed(piece)
        took.append((time.perf_counter() - started) * 1e3)
    took = sorted(took[len(took) // 10 :])
    return statistics.median(took), took[int(0.99 * len(took))]


def orders(lines: int, skus: int, ending: str = "csv") -> bytes:
    """Return a file of order lines, made once."""
    CACHE.mkdir(exist_ok=True)
    file = CACHE / f"engine-{lines}-{skus}.{ending}"
    if not file.exists():
        write_orders(file, lines, skus)
    return file.read_bytes()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    lines, repeat = options.lines, options.repeat
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    data = orders(lines, 4000)
    head = data[: data.index(b"\n", 40_000_000 * len(data) // (83 * 10**6)) + 1]
    print("| batch, lines | M lines/s | a call, median ms | p99 ms |\n|---:|---:|---:|---:|")
    for batch in (1, 10, 100, 1_000, 10_000, 100_000):
        some = data if batch >= 1000 else head[: head.index(b"\n", 83 * 1000 * min(batch, 100)) + 1]
        pieces = cut(some, batch)
        count = some.count(b"\n") - 1
        speed = rate(pieces, count, LOW + SPIKE, repeat)
        median, tail = latency(pieces, LOW + SPIKE)
        print(f"| {batch:,} | {speed:.3f} | {median:.3f} | {tail:.3f} |", flush=True)
    print("\n| detectors | format | M lines/s |\n|---|---|---:|")
    for name, text in (("low_quantity", LOW), ("quantity_spike", SPIKE), ("both", LOW + SPIKE)):
        for ending in ("csv", "jsonl"):
            pieces = cut(orders(lines, 4000, ending), 10_000)
            print(f"| {name} | {ending} | {rate(pieces, lines, text, repeat):.2f} |", flush=True)
    print("\n| SKUs | ns a line | bytes a SKU, low_quantity + quantity_spike |\n|---:|---:|---:|")
    for skus in (1_000, 100_000, 1_000_000):
        pieces = cut(orders(lines, skus), 10_000)
        run = Run(LOW + SPIKE)
        for piece in pieces:
            run.feed(piece)
        rows = sum(detector.row.itemsize for detector in run.engine.scoring.detectors)
        speed = rate(pieces, lines, LOW + SPIKE, repeat)
        print(
            f"| {skus:,} ({run.engine.skus.count:,} seen) | {1e3 / speed:.0f} | {rows} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
