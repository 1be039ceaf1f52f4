"""The questions of deploy/aws/sql run as they are over the local archive, and Athena knows them."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import deployed
import grown
from crashes import folder_in_memory
from loopback import install
from oddlot import archive, schema
from oddlot.store import Store

QUESTIONS = {file.stem: file for file in sorted((deployed.AWS / "sql").glob("*.sql"))}
# Read by sqlglot as Athena's dialect, in which a name that it does not know is Anonymous.
PARSE = """
import sys, sqlglot
from sqlglot import exp
for path in sys.argv[1:]:
    (tree,) = sqlglot.parse(open(path).read(), read="athena")
    assert isinstance(tree, exp.Select), (path, type(tree))
    strange = [one.name for one in tree.find_all(exp.Anonymous, exp.Command)]
    assert not strange, (path, strange)
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[Path]:
    with folder_in_memory() as place:
        grown.watch(place)
        yield place


def ask(shop: Path, question: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = archive.query(
        shop / "archive", QUESTIONS[question].read_text()
    ).to_pylist()
    return rows


def scored(shop: Path) -> list[dict[str, str]]:
    """The lines of the log files that were neither late nor rejected, read by another reader."""
    with Store.read(shop / "state") as store:
        lost = {(one.source.partition("#")[0], one.position) for one in store.rejects(100_000)}
    found: list[dict[str, str]] = []
    for number, text in enumerate(grown.texts()):
        position = len(grown.HEADER)
        for line in text[position:].splitlines(keepends=True):
            if (f"orders-{number:06d}.csv", position) not in lost:
                found += csv.DictReader(io.StringIO(grown.HEADER + line.decode()))
            position += len(line)
    return found


def test_athena_knows_every_question(loopback: None) -> None:
    command = [str(install.python()), "-c", PARSE, *map(str, QUESTIONS.values())]
    subprocess.run(command, check=True)


def test_athena_does_not_know_just_anything(loopback: None, tmp_path: Path) -> None:
    (tmp_path / "wrong.sql").write_text("SELECT list_extract_all(sku) FROM orders")
    command = [str(install.python()), "-c", PARSE, str(tmp_path / "wrong.sql")]
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0


def test_data_check_counts_each_line_once(shop: Path) -> None:
    rows = ask(shop, "data_check")
    lines = scored(shop)
    assert sum(row["lines"] for row in rows) == len(lines) > 1000
    assert sum(row["skus"] for row in rows) == 4
    assert all(row["filed_under_another_day"] == 0 for row in rows)
    assert sum(row["without_customer"] for row in rows) == 0


def test_data_check_finds_what_is_missing(tmp_path: Path) -> None:
    """Prices that are not there, a quantity of 0, and texts that are empty."""
    import pyarrow as pa

    names = schema.order_schema().names
    good: dict[str, Any] = {
        "time": "2011-03-01 09:00:00",
        "invoice": "1",
        "sku": "a",
        "description": "x",
    }
    good |= {"quantity": 1, "price": 1.0, "customer": "c", "country": "UK", "kind": "sale"}
    good |= {"source": "s", "position": 0, "number": 1}
    odd: list[dict[str, Any]] = [
        {"price": math.nan},
        {"price": None},
        {"price": 0.0},
        {"quantity": 0},
    ]
    rows = [good, *(good | one for one in [*odd, {"customer": ""}, {"description": ""}])]
    table = pa.Table.from_pylist([{name: row[name] for name in names} for row in rows])
    archive.Archive(tmp_path / "archive").write_orders(
        table.cast(schema.order_schema()), "000000000001"
    )
    (row,) = ask(tmp_path, "data_check")
    assert (row["lines"], row["without_price"], row["without_quantity"]) == (7, 3, 1)
    assert (row["without_customer"], row["without_description"]) == (1, 1)
    (day,) = ask(tmp_path, "lines_per_day")
    assert day["money"] == 3.0  # of those that have a price and a quantity


def test_lines_per_day_are_those_of_the_log_files(shop: Path) -> None:
    expected: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0])
    for line in scored(shop):
        day = expected[line["InvoiceDate"][:10]]
        day[0] += 1
        day[1] += int(line["Quantity"])
        day[2] += int(line["Quantity"]) * float(line["UnitPrice"])
    rows = ask(shop, "lines_per_day")
    assert [row["date"] for row in rows] == sorted(expected)
    for row in rows:
        lines, units, money = expected[row["date"]]
        assert (row["lines"], row["units"]) == (lines, units)
        assert row["money"] == pytest.approx(money, abs=0.01)


def test_top_alerts_are_the_worst_of_each_incident(shop: Path) -> None:
    with Store.read(shop / "state") as store:
        worst: dict[str, float] = {}
        for alert in store.alerts(newest=False):
            worst[alert.incident] = max(worst.get(alert.incident, 0.0), alert.severity)
    found = [row["severity"] for row in ask(shop, "top_alerts")]
    assert found == sorted(worst.values(), reverse=True)[:100]
    assert len(found) > 3


def test_low_quantity_is_what_the_detector_finds(shop: Path) -> None:
    """Sum, count and average of every small line, to the last digit that the detector writes."""
    written = (shop / "alerts" / "low_quantity.jsonl").read_text().splitlines()
    detector = sorted(
        (
            *(one["StockCode"], one["InvoiceDate"], one["InvoiceNo"], one["Quantity"]),
            *(one["WindowSum"], one["WindowCount"], f"{one['AverageQuantity']:.6f}"),
        )
        for one in map(json.loads, written)
    )
    sql = sorted(
        (
            *(row["sku"], str(row["time"]), row["invoice"], row["quantity"]),
            *(row["window_sum"], row["window_count"], f"{row['average_quantity']:.6f}"),
        )
        for row in ask(shop, "low_quantity")
    )
    assert len(sql) > 500
    assert sql == detector


def test_the_archive_is_partitioned_as_hive_does_it(shop: Path) -> None:
    """Read with Hive's rules and the types of the tables, as Athena does."""
    from pyarrow import dataset

    for part, arrow in (("orders", schema.order_schema()), ("alerts", schema.alert_schema())):
        files = sorted((shop / "archive" / part).rglob("*"))
        assert {file.suffix for file in files if file.is_file()} == {".parquet"}
        found = dataset.dataset(shop / "archive" / part, partitioning="hive", format="parquet")
        table = found.to_table()
        assert table.schema.names == [*arrow.names, "date"]
        for field in arrow:
            assert table.schema.field(field.name).type == field.type
        days = table.column("time").to_pylist()
        dates = table.column("date").cast("string").to_pylist()
        assert [str(day.date()) for day in days] == dates
        assert len(days) > 3
