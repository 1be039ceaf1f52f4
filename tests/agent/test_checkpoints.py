"""Positions survive, one agent at a time writes them, and a full disk stops nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from log_files import nobody, open_folder
from oddlot.agent.beginnings import Skip
from oddlot.agent.checkpoints import Checkpoints, read_old
from oddlot.durable import StorageError
from oddlot.errors import StateError, StateLocked

FLOW, PATTERN = "kinesis:orders:/logs/*.log", "/logs/*.log"


def test_what_was_committed_is_there_again_in_order_of_first_sight(tmp_path: Path) -> None:
    states = Checkpoints.open(tmp_path)
    states.begin(FLOW, PATTERN, {"z.log#1": {"number": 0, "offset": 7}}, [Skip(3, "ab")])
    states.put((FLOW, PATTERN, "a.log#2"), {"number": 1, "offset": 9})
    assert not states.is_clean
    assert states.commit(1)
    assert states.is_clean
    states.put((FLOW, PATTERN, "a.log#2"), {"number": 1, "offset": 10})  # not committed
    states.close()
    states = Checkpoints.open(tmp_path)
    saved = states.load(FLOW)
    assert list(saved.positions[PATTERN]) == ["z.log#1", "a.log#2"]
    assert saved.positions[PATTERN]["a.log#2"]["offset"] == 9
    assert saved.skips == {PATTERN: [Skip(3, "ab")]}
    assert not states.load("another").positions
    states.close()


def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    states = Checkpoints.open(tmp_path)
    for name in "abc":
        states.put((FLOW, PATTERN, name), {"number": 0})
    states.commit(1)
    states.drop(FLOW, [(PATTERN, "b")])
    states.put((FLOW, PATTERN, "c"), {"number": 1})  # it came back
    states.commit(2)
    assert set(states.load(FLOW).positions[PATTERN]) == {"b", "c"}
    states.close()


def test_two_agents_cannot_share_a_folder(tmp_path: Path) -> None:
    states = Checkpoints.open(tmp_path)
    with pytest.raises(StateLocked, match="must be used by one process"):
        Checkpoints.open(tmp_path)
    other = Checkpoints.read(tmp_path)  # looking is allowed
    assert not other.load(FLOW).positions
    other.close()
    states.close()
    Checkpoints.open(tmp_path).close()


def test_a_disk_that_refuses_is_a_problem_and_what_was_kept_is_written_later(
    tmp_path: Path,
) -> None:
    states = Checkpoints.open(tmp_path)
    blocker = sqlite3.connect(tmp_path / "checkpoints.db", timeout=0, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    states._sql.execute("PRAGMA busy_timeout = 1")
    states.put((FLOW, PATTERN, "a"), {"number": 0, "offset": 1})
    assert not states.commit(1)
    assert "positions cannot be saved" in states.problem
    blocker.execute("ROLLBACK")
    blocker.close()
    assert states.commit(2)
    assert not states.problem
    assert states.load(FLOW).positions[PATTERN]["a"]["offset"] == 1
    states.close()


def test_a_read_only_folder_with_positions_is_used_and_one_without_is_refused() -> None:
    with open_folder() as folder:
        state = folder / "state"
        states = Checkpoints.open(state)
        states.put((FLOW, PATTERN, "a"), {"number": 0, "offset": 1})
        states.commit(1)
        states.close()
        (folder / "empty").mkdir()
        with nobody():
            states = Checkpoints.open(state)
            assert states.load(FLOW).positions[PATTERN]["a"]["offset"] == 1
            states.put((FLOW, PATTERN, "a"), {"number": 0, "offset": 2})
            assert not states.commit(2)
            assert states.problem
            states.close()
            with pytest.raises(StorageError, match="give this user the right"):
                Checkpoints.open(folder / "empty")


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_what_is_no_agents_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoints.db").write_bytes(content)
    if content:
        with pytest.raises(StateError, match="must be an agent's state"):
            Checkpoints.open(tmp_path)
    else:
        Checkpoints.open(tmp_path).close()  # as after a crash in the first moment


def test_another_database_is_refused(tmp_path: Path) -> None:
    sql = sqlite3.connect(tmp_path / "checkpoints.db")
    sql.execute("PRAGMA user_version = 9")
    sql.close()
    with pytest.raises(StateError, match="version 1; got another"):
        Checkpoints.open(tmp_path)
    with pytest.raises(StateError, match="got another database"):
        Checkpoints.read(tmp_path)


def test_looking_where_no_agent_ran_says_so(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no agent ran"):
        Checkpoints.read(tmp_path)


def test_amazons_own_positions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    sql = sqlite3.connect(path)
    sql.execute(
        "CREATE TABLE FILE_CHECKPOINTS(flow VARCHAR(200), path VARCHAR(512), fileId VARCHAR(100),"
        " lastModifiedTime BIGINT, size BIGINT, offset BIGINT, lastUpdated VARCHAR(30))"
    )
    rows = [
        ("kinesis:orders:/logs/*.log", "/logs/a.log", "(dev=fd01,ino=131082)", 1, 99, 42, "2"),
        ("kinesis:other:/logs/*.log", "/logs/b.log", "(dev=fd01,ino=5)", 1, 99, 42, "2"),
        ("kinesis:orders:/elsewhere/*", "/elsewhere/c.log", "(dev=fd01,ino=6)", 1, 9, 4, "2"),
    ]
    sql.executemany("INSERT INTO FILE_CHECKPOINTS VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    sql.commit()
    sql.close()
    assert read_old(path, (PATTERN,), "orders") == {131082: 42}
    assert read_old(tmp_path / "none", (PATTERN,), "orders") == {}
    path.write_bytes(b"something else" * 100)
    assert read_old(path, (PATTERN,), "orders") == {}
