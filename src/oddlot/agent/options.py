"""Every option of an agent.json: what is used, with its bounds, and what is only accepted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

_Count = Annotated[int, Meta(ge=1)]
_Millis = Annotated[int, Meta(ge=0, le=86_400_000)]
_Pattern = Annotated[str, Meta(min_length=1, extra={"words": "a regular expression"})]
_Names = Annotated[
    tuple[Annotated[str, Meta(min_length=1)], ...],
    Meta(min_length=1, extra={"words": "a list of names"}),
]
ParseOption = Literal["NO_TRIM", "ESCAPE_NEW_LINE"]
Added = Literal["host", "path", "offset", "recordId"]


class AgentOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options at the top of the file, all but `flows`.

    Attributes:
        kinesis_endpoint: address of Kinesis; with or without https://.
        kinesis_region: if the address does not say it; then us-east-1.
        firehose_endpoint: address of Firehose.
        sts_endpoint: where a role is asked for.
        access_key_id: instead of AWS's own places for credentials.
        secret_access_key: belongs to awsAccessKeyId.
        role: role to assume.
        external_id: what the role's owner asked for.
        state_directory: extension: where positions and set-aside lines are kept; beside the file,
            or /var/lib/oddlot-agent for a file under /etc.
        checkpoint_file: the original's positions, taken over once if the file is there.
        sending_threads: requests at the same time, at most; 0 takes the next option's.
        sending_threads_per_core: requests at the same time for each processor.
        connections: open connections to an endpoint, at most.
        connect_timeout_millis: to open a connection.
        socket_timeout_millis: to wait for an answer.
        tcp_keep_alive: keep idle connections alive.
        shutdown_millis: how long what was read is still sent after Ctrl-C.
        user_agent: added to what AWS is told about the client.
        user_agent_override: said instead of it.
        report_seconds: time between two lines of progress; 0 for none.
        emits_metrics: write metrics in CloudWatch's embedded format (EMF) where metrics.file says.
        namespace: of the metrics.
        metrics_millis: time between two writings of metrics.
        metrics_file: extension: file that EMF lines are appended to, for the CloudWatch agent; -
            for standard output; none if left out.
        metrics_port: extension: port on 127.0.0.1 for Prometheus; none if left out.
    """

    kinesis_endpoint: str = msgspec.field(name="kinesis.endpoint", default="")
    kinesis_region: str = msgspec.field(name="kinesis.region", default="")
    firehose_endpoint: str = msgspec.field(name="firehose.endpoint", default="")
    sts_endpoint: str = msgspec.field(name="sts.endpoint", default="")
    access_key_id: str = msgspec.field(name="awsAccessKeyId", default="")
    secret_access_key: str = msgspec.field(name="awsSecretAccessKey", default="")
    role: str = msgspec.field(name="assumeRoleARN", default="")
    external_id: str = msgspec.field(name="assumeRoleExternalId", default="")
    state_directory: str = msgspec.field(name="stateDirectory", default="")
    checkpoint_file: str = msgspec.field(
        name="checkpointFile", default="/var/run/aws-kinesis-agent/checkpoints"
    )
    sending_threads: Annotated[int, Meta(ge=0)] = msgspec.field(name="maxSendingThreads", default=0)
    sending_threads_per_core: _Count = msgspec.field(name="maxSendingThreadsPerCore", default=12)
    connections: _Count = msgspec.field(name="maxConnections", default=50)
    connect_timeout_millis: _Millis = msgspec.field(name="connectionTimeoutMillis", default=10_000)
    socket_timeout_millis: _Millis = msgspec.field(name="socketTimeoutMillis", default=50_000)
    tcp_keep_alive: bool = msgspec.field(name="useTcpKeepAlive", default=False)
    shutdown_millis: _Millis = msgspec.field(name="shutdownTimeoutMillis", default=10_000)
    user_agent: str = msgspec.field(name="userAgent", default="")
    user_agent_override: str = msgspec.field(name="userAgentOverride", default="")
    report_seconds: Annotated[int, Meta(ge=0)] = msgspec.field(
        name="log.statusReportingPeriodSeconds", default=30
    )
    emits_metrics: bool = msgspec.field(name="cloudwatch.emitMetrics", default=True)
    namespace: str = msgspec.field(name="cloudwatch.namespace", default="AWSKinesisAgent")
    metrics_millis: Annotated[int, Meta(ge=1000)] = msgspec.field(
        name="cloudwatch.metricsBufferTimeMillis", default=30_000
    )
    metrics_file: str = msgspec.field(name="metrics.file", default="")
    metrics_port: Annotated[int, Meta(ge=1, le=65_535)] | None = msgspec.field(
        name="metrics.port", default=None
    )

    def __repr__(self) -> str:
        """Return a text without credentials."""
        return f"AgentOptions(kinesis.endpoint={self.kinesis_endpoint!r})"


class FlowOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The options of a flow, all but `dataProcessingOptions`.

    Attributes:
        file_pattern: files to follow: a path with * and ?; extension: also in folders, ** for
            folders at any depth, a list of patterns.
        kinesis_stream: stream that the records go to; this or deliveryStream.
        delivery_stream: Firehose stream that the records go to.
        partition_key_option: RANDOM, or DETERMINISTIC, a hash of the record that is shipped.
        partition_key_field: extension: the value of this field of the JSON record.
        partition_key_pattern: extension: what the first group of this regular expression, or all
            of it if it has none, finds in the line.
        initial_position: where to begin in files that were there before the first start.
        max_buffer_age_millis: records wait so long, at most, for company in a request.
        max_buffer_size_bytes: bytes in a request; 5 MiB for Kinesis and 4 MiB for Firehose are
            also the most.
        max_buffer_size_records: records in a request.
        min_time_between_file_polls_millis: time between two looks at the files.
        multi_line_start_pattern: a record begins at a line that begins like this regular
            expression, and goes on to the next such line.
        file_footer_pattern: lines that begin like this regular expression are not shipped.
        skip_header_lines: so many lines at the beginning of each file are not shipped.
        truncated_record_terminator: ends a record that had to be cut.
        aggregated_record_size_bytes: pack records into ones of up to so many bytes; 0 packs none
            for Firehose, and takes 50,000 where aggregation says how.
        aggregation: extension: how records are packed: none, kpl (Kinesis only) or ndjson, one
            after the other; auto is as the original: ndjson for Firehose if
            aggregatedRecordSizeBytes is given, or else none.
        add_fields: extension: fields to add to JSON records: a list, or names of your own:
            {"machine": "host"}; host, path, offset (of the record in its file) or recordId, by
            which whoever reads the stream knows a record that was sent twice.
        max_record_size_bytes: extension: larger ones are cut, or set aside if they are JSON;
            1 MiB for Kinesis, 1,000 KiB for Firehose; up to 10 MiB if the Kinesis stream was made
            for it.
        partial_line_millis: extension: the last line of a file, or of a record of several lines,
            is whole after so long without change.
        retry_initial_backoff_millis: first pause after a failure.
        retry_max_backoff_millis: longest pause.
    """

    file_pattern: str | tuple[str, ...]
    kinesis_stream: str = ""
    delivery_stream: str = ""
    partition_key_option: Literal["RANDOM", "DETERMINISTIC"] = "RANDOM"
    partition_key_field: str = ""
    partition_key_pattern: _Pattern | None = None
    initial_position: Literal["END_OF_FILE", "START_OF_FILE"] = "END_OF_FILE"
    max_buffer_age_millis: Annotated[int, Meta(ge=1000, le=900_000)] = 60_000
    max_buffer_size_bytes: Annotated[int, Meta(ge=1, le=5 << 20)] | None = None
    max_buffer_size_records: Annotated[int, Meta(ge=1, le=500)] = 500
    min_time_between_file_polls_millis: _Count = 100
    multi_line_start_pattern: _Pattern | None = None
    file_footer_pattern: _Pattern | None = None
    skip_header_lines: Annotated[int, Meta(ge=0)] = 0
    truncated_record_terminator: str = "\n"
    aggregated_record_size_bytes: Annotated[int, Meta(ge=0, le=1_024_000)] = 0
    aggregation: Literal["auto", "none", "kpl", "ndjson"] = "auto"
    add_fields: Annotated[
        tuple[Added, ...] | dict[str, Added],
        Meta(extra={"words": "a list or a table of: host, path, offset, recordId"}),
    ] = ()
    max_record_size_bytes: Annotated[int, Meta(ge=1024, le=10 << 20)] | None = None
    partial_line_millis: Annotated[int, Meta(ge=100)] = 60_000
    retry_initial_backoff_millis: _Count = 100
    retry_max_backoff_millis: _Count = 10_000


class SingleLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    r"""Makes one line of a record of several: line ends, and spaces around lines, are removed.

    Attributes:
        parse_options: NO_TRIM keeps the spaces; ESCAPE_NEW_LINE writes a line end as \n instead.
    """

    parse_options: tuple[ParseOption, ...] | ParseOption = ()


class CsvToJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Makes a JSON record of fields with a delimiter between them; every value is a text.

    Attributes:
        custom_field_names: names of the fields, in order.
        delimiter: between fields; in csvMode kinesis-agent a regular expression.
        json_format: COMPACT, or PRETTYPRINT, one line a field.
        csv_mode: extension: rfc4180 knows quotes, also around line ends; kinesis-agent does
            everything as the original; if left out, rfc4180 wherever delimiter is one character.
        on_mismatch: extension: where a line goes whose quotes are wrong: set-aside, or raw, sent
            as it is.
    """

    custom_field_names: _Names
    delimiter: Annotated[str, Meta(min_length=1)] = ","
    json_format: Literal["COMPACT", "PRETTYPRINT"] = "COMPACT"
    csv_mode: Literal["rfc4180", "kinesis-agent"] | None = None
    on_mismatch: Literal["set-aside", "raw"] = "set-aside"

    @property
    def character(self) -> str:
        r"""The delimiter if it is one character, also written as \t or \|; or else ""."""
        text = self.delimiter
        if len(text) == 2 and text[0] == "\\" and (text[1] == "t" or not text[1].isalnum()):
            text = "\t" if text[1] == "t" else text[1]
        return text if len(text) == 1 and text not in '"\r\n\0' else ""

    @property
    def knows_quotes(self) -> bool:
        """Whether fields may be in quotes."""
        return self.csv_mode != "kinesis-agent" and bool(self.character)


class LogToJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Makes a JSON record of a line of a known log format; every value is a text, - is null.

    Attributes:
        log_format: how lines are written.
        match_pattern: a regular expression for whole lines, instead of the format's own; its
            groups are the fields.
        custom_field_names: instead of the format's own names; needed with matchPattern.
        json_format: COMPACT, or PRETTYPRINT, one line a field.
        on_mismatch: extension: where a line goes that is written in another way: set-aside, or
            raw, sent as it is. The original loses it.
        longest_match_bytes: extension: longer lines are not compared with the pattern, so that a
            bad one cannot stop the agent.
    """

    log_format: Literal[
        "COMMONAPACHELOG", "COMBINEDAPACHELOG", "APACHEERRORLOG", "SYSLOG", "RFC3339SYSLOG"
    ]
    match_pattern: _Pattern | None = None
    custom_field_names: _Names | None = None
    json_format: Literal["COMPACT", "PRETTYPRINT"] = "COMPACT"
    on_mismatch: Literal["set-aside", "raw"] = "set-aside"
    longest_match_bytes: Annotated[int, Meta(ge=1, le=1 << 20)] = 16_384


class AddMetadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wraps a record: {"metadata": ..., "data": the record}.

    Attributes:
        metadata: a table of what you like.
        timestamp: adds "ts", the time of processing in milliseconds since 1970.
    """

    metadata: Annotated[dict[str, Any], Meta(extra={"words": "a table"})] = {}
    timestamp: bool = False


class AddEc2Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Adds what the machine knows of itself, from EC2's metadata service, to a JSON record.

    Attributes:
        log_format: how the original reads the line; here a record is JSON by now.
        metadata_ttl: minutes after which it is asked for again.
    """

    log_format: str = ""
    metadata_ttl: _Count = msgspec.field(name="metadataTTL", default=60)


class AddBrackets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Puts [ and ] around a record."""


STEPS: dict[str, type[msgspec.Struct]] = {
    "SINGLELINE": SingleLine,
    "CSVTOJSON": CsvToJson,
    "LOGTOJSON": LogToJson,
    "ADDMETADATA": AddMetadata,
    "ADDEC2METADATA": AddEc2Metadata,
    "ADDBRACKETS": AddBrackets,
}
Step = SingleLine | CsvToJson | LogToJson | AddMetadata | AddEc2Metadata | AddBrackets

UNUSED = {
    "checkpointTimeToLiveDays": "the positions of the last 1,000 files that are gone are kept",
    "checkpoints.queryTimeoutSeconds": "positions are in a store that is not shared",
    "checkpoints.connectionTimeoutSeconds": "positions are in a store that is not shared",
    "cloudwatch.endpoint": "metrics are lines in a file, which CloudWatch's agent takes along",
    "cloudwatch.tagInstance": "the machine's own name is in the metrics",
    "cloudwatch.metricsQueueSize": "metrics do not queue up",
    "sendingThreadsMaxQueueSize": "reading stops when sending cannot follow",
    "sendingThreadsKeepAliveMillis": "threads last as long as the agent",
    "connectionTTLMillis": "connections are renewed when they break",
    "useHttpGzip": "Kinesis and Firehose take no packed requests",
    "log.emitMetrics": "use metrics.file",
    "log.emitInternalMetrics": "use metrics.file",
    "log.level": "there is one level: progress, and what went wrong",
    "log.file": "what is said goes to standard error",
    "log.maxFileSize": "what is said goes to standard error",
    "log.maxBackupFileIndex": "what is said goes to standard error",
    "userDefinedCredentialsProvider.classname": "Java classes cannot run here; credentials come"
    " from AWS's own places",
    "userDefinedCredentialsProvider.location": "Java classes cannot run here",
}
UNUSED_IN_FLOW = {
    "maxTimeBetweenFileTrackerRefreshMillis": "new files are looked for at every poll",
    "publishQueueCapacity": "reading stops when sending cannot follow",
    "waitOnFullPublishQueueMillis": "reading stops when sending cannot follow",
    "waitOnEmptyPublishQueueMillis": "sending waits for records, not for a time",
}
