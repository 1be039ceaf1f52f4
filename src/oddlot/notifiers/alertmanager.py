"""Alerts to Prometheus' Alertmanager."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from oddlot.durations import Duration, parse_duration
from oddlot.errors import ConfigError
from oddlot.notifiers.addresses import read_networks, read_url
from oddlot.notifiers.contract import (
    REFERENCE,
    SENT,
    Message,
    Notifier,
    Reply,
    check_reference,
    clock_text,
    read_secret,
)
from oddlot.notifiers.labels import find_annotations, find_labels
from oddlot.notifiers.posting import post
from oddlot.schema import Alert


class Alertmanager(Notifier, frozen=True, kw_only=True):
    """Alerts to Prometheus' Alertmanager, which groups, silences and routes them further.

    Labels: alertname (the detector's type), service, severity (`level`) and sku. The sentence, the
    alert's id and its place are annotations. What has the same labels is one alert there; it ends
    by itself after `lasts`.
    """

    largest: ClassVar[int] = 100
    is_itemwise: ClassVar[bool] = True  # it knows an alert again by its labels

    url: Annotated[
        str, Meta(min_length=1, description=f"Such as http://10.1.2.3:9093, or {REFERENCE}.")
    ]
    token: Annotated[Any, Meta(description=f"{REFERENCE} of a bearer token; none if left out.")] = (
        None
    )
    allow: Annotated[
        tuple[str, ...],
        Meta(description="Networks inside that may be reached, also by http and on any port."),
    ] = ()
    level: Annotated[str, Meta(min_length=1, description="The label `severity`.")] = "warning"
    lasts: Annotated[Duration, Meta(description="After so long it counts as resolved.")] = "1h"

    def __post_init__(self) -> None:
        read_networks(self.allow)
        if self.token is not None:
            check_reference("token", self.token)
        try:
            parse_duration(self.lasts)
        except ConfigError as error:
            raise ConfigError(f"lasts {error}") from None

    def open(self) -> Station:
        """Make ready to send; the secrets must be there."""
        station = Station(self)
        read_url(station.read_url())
        station.read_headers()
        return station


class Station:
    """Posts alerts to one Alertmanager."""

    def __init__(self, notifier: Alertmanager) -> None:
        self._notifier = notifier
        self._allow = read_networks(notifier.allow)

    def send(self, message: Message) -> Sequence[Reply]:
        """Post the alerts; see `Sender.send`."""
        body = msgspec.json.encode([self._describe(one, message.time_us) for one in message.alerts])
        url = self.read_url().rstrip("/") + "/api/v2/alerts"
        post(url, body, self.read_headers(), allow=self._allow, now_us=message.time_us)
        return [SENT] * len(message.alerts)

    def close(self) -> None:
        """Do nothing: each message has its own connection."""

    def read_url(self) -> str:
        """Return the URL, looked up where the config only says where it is."""
        url = self._notifier.url
        return read_secret("url", url) if url.startswith(("env:", "file:")) else url

    def read_headers(self) -> dict[str, str]:
        """Return what proves who we are."""
        token = self._notifier.token
        return {} if token is None else {"Authorization": f"Bearer {read_secret('token', token)}"}

    def _describe(self, alert: Alert, now_us: int) -> dict[str, Any]:
        return {
            "labels": find_labels(alert, self._notifier.level),
            "annotations": find_annotations(alert),
            # The clock, not the order's time: a file read late must not be resolved on arrival.
            "startsAt": clock_text(now_us),
            "endsAt": clock_text(now_us + parse_duration(self._notifier.lasts)),
        }
