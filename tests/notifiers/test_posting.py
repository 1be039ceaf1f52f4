"""A post ends in any case, follows nowhere, and says in one line what became of it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifiers.receivers import Receiver, always, raw_server
from oddlot.errors import OddlotError
from oddlot.notifiers.addresses import read_networks
from oddlot.notifiers.contract import Gone, Later, Refused
from oddlot.notifiers.posting import MOST_BYTES, Answer, post, read_retry_after

LOOPBACK = read_networks(["127.0.0.0/8"])


def send(port: int, timeout_s: float = 5.0) -> Answer:
    url = f"http://127.0.0.1:{port}/?canary"
    return post(url, b"{}", {}, allow=LOOPBACK, timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(status, Later) for status in (301, 302, 307, 308, 408, 425, 429, 500, 502, 503, 599)],
        *[(status, Refused) for status in (400, 401, 403, 404, 413, 422, 499)],
        (410, Gone),
    ],
)
def test_each_status_is_tried_again_given_up_or_the_end(
    status: int, kind: type[OddlotError]
) -> None:
    with Receiver(always(status, location="/elsewhere")) as receiver:
        with pytest.raises(kind, match=rf"^127\.0\.0\.1: answered {status}") as raised:
            send(receiver.port)
        assert "canary" not in str(raised.value)
        assert [request.path for request in receiver.got] == ["/?canary"]


def test_any_2xx_is_well() -> None:
    for status in (200, 201, 202, 204, 299):
        with Receiver(always(status)) as receiver:
            assert send(receiver.port).status == status


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    now_us = 1_790_000_000_000_000
    assert read_retry_after("120", now_us) == 120
    assert (
        read_retry_after("Mon, 21 Sep 2026 14:15:20 GMT", now_us) == 1_790_000_120 - 1_790_000_000
    )
    for text in ("", "soon", "-5", "1.5", "²", "Mon, 21 Sep 2020 14:15:20 GMT", "9" * 400 + "x"):
        assert read_retry_after(text, now_us) == 0


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\n", b"", b"H"])
def test_a_receiver_that_drips_holds_nobody(reply: bytes) -> None:
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(reply)
        while not over.wait(0.02):
            connection.sendall(b"x")

    with raw_server(drip) as port:
        began = time.monotonic()
        with pytest.raises(Later, match=r"no answer within 0\.5 s"):
            send(port, timeout_s=0.5)
        assert time.monotonic() - began < 4
        over.set()


def test_a_receiver_that_says_nothing_or_nonsense_is_tried_again() -> None:
    for reply in (b"", b"SSH-2.0-OpenSSH\r\n", b"\0" * 100, b"HTTP/9 abc\r\n\r\n", b"HTTP/1.1 20"):

        def answer(connection: socket.socket, reply: bytes = reply) -> None:
            connection.recv(65536)
            connection.sendall(reply)

        with raw_server(answer) as port, pytest.raises(Later):
            send(port)


def test_of_a_huge_answer_only_the_beginning_is_read() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"x" * 65536)

    with raw_server(answer) as port:
        assert len(send(port).body) == MOST_BYTES


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Receiver() as receiver:
        send(receiver.port)
        assert len(receiver.got) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of our own for shop.example, with its key in the same file."""
    folder = tmp_path_factory.mktemp("certificate")
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=shop.example"),
            *("-addext", "subjectAltName=DNS:shop.example"),
            *("-keyout", folder / "key.pem", "-out", folder / "certificate.pem"),
        ],
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr.decode()
    whole = folder / "whole.pem"
    whole.write_bytes((folder / "key.pem").read_bytes() + (folder / "certificate.pem").read_bytes())
    return whole


@contextlib.contextmanager
def sealed_server(certificate: Path, names: list[str | None]) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda sock, name, _: names.append(name)

    def talk(connection: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(connection, server_side=True) as seal,
        ):
            got = b""
            while not got.endswith(b"{}"):  # what is left unread would end in a reset
                got += seal.recv(65536)
            seal.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with raw_server(talk) as port:
        yield port


def test_tls_checks_the_name_though_the_address_is_pinned(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str | None] = []
    with sealed_server(certificate, names) as port:

        def to(host: str) -> Answer:
            url = f"https://{host}:{port}/"
            return post(url, b"{}", {}, allow=LOOPBACK, look_up=lambda host, port: ["127.0.0.1"])

        with pytest.raises(Later, match=r"shop\.example: TLS: self-signed certificate"):
            to("shop.example")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("certificate.pem")))
        assert to("shop.example").status == 204
        with pytest.raises(Later, match=r"other\.example: TLS: Hostname mismatch"):
            to("other.example")
    assert names == ["shop.example", "shop.example", "other.example"]
