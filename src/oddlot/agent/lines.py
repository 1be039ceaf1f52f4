"""Bytes of a followed file cut into records: header lines, footers, records of several lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple, Protocol

_MOST_LINES = 100  # in a record with an open quote; then the quote was a mistake
_MOST_BYTES = 1 << 16


class Rules(Protocol):
    """How records are found; see `oddlot.agent.records.Processor`."""

    starts: Callable[[bytes], bool] | None
    goes_on: Callable[[bytes], bool] | None
    is_footer: Callable[[bytes], bool] | None
    header_lines: int


class Open(NamedTuple):
    """A record that may go on: its lines, and the offset of the first."""

    offset: int
    lines: list[bytes]


class Cutter:
    """Cuts one file's bytes into records, block by block, in order.

    Args:
        rules: how.
        longest: bytes in a record of several lines; one still longer is cut in two.
        headers: lines at the beginning of the file that are still to be dropped.
        counts: `header_lines` and `footers` dropped, `divided` records; updated in place.

    Attributes:
        headers: as above; updated.
    """

    def __init__(self, rules: Rules, longest: int, headers: int, counts: Counter[str]) -> None:
        self.headers = headers
        self._rules = rules
        self._longest = longest
        self._counts = counts
        self._open: Open | None = None
        self._open_size = 0

    @property
    def is_open(self) -> bool:
        """Whether a record waits for its next line."""
        return self._open is not None

    def strip_headers(self, data: bytes) -> int:
        """Return how many bytes of a block are header lines."""
        at = 0
        while self.headers and at < len(data):
            end = data.find(b"\n", at) + 1
            at = end or len(data)
            self.headers -= 1
            self._counts["header_lines"] += 1
        return at

    def cut(self, data: bytes, position: int) -> tuple[list[bytes], list[int], int]:
        """Return the records that are complete now.

        Args:
            data: whole lines; the last may lack its line end.
            position: offset of the first byte in the file.

        Returns:
            Records without line end, the offset of each, and the offset behind the last.
        """
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        sizes = [len(line) + 1 for line in lines]
        offsets = list(accumulate(sizes, initial=position))
        end = position + len(data)
        offsets.pop()
        if self._rules.is_footer is not None:
            lines, offsets = self._drop_footers(lines, offsets, self._rules.is_footer)
        if self._rules.starts is not None:
            lines, offsets = self._join_by_start(lines, offsets, self._rules.starts)
        elif self._rules.goes_on is not None and (self._open or b'"' in data):
            lines, offsets = self._join_quoted(lines, offsets, self._rules.goes_on)
        return lines, offsets, self._open.offset if self._open else end

    def close(self) -> tuple[list[bytes], list[int]]:
        """Return what was waiting for a next line, which does not come."""
        if self._open is None:
            return [], []
        offset, lines = self._open
        self._open = None
        if self._rules.goes_on is None:
            return [b"\n".join(lines)], [offset]
        # The quote was a mistake: each line is a record again.
        return lines, list(accumulate((len(line) + 1 for line in lines[:-1]), initial=offset))

    def _drop_footers(
        self, lines: list[bytes], offsets: list[int], is_footer: Callable[[bytes], bool]
    ) -> tuple[list[bytes], list[int]]:
        kept = [number for number, line in enumerate(lines) if not is_footer(line)]
        self._counts["footers"] += len(lines) - len(kept)
        return [lines[number] for number in kept], [offsets[number] for number in kept]

    def _join_by_start(
        self, lines: list[bytes], offsets: list[int], starts: Callable[[bytes], bool]
    ) -> tuple[list[bytes], list[int]]:
        records: list[bytes] = []
        places: list[int] = []
        for line, offset in zip(lines, offsets, strict=True):
            if self._open is not None:
                is_long = self._open_size + len(line) > self._longest
                if not is_long and not starts(line):
                    self._open.lines.append(line)
                    self._open_size += len(line) + 1
                    continue
                self._counts["divided"] += is_long
                records.append(b"\n".join(self._open.lines))
                places.append(self._open.offset)
            self._open = Open(offset, [line])
            self._open_size = len(line) + 1
        return records, places

    def _join_quoted(
        self, lines: list[bytes], offsets: list[int], goes_on: Callable[[bytes], bool]
    ) -> tuple[list[bytes], list[int]]:
        records: list[bytes] = []
        places: list[int] = []
        waiting = list(zip(lines, offsets, strict=True))
        waiting.reverse()
        while waiting:
            line, offset = waiting.pop()
            if self._open is None:
                if b'"' in line and goes_on(line):
                    self._open = Open(offset, [line])
                    self._open_size = len(line) + 1
                else:
                    records.append(line)
                    places.append(offset)
                continue
            held = self._open
            held.lines.append(line)
            self._open_size += len(line) + 1
            if b'"' in line and not goes_on(b"\n".join(held.lines)):
                records.append(b"\n".join(held.lines))
                places.append(held.offset)
                self._open = None
            elif len(held.lines) >= _MOST_LINES or self._open_size > _MOST_BYTES:
                # The quote was a mistake: its line stands alone, the next begin anew.
                self._open = None
                places_of = accumulate((len(one) + 1 for one in held.lines), initial=held.offset)
                again = list(zip(held.lines, places_of, strict=False))
                records.append(again[0][0])
                places.append(held.offset)
                waiting += reversed(again[1:])
        return records, places
