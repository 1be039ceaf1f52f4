"""Regular expressions written for Java mean here what they mean there."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from oddlot.agent import patterns
from oddlot.agent.patience import convert_all
from oddlot.errors import ConfigError


@pytest.mark.parametrize(
    ("pattern", "fits", "others"),
    [
        (r"\d+", ["12"], ["x", "١"]),  # noqa: RUF001 - a digit, but not one of US-ASCII
        (r"\w+", ["a_1"], ["é", ""]),
        (r"(?<sku>\w)\k", [], []),
        (r"\Qa.b[\E\d", ["a.b[1"], ["axb[1"]),
        (r"\Qa.b", ["a.b"], ["axb"]),
        (r"\p{Alpha}[\p{Digit}_]", ["a1", "B_"], ["11", "é1"]),
        (r"\P{Upper}", ["a"], ["A"]),
        (r"a\h+b", ["a \tb"], ["a\nb"]),
        (r"a[\h]b", ["a b"], ["ab"]),
        (r"a\z", ["a"], ["a\n"]),
        (r"a\Rb", ["a\r\nb", "a\nb"], ["ab"]),
        (r"a\e", ["a\x1b"], []),
        (r"a++b", ["aab"], []),
        (r"(?>a+)b", ["aab"], []),
        (r"[^\]]+", ["ab"], ["a]"]),
    ],
)
def test_what_java_knows_is_understood(pattern: str, fits: list[str], others: list[str]) -> None:
    if not fits:
        with pytest.raises(ConfigError, match="p: matchPattern must be a regular expression"):
            patterns.check_pattern(pattern, "p: matchPattern")
        return
    patterns.check_pattern(pattern, "p: matchPattern")
    compiled = patterns.compile_text_pattern(pattern)
    assert all(compiled.fullmatch(text) for text in fits)
    assert not any(compiled.fullmatch(text) for text in others)


def test_z_is_before_a_last_line_end_too() -> None:
    assert patterns.compile_text_pattern(r"a\Z").match("a\n")


@pytest.mark.parametrize("pattern", [r"\p{Greek}", r"[\P{Upper}]", r"\p{IsLatin}"])
def test_sets_of_characters_that_are_not_known_are_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="is not known"):
        patterns.check_pattern(pattern, "matchPattern")


@pytest.mark.parametrize(
    ("pattern", "is_nested"),
    [
        ("(a+)+", True),
        ("((a|b)*c)*d", True),
        ("(?:a+){2,}", True),
        (r"(\(+)+", True),
        ("(a+)(b+)", False),
        ("(a+)?", False),
        ("(a{1,3})+", False),
        (r"[(a+)+]+", False),
        (r"\(a+\)+", False),
        ("(a+)++", False),
        ("(a++)+", False),
        ("[]+)]+(a)+", False),
        ("[^]+)]+(a)+", False),
        (r'^(\S+) \[([\w:/]+\s[+\-]\d{4})\] "(.+?)"', False),
    ],
)
def test_a_repeat_within_a_repeat_is_noticed(pattern: str, is_nested: bool) -> None:
    assert patterns.repeats_within_repeat(pattern) == is_nested
    assert bool(patterns.check_pattern(pattern, "matchPattern")) == is_nested


def test_only_an_item_that_takes_too_long_is_given_up() -> None:
    def convert(item: int) -> str:
        if item in (2, 3):
            for _ in count():  # for ever
                pass
        return f"done {item}"

    made = convert_all(range(5), convert, lambda item: f"given up {item}", seconds=0.01)
    assert made == ["done 0", "done 1", "given up 2", "given up 3", "done 4"]


def test_another_thread_converts_too() -> None:
    made: list[list[int]] = []
    thread = threading.Thread(
        target=lambda: made.append(convert_all([1, 2], lambda item: item + 1, lambda item: item))
    )
    thread.start()
    thread.join()
    assert made == [[2, 3]]
