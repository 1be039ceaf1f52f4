"""One planted fault of each type as a plot: its series before and around, the alert marked."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np

from judging import svg
from judging.orders import Orders
from judging.plots import nice_high

_DAY = np.timedelta64(1, "D")
_BOX = (64.0, 56.0, 740.0, 232.0)
_WHOLE = "*"
# How a type is looked at, and how many days before and after.
VIEWS = {
    "quantity_spike": ("quantity", 60, 10),
    "unit_mixup": ("quantity", 30, 7),
    "price_error": ("price", 60, 10),
    "write_off": ("written off", 45, 12),
    "return_surge": ("returned", 45, 12),
    "demand_surge": ("lines", 45, 12),
    "demand_drop": ("lines", 50, 14),
    "silent_sku": ("lines", 50, 14),
    "duplicate_invoice": ("baskets", 0, 1),
    "site_outage": ("hours", 4, 3),
    "volume_shift": ("days", 40, 12),
    "new_sku": ("quantity", 40, 20),
}


@dataclass(frozen=True)
class Example:
    """What is drawn.

    Attributes:
        kind: the type.
        sku: a code, codes joined by "|", or "*".
        start: of the fault, datetime64[ns].
        end: of it.
        level: easy, medium or hard; empty where it is not InventoryBench's.
        near: the code that was meant; empty where none is mistyped.
        alert: time, score and text of the first alert on it.
    """

    kind: str
    sku: str
    start: Any
    end: Any
    level: str
    near: str
    alert: Any


def choose(kind: str, alerts: Any, labels: Any) -> Example | None:
    """Take the medium fault whose score is the median of those found; no best case."""
    from inventorybench.score import match

    named = alerts[alerts["type"] == kind].reset_index(drop=True)
    planted = labels[(labels["kind"] == "planted") & (labels["type"] == kind)]
    _, hits = match(named, planted)
    best = named["score"].to_numpy()[hits["alert"].to_numpy(int)]
    found = hits.assign(score=best).merge(planted, left_on="label", right_on="id")
    medium = found[found["level"] == "medium"]
    found = medium if len(medium) else found
    if not len(found):
        return None
    scores = found.groupby("label")["score"].max().sort_values(kind="stable")
    label = scores.index[len(scores) // 2]
    one = planted[planted["id"] == label].iloc[0]
    told = named.iloc[hits["alert"][hits["label"] == label].to_numpy(int)]
    first = told.sort_values("time", kind="stable").iloc[0]
    start, end = np.datetime64(one["start"], "ns"), np.datetime64(one["end"], "ns")
    return Example(kind, one["sku"], start, end, one["level"], one.get("near", ""), first)


def draw(example: Example, orders: Orders, seed: int) -> str:
    """Draw an example.

    Args:
        example: what to draw.
        orders: the stream that it is in.
        seed: the stream's, for the title.
    """
    view, before, after = VIEWS.get(example.kind, ("quantity", 45, 10))
    start = example.start.astype("datetime64[D]") - before * _DAY
    end = max(example.end, np.datetime64(example.alert["time"], "ns")).astype("datetime64[D]")
    end = end + after * _DAY
    drawing = svg.Drawing(760, 318, f"A planted {example.kind} and its alert")
    sku = "the whole shop" if example.sku == _WHOLE else example.sku
    sku = f"an invoice of {sku.count('|') + 1} SKUs" if "|" in sku else sku
    level = f", {example.level}, planted by seed {seed}" if example.level else ""
    level = f", meant was {example.near}" if example.near else level
    drawing.text(_BOX[0], 22, f"{example.kind}: {sku}{level}", kind="bold")
    inside = (orders.time >= start) & (orders.time < end)
    if example.sku != _WHOLE and view != "baskets":
        inside &= np.isin(orders.codes[orders.sku], [example.sku, example.near])
    hours = np.timedelta64(8 if view == "baskets" else 0, "h")  # the night is left out
    x = svg.linear(_number(start + hours), _number(end - hours / 2))
    field = {
        "quantity": _draw_lines,
        "price": _draw_lines,
        "baskets": _draw_baskets,
        "hours": _draw_hours,
    }.get(view, _draw_days)
    axes = field(drawing, example, orders, inside, x, view)
    axes.mark_x(_dates(start, end))
    _mark(drawing, axes, example)
    return drawing.finish()


def _number(when: Any) -> float:
    return float(np.datetime64(when, "ns").astype(np.int64))


def _often(rate: float) -> str:
    """Say how often something so odd turns up."""
    often, seldom = f"{rate:,.0f}", f"{1 / rate:,.0f}"
    if rate >= 1:
        return "once a day" if often == "1" else f"{often} times a day"
    return "once a day" if seldom == "1" else f"once in {seldom} days"


def _dates(start: Any, end: Any) -> list[tuple[float, str]]:
    days = int((end - start) / _DAY)
    if days <= 1:
        hours = [start.astype("datetime64[h]") + hour for hour in range(8, 20, 2)]
        return [(_number(hour), str(hour)[11:13] + ":00") for hour in hours]
    step = next(step for step in (1, 2, 7, 14, 28) if days / step <= 10)
    ticks = np.arange(start, end, step)
    return [(_number(day), day.item().strftime("%-d %b")) for day in ticks]


def _mark(drawing: svg.Drawing, axes: svg.Axes, example: Example) -> None:
    """Shade the fault, draw the alert and write its sentence."""
    left, right = axes.x(_number(example.start)), axes.x(_number(example.end))
    right = max(right, left + 3)
    corners = [(left, axes.top), (right, axes.top), (right, axes.bottom), (left, axes.bottom)]
    drawing.area(corners, "f1")
    alert = axes.x(_number(example.alert["time"]))
    drawing.line(alert, axes.top - 4, alert, axes.bottom, "s0")
    when = example.alert["time"].strftime("%-d %b %H:%M")
    side = "end" if alert > axes.left + 0.6 * (axes.right - axes.left) else "start"
    text = f"alert {when}: {_often(10 ** -example.alert['score'])}"
    drawing.text(alert + (4 if side == "start" else -4), axes.top - 8, text, side, "f0")
    sentence = example.alert.get("text")
    sentence = sentence if isinstance(sentence, str) else ""
    for row, line in enumerate(textwrap.wrap(sentence, 112)[:3]):
        drawing.text(_BOX[0], 274 + 16 * row, line, kind="quiet")


def _draw_lines(
    drawing: svg.Drawing, example: Example, orders: Orders, inside: Any, x: svg.Scale, view: str
) -> svg.Axes:
    """Draw each line as a dot, its quantity or its price upwards."""
    values = orders.price if view == "price" else orders.quantity
    shown = inside & ((orders.quantity > 0) if view == "price" else orders.is_sale)
    usual = values[shown]
    floor = max(float(usual[usual > 0].min(initial=1.0)), 0.01)
    low, high = floor / 1.5, max(float(usual.max(initial=10.0)) * 1.5, floor * 10)
    axes = svg.Axes(drawing, _BOX, x, svg.logarithmic(low, high))
    axes.mark_y(svg.power_ticks(low, high), "unit price" if view == "price" else "units on a line")
    odd = (orders.time >= example.start) & (orders.time <= example.end)
    if example.near:
        odd = orders.codes[orders.sku] == example.sku
    elif example.kind != "unit_mixup" and "price" in example.alert:
        name = "price" if view == "price" else "quantity"
        odd &= values == example.alert[name]  # another line may be of the same minute
    for which, kind, radius in ((shown & ~odd, "plain", 2.5), (shown & odd, "f1", 4.0)):
        points = [
            axes.at(_number(when), float(value))
            for when, value in zip(orders.time[which], values[which], strict=True)
        ]
        drawing.dots(points, kind, radius)
    return axes


def _draw_days(
    drawing: svg.Drawing, example: Example, orders: Orders, inside: Any, x: svg.Scale, view: str
) -> svg.Axes:
    """Draw a bar a day: lines sold, and what was returned or written off."""
    day = orders.time.astype("datetime64[D]")
    weight = np.abs(orders.quantity) if view == "written off" else np.ones(len(day))
    other = {"written off": orders.is_adjustment, "returned": orders.is_return}.get(view)
    parts = [(inside & orders.is_sale, "plain")]
    if other is not None:
        parts.append((inside & other, "f1"))
    sums = []
    for which, kind in parts:
        days, place = np.unique(day[which], return_inverse=True)
        sums.append((days, np.bincount(place, weight[which], len(days)), kind))
    high = nice_high(max(float(total.max(initial=1)) for _, total, _ in sums))
    axes = svg.Axes(drawing, _BOX, x, svg.linear(0, high))
    unit = "units" if view == "written off" else "lines"
    added = "" if other is None else f", {view} in colour"
    axes.mark_y(svg.round_ticks(high), f"{unit} a day{added}")
    width = max(axes.x(_number(example.start) + 8.64e13) - axes.x(_number(example.start)) - 1, 1)
    for k, (days, totals, kind) in enumerate(sums):
        part = width / len(sums)
        for one, total in zip(days, totals, strict=True):
            top = axes.y(float(total))
            drawing.bar(axes.x(_number(one)) + k * part, top, part, axes.bottom - top, kind)
    return axes


def _draw_hours(
    drawing: svg.Drawing, example: Example, orders: Orders, inside: Any, x: svg.Scale, view: str
) -> svg.Axes:
    """Draw the shop's lines by the half hour."""
    half = orders.time[inside & orders.is_sale].astype("datetime64[m]").astype(np.int64) // 30
    slots, counts = np.unique(half, return_counts=True)
    high = nice_high(float(counts.max(initial=1)))
    axes = svg.Axes(drawing, _BOX, x, svg.linear(0, high))
    axes.mark_y(svg.round_ticks(high), f"lines in half {view[:-1].replace('hour', 'an hour')}")
    width = axes.x(_number(example.start) + 1.8e12) - axes.x(_number(example.start))
    for slot, count in zip(slots, counts, strict=True):
        top = axes.y(float(count))
        left = axes.x(float(slot) * 1.8e12)
        drawing.bar(left, top, width, axes.bottom - top, "plain")
    return axes


def _draw_baskets(
    drawing: svg.Drawing, example: Example, orders: Orders, inside: Any, x: svg.Scale, view: str
) -> svg.Axes:
    """Draw each invoice of the day as a dot, and those of the doubled basket in colour."""
    import pandas as pd

    sold = np.flatnonzero(inside & orders.is_sale)
    basket = set(example.sku.split("|"))
    frame = pd.DataFrame(
        {
            "invoice": orders.invoice[sold],
            "time": orders.time[sold],
            "shared": [code in basket for code in orders.codes[orders.sku[sold]]],
        }
    )
    grouped = frame.groupby(["invoice", "time"])["shared"].agg(["size", "sum"]).reset_index()
    doubled = (grouped["sum"] >= 0.6 * len(basket)) & (grouped["sum"] >= 0.6 * grouped["size"])
    high = float(grouped["size"].max()) * 1.5
    axes = svg.Axes(drawing, _BOX, x, svg.logarithmic(0.7, high))
    axes.mark_y(svg.power_ticks(0.7, high), f"lines in each of the day's {view}")
    for which, kind, radius in ((~doubled, "plain", 2.5), (doubled, "f1", 4.5)):
        some = grouped[which]
        points = [
            axes.at(_number(when), float(size))
            for when, size in zip(some["time"], some["size"], strict=True)
        ]
        drawing.dots(points, kind, radius)
    return axes
