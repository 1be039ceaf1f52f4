"""Decoding: the same lines and rejects as the slow path, however the bytes are cut."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import decode_twin
from oddlot.decode.decoder import Decoder
from oddlot.decode.reading import Reading
from oddlot.engine.compiled import IS_COMPILED
from oddlot.schema import Reject

COLUMNS = {"sku": "sku", "quantity": "quantity", "time": "time", "description": "text"}
CSV = Reading("csv", COLUMNS, ("sku", "quantity", "time", "text"))
JSONL = Reading("jsonl", COLUMNS, ())
LINE = {
    "csv": b"22423,6,2010-12-01 08:26,%b\n",
    "jsonl": b'{"sku":"22423","quantity":6,"time":"2010-12-01 08:26","text":"%b"}\n',
}
LONG = (65_480, 65_490, 65_500, 65_508, 65_509, 65_510, 65_511, 65_512, 65_520, 70_000, 200_000)

large = pytest.mark.skipif(not IS_COMPILED, reason="takes minutes as plain Python")
both = pytest.mark.parametrize("reading", [CSV, JSONL], ids=["csv", "jsonl"])


@given(st.integers(0, 2**32))
@settings(max_examples=120 if IS_COMPILED else 10, deadline=None)
def test_lines_and_rejects_are_those_of_the_slow_path(seed: int) -> None:
    draw = random.Random(seed)
    reading = decode_twin.make_reading(draw)
    data = decode_twin.make_data(draw, reading, draw.choice([1, 3, 20]))
    chunks = decode_twin.cut(draw, data)
    assert not decode_twin.difference(data, reading, chunks, draw.random() < 0.3)


@both
@pytest.mark.parametrize("encoding", ["auto", "utf-8", "iso-8859-1"])
@pytest.mark.parametrize("text", ["Camisón 50 €", "plain", "\N{KELVIN SIGN}", "\ufeff"])
def test_texts_are_read_by_the_encoding_of_the_source(
    reading: Reading, encoding: str, text: str
) -> None:
    reading = Reading(reading.format, COLUMNS, reading.header, encoding=encoding)
    for data in (
        text.encode(),
        text.encode("cp1252", "replace"),
        b"\xe9",
        b"\xc3(",
        b"\xed\xa0\x80",
    ):
        lines = LINE[reading.format] % data * 3
        assert not decode_twin.difference(lines, reading, [lines], restarts=False)


@both
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_any_cut_and_restart_changes_nothing(reading: Reading, end: bytes) -> None:
    quoted = b'"a ""b"", c\r\nd"' if reading.format == "csv" else b"a \\u00e9"
    lines = LINE[reading.format] % quoted + LINE[reading.format] % b"b" + b"\nodd\n"
    data = (lines + LINE[reading.format] % b"\xe9" + b'"open').replace(b"\n", end)
    for at in range(len(data) + 1):
        assert not decode_twin.difference(data, reading, [data[:at], data[at:]], restarts=True)
    single = [data[i : i + 1] for i in range(len(data))]
    assert not decode_twin.difference(data, reading, single, restarts=False)


@large
@both
@pytest.mark.parametrize("size", LONG)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_records_are_cut_off_at_their_longest_whatever_the_chunks(
    reading: Reading, size: int, end: bytes
) -> None:
    line = LINE[reading.format]
    text = b"x" * size
    texts = [text, b'"' + text + b'"', b'"' + text, b'"a\nb' + text + b'"', b'"a\n' + text]
    for one in texts if reading.format == "csv" else texts[:1]:
        data = (line % b"a" + line % one + line % b"b").replace(b"\n", end)
        # Cuts around where the longest record ends, and in the middle of a line end.
        for at in (65_535, 65_536, 65_537, 65_538, 65_600, len(data) - len(line) - len(end)):
            chunks = [data[:at], data[at : at + 1], data[at + 1 :]]
            assert not decode_twin.difference(data, reading, chunks, restarts=True)
        assert not decode_twin.difference(data, reading, [data], restarts=False)


@large
@both
@pytest.mark.parametrize("extra", range(-3, 4))
def test_a_record_that_ends_where_the_longest_may_is_read(reading: Reading, extra: int) -> None:
    line = LINE[reading.format]
    text = b"x" * (65_536 - len(line % b"") + 1 + extra)
    for end in (b"\n", b"\r\n", b""):
        data = (line % text).removesuffix(b"\n") + end
        for at in (*range(65_534, 65_541), len(data)):
            chunks = [data[:at], data[at:]]
            assert not decode_twin.difference(data, reading, chunks, restarts=True)


@large
@both
def test_a_line_without_an_end_takes_no_memory_and_is_one_reject(reading: Reading) -> None:
    decoder = Decoder(reading, "orders", 0)
    chunk, count = b"y" * (1 << 20), 100
    for _ in range(count):
        assert not list(decoder.feed(chunk))
        assert decoder.save()[1].nbytes <= 65_538
    rejects: list[Reject] = []
    lines = 0
    for decoded in decoder.feed(b"\n" + LINE[reading.format] % b"a", True):
        rejects += decoded.rejects
        lines += len(decoded.lines)
        if len(decoded.lines):
            assert decoded.lines.line["position"][0] == (count << 20) + 1
            assert decoded.lines.line["number"][0] == 2
    reason = f"record must have at most 65536 bytes; got {count << 20}"
    assert rejects == [Reject("orders", 0, 1, reason, b"y" * 256, count << 20)]
    assert lines == 1


@large
@both
def test_more_lines_than_a_batch_holds_are_all_there(reading: Reading) -> None:
    data = LINE[reading.format] % b"a" * 40_000
    decoder = Decoder(reading, "orders", 0)
    numbers = [n for batch in decoder.feed(data) for n in batch.lines.line["number"].tolist()]
    assert numbers == list(range(1, 40_001))
    decoder = Decoder(reading, "orders", 0)
    rejects = [r for batch in decoder.feed(b"x\n" * 40_000) for r in batch.rejects]
    assert [reject.position for reject in rejects] == list(range(0, 80_000, 2))


@both
def test_decoders_that_take_turns_do_not_disturb_each_other(reading: Reading) -> None:
    data = LINE[reading.format] % b"abc" * 5
    one, other = Decoder(reading, "one", 1), Decoder(reading, "other", 2)
    found: dict[int, list[int]] = {1: [], 2: []}
    for at in range(0, len(data), 17):
        for number, decoder in ((1, one), (2, other)):
            for decoded in decoder.feed(data[at : at + 17], at + 17 >= len(data)):
                assert decoded.lines.read(0, "description") == "abc"
                found[number] += decoded.lines.line["position"].tolist()
    assert found[1] == found[2] == list(range(0, len(data), len(data) // 5))


@given(st.lists(st.sampled_from([b'"', b"\r", b"\n", b",", b"x", b"\r\n", b'""']), max_size=30))
@settings(max_examples=200 if IS_COMPILED else 10, deadline=None)
@example([b'"', b"\n", b"\r"])
def test_records_end_as_quotes_and_line_ends_say(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    reading = Reading("csv", COLUMNS, CSV.header)
    for at in (0, len(data) // 2):
        assert not decode_twin.difference(data, reading, [data[:at], data[at:]], restarts=True)
