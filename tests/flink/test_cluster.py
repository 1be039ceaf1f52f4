"""Statements and hosted detectors on a real cluster, with kills, savepoints and rescaling."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from oddlot import config as configs
from oddlot.alerts.make import alert_row
from oddlot.engine.flink import cluster as clusters
from oddlot.engine.flink import hosting, submit
from oddlot.engine.flink.cluster import Cluster, ClusterOptions
from oddlot.engine.flink.home import Home
from oddlot.errors import ConfigError, StreamError
from oddlot.simulate import Shop, simulate
from oddlot.stored import Stored

pytestmark = pytest.mark.timeout(900)

# The reference's figures; see the spine's parity test, tests/engine/test_parity.py.
WINDOWS = "97e39aec115a0da4cb0a9c0c0b62ad9b9d4b1a0c48c557429902b0cad1d86684"
AVERAGES = "1c896975477376fc9d44f956ca8ac3bcad6f88c96246650ce56328238d0fa0b7"
WHOLE = "a102e9a3ecf511880d1cfca365ad246dbd90437e3bed2ceacae28171efa9f1c9"
TOML = """
[source]
path = "orders"
dates = "iso"
[time]
idle = "5s"
[budget]
false_alerts_per_day = 20
[state]
checkpoint_every = "1s"
[flink]
cluster = "{url}"
parallelism = {parallelism}
ends = {ends}
batch = 500
[[detectors]]
type = "quantity_spike"
[[detectors]]
type = "price_error"
[[detectors]]
type = "low_quantity"
"""


def digest(lines: Iterable[str]) -> str:
    whole = b"".join(sorted(line.encode() + b"\n" for line in lines))
    return hashlib.sha256(whole).hexdigest()


def committed(folder: Path) -> str:
    """Read what Flink has committed; what begins with a point is not."""
    files = [file for file in folder.glob("**/part-*") if ".inprogress." not in file.name]
    return "".join(file.read_text("utf-8") for file in sorted(files))


def wait_for(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up, what
        time.sleep(0.2)


def test_nothing_listens_but_on_loopback(cluster: Cluster) -> None:
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    ours = {str(process.pid) for process in (*cluster._workers, cluster._manager) if process}
    lines = [line for line in listening.splitlines() if ours & set(re.findall(r"pid=(\d+)", line))]
    assert len(lines) > 3
    for line in lines:
        address = line.split()[3].rpartition(":")[0]
        assert address in ("127.0.0.1", "[::ffff:127.0.0.1]", "[::1]"), line
    with pytest.raises(StreamError, match="refused"):
        clusters.ask(cluster.url, "/jars/upload", {})


def test_the_reference_statement_gives_the_reference_results_on_the_real_year(
    cluster: Cluster, online_retail: Path, tmp_path: Path
) -> None:
    (tmp_path / "orders").mkdir()
    text = gzip.decompress(online_retail.read_bytes()).decode("latin-1")
    (tmp_path / "orders" / "orders.csv").write_text(text, "utf-8")
    for name in ("low_quantity", "low_quantity_whole"):
        options = {"orders.path": str(tmp_path / "orders"), "alerts.path": str(tmp_path / name)}
        files = ["orders_files", "alerts_files", name]
        submit.run_sql(files, options, cluster.url, print)
    rows = list(csv.reader(committed(tmp_path / "low_quantity").splitlines()))
    assert len(rows) == 386_990
    assert digest(f"{r[0]}|{r[1]}|{r[3]}|{r[4]}|{r[5]}|{r[6]}" for r in rows) == WINDOWS
    assert digest(f"{r[1]}|{r[3]}|{float(r[7]):.6f}" for r in rows) == AVERAGES
    rows = list(csv.reader(committed(tmp_path / "low_quantity_whole").splitlines()))
    assert digest(f"{r[0]}|{r[1]}|{r[3]}|{r[4]}|{int(float(r[7]))}" for r in rows) == WHOLE


def test_late_lines_are_judged_by_key_in_sql_and_by_the_watermark_by_us(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The same late line: Flink's OVER takes it where its own key has not gone on; we do not."""
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
    times = [("A", "08:00:00"), ("B", "08:10:00"), ("C", "08:20:00"), ("A", "08:05:00")]
    lines = [f"{i},{sku},x,1,2011-03-01 {clock},1.0,7,UK" for i, (sku, clock) in enumerate(times)]
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "orders.csv").write_text("\n".join([header, *lines]) + "\n")
    options = {"orders.path": str(tmp_path / "orders"), "alerts.path": str(tmp_path / "alerts")}
    submit.run_sql(["orders_files", "alerts_files", "low_quantity"], options, cluster.url, print)
    by_sql = committed(tmp_path / "alerts")
    assert by_sql.count("\n") == 4, "A at 08:05 is 15 minutes late and taken"
    ours = subprocess.run(
        [sys.executable, "-m", "oddlot", "detect", str(tmp_path / "orders" / "orders.csv"),
         "--only", "low_quantity", "--out", str(tmp_path / "ours.csv")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "1 late" in ours.stderr
    assert (tmp_path / "ours.csv").read_text().count("\n") == 1 + 3


class Hosted:
    """`oddlot run --engine flink` in a thread, over a folder to which files are added."""

    def __init__(self, folder: Path, url: str, parallelism: int, *, ends: bool) -> None:
        text = TOML.format(url=url, parallelism=parallelism, ends=str(ends).lower())
        (folder / "shop.toml").write_text(text)
        self.config = configs.load(folder / "shop.toml")
        self.folder = folder
        self.said: list[str] = []
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            hosting.run(
                self.config,
                clock_us=lambda: time.time_ns() // 1000,
                sleep=time.sleep,
                should_stop=self._stop.is_set,
                on_progress=lambda hosted: None,
                say=self.said.append,
            )
        except Exception as error:  # noqa: BLE001  # raised again in the test's own thread
            self.error = error

    def rows(self) -> list[str]:
        return committed(self.folder / "alerts" / "flink" / "rows.low_quantity").splitlines()

    def wait_for_rows(self, count: int) -> None:
        def are_there() -> bool:
            if self.error:
                raise self.error
            return len(self.rows()) >= count

        wait_for(are_there, 400, f"{count} rows; got {len(self.rows())}")

    def stop(self) -> None:
        self._stop.set()
        self.wait()

    def wait(self) -> None:
        self._thread.join(600)
        assert not self._thread.is_alive()
        if self.error:
            raise self.error


@pytest.fixture(scope="module")
def pieces() -> list[bytes]:
    """The orders of a shop in three files, by time."""
    made, _ = simulate(Shop(seed=8, days=21, skus=80, lines_per_day=300, faults_per_day=3))
    header, *lines = b"".join(made.text()).splitlines(keepends=True)
    days = sorted({line.split(b",")[4][:10] for line in lines})
    cuts = [days[0], days[7], days[14], b"~"]
    return [
        header + b"".join(x for x in lines if first <= x.split(b",")[4][:10] < last)
        for first, last in pairwise(cuts)
    ]


def embedded(folder: Path, pieces: list[bytes]) -> tuple[list[dict[str, object]], list[str]]:
    """What `oddlot detect` gives for the same files."""
    folder.mkdir()
    names = []
    for number, piece in enumerate(pieces):
        names.append(folder / f"orders-{number}.csv")
        names[-1].write_bytes(piece)
    (folder / "shop.toml").write_text(TOML.format(url="local", parallelism=1, ends="true"))
    subprocess.run(
        [sys.executable, "-m", "oddlot", "detect", *map(str, names), "--config",
         str(folder / "shop.toml"), "--out", str(folder / "alerts.jsonl")],
        check=True, capture_output=True,
    )  # fmt: skip
    found = [json.loads(line) for line in (folder / "alerts.jsonl").read_text().splitlines()]
    rows = (folder / "alerts.low_quantity.jsonl").read_text().splitlines()
    return found, rows


def without_source(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != "source"}


def test_kills_a_savepoint_and_another_parallelism_change_no_alert(
    cluster: Cluster, pieces: list[bytes], tmp_path: Path
) -> None:
    expected, expected_rows = embedded(tmp_path / "embedded", pieces)
    assert len(expected) > 5
    logs = tmp_path / "orders"
    logs.mkdir()
    small = [
        sum(int(row.split(b",")[3]) < 10 for row in piece.splitlines()[1:]) for piece in pieces
    ]

    def add(number: int) -> None:
        (logs / ".half").write_bytes(pieces[number])
        (logs / ".half").rename(logs / f"orders-{number}.csv")

    add(0)
    first = Hosted(tmp_path, cluster.url, 1, ends=False)
    first.wait_for_rows(small[0])
    cluster.kill_worker(0)
    add(1)
    cluster.kill_worker(1)
    assert len(cluster.watch()) == 2
    first.wait_for_rows(small[0] + small[1])
    first.stop()
    assert any("stopped with a savepoint" in line for line in first.said)
    add(2)
    second = Hosted(tmp_path, cluster.url, 2, ends=False)
    second.wait_for_rows(sum(small))
    assert any("goes on from" in line for line in second.said)
    second.stop()

    rows = [tuple(row) for row in csv.reader(second.rows())]
    wanted = [tuple(map(str, json.loads(row).values())) for row in expected_rows]
    assert sorted((*r[:7], float(r[7])) for r in rows) == sorted(
        (*w[:7], float(w[7])) for w in wanted
    )
    with Stored.read(tmp_path / "state") as stored:
        kept = list(stored.alerts(newest=False))
        incidents = {one.id for one in stored.incidents(10_000)}
    key = lambda row: (row["time"], row["id"])  # noqa: E731
    got = sorted((msgspec.to_builtins(alert_row(alert)) for alert in kept), key=key)
    assert [without_source(row) for row in got] == [
        without_source(row) for row in sorted(expected, key=key)
    ]
    assert incidents == {str(row["incident"]) for row in expected}


def test_a_cluster_that_is_gone_and_a_port_that_is_taken_are_one_line_each(
    flink: Home, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port}: must be a free port"):
            Cluster(flink, ClusterOptions(tmp_path, port=port))
    with pytest.raises(StreamError, match=r"does not answer .*oddlot flink start"):
        clusters.ask(f"http://127.0.0.1:{port}", "/overview")


@pytest.fixture
def wrong_java(tmp_path: Path) -> Iterator[Path]:
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_392\"' >&2\n")
    java.chmod(0o755)
    before = os.environ.get("JAVA_HOME")
    os.environ["JAVA_HOME"] = str(tmp_path / "java")
    yield tmp_path / "java"
    os.environ.pop("JAVA_HOME")
    if before is not None:
        os.environ["JAVA_HOME"] = before


@pytest.mark.usefixtures("flink", "wrong_java")
def test_a_java_that_is_too_old_is_said_in_one_line() -> None:
    from oddlot.engine.flink import home

    with pytest.raises(ConfigError, match=r"JAVA_HOME: must name a Java 17 or 21; got 8 in"):
        home.find_home()
