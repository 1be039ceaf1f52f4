"""The sentence of an alert reads well in every language, whatever the numbers."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddlot import catalog
from oddlot.alerts.text import LANGUAGES, explain

tests = [
    name
    for name in catalog.find_types("detectors")
    if not catalog.build("detectors", {"type": name}, "a test").is_rule
]
TIME_US = 1_295_344_860_000_000  # 2011-01-18 10:01


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("detector", tests)
@given(
    quantity=st.integers(-(2**31), 2**31),
    price=st.floats(),
    rate=st.floats(0, 1e9),
    usual_log=st.floats(-1e3, 1e6),
    seen=st.floats(0, 1e12),
    time_us=st.integers(-(2**51), 2**53),
)
def test_any_numbers_give_one_finished_sentence(
    detector: str,
    language: str,
    quantity: int,
    price: float,
    rate: float,
    usual_log: float,
    seen: float,
    time_us: int,
) -> None:
    evidence = {"usual_log": usual_log, "seen": seen}
    text = explain(detector, "85123A", time_us, quantity, price, rate, evidence, language)
    assert text.endswith(".")
    assert "\n" not in text
    assert not re.search(r"[{}]|\bnan\b|\binf\b|None|-0\b", text.removeprefix("85123A")), text
    assert re.search(r"\b[012][0-9]:[0-5][0-9]\b", text)


def test_the_english_sentence_says_what_was_found_with_its_numbers() -> None:
    evidence = {"usual_log": math.log(12), "seen": 340.0}
    text = explain("quantity_spike", "23166", TIME_US, 74_215, 1.04, 0.0125, evidence)
    assert text == (
        "23166: 74,215 units on one line at 10:01; it usually sells 12 at a time (from 340"
        " lines). Something this odd turns up once in 80 days. 77,184 at stake."
    )


def test_the_spanish_sentence_says_what_was_found_with_its_numbers() -> None:
    evidence = {"usual_log": math.log(12), "seen": 340.0}
    text = explain("quantity_spike", "23166", TIME_US, 74_215, 1.04, 3.2, evidence, "es")
    assert text == (
        "23166: 74.215 unidades en una línea a las 10:01; suele venderse de 12 en 12 (según 340"
        " líneas). Algo tan raro aparece 3 veces al día. Están en juego 77.184."
    )


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.0, "once in 1,000,000,000 days"),
        (0.5, "once in 2 days"),
        (0.9, "about once a day"),
        (1.0, "about once a day"),
        (1.4, "about once a day"),
        (1.6, "2 times a day"),
        (12_345.0, "12,345 times a day"),
    ],
)
def test_how_often_is_never_one_days_nor_one_times(rate: float, expected: str) -> None:
    text = explain("quantity_spike", "A", 0, 9, math.nan, rate, {"seen": 5.0})
    assert text.endswith(f"turns up {expected}.")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [(0.0, "a guess: it never sold before"), (1.0, "from 1 line"), (1.9, "from 2 lines")],
)
def test_a_product_with_little_past_is_not_spoken_of_as_known(seen: float, expected: str) -> None:
    assert f"({expected})" in explain("quantity_spike", "A", 0, 9, 1.0, 0.1, {"seen": seen})
