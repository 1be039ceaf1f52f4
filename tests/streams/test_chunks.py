"""One file read once: plain, packed, from a pipe, damaged."""

from __future__ import annotations

import gzip
import io
import os
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings

from log_files import LINES, nobody, open_folder, text_of
from oddlot.errors import ConfigError, StreamError
from oddlot.streams.files import Chunk, read_file


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
