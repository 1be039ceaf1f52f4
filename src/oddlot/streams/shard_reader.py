"""The reading of a stream's shards: who is due, what came, and what to do about each refusal."""

from __future__ import annotations

import contextlib
import os
import random
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import msgspec

from oddlot.errors import OddlotError, StateError, StreamError
from oddlot.streams.aws import client, refusal
from oddlot.streams.chunks import Chunk
from oddlot.streams.leases import Leases, open_leases, steady_us
from oddlot.streams.shards import Place, Position, Shard, Start

_EVERY_US = 250_000  # between two reads of a shard: Kinesis allows five a second, to all readers
_LOOK_US = 30_000_000  # between two looks at what shards there are
_LONGEST_US = 10_000_000  # between two tries
_RECORDS = 10_000  # in an answer, at most; it has 10 MiB at most, too
_THREADS = 16
_THROTTLED = {"ProvisionedThroughputExceededException", "LimitExceededException"}
_EXPIRED = {"ExpiredIteratorException"}
_GONE = {"ResourceNotFoundException", "InvalidArgumentException"}
_LOGGED_OUT = {
    *("ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException"),
    *("InvalidClientTokenId", "InvalidSignatureException"),
}


class ShardReader:
    """Reads the shards of a stream and hands out their records, each once.

    A partition is a shard: stream/shardId-000000000000. A shard is read when those that it was
    split from or merged of have been read to their ends. What AWS refuses is tried again, later
    and later up to ten seconds, and told in `problems`; it stops nothing else.

    Attributes:
        counts: `records`; `texts` inside them; `aggregated` records; `damaged` ones, which are
            taken as they are; `empty` ones and `headers` left out; `throttled` and `expired`
            reads, done again; streams made anew (`recreated`); shards that aged out unread
            (`lost_shards`).
        problems: what cannot be read at present and why, place to one line.
        unread: always 0: a stream tells its age, see `behind_ms`, and not its size.
    """

    unread = 0

    def __init__(
        self,
        place: Place,
        positions: Mapping[str, Any],
        *,
        clock_us: Callable[[], int] = steady_us,
    ) -> None:
        """Look what shards there are; `clock_us` is what leases go by.

        Raises:
            ConfigError, StateError: see `Kinesis.open`.
        """
        self.counts = Counter[str](
            records=0, texts=0, aggregated=0, damaged=0, empty=0, headers=0,
            throttled=0, expired=0, recreated=0, lost_shards=0,
        )  # fmt: skip
        self.problems: dict[str, str] = {}
        self._place = place
        self._told = f"stream {place.name}"
        self._shards: dict[str, Shard] = {}
        self._client: Any = None
        self._pool = ThreadPoolExecutor(_THREADS, "kinesis")
        self._random = random.Random(os.getpid())  # noqa: S311  # it spreads tries, no more
        self._created = 0
        self._look_us = 0
        self._look_failures = 0
        self._paused: Collection[str] = ()
        self._leases: Leases | None = None
        self._clock_us = clock_us
        self._now_us = 0
        for name, value in positions.items():
            try:
                position = msgspec.convert(value, Position)
            except msgspec.ValidationError as error:
                raise StateError(f"position of {name}: {error}") from None
            stream, _, shard_id = name.rpartition("/")
            if stream == place.name:
                self._shards[shard_id] = Shard(stream, shard_id, position)
                self._shards[shard_id].is_mine = not place.leases
                self._created = position.created
        try:
            self._look(0)
        except StreamError as error:  # it may heal; a ConfigError stops at once
            self._look_failed(0, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads, and give the leases back; the positions stay readable."""
        self._pool.shutdown()
        self._give_back()

    @property
    def behind_ms(self) -> int:
        """How old the oldest unread record is, as the last answers said."""
        return max((one.behind_ms for one in self._shards.values() if one.is_mine), default=0)

    def positions(self) -> dict[str, dict[str, Any]]:
        """Return where to read on, by partition, behind everything that was handed out."""
        return {one.name: msgspec.to_builtins(one.position) for one in self._shards.values()}

    def committed(self) -> None:
        """Note that what was handed out up to now is durable: other readers may go on there."""
        if self._leases is None:
            return
        read = [
            one for one in self._shards.values() if one.is_mine or one.id in self._leases.leaving
        ]
        try:
            self._leases.save(
                {
                    one.id: msgspec.to_builtins(one.position) | {"ended": one.position.is_ended}
                    for one in read
                },
                last=set(self._leases.leaving),
            )
        except StreamError as error:
            self.problems[self._place.leases] = str(error)

    def pause(self, partitions: Collection[str]) -> None:
        """Read these no further for now: they are far ahead of the others."""
        self._paused = partitions

    def live(self, now_us: int) -> set[str]:
        """Return the partitions that may bring lines older than those of the others.

        One that has ended is not among them, nor one that is at its end and has been silent for
        as long as `hold`.
        """
        hold_us = self._place.hold_us
        return {
            one.name
            for one in self._readable()
            if one.is_mine
            and not (
                hold_us is not None
                and one.rested_us is not None
                and not one.failures
                and now_us - one.rested_us >= hold_us
            )
        }

    def find(self, partition: str, offset: int) -> str:
        """Return the sequence number of the record of the last poll that holds an offset."""
        shard = self._shards.get(partition.rpartition("/")[2])
        return shard.find(offset) if shard is not None else ""

    def poll(self, now_us: int) -> list[Chunk]:
        """Read every shard that is due and return what is new, an empty list if nothing is.

        Args:
            now_us: microseconds of any clock.
        """
        self._now_us = now_us = max(self._now_us, now_us)  # the clock can step back
        if now_us >= self._look_us:
            try:
                self._look(now_us)
            except OddlotError as error:
                self._look_failed(now_us, error)
        self._share()
        due = [
            one
            for one in self._readable()
            if one.is_mine and one.due_us <= now_us and one.name not in self._paused
        ]
        if self._client is None:
            return []
        chunks: list[Chunk] = []
        for shard, answer in zip(due, self._ask_all(due), strict=True):
            if isinstance(answer, Exception):
                self._refused(shard, answer, now_us)
            else:
                chunks += self._take(shard, answer, now_us)
        return chunks

    def _readable(self) -> Iterator[Shard]:
        """Yield the shards that have not ended, and whose parents have."""
        for one in list(self._shards.values()):
            if not one.position.is_ended and all(map(self._has_ended, one.position.parents)):
                yield one

    def _has_ended(self, shard_id: str) -> bool:
        shard = self._shards.get(shard_id)
        if shard is None or shard.position.is_ended:
            return True  # a shard that is not listed any more has aged out
        if self._leases is None or shard.is_mine:
            return False
        saved = self._leases.position(shard_id)
        return bool(saved and saved.get("ended"))

    def _ask_all(self, due: Sequence[Shard]) -> list[Any]:
        if len(due) < 2:
            return [self._ask(one) for one in due]
        return list(self._pool.map(self._ask, due))

    def _ask(self, shard: Shard) -> Any:
        """Return the answer of GetRecords, or the error."""
        try:
            if not shard.iterator:
                answer = self._client.get_shard_iterator(
                    **self._place.which, ShardId=shard.id, **shard.where()
                )
                shard.iterator = answer["ShardIterator"]
            return self._client.get_records(ShardIterator=shard.iterator, Limit=_RECORDS)
        except Exception as error:  # noqa: BLE001  # told apart in the thread of the caller
            return error

    def _take(self, shard: Shard, answer: dict[str, Any], now_us: int) -> list[Chunk]:
        shard.failures = 0
        self.problems.pop(shard.name, None)
        records = answer["Records"]
        shard.behind_ms = answer.get("MillisBehindLatest", 0)
        shard.iterator = answer.get("NextShardIterator") or ""
        shard.due_us = now_us + _EVERY_US
        if shard.position.start == "LATEST":  # which would be another place after a restart
            shard.position.start, shard.position.time_us = "AT_TIMESTAMP", now_us
        if shard.behind_ms:
            shard.rested_us = None
        elif records or shard.rested_us is None:
            shard.rested_us = now_us
        chunks = shard.take(records, self._place.header, self.counts)
        if not shard.iterator:
            shard.position.is_ended = True
            for child in answer.get("ChildShards", []):
                self._meet(child["ShardId"], child.get("ParentShards", []), is_first=False)
            self._look_us = 0
        return chunks

    def _refused(self, shard: Shard, error: Exception, now_us: int) -> None:
        code = _code_of(error)
        shard.failures += 1
        delay_us = min(_LONGEST_US, 200_000 << min(shard.failures, 10))
        shard.due_us = now_us + int(delay_us * self._random.uniform(0.5, 1.0))
        if code in _EXPIRED:
            self.counts["expired"] += 1
            shard.iterator, shard.due_us = "", now_us + _EVERY_US
            return
        if code in _THROTTLED:
            self.counts["throttled"] += 1
            return
        shard.iterator = ""
        if code in _GONE:
            self._look_us = now_us  # the shard, or the stream, may be another by now
        if code in _LOGGED_OUT:
            self._client = None  # another one looks for credentials anew
            self._look_us = now_us
        self.problems[shard.name] = str(refusal(shard.name, error))

    def _look(self, now_us: int) -> None:
        """Ask what shards there are; a stream that was made anew begins anew.

        Raises:
            ConfigError, StreamError: it cannot be asked.
        """
        try:
            if self._client is None:
                self._client = client("kinesis", self._place.access, **_CALLS)
            summary = self._client.describe_stream_summary(**self._place.which)
            listed = list(self._list_shards())
        except Exception as error:  # noqa: BLE001  # `refusal` raises what is a bug
            if _code_of(error) in _LOGGED_OUT:
                self._client = None
            raise refusal(self._told, error) from None
        created = int(
            1000 * summary["StreamDescriptionSummary"]["StreamCreationTimestamp"].timestamp()
        )
        is_first = not self._shards
        if self._shards and created != self._created:
            self._begin_anew(created)
        self._created = created
        for one in listed:
            parents = [one.get("ParentShardId", ""), one.get("AdjacentParentShardId", "")]
            has_end = "EndingSequenceNumber" in one["SequenceNumberRange"]
            self._meet(one["ShardId"], parents, is_first, is_closed=has_end)
        self._forget({one["ShardId"] for one in listed})
        self._look_us, self._look_failures = now_us + _LOOK_US, 0
        self.problems.pop(self._told, None)

    def _list_shards(self) -> Iterator[dict[str, Any]]:
        which = self._place.which
        while True:
            answer = self._client.list_shards(**which)
            yield from answer["Shards"]
            if not answer.get("NextToken"):
                return
            which = {"NextToken": answer["NextToken"]}

    def _look_failed(self, now_us: int, error: OddlotError) -> None:
        self._look_failures += 1
        self._look_us = now_us + min(_LONGEST_US, 500_000 << min(self._look_failures, 10))
        self.problems[self._told] = f"{error}; waiting for it"

    def _meet(
        self, shard_id: str, parents: Sequence[str], is_first: bool, is_closed: bool = False
    ) -> None:
        """Add a shard if it is not known; at the first look it begins where the user said."""
        if shard_id in self._shards:
            return
        start = self._place.start if is_first else Start("TRIM_HORIZON", 0)
        position = Position(
            start=start.kind,
            time_us=start.time_us,
            parents=tuple(parent for parent in parents if parent),
            created=self._created,
            # Whoever begins with the newest record needs nothing of a closed shard.
            is_ended=is_closed and start.kind == "LATEST",
        )
        self._shards[shard_id] = Shard(self._place.name, shard_id, position)
        self._shards[shard_id].is_mine = not self._place.leases

    def _begin_anew(self, created: int) -> None:
        self.counts["recreated"] += 1
        self._created = created
        for one in self._shards.values():
            one.begin_again(Position(created=created, parents=one.position.parents))
        self._give_back()

    def _forget(self, listed: set[str]) -> None:
        """Drop the shards that the stream holds no more."""
        for shard_id in set(self._shards) - listed:
            shard = self._shards.pop(shard_id)
            if not shard.position.is_ended:
                self.counts["lost_shards"] += 1
            self.problems.pop(shard.name, None)

    def _share(self) -> None:
        """Find out which shards are this reader's."""
        if not self._place.leases or not self._created:
            return
        place, where = self._place, self._place.leases
        try:
            if self._leases is None:
                access = msgspec.structs.replace(place.access, endpoint=place.leases_endpoint)
                stream = f"{place.name}@{self._created}"
                self._leases = open_leases(
                    where, stream, uuid.uuid4().hex, access, clock_us=self._clock_us
                )
            mine = self._leases.renew([one.id for one in self._readable()], list(self._shards))
        except StreamError as error:
            mine = frozenset()
            self.problems[where] = str(error)
        else:
            self.problems.pop(where, None)
            if self._leases.problem:
                self.problems[where] = self._leases.problem
        for one in self._shards.values():
            if one.id in mine and not one.is_mine and self._leases is not None:
                self._go_on(one, self._leases.position(one.id))
            one.is_mine = one.id in mine

    def _give_back(self) -> None:
        leases, self._leases = self._leases, None
        if leases is not None:
            with contextlib.suppress(StreamError):  # they run out by themselves
                leases.release()
            leases.close()

    def _go_on(self, shard: Shard, saved: Mapping[str, Any] | None) -> None:
        """Take a shard over where its last reader saved, unless this one has come further."""
        if saved is None:
            return
        position = msgspec.convert(saved, Position)
        if shard.position.is_behind(position):
            shard.begin_again(position)


_CALLS = {"retries": {"total_max_attempts": 1}, "read_timeout": 10, "max_pool_connections": 16}


def _code_of(error: Exception) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
