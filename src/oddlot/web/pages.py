"""What the other pages show: the overview, detectors, rejects, the flow of lines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from oddlot import catalog
from oddlot.config import Config
from oddlot.schema import Reject
from oddlot.web.filters import RANGES, View, minute
from oddlot.web.inbox import PAGE, Inbox, Wanted
from oddlot.web.stories import row_of
from oddlot.web.voice import LEVELS, Voice, level_of

_NEWEST = 8  # incidents on the overview
_DAY_US = 86_400_000_000


def overview(inbox: Inbox, view: View, voice: Voice, config: Config) -> dict[str, Any]:
    """Return what the overview shows."""
    edges = config.web.levels
    meta = inbox.meta()
    span = inbox.span_us()
    newest_us = max(meta.newest_us or 0, span[1] if span else 0)
    cells, cell_us = RANGES[view.range]
    until_us = (newest_us // cell_us + 1) * cell_us
    since_us = until_us - cells * cell_us
    counts = inbox.levels(edges, since_us, until_us) if span else [0] * len(LEVELS)
    shown = View(since=minute(since_us), until=minute(until_us))
    recent, _ = inbox.find(Wanted(by_time=True), 0, _NEWEST)
    days = max(1, (newest_us - span[0]) // _DAY_US + 1) if span else 1
    totals = inbox.totals()
    return {
        "by_level": [
            {
                "level": level,
                "word": voice.say(f"level_{level}"),
                "count": count,
                "from": _from(level, edges, voice),
                "link": shown.link("/inbox", level=level),
            }
            for level, count in reversed(list(zip(LEVELS, counts, strict=True)))
        ],
        "total": sum(counts),
        "lanes": _lanes(inbox, voice, config, since_us, cells, cell_us),
        "ticks": _ticks(voice, since_us, cells, cell_us),
        "ranges": [
            (key, voice.say(f"range_{key}"), View(range=key).link("/"), key == view.range)
            for key in RANGES
        ],
        "since": voice.time(since_us),
        "until": voice.time(until_us),
        "recent": [row_of(inbox, incident, voice, edges) for incident in recent],
        "totals": totals,
        "watermark": voice.time(meta.watermark_us) if meta.watermark_us is not None else "",
        "a_day": voice.number(totals["alerts_kept"] / days),
        "budget": config.budget.false_alerts_per_day,
        "has_alerts": span is not None,
    }


def _from(level: str, edges: tuple[float, ...], voice: Voice) -> str:
    place = LEVELS.index(level)
    if place == 0:
        return voice.say("level_below", most=edges[0])
    return voice.say("level_from", least=edges[place - 1])


def _lanes(
    inbox: Inbox, voice: Voice, config: Config, since_us: int, cells: int, cell_us: int
) -> dict[str, Any]:
    """Return the swimlanes: a row for each detector that found something, cells of time."""
    found = inbox.lanes(since_us, since_us + cells * cell_us, cell_us)
    rows = []
    for name in sorted(found, key=lambda one: -max(beat.severity for beat in found[one].values())):
        row: list[dict[str, str] | None] = []
        for cell in range(cells):
            beat = found[name].get(cell)
            start = since_us + cell * cell_us
            if beat is None:
                row.append(None)
                continue
            level = level_of(beat.severity, config.web.levels)
            there = View(detector=name, since=minute(start), until=minute(start + cell_us))
            row.append({
                "count": voice.number(beat.incidents),
                "level": level,
                "said": voice.say(
                    "lane_cell",
                    when=voice.time(start),
                    incidents=voice.count("incident|", beat.incidents),
                    level=voice.say(f"level_{level}"),
                ),
                "link": there.link("/inbox"),
            })  # fmt: skip
        rows.append({"name": voice.detector(name), "cells": row})
    quiet = [voice.detector(name) for name in _tests(config) if name not in found]
    return {"rows": rows, "quiet": quiet}


def _ticks(voice: Voice, since_us: int, cells: int, cell_us: int) -> list[str]:
    """Return what stands below the cells: an hour or a date at about every fourth."""
    every = 4 if cells % 4 == 0 else 5
    ticks = []
    for cell in range(cells):
        time = voice.time(since_us + cell * cell_us)
        ticks.append("" if cell % every else (time[11:] if cell_us < _DAY_US / 4 else time[5:10]))
    return ticks


def _tests(config: Config) -> dict[str, Any]:
    return {type_of(one): one for one in config.detectors if not one.is_rule}


def type_of(detector: Any) -> str:
    """Return a detector's type: its module's name."""
    return str(type(detector).__module__.rpartition(".")[2])


def detectors(inbox: Inbox, voice: Voice, config: Config) -> list[dict[str, Any]]:
    """Return what the page of detectors shows, a row for each."""
    tallies = inbox.tallies()
    span = inbox.span_us()
    newest_us = max(inbox.meta().newest_us or 0, span[1] if span else 0)
    days = max(1, (newest_us - span[0]) // _DAY_US + 1) if span else 1
    tests = _tests(config)
    weights = {name: config.budget.weight(name, one.weight) for name, one in tests.items()}
    whole = sum(weights.values()) or 1.0
    rows = []
    for detector in config.detectors:
        name = type_of(detector)
        count, last_us, score = tallies.get(name, (0, 0, 0.0))
        share = weights.get(name, 0.0) / whole
        rows.append({
            "type": name,
            "name": voice.detector(name),
            "is_rule": detector.is_rule,
            "alerts": count,
            "a_day": count / days,
            "share": share,
            "promised": share * config.budget.false_alerts_per_day,
            "last": voice.time(last_us) if count else "",
            "oddest": voice.often(10.0**-score) if count else "",
            "options": [
                (option, _show(getattr(detector, option))) for option in detector.__struct_fields__
            ],
            "link": View(detector=name).link("/inbox"),
        })  # fmt: skip
    return sorted(rows, key=lambda row: (-row["alerts"], row["type"]))


def idle_detectors(config: Config, voice: Voice) -> list[str]:
    """Return what the detectors that do not run would look for."""
    running = {type_of(one) for one in config.detectors}
    return [voice.detector(name) for name in catalog.find_types("detectors") if name not in running]


def _show(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def rejects(inbox: Inbox, view: View) -> dict[str, Any]:
    """Return what the page of rejects shows."""
    found, total = inbox.find_rejects(view.q, PAGE * (view.page - 1), PAGE)
    last = max(1, math.ceil(total / PAGE))
    return {
        "rows": [reject_row(Reject(*row)) for row in found],
        "total": total,
        "last_page": last,
        "counts": inbox.totals(),
        "previous": view.link("/rejects", page=min(view.page, last + 1) - 1)
        if view.page > 1
        else "",
        "next": view.link("/rejects", page=view.page + 1) if view.page < last else "",
    }


def reject_row(reject: Reject) -> dict[str, Any]:
    """Return one reject as text, as it came and was refused."""
    return {
        "source": reject.source,
        "number": reject.number,
        "position": reject.position,
        "reason": reject.reason,
        "data": reject.data.decode("utf-8", "replace"),
        "size": reject.size,
    }


def channels(inbox: Inbox, config: Config) -> list[dict[str, Any]]:
    """Return the channels of the config and of the store: what waits, went out, was given up."""
    known = {one.name: one for one in inbox.channels()}
    names = dict.fromkeys([*(one.name for one in config.channels), *known])
    rows = []
    for name in names:
        one = known.get(name)
        rows.append({
            "name": name,
            "pending": one.pending if one else 0,
            "sent": one.sent if one else 0,
            "dead": one.dead if one else 0,
            "oldest_s": one.oldest_us / 1e6 if one and one.oldest_us is not None else None,
            "sent_s": one.sent_us / 1e6 if one and one.sent_us is not None else None,
            "error": one.error if one else "",
            "is_off": one.is_off if one else False,
        })  # fmt: skip
    return rows


def flow(inbox: Inbox, voice: Voice, folder: Path) -> dict[str, Any]:
    """Return what the page of the pipeline shows: steps, checkpoints, sources."""
    meta, counts = inbox.meta(), inbox.totals()
    late, twice = sum(meta.time.late.values()), sum(meta.time.duplicate.values())
    read = counts.get("read", 0)
    incidents = inbox.incidents_total()
    epoch = counts["checkpoint"]
    steps = [
        ("read", read, ""),
        ("decode", read - counts.get("rejected", 0), _said(voice, "step_rejected", counts)),
        ("order", counts.get("scored", 0), _said(voice, "step_late", counts)),
        ("score", counts.get("scored", 0), ""),
        ("decide", counts["alerts_kept"], voice.count("incident|", incidents)),
        ("commit", epoch, ""),
        ("notify", counts["alerts_kept"], voice.say("step_unsent", n=counts["alerts_unsent"])),
    ]
    snapshots = []
    for one in inbox.snapshots():
        try:
            status = (folder / one.file).stat()
        except OSError:
            continue  # pruned meanwhile
        snapshots.append({
            "epoch": one.epoch,
            "made_s": status.st_mtime,
            "size": voice.bytes(status.st_size),
            "damaged": one.damaged or "",
        })  # fmt: skip
    sources = [
        {
            "name": source.name,
            "read": meta.read.get(str(number), 0),
            "scored": meta.scored.get(str(number), 0),
            "rejected": meta.rejected.get(str(number), 0),
        }
        for number, source in enumerate(meta.sources)
    ]
    return {
        "steps": [
            {"name": voice.say(f"step_{name}"), "about": voice.say(f"step_{name}_about"),
             "count": count, "unit": voice.say(f"step_{name}_unit"), "note": note}
            for name, count, note in steps
        ],
        "snapshots": snapshots,
        "sources": list(reversed(sources))[:200],
        "watermark": voice.time(meta.watermark_us) if meta.watermark_us is not None else "",
        "newest": voice.time(meta.newest_us) if meta.newest_us is not None else "",
        "late": late,
        "duplicate": twice,
        "counts": counts,
        "folder": str(folder),
    }  # fmt: skip


def _said(voice: Voice, key: str, counts: dict[str, int]) -> str:
    names = {"step_rejected": ("rejected",), "step_late": ("late", "duplicate", "pending")}[key]
    return voice.say(key, **{name: counts.get(name, 0) for name in names})
