"""Decoding the obvious way: records by a pattern, each read by the slow path; and odd inputs."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterable
from typing import Any

from oddlot.decode.decoder import Decoder
from oddlot.decode.intern import SkuTable
from oddlot.decode.reading import Reading
from oddlot.decode.record import read_record
from oddlot.decode.scan import hash_text
from oddlot.errors import DataError
from oddlot.schema import TEXTS, Reject

LONGEST = 65_536
COLUMNS = {
    "sku": "StockCode",
    "quantity": "Quantity",
    "time": "InvoiceDate",
    "invoice": "InvoiceNo",
    "price": "UnitPrice",
    "customer": "CustomerID",
    "description": "Description",
    "country": "Country",
    "event": "EventId",
}
SOURCE = 7

# One line as a tuple: texts, numbers, kind, event, place.
Row = tuple[Any, ...]


def split(data: bytes, reading: Reading) -> Iterable[tuple[int, int, bytes]]:
    """Yield the position, line number and bytes of each record that is not blank."""
    at, number = 0, 1
    while at < len(data):
        if reading.format == "csv":
            end = _csv_end(data, at, reading.delimiter.encode())
            after = end + len(re.compile(rb"\r\n|\r|\n|$").match(data, end)[0])  # type: ignore[index]
        else:
            found = data.find(b"\n", at)
            end, after = (found, found + 1) if found >= 0 else (len(data), len(data))
            if found > at and data[found - 1 : found] == b"\r":
                end -= 1
        if end > at:
            yield at, number, data[at:end]
        lines = re.findall(rb"\r\n|\r|\n" if reading.format == "csv" else rb"\n", data[at:after])
        number += len(lines)
        at = after


def _csv_end(data: bytes, at: int, delimiter: bytes) -> int:
    rest = rb"[^%b\r\n]*+" % re.escape(delimiter)
    field = rb'(?>"(?:[^"]|"")*+"%b|[^"%b\r\n]%b|)' % (rest, re.escape(delimiter), rest)
    record = re.compile(rb"%b(?:%b%b)*+" % (field, re.escape(delimiter), field), re.DOTALL)
    end = record.match(data, at, at + LONGEST + 1).end()  # type: ignore[union-attr]
    if end - at <= LONGEST and (end == len(data) or data[end : end + 1] in (b"\r", b"\n")):
        return end
    found = re.compile(rb"[\r\n]").search(data, at)
    return found.start() if found else len(data)


def expect(data: bytes, reading: Reading) -> tuple[list[Row], list[Reject]]:
    """Return the lines and rejects of a source."""
    rows: list[Row] = []
    rejects = []
    for position, number, record in split(data, reading):
        try:
            fields = read_record(record, reading)
        except DataError as error:
            rejects.append(
                Reject("orders", position, number, str(error), record[:256], len(record))
            )
            continue
        texts = [getattr(fields, name) for name in TEXTS]
        price = None if math.isnan(fields.price) else fields.price
        event = hash_text(fields.event.encode()) | 1 if fields.event else 0
        numbers = (fields.time_us, fields.quantity, price, fields.kind, event)
        rows.append((*texts, *numbers, position, number, SOURCE))
    return rows, rejects


def decode(
    chunks: list[bytes], reading: Reading, restart: Callable[[int], bool] = lambda index: False
) -> tuple[list[Row], list[Reject]]:
    """Return the lines and rejects that Decoder and SkuTable make of a source cut into chunks."""
    decoder, skus = Decoder(reading, "orders", SOURCE), SkuTable(reading.kinds)
    rows: list[Row] = []
    rejects: list[Reject] = []
    for index, chunk in enumerate(chunks):
        for decoded in decoder.feed(chunk, index == len(chunks) - 1):
            skus.intern(decoded.lines)
            rejects += decoded.rejects
            for i, line in enumerate(decoded.lines.line):
                texts = [_read(decoded.lines, i, name) for name in TEXTS]
                assert skus.code(int(line["sku"])) == texts[1]
                if not line["slow"]:
                    assert not set("".join(texts)) & {reading.delimiter, '"', "\r", "\n"} or (
                        reading.format == "jsonl"
                    )
                price = None if math.isnan(line["price"]) else float(line["price"])
                numbers = [int(line[name]) for name in ("time_us", "quantity")]
                numbers += [price, int(line["kind"]), int(line["event"])]  # type: ignore[list-item]
                place = [int(line[name]) for name in ("position", "number", "source")]
                rows.append((*texts, *numbers, *place))
        if restart(index):
            numbers_saved, tail = decoder.save()
            decoder = Decoder(reading, "orders", SOURCE)
            decoder.restore(numbers_saved, tail.copy())
            saved = skus.save()
            skus = SkuTable(reading.kinds)
            skus.restore(saved)
    return rows, rejects


def _read(lines: Any, index: int, name: str) -> str:
    line = lines.line[index]
    start = int(line["text"]) + int(line[f"{name}_at"])
    return bytes(lines.text[start : start + int(line[f"{name}_size"])]).decode()


def difference(data: bytes, reading: Reading, chunks: list[bytes], restarts: bool) -> str:
    """Say how decoding differs from what is expected; nothing where it does not."""
    expected, expected_rejects = expect(data, reading)
    rows, rejects = decode(chunks, reading, lambda index: restarts)
    for got, want in zip(rows, expected, strict=False):
        if got != want:
            return f"line: got {got}, want {want}"
    for got_reject, want_reject in zip(rejects, expected_rejects, strict=False):
        if got_reject != want_reject:
            return f"reject: got {got_reject}, want {want_reject}"
    if len(rows) != len(expected) or len(rejects) != len(expected_rejects):
        extra = (rows[len(expected) :] or expected[len(rows) :])[:1]
        more = (rejects[len(expected_rejects) :] or expected_rejects[len(rejects) :])[:1]
        return (
            f"count: got {len(rows)} and {len(rejects)}, want {len(expected)} and "
            f"{len(expected_rejects)}; {extra} {more}"
        )
    return ""


# What a field may hold, likely and odd.
TEXT = (
    *("85123A", "22423", "POST", "post", "gift_0001_20", "C536365", "536365", "17850", "", "M"),
    *("Camisón", "Ω", "日本", "a" * 9, "b" * 17, " 1", "x'y", "tab\there", "del\x7f", "\x01"),
    *('He said "hi"', "a,b", "a;b", "two\nlines", "cr\rhere", "crlf\r\nhere", '"', '""', "NUL\0"),
    *("\ufeffbom", "Kelvin \u212a", "\u212a", "İ", "straße", "back\\slash", "😀", "United Kingdom"),
)
QUANTITY = (
    *("6", "-12", "0", "1", "+5", "007", "6.0", "6.", "1,5", "1e3", "٣", str(2**70), "12345678"),
    *("123456789", "2147483647", "2147483648", "-2147483648", " 6 ", "", "-", "+", "--1", "6x"),
    *("-80995", "00000006", "1 2", "\uff16", "-0", "99999999", "6\t", ":", "/"),
)
PRICE = (
    *("2.55", "0", "0.0", ".5", "5.", ".", "", "-11062.06", "1e3", "1,5", "+5", "+5.5", "38970"),
    *("0.001", "12345678", "1234567.8", "123456789.01", "0.1234567890123456", "-0", "-.5", "1..2"),
    *("99999999.9", "999999999999999", "9999999999999999", " 2.5", "NaN", "inf", "2.5.", "-", "-."),
    *("1.5-", "0.30", "1/2", "1:2"),
)
TIME = (
    *("2010-12-01 08:26:00", "2010-12-01T08:26", "2010-12-01 08:26", "2010-12-01", "", "garbage"),
    *("2010-12-01T08:26:00Z", "2010-12-01T08:26:00+02:00", "2010-12-01 08:26:00.123456"),
    *("12/1/2010 8:26", "1/12/2010 08:26:59", "13/1/2010 8:26", "1/13/2010 8:26", "12/1/2010"),
    *("12-1-2010 8:26", "1.12.2010 8:26", "2/29/2011 8:26", "29/2/2012 8:26", "12/1/2010 24:00"),
    *("2011-02-29 00:00:00", "2010-13-01 00:00:00", "1899-12-31 00:00:00", "2201-01-01 00:00:00"),
    *("2200-12-31 23:59:59", "2010-12-01 23:59:60", "2010-12-01 8:26", " 2010-12-01 08:26:00"),
    *("2010/12/01 08:26:00", "2010-12-01t08:26:00", "1/1/10 8:26", "12/1/2010  8:26"),
    *("123/1/2010 8:26", "12/1/2010 8:2", "12/1/2010 8:26:0", "12/1/2010 08:26:00 "),
    *("1293840000", "1293840000000", "12/1/2010T8:26", "-2010-12-01 08:26", "12/1/-2010 8:26"),
    *("٣/1/2010 8:26", "2010-12-0108:26"),
)  # fmt: skip
VALUES = {"quantity": QUANTITY, "time": TIME, "price": PRICE}
_PLAIN = {"quantity": QUANTITY[:4], "time": TIME[:3] + TIME[9:10], "price": PRICE[:2]}
_DAMAGE = (
    *(b"", b'"', b'""', b"\r", b"\n", b"\r\n", b"\0", b",", b"\xff", b"\xc3\xb3", b"\xe9", b"null"),
    *(b"\xef\xbb\xbf", b"\\", b"{", b"}", b"\xc3", b"\t", b" ", b"9", b'",', b',"'),
)
_ENDS = ("\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "\r\r\n")


def make_reading(random: random.Random) -> Reading:
    """Make a reading of some of the columns, in any order."""
    roles = ["sku", "quantity", "time"]
    roles += random.sample(list(COLUMNS)[3:], random.randrange(7))
    if random.random() < 0.5:
        roles = list(COLUMNS)[:8]
    random.shuffle(roles)
    columns = {role: COLUMNS[role] for role in COLUMNS if role in roles}
    header = [COLUMNS[role] for role in roles] + ["Other"] * (random.random() < 0.2)
    kind = random.choice(["csv", "jsonl"])
    if random.random() < 0.05 and "description" in columns:
        columns["description"] = columns["sku"]
    return Reading(
        format=kind,
        columns=columns,
        header=tuple(header) if kind == "csv" else (),
        delimiter=random.choice(",,,;\t|"),
        encoding=random.choice(["auto", "auto", "utf-8", "iso-8859-1"]),
        dates=random.choice(["iso", "month-first", "day-first"]),
    )


def make_data(random: random.Random, reading: Reading, records: int) -> bytes:
    """Make a source: plain and odd records, perhaps damaged."""
    oddness = random.choice([0.0, 0.02, 0.2, 0.6])
    end = random.choice(_ENDS[:3])
    latin = random.random() < 0.3
    keys = list(reading.header) or list(dict.fromkeys(reading.columns.values()))
    roles = {column: role for role, column in reading.columns.items()}
    spacing = random.choice([(",", ":"), (", ", ": "), (" , ", " :")])
    pieces = []
    for _ in range(records):
        values = {}
        for key in keys:
            role = roles.get(key, "other")
            choices = VALUES if random.random() < oddness else _PLAIN
            values[key] = random.choice(choices.get(role, TEXT if choices is VALUES else TEXT[:9]))
        if reading.format == "csv":
            text = reading.delimiter.join(
                _csv_field(value, reading.delimiter, random, oddness) for value in values.values()
            )
        else:
            text = _json_record(values, roles, random, oddness, spacing)
        pieces.append(text + (end if random.random() > oddness / 4 else random.choice(_ENDS)))
    data = "".join(pieces).encode("iso-8859-1" if latin else "utf-8", "replace")
    if random.random() < 0.3:
        data = data.rstrip(b"\r\n")
    if random.random() < 0.5:
        data = damage(random, data)
    return data


def damage(random: random.Random, data: bytes) -> bytes:
    """Change, drop, repeat or add bytes in a few places."""
    damaged = bytearray(data)
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(damaged) + 1)
        size = random.choice([1, 1, 1, 2, 5, 40])
        new = random.choice(_DAMAGE)
        choice = random.randrange(3)
        if choice == 0:
            damaged[at:at] = new
        elif choice == 1:
            damaged[at : at + size] = new
        else:
            damaged[at:at] = damaged[at : at + size]
    return bytes(damaged)


def cut(random: random.Random, data: bytes) -> list[bytes]:
    """Cut bytes into chunks, some of them empty."""
    count = random.choice([0, 0, 1, 3, 10])
    places = sorted(random.randrange(len(data) + 1) for _ in range(count))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def _csv_field(value: str, delimiter: str, random: random.Random, oddness: float) -> str:
    if random.random() < oddness / 8:
        return random.choice(
            ['"' + value, value + '"', f'"{value}" ', f' "{value}"', f'"{value}"x"']
        )
    if any(c in value for c in f'{delimiter}"\r\n') or random.random() < oddness / 4:
        return '"' + value.replace('"', '""') + '"' if random.random() > oddness / 8 else value
    return value


def _json_record(
    values: dict[str, str], roles: dict[str, str], random: random.Random, oddness: float,
    spacing: tuple[str, str],
) -> str:  # fmt: skip
    parts = []
    for key, value in values.items():
        role = roles.get(key)
        if role in ("quantity", "price") or random.random() < oddness / 8:
            raw = value if random.random() > oddness / 4 else json.dumps(value)
        elif random.random() < oddness / 4:
            raw = random.choice(
                ["null", "17850", "17850.0", "true", "-0", "[]", "1e2", "007", "nul"]
            )
        elif role == "time" and value.isdigit() and random.random() < 0.7:
            raw = value
        else:
            raw = json.dumps(value, ensure_ascii=random.random() < 0.3)
        if random.random() > oddness / 16:
            parts.append(json.dumps(key) + spacing[1] + raw)
    if random.random() < oddness / 8:
        random.shuffle(parts)
    return "{" + spacing[0].join(parts) + "}"
