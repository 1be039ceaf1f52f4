"""The simulated shop as files: orders in CSV or JSON Lines, and the labels of its faults."""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from oddlot.errors import ConfigError
from oddlot.schema import Ints, LineArray
from oddlot.simulate.draws import Draws
from oddlot.simulate.faults import Changes, Fault, apply_changes
from oddlot.simulate.planting import plan_faults
from oddlot.simulate.shop import DAY_US, Shop
from oddlot.simulate.trading import Trading
from oddlot.simulate.vocabulary import COUNTRIES, NOTES

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
LABEL_COLUMNS = ("id", "type", "sku", "start", "end", "level")
FORMATS = ("csv", "jsonl")
_FIRST_INVOICE = 536_365
_FIRST_CUSTOMER = 12_346
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Orders:
    """The order lines of a simulated shop; iterating gives one array a day, and can be repeated.

    Arrays have the dtype `SHOP_LINE` and are in order of time and invoice.
    """

    def __init__(self, trading: Trading, changes: dict[int, Changes]) -> None:
        self.goods = trading.goods
        self.shop = trading.shop
        self.days = trading.days
        self._trading = trading
        self._changes = changes

    def __iter__(self) -> Iterator[LineArray]:
        number = _FIRST_INVOICE
        for trade in self._trading:
            lines = trade.lines
            if trade.day.index in self._changes:
                changes = self._changes[trade.day.index]
                lines = apply_changes(lines, changes, self.goods.skus)
            number = self._give_numbers(lines, trade.day.index, number)
            yield lines

    def text(self, file_format: str = "csv") -> Iterator[bytes]:
        """Return the lines as UTF-8, one piece a day; for CSV the header comes first.

        Raises:
            ConfigError: the format is not known.
        """
        if file_format not in FORMATS:
            raise ConfigError(
                f"simulate: format must be one of: {', '.join(FORMATS)}; got '{file_format}'"
            )
        return self._csv() if file_format == "csv" else self._jsonl()

    def _csv(self) -> Iterator[bytes]:
        yield f"{','.join(COLUMNS)}\n".encode()
        texts = [_quote(text) for text in self.goods.descriptions]
        for lines in self:
            rows = [
                f"{invoice},{sku},{description},{quantity},{time},{price},{customer},{country}\n"
                for invoice, sku, description, quantity, time, price, customer, country in (
                    self._fields(lines, texts)
                )
            ]
            yield "".join(rows).encode()

    def _jsonl(self) -> Iterator[bytes]:
        texts = [json.dumps(text, ensure_ascii=False)[1:-1] for text in self.goods.descriptions]
        for lines in self:
            rows = [
                f'{{"InvoiceNo":"{invoice}","StockCode":"{sku}","Description":"{description}",'
                f'"Quantity":{quantity},"InvoiceDate":"{time}","UnitPrice":{price},'
                f'"CustomerID":"{customer}","Country":"{country}"}}\n'
                for invoice, sku, description, quantity, time, price, customer, country in (
                    self._fields(lines, texts)
                )
            ]
            yield "".join(rows).encode()

    def _fields(self, lines: LineArray, texts: list[str]) -> Iterable[tuple[object, ...]]:
        """Return the texts of each line's fields, in the order of COLUMNS."""
        codes = self.goods.codes
        countries = [name for name, _ in COUNTRIES]
        numbers = zip(lines["is_return"].tolist(), lines["number"].tolist(), strict=True)
        skus = lines["sku"].tolist()
        notes = zip(skus, lines["note"].tolist(), strict=True)
        customers = lines["customer"].tolist()
        prices = {pence: _price(pence) for pence in np.unique(lines["pence"]).tolist()}
        return zip(
            [f"C{number}" if is_return else number for is_return, number in numbers],
            [codes[sku] for sku in skus],
            [texts[sku] if note < 0 else NOTES[note] for sku, note in notes],
            lines["quantity"].tolist(),
            self._times(lines["time_us"]),
            [prices[pence] for pence in lines["pence"].tolist()],
            ["" if customer < 0 else _FIRST_CUSTOMER + customer for customer in customers],
            [countries[country] for country in lines["country"].tolist()],
            strict=True,
        )

    def _times(self, time_us: Ints) -> list[str]:
        distinct, place = np.unique(time_us, return_inverse=True)
        is_iso = self.shop.dates == "iso"
        show = _iso if is_iso else _month_first
        texts = [show(moment) for moment in distinct.tolist()]
        return [texts[at] for at in place.tolist()]

    def _give_numbers(self, lines: LineArray, day: int, number: int) -> int:
        """Number a day's invoices in order of time, with the gaps that tills leave."""
        _, first, place = np.unique(lines["invoice"], return_index=True, return_inverse=True)
        gap = 1 + Draws(self.shop.seed, 3, day).whole(3, len(first)) // 2
        order = np.argsort(first, kind="stable")
        given = np.zeros(len(first), np.int64)
        given[order] = number + np.cumsum(gap) - gap
        lines["number"] = given[place]
        return number + int(np.sum(gap))


class Written(msgspec.Struct, frozen=True):
    """What `write_shop` wrote.

    Attributes:
        orders, labels: the files.
        lines: how many order lines.
        faults: what was planted.
    """

    orders: Path
    labels: Path
    lines: int
    faults: list[Fault]


def simulate(shop: Shop) -> tuple[Orders, list[Fault]]:
    """Simulate a shop: its order lines and the labels of the faults among them.

    Lines are made while they are read, a day at a time, so that memory does not grow with
    the days.

    Raises:
        ConfigError: an option of the shop is out of range.
    """
    trading = Trading(shop)
    faults, changes = plan_faults(trading)
    return Orders(trading, changes), faults


def write_shop(shop: Shop, folder: Path | str, file_format: str = "csv") -> Written:
    """Simulate a shop into `orders.csv` (or `orders.jsonl`) and `labels.csv`.

    Raises:
        ConfigError: an option is out of range, or the folder cannot be written.
    """
    orders, faults = simulate(shop)
    pieces = orders.text(file_format)
    folder = Path(folder)
    path, labels = folder / f"orders.{file_format}", folder / "labels.csv"
    count = 0 if file_format == "jsonl" else -1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                count += piece.count(b"\n")
        labels.write_bytes(labels_csv(faults))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from None
    return Written(path, labels, count, faults)


def labels_csv(faults: Iterable[Fault]) -> bytes:
    """Return faults as CSV with the columns id, type, sku, start, end and level."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(LABEL_COLUMNS)
    for fault in faults:
        times = _iso(fault.start_us), _iso(fault.end_us)
        writer.writerow((fault.id, fault.type, fault.sku, *times, fault.level))
    return out.getvalue().encode()


def read_labels(path: Path | str) -> list[Fault]:
    """Read the faults back from a `labels.csv`.

    Raises:
        ConfigError: the file cannot be read, or is no labels file.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    faults: list[Fault] = []
    for line, row in enumerate(rows, start=2):
        try:
            start_us, end_us = _microseconds(row["start"]), _microseconds(row["end"])
            fault = Fault(int(row["id"]), row["type"], row["sku"], start_us, end_us, row["level"])
        except (KeyError, TypeError, ValueError):
            raise ConfigError(
                f"{path}: line {line} must have {', '.join(LABEL_COLUMNS)}; "
                f"got {', '.join(str(value) for value in row.values())}"
            ) from None
        faults.append(fault)
    return faults


def _quote(text: str) -> str:
    """Quote a CSV field where it needs that."""
    if "," in text or '"' in text:
        doubled = text.replace('"', '""')
        return f'"{doubled}"'
    return text


def _price(pence: int) -> str:
    """Write a price without trailing zeros: 2.1, 25, 0."""
    pounds, rest = divmod(pence, 100)
    if rest == 0:
        return str(pounds)
    return f"{pounds}.{rest:02d}".rstrip("0")


def _iso(time_us: int) -> str:
    moment = _EPOCH + datetime.timedelta(microseconds=time_us)
    return moment.replace(tzinfo=None).isoformat(sep=" ")


def _month_first(time_us: int) -> str:
    """Write a time as Online Retail does, with seconds only where there are some."""
    day, within = divmod(time_us, DAY_US)
    date = _EPOCH + datetime.timedelta(days=day)
    minutes, rest_us = divmod(within, 60_000_000)
    seconds = f":{rest_us // 1_000_000:02d}" if rest_us else ""
    return f"{date.month}/{date.day}/{date.year} {minutes // 60}:{minutes % 60:02d}{seconds}"


def _microseconds(text: str) -> int:
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    return (moment - _EPOCH) // datetime.timedelta(microseconds=1)
