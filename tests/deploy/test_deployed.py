"""What the deployed stack does: the archive goes to S3, Athena's questions find it there."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import deployed as deployment
import grown
from crashes import folder_in_memory
from deployed import AWS, Deployed
from oddlot import archive, config

FOLDER = "archive/"


@pytest.fixture(scope="module")
def copier() -> ModuleType:
    """The program of the engine's host, which is no module of ours."""
    spec = importlib.util.spec_from_file_location("copy_archive", AWS / "host" / "copy_archive.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shop() -> Iterator[Path]:
    """A shop that was watched; nothing of it may be changed."""
    with folder_in_memory() as place:
        grown.watch(place)
        yield place


@pytest.fixture
def changing(shop: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(shop, tmp_path / "shop"))


@pytest.fixture
def empty(deployed: Deployed) -> None:
    """No object of another test in the archive's folder."""
    client = deployed.client("s3")
    for version in client.list_object_versions(Bucket=deployed.bucket, Prefix=FOLDER).get(
        "Versions", ()
    ):
        client.delete_object(
            Bucket=deployed.bucket, Key=version["Key"], VersionId=version["VersionId"]
        )


def copied(deployed: Deployed) -> dict[str, bytes]:
    client = deployed.client("s3")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=deployed.bucket, Prefix=FOLDER)
    return {
        one["Key"]: client.get_object(Bucket=deployed.bucket, Key=one["Key"])["Body"].read()
        for page in pages
        for one in page.get("Contents", ())
    }


def copy(deployed: Deployed, copier: ModuleType, shop: Path) -> list[str]:
    """Copy as the engine's role, which can neither read nor delete there."""
    made: list[str] = copier.copy(
        deployed.acting("Engine")("s3"), config.load(shop / "shop.toml"), deployed.bucket, FOLDER
    )
    return made


def test_every_resource_is_made(deployed: Deployed) -> None:
    wanted = {
        name
        for name, one in deployed.template["Resources"].items()
        if one["Type"] not in deployment.UNKNOWN and one.get("Condition") != "OnFlink"
    }
    assert deployed.ids.keys() == wanted


@pytest.mark.usefixtures("empty")
def test_the_archive_is_copied_once_under_its_own_names(
    deployed: Deployed, copier: ModuleType, shop: Path
) -> None:
    written = copy(deployed, copier, shop)
    files = sorted((shop / "archive").glob("*/date=*/*.parquet"))
    there = copied(deployed)
    assert sorted(there.values()) == sorted(file.read_bytes() for file in files)
    assert sorted(written) == sorted(there)
    prefix = (shop / "archive" / "copied-as").read_text().strip()
    assert {Path(key).name for key in there} == {f"{prefix}-{file.name}" for file in files}
    assert copy(deployed, copier, shop) == []


@pytest.mark.usefixtures("empty")
def test_a_file_that_no_checkpoint_knows_is_not_copied(
    deployed: Deployed, copier: ModuleType, changing: Path
) -> None:
    """A start after a crash moves such a file away: in S3 its rows would be there twice."""
    (some, *_) = sorted((changing / "archive" / "orders").glob("date=*/*.parquet"))
    shutil.copy(some, some.with_name("999999999999.parquet"))
    assert not any("999999999999" in key for key in copy(deployed, copier, changing))


@pytest.mark.usefixtures("empty")
def test_a_file_that_was_written_anew_is_copied_again(
    deployed: Deployed, copier: ModuleType, changing: Path
) -> None:
    copy(deployed, copier, changing)
    (some, *_) = sorted((changing / "archive" / "orders").glob("date=*/*.parquet"))
    later = time.time() + 10
    os.utime(some, (later, later))
    (key,) = copy(deployed, copier, changing)
    assert key.endswith(some.name)


@pytest.mark.usefixtures("empty")
def test_an_engine_that_begins_anew_overwrites_nothing(
    deployed: Deployed, copier: ModuleType, shop: Path
) -> None:
    first = copy(deployed, copier, shop)
    with folder_in_memory() as other:
        grown.watch(other)
        second = copy(deployed, copier, other)
    assert first
    assert len(first) == len(second)
    assert not set(first) & set(second)


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("file", sorted((AWS / "sql").glob("*.sql")), ids=lambda file: file.stem)
def test_athena_answers_as_the_local_archive_does(
    deployed: Deployed, copier: ModuleType, shop: Path, file: Path
) -> None:
    """MiniStack runs DuckDB over the objects; tables, locations, workgroup and role are ours."""
    copy(deployed, copier, shop)
    answer = ask(deployed, file.read_text())
    local = archive.query(shop / "archive", file.read_text())
    assert answer[0] == local.column_names
    assert len(answer) - 1 == local.num_rows > 0
    for got, row in zip(answer[1:], local.to_pylist(), strict=True):
        for text, value in zip(got, row.values(), strict=True):
            if isinstance(value, int | float):
                assert float(text) == pytest.approx(float(value), rel=1e-9)
            else:
                assert text == str(value)


def ask(deployed: Deployed, sql: str) -> list[list[str]]:
    """Ask as the analyst; the answer is read by root, since MiniStack misjudges that call."""
    started = deployed.acting("Analyst")("athena").start_query_execution(
        QueryString=sql,
        WorkGroup="oddlot",
        QueryExecutionContext={"Database": "oddlot", "Catalog": "AwsDataCatalog"},
    )
    number = {"QueryExecutionId": started["QueryExecutionId"]}
    root = deployed.client("athena")
    last = time.monotonic() + 30
    while True:
        execution = root.get_query_execution(**number)["QueryExecution"]
        if execution["Status"]["State"] in ("SUCCEEDED", "FAILED"):
            break
        assert time.monotonic() < last
        time.sleep(0.05)
    assert execution["Status"]["State"] == "SUCCEEDED", execution["Status"]
    rows: list[list[str]] = []
    for page in root.get_paginator("get_query_results").paginate(**number):
        rows += [
            [cell.get("VarCharValue", "") for cell in row["Data"]]
            for row in page["ResultSet"]["Rows"]
        ]
    return rows


def test_the_engine_moves_to_flink_and_back(deployed: Deployed) -> None:
    client = deployed.client("kinesisanalyticsv2")
    missing = client.exceptions.ResourceNotFoundException
    with pytest.raises(missing):
        client.describe_application(ApplicationName="oddlot-flink")
    deployed.deploy("update", Engine="flink", FlinkKey="oddlot-flink.zip")
    try:
        found = client.describe_application(ApplicationName="oddlot-flink")["ApplicationDetail"]
        assert found["ApplicationStatus"] == "READY"
        assert found["ServiceExecutionRole"].endswith(deployed.role("Flink"))
    finally:
        deployed.deploy("update", Engine="host")
    with pytest.raises(missing):
        client.describe_application(ApplicationName="oddlot-flink")


def test_an_alert_on_the_stream_reaches_a_subscriber(deployed: Deployed, shop: Path) -> None:
    """By the function's own zip, trigger, variables and role; MiniStack runs it as a program."""
    queues = subscribe(deployed, "critical", "notice")
    rows = (shop / "alerts" / "price_error.jsonl").read_text().splitlines()[:2]
    dear = json.loads(rows[0]) | {"severity": 5000.0}
    cheap = json.loads(rows[1]) | {"severity": 1.0}
    # As the engine's host puts them there.
    put = deployed.acting("Engine")("kinesis").put_records(
        StreamName="acmecoAlerts",
        Records=[
            {"Data": json.dumps(row).encode(), "PartitionKey": row["sku"]} for row in (dear, cheap)
        ],
    )
    assert put["FailedRecordCount"] == 0
    assert dear["id"] in received(deployed, queues["critical"])
    assert cheap["id"] in received(deployed, queues["notice"])
    seen = deployed.client("s3").list_objects_v2(Bucket=deployed.bucket, Prefix="seen/")
    assert seen["KeyCount"] > 0


def test_an_object_in_the_inbox_starts_the_function(deployed: Deployed, shop: Path) -> None:
    queues = subscribe(deployed, "critical")
    row = json.loads((shop / "alerts" / "price_error.jsonl").read_text().splitlines()[2])
    row["severity"] = 5000.0
    deployed.client("s3").put_object(
        Bucket=deployed.bucket,
        Key="inbox/alerts/by hand.jsonl",
        Body=(json.dumps(row) + "\n").encode(),
    )
    assert row["id"] in received(deployed, queues["critical"])


def subscribe(deployed: Deployed, *topics: str) -> dict[str, str]:
    """Let a queue of root's hear each topic; return their URLs."""
    sqs = deployed.client("sqs")
    queues = {}
    for name in topics:
        queue = f"subscriber-{name}-{time.time_ns()}"
        arn = f"arn:aws:sqs:us-east-1:{deployment.ACCOUNT}:{queue}"
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        queues[name] = sqs.create_queue(QueueName=queue, Attributes={"Policy": policy})["QueueUrl"]
        deployed.client("sns").subscribe(
            TopicArn=f"arn:aws:sns:us-east-1:{deployment.ACCOUNT}:oddlot-{name}",
            Protocol="sqs",
            Endpoint=arn,
        )
    return queues


def received(deployed: Deployed, queue: str) -> str:
    """Wait for one message in a queue."""
    found = deployed.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=20)
    messages = found.get("Messages", ())
    if not messages:
        logs = deployed.client("logs").filter_log_events(
            logGroupName="/aws/lambda/inventory-alert-function"
        )
        pytest.fail(f"nothing came; the function said: {logs['events'][-20:]}")
    return str(messages[0]["Body"])
