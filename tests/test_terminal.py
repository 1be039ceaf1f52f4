"""What a person sees is words: no text from a shop can steer the terminal."""

from __future__ import annotations

import pytest

from oddlot.alerts.text import printable


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\rb", "\x9b2J", "\u202egnp.exe", "\x07", "a\nb"])
def test_no_text_steers_the_terminal(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)


def test_letters_of_any_language_stay() -> None:
    assert printable("Camisón £ 85123A 雨傘") == "Camisón £ 85123A 雨傘"
