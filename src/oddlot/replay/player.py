"""The log generator: any orders file becomes growing, rotating log files."""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import ClassVar

import msgspec

from oddlot.decode.reading import Settings
from oddlot.durations import Duration, DurationOrOff, parse_duration
from oddlot.errors import ConfigError
from oddlot.replay.logs import ROTATIONS, LogFiles
from oddlot.replay.records import (
    EVENT_COLUMN,
    Source,
    event_adder,
    event_header,
    json_writer,
    time_reader,
)

FORMATS = ("auto", "csv", "jsonl")
# Waits shorter than this are made up for by the next one; longer ones are cut, so that `stop`
# is asked often.
_SHORTEST_WAIT = 0.005
_LONGEST_WAIT = 0.25
_STEP = 0.02  # seconds of a rate that are written at once
_BLOCK = 1 << 18  # bytes that are written at once where there is no pace
_LONGEST_BURST = 10_000


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to replay, where to, and how.

    With neither `speed` nor `rate` it goes as fast as possible.

    Attributes:
        file: the orders, in any form that `detect` takes.
        to: the folder for the log files.
        speed: event time over real time, such as 60 for an hour a minute; 0 for no such pace.
        rate: lines a second; 0 for no such pace.
        format: "csv" or "jsonl"; "auto" is that of the file.
        rotation: "number" (orders-000001.csv, ...) or "rename" (orders.log, orders.log.1, ...).
        rotate_bytes: size at which a file is full.
        disorder: up to how much event time a line may come after a newer one.
        duplicates: share of lines that come again, with the same event id; 0 to 1.
        event_ids: add the column EventId also where there are no duplicates.
        longest_pause: longest real time without a line when `speed` is given: it shortens nights.
        seed: chance for disorder and duplicates; the same seed gives the same files.
        settings: how the file is read, where it does not say so itself.
    """

    file: str
    to: str
    speed: float = 0.0
    rate: float = 0.0
    format: str = "auto"
    rotation: str = "number"
    rotate_bytes: int = 64 << 20
    disorder: Duration = "0s"
    duplicates: float = 0.0
    event_ids: bool = False
    longest_pause: DurationOrOff = "off"
    seed: int = 1
    settings: Settings = Settings()

    choices: ClassVar[dict[str, tuple[str, ...]]] = {"format": FORMATS, "rotation": ROTATIONS}

    @property
    def disorder_us(self) -> int:
        """The disorder in microseconds."""
        return parse_duration(self.disorder)

    def check(self) -> None:
        """Check every option.

        Raises:
            ConfigError: an option is out of range; its text names the option.
        """
        for name, known in self.choices.items():
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"replay: {name} must be one of: {', '.join(known)}; "
                    f"got '{getattr(self, name)}'"
                )
        for name in ("speed", "rate"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"replay: {name} must be 0 or more; got {getattr(self, name)}")
        if self.speed and self.rate:
            raise ConfigError("replay: give speed or rate, not both")
        if not 0 <= self.duplicates <= 1:
            raise ConfigError(f"replay: duplicates must be 0 to 1; got {self.duplicates}")
        if self.rotate_bytes < 1:
            raise ConfigError(f"replay: rotate_bytes must be 1 or more; got {self.rotate_bytes}")
        for name in ("disorder", "longest_pause"):
            try:
                if getattr(self, name) != "off" or name == "disorder":
                    parse_duration(getattr(self, name))
            except ConfigError as error:
                raise ConfigError(f"replay: {name} {error}") from None


class Replayed(msgspec.Struct):
    """What was replayed so far; updated in place.

    Attributes:
        lines: records of the file that were written, without duplicates.
        duplicates: records that were written again.
        files: log files begun.
        bytes: bytes written.
        time_us: newest event time written; 0 where times are not looked at.
    """

    lines: int = 0
    duplicates: int = 0
    files: int = 0
    bytes: int = 0
    time_us: int = 0


class _Burst(msgspec.Struct, frozen=True):
    """Lines that are written together.

    Attributes:
        time_us: event time of the lines; 0 where times are not looked at.
        data: the lines.
        repeats: how many of them are duplicates.
    """

    time_us: int
    data: list[bytes]
    repeats: int = 0


def replay(
    options: Replay,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    progress: Callable[[Replayed], object] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Replayed:
    """Write the records of an orders file to growing log files.

    CSV stays CSV and JSON Lines stay JSON Lines byte by byte; CSV as JSON Lines becomes UTF-8.
    A CSV file's header is in each log file; a byte order mark is left out.

    Args:
        options: what, where to and how.
        clock: seconds that never go back.
        sleep: waits so many seconds of that clock.
        progress: called with the counts each time lines were written.
        stop: asked between writes; True ends the replay after a whole line.

    Raises:
        ConfigError: an option is wrong, or the file or folder cannot be opened.
        StreamError: reading or writing failed midway; what was written holds.
    """
    options.check()
    source = Source.open(options.file, options.settings)
    bursts, header = _bursts(options, source)
    ending = source.reading.format if options.format == "auto" else options.format
    logs = LogFiles(Path(options.to), header, ending, options.rotation, options.rotate_bytes)
    pace = _Pace(options, clock)
    counts = Replayed(files=logs.files)
    is_stopped = stop or (lambda: False)

    def report() -> None:
        logs.flush()
        counts.files, counts.bytes = logs.files, logs.bytes
        if progress:
            progress(counts)

    try:
        for burst in bursts:
            due = pace.due(burst.time_us, counts.lines + counts.duplicates)
            while (wait := due - clock()) >= _SHORTEST_WAIT and not is_stopped():
                sleep(min(wait, _LONGEST_WAIT))
            if is_stopped():
                break
            logs.write(burst.data)
            counts.lines += len(burst.data) - burst.repeats
            counts.duplicates += burst.repeats
            counts.time_us = max(counts.time_us, burst.time_us)
            if pace.is_paced or logs.unwritten >= _BLOCK:
                report()
    finally:
        logs.close()
    report()
    return counts


class _Pace:
    """When bursts are due on the clock."""

    def __init__(self, options: Replay, clock: Callable[[], float]) -> None:
        self.is_paced = options.speed > 0 or options.rate > 0
        self._rate = options.rate
        self._speed = options.speed
        is_off = options.longest_pause == "off"
        self._longest = math.inf if is_off else parse_duration(options.longest_pause) / 1e6
        self._last_us: int | None = None
        self._start = self._due = clock()

    def due(self, time_us: int, written: int) -> float:
        """Return when a burst is due that comes after so many written lines."""
        if self._rate:
            return self._start + written / self._rate
        if self._speed:
            ahead_us = 0 if self._last_us is None else max(0, time_us - self._last_us)
            self._due += min(ahead_us / 1e6 / self._speed, self._longest)
            self._last_us = time_us
        return self._due


def _bursts(options: Replay, source: Source) -> tuple[Iterator[_Burst], bytes]:
    """Return what to write and when, and the header of each file."""
    reading = source.reading
    is_jsonl = options.format == "jsonl" or reading.format == "jsonl"
    if reading.format == "jsonl" and options.format == "csv":
        raise ConfigError(f"replay: format must be jsonl or auto for {options.file}; got 'csv'")
    header = source.header
    has_events = (options.duplicates > 0 or options.event_ids) and "event" not in reading.columns
    change: list[Callable[[bytes, int], bytes]] = []
    if has_events:
        change.append(event_adder(reading))
        if header:
            header = event_header(header, reading)
            names = (*reading.header, EVENT_COLUMN)
            reading = msgspec.structs.replace(reading, header=names)
    if is_jsonl and reading.format == "csv":
        write = json_writer(reading)
        change.append(lambda record, _: write(record))
        header = b""
    looks_at_time = options.speed > 0 or options.disorder_us > 0
    if looks_at_time or options.duplicates > 0:
        bursts = _at_times(_arranged(options, _timed(source, change, looks_at_time)))
    else:
        bursts = map(_plain, _changed(source, change))
    if options.rate:
        bursts = _cut(bursts, max(1, int(options.rate * _STEP)))
    return bursts, header


def _plain(records: list[bytes]) -> _Burst:
    return _Burst(0, records)


def _changed(source: Source, change: list[Callable[[bytes, int], bytes]]) -> Iterator[list[bytes]]:
    number = 0
    for records in source.records():
        changed = records
        for make in change:
            changed = [make(record, place) for place, record in enumerate(changed, number)]
        number += len(records)
        yield changed


def _timed(
    source: Source, change: list[Callable[[bytes, int], bytes]], looks_at_time: bool
) -> Iterator[tuple[int | None, bytes]]:
    """Return each record as it will be written, with its time, or 0 if nobody looks at it."""
    read_time = time_reader(source.reading) if looks_at_time else lambda _: 0
    number = 0
    for records in source.records():
        for record in records:
            time_us = read_time(record)
            written = record
            for make in change:
                written = make(written, number)
            number += 1
            yield time_us, written


def _arranged(
    options: Replay, records: Iterator[tuple[int | None, bytes]]
) -> Iterator[tuple[int, bool, bytes]]:
    """Repeat some records and delay each by up to the disorder, in event time.

    Records without a readable time keep their place. A time far in the future waits for the
    end and holds nothing up: what is due is told by each record's own time.
    """
    chance = random.Random(options.seed).random  # noqa: S311 - not a secret: the same each time
    waiting: list[tuple[int, int, int, bool, bytes]] = []
    last_us = number = 0
    for time_us, record in records:
        is_known = time_us is not None
        last_us = last_us if time_us is None else time_us
        while waiting and waiting[0][0] < last_us:
            yield heapq.heappop(waiting)[2:]
        is_again = options.duplicates > 0 and chance() < options.duplicates
        for is_repeat in (False, True)[: 1 + is_again]:
            if options.disorder_us and is_known:
                due_us = last_us + int(chance() * options.disorder_us)
                heapq.heappush(waiting, (due_us, number, last_us, is_repeat, record))
                number += 1
            else:
                yield last_us, is_repeat, record
    while waiting:
        yield heapq.heappop(waiting)[2:]


def _at_times(records: Iterable[tuple[int, bool, bytes]]) -> Iterator[_Burst]:
    """Gather neighbours of one time, up to a limit."""
    for time_us, group in groupby(records, itemgetter(0)):
        while lines := list(islice(group, _LONGEST_BURST)):
            repeats = sum(is_repeat for _, is_repeat, _ in lines)
            yield _Burst(time_us, [record for _, _, record in lines], repeats)


def _cut(bursts: Iterator[_Burst], lines: int) -> Iterator[_Burst]:
    """Cut bursts to so many lines; the repeats are counted with the first pieces."""
    for burst in bursts:
        left = burst.repeats
        for start in range(0, len(burst.data), lines):
            piece = burst.data[start : start + lines]
            repeats = min(left, len(piece))
            left -= repeats
            yield _Burst(burst.time_us, piece, repeats)
