"""The tables of the one database, and what SQLite's refusals mean to the user."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from oddlot.durable import StorageError
from oddlot.errors import OddlotError, StateError, StateLocked
from oddlot.schema import Alert, Incident

VERSION = 3
_UPGRADABLE = 2  # the version before, which a writer brings up to date
APPLICATION = 0x4F44444C  # "ODDL": this SQLite file is ours

# The outbox's own tables, since version 3. A row for each channel that an alert goes out by; the
# rows of one message with several alerts name its first alert as their message.
OUTBOX = """
CREATE TABLE outbox (
    channel TEXT NOT NULL,
    alert INTEGER NOT NULL REFERENCES alert (number),
    state TEXT NOT NULL DEFAULT 'pending',
    added_us INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    next_us INTEGER NOT NULL DEFAULT 0,
    done_us INTEGER,
    message INTEGER,
    error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (channel, alert)
) WITHOUT ROWID;
CREATE INDEX outbox_by_alert ON outbox (alert);
CREATE INDEX outbox_pending ON outbox (channel, alert) WHERE state = 'pending';
CREATE TABLE channel (
    name TEXT PRIMARY KEY,
    sent INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    next_us INTEGER NOT NULL DEFAULT 0,
    sent_us INTEGER,
    error TEXT NOT NULL DEFAULT '',
    is_off INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX incident_by_last ON incident (last_us);
"""
SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO about VALUES ('epoch', 0), ('owner', 0);
CREATE TABLE checkpoint (
    epoch INTEGER PRIMARY KEY,
    file TEXT NOT NULL,
    checksum BLOB NOT NULL,
    meta BLOB NOT NULL,
    rejects INTEGER NOT NULL,
    proof BLOB NOT NULL,
    damaged TEXT
);
CREATE TABLE alert (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    detector TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    sku TEXT NOT NULL,
    chance REAL,
    rate REAL,
    score REAL,
    invoice TEXT NOT NULL,
    description TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    price REAL,
    source TEXT NOT NULL,
    position INTEGER NOT NULL,
    line INTEGER NOT NULL,
    evidence TEXT NOT NULL,
    text TEXT NOT NULL,
    incident TEXT NOT NULL,
    stake REAL NOT NULL,
    probability REAL NOT NULL,
    severity REAL NOT NULL
);
CREATE INDEX alert_by_time ON alert (time_us, id);
CREATE INDEX alert_by_sku ON alert (sku, time_us);
CREATE INDEX alert_by_incident ON alert (incident);
CREATE TABLE incident (
    id TEXT PRIMARY KEY,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    alerts INTEGER NOT NULL,
    skus TEXT NOT NULL,
    detectors TEXT NOT NULL,
    stake REAL NOT NULL,
    probability REAL NOT NULL,
    severity REAL NOT NULL,
    score REAL NOT NULL,
    text TEXT NOT NULL,
    reversed_us INTEGER,
    reversed_after_us INTEGER NOT NULL,
    doubled INTEGER NOT NULL,
    pair TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX incident_by_severity ON incident (severity);
CREATE TABLE reject (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    position INTEGER NOT NULL,
    line INTEGER NOT NULL,
    reason TEXT NOT NULL,
    data BLOB NOT NULL,
    size INTEGER NOT NULL,
    UNIQUE (source, position)
);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""

ALERT_COLUMNS = (
    "id, detector, time_us, sku, chance, rate, score, invoice, description, quantity, price,"
    " source, position, line, evidence, text, incident, stake, probability, severity"
)
INCIDENT_COLUMNS = (
    "id, first_us, last_us, alerts, skus, detectors, stake, probability, severity, score, text,"
    " reversed_us, reversed_after_us, doubled, pair"
)
REJECT_COLUMNS = "source, position, line, reason, data, size"

ADVICE_LOST = (
    "Restore a backup, or start from nothing with --start-fresh: what is there is kept in"
    " quarantine/"
)

# SQLite's primary result codes, https://sqlite.org/rescode.html
BUSY, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB = 5, 8, 10, 11, 13, 14, 26
ADVICE = {
    READONLY: "mount it writable or choose another folder",
    IOERR: "check the disk, then start again",
    FULL: "free some space",
    CANTOPEN: "give this user the right to use it or choose another folder",
}


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the database file; every statement is its own transaction unless one is begun.

    Raises:
        StateError: it is damaged, somebody else's, or newer than this program.
        StorageError: the disk refused.
    """
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = None
    try:
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5
        )
        application, version, tables = connection.execute(
            "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
            " FROM pragma_application_id, pragma_user_version"
        ).fetchone()
        if (version or tables) and application != APPLICATION:
            raise StateError(f"{path}: must be Oddlot's database; got another program's")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL: a commit is on disk when it returns, also after power loss.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_size_limit = 67108864")
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error) and (refused := refusal(path, error)):
            raise refused from error
        raise
    return connection


def version(connection: sqlite3.Connection) -> int:
    """Return the version of the tables; 0 where there are none yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database whose tables are not this program's.

    Raises:
        StateError: they are newer, or there are none.
    """
    found = version(connection)
    if found > VERSION:
        raise StateError(
            f"{path}: must be of version {VERSION} or older; got {found}, written by a newer"
            " Oddlot. Install that one"
        )
    if found == _UPGRADABLE:
        raise StateError(
            f"{path}: must be of version {VERSION}; got {found}, written by an older Oddlot."
            " `oddlot run` brings it up to date"
        )
    if found < VERSION:
        raise StateError(f"{path}: must be of version {VERSION}; got {found}. {ADVICE_LOST}")


def create(connection: sqlite3.Connection) -> None:
    """Create the tables, all or nothing, and move them out of the log into the file itself.

    A database copied without its log must not look like one that never held anything.
    """
    stamps = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
    connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {OUTBOX} {stamps} COMMIT;")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring the tables of version 2 up to date, all or nothing; leave any other version alone.

    Version 2 had no channels, so its outbox named every alert and sent none: it goes.
    """
    if version(connection) == _UPGRADABLE:
        connection.executescript(
            f"BEGIN IMMEDIATE; DROP TABLE outbox; {OUTBOX} PRAGMA user_version = {VERSION}; COMMIT;"
        )


def is_sound(connection: sqlite3.Connection) -> bool:
    """Tell whether every page of the database can be read; takes as long as reading it."""
    try:
        return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def refusal(path: Path, error: sqlite3.Error) -> OddlotError | None:
    """Turn SQLite's error into one line with advice; None where it is a bug of ours."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (CORRUPT, NOTADB):
        return StateError(f"{path}: must be a whole database; {error}. {ADVICE_LOST}")
    if code == BUSY:
        return StateLocked(f"{path}: must be used by one process at a time; {error}")
    if code in ADVICE:
        raised = StorageError(f"{path}: {error}; {ADVICE[code]}")
        raised.full = code == FULL
        return raised
    return None


def alert_row(alert: Alert) -> tuple[object, ...]:
    """Turn an alert into values in the order of ALERT_COLUMNS; SQLite keeps NaN as NULL."""
    values = list(msgspec.structs.astuple(alert))
    # JSON has no NaN: it is null there, and infinity too.
    values[14] = msgspec.json.encode(alert.evidence).decode()
    return tuple(values)


def incident_row(incident: Incident) -> tuple[object, ...]:
    """Turn an incident into values in the order of INCIDENT_COLUMNS; lists are JSON."""
    return tuple(
        msgspec.json.encode(value).decode() if isinstance(value, list) else value
        for value in msgspec.structs.astuple(incident)
    )


def read_incident(row: tuple[Any, ...]) -> Incident:
    """Turn values in the order of INCIDENT_COLUMNS back into an incident."""
    values = dict(zip(Incident.__struct_fields__, row, strict=True))
    values |= {name: msgspec.json.decode(values[name]) for name in ("skus", "detectors")}
    return Incident(**values)


def read_alert(row: tuple[Any, ...]) -> Alert:
    """Turn values in the order of ALERT_COLUMNS back into an alert."""
    values = list(row)
    for index in (4, 5, 6, 10):
        if values[index] is None:
            values[index] = math.nan
    evidence = msgspec.json.decode(row[14], type=dict[str, float | None])
    values[14] = {name: math.nan if value is None else value for name, value in evidence.items()}
    return Alert(*values)
