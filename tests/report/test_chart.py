"""Charts: what they show can be seen, and what comes from the data is text."""

from __future__ import annotations

import math
import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from oddlot.report.chart import (
    HEIGHT,
    WIDTH,
    Bar,
    Look,
    Span,
    _positive_axis,
    _signed_axis,
    draw_bars,
    draw_promise,
    draw_spans,
)

LOOK = Look("a chart", 2, "alert", None, "", [(0, "2024-01")], str, "units")
amounts = st.one_of(st.just(0.0), st.floats(0.01, 1e12), st.integers(1, 2**40).map(float))


def places(svg: str) -> list[float]:
    """Return every number that says where something is; those of a path after capitals only."""
    assert "nan" not in svg
    assert "inf" not in svg
    paths = " ".join(re.findall(r' d="([^"]*)"', svg))
    absolute = re.findall(r"[MLHV]([^A-Za-z]*)", paths)
    numbers = re.findall(r' (?:x|y|width|height|cx|cy)="([^"]*)"', svg)
    return [float(one) for text in [*absolute, *numbers] for one in text.split()]


@given(st.lists(st.one_of(st.none(), st.tuples(amounts, amounts)), max_size=40))
def test_bars_of_any_height_lie_within_the_chart(heights: list[tuple[float, float] | None]) -> None:
    bars = [None if one is None else Bar(*one, "a day") for one in heights]
    svg = draw_bars(bars, LOOK)
    assert all(-1 <= place <= max(WIDTH, HEIGHT) for place in places(svg))
    shown = [bar for bar in bars if bar and (bar.up or bar.down)]
    assert (len(re.findall(r"M[\d. ]+V[\d.]+h", svg))) >= len(shown)


@given(st.lists(st.one_of(st.none(), st.tuples(amounts, amounts)), max_size=40), amounts)
def test_spans_of_any_length_lie_within_the_chart(
    ends: list[tuple[float, float] | None], point: float
) -> None:
    spans = [None if one is None else Span(min(one), max(one), "a day") for one in ends]
    svg = draw_spans(spans, LOOK._replace(band=(1.0, 2.0)), point)
    assert all(-1 <= place <= max(WIDTH, HEIGHT) for place in places(svg))


@given(amounts, amounts, st.lists(amounts, max_size=5))
def test_the_names_of_an_axis_are_not_written_over_each_other(
    low: float, high: float, usual: list[float]
) -> None:
    axes = [_signed_axis(low, high, sorted(usual)), _positive_axis([low, high])]
    for axis in axes:
        heights = sorted(axis.place(tick) for tick in axis.ticks)
        assert all(b - a > 12 for a, b in pairwise(heights))


def test_one_giant_bar_does_not_hide_the_others() -> None:
    axis = _signed_axis(0, 80_995, [6.0] * 50 + [80_995])
    assert axis.is_log
    assert axis.place(0) - axis.place(6) > 15


def test_titles_and_labels_are_escaped() -> None:
    evil = "<script>\"'&"
    look = LOOK._replace(mark=0, label=evil, mark_text=evil, unit=evil, band=(0, 1), band_text=evil)
    svg = draw_bars([Bar(1, 0, evil)], look) + draw_spans([Span(1, 2, evil)], look, 1.0)
    assert "<script" not in svg
    assert svg.count("&lt;script&gt;") == 10


def test_a_promise_that_holds_lies_on_the_diagonal() -> None:
    points = [(0.01, 0.01), (0.1, 0.1), (1.0, 1.0)]
    band = [(x, x / 2, 2 * x) for x, _ in points]
    svg = draw_promise(points, band, "kept", ("promised", "found"), str)
    line = re.findall(r'class="line" d="M([^"]*)"', svg)[0]
    (x0, y0), (x1, y1), (x2, y2) = (map(float, pair.split()) for pair in line.split("L"))
    assert math.isclose((y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1), rel_tol=0.02)
