"""The files of a flow followed, and how far each was shipped without a gap."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from oddlot.agent.beginnings import Skip
from oddlot.agent.lines import Cutter, Rules
from oddlot.errors import ConfigError, StreamError
from oddlot.streams.files import Chunk, Files, Tail
from oddlot.streams.folder import WatchedFolder
from oddlot.streams.followed import digest

_BLOCK = 1 << 16  # bytes; the finer, the less is repeated after a crash
_BEFORE = 256  # bytes before the offset that a position knows its file by
_REOPEN_US = 10_000_000

File = tuple[str, str]  # pattern and partition


class Block:
    """Whole lines out of one file on their way, acknowledged together.

    Attributes:
        file: pattern and partition.
        path: where the file was at first sight.
        end: offset behind it.
        before: the bytes before `end`; None: not known.
        is_inside: whether `end` lies inside a line that is too long.
        records: what it holds, without line ends; empty where `data` is given.
        offsets: of each record.
        data: lines that go out as they are, with their line ends.
        size: bytes of the file that it stands for.
        born_us: when it was read.
        waiting: parts of it that are not acknowledged.
    """

    __slots__ = (
        *("before", "born_us", "data", "end", "file", "is_inside", "offsets", "path", "records"),
        *("size", "waiting"),
    )

    def __init__(self, file: File, path: str, end: int, size: int, born_us: int) -> None:
        self.file = file
        self.path = path
        self.end = end
        self.before: bytes | None = None
        self.is_inside = False
        self.records: list[bytes] = []
        self.offsets: list[int] = []
        self.data = b""
        self.size = size
        self.born_us = born_us
        self.waiting = 1  # until it is packed


class _Read:
    """What is read of one file."""

    __slots__ = ("before", "blocks", "cutter", "low", "moved_us", "offset", "open_before", "path")

    def __init__(self, path: str, cutter: Cutter) -> None:
        self.path = path
        self.cutter = cutter
        self.offset = -1  # behind what was read
        self.before = b""
        self.open_before: bytes | None = None  # before the record that may go on
        self.blocks: deque[Block] = deque()
        self.low: Block | None = None  # the newest of those without a gap
        self.moved_us = 0


class Follower:
    """Follows the patterns of one flow, hands out blocks, and takes them back acknowledged.

    A position is the low-water mark of a file: everything before it was acknowledged, whatever
    order the acknowledgements came in.

    Args:
        patterns: the files.
        rules: how records are found.
        longest: bytes in a line, at most.
        patience_us: after so long without change a last line is whole.
        poll_bytes: read in a poll, about at most.
        is_verbatim: whether lines go out as they are, so that nobody needs to look at each.
        positions: by pattern, then partition.
        skips: by pattern.

    Attributes:
        counts: what was dropped or cut on the way.
        problems: what cannot be read at present and why.
    """

    def __init__(
        self,
        patterns: tuple[str, ...],
        rules: Rules,
        *,
        longest: int,
        patience_us: int,
        poll_bytes: int = 4 << 20,
        is_verbatim: bool,
        positions: Mapping[str, Mapping[str, Any]],
        skips: Mapping[str, list[Skip]],
    ) -> None:
        self.counts = Counter[str](lines=0, bytes=0)
        self.problems: dict[str, str] = {}
        self._rules = rules
        self._longest = longest
        self._patience_us = patience_us
        self._poll_bytes = poll_bytes
        is_whole = rules.starts is None and rules.goes_on is None and rules.is_footer is None
        self._is_verbatim = is_verbatim and is_whole
        self._positions = {pattern: dict(positions.get(pattern, {})) for pattern in patterns}
        self._skips = {pattern: list(skips.get(pattern, [])) for pattern in patterns}
        self._tails: dict[str, Tail] = {}
        self._folders: dict[str, str] = {}
        self._reopen_us = dict.fromkeys(patterns, 0)
        self._files: dict[File, _Read] = {}
        self._touched: set[File] = set()
        self._new: set[File] = set()
        self._open: set[File] = set()

    @property
    def unread(self) -> int:
        """Bytes that are there and were not read yet."""
        return sum(tail.unread for tail in self._tails.values())

    @property
    def file_counts(self) -> Counter[str]:
        """What happened to files: `truncated`, `copies`, `long_lines`, bytes `lost`."""
        found = Counter[str]()
        for tail in self._tails.values():
            found.update(tail.counts)
        return found

    @property
    def has_new(self) -> bool:
        """Whether a file was met whose position must be saved before anything is shipped of it.

        Else its partition could have another name after a crash, and its records other ids.
        """
        return bool(self._new)

    def oldest_us(self) -> int | None:
        """Return when the oldest block that is not acknowledged was read; None without any."""
        return min(
            (
                block.born_us
                for read in self._files.values()
                for block in read.blocks
                if block.waiting
            ),
            default=None,
        )

    def poll(self, now_us: int) -> list[Block]:
        """Return what is new, an empty list if nothing is."""
        blocks: list[Block] = []
        self.problems = {}
        for pattern in self._positions:
            tail = self._tails.get(pattern) or self._try_open(pattern, now_us)
            if tail is None:
                continue
            try:
                chunks = tail.poll(now_us)
            except StreamError as error:
                self.problems[pattern] = str(error)
                continue
            for path, problem in tail.problems.items():
                self.problems[path] = problem
            for chunk in chunks:
                blocks += self._divide(pattern, chunk, now_us)
        for file in list(self._open):
            read = self._files[file]
            if now_us - read.moved_us >= self._patience_us:
                blocks += self._close_record(file, read, now_us)
        return blocks

    def acknowledge(self, block: Block, parts: int = 1) -> None:
        """Take note that parts of a block were shipped, or set aside."""
        block.waiting -= parts
        if not block.waiting:
            self._touched.add(block.file)

    def take_positions(self) -> dict[File, dict[str, Any]]:
        """Return the positions that have changed since the last call."""
        moved: dict[str, list[tuple[str, _Read]]] = {}
        for file in self._touched | self._new:
            read = self._files[file]
            while read.blocks and not read.blocks[0].waiting:
                read.low = read.blocks.popleft()
            if read.low is not None or file in self._new:
                moved.setdefault(file[0], []).append((file[1], read))
        self._touched.clear()
        self._new.clear()
        found: dict[File, dict[str, Any]] = {}
        for pattern, files in moved.items():
            positions = self._tails[pattern].positions(name for name, _ in files)
            for name, read in files:
                if name in positions:
                    position = _lower(positions[name], read)
                    if position is not None:
                        found[pattern, name] = position
        return found

    def known(self) -> set[File]:
        """Return the files that are worth a position, and forget the others."""
        found: set[File] = set()
        for pattern, positions in self._positions.items():
            tail = self._tails.get(pattern)
            # A folder that is not there now may come back with all that was read of it.
            found |= {(pattern, name) for name in (positions if tail is None else tail.positions())}
        for file in [one for one in self._files if one not in found]:
            if not self._files[file].blocks and file not in self._touched | self._open:
                del self._files[file]
        return found

    def skips(self, pattern: str) -> list[Skip]:
        """Return what is still to be skipped."""
        return self._skips[pattern]

    def close(self) -> None:
        """Close every file."""
        for tail in self._tails.values():
            tail.close()

    def _try_open(self, pattern: str, now_us: int) -> Tail | None:
        """Open a pattern; its folder may come later."""
        try:
            if now_us < self._reopen_us[pattern]:
                return None
            files = Files(
                pattern,
                size=self._longest + _BLOCK,
                longest=self._longest,
                poll_size=self._poll_bytes,
                patience=f"{max(1, self._patience_us // 1000)}ms",
            )
            self._folders[pattern] = WatchedFolder(pattern).folder
            tail = self._tails[pattern] = files.open(self._positions[pattern])
            tail.takes_one = True
        except ConfigError as error:
            self.problems[pattern] = str(error)
            self._reopen_us[pattern] = now_us + _REOPEN_US
            return None
        return tail

    def _divide(self, pattern: str, chunk: Chunk, now_us: int) -> list[Block]:
        """Make blocks of a chunk."""
        file = (pattern, chunk.partition)
        read = self._files.get(file) or self._meet(file, chunk)
        data, position = bytes(chunk.data), chunk.position
        read.moved_us = now_us
        blocks: list[Block] = []
        if chunk.part != "lines":
            blocks += self._close_record(file, read, now_us)
            blocks.append(self._take_piece(file, read, chunk, data, now_us))
        else:
            at = 0
            while at < len(data):
                cut = len(data)
                if cut - at > _BLOCK:
                    cut = data.rfind(b"\n", at, at + _BLOCK) + 1 or data.find(b"\n", at) + 1 or cut
                blocks.append(self._take_lines(file, read, data[at:cut], position + at, now_us))
                at = cut
        if chunk.end:
            blocks += self._close_record(file, read, now_us)
            self._touched.add(file)
        if read.cutter.is_open:
            self._open.add(file)
        return blocks

    def _meet(self, file: File, chunk: Chunk) -> _Read:
        headers = self._rules.header_lines if chunk.position == 0 else 0
        cutter = Cutter(self._rules, self._longest, headers, self.counts)
        if chunk.position == 0:
            self._new.add(file)
        path = f"{self._folders[file[0]]}/{chunk.partition.rpartition('#')[0]}"
        read = self._files[file] = _Read(path, cutter)
        return read

    def _take_lines(
        self, file: File, read: _Read, data: bytes, position: int, now_us: int
    ) -> Block:
        begin = read.cutter.strip_headers(data) if read.cutter.headers else 0
        if position == 0 and self._skips[file[0]]:
            begin = max(begin, self._skip(file[0], data))
        end = position + len(data)
        block = Block(file, read.path, end, len(data), now_us)
        wanted = data[begin:]
        known = read.before + data
        if self._is_verbatim:
            block.data = wanted if wanted[-1:] in (b"\n", b"") else wanted + b"\n"
            self.counts["lines"] += block.data.count(b"\n")
        elif wanted:
            was_open = read.cutter.is_open
            block.records, block.offsets, block.end = read.cutter.cut(wanted, position + begin)
            self.counts["lines"] += len(block.records)
            if block.end < position:
                block.before = read.open_before if was_open else None
            elif block.end < end:
                read.open_before = known[: len(known) - (end - block.end)][-_BEFORE:]
        if block.end >= position:
            block.before = known[: len(known) - (end - block.end)][-_BEFORE:]
        if read.cutter.headers:  # begin anew after a crash, to count them all
            block.end, block.before = 0, b""
        self._hand_out(read, block, end, known)
        return block

    def _take_piece(self, file: File, read: _Read, chunk: Chunk, data: bytes, now_us: int) -> Block:
        """Make a block of a piece of too long a line: the first is shipped, the rest is not."""
        block = Block(file, read.path, chunk.position + len(data), len(data), now_us)
        if chunk.part == "start":
            block.records, block.offsets = [data.removesuffix(b"\n")], [chunk.position]
            self.counts["lines"] += 1
            self.counts["long_lines"] += 1
        else:
            self.counts["cut_bytes"] += len(data)
        block.is_inside = data[-1:] != b"\n" and not chunk.end
        known = read.before + data
        block.before = known[-_BEFORE:]
        self._hand_out(read, block, block.end, known)
        return block

    def _close_record(self, file: File, read: _Read, now_us: int) -> list[Block]:
        self._open.discard(file)
        records, offsets = read.cutter.close()
        if not records:
            return []
        block = Block(file, read.path, read.offset, 0, now_us)
        block.records, block.offsets = records, offsets
        block.before = read.before
        read.blocks.append(block)
        self.counts["lines"] += len(records)
        return [block]

    def _hand_out(self, read: _Read, block: Block, end: int, known: bytes) -> None:
        read.offset = end
        read.before = known[-_BEFORE:]
        read.blocks.append(block)
        self.counts["bytes"] += block.size
        if not read.cutter.is_open:
            self._open.discard(block.file)

    def _skip(self, pattern: str, data: bytes) -> int:
        for skip in self._skips[pattern]:
            if skip.fits(data):
                self._skips[pattern].remove(skip)
                return skip.size
        return 0


def _lower(position: dict[str, Any], read: _Read) -> dict[str, Any] | None:
    """Return a position at the low-water mark; None where the file could not be known there."""
    low = read.low
    if low is None:
        return {**position, "offset": 0, "last": "", "is_inside": False, "is_done": False}
    if low.end == position["offset"] and not read.blocks:
        return position
    if low.before is None or len(low.before) < min(_BEFORE, low.end):
        return None
    return {
        **position,
        "offset": low.end,
        "last": digest(low.before) if low.end else "",
        "is_inside": low.is_inside,
        "is_done": False,
    }
