"""The Lambda function in Amazon's own runtime client: its zip, its import, alerts a second."""

from __future__ import annotations

import base64
import json
import re
import statistics
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

from loopback import fixtures, install, servers, serving
from loopback.pipeline import SEVERITIES, build_function
from loopback.runtime_api import Function
from loopback.serving import Answer, Request
from oddlot.alerts.make import alert_row
from oddlot.schema import Alert

_BATCH = 500
_CALLS = 40
_ENTRY = re.compile(rb"[.]Id=(\d+)")
_IMPORT = (
    "import time; began = time.perf_counter(); import oddlot.aws.handler; "
    "print(time.perf_counter() - began)"
)


def measure(scratch: Path) -> list[list[str]]:
    """Build the zip, import it, send it alerts."""
    install.install()
    package = build_function(scratch / "function.zip")
    unpacked = scratch / "function"
    with zipfile.ZipFile(package) as content:
        content.extractall(unpacked)
        size = sum(one.file_size for one in content.infolist())
    rows = [["the function", "measured", "wanted"]]
    rows.append(["zip, without boto3", f"{package.stat().st_size / 1e3:,.0f} kB", "<= 5 MB"])
    rows.append(["unpacked", f"{size / 1e3:,.0f} kB", ""])
    rows.append(["import, without boto3", f"{_import_seconds(unpacked, '') * 1e3:,.0f} ms", ""])
    with_boto3 = _import_seconds(unpacked, "import boto3; ")
    rows.append(["import, after boto3", f"{with_boto3 * 1e3:,.0f} ms", "<= 300 ms"])
    with serving.serve(_sns) as sns, fixtures.run_s3() as s3:
        for name, seen in (
            ("no memory of ids", ""),
            ("ids in S3", f"s3://{s3.bucket('seen')}/seen/"),
        ):
            cold, speed = _run(unpacked, scratch, sns, s3.url, seen)
            text = f"alerts/s, {_BATCH} a call, {name}"
            rows.append([text, f"{speed:,.0f}", ">= 5,000"])
            rows.append([f"first call, {name}", f"{cold * 1e3:,.0f} ms", ""])
    return rows


def _import_seconds(unpacked: Path, first: str) -> float:
    """Import in fresh processes, byte code there; the median."""
    command = [str(install.python()), "-c", first + _IMPORT]
    runs = [
        float(subprocess.run(command, cwd=unpacked, capture_output=True, check=True).stdout)
        for _ in range(6)
    ]
    return statistics.median(runs[1:])


def _run(unpacked: Path, scratch: Path, sns: str, s3: str, seen: str) -> tuple[float, float]:
    environment = {
        **servers.credentials(),
        "AWS_ENDPOINT_URL_SNS": sns,
        "AWS_ENDPOINT_URL_S3": s3,
        "ODDLOT_TOPICS": json.dumps(
            {name: f"arn:aws:sns:{servers.REGION}:{servers.ACCOUNT}:{name}" for name in SEVERITIES}
        ),
        "ODDLOT_SEVERITIES": json.dumps(SEVERITIES),
        "ODDLOT_SEEN": seen,
    }
    with Function(
        unpacked,
        "oddlot.aws.handler.anomaly_handler",
        log=scratch / "function.log",
        environment=environment,
    ) as function:
        began = time.perf_counter()
        _invoke(function, 0)
        cold = time.perf_counter() - began
        _invoke(function, _BATCH)
        events = [_event((2 + number) * _BATCH) for number in range(_CALLS)]
        began = time.perf_counter()
        for event in events:
            result = function.invoke(event)
            assert result.payload == {"batchItemFailures": []}, result
        return cold, _CALLS * _BATCH / (time.perf_counter() - began)


def _invoke(function: Function, start: int) -> None:
    result = function.invoke(_event(start))
    assert not result.error, result.payload


def _event(start: int) -> dict[str, Any]:
    records = []
    for number in range(start, start + _BATCH):
        alert = Alert(
            id=f"{number:032x}",
            detector="quantity_spike",
            time_us=1_300_000_000_000_000 + number * 60_000_000,
            sku=f"SKU{number % 300}",
            chance=1e-9,
            rate=0.01,
            score=2.0,
            invoice="536365",
            description="WHITE HANGING HEART T-LIGHT HOLDER",
            quantity=74_215,
            price=1.04,
            source="orders.csv",
            position=number,
            number=number + 1,
            evidence={"mean": 3.5},
            text="A line far larger than usual.",
            severity=float(number % 2_000),
        )
        data = json.dumps(alert_row(alert)).encode() + b"\n"
        records.append(
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": alert.sku,
                    "sequenceNumber": str(number),
                    "data": base64.b64encode(data).decode(),
                    "approximateArrivalTimestamp": 1_300_000_000.0,
                },
                "eventSource": "aws:kinesis",
                "eventID": f"shardId-000000000000:{number}",
                "eventName": "aws:kinesis:record",
                "awsRegion": servers.REGION,
                "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/alerts",
            }
        )
    return {"Records": records}


async def _sns(request: Request) -> Answer:
    """Take every entry of a PublishBatch."""
    members = "".join(
        f"<member><Id>{name.decode()}</Id><MessageId>{name.decode()}</MessageId></member>"
        for name in _ENTRY.findall(request.body)
    )
    text = (
        '<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
        f"<PublishBatchResult><Failed/><Successful>{members}</Successful></PublishBatchResult>"
        "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></PublishBatchResponse>"
    )
    return Answer(200, text.encode(), (("Content-Type", "text/xml"),))
