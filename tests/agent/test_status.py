"""Whether a file was shipped whole, whatever its name is by now."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from agent.rig import Rig, orders, write_config
from loopback.fixtures import Kinesis
from oddlot.agent.config import load
from oddlot.agent.status import status, tell
from oddlot.errors import ConfigError


def test_a_file_is_shipped_when_its_last_line_is_acknowledged_and_saved(
    kinesis: Kinesis, tmp_path: Path
) -> None:
    path = write_config(tmp_path, kinesis.url, kinesis.stream(1))
    config = load(path)
    log = tmp_path / "logs" / "a.log"
    log.write_bytes(orders(0, 100))
    with Rig(path) as rig:
        kinesis.faults.unavailable = 1.0
        rig.step(30)
        assert [one.is_shipped for one in status(config, str(log))] == [False]
        kinesis.faults.unavailable = 0.0
        rig.ship(100)
        (state,) = status(config, str(log))
        assert state.is_shipped
        assert state.shipped == state.size == log.stat().st_size
        with log.open("ab") as file:
            file.write(b"half a li")
        rig.step(12)
        assert status(config, str(log))[0].is_shipped  # half a line cannot be
        with log.open("ab") as file:
            file.write(b"ne\n")
        assert not status(config, str(log))[0].is_shipped
        rig.ship(101)
    said: list[str] = []
    aside = tmp_path / "a.log-20101201"
    log.rename(aside)
    assert tell(config, str(aside), said.append) == 0
    assert "all shipped" in said[0]
    packed = aside.with_name("a.log-20101201.gz")
    packed.write_bytes(gzip.compress(aside.read_bytes()))
    assert tell(config, str(packed), said.append) == 0
    more = tmp_path / "logs" / "b.log"
    more.write_bytes(orders(500, 5))
    assert tell(config, str(more), said.append) == 1
    assert "0 of" in said[-1]


def test_a_file_that_nobody_follows_is_a_mistake(kinesis: Kinesis, tmp_path: Path) -> None:
    path = write_config(tmp_path, kinesis.url, kinesis.stream(1))
    with Rig(path) as rig:
        rig.step()
    (tmp_path / "other.txt").write_bytes(b"a\nb\n")
    with pytest.raises(ConfigError, match="must be a file that a flow of"):
        status(load(path), str(tmp_path / "other.txt"))
    with pytest.raises(ConfigError, match="there is no such file"):
        status(load(path), str(tmp_path / "none.txt"))
