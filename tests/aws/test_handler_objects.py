"""Objects with alerts: published line by line, once; what is none is set aside."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest

from aws.conftest import Context, Post
from aws.kinesis_events import encode, row, s3_event
from loopback.fixtures import S3
from oddlot.aws import handler
from oddlot.aws.alerts import COLUMNS
from oddlot.errors import StreamError
from oddlot.notifiers.contract import encode_row

Deploy = Callable[..., None]


def test_an_object_of_alerts_is_published_line_by_line(deploy: Deploy, post: Post, s3: S3) -> None:
    bucket = s3.bucket()
    deploy(ODDLOT_SEEN=f"s3://{bucket}/seen/")
    rows = [row(number, 10.0) for number in range(25)]
    lines = b"".join(encode(rows))
    header = ",".join(COLUMNS).encode() + b"\n"
    objects = {
        "inbox/alerts/a b+c é.jsonl": lines,
        "inbox/alerts/packed.jsonl.gz": gzip.compress(lines.replace(b'"id": "0', b'"id": "1')),
        "inbox/alerts/table.csv": header
        + b"".join(encode_row({**one, "id": "2" + one["id"]}, "csv") for one in rows)
        + b"1,2\n",
    }
    for key, body in objects.items():
        s3.client().put_object(Bucket=bucket, Key=key, Body=body)
        handler.anomaly_handler(s3_event(bucket, key), Context())
        handler.anomaly_handler(s3_event(bucket, key), Context())
        assert len(post.ids()) == 25, key
    (dead, again) = post.dead()
    assert dead == again
    assert (dead["key"], dead["line"]) == ("inbox/alerts/table.csv", 27)


def test_an_object_that_cannot_be_done_now_fails_the_call(deploy: Deploy, s3: S3) -> None:
    with pytest.raises(StreamError, match=r"inbox/alerts/gone.jsonl: GetObject: NoSuchKey"):
        handler.anomaly_handler(s3_event(s3.bucket(), "inbox/alerts/gone.jsonl"), Context())


@pytest.mark.parametrize(
    ("key", "body", "reason"),
    [
        ("inbox/alerts/a.json", b'[{"id": "1"}]', "one JSON array"),
        ("inbox/alerts/a.gz", gzip.compress(b'{"id": "1"}\n' * 1000)[:30], "gzip must be whole"),
        ("inbox/alerts/a.png", b"\x89PNG\r\n\x1a\n\x00", "names of columns"),
        ("inbox/other/a.csv", b"a,b\n1,2\n", "folder named alerts or orders"),
        ("inbox/orders/a.csv", b"a,b\n1,2\n", "ODDLOT_ORDERS_STREAM"),
    ],
)
def test_an_object_that_no_retry_can_help_is_set_aside(
    deploy: Deploy, post: Post, s3: S3, key: str, body: bytes, reason: str
) -> None:
    bucket = s3.bucket()
    s3.client().put_object(Bucket=bucket, Key=key, Body=body)
    assert handler.anomaly_handler(s3_event(bucket, key)) == {"batchItemFailures": []}
    assert reason in post.dead()[-1]["reason"]
