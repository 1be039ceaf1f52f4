"""What is said: every sentence in both languages, none missing, none left over, none glued."""

from __future__ import annotations

import re
import string
import tomllib
from pathlib import Path

import pytest

from oddlot import config as configs
from oddlot.web.pages import type_of
from oddlot.web.voice import LANGUAGES, Voice, level_of
from web.stores import alert

_WEB = Path("src/oddlot/web")
_TEXTS = tomllib.loads((_WEB / "texts.toml").read_text("utf-8"))
_REPORT = tomllib.loads(Path("src/oddlot/report/texts.toml").read_text("utf-8"))


def _asked() -> set[str]:
    """Every key that a template or a module names; of one that is made, its beginning and a *."""
    files = [*_WEB.glob("*.py"), *_WEB.glob("templates/*.html")]
    text = "\n".join(file.read_text("utf-8") for file in files)
    asked = set(re.findall(r'(?:say|count)\(\s*"([a-z_0-9|]+)"', text))
    asked |= set(re.findall(r"(?:say|count)\('([a-z_0-9|]+)'", text))
    asked |= {key.split("{")[0] + "*" for key in re.findall(r'say\(f"([a-z_{}]+)"', text)}
    asked |= {f"{key}*" for key in re.findall(r"say\([\"']([a-z_]+_)[\"'] ~", text)}
    # Keys that stand in a list, to be said by a template.
    return asked | set(re.findall(r'"((?:story|why)_[a-z_]+)"', text))


def test_every_text_is_there_in_every_language() -> None:
    for key, text in _TEXTS.items():
        assert set(text) == set(LANGUAGES), key
        fields = {
            language: sorted(name for _, name, _, _ in string.Formatter().parse(one) if name)
            for language, one in text.items()
        }
        assert fields["en"] == fields["es"], key
        assert all(one.strip() == one and one for one in text.values()), key


def test_every_key_that_is_asked_for_exists() -> None:
    known = {*_TEXTS, *_REPORT}
    for key in _asked():
        if key.endswith("*"):
            assert any(one.startswith(key[:-1]) for one in known), key
        elif not key.endswith("_"):
            assert key in known, key


def test_no_text_is_left_over() -> None:
    asked = _asked()
    starts = tuple(key[:-1] for key in asked if key.endswith("*"))
    left = {key for key in _TEXTS if key not in asked and not key.startswith(starts)}
    assert not left


def test_no_template_says_a_sentence_of_its_own() -> None:
    for file in _WEB.glob("templates/*.html"):
        text = re.sub(r"\{[{%#].*?[}%#]\}", "", file.read_text("utf-8"), flags=re.DOTALL)
        text = re.sub(r"<[^>]*>", " ", text)
        words = set(re.findall(r"[A-Za-z]{3,}", text))
        assert words <= {"Oddlot", "Enter", "JSON", "CSV", "oddlot", "run"}, file


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (119, "119 s"), (121, "2 min"), (7_300, "2 h"), (200_000, "2 d"), (-3, "0 s")],
)
def test_an_age_is_said_in_its_largest_whole_unit(seconds: float, said: str) -> None:
    assert Voice("en", {}, "en").short(seconds) == said


def test_a_size_is_written_with_its_unit() -> None:
    voice = Voice("es", {}, "en")
    assert [voice.bytes(size) for size in (0, 999, 1_000, 12_501_696, 3_000_000_000)] == [
        *("0 B", "999 B", "1 kB", "12,5 MB", "3 GB"),
    ]


def test_an_alert_is_retold_in_the_reader_s_language() -> None:
    config = configs.from_text('[[detectors]]\ntype = "quantity_spike"\n', "shop.toml")
    sentences = {type_of(one): one.sentence for one in config.detectors}
    spanish = Voice("es", sentences, "en").retell(alert(1))
    assert spanish.text.startswith("S1: 900 unidades en una línea")
    assert Voice("en", sentences, "en").retell(alert(1)) == alert(1)
    # A detector that is not in the config, or whose sentence names what is not kept.
    assert Voice("es", {}, "en").retell(alert(1)) == alert(1)
    like = {"quantity_spike": {"en": "{like}", "es": "{like}"}}
    assert Voice("es", like, "en").retell(alert(1)) == alert(1)


def test_a_level_begins_at_its_edge() -> None:
    edges = (100.0, 300.0, 1000.0)
    found = [level_of(value, edges) for value in (0, 99.9, 100, 300, 999, 1000)]
    assert found == ["low", "low", "medium", "high", "high", "critical"]
