"""On the real orders, low_quantity gives the reference pipeline's results, to the last digit."""

from __future__ import annotations

import csv
import gzip
import hashlib
import random
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from crashes import folder_in_memory
from oddlot import config
from oddlot.alerts.rows import RowWriter
from oddlot.engine import checkpoint
from oddlot.engine.embedded import Engine, Outcome
from oddlot.store import Store

CONFIG = config.from_text(
    '[source]\ndates = "month-first"\n[[detectors]]\ntype = "low_quantity"\n', "a test"
)
ROWS, SUMS, COUNTS = 386_990, 755_639, 504_159
WINDOWS = "97e39aec115a0da4cb0a9c0c0b62ad9b9d4b1a0c48c557429902b0cad1d86684"
AVERAGES = "1c896975477376fc9d44f956ca8ac3bcad6f88c96246650ce56328238d0fa0b7"
NOW_US = 1_400_000_000_000_000
TIME = re.compile(rb",(\d+)/(\d+)/(\d+) (\d+):(\d+),")


@cache
def read(file: Path) -> bytes:
    return gzip.decompress(file.read_bytes())


def digest(lines: Iterable[str]) -> str:
    whole = b"".join(sorted(line.encode() + b"\n" for line in lines))
    return hashlib.sha256(whole).hexdigest()


def check(text: bytes) -> None:
    """Compare rows with the reference's figures."""
    rows = list(csv.reader(text.decode().splitlines()))
    assert len(rows) == ROWS
    assert sum(int(row[5]) for row in rows) == SUMS
    assert sum(int(row[6]) for row in rows) == COUNTS
    windows = (f"{i}|{sku}|{time}|{q}|{s}|{c}" for i, sku, _, time, q, s, c, _ in rows)
    assert digest(windows) == WINDOWS
    averages = (f"{sku}|{time}|{average}" for _, sku, _, time, _, _, _, average in rows)
    assert digest(averages) == AVERAGES


class Watch:
    """An engine and the rows it gave."""

    def __init__(self, settings: config.Config) -> None:
        self.settings = settings
        self.engine = Engine(settings)
        self.writer = RowWriter("csv", settings.detectors[0].columns)
        self.rows = bytearray()

    def keep(self, outcome: Outcome) -> None:
        released = outcome.released
        self.rows += self.writer.write(released.lines, released.order, outcome.rows["low_quantity"])

    def feed(self, data: bytes | memoryview, is_last: bool = False) -> None:
        for outcome in self.engine.feed("orders.csv", data, is_last, NOW_US):
            self.keep(outcome)

    def finish(self) -> bytes:
        self.keep(self.engine.finish())
        counts = self.engine.counters()
        assert counts == {**counts, "read": 541_909, "scored": 541_909, "late": 0}
        assert self.engine.give_up_waiting() == []
        return bytes(self.rows)


def pieces(data: bytes, chance: random.Random, most: int) -> Iterator[tuple[int, memoryview]]:
    """Cut anywhere, into pieces from a few bytes to `most`."""
    at = 0
    while at < len(data):
        size = int(most ** chance.random())
        yield at, memoryview(data)[at : at + size]
        at += size


def test_the_real_orders_give_the_reference_results(online_retail: Path) -> None:
    watch = Watch(CONFIG)
    watch.feed(read(online_retail), is_last=True)
    check(watch.finish())


def test_random_cuts_give_the_reference_results(online_retail: Path) -> None:
    watch = Watch(CONFIG)
    for _, piece in pieces(read(online_retail), random.Random(11), 1 << 20):
        watch.feed(piece)
    watch.feed(b"", is_last=True)
    check(watch.finish())


def test_orders_shuffled_within_the_lateness_give_the_reference_results(
    online_retail: Path,
) -> None:
    chance = random.Random(12)
    header, *records = read(online_retail).splitlines(keepends=True)

    def arrival(record: bytes) -> float:
        found = TIME.search(record)
        assert found is not None
        month, day, year, hour, minute = map(int, found.groups())
        return ((year * 12 + month) * 31 + day) * 1440 + hour * 60 + minute + chance.uniform(0, 2)

    shuffled = sorted(records, key=arrival)
    assert shuffled != records
    watch = Watch(config.apply(CONFIG, ["time.lateness=2m"]))
    watch.feed(header + b"".join(shuffled), is_last=True)
    check(watch.finish())


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_and_restarts_at_random_places_give_the_reference_results(
    online_retail: Path, seed: int
) -> None:
    chance = random.Random(seed)
    data = read(online_retail)
    with folder_in_memory() as folder:
        watch = Watch(CONFIG)
        at = 0
        kills = 0
        while at < len(data):
            for start, piece in pieces(data[at:], chance, 1 << 21):
                watch.feed(piece)
                read_to = at + start + len(piece)
                if chance.random() < 0.05:
                    extra = {"at": read_to, "rows": len(watch.rows)}
                    with Store.open(folder) as store:
                        store.commit(*checkpoint.save(watch.engine, extra))
                if chance.random() < 0.05 and kills < 8:
                    break
            else:
                break
            kills += 1
            rows = watch.rows
            watch, at = Watch(CONFIG), 0
            with Store.open(folder) as store:
                saved = store.load()
            if saved is not None:
                extra = checkpoint.restore(watch.engine, saved)
                at = extra["at"]
                watch.rows = rows[: extra["rows"]]
        assert kills > 3
    watch.feed(b"", is_last=True)
    check(watch.finish())
