"""Lines arrive in a real Kinesis-compatible server, whatever that does to them on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.rig import (
    Rig,
    arrived,
    check_all_arrived,
    check_order,
    order,
    orders,
    write_config,
)
from loopback.fixtures import Kinesis

BY_SKU: dict[str, Any] = {"partitionKeyPattern": r"^\d+,(\w+)"}
WAYS: list[Any] = [
    pytest.param({"aggregation": packing, **keys}, id=f"{packing}-{name}")
    for packing in ("none", "ndjson", "kpl")
    for name, keys in (("random", {}), ("by_sku", BY_SKU))
]
every_way = pytest.mark.parametrize("way", WAYS)


@every_way
def test_every_line_arrives_once_and_in_order(
    kinesis: Kinesis, tmp_path: Path, way: dict[str, Any]
) -> None:
    stream = kinesis.stream(2)
    with Rig(write_config(tmp_path, kinesis.url, stream, **way)) as rig:
        (tmp_path / "logs" / "a.log").write_bytes(orders(0, 700))
        rig.ship(700)
        with (tmp_path / "logs" / "a.log").open("ab") as file:
            file.write(orders(700, 100))
        rig.ship(800)
        assert not rig.progress.flows[0].problems
    lines = arrived(kinesis, stream)
    assert check_all_arrived(lines, orders(0, 800)) == 0
    if "partitionKeyPattern" in way:
        check_order(lines)


@every_way
def test_a_record_that_fails_is_sent_again_alone_and_in_order(
    kinesis: Kinesis, tmp_path: Path, way: dict[str, Any]
) -> None:
    stream = kinesis.stream(2)
    kinesis.faults.internal_failures = 0.3
    kinesis.faults.unavailable = 0.1
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_bytes(orders(0, 600))
    with Rig(
        write_config(tmp_path, kinesis.url, stream, aggregatedRecordSizeBytes=1024, **way)
    ) as rig:
        rig.ship(600)
    assert kinesis.counts["failed"]
    lines = arrived(kinesis, stream)
    assert check_all_arrived(lines, orders(0, 600)) == 0
    if "partitionKeyPattern" in way:
        check_order(lines)


@every_way
def test_a_lost_reply_repeats_and_loses_nothing(
    kinesis: Kinesis, tmp_path: Path, way: dict[str, Any]
) -> None:
    stream = kinesis.stream(2)
    kinesis.faults.lost_replies = 0.3
    kinesis.faults.internal_failures = 0.1
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_bytes(orders(0, 600))
    path = write_config(
        tmp_path,
        kinesis.url,
        stream,
        aggregatedRecordSizeBytes=1024,
        maxBufferSizeRecords=60 if way["aggregation"] == "none" else 2,
        **way,
    )
    with Rig(path) as rig:
        rig.ship(600)
        assert rig.counts["unanswered_requests"] == kinesis.counts["lost_replies"] > 0
    lines = arrived(kinesis, stream)
    repeated = check_all_arrived(lines, orders(0, 600))
    assert repeated > 0
    if way["aggregation"] == "none":  # a record is a line then
        assert repeated == kinesis.counts["written_unseen"]
    if "partitionKeyPattern" in way:
        check_order(lines)


@every_way
def test_a_throttled_shard_holds_up_no_other(
    kinesis: Kinesis, tmp_path: Path, way: dict[str, Any]
) -> None:
    stream = kinesis.stream(2)
    first, second = (shard["ShardId"] for shard in kinesis.shards(stream))
    kinesis.faults.throttled_shards = {first}
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_bytes(orders(0, 400))
    with Rig(
        write_config(tmp_path, kinesis.url, stream, aggregatedRecordSizeBytes=1024, **way)
    ) as rig:
        is_keyed = "partitionKeyPattern" in way
        there = 100 if is_keyed or way["aggregation"] == "kpl" else 400
        rig.run_until(lambda: rig.counts["sent_lines"] >= there)
        assert {record["ShardId"] for record in kinesis.records(stream)} == {second}
        if there < 400:
            assert rig.counts["sent_lines"] < 400
        kinesis.faults.throttled_shards = set()
        rig.ship(400)
    lines = arrived(kinesis, stream)
    assert check_all_arrived(lines, orders(0, 400)) == 0
    if is_keyed:
        check_order(lines)


def test_amazons_limits_slow_it_down_and_lose_nothing(kinesis: Kinesis, tmp_path: Path) -> None:
    stream = kinesis.stream(1)
    (tmp_path / "logs").mkdir()
    text = b"".join(order(n)[:-1] + b"," + b"x" * 60_000 + b"\n" for n in range(40))
    (tmp_path / "logs" / "a.log").write_bytes(text)
    with Rig(write_config(tmp_path, kinesis.url, stream)) as rig:
        rig.ship(40)
        assert rig.counts["failed_ProvisionedThroughputExceededException"]
    assert check_all_arrived(arrived(kinesis, stream), text) == 0


def test_a_split_and_a_merge_in_mid_run_lose_nothing(kinesis: Kinesis, tmp_path: Path) -> None:
    stream = kinesis.stream(2)
    first, second = (shard["ShardId"] for shard in kinesis.shards(stream))
    log = tmp_path / "logs" / "a.log"
    with Rig(write_config(tmp_path, kinesis.url, stream, aggregation="kpl", **BY_SKU)) as rig:
        log.write_bytes(orders(0, 300))
        rig.ship(300)
        kinesis.split(stream, first)
        with log.open("ab") as file:
            file.write(orders(300, 300))
        rig.ship(600)
        third = kinesis.shards(stream)[-1]["ShardId"]
        kinesis.merge(stream, third, second)
        with log.open("ab") as file:
            file.write(orders(600, 300))
        rig.ship(900)
    lines = arrived(kinesis, stream)
    assert check_all_arrived(lines, orders(0, 900)) == 0


def test_a_second_start_goes_on_where_the_first_ended(kinesis: Kinesis, tmp_path: Path) -> None:
    stream = kinesis.stream(1)
    path = write_config(tmp_path, kinesis.url, stream)
    log = tmp_path / "logs" / "a.log"
    log.write_bytes(orders(0, 100))
    with Rig(path) as rig:
        rig.ship(100)
    log.rename(log.with_suffix(".log.1"))
    log.write_bytes(orders(100, 100))
    with Rig(path) as rig:
        rig.ship(100)
        rig.step(20)
        assert rig.counts["sent_lines"] == 100
    assert check_all_arrived(arrived(kinesis, stream), orders(0, 200)) == 0


def test_a_first_start_at_the_end_ships_what_comes_after(kinesis: Kinesis, tmp_path: Path) -> None:
    stream = kinesis.stream(1)
    path = write_config(tmp_path, kinesis.url, stream, initialPosition="END_OF_FILE")
    logs = tmp_path / "logs"
    (logs / "long.log").write_bytes(orders(0, 100) + order(100)[:5])
    (logs / "short.log").write_bytes(order(200))
    (logs / "empty.log").write_bytes(b"")
    with Rig(path) as rig:
        rig.step(30)
        for name, more in (
            ("long", order(100)[5:] + order(101)),
            ("short", order(201)),
            ("empty", order(300)),
            ("new", order(400)),
        ):
            with (logs / f"{name}.log").open("ab") as file:
                file.write(more + order(int.from_bytes(name.encode()[:2])))
        rig.run_until(lambda: rig.counts["sent_lines"] >= 9)
    expected = order(100) + order(101) + order(201) + order(300) + order(400)
    expected += b"".join(
        order(int.from_bytes(name[:2])) for name in (b"long", b"short", b"empty", b"new")
    )
    assert check_all_arrived(arrived(kinesis, stream), expected) == 0


def test_a_stream_that_is_not_there_is_waited_for(kinesis: Kinesis, tmp_path: Path) -> None:
    with Rig(write_config(tmp_path, kinesis.url, "later")) as rig:
        (tmp_path / "logs" / "a.log").write_bytes(orders(0, 50))
        rig.run_until(lambda: bool(rig.agent.problems))
        assert "later" in rig.agent.problems[0]
        assert "must be there" in rig.agent.problems[0]
        kinesis.stream(1, "later")
        rig.ship(50)
        assert not rig.agent.problems
    assert check_all_arrived(arrived(kinesis, "later"), orders(0, 50)) == 0


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        ("AccessDeniedException", "may not perform: kinesis:PutRecords", "kinesis:PutRecords"),
        ("ExpiredTokenException", "the security token is expired", "expired"),
        ("UnrecognizedClientException", "The security token is invalid", "must be valid"),
        ("LimitExceededException", "slow down", "try again"),
        ("KMSAccessDeniedException", "no key", "permission"),
    ],
)  # fmt: skip
def test_a_refusal_is_said_in_one_line_and_heals(
    kinesis: Kinesis, tmp_path: Path, code: str, text: str, said: str
) -> None:
    stream = kinesis.stream(1)
    kinesis.faults.refused = {"PutRecords": (code, text)}
    with Rig(write_config(tmp_path, kinesis.url, stream)) as rig:
        (tmp_path / "logs" / "a.log").write_bytes(orders(0, 50))
        rig.run_until(lambda: rig.counts.get("failed_requests", 0) >= 2)
        (problem,) = rig.agent.problems
        assert said in problem
        assert "\n" not in problem
        assert stream in problem
        kinesis.faults.refused = {}
        rig.ship(50)
        assert not rig.agent.problems
    assert check_all_arrived(arrived(kinesis, stream), orders(0, 50)) == 0


def test_missing_credentials_are_said_and_waited_for(
    kinesis: Kinesis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = kinesis.stream(1)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with Rig(write_config(tmp_path, kinesis.url, stream)) as rig:
        (tmp_path / "logs" / "a.log").write_bytes(orders(0, 50))
        rig.run_until(lambda: bool(rig.agent.problems))
        assert "credentials" in rig.agent.problems[0]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        rig.ship(50)


def test_an_endpoint_that_nobody_answers_at_is_tried_again(
    tmp_path: Path, kinesis: Kinesis
) -> None:
    with Rig(write_config(tmp_path, "http://127.0.0.1:9", "orders")) as rig:
        (tmp_path / "logs" / "a.log").write_bytes(orders(0, 50))
        rig.run_until(lambda: rig.counts.get("failed_requests", 0) >= 3)
        assert "cannot be reached" in rig.agent.problems[0]
        assert rig.progress.flows[0].waiting_bytes


@pytest.mark.parametrize("packing", ["none", "ndjson", "kpl"])
def test_a_line_of_two_mebibytes_is_cut_and_holds_up_nothing(
    kinesis: Kinesis, tmp_path: Path, packing: str
) -> None:
    stream = kinesis.stream(1)
    with Rig(write_config(tmp_path, kinesis.url, stream, aggregation=packing)) as rig:
        (tmp_path / "logs" / "a.log").write_bytes(
            orders(0, 10) + "é".encode() * (1 << 20) + b"\n" + orders(10, 10)
        )
        rig.ship(21)
        assert rig.counts["long_lines"] == 1
    lines = arrived(kinesis, stream)
    (long,) = [line for line in lines if line.startswith("é".encode())]
    assert (1 << 20) - 400 < len(long) < 1 << 20
    long.decode()
    assert check_all_arrived([line for line in lines if line != long], orders(0, 20)) == 0


def test_records_of_several_lines_and_headers(kinesis: Kinesis, tmp_path: Path) -> None:
    stream = kinesis.stream(1)
    path = write_config(
        tmp_path, kinesis.url, stream, multiLineStartPattern=r"\d", skipHeaderLines=1
    )
    with Rig(path) as rig:
        log = tmp_path / "logs" / "a.log"
        log.write_bytes(b"number,text\n1,a\n  more\n2,b\n")
        rig.run_until(lambda: rig.counts["sent_lines"] == 1)
        with log.open("ab") as file:
            file.write(b"  of it\n3,c\n")
        rig.run_until(lambda: rig.counts["sent_lines"] == 2)
        rig.now_us += 61_000_000  # the last one is whole after a minute
        rig.run_until(lambda: rig.counts["sent_lines"] == 3)
    records = sorted(record["Data"] for record in kinesis.records(stream))
    assert records == [b"1,a\n  more\n", b"2,b\n  of it\n", b"3,c\n"]


def test_what_waits_is_bounded_and_reading_stops(kinesis: Kinesis, tmp_path: Path) -> None:
    stream = kinesis.stream(1)
    kinesis.faults.refused = {"PutRecords": ("LimitExceededException", "slow down")}
    line = b"x" * 999 + b"\n"
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_bytes(line * 90_000)
    with Rig(write_config(tmp_path, kinesis.url, stream)) as rig:
        rig.run_until(lambda: rig.counts.get("failed_requests", 0) >= 3)
        rig.step(40)
        flow = rig.progress.flows[0]
        assert flow.waiting_bytes < 64 << 20
        assert flow.unread_bytes > 20 << 20
