"""Where to begin in files that were there before the agent first ran."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from oddlot.errors import ConfigError
from oddlot.streams.chunks import PackedText, Text
from oddlot.streams.folder import Entry, WatchedFolder
from oddlot.streams.followed import Position, digest, find_opening
from oddlot.streams.handles import OpenFiles

_BEFORE = 256  # bytes before the offset that a position knows its file by
_LAST = 1 << 16


class Skip(msgspec.Struct, frozen=True):
    """The beginning of a file too short to be known again, which is not to be shipped.

    Attributes:
        size: bytes to skip.
        digest: hash of them.
    """

    size: int
    digest: str

    def fits(self, data: bytes) -> bool:
        """Tell whether a file begins with these bytes."""
        return len(data) >= self.size and digest(data[: self.size]) == self.digest


class Beginning(msgspec.Struct):
    """What a first look found.

    Attributes:
        positions: by partition, as `oddlot.streams.files.Files.open` takes them.
        skips: what to skip in files that have no position yet.
    """

    positions: dict[str, dict[str, Any]] = {}
    skips: list[Skip] = []


def begin(pattern: str, *, at_end: bool, offsets: Mapping[int, int]) -> Beginning:
    """Return positions for the files that are there now.

    Args:
        pattern: the files.
        at_end: whether to begin behind the last whole line of each, or before the first.
        offsets: inode and offset of files that another agent read so far.

    Raises:
        ConfigError: the folder is not there or may not be listed.
        StreamError: the folder cannot be listed now.
    """
    folder = WatchedFolder(pattern)
    opener = OpenFiles(folder)
    found = Beginning()
    for entry in folder.look():
        known = offsets.get(entry.inode)
        if known is None and not (at_end and entry.is_wanted):
            continue
        try:
            text = opener.open(entry.path, entry.place)
        except (OSError, ConfigError):
            continue  # the tail will say why, and read it when it can
        if text is None:
            continue
        try:
            _add(found, entry, text, known)
        finally:
            os.close(text.handle)
    return found


def _add(found: Beginning, entry: Entry, text: Text, known: int | None) -> None:
    is_packed = isinstance(text, PackedText)
    offset, is_inside = (0, False) if is_packed else _find_end(text, entry.size)
    if known is not None and not is_packed and known <= entry.size:
        offset, is_inside = known, False
    opening = find_opening(text, is_still=is_packed)
    if opening is None:
        if offset:
            found.skips.append(Skip(offset, digest(text.take(0, offset))))
        return
    name = plain = f"{entry.path}#{opening[0][:8]}"
    count = 1
    while name in found.positions:
        count += 1
        name = f"{plain}-{count}"
    before = text.take(max(0, offset - _BEFORE), min(_BEFORE, offset)) if offset else b""
    found.positions[name] = msgspec.to_builtins(
        Position(
            entry.path,
            *entry.place,
            is_packed,
            *opening,
            number=len(found.positions),
            offset=offset,
            last=digest(before) if offset else "",
            is_inside=is_inside,
            is_done=is_packed,
            done_size=entry.size if is_packed else 0,
        )
    )


def _find_end(text: Text, size: int) -> tuple[int, bool]:
    """Return the offset behind the last line end, and whether it lies inside a long line."""
    start = max(0, size - _LAST)
    cut = text.take(start, size - start).rfind(b"\n") + 1
    if not cut and start:
        return size, True
    return start + cut, False
