"""The card of one incident: its story, its numbers, its charts and its lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oddlot.report.collect import Story
from oddlot.report.panels import draw_track
from oddlot.report.series import BASKETS, WHOLE_SHOP, Row, Track
from oddlot.report.texts import Speaker
from oddlot.schema import Alert

_NO_LINE = 0  # the number of an alert that the clock raised


def describe(story: Story, tracks: Sequence[Track], speaker: Speaker) -> dict[str, Any]:
    """Return what the page says of one incident, by the names that its template uses.

    Args:
        story: the incident.
        tracks: the lines around it, if they are known.
        speaker: says it.
    """
    incident, worst = story.incident, story.alerts[0]
    same = speaker.time(incident.first_us) == speaker.time(incident.last_us)
    when = speaker.time(incident.first_us)
    if not same:
        when = speaker.say("happened_from", first=when, last=speaker.time(incident.last_us))
    money = speaker.say("unknown_stake")
    if incident.stake >= 0.005:
        money = speaker.say(
            "at_stake_value",
            money=speaker.number(incident.stake),
            probability=speaker.percent(incident.probability),
        )
    rows = [row for track in tracks for row in track.rows()]
    product = _product(worst, rows)
    facts = [
        ("happened", when),
        ("sku", _sku(worst, speaker)),
        ("product", product),
        ("found_by", ", ".join(speaker.detector(n) for n in _detectors_of(story))),
        ("how_odd", speaker.often(10.0**-incident.score)),
        ("at_stake", money),
    ]
    badges = []
    if incident.reversed_us is not None:
        badges.append(speaker.say("reversed", after=speaker.after(incident.reversed_after_us)))
    if incident.doubled:
        badges.append(speaker.say("doubled", times=incident.doubled + 1))
    if incident.pair:
        badges.append(speaker.say("pair", sku=incident.pair))
    panels = []
    for track in tracks:
        of_it = next((alert for alert in story.alerts if alert.sku == track.sku), worst)
        panels += draw_track(track, of_it, speaker)
    hidden = incident.alerts - len(story.alerts)
    return {
        "title": worst.text,
        "when": speaker.time(incident.first_us),
        "sku": _sku(worst, speaker),
        "product": product,
        "what": speaker.detector(worst.detector),
        "worth": speaker.number(round(incident.severity)) if incident.severity >= 0.5 else "",
        "facts": [(speaker.say(key), value) for key, value in facts if value],
        "badges": badges,
        "evidence": [
            (speaker.evidence(key, worst.detector), speaker.number(value))
            for key, value in worst.evidence.items()
        ],
        "panels": panels,
        "others": [
            (speaker.time(alert.time_us), alert.text)
            for alert in sorted(story.alerts[1:], key=lambda alert: alert.time_us)
        ],
        "hidden": speaker.say("more_alerts", count=hidden) if hidden > 0 else "",
        "caption": _caption(story, speaker),
        "rows": _rows(story, rows, speaker),
    }


def _caption(story: Story, speaker: Speaker) -> str:
    skus = {alert.sku for alert in story.alerts}
    if story.alerts[0].detector in BASKETS:
        return speaker.say("lines_caption_invoice", invoice=story.alerts[0].invoice)
    if WHOLE_SHOP in skus:
        return speaker.say("lines_caption_shop")
    if len(skus) > 1:
        return speaker.say("lines_caption_many")
    return speaker.say("lines_caption", sku=story.alerts[0].sku)


def _rows(story: Story, rows: Sequence[Row], speaker: Speaker) -> list[dict[str, Any]]:
    raised = {
        (alert.source, alert.position): alert for alert in story.alerts if alert.number > _NO_LINE
    }
    shown = {(row.source, row.position): row for row in rows}
    for place, alert in raised.items():
        shown.setdefault(
            place,
            Row(
                *(alert.time_us, alert.invoice, alert.sku, alert.description, alert.quantity),
                *(alert.price, "", alert.source, alert.position, alert.number),
            ),
        )
    skus = list(dict.fromkeys(alert.sku for alert in story.alerts))
    # Lines of one SKU stand together, and those of a basket too.
    order = {sku: i for i, sku in enumerate(skus)} if WHOLE_SHOP not in skus else {}
    return [
        {
            "is_raised": place in raised,
            "cells": [
                speaker.time(row.time_us),
                row.invoice,
                row.sku,
                row.description.strip(),
                speaker.number(row.quantity),
                speaker.price(row.price),
                speaker.say(f"kind_{row.kind}") if row.kind else "",
                speaker.say(
                    "place_value", source=row.source.rpartition("/")[2], number=str(row.number)
                ),
            ],
        }
        for place, row in sorted(
            shown.items(), key=lambda one: (order.get(one[1].sku, 0), one[1].time_us, one[0])
        )
    ]


def _sku(alert: Alert, speaker: Speaker) -> str:
    if alert.sku == WHOLE_SHOP and alert.detector in BASKETS:
        return speaker.say("whole_invoice", invoice=alert.invoice)
    return speaker.say("whole_shop") if alert.sku == WHOLE_SHOP else alert.sku


def _product(alert: Alert, rows: Sequence[Row]) -> str:
    """Return what the SKU is called; a line that corrects stock may say something else."""
    if alert.sku == WHOLE_SHOP:
        return ""
    names = (row.description for row in rows if row.sku == alert.sku and row.kind == "sale")
    return (next(names, "") or alert.description).strip()


def _detectors_of(story: Story) -> list[str]:
    return story.incident.detectors or sorted({alert.detector for alert in story.alerts})
