"""The page as a browser meets it: nothing from outside, nothing from the data but text."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from report.pages import SCRIPT, SPIKE, Reader, run, shop

_SPANISH = SPIKE + '[alerts]\nlanguage = "es"\n'
_TEXT_PAIRS = [
    *[(text, paper) for text in ("ink", "quiet", "link") for paper in ("paper", "sheet")],
    *[("ink", "note"), ("ink", "raised"), ("alert", "raised"), ("badge", "badge-paper")],
]
_SHAPE_PAIRS = [(shape, "paper") for shape in ("sale", "return", "alert", "edge")]


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "orders.csv"
    path.write_bytes(shop())
    return path


@pytest.fixture(scope="module")
def page(orders: Path) -> str:
    run([str(orders)], orders.with_name("report.html"))
    return orders.with_name("report.html").read_text("utf-8")


def test_the_page_asks_for_nothing_from_outside(page: str) -> None:
    reader = Reader(page)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(reader.tags)
    for tag, name, value in reader.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("style", "src", "srcset", "action"), (tag, name)
        if name == "href":
            assert value.startswith("#"), value
    assert "url(" not in reader.style
    assert "@import" not in reader.style


def test_the_policy_allows_the_one_style_and_nothing_else(page: str) -> None:
    reader = Reader(page)
    (policy,) = (value for _, name, value in reader.attributes if value.startswith("default-src"))
    digest = base64.b64encode(hashlib.sha256(reader.style.encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]


def test_a_product_that_is_named_like_a_script_is_text(page: str) -> None:
    assert SCRIPT not in page
    assert SCRIPT in Reader(page).text


def test_every_link_on_the_page_leads_somewhere(page: str) -> None:
    attributes = Reader(page).attributes
    names = [value for _, name, value in attributes if name == "id"]
    assert len(set(names)) == len(names)
    assert {value[1:] for _, name, value in attributes if name == "href"} <= set(names)


def test_a_giant_order_and_its_return_are_one_incident_with_both_lines(page: str) -> None:
    text = Reader(page).text
    assert "reversed after 1 min" in text
    assert text.count("90,000") > text.count("-90,000") > 0
    assert re.search(r"orders\.csv, line \d+", text)


def test_the_same_run_gives_the_same_page(page: str, orders: Path, tmp_path: Path) -> None:
    run([str(orders)], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text("utf-8") == page


def test_the_page_speaks_spanish_throughout(orders: Path, tmp_path: Path) -> None:
    run([str(orders)], tmp_path / "informe.html", _SPANISH)
    page = (tmp_path / "informe.html").read_text("utf-8")
    text = Reader(page).text
    assert '<html lang="es">' in page
    assert "anulado a los 1 min" in text
    for word in ("alerts", "found", "order lines", "the ", "units"):
        assert word not in text.replace(SCRIPT, ""), word


def test_a_shop_without_alerts_has_a_page_that_says_so(tmp_path: Path) -> None:
    orders = tmp_path / "orders.csv"
    orders.write_text("InvoiceNo,StockCode,Quantity,InvoiceDate\n1,A,2,2024-01-01 10:00\n", "utf-8")
    run([str(orders)], tmp_path / "report.html")
    text = Reader((tmp_path / "report.html").read_text("utf-8")).text
    assert "No alert came within the budget of 5 false alerts a day." in text
    assert "no price: wrong prices cannot be seen" in text


def test_lines_that_nobody_judged_are_told_with_their_places(tmp_path: Path) -> None:
    orders = tmp_path / "orders.csv"
    orders.write_bytes(shop() + b"1,<b>A</b>,Bad,many,2024-01-19 21:00:00,1,1,Spain\n")
    run([str(orders)], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "could not be read" in page
    assert "quantity must be" in page
    assert "<b>A</b>" not in page


def test_a_rule_alone_has_a_page_too(orders: Path, tmp_path: Path) -> None:
    run([str(orders)], tmp_path / "report.html", '[[detectors]]\ntype = "low_quantity"\n')
    assert "is a rule, not a test" in Reader((tmp_path / "report.html").read_text("utf-8")).text


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_and_shapes_stand_out_from_what_they_stand_on(page: str, theme: str) -> None:
    style = Reader(page).style
    light, *others = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", light))
    if theme != "light":
        colours |= dict(re.findall(r"--([\w-]+): (#\w{6})", others[theme == "print"]))
    for one, other in _TEXT_PAIRS:
        assert _contrast(colours[one], colours[other]) >= 4.5, (one, other)
    for one, other in _SHAPE_PAIRS:
        assert _contrast(colours[one], colours[other]) >= 3, (one, other)


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium")
def test_a_browser_has_nothing_to_complain_of(page: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page, "utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--disable-background-networking", "--enable-logging=stderr", "--v=0"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", str(tmp_path / "report.html")]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "<svg" in shown.stdout
    assert "CONSOLE" not in shown.stderr


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2.2 defines it."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([light(one), light(other)])
    return (high + 0.05) / (low + 0.05)
