"""Blocks of bytes as a stream hands them out, and the reading of one file, packed or plain."""

from __future__ import annotations

import difflib
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from oddlot.errors import ConfigError, StreamError

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
_SUFFIXES = {".gz": GZIP, ".zst": ZSTD}
_NAMES = {GZIP: "gzip", ZSTD: "Zstandard"}
_UNREADABLE = {b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_BLOCKS = {GZIP: 1 << 17, ZSTD: 1 << 12}  # bytes of a packed file that are read at a time
_PIECE = 1 << 17  # bytes of text that are unpacked at a time, at least
# A zstd block of 4 bytes can become 128 KiB of text, so 256 bytes become 8 MiB at most.
_ZSTD_STEP = 256


Part = Literal["lines", "start", "rest"]


class Chunk(msgspec.Struct, frozen=True):
    """A block of bytes out of one partition, in order and without gaps.

    Attributes:
        partition: the file or shard, as the user can find it.
        position: byte offset of `data[0]` in the partition's text (after unpacking).
        data: the bytes; nobody changes them afterwards.
        end: the partition ends behind `data`: what the decoder still holds is a record.
        part: "lines", or a piece of one line that is too long to be a record: its "start", or
            some of the "rest"; the piece that ends in LF is the last. Only a tail makes pieces.
    """

    partition: str
    position: int
    data: bytes | memoryview
    end: bool = False
    part: Part = "lines"


def read_file(path: str, start: int = 0, size: int = 1 << 20) -> Iterator[Chunk]:
    """Read a file once, from `start` to its end.

    A chunk ends wherever a block ends, in the middle of a line too. The last chunk is empty and
    has `end` set. Packed files are known by their first bytes, and by the endings .gz and .zst.

    Args:
        path: the file, or "-" for standard input (plain text only).
        start: byte offset in the text to begin at; >= 0.
        size: bytes in a chunk, at most.

    Raises:
        ConfigError: the file cannot be opened or is of a kind that is not read.
        StreamError: the file is damaged or cut short, or reading failed; what came before holds.
    """
    if path == "-":
        yield from _read_stdin(start, size)
        return
    handle = open_file(path)
    try:
        head, packing = _look(handle, path, size)
        if packing:
            yield from _read_packed(PackedText(handle, path, packing), start, size)
        else:
            yield from _read_plain(handle, path, head, start, size)
    except OSError as error:
        raise failed(path, error) from None
    finally:
        os.close(handle)


def open_file(path: str) -> int:
    """Open a file for reading and return its descriptor.

    Raises:
        ConfigError: it is not there, is a folder, or may not be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            os.close(handle)
            raise IsADirectoryError
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file{_nearest(path)}") from None
    except IsADirectoryError:
        raise ConfigError(
            f"{path}: is a folder; name a file in it, such as {Path(path, 'orders.csv')}"
        ) from None
    except PermissionError:
        raise ConfigError(f"{path}: may not be read by this user; check its permissions") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be opened: {_reason(error)}") from None
    return handle


def failed(path: str, error: OSError) -> StreamError:
    """Say in one line that reading a file failed midway."""
    return StreamError(f"{path}: reading failed: {_reason(error)}")


def packing_of(path: str, head: bytes) -> bytes:
    """Tell how a file is packed: GZIP, ZSTD, or b"" for a plain one.

    Raises:
        ConfigError: the ending of its name is not true, or it is packed in another way.
    """
    for magic, name in _UNREADABLE.items():
        if head.startswith(magic):
            raise ConfigError(f"{path}: must be plain, gzip or Zstandard; got {name}: unpack it")
    expected = _SUFFIXES.get(path[path.rfind(".") :].lower())
    if expected and not head.startswith(expected):
        got = "an empty file" if not head else "other bytes"
        raise ConfigError(f"{path}: must be a {_NAMES[expected]} file; got {got}")
    return next((magic for magic in (GZIP, ZSTD) if head.startswith(magic)), b"")


class Text(Protocol):
    """The text of a file, to be read at any offset; the file may still grow."""

    handle: int
    damage: StreamError | None  # why nothing can be read behind what was taken last

    def take(self, position: int, size: int) -> bytes:
        """Return up to `size` bytes at `position`; fewer where the text ends at present."""
        ...

    @property
    def is_whole(self) -> bool:
        """Whether the text that was reached last is followed by nothing, ever."""
        ...


class PlainText:
    """The bytes of a file that is not packed."""

    is_whole = False
    damage: StreamError | None = None

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def take(self, position: int, size: int) -> bytes:
        """Return up to `size` bytes at `position`."""
        return os.pread(self.handle, size, position)


class PackedText:
    """The text inside a gzip or Zstandard file.

    Reading on is cheap; going back unpacks again from the beginning. Holds at most one block and
    what was asked for last, however well the file is packed.
    """

    damage: StreamError | None

    def __init__(self, handle: int, path: str, packing: bytes) -> None:
        self.handle = handle
        self.path = path
        self._packing = packing
        self._rewind()

    def _rewind(self) -> None:
        self.damage = None
        self._next = 0  # offset of the next packed byte to read
        self._packed = b""  # packed bytes that were read and are not unpacked yet
        self._held = b""  # unpacked bytes that were not taken yet
        self._start = 0  # text offset of the first held byte
        self._unpacked = 0  # bytes of text unpacked so far
        self._between = True  # between two members or frames
        self._more_inside = False  # the unpacker may hold text although it has no input
        self._at_end = False

    @property
    def is_whole(self) -> bool:
        """Whether everything was unpacked and the last member or frame is complete."""
        return self._between and self._at_end

    def take(self, position: int, size: int) -> bytes:
        """Return up to `size` bytes at `position`, or fewer and see `damage`."""
        if position < self._start:
            self._rewind()
        self._drop(position)
        while not self.damage and self._start + len(self._held) < position + size:
            try:
                piece = self.unpack(max(size, _PIECE))
            except StreamError as error:
                self.damage = error
                break
            if not piece:
                break
            self._held += piece
            self._drop(position)
        return self._held[:size] if self._start == position else b""

    def unpack(self, size: int) -> bytes:
        """Return the next piece of text, about `size` bytes at most; b"" at the present end."""
        while True:
            if not self._packed and not self._more_inside:
                self._packed = os.pread(self.handle, _BLOCKS[self._packing], self._next)
                self._next += len(self._packed)
                self._at_end = not self._packed
                if self._at_end:
                    return b""
            if self._between:
                # gzip files are padded with zeros by tapes and some copying programs.
                self._packed = self._packed.lstrip(b"\0")
                if not self._packed:
                    continue
            piece = self._unpack_some(size)
            self._unpacked += len(piece)
            if piece:
                return piece

    def damaged(self, what: str) -> StreamError:
        """Say in one line where the text ceases to be readable."""
        kind = _NAMES[self._packing]
        return StreamError(
            f"{self.path}: must be a whole {kind} file; got {what} after {self._unpacked:,} bytes"
            " of text"
        )

    def _drop(self, position: int) -> None:
        """Let go of held text before `position`."""
        dropped = min(position - self._start, len(self._held))
        if dropped:
            self._held, self._start = self._held[dropped:], self._start + dropped

    def _unpack_some(self, size: int) -> bytes:
        return self._gunzip(size) if self._packing == GZIP else self._unpack_zstd()

    def _gunzip(self, size: int) -> bytes:
        if self._between:
            self._member = zlib.decompressobj(wbits=31)
        try:
            piece = self._member.decompress(self._packed, size)
        except zlib.error as error:
            raise self.damaged(f"damage ({str(error).rpartition(': ')[2]})") from None
        self._between = self._member.eof
        self._packed = self._member.unused_data or self._member.unconsumed_tail
        self._more_inside = len(piece) == size and not self._between
        return piece

    def _unpack_zstd(self) -> bytes:
        import zstandard

        if self._between:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        piece = b""
        while self._packed and not piece:
            step, self._packed = self._packed[:_ZSTD_STEP], self._packed[_ZSTD_STEP:]
            try:
                piece = self._frame.decompress(step)
            except zstandard.ZstdError as error:
                raise self.damaged(f"damage ({str(error).rpartition(': ')[2]})") from None
            self._between = self._frame.eof
            if self._between:
                self._packed = self._frame.unused_data + self._packed
                break
        return piece


def _read_plain(handle: int, path: str, head: bytes, start: int, size: int) -> Iterator[Chunk]:
    # A pipe (such as <(zcat orders.gz)) cannot seek: read and drop instead.
    position = len(head)
    if start > position and _can_seek(handle):
        position = os.lseek(handle, start, os.SEEK_SET)
    elif head and start < position:
        yield Chunk(path, start, head[start:])
    while data := os.read(handle, size):
        position += len(data)
        if position > start:
            kept = min(len(data), position - start)
            yield Chunk(path, position - kept, data if kept == len(data) else data[-kept:])
    yield Chunk(path, max(position, start), b"", end=True)


def _read_packed(text: PackedText, start: int, size: int) -> Iterator[Chunk]:
    position = 0
    while piece := text.unpack(max(size, _PIECE)):
        begin = position
        position += len(piece)
        for at in range(max(begin, start), position, size):
            yield Chunk(text.path, at, piece[at - begin : at - begin + size])
    if not text.is_whole:
        raise text.damaged("its end too early")
    yield Chunk(text.path, max(position, start), b"", end=True)


def _read_stdin(start: int, size: int) -> Iterator[Chunk]:
    read = getattr(sys.stdin.buffer, "read1", sys.stdin.buffer.read)
    position = 0
    # What a pipe holds is handed on at once, not when a block is full.
    while data := read(size):
        if not position and packing_of("standard input", data):
            raise _packed_pipe("standard input")
        position += len(data)
        if position > start:
            kept = min(len(data), position - start)
            yield Chunk("-", position - kept, data[len(data) - kept :])
    yield Chunk("-", max(position, start), b"", end=True)


def _look(handle: int, path: str, size: int) -> tuple[bytes, bytes]:
    """Return how the file is packed, behind the first bytes where they cannot be read again."""
    if _can_seek(handle):
        return b"", packing_of(path, os.pread(handle, 8, 0))
    head = os.read(handle, size)
    if packing_of(path, head):
        raise _packed_pipe(path)
    return head, b""


def _packed_pipe(path: str) -> ConfigError:
    return ConfigError(f"{path}: must be plain text; got packed bytes: unpack them in the pipe")


def _can_seek(handle: int) -> bool:
    try:
        os.lseek(handle, 0, os.SEEK_CUR)
    except OSError:
        return False
    return True


def _nearest(path: str) -> str:
    try:
        names = [file.name for file in Path(path).parent.iterdir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(Path(path).name, names, 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text[:1].lower() + text[1:]
