"""The servers that the other tests trust: what they refuse, what goes wrong on request."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from loopback import limits, servers
from loopback.fixtures import S3, Kinesis, MiniStack, client, wait_until
from loopback.kinesis_proxy import KinesisProxy

THROTTLED = "ProvisionedThroughputExceededException"
TWO_SHARDS = [f"shardId-{number:012d}" for number in range(2)]


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def records(count: int, size: int = 10, start: int = 0) -> list[dict[str, object]]:
    return [
        {"Data": b"x" * size, "PartitionKey": f"key-{number}"}
        for number in range(start, start + count)
    ]


def key_of(number: int) -> int:
    return int.from_bytes(
        hashlib.md5(f"key-{number}".encode(), usedforsecurity=False).digest(), "big"
    )


def stranger_client(service: str, url: str, key: str, secret: str) -> Any:
    """Return a client with credentials of its own."""
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret)
    return session.client(service, endpoint_url=url)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_shard_takes_a_thousand_records_a_second(kinesis: Kinesis, clock: Clock) -> None:
    stream = kinesis.stream(1)
    proxy = KinesisProxy(kinesis.direct, clock=clock)
    with proxy.serve() as url:
        through = client("kinesis", url)
        failed = []
        for second in (0.0, 0.25, 1.25):
            clock.now = second
            for _ in range(3):
                answer = through.put_records(StreamName=stream, Records=records(500))
                failed.append(answer["FailedRecordCount"])
    # A full bucket first, a quarter of it after a quarter of a second, then a whole one again.
    assert failed == [0, 0, 500, 250, 500, 500, 0, 0, 500]
    assert proxy.counts["throttled"] == sum(failed)
    assert len(kinesis.records(stream)) == 9 * 500 - sum(failed)


def test_a_shard_takes_a_mebibyte_a_second(kinesis: Kinesis, clock: Clock) -> None:
    stream = kinesis.stream(1)
    proxy = KinesisProxy(kinesis.direct, clock=clock)
    with proxy.serve() as url:
        through = client("kinesis", url)
        answer = through.put_records(StreamName=stream, Records=records(5, 300_000))
        assert [entry.get("ErrorCode") for entry in answer["Records"]] == [
            *(None, None, None),
            *(THROTTLED, THROTTLED),
        ]
        assert "under account" in answer["Records"][4]["ErrorMessage"]
        clock.now = 1.0
        largest = limits.RECORD_BYTES - len("key-0")
        assert not through.put_records(StreamName=stream, Records=records(1, largest))[
            "FailedRecordCount"
        ]


def test_one_shards_throttling_leaves_the_other_alone(kinesis: Kinesis) -> None:
    stream = kinesis.stream(2)
    kinesis.faults.throttled_shards = {TWO_SHARDS[0]}
    answer = client("kinesis", kinesis.url).put_records(StreamName=stream, Records=records(100))
    is_low = [key_of(number) < 1 << 127 for number in range(100)]
    assert [entry.get("ErrorCode") == THROTTLED for entry in answer["Records"]] == is_low
    assert answer["FailedRecordCount"] == sum(is_low) > 0
    assert {record["ShardId"] for record in kinesis.records(stream)} == {TWO_SHARDS[1]}


def test_records_go_to_the_children_after_a_split_and_to_the_merged_after_that(
    kinesis: Kinesis,
) -> None:
    stream = kinesis.stream(1)
    through = client("kinesis", kinesis.url)
    put = [through.put_records(StreamName=stream, Records=records(50))]
    kinesis.split(stream, TWO_SHARDS[0])
    through.describe_stream_summary(StreamName=stream)
    put.append(through.put_records(StreamName=stream, Records=records(50)))
    kinesis.merge(stream, "shardId-000000000001", "shardId-000000000002")
    put.append(through.put_records(StreamName=stream, Records=records(50)))
    used = [{entry["ShardId"] for entry in answer["Records"]} for answer in put]
    assert used == [
        {f"shardId-{number:012d}" for number in numbers} for numbers in ([0], [1, 2], [3])
    ]
    assert len(kinesis.records(stream)) == 150


def test_a_lost_reply_was_written(kinesis: Kinesis) -> None:
    stream = kinesis.stream(1)
    kinesis.faults.lost_replies = 1.0
    with pytest.raises(ConnectionClosedError):
        client("kinesis", kinesis.url).put_records(StreamName=stream, Records=records(7))
    assert kinesis.counts["written_unseen"] == len(kinesis.records(stream)) == 7


def test_some_records_fail_and_only_those_are_missing(kinesis: Kinesis) -> None:
    stream = kinesis.stream(2)
    kinesis.faults.internal_failures = 0.3
    answer = client("kinesis", kinesis.url).put_records(StreamName=stream, Records=records(200))
    failed = {
        f"key-{number}"
        for number, entry in enumerate(answer["Records"])
        if entry.get("ErrorCode") == "InternalFailure"
    }
    assert 30 < len(failed) == answer["FailedRecordCount"] < 90
    kept = {record["PartitionKey"] for record in kinesis.records(stream)}
    assert kept == {f"key-{number}" for number in range(200)} - failed


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(records(501), id="501 records"),
        pytest.param(records(1, limits.RECORD_BYTES - len("key-0") + 1), id="data and key"),
        pytest.param(records(11, limits.RECORD_BYTES - 10), id="more than 10 MiB"),
        pytest.param([{"Data": b"x", "PartitionKey": "k" * 257}], id="a long key"),
    ],
)
def test_what_amazon_refuses_is_refused_whole(
    kinesis: Kinesis, wrong: list[dict[str, object]]
) -> None:
    stream = kinesis.stream(1)
    through = client("kinesis", kinesis.url, parameter_validation=False)
    with pytest.raises(ClientError, match=r"ValidationException|InvalidArgumentException"):
        through.put_records(StreamName=stream, Records=wrong)
    assert not kinesis.records(stream)


def test_five_reads_a_second_and_large_answers_take_longer(kinesis: Kinesis, clock: Clock) -> None:
    stream = kinesis.stream(1)
    for start in range(3):
        kinesis.client().put_records(StreamName=stream, Records=records(1, 1_000_000, start))
    proxy = KinesisProxy(kinesis.direct, clock=clock)
    with proxy.serve() as url:
        through = client("kinesis", url)
        start = through.get_shard_iterator(
            StreamName=stream, ShardId=TWO_SHARDS[0], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        got = through.get_records(ShardIterator=start)
        assert len(got["Records"]) == 3
        with pytest.raises(ClientError, match=THROTTLED):  # 3 MB at 2 MiB a second
            through.get_records(ShardIterator=got["NextShardIterator"])
        clock.now = 5.0
        for _ in range(5):
            got = through.get_records(ShardIterator=got["NextShardIterator"])
        with pytest.raises(ClientError, match=THROTTLED):
            through.get_records(ShardIterator=got["NextShardIterator"])
    assert proxy.counts["throttled_reads"] == 2


def test_a_refused_action_and_an_expired_iterator_say_so(kinesis: Kinesis) -> None:
    stream = kinesis.stream(1)
    through = client("kinesis", kinesis.url)
    kinesis.faults.refused["PutRecord"] = ("AccessDeniedException", "may not")
    with pytest.raises(ClientError, match=r"AccessDeniedException.*may not"):
        through.put_record(StreamName=stream, Data=b"x", PartitionKey="k")
    start = through.get_shard_iterator(
        StreamName=stream, ShardId=TWO_SHARDS[0], ShardIteratorType="LATEST"
    )["ShardIterator"]
    kinesis.faults.expired_iterators = 1.0
    with pytest.raises(ClientError, match="ExpiredIteratorException"):
        through.get_records(ShardIterator=start)
    kinesis.faults.clear()
    assert not through.get_records(ShardIterator=start)["Records"]


def test_an_unknown_stream_is_the_servers_own_answer(kinesis: Kinesis) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client("kinesis", kinesis.url).put_records(StreamName="none", Records=records(1))


def test_s3_checks_the_signature(s3: S3) -> None:
    bucket = s3.bucket()
    s3.client().put_object(Bucket=bucket, Key="a b/ü", Body=b"1")
    assert s3.objects(bucket) == {"a b/ü": b"1"}
    stranger = stranger_client("s3", s3.url, servers.KEY, "wrong")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.put_object(Bucket=bucket, Key="b", Body=b"1")


def test_ministack_lets_nobody_in_without_a_policy(ministack: MiniStack) -> None:
    topic = ministack.client("sns").create_topic(Name="alerts")["TopicArn"]
    iam = ministack.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    stranger = stranger_client("sns", ministack.url, key["AccessKeyId"], key["SecretAccessKey"])
    with pytest.raises(ClientError, match=r"AccessDenied|AuthorizationError"):
        stranger.publish(TopicArn=topic, Message="x")
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sns:Publish", "Resource": topic}],
    }
    iam.put_user_policy(UserName="nobody", PolicyName="publish", PolicyDocument=json.dumps(policy))
    assert stranger.publish(TopicArn=topic, Message="x")["MessageId"]


@pytest.mark.skipif(not Path("/proc/net/tcp").is_file(), reason="needs Linux's /proc")
def test_nothing_listens_on_another_interface(
    kinesis: Kinesis, s3: S3, ministack: MiniStack
) -> None:
    def listening() -> Counter[str]:
        found: Counter[str] = Counter()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in Path(table).read_text("ascii").splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == "0A" and inode in ours:
                    found[local.partition(":")[0]] += 1
        return found

    ours = _sockets_of_children()
    assert set(listening()) == {"0100007F"}
    assert sum(listening().values()) >= 4


def _sockets_of_children() -> set[str]:
    """Return the socket inodes of every process that this one started, at any depth."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text("ascii", "replace")
        except OSError:
            continue
        parents[int(folder.name)] = int(status.rpartition(")")[2].split()[1])
    found, new = set(), {os.getpid()}
    while new:
        found |= new
        new = {one for one, parent in parents.items() if parent in found} - found
    inodes = set()
    for one in found:
        try:
            links = [os.readlink(link) for link in Path(f"/proc/{one}/fd").iterdir()]
        except OSError:
            continue
        inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    return inodes


def test_a_server_dies_with_whoever_started_it(loopback: None) -> None:
    child = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys, time; sys.path.insert(0, sys.argv[1])\n"
            "from loopback import servers\n"
            "with servers.kinesis() as server:\n"
            "    print(server.url, server.log, flush=True)\n"
            "    time.sleep(600)\n",
            str(Path(__file__).parent.parent),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout
    url, log = child.stdout.readline().split()
    assert urllib.request.urlopen(f"{url}/healthcheck").status == 200  # noqa: S310
    child.kill()
    child.wait()
    child.stdout.close()
    wait_until(lambda: not servers._answers(f"{url}/healthcheck"), "the server lives on")
    wait_until(lambda: not Path(log).parent.exists(), "its folder is left")
