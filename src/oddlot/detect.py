"""Files of order lines in, alerts out: the engine over what is already there."""

from __future__ import annotations

import contextlib
import heapq
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from oddlot import catalog
from oddlot.config import Config
from oddlot.engine.ahead import feed_ahead
from oddlot.engine.embedded import Engine, Outcome
from oddlot.engine.scoring import type_of
from oddlot.engine.warm import compile_beside
from oddlot.errors import ConfigError
from oddlot.findings import AlertWriter, Output, RuleRows, alert_writer, beside, format_of
from oddlot.inputs import ReadAhead, open_chunks, text_size
from oddlot.kernels import compile_seconds
from oddlot.schema import ROLES, Incident, Reject
from oddlot.streams.chunks import open_file

if TYPE_CHECKING:
    from oddlot.report.written import Report

_TOP = 10  # incidents that a summary keeps
_MOST_INCIDENTS = 20_000  # so many are kept at a time; then only the more severe half
_PLACES = 3  # places that it keeps for each reason
_REASONS = 50  # and reasons that it tells apart
_OTHER = "other reasons"


class Progress(msgspec.Struct):
    """How far reading has come; updated in place.

    Attributes:
        path: the file that is read.
        number, files: which file it is, from 1, and how many there are.
        done, total: bytes of its text; total is 0 where nobody can know it yet.
        lines, alerts: in all files so far.
    """

    path: str = ""
    number: int = 0
    files: int = 0
    done: int = 0
    total: int = 0
    lines: int = 0
    alerts: int = 0


class Reason(msgspec.Struct):
    """Why records were set aside: how many, and the first few places."""

    count: int = 0
    places: list[str] = []


class Summary(msgspec.Struct):
    """What became of the files.

    Attributes:
        counts: read = scored + late + rejected + duplicate.
        alerts: how many alerts the tests gave.
        incidents: how many causes they have.
        rows: how many rows each rule gave.
        reasons: why records were rejected or late.
        top: the incidents that are most worth a look, the most severe first.
        written: the files that were written, with what they hold.
        seconds: how long it took, without compiling.
        compiling: seconds spent on compiling kernels, the first time on a machine.
    """

    counts: dict[str, int]
    alerts: int
    incidents: int
    rows: dict[str, int]
    reasons: dict[str, Reason]
    top: list[Incident]
    written: dict[str, str]
    seconds: float
    compiling: float


def choose(
    config: Config,
    only: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    dates: str | None = None,
    budget: float | None = None,
) -> Config:
    """Return the config as the options of `detect` change it.

    Args:
        config: what they change.
        only: types of the detectors to run; those of the config keep their options there.
        columns: role to the column's name.
        dates: as in the config's section `source`.
        budget: false alerts a day that the user accepts.

    Raises:
        ConfigError: there is no such detector or role.
    """
    for role in columns or {}:
        if role not in ROLES:
            raise ConfigError(
                f"--map: role must be one of: {', '.join(ROLES)}; got {catalog.show(role)}"
                f"{catalog.suggest(role, ROLES)}"
            )
    detectors = config.detectors
    if only:
        known = {type_of(detector): detector for detector in detectors}
        detectors = tuple(
            known[name]
            if name in known
            else catalog.build("detectors", {"type": name}, f"--only {name}")
            for name in dict.fromkeys(only)
        )
    source = config.source
    if dates is not None:
        source = msgspec.structs.replace(source, dates=dates)
    return msgspec.structs.replace(
        config,
        detectors=detectors,
        columns={**config.columns, **(columns or {})},
        source=source,
        budget=config.budget
        if budget is None
        else msgspec.structs.replace(config.budget, false_alerts_per_day=budget),
    )


def detect(
    files: Sequence[str],
    config: Config,
    out: str | None,
    on_progress: Callable[[Progress], object],
    now_us: int,
    rejects: str | None = None,
    report: str | None = None,
) -> Summary:
    """Read files of order lines one after the other, and write what is odd in them.

    Alerts of tests go to `out`; a rule's rows go beside it, or to `out` itself where no test
    runs. What is written appears in its place only when it is whole.

    Args:
        files: CSV, JSON Lines, Parquet or XLSX, plain or packed; "-" is standard input.
        config: what to look for, and how.
        out: a file that ends in .jsonl, .csv or .parquet; "-" for JSON Lines on standard output;
            None to write nothing.
        on_progress: called after each chunk.
        now_us: the clock, microseconds UTC.
        rejects: a file for the records that were set aside, JSON Lines with place and reason.
        report: a page in HTML of the worst incidents; the files are then read twice.

    Raises:
        ConfigError: a file cannot be opened or understood.
        StreamError: reading or writing failed midway.
    """
    started, compiled = time.perf_counter(), compile_seconds()
    _check_files(files, {"--out": out, "--rejects": rejects, "--report": report})
    progress = Progress(files=len(files))
    # The first file is opened before anything is written, so that a wrong name leaves no trace.
    engine = Engine(config)
    compile_beside(config.detectors)
    sink = _Sink(engine, out, rejects)
    page: Report | None = None
    try:
        if report is not None:
            from oddlot.report.written import Report

            page = Report(config, report)
        for progress.number, path in enumerate(files, 1):
            progress.path, progress.done, progress.total = path, 0, text_size(path)
            opened = open_chunks(path)
            chunks = ReadAhead(opened if page is None else page.keep(path, opened))
            for outcome in _feed(engine, path, chunks, now_us):
                sink.take(outcome)
                if page is not None:
                    page.take(outcome)
                progress.done = chunks.done
                progress.lines, progress.alerts = engine.read.total(), sink.alerts
                on_progress(progress)
        for outcome in (engine.finish(), engine.strike()):
            sink.take(outcome)
            if page is not None:
                page.take(outcome)
        sink.set_aside(engine.give_up_waiting())
        sink.keep()
        if page is not None:
            page.write(files, engine, sink.counts(), sink.told(), _feed, now_us)
    finally:
        sink.drop()
        if page is not None:
            page.close()
    compiling = compile_seconds() - compiled
    return Summary(
        counts=engine.counters(),
        alerts=sink.alerts,
        incidents=sink.incidents,
        rows=sink.counts(),
        reasons=sink.reasons,
        top=sink.best(),
        written=sink.written,
        seconds=max(time.perf_counter() - started - compiling, 1e-6),
        compiling=compiling,
    )


class _Sink:
    """Where outcomes go: to files, and into the summary."""

    def __init__(self, engine: Engine, out: str | None, rejects: str | None) -> None:
        self.alerts = 0
        self.reasons: dict[str, Reason] = {}
        self.rows: dict[str, RuleRows] = {}
        self.written: dict[str, str] = {}
        self._engine = engine
        self.incidents = 0
        self._incidents: dict[str, Incident] = {}
        self._outputs: list[Output] = []
        self._writer: AlertWriter | None = None
        self._is_kept = False
        self._rejects: Output | None = None
        rules = [detector for detector in engine.config.detectors if detector.is_rule]
        has_tests = len(rules) < len(engine.config.detectors)
        try:
            if rejects is not None:
                self._rejects = self._open(rejects, "rejects")
            if out is not None and has_tests:
                self._writer = alert_writer(self._open(out, "alerts"))
            for rule in rules:
                name = type_of(rule)
                output = None
                if out is not None and not has_tests and len(rules) == 1:
                    output = self._open(out, name)
                elif out is not None and out != "-":
                    output = self._open(beside(out, name), name)
                self.rows[name] = RuleRows(output, rule.columns)
        except BaseException:
            self.drop()
            raise

    def take(self, outcome: Outcome) -> None:
        """Write what was found, and note the rest."""
        released = outcome.released
        if outcome.rows and len(released.order):
            is_plain = self._is_plain()
            for name, found in outcome.rows.items():
                self.rows[name].write(released.lines, released.order, found, is_plain)
        if outcome.alerts:
            self.alerts += len(outcome.alerts)
            self.incidents += sum(alert.id == alert.incident for alert in outcome.alerts)
            if self._writer:
                self._writer.write(outcome.alerts)
        for incident in outcome.incidents:
            self._incidents[incident.id] = incident
        if len(self._incidents) > _MOST_INCIDENTS:
            self._incidents = {one.id: one for one in self._worst(_MOST_INCIDENTS // 2)}
        self.set_aside(outcome.rejects)

    def set_aside(self, rejects: Iterable[Reject]) -> None:
        """Count rejects by reason, and keep the first few places."""
        for reject in rejects:
            short = reject.reason.partition("; got ")[0]
            if short not in self.reasons and len(self.reasons) >= _REASONS:
                short = _OTHER
            reason = self.reasons.setdefault(short, Reason())
            reason.count += 1
            if len(reason.places) < _PLACES:
                reason.places.append(f"{reject.source}: line {reject.number}: {reject.reason}")
            if self._rejects is not None:
                row = msgspec.structs.asdict(reject)
                row["data"] = reject.data.decode("utf-8", "backslashreplace")
                self._rejects.write(msgspec.json.encode(row) + b"\n")

    def best(self) -> list[Incident]:
        """Return the incidents that are most worth a look, the most severe first."""
        return self._worst(_TOP)

    def _worst(self, count: int) -> list[Incident]:
        return heapq.nlargest(
            count, self._incidents.values(), key=lambda one: (one.severity, one.score, one.id)
        )

    def counts(self) -> dict[str, int]:
        """Return how many rows each rule gave."""
        return {name: rows.count for name, rows in self.rows.items()}

    def told(self) -> list[tuple[str, int, list[str]]]:
        """Return why records were set aside, the most frequent reason first."""
        ordered = sorted(self.reasons.items(), key=lambda item: -item[1].count)
        return [(name, reason.count, reason.places) for name, reason in ordered]

    def keep(self) -> None:
        """Finish every file and move it to its place."""
        self._close()
        for output in self._outputs:
            output.keep()
        self._is_kept = True

    def drop(self) -> None:
        """Remove what was not kept."""
        if not self._is_kept:
            with contextlib.suppress(OSError):
                self._close()  # pyarrow would do it later, into a file that is gone
            for output in self._outputs:
                output.drop()

    def _close(self) -> None:
        if self._writer:
            self._writer.close()
        for rows in self.rows.values():
            rows.close()

    def _open(self, path: str, what: str) -> Output:
        output = Output(path)
        self._outputs.append(output)
        self.written[path] = what
        return output

    def _is_plain(self) -> bool:
        decoders = [source.decoder for source in self._engine.sources.values()]
        return all(
            decoder is None
            or (decoder.reading.format == "csv" and decoder.reading.delimiter == ",")
            for decoder in decoders
        )


def _feed(engine: Engine, path: str, chunks: ReadAhead, now_us: int) -> Iterator[Outcome]:
    """Take a file through the engine; where there is a second core, it decodes."""
    if _cores() > 1:
        yield from feed_ahead(engine, path, iter(chunks), now_us, chunks.more)
        return
    for data, is_last in chunks:
        yield from engine.feed(path, data, is_last, now_us, chunks.more)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_files(files: Sequence[str], written: Mapping[str, str | None]) -> None:
    if len(set(files)) < len(files):
        twice = next(path for path, count in Counter(files).items() if count > 1)
        raise ConfigError(f"{twice}: must be named once; got {files.count(twice)} times")
    for path in files:
        if path != "-":
            # A wrong name leaves no half of an output behind.
            if not _is_pipe(path):
                os.close(open_file(path))
            for option, name in written.items():
                if name not in (None, "-") and _is_same(path, str(name)):
                    raise ConfigError(f"{option} {name}: must not be a file that is read")
    if (out := written["--out"]) is not None:
        format_of(out)
    report = written["--report"]
    if report is not None and list(written.values()).count(report) > 1:
        raise ConfigError(f"--report {report}: must be a file of its own")


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(Path(path).stat().st_mode)
    except OSError:
        return False


def _is_same(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False
