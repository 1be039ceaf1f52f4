"""A state folder as it can be read: checkpoints, alerts, rejects, counts; and its backup."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from oddlot import tables
from oddlot.durable import StorageError, make_folder, storage_error, sync_folder
from oddlot.errors import ConfigError, StateError
from oddlot.row_files import Arrays, read_rows
from oddlot.schema import Alert, Incident, Reject

DATABASE = "oddlot.sqlite"
QUARANTINE = "quarantine"
PAGE = 1_000  # alerts read at a time, so that no reader holds the log back for long


class Saved(msgspec.Struct, frozen=True):
    """A checkpoint as it was committed.

    Attributes:
        epoch: its number, rising by one with each commit.
        meta: JSON, as given to `commit`.
        arrays: new copies, as given to `commit`; little-endian.
    """

    epoch: int
    meta: bytes
    arrays: Arrays


class Checkpoint(msgspec.Struct, frozen=True):
    """A row of the table `checkpoint`."""

    epoch: int
    file: str
    checksum: bytes
    meta: bytes
    rejects: int
    proof: bytes = b""

    def digest(self) -> bytes:
        """Return the digest of all that comes before `proof`."""
        whole = hashlib.blake2b(f"{self.epoch} {self.file} {self.rejects} ".encode())
        whole.update(self.checksum)
        whole.update(self.meta)
        return whole.digest()

    def is_proven(self) -> bool:
        """Tell whether the row is as it was committed."""
        # SQLite keeps any type in any column.
        is_typed = all(isinstance(value, bytes) for value in (self.meta, self.checksum))
        return is_typed and self.digest() == self.proof


class Delivery(msgspec.Struct, frozen=True):
    """How far an alert has come on its way out by one channel.

    Attributes:
        alert: the alert's id.
        channel: the channel's name.
        state: pending, sent or dead.
        tries: how often it was tried.
        added_us: the clock when it was put into the outbox.
        next_us: no try of it before; 0 for any time.
        done_us: the clock when it was sent or given up; None while it is pending.
        error: why the last try failed; "" where it did not.
    """

    alert: str
    channel: str
    state: str
    tries: int
    added_us: int
    next_us: int
    done_us: int | None
    error: str


class ChannelState(msgspec.Struct, frozen=True):
    """How a channel that was ever used does.

    Attributes:
        name: as in the config.
        pending, sent, dead: how many alerts are so.
        oldest_us: the clock when the oldest pending one was added; None where none is.
        sent_us: the clock at its last success; None where there was none.
        failures: how many tries in a row have failed.
        next_us: no try before; 0 for any time.
        error: why the last try failed; "" where it did not.
        is_off: whether the receiver said that it is gone for good; a new start tries again.
    """

    name: str
    pending: int
    sent: int
    dead: int
    oldest_us: int | None
    sent_us: int | None
    failures: int
    next_us: int
    error: str
    is_off: bool


class Stored:
    """A state folder, open for reading, also while a writer has it.

    Made by `Stored.read`; close it, or use it in a `with`. Used by one thread at a time.

    Attributes:
        folder: the state folder.
        repairs: what was found damaged and where it is, one line each.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self.repairs: list[str] = []
        self._path = folder / DATABASE
        self._sql = connection

    @classmethod
    def read(cls, folder: Path) -> Stored:
        """Open a state folder for reading only.

        Raises:
            ConfigError: there is no state in that folder.
            StateError: the database is damaged or newer than this program.
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
        return Stored(folder, connection)

    def load(self) -> Saved | None:
        """Return the newest checkpoint that is whole, or None where there never was one.

        A damaged one is moved to quarantine/ with a report and named in `repairs`; then the
        one before it counts. A reader moves nothing.

        Raises:
            StateError: there were checkpoints and none is whole.
            StorageError: a row file could not be read for want of rights or handles.
        """
        with self._translated():
            found = self._sql.execute(
                "SELECT epoch, file, checksum, meta, rejects, proof FROM checkpoint"
                " WHERE damaged IS NULL ORDER BY epoch DESC"
            ).fetchall()
        for row in found:
            checkpoint = Checkpoint(*row)
            try:
                return self._read(checkpoint)
            except StorageError:
                raise
            except StateError as error:
                self._set_aside(checkpoint, str(error))
        with self._translated():
            (lost,) = self._sql.execute("SELECT count(*) FROM checkpoint").fetchone()
        if lost:
            raise StateError(
                f"{self.folder}: must hold a whole checkpoint; none of {lost} is."
                f" {tables.ADVICE_LOST}"
            )
        return None

    def alerts(
        self, limit: int | None = None, *, detector: str = "", sku: str = "", newest: bool = True
    ) -> Iterator[Alert]:
        """Read alerts in the order of their time, then id.

        Args:
            limit: at most so many; None for all.
            detector: only this detector's; "" for all.
            sku: only this SKU's; "" for all.
            newest: the newest first; False for the oldest first.
        """
        sign, order = ("<", "DESC") if newest else (">", "ASC")
        wanted = {"detector": detector, "sku": sku}
        wanted = {name: value for name, value in wanted.items() if value}
        after: tuple[object, ...] = ()
        while limit is None or limit > 0:
            page = PAGE if limit is None else min(PAGE, limit)
            tests = [f"{name} = ?" for name in wanted]
            tests += [f"(time_us, id) {sign} (?, ?)"] if after else []
            # Only names of ours go into the text; values are bound.
            text = (
                f"SELECT {tables.ALERT_COLUMNS} FROM alert"  # noqa: S608
                f" WHERE {' AND '.join(tests) or 'true'}"
                f" ORDER BY time_us {order}, id {order} LIMIT ?"
            )
            with self._translated():
                rows = self._sql.execute(text, (*wanted.values(), *after, page)).fetchall()
            yield from map(tables.read_alert, rows)
            if len(rows) < page:
                return
            after = (rows[-1][2], rows[-1][0])
            limit = None if limit is None else limit - len(rows)

    def incidents(self, limit: int = 100) -> list[Incident]:
        """Read incidents, the most severe first."""
        text = (
            f"SELECT {tables.INCIDENT_COLUMNS} FROM incident"  # noqa: S608
            " ORDER BY severity DESC, id LIMIT ?"
        )
        with self._translated():
            return list(map(tables.read_incident, self._sql.execute(text, (limit,)).fetchall()))

    def rejects(self, limit: int = 100) -> list[Reject]:
        """Read the newest rejects that were kept, newest first."""
        text = f"SELECT {tables.REJECT_COLUMNS} FROM reject ORDER BY number DESC LIMIT ?"  # noqa: S608
        with self._translated():
            return [Reject(*row) for row in self._sql.execute(text, (limit,))]

    def deliveries(
        self,
        *,
        alert: str = "",
        incident: str = "",
        channel: str = "",
        state: str = "",
        limit: int = 1000,
    ) -> list[Delivery]:
        """Read how far alerts have come on their way out, the newest first.

        Args:
            alert, incident: only of the alert or incident with this id; "" for all.
            channel: only by the channel of this name; "" for all.
            state: only those that are pending, sent or dead; "" for all.
            limit: at most so many.
        """
        wanted = {"id": alert, "incident": incident, "channel": channel, "state": state}
        wanted = {name: value for name, value in wanted.items() if value}
        text = (
            "SELECT id, channel, state, tries, added_us, next_us, done_us, error"  # noqa: S608
            " FROM outbox JOIN alert ON number = alert"
            f" WHERE {' AND '.join(f'{name} = ?' for name in wanted) or 'true'}"
            " ORDER BY alert DESC, channel LIMIT ?"
        )
        with self._translated():
            rows = self._sql.execute(text, (*wanted.values(), limit)).fetchall()
        return [Delivery(*row) for row in rows]

    def channels(self) -> list[ChannelState]:
        """Tell how each channel that was ever used does, by name."""
        with self._translated():
            rows = self._sql.execute(
                "SELECT name, count(alert), coalesce(sent, 0), coalesce(dead, 0), min(added_us),"
                " sent_us, coalesce(failures, 0), coalesce(channel.next_us, 0),"
                " coalesce(channel.error, ''), coalesce(is_off, false)"
                " FROM (SELECT name FROM channel UNION SELECT channel FROM outbox"
                " WHERE state = 'pending') LEFT JOIN channel USING (name) LEFT JOIN outbox"
                " ON outbox.channel = name AND outbox.state = 'pending' GROUP BY name ORDER BY name"
            ).fetchall()
        names = ChannelState.__struct_fields__
        states = [dict(zip(names, row, strict=True)) for row in rows]
        return [ChannelState(**{**state, "is_off": bool(state["is_off"])}) for state in states]

    def counts(self) -> dict[str, int]:
        """Count what is stored, beside the counters as given to `commit`.

        Returns:
            The counters, and: checkpoint (the newest epoch), alerts_kept, alerts_unsent and
            alerts_dead (each once for each of its channels), rejects_kept, rejects_total.
        """
        with self._translated():
            counters = self._sql.execute("SELECT name, value FROM counter ORDER BY name")
            own = self._sql.execute(
                "SELECT (SELECT value FROM about WHERE name = 'epoch'),"
                " (SELECT count(*) FROM alert),"
                " (SELECT count(*) FROM outbox WHERE state = 'pending'),"
                " (SELECT coalesce(sum(dead), 0) FROM channel),"
                " (SELECT count(*) FROM reject)"
            ).fetchone()
            names = ("checkpoint", "alerts_kept", "alerts_unsent", "alerts_dead", "rejects_kept")
            return {
                **dict(counters.fetchall()),
                **dict(zip(names, own, strict=True)),
                "rejects_total": self._rejects_total(),
            }

    def is_sound(self) -> bool:
        """Tell whether the database can be read from end to end; slow where it is large."""
        return tables.is_sound(self._sql)

    def backup(self, to: Path) -> None:
        """Copy the state into another folder, also while a writer works, and try the copy.

        Raises:
            ConfigError: the folder holds a state already.
            StateError: the copy is not whole; make another one elsewhere.
            StorageError: the disk refused.
        """
        if (to / DATABASE).exists():
            raise ConfigError(f"{to}: must be a folder without a state; it has a {DATABASE}")
        make_folder(to)
        with self._translated(), contextlib.closing(sqlite3.connect(to / DATABASE)) as target:
            self._sql.backup(target)
            files = target.execute("SELECT file FROM checkpoint WHERE damaged IS NULL").fetchall()
            gone = []
            for (name,) in files:
                try:
                    shutil.copyfile(self.folder / name, to / name)
                except FileNotFoundError:  # the writer has gone on and dropped it meanwhile
                    gone.append((name,))
                except OSError as error:
                    raise storage_error(to / name, error) from error
            if len(gone) < len(files):
                with target:
                    target.executemany("DELETE FROM checkpoint WHERE file = ?", gone)
        sync_folder(to)
        with Stored.read(to) as copy:
            whole = copy.load() is not None or not files
            if not whole or copy.repairs or not copy.is_sound():
                raise StateError(f"{to}: must be a whole copy; {copy.repairs or 'it is not'}")

    def close(self) -> None:
        """End the use of the folder; harmless when done twice."""
        self._sql.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, checkpoint: Checkpoint) -> Saved:
        if not checkpoint.is_proven():
            raise StateError(f"{self._path}: checkpoint {checkpoint.epoch} must be as committed")
        epoch, arrays = read_rows(self.folder / checkpoint.file, checkpoint.checksum)
        if epoch != checkpoint.epoch:
            raise StateError(f"{checkpoint.file}: must be of {checkpoint.epoch}; got {epoch}")
        return Saved(epoch, checkpoint.meta, arrays)

    def _set_aside(self, checkpoint: Checkpoint, reason: str) -> None:
        """Note a damaged checkpoint; only a writer also moves it."""
        self.repairs.append(f"{reason}; checkpoint {checkpoint.epoch} is passed over")

    def _about(self, name: str) -> int:
        with self._translated():
            row = self._sql.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return int(row[0])

    def _rejects_total(self) -> int:
        row = self._sql.execute(
            "SELECT rejects FROM checkpoint WHERE damaged IS NULL ORDER BY epoch DESC LIMIT 1"
        ).fetchone()
        return int(row[0]) if row else 0

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise SQLite's refusals as ours."""
        try:
            yield
        except sqlite3.Error as error:
            if refused := tables.refusal(self._path, error):
                raise refused from error
            raise
