"""Chance that gives the same numbers on every machine and with every numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oddlot.schema import Floats, Ints


class Draws:
    """One stream of chance, named by whole numbers such as (seed, purpose, day).

    Only uniform draws are taken from numpy, and they are shaped with plus, minus, times, divide
    and look-ups: these are exact by IEEE 754, while exp, log and the library's distributions
    differ in the last bit between processors, C libraries and releases.
    """

    def __init__(self, *name: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(name)))

    def uniform(self, shape: int | tuple[int, ...]) -> Floats:
        """Draw numbers from 0 up to, but without, 1."""
        return self._generator.random(shape)

    def one(self) -> float:
        """Draw one number from 0 up to, but without, 1."""
        return float(self._generator.random())

    def between(self, low: float, high: float) -> float:
        """Draw one number from `low` up to `high`."""
        return low + (high - low) * self.one()

    def below(self, limit: int) -> int:
        """Draw one whole number from 0 up to `limit` - 1."""
        return min(int(self.one() * limit), limit - 1)

    def whole(self, limit: int | Ints, count: int) -> Ints:
        """Draw `count` whole numbers, each from 0 up to its `limit` - 1."""
        drawn = np.floor(self.uniform(count) * limit).astype(np.int64)
        return np.asarray(np.minimum(drawn, np.asarray(limit) - 1))

    def order(self, count: int) -> Ints:
        """Draw an order of 0 to `count` - 1."""
        return np.argsort(self.uniform(count), kind="stable").astype(np.int64)


class Curve:
    """A function given by points, straight between them and level outside.

    As the inverse of a distribution function it turns uniform draws into that distribution.
    Not `np.interp`: compilers fuse its multiply and add on some processors.
    """

    def __init__(self, at: Sequence[float], value: Sequence[float]) -> None:
        self._at = np.array(at, dtype=np.float64)
        self._value = np.array(value, dtype=np.float64)

    def __call__(self, x: Floats) -> Floats:
        """Evaluate at each x."""
        clipped = np.minimum(np.maximum(x, self._at[0]), self._at[-1])
        left = np.searchsorted(self._at, clipped, side="right") - 1
        left = np.minimum(left, len(self._at) - 2)
        share = (clipped - self._at[left]) / (self._at[left + 1] - self._at[left])
        step = share * (self._value[left + 1] - self._value[left])
        return np.asarray(self._value[left] + step)


def pick(cumulative: Floats, uniform: Floats) -> Ints:
    """Turn uniform draws into indices, with chances given by their running sum."""
    found = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
    return np.asarray(np.minimum(found, len(cumulative) - 1), np.int64)


def running(weight: Floats) -> Floats:
    """Return the running sum; always added from left to right, unlike `np.sum`."""
    return np.cumsum(weight, dtype=np.float64)


def bell(uniform: Floats) -> Floats:
    """Average the last axis of uniform draws, shape (..., 4): a bell from 0 to 1."""
    return np.asarray(
        (uniform[..., 0] + uniform[..., 1] + uniform[..., 2] + uniform[..., 3]) * 0.25
    )
