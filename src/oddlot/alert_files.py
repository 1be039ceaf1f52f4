"""Alert files: where rules that fire on most lines write, too much for a database."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from oddlot.durable import (
    Crash,
    StorageError,
    crash_from_environment,
    make_folder,
    set_aside,
    storage_error,
    sync_folder,
    write_all,
)
from oddlot.errors import StateError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class AlertFiles:
    """A folder of append-only files, one after the other for each detector.

    Bytes in, position out. A position counts a detector's bytes since the beginning, over all its
    files. The first file is `<detector>.<ending>`; one that came by rotation is
    `<detector>-<position of its first byte, 15 digits>.<ending>`, so that old files can be
    moved away at any time. At a checkpoint: `sync`, then `positions` into the checkpoint.
    After a start: `restore` first.

    Args:
        folder: made if need be; used by one process at a time (the store's lock sees to it).
        ending: how the names end, such as "csv".
        rotate_bytes: a file that has grown to this size is followed by another; 0 for never.
        crash: called at each boundary, for tests; None reads ODDLOT_CRASH_AT.
    """

    def __init__(
        self, folder: Path, ending: str, *, rotate_bytes: int = 0, crash: Crash | None = None
    ) -> None:
        make_folder(folder)
        self.folder = folder
        self.ending = ending
        self.rotate_bytes = rotate_bytes
        self._crash = crash_from_environment() if crash is None else crash
        self._restored = False
        self._broken = False
        self._new_names = False
        self._files: dict[str, _File] = {}
        self._positions: dict[str, int] = {}

    def append(self, detector: str, data: bytes | memoryview, header: bytes = b"") -> int:
        """Write whole records at the end of a detector's newest file.

        Args:
            detector: the detector's name; letters, digits, `_`, `.` and `-`.
            data: whole records; hand in many at a time.
            header: written before them where the file is empty, such as CSV's line of names.

        Returns:
            The detector's position after them. Durable only after `sync`.

        Raises:
            StorageError: the disk refused, and nothing was written. Where its `full` is true,
                call again later with the same; otherwise restore from the last checkpoint.
        """
        self._check()
        place: Path = self.folder
        try:
            file = self._newest(detector)
            place = file.path
            self._crash("files.write")
            try:
                end = file.size
                if end == 0 and header:
                    write_all(file.descriptor, header, end)
                    end += len(header)
                self._crash("files.half")
                write_all(file.descriptor, data, end)
                end += memoryview(data).nbytes
            except OSError as error:
                self._broken = error.errno == errno.EIO
                self._take_back(file)
                raise
        except OSError as error:
            raise storage_error(place, error) from error
        file.is_durable = file.is_durable and end == file.size
        file.size = end
        self._positions[detector] = file.start + end
        return self._positions[detector]

    def positions(self) -> dict[str, int]:
        """Return each detector's position, to be kept in the checkpoint after `sync`."""
        return dict(self._positions)

    def sync(self) -> None:
        """Make durable all that was appended.

        Raises:
            StorageError: the disk refused; make no checkpoint, restore from the last one.
        """
        self._check()
        place = self.folder
        try:
            for file in self._files.values():
                if not file.is_durable:
                    place = file.path
                    self._crash("files.sync")
                    os.fsync(file.descriptor)
                    file.is_durable = True
            if self._new_names:
                place = self.folder
                self._crash("files.folder")
                sync_folder(self.folder)
                self._new_names = False
        except OSError as error:
            # The system has dropped what it could not write; a second fsync would lie.
            self._broken = True
            raise storage_error(place, error) from error

    def restore(self, positions: Mapping[str, int]) -> list[str]:
        """Go back to a checkpoint: forget what was appended after it.

        The last file is cut at its recorded length; a file with nothing recorded of it is moved to
        quarantine/, because it may be another run's whole output. Files that were moved
        away are no error: a new one begins at the recorded position.

        Args:
            positions: as `positions` gave them; empty where there is no checkpoint.

        Returns:
            What was moved or missing, one line each.

        Raises:
            StateError: a file is shorter than recorded: what was durable is lost.
            StorageError: the disk refused.
        """
        self.close()
        notes: list[str] = []
        self._positions = dict(positions)
        place = self.folder
        try:
            # The newest first: the one that holds the recorded position is cut, the ones before
            # it stay as they are.
            for detector, start, path in reversed(self._find()):
                place = path
                self._crash("files.restore")
                if start < positions.get(detector, 0):
                    if detector not in self._files:
                        self._cut(detector, start, path, positions[detector] - start)
                elif path.stat().st_size:
                    moved = set_aside(path, self.folder / "quarantine")
                    notes.append(f"{path}: nothing of it was committed; moved to {moved}")
                else:
                    path.unlink()
            notes += [
                f"{self._path(detector, position)}: goes on without the files before it"
                for detector, position in sorted(positions.items())
                if position and detector not in self._files
            ]
            sync_folder(self.folder)
        except OSError as error:
            raise storage_error(place, error) from error
        self._restored, self._broken = True, False
        return notes

    def close(self) -> None:
        """Close the files, without making them durable; harmless when done twice."""
        for file in self._files.values():
            os.close(file.descriptor)
        self._files.clear()
        self._restored = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self) -> None:
        if self._broken:
            raise StorageError(f"{self.folder}: must be restored after the disk failed")
        if not self._restored:
            raise RuntimeError("AlertFiles.restore comes before append and sync")

    def _newest(self, detector: str) -> _File:
        """Return the file to append to, opening the next one where it is time."""
        file = self._files.get(detector)
        if file is None and not NAME.fullmatch(detector):
            raise ValueError(f"a detector's name must be fit for a file; got {detector!r}")
        if file is not None and 0 < self.rotate_bytes <= file.size:
            self._crash("files.rotate")
            os.fsync(file.descriptor)
            os.close(file.descriptor)
            del self._files[detector]
            file = None
        if file is None:
            start = self._positions.get(detector, 0)
            path = self._path(detector, start)
            file = _File(path, start, 0, os.open(path, _FLAGS | os.O_EXCL, 0o644))
            self._files[detector] = file
            self._new_names = True
        return file

    def _path(self, detector: str, start: int) -> Path:
        part = f"-{start:015d}" if start else ""
        return self.folder / f"{detector}{part}.{self.ending}"

    def _find(self) -> list[tuple[str, int, Path]]:
        """Find the files that are there: detector, position of the first byte, path; in order."""
        pattern = re.compile(rf"({NAME.pattern}?)(?:-(\d{{15}}))?\.{re.escape(self.ending)}")
        matches = ((pattern.fullmatch(path.name), path) for path in self.folder.iterdir())
        return sorted((match[1], int(match[2] or 0), path) for match, path in matches if match)

    def _take_back(self, file: _File) -> None:
        """Cut off half a record: whoever follows the file would take it for one."""
        try:
            os.ftruncate(file.descriptor, file.size)
        except OSError:
            self._broken = True

    def _cut(self, detector: str, start: int, path: Path, keep: int) -> None:
        file = _File(path, start, keep, os.open(path, _FLAGS))
        self._files[detector] = file
        size = os.fstat(file.descriptor).st_size
        if size < keep:
            raise StateError(
                f"{path}: must have the {keep} bytes that were committed; got {size}. Restore a"
                " backup, or start from nothing with --start-fresh"
            )
        if size > keep:
            os.ftruncate(file.descriptor, keep)
            os.fsync(file.descriptor)


_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class _File:
    """One open file: its first byte's position, its size, and whether that is durable."""

    __slots__ = ("descriptor", "is_durable", "path", "size", "start")

    def __init__(self, path: Path, start: int, size: int, descriptor: int) -> None:
        self.path = path
        self.start = start
        self.size = size
        self.descriptor = descriptor
        self.is_durable = True
