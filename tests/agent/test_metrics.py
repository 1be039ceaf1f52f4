"""Numbers for CloudWatch and Prometheus, and lines that were set aside."""

from __future__ import annotations

import json
import threading
import urllib.request
from pathlib import Path

import pytest

from oddlot.agent.carry import FlowProgress
from oddlot.agent.config import load
from oddlot.agent.dead import DeadLetters
from oddlot.agent.metrics import Metrics
from oddlot.agent.run import Progress
from oddlot.errors import ConfigError


def progress(lines: int, **more: int) -> FlowProgress:
    counts = {
        "read_lines": lines,
        "sent_lines": lines,
        "sent_records": lines,
        "sent_bytes": 9 * lines,
    }
    counts |= {"dropped_mismatch": 2, "dropped_blank": 5, "failed_InternalFailure": 3}
    return FlowProgress('kinesis:"a"', {**counts, **more}, 11, 22, 1_500_000, ("no network",))


def config(folder: Path, **options: object) -> Path:
    flow = {"filePattern": str(folder / "*.log"), "kinesisStream": "a"}
    (folder / "agent.json").write_text(json.dumps({"flows": [flow], **options}))
    return folder / "agent.json"


def test_cloudwatch_gets_what_changed_since_the_last_time(tmp_path: Path) -> None:
    path = config(tmp_path, **{"metrics.file": "emf.jsonl", "cloudwatch.namespace": "Shop"})
    metrics = Metrics(load(path))
    metrics.write([progress(100)], 1_300_000_000_000_000)
    metrics.write([progress(150, failed_requests=1)], 1_300_000_030_000_000)
    metrics.close()
    first, second = map(json.loads, (tmp_path / "emf.jsonl").read_text().splitlines())
    assert (first["LinesSent"], second["LinesSent"]) == (100, 50)
    assert (first["RecordSendErrors"], second["RecordSendErrors"]) == (3, 0)
    assert (first["LinesSetAside"], second["ServiceErrors"]) == (2, 1)
    assert second["LagMilliseconds"] == 1500
    (directive,) = second["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Shop"
    assert directive["Dimensions"] == [["Flow"]]
    assert {one["Name"] for one in directive["Metrics"]} <= second.keys()
    assert second["_aws"]["Timestamp"] == 1_300_000_030_000


def test_a_metrics_file_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    path = config(tmp_path, **{"metrics.file": "none/emf.jsonl"})
    metrics = Metrics(load(path))
    metrics.write([progress(1)], 0)
    assert "metrics cannot be written" in metrics.problem


def test_prometheus_reads_a_page_on_loopback(tmp_path: Path) -> None:
    taken = Metrics(load(config(tmp_path, **{"metrics.port": 28_731})))
    with pytest.raises(ConfigError, match=r"metrics\.port must be free; got 28731"):
        Metrics(load(tmp_path / "agent.json"))
    pages: list[str] = []

    def read() -> None:
        with urllib.request.urlopen("http://127.0.0.1:28731/metrics") as page:
            pages.append(page.read().decode())

    reader = threading.Thread(target=read)
    reader.start()
    assert taken._asked.wait(10)
    taken.show([progress(7)])
    reader.join()
    taken.close()
    lines = pages[0].splitlines()
    assert 'oddlot_agent_lines_sent_total{flow="kinesis:\\"a\\""} 7' in lines
    assert 'oddlot_agent_lag_seconds{flow="kinesis:\\"a\\""} 1.5' in lines
    assert "# TYPE oddlot_agent_unread_bytes gauge" in lines


def test_a_line_of_progress_tells_speed_lag_and_what_is_wrong() -> None:
    before, after = Progress((progress(100),)), Progress((progress(300),), ("disk full",))
    assert after.describe(before, 10.0) == [
        'kinesis:"a": 300 lines shipped, 20 a second, lag 1.5 s, 22 bytes unread, 2 set aside',
        'kinesis:"a": no network',
        "disk full",
    ]


def test_a_line_that_is_set_aside_is_kept_byte_for_byte(tmp_path: Path) -> None:
    dead = DeadLetters(tmp_path)
    dead.add("2010-12-01 08:26:00+00:00", "flow", ("a.log", 7), "mismatch: no", "é,1".encode())
    dead.add("2010-12-01 08:26:00+00:00", "flow", ("a.log", 12), "mismatch: no", b"\xff")
    assert dead.sync()
    dead.close()
    text, raw = map(json.loads, (tmp_path / "set-aside.jsonl").read_text().splitlines())
    assert text["line"] == "é,1"
    assert (text["path"], text["offset"], text["problem"]) == ("a.log", 7, "mismatch: no")
    assert raw["base64"] == "/w=="


def test_set_aside_lines_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oddlot.agent.dead._MOST", 1000)
    dead = DeadLetters(tmp_path)
    for number in range(200):
        dead.add("now", "flow", ("a.log", number), "mismatch", b"x" * 50)
        assert dead.sync()
    dead.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2500


def test_a_folder_that_refuses_set_aside_lines_is_a_problem(tmp_path: Path) -> None:
    dead = DeadLetters(tmp_path / "none")
    dead.add("now", "flow", ("a.log", 0), "mismatch", b"x")
    assert not dead.sync()
    assert "cannot be set aside" in dead.problem
    (tmp_path / "none").mkdir()
    assert dead.sync()
    assert not dead.problem
    assert len((tmp_path / "none" / "set-aside.jsonl").read_text().splitlines()) == 1


def test_what_neither_disk_nor_memory_takes_holds_the_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oddlot.agent.dead._WAITING", 1000)
    dead = DeadLetters(tmp_path / "none")
    for number in range(50):
        dead.add("now", "flow", ("a.log", number), "mismatch", b"x" * 50)
    (tmp_path / "none").mkdir()
    assert not dead.sync()
    assert "start the agent again" in dead.problem
    assert not dead.sync()
