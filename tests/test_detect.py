"""Files in, alerts out: what `detect` reads, what it writes, and what it says of it."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import openpyxl
import pyarrow as pa
import pytest
import zstandard
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from oddlot import config as configs
from oddlot.alerts.make import alert_row
from oddlot.detect import Summary, choose, detect
from oddlot.errors import ConfigError, OddlotError, StreamError
from oddlot.findings import ALERT_COLUMNS
from oddlot.schema import Alert, alert_schema
from oddlot.simulate import Shop, simulate

NOW_US = 1_800_000_000_000_000
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
PARITY = "97e39aec115a0da4cb0a9c0c0b62ad9b9d4b1a0c48c557429902b0cad1d86684"
AVERAGES = "1c896975477376fc9d44f956ca8ac3bcad6f88c96246650ce56328238d0fa0b7"
RULE = '[[detectors]]\ntype = "low_quantity"\n'
BOTH = RULE + '[[detectors]]\ntype = "quantity_spike"\n'


def run(files: list[Path], out: Path | None, text: str = "", **options: object) -> Summary:
    config = choose(configs.from_text(text, "a test"), **options)  # type: ignore[arg-type]
    place = None if out is None else str(out)
    return detect([str(file) for file in files], config, place, lambda _: None, NOW_US)


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join([HEADER, *lines]) + "\n", "utf-8")
    return path


def line(minute: int, quantity: object = 6, sku: str = "85123A", text: str = "HOLDER") -> str:
    clock = f"2010-12-{1 + minute // 1440:02d} {minute // 60 % 24:02d}:{minute % 60:02d}:00"
    return f"536365,{sku},{text},{quantity},{clock},2.55,17850,United Kingdom"


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small shop's orders, with a line that nobody can miss."""
    path = tmp_path_factory.mktemp("shop") / "orders.csv"
    pieces, _ = simulate(Shop(days=6, skus=40, lines_per_day=300, faults_per_day=0))
    spike = "999999,{},Typo,90000,2024-01-13 20:59:00,1.5,17850,Spain\n"
    text = b"".join(pieces.text()).decode()
    sku = text.splitlines()[5].split(",")[1]
    path.write_text(text + spike.format(sku), "utf-8")
    return path


def test_the_real_orders_give_the_rows_of_the_reference_pipeline(
    online_retail: Path, tmp_path: Path
) -> None:
    summary = run([online_retail], tmp_path / "x.csv", only=["low_quantity"])
    assert summary.counts["read"] == summary.counts["scored"] == 541_909
    assert summary.rows == {"low_quantity": 386_990}
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["WindowSum"]) for row in rows) == 755_639
    assert sum(int(row["WindowCount"]) for row in rows) == 504_159
    names = ("InvoiceNo", "StockCode", "InvoiceDate", "Quantity", "WindowSum", "WindowCount")
    assert digest(rows, names) == PARITY
    assert digest(rows, ("StockCode", "InvoiceDate", "AverageQuantity")) == AVERAGES


def digest(rows: list[dict[str, str]], names: tuple[str, ...]) -> str:
    lines = sorted("|".join(row[name] for name in names).encode() for row in rows)
    return hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()


def test_every_format_holds_the_same_alerts(orders: Path, tmp_path: Path) -> None:
    for ending in ("jsonl", "csv", "parquet"):
        run([orders], tmp_path / f"a.{ending}")
    objects = [json.loads(text) for text in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert objects
    assert any(one["price"] is None for one in objects)  # what the clock found
    assert [tuple(one) for one in objects] == [ALERT_COLUMNS] * len(objects)
    assert any(one["quantity"] == 90_000 for one in objects)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    as_text = [
        {name: "" if value is None else str(value) for name, value in one.items()}
        for one in objects
    ]
    numbers = {"rate", "chance"}  # Python and msgspec write small numbers differently
    for row, one in zip(rows, as_text, strict=True):
        assert {k: row[k] for k in row.keys() - numbers} == {
            k: one[k] for k in one.keys() - numbers
        }
        assert all(float(row[name]) == float(one[name]) for name in numbers)
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.schema.names == alert_schema().names
    assert table.column("id").to_pylist() == [one["id"] for one in objects]


def test_the_columns_of_alerts_are_those_that_run_writes() -> None:
    fields = {"id": "0", "detector": "x", "time_us": 0, "sku": "a", "evidence": {}}
    numbers = dict.fromkeys(("chance", "rate", "score", "price"), 0.5)
    texts = dict.fromkeys(("invoice", "description", "source", "text"), "")
    places = dict.fromkeys(("quantity", "position", "number"), 1)
    alert = msgspec.convert(fields | numbers | texts | places, Alert)
    assert tuple(alert_row(alert)) == ALERT_COLUMNS


def test_every_format_holds_the_same_rows(orders: Path, tmp_path: Path) -> None:
    for ending in ("jsonl", "csv", "parquet"):
        run([orders], tmp_path / f"r.{ending}", only=["low_quantity"])
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    objects = [json.loads(text) for text in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [(row["StockCode"], float(row["AverageQuantity"])) for row in rows] == [
        (one["StockCode"], one["AverageQuantity"]) for one in objects
    ]
    table = parquet.read_table(tmp_path / "r.parquet")
    assert table.schema.names == list(rows[0])
    assert table.column("WindowSum").to_pylist() == [int(row["WindowSum"]) for row in rows]
    assert table.column("Description").to_pylist() == [row["Description"] for row in rows]
    times = [moment.isoformat(sep=" ") for moment in table.column("InvoiceDate").to_pylist()]
    assert times == [row["InvoiceDate"] for row in rows]


def test_rows_keep_line_ends_and_quotes_of_their_texts(tmp_path: Path) -> None:
    texts = ["plain", '"a, b"', '"say ""hi"""', '"two\nlines"', "Ω £"]
    file = write(tmp_path / "o.csv", [line(i, text=text) for i, text in enumerate(texts)])
    for ending in ("jsonl", "csv", "parquet"):
        run([file], tmp_path / f"r.{ending}", only=["low_quantity"])
    expected = ["plain", "a, b", 'say "hi"', "two\nlines", "Ω £"]
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as rows:
        assert [row["Description"] for row in csv.DictReader(rows)] == expected
    objects = (tmp_path / "r.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(text)["Description"] for text in objects] == expected
    table = parquet.read_table(tmp_path / "r.parquet")
    assert table.column("Description").to_pylist() == expected


def test_texts_of_a_source_with_semicolons_are_quoted_where_they_hold_commas(
    tmp_path: Path,
) -> None:
    file = tmp_path / "o.csv"
    file.write_text(f"{HEADER}\n{line(0, text='a|b')}\n".replace(",", ";").replace("|", ","))
    run([file], tmp_path / "r.csv", only=["low_quantity"])
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as rows:
        assert [row["Description"] for row in csv.DictReader(rows)] == ["a,b"]


def to_jsonl(data: bytes) -> bytes:
    rows = csv.DictReader(io.StringIO(data.decode()))
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def to_parquet(data: bytes) -> bytes:
    out = io.BytesIO()
    kinds = {name: pa.string() for name in ("InvoiceNo", "StockCode", "CustomerID")}
    options = arrow_csv.ConvertOptions(column_types=kinds)
    parquet.write_table(arrow_csv.read_csv(io.BytesIO(data), convert_options=options), out)
    return out.getvalue()


def to_xlsx(data: bytes) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in csv.reader(io.StringIO(data.decode())):
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "o.csv.gz": gzip.compress,
    "o.csv.zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "o.jsonl": to_jsonl,
    "o.jsonl.gz": lambda data: gzip.compress(to_jsonl(data)),
    "o.parquet": to_parquet,
    "o.xlsx": to_xlsx,
    "o.tsv": lambda data: data.replace(b",", b"\t"),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_form_of_the_orders_does_not_change_the_rows(name: str, tmp_path: Path) -> None:
    plain = write(tmp_path / "o.csv", [line(i % 900, i % 14, f"sku{i % 5}") for i in range(900)])
    (tmp_path / name).write_bytes(FORMS[name](plain.read_bytes()))
    run([plain], tmp_path / "plain.csv", RULE)
    run([tmp_path / name], tmp_path / "other.csv", RULE)
    assert (tmp_path / "other.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    assert (tmp_path / "plain.csv").read_bytes().count(b"\n") > 600


def test_several_files_are_read_as_one_stream(orders: Path, tmp_path: Path) -> None:
    head, *lines = orders.read_bytes().splitlines(keepends=True)
    cut = len(lines) // 2
    parts = [tmp_path / "1.csv", tmp_path / "2.csv"]
    for part, some in zip(parts, (lines[:cut], lines[cut:]), strict=True):
        part.write_bytes(head + b"".join(some))
    run([orders], tmp_path / "one.csv", RULE)
    run(parts, tmp_path / "two.csv", RULE)
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_tests_and_rules_together_write_two_files(orders: Path, tmp_path: Path) -> None:
    summary = run([orders], tmp_path / "found.csv", BOTH)
    assert summary.written == {
        str(tmp_path / "found.csv"): "alerts",
        str(tmp_path / "found.low_quantity.csv"): "low_quantity",
    }
    assert (tmp_path / "found.csv").read_bytes().count(b"\n") == summary.alerts + 1
    rows = (tmp_path / "found.low_quantity.csv").read_bytes().count(b"\n") - 1
    assert rows == summary.rows["low_quantity"]


def test_dates_are_decided_by_what_comes_later_in_the_file(tmp_path: Path) -> None:
    early = [line(i).replace("2010-12-01", "1/2/2011") for i in range(20_000)]
    late = line(0).replace("2010-12-01", "1/13/2011")
    file = write(tmp_path / "o.csv", [*early[:1440], *(early[1439:1440] * 20_000), late])
    assert file.stat().st_size > 1 << 20
    summary = run([file], None)
    assert summary.counts["scored"] == summary.counts["read"] == 1440 + 20_001


def test_a_summary_counts_every_line_and_says_where_the_bad_ones_are(tmp_path: Path) -> None:
    quantities: list[object] = [6] * 30
    quantities[3], quantities[7], quantities[20], quantities[21] = "1e3", "x", "٣", "2,5"
    lines = [line(i, q) for i, q in enumerate(quantities)]
    file = write(tmp_path / "o.csv", [*lines, line(0)])
    summary = run([file], None)
    counts = summary.counts
    assert counts["read"] == 31 == counts["scored"] + counts["late"] + counts["rejected"]
    reason = summary.reasons["quantity must be a whole number"]
    assert reason.count == 3
    assert reason.places[0] == f"{file}: line 5: quantity must be a whole number; got '1e3'"
    assert counts["late"] == 1


def test_the_top_findings_come_highest_first(orders: Path) -> None:
    summary = run([orders], None, budget=50.0)
    severities = [incident.severity for incident in summary.top]
    assert severities == sorted(severities, reverse=True)
    assert 1 < len(severities) <= 10
    assert summary.incidents <= summary.alerts
    assert "90,000 units" in summary.top[0].text


def test_a_failure_leaves_no_file_and_keeps_the_old_one(orders: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(orders.read_bytes())[:-2000])
    for ending in ("csv", "parquet"):
        out = tmp_path / f"found.{ending}"
        out.write_text("of an earlier run")
        with pytest.raises(StreamError, match=r"cut\.csv\.gz"):
            run([cut], out, BOTH)
        assert out.read_text() == "of an earlier run"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cut.csv.gz",
        "found.csv",
        "found.parquet",
    ]


def test_a_detector_keeps_the_options_of_the_config() -> None:
    text = BOTH.replace('"low_quantity"\n', '"low_quantity"\nbelow = 3\n')
    config = choose(configs.from_text(text, "a test"), only=["low_quantity"])
    assert [detector.below for detector in config.detectors] == [3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"only": ["low_quantiti"]}, "did you mean low_quantity"),
        ({"columns": {"quantitty": "Qty"}}, "did you mean quantity"),
    ],
    ids=str,
)
def test_a_wrong_name_suggests_the_nearest(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        choose(configs.from_text("", "a test"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["found.txt", "found", "no_folder/found.csv", "."])
def test_an_output_that_cannot_be_is_refused(orders: Path, name: str, tmp_path: Path) -> None:
    with pytest.raises(OddlotError, match=r"found|folder|must end in"):
        run([orders], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_is_never_overwritten_by_its_own_alerts(orders: Path) -> None:
    before = orders.read_bytes()
    with pytest.raises(ConfigError, match="must not be a file that is read"):
        run([orders], orders.parent / ".." / orders.parent.name / orders.name)
    assert orders.read_bytes() == before


def test_the_order_within_the_lateness_does_not_change_a_byte(orders: Path, tmp_path: Path) -> None:
    head, *lines = orders.read_text("utf-8").splitlines(keepends=True)
    by_minute: dict[str, list[str]] = {}
    for one in lines:
        by_minute.setdefault(next(csv.reader([one]))[4], []).append(one)
    chance = random.Random(5)
    shuffled = [one for some in by_minute.values() for one in chance.sample(some, len(some))]
    other = tmp_path / "orders.csv"
    other.write_text(head + "".join(shuffled), "utf-8")
    texts = []
    for file in (orders, other):
        run([file], tmp_path / "found.csv", budget=500.0)
        with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as found:
            rows = list(csv.DictReader(found))
        # Where a line stands in its file is a fact about the file.
        for row in rows:
            del row["position"], row["number"], row["source"]
        texts.append(sorted(str(row) for row in rows))
    assert texts[0] == texts[1]
    assert len(texts[0]) > 10
