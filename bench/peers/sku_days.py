"""Ready-made streaming detectors on SKU-days: river's half-space trees, PySAD's LODA."""

from __future__ import annotations

from typing import Any

import numpy as np
from judging.orders import Orders, make_alerts

from peers.day_counts import mean_before

_SEED = 1
_FEWEST_DAYS = 20
_MISSED = (4, 6, 9, 13, 20, 30, 45)  # a silent SKU is looked at when so many lines are missing
FEATURES = ("lines", "quantity", "returns", "adjusted", "price", "missed")


def find_half_space_trees(orders: Orders) -> Any:
    """Alert with the score of river's HalfSpaceTrees, at the close of each day."""
    from river.anomaly import HalfSpaceTrees

    model = HalfSpaceTrees(n_trees=10, height=8, window_size=250, seed=_SEED)

    def score(row: Any) -> float:
        # It expects features between nought and one.
        features = dict(zip(FEATURES, (row / (1.0 + row)).tolist(), strict=True))
        value = float(model.score_one(features))
        model.learn_one(features)
        return value

    return _find(orders, score)


def find_loda(orders: Orders) -> Any:
    """Alert with the score of PySAD's LODA, at the close of each day."""
    from pysad.models import LODA

    model = LODA(num_bins=30, num_random_cuts=50, random_state=_SEED)
    return _find(orders, model.fit_score_partial)


def _find(orders: Orders, score: Any) -> Any:
    sku, day, features = make_features(orders)
    scores = np.array([score(row) for row in features])
    known = day >= _FEWEST_DAYS
    codes = orders.codes[sku[known]]
    return make_alerts(orders.closes[day[known]], codes, "generic", scores[known])


def make_features(orders: Orders) -> tuple[Any, Any, Any]:
    """Describe each SKU-day that had a line, and silent ones when more is missing.

    Every feature is nought or above, small on a usual day, on a logarithmic scale.

    Returns:
        SKU and day, shape (SKU-days,), in order of days; features, shape (SKU-days, 6).
    """
    shape = (len(orders.codes), len(orders.days))
    known = orders.day_of < len(orders.days)
    sales = orders.count(orders.is_sale)
    mean, _ = mean_before(sales)
    place = (orders.sku, np.minimum(orders.day_of, shape[1] - 1))
    largest, price_off = np.zeros(shape), np.zeros(shape)
    sold = orders.is_sale & known
    at = (place[0][sold], place[1][sold])
    log_quantity, log_price = np.log(orders.quantity[sold]), np.log(orders.price[sold])
    np.maximum.at(largest, at, log_quantity)
    usual_quantity = _mean_of_past(at, log_quantity, sales)
    usual_price = _mean_of_past(at, log_price, sales)
    np.maximum.at(price_off, at, np.abs(log_price - usual_price[at]))
    adjusted = np.zeros(shape)
    down = orders.is_adjustment & known
    np.add.at(adjusted, (place[0][down], place[1][down]), -orders.quantity[down])
    days = np.arange(shape[1])
    last = np.maximum.accumulate(np.where(sales > 0, days, -1), axis=1)
    rows = np.arange(shape[0])[:, None]
    gap = np.where(last >= 0, days - last, 0)
    missed = mean[rows, np.minimum(last + 1, shape[1] - 1)] * gap
    step = np.searchsorted(_MISSED, missed, side="right")
    grew = np.zeros(shape, bool)
    grew[:, 1:] = step[:, 1:] > step[:, :-1]
    touched = np.zeros(shape, bool)
    touched[place[0][known], place[1][known]] = True
    features = np.stack(
        [
            np.log1p(np.maximum(sales - mean, 0) / np.sqrt(mean + 0.3)),
            np.where(sales > 0, np.maximum(largest - usual_quantity, 0), 0),
            np.log1p(orders.count(orders.is_return)),
            np.log1p(adjusted),
            price_off,
            np.log1p(missed),
        ],
        axis=-1,
    )
    day, sku = np.nonzero((touched | grew).T)
    return sku, day, features[sku, day]


def _mean_of_past(at: Any, values: Any, sales: Any) -> Any:
    """Average a value over a SKU's lines of all days before, shape (SKUs, days)."""
    total = np.zeros(sales.shape)
    np.add.at(total, at, values)
    total, count = np.cumsum(total, axis=1) - total, np.cumsum(sales, axis=1) - sales
    first = np.divide(total.sum(), max(count.sum(), 1))
    return (total + first) / (count + 1.0)
