"""The Lambda function in this process, with topics, a queue on each, and what it writes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from loopback.fixtures import S3, MiniStack
from oddlot.aws import calls, delivery, handler, topics

LEVELS = {"critical": 1000, "warning": 100, "notice": 0}
_numbers = itertools.count(1)


class Context:
    """Lambda's context, with as much time left as is said."""

    def __init__(self, remaining_ms: int = 60_000) -> None:
        self.aws_request_id = f"request-{next(_numbers)}"
        self.remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


class Post:
    """Three topics, each with a queue that hears of it, and a queue for dead letters."""

    def __init__(self, server: MiniStack, name: str) -> None:
        self.sns, self.sqs = server.client("sns"), server.client("sqs")
        self.topics = {
            level: self.sns.create_topic(Name=f"{name}-{level}")["TopicArn"] for level in LEVELS
        }
        self.queues = {
            level: self._queue(f"{name}-{level}", arn) for level, arn in self.topics.items()
        }
        self.dead_letters = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]

    def read(self, level: str) -> list[dict[str, Any]]:
        """Return what came since the last time: the notification's own JSON."""
        return [json.loads(body) for body in self._drain(self.queues[level])]

    def alerts(self, level: str) -> list[dict[str, Any]]:
        return [json.loads(one["Message"]) for one in self.read(level)]

    def ids(self) -> list[str]:
        return sorted(one["id"] for level in LEVELS for one in self.alerts(level))

    def dead(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self._drain(self.dead_letters)]

    def _queue(self, name: str, topic: str) -> str:
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        queue = arn["Attributes"]["QueueArn"]
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "sns.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": queue,
                    "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
                }
            ],
        }
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
        return str(url)

    def _drain(self, url: str) -> list[str]:
        found: list[str] = []
        while got := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in got:
                found.append(message["Body"])
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found


@pytest.fixture(scope="module")
def post(ministack_server: MiniStack) -> Post:
    return Post(ministack_server, "handler")


@pytest.fixture
def deploy(
    post: Post, ministack: MiniStack, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Returns what sets the function's environment; forgets what a process remembers."""

    def start(**variables: str) -> None:
        handler._settings.cache_clear()
        calls.client.cache_clear()
        topics._caller.cache_clear()
        delivery.forget()
        chosen = {
            "ODDLOT_TOPICS": json.dumps(post.topics),
            "ODDLOT_SEVERITIES": json.dumps(LEVELS),
            "ODDLOT_DEAD_LETTERS": post.dead_letters,
            "AWS_ENDPOINT_URL_SNS": ministack.url,
            "AWS_ENDPOINT_URL_SQS": ministack.url,
            "AWS_ENDPOINT_URL_S3": s3.url,
            **variables,
        }
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)

    for level in LEVELS:
        post.read(level)
    post.dead()
    start()
    yield start
    calls.client.cache_clear()
    topics._caller.cache_clear()
    handler._settings.cache_clear()


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Returns what reads the lines that the function has written since the last time."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]
