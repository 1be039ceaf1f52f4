"""The whole reference pipeline on loopback: logs, agent, stream, engine, function, topics."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from loopback import servers
from loopback.event_source import EventSource, Mapping, to_sqs
from loopback.firehose import Firehose
from loopback.fixtures import S3, Kinesis, MiniStack, wait_until
from loopback.runtime_api import Function

ORDERS = "acmecoOrders"
ALERTS = "acmecoAlerts"
DELIVERY = "acmecoOrdersToS3"
SEVERITIES = {"critical": 1000, "warning": 100, "notice": 0}
FIELDS = [
    *("InvoiceNo", "StockCode", "Description", "Quantity"),
    *("InvoiceDate", "UnitPrice", "CustomerID", "Country"),
]
_ROOT = Path(__file__).parent.parent.parent
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_numbers = itertools.count(1)

COMMON = """
[time]
lateness = "{lateness}"
idle = "{idle}"
[archive]
path = "archive"
[state]
checkpoint_every = "1s"
"""
FROM_STREAM = """
[source]
type = "kinesis"
stream = "{stream}"
region = "us-east-1"
endpoint = "{url}"
start = "trim_horizon"
hold = "off"
format = "jsonl"
dates = "iso"
[columns]
event = "recordId"
[[channels]]
type = "kinesis"
name = "function"
stream = "{alerts}"
region = "us-east-1"
endpoint = "{url}"
"""


class Kept:
    """A command of ours that is started again after each kill."""

    def __init__(self, arguments: list[str], folder: Path, log: Path) -> None:
        self._command = [sys.executable, "-m", "oddlot", *arguments]
        self._folder = folder
        self._log = log
        self._running: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def start(self, *more: str) -> Self:
        """Start it, in a session of its own; it dies with this process."""
        with self._log.open("ab") as output:
            self._running = subprocess.Popen(
                [*self._command, *more],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )
        return self

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._running is not None and self._running.poll() is None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()
            self._running = None
            self.kills += 1

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C does, and wait; AssertionError if it does not end well."""
        running = self._running
        if running is None:
            return
        running.send_signal(signal.SIGINT)
        try:
            code = running.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self._command}: did not end") from None
        self._running = None
        assert code == 0, f"{self._command}: ended with {code}: {self.said()}"

    def said(self) -> str:
        """Return the end of what it wrote."""
        return self._log.read_text("utf-8", "replace")[-3000:] if self._log.is_file() else ""


class Pipeline:
    """Everything at once.

    Args:
        folder: for logs, state, configs.
        kinesis, s3, ministack: the servers.
        lateness: of the engine, in event time.
        aggregation: of the agent: none, kpl or ndjson.
        is_only_one: names are those of the reference pipeline, with no number behind them.
    """

    def __init__(
        self,
        folder: Path,
        kinesis: Kinesis,
        s3: S3,
        ministack: MiniStack,
        *,
        lateness: str = "10d",
        aggregation: str = "kpl",
        is_only_one: bool = False,
    ) -> None:
        number = "" if is_only_one else f"-{os.getpid()}-{next(_numbers)}"
        self.folder = folder
        self.logs = folder / "logs"
        self.kinesis = kinesis
        self.s3 = s3
        self.ministack = ministack
        self.orders = f"{ORDERS}{number}"
        self.alerts = f"{ALERTS}{number}"
        self.delivery = f"{DELIVERY}{number}"
        self.bucket = s3.bucket(f"oddlot{number or '-loopback'}")
        self.firehose = Firehose(s3.client())
        self.topics: dict[str, str] = {}
        self.firehose_url = ""
        self.function: Function
        self.source: EventSource
        self._lateness = lateness
        self._aggregation = aggregation
        self._number = number
        self._stack = ExitStack()
        self.agent = Kept(["agent", "agent.json"], folder, folder / "agent.log")
        self.engine = Kept(["run", "shop.toml"], folder, folder / "engine.log")

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def published(self) -> list[dict[str, Any]]:
        """Take what the topics' subscriber got since the last call: each message's content."""
        sqs = self.ministack.client("sqs")
        got: list[dict[str, Any]] = []
        while True:
            messages = sqs.receive_message(
                QueueUrl=self._subscriber, MaxNumberOfMessages=10, WaitTimeSeconds=0
            ).get("Messages", [])
            if not messages:
                return got
            got += [json.loads(json.loads(one["Body"])["Message"]) for one in messages]
            sqs.delete_message_batch(
                QueueUrl=self._subscriber,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": one["ReceiptHandle"]}
                    for number, one in enumerate(messages)
                ],
            )

    def given_up(self) -> list[dict[str, Any]]:
        """Take the on-failure messages of the function."""
        got = self.ministack.client("sqs").receive_message(
            QueueUrl=self._failures, MaxNumberOfMessages=10, WaitTimeSeconds=0
        )
        return [json.loads(one["Body"]) for one in got.get("Messages", [])]

    def landed(self) -> Path:
        """Let Firehose deliver all, copy its objects into a folder, return it."""
        self.firehose.deliver_due(everything=True)
        to = self.folder / "landed"
        for key, body in self.s3.objects(self.bucket, "landed/").items():
            file = to / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
        return to

    def config(self, *, idle: str = "off") -> str:
        """Return the engine's shop.toml."""
        source = FROM_STREAM.format(stream=self.orders, url=self.kinesis.url, alerts=self.alerts)
        return source + COMMON.format(lateness=self._lateness, idle=idle)

    def _build(self) -> None:
        self.logs.mkdir(parents=True)
        self.kinesis.stream(2, self.orders)
        self.kinesis.stream(1, self.alerts)
        self.firehose_url = self._stack.enter_context(self.firehose.serve())
        self._make_delivery(self.firehose_url)
        self._make_topics()
        (self.folder / "shop.toml").write_text(self.config(), "utf-8")
        (self.folder / "agent.json").write_text(
            json.dumps(self._agent_options(), indent=2), "utf-8"
        )
        self._start_function()
        for kept in (self.agent, self.engine):
            self._stack.callback(kept.kill)

    def _agent_options(self) -> dict[str, Any]:
        flow = {
            "filePattern": str(self.logs / "*" / "*.log*"),
            "initialPosition": "START_OF_FILE",
            "maxBufferAgeMillis": 1000,
            "retryMaxBackoffMillis": 500,
            "skipHeaderLines": 1,
            "addFields": ["recordId"],
            "dataProcessingOptions": [
                {"optionName": "CSVTOJSON", "customFieldNames": FIELDS, "delimiter": ","}
            ],
        }
        kinesis = {"kinesisStream": self.orders, "partitionKeyField": "InvoiceNo"}
        return {
            "kinesis.endpoint": self.kinesis.url,
            "kinesis.region": servers.REGION,
            "firehose.endpoint": self.firehose_url,
            "checkpointFile": str(self.folder / "no-old-checkpoints"),
            "stateDirectory": str(self.folder / "agent-state"),
            "maxSendingThreads": 4,
            "flows": [
                {**flow, **kinesis, "aggregation": self._aggregation},
                {**flow, "deliveryStream": self.delivery, "aggregation": "ndjson"},
            ],
        }

    def _make_delivery(self, url: str) -> None:
        from loopback.fixtures import client

        client("firehose", url).create_delivery_stream(
            DeliveryStreamName=self.delivery,
            ExtendedS3DestinationConfiguration={
                "RoleARN": f"arn:aws:iam::{servers.ACCOUNT}:role/delivery",
                "BucketARN": f"arn:aws:s3:::{self.bucket}",
                "Prefix": "landed/dt=!{timestamp:yyyy-MM-dd}/",
                "ErrorOutputPrefix": "failed/!{firehose:error-output-type}/",
                "CompressionFormat": "GZIP",
                "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 5},
            },
        )

    def _make_topics(self) -> None:
        """One topic for each severity, one queue that is subscribed to them all."""
        sns, sqs = self.ministack.client("sns"), self.ministack.client("sqs")
        made = {
            name: sqs.create_queue(QueueName=f"{name}{self._number}")["QueueUrl"]
            for name in ("subscriber", "failures")
        }
        self._subscriber, self._failures = made["subscriber"], made["failures"]
        arn = f"arn:aws:sqs:{servers.REGION}:{servers.ACCOUNT}:subscriber{self._number}"
        for name in SEVERITIES:
            topic = sns.create_topic(Name=f"oddlot-{name}{self._number}")["TopicArn"]
            self.topics[name] = topic
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": [*self.topics.values()]}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=self._subscriber, Attributes={"Policy": policy})

    def _start_function(self) -> None:
        unpacked = self.folder / "function"
        with zipfile.ZipFile(build_function(self.folder / "function.zip")) as package:
            package.extractall(unpacked)
        local = servers.credentials()
        self.function = self._stack.enter_context(
            Function(
                unpacked,
                "oddlot.aws.handler.anomaly_handler",
                log=self.folder / "function.log",
                name="inventory-alert-function",
                environment={
                    **local,
                    "AWS_ENDPOINT_URL_SNS": self.ministack.url,
                    "AWS_ENDPOINT_URL_SQS": self.ministack.url,
                    "AWS_ENDPOINT_URL_S3": self.s3.url,
                    "AWS_ENDPOINT_URL_KINESIS": self.kinesis.url,
                    "ODDLOT_TOPICS": json.dumps(self.topics),
                    "ODDLOT_SEVERITIES": json.dumps(SEVERITIES),
                    "ODDLOT_ORDERS_STREAM": self.orders,
                    "ODDLOT_SEEN": f"s3://{self.bucket}/seen/",
                    "ODDLOT_DEAD_LETTERS": self._failures,
                    "ODDLOT_METRICS_NAMESPACE": "Oddlot",
                },
            )
        )
        self.source = EventSource(
            self.alerts,
            self.kinesis.client(),
            self.function.invoke,
            Mapping(batch_size=500, bisects=True, maximum_retries=5, reports_failures=True),
            on_failure=to_sqs(self.ministack.client("sqs"), self._failures),
            function_arn=self.function.arn,
            poll_seconds=0.2,
        )
        self._stack.enter_context(self.source)


@functools.cache
def _built(sources: str) -> bytes:
    """Build the function's zip once; `sources` only tells when it must be built anew."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "function.zip"
        script = _ROOT / "deploy" / "aws" / "lambda" / "build.py"
        subprocess.run(
            [sys.executable, str(script), "--out", str(to)], check=True, capture_output=True
        )
        return to.read_bytes()


def build_function(to: Path) -> Path:
    """Build the function's zip as `deploy/aws/lambda/build.py` does."""
    to.write_bytes(_built(""))
    return to


def replay(orders: bytes, logs: Path, rotate_megabytes: float) -> None:
    """Run `oddlot replay` to its end, into a new folder, with files that are renamed on the way."""
    number = len(list(logs.iterdir()))
    file = logs.parent / f"orders-{number}.csv"
    file.write_bytes(orders)
    subprocess.run(
        [
            *(sys.executable, "-m", "oddlot", "replay", str(file)),
            *("--to", str(logs / f"{number:03d}"), "--rotate", f"{rotate_megabytes:g}", "--rename"),
        ],
        check=True,
        capture_output=True,
    )


def wait_for(what: Callable[[], bool], otherwise: str, kept: Kept, seconds: float = 150.0) -> None:
    """Wait for a process of ours; what it said is in the AssertionError."""
    try:
        wait_until(what, otherwise, seconds=seconds, every=0.2)
    except AssertionError as error:
        raise AssertionError(f"{error}; it said: {kept.said()}") from None


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
