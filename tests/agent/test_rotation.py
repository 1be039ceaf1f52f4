"""No line is lost, whatever writers, rotation and crashes do, where acknowledged lines count."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

from agent.test_lines import Rules
from log_files import HEADER
from oddlot.agent.follow import Block, Follower
from oddlot.streams.files import Chunk
from streams.test_rotation import Writer


class Acknowledged:
    """A follower that looks like a tail; blocks are acknowledged late and in any order."""

    def __init__(self, folder: Path, positions: Mapping[str, Any]) -> None:
        pattern = str(folder)
        self.counts = {"long_lines": 0}
        self._chance = random.Random(len(positions))
        self._saved = dict(positions)
        self._waiting: list[Block] = []
        self._follower = Follower(
            (pattern,),
            Rules(),
            longest=90,
            patience_us=60_000_000,
            is_verbatim=True,
            positions={pattern: positions},
            skips={},
        )

    def poll(self, now_us: int) -> list[Chunk]:
        blocks = self._follower.poll(now_us)
        self._chance.shuffle(self._waiting)
        for block in self._waiting:
            self._follower.acknowledge(block)
        self._waiting = blocks
        return [Chunk(block.file[1], block.end - block.size, block.data) for block in blocks]

    def positions(self) -> dict[str, Any]:
        """Acknowledge everything: what was handed out counts as shipped."""
        for block in self._waiting:
            self._follower.acknowledge(block)
        self._waiting = []
        new = self._follower.take_positions()
        self._saved |= {name: position for (_, name), position in new.items()}
        return self._saved

    def close(self) -> None:
        self._follower.close()


class Opener:
    """Opens followers as `Files` opens tails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, positions: Mapping[str, Any] | None = None) -> Acknowledged:
        return Acknowledged(self.folder, positions or {})


class Shipped(Writer):
    """The writers of the tail's own test before an agent's follower."""

    def __init__(self) -> None:
        super().__init__()
        self.tail.close()
        self.files: Any = Opener(self.folder)
        self.tail: Any = self.files.open()

    def receive(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            before = self.read.setdefault(chunk.partition, b"")
            assert chunk.position <= len(before), "a gap"
            self.read[chunk.partition] = before[: chunk.position] + bytes(chunk.data)

    def teardown(self) -> None:
        self.drain()
        self.now_us += 61_000_000  # files of a single line
        self.drain()
        self.tail.close()
        shutil.rmtree(self.folder)
        lines = {line + b"\n" for text in self.read.values() for line in text.split(b"\n")[:-1]}
        # A copy of what was only a header for long may be sent again; nothing may be missing.
        assert lines - {HEADER} == set(self.written)


Shipped.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestShipped = Shipped.TestCase
