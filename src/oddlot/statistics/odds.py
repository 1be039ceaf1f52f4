"""How often odds so high have been: a chance that is true, learnt from the odds themselves."""

from __future__ import annotations

import math

from oddlot.engine.compiled import outlined

ODDS = 96  # of an error, by quarters of a decade from 10^-8
FIRST_ODDS = -8.0
ODDS_WIDTH = 0.25
ODDS_TAIL = 15.0  # the tail's slope is taken from about so many of the oddest lines
ODDS_PRIOR = 10.0  # lines that the bound of Markov counts for


@outlined
def learned_tail(counts, lines, odds):
    """Return how often odds are at least so high, by counts of past ones and Markov's bound.

    Of true odds 10^odds no more than 10^-odds are so high; those that passed say how many were.

    Args:
        counts: shape (ODDS,), how many odds there were.
        lines: how many lines there were, with and without odds.
        odds: log10.
    """
    beyond, excess = 0.0, 0.0
    b = ODDS - 1
    place = (odds - FIRST_ODDS) / ODDS_WIDTH
    while b > 0 and beyond < ODDS_TAIL:
        excess += beyond + 0.5 * counts[b]
        beyond += counts[b]
        b -= 1
    edge = b + 1.0
    if place > edge:
        # Mean excess in bins; to begin with, that of true chances.
        slope = (excess + 5.0 / (ODDS_WIDTH * math.log(10.0))) / (beyond + 5.0)
        counted = beyond * math.exp((edge - place) / slope)
    else:
        place = max(place, 0.0)
        counted = beyond
        while b > int(place):
            counted += counts[b]
            b -= 1
        if b == int(place):
            counted += counts[b] * (1.0 - (place - b))
    bound = ODDS_PRIOR * 10.0 ** -max(odds, 0.0)
    return max(1e-300, min(1.0, (counted + bound) / (lines + ODDS_PRIOR)))


@outlined
def is_usual(counts, lines, odds, chance):
    """Tell whether `learned_tail` is surely above a chance, from a few counts; it need not tell."""
    enough = max(ODDS_TAIL, chance * (lines + ODDS_PRIOR)) * (1.0 + 1e-9)
    beyond = 0.0
    for b in range(int(max((odds - FIRST_ODDS) / ODDS_WIDTH, 0.0)) + 1, ODDS):
        beyond += counts[b]
        if beyond > enough:
            return True
    return False


@outlined
def learn_odds(counts, odds):
    """Count odds; updates the counts in place."""
    place = math.floor((odds - FIRST_ODDS) / ODDS_WIDTH)
    counts[min(max(place, 0), ODDS - 1)] += 1.0
