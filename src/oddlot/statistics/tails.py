"""Tails of the negative binomial distribution: counts whose rate is known only so well."""

from __future__ import annotations

import math

from oddlot.engine.compiled import outlined

_ENOUGH = 1e-9  # terms smaller than this part of the sum no longer count
_MOST = 100_000  # terms; further on the tail is taken as geometric


@outlined
def log_pmf(count, shape, mean):
    """Return ln P(X = count) of a negative binomial.

    Args:
        count: a whole number >= 0.
        shape: > 0; the variance is mean + mean^2 / shape.
        mean: > 0.

    Source:
        Johnson, Kemp, Kotz (2005), Univariate Discrete Distributions, 3rd edition, chapter 5.
    """
    return (
        math.lgamma(shape + count)
        - math.lgamma(shape)
        - math.lgamma(count + 1.0)
        + shape * math.log(shape / (shape + mean))
        + count * math.log(mean / (shape + mean))
    )


@outlined
def _none(shape, mean):
    """Return P(X = 0), to the bit as `log_pmf` has it, whose gamma functions cancel here."""
    return math.exp(shape * math.log(shape / (shape + mean)))


@outlined
def upper_tail(count, shape, mean, part):
    """Return P(X > count) + part * P(X = count); part 0.5 is the mid-p value, 1 the plain one.

    Never below 1e-300, so that it has a logarithm. Arguments as for `log_pmf`.
    """
    if count <= 0.0 and part >= 1.0:
        return 1.0
    odds = mean / (shape + mean)
    term = math.exp(log_pmf(count, shape, mean))
    total = part * term
    if count < mean:  # the other side has fewer terms
        below = 0.0
        k = 0.0
        other = _none(shape, mean)
        while k < count:
            below += other
            other *= (shape + k) / (k + 1.0) * odds
            k += 1.0
        return min(1.0, max(1e-300, 1.0 - below - (1.0 - part) * term))
    k = count
    for _ in range(_MOST):
        term *= (shape + k) / (k + 1.0) * odds
        total += term
        k += 1.0
        ratio = (shape + k) / (k + 1.0) * odds
        if ratio < 1.0 and term * ratio < _ENOUGH * total * (1.0 - ratio):
            break
    return min(1.0, max(1e-300, total))


@outlined
def lower_tail(count, shape, mean, part):
    """Return P(X < count) + part * P(X = count); see `upper_tail`."""
    odds = mean / (shape + mean)
    term = _none(shape, mean)
    total = 0.0
    k = 0.0
    while k < count:
        total += term
        term *= (shape + k) / (k + 1.0) * odds
        k += 1.0
    return min(1.0, max(1e-300, total + part * term))
