"""Lists as files: JSON, and CSV that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from oddlot.alerts.make import alert_row
from oddlot.config import Config
from oddlot.schema import Alert, Incident, Reject
from oddlot.web import pages
from oddlot.web.filters import View
from oddlot.web.inbox import Inbox
from oddlot.web.voice import Voice, level_of

MOST = 100_000  # rows of one file
# A spreadsheet runs what begins like this, some after blanks, quotes or in full width.
_FORMULA = re.compile(
    r"^[\s\x00-\x20\"'\u00a0\u200b\ufeff]*[=+\-@|%\uff1d\uff0b\uff0d\uff20]|^[\t\r\n\x00]"
)


def guarded(value: Any) -> Any:
    """Return a cell that stays a text: one that looks like a formula gets an apostrophe before."""
    if isinstance(value, str) and _FORMULA.match(value):
        return f"'{value}"
    return value


def csv_file(name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """Return rows as a CSV file; numbers stay numbers."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([guarded(value) for value in row] for row in rows)
    headers = {"content-disposition": f'attachment; filename="oddlot-{name}.csv"'}
    return Response(
        out.getvalue().encode("utf-8", "replace"), 200, headers, "text/csv; charset=utf-8"
    )


def json_file(body: Any) -> Response:
    """Return a value as JSON."""
    return Response(msgspec.json.encode(body), 200, None, "application/json")


def incident_cells(incident: Incident, edges: tuple[float, ...]) -> dict[str, Any]:
    """Return an incident as a flat row of plain values; times are microseconds UTC and text."""
    return {
        "id": incident.id,
        "level": level_of(incident.severity, edges),
        "severity": round(incident.severity, 2),
        "first": iso(incident.first_us),
        "last": iso(incident.last_us),
        "alerts": incident.alerts,
        "skus": " ".join(incident.skus),
        "detectors": " ".join(incident.detectors),
        "stake": round(incident.stake, 2),
        "probability": round(incident.probability, 4),
        "score": round(incident.score, 4),
        "reversed": iso(incident.reversed_us) if incident.reversed_us is not None else "",
        "doubled": incident.doubled,
        "pair": incident.pair,
        "text": incident.text,
    }


def alert_cells(alert: Alert) -> dict[str, Any]:
    """Return an alert as the alert files have it."""
    return alert_row(alert)


def iso(time_us: int) -> str:
    """Write an event time as a text that sorts."""
    import numpy as np

    return str(np.datetime64(time_us, "us"))[:19]


def rows_of(
    inbox: Inbox, name: str, view: View, voice: Voice, config: Config
) -> list[dict[str, Any]]:
    """Return a list as plain rows, all of it up to a limit."""
    if name == "inbox":
        edges = config.web.levels
        found, _ = inbox.find(view.wanted(edges), 0, MOST)
        return [incident_cells(one, edges) for one in found]
    if name == "sku" and view.code:
        return [alert_cells(one) for one in inbox.alerts(MOST, sku=view.code)]
    if name == "sku":
        found_skus, _ = inbox.skus(view.q, 0, MOST)
        names = ("sku", "product", "alerts", "newest", "severity")
        rows = [dict(zip(names, row, strict=True)) for row in found_skus]
        return [{**row, "newest": iso(row["newest"])} for row in rows]
    if name == "detectors":
        rows = pages.detectors(inbox, voice, config)
        return [
            {**row, "options": " ".join(f"{key}={value}" for key, value in row["options"])}
            for row in rows
        ]
    if name == "rejects":
        found_rejects, _ = inbox.find_rejects(view.q, 0, MOST)
        return [pages.reject_row(Reject(*row)) for row in found_rejects]
    flow = pages.flow(inbox, voice, inbox.folder)
    return [
        {"step": one["name"], "count": one["count"], "unit": one["unit"]} for one in flow["steps"]
    ]
