"""The Lambda function against real servers: SNS and SQS that check rights, S3, Kinesis."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws.conftest import LEVELS, Context, Post
from aws.kinesis_events import encode, kinesis_event, row, sequence_numbers
from loopback.fixtures import S3
from oddlot.aws import handler, topics
from oddlot.aws.alerts import COLUMNS
from oddlot.errors import ConfigError
from oddlot.notifiers.contract import encode_row
from oddlot.streams import kpl


def metrics(lines: list[dict[str, Any]]) -> dict[str, int]:
    """Return the counts of one invocation."""
    (found,) = [line for line in lines if "_aws" in line]
    (described,) = found["_aws"]["CloudWatchMetrics"]
    names = [metric["Name"] for metric in described["Metrics"]]
    assert all(name in found for name in names)
    return {name: found[name] for name in names if name != "Milliseconds"}


Deploy = Callable[..., None]
Log = Callable[[], list[dict[str, Any]]]


def test_each_alert_goes_to_the_topic_of_its_severity(deploy: Deploy, post: Post, log: Log) -> None:
    rows = [row(1, 5000.0), row(2, 999.99), row(3, 100.0), row(4, 0.0), row(5, severity=None)]
    answer = handler.anomaly_handler(kinesis_event(encode(rows)), Context())
    assert answer == {"batchItemFailures": []}
    found = {level: post.read(level) for level in LEVELS}
    assert {level: len(some) for level, some in found.items()} == {
        "critical": 1,
        "warning": 2,
        "notice": 2,
    }
    (message,) = found["critical"]
    assert json.loads(message["Message"]) == {**rows[0], "level": "critical"}
    assert message["Subject"] == "Oddlot critical: 85123A sold 1; usual are 12."
    attributes = {name: one["Value"] for name, one in message["MessageAttributes"].items()}
    assert attributes == {
        "level": "critical",
        "type": "low_quantity",
        "sku": "85123A",
        "id": rows[0]["id"],
        "severity": "5000.00",
    }
    assert metrics(log())["Published"] == 5


def test_the_columns_are_those_that_the_engine_writes() -> None:
    assert tuple(row(1)) == COLUMNS


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text(st.characters(codec="ascii")))
def test_values_are_quoted_as_pythons_own_function_does(text: str) -> None:
    assert topics.quote_all(text) == quote(text, safe="")


def test_csv_many_lines_and_packed_records_are_the_same_alerts(deploy: Deploy, post: Post) -> None:
    rows = [row(number, 10.0, description=f'12" "{number}", é') for number in range(7)]
    records = [
        encode_row(rows[0], "csv"),
        b"".join(encode(rows[1:3])),
        kpl.pack([("a", data) for data in encode(rows[3:6])]),
        json.dumps(rows[6], indent=1).encode(),
    ]
    assert handler.anomaly_handler(kinesis_event(records)) == {"batchItemFailures": []}
    alerts = sorted(post.alerts("notice"), key=lambda one: str(one["id"]))
    assert alerts == [{**one, "level": "notice"} for one in rows]


def test_what_was_published_is_not_published_again(deploy: Deploy, post: Post, s3: S3) -> None:
    seen = f"s3://{s3.bucket()}/seen/"
    deploy(ODDLOT_SEEN=seen)
    event = kinesis_event(encode([row(number) for number in range(30)]))
    handler.anomaly_handler(event, Context())
    assert len(post.ids()) == 30
    deploy(ODDLOT_SEEN=seen)  # another process
    handler.anomaly_handler(event, Context())
    handler.anomaly_handler(kinesis_event(encode([row(7), row(7), row(99)]), 500), Context())
    assert post.ids() == [row(99)["id"]]


def test_without_a_memory_in_s3_one_process_still_remembers(
    deploy: Deploy, post: Post, log: Log
) -> None:
    event = kinesis_event(encode([row(1), row(1), row(2)]))
    handler.anomaly_handler(event)
    assert metrics(log()) == {
        "Alerts": 3, "Published": 2, "Repeated": 1, "Failed": 0, "Rejected": 0,
    }  # fmt: skip
    handler.anomaly_handler(event)
    assert metrics(log())["Repeated"] == 3
    assert len(post.ids()) == 2


def test_a_record_that_is_no_alert_is_set_aside_and_holds_nobody_up(
    deploy: Deploy, post: Post, log: Log
) -> None:
    poison = [
        b"",
        b"\x00\xff\xfe",
        b"536365,85123A,WHITE HANGING HEART,6,2010-12-01,2.55,17850,United Kingdom",
        b'{"id": 7}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"id": "1", "severity": "high"}',
        b'{"id": "1", "severity": 1' + b"0" * 5000 + b"}",
        b'{"id": "1", "sku": ["secret-of-the-shop"]}',
        kpl.pack([("a", b'{"id": ""}')])[:-3] + b"abc",
        b"x" * (2 << 20),
    ]
    records = [*poison[:5], *encode([row(1)]), *poison[5:]]
    event = kinesis_event(records)
    assert handler.anomaly_handler(event) == {"batchItemFailures": []}
    assert post.ids() == [row(1)["id"]]
    numbers = sequence_numbers(event)
    del numbers[5]
    dead = post.dead()
    assert sorted(one["sequenceNumber"] for one in dead) == sorted(numbers)
    kept = {one["sequenceNumber"]: one for one in dead}
    for number, data in zip(numbers, poison, strict=True):
        one = kept[number]
        assert one["bytes"] == len(data)
        assert one["shard"] == "shardId-000000000006"
        assert one["stream"].endswith("stream/acmecoAlerts")
        assert base64.b64decode(one["data"]) == data if len(data) < 150_000 else "data" not in one
    lines = log()
    assert metrics(lines)["Rejected"] == metrics(lines)["DeadLettered"] == len(poison)
    rejected = [line for line in lines if line.get("message") == "rejected"]
    assert sorted(line["sequenceNumber"] for line in rejected) == sorted(numbers)
    assert "secret-of-the-shop" not in json.dumps(lines)
    assert "WHITE HANGING" not in json.dumps(lines)


def test_without_a_place_for_dead_letters_the_log_tells(
    deploy: Deploy, post: Post, log: Log
) -> None:
    deploy(ODDLOT_DEAD_LETTERS="")
    assert handler.anomaly_handler(kinesis_event([b"no alert"])) == {"batchItemFailures": []}
    assert [line["reason"] for line in log() if line.get("message") == "rejected"]
    assert not post.dead()


def test_dead_letters_that_cannot_be_sent_are_tried_again(deploy: Deploy, log: Log) -> None:
    deploy(AWS_ENDPOINT_URL_SQS="http://127.0.0.1:9")
    event = kinesis_event([*encode([row(1)]), b"no alert"])
    answer = handler.anomaly_handler(event)
    assert answer == {"batchItemFailures": [{"itemIdentifier": sequence_numbers(event)[1]}]}


def test_what_a_retry_can_help_is_reported_and_tried_again(
    deploy: Deploy, post: Post, s3: S3, log: Log
) -> None:
    seen = f"s3://{s3.bucket()}/seen/"
    missing = {**post.topics, "critical": post.topics["critical"] + "-missing"}
    deploy(ODDLOT_SEEN=seen, ODDLOT_TOPICS=json.dumps(missing))
    event = kinesis_event(encode([row(1), row(2, 5000.0), row(3), row(4, 5000.0)]))
    numbers = sequence_numbers(event)
    answer = handler.anomaly_handler(event, Context())
    assert answer["batchItemFailures"] == [
        {"itemIdentifier": numbers[1]},
        {"itemIdentifier": numbers[3]},
    ]
    assert post.ids() == [row(1)["id"], row(3)["id"]]
    assert {line.get("problem") for line in log()} >= {"SNS: NotFound"}
    # Lambda comes back with everything from the lowest that failed.
    deploy(ODDLOT_SEEN=seen)
    again = {"Records": event["Records"][1:]}
    assert handler.anomaly_handler(again, Context()) == {"batchItemFailures": []}
    assert post.ids() == [row(2)["id"], row(4)["id"]]


def test_an_alert_that_another_invocation_is_at_waits_for_it(
    deploy: Deploy, post: Post, s3: S3
) -> None:
    bucket = s3.bucket()
    deploy(ODDLOT_SEEN=f"s3://{bucket}/")
    event = kinesis_event(encode([row(1), row(2)]))
    dies = handler._Invocation(handler._settings(), Context(20_000))
    assert dies._seen
    assert dies._seen.claim([row(2)["id"]]) == {row(2)["id"]: "mine"}
    answer = handler.anomaly_handler(event, Context())
    assert answer["batchItemFailures"] == [{"itemIdentifier": sequence_numbers(event)[1]}]
    assert post.ids() == [row(1)["id"]]
    ids = [key for key, body in s3.objects(bucket).items() if row(2)["id"].encode() in body]
    page = json.loads(s3.objects(bucket)[ids[0]])
    page["claimed"][row(2)["id"]][0] -= 30_000  # the time by which it is over for certain
    s3.client().put_object(Bucket=bucket, Key=ids[0], Body=json.dumps(page).encode())
    assert handler.anomaly_handler(event, Context()) == {"batchItemFailures": []}
    assert post.ids() == [row(2)["id"]]


def test_without_s3_nothing_is_published_and_all_is_tried_again(
    deploy: Deploy, post: Post, log: Log
) -> None:
    deploy(ODDLOT_SEEN="s3://there-is-no-such-bucket/seen/")
    event = kinesis_event(encode([row(1), row(2)]))
    answer = handler.anomaly_handler(event, Context())
    assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == sequence_numbers(event)
    assert not post.ids()


def test_when_time_is_up_the_rest_is_tried_again(deploy: Deploy, post: Post) -> None:
    event = kinesis_event(encode([row(1)]))
    answer = handler.anomaly_handler(event, Context(remaining_ms=1000))
    assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == sequence_numbers(event)
    assert not post.ids()


def test_hostile_names_are_plain_json_and_reach_the_subscriber(
    deploy: Deploy, post: Post, log: Log
) -> None:
    names = [
        'x"}\n{"level":"ERROR","_aws":{}}',
        "\ud800 half a pair",
        "\x00\x1b[31m\u202e\u2028",
        "<script>alert(1)</script>&amp;Id=7",
        "é" * 3000,
        "",
    ]
    rows = [
        row(number, sku=name, description=name, text=name, type=name)
        for number, name in enumerate(names)
    ]
    assert handler.anomaly_handler(kinesis_event(encode(rows))) == {"batchItemFailures": []}
    got = sorted(post.alerts("warning"), key=lambda one: str(one["id"]))
    assert len(got) == len(names)
    for name, one in zip(names, got, strict=True):
        assert one["description"] == (name if len(name) <= 1000 else name[:997] + "...")
    assert len(log()) == 2


def test_an_unknown_event_is_logged_and_harms_nobody(deploy: Deploy, log: Log) -> None:
    assert handler.anomaly_handler({"key1": "value1"}) == {"batchItemFailures": []}
    assert handler.anomaly_handler({"Records": [{"eventSource": "aws:sqs"}]}) == {
        "batchItemFailures": []
    }
    assert [line["message"] for line in log() if line.get("level") == "WARN"] == [
        "event not known"
    ] * 2


def test_no_credentials_and_no_keys_are_in_the_log(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-Zq9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONGKEY00000000")
    deploy(ODDLOT_SEEN="")
    event = kinesis_event(encode([row(1)]))
    answer = handler.anomaly_handler(event)
    assert answer["batchItemFailures"]
    text = json.dumps(log())
    assert "Zq9" not in text
    assert "AKIAWRONG" not in text
    assert "SNS: " in text


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"ODDLOT_TOPICS": ""}, "ODDLOT_TOPICS must be like"),
        ({"ODDLOT_TOPICS": "[]"}, "ODDLOT_TOPICS must be a JSON object"),
        ({"ODDLOT_TOPICS": '{"a": "b"}'}, "a must be the ARN of an SNS topic"),
        ({"ODDLOT_SEVERITIES": '{"critical": "1"}'}, "critical must be a number"),
        ({"ODDLOT_SEVERITIES": '{"criticl": 1}'}, "criticl must be one of ODDLOT_TOPICS"),
        ({"ODDLOT_SEEN": "bucket/seen"}, "ODDLOT_SEEN must be s3://"),
        ({"ODDLOT_DEAD_LETTERS": "queue"}, "ODDLOT_DEAD_LETTERS must be"),
    ],
)
def test_a_wrong_environment_is_named(deploy: Deploy, variables: dict[str, str], says: str) -> None:
    deploy(**variables)
    with pytest.raises(ConfigError, match=says):
        handler.anomaly_handler({"Records": []})
