"""The sentence of an alert reads well in every language, whatever the numbers."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddlot.alerts.text import LANGUAGES, explain, notes
from oddlot.schema import Incident

TIME_US = 1_295_344_860_000_000  # 2011-01-18 10:01
SENTENCE = {
    "en": (
        "{sku}: {quantity:n} units at {clock} on {date} for {price:p}; it sells {usual:x} at a time"
        " (from {seen:line|lines}, {invoice}). Something this odd turns up {often}.{stake}"
    ),
    "es": (
        "{sku}: {quantity:n} unidades a las {clock} del {date} por {price:p}; suele venderse de"
        " {usual:x} en {usual:x} (según {seen:línea|líneas}, {invoice}). Algo tan raro aparece"
        " {often}.{stake}"
    ),
}


def say(
    rate: float, quantity: int = 9, price: float = math.nan, language: str = "en", **evidence: float
) -> str:
    evidence = {"usual": 12.0, "seen": 340.0} | evidence
    return explain(
        SENTENCE, "23166", TIME_US, quantity, price, "541431", "", rate, evidence, language
    )


@pytest.mark.parametrize("language", LANGUAGES)
@given(
    quantity=st.integers(-(2**31), 2**31),
    price=st.floats(),
    rate=st.floats(0, 1e9),
    usual=st.floats(-1e3, 1e6),
    seen=st.floats(0, 1e12),
    time_us=st.integers(-(2**51), 2**53),
)
def test_any_numbers_give_one_finished_sentence(
    language: str,
    quantity: int,
    price: float,
    rate: float,
    usual: float,
    seen: float,
    time_us: int,
) -> None:
    evidence = {"usual": usual, "seen": seen}
    text = explain(SENTENCE, "85123A", time_us, quantity, price, "1", "", rate, evidence, language)
    assert text.endswith(".")
    assert "\n" not in text
    assert not re.search(r"[{}]|\bnan\b|\binf\b|None|-0\b(?![.,]\d*[1-9])", text[6:]), text
    assert re.search(r"\b[012][0-9]:[0-5][0-9]\b", text)


def test_the_english_sentence_says_what_was_found_with_its_numbers() -> None:
    assert say(0.0125, 74_215, 1.04) == (
        "23166: 74,215 units at 10:01 on 2011-01-18 for 1.04; it sells 12.0 at a time (from 340"
        " lines, 541431). Something this odd turns up once in 80 days. 77,184 at stake."
    )


def test_the_spanish_sentence_says_what_was_found_with_its_numbers() -> None:
    assert say(3.2, 74_215, 1.04, "es") == (
        "23166: 74.215 unidades a las 10:01 del 2011-01-18 por 1,04; suele venderse de 12,0 en 12,0"
        " (según 340 líneas, 541431). Algo tan raro aparece 3 veces al día. Están en juego 77.184."
    )


def test_the_money_is_the_detectors_own_figure_where_it_has_one() -> None:
    assert say(1.0, 10, 2.0, stake=3_000.0).endswith("3,000 at stake.")
    assert say(1.0, 10, 2.0, stake=0.0).endswith("a day.")


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.0, "less than once in 1,000 days"),
        (0.5, "once in 2 days"),
        (0.9, "about once a day"),
        (1.0, "about once a day"),
        (1.4, "about once a day"),
        (1.6, "2 times a day"),
        (12_345.0, "12,345 times a day"),
    ],
)
def test_how_often_is_never_one_days_nor_one_times(rate: float, expected: str) -> None:
    assert say(rate).endswith(f"turns up {expected}.")


@pytest.mark.parametrize(
    ("seen", "expected"), [(0.0, "0 lines"), (1.0, "1 line"), (1.9, "2 lines")]
)
def test_a_count_and_its_noun_agree(seen: float, expected: str) -> None:
    assert f"(from {expected}," in say(0.1, seen=seen)


def test_an_incident_says_that_it_was_reversed_doubled_and_told_again() -> None:
    one = Incident("a", 0, 0, alerts=3, doubled=1, reversed_us=720_000_000)
    one.reversed_after_us = 720_000_000
    assert notes(one) == (
        " Reversed after 12 min. Booked 2 times. One of 3 alerts with this cause."
    )
    assert notes(one, "es").startswith(" Anulado a los 12 min.")
    one.reversed_after_us = 3 * 86_400_000_000
    assert notes(one).startswith(" Reversed after 3 d.")
    assert notes(Incident("a", 0, 0, alerts=1)) == ""
