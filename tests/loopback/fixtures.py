"""The servers as fixtures: started once for all tests that ask, names of a test's own."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loopback import install, servers
from loopback.kinesis_proxy import Faults, KinesisProxy

_numbers = itertools.count(1)
_WAIT_SECONDS = 30.0


def client(service: str, url: str, certificate: Path | None = None, **settings: Any) -> Any:
    """Make a boto3 client of a loopback server that does not try again by itself."""
    import boto3
    from botocore.config import Config

    options = {"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}}
    return boto3.client(
        service,
        endpoint_url=url,
        verify=str(certificate) if certificate else None,
        region_name=servers.REGION,
        aws_access_key_id=servers.KEY,
        aws_secret_access_key=servers.SECRET,
        config=Config(**{**options, **settings}),
    )


class Kinesis:
    """kinesis-local behind the proxy."""

    def __init__(self, url: str, direct: str, proxy: KinesisProxy) -> None:
        self.url = url  # of the proxy: what the code under test uses
        self.direct = direct  # of the server: no limits, no faults
        self.faults: Faults = proxy.faults
        self.counts = proxy.counts
        self._made: list[str] = []

    def client(self) -> Any:
        """Return a client of the server itself, to prepare and to look; it is kept."""
        return _client("kinesis", self.direct)

    def stream(self, shards: int = 1, name: str = "") -> str:
        """Make a fresh stream, wait until it is active, return its name."""
        name = name or f"orders-{next(_numbers)}"
        self.client().create_stream(StreamName=name, ShardCount=shards)
        self._made.append(name)
        self.settle(name)
        return name

    def settle(self, name: str) -> None:
        """Wait until a stream is active: after it was made, split or merged."""
        wait_until(lambda: self._status(name) == "ACTIVE", f"{name}: is not active")

    def shards(self, name: str) -> list[dict[str, Any]]:
        """List all shards of a stream, closed ones too."""
        found: list[dict[str, Any]] = self.client().list_shards(StreamName=name)["Shards"]
        return found

    def split(self, name: str, shard: str) -> None:
        """Split a shard in the middle of its hash keys."""
        keys = next(one for one in self.shards(name) if one["ShardId"] == shard)["HashKeyRange"]
        middle = (int(keys["StartingHashKey"]) + int(keys["EndingHashKey"]) + 1) // 2
        self.client().split_shard(
            StreamName=name, ShardToSplit=shard, NewStartingHashKey=str(middle)
        )
        self.settle(name)

    def merge(self, name: str, shard: str, other: str) -> None:
        """Merge two shards that lie side by side."""
        self.client().merge_shards(StreamName=name, ShardToMerge=shard, AdjacentShardToMerge=other)
        self.settle(name)

    def records(self, name: str) -> list[dict[str, Any]]:
        """Read every record of every shard from the server itself, shard after shard."""
        found: list[dict[str, Any]] = []
        for shard in self.shards(name):
            iterator = self.client().get_shard_iterator(
                StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while iterator:
                got = self.client().get_records(ShardIterator=iterator)
                found += [{**record, "ShardId": shard["ShardId"]} for record in got["Records"]]
                is_end = not got["Records"] and not got["MillisBehindLatest"]
                iterator = None if is_end else got.get("NextShardIterator")
        return found

    def forget(self) -> None:
        """Remove the streams that were made, and every fault."""
        self.faults.clear()
        self.counts.clear()
        for name in self._made:
            try:
                self.client().delete_stream(StreamName=name, EnforceConsumerDeletion=True)
            except self.client().exceptions.ResourceNotFoundException:
                pass  # the test itself did
        self._made.clear()

    def _status(self, name: str) -> str:
        summary = self.client().describe_stream_summary(StreamName=name)
        return str(summary["StreamDescriptionSummary"]["StreamStatus"])


class S3:
    """SeaweedFS."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self) -> Any:
        """Return a client; it is kept."""
        return _client("s3", self.url)

    def bucket(self, name: str = "") -> str:
        """Make a fresh bucket, return its name."""
        name = name or f"bucket-{next(_numbers)}"
        self.client().create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """Read every object under a prefix."""
        pages = self.client().get_paginator("list_objects_v2")
        return {
            one["Key"]: self.client().get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
            for page in pages.paginate(Bucket=bucket, Prefix=prefix)
            for one in page.get("Contents", [])
        }


class MiniStack:
    """MiniStack with AUTH=true: test/test is root, others need a policy."""

    def __init__(self, url: str, certificate: Path | None = None) -> None:
        self.url = url
        self.certificate = certificate

    def client(self, service: str) -> Any:
        """Return a root client of a service; it is kept."""
        return _client(service, self.url, self.certificate)


@contextmanager
def run_kinesis(port: int = 0) -> Iterator[Kinesis]:
    """Run kinesis-local and the proxy before it."""
    with servers.kinesis() as server:
        proxy = KinesisProxy(server.url)
        with proxy.serve(port) as url:
            yield Kinesis(url, server.url, proxy)


@contextmanager
def run_s3() -> Iterator[S3]:
    """Run SeaweedFS and wait until it stores."""
    with servers.s3() as server:
        found = S3(server.url)
        wait_until(lambda: _stores(found), f"{server.url}: stores nothing")
        yield found


@contextmanager
def run_ministack(*, auth: bool = True, tls: bool = False) -> Iterator[MiniStack]:
    """Run MiniStack."""
    with servers.ministack(auth=auth, tls=tls) as server:
        yield MiniStack(server.url, server.certificate)


def wait_until(
    is_so: Callable[[], bool],
    otherwise: str,
    *,
    seconds: float = _WAIT_SECONDS,
    every: float = 0.02,
) -> None:
    """Ask a server of another process again and again; AssertionError when time is up."""
    last = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < last, f"{otherwise} after {seconds:g} seconds"
        time.sleep(every)


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Credentials that only the loopback servers take, and no way to Amazon."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    variables = servers.credentials()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture(scope="session")
def loopback() -> None:
    """The servers are installed, else the test is skipped; on CI it fails."""
    try:
        install.install()
    except install.NotInstalled as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(f"no loopback servers: {error}")


@pytest.fixture(scope="session")
def kinesis_server(loopback: None) -> Iterator[Kinesis]:
    with run_kinesis() as running:
        yield running


@pytest.fixture(scope="session")
def s3_server(loopback: None) -> Iterator[S3]:
    with run_s3() as running:
        yield running


@pytest.fixture(scope="session")
def ministack_server(loopback: None) -> Iterator[MiniStack]:
    with run_ministack() as running:
        yield running


@pytest.fixture
def kinesis(kinesis_server: Kinesis, aws_environment: dict[str, str]) -> Iterator[Kinesis]:
    """Kinesis behind the proxy; streams and faults end with the test."""
    kinesis_server.counts.clear()
    yield kinesis_server
    kinesis_server.forget()


@pytest.fixture
def s3(s3_server: S3, aws_environment: dict[str, str]) -> S3:
    """S3 that checks signatures."""
    return s3_server


@pytest.fixture
def ministack(ministack_server: MiniStack, aws_environment: dict[str, str]) -> MiniStack:
    """SNS, SQS, IAM, Logs and the rest, with policies that count."""
    return ministack_server


@functools.cache
def _client(service: str, url: str, certificate: Path | None = None) -> Any:
    return client(service, url, certificate)


def _stores(found: S3) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found.client().create_bucket(Bucket="ready")
        found.client().put_object(Bucket="ready", Key="a", Body=b"a")
        found.client().delete_object(Bucket="ready", Key="a")
        found.client().delete_bucket(Bucket="ready")
    except (BotoCoreError, ClientError):
        return False
    return True
