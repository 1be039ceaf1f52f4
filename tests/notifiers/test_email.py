"""A mail reaches a real SMTP server as text and HTML, in threads, sealed where it must be."""

from __future__ import annotations

import email.message
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from crashes import alert
from notifiers.far_ends import Postbox, post_office
from notifiers.test_contract import HOSTILE, build, message
from notifiers.test_posting import certificate
from oddlot.errors import ConfigError, OddlotError
from oddlot.notifiers.contract import SENT, Later, Refused

__all__ = ("certificate",)
PASSWORD = "canary-hunter2"  # noqa: S105


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def port(postbox: Postbox) -> Iterator[int]:
    with post_office(postbox) as opened:
        yield opened


def options(port: int, **more: Any) -> dict[str, Any]:
    people = {"to": ["planner@shop.example"], "sender": "oddlot@shop.example"}
    return {"server": "127.0.0.1", "port": port, "security": "none", **people, **more}


def parts(mail: email.message.EmailMessage) -> tuple[str, str]:
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content(), html.get_content()


def test_a_mail_says_the_same_as_text_and_as_html(postbox: Postbox, port: int) -> None:
    one = alert(1, text="Línea mayor que otras.", severity=1234.5, description="MUG ☕")
    build("email", options(port)).open().send(message(one, language="es"))
    (mail,) = postbox.got
    assert mail["subject"] == "Oddlot: Línea mayor que otras."
    assert mail["auto-submitted"] == "auto-generated"
    text, html = parts(mail)
    for said in ("Línea mayor que otras.", "MUG ☕", "Vale 1,234.50", "orders.csv:2"):
        assert said in text
        assert said in html
    assert '<html lang="es">' in html


def test_the_worst_twenty_are_listed_and_the_rest_counted(postbox: Postbox, port: int) -> None:
    alerts = [alert(n, text=f"text {n}.", severity=float(n % 31)) for n in range(31)]
    replies = build("email", options(port)).open().send(message(*alerts))
    assert list(replies) == [SENT] * 31
    (mail,) = postbox.got
    text, html = parts(mail)
    assert mail["subject"] == "Oddlot: text 30. (and 30 more)"
    assert text.count("text ") == html.count("text ") == 20
    assert "text 11." in text
    assert "text 10." not in text
    assert "11 more of less worth" in text


def test_what_belongs_to_one_incident_is_one_thread(postbox: Postbox, port: int) -> None:
    mailer = build("email", options(port)).open()
    for number in (1, 2):
        mailer.send(message(alert(number, incident="a" * 32), number=number))
    mailer.send(message(alert(3, incident="b" * 32), number=3))
    mailer.send(message(alert(4, incident="a" * 32), alert(5, incident="b" * 32), number=4))
    threads = [mail["references"] for mail in postbox.got]
    first = f"<incident-{'a' * 32}@shop.example>"
    assert threads == [first, first, f"<incident-{'b' * 32}@shop.example>", None]
    assert len({mail["message-id"] for mail in postbox.got}) == 4


def test_no_alert_adds_a_header_or_a_receiver(postbox: Postbox, port: int) -> None:
    evil = alert(1, text=HOSTILE, sku=HOSTILE, description=HOSTILE, source=HOSTILE)
    build("email", options(port)).open().send(message(evil))
    (mail,) = postbox.got
    assert mail["bcc"] is None
    assert postbox.to == [["planner@shop.example"]]
    _, html = parts(mail)
    assert "<b>x</b>" not in html
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "\u202e" not in html
    assert "\x1b" not in html


@pytest.mark.parametrize(
    ("answer", "kind"), [("451 busy", Later), ("452 full", Later), ("554 spam", Refused)]
)
def test_4xx_is_tried_again_and_5xx_given_up(
    postbox: Postbox, port: int, answer: str, kind: type[OddlotError]
) -> None:
    postbox.answer = answer
    with pytest.raises(kind, match=rf"^127\.0\.0\.1: SMTPDataError, {answer[:3]}$"):
        build("email", options(port)).open().send(message(alert(1)))


def test_a_server_that_is_away_is_tried_again(unused_port: int) -> None:
    with pytest.raises(Later, match=r"^127\.0\.0\.1: Connection refused$"):
        build("email", options(unused_port)).open().send(message(alert(1)))


@pytest.fixture
def unused_port() -> int:
    from loopback import servers

    return servers.free_ports(1)[0]


@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
def test_a_login_goes_over_starttls_only_and_its_refusal_passes(
    postbox: Postbox, certificate: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    # The certificate is for shop.example, which is nobody: the name of the server is checked.
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("certificate.pem")))
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    seen: list[LoginPassword] = []

    def check(server: Any, session: Any, envelope: Any, how: str, data: Any) -> AuthResult:
        seen.append(data)
        return AuthResult(success=data.password == password.encode(), handled=False)

    sealed = {"tls_context": context, "require_starttls": True, "auth_required": True}
    with post_office(postbox, authenticator=check, **sealed) as port:
        login = {"user": "oddlot", "password": "env:MAIL_PASSWORD", "security": "starttls"}
        mailer = build("email", options(port, **login)).open()
        with pytest.raises(Later, match=r"^127\.0\.0\.1: TLS: "):
            mailer.send(message(alert(1)))
        assert seen == []
        monkeypatch.setattr("socket.create_connection", _to_loopback(port))
        named = build("email", {**options(port, **login), "server": "shop.example"}).open()
        if password == PASSWORD:
            named.send(message(alert(1)))
            assert len(postbox.got) == 1
        else:
            with pytest.raises(Later, match=r"^shop\.example: SMTPAuthenticationError, 535$"):
                named.send(message(alert(1)))
        assert seen[0].password == PASSWORD.encode()


def _to_loopback(port: int) -> Any:
    """Stand in for the name service, which knows no shop.example."""
    import socket

    real = socket.create_connection

    def connect(address: tuple[str, int], *args: Any, **more: Any) -> socket.socket:
        return real(("127.0.0.1", port), *args, **more)

    return connect


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"to": []}, "to must"),
        ({"to": ["planner"]}, "to must be an address such as a@shop.com; got 'planner'"),
        ({"to": ["a@b.example\r\nBcc: c@d.example"]}, "to must be an address"),
        ({"sender": "Oddlot <a@b.example>"}, "sender must be an address"),
        ({"user": "me"}, "user and password must both be there, or neither"),
        ({"user": "me", "password": "env:X"}, "security must be starttls or tls"),
        ({"wait": "soon"}, "wait must be a duration"),
        ({"port": 0}, "port must be a whole number"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build("email", {**options(25), **wrong})
