"""The files of the reference pipeline work together, and what they name is in the stack."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import deployed
import grown
from crashes import folder_in_memory
from loopback.fixtures import Kinesis
from loopback.pipeline import Kept, wait_for
from oddlot import archive, config
from oddlot.agent import config as agents
from oddlot.store import Store

# As the how-to does it: the folders of the hosts become one.
FOLDERS = (("/var/log/acmeco", "log"), ("/var/log/oddlot", "."), (r"/var/lib/[a-z-]*", "."))


@pytest.fixture
def folder(kinesis: Kinesis) -> Iterator[Path]:
    """The files with other paths, and environment variables for the servers."""
    with folder_in_memory() as place:
        (place / "log").mkdir()
        for name in ("agent.json", "acmeco.toml"):
            text = (deployed.AWS / name).read_text()
            for pattern, there in FOLDERS:
                text = re.sub(pattern, str(place / there), text)
            (place / name).write_text(text)
        yield place


def flow() -> dict[str, Any]:
    (found,) = json.loads((deployed.AWS / "agent.json").read_text())["flows"]
    return dict(found)


def test_the_agent_understands_every_option() -> None:
    loaded = agents.load(deployed.AWS / "agent.json")
    assert (loaded.unknown, loaded.cautions) == ((), ())
    assert [one.stream for one in loaded.flows] == ["acmecoOrders"]


def test_what_the_files_name_is_in_the_stack() -> None:
    resources = deployed.template()["Resources"].values()
    streams = {
        one["Properties"]["Name"] for one in resources if one["Type"] == "AWS::Kinesis::Stream"
    }
    loaded = config.load(deployed.AWS / "acmeco.toml")
    (channel,) = loaded.channels
    assert {loaded.stream.name, channel.notifier.stream} == streams
    assert flow()["kinesisStream"] == loaded.stream.name
    (landed,) = [
        one["Properties"]["TableInput"]
        for one in resources
        if one["Type"] == "AWS::Glue::Table"
        and one["Properties"]["TableInput"]["Name"] == "orders_landed"
    ]
    sent = [*flow()["dataProcessingOptions"][0]["customFieldNames"], *flow()["addFields"]]
    columns = [one["Name"] for one in landed["StorageDescriptor"]["Columns"]]
    assert columns == [name.lower() for name in sent]


def test_the_generator_writes_where_the_agent_looks() -> None:
    unit = (deployed.AWS / "host" / "oddlot-generator.service").read_text()
    assert flow()["filePattern"] == "/var/log/acmeco/*.log*"
    assert "--to /var/log/acmeco" in unit
    assert "--rename" in unit  # orders.log, orders.log.1, and so on


def test_lines_become_alerts_on_the_stream(
    kinesis: Kinesis, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log files, agent, stream, engine, stream: with the files as the hosts have them."""
    kinesis.stream(2, "acmecoOrders")
    kinesis.stream(1, "acmecoAlerts")
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", kinesis.url)
    lines = grown.texts()[0]
    expected = lines.count(b"\n") - 1
    log = folder / "log" / "orders.log"
    log.write_bytes(lines)

    def is_sent() -> bool:
        return len(kinesis.records("acmecoOrders")) >= expected

    agent = Kept(["agent", "agent.json"], folder, folder / "agent.txt").start()
    try:
        wait_for(is_sent, "not all was sent", agent)
        # So late in the day that all before it are released.
        with log.open("a") as file:
            file.write("999999,22423,x,1,2011-03-01 23:59:00,1.25,17850,UK\n")
        expected += 1
        wait_for(is_sent, "the last line was not sent", agent)
    finally:
        agent.stop()
    sent = [json.loads(one["Data"]) for one in kinesis.records("acmecoOrders")]
    assert len({one["recordId"] for one in sent}) == expected
    # What the original's CSVTOJSON would have cut at its comma.
    assert {one["StockCode"] for one in sent} >= {"8,5", "85123A"}
    assert {one["Description"] for one in sent} >= {'A "B" é'}

    # PutRecords keeps no order, and here one request holds two hours of the shop.
    more = ["--set", "budget.false_alerts_per_day=6000", "--set", "time.lateness=12h"]
    more += ["--set", "time.idle=off"]
    engine = Kept(["run", "acmeco.toml", *more], folder, folder / "engine.txt").start()
    try:
        wait_for(lambda: scored(folder) >= expected - 10, "not all was scored", engine, seconds=90)
        wait_for(lambda: len(kinesis.records("acmecoAlerts")) > 3, "no alerts came", engine)
    finally:
        engine.stop()
    with Store.read(folder / "state") as store:
        known = {one.id: one for one in store.alerts()}
    told = [json.loads(one["Data"]) for one in kinesis.records("acmecoAlerts")]
    assert len(told) > 3
    assert {one["id"] for one in told} <= known.keys()
    orders = archive.query(folder / "archive", "SELECT count(*) AS lines FROM orders").to_pylist()
    assert orders[0]["lines"] == scored(folder)


def scored(folder: Path) -> int:
    if not (folder / "state" / "oddlot.sqlite").exists():
        return 0
    with Store.read(folder / "state") as store:
        return int(store.counts().get("scored", 0))
