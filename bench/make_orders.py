"""Write N order lines in the eight columns of Online Retail, as CSV or JSON Lines."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HEADER = b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
START = np.datetime64("2011-01-01")
DAYS = 365
LINES_PER_INVOICE = 20
BELOW_TEN = 0.58
CANCELLED = 0.02  # share of invoices that take goods back: quantities below zero
ZIPF = 0.9
CHUNK = 250_000
CACHE = Path(__file__).resolve().parent / ".cache"
WORDS = [
    "WHITE",
    "RED",
    "BLUE",
    "PINK",
    "VINTAGE",
    "RETRO",
    "WOODEN",
    "GLASS",
    "METAL",
    "HEART",
    "STAR",
    "CHERRY",
    "LUNCH",
    "PARTY",
    "GARDEN",
    "KITCHEN",
    "HOLDER",
    "LANTERN",
    "BOX",
    "BAG",
    "MUG",
    "CLOCK",
    "FRAME",
    "SIGN",
    "CANDLE",
    "HANGER",
    "TIN",
    "JAR",
    "TRAY",
    "BUNTING",
    "SET",
]
COUNTRIES = ("United Kingdom", "Germany", "France", "EIRE", "Spain", "Netherlands")
COUNTRY_SHARE = (0.9, 0.03, 0.03, 0.02, 0.01, 0.01)


def write_orders(file: Path, lines: int, skus: int = 4000, seed: int = 1) -> None:
    """Write order lines in the order of their time, several to an invoice and thus to a second.

    Args:
        file: ends in .csv or .jsonl, which decides the format.
        lines: how many.
        skus: how many products; their shares follow Zipf's law with exponent 0.9.
        seed: of everything.
    """
    pieces = _CSV if file.suffix == ".csv" else _JSONL
    partial = file.with_name(file.name + ".part")
    with partial.open("wb") as out:
        if file.suffix == ".csv":
            out.write(HEADER)
        for columns in _draw(lines, skus, np.random.Generator(np.random.PCG64(seed))):
            out.write(_join(pieces, columns))
    partial.rename(file)


_CSV: tuple[bytes | str, ...] = (
    "invoice", b",", "sku", b",", "description", b",", "quantity", b",", "day", b" ", "second",
    b",", "price", b",", "customer", b",", "country", b"\n",
)  # fmt: skip
_JSONL: tuple[bytes | str, ...] = (
    b'{"InvoiceNo":"', "invoice", b'","StockCode":"', "sku", b'","Description":"', "description",
    b'","Quantity":', "quantity", b',"InvoiceDate":"', "day", b" ", "second", b'","UnitPrice":',
    "price", b',"CustomerID":"', "customer", b'","Country":"', "country", b'"}\n',
)  # fmt: skip


def _join(pieces: tuple[bytes | str, ...], columns: dict[str, Any]) -> bytes:
    """Join columns and constant text to lines: padded with NUL to equal widths, then squeezed."""
    count = len(columns["sku"])
    kinds = [np.dtype(f"S{len(x)}") if isinstance(x, bytes) else columns[x].dtype for x in pieces]
    table = np.zeros(count, np.dtype([(f"f{i}", kind) for i, kind in enumerate(kinds)]))
    for i, piece in enumerate(pieces):
        table[f"f{i}"] = piece if isinstance(piece, bytes) else columns[piece]
    padded = table.view(np.uint8)
    return bytes(padded[padded != 0])


def _draw(lines: int, skus: int, random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield the columns as byte strings, shape (lines of a chunk,) each."""
    # Products: a code, a description and a price each, popular ones anywhere among the codes.
    code = np.array(
        [f"{10_000 + i}{'' if i % 4 else 'ABCD'[i // 4 % 4]}" for i in range(skus)], "S"
    )
    words = random.integers(len(WORDS), size=(skus, 4))
    description = np.array([" ".join(WORDS[w] for w in four) for four in words.tolist()], "S")
    price = np.array([f"{x:.2f}" for x in np.exp(random.normal(0.9, 0.8, skus)) + 0.1], "S")
    product = random.permutation(skus)
    until = np.cumsum(np.arange(1, skus + 1) ** -ZIPF)
    until /= until[-1]

    # Invoices: a second, a customer and a country each; they share out the lines.
    size = random.geometric(1 / LINES_PER_INVOICE, size=lines // LINES_PER_INVOICE * 2 + 100)
    end = np.cumsum(size)
    invoices = int(np.searchsorted(end, lines)) + 1
    end = end[:invoices]
    time = np.sort(random.integers(DAYS * 86_400, size=invoices))
    cancelled = random.random(invoices) < CANCELLED
    number = np.arange(536_365, 536_365 + invoices).astype("S")
    number = np.where(cancelled, np.char.add(b"C", number), number)
    known = random.random(invoices) < 0.75
    customer = np.where(known, random.integers(12_346, 18_288, invoices).astype("S5"), b"")
    country = np.array(COUNTRIES, "S")[random.choice(len(COUNTRIES), invoices, p=COUNTRY_SHARE)]
    day = np.datetime_as_string(START + np.arange(DAYS)).astype("S10")
    clock = itertools.product(range(24), range(60), range(60))
    second = np.array([f"{h:02}:{m:02}:{s:02}" for h, m, s in clock], "S8")

    low = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9])
    low_share = np.array([30, 18, 12, 10, 3, 15, 1, 8, 3]) / 100
    high = np.array([10, 12, 16, 20, 24, 36, 48, 72, 96, 144, 200, 480])
    high_share = np.array([16, 32, 5, 8, 20, 5, 7, 1, 3, 1, 1, 1]) / 100
    low_chance = (BELOW_TEN - CANCELLED) / (1 - CANCELLED)
    text = {value: str(value) for value in (*low, *-low, *high)}
    values = np.array(sorted(text))
    written = np.array([text[value] for value in values.tolist()], "S")

    for start in range(0, lines, CHUNK):
        count = min(CHUNK, lines - start)
        invoice = np.searchsorted(end, np.arange(start, start + count), side="right")
        sku = product[np.searchsorted(until, random.random(count))]
        few = random.choice(low, count, p=low_share)
        many = random.choice(high, count, p=high_share)
        quantity = np.where(random.random(count) < low_chance, few, many)
        quantity = np.where(cancelled[invoice], -few, quantity)
        yield {
            "invoice": number[invoice],
            "sku": code[sku],
            "description": description[sku],
            "quantity": written[np.searchsorted(values, quantity)],
            "day": day[time[invoice] // 86_400],
            "second": second[time[invoice] % 86_400],
            "price": price[sku],
            "customer": customer[invoice],
            "country": country[invoice],
        }


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: python bench/make_orders.py 1000000 orders.csv"
    )
    parser.add_argument("lines", type=int, nargs="?", default=1_000_000)
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        default=CACHE / "orders.csv",
        help="ends in .csv or .jsonl (default: bench/.cache/orders.csv)",
    )
    parser.add_argument("--skus", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.file.suffix not in (".csv", ".jsonl"):
        parser.error(f"FILE must end in .csv or .jsonl; got {str(options.file)!r}")
    options.file.parent.mkdir(parents=True, exist_ok=True)
    write_orders(options.file, options.lines, options.skus, options.seed)


if __name__ == "__main__":
    main()
