"""A folder is watched for ever, through restarts and crashes, and each line counts once."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import grown
from crashes import folder_in_memory
from oddlot import archive, config
from oddlot.durable import POINTS
from oddlot.errors import ConfigError, StateLocked
from oddlot.store import Store

# So many kills at random instants; more with ODDLOT_KILLS.
KILLS = int(os.environ.get("ODDLOT_KILLS", "12"))
# Points that this engine comes to only in a second start or with other settings.
ELSEWHERE = {"open.orphan", "repair.move", "repair.flag", "files.rotate"}
ELSEWHERE |= {"files.restore", "archive.restore"}


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_in_memory() as place:
        yield place


@pytest.fixture(scope="module")
def whole() -> dict[str, object]:
    """What a user sees of a shop that was watched without interruption."""
    with folder_in_memory() as place:
        grown.watch(place)
        return grown.outcome(place)


def test_a_growing_folder_is_read_to_its_end_and_every_record_counted(folder: Path) -> None:
    told = grown.watch(folder)
    seen = grown.outcome(folder)
    counts = told[-1].counters
    records = sum(text.count(b"\n") - 1 for text in grown.texts())
    assert counts["read"] == records
    parts = ("scored", "late", "rejected", "duplicate")
    assert counts["read"] == sum(counts[part] for part in parts)
    assert counts["late"] > 0
    assert counts["pending"] == told[-1].unread == 0
    assert len(seen["rejects"]) == counts["late"] + counts["rejected"]
    assert {name: seen["counts"][name] for name in counts} == counts
    assert told[-1].problems == {}


def test_the_archive_has_each_scored_line_once(folder: Path) -> None:
    counts = grown.watch(folder)[-1].counters
    sql = "SELECT count(*) AS lines, count(DISTINCT (source, position)) AS places FROM orders"
    assert archive.query(folder / "archive", sql).to_pylist() == [
        {"lines": counts["scored"], "places": counts["scored"]}
    ]


def test_alerts_are_told_stored_archived_and_written_once_each(folder: Path) -> None:
    told = grown.watch(folder)
    seen = grown.outcome(folder)
    newest = [alert.id for progress in told for alert in progress.newest]
    assert len(newest) == len(set(newest)) == told[-1].alerts > 5
    assert len(seen["alerts"]) == len(seen["archived"]) == len(newest)
    written = seen["files"]["quantity_spike.jsonl"].splitlines()
    assert [json.loads(line)["id"] for line in written] == newest


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_restart_goes_on_exactly_where_it_stopped(
    folder: Path, whole: dict[str, object], pieces: int
) -> None:
    grown.make(folder)
    for _ in range(grown.FILES * grown.PIECES // pieces):
        grown.watch(folder, pieces)
    grown.watch(folder)
    grown.check(folder, whole)


def test_a_stop_saves_a_checkpoint(folder: Path) -> None:
    told = grown.watch(folder, 5)
    with Store.read(folder / "state") as store:
        assert store.load() is not None
        assert store.counts()["read"] == told[-1].counters["read"] > 0
    assert grown.watch(folder, 0)[-1].counters == told[-1].counters


def test_a_stop_before_anything_came_leaves_nothing_to_repair(folder: Path) -> None:
    grown.make(folder)
    assert grown.watch(folder, ends=lambda: True)[-1].watermark_us is None
    assert grown.watch(folder, 1)[-1].counters["read"] > 0


def test_the_newest_lines_are_released_when_nothing_came_for_long(folder: Path) -> None:
    assert grown.watch(folder, grown.FILES * grown.PIECES)[-1].counters["pending"] > 0
    assert grown.watch(folder)[-1].counters["pending"] == 0


def test_only_one_can_watch_with_one_state(folder: Path) -> None:
    grown.make(folder)
    with Store.open(folder / "state"), pytest.raises(StateLocked, match=str(os.getpid())):
        grown.watch(folder)


def test_a_folder_that_is_not_there_is_an_error_in_one_line(folder: Path) -> None:
    settings = config.apply(grown.make(folder), ["source.path=elsewhere"])
    with pytest.raises(ConfigError, match="elsewhere"):
        grown.watch(folder, config_of=lambda _: settings)
    grown.watch(folder, 1)


def test_starting_fresh_reads_everything_again(folder: Path, whole: dict[str, object]) -> None:
    first = grown.watch(folder)[-1].counters
    assert grown.watch(folder, fresh=True)[-1].counters == first
    with Store.read(folder / "state") as store:
        assert len(list(store.alerts())) == len(whole["alerts"])  # type: ignore[arg-type]


def test_alert_files_can_be_csv(folder: Path) -> None:
    def as_csv(place: Path) -> config.Config:
        return grown.make(place, "csv")

    grown.watch(folder, 9, config_of=as_csv)
    grown.watch(folder, config_of=as_csv)
    files = grown.outcome(folder)["files"]
    assert set(files) == {"quantity_spike.csv", "low_quantity.csv"}
    assert files["quantity_spike.csv"].startswith(b"time,sku,type,score,")
    assert files["low_quantity.csv"].startswith(b"InvoiceNo,StockCode,")
    for text in files.values():
        assert text.count(b"InvoiceNo,StockCode") + text.count(b"time,sku") == 1


def test_alerts_of_a_shop_without_prices_survive_a_restart(folder: Path) -> None:
    for _ in range(6):
        grown.watch(folder, 4)
    grown.watch(folder)
    archived = grown.outcome(folder)["archived"]
    assert archived
    with Store.read(folder / "state") as store:
        assert all(math.isnan(alert.price) for alert in store.alerts())


def test_a_kill_anywhere_changes_nothing_that_a_user_sees(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, grown.__file__, folder, "1,3", str(KILLS), "1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert set(report["reached"]) >= set(POINTS) - ELSEWHERE
    assert report["killed"] >= KILLS
