"""The tails of the negative binomial in plain Python, slowly and obviously: for `define`."""

from __future__ import annotations

import math


def plain_pmf(count: int, shape: float, mean: float) -> float:
    """Return P(X = count); see `tails.log_pmf`."""
    return math.exp(
        math.lgamma(shape + count)
        - math.lgamma(shape)
        - math.lgamma(count + 1)
        + shape * math.log(shape / (shape + mean))
        + count * math.log(mean / (shape + mean))
    )


def plain_upper_tail(count: int, shape: float, mean: float) -> float:
    """Return P(X > count) + P(X = count) / 2, term by term until nothing more is added."""
    total, k = 0.5 * plain_pmf(count, shape, mean), count
    while True:
        k += 1
        term = plain_pmf(k, shape, mean)
        total += term
        if k > mean and term < 1e-12 * total:
            return min(1.0, total)


def plain_lower_tail(count: int, shape: float, mean: float) -> float:
    """Return P(X < count) + P(X = count) / 2."""
    below = sum(plain_pmf(k, shape, mean) for k in range(count))
    return below + 0.5 * plain_pmf(count, shape, mean)
