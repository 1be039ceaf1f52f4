"""The log generator: what is in the files is in the logs, whole and when it is due."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest

from oddlot.decode.layout import look
from oddlot.decode.reading import Settings
from oddlot.decode.record import read_record
from oddlot.errors import ConfigError
from oddlot.replay import Replay, Replayed, replay
from oddlot.replay.logs import ROTATIONS
from oddlot.simulate import Shop, simulate

HEADER = b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
SHOP = b"".join(
    simulate(Shop(seed=5, skus=20, days=6, lines_per_day=60, faults_per_day=0))[0].text()
)


class Clock:
    """A clock that only moves when somebody sleeps, and remembers how long."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def _write(folder: Path, data: bytes, name: str = "orders.csv") -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def _play(folder: Path, data: bytes, name: str = "orders.csv", **options: Any) -> Replayed:
    clock = Clock()
    file = _write(folder, data, name)
    return replay(Replay(file, str(folder / "logs"), **options), clock, clock.sleep)


def _logs(folder: Path) -> list[Path]:
    return sorted((folder / "logs").iterdir())


def _lines(folder: Path) -> list[bytes]:
    """The lines of all logs, without headers."""
    data = [path.read_bytes() for path in _logs(folder)]
    return [line for text in data for line in text.splitlines(keepends=True)[1:]]


def _time(line: bytes) -> str:
    return next(csv.reader([line.decode()]))[4]


# The same bytes.


def test_a_replay_as_fast_as_possible_passes_every_byte(tmp_path: Path) -> None:
    counts = _play(tmp_path, SHOP)
    assert [path.name for path in _logs(tmp_path)] == ["orders-000001.csv"]
    assert _logs(tmp_path)[0].read_bytes() == SHOP
    assert counts == Replayed(lines=SHOP.count(b"\n") - 1, files=1, bytes=len(SHOP))


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_quoted_line_ends_doubled_quotes_and_odd_bytes_are_kept(
    tmp_path: Path, line_end: bytes
) -> None:
    rows = [
        b'1,A,"two\nlines, ""quoted""",1,2024-01-08 09:00,1,,UK',
        b'2,B,5" plate,1,2024-01-08 09:00,1,,UK',
        b"3,C,voucher \xa310,1,2024-01-08 09:00,1,,UK",
        b"4,D,too few",
        b'5,E,"a"b"c,1,2024-01-08 09:00,1,,UK',
        b"",
        b'6,F,"open,1,2024-01-08 09:00,1,,UK',
    ]
    data = line_end.join([HEADER.strip(), *rows, b""])
    counts = _play(tmp_path, data, event_ids=False)
    assert _logs(tmp_path)[0].read_bytes() == data
    assert counts.lines == len(rows)


def test_a_missing_last_line_end_is_added_and_a_byte_order_mark_left_out(tmp_path: Path) -> None:
    _play(tmp_path, b"\xef\xbb\xbf" + SHOP[:-1])
    assert _logs(tmp_path)[0].read_bytes() == SHOP


def test_a_header_without_lines_gives_a_log_with_a_header(tmp_path: Path) -> None:
    assert _play(tmp_path, HEADER.strip()).lines == 0
    assert _logs(tmp_path)[0].read_bytes() == HEADER


def test_packed_and_json_orders_pass_too(tmp_path: Path) -> None:
    _play(tmp_path, gzip.compress(SHOP), "orders.csv.gz")
    assert _logs(tmp_path)[0].read_bytes() == SHOP
    data = b'{"sku":"A","quantity":1,"time":"2024-01-08 09:00"}\n{"sku" :"B"}\nno json\n'
    _play(tmp_path, data, "orders.jsonl")
    assert (tmp_path / "logs" / "orders-000002.jsonl").read_bytes() == data


# Growing, rotating files.


@pytest.mark.parametrize(
    ("rotation", "rotate_bytes"),
    [("number", 1), *((name, size) for name in ROTATIONS for size in (1000, 5000, 10**9))],
)
def test_rotated_logs_hold_every_line_once_and_a_header_each(
    tmp_path: Path, rotation: str, rotate_bytes: int
) -> None:
    counts = _play(tmp_path, SHOP, rotate_bytes=rotate_bytes, rotation=rotation)
    paths = _logs(tmp_path)
    if rotation == "rename":
        paths.sort(key=lambda path: -int(path.suffix[1:]) if path.suffix != ".log" else 0)
        assert paths[-1].name == "orders.log"
    texts = [path.read_bytes() for path in paths]
    assert all(text.startswith(HEADER) and text.endswith(b"\n") for text in texts)
    assert HEADER + b"".join(text[len(HEADER) :] for text in texts) == SHOP
    assert all(len(text) <= rotate_bytes or text.count(b"\n") == 2 for text in texts)
    assert counts.files == len(paths)
    assert counts.bytes == sum(map(len, texts))


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_second_replay_overwrites_nothing(tmp_path: Path, rotation: str) -> None:
    for _ in range(3):
        _play(tmp_path, SHOP, rotation=rotation)
    assert [path.read_bytes() for path in _logs(tmp_path)] == [SHOP] * 3


def test_only_whole_lines_are_in_the_files_at_any_moment(tmp_path: Path) -> None:
    clock = Clock()
    seen: list[int] = []

    def sleep(seconds: float) -> None:
        data = b"".join(path.read_bytes() for path in _logs(tmp_path))
        assert data.endswith(b"\n")
        seen.append(data.count(b"\n"))
        clock.sleep(seconds)

    options = Replay(_write(tmp_path, SHOP), str(tmp_path / "logs"), rate=50, rotate_bytes=3000)
    replay(options, clock, sleep)
    assert len(set(seen)) > 50
    assert seen == sorted(seen)


# Pace.


def test_a_rate_is_kept_over_the_whole_replay(tmp_path: Path) -> None:
    clock = Clock()
    options = Replay(_write(tmp_path, SHOP), str(tmp_path / "logs"), rate=200)
    counts = replay(options, clock, clock.sleep)
    assert counts.lines / 200 - 0.05 < sum(clock.slept) <= counts.lines / 200


def test_a_speed_shrinks_the_gaps_of_event_time(tmp_path: Path) -> None:
    clock = Clock()
    rows = [b"1,A,x,1,2024-01-08 %02d:00,1,,UK\n" % hour for hour in (9, 9, 10, 13)]
    grown: list[tuple[float, int]] = []
    replay(
        Replay(_write(tmp_path, HEADER + b"".join(rows)), str(tmp_path / "logs"), speed=3600),
        clock,
        clock.sleep,
        progress=lambda counts: grown.append((clock.now - 1000, counts.lines)),
    )
    assert list(dict(reversed(grown)).items())[::-1] == [(0.0, 2), (1.0, 3), (4.0, 4)]


def test_a_longest_pause_shortens_the_nights(tmp_path: Path) -> None:
    clock = Clock()
    rows = [b"1,A,x,1,2024-01-%02d 09:00,1,,UK\n" % day for day in (8, 9, 15)]
    options = Replay(
        _write(tmp_path, HEADER + b"".join(rows)),
        str(tmp_path / "logs"),
        speed=86_400,
        longest_pause="2s",
    )
    replay(options, clock, clock.sleep)
    assert sum(clock.slept) == pytest.approx(3)


def test_a_slow_reader_of_the_clock_is_caught_up_with(tmp_path: Path) -> None:
    clock = Clock()

    def oversleep(seconds: float) -> None:
        clock.sleep(seconds + 0.4)

    options = Replay(_write(tmp_path, SHOP), str(tmp_path / "logs"), rate=100)
    counts = replay(options, clock, oversleep)
    assert clock.now - 1000 < counts.lines / 100 + 0.5


def test_a_stopped_replay_leaves_whole_lines(tmp_path: Path) -> None:
    clock = Clock()
    options = Replay(_write(tmp_path, SHOP), str(tmp_path / "logs"), rate=100)
    counts = replay(options, clock, clock.sleep, stop=lambda: clock.now > 1000.6)
    data = _logs(tmp_path)[0].read_bytes()
    assert 40 < counts.lines < 80
    assert SHOP.startswith(data)
    assert data.endswith(b"\n")


# Disorder and duplicates.


@pytest.mark.parametrize("disorder", ["0s", "1s", "10m", "3h"])
def test_disorder_moves_lines_by_no_more_than_it_says(tmp_path: Path, disorder: str) -> None:
    limit_us = {"0s": 1, "1s": 10**6, "10m": 600 * 10**6, "3h": 10_800 * 10**6}[disorder]
    counts = _play(tmp_path, SHOP, disorder=disorder)
    lines = _lines(tmp_path)
    assert Counter(lines) == Counter(SHOP.splitlines(keepends=True)[1:])
    reading, _ = look("orders.csv", SHOP, lambda: b"", Settings())
    times = [read_record(line.strip(b"\n"), reading).time_us for line in lines]
    newest = list(accumulate(times, max))
    late_us = max(last - now for last, now in zip(newest, times, strict=True))
    assert late_us < limit_us
    assert (late_us > 0) == (limit_us > 60 * 10**6)
    assert counts.lines == len(lines)


def test_the_same_seed_gives_the_same_disorder(tmp_path: Path) -> None:
    for seed in (1, 1, 2):
        _play(tmp_path, SHOP, disorder="1h", duplicates=0.2, seed=seed)
    one, again, other = [path.read_bytes() for path in _logs(tmp_path)]
    assert one == again != other


def test_a_time_from_the_future_does_not_end_the_disorder(tmp_path: Path) -> None:
    lines = SHOP.splitlines(keepends=True)
    future = b"9,A,x,1,2099-01-01 00:00,1,,UK\n"
    _play(tmp_path, b"".join([*lines[:20], future, *lines[20:]]), disorder="2h")
    times = list(map(_time, _lines(tmp_path)))
    assert times[-1].startswith("2099")
    assert sum(before > after for before, after in pairwise(times[30:])) > 20


def test_records_without_a_time_keep_their_place(tmp_path: Path) -> None:
    lines = SHOP.splitlines(keepends=True)
    _play(tmp_path, b"".join([*lines[:20], b"bad\n", *lines[20:]]), disorder="2h")
    assert 0 < _lines(tmp_path).index(b"bad\n") <= 19


@pytest.mark.parametrize("disorder", ["0s", "1h"])
def test_duplicates_carry_the_event_id_of_the_first(tmp_path: Path, disorder: str) -> None:
    counts = _play(tmp_path, SHOP, duplicates=0.3, disorder=disorder)
    assert _logs(tmp_path)[0].read_bytes().startswith(HEADER.strip() + b",EventId\n")
    seen = Counter(_lines(tmp_path))
    events = {line.strip().rpartition(b",")[2] for line in seen}
    assert len(events) == len(seen) == counts.lines
    assert set(seen.values()) == {1, 2}
    assert sum(count == 2 for count in seen.values()) == counts.duplicates
    assert 0.2 < counts.duplicates / counts.lines < 0.4
    assert [line.rpartition(b",")[0] + b"\n" for line in dict.fromkeys(_lines(tmp_path))] == (
        SHOP.splitlines(keepends=True)[1:]
    ) or disorder == "1h"


def test_equal_records_have_event_ids_of_their_own(tmp_path: Path) -> None:
    row = b"1,A,x,1,2024-01-08 09:00,1,,UK\r\n"
    _play(tmp_path, HEADER + row * 5, event_ids=True)
    assert len(set(_lines(tmp_path))) == 5
    assert all(line.endswith(b"\r\n") for line in _lines(tmp_path))


def test_an_event_column_that_is_there_is_used(tmp_path: Path) -> None:
    data = b"sku,quantity,time,event_id\n" + b"A,1,2024-01-08,e1\nA,2,2024-01-08,e2\n"
    _play(tmp_path, data, duplicates=1)
    assert _lines(tmp_path) == [b"A,1,2024-01-08,e1\n"] * 2 + [b"A,2,2024-01-08,e2\n"] * 2


def test_json_records_get_an_event_id_too(tmp_path: Path) -> None:
    data = b'{"sku":"A","quantity":1,"time":"2024-01-08"}\n{ }\n[1]\nno json\n\n'
    _play(tmp_path, data, "orders.jsonl", event_ids=True)
    lines = _logs(tmp_path)[0].read_bytes().splitlines()
    assert json.loads(lines[0])["EventId"] != json.loads(lines[1])["EventId"]
    assert lines[2:] == [b"[1]", b"no json", b""]


# CSV as JSON Lines.


def test_csv_becomes_json_lines_in_utf_8(tmp_path: Path) -> None:
    rows = [
        b'536365,85123A,"HEART, ""RED""",6,2024-01-08 09:00,2.50,17850,UK\n',
        b"536366,B,voucher \xa310 \\ \t,+6,2024-01-08 09:00,1.,,UK\n",
        b"536367,C,too few\n",
    ]
    _play(tmp_path, HEADER + b"".join(rows), format="jsonl")
    assert _logs(tmp_path)[0].name == "orders-000001.jsonl"
    lines = _logs(tmp_path)[0].read_text(encoding="utf-8").splitlines()
    assert lines[0] == (
        '{"InvoiceNo":"536365","StockCode":"85123A","Description":"HEART, \\"RED\\"",'
        '"Quantity":6,"InvoiceDate":"2024-01-08 09:00","UnitPrice":2.50,"CustomerID":"17850",'
        '"Country":"UK"}'
    )
    second = json.loads(lines[1])
    assert second["Description"] == "voucher £10 \\ \t"
    assert (second["Quantity"], second["UnitPrice"]) == ("+6", "1.")
    assert json.loads(lines[2]) == "536367,C,too few"


def test_lines_read_from_json_are_those_read_from_csv(tmp_path: Path) -> None:
    _play(tmp_path, SHOP, format="jsonl", event_ids=True)
    text = _logs(tmp_path)[0].read_bytes()
    reading, skip = look("orders.csv", SHOP, lambda: b"", Settings())
    wanted = [read_record(line, reading) for line in SHOP[skip:].splitlines()]
    reading, _ = look("orders.jsonl", text, lambda: b"", Settings())
    found = [read_record(line, reading) for line in text.splitlines()]
    assert all(line.event for line in found)
    for line in found:
        line.event = ""
    assert found == wanted


# What is refused.


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"speed": 2, "rate": 3}, "replay: give speed or rate, not both"),
        ({"rate": -1}, "replay: rate must be 0 or more; got -1"),
        ({"duplicates": 1.5}, "replay: duplicates must be 0 to 1; got 1.5"),
        ({"format": "xml"}, "replay: format must be one of: auto, csv, jsonl; got 'xml'"),
        ({"rotation": "daily"}, "replay: rotation must be one of: number, rename; got 'daily'"),
        ({"disorder": "5"}, "replay: disorder must be a duration such as 500ms"),
        ({"rotate_bytes": 0}, "replay: rotate_bytes must be 1 or more; got 0"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        _play(tmp_path, SHOP, **options)
    assert not (tmp_path / "logs").exists()


def test_json_lines_cannot_become_csv(tmp_path: Path) -> None:
    data = b'{"sku":"A","quantity":1,"time":"2024-01-08"}\n'
    with pytest.raises(ConfigError, match=r"format must be jsonl or auto for .*orders\.jsonl"):
        _play(tmp_path, data, "orders.jsonl", format="csv")


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("here")
    with pytest.raises(ConfigError, match="logs: must be a folder to write to"):
        _play(tmp_path, SHOP)
