"""An alert as the Prometheus world has it: few labels, which name it, and annotations."""

from __future__ import annotations

from typing import Any

from oddlot.notifiers.contract import Message, clock_text, plain
from oddlot.schema import Alert

_NEVER = "0001-01-01T00:00:00Z"  # how Alertmanager writes an end that is not known


def find_labels(alert: Alert, level: str) -> dict[str, str]:
    """Return the labels, by which an alert is known again; never a number or a text of its own.

    Args:
        alert: the alert.
        level: the label `severity`.
    """
    return {
        "alertname": alert.detector,
        "service": "oddlot",
        "severity": level,
        "sku": plain(alert.sku, 200),
    }


def find_annotations(alert: Alert) -> dict[str, str]:
    """Return what else there is to say of an alert."""
    place = f"{alert.source}:{alert.number}" if alert.source else ""
    return {
        "summary": plain(alert.text, 1000),
        "alert_id": alert.id,
        "incident": alert.incident,
        "place": plain(place, 300),
        "time": clock_text(alert.time_us),
    }


def compose_webhook(message: Message, level: str) -> dict[str, Any]:
    """Return a message of one alert in the shape in which Alertmanager calls webhooks, version 4.

    Source:
        Prometheus, Alertmanager 0.25, what its webhook receiver was sent.
    """
    (alert,) = message.alerts
    labels, annotations = find_labels(alert, level), find_annotations(alert)
    return {
        "receiver": "oddlot",
        "status": "firing",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": annotations,
                "startsAt": clock_text(message.time_us),
                "endsAt": _NEVER,
                "generatorURL": "",
                "fingerprint": message.id[:16],
            }
        ],
        "groupLabels": {"alertname": labels["alertname"]},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "version": "4",
        "groupKey": f'{{}}:{{alert_id="{alert.id}"}}',
        "truncatedAlerts": 0,
    }
