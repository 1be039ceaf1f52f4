"""Log files that grow and rotate, as a shop's till writes them."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from oddlot.errors import ConfigError, StreamError

ROTATIONS = ("number", "rename")


class LogFiles:
    """A folder's growing log files; only whole lines are ever written to them.

    With "number" a full file is left and the next begun: `orders-000001.csv`, then
    `orders-000002.csv`. With "rename" the file that grows is always `orders.log`; a full one
    becomes `orders.log.1`, and that `orders.log.2`. What is in the folder is never overwritten.

    Args:
        folder: where the files go; made if it is not there.
        header: first line of each file; b"" for none.
        ending: of numbered files, such as "csv".
        rotation: "number" or "rename".
        rotate_bytes: a file is full when the next line would make it larger; it has one line
            at least.
    """

    def __init__(
        self, folder: Path, header: bytes, ending: str, rotation: str, rotate_bytes: int
    ) -> None:
        self.files = 0
        self.bytes = 0
        self._folder = folder
        self._header = header
        self._ending = ending
        self._rotation = rotation
        self._rotate_bytes = rotate_bytes
        self._pending: list[bytes] = []
        self._taken = 0
        self._file: BinaryIO | None = None
        self._size = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._begin()
            self.flush()
        except (OSError, StreamError) as error:
            raise ConfigError(f"{folder}: must be a folder to write to: {_reason(error)}") from None

    @property
    def unwritten(self) -> int:
        """Bytes taken and not yet in the files."""
        return self._taken

    def write(self, lines: list[bytes]) -> None:
        """Take whole lines; they are in the files after the next `flush`."""
        size = sum(map(len, lines))
        if self._size + size <= self._rotate_bytes:
            self._take(lines, size)
            return
        for line in lines:
            is_full = self._size + len(line) > self._rotate_bytes
            if is_full and self._size > len(self._header):
                self._rotate()
            self._take([line], len(line))

    def flush(self) -> None:
        """Write what was taken.

        Raises:
            StreamError: it could not be written, as when the disk is full.
        """
        if self._file is None or not self._pending:
            return
        data = b"".join(self._pending)
        self._pending.clear()
        self._taken = 0
        written = 0
        try:
            while written < len(data):
                written += self._file.write(memoryview(data)[written:])
        except OSError as error:
            self._cut_back(written - data.rfind(b"\n", 0, written) - 1)
            raise StreamError(f"{self._file.name}: cannot be written: {_reason(error)}") from error

    def close(self) -> None:
        """Write what was taken and close the file."""
        try:
            self.flush()
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _take(self, lines: list[bytes], size: int) -> None:
        self._pending += lines
        self._size += size
        self._taken += size
        self.bytes += size

    def _cut_back(self, size: int) -> None:
        """Take half a line away again, so that what comes after it is not joined to it."""
        if self._file is not None and size:
            with suppress(OSError):
                self._file.truncate(self._file.tell() - size)

    def _rotate(self) -> None:
        self.close()
        try:
            self._begin()
        except OSError as error:
            raise StreamError(f"{self._folder}: cannot be written: {_reason(error)}") from None

    def _begin(self) -> None:
        path = self._next_numbered() if self._rotation == "number" else self._make_room()
        # A growing file is seen at once: no buffer of Python's keeps half a line.
        self._file = path.open("xb", buffering=0)
        self.files += 1
        self._size = 0
        self._take([self._header] if self._header else [], len(self._header))

    def _next_numbered(self) -> Path:
        numbers = _numbers(self._folder, r"orders-(\d+)\.\w+")
        return self._folder / f"orders-{max(numbers, default=0) + 1:06d}.{self._ending}"

    def _make_room(self) -> Path:
        """Move `orders.log` to `orders.log.1`, and so on up to the first free number."""
        path = self._folder / "orders.log"
        if path.exists():
            taken = set(_numbers(self._folder, r"orders\.log\.(\d+)"))
            last = next(number for number in range(1, len(taken) + 2) if number not in taken)
            for number in range(last, 1, -1):
                older = self._folder / f"orders.log.{number - 1}"
                older.rename(self._folder / f"orders.log.{number}")
            path.rename(self._folder / "orders.log.1")
        return path


def _numbers(folder: Path, pattern: str) -> list[int]:
    found = (re.fullmatch(pattern, path.name) for path in folder.iterdir())
    return [int(match[1]) for match in found if match]


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
