"""low_quantity in plain Python: deques per SKU, csv or msgspec to read.

Usage: plain_low_quantity.py FILE OUT
"""

import csv
import itertools
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from operator import itemgetter

import msgspec

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

Line = tuple[str, str, str, str, int]  # invoice, sku, description, time, quantity


class Order(msgspec.Struct):
    """The fields that the job needs; msgspec skips the others."""

    InvoiceNo: str
    StockCode: str
    Description: str
    Quantity: int
    InvoiceDate: str


class Window:
    """What one SKU sold below 10 within the last hour."""

    __slots__ = ("count", "lines", "sum")

    def __init__(self) -> None:
        self.lines: deque[tuple[datetime, int]] = deque()
        self.sum = 0
        self.count = 0


def read(path: str) -> Iterator[Line]:
    """Yield (invoice, sku, description, time, quantity) of the lines below 10."""
    if path.endswith(".jsonl"):
        decode = msgspec.json.Decoder(Order).decode
        with open(path, "rb") as file:
            for record in file:
                order = decode(record)
                if order.Quantity < BELOW:
                    yield (
                        order.InvoiceNo,
                        order.StockCode,
                        order.Description,
                        order.InvoiceDate,
                        order.Quantity,
                    )
    else:
        with open(path, newline="", encoding="utf-8") as file:
            records = csv.reader(file)
            next(records)
            for invoice, sku, description, written, time, *_ in records:
                quantity = int(written)
                if quantity < BELOW:
                    yield invoice, sku, description, time, quantity


def score(lines: Iterable[Line]) -> Iterator[tuple[str, str, str, str, int, int, int, float]]:
    """Yield a result for each line; all lines of an instant are learned before any is answered."""
    windows: dict[str, Window] = {}
    for text, group in itertools.groupby(lines, key=itemgetter(3)):
        instant = list(group)
        time = datetime.fromisoformat(text)
        oldest = time - WINDOW
        for line in instant:
            window = windows.get(line[1])
            if window is None:
                window = windows[line[1]] = Window()
            quantity = line[4]
            window.lines.append((time, quantity))
            window.sum += quantity
            window.count += 1
        for line in instant:
            window = windows[line[1]]
            kept = window.lines
            while kept[0][0] < oldest:
                window.sum -= kept.popleft()[1]
                window.count -= 1
            yield (*line, window.sum, window.count, window.sum / window.count)


def main(path: str, out: str) -> None:
    """Run the job and print how many rows it gave and the sum of their averages."""
    rows, total = 0, 0.0
    with open(out, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        write = writer.writerow
        for row in score(read(path)):
            write(row)
            rows += 1
            total += row[7]
    print(rows, f"{total:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
