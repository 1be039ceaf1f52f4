"""Many small records in one Kinesis record, in the Kinesis Producer Library's format."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

MAGIC = b"\xf3\x89\x9a\xc2"
_DIGEST = 16
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of Protocol Buffers


def pack(records: Sequence[tuple[str, bytes]], hash_key: str = "") -> bytes:
    """Join records into the data of one Kinesis record.

    Args:
        records: partition key and data of each, in order; at least one.
        hash_key: explicit hash key, in decimal, of them all. Consumers drop a record whose hash
            lies outside the shard that it came by, so where keys are mixed give the hash key of
            the whole.

    Source:
        KPL Aggregated Record Format, awslabs/amazon-kinesis-producer,
        aggregation-format.md.
    """
    indices: dict[str, int] = {}
    heads: dict[tuple[int, int], bytes] = {}
    middle = b"\x10\x00" if hash_key else b""
    body: list[bytes] = []
    for key, data in records:
        index = indices.setdefault(key, len(indices))
        head = heads.get((index, len(data)))
        if head is None:
            inner = b"\x08" + _varint(index) + middle + b"\x1a" + _varint(len(data))
            head = heads[index, len(data)] = b"\x1a" + _varint(len(inner) + len(data)) + inner
        body += (head, data)
    tables = [_field(b"\x0a", key.encode()) for key in indices]
    if hash_key:
        tables.append(_field(b"\x12", hash_key.encode()))
    message = b"".join(tables + body)
    return b"".join((MAGIC, message, hashlib.md5(message, usedforsecurity=False).digest()))


def unpack(data: bytes) -> list[tuple[str, bytes]] | None:
    """Return partition key and data of each record inside one Kinesis record, in order.

    Returns:
        None where the record holds no others, or they are damaged: it is one record then.
    """
    if len(data) < len(MAGIC) + _DIGEST or data[: len(MAGIC)] != MAGIC:
        return None
    message = data[len(MAGIC) : -_DIGEST]
    if hashlib.md5(message, usedforsecurity=False).digest() != data[-_DIGEST:]:
        return None
    keys: list[str] = []
    found: list[tuple[int, bytes]] = []
    try:
        for number, value in _fields(message):
            if number == 3 and isinstance(value, bytes):
                found.append(_plain_record(value) or _record(value))
            elif number == 1 and isinstance(value, bytes):
                keys.append(value.decode())
        return [(keys[index], content) for index, content in found]
    except (IndexError, ValueError):  # UnicodeDecodeError is one
        return None


def is_packed(data: bytes) -> bool:
    """Tell whether a record says that it holds others."""
    return data[: len(MAGIC)] == MAGIC


def _plain_record(message: bytes) -> tuple[int, bytes] | None:
    """Read a record as nearly all are: a small index, less than 16 KiB of data, nothing else."""
    if len(message) < 4 or message[0] != 0x08 or message[1] > 0x7F or message[2] != 0x1A:
        return None
    size, begin = message[3], 4
    if size > 0x7F and len(message) > 4 and message[4] <= 0x7F:
        size, begin = (size & 0x7F) | message[4] << 7, 5
    return (message[1], message[begin:]) if len(message) == begin + size else None


def _record(message: bytes) -> tuple[int, bytes]:
    index, content = -1, None
    for number, value in _fields(message):
        if number == 1 and isinstance(value, int):
            index = value
        elif number == 3 and isinstance(value, bytes):
            content = value
    if index < 0 or content is None:
        raise ValueError("a record must have a key and data")
    return index, content


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field; numbers of fixed width, which nobody writes, as 0."""
    at, end = 0, len(message)
    while at < end:
        tag = message[at]
        at += 1
        if tag > 0x7F:
            tag, at = _read_varint(message, at - 1)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size = message[at]
            at += 1
            if size > 0x7F:
                size, at = _read_varint(message, at - 1)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type must be 0, 1, 2 or 5; got {kind}")
        if at + size > end:
            raise ValueError("a field must end before its message")
        yield tag >> 3, message[at : at + size] if kind == _BYTES else 0
        at += size


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number must have 64 bits at most")


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + _varint(len(value)) + value
