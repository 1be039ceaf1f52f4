"""Lines that cannot be shipped, kept where somebody can find them."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

_MOST = 64 << 20  # bytes in the file, and in the one before it, at most
_WAITING = 32 << 20  # bytes that wait for a disk that refuses, at most


class DeadLetters:
    """A file of JSON lines: time, flow, path, offset, problem, and the line as text or base64.

    Past 64 MiB it begins anew; the one before is kept beside it with the ending .1.

    Attributes:
        problem: why nothing can be written at present; "" if it can.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "set-aside.jsonl"
        self.problem = ""
        self._waiting: list[bytes] = []
        self._size = 0
        self._is_short = False  # something could neither be written nor kept

    def add(self, time: str, flow: str, place: tuple[str, int], problem: str, data: bytes) -> None:
        """Keep a line until the next `sync`.

        Args:
            time: now, in ISO format.
            flow: its id.
            place: the file, and the offset of the line in it.
            problem: why it cannot be shipped.
            data: the line.
        """
        said: dict[str, Any] = {"time": time, "flow": flow, "path": place[0], "offset": place[1]}
        said["problem"] = problem
        try:
            said["line"] = data.decode()
        except UnicodeDecodeError:
            said["base64"] = base64.b64encode(data).decode()
        text = json.dumps(said, ensure_ascii=False).encode() + b"\n"
        if self._size + len(text) > _WAITING and not self.sync():
            self._is_short = True
            return
        self._waiting.append(text)
        self._size += len(text)

    def sync(self) -> bool:
        """Write what was kept, durably; False if the disk refuses, see `problem`.

        Where more waits than is kept in memory it stays False until a new start, so that no
        position goes beyond a line that is in neither place.
        """
        if not self._waiting:
            return not self._is_short
        try:
            with self.path.open("ab", buffering=0) as file:
                start = file.seek(0, os.SEEK_END)
                try:
                    rest = memoryview(b"".join(self._waiting))
                    while rest:
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(start)  # all of them or none
                    raise
            if start + self._size > _MOST:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
        except OSError as error:
            self.problem = f"{self.path}: lines cannot be set aside: {error.strerror}"
            return False
        self._waiting, self._size = [], 0
        self.problem = ""
        if self._is_short:
            self.problem = f"{self.path}: lines could not be set aside; start the agent again"
        return not self._is_short

    def close(self) -> None:
        """Write what was kept."""
        self.sync()
