"""One file of a followed folder: what is known of it, and its next whole lines."""

from __future__ import annotations

import hashlib
import os
import re

import msgspec

from oddlot.streams.chunks import Chunk, Part, Text
from oddlot.streams.folder import Entry

# So many bytes before the offset say whether a file is still the one that was read so far.
_BEFORE = 256
_OPENING = 4096
_ALIKE = 1 << 16


class Position(msgspec.Struct, forbid_unknown_fields=True):
    """Where to read on in one partition, and how to know its file again.

    Attributes:
        path: where the file was last seen, from the followed folder.
        device: as stat gives it; with `inode` 0 the file is lost for now.
        inode: as stat gives it.
        is_packed: whether the file is gzip or Zstandard.
        offset: bytes of text that were handed out.
        opening: hash of the first lines, see `find_opening`.
        opening_size: bytes that it is made of.
        last: hash of the bytes before the offset, 256 at most.
        number: the order in which files were first seen, from 0.
        is_inside: whether the offset lies within a line that is too long to be a record.
        is_done: whether nothing more is expected.
        done_size: bytes of the packed file when it was done.
    """

    path: str
    device: int
    inode: int
    is_packed: bool
    opening: str
    opening_size: int
    number: int
    offset: int = 0
    last: str = ""
    is_inside: bool = False
    is_done: bool = False
    done_size: int = 0


class FollowedFile:
    """One file that is read on, wherever it is moved to.

    Args:
        name: the partition.
        position: where to begin; updated in place.
        turn: the number of the present poll.
    """

    def __init__(self, name: str, position: Position, turn: int) -> None:
        self.name = name
        self.position = position
        self.text: Text | None = None
        self.is_there = False  # the last look into the folder found it
        self.is_waiting = False  # nothing to hand out until the file changes
        self.is_replaced = False  # other bytes are there now than those that were read
        self.size = -1  # when the file was last looked at; -1: not yet
        self.seen = turn
        self.grown = turn
        self.still_us = 0  # since when the file has not changed
        self.problem = ""  # why it cannot be read on
        self.is_brief = True  # its first lines may not be in the opening yet
        self.series = find_series(position.path)
        self._changed_ns = 0
        self._before: bytes | None = None  # the bytes before the offset; None: only their hash

    @property
    def is_lost(self) -> bool:
        """Whether its bytes can be read nowhere at present."""
        return not self.is_there and self.text is None

    @property
    def unread(self) -> int:
        """Bytes known to be there and not handed out; 0 for a packed file."""
        return 0 if self.position.is_packed else max(0, self.size - self.position.offset)

    def has_more(self) -> bool:
        """Tell whether there may be something to take."""
        return not self.is_waiting and not self.position.is_done

    def attach(self, entry: Entry, text: Text, *, is_packed: bool) -> None:
        """Read on in this file from now on."""
        self.let_go()
        self.text = text
        self.position.device, self.position.inode = entry.place
        self.position.is_packed = is_packed
        self.position.is_done = False
        self.is_replaced = self.is_waiting = False
        self._before = None
        self.size = -1
        self.problem = ""

    def come_back(self) -> None:
        """Read on in the file, which was not there at the last look."""
        self.is_waiting = False
        self.position.is_done &= self.position.is_packed

    def detach(self, now_us: int) -> None:
        """Forget which file it is; its bytes may turn up in another one."""
        self.let_go()
        self.position.device = self.position.inode = 0
        self.is_there = self.is_replaced = False
        self.is_waiting = True
        self.still_us = now_us

    def let_go(self) -> None:
        """Close the file."""
        self.store()
        if self.text is not None:
            os.close(self.text.handle)
            self.text = None

    def store(self) -> Position:
        """Return the position, brought up to date."""
        if self._before is not None:
            self.position.last = digest(self._before)
        return self.position

    def has_changed(self, size: int, changed_ns: int) -> bool:
        """Tell whether stat says something new."""
        return (size, changed_ns) != (self.size, self._changed_ns)

    def notice(self, size: int, changed_ns: int, turn: int, now_us: int) -> None:
        """Take note of what stat says."""
        if self.has_changed(size, changed_ns):
            if size > self.size >= 0:
                self.grown = turn
            if not self.position.is_packed or size != self.position.done_size:
                self.position.is_done = False
            self.size, self._changed_ns, self.still_us = size, changed_ns, now_us
            self.is_waiting = False

    def take(self, size: int, longest: int) -> Chunk | None:
        """Return the next whole lines, `size` bytes at most, or a piece of too long a line."""
        data, begin = self._read(size)
        if self.is_replaced:
            return None
        inside = self.position.is_inside
        cut = (data.find(b"\n", begin) if inside else data.rfind(b"\n", begin)) + 1
        if not cut and (inside or len(data) - begin > longest):
            cut = len(data)
        if cut <= begin:
            self.is_waiting = True
            return None
        whole = data[cut - 1] == 0x0A
        self.position.is_inside = not whole
        part: Part = "rest" if inside else "lines" if whole else "start"
        chunk = Chunk(self.name, self.position.offset, memoryview(data)[begin:cut], part=part)
        self._advance(data, begin, cut)
        is_at_end = not self.position.is_packed and len(data) - begin < size
        # Behind the last line end there is half a line, or nothing.
        self.is_waiting = is_at_end and not inside and len(data) - cut <= longest
        return chunk

    def finish(self, longest: int) -> Chunk | None:
        """Return what is left, a line without line end, as the end of the partition."""
        data, begin = self._read(longest) if self.text is not None else (b"", 0)
        if self.is_replaced:
            return None
        part: Part = "rest" if self.position.is_inside else "lines"
        rest = memoryview(data)[begin:]
        chunk = Chunk(self.name, self.position.offset, rest, end=True, part=part)
        if rest:
            self._advance(data, begin, len(data))
        self.is_waiting = True
        return chunk

    def expect_nothing(self) -> None:
        """Close the file for good, unless it changes after all."""
        self.let_go()
        self.position.is_done = True
        self.position.done_size = self.size
        self.is_waiting = True

    def is_intact(self) -> bool:
        """Tell whether an open file still holds what was read so far."""
        self._read(0)
        return not self.is_replaced

    def continues_in(self, text: Text) -> bool | None:
        """Tell whether a text holds what was read so far; None if it is shorter than that."""
        length = min(_BEFORE, self.position.offset)
        data = text.take(self.position.offset - length, length)
        if len(data) < length:
            return None
        return not length or digest(data) == self.store().last

    def refine(self) -> str:
        """Take the first lines into the opening, if they were not complete when it was made.

        Returns:
            What the opening was, if it is another one now, or "".
        """
        opening = find_opening(self.text, is_still=False) if self.text and self.is_brief else None
        if opening is None:
            return ""
        self.is_brief = False
        before = self.position.opening
        self.position.opening, self.position.opening_size = opening
        return before if before != opening[0] else ""

    def begins_like(self, text: Text) -> bool:
        """Tell whether a text begins as this one does, as far as the shorter of them goes."""
        if self.text is None or self.position.is_packed:
            return True  # the opening, the same in both, must do
        own, other = self.text.take(0, _ALIKE), text.take(0, _ALIKE)
        return own.startswith(other) or other.startswith(own)

    def _read(self, size: int) -> tuple[bytes, int]:
        """Return the bytes before the offset and up to `size` behind it, and how many before."""
        if self.text is None:
            raise ValueError(f"{self.name} must be open; got a closed file")
        # One call for both, so that nobody can change the file in between.
        length = min(_BEFORE, self.position.offset)
        data = self.text.take(self.position.offset - length, length + size)
        before = data[:length]
        known = (
            self._before == before
            if self._before is not None
            else (not length or digest(before) == self.position.last)
        )
        if self.position.offset < self.position.opening_size:
            first = self.text.take(0, self.position.opening_size)
            known = known and digest(first) == self.position.opening
        if known:
            self._before = before
        self.is_replaced = not known
        return data, length

    def _advance(self, data: bytes, begin: int, cut: int) -> None:
        self.position.offset += cut - begin
        self._before = data[max(0, cut - _BEFORE) : cut]


class Stranger:
    """A file of the folder that is not followed, or not yet."""

    def __init__(self, entry: Entry, now_us: int, *, is_counted: bool) -> None:
        self.path = entry.path
        self.since_us = now_us  # when it last changed
        self.is_settled = False  # looked at; nothing to do until it changes
        self.is_short = False  # its first lines are not complete yet
        self.repeats = ""  # the partition that it repeats
        self.is_counted = is_counted  # as a copy
        self.problem = ""
        self._stat = (entry.size, entry.changed_ns)

    def has_changed(self, entry: Entry) -> bool:
        """Tell whether the file was written since."""
        return self._stat != (entry.size, entry.changed_ns)

    def is_due(self, *, is_still: bool) -> bool:
        """Tell whether to look at it again."""
        return not self.is_settled or (self.is_short and is_still)


def digest(data: bytes) -> str:
    """Return a short hash as hex digits."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def find_opening(text: Text, *, is_still: bool, takes_one: bool = False) -> tuple[str, int] | None:
    """Return a hash of a file's first lines, to tell files apart, and how many bytes these are.

    Of JSON Lines the first line counts, of anything else the first two, because files of one
    writer have one header. At most 4 KiB count.

    Args:
        text: the file.
        is_still: whether to take an unfinished line for finished.
        takes_one: whether one line will then do, where two are looked for.

    Returns:
        None while the lines are not complete.
    """
    head = text.take(0, _OPENING)
    is_over = is_still or text.is_whole
    count = 1 if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else 2
    lines = head.split(b"\n", count)
    is_complete = len(lines) > count or len(head) == _OPENING
    is_enough = bool(lines[0]) if takes_one else len(lines) == count and bool(lines[-1])
    if not is_complete and not (is_over and is_enough):
        return None
    # Without the last line end, which may be missing now and written later.
    opening = b"\n".join(lines[:count] if is_complete else filter(None, lines)).removesuffix(b"\r")
    return digest(opening), len(opening)


def find_series(path: str) -> tuple[str, str]:
    """Return what the names of files have in common that one writer writes in turn.

    Such as orders.log, orders.log.1 and orders.log.2.gz, or orders-000001.csv and so on.
    """
    folder, _, name = path.rpartition("/")
    return folder, re.sub(r"[0-9_\W]+", "", re.sub(r"[.](gz|zst)$", "", name))
