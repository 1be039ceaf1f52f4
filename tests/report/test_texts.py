"""What the page says: the same in both languages, and numbers as people write them."""

from __future__ import annotations

import re
import string
import tomllib

import pytest

import tree
from oddlot import catalog
from oddlot.alerts.make import _NO_EVIDENCE
from oddlot.alerts.text import LANGUAGES
from oddlot.report.texts import Speaker

FOLDER = tree.ROOT / "src" / "oddlot" / "report"
TEXTS = tomllib.loads((FOLDER / "texts.toml").read_text("utf-8"))
WORDS = tomllib.loads((FOLDER / "words.toml").read_text("utf-8"))
ENGLISH, SPANISH = Speaker("en"), Speaker("es")


@pytest.mark.parametrize("key", sorted(TEXTS))
def test_a_text_is_there_in_every_language_with_the_same_places(key: str) -> None:
    text = TEXTS[key]
    assert set(text) == set(LANGUAGES)
    places = [
        sorted({name for _, name, _, _ in string.Formatter().parse(form) if name})
        for whole in text.values()
        for form in (whole.split("|") if "|" in whole else [whole])
    ]
    assert all(place == places[0] for place in places)


def test_a_text_that_nobody_says_is_not_kept() -> None:
    files = [file for file in FOLDER.iterdir() if file.suffix in (".py", ".html")]
    code = "".join(file.read_text("utf-8") for file in files)
    made = ("kind_", "missing_", "units_", "lines_", "sizes_", "prices_", "timeline")
    said = set(re.findall(r"""["']([\w|]+)["']""", code))
    unsaid = [key for key in TEXTS if key not in said and not key.startswith(made)]
    assert unsaid == ["scored", "late", "rejected", "duplicate"], "counts are said by their names"


@pytest.mark.parametrize("name", catalog.find_types("detectors"))
def test_a_detector_and_its_numbers_have_names_in_every_language(name: str) -> None:
    detector = catalog.build("detectors", {"type": name}, "a test")
    assert set(WORDS["detector"][name]) == set(LANGUAGES)
    if detector.is_rule:
        return
    numbers = set(detector.found.names) - _NO_EVIDENCE
    known = WORDS["evidence"]
    named = {one for one in numbers if f"{name}.{one}" in known or one in known}
    assert named == numbers, "name them in report/words.toml"
    for one in numbers:
        assert set(known.get(f"{name}.{one}") or known[one]) == set(LANGUAGES)


@pytest.mark.parametrize(
    ("value", "english", "spanish"),
    [
        (0.0, "0", "0"),
        (1234567.8, "1,234,568", "1.234.568"),
        (12.34, "12.3", "12,3"),
        (0.012345, "0.0123", "0,0123"),
        (-5.0, "-5", "-5"),
        (float("nan"), "unknown", "se ignora"),
    ],
)
def test_a_number_is_written_with_three_digits_that_count(
    value: float, english: str, spanish: str
) -> None:
    assert ENGLISH.number(value) == english
    assert SPANISH.number(value) == spanish


def test_a_share_that_is_not_all_is_never_written_as_all() -> None:
    assert [ENGLISH.percent(share) for share in (0, 0.0001, 0.05, 0.5, 0.9999, 1)] == [
        *("0%", "0.1%", "5%", "50%", "99.9%", "100%"),
    ]
    assert re.fullmatch(r"50\N{NO-BREAK SPACE}%", SPANISH.percent(0.5))


def test_how_long_it_took_is_said_in_the_unit_that_fits() -> None:
    minute = 60_000_000
    assert ENGLISH.after(16 * minute) == "16 min"
    assert ENGLISH.after(600 * minute) == "10 h"
    assert ENGLISH.after(4 * 1440 * minute) == "4 days"
