"""The archive holds each line once, by date, and answers SELECT and nothing else."""

import datetime
import errno
import math
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from crashes import alert
from oddlot.archive import Archive, alert_table, query
from oddlot.durable import StorageError, no_crash
from oddlot.errors import ConfigError, StateError
from oddlot.schema import Alert, alert_schema, order_schema

DAY_US = 86_400_000_000


def orders(times: list[int], first: int = 0) -> pa.Table:
    count = len(times)
    values: dict[str, list[object]] = {name: ["x"] * count for name in order_schema().names}
    values |= {"time": list(times), "quantity": list(range(first, first + count))}
    values |= {"price": [1.5] * count, "position": [0] * count, "number": [1] * count}
    return pa.table(values, schema=order_schema())


def answer(folder: Path, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in query(folder, sql).to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.parquet"))}


def test_lines_lie_under_their_date_on_both_sides_of_midnight(tmp_path: Path) -> None:
    midnight = 14_975 * DAY_US
    written = Archive(tmp_path).write_orders(orders([midnight - 1, midnight]), "a")
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        "orders/date=2010-12-31/a.parquet",
        "orders/date=2011-01-01/a.parquet",
    ]
    assert answer(tmp_path, "SELECT quantity, date FROM orders ORDER BY quantity") == [
        (0, datetime.date(2010, 12, 31)),
        (1, datetime.date(2011, 1, 1)),
    ]


def test_any_order_of_lines_is_kept_whole_and_within_a_day_as_it_was(tmp_path: Path) -> None:
    times = np.random.default_rng(1).integers(-2 * DAY_US, 3 * DAY_US, 500).tolist()
    Archive(tmp_path).write_orders(orders(times), "a")
    found = answer(tmp_path, "SELECT quantity, epoch_us(time), date FROM orders ORDER BY quantity")
    epoch = datetime.date(1970, 1, 1)
    assert found == [
        (number, time, epoch + datetime.timedelta(days=time // DAY_US))
        for number, time in enumerate(times)
    ]
    for path in (tmp_path / "orders").rglob("*.parquet"):
        quantity = parquet.ParquetFile(path).read().column("quantity").to_pylist()
        assert quantity == sorted(quantity)


def test_the_same_name_and_lines_give_the_same_bytes_in_the_same_place(tmp_path: Path) -> None:
    table = orders([0, 1, DAY_US])
    archive = Archive(tmp_path)
    archive.write_orders(table, "a")
    before = contents(tmp_path)
    archive.write_orders(pa.concat_tables([table[:1], table[1:]]), "a")
    assert contents(tmp_path) == before
    assert answer(tmp_path, "SELECT count(*) FROM orders") == [(3,)]


def test_columns_of_another_text_type_or_order_are_taken(tmp_path: Path) -> None:
    table = orders([0, 1])
    large = table.set_column(2, "sku", table["sku"].cast(pa.large_string()).dictionary_encode())
    Archive(tmp_path).write_orders(large.select(large.column_names[::-1]), "a")
    (path,) = (tmp_path / "orders").rglob("*.parquet")
    assert parquet.ParquetFile(path).schema_arrow.equals(order_schema())


def test_alerts_are_archived_with_their_evidence(tmp_path: Path) -> None:
    rule = alert(2, chance=math.nan, evidence={"z": math.nan, "mean": 2.5})
    archive = Archive(tmp_path)
    archive.write_alerts([alert(1)], "a")
    archive.write_alerts(alert_table([rule]), "b")
    archive.write_alerts([], "c")
    found = answer(
        tmp_path,
        "SELECT id, description, isnan(chance), evidence, json_extract(evidence, '$.mean')::DOUBLE"
        " FROM alerts ORDER BY id",
    )
    assert found == [
        (alert(1).id, alert(1).description, False, '{"mean":3.5}', 3.5),
        (rule.id, rule.description, True, '{"z":null,"mean":2.5}', 2.5),
    ]


def test_an_alert_has_a_column_for_each_of_its_fields() -> None:
    names = ["time" if name == "time_us" else name for name in Alert.__struct_fields__]
    assert sorted(names) == sorted(alert_schema().names)
    assert alert_table([]).schema.equals(alert_schema())


def test_an_empty_archive_has_both_views_with_their_columns(tmp_path: Path) -> None:
    for name, schema in (("orders", order_schema()), ("alerts", alert_schema())):
        empty = query(tmp_path, f"SELECT * FROM {name}")
        Archive(tmp_path / "full").write_orders(orders([0]), "a")
        Archive(tmp_path / "full").write_alerts([alert(1)], "a")
        full = query(tmp_path / "full", f"SELECT * FROM {name}")
        assert (empty.num_rows, full.num_rows) == (0, 1)
        assert empty.column_names == full.column_names == [*schema.names, "date"]
        assert empty.schema.types == full.schema.types


def test_what_no_checkpoint_knows_is_set_aside_and_not_deleted(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for number in range(1, 4):
        archive.write_orders(orders([0, DAY_US], number), f"{number:06d}")
    moved = archive.restore("000001")
    assert len(moved) == 4
    assert all(path.is_file() and "quarantine" in path.parts for path in moved)
    assert answer(tmp_path, "SELECT count(*) FROM orders") == [(2,)]
    assert archive.restore("000001") == []


def test_half_a_file_is_never_seen(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    points = {"archive.write": 0, "archive.sync": 0, "archive.name": 0, "archive.folder": 1}
    for point, whole in points.items():

        def crash(name: str, point: str = point) -> None:
            if name == point:
                raise Killed

        place = tmp_path / point
        Archive(place).write_orders(orders([0]), "before")
        with pytest.raises(Killed):
            Archive(place, crash=crash).write_orders(orders([0]), "after")
        assert answer(place, "SELECT count(*) FROM orders") == [(1 + whole,)]
        Archive(place).restore("zzz")
        assert answer(place, "SELECT count(*) FROM orders") == [(1 + whole,)]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("point", ["archive.write", "archive.sync", "archive.name"])
def test_a_full_disk_leaves_no_file_and_the_same_call_succeeds_later(
    tmp_path: Path, point: str
) -> None:
    def full(name: str) -> None:
        if name == point:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="free some space") as refused:
        Archive(tmp_path, crash=full).write_orders(orders([0]), "a")
    assert refused.value.full
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    Archive(tmp_path, crash=no_crash).write_orders(orders([0]), "a")
    assert answer(tmp_path, "SELECT count(*) FROM orders") == [(1,)]


@pytest.mark.parametrize("name", ["it's [odd] *?", "ünï çödé", "shop=1"])
def test_an_archive_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    Archive(tmp_path / name).write_orders(orders([0]), "a")
    assert answer(tmp_path / name, "SELECT sku, date FROM orders") == [
        ("x", datetime.date(1970, 1, 1))
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "DROP VIEW orders",
        "CREATE TABLE t AS SELECT 1",
        "COPY (SELECT 1) TO '{}/orders/stolen.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{}/orders/stolen.csv'",
        "SELECT 1; SELECT 2",
        "",
        "ATTACH '{}/other.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "PRAGMA database_list",
    ],
)
def test_what_is_not_one_select_is_refused(tmp_path: Path, sql: str) -> None:
    Archive(tmp_path).write_orders(orders([0]), "a")
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match="query: must be one SELECT"):
        query(tmp_path, sql.format(tmp_path))
    assert contents(tmp_path) == before
    assert not list(tmp_path.rglob("*.csv"))


@pytest.mark.parametrize(
    "source",
    ["read_text('{}')", "read_csv('{}')", "'{}'", "glob('{}*')", "'https://example.invalid/a.csv'"],
)
def test_a_select_reads_nothing_outside_the_archive(tmp_path: Path, source: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    Archive(tmp_path / "archive")
    with pytest.raises(ConfigError, match="file system operations are disabled"):
        query(tmp_path / "archive", f"SELECT * FROM {source.format(secret)}")


def test_wrong_sql_is_one_line_that_helps(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'query: .*"skuu" not found.*Candidate.*sku') as error:
        query(tmp_path, "SELECT skuu\nFROM orders")
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there_is_a_mistake_and_not_an_empty_archive(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be an archive's folder; there is none"):
        query(tmp_path / "typo", "SELECT 1")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (path,) = Archive(tmp_path).write_orders(orders([0]), "broken")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StateError, match=r"broken\.parquet"):
        query(tmp_path, "SELECT * FROM orders")


@pytest.mark.parametrize("name", ["../a", "", ".a", "a b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="fit for a file"):
        Archive(tmp_path).write_orders(orders([0]), name)
