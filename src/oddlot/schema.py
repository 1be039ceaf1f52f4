"""Order lines, rejects and alerts: the typed records that flow through Oddlot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow

KINDS = ("sale", "return", "adjustment", "charge")
SALE, RETURN, ADJUSTMENT, CHARGE = range(4)

# The columns that an order line may have; the first three must be there.
ROLES = (
    "sku",
    "quantity",
    "time",
    "invoice",
    "price",
    "customer",
    "description",
    "country",
    "event",
)
REQUIRED_ROLES = ("sku", "quantity", "time")
TEXTS = ("invoice", "sku", "description", "customer", "country")

# One order line. Its texts lie in a byte heap: text is where the line's record starts there,
# and each *_at and *_size (both at most 65,535) say where a field lies within the record.
LINE = np.dtype(
    [
        ("time_us", "<i8"),  # event time, microseconds UTC
        ("quantity", "<i8"),  # units, negative when they come back
        ("price", "<f8"),  # of one unit; NaN where the source has no price
        ("position", "<i8"),  # byte offset of the record in its source
        ("text", "<i8"),  # offset of the record in the heap
        ("event", "<u8"),  # 64-bit hash of the event id; 0 where there is none
        ("number", "<i8"),  # line number in the source, from 1
        ("source", "<i4"),  # which source, dense from 0
        ("sku", "<i4"),  # dense SKU number; -1 until interned
        *((f"{name}_{part}", "<u2") for name in TEXTS for part in ("at", "size")),
        ("kind", "u1"),  # index into KINDS
        ("slow", "u1"),  # 1 where a text may hold the delimiter, quotes or line ends
    ],
    align=True,
)

LineArray = NDArray[np.void]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Lines(msgspec.Struct, frozen=True):
    """A batch of order lines and the heap that holds their texts.

    Attributes:
        line: shape (lines,), dtype LINE.
        text: shape (bytes,), the heap; UTF-8.
    """

    line: Any
    text: Any

    def __len__(self) -> int:
        return len(self.line)

    def read(self, index: int, name: str) -> str:
        """Read one text field, such as "invoice", of the line at `index`."""
        line = self.line[index]
        start = int(line["text"]) + int(line[f"{name}_at"])
        piece = self.text[start : start + int(line[f"{name}_size"])]
        return bytes(piece).decode("utf-8", "replace")


class Reject(msgspec.Struct, frozen=True):
    """A record that could not become a line.

    Attributes:
        source: the file or partition as the user knows it.
        position: byte offset of the record in its source.
        number: line number in the source, from 1.
        reason: what was expected and what was got.
        data: the record's bytes, cut at 256.
        size: how many bytes the record had.
    """

    source: str
    position: int
    number: int
    reason: str
    data: bytes
    size: int


class Alert(msgspec.Struct, frozen=True):
    """One finding, with its evidence; never changed afterwards.

    Attributes:
        id: 32 hex digits made of what the alert is about.
        detector: the detector's type.
        time_us: event time, microseconds UTC.
        sku: the SKU's code, or "*" for the whole shop.
        chance: probability of something at least this odd if nothing is wrong; NaN for a rule.
        rate: how many a day over the whole catalogue are at least this odd; NaN for a rule.
        score: -log10 of the rate; NaN for a rule.
        invoice, description, quantity, price: of the line that caused it.
        source, position, number: the line's place.
        evidence: the detector's own numbers, by name.
        text: one sentence.
        incident: the id of the incident that it belongs to.
        stake: money at risk; 0 where unknown.
        probability: that it is real, 0 to 1.
        severity: stake times probability: what it is worth to look.
    """

    id: str
    detector: str
    time_us: int
    sku: str
    chance: float
    rate: float
    score: float
    invoice: str
    description: str
    quantity: int
    price: float
    source: str
    position: int
    number: int
    evidence: dict[str, float]
    text: str
    incident: str = ""
    stake: float = 0.0
    probability: float = 0.0
    severity: float = 0.0


class Incident(msgspec.Struct):
    """Alerts with one cause: what a person works on. It grows while alerts join it.

    Attributes:
        id: that of its first alert.
        first_us, last_us: event times of its first and last alert, microseconds UTC.
        alerts: how many it has.
        skus, detectors: of its alerts, in the order of their coming.
        stake, probability, severity, text: those of its most severe alert.
        score: the highest of its alerts.
        reversed_us: when a return undid its line; None where none did.
        reversed_after_us: how long after the line that was.
        doubled: how many times its line was booked again within the hour.
        pair: the SKU that moved the other way by as much, one keystroke away; "" for none.
    """

    id: str
    first_us: int
    last_us: int
    alerts: int = 0
    skus: list[str] = []
    detectors: list[str] = []
    stake: float = 0.0
    probability: float = 0.0
    severity: float = 0.0
    score: float = 0.0
    text: str = ""
    reversed_us: int | None = None
    reversed_after_us: int = 0
    doubled: int = 0
    pair: str = ""


def order_schema() -> pyarrow.Schema:
    """Return the Arrow schema of archived order lines."""
    import pyarrow as pa

    return pa.schema(
        [
            ("time", pa.timestamp("us")),
            ("invoice", pa.string()),
            ("sku", pa.string()),
            ("description", pa.string()),
            ("quantity", pa.int64()),
            ("price", pa.float64()),
            ("customer", pa.string()),
            ("country", pa.string()),
            ("kind", pa.string()),
            ("source", pa.string()),
            ("position", pa.int64()),
            ("number", pa.int64()),
        ]
    )


def alert_schema() -> pyarrow.Schema:
    """Return the Arrow schema of archived alerts; evidence is JSON text."""
    import pyarrow as pa

    return pa.schema(
        [
            ("time", pa.timestamp("us")),
            ("id", pa.string()),
            ("detector", pa.string()),
            ("sku", pa.string()),
            ("chance", pa.float64()),
            ("rate", pa.float64()),
            ("score", pa.float64()),
            ("invoice", pa.string()),
            ("description", pa.string()),
            ("quantity", pa.int64()),
            ("price", pa.float64()),
            ("source", pa.string()),
            ("position", pa.int64()),
            ("number", pa.int64()),
            ("evidence", pa.string()),
            ("text", pa.string()),
            ("incident", pa.string()),
            ("stake", pa.float64()),
            ("probability", pa.float64()),
            ("severity", pa.float64()),
        ]
    )
