"""Log files in a folder, followed for ever while they grow, rotate, come and go."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta

from oddlot.durations import Duration, parse_duration
from oddlot.errors import ConfigError, StateError, StreamError
from oddlot.streams.chunks import Chunk, PackedText, Text, failed, read_file
from oddlot.streams.folder import Entry, WatchedFolder
from oddlot.streams.followed import FollowedFile, Position, Stranger, find_opening
from oddlot.streams.handles import OpenFiles

__all__ = ["Chunk", "Files", "Position", "Tail", "read_file"]

_KEPT = 1000  # files that are gone and still known, should they turn up again
_NEVER = 1 << 62


class Files(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Log files in a folder, followed while they grow and rotate.

    Finds new files by itself, reads rotated ones to their end, and packed ones (gzip, Zstandard)
    if they were not read before. A file that was copied and truncated loses only what was
    written between the two.
    """

    path: Annotated[str, Meta(description="A folder, a file, or a pattern: logs/**/*.csv.")] = (
        "logs"
    )
    size: Annotated[int, Meta(ge=2, description="Bytes in a chunk, at most.")] = 1 << 20
    longest: Annotated[
        int, Meta(ge=1, description="Bytes in a line; one still longer comes in pieces.")
    ] = 1 << 16
    poll_size: Annotated[int, Meta(ge=1, description="Bytes in a poll, about at most.")] = 8 << 20
    patience: Annotated[
        Duration, Meta(description="After so long without change, a file's last line is whole.")
    ] = "1m"

    def __post_init__(self) -> None:
        if self.size <= self.longest:
            raise ConfigError(f"size must be above longest, {self.longest}; got {self.size}")
        parse_duration(self.patience)

    def open(self, positions: Mapping[str, Any] | None = None) -> Tail:
        """Begin to follow, where `positions` says or at the beginning of every file.

        Args:
            positions: what `Tail.positions` returned at the last checkpoint.

        Raises:
            ConfigError: the folder is not there or may not be listed.
            StateError: the positions are damaged.
        """
        return Tail(self, positions or {})


class Tail:
    """Follows the files of a folder and hands out their lines, each once.

    A partition is one file's text under all the names that the file ever has. Its name is the
    path at first sight, from the folder, and a hash of the first lines: orders.csv#1f0c9a2b. The
    file is known again by device, inode and the bytes before the offset; if those are gone, by
    its first lines and those bytes. So a file that was renamed, copied or packed is read on.
    Files of one series (orders.log.1 and orders.log) are read one after the other, in the order
    of first sight, unless both grow; different series take turns.

    Attributes:
        counts: `truncated` files that began anew in place; `copies` set aside, as they repeat what
            was read; `long_lines` that came in pieces; `lost` bytes, seen and gone before read.
        takes_one: whether a file of a single line is read when it has not changed for long; not,
            where that is a header. To be set before the first poll.
    """

    def __init__(self, files: Files, positions: Mapping[str, Any]) -> None:
        self.counts = Counter[str](truncated=0, copies=0, long_lines=0, lost=0)
        self.takes_one = False
        self._files = files
        self._patience_us = parse_duration(files.patience)
        self._folder = WatchedFolder(files.path)
        self._turn = 0
        self._now_us = 0
        self._resume = -1  # number of the file at which the last poll was full
        self._known: dict[str, FollowedFile] = {}
        self._openings: dict[str, list[FollowedFile]] = {}
        self._handles = OpenFiles(self._folder)
        self._lost: set[str] = set()
        self._strangers: dict[tuple[int, int], Stranger] = {}
        for name, value in positions.items():
            try:
                position = msgspec.convert(value, Position)
            except msgspec.ValidationError as error:
                raise StateError(f"position of {name}: {error}") from None
            self._follow(FollowedFile(name, position, turn=1))
        self._number = 1 + max((file.position.number for file in self._known.values()), default=-1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every file; the positions stay readable."""
        for file in self._known.values():
            file.let_go()

    @property
    def unread(self) -> int:
        """Bytes that the last poll saw and did not hand out; packed files are not counted."""
        return sum(file.unread for file in self._known.values())

    @property
    def problems(self) -> dict[str, str]:
        """What cannot be read at present and why, path to one line; it holds up nothing else."""
        found = dict(self._folder.problems)
        found |= {s.path: s.problem for s in self._strangers.values() if s.problem}
        found |= {f.position.path: f.problem for f in self._known.values() if f.problem}
        return found

    def positions(self, names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Return where to read on behind what was handed out, of all partitions or of these."""
        known = self._known if names is None else [one for one in names if one in self._known]
        return {name: msgspec.to_builtins(self._known[name].store()) for name in known}

    def poll(self, now_us: int) -> list[Chunk]:
        """Look at the folder and return what is new, an empty list if nothing is.

        Args:
            now_us: microseconds of any clock; used only to tell how long a file did not change.

        Raises:
            StreamError: the folder cannot be listed, or reading failed; call again later.
        """
        self._now_us = max(self._now_us, now_us)  # the clock can step back
        self._turn += 1
        errors: list[StreamError] = []
        chunks: list[Chunk] = []
        for _ in range(3):
            truncated = self.counts["truncated"]
            self._adopt(self._recognise(self._folder.look()))
            chunks += self._read(errors)
            if self.counts["truncated"] == truncated:
                break
            # Look again at once for what the file was, before that is deleted.
        chunks += self._retire(errors)
        self._forget()
        if errors and not chunks:
            raise errors[0]
        return chunks

    def _recognise(self, entries: Iterable[Entry]) -> list[Entry]:
        """Find the known files among the entries and return the others."""
        places = {}
        were_there = set()
        for file in self._known.values():
            if file.position.inode:
                places[file.position.device, file.position.inode] = file
            if file.is_there:
                were_there.add(file.name)
            file.is_there = False
        strangers = []
        for entry in entries:
            known = places.get(entry.place)
            if known is None:
                strangers.append(entry)
            elif self._is_other(known, entry):
                self._truncated(known)
                strangers.append(entry)
            else:
                known.is_there = True
                if known.name not in were_there:
                    known.come_back()
                known.position.path = entry.path
                known.notice(entry.size, entry.changed_ns, self._turn, self._now_us)
        for file in self._known.values():
            if file.is_there:
                continue
            if file.text is not None:  # deleted or moved away, and still open
                status = os.fstat(file.text.handle)
                file.notice(status.st_size, status.st_mtime_ns, self._turn, self._now_us)
            # A look while a file is renamed can miss it, so nothing is gone at once.
            if file.name in were_there or self._turn == 1:
                file.still_us = self._now_us
        return strangers

    def _is_other(self, file: FollowedFile, entry: Entry) -> bool:
        """Tell whether a known inode holds other bytes by now; where it grew, reading tells."""
        if file.position.is_packed:
            return entry.size < file.size
        if entry.size < file.position.offset:
            return True
        if entry.size > file.size >= 0 or not file.has_changed(entry.size, entry.changed_ns):
            return False
        file.position.path = entry.path
        try:
            return self._handles.ensure(file) and not file.is_intact()
        except OSError as error:
            file.problem = str(failed(entry.path, error))
            return False

    def _adopt(self, entries: list[Entry]) -> None:
        """Find out which unknown files go on with a known one, repeat one, or are new."""
        lost = {file.name for file in self._known.values() if file.is_lost}
        is_news = not lost <= self._lost  # what was set aside may be what is missing now
        is_searching = any(not self._known[name].position.is_done for name in lost)
        before, self._strangers = self._strangers, {}
        for entry in sorted(entries, key=lambda entry: (entry.changed_ns, entry.path)):
            stranger = before.get(entry.place)
            if stranger is None or stranger.has_changed(entry):
                is_counted = stranger is not None and stranger.is_counted
                stranger = Stranger(entry, self._now_us, is_counted=is_counted)
            self._strangers[entry.place] = stranger
            stranger.path = entry.path
            is_still = self._now_us - stranger.since_us >= self._patience_us
            if stranger.is_due(is_still=is_still) or is_news:
                if entry.is_wanted or is_searching:
                    self._meet(entry, stranger, is_still=is_still)
        now_lost = {file.name for file in self._known.values() if file.is_lost}
        for name in now_lost:
            self._known[name].is_waiting = True
        self._lost = lost & now_lost  # what was lost meanwhile is news the next time

    def _meet(self, entry: Entry, stranger: Stranger, *, is_still: bool) -> None:
        """Decide about one unknown file."""
        stranger.problem = ""
        stranger.is_settled = stranger.is_short = False
        text = None
        try:
            text = self._handles.open(entry.path, entry.place)
            if text is None:
                return
            opening = find_opening(text, is_still=is_still, takes_one=self.takes_one)
            stranger.is_short = opening is None and not is_still
            stranger.is_settled = True
            if opening is None:
                stranger.problem = str(text.damage or "")
                return
            file = self._find(opening[0], text, stranger)
            if file is None and entry.is_wanted and not stranger.repeats:
                file = self._add(entry, opening)
            if file is not None:
                file.attach(entry, text, is_packed=isinstance(text, PackedText))
                file.is_there = True
                file.position.path = entry.path
                file.notice(entry.size, entry.changed_ns, self._turn, self._now_us)
                del self._strangers[entry.place]
                self._handles.keep(file)
                text = None
        except ConfigError as error:
            stranger.problem = str(error)
            stranger.is_settled = True
        except OSError as error:
            stranger.problem = str(failed(entry.path, error))
        finally:
            if text is not None:
                os.close(text.handle)

    def _find(self, opening: str, text: Text, stranger: Stranger) -> FollowedFile | None:
        """Return the lost file that a text goes on with; note whether it repeats another."""
        stranger.repeats = ""
        for file in self._openings.get(opening, []):
            if not file.is_lost and self._handles.ensure(file) and not file.is_intact():
                self._truncated(file)  # it grew beyond its old size, and this may be what it was
            if file.is_lost:
                is_same = file.continues_in(text)
                if is_same:
                    return file
                is_copy = is_same is None  # so far: it may be being made
            else:
                # A file that is being packed is looked at more closely when the plain one is gone.
                is_copy = isinstance(text, PackedText) or file.continues_in(text) is not False
                is_copy = is_copy and (not self._handles.ensure(file) or file.begins_like(text))
            if is_copy:
                stranger.repeats = file.name
        if stranger.repeats and not stranger.is_counted:
            stranger.is_counted = True
            self.counts["copies"] += 1
        return None

    def _add(self, entry: Entry, opening: tuple[str, int]) -> FollowedFile:
        name = plain = f"{entry.path}#{opening[0][:8]}"
        count = 1
        while name in self._known:
            count += 1
            name = f"{plain}-{count}"
        position = Position(entry.path, *entry.place, False, *opening, self._number)
        self._number += 1
        return self._follow(FollowedFile(name, position, self._turn))

    def _follow(self, file: FollowedFile) -> FollowedFile:
        self._known[file.name] = file
        self._openings.setdefault(file.position.opening, []).append(file)
        return file

    def _read(self, errors: list[StreamError]) -> list[Chunk]:
        """Take chunks from the files in turn until a poll is full or nothing is left."""
        chunks: list[Chunk] = []
        left = self._files.poll_size
        while left > 0:
            barriers: dict[tuple[str, str], int] = {}
            is_dry = True
            for file in self._known.values():  # in the order of first sight
                if not file.has_more():
                    continue
                # An earlier file of the series goes first, unless it grew beside this one.
                barrier = barriers.get(file.series, _NEVER)
                if barrier > file.seen and file.position.number > self._resume:
                    chunk = self._take(file, errors)
                    if chunk is not None:
                        is_dry = False
                        chunks.append(chunk)
                        left -= len(chunk.data)
                        if left <= 0:
                            self._resume = file.position.number
                            return chunks
                if file.has_more() and not file.problem:
                    barriers[file.series] = min(barrier, file.grown)
            if is_dry and self._resume < 0:
                break
            self._resume = -1
        return chunks

    def _take(self, file: FollowedFile, errors: list[StreamError]) -> Chunk | None:
        """Take the next chunk of a file; where it ends for good, its end."""
        try:
            if not self._handles.ensure(file):
                return None
            chunk = file.take(self._files.size, self._files.longest)
            text = file.text
            if file.is_replaced:
                self._truncated(file)
            elif chunk is None and text is not None and (text.is_whole or text.damage):
                if text.damage:
                    file.problem = str(text.damage)
                    file.let_go()  # half a line must not pass for a whole one
                chunk = file.finish(self._files.longest)
                file.expect_nothing()
            elif chunk is not None and chunk.part == "start":
                self.counts["long_lines"] += 1
            if self.takes_one and (before := file.refine()):
                self._openings[before].remove(file)
                self._follow(file)
        except OSError as error:
            errors.append(failed(file.position.path, error))
            file.problem = str(errors[-1])
            return None
        return chunk

    def _retire(self, errors: list[StreamError]) -> list[Chunk]:
        """End what did not change for long: files that are gone, and last lines without end."""
        chunks: list[Chunk | None] = []
        for file in self._known.values():
            if (
                file.position.is_done
                or not file.is_waiting
                or self._now_us - file.still_us < self._patience_us
            ):
                continue
            if file.is_there and file.position.is_packed:
                file.problem = f"{file.position.path}: must be a whole file; got its end too early"
            elif file.is_there:
                if file.unread:
                    chunks.append(self._finish(file, errors))
            else:
                chunks.append(self._finish(file, errors))
                self.counts["lost"] += file.unread
                file.expect_nothing()
        return [chunk for chunk in chunks if chunk is not None]

    def _finish(self, file: FollowedFile, errors: list[StreamError]) -> Chunk | None:
        try:
            if file.is_there and not self._handles.ensure(file):
                return None
            chunk = file.finish(self._files.longest)
        except OSError as error:
            errors.append(failed(file.position.path, error))
            return None
        if file.is_replaced:
            self._truncated(file)
        return chunk

    def _truncated(self, file: FollowedFile) -> None:
        self.counts["truncated"] += 1
        if file.is_replaced:
            file.size = file.position.offset  # it is the size of what is there instead
        file.detach(self._now_us)

    def _forget(self) -> None:
        """Drop the oldest of the files that are gone."""
        gone = [file for file in self._known.values() if file.position.is_done and file.is_lost]
        for file in gone[: max(0, len(gone) - _KEPT)]:
            del self._known[file.name]
            self._openings[file.position.opening].remove(file)
