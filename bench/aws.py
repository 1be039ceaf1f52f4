"""The parts for AWS on loopback: the agent beside a plain boto3 loop, memory, lag, the function.

Tables go to standard output as Markdown; with --serve it starts every server, makes the stack's
resources, keeps them until Ctrl-C and measures nothing. The servers come into .venv/loopback by
themselves (about a minute, once).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
sys.path[:0] = [str(ROOT / "tests"), str(BENCH)]  # where the servers are

from shipping import function, serve  # noqa: E402
from shipping.watching import Endpoint, Used, agent, endpoint, watch  # noqa: E402

from loopback import fixtures, servers  # noqa: E402

HEADER = b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
LAG_RATE = 10_000
LAG_SECONDS = 30.0
MEBIBYTE = 1 << 20
PACKED = {"no packing": "none", "newline": "ndjson", "KPL": "kpl"}
NAMES = HEADER.decode().strip().split(",")
TO_JSON = [{"optionName": "CSVTOJSON", "customFieldNames": NAMES}]

Rows = list[list[str]]


class Shipped(NamedTuple):
    """What shipping a file took."""

    lines: int
    seconds: float
    cpu_seconds: float
    last: Used
    history: list[tuple[int, float]]


def main() -> int:
    """Read the command line; measure, or serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="start everything, until Ctrl-C")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure only these")
    parser.add_argument("--lines", type=int, default=10_000_000, help="for memory")
    parser.add_argument("--folder", type=Path, help="for scratch files, 1 GB")
    options = parser.parse_args()
    os.environ.update(servers.credentials())
    if options.serve:
        return serve.serve(options.folder)
    with tempfile.TemporaryDirectory(prefix="oddlot-aws-", dir=options.folder) as scratch:
        for name in options.only or PARTS:
            print(f"\n## {name}\n\n{_table(PARTS[name](Path(scratch), options))}", flush=True)
    return 0


def measure_speed(scratch: Path, _: argparse.Namespace) -> Rows:
    """Ship a file by the agent, packed in each way, and by loops over boto3."""
    files = {count: write_lines(scratch / f"{count}.csv", count) for count in (200_000, 2_000_000)}
    few, many = files.items()
    size = many[1].stat().st_size / many[0]
    rows = [["shipper", "lines", "lines/s", "lines/s a core", "peak MB"]]
    runs: list[tuple[str, int, Callable[[Endpoint], Any]]] = [
        ("plain boto3 loop", few[0], lambda to: _loop(to, few[1], 1)),
        ("boto3 loop, 100 lines a record", many[0], lambda to: _loop(to, many[1], 100)),
    ]
    for name, aggregation in PACKED.items():
        count, file = few if aggregation == "none" else many
        runs += [
            (f"oddlot agent, {name}", count, _agent(scratch, file, aggregation=aggregation)),
            (
                f"oddlot agent, CSVTOJSON, {name}",
                count,
                _agent(scratch, file, aggregation=aggregation, dataProcessingOptions=TO_JSON),
            ),
        ]
    for name, count, start in runs:
        shipped = _ship(start, count)
        rows.append(
            [
                name,
                f"{count:,}",
                f"{count / shipped.seconds:,.0f}",
                f"{count / shipped.cpu_seconds:,.0f}",
                f"{shipped.last.peak_mb:.0f}",
            ]
        )
    rows.append(["Amazon's limit a shard, a line a record", "", "1,000", "", ""])
    rows.append(["Amazon's limit a shard, packed", "", f"{MEBIBYTE / size:,.0f}", "", ""])
    return rows


def measure_local(scratch: Path, _: argparse.Namespace) -> Rows:
    """Ship into servers that keep what they get, and count it there."""
    rows = [["shipper", "server", "lines", "lines/s", "found there"]]
    count = 20_000
    file = write_lines(scratch / "local.csv", count)
    with fixtures.run_kinesis() as kinesis:
        kinesis.faults.limited = False
        for name, aggregation in PACKED.items():
            stream = kinesis.stream(4)
            flow = {"aggregation": aggregation, "kinesisStream": stream}
            folder = scratch / stream
            began = time.monotonic()
            with agent(folder, kinesis.url, file, **flow):
                wanted = 0
                while wanted < count and time.monotonic() - began < 120:
                    time.sleep(0.5)
                    wanted = _count_lines(kinesis, stream)
            seconds = time.monotonic() - began
            rows.append(
                [
                    f"oddlot agent, {name}",
                    "kinesis-local",
                    f"{count:,}",
                    f"{count / seconds:,.0f}",
                    f"{wanted:,}",
                ]
            )
    return rows


def measure_memory(scratch: Path, options: argparse.Namespace) -> Rows:
    """Ship many lines and look at the memory on the way."""
    file = write_lines(scratch / "many.csv", options.lines)
    start = _agent(scratch, file, aggregation="ndjson", dataProcessingOptions=TO_JSON)
    shipped = _ship(start, options.lines)
    rows = [["lines shipped", "memory MB"]]
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        lines, rss = next(one for one in shipped.history if one[0] >= share * options.lines)
        rows.append([f"{lines:,}", f"{rss:.1f}"])
    rows.append(["peak", f"{shipped.last.peak_mb:.1f}"])
    file.unlink()
    return rows


def measure_lag(scratch: Path, _: argparse.Namespace) -> Rows:
    """Write lines at a steady rate; time from the write of a line to its arrival."""
    rows = [["shipper", "lines/s", "p50 ms", "p99 ms", "worst ms"]]
    for name, aggregation in PACKED.items():
        file = scratch / f"lag-{aggregation}.csv"
        file.write_bytes(HEADER)
        with (
            endpoint("lag") as to,
            agent(scratch / f"lag-{aggregation}", to.url, file, aggregation=aggregation),
        ):
            time.sleep(2)  # it has begun
            writer = threading.Thread(target=_write_steadily, args=(file,))
            writer.start()
            writer.join()
            time.sleep(3)
            told = to.told()
        wanted = round(LAG_RATE * LAG_SECONDS)
        lag = told.get("lag_ms", {})
        came = "" if told["lines"] == wanted else f" ({told['lines']:,} of {wanted:,} came)"
        shown = [f"{lag[place]:,.0f}" for place in ("p50", "p99", "max")] if lag else ["-"] * 3
        rows.append([f"oddlot agent, {name}{came}", f"{LAG_RATE:,}", *shown])
    return rows


def measure_function(scratch: Path, _: argparse.Namespace) -> Rows:
    """Measure the Lambda function: its zip, its import, alerts a second."""
    return function.measure(scratch)


PARTS: dict[str, Callable[[Path, argparse.Namespace], Rows]] = {
    "speed": measure_speed,
    "local": measure_local,
    "memory": measure_memory,
    "lag": measure_lag,
    "function": measure_function,
}


def write_lines(file: Path, count: int) -> Path:
    """Write order lines, about 87 bytes each."""
    block = 100_000
    with file.open("wb") as to:
        to.write(HEADER)
        for start in range(0, count, block):
            to.write(
                b"".join(
                    b"%07d,85123A,WHITE HANGING HEART T-LIGHT HOLDER,6,2010-12-01 08:%02d:%02d,"
                    b"2.55,17850,United Kingdom\n" % (n, n // 60 % 60, n % 60)
                    for n in range(start, min(count, start + block))
                )
            )
    return file


def _write_steadily(file: Path) -> None:
    began, written = time.monotonic(), 0
    with file.open("ab", buffering=0) as to:
        while (passed := time.monotonic() - began) < LAG_SECONDS:
            due = min(int(passed * LAG_RATE), round(LAG_RATE * LAG_SECONDS)) - written
            now = time.time_ns()
            to.write(
                b"".join(
                    b"%d,85123A,WHITE HANGING HEART T-LIGHT HOLDER,6,2.55,17850,UK\n" % now
                    for _ in range(due)
                )
            )
            written += due
            time.sleep(0.005)
        now = time.time_ns()
        rest = round(LAG_RATE * LAG_SECONDS) - written
        to.write(b"".join(b"%d,the end\n" % now for _ in range(rest)))


def _agent(scratch: Path, file: Path, **flow: Any) -> Callable[[Endpoint], Any]:
    def start(to: Endpoint) -> Any:
        folder = Path(tempfile.mkdtemp(dir=scratch)) / "agent"
        return agent(folder, to.url, file, **flow)

    return start


def _loop(to: Endpoint, file: Path, packed: int) -> Any:
    command = [sys.executable, str(BENCH / "rivals" / "boto3_shipping.py"), to.url, "orders"]
    return subprocess.Popen([*command, str(file), str(packed)])


def _ship(start: Callable[[Endpoint], Any], lines: int) -> Shipped:
    with endpoint() as to:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.time()
        with start(to) as process:
            told, last, history = watch(process, to, 0.5)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # KPL records have bytes of their own that look like line ends; `local` opens and counts them.
    assert told["lines"] >= lines, f"{told['lines']:,} of {lines:,} lines came"
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Shipped(lines, told["last"] - began, cpu, last, history)


def _count_lines(kinesis: fixtures.Kinesis, stream: str) -> int:
    from oddlot.streams import kpl

    lines = 0
    for record in kinesis.records(stream):
        inner = kpl.unpack(record["Data"])
        data = [record["Data"]] if inner is None else [one for _, one in inner]
        lines += sum(one.count(b"\n") for one in data)
    return lines


def _table(rows: Rows) -> str:
    head, *body = rows
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in body)])


if __name__ == "__main__":
    sys.exit(main())
