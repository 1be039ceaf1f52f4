"""Bad input gives what docs/reference/bad-input.md says: an error, or counted rejects."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import tree
from oddlot.cli import main

PAGE = Path("docs/reference/bad-input.md")
NAMES = b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
HEADER = NAMES + b"\n"
LINES = [
    b"5363%02d,85123A,HOLDER,6,2010-12-01 08:%02d:00,2.55,17850,United Kingdom\n" % (i, i)
    for i in range(20)
]
GOOD = b"".join(LINES)
OBJECT = b'{"InvoiceNo":"1","StockCode":"A","Quantity":3,"InvoiceDate":"2010-12-01 08:%02d"}\n'
OBJECTS = [OBJECT % i for i in range(20)]
HUGE = 100_000_000


def first(old: bytes, new: bytes) -> bytes:
    """The good lines with something else in the first of them."""
    changed = LINES[0].replace(old, new)
    assert changed != LINES[0]
    return HEADER + changed + b"".join(LINES[1:])


def among(extra: bytes, at: int) -> bytes:
    """The good lines with another among them."""
    return HEADER + b"".join([*LINES[:at], extra, *LINES[at:]])


def of_year(year: bytes) -> bytes:
    return LINES[0].replace(b"2010", year)


REFUSED: dict[str, Callable[[], bytes]] = {
    "an empty file": lambda: b"",
    "a column is missing": lambda: HEADER.replace(b"Quantity", b"Qty") + GOOD,
    "a column is named twice": lambda: HEADER.replace(b"Country", b"Quantity") + GOOD,
    "no header": lambda: GOOD,
    "a program or picture": lambda: b"\x7fELF\2\1\1" + bytes(9) + os.urandom(5000),
    "UTF-16": lambda: (HEADER + GOOD).decode().encode("utf-16"),
    "a JSON array": lambda: b"[" + b",".join(OBJECTS) + b"]",
    "one line of 100 MB and nothing else": lambda: b"x" * HUGE,
    "line ends of CR alone": lambda: (HEADER + GOOD).replace(b"\n", b"\r"),
    "dates of two meanings": lambda: (HEADER + GOOD).replace(b"2010-12-01", b"1/2/2011"),
    "a damaged gzip file": lambda: gzip.compress(HEADER + GOOD)[:-9],
}
REJECTED: dict[str, Callable[[], bytes]] = {
    "a line of 100 MB among others": lambda: among(b"x" * HUGE + b"\n", 0),
    "a NUL byte": lambda: first(b"HOLDER", b"HOL\0DER"),
    "a quote that is open at the end": lambda: HEADER + GOOD + LINES[0].replace(b"H", b'"H'),
    "too few fields": lambda: among(b"1,2,3\n", 0),
    "quantity 1,5": lambda: first(b",6,", b',"1,5",'),
    "quantity 1e3": lambda: first(b",6,", b",1e3,"),
    "quantity in Arabic digits": lambda: first(b",6,", ",٣,".encode()),
    "quantity 2^70": lambda: first(b",6,", b",%d," % 2**70),
    "a line of 2099": lambda: among(of_year(b"2099"), 10),
    "JSON that is none": lambda: b"".join([*OBJECTS[:11], b"{oops\n", *OBJECTS[11:]]),
}
LATE: dict[str, Callable[[], bytes]] = {
    "a line of 1970 among others": lambda: among(of_year(b"1970"), 10),
    "a line of 1970 first": lambda: among(of_year(b"1970"), 0),
}
FINE: dict[str, Callable[[], bytes]] = {
    "only a header": lambda: HEADER,
    "a byte order mark": lambda: b"\xef\xbb\xbf" + HEADER + GOOD,
    "mixed line ends": lambda: HEADER + GOOD.replace(b"\n", b"\r\n", 9),
    "no line end at the end": lambda: (HEADER + GOOD)[:-1],
    "blank lines": lambda: b"\n" + HEADER + b"\n" + GOOD + b"\n\n",
    "one ISO-8859-1 byte": lambda: first(b"HOLDER", b"HOLDER \xa35"),
}
ELSEWHERE = {"no such file", "no permission", "a folder"}


def promises(heading: str) -> dict[str, list[str]]:
    """The other cells of each row in the page's table under a heading, by the first."""
    section = tree.read(PAGE).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [re.split(r" \| ", row.strip("| ")) for row in section.splitlines() if "|" in row]
    return {cells[0]: [cell.strip("`") for cell in cells[1:]] for cells in rows[2:]}


@pytest.fixture
def detect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes | None], Result]:
    """A function that runs `oddlot detect orders.csv` on those bytes."""
    monkeypatch.chdir(tmp_path)

    def run(data: bytes | None) -> Result:
        if data is not None:
            Path("orders.csv").write_bytes(data)
        words = ["detect", "orders.csv", "--only", "low_quantity", "--out", "rows.csv"]
        result = CliRunner().invoke(main, words)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run


def refuses(result: Result, case: str) -> None:
    code, said = promises("Refused")[case]
    assert result.exit_code == int(code)
    errors = [line for line in result.stderr.splitlines() if not line.startswith("Compiling")]
    assert len(errors) == 1, "one line"
    assert errors[0].startswith(f"Error: {said}")
    assert not Path("rows.csv").exists()


def counts(result: Result) -> dict[str, int]:
    assert result.exit_code == 0, result.output
    found = re.findall(r"([\d,]+) (?:lines? )?(read|scored|late|rejected|duplicate)", result.stderr)
    told = {name: int(number.replace(",", "")) for number, name in found}
    assert told["read"] == sum(told.values()) - told["read"]
    assert len(Path("rows.csv").read_bytes().splitlines()) - 1 == told["scored"]
    return told


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(
    case: str, detect: Callable[[bytes | None], Result]
) -> None:
    refuses(detect(REFUSED[case]()), case)


@pytest.mark.parametrize("case", REJECTED)
def test_what_cannot_become_a_line_is_a_counted_reject(
    case: str, detect: Callable[[bytes | None], Result]
) -> None:
    result = detect(REJECTED[case]())
    count, said = promises("Read, with rejects")[case]
    assert counts(result)["rejected"] == int(count)
    assert f"orders.csv: {said}" in result.stderr
    assert counts(result)["scored"] >= 19


@pytest.mark.parametrize("case", LATE)
def test_a_line_of_1970_does_not_stop_the_others(
    case: str, detect: Callable[[bytes | None], Result]
) -> None:
    result = detect(LATE[case]())
    count, said = promises("Read, with lines that are late")[case]
    assert counts(result) | {"read": 21} == {
        "read": 21,
        "scored": 20,
        "late": int(count),
        "rejected": 0,
        "duplicate": 0,
    }
    assert f"orders.csv: {said}" in result.stderr


@pytest.mark.parametrize("case", FINE)
def test_what_is_only_unusual_is_read(case: str, detect: Callable[[bytes | None], Result]) -> None:
    (lines,) = promises("Read as if nothing were wrong")[case]
    assert counts(detect(FINE[case]()))["scored"] == int(lines)


def test_a_file_that_is_not_there_is_refused(detect: Callable[[bytes | None], Result]) -> None:
    refuses(detect(None), "no such file")


def test_a_folder_is_refused(detect: Callable[[bytes | None], Result]) -> None:
    Path("orders.csv").mkdir()
    refuses(detect(None), "a folder")


def test_a_file_without_permission_is_refused(detect: Callable[[bytes | None], Result]) -> None:
    assert counts(detect(HEADER + GOOD))["scored"] == 20
    Path("rows.csv").unlink()
    Path("orders.csv").chmod(0)
    with as_nobody():
        refused = detect(None)
    refuses(refused, "no permission")


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Let nobody's rights hold for a while: a superuser may read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_the_page_and_the_tests_know_the_same_cases() -> None:
    assert promises("Refused").keys() == REFUSED.keys() | ELSEWHERE
    assert promises("Read, with rejects").keys() == REJECTED.keys()
    assert promises("Read, with lines that are late").keys() == LATE.keys()
    assert promises("Read as if nothing were wrong").keys() == FINE.keys()
