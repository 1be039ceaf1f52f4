"""What the pages ask of the store: incidents by filter, one incident, counts; all read only."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from oddlot import tables
from oddlot.errors import ConfigError
from oddlot.schema import Alert, Incident
from oddlot.stored import DATABASE, Stored

PAGE = 50  # incidents on one page
_NO_TIME = -(1 << 62)  # event times before this are no times: nothing came yet


class Wanted(msgspec.Struct, frozen=True):
    """Which incidents a list shows.

    Attributes:
        text: stands in the sentence or in the product's name; "" for any.
        sku, detector: of one of its alerts; "" for any.
        least: severity, at least.
        most: severity, below; None for no limit.
        since_us, until_us: it was going on then, until not included; with a detector: one of that
            detector's alerts is in that time. None for any.
        by_time: the newest first, not the most severe.
    """

    text: str = ""
    sku: str = ""
    detector: str = ""
    least: float = 0.0
    most: float | None = None
    since_us: int | None = None
    until_us: int | None = None
    by_time: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the index that gives the order also finds what fits."""
        is_open = not (self.text or self.sku or self.detector)
        is_any_time = self.since_us is None and self.until_us is None
        has_level = self.least > 0 or self.most is not None
        return is_open and is_any_time and not (self.by_time and has_level)


class Beat(NamedTuple):
    """What detectors found in one cell of time: how many incidents, and the worst severity."""

    incidents: int
    severity: float


class Snapshot(NamedTuple):
    """One saved checkpoint."""

    epoch: int
    file: str
    damaged: str | None


class _Clock(msgspec.Struct, frozen=True):
    newest_us: int = _NO_TIME
    floor_us: int = _NO_TIME
    late: dict[str, int] = {}
    duplicate: dict[str, int] = {}


class _Source(msgspec.Struct, frozen=True):
    name: str = ""


class Meta(msgspec.Struct, frozen=True):
    """What a checkpoint says of the stream; the rest of it is passed over unread.

    Attributes:
        time: newest event time and watermark, microseconds UTC; late and duplicate by source.
        sources: in the order of their numbers.
        read, scored, rejected: lines by source number.
    """

    time: _Clock = _Clock()
    sources: list[_Source] = []
    read: dict[str, int] = {}
    scored: dict[str, int] = {}
    rejected: dict[str, int] = {}

    @property
    def newest_us(self) -> int | None:
        """The newest event time; None before the first line."""
        return self.time.newest_us if self.time.newest_us > _NO_TIME else None

    @property
    def watermark_us(self) -> int | None:
        """Lines before it are final; None before the first line."""
        return self.time.floor_us if self.time.floor_us > _NO_TIME else None


class Inbox(Stored):
    """A state folder as the pages read it; one for each request, used by one thread."""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the folder for reading only.

        Raises:
            ConfigError: there is no state yet; StateError: it is damaged or another version's.
        """
        path = folder / DATABASE
        if not path.is_file():
            raise ConfigError(f"{folder}: must be a state folder; it has no {DATABASE}")
        connection = tables.connect(path, read_only=True)
        try:
            if tables.version(connection) == 0:
                raise ConfigError(f"{folder}: must be a state folder; nothing is in it yet")
            tables.check_version(connection, path)
        except BaseException:
            connection.close()
            raise
        return cls(folder, connection)

    def find(self, wanted: Wanted, offset: int, limit: int) -> tuple[list[Incident], int]:
        """Return one page of the incidents that fit, and how many there are in all."""
        tests, values = _tests(wanted)
        # Both orders are an index's own, read backwards; ids first, as whole rows are wide.
        order = f"{'last_us' if wanted.by_time else 'severity'} DESC, id DESC"
        where = " AND ".join(tests) or "true"
        if not wanted.is_plain:
            # One pass: to count them all must be found. The index would lead it to and fro.
            ids = (
                "WITH fitting AS MATERIALIZED (SELECT id, severity, last_us FROM incident"  # noqa: S608
                f" NOT INDEXED WHERE {where})"
                " SELECT id, (SELECT count(*) FROM fitting) FROM fitting"
                f" ORDER BY {order} LIMIT ? OFFSET ?"
            )
        else:
            ids = (
                f"SELECT id, (SELECT count(*) FROM incident WHERE {where})"  # noqa: S608
                f" FROM incident WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"
            )
            values = values * 2
        with self._translated():
            rows = self._sql.execute(ids, (*values, limit, offset)).fetchall()
            if not rows and offset:  # past the last page: how many there are is asked alone
                return [], self.find(wanted, 0, 1)[1]
        found = [self.incident(name) for name, _ in rows]
        return [one for one in found if one is not None], int(rows[0][1]) if rows else 0

    def incident(self, name: str) -> Incident | None:
        """Return one incident by its id."""
        text = f"SELECT {tables.INCIDENT_COLUMNS} FROM incident WHERE id = ?"  # noqa: S608
        with self._translated():
            row = self._sql.execute(text, (name,)).fetchone()
        return tables.read_incident(row) if row else None

    def alerts_of(self, incident: str, limit: int) -> list[Alert]:
        """Return an incident's alerts, the worst first."""
        text = (
            f"SELECT {tables.ALERT_COLUMNS} FROM alert WHERE incident = ?"  # noqa: S608
            " ORDER BY severity DESC, score DESC, id LIMIT ?"
        )
        with self._translated():
            rows = self._sql.execute(text, (incident, limit)).fetchall()
        return list(map(tables.read_alert, rows))

    def incidents_like(self, alert: Alert, limit: int) -> list[Incident]:
        """Return other incidents before an alert: of its SKU first, then of its detector."""
        found: list[str] = []
        for column, value in (("sku", alert.sku), ("detector", alert.detector)):
            text = (
                f"SELECT DISTINCT incident FROM alert WHERE {column} = ? AND time_us <= ?"  # noqa: S608
                " AND incident != ? ORDER BY time_us DESC LIMIT ?"
            )
            with self._translated():
                rows = self._sql.execute(text, (value, alert.time_us, alert.incident, limit))
                found += [name for (name,) in rows if name not in found]
        incidents = (self.incident(name) for name in found[:limit])
        return [incident for incident in incidents if incident is not None]

    def levels(
        self, edges: tuple[float, ...], since_us: int | None, until_us: int | None = None
    ) -> list[int]:
        """Count incidents by severity: below the first edge, between each two, above the last."""
        tests, values = _tests(Wanted(since_us=since_us, until_us=until_us))
        marks = ", ".join("coalesce(sum(severity >= ?), 0)" for _ in edges)
        text = (
            f"SELECT count(*), {marks} FROM incident NOT INDEXED"  # noqa: S608
            f" WHERE {' AND '.join(tests) or 'true'}"
        )
        with self._translated():
            above = self._sql.execute(text, (*edges, *values)).fetchone()
        return [int(more) - int(less) for more, less in zip(above, [*above[1:], 0], strict=True)]

    def lanes(self, since_us: int, until_us: int, cell_us: int) -> dict[str, dict[int, Beat]]:
        """Count incidents by detector and cell of time, as `find` would find them."""
        text = (
            "SELECT detector, (time_us - ?) / ? AS cell, count(DISTINCT incident), max(severity)"
            " FROM alert WHERE time_us >= ? AND time_us < ? GROUP BY detector, cell"
        )
        lanes: dict[str, dict[int, Beat]] = {}
        with self._translated():
            rows = self._sql.execute(text, (since_us, cell_us, since_us, until_us)).fetchall()
        for detector, cell, incidents, severity in rows:
            lanes.setdefault(detector, {})[int(cell)] = Beat(incidents, severity)
        return lanes

    def tallies(self) -> dict[str, tuple[int, int, float]]:
        """Return by detector how many alerts there are, the newest one's time, the best score."""
        text = "SELECT detector, count(*), max(time_us), max(score) FROM alert GROUP BY detector"
        with self._translated():
            rows = self._sql.execute(text).fetchall()
        return {name: (count, newest, score or 0.0) for name, count, newest, score in rows}

    def totals(self) -> dict[str, int]:
        """Return what `counts` does, with noughts for what no checkpoint has counted yet."""
        names = ("read", "scored", "late", "rejected", "duplicate", "pending")
        return {**dict.fromkeys(names, 0), **self.counts()}

    def span_us(self) -> tuple[int, int] | None:
        """Return the times of the first and last alert; None where there is none."""
        with self._translated():
            row = self._sql.execute(
                "SELECT (SELECT min(time_us) FROM alert), (SELECT max(time_us) FROM alert)"
            ).fetchone()
        return None if row[0] is None else (int(row[0]), int(row[1]))

    def skus(self, text: str, offset: int, limit: int) -> tuple[list[tuple[Any, ...]], int]:
        """Return SKUs with alerts: code, a name, alerts, newest time, worst severity; and how many.

        Args:
            text: stands in the code or the name; "" for any.
            offset, limit: which of them, the most severe first.
        """
        where = "instr(lower(sku || ' ' || description), lower(?)) > 0" if text else "?1 = ''"
        query = (
            # A line that corrects stock says why where others say what.
            "SELECT sku, max(CASE detector WHEN 'write_off' THEN '' ELSE description END),"  # noqa: S608
            " count(*), max(time_us), max(severity) AS worst"
            f" FROM alert WHERE sku != '*' AND {where} GROUP BY sku"
        )
        with self._translated():
            (count,) = self._sql.execute(f"SELECT count(*) FROM ({query})", (text,)).fetchone()  # noqa: S608
            rows = self._sql.execute(
                f"{query} ORDER BY worst DESC, sku LIMIT ?2 OFFSET ?3", (text, limit, offset)
            ).fetchall()
        return rows, int(count)

    def find_rejects(self, text: str, offset: int, limit: int) -> tuple[list[Any], int]:
        """Return rejects whose place or reason has a text, newest first; and how many."""
        where = "instr(lower(source || ' ' || reason), lower(?1)) > 0 OR ?1 = ''"
        page = f"SELECT {tables.REJECT_COLUMNS} FROM reject WHERE {where}"  # noqa: S608
        with self._translated():
            (count,) = self._sql.execute(
                f"SELECT count(*) FROM reject WHERE {where}",  # noqa: S608
                (text,),
            ).fetchone()
            rows = self._sql.execute(
                f"{page} ORDER BY number DESC LIMIT ?2 OFFSET ?3", (text, limit, offset)
            ).fetchall()
        return rows, int(count)

    def snapshots(self) -> list[Snapshot]:
        """Return the checkpoints that are kept, newest first."""
        text = "SELECT epoch, file, damaged FROM checkpoint ORDER BY epoch DESC"
        with self._translated():
            return [Snapshot(*row) for row in self._sql.execute(text)]

    def meta(self) -> Meta:
        """Return what the newest checkpoint says of the stream."""
        text = "SELECT meta FROM checkpoint WHERE damaged IS NULL ORDER BY epoch DESC LIMIT 1"
        with self._translated():
            row = self._sql.execute(text).fetchone()
        if row is None:
            return Meta()
        with contextlib.suppress(msgspec.DecodeError):  # the pages do without: `run` will say it
            return msgspec.json.decode(row[0], type=Meta)
        return Meta()

    def version(self) -> tuple[int, int, int]:
        """Return what changes with every change: of the file, the newest alert, the checkpoint."""
        with self._translated():
            (data,) = self._sql.execute("PRAGMA data_version").fetchone()
            number, epoch = self._sql.execute(
                "SELECT coalesce((SELECT max(number) FROM alert), 0),"
                " (SELECT value FROM about WHERE name = 'epoch')"
            ).fetchone()
        return int(data), int(number), int(epoch)

    def incidents_total(self) -> int:
        """Count all incidents."""
        with self._translated():
            return int(self._sql.execute("SELECT count(*) FROM incident").fetchone()[0])


def _tests(wanted: Wanted) -> tuple[list[str], list[Any]]:
    """Return the conditions of a filter in SQL, and the values that they bind."""
    tests: list[str] = []
    values: list[Any] = []
    if wanted.least > 0:
        tests.append("severity >= ?")
        values.append(wanted.least)
    if wanted.most is not None:
        tests.append("severity < ?")
        values.append(wanted.most)
    if wanted.sku:
        tests.append("id IN (SELECT incident FROM alert WHERE sku = ?)")
        values.append(wanted.sku)
    if wanted.detector:
        tests.append("instr(detectors, ?) > 0")  # a list in JSON: with its quotes a name is whole
        values.append(msgspec.json.encode(wanted.detector).decode())
    if wanted.text:
        tests.append(
            "(text LIKE ? ESCAPE '\\' OR id IN (SELECT incident FROM alert NOT INDEXED"
            " WHERE description LIKE ? ESCAPE '\\'))"
        )
        plain = re.sub(r"([%_\\])", r"\\\1", wanted.text)  # no signs of LIKE's own
        values += [f"%{plain}%"] * 2
    since = _NO_TIME if wanted.since_us is None else wanted.since_us
    until = -_NO_TIME if wanted.until_us is None else wanted.until_us
    if (since, until) == (_NO_TIME, -_NO_TIME):
        return tests, values
    if wanted.detector:
        inner = "SELECT incident FROM alert WHERE detector = ? AND time_us >= ? AND time_us < ?"
        tests.append(f"id IN ({inner})")
        values.append(wanted.detector)
    else:
        tests.append("last_us >= ? AND first_us < ?")
    return tests, [*values, since, until]
