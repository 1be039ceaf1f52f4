"""CSV lines become JSON as the csv module reads them, or as the original's users know it."""

from __future__ import annotations

import csv
import functools
import io
import json
import re
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.flows import make_flow
from oddlot.agent.records import Outcome, Place, Processor

NAMES = ["a", "b", "c"]
# What CSV, JSON and regular expressions take for something else.
TRICKY = st.text(st.sampled_from('ab,;\t"\\|\r\n\0\x1f\x7fé€😀 %{}'), max_size=6)


def step(**options: Any) -> dict[str, Any]:
    return {"optionName": "CSVTOJSON", "customFieldNames": NAMES, **options}


@functools.cache
def make_processor(options: str) -> Processor:
    return Processor(make_flow(step(**json.loads(options))))


def convert(line: str | bytes, **options: Any) -> Outcome:
    record = line.encode() if isinstance(line, str) else line
    return make_processor(json.dumps(options)).convert(record, Place("orders.log", 7))


def fields(outcome: Outcome) -> dict[str, str | None]:
    assert outcome.problem == ""
    assert outcome.data.endswith(b"}\n")
    read: dict[str, str | None] = json.loads(outcome.data)
    return read


def named(values: list[str]) -> dict[str, str | None]:
    return dict(zip(NAMES, [*values, None, None, None], strict=False))


@given(st.lists(TRICKY, min_size=1, max_size=5), st.sampled_from(",;|\t"), st.booleans())
@example(values=["", "x"], delimiter=",", quotes_all=True)
def test_what_the_csv_module_writes_is_read_back(
    values: list[str], delimiter: str, quotes_all: bool
) -> None:
    quoting: Literal[0, 1] = csv.QUOTE_ALL if quotes_all else csv.QUOTE_MINIMAL
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, quoting=quoting, lineterminator="\r\n").writerow(
        values
    )
    outcome = convert(written.getvalue().removesuffix("\n"), delimiter=delimiter)
    assert fields(outcome) == named(values)


@given(TRICKY.filter(lambda text: "\n" not in text))
@example('a,"b')
@example('"a"b,c')
@example('a"b,c')
@example("\r")
def test_any_line_is_read_as_the_csv_module_reads_it(line: str) -> None:
    text = line.removesuffix("\r")
    outcome = convert(line)
    if "\r" in text and '"' not in text:
        # The module takes a lone CR for a line end; in a line of a log it is a character.
        assert fields(outcome) == named(text.split(","))
        return
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        assert outcome == Outcome(line.encode(), None, f"quotes: {error}")
        return
    if text:
        assert fields(outcome) == named(rows[0])
    else:
        assert outcome.problem == "blank"


@given(st.lists(TRICKY, min_size=1, max_size=4), st.integers(0, 40))
def test_a_record_goes_on_exactly_where_the_csv_module_wants_more(
    values: list[str], end: int
) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow(values)
    text = written.getvalue()[:end]
    goes_on = make_processor("{}").goes_on
    assert goes_on is not None
    try:
        list(csv.reader([text], strict=True))
        wants_more = False
    except csv.Error as error:
        wants_more = str(error) == "unexpected end of data"
    if wants_more or "\r" not in text:
        assert goes_on(text.encode()) == wants_more


def test_only_a_first_step_that_knows_quotes_joins_lines() -> None:
    single = {"optionName": "SINGLELINE"}
    for flow in (
        make_flow(),
        make_flow(single),
        make_flow(step(csvMode="kinesis-agent")),
        make_flow(single, step()),
        make_flow(step(), multiLineStartPattern="a"),
    ):
        assert Processor(flow).goes_on is None


def original(line: str, delimiter: str) -> dict[str, str | None]:
    """Do what the original is known for, slowly: a regular expression, no quotes, no empty end."""
    found = re.compile(delimiter, re.ASCII)
    columns = found.split(line) if found.search(line) else [line]
    while len(columns) > 1 and not columns[-1]:
        columns.pop()
    if columns == [""] and line:
        columns = []  # Java splits ",,," into nothing, and "" into one empty text
    return named(columns)


@given(
    TRICKY.filter(lambda text: "\n" not in text),
    st.sampled_from([",", r"\|", r"\t", r"\s+", "a|b", ",;", r"[,;]"]),
)
@example(",,,", ",")
@example("", ",")
@example("x,,y", ",")
@example("x,,", ",")
@example('"x,y",z', ",")
def test_the_mode_of_the_original_does_what_it_is_known_for(line: str, delimiter: str) -> None:
    outcome = convert(line, delimiter=delimiter, csvMode="kinesis-agent")
    assert fields(outcome) == original(line, delimiter)


def test_a_delimiter_written_as_a_regular_expression_is_understood() -> None:
    assert fields(convert("x|y", delimiter="\\|")) == named(["x", "y"])
    assert fields(convert('"x\ty"\tz', delimiter="\\t")) == named(["x\ty", "z"])
    assert fields(convert("x  y", delimiter="\\s+")) == named(["x", "y"])


def test_both_modes_leave_out_extra_columns_and_one_counts_them() -> None:
    processor = Processor(make_flow(step()))
    assert fields(processor.convert(b"1,2,3,4", Place("f", 0))) == named(["1", "2", "3"])
    assert processor.counts["extra_columns"] == 1


@pytest.mark.parametrize(
    ("line", "options", "expected"),
    [
        (b"1,2,3", {}, b'{"a":"1","b":"2","c":"3"}\n'),
        (b"1,2", {}, b'{"a":"1","b":"2","c":null}\n'),
        (b"1,,", {}, b'{"a":"1","b":"","c":""}\n'),
        (b"1,,", {"csvMode": "kinesis-agent"}, b'{"a":"1","b":null,"c":null}\n'),
        (b"1,2,3\r", {}, b'{"a":"1","b":"2","c":"3"}\n'),
        (b"1,2,3\r", {"csvMode": "kinesis-agent"}, b'{"a":"1","b":"2","c":"3\\r"}\n'),
        (b"\x1f\t\\,2,\x7f", {}, b'{"a":"\\u001F\\t\\\\","b":"2","c":"\x7f"}\n'),
        ("é,€,😀".encode(), {}, '{"a":"é","b":"€","c":"😀"}\n'.encode()),
        (b"\xe9,\xa3,3", {}, '{"a":"é","b":"£","c":"3"}\n'.encode()),
        (
            b"1,2",
            {"jsonFormat": "PRETTYPRINT"},
            b'{\n  "a" : "1",\n  "b" : "2",\n  "c" : null\n}\n',
        ),
        (b"1,2,3", {"customFieldNames": ["%s", 'q"', "\\"]}, b'{"%s":"1","q\\"":"2","\\\\":"3"}\n'),
        (b"1,2,3", {"customFieldNames": ["a", "b", "a"]}, b'{"a":"3","b":"2"}\n'),
        (b'"a"b', {"onMismatch": "raw"}, b'"a"b\n'),
    ],
)
def test_a_record_is_written_byte_for_byte(
    line: bytes, options: dict[str, Any], expected: bytes
) -> None:
    assert convert(line, **options) == Outcome(expected, None, "")
