"""Records packed as the Kinesis Producer Library packs them, and unpacked again."""

from __future__ import annotations

import hashlib

import hypothesis.strategies as st
from hypothesis import given

from oddlot.streams import kpl

# Made by aws-kinesis-agg 1.2.3, which Amazon publishes.
ORDERS = bytes.fromhex(
    "f3899ac20a063835313233410a0537313035331a1408001a103533363336352c3835313233412c360a1a1308011a0f"
    "3533363336352c37313035332c360a1a0408001a00c9841327d2afd55fc9555e9f2321aef3"
)
RECORDS = [("85123A", b"536365,85123A,6\n"), ("71053", b"536365,71053,6\n"), ("85123A", b"")]
TWO_HASH_KEYS = bytes.fromhex(
    "f3899ac20a01610a0162122731373031343131383334363034363932333137333136383733303337313538383431"
    "30353732381201301a09080010001a036f6e651a09080110011a0374776fdd90cf5202e7dd4c34780dacc9ffc8f3"
)

some_records = st.lists(st.tuples(st.text(min_size=1), st.binary(max_size=300)), min_size=1)
hash_keys = st.just("") | st.integers(0, (1 << 128) - 1).map(str)


def test_packs_the_bytes_that_amazons_library_packs() -> None:
    assert kpl.pack(RECORDS) == ORDERS


def test_unpacks_what_amazons_library_packed() -> None:
    assert kpl.unpack(ORDERS) == RECORDS
    assert kpl.unpack(TWO_HASH_KEYS) == [("a", b"one"), ("b", b"two")]


@given(records=some_records, hash_key=hash_keys)
def test_what_was_packed_is_unpacked_the_same(
    records: list[tuple[str, bytes]], hash_key: str
) -> None:
    assert kpl.unpack(kpl.pack(records, hash_key)) == records


@given(at=st.integers(0, len(ORDERS) - 1), bit=st.integers(0, 7))
def test_a_damaged_pack_is_one_record(at: int, bit: int) -> None:
    damaged = bytearray(ORDERS)
    damaged[at] ^= 1 << bit
    assert kpl.unpack(bytes(damaged)) is None


@given(data=st.binary(max_size=100))
def test_a_record_of_anybody_else_is_one_record(data: bytes) -> None:
    assert kpl.unpack(data) is None


@given(message=st.binary(max_size=100))
def test_wrong_contents_under_a_right_checksum_are_one_record_or_whole(message: bytes) -> None:
    data = kpl.MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()
    records = kpl.unpack(data)
    assert records is None or all(len(content) <= len(message) for _, content in records)


def test_fields_that_nobody_knows_yet_are_passed_over() -> None:
    message = b"\x0a\x01k" + b"\x50\x07" + b"\x59" + bytes(8) + b"\x5d" + bytes(4)
    message += b"\x1a\x0d" + b"\x08\x00" + b"\x1a\x01x" + b"\x22\x06tagged"
    data = kpl.MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()
    assert kpl.unpack(data) == [("k", b"x")]
