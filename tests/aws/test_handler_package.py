"""The function's zip: reproducible, small, quick to import, and run by Amazon's own runtime."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aws.kinesis_events import encode, row
from loopback import install, servers
from loopback.event_source import EventSource, Mapping, to_sqs
from loopback.fixtures import S3, Kinesis, MiniStack, wait_until
from loopback.runtime_api import Function

BUILD = Path(__file__).parents[2] / "deploy/aws/lambda/build.py"
HANDLER = "oddlot.aws.handler.anomaly_handler"
LEVELS = {"critical": 1000, "notice": 0}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("function")
    _build("--out", str(folder / "function.zip"))
    with zipfile.ZipFile(folder / "function.zip") as content:
        content.extractall(folder / "function")
    return folder / "function"


def _build(*arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, str(BUILD), *arguments], check=True, capture_output=True, text=True
    )
    return ran.stdout


def test_the_zip_has_the_same_bytes_twice_and_is_small(tmp_path: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    assert (
        _build("--out", str(first)).split(": ")[1] == (_build("--out", str(second)).split(": ")[1])
    )
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 200_000
    with zipfile.ZipFile(first) as content:
        entries = content.infolist()
        assert [one.filename for one in entries] == sorted(one.filename for one in entries)
        assert {one.date_time for one in entries} == {(1980, 1, 1, 0, 0, 0)}
        assert {one.external_attr >> 16 for one in entries} == {0o100644}
        assert content.testzip() is None


def test_folder_and_zip_hold_the_same(tmp_path: Path, unpacked: Path) -> None:
    _build("--unpacked", str(tmp_path / "folder"))
    for file in (tmp_path / "folder").rglob("*.py"):
        same = unpacked / file.relative_to(tmp_path / "folder")
        assert same.read_bytes() == file.read_bytes()
    assert len(list(unpacked.rglob("*.py"))) == len(list((tmp_path / "folder").rglob("*.py")))


def test_an_import_that_lambda_has_not_stops_the_build(tmp_path: Path) -> None:
    source = tmp_path / "deploy/aws/lambda/build.py"
    source.parent.mkdir(parents=True)
    source.write_bytes(BUILD.read_bytes())
    module = tmp_path / "src/oddlot/aws/handler.py"
    module.parent.mkdir(parents=True)
    module.write_text("def a():\n    import numpy\n")
    ran = subprocess.run(
        [sys.executable, str(source)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr == "oddlot/aws/handler.py:2: the function must not import numpy\n"


def test_the_function_alone_needs_nothing_but_python(unpacked: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", "-c",
         f"import sys; sys.path.insert(0, {str(unpacked)!r}); import oddlot.aws.handler"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "oddlot.aws.handler" in imported
    tops = {name.partition(".")[0] for name in imported}
    assert tops <= sys.stdlib_module_names | {"oddlot", "imported package", "encodings"}


class Running:
    """The function in Amazon's runtime, with a topic that it can publish to and one it cannot."""

    def __init__(self, function: Function, queue: str, dead_letters: str, log: Path) -> None:
        self.function, self.queue, self.dead_letters = function, queue, dead_letters
        self._log = log

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines() if line[:1] == "{"]


@pytest.fixture
def running(unpacked: Path, ministack: MiniStack, s3: S3, tmp_path: Path) -> Iterator[Running]:
    sns, sqs = ministack.client("sns"), ministack.client("sqs")
    topic = sns.create_topic(Name="package-notice")["TopicArn"]
    queue = sqs.create_queue(QueueName="package-notice")["QueueUrl"]
    dead_letters = sqs.create_queue(QueueName="package-dead")["QueueUrl"]
    arn = f"arn:aws:sqs:{servers.REGION}:{servers.ACCOUNT}:package-notice"
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    environment = {
        **servers.credentials(),
        "AWS_ENDPOINT_URL_SNS": ministack.url,
        "AWS_ENDPOINT_URL_SQS": ministack.url,
        "AWS_ENDPOINT_URL_S3": s3.url,
        "ODDLOT_TOPICS": json.dumps({"notice": topic, "critical": topic + "-missing"}),
        "ODDLOT_SEVERITIES": json.dumps(LEVELS),
        "ODDLOT_SEEN": f"s3://{s3.bucket()}/seen/",
        "ODDLOT_DEAD_LETTERS": dead_letters,
    }
    with Function(unpacked, HANDLER, log=tmp_path / "log", environment=environment) as function:
        yield Running(function, queue, dead_letters, tmp_path / "log")


def test_amazons_runtime_runs_it_on_a_stream_with_poison_and_a_topic_that_is_missing(
    running: Running, kinesis: Kinesis, ministack: MiniStack
) -> None:
    stream = kinesis.stream()
    # Two come again after another's failure; they go out once.
    rows = [row(1), row(2), row(3, 5000.0), row(4), row(5)]
    records = encode(rows)
    records.insert(1, b"poison")
    kinesis.client().put_records(
        StreamName=stream, Records=[{"Data": data, "PartitionKey": "a"} for data in records]
    )
    sqs = ministack.client("sqs")
    given_up = sqs.create_queue(QueueName="package-given-up")["QueueUrl"]
    mapping = Mapping(batch_size=100, bisects=True, maximum_retries=1, reports_failures=True)
    with EventSource(
        stream,
        kinesis.client(),
        running.function.invoke,
        mapping,
        on_failure=to_sqs(sqs, given_up),
        sleep=lambda _: None,
        poll_seconds=0.05,
    ) as source:
        last = kinesis.records(stream)[-1]["SequenceNumber"]
        wait_until(lambda: last in source.settled().values(), "the batch is not settled")
    assert not source.problems
    published = [json.loads(json.loads(body)["Message"]) for body in _drain(sqs, running.queue)]
    # What goes to a topic that is missing is told and given up; nothing waits behind it.
    assert sorted(one["id"] for one in published) == [
        one["id"] for one in rows if one["severity"] < 1000
    ]
    numbers = [record["SequenceNumber"] for record in kinesis.records(stream)]
    (told,) = [json.loads(body) for body in _drain(sqs, given_up)]
    information = told["KinesisBatchInfo"]
    assert information["startSequenceNumber"] == information["endSequenceNumber"] == numbers[3]
    (dead,) = {one["sequenceNumber"] for one in map(json.loads, _drain(sqs, running.dead_letters))}
    assert dead == numbers[1]
    lines = running.lines()
    assert sum(line.get("Published", 0) for line in lines if "_aws" in line) == 4
    assert {line["function"] for line in lines if "_aws" in line} == {"function"}


def test_the_runtime_reports_a_wrong_environment_as_an_error(
    unpacked: Path, loopback: None, tmp_path: Path
) -> None:
    with Function(unpacked, HANDLER, log=tmp_path / "log", environment={}) as function:
        result = function.invoke({"Records": []})
    assert result.error == "Unhandled"
    assert result.payload["errorType"] == "ConfigError"
    assert "ODDLOT_TOPICS must be like" in result.payload["errorMessage"]


def test_the_whole_function_imports_within_300_ms_once_its_byte_code_is_there(
    unpacked: Path, loopback: None
) -> None:
    # Lambda's own boto3 apart. CPU time: the machine may be busy; figures are in bench/aws.py.
    code = (
        "import time; began = time.process_time(); import oddlot.aws.handler;"
        " print(time.process_time() - began)"
    )
    seconds = [
        float(
            subprocess.run(
                [str(install.python()), "-c", code],
                cwd=unpacked, check=True, capture_output=True, text=True,
            ).stdout
        )
        for _ in range(3)
    ]  # fmt: skip
    assert min(seconds) < 0.3


def _drain(sqs: Any, url: str) -> list[str]:
    found: list[str] = []
    while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in got:
            found.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found
