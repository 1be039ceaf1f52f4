"""The sections of `shop.toml` as frozen records."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from oddlot import catalog
from oddlot.durations import Duration, DurationOrOff, parse_duration
from oddlot.errors import ConfigError

_Path = Annotated[str, Meta(min_length=1, extra={"words": "a path"})]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where order lines come from and how they are written; the stream's own options beside it.

    Attributes:
        type: a file name in streams/.
        format: csv or jsonl; auto looks at the data.
        delimiter: the character between fields; auto looks at the header.
        encoding: auto takes each record as UTF-8, or else as ISO-8859-1.
        dates: which comes first in 1/2/2011; auto looks at the data and asks if it must.
    """

    type: str = "files"
    format: Literal["auto", "csv", "jsonl"] = "auto"
    delimiter: Annotated[
        str, Meta(pattern=r'\A(auto|[^"\r\n])\Z', extra={"words": "auto or one character"})
    ] = "auto"
    encoding: Literal["auto", "utf-8", "iso-8859-1"] = "auto"
    dates: Literal["auto", "iso", "month-first", "day-first"] = "auto"


class Time(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How event time moves on.

    Attributes:
        lateness: how long after a newer line a line may still arrive.
        max_skew: how far ahead of the stream a line may be before it waits for company.
        idle: after so long without a record the newest lines are released; "off" waits for ever.
    """

    lateness: Duration = "5s"
    max_skew: Duration = "1d"
    idle: DurationOrOff = "10m"

    def __post_init__(self) -> None:
        _check_durations(self, "lateness", "max_skew", "idle")

    @property
    def lateness_us(self) -> int:
        """The lateness in microseconds."""
        return parse_duration(self.lateness)

    @property
    def max_skew_us(self) -> int:
        """The largest skew in microseconds."""
        return parse_duration(self.max_skew)

    @property
    def idle_us(self) -> int | None:
        """The idle time in microseconds; None if it is off."""
        return None if self.idle == "off" else parse_duration(self.idle)


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the user accepts.

    Attributes:
        false_alerts_per_day: over the whole catalogue; above 0.
        own_oddities: whether the shop has real oddities of its own, as real shops have: of what is
            found only a part is then taken to be false. false in a shop that is simulated.
        weights: a test's part of them, by its type, in proportion to those of the others; what
            is not named keeps its own weight.
    """

    false_alerts_per_day: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    own_oddities: bool = True
    weights: dict[str, Annotated[float, Meta(gt=0, le=1_000_000)]] = {}

    def __post_init__(self) -> None:
        known = catalog.find_types("detectors")
        for name in self.weights:
            if name not in known:
                raise ConfigError(
                    f"weights must name detectors: {', '.join(known)}; got {catalog.show(name)}"
                    f"{catalog.suggest(name, known)}"
                )

    def weight(self, name: str, own: float) -> float:
        """Return the weight of a test by its type; its own where none is set."""
        return self.weights.get(name, own)


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a restart needs.

    Attributes:
        path: the folder of the store.
        checkpoint_every: time between two checkpoints; above 0.
    """

    path: _Path = "state"
    checkpoint_every: Duration = "5s"

    def __post_init__(self) -> None:
        _check_durations(self, "checkpoint_every")
        if self.checkpoint_every_us == 0:
            raise ConfigError(f"checkpoint_every must be above 0s; got {self.checkpoint_every!r}")

    @property
    def checkpoint_every_us(self) -> int:
        """The time between two checkpoints in microseconds."""
        return parse_duration(self.checkpoint_every)


class Archive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Order lines and alerts as Parquet.

    Attributes:
        path: a folder; None keeps no archive.
    """

    path: _Path | None = None


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which alerts go out by a notifier; the notifier's own options beside it.

    Attributes:
        type: a file name in notifiers/.
        name: what the delivery log and `oddlot notify test` call it; its type if left out.
        severity: only alerts worth so much at least, in the shop's currency.
        detectors: only of these; all if empty.
        skus: only SKUs that one of these patterns (with * and ?) matches; all if empty.
        notifier: the object of the class in notifiers/.
    """

    type: str
    name: str = ""
    severity: Annotated[float, Meta(ge=0)] = 0.0
    detectors: tuple[str, ...] = ()
    skus: tuple[str, ...] = ()
    notifier: Any = None

    def __post_init__(self) -> None:
        known = catalog.find_types("detectors")
        for name in self.detectors:
            if name not in known:
                raise ConfigError(
                    f"detectors must be of: {', '.join(known)}; got {catalog.show(name)}"
                    f"{catalog.suggest(name, known)}"
                )


class Alerts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where alerts are written.

    Attributes:
        path: a folder.
        format: jsonl or csv.
        language: en or es, of the sentence that each alert says.
    """

    path: _Path = "alerts"
    format: Literal["jsonl", "csv"] = "jsonl"
    language: Literal["en", "es"] = "en"


class Web(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The dashboard of `oddlot web`.

    Attributes:
        host: the address to listen at; only this machine's own, as there are no users yet.
        port: 0 takes a free one.
        hosts: names, with the port if it is not 80 or 443, that a browser may call it by beside
            its own, such as that of a tunnel's end.
        levels: from what severity on, in the shop's currency, an incident is called medium, high
            and critical; rising.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8787
    hosts: tuple[str, ...] = ()
    levels: tuple[float, float, float] = (100.0, 300.0, 1000.0)

    def __post_init__(self) -> None:
        if not is_loopback(self.host):
            raise ConfigError(
                f"host must be an address of this machine alone, such as 127.0.0.1; got"
                f" {catalog.show(self.host)}: nobody would have to log in. From elsewhere use"
                " ssh -L 8787:127.0.0.1:8787"
            )
        if not 0 < self.levels[0] < self.levels[1] < self.levels[2]:
            raise ConfigError(f"levels must rise from above 0; got {catalog.show(self.levels)}")


def is_loopback(host: str) -> bool:
    """Tell whether an address or name is of this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_durations(record: object, *names: str) -> None:
    for name in names:
        text = getattr(record, name)
        if text == "off":
            continue
        try:
            parse_duration(text)
        except ConfigError as error:
            raise ConfigError(f"{name} {error}") from None


class Flink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `oddlot run --engine flink` needs to know.

    Attributes:
        cluster: address of the cluster's REST interface; "local" runs one inside the command.
        parallelism: tasks of one step at a time; the rules' slots are spread over them.
        ends: whether the job ends when every file that is there has been read; otherwise it
            waits for more for ever.
        batch: records that are handed to Python together, at most.
    """

    cluster: str = "http://127.0.0.1:8081"
    parallelism: Annotated[int, Meta(ge=1, le=10_000)] = 1
    ends: bool = False
    batch: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
