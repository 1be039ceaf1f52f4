"""No line is lost or doubled, whatever writers, log rotation and crashes do and when."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from log_files import HEADER, MINUTE_US, saved
from oddlot.streams.files import Chunk, Files


class Writer(RuleBasedStateMachine):
    """Writers, log rotation and crashes act in any order; every line arrives once."""

    live = Bundle("live")
    plain = Bundle("plain")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.files = Files(str(self.folder), size=120, longest=90, poll_size=200)
        self.tail = self.files.open()
        self.saved = saved(self.tail)
        self.written: list[bytes] = []
        self.read: dict[str, bytes] = {}
        self.read_then: dict[str, bytes] = {}
        self.now_us = 0
        self.number = 0
        self.unfinished: dict[Path, bytes] = {}

    def teardown(self) -> None:
        self.drain()
        self.tail.close()
        shutil.rmtree(self.folder)
        lines = [line + b"\n" for text in self.read.values() for line in text.split(b"\n")[:-1]]
        got = sorted(line for line in lines if line != HEADER)
        assert got == sorted(self.written)

    def receive(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            before = self.read.setdefault(chunk.partition, b"")
            assert chunk.position == len(before)
            self.read[chunk.partition] = before + bytes(chunk.data)

    def drain(self) -> None:
        for path in list(self.unfinished):
            self.finish(path)
        idle = 0
        while idle < 2:  # a replaced file is noticed in one poll and read in the next
            chunks = self.tail.poll(self.now_us)
            idle = 0 if chunks else idle + 1
            self.receive(chunks)

    def append(self, path: Path, data: bytes) -> None:
        with path.open("ab") as file:
            file.write(data)

    def new_line(self) -> bytes:
        self.number += 1
        return b"%d,85123A,6,2010-12-01 08:26\n" % self.number

    def finish(self, path: Path) -> None:
        rest = self.unfinished.pop(path, b"")
        if rest:
            self.append(path, rest)

    def save(self) -> None:
        self.saved, self.read_then = saved(self.tail), dict(self.read)

    @initialize(target=live)
    def begin(self) -> Path:
        path = self.folder / "orders.log"
        path.write_bytes(HEADER)
        return path

    @rule(target=live, name=st.sampled_from(["till-1", "till-2", "north"]))
    def create(self, name: str) -> Path:
        path = self.folder / f"{name}.log"
        if not path.exists():
            path.write_bytes(HEADER)
        return path

    @rule(path=live, count=st.integers(1, 8))
    def write(self, path: Path, count: int) -> None:
        self.finish(path)
        for _ in range(count):
            line = self.new_line()
            self.append(path, line)
            self.written.append(line)

    @rule(path=live, split=st.integers(1, 25))
    def write_part_of_a_line(self, path: Path, split: int) -> None:
        self.finish(path)
        line = self.new_line()
        self.append(path, line[:split])
        self.unfinished[path] = line[split:]
        self.written.append(line)

    @rule(target=plain, path=live)
    def rename(self, path: Path) -> Path:
        self.number += 1
        old = path.with_suffix(f".log.{self.number}")
        path.rename(old)
        if path in self.unfinished:
            self.unfinished[old] = self.unfinished.pop(path)
        path.write_bytes(HEADER)
        return old

    @rule(target=plain, path=live, polls=st.booleans())
    def copy_and_truncate(self, path: Path, polls: bool) -> Path:
        self.finish(path)
        self.number += 1
        copy = path.with_suffix(f".log.{self.number}")
        data = path.read_bytes()
        copy.write_bytes(data[: len(data) // 2])
        if polls:
            self.poll()
        copy.write_bytes(data)
        if polls:
            self.poll()
        os.truncate(path, 0)
        self.append(path, HEADER)
        return copy

    @rule(path=consumes(plain), polls=st.booleans())
    def pack(self, path: Path, polls: bool) -> None:
        self.finish(path)
        data = gzip.compress(path.read_bytes())
        packed = path.with_name(path.name + ".gz")
        packed.write_bytes(data[: len(data) // 2])
        if polls:
            self.poll()
        packed.write_bytes(data)
        status = path.stat()
        os.utime(packed, ns=(status.st_mtime_ns, status.st_mtime_ns))
        if polls:
            self.poll()
        path.unlink()

    @rule(path=live)
    def delete_and_create(self, path: Path) -> None:
        self.drain()  # what nobody has read is lost with its file
        self.save()
        path.unlink()
        path.write_bytes(HEADER)

    @rule(path=consumes(plain))
    def delete_while_open(self, path: Path) -> None:
        self.finish(path)
        self.poll()
        path.unlink()
        self.drain()
        self.save()

    @rule()
    def poll(self) -> None:
        self.receive(self.tail.poll(self.now_us))

    @rule()
    def checkpoint(self) -> None:
        self.save()

    @rule()
    def restart(self) -> None:
        self.tail.close()
        self.save()
        self.tail = self.files.open(self.saved)

    @rule()
    def crash(self) -> None:
        self.tail.close()
        self.tail = self.files.open(self.saved)
        self.read = dict(self.read_then)

    @precondition(lambda self: not self.unfinished)
    @rule()
    def wait(self) -> None:
        self.drain()
        self.now_us += 2 * MINUTE_US
        self.drain()

    @invariant()
    def no_line_came_in_pieces(self) -> None:
        assert self.tail.counts["long_lines"] == 0


Writer.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWriter = Writer.TestCase
