"""Leases: who holds a shard, since when, until when, and what the stores refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from loopback.fixtures import S3
from oddlot.errors import ConfigError, StateError, StreamError
from oddlot.streams.aws import Access
from oddlot.streams.lease_stores import FileStore, LeaseStore, S3Store, open_store
from oddlot.streams.leases import TTL_US, Leases, open_leases, steady_us

SECOND_US = 1_000_000
SAFE_US = TTL_US // 4  # how long what renew returned may be read


class Clock:
    """Microseconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_us = 10**12

    def __call__(self) -> int:
        return self.now_us


class Silent:
    """A store that can fall silent."""

    def __init__(self, store: LeaseStore) -> None:
        self.place = store.place
        self.is_silent = False
        self._store = store

    def read(self) -> tuple[bytes, str]:
        if self.is_silent:
            raise StreamError("no answer")
        return self._store.read()

    def write(self, document: bytes, tag: str) -> bool:
        return self._store.write(document, tag)

    def close(self) -> None:
        self._store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    with closing(FileStore(tmp_path / "leases.sqlite", "orders")) as opened:
        yield opened


class Slow(Silent):
    """A store that takes its time."""

    def __init__(self, store: LeaseStore, clock: Clock) -> None:
        super().__init__(store)
        self.reading_us = self.writing_us = 0
        self.meanwhile: Callable[[], object] = tuple
        self._clock = clock

    def read(self) -> tuple[bytes, str]:
        self._clock.now_us += self.reading_us
        self.meanwhile()
        return super().read()

    def write(self, document: bytes, tag: str) -> bool:
        done = super().write(document, tag)
        self._clock.now_us += self.writing_us
        return done


@pytest.mark.parametrize(("seconds", "holds"), [(22, True), (23, False), (31, False)])
def test_a_lease_counts_from_before_it_was_written(
    clock: Clock, store: FileStore, seconds: int, holds: bool
) -> None:
    slow = Slow(store, clock)
    slow.writing_us = seconds * SECOND_US
    held = Leases(slow, "slow", clock_us=clock).renew(["shard 0"])
    assert held == ({"shard 0"} if holds else set())


def test_silence_counts_from_after_it_was_heard(clock: Clock, store: FileStore) -> None:
    holder = Leases(store, "holder", clock_us=clock)
    slow = Slow(store, clock)
    other = Leases(slow, "other", clock_us=clock)
    slow.reading_us = 20 * SECOND_US
    slow.meanwhile = lambda: holder.renew(["shard 0"])
    assert other.renew(["shard 0"]) == set()
    slow.reading_us, slow.meanwhile = 0, tuple
    clock.now_us += TTL_US - SECOND_US  # but more than that since it began to ask
    assert other.renew(["shard 0"]) == set()
    clock.now_us += TTL_US // 6
    assert other.renew(["shard 0"]) == {"shard 0"}


def test_what_was_handed_over_is_not_read_though_the_answer_was_lost(
    clock: Clock, store: FileStore
) -> None:
    shards = ["shard 0", "shard 1"]
    link = Silent(store)
    leases = Leases(link, "only", clock_us=clock)
    assert leases.renew(shards) == set(shards)
    link.is_silent = True
    for positions in ({"shard 0": {"at": 1}}, {"shard 0": {"at": 1, "ended": True}}):
        with pytest.raises(StreamError):
            leases.save(positions, last=["shard 0"])
        assert leases.renew(shards) == {"shard 1"}
    # What is not held cannot be given: it comes back as any free shard does.
    link.is_silent = False
    leases.save({"shard 0": {"at": 1}, "shard 9": {"at": 1}}, last=["shard 0", "shard 9"])
    for _ in range(2):
        clock.now_us += TTL_US // 6
        held = leases.renew([*shards, "shard 9"])
    assert held == {*shards, "shard 9"}


@pytest.mark.parametrize("offset_us", range(0, 6 * SECOND_US, SECOND_US // 2))
def test_a_holder_that_is_cut_off_stops_before_another_begins(
    clock: Clock, store: FileStore, offset_us: int
) -> None:
    link = Silent(store)
    cut_off = Leases(link, "cut off", clock_us=clock)
    other = Leases(store, "other", clock_us=lambda: clock.now_us * 1 + 10**9)
    assert cut_off.renew(["shard 0"]) == {"shard 0"}
    clock.now_us += offset_us
    other.renew(["shard 0"])
    cut_off.renew(["shard 0"])
    link.is_silent = True
    last_us = first_us = 0
    for _ in range(60):
        clock.now_us += SECOND_US
        if cut_off.renew(["shard 0"]):
            last_us = clock.now_us + SAFE_US
        if other.renew(["shard 0"]) and not first_us:
            first_us = clock.now_us
    assert cut_off.problem == "no answer"
    assert 0 < last_us <= first_us <= last_us + TTL_US // 2
    with pytest.raises(StreamError, match="no answer"):
        cut_off.save({"shard 0": {"at": 5}})
    link.is_silent = False
    assert cut_off.save({"shard 0": {"at": 5}}) == set()
    assert other.position("shard 0") is None


def test_a_holder_sees_that_it_lost_a_shard_though_it_is_free_again(
    clock: Clock, store: FileStore
) -> None:
    paused = Leases(store, "paused", clock_us=clock)
    other = Leases(store, "other", clock_us=clock)
    paused.renew(["shard 0"])
    paused.save({"shard 0": {"at": 1}})
    other.renew(["shard 0"])
    clock.now_us += TTL_US
    assert other.renew(["shard 0"]) == {"shard 0"}
    other.save({"shard 0": {"at": 2}})
    other.release()
    clock.now_us += SECOND_US
    assert paused.renew(["shard 0"]) == set()
    clock.now_us += TTL_US // 6
    assert paused.renew(["shard 0"]) == {"shard 0"}
    assert paused.position("shard 0") == {"at": 2}


def test_what_is_given_back_is_taken_at_once(clock: Clock, store: FileStore) -> None:
    shards = ["shard 0", "shard 1"]
    first = Leases(store, "first", clock_us=clock)
    assert first.renew(shards) == set(shards)
    first.save({"shard 1": {"at": 7}})
    first.release()
    assert first.renew(shards) == set()  # not due, and nothing held
    second = Leases(store, "second", clock_us=clock)
    assert second.renew(shards) == set(shards)
    assert second.position("shard 1") == {"at": 7}


def test_a_newcomer_gets_its_share_with_the_last_position(clock: Clock, store: FileStore) -> None:
    shards = [f"shard {i}" for i in range(5)]
    first, second = (Leases(store, name, clock_us=clock) for name in ("first", "second"))
    assert first.renew(shards) == set(shards)
    assert second.renew(shards) == set()
    clock.now_us += TTL_US // 6
    kept = first.renew(shards)
    assert len(kept) == 3
    assert first.leaving == set(shards) - kept
    saved = {shard: {"at": number} for number, shard in enumerate(shards)}
    assert first.save(saved, last=first.leaving) == set(shards)
    clock.now_us += TTL_US // 6
    assert second.renew(shards) == set(shards) - kept
    assert {shard: second.position(shard) for shard in shards} == saved


def test_what_one_asked_for_is_kept_for_it(clock: Clock, store: FileStore) -> None:
    shards = [f"shard {i}" for i in range(4)]
    first, second, third = (Leases(store, f"holder {i}", clock_us=clock) for i in range(3))
    assert first.renew(shards[:2]) == set(shards[:2])
    assert second.renew(shards) == set(shards[2:])
    assert third.renew(shards) == set()
    clock.now_us += TTL_US // 6
    first.renew(shards)
    assert first.leaving == {"shard 0"}
    first.save({"shard 0": {"at": 1}}, last=first.leaving)
    clock.now_us += TTL_US // 6
    assert first.renew(shards) == {"shard 1"}
    assert second.renew(shards) == set(shards[2:])
    assert third.renew(shards) == {"shard 0"}


def test_ended_shards_that_left_the_stream_are_forgotten(clock: Clock, store: FileStore) -> None:
    leases = Leases(store, "only", clock_us=clock)
    leases.renew(["shard 0", "shard 1"], ["shard 0", "shard 1"])
    leases.save({"shard 0": {"ended": True}})
    clock.now_us += TTL_US // 6
    assert leases.renew(["shard 0", "shard 1"], ["shard 0", "shard 1"]) == {"shard 1"}
    assert leases.position("shard 0") == {"ended": True}
    clock.now_us += TTL_US // 6
    assert leases.renew(["shard 1"], ["shard 1"]) == {"shard 1"}
    assert leases.position("shard 0") is None


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("s3://B", "leases must be s3://bucket/folder; got 's3://B'"),
        ("https://bucket/x", "leases must be s3://bucket/folder or a file"),
        ("/proc/none/leases", "must be a file that can be written"),
    ],
)
def test_a_place_that_is_none_is_named(where: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_store(where, "orders", Access(region="us-east-1"))


def test_a_file_that_holds_something_else_is_named(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, and longer than the header of one" * 10)
    with pytest.raises(StateError, match="text: must be a file of leases"):
        FileStore(tmp_path / "text", "orders")
    with closing(FileStore(tmp_path / "leases", "orders")) as store:
        for document in (b"{", b"[]", b'{"version": 99}'):
            tag = store.read()[1]
            assert store.write(document, tag)
            with pytest.raises(StateError, match=r"leases: (must be a table|version must be 1)"):
                Leases(store, "only", clock_us=clock).renew(["shard 0"])


def test_streams_in_one_file_are_apart(clock: Clock, tmp_path: Path) -> None:
    for stream in ("orders", "returns"):
        where = str(tmp_path / "leases")
        with open_leases(where, stream, "me " + stream, Access(), clock_us=clock) as leases:
            assert leases.renew(["shard 0"]) == {"shard 0"}


def test_the_clock_never_steps_back() -> None:
    first = steady_us()
    assert first <= steady_us()


def _race(stores: list[LeaseStore]) -> None:
    """Let all of them write at once, again and again: one wins each time."""
    with ThreadPoolExecutor(len(stores)) as pool:
        for number in range(4):
            tag = stores[0].read()[1]
            documents = [b"%d by %d" % (number, one) for one in range(len(stores))]
            written = list(
                pool.map(
                    lambda store, document, tag=tag: store.write(document, tag), stores, documents
                )
            )
            assert sum(written) == 1
            assert stores[0].read()[0] == documents[written.index(True)]


def test_of_many_writers_to_s3_one_wins(s3: S3) -> None:
    where = f"s3://{s3.bucket()}/leases"
    access = Access(region="us-east-1", endpoint=s3.url)
    stores: list[LeaseStore] = [S3Store(where, "orders@1", access) for _ in range(8)]
    _race(stores)
    assert stores[0].place == f"{where}/orders@1.json"


def test_of_many_writers_to_a_file_one_wins(tmp_path: Path) -> None:
    stores = [FileStore(tmp_path / "leases", "orders") for _ in range(8)]
    for tag in ("", "1"):
        assert [one.read()[1] for one in stores] == [tag] * 8
        written = [one.write(b"%d" % number, tag) for number, one in enumerate(stores)]
        assert written == [True] + [False] * 7
    for one in stores:
        one.close()


def test_holders_at_once_on_s3_share_without_overlap(s3: S3, clock: Clock) -> None:
    access = Access(region="us-east-1", endpoint=s3.url)
    where = f"s3://{s3.bucket()}/leases"
    shards = [f"shard {number}" for number in range(7)]
    all_leases = [
        open_leases(where, "orders@1", f"holder {number}", access, clock_us=clock)
        for number in range(4)
    ]

    def poll(leases: Leases) -> frozenset[str]:
        try:
            held = leases.renew(shards)
            if leases.leaving:
                leases.save({shard: {"at": 1} for shard in leases.leaving}, last=leases.leaving)
        except StreamError:  # lost every race of this round
            return frozenset()
        return held

    with ThreadPoolExecutor(len(all_leases)) as pool:
        for _ in range(8):
            held = list(pool.map(poll, all_leases))
            assert sum(map(len, held)) == len(frozenset().union(*held)), "one reader a shard"
            clock.now_us += TTL_US // 6
    assert sorted(map(len, held)) == [1, 2, 2, 2]


def test_a_bucket_that_is_missing_is_named(s3: S3, clock: Clock) -> None:
    access = Access(region="us-east-1", endpoint=s3.url)
    leases = open_leases("s3://no-such-bucket/x", "orders", "me", access, clock_us=clock)
    with pytest.raises((ConfigError, StreamError), match=r"s3://no-such-bucket/x/orders\.json"):
        leases.renew(["shard 0"])
