"""The seven steps in one process: poll, decode, order, score, decide, commit, notify."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec
import numpy as np

from oddlot.alerts.budget import Budget
from oddlot.alerts.incidents import Incidents
from oddlot.alerts.make import make_alerts
from oddlot.config import Config
from oddlot.decode.decoder import Decoded
from oddlot.decode.intern import SkuTable
from oddlot.engine.alignment import Alignment
from oddlot.engine.event_time import NEVER, EventTime, Released
from oddlot.engine.scoring import Scored, Scoring, end_of_day, type_of
from oddlot.engine.sources import Source, no_more
from oddlot.schema import LINE, Alert, Incident, Lines, Reject

# What is told of a line that is set aside: its numbers, and where its texts lie.
_TOLD = (
    *("time_us", "quantity", "position", "text", "number", "source"),
    *(f"{name}_{part}" for name in ("invoice", "sku", "description") for part in ("at", "size")),
)
_AHEAD_OF_CLOCK_US = 86_400_000_000  # a line from after tomorrow is wrong, whatever follows
_HORIZON_US = 86_400_000_000  # how long an event id is remembered


class Outcome(msgspec.Struct, frozen=True):
    """What became of one batch; its arrays hold until the next batch.

    Attributes:
        released: the lines that were scored.
        rows: what each rule found, by detector type.
        alerts: what the tests found within the budget.
        incidents: those that are new or have changed.
        rejects: records that could not become lines, and lines that came too late.
    """

    released: Released
    rows: dict[str, Any]
    alerts: list[Alert]
    incidents: list[Incident]
    rejects: list[Reject]


class Engine:
    """The steps between a chunk of bytes and what to commit."""

    def __init__(self, config: Config) -> None:
        """Start with nothing known."""
        self.config = config
        self.sources: dict[str, Source] = {}
        self.skus = SkuTable(config.kinds)
        time = config.time
        self.time = EventTime(time.lateness_us, time.max_skew_us, _HORIZON_US)
        self.alignment = Alignment(time.max_skew_us)
        self.scoring = Scoring(config.detectors)
        tests = [(type_of(one), one.weight) for one in config.detectors if not one.is_rule]
        weights = {name: config.budget.weight(name, own) for name, own in tests}
        self.budget = Budget(weights, config.budget.own_oddities)
        self.incidents = Incidents()
        self.read: Counter[int] = Counter()
        self.scored: Counter[int] = Counter()
        self.rejected: Counter[int] = Counter()

    def feed(
        self,
        partition: str,
        data: Any,
        is_last: bool,
        now_us: int,
        more: Callable[[], bytes] = no_more,
    ) -> Iterator[Outcome]:
        """Take the next bytes of a partition through decode, order, score and decide.

        Args:
            partition: the file or shard.
            data: what follows the bytes that came before.
            is_last: whether the partition ends here.
            now_us: the clock; a line from more than a day later is a reject.
            more: reads on for the layout alone; see `layout.look`.

        Yields:
            What became of each batch of lines.
        """
        source = self.source(partition)
        for decoded in source.feed(data, is_last, self.config.settings, more):
            yield self.take(decoded, source.number, now_us)

    def hold(self, partition: str, data: Any, is_last: bool, now_us: int) -> list[Reject]:
        """Take the next bytes of one partition of several through decode only; see `align`.

        Args:
            partition: the shard.
            data: whole records, each with its line end.
            is_last: whether what the decoder still holds is a record.
            now_us: as for `feed`.

        Returns:
            The records that could not become lines.
        """
        source = self.source(partition)
        rejects: list[Reject] = []
        decoders = (one.decoder for one in self.sources.values() if one.decoder is not None)
        like = next((decoder.reading for decoder in decoders), None)
        for decoded in source.feed_patiently(data, is_last, self.config.settings, like):
            lines, more = self._count_in(decoded, source.number, now_us)
            rejects += more
            self.alignment.hold(partition, lines)
        return rejects

    def align(self, live: Collection[str]) -> Iterator[Outcome]:
        """Order, score and decide the lines held of which no partition can bring older ones.

        Args:
            live: see `Alignment.hand_on`.
        """
        for lines in self.alignment.hand_on(live):
            yield self._order(lines, [])

    def source(self, partition: str) -> Source:
        """Return a partition's source, made at first sight."""
        source = self.sources.get(partition)
        if source is None:
            source = self.sources[partition] = Source(partition, len(self.sources))
            self.time.source_names.append(partition)
        return source

    def take(self, decoded: Decoded, source: int, now_us: int) -> Outcome:
        """Order, score and decide a decoded batch."""
        return self._order(*self._count_in(decoded, source, now_us))

    def _count_in(self, decoded: Decoded, source: int, now_us: int) -> tuple[Lines, list[Reject]]:
        lines, rejects = decoded.lines, decoded.rejects
        self.read[source] += len(lines) + len(rejects)
        lines, early = self._after_tomorrow(lines, now_us)
        rejects = rejects + early
        self.rejected[source] += len(rejects)
        return lines, rejects

    def _order(self, lines: Lines, rejects: list[Reject]) -> Outcome:
        self.skus.intern(lines)
        too_late, given_up = self.time.admit(lines)
        for one in given_up:
            self.rejected[int(one.line["source"][0])] += 1
            reason = "time must be near the stream's; it is far ahead, and too many lines wait"
            rejects += self._set_aside(one, reason)
        for late in too_late:
            rejects += self._set_aside(late, "late: older than the watermark when it came")
        return self._decide(self.time.release(), rejects)

    def finish(self) -> Outcome:
        """Release what is pending: the source has ended, or has been idle for long."""
        released, too_late = self.time.flush()
        rejects: list[Reject] = []
        for late in too_late:
            rejects += self._set_aside(late, "late: older than the watermark when it came")
        return self._decide(released, rejects)

    def strike(self, until_us: int | None = None) -> Outcome:
        """Tell what is odd if no line comes until then; nothing of it is learned.

        When a line does come, the engine goes on as if this had not been asked. What it then
        finds again has the same id.

        Args:
            until_us: event time up to which the clock strikes; None for the end of the newest
                line's day.
        """
        if until_us is None:
            until_us = end_of_day(self.time.newest_us) if self.time.newest_us != NEVER else NEVER
        nothing = Released(Lines(np.zeros(0, LINE), np.zeros(1, np.uint8)), np.zeros(0, np.int64))
        kept = self.scoring, self.budget, self.incidents
        self.scoring, self.budget, self.incidents = copy.deepcopy(kept)
        try:
            return self._decide(nothing, [], until_us)
        finally:
            self.scoring, self.budget, self.incidents = kept

    def give_up_waiting(self) -> list[Reject]:
        """Reject the lines ahead of the stream that never found company: the source has ended."""
        rejects: list[Reject] = []
        for one in self.time.let_go():
            self.rejected[int(one.line["source"][0])] += 1
            rejects += self._set_aside(one, "time must be near the stream's; it is far ahead")
        return rejects

    def _decide(
        self, released: Released, rejects: list[Reject], until_us: int | None = None
    ) -> Outcome:
        scored = self.scoring.score(released, self.skus.count, until_us, self.skus.save())
        if len(self.sources) == 1:
            self.scored[0] += len(released.order)
        else:
            numbers = np.bincount(released.lines.line["source"][released.order])
            self.scored.update({i: n for i, n in enumerate(numbers.tolist()) if n})
        rows: dict[str, Any] = {}
        made: list[tuple[Alert, int]] = []
        self.budget.begin(scored.event)
        for detector, found in zip(self.scoring.detectors, scored.found, strict=True):
            name = type_of(detector)
            if detector.is_rule:
                rows[name] = found
            elif len(scored.event):
                made += self._alert(detector, found, scored, released)
        made.sort(key=lambda one: (one[0].time_us, one[0].detector, one[0].id))
        alerts, incidents = self.incidents.take(made, scored.event)
        return Outcome(released, rows, alerts, incidents, rejects)

    def _alert(
        self, detector: Any, found: Any, scored: Scored, released: Released
    ) -> list[tuple[Alert, int]]:
        name = type_of(detector)
        rate = self.budget.rate(name, scored.event, found, self.skus.count)
        kept = np.flatnonzero(rate <= self.config.budget.false_alerts_per_day)
        if len(kept) == 0:
            return []
        return make_alerts(
            detector,
            name,
            released,
            scored,
            found[kept],
            rate[kept],
            self.budget.probability,
            self.skus.code,
            list(self.sources),
            self.config.alerts.language,
        )

    def _after_tomorrow(self, lines: Lines, now_us: int) -> tuple[Lines, list[Reject]]:
        limit = now_us + _AHEAD_OF_CLOCK_US
        if len(lines) == 0 or int(lines.line["time_us"].max()) <= limit:
            return lines, []
        is_early = lines.line["time_us"] > limit
        early = Lines(lines.line[is_early], lines.text)
        reason = "time must not be in the future; it is after tomorrow"
        return Lines(lines.line[~is_early], lines.text), self._set_aside(early, reason)

    def _set_aside(self, lines: Lines, reason: str) -> list[Reject]:
        names = list(self.sources)
        text = lines.text.tobytes()
        fields = [LINE.names.index(name) for name in _TOLD]  # type: ignore[union-attr]
        rejects = []
        # Plain tuples: a file that is sorted the wrong way has a line to set aside at each step.
        for row in lines.line.tolist():
            time_us, quantity, position, start, number, source, *spans = (row[i] for i in fields)
            data = b" | ".join(
                [
                    *(
                        text[start + at : start + at + size]
                        for at, size in zip(spans[::2], spans[1::2], strict=True)
                    ),
                    b"%d" % quantity,
                    _iso(time_us).encode(),
                ]
            )
            rejects.append(Reject(names[source], position, number, reason, data[:256], len(data)))
        return rejects

    @property
    def problems(self) -> dict[str, str]:
        """Partitions whose layout cannot be told yet, and why."""
        return {name: source.problem for name, source in self.sources.items() if source.problem}

    def counters(self) -> dict[str, int]:
        """Return the totals: read = scored + late + rejected + duplicate + pending, always."""
        return {
            "read": self.read.total(),
            "scored": self.scored.total(),
            "late": self.time.late.total(),
            "rejected": self.rejected.total(),
            "duplicate": self.time.duplicate.total(),
            "pending": self.time.pending + self.alignment.held,
        }


def _iso(time_us: Any) -> str:
    return str(np.datetime64(int(time_us), "us"))
