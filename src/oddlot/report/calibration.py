"""Whether the promise holds: alerts a day that were found against those that were promised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from oddlot.report.chart import draw_promise
from oddlot.report.collect import RATES, Collector, rate_of
from oddlot.report.texts import Speaker

_FEWEST = 0.5  # promised alerts in the whole run from which a rate is drawn
_STEP = 2  # of the places of a tally: five points a decade are enough for the eye
_SIGMAS = 1.96  # 95 of 100


class Promise(NamedTuple):
    """How one detector, or all of them, kept the promise.

    Attributes:
        name: what it is called.
        said: promised and found, in a sentence.
        svg: the chart; None where there is nothing to draw.
    """

    name: str
    said: str
    svg: Markup | None


def promises(
    collector: Collector, budget: float, parts: Mapping[str, float], speaker: Speaker
) -> list[Promise]:
    """Return the calibration of all detectors together, and of each that found something.

    Args:
        collector: what was found.
        budget: false alerts a day that were promised.
        parts: each test's part of it.
        speaker: says it.
    """
    days = len(collector.days)
    tallies = {name: tally.rates for name, tally in collector.tallies.items()}
    if not days or not tallies:
        return []
    whole = sum(tallies.values(), np.zeros(RATES, np.int64))
    shown = [_promise(speaker.say("calibration_all"), whole, 1.0, budget, days, speaker)]
    if len(tallies) > 1:
        shown += [
            _promise(speaker.detector(name), rates, parts.get(name, 0.0), budget, days, speaker)
            for name, rates in tallies.items()
        ]
    return shown


def _promise(
    name: str, rates: Any, part: float, budget: float, days: int, speaker: Speaker
) -> Promise:
    """Draw one chart.

    A detector's rates are already divided by its part of the budget, so that one threshold
    serves all: at a rate r it is promised r times its part.
    """
    found = np.cumsum(rates)
    places = [place for place in range(0, RATES, _STEP) if rate_of(place) < budget * 0.999]
    edges = [(rate_of(place), int(found[place])) for place in places]
    edges.append((budget, int(found[-1])))  # none alerts that is oftener than the budget
    points, band = [], []
    for rate, count in edges:
        expected = rate * part * days
        if expected < _FEWEST:
            continue
        least, most = _by_chance(expected)
        band.append((rate * part, least / days, most / days))
        if count:
            points.append((rate * part, count / days))
    promised, got = budget * part, int(found[-1]) / days
    said = speaker.say("calibration_short", promised=promised, found=got)
    if not band:
        return Promise(name, said, None)
    label = speaker.say("calibration_label", name=name, promised=promised, found=got)
    axes = speaker.say("calibration_x"), speaker.say("calibration_y")
    return Promise(name, said, draw_promise(points, band, label, axes, speaker.number))


def _by_chance(expected: float) -> tuple[float, float]:
    """Return the least and most of a Poisson count that 95 of 100 lie between.

    Source:
        Freeman and Tukey (1950): the root of a count has a standard deviation of one half.
    """
    root = math.sqrt(expected)
    return max(root - _SIGMAS / 2, 0.0) ** 2, (root + _SIGMAS / 2) ** 2
