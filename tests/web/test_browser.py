"""The pages in a real Chromium: hostile texts, keys alone, live news, both languages and themes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oddlot import config as configs
from oddlot.schema import Reject
from oddlot.store import Store
from web.served import Served, serving
from web.stores import alert, fill, incident, write_config

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

_PAGES = ("/", "/?range=90d", "/inbox", "/sku", "/detectors", "/rejects", "/pipeline", "/nowhere")
_MARKS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "</title><script>alert(1)</script>",
    "</text></svg><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    '" autofocus onfocus=alert(1) x="',
    "' onmouseover='alert(1)",
    "` onmouseover=alert(1)",
    "javascript:alert(1)",
    " javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "<a href=javascript:alert(1)>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=javascript:alert(1)>",
    "<math><mtext></mtext><mglyph><style><img src=x onerror=alert(1)>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>*{background:url(//evil.example)}</style>",
    "<form action=//evil.example><button autofocus>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<marquee onstart=alert(1)>",
    "{{7*7}}",
    "{% print(1) %}",
    "${alert(1)}",
    "#{7*7}",
    "{like}{sku}{0}{__class__}",
    "%s%n%x",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "\u202egnp.exe",
    "\u2066a\u2069\u200f",
    "a\u0300" * 60,
    "\x1b[31mred\x07",
    "\x00nul",
    "\N{ZERO WIDTH JOINER}" * 30,
    "👩‍👩‍👧‍👦" * 20,
    "x" * 3000,
    "../../../etc/passwd",
    "..%2f..%2fshop.toml",
    "?lang=es&theme=dark#x",
    "a&b=c;d",
    "'; DROP TABLE alert; --",
    '" OR 1=1 --',
    "%' OR '1'='1",
    "\\",
    "//evil.example/x",
    "constructor",
    "__proto__",
    "<",
    ">",
    "&",
    '"',
    "'",
)
_WRAPS = ("{}", "MUG {} RED", '"{}"', "<b>{}</b>", "\n{}\t")
HOSTILE = [wrap.replace("{}", mark) for mark, wrap in itertools.product(_MARKS, _WRAPS)]


class Watched:
    """A page whose every complaint is kept."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("dialog", self._close)
        self.page.on("console", lambda one: self._hear(one.type, one.text))
        self.page.on("pageerror", lambda one: self.complaints.append(str(one)))
        self.page.on("request", self._look)

    def _close(self, dialog: Any) -> None:
        self.complaints.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _hear(self, kind: str, text: str) -> None:
        # What the browser itself says of an answer such as 404 is no fault of the page.
        if kind in ("error", "warning") and "the server responded with a status of" not in text:
            self.complaints.append(text)

    def _look(self, request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.complaints.append(f"asked {request.url}")


@pytest.fixture
def enter(browser: Browser) -> Iterator[Any]:
    contexts: list[BrowserContext] = []

    def entered(served: Served, **options: Any) -> Watched:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(15_000)
        name, _, value = served.cookie.partition("=")
        context.add_cookies([{"name": name, "value": value, "url": served.home}])
        return Watched(context)

    yield entered
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A shop in which every text that comes from outside is hostile."""
    place = write_config(tmp_path_factory.mktemp("hostile"))
    alerts = [
        alert(
            i,
            sku=text[:60],
            description=text,
            invoice=text[:40],
            source=text[:80],
            text=f"{text}: 900 units",
            severity=float(i),
            evidence={text[:20] or "x": 1.0, "low": 1.0, "high": 3.0},
        )
        for i, text in enumerate(HOSTILE)
    ]
    rejects = [
        Reject(text[:80], i, i, f"must be; got {text}", text.encode()[:256], len(text))
        for i, text in enumerate(HOSTILE)
    ]
    fill(place, alerts, rejects)
    with serving(place) as served:
        served.enter()
        yield served


def test_there_are_three_hundred_hostile_texts() -> None:
    assert len(set(HOSTILE)) >= 300


def test_no_hostile_text_runs_or_asks_for_anything_on_any_list(hostile: Served, enter: Any) -> None:
    watched = enter(hostile)
    lists = {"/inbox": 330, "/sku": 330, "/rejects": 330}
    pages = [*_PAGES]
    for name, count in lists.items():
        pages += [f"{name}?page={page}" for page in range(2, count // 50 + 2)]
    for page in pages:
        watched.page.goto(hostile.home + page)
        watched.page.locator("main").wait_for()
        assert not watched.complaints, page
        # Nor does a name of 3,000 letters make the page wide.
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 1280, page
    text = watched.page.locator("body").inner_text()
    assert "Oddlot" in text


def test_no_hostile_text_runs_on_its_own_page(hostile: Served, enter: Any) -> None:
    watched = enter(hostile)
    for number, text in list(enumerate(HOSTILE))[:: len(_WRAPS)]:
        watched.page.goto(f"{hostile.home}/incident/{alert(number).id}")
        watched.page.locator("h1").wait_for()
        assert not watched.complaints, text
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 1280, text
        about = watched.page.locator("main p a[href^='/sku']")
        if about.count():
            about.first.click()
            watched.page.locator("#content h1").wait_for()
            assert not watched.complaints, text


def test_a_hostile_search_is_text_in_its_field(hostile: Served, enter: Any) -> None:
    watched = enter(hostile)
    for text in _MARKS[:20]:
        watched.page.goto(f"{hostile.home}/inbox")
        watched.page.locator("[data-search]").fill(text)
        watched.page.keyboard.press("Enter")
        watched.page.locator("#found").wait_for()
        assert watched.page.locator("[data-search]").input_value() == text.strip()
        assert not watched.complaints, text


def test_the_worst_incident_is_found_and_understood_with_keys_alone(
    dashboard: Served, enter: Any
) -> None:
    watched = enter(dashboard)
    page = watched.page
    page.goto(dashboard.home)
    page.locator("#feed[data-feed=live]").wait_for()
    page.keyboard.press("g")
    page.keyboard.press("i")
    page.wait_for_url("**/inbox")
    page.locator("#help-open:visible").wait_for()
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.matches('[data-row]')")
    page.keyboard.press("j")
    page.keyboard.press("k")
    first = page.locator("[data-row]").first.get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{first}")
    page.locator("#help-open:visible").wait_for()
    told = page.locator("main").inner_text()
    for word in ("How unusual", "Since when", "At stake", "The lines around it"):
        assert word in told
    page.keyboard.press("u")
    page.wait_for_url("**/inbox")
    page.locator("#help-open:visible").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("invoice")
    page.keyboard.press("Enter")
    page.wait_for_url("**/inbox?q=invoice*")
    page.locator("#help-open:visible").wait_for()
    assert page.locator("[data-row]").count() > 0
    page.keyboard.press("?")
    assert page.locator("dialog#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog#help").is_visible()
    assert not watched.complaints


def test_single_keys_can_be_turned_off(dashboard: Served, enter: Any) -> None:
    watched = enter(dashboard)
    watched.page.goto(f"{dashboard.home}/inbox")
    watched.page.locator("#help-open").click()
    watched.page.locator("#keys-on").uncheck()
    watched.page.keyboard.press("Escape")
    watched.page.keyboard.press("j")
    assert not watched.page.evaluate("document.activeElement.matches('[data-row]')")
    watched.page.reload()
    watched.page.locator("#help-open:visible").wait_for()
    watched.page.keyboard.press("?")
    assert not watched.page.locator("dialog#help").is_visible()


def test_spanish_is_two_clicks_away_and_stays(dashboard: Served, enter: Any) -> None:
    watched = enter(dashboard, locale="en-GB")
    page = watched.page
    page.goto(f"{dashboard.home}/inbox?level=high")
    page.get_by_role("link", name="Español").click()
    page.locator("html[lang=es]").wait_for()
    assert page.url.endswith("/inbox?level=high")
    assert page.locator("h1").inner_text() == "Bandeja"
    page.locator("[data-row]").first.click()
    page.locator("article h1").wait_for()
    assert "Cuán inusual" in page.locator("main").inner_text()
    assert not watched.complaints


@pytest.mark.parametrize("page", _PAGES[:-1])
@pytest.mark.parametrize("language", ["en-GB", "es-ES"])
def test_a_narrow_page_does_not_scroll_sideways_and_its_targets_are_large(
    page: str, language: str, dashboard: Served, enter: Any
) -> None:
    viewport = {"width": 390, "height": 844}
    watched = enter(dashboard, viewport=viewport, locale=language, color_scheme="dark")
    watched.page.goto(dashboard.home + page)
    watched.page.locator("#help-open:visible").wait_for()
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
    small = watched.page.evaluate(
        """() => [...document.querySelectorAll("main a, button, select, input, footer a, nav a")]
        .filter((one) => one.offsetParent && !one.closest("p, .about, .skip"))
        .map((one) => [one.textContent.trim(), one.getBoundingClientRect().toJSON()])
        .filter(([, box]) => box.height < 24 || box.width < 24)
        .filter(([, box]) => box.height > 0)
        .map(([text, box]) => `${text} ${box.width}x${box.height}`)"""
    )
    assert small == []
    assert not watched.complaints


def test_an_alert_that_is_stored_appears_in_the_open_page(tmp_path: Path, enter: Any) -> None:
    place = write_config(tmp_path)
    state = Path(configs.load(place).state.path)
    with serving(place) as served:
        served.enter()
        watched = enter(served)
        watched.page.goto(served.home)
        watched.page.locator("[data-starting]").wait_for()
        fill(place, [alert(1)])
        watched.page.locator("a[data-row]", has_text="S1: 900 units").wait_for()
        with Store.open(state) as store:
            store.add_alerts([alert(2)], [incident(alert(2))])
        watched.page.locator("a[data-row]", has_text="S2: 900 units").wait_for()
        # A list that somebody works on stays still until he asks for what is new.
        watched.page.goto(f"{served.home}/inbox")
        watched.page.locator("#feed[data-feed=live]").wait_for()
        with Store.open(state) as store:
            store.add_alerts([alert(3)], [incident(alert(3))])
        watched.page.locator("#new:visible").wait_for()
        assert watched.page.locator("[data-row]").count() == 2
        watched.page.locator("#new").click()
        watched.page.locator("a[data-row]", has_text="S3: 900 units").wait_for()
        assert not watched.complaints


def test_a_server_that_is_gone_shows_as_stale_within_ten_seconds(
    tmp_path: Path, enter: Any
) -> None:
    place = write_config(tmp_path)
    fill(place, [alert(1)])
    with serving(place) as served:
        served.enter()
        watched = enter(served)
        watched.page.goto(served.home)
        watched.page.locator("#feed[data-feed=live]").wait_for()
    watched.page.locator("#feed[data-feed=stale]").wait_for(timeout=10_000)
    assert "Stale" in watched.page.locator("#feed").inner_text()


def test_a_paused_page_stays_as_it_is_and_its_address_says_so(tmp_path: Path, enter: Any) -> None:
    place = write_config(tmp_path)
    fill(place, [alert(1)])
    with serving(place) as served:
        served.enter()
        watched = enter(served)
        watched.page.goto(served.home)
        watched.page.locator("#feed[data-feed=live]").wait_for()
        watched.page.keyboard.press(".")
        watched.page.locator("#feed[data-feed=paused]").wait_for()
        assert watched.page.url.endswith("live=off")
        with Store.open(Path(configs.load(place).state.path)) as store:
            store.add_alerts([alert(2)], [incident(alert(2))])
        watched.page.reload()
        watched.page.locator("#feed[data-feed=paused]").wait_for()
        watched.page.keyboard.press(".")
        watched.page.locator("#feed[data-feed=live]").wait_for()
        assert "live" not in watched.page.url


def test_the_pages_work_without_scripts(dashboard: Served, enter: Any) -> None:
    watched = enter(dashboard, java_script_enabled=False)
    watched.page.goto(f"{dashboard.home}/inbox")
    watched.page.locator("select[name=level]").select_option("low")
    watched.page.get_by_role("button", name="Apply").click()
    assert re.search(r"level=low", watched.page.url)
    watched.page.locator("[data-row]").first.click()
    assert watched.page.locator("article.level-low").count() == 1
