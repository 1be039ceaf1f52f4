"""Arrays in one checksummed file: a JSON header and little-endian bytes, never code."""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from oddlot.durable import Crash, no_crash, storage_error, write_file
from oddlot.errors import StateError

Arrays = dict[str, NDArray[Any]]

MAGIC = b"ODDLOT1\n"
ALIGNMENT = 64  # a cache line, so that mapped arrays are aligned for every dtype
PREAMBLE = 48  # magic, length of the header, digest of the header
CODES = frozenset(
    ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")
)


class Piece(msgspec.Struct, frozen=True):
    """One array in the file: where it lies, padding included in size and crc."""

    name: str
    dtype: Any
    shape: tuple[int, ...]
    at: int
    size: int
    crc: int


class Header(msgspec.Struct, frozen=True):
    """What a row file holds; `size` is the whole file's."""

    epoch: int
    size: int
    arrays: tuple[Piece, ...]


def describe(dtype: np.dtype[Any]) -> object:
    """Describe a dtype in JSON terms, exactly: offsets and padding included.

    Raises:
        TypeError: it holds something other than numbers.
    """
    if dtype.names is not None:
        fields = [dtype.fields[name] for name in dtype.names] if dtype.fields else []
        return {
            "names": list(dtype.names),
            "formats": [describe(field[0]) for field in fields],
            "offsets": [field[1] for field in fields],
            "itemsize": dtype.itemsize,
        }
    if dtype.subdtype is not None:
        return [describe(dtype.subdtype[0]), list(dtype.subdtype[1])]
    code = dtype.newbyteorder("<").str
    if code not in CODES:
        raise TypeError(f"rows must be numbers; got {dtype}")
    return code


def restore_dtype(description: object) -> np.dtype[Any]:
    """Make the dtype that `describe` described.

    Raises:
        StateError: it is not one that this program writes.
    """
    if isinstance(description, str) and description in CODES:
        return np.dtype(description)
    if isinstance(description, list) and len(description) == 2:
        return np.dtype((restore_dtype(description[0]), tuple(description[1])))
    if isinstance(description, dict):
        formats = [restore_dtype(field) for field in description["formats"]]
        fields: Any = {**description, "formats": formats}
        record: np.dtype[Any] = np.dtype(fields)
        return record
    raise StateError(f"dtype must be made of numbers; got {description!r}")


def write_rows(
    path: Path, epoch: int, arrays: Mapping[str, NDArray[Any]], crash: Crash = no_crash
) -> bytes:
    """Write arrays into a new, durable file.

    Args:
        path: where; must not exist yet.
        epoch: the checkpoint's number, kept in the header.
        arrays: any shapes; numbers or numpy records of numbers.
        crash: called at the points rows.write, .half, .sync and .folder.

    Returns:
        The checksum by which `read_rows` knows the file, 32 bytes; keep it elsewhere.

    Raises:
        StorageError: the disk refused; nothing is left behind.
    """
    pieces: list[Piece] = []
    blocks: list[bytes | memoryview] = []
    at = 0
    for name, array in arrays.items():
        description = describe(array.dtype)
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        data = _bytes_of(little)
        padding = bytes(-data.nbytes % ALIGNMENT)
        crc = zlib.crc32(padding, zlib.crc32(data))
        size = data.nbytes + len(padding)
        pieces.append(Piece(name, description, array.shape, at, size, crc))
        blocks += (data, padding)
        at += size
    header = _encode(epoch, pieces, at)
    digest = hashlib.blake2b(header, digest_size=32).digest()
    preamble = MAGIC + len(header).to_bytes(8, "little") + digest
    write_file(path, [preamble + header, *blocks], crash, "rows")
    return digest


def read_rows(path: Path, checksum: bytes) -> tuple[int, Arrays]:
    """Read what `write_rows` wrote; the arrays are new and can be changed.

    Args:
        path: the file.
        checksum: what `write_rows` returned; covers the header, which covers every byte.

    Returns:
        The epoch and the arrays.

    Raises:
        StateError: the file is missing or is not, byte for byte, what was written.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            preamble = file.read(PREAMBLE)
            length = int.from_bytes(preamble[8:16], "little")
            if len(preamble) < PREAMBLE or preamble[:8] != MAGIC or length > size - PREAMBLE:
                raise StateError(f"{path}: must be a whole row file; got {size} bytes of another")
            text = file.read(length)
            digest = hashlib.blake2b(text, digest_size=32).digest()
            if not digest == preamble[16:] == checksum:
                raise StateError(f"{path}: header must have the checksum that was committed")
            header = msgspec.json.decode(text, type=Header)
            if size != header.size:
                raise StateError(f"{path}: must have {header.size} bytes; got {size}")
            arrays = {piece.name: _read_piece(file, piece, path) for piece in header.arrays}
    except FileNotFoundError:
        raise StateError(f"{path}: must be there; it is missing") from None
    except OSError as error:
        if error.errno == errno.EIO:  # this file is lost; another one may be whole
            raise StateError(f"{path}: must be readable; {error.strerror}") from error
        raise storage_error(path, error) from error
    return header.epoch, arrays


def _encode(epoch: int, pieces: list[Piece], total: int) -> bytes:
    """Encode the header, padded with blanks so that the first array is aligned.

    The size of the file is in the header and depends on its length, hence the second try.
    """
    start = 0
    while True:
        header = msgspec.json.encode(Header(epoch, start + total, tuple(pieces)))
        needed = PREAMBLE + len(header)
        needed += -needed % ALIGNMENT
        if needed <= start:
            return header.ljust(start - PREAMBLE)
        start = needed


def _bytes_of(array: NDArray[Any]) -> memoryview:
    if array.size == 0:
        return memoryview(b"")
    return array.reshape(-1).view(np.uint8).data


def _read_piece(file: io.BufferedReader, piece: Piece, path: Path) -> NDArray[Any]:
    dtype = restore_dtype(piece.dtype)
    wanted = math.prod(piece.shape) * dtype.itemsize
    array = np.empty(piece.shape, dtype)
    data = _bytes_of(array)
    # file is buffered: readinto returns short only at the end of the file.
    got = file.readinto(data) if wanted else 0
    padding = file.read(piece.size - wanted)
    if got != wanted or zlib.crc32(padding, zlib.crc32(data)) != piece.crc:
        raise StateError(f"{path}: array {piece.name!r} must have the checksum in the header")
    return array
