"""Lines become records: each exactly one outcome, the short way as the long one."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.flows import make_flow
from oddlot.agent.flows import Flow
from oddlot.agent.records import Outcome, Place, Processor, cut

CSV: dict[str, Any] = {"optionName": "CSVTOJSON", "customFieldNames": ["a", "b"]}
LOG: dict[str, Any] = {"optionName": "LOGTOJSON", "logFormat": "SYSLOG"}
FLOWS: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
    ([], {}),
    ([], {"partitionKeyOption": "DETERMINISTIC"}),
    ([], {"partitionKeyPattern": "[ab](.)?"}),
    ([], {"partitionKeyField": "a", "addFields": ["host", "offset"]}),
    ([], {"deliveryStream": "d", "addFields": ["recordId"]}),
    ([CSV], {}),
    ([CSV], {"partitionKeyOption": "DETERMINISTIC"}),
    ([CSV], {"partitionKeyField": "a"}),
    ([CSV], {"partitionKeyField": "z"}),
    ([CSV], {"partitionKeyPattern": "a(.)"}),
    ([CSV], {"addFields": {"a%": "host", "p": "path", "o": "offset", "o2": "offset"}}),
    ([CSV], {"addFields": ["recordId"], "partitionKeyOption": "DETERMINISTIC"}),
    ([CSV], {"addFields": {"id": "recordId", "o": "offset"}, "partitionKeyField": "b"}),
    ([CSV], {"maxRecordSizeBytes": 1024, "addFields": {"b": "host"}}),
    ([{**CSV, "csvMode": "kinesis-agent"}], {}),
    ([{**CSV, "delimiter": "\\t"}], {"partitionKeyField": "b"}),
    ([{**CSV, "customFieldNames": ["a", "a"]}], {}),
    ([{**CSV, "jsonFormat": "PRETTYPRINT"}], {"addFields": ["host"]}),
    ([{"optionName": "SINGLELINE"}, CSV, {"optionName": "ADDBRACKETS"}], {"addFields": ["path"]}),
    ([{**LOG, "onMismatch": "raw"}, {"optionName": "ADDMETADATA"}], {"partitionKeyField": "data"}),
]
LINES = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.text(st.sampled_from('ab,\t"\\ %\r\n\0é'), max_size=20).map(str.encode),
        st.sampled_from(
            [b"1,2", b"x\ty", b'{"a":1}', b'{"a":"x","host":2}', b"1,2\r", b"\xef\xbb\xbf1,2"]
        ),
        st.integers(0, 2000).map(lambda size: b"x" * size + b",y"),
    ),
    max_size=6,
)
every_flow = st.sampled_from([make_flow(*steps, **options) for steps, options in FLOWS])


def convert(flow: Flow, lines: Sequence[bytes], *, is_fast: bool = True) -> list[Outcome]:
    processor = Processor(flow, host="till-1", clock=lambda: 1.5)
    if not is_fast:
        processor._fast = None
    offsets = [100 * number for number in range(len(lines))]
    return processor.convert_lines(lines, offsets, "/var/log/orders.log", "orders.log#1f")


def record(*steps: dict[str, Any], line: bytes, **options: Any) -> bytes:
    (outcome,) = convert(make_flow(*steps, **options), [line])
    assert outcome.problem == ""
    return outcome.data


@given(every_flow, LINES)
@example(make_flow(CSV), [b"1,2\r", b"3,4\r"])
@example(make_flow({**CSV, "csvMode": "kinesis-agent"}), [b"1,2\r"])
@example(make_flow(CSV), [b"\r,2", b"3\r"])
def test_the_short_way_gives_what_the_long_one_gives(flow: Flow, lines: list[bytes]) -> None:
    assert convert(flow, lines) == convert(flow, lines, is_fast=False)


@given(every_flow, LINES)
def test_every_line_has_one_outcome_wherever_a_batch_is_cut(flow: Flow, lines: list[bytes]) -> None:
    whole = convert(flow, lines)
    assert len(whole) == len(lines)
    processor = Processor(flow, host="till-1", clock=lambda: 1.5)
    for number, (line, outcome) in enumerate(zip(lines, whole, strict=True)):
        place = Place("/var/log/orders.log", 100 * number, "orders.log#1f")
        assert processor.convert(line, place) == outcome


@given(every_flow, LINES)
@example(make_flow({"optionName": "SINGLELINE"}, CSV), [b"\t"])
@example(make_flow(CSV), [b"\xef\xbb\xbf"])
def test_a_record_keeps_to_the_limits_and_what_is_set_aside_is_the_line(
    flow: Flow, lines: list[bytes]
) -> None:
    for line, outcome in zip(lines, convert(flow, lines), strict=True):
        if outcome.problem == "blank":
            assert not line.removeprefix(b"\xef\xbb\xbf").strip(bytes(range(0x21)))
        elif outcome.problem:
            assert outcome.data == line
            assert outcome.problem.partition(":")[0] in ("quotes", "mismatch", "too long")
        else:
            assert outcome.data.endswith(b"\n")
            key = outcome.key or ("" if flow.is_firehose else "x" * 32)
            assert len(key) <= 256
            assert len(outcome.data) + len(key.encode()) <= flow.longest_record


def test_a_flow_without_options_sends_bytes_as_they_are() -> None:
    lines = [b"", b"a\r", b"\xff\0", b"\xef\xbb\xbfa"]
    assert Processor(make_flow()).is_verbatim
    assert [outcome.data for outcome in convert(make_flow(), lines)] == [
        line + b"\n" for line in lines
    ]
    keyed = convert(make_flow(partitionKeyOption="DETERMINISTIC"), lines)
    assert [outcome.data for outcome in keyed] == [line + b"\n" for line in lines]


@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode), st.integers(0, 40))
def test_a_cut_is_on_a_character_boundary(data: bytes, size: int) -> None:
    kept = cut(data, size)
    assert data.startswith(kept)
    assert size - 4 < len(kept) <= size or kept == data
    try:
        data.decode()
    except UnicodeDecodeError:
        return
    kept.decode()


def test_a_line_that_is_too_long_is_cut_and_counted() -> None:
    options = {"maxRecordSizeBytes": 1024, "truncatedRecordTerminator": "…\n"}
    processor = Processor(make_flow(**options))
    outcome = processor.convert("é".encode() * 1000, Place("f", 0))
    assert outcome.data.decode() == "é" * 494 + "…\n"
    assert len(outcome.data) + 32 <= 1024
    assert processor.counts["cut"] == 1


def test_a_json_record_that_is_too_long_is_set_aside_whole() -> None:
    line = b"x" * 2000 + b",y"
    (outcome,) = convert(make_flow(CSV, maxRecordSizeBytes=1024), [line])
    assert outcome == Outcome(line, None, "too long: must be at most 992 bytes as JSON; got 2017")


def test_steps_are_applied_in_the_order_given() -> None:
    wrap = {"optionName": "ADDMETADATA", "metadata": {"shop": 1}}
    line = b" x , y "
    assert record({"optionName": "SINGLELINE"}, CSV, wrap, line=line) == (
        rb'{"metadata":{"shop":1},"data":"{\"a\":\"x \",\"b\":\" y\"}"}' + b"\n"
    )
    assert record(wrap, {"optionName": "ADDBRACKETS"}, line=b"x") == (
        b'[{"metadata":{"shop":1},"data":"x"}]\n'
    )


def test_metadata_may_have_the_time() -> None:
    step = {"optionName": "ADDMETADATA", "metadata": {}, "timestamp": True}
    assert json.loads(record(step, line=b'"x"')) == {"metadata": {}, "data": '"x"', "ts": 1500}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], b"ab  c\n"),
        (["NO_TRIM"], b" a b    c \n"),
        ("NO_TRIM", b" a b    c \n"),
        (["ESCAPE_NEW_LINE"], b"a\\nb  c\n"),
        (["NO_TRIM", "ESCAPE_NEW_LINE"], b" a\\n b    c \n"),
    ],
)
def test_several_lines_become_one(options: list[str] | str, expected: bytes) -> None:
    step = {"optionName": "SINGLELINE", "parseOptions": options}
    line = b" a\r\n b    c " if "NO_TRIM" in options else b" a\r\n b  c "
    assert record(step, line=line) == expected


def test_added_fields_say_where_a_record_comes_from() -> None:
    flow = make_flow(
        CSV, addFields={"till": "host", "file": "path", "at": "offset", "id": "recordId"}
    )
    first, second = convert(flow, [b"1,2", b'"3",4'])
    assert json.loads(first.data) == {
        "a": "1",
        "b": "2",
        "till": "till-1",
        "file": "/var/log/orders.log",
        "at": 0,
        "id": f"1f:0:{zlib.crc32(b'1,2'):08x}",
    }
    assert json.loads(second.data)["id"].startswith("1f:100:")


def test_a_record_has_one_id_under_every_name_of_its_file() -> None:
    flow = make_flow(CSV, addFields=["recordId"])
    ids = {
        json.loads(Processor(flow).convert_lines([b"1,2"], [7], path, file)[0].data)["recordId"]
        for path in ("orders.log", "orders.log.1")
        for file in ("orders.log#1f", "orders.log.1#1f", "orders.log#1f-2")
    }
    assert len(ids) == 1
    other = Processor(flow).convert_lines([b"1,3"], [7], "orders.log", "orders.log#1f")
    assert json.loads(other[0].data)["recordId"] not in ids


def test_fields_are_added_to_lines_that_are_json_and_to_no_others() -> None:
    flow = make_flow(addFields=["host"])
    processor = Processor(flow, host="till-1")
    lines = [b'{"a":1}', b"{ }", b"{a}", b"[1]", b'{"host":0}', b'{"a":1} ']
    made = [processor.convert(line, Place("f", 0)).data for line in lines]
    assert made == [
        *(b'{"a":1,"host":"till-1"}\n', b'{"host":"till-1"}\n', b"{a}\n", b"[1]\n"),
        *(b'{"host":0}\n', b'{"a":1,"host":"till-1"}\n'),
    ]
    assert processor.counts["no_fields"] == 3


def keys(lines: list[bytes], *steps: dict[str, Any], **options: Any) -> list[str | None]:
    return [outcome.key for outcome in convert(make_flow(*steps, **options), lines)]


def test_a_key_is_at_random_unless_asked_for() -> None:
    assert keys([b"1,2"], CSV) == [None]
    assert keys([b"1,2"], CSV, deliveryStream="d", partitionKeyOption="DETERMINISTIC") == [None]


def test_a_deterministic_key_follows_the_record_and_not_its_place() -> None:
    for more in ({}, {"addFields": ["offset", "recordId"]}):
        one, two, same = keys(
            [b"1,2", b"1,3", b"1,2"], CSV, partitionKeyOption="DETERMINISTIC", **more
        )
        assert one == same != two
        assert one is not None
        assert len(one) == 32


def test_a_key_may_be_a_field_of_the_record() -> None:
    assert keys([b"1,2", b'"x""y",2'], CSV, partitionKeyField="a") == ["1", 'x"y']
    lines = [b'{"a":"x"}', b'{"a":12.50}', b'{"a":null}', b'{"b":1}', b"a", b'{"a":{"b":1}}']
    assert keys(lines, partitionKeyField="a") == ["x", "12.50", None, None, None, '{"b":1}']


def test_a_key_may_be_what_a_pattern_finds_in_the_line() -> None:
    assert keys([b"sku=A1 x", b"x"], partitionKeyPattern=r"sku=(\w+)") == ["A1", None]
    assert keys([b"sku=A1 x"], partitionKeyPattern=r"sku=\w+") == ["sku=A1"]


def test_a_long_key_is_hashed_as_kinesis_takes_256_characters() -> None:
    short, long = keys([b"x" * 256 + b",", b"x" * 257 + b","], CSV, partitionKeyField="a")
    assert short == "x" * 256
    assert long is not None
    assert len(long) == 32


def test_a_record_begins_where_a_line_begins_like_the_pattern() -> None:
    starts = Processor(make_flow(multiLineStartPattern=r"\[\d+")).starts
    assert starts is not None
    assert [starts(line) for line in (b"[12] a", b" [12]", b"x")] == [True, False, False]
    is_footer = Processor(make_flow(fileFooterPattern="TOTAL")).is_footer
    assert is_footer is not None
    assert is_footer(b"TOTAL 5")
    assert not is_footer(b"SUBTOTAL 5")
    assert Processor(make_flow(skipHeaderLines=2)).header_lines == 2


def test_a_pattern_that_takes_for_ever_costs_a_line_and_not_the_agent() -> None:
    step = {**LOG, "matchPattern": "(a+)+b", "customFieldNames": ["a"]}
    lines = [b"aab", b"a" * 60, b"ab"]
    one, slow, two = convert(make_flow(step), lines)
    assert (one.problem, two.problem) == ("", "")
    assert slow == Outcome(
        lines[1], None, "too slow: a regular expression took too long for this line"
    )
    starts = Processor(make_flow(multiLineStartPattern="(a+)+b")).starts
    assert starts is not None
    assert starts(b"aab")
    assert not starts(lines[1])


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    first, later = convert(make_flow(CSV), [b"\xef\xbb\xbf1,2"] * 2)
    assert first.data == b'{"a":"1","b":"2"}\n'
    assert json.loads(later.data)["a"] == "\ufeff1"


def test_what_is_not_utf_8_is_counted() -> None:
    processor = Processor(make_flow(CSV))
    processor.convert_lines([b"\xe9,1", "é,1".encode()], [0, 1], "f")
    assert processor.counts["not_utf8"] == 1
