"""What every notifier offers, and what the delivery loop makes of its answers."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

import msgspec
from msgspec import Meta

from oddlot.durations import Duration, parse_duration
from oddlot.errors import ConfigError, DataError, StreamError
from oddlot.schema import Alert

_FIRST_S, _LAST_S = -62_135_596_800, 253_402_300_799  # the years 1 to 9999
REFERENCE = "env:NAME or file:PATH"
_HIDDEN = re.compile(  # control characters, and what turns the direction of a text around
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+"
)


class Later(StreamError):
    """The receiver cannot take it now: the channel waits and tries the same again.

    Args:
        text: why, in one line without a secret.
        after_s: seconds that the receiver asked to be left alone for; 0 where it did not.
        is_away: whether it takes nothing at all, as far as can be told: then no other message
            is tried meanwhile, so that all come in order.
    """

    def __init__(self, text: str, after_s: float = 0.0, *, is_away: bool = False) -> None:
        super().__init__(text)
        self.after_s = after_s
        self.is_away = is_away


class Refused(DataError):
    """The receiver will never take this message; the next one may pass."""


class Gone(StreamError):
    """The receiver wants no more of anything: the channel is off until the next start."""


class Message(msgspec.Struct, frozen=True):
    """What is sent at once.

    Attributes:
        id: the idempotency key, 32 hex digits; the same at each try, also after a crash.
        alerts: at most `largest` of the notifier, the oldest first.
        rows: each alert as a flat row, as the alert files have it.
        time_us: the clock at this try.
        language: en or es, of what is said beside the alerts' own texts.
    """

    id: str
    alerts: tuple[Alert, ...]
    rows: tuple[dict[str, Any], ...]
    time_us: int
    language: str = "en"


class Reply(msgspec.Struct, frozen=True):
    """What became of one alert.

    Attributes:
        error: why it was not taken; "" where it was.
        is_final: whether it is given up, not tried again.
    """

    error: str = ""
    is_final: bool = False


SENT = Reply()


class Sender(Protocol):
    """What `Notifier.open` returns; used by one thread."""

    def send(self, message: Message) -> Sequence[Reply]:
        """Try to send; return a reply for each alert, in their order.

        Raises:
            Later, StreamError, ConfigError: nothing of it went out; the same is tried again.
            Refused: nothing of it will ever go out.
            Gone: the receiver wants no more.
        """

    def close(self) -> None:
        """Let go of connections; harmless when done twice."""


class Notifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way for alerts to leave; each type's options are its fields.

    Class attributes:
        largest: how many alerts a message has at most.
        is_itemwise: whether each alert goes out as a record with an id of its own, so that a
            retry may bundle them anew.
        is_ordered: whether no alert may ever overtake another, though one that is never taken
            then blocks the rest for a day.
    """

    largest: ClassVar[int] = 1
    is_itemwise: ClassVar[bool] = False
    is_ordered: ClassVar[bool] = False

    @property
    def wait_us(self) -> int:
        """How long the first alert after a quiet time waits for company, microseconds."""
        return 0

    @property
    def interval_us(self) -> int:
        """The least time between two messages, microseconds."""
        return 0

    def open(self) -> Sender:
        """Make ready to send; no connection is needed yet.

        Raises:
            ConfigError: a secret cannot be read.
        """
        raise NotImplementedError


class Grouped(Notifier, frozen=True, kw_only=True):
    """A way to a person: what comes within a while is one message.

    A storm of alerts is told in few messages: the worst are listed, the rest counted.
    """

    largest: ClassVar[int] = 10_000

    wait: Annotated[
        Duration, Meta(description="How long the first alert after a quiet time waits for others.")
    ] = "30s"
    interval: Annotated[Duration, Meta(description="The least time between two messages.")] = "5m"

    def __post_init__(self) -> None:
        for name in ("wait", "interval"):
            try:
                parse_duration(getattr(self, name))
            except ConfigError as error:
                raise ConfigError(f"{name} {error}") from None

    @property
    def wait_us(self) -> int:
        """See `Notifier.wait_us`."""
        return parse_duration(self.wait)

    @property
    def interval_us(self) -> int:
        """See `Notifier.interval_us`."""
        return parse_duration(self.interval)


def check_reference(name: str, value: object, place: str = "") -> None:
    """Refuse a secret that is written into the config itself; never quotes it.

    Raises:
        ConfigError: the value is not "env:NAME" or "file:PATH".
    """
    kind, _, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind not in ("env", "file") or not rest.strip():
        where = f"{place}: " if place else ""
        raise ConfigError(
            f"{where}{name} must be {REFERENCE}, which holds it; got something else, not shown here"
        )


def is_reference(value: object) -> bool:
    """Tell whether a text says where a secret is."""
    return isinstance(value, str) and value.startswith(("env:", "file:"))


def read_secret(name: str, reference: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the secret that a reference names, without white space around it.

    Read anew at each use, so that it can be changed while the program runs.

    Raises:
        ConfigError: it is not there, cannot be read, or is empty.
    """
    check_reference(name, reference)
    kind, _, where = reference.partition(":")
    if kind == "env":
        secret = environ.get(where, "")
    else:
        try:
            secret = Path(where).expanduser().read_text("utf-8")
        except OSError as error:
            raise ConfigError(f"{name}: {where}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{name}: {where}: must be UTF-8") from None
    if not secret.strip():
        raise ConfigError(f"{name}: {reference} must hold it; nothing is there")
    return secret.strip()


def encode_row(row: Mapping[str, Any], form: Literal["json", "csv"]) -> bytes:
    """Return a row as one line: a JSON object, or the values as CSV without names."""
    if form == "json":
        return msgspec.json.encode(row) + b"\n"
    out = io.StringIO()
    values = ("" if isinstance(one, float) and math.isnan(one) else one for one in row.values())
    csv.writer(out, lineterminator="\n").writerow(values)
    return out.getvalue().encode()


def plain(text: str, longest: int) -> str:
    """Return a text as one line without hidden characters, cut with "…" where it is too long."""
    line = " ".join(_HIDDEN.sub(" ", text).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def clock_text(time_us: int) -> str:
    """Return a time as RFC 3339 has it, in seconds; the nearest that it knows for an odd one."""
    seconds = min(max(time_us // 1_000_000, _FIRST_S), _LAST_S)
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def title(message: Message, longest: int) -> str:
    """Return the message in one line: the alert's own text, and how many others there are."""
    worst = max(message.alerts, key=lambda alert: alert.severity)
    more = len(message.alerts) - 1
    if not more:
        return plain(worst.text, longest)
    others = {"es": f" (y {more} más)"}.get(message.language, f" (and {more} more)")
    return plain(worst.text, longest - len(others)) + others


def worst_first(message: Message, most: int) -> list[Alert]:
    """Return the alerts that matter most, at most so many."""
    return sorted(message.alerts, key=lambda alert: (-alert.severity, alert.time_us))[:most]
