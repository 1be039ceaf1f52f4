"""A run tells its channels of every alert once, and a channel in trouble costs the run nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import grown
from crashes import folder_in_memory
from notifiers.receivers import Receiver, always, raw_server
from oddlot import config, delivery
from oddlot.errors import ConfigError, StreamError
from oddlot.store import Store


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_in_memory() as place:
        yield place


def watch(folder: Path, *lines: str) -> list[str]:
    """Watch the growing shop to its end with one channel; return the problems that were shown."""

    def make(place: Path) -> config.Config:
        grown.make(place)
        text = (place / "shop.toml").read_text() + "\n".join(["[[channels]]", *lines, ""])
        return config.from_text(text, "shop.toml", place)

    told = grown.watch(folder, config_of=make)
    return [one for progress in told for one in progress.problems.values()]


def stored(folder: Path) -> tuple[list[str], dict[str, bytes], int, int]:
    with Store.read(folder / "state") as store:
        ids = [alert.id for alert in store.alerts(newest=False)]
        counts = store.counts()
    files = {path.name: path.read_bytes() for path in sorted((folder / "alerts").glob("*.jsonl"))}
    return ids, files, counts["alerts_unsent"], counts["alerts_dead"]


def hook(port: int) -> list[str]:
    url = f'url = "http://127.0.0.1:{port}/"'
    return ['type = "webhook"', 'name = "hook"', url, 'allow = ["127.0.0.0/8"]']


def test_every_alert_of_a_run_reaches_its_channel_once(folder: Path) -> None:
    with Receiver() as receiver:
        assert watch(folder, *hook(receiver.port)) == []
    ids, files, unsent, dead = stored(folder)
    assert (unsent, dead) == (0, 0)
    assert len(ids) > 3
    assert sorted(one.json["data"]["id"] for one in receiver.got) == sorted(ids)
    assert [one.body.split(b'"data":')[1][:-1] for one in receiver.got] == (
        files["price_error.jsonl"].splitlines()
    )


def test_a_receiver_that_never_answers_changes_nothing_but_what_is_unsent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "GRACE_S", 0.1)
    over = threading.Event()

    def hang(connection: socket.socket) -> None:
        over.wait(60)

    grown.watch(folder / "alone")
    with raw_server(hang) as port:
        watch(folder / "hung", *hook(port))
        over.set()
    alone, hung = stored(folder / "alone"), stored(folder / "hung")
    assert hung[:2] == alone[:2]
    assert (hung[2], alone[2]) == (len(hung[0]), 0)


def test_what_was_not_sent_goes_out_at_the_next_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver(always(503)) as receiver:
        problems = watch(folder, *hook(receiver.port))
        # A run that is over sooner than the first answer has nothing to show.
        assert set(problems) <= {"channel 'hook': 127.0.0.1: answered 503"}
        assert stored(folder)[2] == len(stored(folder)[0]) > 0
        receiver.answer = always(200)
        watch(folder, *hook(receiver.port))
        ids, _, unsent, _ = stored(folder)
        assert unsent == 0
        assert sorted(one.json["data"]["id"] for one in receiver.taken) == sorted(ids)


def test_a_secret_that_is_not_there_is_told_at_the_start(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^shop\.toml: channel 1: url: env:NOWHERE must hold it"):
        watch(folder, 'type = "slack"', 'url = "env:NOWHERE"')
    grown.watch(folder)  # the state is free again


def shop(folder: Path, *channel: str) -> config.Config:
    return config.from_text("\n".join(["[[channels]]", *channel]), "shop.toml", folder)


def test_a_test_is_sent_at_once_or_says_why_not(folder: Path) -> None:
    with Receiver() as receiver:
        chosen = config.apply(shop(folder, *hook(receiver.port)), ["alerts.language=es"])
        line = delivery.send_test(chosen, "hook", 5_000_000)
        (got,) = receiver.got
        assert line == f"hook: sent {got.headers['webhook-id']}"
        assert got.json["data"]["text"].startswith("Esto es una prueba")
        for status in (410, 403, 503):
            receiver.answer = always(status)
            expected = rf"^channel 'hook': 127\.0\.0\.1: answered {status}"
            with pytest.raises(StreamError, match=expected):
                delivery.send_test(chosen, "hook", 5_000_000)
        with pytest.raises(ConfigError, match="channel must be one of: hook; got 'phone'"):
            delivery.send_test(chosen, "phone", 5_000_000)
    assert not (folder / "state").exists()


def test_channels_are_listed_and_what_was_given_up_can_be_tried_again(folder: Path) -> None:
    with Receiver(always(404)) as receiver:
        chosen = shop(folder, *hook(receiver.port))
        assert delivery.list_channels(chosen) == ["hook: nothing yet"]
        watch(folder, *hook(receiver.port))
        count = len(stored(folder)[0])
        refused = f"hook: 0 pending, 0 sent, {count} given up; 127.0.0.1: answered 404"
        assert delivery.list_channels(chosen) == [refused]
        assert delivery.retry(chosen, "hook", 1) == f"hook: {count} to be tried again"
        receiver.answer = always(200)
        watch(folder, *hook(receiver.port))
        assert delivery.list_channels(chosen) == [f"hook: 0 pending, {count} sent, 0 given up"]
