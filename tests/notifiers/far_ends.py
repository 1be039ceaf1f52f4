"""The far end of each notifier, by its type: a real receiver that can be broken and mended."""

from __future__ import annotations

import contextlib
import csv
import email
import email.policy
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from loopback import servers
from loopback.firehose import Firehose
from loopback.fixtures import S3, Kinesis, MiniStack
from loopback.fixtures import client as aws_client
from notifiers.receivers import Receiver, always

SECRET = "canary-9b74c9897bac770f"  # noqa: S105
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LOOPBACK = ["127.0.0.0/8"]


class Arrival(NamedTuple):
    """A message, or an alert where each has an id of its own, as the receiver knows it."""

    id: str
    text: str


class FarEnd(NamedTuple):
    """A receiver on loopback.

    Attributes:
        options: of the notifier, as in the config.
        arrivals: reads what has come so far.
        break_it: lets every further message fail in a way that can pass.
        mend_it: lets all be well again.
    """

    options: dict[str, Any]
    arrivals: Callable[[], list[Arrival]]
    break_it: Callable[[], object]
    mend_it: Callable[[], object]


Open = AbstractContextManager[FarEnd]


@contextlib.contextmanager
def webhook(request: pytest.FixtureRequest, folder: Path) -> Iterator[FarEnd]:
    (folder / "key").write_text(KEY)
    with Receiver() as receiver:
        yield FarEnd(
            {"url": receiver.url, "secret": f"file:{folder}/key", "allow": LOOPBACK},
            lambda: [
                Arrival(one.headers["webhook-id"], one.json["data"]["text"])
                for one in receiver.taken
            ],
            *_breaking(receiver),
        )


@contextlib.contextmanager
def slack(request: pytest.FixtureRequest, folder: Path) -> Iterator[FarEnd]:
    with Receiver() as receiver:
        (folder / "url").write_text(receiver.url)
        yield FarEnd(
            {"url": f"file:{folder}/url", "allow": LOOPBACK},
            # Slack knows no ids: a message is what it says.
            lambda: [Arrival(one.body.decode(), _all_texts(one.json)) for one in receiver.taken],
            *_breaking(receiver),
        )


@contextlib.contextmanager
def alertmanager(request: pytest.FixtureRequest, folder: Path) -> Iterator[FarEnd]:
    (folder / "token").write_text(SECRET)
    with Receiver() as receiver:
        yield FarEnd(
            {
                "url": f"http://127.0.0.1:{receiver.port}",
                "token": f"file:{folder}/token",
                "allow": LOOPBACK,
            },
            lambda: [
                Arrival(one["annotations"]["alert_id"], one["annotations"]["summary"])
                for got in receiver.taken
                for one in got.json
            ],
            *_breaking(receiver),
        )


@contextlib.contextmanager
def pagerduty(request: pytest.FixtureRequest, folder: Path) -> Iterator[FarEnd]:
    (folder / "key").write_text(SECRET)
    with Receiver(always(202)) as receiver:
        yield FarEnd(
            {"url": receiver.url, "routing_key": f"file:{folder}/key", "allow": LOOPBACK},
            lambda: [
                Arrival(one.json["dedup_key"], one.json["payload"]["summary"])
                for one in receiver.taken
            ],
            lambda: setattr(receiver, "answer", always(503)),
            lambda: setattr(receiver, "answer", always(202)),
        )


PROGRAM = """
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
if (folder / "broken").exists():
    sys.exit(1)
row = json.load(sys.stdin)
with open(folder / "got", "a") as out:
    print(json.dumps([os.environ["ODDLOT_ID"], row["text"], os.environ["ODDLOT_TEXT"]]), file=out)
"""


@contextlib.contextmanager
def command(request: pytest.FixtureRequest, folder: Path) -> Iterator[FarEnd]:
    (folder / "program.py").write_text(PROGRAM)
    got = folder / "got"

    def arrivals() -> list[Arrival]:
        lines = got.read_text().splitlines() if got.exists() else []
        rows = [msgspec.json.decode(line) for line in lines]
        assert all(text.replace("\0", " ") == environment for _, text, environment in rows)
        return [Arrival(row[0], row[1]) for row in rows]

    yield FarEnd(
        {"run": [sys.executable, "-S", str(folder / "program.py"), str(folder)]},
        arrivals,
        (folder / "broken").touch,
        (folder / "broken").unlink,
    )


class Postbox:
    """What aiosmtpd calls with each mail."""

    def __init__(self) -> None:
        self.got: list[email.message.EmailMessage] = []
        self.answer = ""
        self.to: list[list[str]] = []

    async def handle_DATA(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self.answer:
            return self.answer
        data = envelope.content
        assert isinstance(data, bytes)
        mail = email.message_from_bytes(data, policy=email.policy.default)
        assert isinstance(mail, email.message.EmailMessage)
        self.got.append(mail)
        self.to.append(list(envelope.rcpt_tos))
        return "250 OK"


@contextlib.contextmanager
def post_office(postbox: Postbox, **options: Any) -> Iterator[int]:
    """Lend the port of an SMTP server."""
    (port,) = servers.free_ports(1)
    controller = Controller(postbox, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


# Its own name would hide the module.
@contextlib.contextmanager
def email_(request: pytest.FixtureRequest, folder: Path) -> Iterator[FarEnd]:
    postbox = Postbox()
    with post_office(postbox) as port:
        yield FarEnd(
            {
                "server": "127.0.0.1",
                "port": port,
                "security": "none",
                "to": ["planner@shop.example"],
                "sender": "oddlot@shop.example",
            },
            lambda: [
                Arrival(str(mail["message-id"]), mail.get_body(("plain",)).get_content())  # type: ignore[union-attr]
                for mail in postbox.got
            ],
            lambda: setattr(postbox, "answer", "451 come back later"),
            lambda: setattr(postbox, "answer", ""),
        )


@contextlib.contextmanager
def kinesis(request: pytest.FixtureRequest, folder: Path) -> Iterator[FarEnd]:
    server: Kinesis = request.getfixturevalue("kinesis")
    name = server.stream()
    yield FarEnd(
        {"stream": name, "endpoint": server.url, "region": servers.REGION},
        lambda: [_row(record["Data"]) for record in server.records(name)],
        lambda: setattr(server.faults, "unavailable", 1.0),
        server.faults.clear,
    )


@contextlib.contextmanager
def firehose(request: pytest.FixtureRequest, folder: Path) -> Iterator[FarEnd]:
    s3: S3 = request.getfixturevalue("s3")
    twin = Firehose(s3.client())
    bucket = s3.bucket()

    def arrivals() -> list[Arrival]:
        twin.deliver_due(everything=True)
        objects = s3.objects(bucket).values()
        return [_row(line) for data in objects for line in data.splitlines()]

    with twin.serve(every=None) as url:
        aws_client("firehose", url).create_delivery_stream(
            DeliveryStreamName="alerts",
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::000000000000:role/delivery",
                "BucketARN": f"arn:aws:s3:::{bucket}",
            },
        )
        yield FarEnd(
            {"stream": "alerts", "endpoint": url, "region": servers.REGION},
            arrivals,
            lambda: setattr(twin.faults, "unavailable", 1.0),
            twin.faults.clear,
        )


@contextlib.contextmanager
def sns(request: pytest.FixtureRequest, folder: Path) -> Iterator[FarEnd]:
    ministack: MiniStack = request.getfixturevalue("ministack")
    topics, queues = ministack.client("sns"), ministack.client("sqs")
    queue = queues.create_queue(QueueName="subscriber")["QueueUrl"]
    found = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    queue_arn: str = found["Attributes"]["QueueArn"]
    queues.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": _let_sns_send_to(queue_arn)})
    got: dict[str, Arrival] = {}

    def subscribe() -> str:
        arn: str = topics.create_topic(Name="alerts")["TopicArn"]
        topics.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
        return arn

    def arrivals() -> list[Arrival]:
        while found := queues.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for one in found:
                body = msgspec.json.decode(one["Body"])
                text = body["Message"]
                got[one["MessageId"]] = Arrival(body["MessageAttributes"]["id"]["Value"], text)
                queues.delete_message(QueueUrl=queue, ReceiptHandle=one["ReceiptHandle"])
        return list(got.values())

    arn = subscribe()
    try:
        yield FarEnd(
            {"topic": arn, "endpoint": ministack.url, "region": servers.REGION},
            arrivals,
            lambda: topics.delete_topic(TopicArn=arn),
            subscribe,
        )
    finally:
        topics.delete_topic(TopicArn=arn)
        queues.delete_queue(QueueUrl=queue)


def _let_sns_send_to(queue: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
    }
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": [statement]}).decode()


def open_far_end(name: str, request: pytest.FixtureRequest, folder: Path) -> Open:
    """Start the far end of a notifier by its type."""
    found = globals().get(f"{name}_") or globals().get(name)
    assert found, f"tests/notifiers/far_ends.py: must have a receiver for {name}"
    opened: Open = found(request, folder)
    return opened


def read_csv(data: bytes) -> list[str]:
    """Return the values of one line."""
    (values,) = csv.reader(io.StringIO(data.decode()))
    return values


def _breaking(receiver: Receiver) -> tuple[Callable[[], object], Callable[[], object]]:
    def answer(status: int) -> None:
        receiver.answer = always(status)

    return lambda: answer(503), lambda: answer(200)


def _row(data: bytes) -> Arrival:
    row = msgspec.json.decode(data)
    return Arrival(row["id"], row["text"])


def _all_texts(body: dict[str, Any]) -> str:
    # The word joiners only keep Slack from seeing a mention in "all@shop".
    return "\n".join(block["text"]["text"].replace("\u2060", "") for block in body["blocks"])
