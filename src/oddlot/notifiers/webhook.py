"""Alerts to any program that takes a POST, signed as Standard Webhooks says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

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
    is_reference,
    read_secret,
)
from oddlot.notifiers.labels import compose_webhook
from oddlot.notifiers.posting import post


class Webhook(Notifier, frozen=True, kw_only=True):
    """Alerts to any program that takes a POST, one alert each, signed as Standard Webhooks says.

    Headers: `webhook-id`, which is the same at each try, `webhook-timestamp` and, where there is a
    `secret`, `webhook-signature`. 410 turns the channel off until the next start; 429 and 5xx are
    tried again, as late as Retry-After says; any other 4xx gives the alert up. Redirects are not
    followed.
    """

    url: Annotated[
        str, Meta(min_length=1, description=f"https://..., or {REFERENCE} where it is secret.")
    ]
    secret: Annotated[
        Any,
        Meta(
            description=f"{REFERENCE} of the key: whsec_ and base64; two, with a space between,"
            " while it changes; none signs nothing."
        ),
    ] = None
    format: Annotated[
        Literal["standard", "alertmanager"],
        Meta(
            description="Of the body: type, timestamp and data; or what Alertmanager sends to"
            " webhooks, for receivers that know it."
        ),
    ] = "standard"
    level: Annotated[
        str, Meta(min_length=1, description="The label `severity` in Alertmanager's format.")
    ] = "warning"
    allow: Annotated[
        tuple[str, ...],
        Meta(description="Networks inside that may be reached, also by http and on any port."),
    ] = ()

    def __post_init__(self) -> None:
        read_networks(self.allow)
        if self.secret is not None:
            check_reference("secret", self.secret)

    def open(self) -> Hook:
        """Make ready to send; the secrets must be there, and the URL be one."""
        hook = Hook(self)
        read_url(hook.read_url())
        hook.read_keys()
        return hook


class Hook:
    """Posts alerts to one URL."""

    def __init__(self, notifier: Webhook) -> None:
        self._notifier = notifier
        self._allow = read_networks(notifier.allow)

    def send(self, message: Message) -> Sequence[Reply]:
        """Post the alert; see `Sender.send`."""
        timestamp = str(message.time_us // 1_000_000)
        if self._notifier.format == "alertmanager":
            body = msgspec.json.encode(compose_webhook(message, self._notifier.level))
        else:
            (row,) = message.rows
            time = clock_text(message.time_us)
            body = msgspec.json.encode({"type": "alert.created", "timestamp": time, "data": row})
        headers = {"webhook-id": message.id, "webhook-timestamp": timestamp}
        if keys := self.read_keys():
            headers["webhook-signature"] = sign(keys, message.id, timestamp, body)
        post(self.read_url(), body, headers, allow=self._allow, now_us=message.time_us)
        return [SENT]

    def close(self) -> None:
        """Do nothing: each message has its own connection."""

    def read_url(self) -> str:
        """Return the URL, looked up where the config only says where it is."""
        url = self._notifier.url
        return read_secret("url", url) if is_reference(url) else url

    def read_keys(self) -> list[bytes]:
        """Return the keys to sign with, the newest first; none where there is no secret."""
        if self._notifier.secret is None:
            return []
        return read_keys(read_secret("secret", self._notifier.secret))


def read_keys(secret: str) -> list[bytes]:
    """Read keys in the form of Standard Webhooks, with white space between them.

    Raises:
        ConfigError: one is not whsec_ and base64 of 24 to 64 bytes; never quoted.
    """
    keys = []
    for text in secret.split():
        try:
            key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            key = b""
        if not 24 <= len(key) <= 64:
            raise ConfigError("secret must hold whsec_ and base64 of 24 to 64 bytes; it does not")
        keys.append(key)
    return keys


def sign(keys: Sequence[bytes], message_id: str, timestamp: str, body: bytes) -> str:
    """Return the header webhook-signature, with a signature for each key.

    Source:
        Standard Webhooks, specification 1.0, "Signature scheme".
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
