"""Files read once, and folders followed while their files grow, rotate, come and go."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from oddlot.errors import ConfigError, StateError, StreamError
from oddlot.streams.files import Chunk, Files, Tail, read_file

HEADER = b"Invoice,StockCode,Quantity,InvoiceDate\r\n"
MINUTE_US = 60_000_000
LINES = b"".join(b"%d,85123A,6,2010-12-01 08:26\r\n" % number for number in range(536365, 536865))


def text_of(chunks: list[Chunk]) -> bytes:
    return b"".join(bytes(chunk.data) for chunk in chunks)


def drain(tail: Tail, now_us: int = 0) -> list[Chunk]:
    chunks: list[Chunk] = []
    while new := tail.poll(now_us):
        chunks += new
    return chunks


def saved(tail: Tail) -> dict[str, Any]:
    positions = json.loads(json.dumps(tail.positions()))
    assert isinstance(positions, dict)
    return positions


def order(number: int) -> bytes:
    return b"%d,85123A,6,2010-12-01 08:26\r\n" % number


@contextmanager
def nobody() -> Iterator[None]:
    """Give up the right of root to read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike those that pytest gives to root."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


# A file, once.


@pytest.mark.parametrize("name", ["orders.csv", "orders.csv.gz", "orders.csv.zst"])
@given(start=st.integers(0, len(LINES) + 10), size=st.sampled_from([1, 7, 4096, 1 << 20]))
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_file_is_read_whole_from_any_start_in_chunks_of_any_size(
    tmp_path: Path, name: str, start: int, size: int
) -> None:
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
    path = tmp_path / name
    path.write_bytes(pack.get(path.suffix, bytes)(LINES))
    position = start
    chunks = list(read_file(str(path), start, size))
    for chunk in chunks:
        assert chunk.position == position
        assert len(chunk.data) <= size
        position += len(chunk.data)
    assert text_of(chunks) == LINES[start:]
    assert [chunk.end for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_gzip_members_and_frames_one_after_another_are_one_text(tmp_path: Path) -> None:
    packed = tmp_path / "orders.csv.gz"
    packed.write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n") + b"\0" * 512)
    assert text_of(list(read_file(str(packed)))) == b"a\nb\n"
    frames = tmp_path / "orders.csv.zst"
    frames.write_bytes(zstandard.compress(b"a\n") + zstandard.compress(b"b\n"))
    assert text_of(list(read_file(str(frames)))) == b"a\nb\n"


def test_a_packed_file_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(gzip.compress(LINES))
    assert text_of(list(read_file(str(path)))) == LINES


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_packed_file_of_zeros_is_unpacked_in_small_pieces(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"orders.csv.{packing}"
    pack = gzip.compress if packing == "gz" else zstandard.compress
    path.write_bytes(pack(bytes(1 << 24)))
    sizes = [len(chunk.data) for chunk in read_file(str(path))]
    assert sum(sizes) == 1 << 24
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_damaged_file_is_read_to_the_damage_and_then_refused(
    tmp_path: Path, packing: str
) -> None:
    lines = os.urandom(1 << 20).hex().encode()
    pack = (
        gzip.compress if packing == "gz" else zstandard.ZstdCompressor(write_checksum=True).compress
    )
    data = bytearray(pack(lines))
    cut = tmp_path / f"cut.csv.{packing}"
    cut.write_bytes(data[: len(data) // 2])
    middle = len(data) // 2
    data[middle : middle + 64] = b"\xff" * 64
    broken = tmp_path / f"broken.csv.{packing}"
    broken.write_bytes(data)
    for path, reason in ((cut, "its end too early"), (broken, "damage")):
        chunks: list[Chunk] = []
        with pytest.raises(StreamError, match=reason) as refused:
            chunks.extend(read_file(str(path)))
        assert str(path) in str(refused.value)
        assert "\n" not in str(refused.value)


def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").mkdir()
    (tmp_path / "sales.csv").write_bytes(LINES)
    (tmp_path / "sales.csv.gz").write_bytes(LINES)
    (tmp_path / "sales.xz").write_bytes(b"\xfd7zXZ\0")
    for name, reason in {
        "orders.csv": "orders.csv: is a folder; name a file in it",
        "sale.csv": r"sale.csv: there is no such file \(did you mean sales.csv\?\)",
        "sales.csv.gz": "must be a gzip file; got other bytes",
        "sales.xz": "must be plain, gzip or Zstandard; got xz",
        "a\0b": "embedded null byte",
    }.items():
        with pytest.raises(ConfigError, match=reason) as refused:
            list(read_file(str(tmp_path / name)))
        assert "\n" not in str(refused.value)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="only Linux has such a file")
def test_a_file_that_fails_while_it_is_read_is_a_stream_that_did_not_answer() -> None:
    with pytest.raises(StreamError, match=r"/proc/self/mem: reading failed: input/output error"):
        list(read_file("/proc/self/mem"))


def test_a_file_without_permission_is_refused() -> None:
    with open_folder() as folder:
        (folder / "orders.csv").write_bytes(LINES)
        (folder / "orders.csv").chmod(0)
        with (
            nobody(),
            pytest.raises(ConfigError, match=r"orders[.]csv: may not be read by this user"),
        ):
            list(read_file(str(folder / "orders.csv")))


def test_standard_input_is_read_from_any_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for start in (0, 10, len(LINES) + 1):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LINES)))
        assert text_of(list(read_file("-", start, 1000))) == LINES[start:]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(LINES))))
    with pytest.raises(ConfigError, match="standard input: must be plain text; got packed bytes"):
        list(read_file("-"))


@pytest.mark.parametrize("start", [0, 10, 5000])
def test_a_pipe_is_read_from_any_start(start: int) -> None:
    read, write = os.pipe()
    os.write(write, LINES[:8000])
    os.close(write)
    assert text_of(list(read_file(f"/dev/fd/{read}", start, 1000))) == LINES[start:8000]
    os.close(read)


# A folder, for ever.


def test_only_whole_lines_are_handed_out_wherever_the_writer_pauses(tmp_path: Path) -> None:
    text = HEADER + order(1) + order(2)
    for split in range(len(text) + 1):
        path = tmp_path / f"{split:03}.csv"
        path.write_bytes(text[:split])
        with Files(str(path)).open() as tail:
            first = drain(tail)
            assert all(bytes(chunk.data).endswith(b"\n") for chunk in first)
            with path.open("ab") as file:
                file.write(text[split:])
            assert text_of(first + drain(tail)) == text


def test_a_restart_goes_on_where_the_positions_say(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    files = Files(str(tmp_path), size=200, longest=100, poll_size=300)
    path.write_bytes(HEADER + LINES)
    positions: dict[str, Any] = {}
    read = b""
    while True:
        with files.open(positions) as tail:
            chunks = tail.poll(0)
            positions = saved(tail)
        if not chunks:
            break
        read += text_of(chunks)
    assert read == HEADER + LINES


def test_damaged_positions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"position of orders[.]csv#1: Object missing required"):
        Files(str(tmp_path)).open({"orders.csv#1": {"offset": 3}})


def test_the_partition_is_the_path_at_first_sight_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "orders.log"
    path.write_bytes(HEADER + order(1))
    with Files(str(tmp_path)).open() as tail:
        (chunk,) = tail.poll(0)
        assert chunk.partition.startswith("orders.log#")
        path.rename(tmp_path / "orders.log.1")
        path.write_bytes(HEADER + order(3))
        with (tmp_path / "orders.log.1").open("ab") as file:
            file.write(order(2))
        second, third = tail.poll(0)
        assert (second.partition, second.position) == (chunk.partition, len(HEADER + order(1)))
        assert third.partition != chunk.partition
        assert third.partition.startswith("orders.log#")


def test_a_file_truncated_after_a_copy_begins_anew_and_the_copy_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "orders.log"
    path.write_bytes(HEADER + order(1))
    with Files(str(path)).open() as tail:  # the copy's name is not wanted
        (first,) = tail.poll(0)
        with path.open("ab") as file:
            file.write(order(2))
        shutil.copy(path, tmp_path / "orders.log.1")
        path.write_bytes(b"")
        (second,) = tail.poll(0)
        assert (second.partition, bytes(second.data)) == (first.partition, order(2))
        path.write_bytes(HEADER + order(3))
        assert text_of(tail.poll(0)) == HEADER + order(3)
        assert tail.counts["truncated"] == 1


def test_a_file_truncated_and_grown_beyond_the_offset_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "orders.log"
    path.write_bytes(HEADER + order(1))
    with Files(str(tmp_path)).open() as tail:
        tail.poll(0)
        path.write_bytes(HEADER + order(2) + order(3))
        assert text_of(drain(tail) + drain(tail)) == HEADER + order(2) + order(3)
        path.write_bytes(HEADER + order(4) + order(5))  # as long as before
        os.utime(path, ns=(1, 1))
        assert text_of(drain(tail) + drain(tail)) == HEADER + order(4) + order(5)
        assert tail.counts["truncated"] == 2


def test_a_deleted_file_is_read_to_its_end_and_then_ended(tmp_path: Path) -> None:
    path = tmp_path / "orders.log"
    path.write_bytes(HEADER + LINES + b"no,line,end")
    with Files(str(tmp_path), size=200, longest=100, poll_size=1).open() as tail:
        chunks = tail.poll(0)
        path.unlink()
        path.write_bytes(HEADER + order(1))
        chunks += drain(tail)
        assert not any(chunk.end for chunk in chunks)
        (end,) = drain(tail, MINUTE_US)
        assert (bytes(end.data), end.end) == (b"no,line,end", True)
        assert text_of(chunks) == HEADER + LINES + HEADER + order(1)


def test_a_file_packed_while_down_is_read_on_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "orders.log"
    path.write_bytes(HEADER + LINES[:5000])
    with Files(str(tmp_path)).open() as tail:
        chunks = drain(tail)
        positions = saved(tail)
    text = HEADER + LINES + b"last,line"
    (tmp_path / "orders.log.2.gz").write_bytes(gzip.compress(text))
    path.write_bytes(HEADER + order(1))
    with Files(str(tmp_path)).open(positions) as tail:
        more = drain(tail)
        partition = chunks[0].partition
        assert text_of(chunks + [c for c in more if c.partition == partition]) == text
        assert text_of([c for c in more if c.partition != partition]) == HEADER + order(1)
        assert [c.end for c in more if c.partition == partition][-1]
        positions = saved(tail)
    with Files(str(tmp_path)).open(positions) as tail:
        assert drain(tail) == []


def test_a_file_is_not_read_again_while_it_is_packed(tmp_path: Path) -> None:
    path = tmp_path / "orders.log"
    path.write_bytes(HEADER + LINES)
    packed = gzip.compress(HEADER + LINES)
    with Files(str(tmp_path)).open() as tail:
        assert text_of(drain(tail)) == HEADER + LINES
        for size in range(0, len(packed), 100):
            (tmp_path / "orders.log.gz").write_bytes(packed[:size])
            assert tail.poll(0) == []
        (tmp_path / "orders.log.gz").write_bytes(packed)
        assert tail.poll(0) == []
        path.unlink()
        assert text_of(drain(tail) + drain(tail, MINUTE_US) + drain(tail, 2 * MINUTE_US)) == b""
        assert tail.counts["copies"] == 1


def test_a_copy_is_set_aside_and_a_file_that_only_begins_alike_is_not(tmp_path: Path) -> None:
    begin = HEADER + order(1) + order(2)
    for name, text in {"a": begin + order(3), "b": begin + order(4), "c": begin}.items():
        (tmp_path / f"{name}.csv").write_bytes(text)
    with Files(str(tmp_path)).open() as tail:
        read = {bytes(chunk.data) for chunk in drain(tail)}
        assert read == {begin + order(3), begin + order(4)}
        assert tail.counts["copies"] == 1


def test_bytes_that_were_seen_and_vanished_are_counted_as_lost(tmp_path: Path) -> None:
    path = tmp_path / "orders.log"
    path.write_bytes(HEADER + LINES)
    with Files(str(tmp_path), size=200, longest=100, poll_size=1).open() as tail:
        read = text_of(tail.poll(0))
        assert tail.unread == len(HEADER + LINES) - len(read)
        path.write_bytes(HEADER)
        assert tail.poll(0) == []
        (end,) = tail.poll(MINUTE_US)
        assert end.end
        assert tail.counts["lost"] == len(HEADER + LINES) - len(read)
        assert tail.poll(9 * MINUTE_US) == []


def test_a_packed_file_that_arrives_in_pieces_is_read_once(tmp_path: Path) -> None:
    packed = gzip.compress(HEADER + LINES)
    with Files(str(tmp_path)).open() as tail:
        chunks = []
        for size in range(0, len(packed) + 99, 100):
            (tmp_path / "orders.log.gz").write_bytes(packed[:size])
            chunks += tail.poll(0)
        assert text_of(chunks) == HEADER + LINES
        assert chunks[-1].end


def test_what_cannot_be_read_holds_up_nothing_and_is_told() -> None:
    packed = bytearray(gzip.compress(HEADER + os.urandom(1 << 17).hex().encode() + b"\n"))
    packed[100_000:100_064] = b"\xff" * 64
    with open_folder() as folder:
        (folder / "a.csv.gz").write_bytes(packed)
        (folder / "b.csv.gz").write_bytes(b"plain")
        (folder / "c.csv.gz").write_bytes(gzip.compress(HEADER + LINES)[:-20])
        (folder / "d.csv").write_bytes(HEADER + order(1))
        (folder / "e.csv").write_bytes(HEADER + order(2))
        (folder / "e.csv").chmod(0)
        with nobody(), Files(str(folder)).open() as tail:
            chunks = drain(tail) + drain(tail, MINUTE_US)
            assert HEADER + order(1) in text_of(chunks)
            assert set(tail.problems) == {"a.csv.gz", "b.csv.gz", "c.csv.gz", "e.csv"}
            assert "damage" in tail.problems["a.csv.gz"]
            assert "too early" in tail.problems["c.csv.gz"]
        with Files(str(folder)).open() as tail:
            (folder / "e.csv").chmod(0o644)
            assert order(2) in text_of(drain(tail))
            assert "e.csv" not in tail.problems


def test_a_line_longer_than_a_record_comes_in_pieces_of_bounded_size(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    long_line = b"x" * 1000 + b"\n"
    text = HEADER + order(1) + long_line + order(2)
    path.write_bytes(HEADER + order(1))
    files = Files(str(tmp_path), size=200, longest=100)
    positions: dict[str, Any] = {}
    chunks: list[Chunk] = []
    for at in [*range(len(HEADER + order(1)), len(text), 9), len(text)]:
        path.write_bytes(text[:at])
        with files.open(positions) as tail:  # restarts in the middle of the line too
            chunks += drain(tail)
            positions = saved(tail)
    assert text_of(chunks) == text
    parts = [chunk for chunk in chunks if chunk.part != "lines"]
    assert text_of(parts) == long_line
    assert [chunk.part for chunk in parts] == ["start"] + ["rest"] * (len(parts) - 1)
    assert all(len(chunk.data) <= 200 for chunk in chunks)


def test_a_last_line_without_end_is_whole_after_the_patience(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(HEADER + order(1).strip())
    with Files(str(path)).open() as tail:
        assert drain(tail, 5) == []
        (first,) = drain(tail, 5 + MINUTE_US)[:1]
        chunks = [first, *drain(tail, 5 + 2 * MINUTE_US)]
        assert text_of(chunks) == HEADER + order(1).strip()
        assert chunks[-1].end
        with path.open("ab") as file:
            file.write(b"\r\n" + order(2))
        assert text_of(chunks + drain(tail, 9 * MINUTE_US)) == HEADER + order(1) + order(2)


def test_files_of_one_series_are_read_one_after_the_other(tmp_path: Path) -> None:
    for number in range(5):
        path = tmp_path / f"orders-{number}.csv"
        path.write_bytes(HEADER + order(number) * 50)
        os.utime(path, ns=(number, number))
    with Files(str(tmp_path), size=200, longest=100, poll_size=700).open() as tail:
        chunks = drain(tail)
        names = [chunk.partition for chunk in chunks]
        assert names == sorted(names)
        assert len(set(names)) == 5


def test_files_that_grow_beside_each_other_take_turns(tmp_path: Path) -> None:
    for till in range(4):
        (tmp_path / f"till-{till}.csv").write_bytes(HEADER + order(till))
    with Files(str(tmp_path), size=200, longest=100, poll_size=600).open() as tail:
        drain(tail)
        for till in range(4):
            with (tmp_path / f"till-{till}.csv").open("ab") as file:
                file.write(order(till) * 500)
        assert len({chunk.partition for chunk in tail.poll(0) + tail.poll(0)}) == 4


def test_a_thousand_files_are_read_whole_and_go_on_to_be(tmp_path: Path) -> None:
    paths = [tmp_path / f"till-{till}.csv" for till in range(1000)]
    expected = dict.fromkeys((path.name for path in paths), b"")
    read = dict.fromkeys(expected, b"")
    positions: dict[str, Any] = {}
    for turn in range(3):
        for till, path in enumerate(paths):
            new = order(turn * 1000 + till)
            new = new if turn else HEADER + new
            with path.open("ab") as file:
                file.write(new)
            expected[path.name] += new
        with Files(str(tmp_path)).open(positions) as tail:
            for chunk in drain(tail):
                read[chunk.partition.partition("#")[0]] += bytes(chunk.data)
            positions = saved(tail)
    assert read == expected


def test_a_pattern_names_files_at_any_depth(tmp_path: Path) -> None:
    folder = tmp_path / "a[1]" / "north" / "2010"
    folder.mkdir(parents=True)
    (folder / "orders.csv").write_bytes(HEADER + order(1))
    (folder / ".hidden.csv").write_bytes(HEADER + order(2))
    (folder / "notes.txt").write_bytes(HEADER + order(3))
    (folder / "link.csv").symlink_to(folder / "orders.csv")
    (folder / "nowhere.csv").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.csv")
    for pattern in ("**/*.csv", "north/*/*.csv", "n*/2010/orders.csv"):
        with Files(f"{tmp_path}/a[[]1]/{pattern}").open() as tail:
            assert text_of(drain(tail)) == HEADER + order(1)


def test_a_folder_that_is_not_there_is_refused_or_told_of(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="logs: there is no such folder"):
        Files(str(tmp_path / "logs")).open()
    with pytest.raises(ConfigError, match="logs: there is no such folder"):
        Files(str(tmp_path / "logs" / "*.csv")).open()
    with Files(str(tmp_path / "later.csv")).open() as tail:
        assert tail.poll(0) == []
        (tmp_path / "later.csv").write_bytes(HEADER + order(1))
        assert text_of(tail.poll(0)) == HEADER + order(1)
    (tmp_path / "logs").mkdir()
    with Files(str(tmp_path / "logs")).open() as tail:
        (tmp_path / "logs").rmdir()
        with pytest.raises(StreamError, match="logs: cannot be listed: No such file"):
            tail.poll(0)
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs" / "orders.csv").write_bytes(HEADER + order(1))
        assert text_of(tail.poll(0)) == HEADER + order(1)


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
