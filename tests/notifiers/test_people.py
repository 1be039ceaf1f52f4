"""Slack, Alertmanager and PagerDuty get what they take, in their own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from crashes import alert
from notifiers.receivers import Receiver
from notifiers.test_contract import HOSTILE, NOW_US, build, message
from oddlot.notifiers.contract import Message
from oddlot.notifiers.slack import compose
from oddlot.schema import Alert

LOOPBACK = ["127.0.0.0/8"]


def post(name: str, sent: Message, **options: Any) -> list[Any]:
    with Receiver() as receiver:
        url = f"http://127.0.0.1:{receiver.port}"
        build(name, {"url": url, "allow": LOOPBACK, **options}).open().send(sent)
        return [(one.path, one.json, one.headers) for one in receiver.got]


def test_slack_sees_no_mention_link_or_format_in_an_alert() -> None:
    evil = "<!here> <@U1> <https://evil.example|ok> @channel *b* _i_ ~s~ `c` https://evil.example"
    for field in ("text", "sku"):
        body = msgspec.json.encode(compose(message(alert(1, **{field: evil})))).decode()
        for part in ("<!here", "<@U1", "<https", "@channel", "*b*", "_i_", "`c`", "://evil"):
            assert part not in body, part


def test_slack_gets_at_most_eleven_blocks_of_less_than_3000_characters() -> None:
    alerts = [alert(n, text="&" * 9_000, sku="<" * 500, severity=float(n)) for n in range(500)]
    body = compose(message(*alerts))
    lines = [block["text"]["text"] for block in body["blocks"]]
    assert len(lines) == 11
    assert max(map(len, lines)) < 3_000
    assert lines[-1] == "and 490 more, of less worth"
    assert sum(map(len, lines)) + len(body["text"]) < 40_000
    spanish = compose(message(*alerts, language="es"))
    assert spanish["blocks"][-1]["text"]["text"] == "y 490 más, de menos valor"


def test_alertmanager_knows_an_alert_again_by_labels_that_do_not_change(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("canary-token\n")
    one: Alert = alert(1, text=HOSTILE, incident="f" * 32)
    token = f"file:{tmp_path}/token"
    ((path, (got,), headers),) = post("alertmanager", message(one), token=token, lasts="2h")
    assert path == "/api/v2/alerts"
    assert headers["authorization"] == "Bearer canary-token"
    assert got["labels"] == {
        "alertname": "quantity_spike",
        "service": "oddlot",
        "severity": "warning",
        "sku": "SKU1",
    }
    assert got["annotations"]["alert_id"] == one.id
    assert (got["startsAt"], got["endsAt"]) == ("2026-09-21T14:13:20Z", "2026-09-21T16:13:20Z")
    assert NOW_US == 1_790_000_000_000_000


def test_pagerduty_groups_the_alerts_of_an_incident(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("R0UT1NG")
    key = f"file:{tmp_path}/key"
    events = [
        post("pagerduty", message(one), routing_key=key, level="critical")[0][1]
        for one in (alert(1, incident="f" * 32), alert(2, incident="f" * 32), alert(3))
    ]
    assert [event["dedup_key"] for event in events] == ["f" * 32, "f" * 32, alert(3).id]
    assert {event["event_action"] for event in events} == {"trigger"}
    assert {event["routing_key"] for event in events} == {"R0UT1NG"}
    payload = events[0]["payload"]
    assert (payload["severity"], payload["component"]) == ("critical", "SKU1")
    assert payload["custom_details"]["id"] == alert(1).id
