"""Alerts out of what streams and objects carry, checked once, here."""

from __future__ import annotations

import csv
import json
import math
from typing import Any, NamedTuple

from oddlot.errors import DataError
from oddlot.streams.kpl import unpack

# As `oddlot.alerts.make.alert_row` writes them, in its order; what else a record has stays behind.
TEXTS = (
    *("time", "sku", "type", "invoice", "description", "source", "id", "evidence", "text"),
    "incident",
)
NUMBERS = (
    *("score", "rate", "chance", "quantity", "price", "position", "number", "stake"),
    *("probability", "severity"),
)
COLUMNS = (
    *("time", "sku", "type", "score", "rate", "chance", "invoice", "description", "quantity"),
    *("price", "source", "position", "number", "id", "evidence", "text", "incident", "stake"),
    *("probability", "severity"),
)
_WHOLE = {"quantity", "position", "number"}
_LONGEST = {"description": 1000, "evidence": 20_000, "text": 4000}
_LONGEST_TEXT = 500
_LONGEST_ID = 200


class Alert(NamedTuple):
    """An alert as it goes out.

    Attributes:
        id: what tells it from every other; the same when it comes again.
        severity: what it is worth, in the shop's currency; >= 0.
        row: the columns that it has.
    """

    id: str
    severity: float
    row: dict[str, Any]


def read_record(data: bytes) -> tuple[list[Alert], list[str]]:
    """Read the alerts of one Kinesis record: one, one a line, or packed by the KPL.

    Returns:
        The alerts, and what is wrong with those that cannot be read.
    """
    alerts: list[Alert] = []
    problems: list[str] = []
    packed = unpack(data)
    for piece in [data] if packed is None else [content for _, content in packed]:
        lines = [line for line in piece.splitlines() if line.strip()]
        if not lines:
            problems.append("the record must hold an alert; got nothing")
        elif len(lines) > 1 and piece.lstrip()[:1] == b"{" and lines[0].strip() == b"{":
            lines = [piece]  # one object written over several lines
        for line in lines:
            try:
                alerts.append(read_alert(line))
            except DataError as error:
                problems.append(str(error))
    return alerts, problems


def read_alert(line: bytes) -> Alert:
    """Read an alert: a JSON object, or CSV with all columns in their order.

    Raises:
        DataError: it is none. The text quotes nothing of it.
    """
    if line.lstrip()[:1] == b"{":
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError("an alert must be JSON; got something else") from None
        return make_alert(row)
    try:
        cells = next(csv.reader([line.decode()]), [])
    except (ValueError, csv.Error):
        raise DataError("an alert must be JSON or CSV; got something else") from None
    if len(cells) != len(COLUMNS):
        raise DataError(f"an alert must have {len(COLUMNS)} columns in CSV; got {len(cells)}")
    return make_alert(dict(zip(COLUMNS, cells, strict=True)), is_text=True)


def make_alert(row: dict[str, Any], *, is_text: bool = False) -> Alert:
    """Check a row and make an alert of it; columns that are not an alert's stay behind.

    Args:
        row: by column.
        is_text: numbers are texts, as in CSV.

    Raises:
        DataError: it is no alert. The text quotes nothing of it.
    """
    name = row.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID or not name.isprintable():
        raise DataError(f"id must be a text of 1 to {_LONGEST_ID} characters; got something else")
    kept: dict[str, Any] = {}
    for column in COLUMNS:
        value = row.get(column)
        if value is None:
            continue
        if column in NUMBERS:
            kept[column] = _read_number(column, value, is_text=is_text)
        elif not isinstance(value, str):
            raise DataError(f"{column} must be a text; got something else")
        else:
            longest = _LONGEST.get(column, _LONGEST_TEXT)
            kept[column] = value if len(value) <= longest else value[: longest - 3] + "..."
    severity = kept.get("severity") or 0
    return Alert(name, max(float(severity), 0.0), kept)


def _read_number(column: str, value: object, *, is_text: bool) -> float | int | None:
    if is_text and isinstance(value, str):
        try:
            value = (int(value) if column in _WHOLE else float(value)) if value else None
        except ValueError:
            raise DataError(f"{column} must be a number; got something else") from None
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise DataError(f"{column} must be a number; got something else")
    return value
