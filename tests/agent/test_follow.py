"""A file's position is behind what was acknowledged without a gap, and nothing else."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from agent.rig import orders
from agent.test_lines import Rules, is_start
from oddlot.agent.beginnings import Skip, begin
from oddlot.agent.follow import Block, Follower

LOGS = "*.log*"


def follow(
    folder: Path,
    positions: Mapping[str, Any] | None = None,
    skips: list[Skip] | None = None,
    rules: Rules | None = None,
    *,
    is_verbatim: bool = False,
) -> Follower:
    pattern = str(folder / LOGS)
    return Follower(
        (pattern,),
        rules or Rules(),
        longest=1 << 20,
        patience_us=60_000_000,
        is_verbatim=is_verbatim,
        positions={pattern: positions or {}},
        skips={pattern: skips or []},
    )


def take(follower: Follower, saved: dict[str, Any]) -> None:
    """Bring saved positions up to date."""
    saved.update({name: value for (_, name), value in follower.take_positions().items()})


def text_of(blocks: list[Block]) -> bytes:
    return b"".join(
        block.data or b"".join(one + b"\n" for one in block.records) for block in blocks
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@given(seed=st.integers(0, 1000), is_verbatim=st.booleans(), is_long=st.booleans())
def test_a_restart_repeats_exactly_what_was_not_acknowledged_without_a_gap(
    tmp_path_factory: pytest.TempPathFactory, seed: int, is_verbatim: bool, is_long: bool
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    rules = Rules(starts=is_start) if is_long else Rules()
    chance = random.Random(seed)
    text = b"".join(
        b"%d,%s\n" % (number, b"x" * chance.randrange(3000)) + b"  more\n" * chance.randrange(3)
        for number in range(chance.randrange(2, 120))
    )
    (folder / "a.log").write_bytes(text)
    follower = follow(folder, rules=rules, is_verbatim=is_verbatim)
    blocks = follower.poll(0) + follower.poll(61_000_000)
    assert text_of(blocks) == text
    saved: dict[str, Any] = {}
    take(follower, saved)
    (start,) = saved.values()
    assert start["offset"] == 0
    done = {number for number in range(len(blocks)) if chance.random() < 0.7}
    for number in chance.sample(sorted(done), len(done)):
        follower.acknowledge(blocks[number])
        take(follower, saved)
    follower.close()
    gap = min(set(range(len(blocks))) - done, default=len(blocks))
    again = follow(folder, saved, rules=rules, is_verbatim=is_verbatim)
    repeated = text_of(again.poll(0) + again.poll(61_000_000))
    again.close()
    assert repeated == text_of(blocks[gap:])


def test_parts_of_a_block_are_acknowledged_one_by_one(folder: Path) -> None:
    (folder / "a.log").write_bytes(orders(0, 10))
    follower = follow(folder)
    (block,) = follower.poll(0)
    saved: dict[str, Any] = {}
    block.waiting += 3
    for _ in range(3):
        follower.acknowledge(block)
        take(follower, saved)
        assert [one["offset"] for one in saved.values()] in ([], [0])
    follower.acknowledge(block)
    take(follower, saved)
    assert [one["offset"] for one in saved.values()] == [block.end]
    follower.close()


def test_the_oldest_line_that_waits_tells_the_lag(folder: Path) -> None:
    (folder / "a.log").write_bytes(orders(0, 10))
    follower = follow(folder)
    assert follower.oldest_us() is None
    (block,) = follower.poll(5)
    assert follower.oldest_us() == 5
    follower.acknowledge(block)
    assert follower.oldest_us() is None
    follower.close()


def test_a_folder_that_comes_later_is_found(folder: Path) -> None:
    follower = follow(folder / "later")
    assert follower.poll(0) == []
    assert "there is no such folder" in next(iter(follower.problems.values()))
    (folder / "later").mkdir()
    (folder / "later" / "a.log").write_bytes(orders(0, 10))
    assert text_of(follower.poll(11_000_000)) == orders(0, 10)
    assert not follower.problems
    follower.close()


def test_a_folder_that_is_gone_for_a_while_keeps_its_positions(folder: Path) -> None:
    follower = follow(folder / "later", {"a.log#1": {"number": 0, "offset": 7}})
    assert follower.poll(0) == []
    assert follower.known() == {(str(folder / "later" / LOGS), "a.log#1")}


def test_ten_thousand_files_are_followed_with_few_open(folder: Path) -> None:
    for number in range(10_000):
        (folder / f"{number}.log").write_bytes(orders(2 * number, 2))
    follower = follow(folder)
    text = text_of(follower.poll(0))
    assert sorted(text.splitlines()) == sorted(orders(0, 20_000).splitlines())
    assert len(os.listdir("/proc/self/fd")) < 1000
    assert follower.poll(1_000_000) == []
    with (folder / "77.log").open("ab") as file:
        file.write(orders(20_000, 1))
    assert text_of(follower.poll(2_000_000)) == orders(20_000, 1)
    follower.close()


def test_a_first_look_at_the_end_skips_what_is_there(folder: Path) -> None:
    (folder / "a.log").write_bytes(orders(0, 10) + b"half")
    (folder / "short.log").write_bytes(orders(10, 1))
    first = begin(str(folder / LOGS), at_end=True, offsets={})
    follower = follow(folder, first.positions, first.skips)
    assert follower.poll(0) == []
    with (folder / "short.log").open("ab") as file:
        file.write(orders(11, 1))
    with (folder / "a.log").open("ab") as file:
        file.write(b" a line\n")
    assert text_of(follower.poll(1)) == b"half a line\n" + orders(11, 1)
    follower.close()


def test_another_agents_offset_is_gone_on_from(folder: Path) -> None:
    path = folder / "a.log"
    path.write_bytes(orders(0, 10))
    offset = len(orders(0, 4))
    first = begin(str(folder / LOGS), at_end=True, offsets={path.stat().st_ino: offset})
    follower = follow(folder, first.positions, first.skips)
    assert text_of(follower.poll(0)) == orders(4, 6)
    follower.close()
