"""Where leases are kept: one small document that is only replaced by whoever saw it last."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Protocol

from oddlot.errors import ConfigError, StateError, StreamError
from oddlot.streams.aws import Access, client, refusal

_SECONDS = 5.0  # that another process may keep the SQLite file locked
# Answers to a conditional write that lost: changed meanwhile, being changed, or deleted.
_LOST = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_GONE = {"NoSuchKey", "404"}


class LeaseStore(Protocol):
    """One document, replaced by compare and swap.

    Attributes:
        place: what an error names.
    """

    place: str

    def read(self) -> tuple[bytes, str]:
        """Return the document and its tag; both empty where there is none.

        Raises:
            StreamError: the store does not answer; call again later.
        """

    def write(self, document: bytes, tag: str) -> bool:
        """Replace the document that has this tag, none where it is empty.

        Returns:
            False where it is another by now: nothing was written.

        Raises:
            StreamError: the store does not answer, and may have written all the same.
        """

    def close(self) -> None:
        """Let go of it."""


def open_store(where: str, stream: str, access: Access) -> LeaseStore:
    """Open the store of a stream's leases.

    Args:
        where: s3://bucket/folder, or the path of a SQLite file on a disk of this machine.
        stream: name of the document.
        access: how to reach S3.

    Raises:
        ConfigError: there can be none.
    """
    if where.startswith("s3://"):
        return S3Store(where, stream, access)
    if re.match(r"\w+://", where):
        raise ConfigError(f"leases must be s3://bucket/folder or a file; got {where!r}")
    return FileStore(Path(where), stream)


class S3Store:
    """An object in S3, replaced by conditional writes."""

    def __init__(self, where: str, stream: str, access: Access) -> None:
        match = re.fullmatch(r"s3://([a-z0-9.-]{3,63})(?:/(.*?))?/*", where)
        if not match:
            raise ConfigError(f"leases must be s3://bucket/folder; got {where!r}")
        self._bucket = match[1]
        self._key = f"{match[2]}/{stream}.json" if match[2] else f"{stream}.json"
        self.place = f"s3://{self._bucket}/{self._key}"
        # Short, because what is held runs out meanwhile; whoever calls tries again.
        self._client = client(
            "s3",
            access,
            connect_timeout=2,
            read_timeout=4,
            retries={"mode": "standard", "total_max_attempts": 1},
        )

    def read(self) -> tuple[bytes, str]:
        """Return the document and its tag; see `LeaseStore.read`."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key)
            return answer["Body"].read(), answer["ETag"]
        except Exception as error:
            if _code(error) in _GONE:
                return b"", ""
            raise refusal(self.place, error) from error

    def write(self, document: bytes, tag: str) -> bool:
        """Replace the document that has this tag; see `LeaseStore.write`."""
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._key,
                Body=document,
                ContentType="application/json",
                **condition,
            )
        except Exception as error:
            if _code(error) in _LOST | (_GONE if tag else set()):
                return False
            raise refusal(self.place, error) from error
        return True

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


class FileStore:
    """A row in a SQLite file; for readers on one machine, not over a network's file system."""

    def __init__(self, path: Path, stream: str) -> None:
        self.place = str(path)
        self._stream = stream
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{path}: must be a file that can be written; got {error}") from None
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS leases (stream TEXT PRIMARY KEY,"
                " document BLOB NOT NULL, tag INTEGER NOT NULL) STRICT"
            )
        except sqlite3.Error as error:
            self._database.close()
            raise self._refusal(error) from None

    def read(self) -> tuple[bytes, str]:
        """Return the document and its tag; see `LeaseStore.read`."""
        try:
            with closing(
                self._database.execute(
                    "SELECT document, tag FROM leases WHERE stream = ?", (self._stream,)
                )
            ) as rows:
                row = rows.fetchone()
        except sqlite3.Error as error:
            raise self._refusal(error) from None
        return (bytes(row[0]), str(row[1])) if row else (b"", "")

    def write(self, document: bytes, tag: str) -> bool:
        """Replace the document that has this tag; see `LeaseStore.write`."""
        try:
            if tag:
                done = self._database.execute(
                    "UPDATE leases SET document = ?, tag = tag + 1 WHERE stream = ? AND tag = ?",
                    (document, self._stream, int(tag)),
                )
            else:
                done = self._database.execute(
                    "INSERT INTO leases VALUES (?, ?, 1) ON CONFLICT DO NOTHING",
                    (self._stream, document),
                )
        except sqlite3.Error as error:
            raise self._refusal(error) from None
        return done.rowcount == 1

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _refusal(self, error: sqlite3.Error) -> Exception:
        if isinstance(error, sqlite3.OperationalError):
            return StreamError(f"{self.place}: {error}")
        return StateError(f"{self.place}: must be a file of leases; got {error}")


def _code(error: Exception) -> str:
    """Return the code of an answer that is a refusal; empty for anything else."""
    answer = getattr(error, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""
