"""What an agent.json asks for: flows of lines from files to streams, and how the agent runs."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from oddlot.agent.options import Added, AgentOptions, FlowOptions, Step
from oddlot.streams.aws import Access

_MIB = 1 << 20
_FIREHOSE_RECORD = 1000 << 10
_FIREHOSE_REQUEST = 4 * _MIB
_PACKED = 50_000  # bytes; small enough that many keys share a request, large enough to be cheap


class Flow(msgspec.Struct, frozen=True):
    """Files, what is made of their lines, and the stream that it goes to.

    Attributes:
        id: stable as long as stream and patterns are: "kinesis:orders:/var/log/acmeco/*.log".
        patterns: absolute, with *, ? and **.
        stream: name of the Kinesis or Firehose stream.
        is_firehose: which of the two.
        access: how to reach it.
        options: as written.
        steps: what is done to a line, in order.
        added: name of each field to add, and what it is.
    """

    id: str
    patterns: tuple[str, ...]
    stream: str
    is_firehose: bool
    access: Access
    options: FlowOptions
    steps: tuple[Step, ...]
    added: dict[str, Added]

    @property
    def starts_at_end(self) -> bool:
        """Whether files that are there at the very first start are followed from their end."""
        return self.options.initial_position == "END_OF_FILE"

    @property
    def aggregation(self) -> str:
        """How records are packed: none, kpl or ndjson."""
        if self.options.aggregation != "auto":
            return self.options.aggregation
        # As the original, which passes the size over for Kinesis.
        is_packed = self.is_firehose and self.options.aggregated_record_size_bytes
        return "ndjson" if is_packed else "none"

    @property
    def packed_bytes(self) -> int:
        """The largest record that small ones are packed into."""
        return min(self.options.aggregated_record_size_bytes or _PACKED, self.longest_record)

    @property
    def longest_record(self) -> int:
        """Bytes in a record, its key included, at most."""
        most = _FIREHOSE_RECORD if self.is_firehose else _MIB
        return self.options.max_record_size_bytes or most

    @property
    def longest_line(self) -> int:
        """Bytes in a line; of a longer one only so much is kept."""
        return max(self.longest_record, _MIB)

    @property
    def buffer_bytes(self) -> int:
        """Bytes in a request, at most."""
        most = _FIREHOSE_REQUEST if self.is_firehose else 5 * _MIB
        return min(self.options.max_buffer_size_bytes or most, most)

    @property
    def buffer_records(self) -> int:
        """Records in a request, at most."""
        return self.options.max_buffer_size_records

    @property
    def buffer_age_us(self) -> int:
        """How long a record waits for company, in microseconds."""
        return 1000 * self.options.max_buffer_age_millis

    @property
    def poll_us(self) -> int:
        """The time between two looks at the files in microseconds."""
        return 1000 * self.options.min_time_between_file_polls_millis

    @property
    def partial_line_us(self) -> int:
        """After so many microseconds without change a last line is whole."""
        return 1000 * self.options.partial_line_millis

    @property
    def retry_initial_us(self) -> int:
        """The first pause after a failure in microseconds."""
        return 1000 * self.options.retry_initial_backoff_millis

    @property
    def retry_max_us(self) -> int:
        """The longest pause in microseconds."""
        return 1000 * self.options.retry_max_backoff_millis

    @property
    def keys_by_content(self) -> bool:
        """Whether records have keys of their own, which must stay in order among themselves."""
        options = self.options
        return not self.is_firehose and bool(
            options.partition_key_field
            or options.partition_key_pattern
            or options.partition_key_option == "DETERMINISTIC"
        )


class AgentConfig(msgspec.Struct, frozen=True):
    """A whole agent.json with its agent.d/, checked.

    Attributes:
        flows: in the order of the file, then of the files in agent.d/ by name.
        options: as written at the top.
        place: the file as the user named it.
        folder: what relative paths start from.
        unknown: a line for each option that is not known, with the nearest that is.
        cautions: a line for each option without meaning here, and for each thing to look at.
    """

    flows: tuple[Flow, ...]
    options: AgentOptions
    place: str
    folder: Path
    unknown: tuple[str, ...]
    cautions: tuple[str, ...]

    @property
    def state(self) -> Path:
        """The folder for positions and what was set aside."""
        if self.options.state_directory:
            return self.folder / Path(self.options.state_directory).expanduser()
        if self.folder.parts[:2] == ("/", "etc"):  # /etc is not for state, and is often read-only
            return Path("/var/lib/oddlot-agent")
        return self.folder / f"{Path(self.place).stem}-state"

    @property
    def old_checkpoints(self) -> Path:
        """The original's file of positions; it may not be there."""
        return self.folder / self.options.checkpoint_file

    @property
    def metrics_file(self) -> Path | None:
        """Where EMF lines are appended to; None for nowhere; "-" for standard output."""
        name = self.options.metrics_file
        if not name or not self.options.emits_metrics:
            return None
        return Path(name) if name == "-" else self.folder / Path(name).expanduser()

    @property
    def sending_threads(self) -> int:
        """Requests at the same time, at most."""
        options = self.options
        return options.sending_threads or options.sending_threads_per_core * (os.cpu_count() or 1)

    @property
    def shutdown_us(self) -> int:
        """How long what was read is still sent after Ctrl-C, in microseconds."""
        return 1000 * self.options.shutdown_millis

    @property
    def report_us(self) -> int:
        """The time between two lines of progress in microseconds; 0 for none."""
        return 1_000_000 * self.options.report_seconds

    @property
    def metrics_us(self) -> int:
        """The time between two writings of metrics in microseconds."""
        return 1000 * self.options.metrics_millis
