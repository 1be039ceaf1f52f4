"""Alerts to a Slack channel, or to any program that takes Slack's incoming webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from oddlot.notifiers.addresses import read_networks, read_url
from oddlot.notifiers.contract import (
    REFERENCE,
    SENT,
    Grouped,
    Message,
    Reply,
    check_reference,
    plain,
    read_secret,
    title,
    worst_first,
)
from oddlot.notifiers.posting import post

# Slack takes 50 blocks and 3,000 characters in each, and in all about 13,200.
_LISTED = 10
_LONGEST = 500
_MORE = {"en": "and {} more, of less worth", "es": "y {} más, de menos valor"}


class Slack(Grouped, frozen=True, kw_only=True):
    """Alerts to a Slack channel, by an incoming webhook; also Mattermost and the like.

    One message for what comes within `wait`, the ten worst alerts listed. Nothing in an alert
    can mention anybody or make a link.
    """

    url: Annotated[
        Any,
        Meta(
            description=f"{REFERENCE} of the webhook's URL, which is a secret.",
            extra={"words": REFERENCE},
        ),
    ]
    allow: Annotated[
        tuple[str, ...],
        Meta(description="Networks inside that may be reached, also by http and on any port."),
    ] = ()

    longest_title: ClassVar[int] = 150

    def __post_init__(self) -> None:
        super().__post_init__()
        read_networks(self.allow)
        check_reference("url", self.url)

    def open(self) -> Room:
        """Make ready to send; the secret must be there."""
        read_url(read_secret("url", self.url))
        return Room(self)


class Room:
    """Posts messages to one channel."""

    def __init__(self, notifier: Slack) -> None:
        self._notifier = notifier
        self._allow = read_networks(notifier.allow)

    def send(self, message: Message) -> Sequence[Reply]:
        """Post the message; see `Sender.send`."""
        post(
            read_secret("url", self._notifier.url),
            msgspec.json.encode(compose(message)),
            {},
            allow=self._allow,
            now_us=message.time_us,
        )
        return [SENT] * len(message.alerts)

    def close(self) -> None:
        """Do nothing: each message has its own connection."""


def compose(message: Message) -> dict[str, Any]:
    """Return a message as Slack takes it: a fallback text, and a block for each listed alert."""
    listed = worst_first(message, _LISTED)
    lines = [f"*{escape(plain(alert.sku, 50))}* {escape(alert.text)}" for alert in listed]
    if more := len(message.alerts) - len(listed):
        lines.append(_MORE.get(message.language, _MORE["en"]).format(more))
    return {
        "text": escape(title(message, Slack.longest_title)),
        "blocks": [
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": line, "verbatim": True},
            }
            for line in lines
        ],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def escape(text: str) -> str:
    """Return a text in which Slack sees no mention, link or format.

    A word joiner after the characters that begin one keeps it readable and harmless.
    """
    text = plain(text, _LONGEST)
    for character, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, safe)
    for character in "@*_~`|":
        text = text.replace(character, character + "\u2060")
    return text.replace("://", ":\u2060//")
