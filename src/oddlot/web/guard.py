"""Who may come in, and what every answer says to the browser."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Collection, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any, NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
SAFE = ("GET", "HEAD", "OPTIONS")
IDLE_SECONDS = 12 * 3600.0  # a session that nobody used for so long ends
LONGEST_SECONDS = 7 * 86_400.0  # and one ends however much it was used
_MOST_SESSIONS = 100  # the oldest ends when one more begins


class _Session(NamedTuple):
    """When a session began and was last used, seconds on the clock."""

    began: float
    used: float


class Door:
    """Lets in who has the key of the moment, and knows him by his session from then on.

    A key opens once: who comes second with it, from a history or over a shoulder, stays outside.
    Only digests of sessions are kept, and only in memory.

    Attributes:
        key: what the next link must have.
    """

    def __init__(self, clock: Callable[[], float], key: str = "") -> None:
        """Make a first key, unless one is given."""
        self.key = key or _token()
        self._clock = clock
        self._sessions: dict[str, _Session] = {}

    def enter(self, key: str) -> str | None:
        """Return a new session's token if the key is right, and change the key."""
        if not hmac.compare_digest(key.encode(), self.key.encode()):
            return None
        self.key = _token()
        now = self._clock()
        if len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda one: self._sessions[one].used)]
        token = _token()
        self._sessions[_digest(token)] = _Session(now, now)
        return token

    def knows(self, token: str) -> bool:
        """Tell whether a session's token is good, and note that it was used."""
        name, now = _digest(token), self._clock()
        session = self._sessions.get(name)
        if session is None:
            return False
        if now - session.used > IDLE_SECONDS or now - session.began > LONGEST_SECONDS:
            del self._sessions[name]
            return False
        self._sessions[name] = _Session(session.began, now)
        return True

    def leave(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(token), None)


class Guard:
    """Stands before every route: what it does not know, it does not let through.

    Args:
        app: what it guards.
        door: knows the sessions.
        hosts: values of the header Host that are answered.
        cookie: the session cookie's name.
        public: paths, or beginnings of paths that end in /, that need no session.
        locked: answers who has no session.
    """

    def __init__(
        self,
        app: ASGIApp,
        door: Door,
        hosts: Iterable[str],
        cookie: str,
        public: Collection[str],
        locked: ASGIApp,
    ) -> None:
        self._app = app
        self._door = door
        self._hosts = frozenset(host.lower() for host in hosts)
        self._cookie = cookie
        self._public = frozenset(public)
        self._locked = locked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse, or pass on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no websockets
        headers = Headers(scope=scope)

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in HEADERS.items():
                    answer[name] = value
                answer.setdefault("cache-control", "no-store")
            await send(message)

        if headers.getlist("host") and len(headers.getlist("host")) == 1:
            is_ours = headers["host"].lower() in self._hosts
        else:
            is_ours = False
        if not is_ours:
            await _refuse(sealed, 421, "This host name is not one of the dashboard's.")
        elif is_foreign(scope["method"], headers):
            await _refuse(sealed, 403, "Another site may not do that.")
        elif self._is_public(scope["path"]) or self._door.knows(token_of(headers, self._cookie)):
            await self._app(scope, receive, sealed)
        else:
            await self._locked(scope, receive, sealed)

    def _is_public(self, path: str) -> bool:
        return path in self._public or any(
            path.startswith(one) for one in self._public if one.endswith("/") and ".." not in path
        )


def is_foreign(method: str, headers: Headers) -> bool:
    """Tell whether a request comes from another site and would do more than follow a link.

    A browser says where a request comes from and no script can change what it says. One that
    does not say must name our own origin to change anything.
    """
    site = headers.get("sec-fetch-site")
    if method in SAFE:
        is_link = headers.get("sec-fetch-mode") == "navigate"
        return site in ("cross-site", "same-site") and not is_link
    if site is not None:
        return site != "same-origin"
    origin = headers.get("origin", "")
    return origin.partition("://")[2] != headers.get("host", "")


def token_of(headers: Headers, cookie: str) -> str:
    """Return the session's token from a request's cookies; "" where there is none."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return jar[cookie].value if cookie in jar else ""


def cookie_name(port: int, is_secure: bool) -> str:
    """Return the session cookie's name: cookies do not know ports, so the name does.

    The prefix __Host- asks for https, which some browsers also ask for on this machine.
    """
    return f"__Host-oddlot-{port}" if is_secure else f"oddlot-{port}"


async def _refuse(send: Send, status: int, text: str) -> None:
    start: dict[str, Any] = {"type": "http.response.start", "status": status}
    start["headers"] = [(b"content-type", b"text/plain; charset=utf-8")]
    await send(start)
    await send({"type": "http.response.body", "body": text.encode()})


def _token() -> str:
    return secrets.token_urlsafe(32)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
