"""Flows side by side: into Firehose, and several over one file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from agent.rig import Rig, arrived, check_all_arrived, orders, write_config
from loopback.firehose import Firehose
from loopback.fixtures import S3, Kinesis, client


@pytest.mark.parametrize("packed", [0, 20_000])
def test_firehose_gets_every_line_whatever_fails(s3: S3, tmp_path: Path, packed: int) -> None:
    bucket = s3.bucket()
    firehose = Firehose(s3.client())
    with firehose.serve(every=None) as url:
        client("firehose", url).create_delivery_stream(
            DeliveryStreamName="orders",
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::000000000000:role/delivery",
                "BucketARN": f"arn:aws:s3:::{bucket}",
            },
        )
        firehose.faults.internal_failures = 0.2
        firehose.faults.unavailable = 0.1
        path = write_config(
            tmp_path,
            "",
            "",
            options={"firehose.endpoint": url},
            deliveryStream="orders",
            aggregatedRecordSizeBytes=packed,
        )
        with Rig(path) as rig:
            (tmp_path / "logs" / "a.log").write_bytes(orders(0, 3000))
            rig.ship(3000)
            assert rig.counts["sent_records"] == (
                3000 if not packed else rig.counts["sent_records"]
            )
            if packed:
                assert rig.counts["sent_records"] < 10
        firehose.deliver_due(everything=True)
    lines = b"".join(s3.objects(bucket).values()).split(b"\n")[:-1]
    assert check_all_arrived(lines, orders(0, 3000)) == 0


def test_several_flows_over_one_file_have_positions_of_their_own(
    kinesis: Kinesis, tmp_path: Path
) -> None:
    streams = [kinesis.stream(1), kinesis.stream(1)]
    path = write_config(tmp_path, kinesis.url, streams[0])
    whole = json.loads(path.read_text())
    whole["flows"].append({**whole["flows"][0], "kinesisStream": "missing"})
    path.write_text(json.dumps(whole))
    log = tmp_path / "logs" / "a.log"
    log.write_bytes(orders(0, 100))
    with Rig(path) as rig:
        rig.ship(100)  # the other one waits for its stream
        assert rig.progress.flows[1].counts["sent_lines"] == 0
        rig.run_until(lambda: any("missing" in problem for problem in rig.agent.problems))
    kinesis.stream(1, "missing")
    with log.open("ab") as file:
        file.write(orders(100, 50))
    with Rig(path) as rig:
        rig.ship(50)
        rig.run_until(lambda: rig.progress.flows[1].counts["sent_lines"] == 150)
    assert check_all_arrived(arrived(kinesis, streams[0]), orders(0, 150)) == 0
    assert check_all_arrived(arrived(kinesis, "missing"), orders(0, 150)) == 0


def test_a_line_that_cannot_be_converted_is_set_aside_and_holds_up_nothing(
    kinesis: Kinesis, tmp_path: Path
) -> None:
    stream = kinesis.stream(1)
    path = write_config(
        tmp_path,
        kinesis.url,
        stream,
        skipHeaderLines=1,
        partitionKeyField="sku",
        aggregation="kpl",
        addFields=["recordId"],
        dataProcessingOptions=[
            {
                "optionName": "LOGTOJSON",
                "logFormat": "COMMONAPACHELOG",
                "matchPattern": r"^(\d+),(\w+)$",
                "customFieldNames": ["invoice", "sku"],
            }
        ],
    )
    with Rig(path) as rig:
        log = tmp_path / "logs" / "a.log"
        log.write_bytes(b"Invoice,StockCode\n536365,85123A\nnot one\n536366,71053\n")
        rig.ship(2)
        assert rig.counts["dropped_mismatch"] == 1
        assert rig.counts["header_lines"] == 1
    records = [json.loads(line) for line in arrived(kinesis, stream)]
    assert Counter(record["sku"] for record in records) == {"85123A": 1, "71053": 1}
    assert len({record["recordId"] for record in records}) == 2
    (aside,) = map(json.loads, (tmp_path / "state" / "set-aside.jsonl").read_text().splitlines())
    assert aside["line"] == "not one"
    assert aside["path"] == str(log)
    assert aside["offset"] == len(b"Invoice,StockCode\n536365,85123A\n")
