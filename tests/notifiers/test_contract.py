"""What every notifier must hold, whatever it sends by."""

from __future__ import annotations

import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crashes import alert
from notifiers.far_ends import KEY, SECRET, FarEnd, open_far_end
from oddlot import catalog, config
from oddlot.alerts.make import alert_row
from oddlot.errors import ConfigError, StreamError
from oddlot.notifiers.contract import SENT, Message, Notifier, Refused
from oddlot.schema import Alert

EVERY = catalog.find_types("notifiers")
NOW_US = 1_790_000_000_000_000
HOSTILE = (
    "a\r\nBcc: all@shop.example\r\n\r\n<b>x</b> <!channel> @here *\u202eevil\u202c* \0\x1b[2J"
    " \"'`$(id)`"
)


def build(name: str, options: dict[str, Any]) -> Notifier:
    built: Notifier = catalog.build("notifiers", {"type": name, **options}, "a test")
    return built


def message(*alerts: Alert, language: str = "en", number: int = 1) -> Message:
    rows = tuple(map(alert_row, alerts))
    return Message(f"{number:032x}", alerts, rows, NOW_US, language)


@pytest.fixture(params=EVERY)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def far_end(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FarEnd]:
    with open_far_end(name, request, tmp_path) as opened:
        yield opened


def test_an_alert_arrives_with_its_own_words(name: str, far_end: FarEnd) -> None:
    sender = build(name, far_end.options).open()
    for number, text in enumerate(("An order line far larger.", "Línea mucho mayor que otras")):
        one = alert(number, text=text)
        assert list(sender.send(message(one, number=number))) == [SENT]
    sender.close()
    first, second = far_end.arrivals()
    assert "An order line far larger." in first.text
    assert "Línea mucho mayor que otras" in second.text
    assert first.id != second.id


def test_a_message_sent_twice_has_one_id(name: str, far_end: FarEnd) -> None:
    sender = build(name, far_end.options).open()
    again = build(name, far_end.options).open()  # as after a crash
    for one in (sender, again):
        one.send(message(alert(1)))
        one.close()
    arrivals = far_end.arrivals()
    assert len(arrivals) in (1, 2)
    assert len({one.id for one in arrivals}) == 1


def test_a_receiver_that_is_away_is_an_error_that_passes(name: str, far_end: FarEnd) -> None:
    sender = build(name, far_end.options).open()
    far_end.break_it()
    with pytest.raises((StreamError, ConfigError)) as raised:
        sender.send(message(alert(1)))
    assert not isinstance(raised.value, Refused)
    assert "\n" not in str(raised.value)
    far_end.mend_it()
    assert list(sender.send(message(alert(1)))) == [SENT]
    sender.close()
    assert len(far_end.arrivals()) == 1


def test_no_error_tells_a_secret(name: str, far_end: FarEnd) -> None:
    sender = build(name, far_end.options).open()
    far_end.break_it()
    with pytest.raises((StreamError, ConfigError)) as raised:
        sender.send(message(alert(1)))
    far_end.mend_it()
    assert not [secret for secret in (SECRET, KEY, "canary") if secret in repr(raised.value)]


def test_a_hostile_alert_arrives_as_text(name: str, far_end: FarEnd) -> None:
    texts = dict.fromkeys(("text", "description", "sku", "invoice", "source"), HOSTILE)
    odd = alert(1, **texts, price=float("nan"), severity=float("inf"), time_us=2**62)
    long = alert(2, description="ä" * 40_000, text="é" * 5_000, sku="S" * 3_000)
    sender = build(name, far_end.options).open()
    for number, one in enumerate((odd, long)):
        assert list(sender.send(message(one, number=number))) == [SENT]
    sender.close()
    first, second = far_end.arrivals()
    assert "Bcc: all@shop.example" in first.text
    assert "é" * 300 in second.text


def test_a_message_takes_as_many_alerts_as_the_type_says(name: str, far_end: FarEnd) -> None:
    notifier = build(name, far_end.options)
    most = min(notifier.largest, 500)
    alerts = [alert(number, sku=f"S{number}", text=f"text {number}.") for number in range(most)]
    sender = notifier.open()
    assert list(sender.send(message(*alerts))) == [SENT] * most
    sender.close()
    arrivals = far_end.arrivals()
    assert len(arrivals) == (most if notifier.is_itemwise else 1)
    assert "text 0." in arrivals[0].text
    if most > 100 and not notifier.is_itemwise:  # the rest is counted
        assert str(most - arrivals[0].text.count("text ")) in arrivals[0].text


def test_every_option_says_what_it_means(name: str) -> None:
    record = type(build_any(name))
    hints = typing.get_type_hints(record, include_extras=True)
    for field in msgspec.structs.fields(record):
        metas = getattr(hints[field.name], "__metadata__", ())
        described = [meta for meta in metas if getattr(meta, "description", None)]
        assert described, f"{name}: {field.name}"
    assert record.__doc__


def build_any(name: str) -> Notifier:
    module = __import__(f"oddlot.notifiers.{name}", fromlist=[name])
    record = getattr(module, name.capitalize())
    required = {field.name for field in msgspec.structs.fields(record) if field.required}
    known: dict[str, Any] = {
        **dict.fromkeys(("url", "routing_key"), "env:HERE"),
        "run": ("true",),
        "server": "mail.shop.example",
        "to": ("a@shop.example",),
        "sender": "b@shop.example",
        "stream": "alerts",
        "topic": "arn:aws:sns:::alerts",
    }
    built: Notifier = record(**{name: known[name] for name in required})
    return built


def test_a_secret_in_the_config_itself_is_refused_and_not_shown(name: str) -> None:
    fields = {field.name for field in msgspec.structs.fields(type(build_any(name)))}
    built = msgspec.structs.asdict(build_any(name))
    for secret in fields & {"secret", "password", "token", "routing_key"}:
        for value in (SECRET, 12345678, f"ENV:{SECRET}"):
            options = {**built, secret: value}
            given = {key: one for key, one in options.items() if one is not None}
            lines = [f"{key} = {msgspec.json.encode(one).decode()}" for key, one in given.items()]
            text = "\n".join(["[[channels]]", f'type = "{name}"', *lines])
            with pytest.raises(
                ConfigError, match=f"channel 1: {secret} must be env:NAME"
            ) as raised:
                config.from_text(text, "shop.toml")
            assert str(value) not in str(raised.value)


def test_an_option_that_is_none_is_refused_with_those_that_are(name: str) -> None:
    known = [field.name for field in msgspec.structs.fields(type(build_any(name)))]
    text = f'[[channels]]\ntype = "{name}"\n{known[0][:-1]}x = 1'
    with pytest.raises(
        ConfigError, match=r"^shop\.toml: channel 1: key must be one of: "
    ) as raised:
        config.from_text(text, "shop.toml")
    for option in ("severity", "detectors", "skus", *known):
        assert f"{option}" in str(raised.value)


def test_a_detector_that_is_none_is_refused() -> None:
    text = '[[channels]]\ntype = "command"\nrun = ["true"]\ndetectors = ["price_eror"]'
    with pytest.raises(ConfigError, match=r"got 'price_eror' \(did you mean price_error\?\)"):
        config.from_text(text, "shop.toml")


def test_nothing_of_aws_is_imported_to_read_a_config() -> None:
    code = "import sys, oddlot.notifiers." + ", oddlot.notifiers.".join(EVERY)
    code += "; print([name for name in sys.modules if name.startswith(('boto', 'numba'))])"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "[]"
