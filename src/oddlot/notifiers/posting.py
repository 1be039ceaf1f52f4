"""One HTTP request to a checked address: no redirects, no proxies, an end in any case."""

from __future__ import annotations

import email.utils
import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from oddlot.notifiers.addresses import (
    Network,
    Resolve,
    Target,
    choose_address,
    read_url,
    resolve,
)
from oddlot.notifiers.contract import Gone, Later, Refused

TIMEOUT_S = 10.0  # from the first byte to the last, so that a receiver that drips holds nobody
MOST_BYTES = 1 << 16  # of an answer; the rest is not read
_AGAIN = (408, 421, 425, 429)
_AWAY = (421, 429, 503)  # others of 5xx may come of what is in this one message


class Answer(msgspec.Struct, frozen=True):
    """What the receiver said.

    Attributes:
        status: of HTTP.
        headers: by name in small letters.
        body: its beginning.
    """

    status: int
    headers: dict[str, str]
    body: bytes


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allow: Sequence[Network] = (),
    now_us: int = 0,
    timeout_s: float = TIMEOUT_S,
    look_up: Resolve = resolve,
) -> Answer:
    """Post to a URL; return the answer if it says that all is well.

    Args:
        url: where to.
        body: what.
        headers: beside those that HTTP needs.
        allow: networks allowed beside the public ones.
        now_us: the clock, to read a Retry-After that is a date.
        timeout_s: seconds for all of it.
        look_up: gives the addresses of a host.

    Raises:
        Later: no answer, or one that may be another next time.
        Refused: it will never be taken.
        ConfigError: it may not be sent there.
        Gone: the receiver wants no more.
    """
    target = read_url(url)
    address = choose_address(target, allow, look_up)
    answer = _exchange(target, address, body, headers, timeout_s)
    status, place = answer.status, target.host
    if 200 <= status < 300:
        return answer
    if status == 410:
        raise Gone(f"{place}: answered 410, gone")
    if status in _AGAIN or status >= 500:
        after_s = read_retry_after(answer.headers.get("retry-after", ""), now_us)
        raise Later(f"{place}: answered {status}", after_s, is_away=status in _AWAY)
    if 300 <= status < 400:
        raise Later(f"{place}: answered {status}; redirects are not followed, name the last URL")
    raise Refused(f"{place}: answered {status}")


def read_retry_after(text: str, now_us: int) -> float:
    """Return the seconds that a Retry-After header asks for; 0 where it cannot be read."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        then = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, then.timestamp() - now_us / 1e6)


def _exchange(
    target: Target, address: str, body: bytes, extra: Mapping[str, str], timeout_s: float
) -> Answer:
    connection = _Pinned(target, address, timeout_s)
    slow = f"{target.host}: no answer within {timeout_s:g} s"
    try:
        connection.connect()
        connection.request(
            "POST",
            target.path,
            body,
            {"User-Agent": "oddlot", "Content-Type": "application/json", **extra},
        )
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, headers, answer.read(MOST_BYTES))
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or "it failed"
        raise Later(f"{target.host}: TLS: {reason}", is_away=True) from None
    except TimeoutError:
        raise Later(slow, is_away=connection.sock is None) from None
    except (OSError, http.client.HTTPException) as error:
        words = getattr(error, "strerror", None) or type(error).__name__
        # To hang up on one message may be that message's fault.
        is_away = not isinstance(error, http.client.HTTPException)
        raise Later(f"{target.host}: {words}", is_away=is_away) from None
    finally:
        connection.close()


class _Pinned(http.client.HTTPConnection):
    """A connection to one address, whatever the name means by now, with an end to all of it."""

    def __init__(self, target: Target, address: str, timeout_s: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout_s)
        self.default_port = 443 if target.scheme == "https" else 80
        self.sock: Any = None
        self._target = target
        self._address = address
        self._latest_s = time.monotonic() + timeout_s
        self.response_class = self._respond  # type: ignore[assignment]  # it is only called

    def connect(self) -> None:
        raw = socket.create_connection((self._address, self._target.port), self.timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = raw
        if self._target.scheme == "https":
            # A handshake, and each sending, has one timeout for all of it.
            self.sock = ssl.create_default_context().wrap_socket(
                raw, server_hostname=self._target.host
            )

    def _respond(self, sock: Any, **options: Any) -> http.client.HTTPResponse:
        answer = http.client.HTTPResponse(sock, **options)
        answer.fp = io.BufferedReader(_Timed(sock, answer.fp, self._latest_s))
        return answer


class _Timed(io.RawIOBase):
    """Reads from a socket until a time that no drip of bytes puts off."""

    def __init__(self, sock: Any, file: Any, latest_s: float) -> None:
        self._sock = sock
        self._file = file  # of the socket, which it keeps open
        self._latest_s = latest_s

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        left_s = self._latest_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._sock.settimeout(left_s)
        return int(self._file.raw.readinto(into))

    def close(self) -> None:
        self._file.close()
        super().close()
