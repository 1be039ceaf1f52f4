"""Bytes that survive a crash: full writes, folder syncs, quarantine, the lock, crash points."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import msgspec

from oddlot.errors import ConfigError, StateError, StateLocked

Crash = Callable[[str], None]

# Every boundary between two input or output steps at which a crash can be asked for.
POINTS = (
    "open.lock",
    "open.schema",
    "open.owner",
    "open.orphan",
    "repair.move",
    "repair.flag",
    "commit.begin",
    "rows.write",
    "rows.half",
    "rows.sync",
    "rows.folder",
    "sql.checkpoint",
    "sql.alerts",
    "sql.rejects",
    "sql.counters",
    "sql.commit",
    "sql.done",
    "prune.file",
    "commit.done",
    "files.write",
    "files.half",
    "files.rotate",
    "files.sync",
    "files.folder",
    "files.restore",
    "archive.write",
    "archive.sync",
    "archive.name",
    "archive.folder",
    "archive.restore",
)
FULL = (errno.ENOSPC, errno.EDQUOT)


class StorageError(StateError):
    """The disk refused: it is full, read-only, gone or broken.

    What was acknowledged before is untouched. Where `full` is true, nothing is broken and the
    same call can be made again once there is room; otherwise start again from the checkpoint.
    """

    exit_code = 5
    full = False


def storage_error(place: Path | str, error: OSError) -> StorageError:
    """Turn the system's error about a file into one line with advice."""
    advice = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some space or raise the quota",
        errno.EROFS: "mount it writable or choose another folder",
        errno.EACCES: "give this user the right to write there or choose another folder",
        errno.EPERM: "give this user the right to write there or choose another folder",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
        errno.ENFILE: "raise the system's limit of open files",
        errno.EFBIG: "raise the limit of file size (ulimit -f)",
        errno.ENOTDIR: "name a folder, not a file",
        errno.EEXIST: "name a folder, not a file",
    }.get(error.errno or 0, "check the disk, then start again")
    raised = StorageError(f"{place}: {error.strerror or error}; {advice}")
    raised.full = error.errno in FULL
    return raised


def crash_from_environment(environ: Mapping[str, str] = os.environ) -> Crash:
    """Return the hook that kills this process at ODDLOT_CRASH_AT=point:n, the n-th time there.

    Without that variable the hook does nothing.

    Raises:
        ConfigError: the variable names no known point.
    """
    wanted = environ.get("ODDLOT_CRASH_AT", "")
    return _crash_at(wanted) if wanted else no_crash


@functools.cache  # so that all parts of a process count together
def _crash_at(wanted: str) -> Crash:
    point, _, times = wanted.partition(":")
    if point not in POINTS or not (times or "1").isdecimal():
        raise ConfigError(
            f"ODDLOT_CRASH_AT: must be point:n with one of: {', '.join(POINTS)}; got {wanted!r}"
        )
    seen: Counter[str] = Counter()

    def crash(name: str) -> None:
        seen[name] += 1
        if name == point and seen[name] == int(times or "1"):
            os.kill(os.getpid(), signal.SIGKILL)

    return crash


def no_crash(point: str) -> None:
    """Do nothing at a crash point."""


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`; the system may take it in several bites."""
    rest = memoryview(data).cast("B")
    while rest.nbytes:
        taken = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[taken:], offset + taken


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a new file can be lost without it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, durably.

    Raises:
        StorageError: it could not be created, or is not a folder.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in missing:
            sync_folder(place.parent)
    except OSError as error:
        raise storage_error(folder, error) from error


def write_file(path: Path, pieces: Iterable[bytes | memoryview], crash: Crash, part: str) -> None:
    """Write a new file and make it durable, its name too; removes it again if the disk refuses.

    Args:
        path: where; must not exist yet.
        pieces: what, in order.
        crash: called at `part`.write, .half (first piece written), .sync and .folder.
        part: the first word of the crash points.

    Raises:
        StorageError: the disk refused.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            crash(f"{part}.write")
            offset = 0
            for number, piece in enumerate(pieces):
                if number == 1:
                    crash(f"{part}.half")
                write_all(descriptor, piece, offset)
                offset += memoryview(piece).nbytes
            crash(f"{part}.sync")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        crash(f"{part}.folder")
        sync_folder(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise storage_error(path, error) from error


def set_aside(path: Path, quarantine: Path, report: bytes = b"") -> Path:
    """Move a file into the quarantine folder under a name that is free; never deletes.

    Args:
        path: the file; if it is missing, only the report is written.
        quarantine: the folder, made if need be.
        report: what is known about it, kept beside it as `<name>.report.json` if not empty.

    Returns:
        Where the file is, or would be, now.
    """
    make_folder(quarantine)
    taken, target = 0, quarantine / path.name
    while target.exists() or target.with_name(f"{target.name}.report.json").exists():
        taken += 1
        target = quarantine / f"{path.name}.{taken}"
    try:
        if report:
            target.with_name(f"{target.name}.report.json").write_bytes(report)
        if path.exists():
            path.rename(target)
            sync_folder(path.parent)
        sync_folder(quarantine)
    except OSError as error:
        raise storage_error(target, error) from error
    return target


class Holder(msgspec.Struct, frozen=True):
    """Who works on a folder: process id, host, and since when (ISO, UTC)."""

    pid: int
    host: str
    start: str


class Lock:
    """The exclusive right to write in a folder, until released or the process ends.

    A POSIX record lock, because a forked child does not inherit it as it would a `flock`. Its
    other side: it knows processes only, and closing any handle of the file releases it; so
    this process also remembers what it holds and never opens the file twice.
    """

    _held: ClassVar[dict[Path, Holder]] = {}

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Args:
            path: the lock file, made if need be.

        Raises:
            StateLocked: another process, or this one, holds it.
            StorageError: the file cannot be written.
        """
        self.path = path.resolve()
        if self.path in self._held:
            raise self._refusal(self._held[self.path])
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise storage_error(path, error) from error
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            text = os.pread(self._file, 4096, 0)
            os.close(self._file)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise storage_error(path, error) from error
            try:
                holder = msgspec.json.decode(text, type=Holder)
            except msgspec.DecodeError:
                holder = None
            raise self._refusal(holder) from None
        self.holder = Holder(
            os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(" ", "seconds")
        )
        try:
            os.ftruncate(self._file, 0)
            write_all(self._file, msgspec.json.encode(self.holder), 0)
        except OSError as error:
            os.close(self._file)
            raise storage_error(path, error) from error
        self._held[self.path] = self.holder

    def _refusal(self, holder: Holder | None) -> StateLocked:
        who = "another process"
        if holder is not None:
            who = f"process {holder.pid} on {holder.host}, started {holder.start}"
        return StateLocked(
            f"{self.path.parent}: must be used by one process at a time; {who}, uses it"
        )

    def release(self) -> None:
        """Give the folder free; harmless when done twice."""
        if self._held.pop(self.path, None) is not None:
            os.close(self._file)
