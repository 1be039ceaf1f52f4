"""The outbox: which alerts go out by which channel, and how far each has come."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from oddlot import tables
from oddlot.errors import StateLocked
from oddlot.notifiers.contract import Reply
from oddlot.schema import Alert
from oddlot.sections import Channel
from oddlot.store import Route
from oddlot.stored import DATABASE

MOST_PENDING = 100_000  # of a channel; when more wait, the oldest are given up
TOO_MANY = f"more than {MOST_PENDING:,} waited"
LEFT = "the config has no such channel any more"


class Overtaken(StateLocked):
    """Another process has the state folder now: stop sending."""


class Waiting(msgspec.Struct, frozen=True):
    """An alert on its way out by one channel.

    Attributes:
        number: the alert's, rising with each.
        message: number of the first alert of the message that it belongs to; None before that
            is decided.
        tries: how often it was tried.
        added_us: the clock when it was put into the outbox.
        next_us: above 0 where it was put off, because others passed and it did not.
        alert: the alert itself.
    """

    number: int
    message: int | None
    tries: int
    added_us: int
    next_us: int
    alert: Alert


def router(channels: Sequence[Channel], clock_us: Callable[[], int]) -> Route | None:
    """Return what tells the store by which channels an alert goes out; None for no channels."""

    def route(alert: Alert) -> Iterable[tuple[str, int]]:
        names = [channel.name for channel in channels if takes(channel, alert)]
        now_us = clock_us() if names else 0
        return [(name, now_us) for name in names]

    return route if channels else None


def takes(channel: Channel, alert: Alert) -> bool:
    """Tell whether an alert goes out by a channel."""
    return (
        alert.severity >= channel.severity
        and (not channel.detectors or alert.detector in channel.detectors)
        and (not channel.skus or any(fnmatchcase(alert.sku, one) for one in channel.skus))
    )


def message_id(channel: str, first: Alert) -> str:
    """Return the idempotency key of the message whose first alert is this one.

    An alert is in one message of a channel only, and that is decided durably before the first
    try: so the key is the same at each try.
    """
    about = f"{channel}\0{first.id}".encode()
    return hashlib.blake2b(about, digest_size=16).hexdigest()


class Outbox:
    """One channel's part of the outbox, by a connection of its own; used by one thread.

    Args:
        folder: the state folder, which a `Store` of this program has open.
        channel: the channel's name.
    """

    def __init__(self, folder: Path, channel: str) -> None:
        self.channel = channel
        self._path = folder / DATABASE
        self._sql = tables.connect(self._path)
        # What is sent and not yet marked so is sent again after a power failure, under its id.
        self._sql.execute("PRAGMA synchronous = NORMAL")
        self._owner = self._read_owner()

    def begin(self) -> int | None:
        """Forget old troubles; return the clock at the last success, None if there was none."""
        with self._transaction() as sql:
            sql.execute(
                "INSERT INTO channel (name) VALUES (?) ON CONFLICT (name) DO UPDATE"
                " SET failures = 0, next_us = 0, is_off = 0",
                (self.channel,),
            )
            row = sql.execute("SELECT sent_us FROM channel WHERE name = ?", (self.channel,))
            sent_us: int | None = row.fetchone()[0]
        return sent_us

    def take(self, now_us: int, most: int, skip: int | None = None) -> list[Waiting]:
        """Read the oldest alerts that are due: one message, or what may become one.

        Args:
            now_us: the clock.
            most: alerts in a message.
            skip: leave out the message that begins with this number, to see if others pass.

        Returns:
            All of a message that was decided before; or else those that are in none, in order.
        """
        columns = (
            f"alert, message, tries, added_us, next_us, {tables.ALERT_COLUMNS}"
            " FROM outbox JOIN alert ON number = alert"
            " WHERE channel = ? AND state = 'pending' AND next_us <= ?"
        )
        bound: tuple[object, ...] = (self.channel, now_us)
        if skip is not None:
            columns += " AND coalesce(message, alert) <> ?"
            bound += (skip,)
        text = f"SELECT {columns} ORDER BY alert LIMIT ?"
        with self._translated():
            rows: list[tuple[Any, ...]] = self._sql.execute(text, (*bound, most)).fetchall()
            if rows and rows[0][1] is not None:
                text = f"SELECT {columns} AND message = ? ORDER BY alert"
                rows = self._sql.execute(text, (*bound, rows[0][1])).fetchall()
            else:
                rows = [row for row in rows if row[1] is None]
        return list(map(_read, rows))

    def decide(self, waiting: Sequence[Waiting]) -> None:
        """Make durable that these are one message, before it is tried."""
        self._sql.execute("PRAGMA synchronous = FULL")
        try:
            with self._transaction() as sql:
                sql.executemany(
                    "UPDATE outbox SET message = ? WHERE channel = ? AND alert = ?",
                    [(waiting[0].number, self.channel, one.number) for one in waiting],
                )
        finally:
            self._sql.execute("PRAGMA synchronous = NORMAL")

    def settle(
        self,
        waiting: Sequence[Waiting],
        replies: Sequence[Reply],
        now_us: int,
        failures: int = 0,
        next_us: int = 0,
    ) -> None:
        """Write down what became of each alert, and how the channel does.

        Args:
            waiting: what was tried.
            replies: one for each.
            now_us: the clock.
            failures: of the channel, in a row.
            next_us: no try of anything before.
        """
        states = [
            "pending" if one.error and not one.is_final else "dead" if one.error else "sent"
            for one in replies
        ]
        error = next((one.error for one in replies if one.error), "")
        with self._transaction() as sql:
            sql.executemany(
                "UPDATE outbox SET state = ?, tries = tries + 1, done_us = ?, error = ?"
                " WHERE channel = ? AND alert = ?",
                [
                    (
                        state,
                        None if state == "pending" else now_us,
                        reply.error,
                        self.channel,
                        one.number,
                    )
                    for one, reply, state in zip(waiting, replies, states, strict=True)
                ],
            )
            sent = states.count("sent")
            sql.execute(
                "UPDATE channel SET sent = sent + ?, dead = dead + ?, failures = ?, next_us = ?,"
                " error = ?, sent_us = iif(?, ?, sent_us) WHERE name = ?",
                (
                    *(sent, states.count("dead"), failures, next_us, error),
                    *(sent > 0, now_us, self.channel),
                ),
            )

    def put_off(self, waiting: Sequence[Waiting], next_us: int) -> None:
        """Try these no earlier than `next_us`; others may pass them."""
        with self._transaction() as sql:
            sql.executemany(
                "UPDATE outbox SET next_us = ? WHERE channel = ? AND alert = ?",
                [(next_us, self.channel, one.number) for one in waiting],
            )

    def give_up(self, now_us: int, error: str, before_us: int | None = None) -> int:
        """Give up what waits and was added before `before_us`, or all of it; return how many."""
        with self._translated():
            oldest = self._sql.execute(
                "SELECT min(added_us) FROM outbox WHERE channel = ? AND state = 'pending'",
                (self.channel,),
            ).fetchone()[0]
        if oldest is None or (before_us is not None and oldest > before_us):
            return 0
        with self._transaction() as sql:
            gone = sql.execute(
                "UPDATE outbox SET state = 'dead', done_us = ?, error = ?"
                " WHERE channel = ? AND state = 'pending' AND added_us <= ?",
                (now_us, error, self.channel, 2**62 if before_us is None else before_us),
            ).rowcount
            self._count_dead(gone)
        return gone

    def bound(self, now_us: int, most: int = MOST_PENDING) -> int:
        """Give up the oldest where more than `most` wait; return how many."""
        with self._translated():
            row = self._sql.execute(
                "SELECT alert FROM outbox WHERE channel = ? AND state = 'pending'"
                " ORDER BY alert DESC LIMIT 1 OFFSET ?",
                (self.channel, most),
            ).fetchone()
        if row is None:
            return 0
        with self._transaction() as sql:
            gone = sql.execute(
                "UPDATE outbox SET state = 'dead', done_us = ?, error = ?"
                " WHERE channel = ? AND state = 'pending' AND alert <= ?",
                (now_us, TOO_MANY, self.channel, row[0]),
            ).rowcount
            self._count_dead(gone)
        return gone

    def turn_off(self, now_us: int, error: str) -> None:
        """Note that the receiver is gone for good, and give up all that waits for it."""
        with self._transaction() as sql:
            sql.execute(
                "UPDATE channel SET is_off = 1, error = ? WHERE name = ?", (error, self.channel)
            )
        self.give_up(now_us, error)

    def close(self) -> None:
        """End the connection; harmless when done twice."""
        self._sql.close()

    def _count_dead(self, dead: int) -> None:
        self._sql.execute("UPDATE channel SET dead = dead + ? WHERE name = ?", (dead, self.channel))

    def _read_owner(self) -> int:
        with self._translated():
            row = self._sql.execute("SELECT value FROM about WHERE name = 'owner'").fetchone()
        return int(row[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done within, or nothing of it; only while the store is still ours."""
        sql = self._sql
        try:
            with self._translated():
                sql.execute("BEGIN IMMEDIATE")
                if self._read_owner() != self._owner:
                    raise Overtaken(f"{self._path}: must be ours; another process took it over")
                yield sql
                sql.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                if sql.in_transaction:
                    sql.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if refused := tables.refusal(self._path, error):
                raise refused from error
            raise


def revive(folder: Path, channel: str, now_us: int) -> int:
    """Let a channel try what it gave up once more, also while `oddlot run` works; return how many.

    Raises:
        StateError, StorageError: the database.
    """
    path = folder / DATABASE
    with contextlib.closing(tables.connect(path)) as sql:
        try:
            sql.execute("BEGIN IMMEDIATE")
            revived = sql.execute(
                "UPDATE outbox SET state = 'pending', added_us = ?, next_us = 0, done_us = NULL"
                " WHERE channel = ? AND state = 'dead'",
                (now_us, channel),
            ).rowcount
            sql.execute("UPDATE channel SET dead = 0 WHERE name = ?", (channel,))
            sql.execute("COMMIT")
        except sqlite3.Error as error:
            if refused := tables.refusal(path, error):
                raise refused from error
            raise
    return revived


def _read(row: tuple[Any, ...]) -> Waiting:
    number, message, tries, added_us, next_us, *alert = row
    return Waiting(number, message, tries, added_us, next_us, tables.read_alert(tuple(alert)))


def forget_others(folder: Path, channels: Sequence[Channel], clock_us: Callable[[], int]) -> None:
    """Give up what waits for channels that the config has no more."""
    names = {channel.name for channel in channels}
    with contextlib.closing(tables.connect(folder / DATABASE)) as sql:
        rows = sql.execute("SELECT DISTINCT channel FROM outbox WHERE state = 'pending'").fetchall()
    for (name,) in rows:
        if name not in names:
            with contextlib.closing(Outbox(folder, name)) as outbox:
                outbox.begin()
                outbox.give_up(clock_us(), LEFT)
