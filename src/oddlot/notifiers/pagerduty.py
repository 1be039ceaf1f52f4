"""Alerts to PagerDuty, by its Events API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from oddlot.notifiers.addresses import read_networks, read_url
from oddlot.notifiers.contract import (
    REFERENCE,
    SENT,
    Message,
    Notifier,
    Reply,
    check_reference,
    clock_text,
    plain,
    read_secret,
)
from oddlot.notifiers.posting import post


class Pagerduty(Notifier, frozen=True, kw_only=True):
    """Alerts to PagerDuty, by its Events API v2.

    The alerts of one incident have one `dedup_key`, the incident's id: they are one incident there,
    too. It is resolved there by hand.
    """

    routing_key: Annotated[
        Any,
        Meta(description=f"{REFERENCE} of the integration's key.", extra={"words": REFERENCE}),
    ]
    level: Annotated[
        Literal["critical", "error", "warning", "info"], Meta(description="Its severity.")
    ] = "warning"
    url: Annotated[str, Meta(description="Of the Events API; the EU has its own.")] = (
        "https://events.pagerduty.com/v2/enqueue"
    )
    allow: Annotated[
        tuple[str, ...],
        Meta(description="Networks inside that may be reached, also by http and on any port."),
    ] = ()

    def __post_init__(self) -> None:
        read_networks(self.allow)
        check_reference("routing_key", self.routing_key)

    def open(self) -> Pager:
        """Make ready to send; the secret must be there."""
        read_url(self.url)
        read_secret("routing_key", self.routing_key)
        return Pager(self)


class Pager:
    """Posts events to PagerDuty."""

    def __init__(self, notifier: Pagerduty) -> None:
        self._notifier = notifier
        self._allow = read_networks(notifier.allow)

    def send(self, message: Message) -> Sequence[Reply]:
        """Post the alert; see `Sender.send`."""
        (alert,), (row,) = message.alerts, message.rows
        body = msgspec.json.encode(
            {
                "routing_key": read_secret("routing_key", self._notifier.routing_key),
                "event_action": "trigger",
                "dedup_key": (alert.incident or alert.id)[:255],
                "payload": {
                    "summary": plain(alert.text, 1024),
                    "source": plain(alert.source, 200) or "oddlot",
                    "severity": self._notifier.level,
                    "timestamp": clock_text(alert.time_us),
                    "component": plain(alert.sku, 200),
                    "class": alert.detector,
                    "custom_details": row,
                },
            }
        )
        post(self._notifier.url, body, {}, allow=self._allow, now_us=message.time_us)
        return [SENT]

    def close(self) -> None:
        """Do nothing: each message has its own connection."""
