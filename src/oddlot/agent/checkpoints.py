"""How far each file was shipped, kept in SQLite over crashes."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec

from oddlot.agent.beginnings import Skip
from oddlot.durable import Lock, StorageError, make_folder
from oddlot.errors import StateError

_APPLICATION = 0x4F444C41
_VERSION = 1
_TABLES = """
CREATE TABLE begun (
    flow TEXT NOT NULL, pattern TEXT NOT NULL, skips TEXT NOT NULL,
    PRIMARY KEY (flow, pattern)
) STRICT, WITHOUT ROWID;
CREATE TABLE position (
    flow TEXT NOT NULL, pattern TEXT NOT NULL, partition TEXT NOT NULL,
    value TEXT NOT NULL, saved_us INTEGER NOT NULL,
    PRIMARY KEY (flow, pattern, partition)
) STRICT, WITHOUT ROWID;
"""
_FILE_ID = re.compile(r"ino=(\d+)")

Place = tuple[str, str, str]  # flow, pattern, partition


class Saved(msgspec.Struct):
    """What is known of one flow.

    Attributes:
        positions: by pattern, then partition.
        skips: by pattern; the patterns that were followed before are its keys.
    """

    positions: dict[str, dict[str, dict[str, Any]]] = {}
    skips: dict[str, list[Skip]] = {}


class Checkpoints:
    """The positions of all flows, in a folder that one agent at a time works on.

    A write that the disk refuses is kept and tried again with the next: the agent goes on
    shipping, and what it ships meanwhile is shipped again after a crash.

    Attributes:
        problem: why positions cannot be written at present; "" if they can.
    """

    def __init__(self, folder: Path, sql: sqlite3.Connection, lock: Lock | None) -> None:
        self.folder = folder
        self.problem = ""
        self._sql = sql
        self._lock = lock
        self._rows: dict[Place, str] = {}
        self._gone: set[Place] = set()
        self._begun: dict[tuple[str, str], str] = {}

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the folder, made if need be, to read and write.

        Raises:
            StateLocked: another agent works on it.
            StateError: what is there is not an agent's state.
            StorageError: the disk refuses, and nothing was saved there before.
        """
        path = folder / "checkpoints.db"
        lock = None
        try:
            make_folder(folder)
            lock = Lock(folder / "lock")
        except StorageError:
            if not path.exists():
                raise
        try:
            return cls(folder, _connect(path, is_read_only=lock is None), lock)
        except BaseException:
            if lock is not None:
                lock.release()
            raise

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open the folder to look at it, also while an agent works on it.

        Raises:
            StateError: there is no agent's state.
        """
        path = folder / "checkpoints.db"
        if not path.exists():
            raise StateError(f"{folder}: must be an agent's state folder; got none: no agent ran")
        return cls(folder, _connect(path, is_read_only=True), None)

    def load(self, flow: str) -> Saved:
        """Return what was saved of a flow."""
        saved = Saved()
        rows = self._sql.execute("SELECT pattern, skips FROM begun WHERE flow = ?", (flow,))
        for pattern, skips in rows:
            saved.skips[pattern] = msgspec.json.decode(skips, type=list[Skip])
        for pattern, partition, value in self._sql.execute(
            "SELECT pattern, partition, value FROM position WHERE flow = ?", (flow,)
        ):
            positions = saved.positions.setdefault(pattern, {})
            positions[partition] = msgspec.json.decode(value)
        for pattern, positions in saved.positions.items():
            # A tail reads files in the order in which it is told of them: that of first sight.
            ordered = sorted(positions.items(), key=lambda item: int(item[1]["number"]))
            saved.positions[pattern] = dict(ordered)
        return saved

    def begin(
        self, flow: str, pattern: str, positions: Mapping[str, Any], skips: list[Skip]
    ) -> None:
        """Keep where a pattern is followed from, for the next commit."""
        self._begun[flow, pattern] = msgspec.json.encode(skips).decode()
        for partition, position in positions.items():
            self.put((flow, pattern, partition), position)

    def put(self, place: Place, position: Mapping[str, Any]) -> None:
        """Keep a position for the next commit."""
        self._rows[place] = msgspec.json.encode(position).decode()
        self._gone.discard(place)

    def drop(self, flow: str, known: Iterable[tuple[str, str]]) -> None:
        """Forget, with the next commit, all files of a flow but the known ones."""
        kept = set(known)
        rows = self._sql.execute("SELECT pattern, partition FROM position WHERE flow = ?", (flow,))
        self._gone |= {(flow, *row) for row in rows if row not in kept}

    @property
    def is_clean(self) -> bool:
        """Whether everything is on the disk."""
        return not (self._rows or self._gone or self._begun)

    def commit(self, now_us: int) -> bool:
        """Write what is kept, all or nothing, durably; False if the disk refuses, see `problem`."""
        if self.is_clean:
            return True
        rows = [(*place, value, now_us) for place, value in self._rows.items()]
        begun = [(*place, skips) for place, skips in self._begun.items()]
        try:
            with self._sql:
                self._sql.execute("BEGIN IMMEDIATE")
                self._sql.executemany("REPLACE INTO begun VALUES (?, ?, ?)", begun)
                self._sql.executemany(
                    "DELETE FROM position WHERE flow = ? AND pattern = ? AND partition = ?",
                    self._gone - self._rows.keys(),
                )
                self._sql.executemany("REPLACE INTO position VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            self.problem = f"{self.folder}: positions cannot be saved: {error}; free the disk"
            return False
        self.problem = ""
        self._rows.clear()
        self._gone.clear()
        self._begun.clear()
        return True

    def close(self) -> None:
        """Give the folder free; what was not committed is lost."""
        with contextlib.suppress(sqlite3.Error):
            self._sql.close()
        if self._lock is not None:
            self._lock.release()


def read_old(path: Path, patterns: tuple[str, ...], stream: str) -> dict[int, int]:
    """Return inode and offset of the files that Amazon's agent followed for a stream.

    Args:
        path: its file of positions; if it is not there, or is something else, nothing was.
        patterns: only files in their folders count.
        stream: only what went to it counts.
    """
    if not path.is_file():
        return {}
    folders = {os.path.dirname(pattern) for pattern in patterns}
    found: dict[int, int] = {}
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as sql:
            rows = sql.execute(
                "SELECT flow, path, fileId, offset FROM FILE_CHECKPOINTS ORDER BY lastUpdated"
            ).fetchall()
    except sqlite3.Error:
        return {}
    for flow, file, file_id, offset in rows:
        inode = _FILE_ID.search(str(file_id))
        is_ours = stream in str(flow).split(":")
        if inode and is_ours and str(Path(str(file)).parent) in folders:
            found[int(inode[1])] = int(offset)
    return found


def _connect(path: Path, *, is_read_only: bool = False) -> sqlite3.Connection:
    mode = "mode=rwc"
    if is_read_only:
        # Where nobody writes, SQLite needs no file beside it, which it may not be able to make.
        has_log = path.with_name(f"{path.name}-wal").exists()
        mode = "mode=ro" if has_log else "mode=ro&immutable=1"
    try:
        address = f"{path.resolve().as_uri()}?{mode}"
        sql = sqlite3.connect(address, uri=True, timeout=5.0, isolation_level=None)
        application, version = sql.execute(
            "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version"
        ).fetchone()
        if is_read_only:
            if application != _APPLICATION:
                raise StateError(f"{path}: must be an agent's state; got another database")
            return sql
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("PRAGMA synchronous = FULL")
        if not application and not version:
            stamps = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION};"
            sql.executescript(f"BEGIN IMMEDIATE; {_TABLES} {stamps} COMMIT;")
            application, version = _APPLICATION, _VERSION
    except sqlite3.DatabaseError as error:
        raise StateError(f"{path}: must be an agent's state; got damage: {error}") from None
    if (application, version) != (_APPLICATION, _VERSION):
        raise StateError(f"{path}: must be an agent's state of version {_VERSION}; got another")
    return sql
