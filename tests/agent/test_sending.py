"""Order, pauses and what is given up, against a far end that refuses by chance."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import hypothesis.strategies as st
import pytest
from hypothesis import given

from oddlot.agent.follow import Block
from oddlot.agent.packing import LANES, Entry, find_lane
from oddlot.agent.sending import Answer, Senders
from oddlot.agent.ship import Shipper
from oddlot.errors import StreamError


class FarEnd:
    """Takes records as Kinesis does: one by one, some fail, some replies are lost.

    Args:
        chance: for what fails.
        fails: share of the records that fail.
        loses: share of the requests whose reply is lost, written or not.
        bad: data that a request must not hold.
    """

    def __init__(
        self, chance: random.Random, fails: float = 0.0, loses: float = 0.0, bad: bytes = b""
    ) -> None:
        self.chance = chance
        self.fails = fails
        self.loses = loses
        self.bad = bad
        self.taken: list[Entry] = []
        self.sizes: list[int] = []
        self.calls = 0

    def put(self, entries: list[Entry]) -> Answer:
        self.calls += 1
        self.sizes.append(len(entries))
        if self.bad and any(entry.data == self.bad for entry in entries):
            return Answer(entries, error=StreamError("refused"), is_wrong=True)
        codes = []
        for entry in entries:
            is_bad = self.chance.random() < self.fails
            codes.append("InternalFailure" if is_bad else "")
            if not is_bad:
                self.taken.append(entry)
        if self.chance.random() < self.loses:
            return Answer(entries, error=StreamError("no answer"), is_answered=False)
        return Answer(entries, codes)


def make(
    far: FarEnd, *, records: int = 10, keeps_order: bool = True
) -> tuple[Shipper, Counter[str]]:
    done: Counter[str] = Counter()
    shipper = Shipper(
        far,
        Senders(0),
        records=records,
        size=1000,
        age_us=1_000_000,
        retry_us=(100_000, 10_000_000),
        keeps_order=keeps_order,
        lanes=LANES,
        on_done=lambda entry: done.update(["done"]),
        on_refused=lambda entry, reason: done.update([f"refused {entry.data!r}: {reason}"]),
        chance=far.chance,
    )
    return shipper, done


def entry(number: int, key: str, *, born_us: int = 0) -> Entry:
    return Entry(
        b"%d" % number, key, find_lane(key), [(Block(("", ""), "", 0, 0, 0), 1)], 1, born_us
    )


def run(shipper: Shipper, most: int = 100_000) -> int:
    """Send until nothing waits; returns the time that it took."""
    now_us = 0
    for _ in range(most):
        if shipper.is_idle:
            return now_us
        shipper.settle(now_us)
        shipper.send(now_us, is_hurried=True)
        shipper.settle(now_us)
        now_us += 50_000
    raise AssertionError("it never ends")


@given(
    keys=st.lists(st.sampled_from([f"k{number}" for number in range(12)]), min_size=1, max_size=80),
    seed=st.integers(0, 10_000),
    fails=st.sampled_from([0.0, 0.3, 0.9]),
    loses=st.sampled_from([0.0, 0.3]),
)
def test_of_each_key_the_records_arrive_in_order(
    keys: list[str], seed: int, fails: float, loses: float
) -> None:
    far = FarEnd(random.Random(seed), fails, loses)
    shipper, done = make(far)
    shipper.offer(entry(number, key) for number, key in enumerate(keys))
    run(shipper)
    assert done == {"done": len(keys)}
    arrived: dict[str, list[int]] = defaultdict(list)
    for one in far.taken:
        if int(one.data) not in arrived[one.key]:
            arrived[one.key].append(int(one.data))
    for key, numbers in arrived.items():
        assert numbers == [number for number, other in enumerate(keys) if other == key]
    if not loses:
        assert len(far.taken) == len(keys)
    assert max(far.sizes) <= 10
    assert shipper.held == 0


def test_a_record_that_can_never_be_taken_is_given_up_and_no_other() -> None:
    far = FarEnd(random.Random(1), bad=b"7")
    shipper, done = make(far)
    shipper.offer(entry(number, f"k{number}") for number in range(30))
    run(shipper)
    assert done == {"done": 29, "refused b'7': refused": 1}
    assert shipper.counts["refused"] == 1


def test_where_everything_is_refused_nothing_is_given_up() -> None:
    far = FarEnd(random.Random(1), bad=b"0")
    shipper, done = make(far)
    shipper.offer([entry(0, "k")])
    with pytest.raises(AssertionError, match="never ends"):
        run(shipper, 300)
    assert not done
    assert shipper.problem == "refused"


def test_pauses_grow_and_have_a_bound() -> None:
    far = FarEnd(random.Random(1), fails=1.0)
    shipper, _ = make(far)
    shipper.offer([entry(0, "k")])
    with pytest.raises(AssertionError, match="never ends"):
        run(shipper, 20 * 60 * 20)  # 20 minutes
    assert 120 < far.calls < 2 * 20 * 60 / 5  # a pause is 5 s on average in the end


def test_a_request_waits_for_company_until_it_is_full_or_old() -> None:
    far = FarEnd(random.Random(1))
    shipper, _ = make(far)
    shipper.offer(entry(number, f"k{number}", born_us=500_000) for number in range(9))
    assert shipper.send(1_400_000) == 0
    shipper.offer([entry(9, "k9", born_us=1_400_000)])
    assert shipper.send(1_400_000) == 1
    shipper.settle(1_400_000)
    shipper.offer([entry(10, "k10", born_us=500_000)])
    assert shipper.send(1_499_999) == 0
    assert shipper.send(1_500_000) == 1


def test_a_bug_in_a_sender_ends_the_agent() -> None:
    class Broken(FarEnd):
        def put(self, entries: list[Entry]) -> Answer:
            raise KeyError("a bug")

    shipper, _ = make(Broken(random.Random(1)))
    shipper.offer([entry(0, "k")])
    with pytest.raises(KeyError, match="a bug"):
        shipper.send(0, is_hurried=True)
