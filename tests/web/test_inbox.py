"""The inbox: what a filter shows is what plain Python would pick, in order, on pages."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from oddlot import config as configs
from oddlot.errors import ConfigError, DataError
from oddlot.schema import Alert
from oddlot.web.filters import View
from oddlot.web.inbox import Inbox, Wanted
from web.stores import HOUR_US, NOON_US, alert, fill, write_config

_WORDS = ("MUG", "Teapot", 'HEART "x"', "100% WOOL", "ñandú", "a_b", "O'Neil", "\\", "<b>")
_DETECTORS = ("quantity_spike", "price_error", "return_surge")
_EDGES = (100.0, 300.0, 1000.0)


def _alerts() -> list[Alert]:
    chance = random.Random(7)
    return [
        alert(
            i,
            sku=chance.choice(("A", "A1", 'q"t', "S" + str(i), "*")),
            detector=chance.choice(_DETECTORS),
            time_us=NOON_US + chance.randrange(200) * HOUR_US,
            severity=chance.choice((0.0, 99.9, 100.0, 299.0, 300.0, 1000.0, 5000.0)),
            description=chance.choice(_WORDS),
            text=f"number {i}: {chance.choice(_WORDS)}",
        )
        for i in range(300)
    ]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Inbox, list[Alert]]]:
    place = write_config(tmp_path_factory.mktemp("inbox"))
    alerts = _alerts()
    fill(place, alerts)
    with Inbox.open(Path(configs.load(place).state.path)) as inbox:
        yield inbox, alerts


def _fits(one: Alert, wanted: Wanted) -> bool:
    text = wanted.text.lower()
    since, until = wanted.since_us or 0, wanted.until_us or 1 << 62
    return (
        (not wanted.sku or one.sku == wanted.sku)
        and (not wanted.detector or one.detector == wanted.detector)
        and one.severity >= wanted.least
        and (wanted.most is None or one.severity < wanted.most)
        and (text in one.text.lower() or text in one.description.lower())
        and since <= one.time_us < until
    )


def _wanted(number: int) -> Wanted:
    chance = random.Random(number)
    level = chance.choice([None, *range(4)])
    bounds = [0.0, *_EDGES, None]
    some_us = NOON_US + chance.randrange(150) * HOUR_US
    return Wanted(
        text=chance.choice(("", "", "mug", "%", "_", "\\", "O'", "Ñ".lower(), "number 1")),
        sku=chance.choice(("", "", "A", 'q"t', "S3", "*")),
        detector=chance.choice(("", *_DETECTORS)),
        least=0.0 if level is None else bounds[level] or 0.0,
        most=None if level is None else bounds[level + 1],
        since_us=chance.choice((None, some_us)),
        until_us=chance.choice((None, some_us + 40 * HOUR_US)),
        by_time=chance.random() < 0.5,
    )


@pytest.mark.parametrize("number", range(60))
def test_a_filter_finds_what_plain_python_finds(
    number: int, stored: tuple[Inbox, list[Alert]]
) -> None:
    inbox, alerts = stored
    wanted = _wanted(number)
    found, total = inbox.find(wanted, 0, 1_000)
    fitting = [one for one in alerts if _fits(one, wanted)]
    key = (
        (lambda one: (one.time_us, one.id))
        if wanted.by_time
        else (lambda one: (one.severity, one.id))
    )
    assert [one.id for one in found] == [
        one.incident for one in sorted(fitting, key=key, reverse=True)
    ]
    assert total == len(fitting)


def test_pages_together_are_the_whole_list_once(stored: tuple[Inbox, list[Alert]]) -> None:
    inbox, alerts = stored
    pages = [inbox.find(Wanted(), offset, 50)[0] for offset in range(0, 400, 50)]
    names = [one.id for page in pages for one in page]
    assert len(names) == len(set(names)) == len(alerts)


def test_a_cell_of_the_swimlanes_counts_what_its_link_finds(
    stored: tuple[Inbox, list[Alert]],
) -> None:
    inbox, _ = stored
    lanes = inbox.lanes(NOON_US, NOON_US + 240 * HOUR_US, 24 * HOUR_US)
    assert len(lanes) == len(_DETECTORS)
    for detector, cells in lanes.items():
        for cell, beat in cells.items():
            since = NOON_US + cell * 24 * HOUR_US
            until = since + 24 * HOUR_US
            wanted = Wanted(detector=detector, since_us=since, until_us=until)
            found, total = inbox.find(wanted, 0, 1_000)
            assert total == beat.incidents
            assert max(one.severity for one in found) == beat.severity


def test_levels_add_up_to_all_incidents(stored: tuple[Inbox, list[Alert]]) -> None:
    inbox, alerts = stored
    counts = inbox.levels(_EDGES, None)
    assert sum(counts) == len(alerts)
    for level, word in enumerate(("low", "medium", "high", "critical")):
        assert inbox.find(View(level=word).wanted(_EDGES), 0, 1)[1] == counts[level]


@pytest.mark.parametrize(
    "query",
    [
        *({"level": "worst"}, {"sort": "id"}, {"range": "1y"}, {"page": "0"}, {"page": "-1"}),
        *({"page": "x"}, {"page": "9" * 30}, {"since": "yesterday"}, {"q": "x" * 201}),
        *({"until": "2024-13-01"}, {"page": "\u0661"}),
    ],
)
def test_an_address_that_asks_for_what_there_is_not_says_so(query: dict[str, str]) -> None:
    with pytest.raises(DataError, match=rf"^{next(iter(query))} must be"):
        View.read(query)


def test_an_address_says_the_whole_view_and_nothing_else() -> None:
    view = View(q="a&b=c", level="high", page=3, since="2024-01-31T15:00")
    there = view.link("/inbox")
    assert there == "/inbox?q=a%26b%3Dc&level=high&since=2024-01-31T15%3A00&page=3"
    assert View().link("/inbox") == "/inbox"
    assert view.link("/inbox", page=1, q="") == "/inbox?level=high&since=2024-01-31T15%3A00"


def test_a_folder_without_a_state_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must be a state folder"):
        Inbox.open(tmp_path)
