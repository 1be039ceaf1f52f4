"""A Kinesis data stream: all its shards, through splits and merges, each record once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from oddlot.durations import DurationOrOff, parse_duration
from oddlot.errors import ConfigError
from oddlot.streams.aws import Access
from oddlot.streams.shard_reader import ShardReader
from oddlot.streams.shards import Place, Start

_STARTS = {"trim_horizon": "TRIM_HORIZON", "latest": "LATEST"}


class Kinesis(Struct, frozen=True, forbid_unknown_fields=True):
    """A Kinesis data stream: all its shards, through splits and merges, each record once.

    A record holds one or more lines of JSON or CSV, each whole; the aggregated records of the
    Kinesis Producer Library are taken apart. Lines of all shards are merged in event time. There is
    no enhanced fan-out: shards are polled, four times a second.
    """

    stream: Annotated[str, Meta(min_length=1, description="Its name, or its ARN.")]
    region: Annotated[str, Meta(description="Such as eu-west-1; as boto3 finds it if empty.")] = ""
    endpoint: Annotated[str, Meta(description="A URL instead of AWS's own.")] = ""
    profile: Annotated[str, Meta(description="Of the AWS configuration files.")] = ""
    role: Annotated[str, Meta(description="ARN of a role to take on.")] = ""
    external_id: Annotated[str, Meta(description="What the role's owner asks for.")] = ""
    start: Annotated[
        str,
        Meta(description="At the first start: trim_horizon, latest, or a time in ISO 8601."),
    ] = "trim_horizon"
    header: Annotated[
        str, Meta(description="The line that names the columns, where records are CSV.")
    ] = ""
    hold: Annotated[
        DurationOrOff,
        Meta(
            description="How long the lines of other shards wait for one that is at its end and "
            "silent; off for ever."
        ),
    ] = "10s"
    leases: Annotated[
        str,
        Meta(
            description="Where readers that share the shards agree: s3://bucket/prefix, or a "
            "SQLite file."
        ),
    ] = ""
    leases_endpoint: Annotated[str, Meta(description="A URL instead of S3's own.")] = ""

    def __post_init__(self) -> None:
        _read_start(self.start)
        if self.hold != "off":
            parse_duration(self.hold)
        if "\n" in self.header or "\r" in self.header:
            raise ConfigError(f"header must be one line; got {self.header!r}")
        if self.stream.startswith("arn:") and ":stream/" not in self.stream:
            raise ConfigError(f"stream must be a name or the ARN of a stream; got {self.stream!r}")

    @property
    def name(self) -> str:
        """The stream's name."""
        return self.stream.rpartition("/")[2]

    @property
    def access(self) -> Access:
        """Where the stream is, and who reads it."""
        is_arn = self.stream.startswith("arn:")
        region = self.region or (self.stream.split(":")[3] if is_arn else "")
        return Access(region, self.endpoint, self.profile, self.role, self.external_id)

    @property
    def place(self) -> Place:
        """What a reader must know of it."""
        is_arn = self.stream.startswith("arn:")
        return Place(
            name=self.name,
            which={"StreamARN": self.stream} if is_arn else {"StreamName": self.stream},
            access=self.access,
            start=_read_start(self.start),
            header=f"{self.header}\n".encode() if self.header else b"",
            hold_us=None if self.hold == "off" else parse_duration(self.hold),
            leases=self.leases,
            leases_endpoint=self.leases_endpoint,
        )

    def open(self, positions: Mapping[str, Any] | None = None) -> ShardReader:
        """Begin to read, where `positions` says or at `start`.

        Args:
            positions: what `ShardReader.positions` returned at the last checkpoint.

        Raises:
            ConfigError: boto3 is not installed; there is no such stream, no credentials or no
                permission.
            StateError: the positions are damaged.
        """
        return ShardReader(self.place, positions or {})


def _read_start(text: str) -> Start:
    if text in _STARTS:
        return Start(_STARTS[text], 0)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            "start must be trim_horizon, latest or a time such as 2026-11-24T10:00:00Z; "
            f"got {text!r}"
        ) from None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return Start("AT_TIMESTAMP", int(time.timestamp() * 1e6))
