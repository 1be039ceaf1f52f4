"""low_quantity in bytewax: one stateful step keyed by SKU that holds back its newest instant.

Usage: bytewax_low_quantity.py FILE OUT
"""

import csv
import sys
from collections import deque
from datetime import datetime, timedelta

import bytewax.operators as op
import msgspec
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

BELOW = 10
WINDOW = timedelta(hours=1)
HEADER = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "InvoiceDate",
    "Quantity",
    "WindowSum",
    "WindowCount",
    "AverageQuantity",
)
counted = {"rows": 0, "total": 0.0}

Line = tuple[str, str, str, str, int]  # invoice, sku, description, time, quantity
Row = tuple[str, str, str, str, int, int, int, float]


class Order(msgspec.Struct):
    """The fields that the job needs; msgspec skips the others."""

    InvoiceNo: str
    StockCode: str
    Description: str
    Quantity: int
    InvoiceDate: str


class LowQuantity(op.StatefulBatchLogic[Line, Row, None]):  # type: ignore[misc]  # not installed where mypy runs
    """One SKU: its window, and the lines of its newest instant."""

    def __init__(self) -> None:
        self.lines: deque[tuple[datetime, int]] = deque()
        self.sum = 0
        self.count = 0
        self.text = ""
        self.time = datetime.fromisoformat("1970-01-01")
        self.waiting: list[Line] = []

    def on_batch(self, values: list[Line]) -> tuple[list[Row], bool]:
        """Learn the lines; answer those of an instant once a newer one has come."""
        results: list[Row] = []
        for line in values:
            if line[3] != self.text:
                results.extend(self.answer())
                self.text = line[3]
                self.time = datetime.fromisoformat(self.text)
                oldest = self.time - WINDOW
                while self.lines and self.lines[0][0] < oldest:
                    self.sum -= self.lines.popleft()[1]
                    self.count -= 1
            quantity = line[4]
            self.lines.append((self.time, quantity))
            self.sum += quantity
            self.count += 1
            self.waiting.append(line)
        return results, self.RETAIN

    def on_eof(self) -> tuple[list[Row], bool]:
        """Answer what still waits."""
        return self.answer(), self.RETAIN

    def answer(self) -> list[Row]:
        """Return the results of the newest instant."""
        if not self.waiting:
            return []
        average = self.sum / self.count
        results = [(*line, self.sum, self.count, average) for line in self.waiting]
        self.waiting = []
        return results

    def snapshot(self) -> None:
        """Return nothing: the bench runs without recovery."""


def read_csv(records: list[str]) -> list[tuple[str, Line]]:
    """Turn a batch of records into the keyed lines below 10."""
    return [
        (sku, (invoice, sku, description, time, int(quantity)))
        for invoice, sku, description, quantity, time, *_ in csv.reader(records)
        if quantity != "Quantity" and int(quantity) < BELOW
    ]


def read_jsonl(records: list[str]) -> list[tuple[str, Line]]:
    """Turn a batch of records into the keyed lines below 10."""
    return [
        (x.StockCode, (x.InvoiceNo, x.StockCode, x.Description, x.InvoiceDate, x.Quantity))
        for x in map(decode, records)
        if x.Quantity < BELOW
    ]


decode = msgspec.json.Decoder(Order).decode


class Results(StatelessSinkPartition[tuple[str, Row]]):  # type: ignore[misc]  # not installed where mypy runs
    """A CSV file; bytewax's own FileSink would call fsync for every batch."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115  # closed in close
        self.writer = csv.writer(self.file, lineterminator="\n")
        self.writer.writerow(HEADER)

    def write_batch(self, items: list[tuple[str, Row]]) -> None:
        """Write results and count them."""
        rows = [row for _, row in items]
        self.writer.writerows(rows)
        counted["rows"] += len(rows)
        counted["total"] += sum(row[7] for row in rows)

    def close(self) -> None:
        """Write what is still in the buffer."""
        self.file.close()


class ResultSink(DynamicSink[tuple[str, Row]]):  # type: ignore[misc]  # not installed where mypy runs
    """One file for the one worker."""

    def __init__(self, path: str) -> None:
        self.path = path

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Results:
        """Open the file."""
        return Results(self.path)


def main(path: str, out: str) -> None:
    """Run the job and print how many rows it gave and the sum of their averages."""
    flow = Dataflow("low_quantity")
    records = op.input("read", flow, FileSource(path, batch_size=1000))
    lines = op.flat_map_batch("parse", records, read_jsonl if path.endswith(".jsonl") else read_csv)
    results = op.stateful_batch("score", lines, lambda _: LowQuantity())
    op.output("write", results, ResultSink(out))
    run_main(flow)
    print(counted["rows"], f"{counted['total']:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
