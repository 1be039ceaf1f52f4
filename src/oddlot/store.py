"""The one database: positions, rows, alerts, rejects and counts, committed together."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from oddlot import tables
from oddlot.durable import (
    Crash,
    Lock,
    StorageError,
    crash_from_environment,
    make_folder,
    set_aside,
)
from oddlot.errors import StateError, StateLocked
from oddlot.row_files import write_rows
from oddlot.schema import Alert, Incident, Reject
from oddlot.stored import DATABASE, QUARANTINE, Checkpoint, Saved, Stored

__all__ = ("Saved", "Store", "Stored")

LOCK = "oddlot.lock"
KEPT = 3  # checkpoints, so that two damaged ones cost only a longer replay
REJECTS_KEPT = 10_000
# Names the channels that an alert goes out by, each with the clock in microseconds.
Route = Callable[[Alert], Iterable[tuple[str, int]]]
ROW_FILE = re.compile(r"rows-(\d+)-\d+\.bin")


class Store(Stored):
    """A state folder, open for its one writer; everything that `Stored` reads, too.

    Made by `Store.open`; close it, or use it in a `with`. Used by one thread at a time.
    `Store.read` opens the same folder for reading only.
    """

    def __init__(
        self,
        folder: Path,
        connection: sqlite3.Connection,
        lock: Lock,
        crash: Crash,
        route: Route | None = None,
    ) -> None:
        super().__init__(folder, connection)
        self._lock = lock
        self._route = route
        self._crash = crash
        self._owner = 0
        self._broken = False

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        fresh: bool = False,
        crash: Crash | None = None,
        route: Route | None = None,
    ) -> Store:
        """Open a state folder for writing, made if need be; nobody else can until closed.

        Args:
            folder: where the state lies; not on a disk that a reboot wipes.
            fresh: set every checkpoint aside in quarantine/ and begin with none; alerts stay,
                unless the database itself is damaged, which then goes there whole.
            crash: called at each boundary, for tests; None reads ODDLOT_CRASH_AT.
            route: puts each new alert into the outbox, in the alert's own transaction; None
                sends nothing.

        Raises:
            StateLocked: another process uses the folder.
            StateError: the database is damaged, lost, or newer than this program.
            StorageError: the disk refused.
        """
        crash = crash_from_environment() if crash is None else crash
        make_folder(folder)
        crash("open.lock")
        lock = Lock(folder / LOCK)
        try:
            connection = _open_tables(folder, fresh, crash)
        except BaseException:
            lock.release()
            raise
        store = cls(folder, connection, lock, crash, route)
        try:
            store._own()
            if fresh:
                store._begin_anew()
            store._drop_orphans()
        except BaseException:
            store.close()
            raise
        return store

    def commit(
        self,
        meta: bytes,
        arrays: Mapping[str, NDArray[Any]],
        alerts: Sequence[Alert] = (),
        rejects: Sequence[Reject] = (),
        counters: Mapping[str, int] | None = None,
    ) -> int:
        """Make a checkpoint and all that came since the last one durable, all or nothing.

        Args:
            meta: JSON of positions, watermark and whatever else a restart needs.
            arrays: what the detectors remember; numbers or numpy records of numbers.
            alerts: since the last commit; one whose id is known already is left as it was.
            rejects: since the last commit; the newest 10,000 are kept, all are counted.
            counters: totals by name since the beginning, not since the last commit.

        Returns:
            The checkpoint's epoch.

        Raises:
            StorageError: the disk refused; the last checkpoint still holds. Where its `full`
                is true, call again later with the same; otherwise open the store anew.
            StateLocked: another process has taken the folder over; stop.
        """
        self._crash("commit.begin")
        epoch = self._about("epoch") + 1
        # The owner in the name: one that should be dead cannot touch a newer owner's file.
        path = self.folder / f"rows-{epoch:08d}-{self._owner}.bin"
        path.unlink(missing_ok=True)  # of a commit of ours that was interrupted
        checksum = write_rows(path, epoch, arrays, self._crash)
        try:
            with self._transaction() as sql:
                self._crash("sql.checkpoint")
                stale = self._insert_checkpoint(epoch, path.name, checksum, meta, len(rejects))
                self._crash("sql.alerts")
                self._insert_alerts(alerts)
                self._crash("sql.rejects")
                self._insert_rejects(rejects)
                self._crash("sql.counters")
                sql.executemany(
                    "INSERT INTO counter VALUES (?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (counters or {}).items(),
                )
        except StorageError as error:
            if error.full:
                path.unlink(missing_ok=True)
            raise
        self._crash("sql.done")
        if epoch == 1:  # see tables.create: the copy without the log must show that it is one
            self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for name in stale:
            self._crash("prune.file")
            (self.folder / name).unlink(missing_ok=True)
        self._crash("commit.done")
        return epoch

    def add_alerts(
        self,
        alerts: Sequence[Alert],
        incidents: Sequence[Incident] = (),
        rejects: Sequence[Reject] = (),
    ) -> int:
        """Make alerts durable between two checkpoints; returns how many were new.

        Args:
            alerts: since the last call; one whose id is known already is left as it was.
            incidents: those that are new or have changed, as they now are.
            rejects: those whose records no checkpoint of ours will count, since Flink's do.

        Raises:
            StorageError, StateLocked: as `commit`.
        """
        with self._transaction():
            self._insert_rejects(rejects)
            self._crash("sql.alerts")
            self._sql.executemany(
                f"REPLACE INTO incident ({tables.INCIDENT_COLUMNS})"  # noqa: S608
                f" VALUES ({', '.join('?' * len(Incident.__struct_fields__))})",
                map(tables.incident_row, incidents),
            )
            return self._insert_alerts(alerts)

    def close(self) -> None:
        """End the use of the folder, so that another can open it; harmless when done twice."""
        super().close()
        self._lock.release()

    def _own(self) -> None:
        """Fence off whoever had the folder before, asleep perhaps: its commits will fail."""
        with self._transaction(fenced=False) as sql:
            self._crash("open.owner")
            sql.execute("UPDATE about SET value = value + 1 WHERE name = 'owner'")
        self._owner = self._about("owner")

    def _begin_anew(self) -> None:
        """Set every checkpoint aside; numbers go on rising, so that no name comes twice."""
        for name in self._row_files():
            self._move(self.folder / name, b"")
        with self._transaction() as sql:
            self._crash("repair.flag")
            sql.execute("DELETE FROM checkpoint")
            sql.execute("DELETE FROM counter")

    def _drop_orphans(self) -> None:
        """Delete row files that no commit names; set aside those that one must have named."""
        with self._translated():
            rows = self._sql.execute("SELECT file FROM checkpoint").fetchall()
        named = {name for (name,) in rows}
        last = self._about("epoch")
        for name, epoch in self._row_files().items():
            if name in named:
                continue
            if epoch <= last + 1:  # interrupted before its commit, or before it was dropped
                self._crash("open.orphan")
                (self.folder / name).unlink()
            elif named:
                self._move(self.folder / name, b'{"reason": "the database forgot its commit"}')
                self.repairs.append(
                    f"{name}: must be named in the database; moved to {QUARANTINE}/"
                )
            else:
                raise _lost(self.folder, f"{DATABASE} knows nothing of {name}")

    def _row_files(self) -> dict[str, int]:
        """Find the row files: names and epochs, oldest first."""
        matches = (ROW_FILE.fullmatch(path.name) for path in self.folder.iterdir())
        return dict(sorted((match[0], int(match[1])) for match in matches if match))

    def _set_aside(self, checkpoint: Checkpoint, reason: str) -> None:
        super()._set_aside(checkpoint, reason)
        report = {"epoch": checkpoint.epoch, "reason": reason, "row": repr(checkpoint)}
        # The row may be what is damaged: the name in it is not to be trusted.
        files = [name for name, epoch in self._row_files().items() if epoch == checkpoint.epoch]
        for name in files or [f"rows-{checkpoint.epoch:08d}.bin"]:
            self._move(self.folder / name, msgspec.json.encode(report))
        with self._transaction() as sql:
            self._crash("repair.flag")
            sql.execute(
                "UPDATE checkpoint SET damaged = ? WHERE epoch = ?", (reason, checkpoint.epoch)
            )

    def _move(self, path: Path, report: bytes) -> None:
        self._crash("repair.move")
        set_aside(path, self.folder / QUARANTINE, report)

    def _insert_checkpoint(
        self, epoch: int, file: str, checksum: bytes, meta: bytes, rejects: int
    ) -> list[str]:
        """Insert a checkpoint and forget the oldest; returns the files that are now stale."""
        total = self._rejects_total() + rejects
        row = Checkpoint(epoch, file, checksum, meta, total)
        self._sql.execute(
            "INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?, ?, NULL)",
            (epoch, file, checksum, meta, total, row.digest()),
        )
        self._sql.execute("UPDATE about SET value = ? WHERE name = 'epoch'", (epoch,))
        gone = self._sql.execute(
            "DELETE FROM checkpoint WHERE epoch < (SELECT min(epoch) FROM (SELECT epoch FROM"
            " checkpoint WHERE damaged IS NULL ORDER BY epoch DESC LIMIT ?)) RETURNING file",
            (KEPT,),
        )
        return [name for (name,) in gone.fetchall()]

    def _insert_alerts(self, alerts: Sequence[Alert]) -> int:
        if not alerts:
            return 0
        sql = self._sql
        (last,) = sql.execute("SELECT coalesce(max(number), 0) FROM alert").fetchone()
        marks = ", ".join("?" * len(Alert.__struct_fields__))
        sql.executemany(
            f"INSERT INTO alert ({tables.ALERT_COLUMNS}) VALUES ({marks})"  # noqa: S608
            " ON CONFLICT (id) DO NOTHING",
            map(tables.alert_row, alerts),
        )
        added = dict(sql.execute("SELECT id, number FROM alert WHERE number > ?", (last,)))
        if self._route is not None:
            sql.executemany(
                "INSERT INTO outbox (channel, alert, added_us) VALUES (?, ?, ?)",
                [
                    (channel, added[alert.id], now_us)
                    for alert in {one.id: one for one in reversed(alerts)}.values()
                    if alert.id in added
                    for channel, now_us in self._route(alert)
                ],
            )
        return len(added)

    def _insert_rejects(self, rejects: Sequence[Reject]) -> None:
        if not rejects:
            return
        self._sql.executemany(
            f"INSERT INTO reject ({tables.REJECT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
            " ON CONFLICT (source, position) DO NOTHING",
            map(msgspec.structs.astuple, rejects[-REJECTS_KEPT:]),
        )
        self._sql.execute(
            "DELETE FROM reject WHERE number <= (SELECT max(number) FROM reject) - ?",
            (REJECTS_KEPT,),
        )

    @contextlib.contextmanager
    def _transaction(self, fenced: bool = True) -> Iterator[sqlite3.Connection]:
        """Commit what is done within, or nothing of it."""
        if self._broken:
            raise StorageError(f"{self._path}: must be opened anew after the disk failed")
        sql = self._sql
        try:
            with self._translated():
                sql.execute("BEGIN IMMEDIATE")
                if fenced and self._about("owner") != self._owner:
                    raise StateLocked(f"{self.folder}: must be ours; another process took it over")
                yield sql
                self._crash("sql.commit")
                sql.execute("COMMIT")
        except BaseException as error:
            # A failed fsync must not be tried again: the system has dropped what it could not
            # write and would now say that all is well.
            self._broken = isinstance(error, StorageError) and not error.full
            with contextlib.suppress(sqlite3.Error):
                if sql.in_transaction:
                    sql.execute("ROLLBACK")
            raise


def _open_tables(folder: Path, fresh: bool, crash: Crash) -> sqlite3.Connection:
    """Open the database, made if need be; a damaged one goes to quarantine if `fresh`."""
    path = folder / DATABASE
    stray = sorted(file.name for file in folder.glob("rows-*.bin"))
    if stray and not fresh and not (path.exists() and path.stat().st_size):
        raise _lost(folder, f"there is {stray[-1]} but no {DATABASE}")
    try:
        connection = tables.connect(path)
        sound = not fresh or tables.is_sound(connection)
    except (StateLocked, StorageError):
        raise
    except StateError:
        if not fresh:
            raise
        sound = False
    else:
        if not sound:
            connection.close()
    if not sound:
        for suffix in ("", "-wal", "-shm"):
            crash("repair.move")
            set_aside(path.with_name(path.name + suffix), folder / QUARANTINE)
        connection = tables.connect(path)
    try:
        if tables.version(connection) == 0:
            if stray and not fresh:
                raise _lost(folder, f"there is {stray[-1]}, but nothing is in {DATABASE}")
            crash("open.schema")
            tables.create(connection)
        tables.upgrade(connection)
        tables.check_version(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _lost(folder: Path, why: str) -> StateError:
    return StateError(f"{folder}: must hold its whole state; {why}. {tables.ADVICE_LOST}")
