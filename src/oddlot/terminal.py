"""What a person sees: progress, findings and counts in the terminal."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from oddlot.alerts.make import alert_row
from oddlot.alerts.text import notes, printable

if TYPE_CHECKING:
    from oddlot.demo import Ended
    from oddlot.detect import Progress, Summary
    from oddlot.engine.live import Progress as LiveProgress
    from oddlot.replay import Replayed
    from oddlot.schema import Alert
    from oddlot.simulate import Written

_RATED = 10_000  # lines from which their number a second means something
_QUIET_SECONDS = 10.0  # between two lines of progress where there is no terminal


class _Speed:
    """Lines a second over the last seconds: what came before, such as compiling, is over."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, int]] = []

    def __call__(self, now: float, lines: int) -> float:
        """Note how many lines there are by now, and return the speed."""
        self._marks.append((now, lines))
        while len(self._marks) > 2 and now - self._marks[0][0] > 3:
            self._marks.pop(0)
        first, before = self._marks[0]
        return (lines - before) / (now - first) if now > first else 0.0


class DetectBar:
    """A progress bar for `detect`: bytes, lines a second, time left; none without a terminal."""

    def __init__(self) -> None:
        self._speed = _Speed()
        self._shown = 0.0
        self._bars = Bars(
            SpinnerColumn("line", speed=0.6),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._bars.add_task("reading ...", total=None, state="")

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if sys.stderr.isatty():
            self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        """Show how far reading has come, at most ten times a second."""
        now = time.perf_counter()
        if now - self._shown < 0.1 or not sys.stderr.isatty():
            return
        self._shown = now
        speed = self._speed(now, progress.lines)
        total = f" of {_megabytes(progress.total)}" if progress.total else ""
        which = f" ({progress.number} of {progress.files})" if progress.files > 1 else ""
        self._bars.update(
            self._task,
            description=_last_part(progress.path) + which,
            completed=progress.done,
            total=progress.total if progress.total >= progress.done > 0 else None,
            state=f"{_megabytes(progress.done)}{total}  {progress.lines:,} lines"
            f"  {_short(speed)} lines/s",
        )


def show_findings(summary: Summary, language: str) -> None:
    """Print the top incidents as a table to standard output."""
    console = Console()
    if not summary.top:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("at stake", justify="right", no_wrap=True)
    table.add_column("real", justify="right", no_wrap=True)
    table.add_column("when", no_wrap=True)
    table.add_column("SKU", no_wrap=True, max_width=16)
    table.add_column("what")
    for one in summary.top:
        others = f" +{len(one.skus) - 1}" if len(one.skus) > 1 else ""
        table.add_row(
            f"{one.stake:,.0f}",
            f"{one.probability:.0%}",
            str(np.datetime64(one.first_us, "us"))[:16].replace("T", " "),
            Text(printable(one.skus[0]) + others, style="bold"),
            Text(printable(one.text.removeprefix(f"{one.skus[0]}: ") + notes(one, language))),
        )
    console.print(table)
    if summary.incidents > len(summary.top):
        console.print(f"... and {summary.incidents - len(summary.top):,} more.", style="dim")
    console.print()


def show_summary(summary: Summary) -> None:
    """Print counts, reasons of rejects and what was written where, to standard error."""
    counts = summary.counts
    seconds = summary.seconds
    notes = [f"{_short(counts['read'] / seconds)} lines/s"] if counts["read"] >= _RATED else []
    if summary.compiling >= 1:
        notes.append(f"after {summary.compiling:.0f} s of compiling")
    aside = f" ({', '.join(notes)})" if notes else ""
    is_rule = bool(summary.rows) and not summary.alerts
    found = f"{_plural(summary.alerts, 'alert')}, {_plural(summary.incidents, 'incident')}"
    alerts = "" if is_rule else f": {found}"
    _say(f"{_lines(counts['read'])} read in {seconds:.1f} s{aside}{alerts}")
    names = ("scored", "late", "rejected", "duplicate")
    _say(", ".join(f"{counts[name]:,} {name}" for name in names))
    for reason, about in sorted(summary.reasons.items(), key=lambda item: -item[1].count):
        _say(f"{about.count:,} set aside: {reason}")
        for place in about.places:
            _say(f"    {place}")
        if about.count > len(about.places):
            _say("    ...")
    if counts["late"] > counts["read"] / 100:
        _say("Lines must come in the order of time: sort them, or raise --set time.lateness=1h")
    for path, what in summary.written.items():
        if path != "-":
            set_aside = counts["rejected"] + counts["late"]
            known = {"alerts": summary.alerts, "rejects": set_aside, **summary.rows}
            of = "" if what in ("alerts", "rejects") else f" of {what}"
            name = "row" if of else what.removesuffix("s")
            _say(f"{path}: {_plural(known[what], name)}{of}")
    for name, count in summary.rows.items():
        if name not in summary.written.values():
            _say(f"{name}: {count:,} rows, not written; name a file: --out rows.csv")
    if summary.alerts and not summary.written:
        _say("Keep them all: --out alerts.jsonl")


class LiveView:
    """Shows a running engine: alerts as they come on standard output, its state on standard error.

    Args:
        plain: alerts as text for people where standard output is no terminal; JSON Lines if False.
        total: lines that are to come; None where nobody knows.
        mark: says something short about an alert, such as that its fault was planted.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        plain: bool = False,
        total: int | None = None,
        mark: Callable[[Alert], str] = lambda alert: "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plain = plain
        self._total = total
        self._mark = mark
        self._clock = clock
        self._console = Console(stderr=True)
        self._live: Live | None = None
        self._speed = _Speed()
        self._shown = -math.inf
        self._problems: set[str] = set()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._live = Live(
                console=self._console,
                refresh_per_second=8,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, progress: LiveProgress) -> None:
        """Show new alerts, new problems, and how far the engine is."""
        for alert in progress.newest:
            self.show_alert(alert)
        for problem in progress.problems.values():
            if problem not in self._problems:
                self._problems.add(problem)
                _say(f"Warning: {problem}")
        now = self._clock()
        if self._live is not None:
            if now - self._shown >= 0.1:
                self._shown = now
                self._live.update(self._state(progress, now))
        elif now - self._shown >= _QUIET_SECONDS:
            self._shown = now
            _say(self._state(progress, now).plain)

    def show_alert(self, alert: Alert) -> None:
        """Show one alert, above the state line if there is one."""
        when, mark = alert_row(alert)["time"][:16], self._mark(alert)
        said = printable(alert.text)
        if sys.stdout.isatty():
            row = Table.grid(padding=(0, 2, 0, 0))
            text = Text.assemble((f"{mark} " if mark else "", "bold green"), said)
            row.add_row(Text(when, "dim"), Text(f"{alert.score:5.2f}", "bold yellow"), text)
            # What is printed on the console of the state line goes above it.
            (Console() if self._live is None else self._console).print(row)
        elif self._plain:
            said = f"{mark} {said}" if mark else said
            print(f"{when}  {alert.score:5.2f}  {said}", flush=True)  # noqa: T201
        else:
            print(msgspec.json.encode(alert_row(alert)).decode(), flush=True)  # noqa: T201

    def _state(self, progress: LiveProgress, now: float) -> Text:
        counts = progress.counters
        speed = self._speed(now, counts["read"])
        text = Text()
        if self._total and self._live is not None:
            share = min(1.0, counts["read"] / self._total)
            text.append("█" * round(24 * share), "cyan")
            text.append("░" * (24 - round(24 * share)) + "  ", "dim")
        parts = [f"{_lines(counts['read'])}", f"{_short(speed)} lines/s"]
        if progress.watermark_us is not None:
            parts.append(f"watermark {show_time(progress.watermark_us)}")
        parts.append(_plural(progress.alerts, "alert"))
        parts += [f"{counts[name]:,} {name}" for name in ("late", "rejected") if counts[name]]
        if progress.unread:
            parts.append(f"{_megabytes(progress.unread)} behind")
        text.append("  ".join(parts))
        return text


def show_faults(ended: Ended) -> None:
    """Print which planted faults were found, and what it cost in false alarms."""
    score = ended.score
    lines, alerts = _lines(ended.counters["scored"]), _plural(len(ended.alerts), "alert")
    if score is None:
        print(f"\n{lines} scored in {ended.seconds:.1f} s: {alerts}.")  # noqa: T201
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("planted fault")
    table.add_column("planted", justify="right")
    table.add_column("found", justify="right")
    table.add_column("")
    for kind, planted in score.planted.items():
        is_sought = kind in ended.sought
        table.add_row(
            kind,
            str(planted),
            str(score.found[kind]) if is_sought else "-",
            Text("" if is_sought else "no detector here looks for it", style="dim"),
            style="" if is_sought else "dim",
        )
    console = Console()
    console.print()
    console.print(table)
    console.print()
    alarms = _plural(score.false_alarms, "false alarm")
    print(f"{lines} scored in {ended.seconds:.1f} s: {alerts}.")  # noqa: T201
    print(  # noqa: T201
        f"{alarms} in {score.days:.0f} open days: {score.false_alarms_per_day:.2f} a day; "
        f"the budget was {ended.budget:g} a day."
    )


class ReplayView:
    """Shows how much of a file was replayed, on standard error."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._shown = 0.0
        self._counts: Replayed | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if sys.stderr.isatty() and self._shown:
            sys.stderr.write("\r\x1b[K")
        if self._counts is not None:
            _say(self._state(self._counts))

    def __call__(self, counts: Replayed) -> None:
        """Show how far it is, at most five times a second."""
        self._counts = counts
        now = time.perf_counter()
        if sys.stderr.isatty() and now - self._shown >= 0.2:
            self._shown = now
            sys.stderr.write(f"\r{self._state(counts)}\x1b[K")
            sys.stderr.flush()

    def _state(self, counts: Replayed) -> str:
        seconds = time.perf_counter() - self._started
        again = f" and {counts.duplicates:,} again" if counts.duplicates else ""
        return (
            f"{_lines(counts.lines)}{again} in {_plural(counts.files, 'file')}, "
            f"{_megabytes(counts.bytes)}, {seconds:.1f} s"
        )


def show_written(written: Written) -> None:
    """Print what a simulated shop was written to."""
    print(f"{written.orders}: {_lines(written.lines)}")  # noqa: T201
    print(f"{written.labels}: {_plural(len(written.faults), 'planted fault')}")  # noqa: T201


def show_rows(table: Any, form: str) -> None:
    """Print the answer to a query: a table for people, CSV or JSON Lines.

    Args:
        table: a pyarrow.Table.
        form: "table", "csv", "json", or "auto": a table on a terminal, else CSV.
    """
    if form == "auto":
        form = "table" if sys.stdout.isatty() else "csv"
    if form == "csv":
        from pyarrow import csv

        sys.stdout.flush()
        csv.write_csv(table, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    rows = table.to_pylist()
    if form == "json":
        for row in rows:
            print(msgspec.json.encode(row, enc_hook=str).decode())  # noqa: T201
        return
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        is_number = any(word in str(kind) for word in ("int", "float", "double", "decimal"))
        shown.add_column(name, justify="right" if is_number else "left")
    for row in rows:
        shown.add_row(*("" if v is None else Text(printable(str(v))) for v in row.values()))
    Console().print(shown)
    _say(f"({_plural(len(rows), 'row')})")


def show_lines(lines: Iterable[str]) -> None:
    """Print lines to standard output."""
    for line in lines:
        print(line)  # noqa: T201


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)  # noqa: T201


def show_time(time_us: int) -> str:
    """Write an event time to the second, for people."""
    seconds = time.gmtime(time_us // 1_000_000)
    return time.strftime("%Y-%m-%d %H:%M:%S", seconds)


def _last_part(path: str) -> str:
    name = "standard input" if path == "-" else path.rpartition("/")[2]
    return name if len(name) <= 28 else name[:25] + "..."


def _lines(count: int) -> str:
    return _plural(count, "line")


def _plural(count: int, name: str) -> str:
    return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.2f} GB"


def _short(number: float) -> str:
    if number >= 1e6:
        return f"{number / 1e6:.2f} M"
    return f"{number:,.0f}"
