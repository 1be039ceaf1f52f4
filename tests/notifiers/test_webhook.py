"""A webhook is signed as Standard Webhooks says, so that its libraries can check it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from crashes import alert
from notifiers.far_ends import KEY
from notifiers.receivers import Receiver
from notifiers.test_contract import NOW_US, build, message
from oddlot.errors import ConfigError
from oddlot.notifiers.webhook import read_keys, sign

OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    body = b'{"test": 2432232314}'
    assert (
        sign(read_keys(KEY), "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Check a signature as a receiver does, written anew from the specification."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in headers["webhook-signature"].split()


def test_while_a_key_changes_both_are_good_and_a_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    with Receiver() as receiver:
        options = {"url": receiver.url, "secret": f"file:{file}", "allow": ["127.0.0.0/8"]}
        hook = build("webhook", options).open()
        for keys in (KEY, f"{OTHER} {KEY}", OTHER):
            file.write_text(keys)
            hook.send(message(alert(1)))
    good = [
        (verify(KEY, one.headers, one.body), verify(OTHER, one.headers, one.body))
        for one in receiver.got
    ]
    assert good == [(True, False), (True, True), (False, True)]
    first = receiver.got[0]
    assert first.headers["webhook-timestamp"] == str(NOW_US // 1_000_000)
    assert not verify(KEY, first.headers, first.body + b" ")
    assert first.json["type"] == "alert.created"
    assert first.json["data"]["sku"] == alert(1).sku


def test_alertmanagers_own_shape_has_every_key_that_alertmanager_sends() -> None:
    with Receiver() as receiver:
        options = {"url": receiver.url, "allow": ["127.0.0.0/8"], "format": "alertmanager"}
        build("webhook", options).open().send(message(alert(1, incident="a" * 32)))
    (got,) = receiver.got
    # As 0.25 sent them to a webhook of ours.
    assert list(got.json) == [
        *("receiver", "status", "alerts", "groupLabels", "commonLabels", "commonAnnotations"),
        *("externalURL", "version", "groupKey", "truncatedAlerts"),
    ]
    (one,) = got.json["alerts"]
    assert list(one) == [
        *("status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint")
    ]
    assert (got.json["version"], got.json["status"], one["status"]) == ("4", "firing", "firing")
    assert one["endsAt"] == "0001-01-01T00:00:00Z"
    assert one["labels"] == got.json["commonLabels"]
    assert one["annotations"]["alert_id"] == alert(1).id
    assert got.headers["webhook-id"] == f"{1:032x}"


def test_without_a_secret_nothing_is_signed() -> None:
    with Receiver() as receiver:
        build("webhook", {"url": receiver.url, "allow": ["127.0.0.0/8"]}).open().send(
            message(alert(1))
        )
        assert "webhook-signature" not in receiver.got[0].headers
        assert receiver.got[0].headers["webhook-id"] == f"{1:032x}"


def test_a_url_may_be_a_secret_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver:
        hook = build("webhook", {"url": "env:HOOK_URL", "allow": ["127.0.0.0/8"]})
        with pytest.raises(ConfigError, match="url: env:HOOK_URL must hold it; nothing is there"):
            hook.open()
        monkeypatch.setenv("HOOK_URL", receiver.url)
        hook.open().send(message(alert(1)))
        assert receiver.got[0].path == "/hook?token=canary-5d41402abc"


def test_a_key_that_is_none_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("canary-key", "whsec_", "whsec_c2hvcnQ=", f"{KEY} canary"):
        monkeypatch.setenv("KEY", text)
        hook = build("webhook", {"url": "https://shop.example", "secret": "env:KEY"})
        with pytest.raises(ConfigError, match="base64 of 24 to 64 bytes") as raised:
            hook.open()
        assert "canary" not in str(raised.value)
