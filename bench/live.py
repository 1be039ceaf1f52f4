"""`oddlot run` on growing log files: speed with checkpoints, and the time from line to alert.

First a whole file that is there already, beside `oddlot detect` on the same file, in turns, CPU
seconds. Then lines written at a steady rate, each with its own event time; the latency of an alert
row is from the write of its line to the moment that the row stands in the alert file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

from make_orders import write_orders

BEGIN = datetime(2024, 1, 8, tzinfo=UTC)
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
CACHE = Path(__file__).resolve().parent / ".cache"
SHOP = """
[source]
path = "logs"
dates = "iso"
[time]
lateness = "{lateness}"
[alerts]
format = "csv"
[[detectors]]
type = "low_quantity"
"""
RUN = """
import sys, time
from oddlot.kernels import prepare_kernels
prepare_kernels()
from oddlot.config import load
from oddlot.engine.live import run
lines = int(sys.argv[2])
read = 0
def note(progress):
    global read
    read = progress.counters["read"]
run(load(sys.argv[1]), clock_us=lambda: time.time_ns() // 1000, sleep=time.sleep,
    should_stop=lambda: read >= lines, on_progress=note)
"""


def cpu(command: list[str]) -> float:
    """Return the CPU seconds of a command."""
    # With bytecode writing off every module would be compiled from source at each start.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command}: exit status {status}")
    return usage.ru_utime + usage.ru_stime


def throughput(lines: int, repeat: int) -> None:
    """Compare the live loop with detect."""
    CACHE.mkdir(exist_ok=True)
    orders = CACHE / f"live-{lines}.csv"
    if not orders.exists():
        write_orders(orders, lines)
    figures: dict[str, list[float]] = {"detect": [], "run": []}
    for _ in range(repeat + 1):
        with tempfile.TemporaryDirectory() as folder:
            shop = Path(folder, "shop.toml")
            shop.write_text(SHOP.format(lateness="5s"))
            Path(folder, "logs").mkdir()
            shutil.copy(orders, Path(folder, "logs", "orders.csv"))
            figures["run"].append(cpu([sys.executable, "-c", RUN, str(shop), str(lines)]))
            out = str(Path(folder, "rows.csv"))
            detect = [sys.executable, "-m", "oddlot", "detect", str(orders), "--out", out]
            figures["detect"].append(cpu([*detect, "--only", "low_quantity"]))
    run, detect_ = (statistics.median(figures[name][1:]) for name in ("run", "detect"))
    print(f"| command, {lines:,} lines | M lines/s |\n|---|---:|")
    print(f"| detect | {lines / detect_ / 1e6:.2f} |")
    print(f"| run, checkpoints on | {lines / run / 1e6:.2f} |")
    print(f"\nrun is at {100 * detect_ / run:.0f} % of detect's speed.\n")


class Rows:
    """The alert file as a reader sees it: when each row came."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seen: list[float] = []
        self._size = 0
        self._count = -1  # the first line names the columns

    def look(self) -> None:
        """Note how many rows have come since the last look."""
        if not self.file.exists():
            return
        with self.file.open("rb") as rows:
            rows.seek(self._size)
            data = rows.read()
        self._size += len(data)
        self._count += data.count(b"\n")
        self.seen += [time.monotonic()] * (max(0, self._count) - len(self.seen))


def write_some(log: TextIO, written: list[float], until: int) -> None:
    """Write lines, each a millisecond of event time after the one before."""
    for number in range(len(written), until):
        when = BEGIN + timedelta(milliseconds=number)
        log.write(f"{number},{number % 997},X,1,{when:%Y-%m-%d %H:%M:%S.%f},1.5,1,UK\n")
        written.append(time.monotonic())
    log.flush()


def latencies(rate: int, seconds: int) -> None:
    """Write lines at a steady rate and watch for their rows."""
    total = rate * seconds
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder, "shop.toml")
        shop.write_text(SHOP.format(lateness="0s"))
        logs = Path(folder, "logs")
        logs.mkdir()
        rows = Rows(Path(folder, "alerts", "low_quantity.csv"))
        process = subprocess.Popen([sys.executable, "-c", RUN, str(shop), str(total)])
        written: list[float] = []
        with (logs / "orders.csv").open("w", buffering=1 << 20) as log:
            log.write(HEADER)
            write_some(log, written, 100)
            while not rows.seen:  # the kernels are loaded by then
                time.sleep(0.01)
                rows.look()
            started = time.monotonic()
            while len(rows.seen) < total - 1 and process.poll() is None:
                due = 100 + int((time.monotonic() - started) * rate)
                write_some(log, written, min(total, due))
                rows.look()
                time.sleep(0.002)
        process.wait()
        rows.look()
    delays = sorted((b - a) * 1e3 for a, b in zip(written[100:], rows.seen[100:], strict=False))
    print("| lines/s | seconds | line to row, median ms | p99 ms |\n|---:|---:|---:|---:|")
    middle, tail = statistics.median(delays), delays[int(0.99 * len(delays))]
    print(f"| {rate:,} | {seconds} | {middle:.0f} | {tail:.0f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    throughput(options.lines, options.repeat)
    latencies(options.rate, options.seconds)


if __name__ == "__main__":
    main()
