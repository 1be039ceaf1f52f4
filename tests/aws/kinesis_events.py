"""Events as Lambda hands them in, of Kinesis and of S3."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote_plus

from oddlot.alerts.make import alert_row
from oddlot.schema import Alert

_FIRST = 49590338271490256608559692538361571095921575989136588898
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/acmecoAlerts"


def row(number: int, worth: float = 150.0, **columns: Any) -> dict[str, Any]:
    """Return an alert's row as the engine writes it."""
    alert = Alert(
        id=f"{number:032x}",
        detector="low_quantity",
        time_us=1_323_424_800_000_000 + number,
        sku="85123A",
        chance=0.001,
        rate=0.01,
        score=2.0,
        invoice="581483",
        description="WHITE HANGING HEART T-LIGHT HOLDER",
        quantity=1,
        price=2.55,
        source="orders.csv",
        position=38250,
        number=number,
        evidence={"usual": 12.0},
        text="85123A sold 1; usual are 12.",
        stake=worth,
        probability=1.0,
        severity=worth,
    )
    return alert_row(alert) | columns


def encode(rows: Sequence[dict[str, Any]]) -> list[bytes]:
    """Return rows as the engine's channel puts them on a stream."""
    return [json.dumps(one).encode() + b"\n" for one in rows]


def kinesis_event(records: Sequence[bytes], first: int = 1) -> dict[str, Any]:
    """Return the event of records of one shard; their sequence numbers go up from `first`."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "85123A",
                    "sequenceNumber": str(_FIRST + n),
                    "data": base64.b64encode(data).decode(),
                    "approximateArrivalTimestamp": 1545084650.987,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"shardId-000000000006:{n}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::000000000000:role/lambda-role",
                "awsRegion": "us-east-1",
                "eventSourceARN": STREAM,
            }
            for n, data in enumerate(records, first)
        ]
    }


def sequence_numbers(event: dict[str, Any]) -> list[str]:
    """Return the sequence numbers of an event's records."""
    return [record["kinesis"]["sequenceNumber"] for record in event["Records"]]


def s3_event(bucket: str, key: str, version: str = "1") -> dict[str, Any]:
    """Return the event of one new object."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "us-east-1",
                "eventTime": "2026-01-01T00:00:00.000Z",
                "eventName": "ObjectCreated:Put",
                "userIdentity": {"principalId": "A"},
                "requestParameters": {"sourceIPAddress": "127.0.0.1"},
                "responseElements": {"x-amz-request-id": "A"},
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "inbox",
                    "bucket": {
                        "name": bucket,
                        "ownerIdentity": {"principalId": "A"},
                        "arn": f"arn:aws:s3:::{bucket}",
                    },
                    "object": {"key": quote_plus(key, safe="/"), "size": 1, "eTag": version},
                },
            }
        ]
    }
