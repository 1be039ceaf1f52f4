"""Incidents in words: a row of the inbox, a story with its charts and lines, a SKU's page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from oddlot.config import Config
from oddlot.report.card import describe
from oddlot.report.collect import Story
from oddlot.report.panels import draw_track
from oddlot.report.series import BASKETS, WHOLE_SHOP
from oddlot.schema import Alert, Incident
from oddlot.web.filters import View
from oddlot.web.inbox import PAGE, Inbox
from oddlot.web.orders import track_of
from oddlot.web.voice import Voice, level_of

_MEMBERS = 50  # alerts of one incident that its page tells
_CHARTS = 2  # SKUs of one incident that have charts
_SIMILAR = 6
_DELIVERIES = 100
_NAMELESS = ("write_off",)  # detectors whose lines have a remark where others have a name
_SKU_ALERTS = 200  # on a SKU's page


def list_incidents(inbox: Inbox, view: View, voice: Voice, config: Config) -> dict[str, Any]:
    """Return what the inbox shows."""
    edges = config.web.levels
    wanted = view.wanted(edges)
    found, total = inbox.find(wanted, PAGE * (view.page - 1), PAGE)
    hidden = inbox.incidents_total() - total if view.is_filtered else 0
    last = max(1, math.ceil(total / PAGE))
    return {
        "rows": [row_of(inbox, incident, voice, edges) for incident in found],
        "total": total,
        "hidden": hidden,
        "last_page": last,
        "previous": view.link("/inbox", page=min(view.page, last + 1) - 1) if view.page > 1 else "",
        "next": view.link("/inbox", page=view.page + 1) if view.page < last else "",
    }


def row_of(
    inbox: Inbox, incident: Incident, voice: Voice, edges: tuple[float, ...]
) -> dict[str, Any]:
    """Return what one row of a list of incidents says."""
    alerts = inbox.alerts_of(incident.id, 1)
    worst = voice.retell(alerts[0]) if alerts else None
    level = level_of(incident.severity, edges)
    return {
        "id": incident.id,
        "level": level,
        "level_word": voice.say(f"level_{level}"),
        "severity": voice.money(incident.severity),
        "title": worst.text if worst else incident.text,
        "product": _product(worst) if worst else "",
        "scope": scope_of(incident, worst, voice),
        "what": ", ".join(voice.detector(name) for name in incident.detectors),
        "first": voice.time(incident.first_us),
        "last": voice.time(incident.last_us),
        "alerts": incident.alerts,
        "badges": voice.notes(incident),
    }


def _product(alert: Alert) -> str:
    """Return what the SKU is called; a line that corrects stock says why, not what."""
    is_named = alert.sku != WHOLE_SHOP and alert.detector not in _NAMELESS
    return alert.description.strip() if is_named else ""


def scope_of(incident: Incident, worst: Alert | None, voice: Voice) -> str:
    """Say what an incident is about: a SKU, several, an invoice or the whole shop."""
    if worst is not None and worst.sku == WHOLE_SHOP and worst.detector in BASKETS:
        return voice.say("whole_invoice", invoice=worst.invoice)
    if WHOLE_SHOP in incident.skus:
        return voice.say("whole_shop")
    if len(incident.skus) > 1:
        return voice.say(
            "sku_and_more", sku=incident.skus[0], more=voice.number(len(incident.skus) - 1)
        )
    return incident.skus[0] if incident.skus else ""


def tell(
    inbox: Inbox, incident: Incident, voice: Voice, config: Config, archive: Path | None
) -> dict[str, Any]:
    """Return what an incident's page says."""
    edges = config.web.levels
    alerts = [voice.retell(alert) for alert in inbox.alerts_of(incident.id, _MEMBERS)]
    if not alerts:
        return {}
    worst = alerts[0]
    tracks = []
    for sku in list(dict.fromkeys(alert.sku for alert in alerts))[:_CHARTS]:
        of_it = next(alert for alert in alerts if alert.sku == sku)
        track = track_of(of_it, archive, inbox)
        if track is not None:
            tracks.append(track)
    card = describe(Story(incident, alerts), tracks, voice)
    level = level_of(incident.severity, edges)
    return {
        "card": card,
        "incident": incident,
        "level": level,
        "level_word": voice.say(f"level_{level}"),
        "severity": voice.money(incident.severity),
        "facts": _four(incident, worst, voice),
        "skus": [sku for sku in incident.skus if sku != WHOLE_SHOP],
        "is_cut": any(track.is_cut for track in tracks),
        "has_archive": archive is not None,
        "chance": _chances(worst, voice),
        "deliveries": [
            {
                "channel": one.channel,
                "state": voice.say(f"delivery_{one.state}"),
                "is_well": one.state != "dead" and not one.error,
                "tries": one.tries,
                "at_s": (one.added_us if one.done_us is None else one.done_us) / 1e6,
                "error": one.error,
            }
            for one in inbox.deliveries(incident=incident.id, limit=_DELIVERIES)
        ],
        "similar": [
            row_of(inbox, other, voice, edges) for other in inbox.incidents_like(worst, _SIMILAR)
        ],
    }


def _four(incident: Incident, worst: Alert, voice: Voice) -> list[tuple[str, str, str]]:
    """Return the four things that a person asks first: key, answer, and a remark."""
    stake = voice.say("unknown_stake")
    remark = ""
    if incident.stake >= 0.005:
        stake = voice.money(incident.stake)
        remark = voice.say("real_with", probability=voice.percent(incident.probability))
    since = voice.time(incident.first_us)
    until = voice.time(incident.last_us)
    return [
        ("story_what", voice.detector(worst.detector), scope_of(incident, worst, voice)),
        (
            "story_unusual",
            voice.often(10.0**-incident.score),
            voice.say("story_unusual_about"),
        ),
        (
            "story_since",
            since,
            voice.say("last_alert", time=until) if until != since else voice.say("one_alert"),
        ),
        ("story_stake", stake, remark),
    ]


def _chances(alert: Alert, voice: Voice) -> list[tuple[str, str]]:
    said = [("why_detector", voice.detector(alert.detector))]
    for key, value in (("why_chance", alert.chance), ("why_rate", alert.rate)):
        if math.isfinite(value):
            said.append((key, f"{value:.2g}" if value < 0.001 else voice.number(value)))
    return said


def tell_sku(
    inbox: Inbox, code: str, voice: Voice, config: Config, archive: Path | None
) -> dict[str, Any]:
    """Return what a SKU's page says; nothing if it never had an alert."""
    alerts = [voice.retell(alert) for alert in inbox.alerts(_SKU_ALERTS, sku=code)]
    if not alerts:
        return {}
    newest = alerts[0]
    track = track_of(newest, archive, inbox)
    panels = []
    if track is not None and not track.is_basket:
        # The same lines in three pictures; what is expected belongs to single incidents.
        plain = msgspec.structs.replace(newest, evidence={}, quantity=0, price=math.nan)
        for detector in ("", "silent_sku", "quantity_spike", "price_error"):
            like = msgspec.structs.replace(plain, detector=detector)
            panels += draw_track(track, like, voice)
    incidents = [inbox.incident(name) for name in dict.fromkeys(alert.incident for alert in alerts)]
    rows = [
        row_of(inbox, incident, voice, config.web.levels)
        for incident in incidents
        if incident is not None
    ]
    names = [alert.description.strip() for alert in alerts if alert.description.strip()]
    return {
        "code": code,
        "product": names[0] if names else "",
        "panels": panels,
        "rows": rows,
        "alerts": len(alerts),
        "newest": voice.time(newest.time_us),
        "stake": voice.money(sum(row.stake for row in incidents if row is not None)),
        "has_archive": archive is not None,
        "is_cut": track is not None and track.is_cut,
    }
