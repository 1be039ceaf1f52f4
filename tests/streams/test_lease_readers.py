"""Leases: any order of polls, pauses, deaths and lost calls of any number of readers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from oddlot.errors import StreamError
from oddlot.streams.lease_stores import FileStore, LeaseStore
from oddlot.streams.leases import TTL_US, Leases

SECOND_US = 1_000_000
SAFE_US = TTL_US // 4  # how long what renew returned may be read
ENOUGH_US = 6 * TTL_US  # to take over from the dead, hand over, and even out
delays = st.sampled_from([0, 0, SECOND_US, TTL_US // 3, TTL_US])
faults = st.sampled_from(["", "", "", "unread", "unwritten", "reply lost"])


class Bad:
    """A store that is slow, and loses calls or answers, as it is told."""

    def __init__(self, store: LeaseStore, model: Readers) -> None:
        self.place = store.place
        self.fault = ""
        self.delay_us = 0
        self.meanwhile: Callable[[], None] | None = None
        self._store = store
        self._model = model

    def read(self) -> tuple[bytes, str]:
        if self.fault == "unread":
            raise StreamError("no answer")
        found = self._store.read()
        self._model.now_us += self.delay_us
        return found

    def write(self, document: bytes, tag: str) -> bool:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        self._model.now_us += self.delay_us
        if self.fault == "unwritten":
            raise StreamError("no answer")
        done = self._store.write(document, tag)
        self._model.now_us += self.delay_us
        if self.fault == "reply lost":
            raise StreamError("no answer")
        return done

    def close(self) -> None:
        pass


class Reader:
    """A holder and what it does: reads on from the position it found, saves now and then."""

    def __init__(self, model: Readers, number: int, offset_us: int) -> None:
        self.number = number
        self.store = Bad(model.store, model)
        self.leases = Leases(
            self.store, f"reader {number}", clock_us=lambda: model.now_us + offset_us
        )
        self.at: dict[str, int] = {}  # shard: read up to
        self.left: dict[str, int] = {}  # those asked for: read up to, to be handed over
        self.is_busy = False
        self.reads_until: dict[str, int] = {}


class Readers(RuleBasedStateMachine):
    """A stream whose shards split, and readers that come, pause and die."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 10**12
        self.store = FileStore(Path(":memory:"), "orders")
        self.parents: dict[str, str] = {f"shard {i}": "" for i in range(3)}
        self.end: dict[str, int] = {}  # closed shards: their last record
        self.saved: dict[str, int] = {}
        self.done: set[str] = set()
        self.reader_of: dict[str, int] = {}
        self.readers: list[Reader] = []
        self.numbers = count()
        self.come(0)

    def teardown(self) -> None:
        self.store.close()

    @precondition(lambda self: len(self.readers) < 5)
    @rule(offset_us=st.integers(-(10**9), 10**9))
    def come(self, offset_us: int) -> None:
        self.readers.append(Reader(self, next(self.numbers), offset_us))

    @precondition(lambda self: len(self.readers) > 1)
    @rule(which=st.integers(0, 4))
    def die(self, which: int) -> None:
        self.readers.pop(which % len(self.readers))

    @precondition(lambda self: len(self.readers) > 1)
    @rule(which=st.integers(0, 4))
    def leave(self, which: int) -> None:
        reader = self.readers.pop(which % len(self.readers))
        reader.leases.release()

    @rule(span_us=st.sampled_from([SECOND_US, 5 * SECOND_US, TTL_US // 4, TTL_US // 2, TTL_US]))
    def wait(self, span_us: int) -> None:
        self.now_us += span_us

    @precondition(lambda self: len(self.parents) < 12)
    @rule(which=st.integers(0, 20))
    def split(self, which: int) -> None:
        whole = [shard for shard in self.parents if shard not in self.end]
        shard = whole[which % len(whole)]
        self.end[shard] = max(self.saved.get(shard, 0), *self._read_up_to(shard), 0) + 3
        for _ in range(2):
            self.parents[f"shard {len(self.parents)}"] = shard

    @rule(
        which=st.integers(0, 4),
        other=st.integers(0, 4),
        delay_us=delays,
        fault=faults,
        has_meanwhile=st.booleans(),
    )
    def poll_slowly(
        self, which: int, other: int, delay_us: int, fault: str, has_meanwhile: bool
    ) -> None:
        reader = self.readers[which % len(self.readers)]
        beside = self.readers[other % len(self.readers)]
        reader.store.fault, reader.store.delay_us = fault, delay_us
        if has_meanwhile:
            reader.store.meanwhile = lambda: self._poll(beside)
        self._poll(reader)
        reader.store.fault, reader.store.delay_us, reader.store.meanwhile = "", 0, None

    @rule(which=st.integers(0, 4))
    def poll(self, which: int) -> None:
        self._poll(self.readers[which % len(self.readers)])

    @rule(which=st.integers(0, 4), fault=faults, delay_us=delays, gives=st.booleans())
    def checkpoint(self, which: int, fault: str, delay_us: int, gives: bool) -> None:
        reader = self.readers[which % len(self.readers)]
        reader.store.fault, reader.store.delay_us = fault, delay_us
        for shard in list(reader.at)[: int(gives)]:  # one more, that nobody asked for
            reader.left[shard] = reader.at.pop(shard)
            reader.reads_until.pop(shard, None)
        self._checkpoint(reader)
        reader.store.fault, reader.store.delay_us = "", 0

    @rule()
    def run_well(self) -> None:
        for _ in range(ENOUGH_US // (5 * SECOND_US)):
            for reader in self.readers:
                self._poll(reader)
                self._checkpoint(reader)
            self.now_us += 5 * SECOND_US
        held = [set(reader.at) for reader in self.readers]
        assert sum(map(len, held)) == len(set().union(*held)), "a shard has one reader"
        assert set().union(*held) == set(self.parents) - set(self.end), "none is forgotten"
        assert self.done == set(self.end), "closed shards are read to their end"
        assert max(map(len, held)) - min(map(len, held)) <= 1, "shares are fair"

    @invariant()
    def what_is_saved_is_what_was_handed_over(self) -> None:
        for reader in self.readers:
            for shard, up_to in reader.at.items():
                if self.reader_of[shard] == reader.number:
                    assert up_to >= self.saved.get(shard, 0)

    def _poll(self, reader: Reader) -> None:
        if reader.is_busy:
            return
        reader.is_busy = True
        # It reads until it calls again.
        reader.reads_until = {
            shard: min(until, self.now_us) for shard, until in reader.reads_until.items()
        }
        try:
            held = reader.leases.renew(self._readable(reader), list(self.parents))
        except StreamError:
            held = frozenset()
        reader.is_busy = False
        for shard in set(reader.at) - held:
            up_to = reader.at.pop(shard)
            if shard in reader.leases.leaving:
                reader.left[shard] = up_to
        for shard in set(reader.left) - reader.leases.leaving:
            if shard not in reader.leases._given:
                del reader.left[shard]
        for shard in held:
            self._read(reader, shard)

    def _read(self, reader: Reader, shard: str) -> None:
        for other in self.readers:
            if other is not reader:
                assert other.reads_until.get(shard, 0) <= self.now_us, "two read it at a time"
        reader.reads_until[shard] = self.now_us + SAFE_US
        parent = self.parents[shard]
        assert not parent or parent in self.done, "parents come first"
        assert shard not in self.done, "what is read to its end is not read again"
        if shard not in reader.at:
            position = reader.leases.position(shard) or {"up_to": 0}
            assert position == {"up_to": self.saved.get(shard, 0)}, "no record is skipped"
            reader.at[shard] = position["up_to"]
            self.reader_of[shard] = reader.number
        reader.at[shard] = min(reader.at[shard] + 1, self.end.get(shard, 10**9))

    def _checkpoint(self, reader: Reader) -> None:
        if reader.is_busy:
            return
        reached = reader.at | reader.left
        ended = {shard for shard, up_to in reached.items() if self.end.get(shard) == up_to}
        positions: dict[str, dict[str, Any]] = {
            shard: {"up_to": up_to} | ({"ended": True} if shard in ended else {})
            for shard, up_to in reached.items()
        }
        before = self._stored()
        try:
            kept = reader.leases.save(positions, last=set(reader.left))
        except StreamError:
            kept = frozenset(positions)  # who cannot tell goes on, and is told later
        after = self._stored()
        for shard in after:
            if after[shard] != before.get(shard):
                assert self.reader_of[shard] == reader.number, "only its reader saves"
                assert after[shard] == positions[shard], "what is saved was read"
                self.saved[shard] = reached[shard]
                if shard in ended:
                    self.done.add(shard)
        for shard in positions:
            if shard not in kept or shard in self.done:
                reader.at.pop(shard, None)
                reader.left.pop(shard, None)

    def _stored(self) -> dict[str, dict[str, Any]]:
        leases = json.loads(self.store.read()[0] or b'{"leases": {}}')["leases"]
        return {shard: one["position"] for shard, one in leases.items() if one.get("position")}

    def _readable(self, reader: Reader) -> list[str]:
        positions = {shard: reader.leases.position(shard) or {} for shard in self.parents}
        return [
            shard
            for shard, parent in self.parents.items()
            if not parent or positions[parent].get("ended")
        ]

    def _read_up_to(self, shard: str) -> Iterator[int]:
        for reader in self.readers:
            yield reader.at.get(shard, 0)
            yield reader.left.get(shard, 0)


TestReaders = Readers.TestCase
TestReaders.settings = settings(
    max_examples=int(os.environ.get("ODDLOT_EXAMPLES", "50")), stateful_step_count=40, deadline=None
)
