"""Folders followed while their files grow, rotate, come and go."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from log_files import HEADER, LINES, MINUTE_US, drain, nobody, open_folder, order, saved, text_of
from oddlot.errors import ConfigError, StateError, StreamError
from oddlot.streams.files import Chunk, Files


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


def test_a_file_truncated_before_it_was_read_is_read_from_its_copy(tmp_path: Path) -> None:
    path = tmp_path / "orders.log"
    (tmp_path / "first.log").write_bytes(HEADER + order(1))
    path.write_bytes(HEADER + order(2) + order(3))
    os.utime(tmp_path / "first.log", ns=(1, 1))
    with Files(str(tmp_path), poll_size=1).open() as tail:
        chunks = tail.poll(0)
        shutil.copy(path, tmp_path / "orders.log.1")
        path.write_bytes(HEADER + order(4))
        chunks += drain(tail)
        texts = sorted(bytes(chunk.data) for chunk in chunks)
        assert texts == [HEADER + order(1), HEADER + order(2) + order(3), HEADER + order(4)]


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
