"""A line from another time neither moves the stream nor gets lost."""

from __future__ import annotations

import numpy as np
import pytest

from lines import SKEW, Line, feed, make_lines, numbers, opened, released
from oddlot.engine.event_time import EventTime

DAY_US = 86_400_000_000


def steady(count: int, start: int = 1_000_000) -> list[Line]:
    return [Line(start + 2 * number, number) for number in range(count)]


@pytest.mark.parametrize("place", [0, 1, 2, 40, 79, 80])
@pytest.mark.parametrize("odd_time", [4_000_000_000, -5_000_000_000, 1_000_000 - 200])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_line_from_another_time_makes_no_other_line_late(
    place: int, odd_time: int, size: int
) -> None:
    rows = steady(80)
    rows.insert(place, Line(odd_time, 999))
    time = opened()
    out: list[int] = []
    late: list[int] = []
    for at in range(0, len(rows), size):
        more, too_late = feed(time, rows[at : at + size])
        out, late = out + more, late + too_late
    out += released(time, flush=True)
    assert [number for number in out if number != 999] == list(range(80))
    assert set(late) <= {999}


def test_lines_that_are_ahead_alone_never_move_the_stream() -> None:
    time = opened()
    rows = steady(200)
    for number in range(20):
        rows.insert(10 * number + 5, Line(1_000_000 + 1000 * (number + 1), 1000 + number))
    out, late = feed(time, rows)
    assert not late
    assert time.newest_us == 1_000_398
    assert time.pending == 20 + 3
    assert out == list(range(197))


def test_a_line_ahead_is_released_in_its_place_when_the_stream_gets_there() -> None:
    for size in (1, 5, 1000):
        time = opened()
        rows = steady(200)
        rows.insert(3, Line(1_000_301, 999))
        out: list[int] = []
        for at in range(0, len(rows), size):
            more, late = feed(time, rows[at : at + size])
            out += more
            assert not late
        out += released(time, flush=True)
        assert out == [*range(151), 999, *range(151, 200)]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_an_invoice_with_a_mistyped_date_never_moves_the_stream(size: int) -> None:
    invoice = ("I-typo", "S0", "", "", "UK")
    rows = steady(200)
    rows[100:100] = [Line(2_000_000, 900 + n, texts=invoice) for n in range(30)]
    time = opened()
    out: list[int] = []
    for at in range(0, len(rows), size):
        more, late = feed(time, rows[at : at + size])
        out += more
        assert not late
    assert time.newest_us < 2_000_000
    assert out + released(time, flush=True) == list(range(200))


@pytest.mark.parametrize("closed_us", [12 * DAY_US, 365 * DAY_US])
def test_a_shop_that_was_closed_for_long_goes_on(closed_us: int) -> None:
    time = EventTime(5_000_000, 30 * DAY_US, DAY_US)
    time.source_names = ["a"]
    before = [Line(number * 60_000_000, number) for number in range(100)]
    after = [Line(closed_us + number * 60_000_000, number) for number in range(100, 200)]
    out, late = feed(time, before + after)
    assert not late
    assert out + released(time, flush=True) == list(range(200))


def test_a_lone_line_between_two_long_gaps_is_not_lost() -> None:
    time = opened()
    rows = [*steady(5), Line(1_050_000, 5), *(Line(1_090_000 + n, 6 + n) for n in range(5))]
    out, late = feed(time, rows)
    assert not late
    assert out + released(time, flush=True) == list(range(11))


def test_three_lines_a_year_apart_are_all_released_at_the_end() -> None:
    time = EventTime(5_000_000, 30 * DAY_US, DAY_US)
    time.source_names = ["a"]
    assert feed(time, [Line(365 * DAY_US * n, n) for n in range(3)]) == ([], [])
    assert time.pending == 3
    assert released(time, flush=True) == [0, 1, 2]


def test_more_lines_ahead_than_there_is_room_for_push_the_oldest_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("oddlot.engine.event_time._MOST_WAITING", 10)
    time = opened()
    feed(time, steady(5))
    late, given_up = time.admit(make_lines([Line(2_000_000 + 500 * n, 100 + n) for n in range(25)]))
    assert not late
    assert numbers(given_up) == list(range(100, 115))
    assert time.pending == 3 + 10
    # The stream is not blocked by them.
    _, late_again = feed(time, [Line(5_000_000 + n, 200 + n) for n in range(3)])
    assert max(late_again, default=0) < 200
    assert time.newest_us == 5_000_002


def test_many_lines_ahead_in_one_batch_take_little_memory() -> None:
    time = opened()
    text = ("I", "S", "x" * 2000, "", "UK")
    rows = []
    for number in range(400):
        rows.append(Line(1_000_000 + number, number, texts=text))
        rows.append(Line(2_000_000 + 250 * number, 1000 + number, texts=text))
        rows.append(Line(1_000_000 + number + SKEW + 1, 2000 + number, texts=text))
    batch = make_lines(rows)
    time.admit(batch)
    assert len(time._text) <= 4 * len(batch.text) + (1 << 20)


def test_lines_keep_their_texts_when_the_heap_moves_while_a_batch_is_admitted() -> None:
    time = opened()
    feed(time, [Line(1_000_200 + n, n) for n in range(50)])
    feed(time, [Line(1_000_800 + n, 100 + n) for n in range(2)])
    batch = make_lines([Line(1_000_300 + 10 * n, 200 + n) for n in range(120)])
    # Room for the batch, but not for the texts of the two that it lets join.
    filler = np.zeros(len(time._text) - time._end - len(batch.text) - 20, np.uint8)
    time._make_room(0, filler)
    time._end += 64
    late, _ = time.admit(batch)
    assert not late
    out = released(time) + released(time, flush=True)
    assert out[-122:] == [*range(200, 250), 100, 250, 101, *range(251, 320)]
