"""A kill between a send and its mark shows the receiver the same id again, and loses nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashes import alert, folder_in_memory
from loopback import servers
from loopback.fixtures import Kinesis, wait_until
from notifiers.receivers import Answer, Receiver, Request
from oddlot.outbox import message_id
from oddlot.store import Stored


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_in_memory() as place:
        yield place


class Killer:
    """Kills the child that sends when a receiver has got a request of certain numbers."""

    def __init__(self, *at: int) -> None:
        self.at = set(at)
        self.child: subprocess.Popen[bytes] | None = None

    def answer(self, number: int, request: Request) -> Answer:
        if number in self.at and self.child is not None:
            os.kill(self.child.pid, signal.SIGKILL)
            self.child.wait()
        return 200, {}

    def start(self, folder: Path, *numbers: int) -> subprocess.Popen[bytes]:
        """Start the child with these alerts."""
        here = Path(__file__).parent
        self.child = subprocess.Popen(
            [sys.executable, here / "sending.py", folder, *map(str, numbers)],
            env={**os.environ, "PYTHONPATH": str(here)},
            stdout=subprocess.PIPE,
        )
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == b"added\n"
        self.child.stdout.close()
        return self.child

    def run(self, folder: Path, *numbers: int) -> bool:
        """Run the child with these alerts; return whether it was killed."""
        code = self.start(folder, *numbers).wait()
        assert code in (0, -signal.SIGKILL)
        return code != 0


def write_config(folder: Path, *lines: str) -> None:
    (folder / "shop.toml").write_text("\n".join(["[[channels]]", *lines, ""]))


def test_a_kill_between_send_and_mark_shows_the_receiver_one_id(folder: Path) -> None:
    killer = Killer(1, 2, 5, 8)
    with Receiver(killer.answer) as receiver:
        allow = 'allow = ["127.0.0.0/8"]'
        write_config(folder, 'type = "webhook"', f'url = "{receiver.url}"', allow)
        assert killer.run(folder, 1, 2, 3)
        assert killer.run(folder, 4)
        assert killer.run(folder, 5)
        assert killer.run(folder)
        assert not killer.run(folder)
    seen = [(one.headers["webhook-id"], one.json["data"]["id"]) for one in receiver.got]
    once = list(dict.fromkeys(seen))
    assert once == [(message_id("webhook", alert(n)), alert(n).id) for n in range(1, 6)]
    assert len(seen) == 5 + 4


def test_a_message_of_several_is_the_same_after_a_kill_though_more_have_come(folder: Path) -> None:
    killer = Killer(1, 2, 3)
    with Receiver(killer.answer) as receiver:
        (folder / "url").write_text(receiver.url)
        allow = 'allow = ["127.0.0.0/8"]'
        write_config(folder, 'type = "slack"', 'url = "file:url"', allow, 'interval = "0s"')
        assert killer.run(folder, 1, 2, 3)
        assert killer.run(folder, 4, 5)
        assert killer.run(folder, 6)
        assert not killer.run(folder)
    told = [re.findall(r"text (\d)", request.body.decode()) for request in receiver.got]
    told = [list(dict.fromkeys(numbers)) for numbers in told]
    assert told == [["1", "2", "3"]] * 4 + [["4", "5", "6"]]
    assert len({request.body for request in receiver.got}) == 2


def test_a_stream_has_every_alert_after_kills_and_lost_answers(
    folder: Path, kinesis: Kinesis
) -> None:
    stream = kinesis.stream(shards=2)
    kinesis.faults.lost_replies = 0.3
    kinesis.faults.internal_failures = 0.3
    options = f'stream = "{stream}"', f'endpoint = "{kinesis.url}"', f'region = "{servers.REGION}"'
    write_config(folder, 'type = "kinesis"', *options)
    killer = Killer()
    for run in range(3):
        child = killer.start(folder, *range(run * 20, run * 20 + 20))
        before = kinesis.counts["written"]
        wait_until(lambda: kinesis.counts["written"] >= before + 3, "nothing is written")  # noqa: B023
        child.kill()
        child.wait()
    assert not killer.run(folder)
    records = kinesis.records(stream)
    found = [re.search(r'"id":"(\w+)"', record["Data"].decode()) for record in records]
    ids = [match[1] for match in found if match]
    assert set(ids) == {alert(number).id for number in range(60)}
    assert len(ids) > 60  # a lost answer shows an alert twice, under its one id
    by_key: dict[str, list[str]] = {}
    for record, one in zip(records, ids, strict=True):
        seen = by_key.setdefault(record["PartitionKey"], [])
        if one not in seen:
            assert not seen or one > seen[-1], "the alerts of a SKU overtook each other"
            seen.append(one)
    with Stored.read(folder / "state") as stored:
        assert (stored.channels()[0].sent, stored.channels()[0].pending) == (60, 0)
