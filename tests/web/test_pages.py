"""The pages as they are filled: by a watched shop, by nothing, by a state that cannot be read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from oddlot import config as configs
from oddlot.archive import Archive
from oddlot.stored import Stored
from oddlot.web.inbox import Inbox
from oddlot.web.orders import pending_lines, track_of
from web.served import Served, serving
from web.stores import alert, fill, run, write_config

_PAGES = ("/", "/inbox", "/sku", "/detectors", "/rejects", "/pipeline")


def test_every_page_of_a_watched_shop_answers(dashboard: Served) -> None:
    for page in _PAGES:
        for language in ("en", "es"):
            answer = dashboard.ask(page, "GET", {"Accept-Language": f"{language}-XX,fr;q=0.5"})
            assert answer.status == 200
            assert f'<html lang="{language}"' in answer.text
            assert "no-store" in answer.headers["cache-control"]


def test_every_link_on_every_page_leads_to_a_page(dashboard: Served) -> None:
    seen: set[str] = set()
    waiting = ["/", "/?range=90d", "/inbox"]
    while waiting and len(seen) < 150:
        page = waiting.pop(0)
        if page in seen:
            continue
        seen.add(page)
        answer = dashboard.ask(page)
        assert answer.status in ((303,) if re.search(r"[?&](lang|theme)=", page) else (200,)), page
        if answer.headers.get("content-type", "").startswith("text/html"):
            links = re.findall(r'(?:href|src)="([^"#][^"]*)"', answer.text)
            here = page.partition("?")[0]
            whole = (one.replace("&amp;", "&") for one in links)
            waiting += [here + one if one[0] == "?" else one for one in whole]
    assert any("/incident/" in page for page in seen)
    assert any("/sku?code=" in page for page in seen)


def test_an_incident_is_told_with_its_lines_and_their_place(dashboard: Served) -> None:
    rows = json.loads(dashboard.ask("/inbox.json").body)
    one = next(row for row in rows if row["detectors"] == "quantity_spike")
    told = dashboard.ask(f"/incident/{one['id']}").text
    alerts = json.loads(dashboard.ask(f"/incident/{one['id']}.json").body)["alerts"]
    assert f"orders-000001.csv#{alerts[0]['source'][-8:]}, line {alerts[0]['number']}" in told
    assert "<svg viewBox" in told
    assert told.count('class="raised"') >= 1
    for word in ("What", "How unusual", "Since when", "At stake"):
        assert f"<dt>{word}</dt>" in told


def test_preferences_are_kept_and_lead_back_to_the_page(dashboard: Served) -> None:
    answer = dashboard.ask("/inbox?q=a%26b&lang=es")
    assert answer.status == 303
    assert answer.headers["location"] == "/inbox?q=a%26b"
    assert answer.headers["set-cookie"].startswith("oddlot-language=es")
    cookies = f"{dashboard.cookie}; oddlot-language=es; oddlot-theme=dark"
    page = dashboard.ask("/inbox", "GET", {"Cookie": cookies}).text
    assert '<html lang="es" data-theme="dark">' in page
    assert dashboard.ask("/inbox?lang=xx&theme=%22%3E").status == 200


def test_what_is_not_there_is_told_in_the_reader_s_language(dashboard: Served) -> None:
    lost = dashboard.ask(f"/incident/{'e' * 32}", "GET", {"Accept-Language": "es"})
    assert lost.status == 404
    assert "Esa página no existe" in lost.text
    wrong = dashboard.ask("/inbox?level=%3Cb%3E")
    assert wrong.status == 400
    assert "level must be one of: low, medium, high, critical" in wrong.text


def test_before_the_engine_has_stored_anything_the_page_waits(tmp_path: Path) -> None:
    with serving(write_config(tmp_path)) as served:
        served.enter()
        for page in _PAGES:
            answer = served.ask(page)
            assert answer.status == 200
            assert "Waiting for the engine" in answer.text
        assert served.ask("/inbox.json").status == 503


def test_a_state_that_cannot_be_read_is_told_and_no_page_breaks(tmp_path: Path) -> None:
    place = write_config(tmp_path)
    fill(place, [alert(1)])
    database = Path(configs.load(place).state.path) / "oddlot.sqlite"
    with serving(place) as served:
        served.enter()
        assert "S1: 900 units" in served.ask("/inbox").text
        database.write_bytes(b"no database" * 1000)
        answer = served.ask("/inbox")
        assert answer.status == 503
        assert "oddlot.sqlite: must be a whole database" in answer.text
        assert "Traceback" not in answer.text


def test_an_empty_filter_says_how_many_it_hides(dashboard: Served) -> None:
    total = len(json.loads(dashboard.ask("/inbox.json").body))
    page = dashboard.ask("/inbox?q=there-is-no-such-thing").text
    assert "No incident fits this filter." in page
    assert f"the filter hides {total}" in page


def test_lines_that_are_not_archived_yet_are_in_the_picture(shop: Path, tmp_path: Path) -> None:
    """The same track of an alert, whether its lines lie in the archive or in the checkpoint."""
    config = configs.load(shop)
    assert config.archive.path is not None
    archive = Path(config.archive.path)
    waiting = msgspec.structs.replace(
        config,
        state=msgspec.structs.replace(config.state, path=str(tmp_path / "state")),
        archive=msgspec.structs.replace(config.archive, path=str(tmp_path / "archive")),
        alerts=msgspec.structs.replace(config.alerts, path=str(tmp_path / "alerts")),
    )
    run(waiting, is_last=False)
    assert not list((tmp_path / "archive").glob("orders/*/*.parquet"))
    with (
        Inbox.open(Path(config.state.path)) as archived,
        Inbox.open(tmp_path / "state") as pending,
    ):
        assert pending_lines(archived) is None
        alerts = list(archived.alerts())
        assert len(alerts) > 5
        for one in alerts:
            whole = track_of(one, archive, archived)
            part = track_of(one, tmp_path / "archive", pending)
            assert whole is not None
            assert part is not None
            assert (whole.days == part.days).all() or str(whole.days) == str(part.days)
            assert (whole.slots == part.slots).all()
            assert [row[:7] for row in whole.rows()] == [row[:7] for row in part.rows()]


def test_a_track_counts_what_the_archive_s_own_sql_counts(shop: Path) -> None:
    from oddlot.archive import query

    config = configs.load(shop)
    assert config.archive.path is not None
    archive = Path(config.archive.path)
    with Inbox.open(Path(config.state.path)) as inbox:
        spike = next(one for one in inbox.alerts() if one.detector == "quantity_spike")
        track = track_of(spike, archive, inbox)
    assert track is not None
    sql = (
        "SELECT count(*) AS lines, sum(quantity) AS sold FROM orders"
        f" WHERE sku = '{spike.sku}' AND kind = 'sale' AND quantity > 0"
    )
    (row,) = query(archive, sql).to_pylist()
    assert (int(track.days["lines"].sum()), int(track.days["sold"].sum())) == (
        row["lines"],
        row["sold"],
    )


def test_a_damaged_file_of_the_archive_costs_its_lines_only(tmp_path: Path) -> None:
    place = write_config(tmp_path)
    fill(place, [alert(1), alert(2)])
    config = configs.load(place)
    assert config.archive.path is not None
    archive = Path(config.archive.path)
    Archive(archive)
    day = next(archive.glob("orders/date=*"))
    (day / "000000000002.parquet").write_bytes(b"PAR1 but not really")
    with Stored.read(Path(config.state.path)) as stored:
        track = track_of(alert(1), archive, stored)
    assert track is not None
    assert [row.sku for row in track.rows()] == ["S1"]


@pytest.mark.parametrize("price", [float("nan"), 0.0])
def test_an_alert_without_a_price_has_a_page(price: float, tmp_path: Path) -> None:
    place = write_config(tmp_path)
    fill(place, [alert(1, price=price, stake=0.0, severity=0.0)])
    with serving(place) as served:
        served.enter()
        page = served.ask(f"/incident/{alert(1).id}")
        assert page.status == 200
        assert "unknown, as no price is known" in page.text
