"""Starts and stops the real servers: kinesis-local, SeaweedFS for S3, MiniStack for the rest."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from loopback import install

REGION = "us-east-1"
ACCOUNT = "000000000000"
# What every server accepts; nothing that anybody could misuse.
KEY = SECRET = "test"  # noqa: S105

_HERE = Path(__file__).parent
_START_SECONDS = 60.0
_S3_PORTS = (
    *("s3.port", "s3.port.iceberg", "s3.port.lance", "master.port", "volume.port"),
    *("filer.port", "admin.port", "webdav.port"),
)
_GRPC = 10_000  # SeaweedFS opens a second port this far above each of its ports


class Server(NamedTuple):
    """A server that runs: where it answers, what it writes, and its certificate if it has one."""

    url: str
    log: Path
    certificate: Path | None = None


@contextmanager
def kinesis() -> Iterator[Server]:
    """Run kinesis-local; it keeps everything in memory."""
    place = install.install() / "node_modules" / "kinesis-local"

    def start(folder: Path) -> Iterator[Server]:
        plain, tls = free_ports(2)
        environment = {
            "KINESIS_MOCK_PLAIN_PORT": str(plain),
            "KINESIS_MOCK_TLS_PORT": str(tls),
            "KINESIS_MOCK_CERT_PATH": str(place / "server.json"),
            "AWS_ACCOUNT_ID": ACCOUNT,
            "AWS_REGION": REGION,
            "SHARD_LIMIT": "5000",
            "LOG_LEVEL": "ERROR",
            **dict.fromkeys(
                (
                    "CREATE_STREAM_DURATION",
                    "DELETE_STREAM_DURATION",
                    "SPLIT_SHARD_DURATION",
                    "MERGE_SHARDS_DURATION",
                    "UPDATE_SHARD_COUNT_DURATION",
                ),
                "50ms",
            ),
        }
        command = [str(install.node()), "-r", str(_HERE / "loopback.cjs"), str(place / "main.js")]
        yield from _run(command, environment, folder, f"http://127.0.0.1:{plain}", "/healthcheck")

    with _scratch(start) as server:
        yield server


@contextmanager
def s3() -> Iterator[Server]:
    """Run SeaweedFS with its S3 gateway; it checks signatures of one identity, test/test."""
    install.install()

    def start(folder: Path) -> Iterator[Server]:
        ports = dict(
            zip(
                _S3_PORTS,
                free_ports(len(_S3_PORTS), also=_GRPC),
                strict=True,
            )
        )
        allowed = {
            "name": "test",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [allowed]}), "utf-8")
        (folder / "data").mkdir()
        command = [
            *(str(install.program("weed")), "mini", f"-dir={folder / 'data'}"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-admin.ui=false"),
            f"-s3.config={folder / 's3.json'}",
            *(f"-{name}={port}" for name, port in ports.items()),
        ]
        yield from _run(command, {}, folder, f"http://127.0.0.1:{ports['s3.port']}", "/status")

    with _scratch(start) as server:
        yield server


@contextmanager
def ministack(*, auth: bool = True, tls: bool = False) -> Iterator[Server]:
    """Run MiniStack: IAM, SNS, SQS, Logs, CloudWatch, Glue, Athena, CloudFormation.

    Args:
        auth: signatures and policies are checked; test/test is the account's root.
        tls: it answers https only, with a certificate of its own that `openssl` makes.
    """
    install.install()

    def start(folder: Path) -> Iterator[Server]:
        (port,) = free_ports(1)
        environment = {
            "AUTH": str(auth).lower(),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "ATHENA_ENGINE": "duckdb",
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(folder / "s3"),
            "STATE_DIR": str(folder / "state"),
            "TMPDIR": str(folder),
        }
        if tls:
            environment["USE_SSL"] = "1"
        url = f"http{'s' * tls}://127.0.0.1:{port}"
        command = [str(install.program("ministack"))]
        for server in _run(command, environment, folder, url, "/_ministack/health"):
            found = folder / "ministack-tls" / "server.crt"
            yield server._replace(certificate=found if tls else None)

    with _scratch(start) as server:
        yield server


def free_ports(count: int, also: int = 0) -> list[int]:
    """Find ports of 127.0.0.1 that nobody has, each free also `also` above itself."""
    found: list[int] = []
    with contextlib.ExitStack() as taken:
        while len(found) < count:
            port = taken.enter_context(_bound(0)).getsockname()[1]
            if also:
                if port + also > 65_535:
                    continue
                try:
                    taken.enter_context(_bound(port + also))
                except OSError:
                    continue
            found.append(port)
    return found


def credentials() -> dict[str, str]:
    """Return environment variables with which boto3 signs for these servers and no others."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # Whoever forgets an endpoint meets a closed port, never Amazon.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    try:
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound


@contextmanager
def _scratch(start: Callable[[Path], Iterator[Server]]) -> Iterator[Server]:
    """Give a server a folder of its own; try again where another took its port meanwhile."""
    for is_last in (False, True):
        folder = Path(tempfile.mkdtemp(prefix="oddlot-loopback-"))
        running = start(folder)
        try:
            server = next(running)
        except RuntimeError:
            shutil.rmtree(folder, ignore_errors=True)
            if is_last:
                raise
            continue
        try:
            yield server
        finally:
            next(running, None)
            shutil.rmtree(folder, ignore_errors=True)
        return


def _run(
    command: list[str], variables: dict[str, str], folder: Path, url: str, health: str
) -> Iterator[Server]:
    log = folder / "log.txt"
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-S", str(_HERE / "keeper.py"), "--scratch", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**_inherited(), **variables},
        )
    try:
        _wait_until_healthy(keeper, url + health, log)
        yield Server(url, log)
    finally:
        assert keeper.stdin
        keeper.stdin.close()
        keeper.wait()


def _inherited() -> dict[str, str]:
    """Return what a server sees of our environment: it finds itself and its certificate alone."""
    unwanted = {"AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "AWS_ENDPOINT_URL"}
    together = {**install.environment(), **credentials()}
    return {name: value for name, value in together.items() if name not in unwanted}


def _wait_until_healthy(keeper: subprocess.Popen[bytes], url: str, log: Path) -> None:
    last = time.monotonic() + _START_SECONDS
    while not _answers(url):
        if keeper.poll() is not None or time.monotonic() > last:
            end = log.read_text("utf-8", "replace")[-2000:]
            raise RuntimeError(f"{url}: does not answer; its log ends with: {end}")
        time.sleep(0.05)


def _answers(url: str) -> bool:
    # A server that made its own certificate a moment ago is asked only whether it is there.
    trusting = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())  # noqa: S323
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), trusting)
    try:
        with direct.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
