"""The plots of the accuracy page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from judging import goals, svg
from judging.scoring import PROMISES, RECALLS, spread

Reports = Mapping[str, list[dict[str, Any]]]
ODDLOT, ENSEMBLE = "oddlot", "ensemble"
# Those that find more than one kind of fault, or are the best of theirs; more lines hide all.
DRAWN = (
    *(ODDLOT, ENSEMBLE, "poisson", "gap"),
    *("loda", "half_space_trees", "quantity_z", "seed_rule"),
)


def draw_all(reports: Reports) -> dict[str, str]:
    """Draw every plot that there are figures for.

    Args:
        reports: by detector, one report of `scoring.judge` for each seed.

    Returns:
        SVG by the name of its file.
    """
    drawn = {"accuracy-curves": _draw_curves(reports), "accuracy-promise": _draw_promise(reports)}
    if ODDLOT in reports:
        drawn["accuracy-types"] = _draw_types(reports)
    return drawn


def _draw_curves(reports: Reports) -> str:
    drawing = svg.Drawing(760, 430, "Precision against recall, Oddlot and its peers")
    axes = svg.Axes(drawing, (56, 34, 540, 376), svg.linear(0, 1), svg.linear(0, 1))
    ticks = [(k / 5, f"{k / 5:g}") for k in range(6)]
    axes.mark_y(ticks, "precision")
    axes.mark_x(ticks, "recall of planted faults, as the threshold falls")
    row = 0
    for k, name in enumerate(DRAWN):
        if name not in reports:
            continue
        curve = np.array([report["curve"] for report in reports[name]], float).mean(axis=0)
        reached = ~np.isnan(curve)
        points = [axes.at(x, y) for x, y in zip(RECALLS[reached], curve[reached], strict=True)]
        drawing.path(points, f"s{k}", 3 if name == ODDLOT else 1.75)
        y = 48 + 22 * row
        drawing.path([(562, y - 4), (582, y - 4)], f"s{k}", 3 if name == ODDLOT else 1.75)
        drawing.text(588, y, name, kind="bold" if name == ODDLOT else "ink")
        row += 1
    return drawing.finish()


def _draw_types(reports: Reports) -> str:
    single = [name for name in reports if name not in (ODDLOT, ENSEMBLE)]
    kinds = list(goals.TYPES)
    drawing = svg.Drawing(760, 94 + 38 * len(kinds), "Recall and best F1 by type of fault")
    panels = (("recall", 150, 430, "recall at 20 alerts a day"), ("f1_best", 460, 740, "best F1"))
    series = [(ODDLOT, "f0"), (ENSEMBLE, "f1"), ("best other peer", "plain")]
    x = 150
    for name, kind in series:
        drawing.bar(x, 12, 12, 12, kind)
        drawing.text(x + 18, 22, name, kind="bold" if name == ODDLOT else "ink")
        x += 90 + 6 * len(name)
    for figure, left, right, title in panels:
        axes = svg.Axes(
            drawing, (left, 60, right, 60 + 38 * len(kinds)), svg.linear(0, 1), svg.linear(0, 1)
        )
        axes.mark_x([(k / 4, f"{k / 4:g}") for k in range(5)])
        drawing.text(right, 52, title, "end", "quiet")
        for row, kind in enumerate(kinds):
            y = 60 + 38 * row
            if figure == "recall":
                drawing.text(left - 8, y + 23, kind, "end")
            values = [
                _figure(reports, ODDLOT, kind, figure),
                _figure(reports, ENSEMBLE, kind, figure),
                max((_figure(reports, name, kind, figure) for name in single), default=0.0),
            ]
            for k, value in enumerate(values):
                drawing.bar(left, y + 4 + 10 * k, axes.x(value) - left, 9, series[k][1])
    return drawing.finish()


def _figure(reports: Reports, name: str, kind: str, figure: str) -> float:
    value = spread(list(reports.get(name, ())), "at", 20, "types", kind, figure)
    return value.mean if value else 0.0


def _draw_promise(reports: Reports) -> str:
    low, high = 0.02, 120.0
    drawing = svg.Drawing(760, 400, "False alarms a day on clean data against the budget")
    scale = svg.logarithmic(low, high)
    axes = svg.Axes(drawing, (56, 34, 540, 346), scale, scale)
    axes.mark_y([(v, f"{v:g}") for v in (0.05, 0.25, 1, 5, 20, 100)], "alerts a day on clean data")
    axes.mark_x([(v, f"{v:g}") for v in PROMISES], "budget: false alarms a day that you accept")
    band = [axes.at(low, 0.8 * low), axes.at(high, 0.8 * high)]
    band += [axes.at(high, high), axes.at(high / 1.2, high), axes.at(low, 1.2 * low)]
    drawing.area(band, "plain")
    drawing.path([axes.at(low, low), axes.at(high, high)], "dashed", 1)
    drawing.text(562, 48, "dashed: promised, ± 20 %", kind="quiet")
    row = 1
    for k, name in enumerate((ODDLOT, ENSEMBLE)):
        for figure, words in (
            ("clean_fp_per_day", "false alarms"),
            ("clean_alerts_per_day", "all alerts"),
        ):
            points = []
            for budget in PROMISES:
                value = spread(list(reports.get(name, ())), "own", budget, figure)
                if value is not None and value.mean > 0:
                    points.append(axes.at(budget, value.mean))
                    x = axes.x(budget)
                    drawing.line(x, axes.y(value.low), x, axes.y(value.high), f"s{k}")
            if not points:
                continue
            is_whole = figure == "clean_alerts_per_day"
            y = 48 + 22 * row
            drawing.path(points, f"s{k}", 1 if is_whole else 2.5)
            drawing.dots(points, f"f{k}", 2.5 if is_whole else 4)
            drawing.path([(562, y - 4), (582, y - 4)], f"s{k}", 1 if is_whole else 2.5)
            drawing.text(588, y, f"{name}, {words}")
            row += 1
    return drawing.finish()


def nice_high(value: float) -> float:
    """Return a value a little above, to end an axis at."""
    step = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return math.ceil(value * 1.05 / step) * step
