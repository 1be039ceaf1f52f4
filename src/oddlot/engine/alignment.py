"""Lines of several partitions, read unevenly, handed on in an order that does not show it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from oddlot.engine.admission import NEVER, pack
from oddlot.schema import LINE, Ints, Lines

_COMPANY = 3  # invoices in a row that must agree before a partition jumps ahead
_LONG_RUN = 1_000  # or so many lines in a row, of whatever invoice
_LONGEST_RUN = 10_000  # what is more at odds than that is left to event time
_BATCH = 16_384  # lines handed on together
_ROOM = 400_000  # lines held, about, before partitions that are far ahead must pause
_LEAST = 2 * _LONG_RUN  # a partition that holds no more need not pause: it may be undecided
_EVER = 2**62  # after any time


class _Partition:
    """The lines of one partition that wait for the others.

    A line's key is the newest event time of its partition when it came. Keys never fall. A line
    further than `max_skew_us` ahead gets none until those after it show whether the partition
    has really moved on, by the rule of `EventTime`.
    """

    def __init__(self, max_skew_us: int, newest_us: int = NEVER) -> None:
        self.newest_us = newest_us  # the newest key
        self.count = 0  # lines that are held
        self._max_skew_us = max_skew_us
        self._ready: list[tuple[Lines, Ints]] = []  # with their keys
        self._undecided: list[Lines] = []  # one a batch, as they came
        self._run: list[tuple[int, str]] = []  # times and invoices of those ahead, in a row

    def add(self, lines: Lines) -> None:
        """Take the next lines; copies what it keeps."""
        time_us = lines.line["time_us"].astype(np.int64)
        self.count += len(lines)
        at = 0
        while at < len(lines):
            if self._run:
                self._look_at(pack([Lines(lines.line[at : at + 1], lines.text)]), int(time_us[at]))
                at += 1
                continue
            newest_us = np.maximum.accumulate(np.concatenate(([self.newest_us], time_us[at:])))
            is_ahead = time_us[at:] > newest_us[:-1] + self._max_skew_us
            count = int(np.argmax(is_ahead)) if is_ahead.any() else len(is_ahead)
            if count:
                self.newest_us = int(newest_us[count])
                ready = pack([Lines(lines.line[at : at + count], lines.text)])
                self._ready.append((ready, newest_us[1 : count + 1]))
                at += count
            if at < len(lines):
                self._meet_ahead(
                    pack([Lines(lines.line[at : at + 1], lines.text)]), int(time_us[at])
                )
                at += 1

    def _look_at(self, one: Lines, time_us: int) -> None:
        """Take a line that comes after one that is ahead."""
        if time_us > self.newest_us + self._max_skew_us:
            self._meet_ahead(one, time_us)
            return
        self.settle()
        self._make_ready(one, time_us)

    def _meet_ahead(self, one: Lines, time_us: int) -> None:
        self._run.append((time_us, one.read(0, "invoice")))
        self._undecided.append(one)
        start_us = self._find_company()
        if start_us is None and len(self._run) < _LONGEST_RUN:
            return
        run, self._undecided, self._run = self._undecided, [], []
        self.newest_us = self.newest_us if start_us is None else max(self.newest_us, start_us)
        for waiting in run:
            self._make_ready(waiting, int(waiting.line["time_us"][0]))

    def _make_ready(self, one: Lines, time_us: int) -> None:
        if time_us <= self.newest_us + self._max_skew_us:
            self.newest_us = max(self.newest_us, time_us)
        self._ready.append((one, np.array([self.newest_us])))

    def _find_company(self) -> int | None:
        """Return the time from which on enough invoices agree; None if they do not."""
        times = sorted(time_us for time_us, _ in self._run)
        company = times
        if len(self._run) < _LONG_RUN:
            invoices: dict[str, int] = {}
            for number, (time_us, invoice) in enumerate(self._run):
                invoices.setdefault(invoice or f"\0{number}", time_us)
            company = sorted(invoices.values())
        for first_us, last_us in zip(company, company[_COMPANY - 1 :], strict=False):
            if last_us - first_us <= self._max_skew_us:
                # Other lines of these invoices may be a little older.
                return next(one for one in times if one >= last_us - self._max_skew_us)
        return None

    def settle(self) -> None:
        """Hand on those that are ahead, where they came: they are alone; event time judges them."""
        self._ready += [(one, np.array([self.newest_us])) for one in self._undecided]
        self._undecided, self._run = [], []

    def let_go(self, until_us: int) -> None:
        """Hand on what is undecided up to a time that the others have reached."""
        left = []
        for one in self._undecided:
            time_us = int(one.line["time_us"][0])
            if time_us <= until_us:
                self._ready.append((one, np.array([max(self.newest_us, time_us)])))
            else:
                left.append(one)
        self._undecided = left

    def take(self, until_us: int) -> list[tuple[Lines, Ints]]:
        """Hand on the lines whose keys are at most `until_us`, with their keys."""
        taken: list[tuple[Lines, Ints]] = []
        while self._ready and self._ready[0][1][0] <= until_us:
            lines, keys = self._ready.pop(0)
            count = int(np.searchsorted(keys, until_us, "right"))
            taken.append((Lines(lines.line[:count], lines.text), keys[:count]))
            self.count -= count
            if count < len(keys):
                self._ready.insert(0, (Lines(lines.line[count:], lines.text), keys[count:]))
                break
        return taken

    def save(self) -> tuple[dict[str, Any], list[Lines], list[Ints]]:
        lines = [lines for lines, _ in self._ready] + self._undecided
        numbers = {
            "newest_us": self.newest_us,
            "ready": sum(len(keys) for _, keys in self._ready),
            "undecided": len(self._undecided),
            "run": self._run,
        }
        return numbers, lines, [keys for _, keys in self._ready]

    def restore(self, numbers: dict[str, Any], lines: Lines, keys: Ints) -> None:
        self.newest_us = numbers["newest_us"]
        self.count = len(lines)
        self._run = [(time_us, invoice) for time_us, invoice in numbers["run"]]
        ready = numbers["ready"]
        if ready:
            self._ready = [(pack([Lines(lines.line[:ready], lines.text)]), keys)]
        self._undecided = [
            pack([Lines(lines.line[i : i + 1], lines.text)]) for i in range(ready, len(lines))
        ]


class Alignment:
    """Merges partitions by how far each has come in event time.

    A line is handed on when every partition that may still bring older ones has come as far: the
    watermark is the minimum over them. What is handed on depends on what each partition holds,
    not on which was read first or further; and none of it is late because of another partition.
    """

    def __init__(self, max_skew_us: int) -> None:
        """Hold nothing.

        Args:
            max_skew_us: how far ahead of its partition a line may be and move it on at once.
        """
        self._max_skew_us = max_skew_us
        self._partitions: dict[str, _Partition] = {}

    @property
    def held(self) -> int:
        """How many lines wait."""
        return sum(one.count for one in self._partitions.values())

    def hold(self, partition: str, lines: Lines) -> None:
        """Take the next lines of a partition, in the order of arrival; copies what it keeps."""
        self._find(partition).add(lines)

    def hand_on(self, live: Collection[str]) -> Iterator[Lines]:
        """Yield the lines that wait for nothing any more, merged, in batches.

        Args:
            live: the partitions that may still bring older lines; those that have ended, or are
                at their end and silent, are not among them and hold back nothing.
        """
        until_us = self._reached(live)
        for name, partition in self._partitions.items():
            if name not in live:
                partition.let_go(until_us)
        taken = {name: one.take(until_us) for name, one in sorted(self._partitions.items())}
        lines = [lines for found in taken.values() for lines, _ in found]
        if not lines:
            return
        keys = np.concatenate([keys for found in taken.values() for _, keys in found])
        merged = pack(lines)
        order = np.argsort(keys, kind="stable")  # of equal keys, by name and place
        for at in range(0, len(order), _BATCH):
            chosen = merged.line[order[at : at + _BATCH]]
            yield merged if len(order) == 1 else pack([Lines(chosen, merged.text)])

    def _reached(self, live: Collection[str]) -> int:
        return min((self._find(name).newest_us for name in live), default=_EVER)

    def ahead(self, live: Collection[str]) -> set[str]:
        """Return the partitions that hold so much that they must not be read on for now."""
        if self.held < _ROOM:
            return set()
        reached_us = self._reached(live)
        share = max(_LEAST, _ROOM // len(self._partitions))
        return {
            name
            for name, one in self._partitions.items()
            if one.count >= share and one.newest_us > reached_us
        }

    def _find(self, name: str) -> _Partition:
        partition = self._partitions.get(name)
        if partition is None:
            partition = self._partitions[name] = _Partition(self._max_skew_us)
        return partition

    def save(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a checkpoint needs: numbers, and arrays."""
        numbers: dict[str, Any] = {}
        lines: list[Lines] = []
        keys: list[Ints] = []
        for name, partition in self._partitions.items():
            numbers[name], more, more_keys = partition.save()
            lines += more
            keys += more_keys
        packed = pack(lines) if lines else Lines(np.zeros(0, LINE), np.zeros(0, np.uint8))
        held_keys = np.concatenate(keys) if keys else np.zeros(0, np.int64)
        return numbers, {"held": packed.line, "held_text": packed.text, "held_keys": held_keys}

    def restore(self, numbers: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Take over what `save` gave."""
        at = at_key = 0
        for name, values in numbers.items():
            count = values["ready"] + values["undecided"]
            partition = self._find(name)
            lines = Lines(arrays["held"][at : at + count], arrays["held_text"])
            keys = arrays["held_keys"][at_key : at_key + values["ready"]].copy()
            partition.restore(values, lines, keys)
            at, at_key = at + count, at_key + values["ready"]
