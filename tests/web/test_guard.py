"""Who comes in, from where, and what every answer says to the browser."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from starlette.routing import Mount, Route

from oddlot import config as configs
from oddlot.errors import ConfigError
from oddlot.web.app import Dashboard
from oddlot.web.guard import IDLE_SECONDS, LONGEST_SECONDS, POLICY, Door
from web.served import Served, serving
from web.stores import write_config

_PUBLIC = {"/login", "/livez", "/static"}
_ID = "0" * 32


@pytest.fixture(scope="module")
def stranger(dashboard: Served) -> Served:
    """The same dashboard, for somebody without a session."""
    return Served(dashboard.port, "", dashboard.child)


def _paths() -> list[str]:
    """Every route there is, so that a new one fails until it is closed or named public."""
    config = configs.from_text("", "shop.toml")
    routes = Dashboard(config, 1, Door(lambda: 0.0), lambda: None).routes()
    assert all(isinstance(route, Route | Mount) for route in routes)
    return [route.path for route in routes]


@pytest.mark.parametrize("path", _paths())
def test_a_route_answers_nobody_without_a_session(path: str, stranger: Served) -> None:
    there = {"/static": "/static/page.js"}.get(path, path.replace("{id}", _ID))
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        answer = stranger.ask(there, method, {"Origin": stranger.home, "Cookie": "oddlot-1=x"})
        if path in _PUBLIC:
            assert b"incident" not in answer.body
        else:
            assert answer.status == 401, method


def test_every_answer_has_the_policy_whatever_it_says(dashboard: Served, stranger: Served) -> None:
    answers = [dashboard.ask(path) for path in ("/", "/nowhere", "/inbox.csv", "/inbox?page=x")]
    answers += [stranger.ask("/"), stranger.ask("/", "GET", {"Host": "evil.example"})]
    answers += [stranger.ask("/logout", "POST"), stranger.ask("/static/page.js")]
    assert {answer.status for answer in answers} == {200, 400, 401, 403, 404, 421}
    for answer in answers:
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers
    assert "unsafe" not in POLICY


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost"),
        *("127.0.0.1.evil.example:{port}", "localhost.:{port}", "[::]:{port}", "0.0.0.0:{port}"),
        *("127.1:{port}", "2130706433:{port}", "127.0.0.1:{port}@evil", "", " ", "169.254.169.254"),
        "127.0.0.1:{port}, evil.example",
    ],
)
def test_a_host_that_is_not_ours_is_refused(host: str, dashboard: Served) -> None:
    answer = dashboard.ask("/", "GET", {"Host": host.format(port=dashboard.port)})
    assert answer.status in (400, 421)
    assert b"incident" not in answer.body


def test_the_names_of_this_machine_are_answered(dashboard: Served) -> None:
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert dashboard.ask("/", "GET", {"Host": f"{name}:{dashboard.port}"}).status == 200


_SITES = ("", "same-origin", "same-site", "cross-site", "none", "unknown")
_ORIGINS = ("", "own", "http://evil.example", "null", "https://127.0.0.1:1")


@pytest.mark.parametrize(
    ("method", "site", "origin"),
    list(itertools.product(("POST", "PUT", "PATCH", "DELETE"), _SITES, _ORIGINS)),
)
def test_only_our_own_pages_can_change_anything(
    method: str, site: str, origin: str, dashboard: Served
) -> None:
    headers = {"Sec-Fetch-Site": site} if site else {}
    if origin:
        headers["Origin"] = dashboard.home if origin == "own" else origin
    answer = dashboard.ask("/inbox", method, headers)
    may = site == "same-origin" if site else origin == "own"
    assert answer.status == (405 if may else 403)


@pytest.mark.parametrize("mode", ["cors", "no-cors", "websocket", ""])
def test_another_site_can_link_here_but_not_read(mode: str, dashboard: Served) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}
    assert dashboard.ask("/inbox.json", "GET", headers).status == 403
    headers["Sec-Fetch-Mode"] = "navigate"
    assert dashboard.ask("/inbox", "GET", headers).status == 200


def test_a_link_opens_one_browser_once(tmp_path: Path) -> None:
    with serving(write_config(tmp_path)) as served:
        first = served.enter()
        assert first.status == 303
        assert first.headers["location"] == "/"
        assert re.search(r"HttpOnly.*SameSite=lax", first.headers["set-cookie"], re.IGNORECASE)
        assert served.ask("/").status == 200
        # Who has come in already may use his old link; nobody else.
        assert served.ask(f"/login?key={served.key}&next=/inbox").headers["location"] == "/inbox"
        again = Served(served.port, served.key, served.child)
        assert again.enter().status == 401
        assert again.ask("/").status == 401
        left = served.ask("/logout", "POST", {"Sec-Fetch-Site": "same-origin"})
        assert left.status == 303
        assert served.ask("/").status == 401


@pytest.mark.parametrize(
    "there",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "evil",
        "",
        "/%0d%0aX:1",
        "/\t/e",
    ],
)
def test_a_link_leads_to_our_own_pages_only(there: str, tmp_path: Path) -> None:
    with serving(write_config(tmp_path)) as served:
        answer = served.ask(f"/login?key={served.key}&next={there}".replace("\t", "%09"))
        assert answer.status == 303
        assert answer.headers["location"] == "/"
        assert "x" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../app.py", "/static/%2e%2e/app.py", "/static/%2e%2e%2fapp.py", "/static/"),
        *("/static/..%5capp.py", "/static/%00", "/static//etc/passwd", "/static/%252e%252e/app.py"),
        *("/static/....//app.py", f"/static/{'a' * 5000}", "/incident/..%2f..%2fshop.toml"),
    ],
)
def test_no_path_leaves_the_folder_of_our_files(path: str, dashboard: Served) -> None:
    answer = dashboard.ask(path)
    assert answer.status in (400, 404, 405)
    assert b"import" not in answer.body


def test_a_session_ends_when_idle_and_after_a_week() -> None:
    now = 0.0
    door = Door(lambda: now)
    token = door.enter(door.key)
    assert token is not None
    now += IDLE_SECONDS - 1
    assert door.knows(token)
    now += IDLE_SECONDS + 1
    assert not door.knows(token)
    token = door.enter(door.key)
    assert token is not None
    for _ in range(int(LONGEST_SECONDS // (IDLE_SECONDS - 1)) + 1):
        now += IDLE_SECONDS - 1
        held = door.knows(token)
    assert not held


def test_sessions_are_bounded_and_the_least_used_goes_first() -> None:
    now = 0.0
    door = Door(lambda: now)
    tokens = []
    for _ in range(101):
        now += 1
        tokens.append(door.enter(door.key) or "")
    assert [door.knows(token) for token in tokens] == [False, *[True] * 100]


@pytest.mark.parametrize(
    "host", [".".join("0000"), "::", "192.168.1.5", "shop.example", "127.0.0.1.x", ""]
)
def test_an_address_that_others_can_reach_is_refused_at_the_start(host: str) -> None:
    with pytest.raises(ConfigError, match=r"web: host must be an address of this machine alone"):
        configs.from_text(f'[web]\nhost = "{host}"', "shop.toml")


def test_levels_must_rise() -> None:
    with pytest.raises(ConfigError, match=r"web: levels must rise"):
        configs.from_text("[web]\nlevels = [300, 100, 1000]", "shop.toml")
