"""Files of findings: the alerts of tests and the rows of rules, as JSON Lines, CSV or Parquet."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
import numpy as np

from oddlot.alerts.make import alert_row
from oddlot.alerts.rows import COLUMNS, RowWriter
from oddlot.archive import alert_table
from oddlot.errors import ConfigError, StreamError
from oddlot.schema import Alert, Lines, alert_schema

ENDINGS = (".jsonl", ".csv", ".parquet")
# A file without alerts has a header too; a test holds these to `alert_row`.
ALERT_COLUMNS = (
    *("time", "sku", "type", "score", "rate", "chance", "invoice", "description", "quantity"),
    *("price", "source", "position", "number", "id", "evidence", "text"),
    *("incident", "stake", "probability", "severity"),
)
_BATCH = 4 << 20  # bytes of rows that become one Parquet row group, or about


class AlertWriter(Protocol):
    """Writes the alerts of tests."""

    def write(self, alerts: Sequence[Alert]) -> None:
        """Write some more."""
        ...

    def close(self) -> None:
        """Write what is held back."""
        ...


class Output:
    """One file that is written beside its place and moved there when it is whole.

    Args:
        path: the file, or "-" for standard output.

    Raises:
        ConfigError: it cannot be written there.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._name = "standard output" if path == "-" else path
        self._half: Path | None = None
        place = Path(path)
        try:
            if path == "-":
                self.file: BinaryIO = sys.stdout.buffer
            elif place.exists() and not place.is_file():
                if place.is_dir():
                    raise IsADirectoryError(0, "is a folder")
                self.file = place.open("wb")  # a pipe or device: there is nothing to move
            else:
                self._half = place.with_name(f".{place.name}.{os.getpid()}.part")
                self.file = self._half.open("wb")
        except OSError as error:
            raise ConfigError(f"{self._name}: cannot be written: {error.strerror}") from None

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes.

        Raises:
            StreamError: the disk refused.
        """
        try:
            self.file.write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StreamError(f"{self._name}: cannot be written: {error.strerror}") from None

    def keep(self) -> None:
        """Close the file, which is whole, and move it to its place."""
        try:
            self._close()
            if self._half is not None:
                self._half.replace(self.path)
                self._half = None
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StreamError(f"{self._name}: cannot be written: {error.strerror}") from None

    def drop(self) -> None:
        """Close the file and forget it; harmless when it was kept."""
        # What could not be written is not wanted any more.
        with contextlib.suppress(OSError):
            self._close()
        if self._half is not None:
            self._half.unlink(missing_ok=True)

    def _close(self) -> None:
        if self.path == "-":
            self.file.flush()  # standard output is not ours to close
        else:
            self.file.close()


def format_of(path: str) -> str:
    """Return the format that a path's ending asks for: jsonl, csv or parquet.

    Raises:
        ConfigError: the ending is another.
    """
    ending = Path(path).suffix.lower()
    if path == "-":
        return "jsonl"
    if ending not in ENDINGS:
        raise ConfigError(f"--out {path}: must end in one of: {', '.join(ENDINGS)}; or be -")
    return ending[1:]


def beside(path: str, name: str) -> str:
    """Return the path for a rule's rows: beside `found.csv` is `found.low_quantity.csv`."""
    place = Path(path)
    return str(place.with_name(f"{place.stem}.{name}{place.suffix}"))


class JsonAlerts:
    """Alerts as JSON Lines."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._encode = msgspec.json.Encoder().encode

    def write(self, alerts: Sequence[Alert]) -> None:
        """Write some more."""
        self._output.write(b"".join(self._encode(alert_row(alert)) + b"\n" for alert in alerts))

    def close(self) -> None:
        """Write what is held back: nothing."""


class CsvAlerts:
    """Alerts as CSV; what is unknown is empty."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._output.write((",".join(ALERT_COLUMNS) + "\n").encode())

    def write(self, alerts: Sequence[Alert]) -> None:
        """Write some more."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            alert_row(alert).values() for alert in alerts
        )
        self._output.write(text.getvalue().encode())

    def close(self) -> None:
        """Write what is held back: nothing."""


class ParquetAlerts:
    """Alerts as Parquet, in the archive's schema."""

    def __init__(self, output: Output) -> None:
        from pyarrow import parquet

        self._writer = parquet.ParquetWriter(output.file, alert_schema(), compression="zstd")
        self._held: list[Alert] = []

    def write(self, alerts: Sequence[Alert]) -> None:
        """Write some more, or hold them until they make a row group."""
        self._held += alerts
        if len(self._held) >= 1 << 16:
            self._flush()

    def close(self) -> None:
        """Write what is held back, and the footer."""
        if self._writer.is_open:
            self._flush()
            self._writer.close()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(alert_table(self._held))
            self._held = []


def alert_writer(output: Output) -> AlertWriter:
    """Return the writer of alerts that an output's ending asks for."""
    kinds: dict[str, Callable[[Output], AlertWriter]] = {
        "jsonl": JsonAlerts,
        "csv": CsvAlerts,
        "parquet": ParquetAlerts,
    }
    return kinds[format_of(output.path)](output)


class RuleRows:
    """The rows of one rule, written at full speed.

    Attributes:
        count: rows written so far.
    """

    def __init__(self, output: Output | None, columns: tuple[str, ...]) -> None:
        """Write to `output`; with None the rows are only counted."""
        self.count = 0
        self._output = output
        self._columns = columns
        self._format = format_of(output.path) if output else "jsonl"
        self._writers: dict[bool, RowWriter] = {}
        self._has_header = False
        self._parquet: Any = None
        self._held = bytearray()

    def write(self, lines: Lines, order: Any, found: Any, is_plain: bool) -> None:
        """Write the rows of the lines that fire.

        Args:
            lines: a batch.
            order: shape (released,), places in `lines`.
            found: shape (released,), dtype RULE_FOUND.
            is_plain: whether the fields of every source are separated by commas.
        """
        self.count += int(np.count_nonzero(found["fires"]))
        if self._output is None:
            return
        writer = self._writer(is_plain)
        if not self._has_header:
            self._has_header = True
            self._put(writer.header)
        self._put(writer.write(lines, order, found))

    def close(self) -> None:
        """Write what is held back."""
        if self._output is None:
            return
        if not self._has_header:
            self._put(self._writer(True).header)
        if self._format == "parquet":
            if self._parquet is None or self._parquet.is_open:
                self._flush_parquet()
                self._parquet.close()

    def _writer(self, is_plain: bool) -> RowWriter:
        if is_plain not in self._writers:
            text_format = "csv" if self._format == "parquet" else self._format
            delimiter = "," if is_plain else ";"
            self._writers[is_plain] = RowWriter(text_format, self._columns, delimiter)
        return self._writers[is_plain]

    def _put(self, data: bytes | memoryview) -> None:
        if self._format != "parquet":
            assert self._output is not None  # noqa: S101  # write and close see to it
            self._output.write(data)
            return
        self._held += data
        if len(self._held) >= _BATCH:
            self._flush_parquet()

    def _flush_parquet(self) -> None:
        """Let Arrow's reader turn the CSV rows into columns: it is quick, and the text is ours."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv
        from pyarrow import parquet

        names = [*COLUMNS, *self._columns]
        kinds = [pa.string()] * 3 + [pa.timestamp("us")] + [pa.int64()] * 3 + [pa.float64()]
        schema = pa.schema(list(zip(names, kinds, strict=True)))
        if self._parquet is None:
            assert self._output is not None  # noqa: S101
            self._parquet = parquet.ParquetWriter(self._output.file, schema, compression="zstd")
            del self._held[: self._held.index(b"\n") + 1]
        if not self._held:
            return
        table = arrow_csv.read_csv(
            pa.py_buffer(bytes(self._held)),
            read_options=arrow_csv.ReadOptions(
                column_names=names, block_size=max(1 << 20, len(self._held) + 1)
            ),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(column_types=schema),
        )
        self._parquet.write_table(table)
        self._held.clear()
