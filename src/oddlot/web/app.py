"""The routes: each asks the store, and fills a page or a file."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from oddlot import __version__
from oddlot.config import Config
from oddlot.errors import ConfigError, DataError, OddlotError
from oddlot.web import lists, pages, stories
from oddlot.web.engine_lock import is_locked
from oddlot.web.feed import Feed
from oddlot.web.filters import View
from oddlot.web.guard import Door, Guard, cookie_name, token_of
from oddlot.web.inbox import Inbox
from oddlot.web.pulse import Pulse
from oddlot.web.starting import look_at_start
from oddlot.web.voice import LANGUAGES, LEVELS, Voice, clean, level_of

_THEMES = ("auto", "light", "dark")
_YEAR = 31_536_000
_PUBLIC = ("/login", "/livez", "/static/")
_NAV = (
    ("overview", "/", "o"),
    ("inbox", "/inbox", "i"),
    ("skus", "/sku", "p"),
    ("detectors", "/detectors", "d"),
    ("rejects", "/rejects", "r"),
    ("pipeline", "/pipeline", "f"),
)
Told = Callable[[Inbox, View, Voice], Mapping[str, Any]]


class Dashboard:
    """Answers everything that is asked of one shop.

    Args:
        config: from shop.toml.
        port: that it is served at, for the session cookie's name.
        door: knows the sessions.
        on_entered: told when a link was used, so that the next one can be printed.
    """

    def __init__(
        self, config: Config, port: int, door: Door, on_entered: Callable[[], None]
    ) -> None:
        self.config = config
        self.folder = Path(config.state.path)
        self.archive = Path(config.archive.path) if config.archive.path else None
        self._door = door
        self._cookie = cookie_name(port, is_secure=False)
        self._on_entered = on_entered
        self.pulse = Pulse(config, time.time)
        self.feed = Feed(self.pulse.look, self._holds)
        sentences = {
            pages.type_of(one): one.sentence for one in config.detectors if not one.is_rule
        }
        self._voices = {
            language: Voice(language, sentences, config.alerts.language) for language in LANGUAGES
        }

    def _holds(self, scope: Scope) -> bool:
        return self._door.knows(token_of(Headers(scope=scope), self._cookie))

    def routes(self) -> list[Route | Mount]:
        """Return every route; `test_guard` goes through them."""
        told: dict[str, Told] = {
            "/": lambda inbox, view, voice: pages.overview(inbox, view, voice, self.config),
            "/inbox": self._inbox,
            "/detectors": lambda inbox, view, voice: {
                "rows": pages.detectors(inbox, voice, self.config),
                "idle": pages.idle_detectors(self.config, voice),
                "budget": self.config.budget.false_alerts_per_day,
            },
            "/rejects": lambda inbox, view, voice: pages.rejects(inbox, view),
            "/pipeline": lambda inbox, view, voice: {
                **pages.flow(inbox, voice, self.folder),
                "channels": pages.channels(inbox, self.config),
            },
        }
        names = {path: name for name, path, _ in _NAV}
        return [
            *(Route(path, self._page(names[path], tell)) for path, tell in told.items()),
            Route("/incident/{id}.json", self._incident_file),
            Route("/incident/{id}", self._incident),
            Route("/sku", self._sku),
            *(
                Route(f"{path}.{form}", self._file(path[1:], form))
                for path in ("/inbox", "/sku", "/detectors", "/rejects", "/pipeline")
                for form in ("json", "csv")
            ),
            Route("/events", self.feed),
            Route("/login", self._login),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/livez", lambda request: PlainTextResponse("ok")),
            Mount("/static", _Static(packages=[("oddlot.web", "static")]), name="static"),
            Route("/chart.css", self._chart_style),
        ]

    # -- pages ---------------------------------------------------------------------------------

    def _page(self, name: str, tell: Told) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            return self._told(request, name, tell)

        return answer

    def _told(self, request: Request, name: str, tell: Told, status: int = 200) -> Response:
        """Fill a page from the store, or say why there is nothing to fill it from."""
        if (turned := _preference(request)) is not None:
            return turned
        voice = self._voice(request)
        view = _view(request)
        try:
            with Inbox.open(self.folder) as inbox:
                values = tell(inbox, view, voice)
        except ConfigError:
            start = look_at_start(self.config)
            return self._render(request, "starting.html", name, view=view, start=start)
        except OddlotError as error:
            return self._render(
                request, "error.html", name, 503, view=view, why=str(error), is_transient=True
            )
        return self._render(request, f"{name}.html", name, status, view=view, **values)

    def _render(
        self, request: Request, template: str, name: str, status: int = 200, **values: Any
    ) -> Response:
        voice = self._voice(request)
        theme = request.cookies.get("oddlot-theme", "auto")
        html = _templates().get_template(template).render(
            say=voice.say,
            voice=voice,
            number=voice.number,
            language=voice.language,
            languages=LANGUAGES,
            theme=theme if theme in _THEMES else "auto",
            themes=_THEMES,
            levels=LEVELS,
            name=name,
            nav=_NAV,
            shop=Path(self.config.place).name,
            version=__version__,
            path=request.url.path,
            query=request.url.query,
            static=_static,
            engine="running" if is_locked(self.folder) else "stopped",
            detector_types=sorted(map(pages.type_of, self.config.detectors)),
            now_s=time.time(),
            pulse=self.pulse.newest,
            **values,
        )  # fmt: skip
        # Half of a pair of code units can come from a file's name; it is no text.
        return Response(html.encode("utf-8", "replace"), status, None, "text/html; charset=utf-8")

    def _inbox(self, inbox: Inbox, view: View, voice: Voice) -> Mapping[str, Any]:
        return stories.list_incidents(inbox, view, voice, self.config)

    def _incident(self, request: Request) -> Response:
        def tell(inbox: Inbox, view: View, voice: Voice) -> Mapping[str, Any]:
            incident = inbox.incident(request.path_params["id"])
            story = incident and stories.tell(inbox, incident, voice, self.config, self.archive)
            if not story:
                raise HTTPException(404)
            return story

        return self._told(request, "incident", tell)

    def _sku(self, request: Request) -> Response:
        code = _view(request).code

        def tell(inbox: Inbox, view: View, voice: Voice) -> Mapping[str, Any]:
            if code:
                told = stories.tell_sku(inbox, code, voice, self.config, self.archive)
                if not told:
                    raise HTTPException(404)
                return told
            rows, total = inbox.skus(view.q, 50 * (view.page - 1), 50)
            last = max(1, -(-total // 50))
            return {
                "rows": rows,
                "total": total,
                "last_page": last,
                "level_of": lambda severity: level_of(severity, self.config.web.levels),
                "previous": view.link("/sku", page=view.page - 1) if view.page > 1 else "",
                "next": view.link("/sku", page=view.page + 1) if view.page < last else "",
            }

        return self._told(request, "sku" if code else "skus", tell)

    # -- files ---------------------------------------------------------------------------------

    def _file(self, name: str, form: str) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            view, voice = _view(request), self._voice(request)
            with Inbox.open(self.folder) as inbox:
                rows = lists.rows_of(inbox, name, view, voice, self.config)
            if form == "json":
                return lists.json_file(rows)
            header = list(rows[0]) if rows else ["nothing"]
            return lists.csv_file(name, header, [list(row.values()) for row in rows])

        return answer

    def _incident_file(self, request: Request) -> Response:
        with Inbox.open(self.folder) as inbox:
            incident = inbox.incident(request.path_params["id"])
            if incident is None:
                raise HTTPException(404)
            alerts = inbox.alerts_of(incident.id, 1_000)
        row = lists.incident_cells(incident, self.config.web.levels)
        return lists.json_file({**row, "alerts": [lists.alert_cells(one) for one in alerts]})

    # -- who comes in --------------------------------------------------------------------------

    def _login(self, request: Request) -> Response:
        token = self._door.enter(request.query_params.get("key", ""))
        if token is None and not self._holds(request.scope):
            return self._locked_page(request)
        there = request.query_params.get("next", "/")
        # Only a place of ours: //elsewhere and \\elsewhere are other hosts.
        if not there.startswith("/") or there[1:2] in ("/", "\\") or not there.isprintable():
            there = "/"
        answer = RedirectResponse(there, 303)
        if token is not None:  # else the link was his own, used before
            answer.set_cookie(self._cookie, token, httponly=True, samesite="lax", path="/")
            self._on_entered()
        return answer

    def _logout(self, request: Request) -> Response:
        self._door.leave(request.cookies.get(self._cookie, ""))
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(self._cookie)
        return answer

    def _locked_page(self, request: Request) -> Response:
        return self._render(request, "locked.html", "locked", 401, view=View())

    async def locked(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer who has no session."""
        request = Request(scope, receive)
        is_page = "text/html" in request.headers.get("accept", "")
        answer = self._locked_page(request) if is_page else PlainTextResponse("no session", 401)
        await answer(scope, receive, send)

    # -- the rest ------------------------------------------------------------------------------

    def _voice(self, request: Request) -> Voice:
        chosen = request.cookies.get("oddlot-language", "")
        if chosen not in LANGUAGES:
            spoken = request.headers.get("accept-language", "").lower()
            first = spoken.replace(" ", "").partition(",")[0].partition("-")[0].partition(";")[0]
            chosen = first if first in LANGUAGES else "en"
        return self._voices[chosen]

    def _chart_style(self, request: Request) -> Response:
        style = (resources.files("oddlot.report") / "chart.css").read_bytes()
        return Response(style, 200, {"cache-control": "max-age=3600"}, "text/css")

    async def refused(self, request: Request, error: Exception) -> Response:
        """Answer what went wrong, in the reader's language, without a trace."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        why = str(error) if isinstance(error, OddlotError) else ""
        if isinstance(error, OddlotError):
            status = 400 if isinstance(error, DataError) else 503
        if not request.url.path.endswith((".json", ".csv")):
            key = "not_found" if status == 404 else "error"
            is_transient = status >= 500
            return self._render(
                *(request, "error.html", key, status),
                view=View(),
                why=why,
                is_transient=is_transient,
            )
        return PlainTextResponse(why or "error", status)


class _Static(StaticFiles):
    """Files of ours, which never change under one address: it has their digest."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        answer = super().file_response(*args, **options)
        answer.headers["cache-control"] = f"public, max-age={_YEAR}, immutable"
        return answer


def build_app(
    config: Config,
    port: int,
    door: Door,
    hosts: tuple[str, ...],
    on_entered: Callable[[], None] = lambda: None,
) -> tuple[ASGIApp, Dashboard]:
    """Return the whole application, and the dashboard inside."""
    dashboard = Dashboard(config, port, door, on_entered)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(dashboard.feed.run())
        try:
            yield
        finally:
            looking.cancel()

    inner = Starlette(
        routes=dashboard.routes(),
        lifespan=lifespan,
        exception_handlers={
            HTTPException: dashboard.refused,
            OddlotError: dashboard.refused,
            500: dashboard.refused,
        },
    )
    cookie = cookie_name(port, is_secure=False)
    return Guard(inner, door, hosts, cookie, _PUBLIC, dashboard.locked), dashboard


def _preference(request: Request) -> Response | None:
    """Keep a language or theme that the address asks for, and lead back to the page without it."""
    kept = {
        name: request.query_params[name]
        for name, known in (("lang", LANGUAGES), ("theme", _THEMES))
        if request.query_params.get(name) in known
    }
    if not kept:
        return None
    url = request.url.remove_query_params(["lang", "theme"])
    answer = RedirectResponse(f"{url.path}?{url.query}" if url.query else url.path, 303)
    for name, value in kept.items():
        cookie = {"lang": "oddlot-language", "theme": "oddlot-theme"}[name]
        answer.set_cookie(cookie, value, max_age=_YEAR, samesite="lax", httponly=True)
    return answer


def _view(request: Request) -> View:
    return View.read(request.query_params)


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("oddlot.web", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clean"] = clean
    return environment


@cache
def _static(name: str) -> str:
    """Return the address of one of our files, with its digest."""
    data = (resources.files("oddlot.web") / "static" / name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(data).hexdigest()[:12]}"
