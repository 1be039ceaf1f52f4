"""Order lines and alerts as Parquet files, partitioned by date; and SQL over them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from oddlot.durable import (
    Crash,
    crash_from_environment,
    make_folder,
    set_aside,
    storage_error,
    sync_folder,
)
from oddlot.errors import ConfigError, StateError
from oddlot.schema import Alert, alert_schema, order_schema

if TYPE_CHECKING:
    import duckdb
    import pyarrow

DAY_US = 86_400_000_000
EPOCH = date(1970, 1, 1)
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
ROWS_PER_GROUP = 1 << 20


class Archive:
    """A folder of Parquet files: `orders/date=YYYY-MM-DD/<name>.parquet`, and so for alerts.

    The same name and rows give the same bytes in the same place, so that what is written again
    after a crash replaces what was written before it. After a start call `restore` with the last
    name that a checkpoint knows: a replay may cut its batches elsewhere.

    Args:
        folder: made if need be; written by one process at a time.
        crash: called at each boundary, for tests; None reads ODDLOT_CRASH_AT.
    """

    def __init__(self, folder: Path, *, crash: Crash | None = None) -> None:
        make_folder(folder)
        self.folder = folder
        self._crash = crash_from_environment() if crash is None else crash

    def write_orders(self, table: pyarrow.Table, name: str) -> list[Path]:
        """Write order lines, durably, one file for each date that they are of.

        Args:
            table: has the columns of `order_schema`, in any order of rows.
            name: the files' name, rising from one write to the next as text does.

        Returns:
            The files, by date.

        Raises:
            StorageError: the disk refused; each file is there whole or not at all.
        """
        return self._write("orders", table, order_schema(), name)

    def write_alerts(self, alerts: pyarrow.Table | Sequence[Alert], name: str) -> list[Path]:
        """Write alerts as `write_orders` does; a table has the columns of `alert_schema`."""
        table = alert_table(alerts) if isinstance(alerts, Sequence) else alerts
        return self._write("alerts", table, alert_schema(), name)

    def restore(self, last: str) -> list[Path]:
        """Move files whose names come after `last` to quarantine/: no checkpoint knows them.

        Args:
            last: the name written last before the checkpoint; "" where there is none.

        Returns:
            Where they are now.
        """
        moved = []
        for path in sorted(self.folder.glob("*/date=*/.*.parquet.part")):
            path.unlink()  # never whole
        for path in sorted(self.folder.glob("*/date=*/*.parquet")):
            if path.stem > last:
                self._crash("archive.restore")
                there = self.folder / "quarantine" / path.parent.relative_to(self.folder)
                moved.append(set_aside(path, there))
        return moved

    def _write(
        self, part: str, table: pyarrow.Table, schema: pyarrow.Schema, name: str
    ) -> list[Path]:
        if not NAME.fullmatch(name):
            raise ValueError(f"a name must be fit for a file; got {name!r}")
        table = table.select(schema.names).cast(schema)
        written = []
        for day, rows in _by_day(table):
            folder = self.folder / part / f"date={EPOCH + timedelta(days=day)}"
            make_folder(folder)
            written.append(self._write_file(folder / f"{name}.parquet", rows))
        return written

    def _write_file(self, path: Path, table: pyarrow.Table) -> Path:
        """Write a file beside its place, then move it there: nobody ever sees half of it."""
        from pyarrow import parquet

        # Neither DuckDB's pattern nor Athena sees a name that begins with a point.
        half = path.with_name(f".{path.name}.part")
        try:
            self._crash("archive.write")
            with half.open("wb") as file:
                parquet.write_table(table, file, compression="zstd", row_group_size=ROWS_PER_GROUP)
                self._crash("archive.sync")
                file.flush()
                os.fsync(file.fileno())
            self._crash("archive.name")
            half.rename(path)
            self._crash("archive.folder")
            sync_folder(path.parent)
        except OSError as error:
            half.unlink(missing_ok=True)
            raise storage_error(path, error) from error
        return path


def alert_table(alerts: Sequence[Alert]) -> pyarrow.Table:
    """Turn alerts into an Arrow table of `alert_schema`; evidence becomes JSON text."""
    import pyarrow as pa

    columns: dict[str, list[object]] = {
        name: [getattr(alert, name) for alert in alerts] for name in Alert.__struct_fields__
    }
    columns["time"] = columns.pop("time_us")
    columns["evidence"] = [msgspec.json.encode(alert.evidence).decode() for alert in alerts]
    schema = alert_schema()
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def query(folder: Path, sql: str) -> pyarrow.Table:
    """Answer one SELECT over the views `orders` and `alerts`.

    It reads the archive and nothing else: no other file, no network, no writing. The views have the
    archive's columns and `date`, by which a query is best narrowed.

    Args:
        folder: the archive's folder.
        sql: in DuckDB's dialect.

    Raises:
        ConfigError: there is no such folder, or the SQL is wrong or not a SELECT.
        StateError: a file of the archive is damaged.
    """
    import duckdb

    if not folder.is_dir():
        raise ConfigError(f"{folder}: must be an archive's folder; there is none")
    try:
        connection = duckdb.connect(
            config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        )
        with connection:
            _make_views(connection, folder)
            statements = connection.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise ConfigError("query: must be one SELECT; the archive is never changed by SQL")
            return connection.sql(sql).to_arrow_table()
    except duckdb.Error as error:
        line = " ".join(str(error).split("\n\nLINE ")[0].split())
        if ".parquet" in line and not isinstance(error, duckdb.PermissionException):
            raise StateError(f"{folder}: must hold whole Parquet files; {line}") from error
        raise ConfigError(f"query: {line}") from error


def _make_views(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Make the two views, then close every door but the archive."""
    whole = str(folder.resolve())
    pattern = re.sub(r"([*?\[])", r"[\1]", whole)
    for part, schema in (("orders", order_schema()), ("alerts", alert_schema())):
        if any(folder.glob(f"{part}/date=*/*.parquet")):
            files = _quote(f"{pattern}/{part}/date=*/*.parquet")
            options = "hive_partitioning = true, hive_types = {'date': DATE}"
            # Named, because a folder above may look like a partition and add a column.
            names = ", ".join([*schema.names, "date"])
            source = f"SELECT {names} FROM read_parquet({files}, {options})"  # noqa: S608
            connection.execute(f"CREATE VIEW {part} AS {source}")
        else:
            connection.register(f"no_{part}", schema.empty_table())
            connection.execute(
                f"CREATE TABLE {part} AS SELECT *, NULL::DATE AS date FROM no_{part}"  # noqa: S608
            )
            connection.unregister(f"no_{part}")
    doors = ", ".join(_quote(f"{place}/") for place in sorted({whole, pattern}))
    connection.execute(f"SET allowed_directories = [{doors}]")
    connection.execute("SET temp_directory = ''")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _by_day(table: pyarrow.Table) -> Iterator[tuple[int, pyarrow.Table]]:
    """Cut a table by the day of its column `time`; the order within a day stays."""
    import pyarrow as pa

    days = table.column("time").cast(pa.int64()).to_numpy() // DAY_US
    if len(days) == 0:
        return
    if np.any(days[1:] < days[:-1]):
        order = np.argsort(days, kind="stable")
        days, table = days[order], table.take(pa.array(order))
    starts = np.concatenate(([0], np.flatnonzero(days[1:] != days[:-1]) + 1))
    for start, end in zip(starts, [*starts[1:], len(days)], strict=True):
        yield int(days[start]), table.slice(start, end - start)
