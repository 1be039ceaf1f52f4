"""How things stand now, in a few figures: what every open page is told."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oddlot.config import Config
from oddlot.errors import OddlotError
from oddlot.web.engine_lock import is_locked
from oddlot.web.inbox import Inbox
from oddlot.web.starting import look_at_start

_RATE_SECONDS = 30.0  # over so long lines a second are told
_AGAIN_SECONDS = 1.0  # between two looks at what tells no change by itself


class Pulse:
    """Looks at a state folder that may come, go and be set aside while pages are open.

    Args:
        config: from shop.toml.
        clock: seconds since 1970.

    Attributes:
        newest: what `look` returned last.
    """

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        self.newest: dict[str, Any] = {"state": "none"}
        self._config = config
        self._folder = Path(config.state.path)
        self._clock = clock
        self._inbox: Inbox | None = None
        self._inode = 0
        self._version: tuple[int, int, int] | None = None
        self._looked = 0.0
        self._marks: deque[tuple[float, int]] = deque()

    def look(self) -> dict[str, Any]:
        """Return how things stand; what a page need not show twice a second stays as it was."""
        try:
            self.newest = self._look()
        except OddlotError as error:
            self._forget()
            self.newest = {"state": "broken", "why": str(error)}
        return self.newest

    def _look(self) -> dict[str, Any]:
        now = self._clock()
        is_due = now - self._looked >= _AGAIN_SECONDS
        inbox = self._open()
        if inbox is None:
            if not is_due and self.newest["state"] == "none":
                return self.newest
            self._looked = now
            start = look_at_start(self._config)
            return {"state": "none", "ready": start.ready, "all": start.all}
        version = inbox.version()
        if version == self._version and not is_due:
            return self.newest
        self._version = version
        self._looked = now
        counts = inbox.totals()
        meta = inbox.meta()
        made = self._saved_at(inbox)
        self._note(made, counts["scored"])
        return {
            "state": "running" if is_locked(self._folder) else "stopped",
            "alerts": version[1],
            "incidents": inbox.incidents_total(),
            "read": counts["read"],
            "scored": counts["scored"],
            "rejected": counts["rejected"],
            "late": counts["late"],
            "duplicate": counts["duplicate"],
            "rate": self._rate(now),
            "checkpoint": version[2],
            "saved_s": round(made, 1),
            "watermark_us": meta.watermark_us,
        }

    def _open(self) -> Inbox | None:
        """Return the open store; another file of that name is another store."""
        try:
            inode = (self._folder / "oddlot.sqlite").stat().st_ino
        except OSError:
            inode = 0
        if inode != self._inode:
            self._forget()
        if self._inbox is None and inode:
            with contextlib.suppress(OddlotError):  # not made yet, or refused: the pages say why
                self._inbox = Inbox.open(self._folder)
                self._inode = inode
        return self._inbox

    def _forget(self) -> None:
        if self._inbox is not None:
            self._inbox.close()
        self._inbox, self._inode, self._version = None, 0, None
        self._marks.clear()

    def _saved_at(self, inbox: Inbox) -> float:
        """Return when the newest checkpoint was made, seconds since 1970; 0 for never."""
        for snapshot in inbox.snapshots():
            with contextlib.suppress(OSError):
                return (self._folder / snapshot.file).stat().st_mtime
        return 0.0

    def _note(self, made: float, scored: int) -> None:
        if made and (not self._marks or self._marks[-1][0] < made):
            self._marks.append((made, scored))
        while len(self._marks) > 2 and self._marks[-1][0] - self._marks[0][0] > _RATE_SECONDS:
            self._marks.popleft()

    def _rate(self, now: float) -> int:
        """Return lines a second between checkpoints; 0 where the last one is old."""
        if len(self._marks) < 2 or now - self._marks[-1][0] > _RATE_SECONDS:
            return 0
        (began, before), (ended, after) = self._marks[0], self._marks[-1]
        return max(0, round((after - before) / (ended - began)))
