"""The page: what was collected, in words and charts, as one file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2
import msgspec
from markupsafe import Markup

from oddlot import __version__
from oddlot.alerts.text import printable
from oddlot.report.calibration import promises
from oddlot.report.card import describe
from oddlot.report.collect import Collector, Story
from oddlot.report.panels import draw_calendar
from oddlot.report.series import Series
from oddlot.report.texts import Speaker

_LONGEST = 800  # days of the calendar that are drawn: a pixel each is the least that shows
_OPEN = 10  # incidents that are unfolded at first
_EDGES = (10.0, 1.0, 0.2, 0.05, 0.02, 0.0)  # lines a day: the bands of SKUs
_SILENCE = 1e-3  # the chance from which a silence counts as told in the table


class Run(msgspec.Struct):
    """What `detect` knows when it is done.

    Attributes:
        files: as the user named them.
        counts: read, scored, late, rejected and duplicate.
        budget: false alerts a day.
        parts: each test's part of the budget, together 1.
        rows: how many lines each rule fired on.
        reasons: why lines were set aside, how many, and the first places.
        missing: by file, the roles that it has no column for.
        idle: types of the detectors that did not run.
        without: why there is no series: a file that could be read only once, or an error.
        now_us: the clock, microseconds UTC.
    """

    files: Sequence[str]
    counts: Mapping[str, int]
    budget: float
    parts: Mapping[str, float]
    rows: Mapping[str, int]
    reasons: Sequence[tuple[str, int, Sequence[str]]]
    missing: Mapping[str, Sequence[str]]
    idle: Sequence[str]
    without: str
    now_us: int


def write_page(
    run: Run, collector: Collector, stories: Sequence[Story], series: Series | None, language: str
) -> str:
    """Return the page as HTML.

    Args:
        run: what the run was.
        collector: what it found.
        stories: the incidents to tell, the worst first.
        series: the lines around them; None if they could not be read again.
        language: "en" or "es".
    """
    speaker = Speaker(language)
    folder = resources.files("oddlot.report")
    style = "".join((folder / name).read_text("utf-8") for name in ("chart.css", "page.css"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    name = ", ".join(path.rpartition("/")[2] for path in run.files)
    cards = [describe(story, series.of(story) if series else [], speaker) for story in stories]
    return _environment().get_template("page.html").render(
        say=speaker.say,
        language=language,
        style=Markup(style),  # noqa: S704  # our own file, part of the program
        digest=digest,
        name=printable(name),
        version=__version__,
        when=speaker.time(run.now_us),
        facts=_facts(run, collector, stories, speaker),
        timelines=_timelines(collector, speaker),
        cards=cards,
        opened=_OPEN,
        more=speaker.count("incident|", more) if (more := collector.incidents - len(cards)) else "",
        budget=run.budget,
        without=run.without,
        detectors=_detectors(run, collector, speaker),
        rules=[(speaker.detector(name), count) for name, count in run.rows.items()],
        promises=promises(collector, run.budget, run.parts, speaker),
        odds=speaker.number(1 / _SILENCE),
        days=speaker.count("day|", len(collector.days)),
        bands=_bands(collector, speaker),
        missing=_missing(run, speaker),
        outcomes=[(name, count) for name, count in run.counts.items() if name != "read" and count],
        reasons=run.reasons,
        idle=[speaker.detector(name) for name in run.idle],
        number=speaker.number,
    )  # fmt: skip


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("oddlot.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clean"] = _clean
    return environment


def _clean(text: str) -> str:
    """Take out what would steer a terminal or turn a line around; our own blanks stay."""
    return "\N{NO-BREAK SPACE}".join(printable(part) for part in text.split("\N{NO-BREAK SPACE}"))


def _facts(
    run: Run, collector: Collector, stories: Sequence[Story], speaker: Speaker
) -> list[tuple[str, str]]:
    alerts = sum(tally.alerts for tally in collector.tallies.values())
    days = len(collector.days)
    period = speaker.say("no_period")
    if days:
        first, last = speaker.day(min(collector.days)), speaker.day(max(collector.days))
        period = speaker.say("period_value", first=first, last=last)
    facts = [
        ("period", period),
        ("days", speaker.number(days)),
        ("lines", speaker.number(run.counts["read"])),
        ("skus", speaker.number(collector.skus())),
        (
            "alerts",
            speaker.say(
                "alerts_value",
                alerts=speaker.count("alert|", alerts),
                incidents=speaker.count("incident|", collector.incidents),
            ),
        ),
        ("a_day", speaker.say("a_day_value", found=alerts / max(days, 1), budget=run.budget)),
    ]
    named = [(speaker.say(key), value) for key, value in facts]
    stake = sum(story.incident.stake for story in stories)
    if stake >= 0.5:
        named.append((speaker.say("stake", count=len(stories)), speaker.number(round(stake))))
    return named


def _timelines(collector: Collector, speaker: Speaker) -> dict[str, Any]:
    if not collector.days:
        return {}
    last = max(collector.days)
    first = max(min(collector.days), last - _LONGEST + 1)
    titles = {
        day: speaker.say(
            "timeline_day",
            day=speaker.day(day),
            alerts=speaker.count("alert|", collector.alert_days[day]),
            lines=speaker.count("line|", collector.days[day]),
        )
        for day in range(first, last + 1)
        if day in collector.days or day in collector.alert_days
    }
    return {
        "charts": [
            (
                speaker.say(key),
                draw_calendar(
                    counts,
                    first,
                    last,
                    speaker.say(f"{key}_label", most=max(counts.values(), default=0)),
                    titles,
                    speaker,
                ),
            )
            for key, counts in (
                ("timeline", collector.alert_days),
                ("timeline_lines", collector.days),
            )
        ],
        "cut": speaker.say("too_long", most=_LONGEST) if first > min(collector.days) else "",
    }


def _detectors(run: Run, collector: Collector, speaker: Speaker) -> list[list[str]]:
    days = max(len(collector.days), 1)
    whole = sum(tally.alerts for tally in collector.tallies.values())
    rows = [
        [
            speaker.detector(name),
            speaker.number(tally.alerts),
            speaker.number(tally.alerts / days),
            speaker.percent(tally.alerts / whole) if whole else "",
            speaker.number(run.budget * run.parts.get(name, 0.0)),
            speaker.often(10.0**-tally.worst) if tally.alerts else "",
        ]
        for name, tally in sorted(collector.tallies.items(), key=lambda one: -one[1].alerts)
    ]
    worst = max((tally.worst for tally in collector.tallies.values()), default=-math.inf)
    total = [
        speaker.say("total"),
        speaker.number(whole),
        speaker.number(whole / days),
        speaker.percent(1.0) if whole else "",
        speaker.number(run.budget),
        speaker.often(10.0**-worst) if whole else "",
    ]
    return [*rows, total]


def _bands(collector: Collector, speaker: Speaker) -> list[list[str]]:
    bands = collector.bands(_EDGES, _SILENCE)
    lines = sum(band.lines for band in bands)
    rows = []
    for band, least in zip(bands, _EDGES, strict=True):
        if not band.skus:
            continue
        if math.isinf(band.most):
            name = speaker.say("band_most", least=least)
        elif least > 0:
            name = speaker.say("band_between", least=least, most=band.most)
        else:
            name = speaker.say("band_least", most=band.most)
        silence = speaker.count("trading_days", math.ceil(band.days))
        rows.append([
            name,
            speaker.number(band.skus),
            speaker.percent(band.lines / lines) if lines else "",
            silence,
            speaker.number(band.blind),
        ])  # fmt: skip
    return rows


def _missing(run: Run, speaker: Speaker) -> list[str]:
    said = []
    for source, roles in run.missing.items():
        for role in ("price", "invoice", "customer", "description"):
            if role in roles:
                text = speaker.say(f"missing_{role}")
                if len(run.missing) > 1:
                    text = speaker.say("missing_source", source=source, role=text)
                said.append(text)
    return said
