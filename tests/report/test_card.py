"""What the card of an incident says beside its charts."""

from __future__ import annotations

import pytest

from oddlot.report.card import describe
from oddlot.report.collect import Story
from oddlot.report.texts import Speaker
from oddlot.schema import Alert, Incident

ALERT = Alert(
    id=f"{1:032x}", detector="write_off", time_us=0, sku="22423", chance=1e-5, rate=0.1, score=1.0,
    invoice="", description="CAKESTAND", quantity=-40, price=1.0, source="a", position=0, number=1,
    evidence={}, text="22423: 40 units were written off.", incident=f"{1:032x}",
)  # fmt: skip


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "22432 moved the other way by as much: a wrong code?"),
        ("es", "22432 se movió al revés otro tanto: ¿un código equivocado?"),
    ],
)
def test_a_code_that_moved_the_other_way_is_named_on_the_card(language: str, said: str) -> None:
    incident = Incident(id=ALERT.incident, first_us=0, last_us=0, alerts=1, pair="22432")
    card = describe(Story(incident, [ALERT]), [], Speaker(language))
    assert said in card["badges"]


def test_without_such_a_code_the_card_names_none() -> None:
    incident = Incident(id=ALERT.incident, first_us=0, last_us=0, alerts=1)
    assert describe(Story(incident, [ALERT]), [], Speaker("en"))["badges"] == []
