"""The Firehose twin does what Amazon's documentation says of Firehose."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from pyarrow import parquet

from loopback.firehose import Firehose
from loopback.fixtures import S3, client

NOW = 1_322_000_000.0  # 2011-11-22 22:13:20 UTC
COLUMNS = [("Invoice", "string"), ("quantity", "int"), ("price", "double"), ("time", "timestamp")]


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Twin:
    """The twin, its clock, a client and the bucket it writes to."""

    def __init__(self, url: str, firehose: Firehose, clock: Clock, s3: S3) -> None:
        self.client = client("firehose", url, parameter_validation=False)
        self.firehose = firehose
        self.clock = clock
        self.bucket = s3.bucket()
        self._s3 = s3

    def make(self, name: str = "orders", **destination: Any) -> str:
        hints = {"SizeInMBs": 1, "IntervalInSeconds": 60}
        self.client.create_delivery_stream(
            DeliveryStreamName=name,
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::000000000000:role/delivery",
                "BucketARN": f"arn:aws:s3:::{self.bucket}",
                "BufferingHints": hints,
                **destination,
            },
        )
        return name

    def put(self, *data: bytes, name: str = "orders") -> Any:
        return self.client.put_record_batch(
            DeliveryStreamName=name, Records=[{"Data": one} for one in data]
        )

    def written(self) -> dict[str, bytes]:
        self.firehose.deliver_due()
        return self._s3.objects(self.bucket)


@pytest.fixture
def twin(s3: S3) -> Iterator[Twin]:
    clock = Clock()
    firehose = Firehose(s3.client(), columns_of=lambda database, table: COLUMNS, clock=clock)
    with firehose.serve(every=None) as url:
        yield Twin(url, firehose, clock, s3)


def test_records_wait_until_the_interval_has_passed_and_come_as_one_object(twin: Twin) -> None:
    twin.make()
    twin.put(b"a\n", b"b\n")
    twin.clock.now += 59
    twin.put(b"c\n")
    assert not twin.written()
    twin.clock.now += 1
    ((key, body),) = twin.written().items()
    assert body == b"a\nb\nc\n"
    assert key.startswith("2011/11/22/22/orders-1-2011-11-22-22-13-20-")


def test_a_full_buffer_does_not_wait(twin: Twin) -> None:
    twin.make()
    twin.put(*[b"x" * 500_000] * 2)
    assert not twin.written()
    twin.put(b"x" * 500_000)
    assert [len(body) for body in twin.written().values()] == [1_500_000]


def test_gzip_prefix_and_delimiter(twin: Twin) -> None:
    twin.make(
        CompressionFormat="GZIP",
        Prefix="orders/dt=!{timestamp:yyyy-MM-dd}/hour=!{timestamp:HH}/",
        ErrorOutputPrefix="errors/!{firehose:error-output-type}/",
        CustomTimeZone="Asia/Tokyo",
        ProcessingConfiguration={
            "Enabled": True,
            "Processors": [
                {
                    "Type": "AppendDelimiterToRecord",
                    "Parameters": [{"ParameterName": "Delimiter", "ParameterValue": "\\n"}],
                }
            ],
        },
    )
    twin.put(b"a", b"b")
    twin.clock.now += 60
    ((key, body),) = twin.written().items()
    assert key.startswith("orders/dt=2011-11-23/hour=07/orders-1-2011-11-22-22-13-20-")
    assert key.endswith(".gz")
    assert gzip.decompress(body) == b"a\nb\n"


def test_json_becomes_parquet_and_what_is_no_json_goes_to_errors(twin: Twin) -> None:
    twin.make(
        BufferingHints={"SizeInMBs": 64, "IntervalInSeconds": 60},
        Prefix="orders/dt=!{timestamp:yyyy-MM-dd}/",
        ErrorOutputPrefix="errors/!{firehose:error-output-type}/",
        DataFormatConversionConfiguration={
            "Enabled": True,
            "SchemaConfiguration": {"DatabaseName": "shop", "TableName": "orders"},
        },
    )
    time = "2010-12-01T08:26:00Z"
    good = {"invoice": "536365", "quantity": 6, "price": 2.55, "time": time, "other": 1}
    twin.put(json.dumps(good).encode(), b"\xff poison", b'{"quantity":"six"}', b"{}{}")
    twin.clock.now += 60
    (key, body), (errors_key, errors) = sorted(twin.written().items(), reverse=True)
    assert key.startswith("orders/dt=2011-11-22/")
    assert key.endswith(".parquet")
    table = parquet.read_table(io.BytesIO(body))
    assert table.column("Invoice").to_pylist() == ["536365", None, None]
    assert table.column("time").to_pylist()[0].isoformat() == "2010-12-01T08:26:00+00:00"
    assert errors_key.startswith("errors/format-conversion-failed/2011/11/22/22/orders-1-")
    failed = [json.loads(line) for line in errors.splitlines()]
    raw = [base64.b64decode(one["rawData"]) for one in failed]
    assert raw == [b"\xff poison", b'{"quantity":"six"}']
    assert twin.firehose.counts["conversion_failed"] == 2


@pytest.mark.parametrize(
    "data",
    [
        pytest.param([b"x"] * 501, id="501 records"),
        pytest.param([b"x" * 1_024_001], id="1,000 KiB and a byte"),
        pytest.param([b"x" * 1_000_000] * 5, id="more than 4 MiB"),
        pytest.param([], id="none"),
    ],
)
def test_what_amazon_refuses_is_refused_whole(twin: Twin, data: list[bytes]) -> None:
    twin.make()
    with pytest.raises(ClientError, match="InvalidArgumentException"):
        twin.put(*data)
    assert not twin.firehose.counts["accepted"]


def test_five_mebibytes_a_second_then_slow_down(twin: Twin) -> None:
    twin.make()
    for _ in range(5):
        assert not twin.put(b"x" * 1_000_000)["FailedPutCount"]
    answer = twin.put(b"small", b"x" * 1_000_000)
    assert answer["FailedPutCount"] == 1
    assert answer["RequestResponses"][1]["ErrorCode"] == "ServiceUnavailableException"
    twin.clock.now += 1
    assert not twin.put(b"x" * 1_000_000)["FailedPutCount"]


def test_a_bucket_that_cannot_be_written_is_tried_again(twin: Twin, s3: S3) -> None:
    twin.make()
    deny = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": f"arn:aws:s3:::{twin.bucket}/*",
            }
        ],
    }
    s3.client().put_bucket_policy(Bucket=twin.bucket, Policy=json.dumps(deny))
    twin.put(b"a\n")
    twin.clock.now += 60
    twin.firehose.deliver_due()
    assert twin.firehose.counts["delivery_failures"] == 1
    s3.client().delete_bucket_policy(Bucket=twin.bucket)
    assert [*twin.written().values()] == [b"a\n"]


def test_a_lost_reply_was_taken_and_a_failed_entry_was_not(twin: Twin) -> None:
    twin.make()
    twin.firehose.faults.lost_replies = 1.0
    with pytest.raises(ConnectionClosedError):
        twin.put(b"a\n")
    twin.firehose.faults.clear()
    twin.firehose.faults.internal_failures = 0.5
    answer = twin.put(*[b"b\n"] * 100)
    twin.clock.now += 60
    ((_, body),) = twin.written().items()
    assert body == b"a\n" + b"b\n" * (100 - answer["FailedPutCount"])
    assert 20 < answer["FailedPutCount"] < 80


def test_an_unknown_stream_and_a_wrong_destination_are_refused(twin: Twin) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        twin.put(b"a", name="none")
    with pytest.raises(ClientError, match="ErrorOutputPrefix"):
        twin.make(Prefix="!{timestamp:yyyy}/")
