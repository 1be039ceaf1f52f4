"""What the browser is given: little, ours, and fit to be seen in both themes."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

_STATIC = Path("src/oddlot/web/static")
_SCRIPTS = sorted(_STATIC.glob("*.js"))
_STYLE = (_STATIC / "style.css").read_text("utf-8")
_TEXT_PAIRS = [
    *[(text, paper) for text in ("ink", "quiet", "link") for paper in ("paper", "ground", "sheet")],
    *[(text, "hover") for text in ("ink", "quiet", "link", "critical", "high", "medium", "low")],
    *[(level, f"{level}-paper") for level in ("critical", "high", "medium", "low")],
    *[(level, "sheet") for level in ("critical", "high", "medium", "low")],
    *[("sheet", "critical"), ("accent-ink", "accent"), ("ink", "note"), ("badge", "badge-paper")],
    *[("bad", "paper"), ("ink", "raised"), ("alert", "raised")],
]
_SHAPE_PAIRS = [
    *[("field", "paper"), ("accent", "paper"), ("accent", "ground"), ("good", "paper")],
    *[(shape, "paper") for shape in ("sale", "return", "alert", "edge")],
    *[(level, "ground") for level in ("critical", "high", "medium", "low")],
]


def test_the_scripts_are_few_kilobytes() -> None:
    size = sum(len(gzip.compress(file.read_bytes())) for file in _SCRIPTS)
    assert size <= 60_000
    assert len(gzip.compress(_STYLE.encode())) <= 15_000


@pytest.mark.parametrize("file", _SCRIPTS, ids=lambda file: file.name)
def test_a_script_never_makes_markup_or_code_of_texts(file: Path) -> None:
    text = file.read_text("utf-8")
    banned = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|\.style\b"
    )
    assert not re.search(banned, text)
    assert not re.search(r"setTimeout\(\s*[\"'`]", text)
    assert set(re.findall(r'from "([^"]*)"', text)) <= {f"./{one.name}" for one in _SCRIPTS}


def test_nothing_is_fetched_from_elsewhere() -> None:
    for file in [*_STATIC.iterdir(), *Path("src/oddlot/web/templates").iterdir()]:
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?:|//[a-z]|url\(|@import", re.sub(r"^// .*$", "", text, flags=re.MULTILINE)
        )


def test_no_template_has_a_style_or_a_script_of_its_own() -> None:
    for file in Path("src/oddlot/web/templates").iterdir():
        text = file.read_text("utf-8")
        assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:|\|\s*safe\b", text), file
        assert set(re.findall(r"<script[^>]*>", text)) <= {
            '<script type="module" src="{{ static(\'page.js\') }}">'
        }


@pytest.mark.parametrize("theme", ["light", "dark", "auto"])
def test_text_and_shapes_stand_out_from_what_they_stand_on(theme: str) -> None:
    blocks = {"light": r":root \{(.*?)\}"}
    blocks |= {one: rf'\[data-theme="{one}"\] \{{(.*?)\}}' for one in ("dark", "auto")}
    colours: dict[str, str] = {}
    for name in ("light", theme):
        match = re.search(blocks[name], _STYLE, re.DOTALL)
        assert match
        colours |= dict(re.findall(r"--([\w-]+): (#\w{6})", match[1]))
    for one, other in _TEXT_PAIRS:
        assert _contrast(colours[one], colours[other]) >= 4.5, (one, other)
    for one, other in _SHAPE_PAIRS:
        assert _contrast(colours[one], colours[other]) >= 3, (one, other)


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2.2 defines it."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([light(one), light(other)])
    return (high + 0.05) / (low + 0.05)
