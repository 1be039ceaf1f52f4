"""Objects with order lines: onto the stream in their order, and on a second try the rest only."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aws.kinesis_events import s3_event
from loopback.fixtures import S3, Kinesis
from oddlot.aws import calls, handler, objects, orders
from oddlot.aws.dead_letters import DeadLetters
from oddlot.aws.journal import Journal
from oddlot.aws.objects import LONGEST, read_stream
from oddlot.aws.seen import Seen
from oddlot.errors import StreamError

HEADER = "InvoiceNo;StockCode;Description;Quantity"
TOPICS = '{"notice": "arn:aws:sns:us-east-1:000000000000:notice"}'


class Inbox:
    """A bucket and a stream that the function works between."""

    def __init__(self, kinesis: Kinesis, s3: S3) -> None:
        self.kinesis, self.s3 = kinesis, s3
        self.bucket, self.stream = s3.bucket(), kinesis.stream(2)
        self.log: list[str] = []
        self.calls_left = 10**9
        self.repeated = 0

    def put(self, key: str, body: bytes) -> dict[str, Any]:
        self.s3.client().put_object(Bucket=self.bucket, Key=key, Body=body)
        return s3_event(self.bucket, key)

    def sender(self) -> orders.OrderSender:
        """Return the sender with time for so many calls."""
        journal = Journal("function", "request", "Oddlot", write=self.log.append)

        def has_time() -> bool:
            self.calls_left -= 1
            return self.calls_left >= 0

        return orders.OrderSender(
            self.stream,
            Seen(self.bucket, "seen", "request", 0, 1),
            DeadLetters("", journal),
            journal,
            has_time,
            sleep_s=lambda _: None,
        )

    def rows(self) -> list[dict[str, str]]:
        """Return the lines of all records, without their ids, of which none is twice."""
        records = self.kinesis.records(self.stream)
        assert len({record["ShardId"] for record in records}) <= 1, "one shard keeps the order"
        lines = [line for record in records for line in record["Data"].split(b"\n")]
        rows = {row.pop("recordId"): row for row in map(json.loads, lines)}
        self.repeated = len(lines) - len(rows)
        return list(rows.values())


@pytest.fixture
def inbox(kinesis: Kinesis, s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    made = Inbox(kinesis, s3)
    variables = {
        "ODDLOT_TOPICS": TOPICS,
        "ODDLOT_SEVERITIES": "",
        "ODDLOT_DEAD_LETTERS": "",
        "ODDLOT_SEEN": f"s3://{made.bucket}/seen/",
        "ODDLOT_ORDERS_STREAM": made.stream,
        "AWS_ENDPOINT_URL_S3": s3.url,
        "AWS_ENDPOINT_URL_KINESIS": kinesis.url,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for known in (calls.client, handler._settings):
        known.cache_clear()
    yield made
    for known in (calls.client, handler._settings):
        known.cache_clear()


def _rows(count: int) -> list[dict[str, str]]:
    return [
        {
            "InvoiceNo": f"53{number}",
            "StockCode": "85123A",
            "Description": f'A "{number}";\nof two lines, é',
            "Quantity": "6",
        }
        for number in range(count)
    ]


def _csv(rows: list[dict[str, str]]) -> bytes:
    lines = (";".join('"' + cell.replace('"', '""') + '"' for cell in row.values()) for row in rows)
    return "\r\n".join([HEADER, *lines, ""]).encode()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_csv_becomes_an_object_a_line_in_order(
    inbox: Inbox, pack: Callable[[bytes], bytes]
) -> None:
    rows = _rows(2500)
    event = inbox.put("inbox/orders/2011 12+09.csv.gz", pack(_csv(rows)))
    assert handler.anomaly_handler(event) == {"batchItemFailures": []}
    assert inbox.rows() == rows
    assert len(inbox.kinesis.records(inbox.stream)) == 2


def test_json_lines_go_out_with_an_id(inbox: Inbox) -> None:
    lines = [json.dumps(row) for row in _rows(3)] + ["{}"]
    handler.anomaly_handler(inbox.put("orders/a.jsonl", "\n".join([*lines, "", ""]).encode()))
    assert inbox.rows() == [*_rows(3), {}]


def test_an_object_that_is_told_twice_is_sent_once(inbox: Inbox, capsys: Any) -> None:
    event = inbox.put("orders/a.csv", _csv(_rows(3)))
    handler.anomaly_handler(event)
    handler.anomaly_handler(event)
    assert len(inbox.rows()) == 3
    assert inbox.repeated == 0
    assert '"OrderLinesRepeated": 3' in capsys.readouterr().out


def test_a_second_try_goes_on_where_the_first_stopped(inbox: Inbox) -> None:
    rows = [{**row, "Description": "x" * 900} for row in _rows(1000)]
    event = inbox.put("orders/a.csv", _csv(rows))
    place = objects.read_place(event["Records"][0])
    inbox.calls_left = 2
    with pytest.raises(StreamError, match="no time is left"):
        inbox.sender().send(place)
    some = len(inbox.rows())
    assert 0 < some < 1000
    inbox.calls_left = 10**9
    inbox.sender().send(place)
    assert inbox.rows() == rows


def test_a_full_shard_and_lost_answers_lose_nothing_and_keep_the_order(inbox: Inbox) -> None:
    rows = [{**row, "Description": "x" * 900} for row in _rows(1500)]
    event = inbox.put("orders/a.csv", _csv(rows))
    inbox.kinesis.faults.internal_failures = 0.5
    inbox.kinesis.faults.lost_replies = 0.2
    inbox.sender().send(objects.read_place(event["Records"][0]))
    assert inbox.rows() == rows


def test_rows_that_are_none_are_told_with_their_line_and_the_rest_goes_out(
    inbox: Inbox, capsys: Any
) -> None:
    body = (
        _csv(_rows(1))
        + b"536365;85123A\r\n"
        + b"x" * (LONGEST + 5)
        + b"\r\n1;2;3;4\r\n1;2;3;4;5\r\n"
    )
    handler.anomaly_handler(inbox.put("orders/a.csv", body))
    assert [row["InvoiceNo"] for row in inbox.rows()] == ["530", "1"]
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["line"], one["reason"]) for one in told if one.get("message") == "rejected"] == [
        (4, "a row must have 4 columns; got 2"),
        (5, f"a row must have {LONGEST} bytes at most"),
        (7, "a row must have 4 columns; got 5"),
    ]


class Trickle:
    """A body that comes in small pieces."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size, self._at = data, size, 0

    def read(self, size: int) -> bytes:
        size = min(size, self._size)
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_pieces_of_any_size_give_the_same_rows(size: int) -> None:
    plain = b"\xef\xbb\xbf\n" + _csv(_rows(20)) + b"caf\xe9;1;2;3"
    expected = list(read_stream(Trickle(plain, 10**9)))
    assert len(expected) == 21
    assert expected[-1].cells == dict(zip(HEADER.split(";"), ("café", "1", "2", "3"), strict=True))
    for body in (plain, gzip.compress(plain)):
        assert list(read_stream(Trickle(body, size))) == expected


def test_an_unclosed_quote_costs_what_it_holds_and_no_more() -> None:
    body = f'{HEADER}\n"1;2;3;4\n'.encode() + b"5;6;7;8\n" * 200_000 + b"9;9;9;9\n"
    rows = list(read_stream(Trickle(body, 10**9)))
    good = [row for row in rows if not row.problem]
    assert rows[0].problem
    assert good[-1].cells is not None
    assert good[-1].cells["InvoiceNo"] == "9"
