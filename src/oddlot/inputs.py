"""Files of orders as chunks of text, whether plain, packed or tables."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from oddlot.decode.table import parquet_chunks, xlsx_chunks
from oddlot.streams.chunks import Chunk, open_file, read_file


class ReadAhead:
    """The chunks of a file, some of which may be looked at before their turn.

    Attributes:
        done: bytes of text that were handed out.
    """

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self.done = 0
        self._chunks = chunks
        self._held: deque[Chunk] = deque()

    def __iter__(self) -> Iterator[tuple[bytes | memoryview, bool]]:
        while chunk := self._held.popleft() if self._held else next(self._chunks, None):
            self.done = chunk.position + len(chunk.data)
            yield chunk.data, chunk.end

    def more(self) -> bytes:
        """Return the bytes of the next chunk that nobody has seen; b"" at the end."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return b""
        self._held.append(chunk)
        return bytes(chunk.data)


def open_chunks(path: str) -> Iterator[Chunk]:
    """Return the chunks of a file; a table's become CSV. "-" is standard input.

    Raises:
        ConfigError, StreamError: as `read_file`, here or while they are read.
    """
    magic = _peek(path)
    if magic == b"PAR1":
        return _from_table(path, parquet_chunks(path))
    if magic == b"PK\x03\x04":
        return _from_table(path, xlsx_chunks(path))
    return read_file(path)


def _from_table(path: str, pieces: Iterable[bytes]) -> Iterator[Chunk]:
    position = 0
    for piece in pieces:
        yield Chunk(path, position, piece)
        position += len(piece)
    yield Chunk(path, position, b"", end=True)


def _peek(path: str) -> bytes:
    """Return the first four bytes of a file that can be read twice."""
    if path == "-" or not Path(path).is_file():
        return b""
    handle = open_file(path)
    try:
        return os.pread(handle, 4, 0)
    except OSError:
        return b""  # reading it in earnest says why
    finally:
        os.close(handle)


def text_size(path: str) -> int:
    """Return how many bytes of text a file holds, or 0 where that is not known beforehand."""
    if path == "-" or not Path(path).is_file():
        return 0
    magic = _peek(path)
    size = Path(path).stat().st_size
    if magic[:2] == b"\x1f\x8b":
        # The last four bytes are the size of the last member, modulo 4 GiB: enough for a bar.
        with Path(path).open("rb") as file:
            file.seek(max(0, size - 4))
            size_inside = int.from_bytes(file.read(4), "little")
        return size_inside if size_inside > size else 0
    if magic in (b"\x28\xb5\x2f\xfd", b"PAR1", b"PK\x03\x04"):
        return 0
    return size
