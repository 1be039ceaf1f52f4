"""The feed: every page hears the newest, a frozen one costs nothing, all hear good-bye."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.types import Message

from oddlot import config as configs
from oddlot.store import Store
from oddlot.web.engine_lock import is_locked
from oddlot.web.feed import Feed
from oddlot.web.inbox import Inbox
from oddlot.web.pulse import Pulse
from web.stores import alert, fill, incident, write_config

_SCOPE: dict[str, Any] = {"type": "http", "path": "/events", "headers": []}


class _Page:
    """One open page: what it took, and whether it takes anything."""

    def __init__(self, feed: Feed) -> None:
        self.taken: list[Message] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.leaves = asyncio.Event()
        self.task = asyncio.ensure_future(feed(_SCOPE, self._receive, self._send))

    @property
    def text(self) -> str:
        return b"".join(one.get("body", b"") for one in self.taken).decode()

    @property
    def pulses(self) -> list[int]:
        return [int(one) for one in re.findall(r'event: pulse\ndata: \{"n":(\d+)\}', self.text)]

    async def _receive(self) -> Message:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.takes.wait()
        self.taken.append(message)


def _play(scene: Callable[[], Awaitable[None]]) -> None:
    async def play() -> None:
        await asyncio.wait_for(scene(), 30)

    # In a thread of its own: a browser that other tests drive keeps a loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(play())).result()


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_page_hears_how_things_stand_and_every_change() -> None:
    said = {"n": 1}
    feed = Feed(lambda: dict(said), lambda scope: True)

    async def scene() -> None:
        await feed.turn()
        page = _Page(feed)
        await _settle()
        assert page.pulses == [1]
        await feed.turn()  # nothing has changed
        said["n"] = 2
        await feed.turn()
        await _settle()
        assert page.pulses == [1, 2]
        page.leaves.set()
        feed.close()
        await page.task
        assert not feed.readers

    _play(scene)


def test_a_frozen_page_holds_a_few_events_and_hears_the_newest_at_last() -> None:
    said = {"n": 0}
    feed = Feed(lambda: dict(said), lambda scope: True)

    async def scene() -> None:
        frozen, well = _Page(feed), _Page(feed)
        await _settle()
        frozen.takes.clear()
        for n in range(1, 201):
            said["n"] = n
            await feed.turn()
            await _settle()
        assert well.pulses == list(range(1, 201))
        assert max(len(reader.waiting) for reader in feed.readers) <= 16
        frozen.takes.set()
        await _settle()
        assert frozen.pulses[-1] == 200
        assert len(frozen.pulses) <= 20
        for page in (frozen, well):
            page.leaves.set()
        feed.close()
        await asyncio.gather(frozen.task, well.task)

    _play(scene)


def test_all_pages_hear_good_bye_and_no_new_one_is_taken() -> None:
    feed = Feed(dict, lambda scope: True)

    async def scene() -> None:
        pages = [_Page(feed) for _ in range(5)]
        await _settle()
        feed.close()
        await asyncio.gather(*(page.task for page in pages))
        assert all("event: bye" in page.text for page in pages)
        late = _Page(feed)
        await late.task
        assert late.taken[0]["status"] == 503

    _play(scene)


def test_the_pulse_follows_a_folder_that_comes_grows_and_is_replaced(tmp_path: Path) -> None:
    place = write_config(tmp_path)
    config = configs.load(place)
    now = 1_000_000.0
    pulse = Pulse(config, lambda: now)
    assert pulse.look()["state"] == "none"
    fill(place, [alert(1), alert(2)])
    now += 2
    first = pulse.look()
    assert (first["state"], first["incidents"], first["scored"]) == ("stopped", 2, 2)
    # An alert is seen at once, not only when a second has gone by.
    with Store.open(Path(config.state.path)) as store:
        store.add_alerts([alert(3)], [incident(alert(3))])
    assert pulse.look()["incidents"] == 3
    for file in Path(config.state.path).glob("oddlot.sqlite*"):
        file.unlink()
    now += 2
    assert pulse.look()["state"] == "none"


def test_looking_at_the_lock_does_not_take_it(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with Store.open(tmp_path / "state"):
        script = (
            "import sys; from pathlib import Path;"
            "from oddlot.web.engine_lock import is_locked; print(is_locked(Path(sys.argv[1])))"
        )
        told = _python(script, str(tmp_path / "state"))
    assert told == "True"
    assert _python(script, str(tmp_path / "state")) == "False"


def _python(script: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_checkpoint_s_other_contents_are_passed_over(tmp_path: Path) -> None:
    place = write_config(tmp_path)
    fill(place, [alert(1)])
    with Inbox.open(Path(configs.load(place).state.path)) as inbox:
        meta = inbox.meta()
    assert meta.newest_us is not None
    assert [one.name for one in meta.sources] == ["orders.csv"]
    assert json.dumps(meta.read) == "{}"
