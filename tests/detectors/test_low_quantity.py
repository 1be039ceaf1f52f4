"""The window of low_quantity has both its ends in it, and nothing beyond."""

from __future__ import annotations

import numpy as np

from lines import Line, make_lines
from oddlot.detectors.low_quantity import LowQuantity
from oddlot.engine.event_time import Released
from oddlot.engine.scoring import Scoring

HOUR_US = 3_600_000_000


def windows(*lines: tuple[int, int]) -> list[tuple[int, ...]]:
    """Score lines of one SKU, given as time and quantity."""
    rows = [Line(time_us, i, quantity=quantity) for i, (time_us, quantity) in enumerate(lines)]
    released = Released(make_lines(rows), np.arange(len(rows)))
    (found,) = Scoring([LowQuantity()]).score(released, 1).found
    return [tuple(map(int, one)) for one in found.tolist()]


def test_a_line_as_old_as_the_window_is_in_it() -> None:
    assert windows((0, 3), (HOUR_US, 4))[1] == (1, 7, 2)


def test_a_line_older_than_the_window_is_not_in_it() -> None:
    assert windows((0, 3), (HOUR_US + 1, 4))[1] == (1, 4, 1)


def test_lines_of_the_same_time_are_in_it_whatever_their_order() -> None:
    assert windows((5, 3), (5, 4), (5, -1)) == [(1, 6, 3)] * 3


def test_a_line_of_ten_is_in_no_window_and_gets_no_row() -> None:
    assert windows((0, 10), (0, 9), (1, 12)) == [(0, 0, 0), (1, 9, 1), (0, 0, 0)]
