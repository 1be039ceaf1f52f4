"""Lines of several kinds arrive converted in a real Kinesis-compatible server, with their keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.rig import Rig, write_config
from loopback.fixtures import Kinesis

NAMES = ["InvoiceNo", "StockCode", "Description"]
CSV = {"optionName": "CSVTOJSON", "customFieldNames": NAMES}
HELD = b"""InvoiceNo,StockCode,Description
536365,85123A,HOLDER
536366,71053,"LANTERN,
""WHITE"""
REST = b""""
536367,84406B,"bad" quotes
536368,22752,caf\xe9
TOTAL 3
"""


def ship(
    kinesis: Kinesis, folder: Path, lines: int, pieces: list[bytes], **flow: Any
) -> list[tuple[str, bytes]]:
    """Return key and bytes of what arrived of a file that was written in pieces."""
    stream = kinesis.stream(1)
    path = write_config(folder, kinesis.url, stream, partialLineMillis=100, **flow)
    with Rig(path) as rig:
        for piece in pieces:
            with (folder / "logs" / "a.log").open("ab") as file:
                file.write(piece)
            rig.step(3)
        rig.ship(lines)
    return [(record["PartitionKey"], record["Data"]) for record in kinesis.records(stream)]


def test_csv_lines_become_json_and_what_is_wrong_is_kept(kinesis: Kinesis, tmp_path: Path) -> None:
    got = ship(
        kinesis,
        tmp_path,
        3,
        [HELD, REST],
        skipHeaderLines=1,
        fileFooterPattern="TOTAL",
        partitionKeyField="StockCode",
        dataProcessingOptions=[CSV],
    )
    made = [(key, json.loads(data)) for key, data in got]
    # Only records of one key are in order.
    assert sorted(made, key=lambda one: str(one[1]["InvoiceNo"])) == [
        ("85123A", dict(zip(NAMES, ["536365", "85123A", "HOLDER"], strict=True))),
        ("71053", dict(zip(NAMES, ["536366", "71053", 'LANTERN,\n"WHITE'], strict=True))),
        ("22752", dict(zip(NAMES, ["536368", "22752", "café"], strict=True))),
    ]
    (kept,) = (tmp_path / "state" / "set-aside.jsonl").read_text().splitlines()
    aside = json.loads(kept)
    assert aside["line"] == '536367,84406B,"bad" quotes'
    assert aside["offset"] == (HELD + REST).index(b"536367")
    assert aside["problem"].startswith("quotes: ")


def test_records_of_several_lines_become_one(kinesis: Kinesis, tmp_path: Path) -> None:
    trace = b"[2026-11-24] first\n  at a\n  at b\n"
    got = ship(
        kinesis,
        tmp_path,
        2,
        [trace, b"[2026-11-25] second\n"],
        multiLineStartPattern="\\[\\d{4}-",
        addFields=["offset", "recordId"],
        dataProcessingOptions=[
            {"optionName": "SINGLELINE", "parseOptions": ["ESCAPE_NEW_LINE"]},
            {"optionName": "ADDMETADATA", "metadata": {"shop": "acmeco"}},
        ],
    )
    first, second = sorted((json.loads(data) for _, data in got), key=lambda one: one["offset"])
    assert first["data"] == r"[2026-11-24] first\nat a\nat b"
    assert (first["metadata"], first["offset"]) == ({"shop": "acmeco"}, 0)
    assert (second["data"], second["offset"]) == ("[2026-11-25] second", len(trace))
    assert first["recordId"].partition(":")[0] == second["recordId"].partition(":")[0]
    assert first["recordId"] != second["recordId"]
