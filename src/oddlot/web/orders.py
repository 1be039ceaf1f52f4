"""The order lines around an incident, from the archive and from what waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from oddlot.report.collect import DAY_US
from oddlot.report.series import AFTER, BEFORE, SLOT_US, WHOLE_SHOP, Row, Track
from oddlot.schema import KINDS, Alert, Lines, order_schema
from oddlot.stored import Stored

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = date(1970, 1, 1)
_MOST_FILES = 2_000  # read for one chart: those nearest to the alert
_MOST_LINES = 5_000_000  # of the whole shop
_MOST_STATE = 1 << 26  # bytes of a checkpoint that is looked into for lines not archived yet
_FEWEST, _AT = 6, 12  # lines before and after, and at the time of an alert
_DAY = np.dtype([("kind", "u1"), ("quantity", "<i8"), ("price", "<f8")])


class ArchivedTrack(Track):
    """A track of the report's that is filled from a table.

    Attributes:
        is_cut: whether there were more files or lines than are read for one page.
    """

    is_cut = False

    def fill(self, table: pa.Table) -> None:
        """Count lines of this SKU, or of the whole shop, or keep those of two invoices.

        Args:
            table: in the archive's schema, in event-time order.
        """
        time_us = _times(table)
        if self.is_basket:
            self._keep_baskets(table, time_us)
            return
        day = time_us // DAY_US - self.first
        is_near = (day >= 0) & (day < len(self.days))
        if not is_near.all():
            where = np.flatnonzero(is_near)
            table, time_us, day = table.take(where), time_us[where], day[where]
        line = np.zeros(len(table), _DAY)
        line["kind"] = _kinds(table)
        line["quantity"] = table["quantity"].to_numpy()
        line["price"] = table["price"].to_numpy()
        self.count(line, day)
        if self.sku == WHOLE_SHOP:
            slot = time_us // SLOT_US - self.first_slot
            np.add.at(self.slots, slot[(slot >= 0) & (slot < len(self.slots))], 1)
            return
        at = int(np.searchsorted(time_us, self.time_us, "left"))
        end = int(np.searchsorted(time_us, self.time_us, "right"))
        self._before.extend(_rows(table.slice(max(0, at - _FEWEST), min(at, _FEWEST))))
        self._at += _rows(table.slice(at, min(end - at, _AT)))
        self._after += _rows(table.slice(end, _FEWEST))

    def _keep_baskets(self, table: pa.Table, time_us: Any) -> None:
        for row in _rows(table.take(np.flatnonzero(time_us == self.time_us))):
            if row.invoice == self._invoice and len(self._at) < _AT:
                self._at.append(row)
        for row in _rows(table.take(np.flatnonzero(time_us == self._then_us))):
            if row.invoice != self._invoice:
                self._then.append(row)

    def times(self) -> list[int]:
        """Return the instants that a track of an invoice is about, microseconds UTC."""
        return sorted({self.time_us, self._then_us})


def track_of(alert: Alert, archive: Path | None, stored: Stored) -> ArchivedTrack | None:
    """Return the lines around an alert; None where no archive is kept, or it has none yet."""
    if archive is None:
        return None
    days = archived_days(archive)
    pending = pending_lines(stored)
    if pending is not None and len(pending):
        edges = _times(pending) // DAY_US
        days = sorted({*days, int(edges.min()), int(edges.max())})
    if not days:
        return None
    track = ArchivedTrack(alert, days[0], days[-1])
    at = alert.time_us // DAY_US
    if track.is_basket:
        wanted = list({time_us // DAY_US for time_us in track.times()})
    else:
        wanted = [day for day in days if at - BEFORE <= day <= at + AFTER]
    table, track.is_cut = _read(archive, sorted(wanted, key=lambda day: abs(day - at)), track)
    if pending is not None and len(pending):
        table = _join([table, _only(pending, track)])
    track.fill(table)
    return track


def archived_days(archive: Path) -> list[int]:
    """Return the days that the archive has lines of, days since 1970, rising."""
    days = []
    for folder in (archive / "orders").glob("date=*"):
        try:
            days.append((date.fromisoformat(folder.name[5:]) - _EPOCH).days)
        except ValueError:
            continue
    return sorted(days)


def pending_lines(stored: Stored) -> pa.Table | None:
    """Return lines that were scored and are not in the archive yet; None where it costs too much.

    The engine writes files of ten minutes; until then the lines lie in its checkpoint.
    """
    newest = max(stored.folder.glob("rows-*.bin"), default=None)
    try:
        if newest is None or newest.stat().st_size > _MOST_STATE:
            return None
    except FileNotFoundError:  # the engine has gone on meanwhile
        return None
    saved = stored.load()
    if saved is None or not len(saved.arrays.get("orders", ())):
        return None
    from oddlot.arrow import order_table

    names = [one["name"] for one in msgspec.json.decode(saved.meta)["sources"]]
    return order_table(Lines(saved.arrays["orders"], saved.arrays["orders_text"]), names)


def _read(archive: Path, days: Sequence[int], track: ArchivedTrack) -> tuple[pa.Table, bool]:
    """Read the lines that a track wants of some days, nearest first."""
    from pyarrow import ArrowInvalid, parquet

    tables: list[pa.Table] = []
    files = lines = 0
    columns = order_schema().names
    if track.sku == WHOLE_SHOP and not track.is_basket:
        columns = ["time", "kind", "quantity", "price"]
    for day in days:
        folder = archive / "orders" / f"date={_EPOCH + timedelta(days=day)}"
        for file in sorted(folder.glob("*.parquet")):
            if files >= _MOST_FILES or lines >= _MOST_LINES:
                return _join(tables), True
            files += 1
            try:
                # Not as a data set, whose partition would be one column more.
                table = parquet.read_table(
                    file, columns=columns, filters=_filter(track), partitioning=None
                )
            except (FileNotFoundError, ArrowInvalid):
                continue  # set aside by a restart, or damaged: `oddlot query` says which
            lines += len(table)
            if len(table):
                tables.append(table)
    return _join(tables), False


def _filter(track: ArchivedTrack) -> Any:
    import pyarrow as pa
    from pyarrow import compute

    if track.is_basket:
        times = pa.array(track.times()).cast(pa.timestamp("us"))
        return compute.field("time").isin(times)
    return None if track.sku == WHOLE_SHOP else compute.field("sku") == track.sku


def _only(table: pa.Table, track: ArchivedTrack) -> pa.Table:
    wanted = _filter(track)
    return table if wanted is None else table.filter(wanted)


def _join(tables: Sequence[pa.Table]) -> pa.Table:
    import pyarrow as pa

    if not tables:
        return order_schema().empty_table()
    fewest = min((table.schema.names for table in tables), key=len)
    whole = pa.concat_tables([table.select(fewest) for table in tables])
    return whole.take(np.argsort(_times(whole), kind="stable"))


def _times(table: pa.Table) -> Any:
    import pyarrow as pa

    return table["time"].cast(pa.int64()).to_numpy()


def _kinds(table: pa.Table) -> Any:
    import pyarrow as pa
    from pyarrow import compute

    return compute.index_in(table["kind"], pa.array(KINDS)).to_numpy().astype(np.uint8)


def _rows(table: pa.Table) -> list[Row]:
    times = _times(table).tolist()
    return [
        Row(
            *(time_us, one["invoice"], one["sku"], one["description"], one["quantity"]),
            *(one["price"], one["kind"], one["source"], one["position"], one["number"]),
        )
        for time_us, one in zip(times, table.to_pylist(), strict=True)
    ]
