"""Alerts reach Kinesis, Firehose and SNS through throttling, partial failures and lost answers."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crashes import alert
from loopback import servers
from loopback.firehose import Firehose
from loopback.fixtures import S3, Kinesis, MiniStack
from loopback.fixtures import client as aws_client
from notifiers.far_ends import open_far_end, read_csv
from notifiers.test_contract import build, message
from oddlot.alerts.make import alert_row
from oddlot.errors import ConfigError, StreamError
from oddlot.notifiers.aws_records import cut
from oddlot.notifiers.contract import SENT, Reply


def to_kinesis(kinesis: Kinesis, stream: str, **options: Any) -> Any:
    place = {"stream": stream, "endpoint": kinesis.url, "region": servers.REGION}
    return build("kinesis", {**place, **options}).open()


def test_only_what_failed_is_sent_again_and_no_alert_overtakes_its_sku(kinesis: Kinesis) -> None:
    stream = kinesis.stream(shards=2)
    kinesis.faults.internal_failures = 0.4
    sender = to_kinesis(kinesis, stream)
    waiting = [alert(number) for number in range(30)]
    for _ in range(200):
        replies = sender.send(message(*waiting))
        assert not any(reply.is_final for reply in replies)
        waiting = [one for one, reply in zip(waiting, replies, strict=True) if reply != SENT]
        if not waiting:
            break
    records = kinesis.records(stream)
    by_key: dict[str, list[int]] = {}
    for record in records:
        number = int(msgspec.json.decode(record["Data"])["id"], 16)
        by_key.setdefault(record["PartitionKey"], []).append(number)
    assert by_key == {f"SKU{k}": list(range(k, 30, 3)) for k in range(3)}  # each once, in order


def test_a_throttled_shard_does_not_hold_the_other_back(kinesis: Kinesis) -> None:
    stream = kinesis.stream(shards=2)
    alerts = [alert(number, sku=f"S{number}") for number in range(20)]
    to_kinesis(kinesis, stream).send(message(*alerts))
    shard_of = {record["PartitionKey"]: record["ShardId"] for record in kinesis.records(stream)}
    first = shard_of["S0"]
    kinesis.faults.throttled_shards.add(first)
    replies = to_kinesis(kinesis, stream).send(message(*alerts))
    for one, reply in zip(alerts, replies, strict=True):
        if shard_of[one.sku] == first:
            assert "ProvisionedThroughputExceeded" in reply.error
        else:
            assert reply == SENT


def test_a_record_can_be_csv_and_its_key_the_id(kinesis: Kinesis) -> None:
    stream = kinesis.stream()
    odd = alert(1, description='a "b", c', price=float("nan"))
    to_kinesis(kinesis, stream, format="csv", key="id").send(message(odd))
    (record,) = kinesis.records(stream)
    assert record["PartitionKey"] == odd.id
    row = alert_row(odd)
    expected = ["" if value is None else str(value) for value in row.values()]
    assert read_csv(record["Data"]) == expected
    assert record["Data"].endswith(b"\n")


def test_what_no_record_can_hold_is_given_up_and_the_rest_goes(kinesis: Kinesis) -> None:
    stream = kinesis.stream()
    alerts = [alert(1), alert(2, description="x" * (1 << 20)), alert(3)]
    replies = to_kinesis(kinesis, stream).send(message(*alerts))
    assert [reply == SENT for reply in replies] == [True, False, True]
    assert replies[1] == Reply("the alert is longer than a record may be", is_final=True)
    assert len(kinesis.records(stream)) == 2


def test_trouble_with_the_stream_is_one_line_and_passes_when_it_is_put_right(
    kinesis: Kinesis, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = to_kinesis(kinesis, "missing")
    with pytest.raises(ConfigError, match=r"^Kinesis stream missing: must be there"):
        sender.send(message(alert(1)))
    kinesis.stream(name="missing")
    text = "User: arn:aws:iam::1:user/x is not authorized to perform: kinesis:PutRecords on it"
    kinesis.faults.refused["PutRecords"] = ("AccessDeniedException", text)
    with pytest.raises(ConfigError, match="may not call kinesis:PutRecords"):
        sender.send(message(alert(1)))
    kinesis.faults.refused["PutRecords"] = ("ExpiredTokenException", "The token has expired")
    with pytest.raises(StreamError, match="have expired"):
        sender.send(message(alert(1)))
    kinesis.faults.clear()
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match="no credentials for AWS were found"):
        to_kinesis(kinesis, "missing").send(message(alert(1)))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", servers.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", servers.SECRET)
    assert sender.send(message(alert(1))) == [SENT]


def test_firehose_keeps_what_failed_for_the_next_try(s3: S3) -> None:
    twin = Firehose(s3.client())
    bucket = s3.bucket()
    with twin.serve(every=None) as url:
        aws_client("firehose", url).create_delivery_stream(
            DeliveryStreamName="alerts",
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::000000000000:role/delivery",
                "BucketARN": f"arn:aws:s3:::{bucket}",
            },
        )
        place = {"stream": "alerts", "endpoint": url, "region": servers.REGION, "format": "csv"}
        sender = build("firehose", place).open()
        twin.faults.internal_failures = 0.5
        waiting = [alert(number) for number in range(50)]
        for _ in range(50):
            replies = sender.send(message(*waiting))
            waiting = [one for one, reply in zip(waiting, replies, strict=True) if reply != SENT]
            if not waiting:
                break
    lines = b"".join(s3.objects(bucket).values()).splitlines()
    assert sorted(read_csv(line)[13] for line in lines) == [alert(n).id for n in range(50)]


def test_sns_says_what_filters_need_and_a_subject_it_takes(
    ministack: MiniStack, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    from oddlot.notifiers.sns import Sns, Topic

    entry = Topic(Sns(topic="arn:aws:sns:us-east-1:1:a"))._entry(
        0, alert(1, text="«¡Línea!» mayor\n" * 40, severity=12.345), {}
    )
    assert entry["Subject"].startswith("Lnea! mayor")
    assert len(entry["Subject"]) < 100
    assert entry["Subject"].isascii()
    assert entry["MessageAttributes"]["severity"] == {
        "DataType": "Number",
        "StringValue": "12.35",
    }
    with open_far_end("sns", request, tmp_path) as far_end, contextlib.ExitStack() as after:
        sender = build("sns", {**far_end.options, "format": "json"}).open()
        after.callback(sender.close)
        assert list(sender.send(message(*[alert(n) for n in range(25)]))) == [SENT] * 25
        texts = [msgspec.json.decode(one.text) for one in far_end.arrivals()]
        assert {row["id"] for row in texts} == {alert(n).id for n in range(25)}


def test_a_fifo_topic_knows_a_repeated_alert(ministack: MiniStack) -> None:
    topics = ministack.client("sns")
    arn = topics.create_topic(
        Name="alerts.fifo",
        Attributes={"FifoTopic": "true", "ContentBasedDeduplication": "false"},
    )["TopicArn"]
    place = {"topic": arn, "endpoint": ministack.url, "region": servers.REGION}
    sender = build("sns", place).open()
    assert sender.send(message(alert(1, sku="A B/ä"))) == [SENT]
    topics.delete_topic(TopicArn=arn)


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 8), st.integers(1, 120))
def test_requests_hold_every_record_once_in_order_and_no_more_than_fits(
    sizes: list[int], most: int, most_bytes: int
) -> None:
    requests = cut(sizes, most, most_bytes)
    assert [index for request in requests for index in request] == list(range(len(sizes)))
    for request in requests:
        assert 1 <= len(request) <= most
        assert len(request) == 1 or sum(sizes[index] for index in request) <= most_bytes
